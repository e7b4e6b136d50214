"""What models call wafers with hardly a failing die: 20 round ones of each size, their fails scattered at random.

    python -m experiments.clean_wafers models/wafer models/nano
    python -m experiments.clean_wafers wafer nano --map ../shared/data/formats/CPS3TwithoutReview.001

The second draws 500 clean wafers on the die grid of a tool's file instead, 0 to 30 of their dies failing, and lets the
stations' int8 models judge them. Writes clean_wafers.json, or clean_on_NAME.json.
"""

import json
from pathlib import Path

import numpy as np

from wafer_tf.command import CommandParser

SIDES = (20, 26, 40, 64, 100)
FAILING = (0, 1, 3, 6, 12, 30)
MAPS = 20
ON_MAP = 500


def main() -> None:
    p = CommandParser("python -m experiments.clean_wafers", __doc__)
    p.add_argument("runs", nargs="+", type=Path, metavar="RUN")
    p.add_argument("--map", type=Path, metavar="FILE", help="a tool's file whose die grid is used")
    p.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".json"))
    args = p.parse_args()
    if args.map:
        on_map(args.runs, args.map)
        return
    from wafer_tf.learning.quiet import quiet_tensorflow

    quiet_tensorflow()

    from app.wafer import round_wafer
    from experiments import commit
    from wafer_tf.dies import CLASSES, NONE, Die
    from wafer_tf.learning.prediction import predict_logits
    from wafer_tf.learning.run_folder import RunFolder
    from wafer_tf.waferset import WaferSet

    rng = np.random.default_rng(0)
    maps = []
    for side in SIDES:
        for failing in FAILING:
            for _ in range(MAPS):
                grid = round_wafer(side)
                grid.flat[rng.choice(np.flatnonzero(grid), failing, replace=False)] = Die.FAIL
                maps.append(grid)
    wafers = WaferSet.from_maps(maps, label=np.full(len(maps), NONE))
    found: dict[str, list[dict[str, object]]] = {}
    print("| model | dies across | " + " | ".join(f"{n} fail" for n in FAILING) + " |")
    print("| --- " * (2 + len(FAILING)) + "|")
    for path in args.runs:
        run = RunFolder.open(path)
        call = run.decision().probabilities(predict_logits(run.model(), wafers)).argmax(axis=1)
        call = call.reshape(len(SIDES), len(FAILING), MAPS)
        found[path.name] = [
            {
                "across": side,
                "failing": n,
                "called": {CLASSES[c]: int((call[i, j] == c).sum()) for c in set(call[i, j])},
            }
            for i, side in enumerate(SIDES)
            for j, n in enumerate(FAILING)
        ]
        for i, side in enumerate(SIDES):
            shares = [f"{int((row == NONE).sum())}" for row in call[i]]
            print(f"| {path.name} | {side} | " + " | ".join(shares) + " |")
    args.out.write_text(json.dumps({"commit": commit(), "maps": MAPS, "models": found}, indent=1) + "\n")


def on_map(models: list[Path], path: Path) -> None:
    """Count how many of ON_MAP clean wafers on a file's die grid each released model calls none."""
    from experiments import commit
    from wafer_tf.bundle import load_bundle
    from wafer_tf.dies import CLASSES, Die
    from wafer_tf.inference.proven import ProvenModel
    from wafer_tf.readers import read
    from wafer_tf.released import bundle_folder

    real = read(path).map(0)
    rng = np.random.default_rng(0)
    maps = []
    for _ in range(ON_MAP):
        grid = np.where(real == Die.ABSENT, Die.ABSENT, Die.PASS).astype(np.uint8)
        grid.flat[rng.choice(np.flatnonzero(grid), int(rng.integers(max(FAILING) + 1)), replace=False)] = Die.FAIL
        maps.append(grid)
    found = {}
    for model in models:
        proven = ProvenModel(load_bundle(bundle_folder(str(model))), allow_slow=True)
        called = [CLASSES[proven.probabilities(grid).argmax()] for grid in maps]
        prob = proven.probabilities(real)
        found[str(model)] = {
            "called": {name: called.count(name) for name in CLASSES if name in called},
            "real": {"called": CLASSES[prob.argmax()], "probability": round(float(prob.max()), 4)},
        }
        print(model, found[str(model)])
    out = Path(__file__).with_name(f"clean_on_{path.stem}.json")
    facts = {"commit": commit(), "maps": ON_MAP, "failing": [0, max(FAILING)], "grid": real.shape, "models": found}
    out.write_text(json.dumps(facts, indent=1) + "\n")


if __name__ == "__main__":
    main()
