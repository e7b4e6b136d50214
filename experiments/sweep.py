"""Run named trials of training.fit over seeds, one core each, and keep their validation scores in one JSON file.

    python -m experiments.sweep size-48 size-32 --data MAPS --runs FOLDER --jobs 2

A trial already in the results file is not run again. Every trial is judged on its run's validation part alone.
"""

import argparse
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

TRIALS: dict[str, list[str]] = {
    "reference": [],
    "size-32": ["--input-size", "32"],
    "size-48": ["--input-size", "48"],
    "size-96": ["--input-size", "96"],
    "encoder-nearest": [],
    "encoder-area": [],
    "weights-none": ["--class-weights", "none"],
    "weights-balanced": ["--class-weights", "balanced"],
    "smoothing-0.1": ["--label-smoothing", "0.1"],
    "focal": ["--loss", "focal"],
    "turn-0.5": ["--turn-prob", "0.5"],
    "noise-0.1": ["--die-noise", "0.1"],
    "synthetic-400": ["--synthetic", "400"],
    "width-8": ["--width", "8"],
    "width-32": ["--width", "32"],
    "width-32-imagenet-stem": ["--width", "32", "--stem", "imagenet"],
    "width-64-imagenet-stem": ["--width", "64", "--stem", "imagenet"],
    "baseline": ["--model", "baseline"],
}
"""One change at a time against the reference, which is training.fit's defaults."""


def trial(name: str, seed: int, args: argparse.Namespace) -> dict[str, object]:
    """Run one trial to its end, resuming it where it was stopped, and return what it scored on validation."""
    run = args.runs / f"{name}-seed{seed}"
    flags = [*TRIALS[name], "--epochs", str(args.epochs), "--seed", str(seed)]
    command = ["--data", str(args.data), "--out", str(run), *flags]
    if (run / "config.json").exists():
        command = ["--resume", str(run)]
    if name.startswith("encoder-"):
        program = ["-m", "experiments.other_encodings", name.removeprefix("encoder-")]
    else:
        program = ["-m", "training.fit"]
    if not (run / "DONE").exists():
        limits = {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1", "OMP_NUM_THREADS": "1"}
        with run.with_suffix(".log").open("a") as log:
            whole = [sys.executable, *program, *command]
            subprocess.run(whole, check=True, stdout=log, stderr=log, env=os.environ | limits)
    facts = json.loads((run / "report.json").read_text())["facts"]
    macro, low, high = validation_score(run, args.data)
    return {
        "trial": name, "seed": seed, "flags": " ".join(flags), "validation_macro_f1": macro,
        "low": low, "high": high, "best_epoch": facts["best_epoch"], "parameters": facts["parameters"],
        "train_seconds": facts["seconds"],
    }  # fmt: skip


def validation_score(run: Path, data: Path) -> tuple[float, float, float]:
    """Return macro-F1 of the best epoch's plain logits on validation, with its 95 % interval over groups."""
    from wafer_tf.decision import Decision
    from wafer_tf.readers import read
    from wafer_tf.scores import score
    from wafer_tf.splits import Split

    wafers = read(data)
    wafers = wafers.select(wafers.labelled)
    split = Split.load(run / "split.npz", wafers)
    with np.load(run / "logits.npz") as archive:
        prob = Decision().probabilities(archive["validation"])
    found = score(wafers.label[split.validation], prob, group=split.group[split.validation]).macro_f1
    return round(found.value, 4), round(found.low, 4), round(found.high, 4)


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("trials", nargs="*", metavar="TRIAL", help="default all: " + ", ".join(TRIALS))
    p.add_argument("--data", type=Path, required=True)
    p.add_argument("--runs", type=Path, required=True, help="where the run folders go")
    p.add_argument("--results", type=Path, default=Path(__file__).parent / "results.json")
    p.add_argument("--epochs", type=int, default=12)
    p.add_argument("--seeds", type=int, nargs="+", default=[0])
    p.add_argument("--jobs", type=int, default=2, help="trials at once, one core each")
    args = p.parse_args()
    args.runs.mkdir(parents=True, exist_ok=True)
    results = json.loads(args.results.read_text()) if args.results.exists() else []
    done = {(r["trial"], r["seed"]) for r in results}
    wanted = [(t, seed) for seed in args.seeds for t in args.trials or TRIALS if (t, seed) not in done]
    with ThreadPoolExecutor(args.jobs) as pool:
        for result in pool.map(lambda t: trial(*t, args), wanted):
            print(json.dumps(result), flush=True)
            results = json.loads(args.results.read_text()) if args.results.exists() else []
            args.results.write_text(json.dumps([*results, result], indent=1) + "\n")


if __name__ == "__main__":
    main()
