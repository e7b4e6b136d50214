"""Trials of training.fit's settings on group folds: train without a fold, judge by it, beside the reference.

    python -m experiments.folds reference sqrt-weights --folds 0 1 --data wafers.parquet --runs FOLDER --jobs 2

The last weights are scored, so nothing is chosen by the fold that judges. The class biases are fitted on one half of
the fold's groups and judged on the other. Every trial is held against the reference on the same wafers: paired, with
95 % intervals over groups. A trial already in the results file is not run again. Each runs on one core, in a process
of its own.
"""

import json
import multiprocessing
import os
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from training.release import TRAININGS
from wafer_tf.command import CommandParser

LIMITS = {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1", "OMP_NUM_THREADS": "1"}

REFERENCE = [*TRAININGS["wafer"], "--epochs", "8"]
PLAIN = ["--turn-prob", "0", "--stretch-prob", "0", "--die-noise", "0"]
TRIALS: dict[str, list[str]] = {
    "reference": [],
    "another-seed": ["--seed", "1", "--split-seed", "0"],
    "sqrt-weights": ["--class-weights", "sqrt"],
    "balanced-weights": ["--class-weights", "balanced"],
    "all-none": ["--none-per-epoch", "0"],
    "30000-none": ["--none-per-epoch", "30000"],
    "last-weights": ["--weight-average", "0"],
    "symmetries-alone": PLAIN,
    "epochs-20": ["--epochs", "20"],
    "smoothing-0.1": ["--label-smoothing", "0.1"],
    "cells-96": ["--input-size", "96"],
    "nano": [*TRAININGS["nano"], "--epochs", "8"],
    "baseline": ["--model", "baseline"],
    "resnet18-width-24": ["--model", "resnet18", "--width", "24"],
}
"""What is changed against REFERENCE, the recipe of the released `wafer` with fewer epochs."""


def trial(name: str, fold: int, data: Path, runs: Path) -> dict[str, Any]:
    """Train one trial without one fold, going on where it was stopped, and score it on the fold."""
    os.environ.update(LIMITS)
    from wafer_tf.learning.quiet import quiet_tensorflow

    quiet_tensorflow()

    import numpy as np

    from experiments import commit
    from experiments.out_of_fold import multiplications
    from training.fit import config_of
    from training.runtime import prepare
    from training.train import train
    from wafer_tf.decision.fitting import fit_decision, macro_f1
    from wafer_tf.learning.prediction import predict_logits
    from wafer_tf.learning.run_folder import RunFolder
    from wafer_tf.readers import read
    from wafer_tf.splitting.splits import make_folds

    config = config_of([*REFERENCE, *TRIALS[name]])
    wafers = read(data)
    wafers = wafers.select(wafers.labelled)
    split = make_folds(wafers, config.folds, seed=0)
    outside = np.flatnonzero(split.part == fold)
    held_out, group = wafers.select(outside), split.group[outside]
    path = runs / f"{name}-fold{fold}"
    run = RunFolder.open(path, finished=False) if path.exists() else RunFolder.create(path)
    run.write_json("config.json", {"config": config.to_json()})
    strategy = prepare(seed=config.seed, precision=config.precision, require_gpu=False)
    began = time.process_time()
    training = wafers.select(np.flatnonzero(split.part != fold))
    model, progress = train(config, run, training=training, validation=None, strategy=strategy)
    spent = time.process_time() - began
    logits = predict_logits(model, held_out)
    half = np.unique(group, return_inverse=True)[1] % 2
    prob = np.zeros(logits.shape)
    for own in (half == 0, half == 1):
        prob[own] = fit_decision(logits[~own], held_out.label[~own], group[~own]).probabilities(logits[own])
    run.write_arrays("answers.npz", {"prob": prob, "label": held_out.label, "group": group})
    return {
        "trial": name,
        "fold": fold,
        "flags": " ".join([*REFERENCE, *TRIALS[name]]),
        "macro_f1": round(macro_f1(held_out.label, logits.argmax(1)), 4),
        "macro_f1_decided": round(macro_f1(held_out.label, prob.argmax(1)), 4),
        "million_multiplications": round(multiplications(model) / 1e6, 1),
        "processor_minutes": round(spent / 60, 1),
        "epochs": len(progress.history),
        "finished": time.strftime("%Y-%m-%d"),
        "commit": commit(),
    }


def summary(results: list[dict[str, Any]], runs: Path) -> None:
    """Print each trial beside the reference on the folds that both judged, as a Markdown table."""
    import numpy as np

    from edge.gate.comparison import compare

    print("| trial | folds | macro-F1 | gain on the reference [95 %] | million multiplications | processor minutes |")
    print("| --- " * 6 + "|")
    done = {(r["trial"], r["fold"]): r for r in results}
    for name in dict.fromkeys(r["trial"] for r in results):
        folds = [fold for trial_, fold in done if trial_ == name and ("reference", fold) in done]
        if not folds:
            continue
        mine, theirs = (
            [np.load(runs / f"{which}-fold{fold}" / "answers.npz") for fold in folds] for which in (name, "reference")
        )
        label, group, prob = (np.concatenate([a[key] for a in mine]) for key in ("label", "group", "prob"))
        found = compare(label, np.concatenate([a["prob"] for a in theirs]), prob, group=group)
        drop, rows = found.macro_f1_drop, [done[name, fold] for fold in folds]
        cells = [
            name,
            " ".join(map(str, folds)),
            f"{found.macro_f1.value:.3f}",
            f"{-drop.value:+.3f} [{-drop.high:+.3f}, {-drop.low:+.3f}]",
            f"{rows[0]['million_multiplications']:.1f}",
            f"{sum(r['processor_minutes'] for r in rows):.0f}",
        ]
        print("| " + " | ".join(cells) + " |")


def main() -> None:
    p = CommandParser("python -m experiments.folds", __doc__)
    p.add_argument("trials", nargs="*", metavar="TRIAL", help="default all: " + ", ".join(TRIALS))
    p.add_argument("--data", type=Path, required=True)
    p.add_argument("--runs", type=Path, required=True, help="where the run folders go")
    p.add_argument("--results", type=Path, default=Path(__file__).with_suffix(".json"))
    p.add_argument("--folds", type=int, nargs="+", default=[0, 1])
    p.add_argument("--jobs", type=int, default=2, help="trials at once, one core each")
    args = p.parse_args()
    args.runs.mkdir(parents=True, exist_ok=True)
    results = json.loads(args.results.read_text()) if args.results.exists() else []
    done = {(r["trial"], r["fold"]) for r in results}
    wanted = [(t, fold) for t in args.trials or TRIALS for fold in args.folds if (t, fold) not in done]
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(args.jobs, context, max_tasks_per_child=1) as pool:
        for job in [pool.submit(trial, t, fold, args.data, args.runs) for t, fold in wanted]:
            print(json.dumps(job.result()), flush=True)
            results.append(job.result())
            args.results.write_text(json.dumps(results, indent=1) + "\n")
    summary(results, args.runs)


if __name__ == "__main__":
    main()
