"""What a warning at calls of none catches: escapes and right calls warned of, by the probability of any defect.

    python -m experiments.escape_warning runs/resnet18-seed0 runs/baseline-seed0 [--out FILE]

Counts over the validation and test parts of all runs together; prints a Markdown table and keeps the counts as JSON.
"""

import json
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from training.job import load_config, load_data
from wafer_tf.command import CommandParser
from wafer_tf.dies import NONE
from wafer_tf.learning.quiet import quiet_tensorflow
from wafer_tf.learning.run_folder import RunFolder
from wafer_tf.splitting.splits import Split

LEVELS = (0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4)


def none_calls(path: Path) -> list[tuple[float, bool]]:
    """Return, of every call of none, the probability of any defect, and whether the call is an escape."""
    run = RunFolder.open(path)
    wafers = load_data(load_config(run))
    split = Split.load(path / "split.npz", wafers)
    found = []
    for part in ("validation", "test"):
        prob = run.decision().probabilities(run.read_array("logits.npz", part))
        called = prob.argmax(axis=1) == NONE
        label = wafers.label[getattr(split, part)][called]
        found += list(zip((1 - prob[called, NONE]).tolist(), (label != NONE).tolist(), strict=True))
    return found


def main() -> None:
    p = CommandParser("python -m experiments.escape_warning", __doc__)
    p.add_argument("runs", nargs="+", type=Path)
    p.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".json"))
    args = p.parse_args()
    quiet_tensorflow()
    defect_prob, escape = (np.array(column) for column in zip(*chain(*map(none_calls, args.runs)), strict=True))
    rows: list[dict[str, Any]] = [
        {
            "warn_from": level,
            "escapes_warned": int((escape & (defect_prob >= level)).sum()),
            "right_calls_warned": int((~escape & (defect_prob >= level)).sum()),
        }
        for level in LEVELS
    ]
    counts = {
        "runs": [run.name for run in args.runs],
        "escapes": int(escape.sum()),
        "right_calls": int((~escape).sum()),
    }
    args.out.write_text(json.dumps(counts | {"levels": rows}, indent=1) + "\n")
    print(f"| warn from | of {counts['escapes']} escapes | of {counts['right_calls']} right calls of none |")
    print("| --- | --- | --- |")
    for row in rows:
        print(f"| {row['warn_from']} | {row['escapes_warned']} | {row['right_calls_warned']} |")


if __name__ == "__main__":
    main()
