"""What models call wafers with hardly a failing die: 20 round ones of each size, their fails scattered at random.

    python -m experiments.clean_wafers models/wafer models/nano

Writes clean_wafers.json.
"""

import json
from pathlib import Path

import numpy as np

from wafer_tf.command import CommandParser

SIDES = (20, 26, 40, 64, 100)
FAILING = (0, 1, 3, 6, 12, 30)
MAPS = 20


def main() -> None:
    p = CommandParser("python -m experiments.clean_wafers", __doc__)
    p.add_argument("runs", nargs="+", type=Path, metavar="RUN")
    p.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".json"))
    args = p.parse_args()
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


if __name__ == "__main__":
    main()
