"""What tools do to maps, and what a model then calls them: each change keeps the label.

    python -m experiments.robustness wafer=runs/release/wafer/folds/1 before=models/wafer --run runs/release/wafer

Judged are wafers of the run's first fold that no model named has learned from: 1,000 defects, the classes in turn, and
1,000 of none. Clean wafers are round ones of 20 to 160 dies across with 0 to 30 of them failing. Float models answer,
each by its run's own decision, folds by that of --run. Writes robustness.json.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wafer_tf.command import CommandParser
from wafer_tf.dies import NONE, Die

WAFERS = 1000
SIDES = (20, 26, 33, 40, 52, 64, 80, 100, 130, 160)
CLEAN = 200
"""Clean wafers of each size."""

Grid = NDArray[np.uint8]


def bordered(share: float) -> Callable[[Grid, np.random.Generator], Grid]:
    """Return a change that puts an empty border of a share of the side round the map."""
    return lambda grid, rng: np.pad(grid, max(1, round(share * max(grid.shape))))


def without_a_row(grid: Grid, rng: np.random.Generator) -> Grid:
    """Leave a row or a column without dies."""
    grid = grid.copy()
    if rng.random() < 0.5:
        grid = grid.T
    grid[rng.integers(len(grid))] = Die.ABSENT
    return grid


def without_edge(rings: int) -> Callable[[Grid, np.random.Generator], Grid]:
    """Return a change that takes so many dies off the edge all round."""

    def change(grid: Grid, rng: np.random.Generator) -> Grid:
        from scipy.ndimage import binary_erosion

        cross = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]], bool)
        inside = binary_erosion(np.pad(grid != Die.ABSENT, 1), cross, iterations=rings)[1:-1, 1:-1]
        return np.where(inside, grid, Die.ABSENT).astype(np.uint8)

    return change


def every_other(grid: Grid, rng: np.random.Generator) -> Grid:
    """Leave every other die untested, as a chequerboard."""
    rows, cols = np.indices(grid.shape)
    return np.where((rows + cols) % 2 == 0, grid, Die.ABSENT).astype(np.uint8)


def unknown(grid: Grid, rng: np.random.Generator) -> Grid:
    """Leave 1 % of the dies without a result."""
    return np.where(rng.random(grid.shape) < 0.01, Die.ABSENT, grid).astype(np.uint8)


CHANGES: dict[str, Callable[[Grid, np.random.Generator], Grid]] = {
    "as they are": lambda grid, rng: grid,
    "an empty border of 4 % of the side": bordered(0.04),
    "an empty border of 12 %": bordered(0.12),
    "a row or column without dies": without_a_row,
    "one die less all round": without_edge(1),
    "two dies less all round": without_edge(2),
    "every other die untested": every_other,
    "1 % of the dies unknown": unknown,
}


def clean(side: int) -> list[Grid]:
    """Return clean wafers of a size, drawn alike for every model."""
    from app.wafer import round_wafer

    rng, maps = np.random.default_rng(side), []
    for _ in range(CLEAN):
        grid = round_wafer(side)
        grid.flat[rng.choice(np.flatnonzero(grid), int(rng.integers(31)), replace=False)] = Die.FAIL
        maps.append(grid)
    return maps


def main() -> None:
    p = CommandParser("python -m experiments.robustness", __doc__)
    p.add_argument("models", nargs="+", metavar="NAME=RUN")
    p.add_argument("--run", type=Path, required=True, help="a run by folds: whose data, folds and decision are used")
    p.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".json"))
    args = p.parse_args()
    from wafer_tf.learning.quiet import quiet_tensorflow

    quiet_tensorflow()
    from edge.quantization.calibration import in_turn
    from experiments import commit
    from training.job import load_config, load_data
    from wafer_tf.learning.prediction import predict_logits
    from wafer_tf.learning.run_folder import RunFolder
    from wafer_tf.splitting.overlap import fingerprints
    from wafer_tf.splitting.splits import Split
    from wafer_tf.waferset import WaferSet

    whole = RunFolder.open(args.run)
    wafers = load_data(load_config(whole))
    split = Split.load(args.run / "split.npz", wafers)
    runs = {name: RunFolder.open(path) for name, path in (item.split("=", 1) for item in args.models)}
    fresh = wafers.select(np.flatnonzero(split.part == 0))
    learned = np.concatenate([run.seen() for run in runs.values()])
    fresh = fresh.select(np.flatnonzero(~np.isin(fingerprints(fresh), learned)))
    defects, none = np.flatnonzero(fresh.label != NONE), np.flatnonzero(fresh.label == NONE)
    kept = np.concatenate([defects[in_turn(fresh.label[defects], WAFERS, seed=0)], none[:WAFERS]])
    judged, table = fresh.select(kept), dict[str, Any]()
    for name, run in runs.items():
        model = run.model()
        decision = run.decision() if (run.path / "decision.json").exists() else whole.decision()

        def called(maps: list[Grid], model: Any = model, decision: Any = decision) -> NDArray[np.int64]:
            logits = predict_logits(model, WaferSet.from_maps(maps, label=np.full(len(maps), NONE)))
            return np.asarray(decision.probabilities(logits).argmax(axis=1))

        rows, before = {}, None
        for change, make in CHANGES.items():
            rng = np.random.default_rng(0)
            calls = called([make(judged.map(i), rng) for i in range(len(judged))])
            before = calls if before is None else before
            bad = judged.label != NONE
            rows[change] = {
                "right_per_cent": round(100 * float((calls == judged.label)[bad].mean()), 1),
                "defects_called_none": int((calls == NONE)[bad].sum()),
                "none_called_a_defect": int((calls != NONE)[~bad].sum()),
                "same_call_per_cent": round(100 * float((calls == before).mean()), 1),
            }
        flagged = {str(side): int((called(clean(side)) != NONE).sum()) for side in SIDES}
        table[name] = {"changes": rows, "clean_wafers_called_a_defect": flagged}
        print(name, json.dumps(table[name], indent=1))
    facts = {"commit": commit(), "defects": int(bad.sum()), "none": int((~bad).sum()), "clean_of_each_size": CLEAN}
    args.out.write_text(json.dumps(facts | {"models": table}, indent=1) + "\n")


if __name__ == "__main__":
    main()
