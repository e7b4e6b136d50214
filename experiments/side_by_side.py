"""Put finished runs side by side: macro-F1 on validation and test with intervals, F1 and recall per class.

    python -m experiments.side_by_side runs/resnet18-seed0 runs/baseline-seed0 [--commit HASH] [--out FILE]

Prints a Markdown table, a row a run, and keeps the figures as JSON. The maps must be where the runs read them.
"""

import json
import re
from dataclasses import astuple
from pathlib import Path
from typing import Any

from wafer_tf.command import CommandParser
from wafer_tf.learning.run_folder import RunFolder
from wafer_tf.readers import read
from wafer_tf.scoring.scores import score
from wafer_tf.splitting.splits import Split


def rounded(value: float, low: float, high: float) -> list[float]:
    """Return a figure and its interval for the record."""
    return [round(v, 4) for v in (value, low, high)]


def command(facts: dict[str, Any]) -> str:
    """Return how a run was trained, without where it was written."""
    return re.sub(r" --out \S+", "", facts["command"])


def row(path: Path) -> dict[str, Any]:
    """Return what is compared of one run."""
    run = RunFolder.open(path)
    report = json.loads((path / "report.json").read_text())
    facts, scores = report["facts"], report["scores"]
    wafers = read(facts["data_path"])
    split = Split.load(path / "split.npz", wafers)
    at = split.validation
    prob = run.decision().probabilities(run.read_array("logits.npz", "validation"))
    return {
        "run": path.name,
        "command": command(facts),
        "split": facts["split_method"],
        "seed": facts["seed"],
        "validation_macro_f1": rounded(*astuple(score(wafers.label[at], prob, group=split.group[at]).macro_f1)),
        "test_macro_f1": rounded(**scores["macro_f1"]),
        "balanced_accuracy": round(scores["balanced_accuracy"]["value"], 4),
        "calibration_error": round(scores["ece"]["value"], 4),
        "f1": {c["name"]: round(c["f1"]["value"], 4) for c in scores["classes"]},
        "recall": {c["name"]: round(c["recall"]["value"], 4) for c in scores["classes"]},
        "test_wafers": scores["wafers"],
        "parameters": facts["parameters"],
        "training_seconds": facts["seconds"],
        "near_copies_leaked_by_a_lot_split": facts["near_copies_leaked"],
    }


def table(rows: list[dict[str, Any]], figure: str, name: str = "run") -> str:
    """Return a Markdown table, a row a run, with `figure` ("f1" or "recall") per class."""
    classes = list(rows[0][figure])
    lines = [f"| {name} | validation [95 %] | test macro-F1 [95 %] | " + " | ".join(classes) + " |"]
    lines += ["| --- " * (3 + len(classes)) + "|"]
    for r in rows:
        spans = ["{:.3f} [{:.3f}, {:.3f}]".format(*r[k]) for k in ("validation_macro_f1", "test_macro_f1")]
        lines.append("| " + " | ".join([r[name], *spans, *(f"{r[figure][c]:.2f}" for c in classes)]) + " |")
    return "\n".join(lines)


def main() -> None:
    p = CommandParser("python -m experiments.side_by_side", __doc__)
    p.add_argument("runs", nargs="+", type=Path)
    p.add_argument("--commit", default="", help="of wafer_tf that trained them, to be kept with the figures")
    p.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".json"))
    args = p.parse_args()
    rows = [row(run) | {"commit": args.commit} for run in args.runs]
    args.out.write_text(json.dumps(rows, indent=1) + "\n")
    print(table(rows, "f1"))


if __name__ == "__main__":
    main()
