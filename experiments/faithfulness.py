"""Measure whether heat maps tell the truth, per method, layer and class, and choose the default by a rule.

    python -m experiments.faithfulness RUN [--per-class 20] [--out experiments/faithfulness.json]

On synthetic maps of the six classes with a pattern in one part of the wafer, those that the run calls right: energy
inside the pattern's mask, pointing game, overlap; next to three baselines that know nothing of the model. On maps of
the run's test part called a defect: deletion and insertion of failing dies, next to random order; and, on the same
maps, the rank correlation with the heat of the same network untrained.

The rule, written before the test part was looked at: of the methods whose heat on the untrained network correlates by
at most 0.5 (mean over maps, over all dies) and that take at most ten times as long as Grad-CAM, the default is the one
with the best mean rank over five figures: energy, pointing, overlap, deletion, insertion (each the mean over classes);
of equals, the one that looks at fewer layers, then the faster.
"""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from wafer_tf.command import CommandParser
from wafer_tf.dies import CLASSES, NONE, Die
from wafer_tf.explaining.faithfulness import (
    area,
    deleted,
    energy_inside,
    inserted,
    overlap_area,
    pointing_hit,
    rank_correlation,
    removal_order,
)
from wafer_tf.learning.quiet import quiet_tensorflow
from wafer_tf.waferset import WaferSet

if TYPE_CHECKING:
    import keras

    from wafer_tf.explaining.heat_maps import Explainer

SYNTHETIC_SEED = 1_000_004
PATTERNED = ("Center", "Donut", "Edge-Loc", "Edge-Ring", "Loc", "Scratch")
SHARES = np.array([0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0])
"""Shares of the failing dies turned; closer together where the curves fall fastest."""
MOST_CORRELATION, MOST_TIMES = 0.5, 10
DECIDING = {"energy": 1, "pointing": 1, "overlap": 1, "deletion": -1, "insertion": 1}
"""The figures of the rule; 1 where more is better, -1 where less is."""

CAMS = ("gradcam", "gradcam++", "layercam")
"""Measured at the last layer of every size; Score-CAM, which is slow, at the last layer alone."""

Heat = Callable[[int], NDArray[np.floating[Any]]]
"""From the number of a map to its heat, (rows, cols)."""
Figures = dict[str, dict[str, float]]
"""By figure, by class; and "mean", over the classes."""


@dataclass(frozen=True)
class Questions:
    """The maps that heat is judged on, and the model that answers for them."""

    model: "keras.Model"
    probabilities: Callable[[NDArray[np.floating[Any]]], NDArray[np.float64]]
    synthetic: WaferSet
    masks: list[NDArray[np.bool_]]
    real: WaferSet
    called: NDArray[np.int64]

    def located(self, heat: Heat) -> Figures:
        """Compare heat on the synthetic maps with the masks, all of it and that of the failing dies alone."""
        found: dict[str, list[float]] = {"energy": [], "pointing": [], "overlap": [], "energy_of_failing_dies": []}
        for i, mask in enumerate(self.masks):
            h = heat(i)
            found["energy"].append(energy_inside(h, mask))
            found["pointing"].append(pointing_hit(h, mask))
            found["overlap"].append(overlap_area(h, mask))
            found["energy_of_failing_dies"].append(energy_inside(h * (self.synthetic.map(i) == Die.FAIL), mask))
        return {name: by_class(values, self.synthetic.label) for name, values in found.items()}

    def changed(self, heat: Heat) -> Figures:
        """Delete and insert the failing dies of the real maps in the order of heat and ask the model each time."""
        from wafer_tf.learning.prediction import predict_logits

        rng, maps = np.random.default_rng(0), []
        for i in range(len(self.real)):
            grid = self.real.map(i)
            order = removal_order(heat(i), grid, rng=rng)
            maps += deleted(grid, order, SHARES) + inserted(grid, order, SHARES)
        logits = predict_logits(self.model, WaferSet.from_maps(maps, label=np.zeros(len(maps))))
        shape, own = (len(self.real), 2, len(SHARES), len(CLASSES)), self.called[:, None, None, None]
        prob = np.take_along_axis(self.probabilities(logits).reshape(shape), own, axis=3)[..., 0]
        logit = np.take_along_axis(logits.reshape(shape), own, axis=3)[..., 0]
        return {
            "deletion": by_class([area(curve, SHARES) for curve in prob[:, 0]], self.called),
            "insertion": by_class([area(curve, SHARES) for curve in prob[:, 1]], self.called),
            "logit_fall": by_class([area(curve[0] - curve, SHARES) for curve in logit[:, 0]], self.called),
        }

    def sane(self, heat: Heat, untrained: Heat) -> Figures:
        """Correlate heat on the real maps with that of an untrained network; maps with even heat do not count."""
        found: dict[str, list[float]] = {"untrained_all_dies": [], "untrained_failing_dies": []}
        for i in range(len(self.real)):
            grid, pair = self.real.map(i), (heat(i), untrained(i))
            found["untrained_all_dies"].append(rank_correlation(*pair, grid != Die.ABSENT))
            found["untrained_failing_dies"].append(rank_correlation(*pair, grid == Die.FAIL))
        return {name: by_class(values, self.called) for name, values in found.items()}


def by_class(values: list[float], label: NDArray[np.integer[Any]]) -> dict[str, float]:
    """Return the mean per class over the maps that have a value, and the mean of those means."""
    found = np.array(values)
    means = {
        CLASSES[c]: float(np.nanmean(found[label == c]))
        for c in np.unique(label)
        if np.isfinite(found[label == c]).any()
    }
    means["mean"] = float(np.mean(list(means.values()))) if means else float("nan")
    return {name: round(value, 4) for name, value in means.items()}


def baselines(wafers: WaferSet) -> dict[str, Heat]:
    """Return heat that knows the dies and nothing of the model."""
    from scipy.ndimage import gaussian_filter

    def density(i: int) -> NDArray[np.float64]:
        """Share of failing dies around each die, weighted by a Gaussian of 1/16 of the map."""
        grid = wafers.map(i)
        spread = [side / 16 for side in grid.shape]
        failing, dies = (gaussian_filter((on).astype(float), spread) for on in (grid == Die.FAIL, grid != Die.ABSENT))
        return np.where(grid != Die.ABSENT, failing / np.maximum(dies, 1e-9), 0)

    return {
        "uniform on the wafer": lambda i: (wafers.map(i) != Die.ABSENT).astype(float),
        "failing dies only": lambda i: (wafers.map(i) == Die.FAIL).astype(float),
        "density of failing dies": density,
    }


def variants(model: "keras.Model") -> dict[str, list[tuple[str, str]]]:
    """Return what is measured: by name, method and layer, more than one where heat is fused (their geometric mean)."""
    from wafer_tf.explaining.heat_maps import layers_to_explain

    sides = {name: model.get_layer(name).output.shape[1] for name in layers_to_explain(model)}
    layers = {side: name for name, side in sides.items()}  # of each size the deepest
    last = list(sides)[-1]
    one = {f"{method} {side} x {side}": [(method, layer)] for side, layer in layers.items() for method in CAMS}
    finest = layers[max(layers)]
    return {
        **one,
        f"scorecam {sides[last]} x {sides[last]}": [("scorecam", last)],
        f"fused layercam {sides[last]} and {sides[finest]}": [("layercam", last), ("layercam", finest)],
    }


def explainers_of(network: "keras.Model", parts: list[tuple[str, str]]) -> "list[Explainer]":
    """Build what explains a network by every part."""
    from wafer_tf.explaining.heat_maps import Explainer

    return [Explainer(network, method=method, layer=layer) for method, layer in parts]


def heat_of(explainers: "list[Explainer]", wafers: WaferSet, target: NDArray[np.integer[Any]]) -> Heat:
    """Return the heat of maps, the geometric mean where there are several explainers."""
    found = [explainer.heat_maps(wafers, target, progress=True) for explainer in explainers]
    return lambda i: np.prod([maps.map(i) for maps in found], axis=0) ** (1 / len(found))


def choose(methods: dict[str, dict[str, Any]]) -> tuple[dict[str, float], str]:
    """Return the mean rank of every method that may become the default, and the one the rule chooses."""
    grad_cam = min(m["cpu_ms_per_map"] for name, m in methods.items() if name.startswith("gradcam "))
    fit = [
        name
        for name, m in methods.items()
        if "layers" in m
        and m["figures"]["untrained_all_dies"]["mean"] <= MOST_CORRELATION
        and m["cpu_ms_per_map"] <= MOST_TIMES * grad_cam
    ]
    from scipy.stats import rankdata

    ranks = np.mean(
        [
            rankdata([-better * methods[n]["figures"][figure]["mean"] for n in fit])
            for figure, better in DECIDING.items()
        ],
        axis=0,
    )
    order = {
        n: (r, len(methods[n]["layers"]), methods[n]["cpu_ms_per_map"])
        for n, r in zip(fit, ranks.tolist(), strict=True)
    }
    return {n: round(key[0], 2) for n, key in order.items()}, min(order, key=lambda n: order[n])


def main() -> None:
    p = CommandParser("python -m experiments.faithfulness", __doc__)
    p.add_argument("run", type=Path)
    p.add_argument("--per-class", type=int, default=20, help="synthetic maps drawn, and real maps taken, per class")
    p.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".json"))
    args = p.parse_args()
    quiet_tensorflow()
    from training.job import load_config, load_data
    from training.runtime import prepare, versions
    from wafer_tf.learning.models import build_model
    from wafer_tf.learning.prediction import predict_logits
    from wafer_tf.learning.run_folder import RunFolder
    from wafer_tf.splitting.splits import Split
    from wafer_tf.synthesis import synthesize

    run = RunFolder.open(args.run)
    config, model, decision = load_config(run), run.model(), run.decision()
    prepare(seed=config.seed + 1, precision="float32", require_gpu=False)
    untrained = build_model(config.model)
    drawn = synthesize(dict.fromkeys(PATTERNED, args.per_class), seed=SYNTHETIC_SEED)
    right = np.flatnonzero(decision.probabilities(predict_logits(model, drawn.wafers)).argmax(1) == drawn.wafers.label)
    wafers = load_data(config)
    test = wafers.select(Split.load(args.run / "split.npz", wafers).test)
    call = decision.probabilities(predict_logits(model, test)).argmax(1)
    taken = np.concatenate([np.flatnonzero(call == c)[: args.per_class] for c in range(len(CLASSES)) if c != NONE])
    questions = Questions(
        model,
        decision.probabilities,
        drawn.wafers.select(right),
        [drawn.mask(int(i)) for i in right],
        test.select(taken),
        call[taken],
    )

    methods: dict[str, dict[str, Any]] = {}
    for (name, heat), on_real in zip(
        baselines(questions.synthetic).items(), baselines(questions.real).values(), strict=True
    ):
        methods[name] = {"figures": questions.located(heat) | questions.changed(on_real)}
        print(name, {k: v["mean"] for k, v in methods[name]["figures"].items()}, flush=True)
    for name, parts in variants(model).items():
        explainers = explainers_of(model, parts)
        located = questions.located(heat_of(explainers, questions.synthetic, questions.synthetic.label))
        started = time.process_time()  # everything is built and has run by now
        heat = heat_of(explainers, questions.real, questions.called)
        seconds = time.process_time() - started
        methods[name] = {
            "layers": [layer for _, layer in parts],
            "cpu_ms_per_map": round(1000 * seconds / len(questions.real), 1),
            "figures": located
            | questions.changed(heat)
            | questions.sane(heat, heat_of(explainers_of(untrained, parts), questions.real, questions.called)),
        }
        print(name, {k: v["mean"] for k, v in methods[name]["figures"].items()}, flush=True)
    ranks, chosen = choose(methods)
    result = {
        "date": str(date.today()),
        "command": run.read_json("config.json")["command"],
        "versions": versions(),
        "synthetic_maps_called_right": dict(zip(CLASSES, questions.synthetic.class_counts().tolist(), strict=True)),
        "synthetic_maps_drawn_per_class": args.per_class,
        "real_maps_by_call": {name: int((questions.called == c).sum()) for c, name in enumerate(CLASSES)},
        "methods": methods,
        "mean_ranks": ranks,
        "chosen": chosen,
    }
    args.out.write_text(json.dumps(result, indent=1) + "\n")
    print(table(methods, ranks))
    print("chosen:", chosen)


def table(methods: dict[str, dict[str, Any]], ranks: dict[str, float]) -> str:
    """Return the means as a Markdown table."""
    names = (*DECIDING, "energy_of_failing_dies", "logit_fall", "untrained_all_dies", "untrained_failing_dies")
    lines = [
        "| method | " + " | ".join(n.replace("_", " ") for n in names) + " | mean rank | ms |",
        "| --- " * (len(names) + 3) + "|",
    ]
    for name, m in methods.items():
        cells = [f"{m['figures'][n]['mean']:.2f}" if n in m["figures"] else "" for n in names]
        lines.append(f"| {name} | " + " | ".join(cells) + f" | {ranks.get(name, '')} | {m.get('cpu_ms_per_map', '')} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
