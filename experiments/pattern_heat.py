"""Measure whether the heat of each pattern lies on that pattern, and not on the others of the same wafer.

    python -m experiments.pattern_heat RUN [--count 290] [--out experiments/pattern_heat.json]

On composed wafers of two to four patterns, each with its mask. Of every pattern that is on the wafer and passes: the
share of its heat on its own mask, that on the masks of the other patterns (a die of several counts as its own), and
the rest; the share of the own mask in what lies on any mask; and whether the hottest die lies on the own mask or on
another's. The same on failing dies alone. "apart" is heat of which each die is left to the pattern that it speaks for
most, as it is drawn and told. Next to it baselines that know nothing of the pattern asked for, and the heat of the
nine-way logit of the same name, which is there without any sigmoid.
"""

import json
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from wafer_tf.command import CommandParser
from wafer_tf.command import run as run_command
from wafer_tf.dies import Die
from wafer_tf.errors import ModelError
from wafer_tf.explaining.faithfulness import energy_inside, pointing_hit
from wafer_tf.learning.quiet import quiet_tensorflow
from wafer_tf.pattern_bits import PATTERNS, pattern_names
from wafer_tf.released import run_folder

if TYPE_CHECKING:
    from wafer_tf.synthesis.mixed import Mixed

SEED = 1_000_005
METHODS = ("fused", "layercam", "gradcam", "gradcam++")
FIGURES = ("own", "others", "rest", "own_of_all_masks", "hottest_on_own", "hottest_on_others")

Heat = Callable[[int, str], NDArray[np.floating[Any]]]
"""From the number of a wafer and a pattern's name to heat, (rows, cols)."""
Asked = list[tuple[int, str]]
"""Number of a wafer, and a pattern of it."""


def located(heat: NDArray[np.floating[Any]], own: NDArray[np.bool_], others: NDArray[np.bool_]) -> dict[str, float]:
    """Return FIGURES of one heat map, NaN where there is no heat to speak of.

    Args:
        heat: (rows, cols), 0 or more.
        own: (rows, cols), the dies of the pattern.
        others: (rows, cols), the dies of the other patterns.

    Examples:
        >>> own, others = np.array([[True, True, False, False]]), np.array([[False, True, True, False]])
        >>> located(np.array([[1.0, 1.0, 1.0, 1.0]]), own, others)["own"]
        0.5
    """
    if not heat.any():
        return dict.fromkeys(FIGURES, float("nan"))
    others = others & ~own
    on_own, on_others = energy_inside(heat, own), energy_inside(heat, others)
    return {
        "own": on_own,
        "others": on_others,
        "rest": 1 - on_own - on_others,
        "own_of_all_masks": on_own / (on_own + on_others) if on_own + on_others else float("nan"),
        "hottest_on_own": pointing_hit(heat, own),
        "hottest_on_others": pointing_hit(heat, others),
    }


def measured(made: "Mixed", asked: Asked, heat: Heat) -> dict[str, dict[str, dict[str, float]]]:
    """Return FIGURES by pattern, and the mean of the patterns, of heat on all dies and on failing dies alone."""
    found: dict[str, dict[str, list[dict[str, float]]]] = {"all_dies": {}, "failing_dies": {}}
    for i, name in asked:
        own = made.mask(i, name)
        here = pattern_names(int(made.wafers.patterns[i]))
        others = np.any([made.mask(i, other) for other in here if other != name], axis=0)
        whole = heat(i, name)
        for dies, part in (("all_dies", whole), ("failing_dies", whole * (made.wafers.map(i) == Die.FAIL))):
            found[dies].setdefault(name, []).append(located(part, own, others))
    return {dies: with_mean({name: means(rows) for name, rows in sorted(by.items())}) for dies, by in found.items()}


def means(rows: list[dict[str, float]]) -> dict[str, float]:
    """Return the mean of each of FIGURES over the heat maps that have it; `without_heat` counts those that are cold."""
    columns = {name: np.array([row[name] for row in rows]) for name in FIGURES}
    cold = int(np.isnan(columns["own"]).sum())
    kept = {name: column[np.isfinite(column)] for name, column in columns.items()}
    return {name: float(column.mean()) if len(column) else float("nan") for name, column in kept.items()} | {
        "heat_maps": len(rows),
        "without_heat": cold,
    }


def with_mean(by_pattern: dict[str, dict[str, float]]) -> dict[str, dict[str, float]]:
    """Add "mean", over the patterns, and round."""
    mean = {name: float(np.nanmean([found[name] for found in by_pattern.values()])) for name in FIGURES}
    rows = {**by_pattern, "mean": mean}
    return {pattern: {name: round(value, 4) for name, value in found.items()} for pattern, found in rows.items()}


def main(argv: list[str] | None = None) -> int:
    """Measure a run and write the record."""
    p = CommandParser("python -m experiments.pattern_heat", __doc__)
    p.add_argument("run", type=run_folder, metavar="RUN", help="a finished run whose model has the head for patterns")
    p.add_argument("--count", type=int, default=290, help="wafers composed; the 29 combinations take turns (290)")
    p.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".json"))
    args = p.parse_args(argv)
    return run_command(lambda: measure(args.run, count=args.count, out=args.out))


def measure(path: Path, *, count: int, out: Path) -> int:
    """Measure the heat of a run's sigmoids, write the record and print the means; return the exit code."""
    quiet_tensorflow()
    from training.runtime import versions
    from wafer_tf.explaining.heat_maps import Explainer, one_head
    from wafer_tf.explaining.pattern_heat import apart, heat_per_pattern, patterns_of
    from wafer_tf.learning.prediction import predict_logits
    from wafer_tf.learning.run_folder import RunFolder
    from wafer_tf.synthesis.mixed import compose

    run = RunFolder.open(path)
    rule, model = patterns_of(run), run.whole_model()
    if rule is None:
        raise ModelError(f"run folder {path}: no patterns.json; expected a run whose model has the head for patterns.")
    made = compose(count, seed=SEED)
    passed = rule.passing(predict_logits(one_head(model, "patterns"), made.wafers))
    here = np.unpackbits(made.wafers.patterns[:, None], axis=1, bitorder="little").astype(bool)
    shown = np.packbits(passed & here, axis=1, bitorder="little")[:, 0]
    asked = [(i, name) for i in range(count) for name in pattern_names(int(shown[i]))]
    if not asked:
        raise ModelError(
            f"run folder {path}: none of the patterns of {count} composed wafers passes; nothing to measure."
        )

    found: dict[str, Any] = {}
    for name, heat in baselines(made).items():
        found[name] = measured(made, asked, heat)
    for head in ("logits", "patterns"):
        for method in METHODS:
            explainer = Explainer(model, method=method, head=head)
            maps = heat_per_pattern(explainer, made.wafers, shown)
            own: Heat = lambda i, name, maps=maps: maps.of(i)[name]  # noqa: E731
            left: Heat = lambda i, name, maps=maps: apart(maps.of(i))[name]  # noqa: E731
            for how, heat in (("", own), (", apart", left)):
                name = f"{method}, {head}{how}"
                found[name] = {"layer": explainer.layer, **measured(made, asked, heat)}
                print(name, found[name]["all_dies"]["mean"], flush=True)
    record = {
        "date": str(date.today()),
        "command": run.read_json("config.json")["command"],
        "versions": versions(),
        "composed_wafers": count,
        "seed": SEED,
        "patterns_on_them": {name: int(here[:, k].sum()) for k, name in enumerate(PATTERNS) if here[:, k].any()},
        "of_these_pass": {
            name: int((here & passed)[:, k].sum()) for k, name in enumerate(PATTERNS) if here[:, k].any()
        },
        "methods": found,
    }
    out.write_text(json.dumps(record, indent=1) + "\n")
    print(table(found))
    return 0


def baselines(made: "Mixed") -> dict[str, Heat]:
    """Return heat that knows the dies and neither the model nor the pattern asked for."""
    return {
        "uniform on the wafer": lambda i, _: (made.wafers.map(i) != Die.ABSENT).astype(float),
        "failing dies only": lambda i, _: (made.wafers.map(i) == Die.FAIL).astype(float),
    }


def table(found: dict[str, Any]) -> str:
    """Return the means over the patterns as a Markdown table, of all dies."""
    lines = ["| heat | " + " | ".join(name.replace("_", " ") for name in FIGURES) + " |"]
    lines.append("| --- " * (len(FIGURES) + 1) + "|")
    for name, by in found.items():
        lines.append(f"| {name} | " + " | ".join(f"{by['all_dies']['mean'][figure]:.2f}" for figure in FIGURES) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    raise SystemExit(main())
