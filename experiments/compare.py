"""Put finished runs side by side: test macro-F1 with intervals, and F1 per class.

    python -m experiments.compare runs/resnet18-seed0 runs/resnet18-seed1 runs/baseline-seed0 [--out FILE]

Prints a Markdown table, a row a run, and keeps the figures as JSON.
"""

import argparse
import json
from pathlib import Path
from typing import Any


def row(run: Path) -> dict[str, Any]:
    """Return what is compared of one run."""
    report = json.loads((run / "report.json").read_text())
    facts, scores = report["facts"], report["scores"]
    return {
        "run": run.name,
        "command": facts["command"].split(" --out")[0],
        "split": facts["split_method"],
        "seed": facts["seed"],
        "validation_macro_f1": round(facts["validation_macro_f1"], 4),
        "test_macro_f1": [round(scores["macro_f1"][k], 4) for k in ("value", "low", "high")],
        "balanced_accuracy": round(scores["balanced_accuracy"]["value"], 4),
        "calibration_error": round(scores["ece"]["value"], 4),
        "f1": {c["name"]: round(c["f1"]["value"], 3) for c in scores["classes"]},
        "recall": {c["name"]: round(c["recall"]["value"], 3) for c in scores["classes"]},
        "test_wafers": scores["wafers"],
        "parameters": facts["parameters"],
        "training_seconds": facts["seconds"],
        "near_copies_leaked_by_a_lot_split": facts["near_copies_leaked"],
    }


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("runs", nargs="+", type=Path)
    p.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".json"))
    args = p.parse_args()
    rows = [row(run) for run in args.runs]
    args.out.write_text(json.dumps(rows, indent=1) + "\n")
    classes = list(rows[0]["f1"])
    print("| run | validation | test macro-F1 [95 %] | " + " | ".join(classes) + " |")
    print("| --- " * (3 + len(classes)) + "|")
    for r in rows:
        value, low, high = r["test_macro_f1"]
        cells = [r["run"], f"{r['validation_macro_f1']:.3f}", f"{value:.3f} [{low:.3f}, {high:.3f}]"]
        print("| " + " | ".join(cells + [f"{r['f1'][c]:.2f}" for c in classes]) + " |")


if __name__ == "__main__":
    main()
