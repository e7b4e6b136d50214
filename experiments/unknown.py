"""What the released int8 models flag as unknown: drawn families, MixedWM38, and wafers that must not be flagged.

    python -m experiments.unknown wafer nano

Every family of `synthesis.others` is drawn on die grids and behind yield loss that are drawn too. The models that ship
have learned the families; what a family not learned is worth stands in models/NAME/unknown.json, out of fold. Known
are wafers of the nine classes drawn by `synthesis`, clean wafers of 20 to 160 dies across, wafers of 32 dies, and
MixedWM38's wafers of one pattern or none (another fab's); its others have two to four patterns. Writes unknown.json and
docs/img/unknown.png, a sheet of wafers flagged and missed. Models not named keep their figures.
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from wafer_tf.command import CommandParser

if TYPE_CHECKING:
    from wafer_tf.inference.proven import ProvenModel
    from wafer_tf.waferset import WaferSet

WAFERS = 200
"""Of each family, class and size."""
MIXED = 500
"""Wafers of MixedWM38 of each number of patterns."""
SHEET = ("reticle", "probe_columns", "spiral", "quadrant", "gripper", "comets", "lift_pins", "several")
SURE = 0.9


def main() -> None:
    p = CommandParser("python -m experiments.unknown", __doc__)
    p.add_argument("models", nargs="+", metavar="MODEL")
    p.add_argument("--mixed", type=Path, default=Path("../shared/data/mixedwm38/mixedwm38_dev.npz"))
    p.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".json"))
    p.add_argument("--sheet", type=Path, default=Path("docs/img/unknown.png"))
    args = p.parse_args()
    from experiments import commit
    from experiments.robustness import SIDES, clean
    from wafer_tf.bundle import load_bundle
    from wafer_tf.dies import CLASSES
    from wafer_tf.inference.proven import ProvenModel
    from wafer_tf.readers import read
    from wafer_tf.released import bundle_folder
    from wafer_tf.synthesis import synthesize
    from wafer_tf.synthesis.others import NAMES, draw_others

    drawn = synthesize({"none": 1000}, seed=7).wafers
    grids = [drawn.map(i) for i in range(len(drawn))]
    others = {name: draw_others(name, WAFERS, seed=7, grids=grids) for name in NAMES}
    made = synthesize(WAFERS, seed=8).wafers
    known = {f"drawn {name}": made.select(np.flatnonzero(made.label == c)) for c, name in enumerate(CLASSES)}
    known |= {f"clean, {side} dies across": _of_none(clean(side)) for side in SIDES}
    known["32 dies"] = _of_none(_small())
    mixed = read(args.mixed)
    patterns = np.array([bin(int(bits)).count("1") for bits in mixed.patterns])
    rng = np.random.default_rng(0)
    fab = {
        f"MixedWM38, {n} patterns": mixed.select(np.sort(rng.permutation(np.flatnonzero(patterns == n))[:MIXED]))
        for n in range(5)
    }
    found: dict[str, Any] = json.loads(args.out.read_text())["models"] if args.out.exists() else {}
    for model in args.models:
        proven = ProvenModel(load_bundle(bundle_folder(model)))
        found[model] = {
            kind: {name: _row(proven, wafers) for name, wafers in sets.items()}
            for kind, sets in (("others", others), ("known", known), ("other_fab", fab))
        }
        of_others = [row["flagged"] for row in found[model]["others"].values()]
        found[model]["mean_flagged_of_others"] = round(float(np.mean(of_others)), 4)
        for kind, rows in found[model].items():
            if not isinstance(rows, dict):
                continue
            print(model, kind, "flagged:", {name: row["flagged"] for name, row in rows.items()}, flush=True)
    facts = {"commit": commit(), "wafers_of_each": WAFERS, "mixed_of_each": MIXED, "sure": SURE, "models": found}
    args.out.write_text(json.dumps(facts, indent=1) + "\n")
    _draw_sheet(ProvenModel(load_bundle(bundle_folder(args.models[0]))), others, args.sheet)


def _of_none(maps: list[NDArray[np.uint8]]) -> "WaferSet":
    from wafer_tf.dies import NONE
    from wafer_tf.waferset import WaferSet

    return WaferSet.from_maps(maps, label=np.full(len(maps), NONE))


def _small() -> list[NDArray[np.uint8]]:
    """Return wafers of 32 dies, of which up to two fail."""
    from app.wafer import round_wafer
    from wafer_tf.dies import Die

    rng, maps = np.random.default_rng(0), []
    for _ in range(WAFERS):
        grid = round_wafer(6)
        grid.flat[rng.choice(np.flatnonzero(grid), int(rng.integers(3)), replace=False)] = Die.FAIL
        maps.append(grid)
    return maps


def _judged(proven: "ProvenModel", wafers: "WaferSet") -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return (n, 9) probabilities and (n,) unknown scores."""
    told = [proven.judgement(wafers.map(i)) for i in range(len(wafers))]
    return np.stack([one.probabilities for one in told]), np.array([one.unknown_score for one in told], float)


def _row(proven: "ProvenModel", wafers: "WaferSet") -> dict[str, Any]:
    from wafer_tf.decision.unknown import UNKNOWN_ABOVE
    from wafer_tf.dies import NONE

    prob, score = _judged(proven, wafers)
    unflagged = ~(score > UNKNOWN_ABOVE)  # a wafer of few dies has no score
    return {
        "flagged": round(float((~unflagged).mean()), 4),
        "flagged_at_0.95": round(float((score > 0.95).mean()), 4),
        "none_and_sure": int((unflagged & (prob[:, NONE] >= SURE)).sum()),
        "wafers": len(wafers),
    }


def _draw_sheet(proven: "ProvenModel", others: dict[str, "WaferSet"], path: Path) -> None:
    """Draw, of some families, three wafers that are flagged and two that are not, where there are so many."""
    from matplotlib.figure import Figure

    from wafer_tf.decision.unknown import UNKNOWN_ABOVE
    from wafer_tf.dies import CLASSES
    from wafer_tf.figures.style import draw_map, save, style

    with style():
        figure = Figure(figsize=(8, 1.65 * len(SHEET)), layout="constrained")
        for row, name in enumerate(SHEET):
            prob, score = _judged(proven, others[name])
            flagged, missed = np.flatnonzero(score > UNKNOWN_ABOVE)[:3], np.flatnonzero(score <= UNKNOWN_ABOVE)[:2]
            for column, i in [*enumerate(flagged), *enumerate(missed, start=3)]:
                axes = figure.add_subplot(len(SHEET), 5, 5 * row + column + 1)
                called = f"{CLASSES[prob[i].argmax()]} {prob[i].max():.2f}"
                verdict = "unknown" if column < 3 else "missed"
                draw_map(axes, others[name].map(int(i)), title=f"{name}: {verdict}\n{called}, score {score[i]:.3f}")
        save(figure, path)


if __name__ == "__main__":
    main()
