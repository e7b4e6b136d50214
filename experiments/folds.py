"""Trials of training.fit's settings on group folds of all labelled maps: train on four fifths, score the last fifth.

    python -m experiments.folds reference epochs-24 --folds 0 1 --data MAPS --runs FOLDER --jobs 2

The last epoch's weights are scored, so nothing is chosen by the fold that judges: plain, and as the mean of the logits
over the eight symmetries. Pooled over the folds they rest on every labelled map, or on as many fifths as were run.
A trial already in the results file is not run again. Each runs on one core, in a process of its own.
"""

import json
import multiprocessing
import os
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from wafer_tf.command import CommandParser

FOLDS = 5
LIMITS = {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1", "OMP_NUM_THREADS": "1"}

REFERENCE = ["--model", "baseline", "--width", "16", "--backbone-weights", "none"]
PLAIN = ["--turn-prob", "0", "--stretch-prob", "0", "--die-noise", "0"]
TRIALS: dict[str, list[str]] = {
    "reference": [],
    "epochs-24": ["--epochs", "24"],
    "epochs-96": ["--epochs", "96"],
    "symmetries-alone-24": ["--epochs", "24", *PLAIN],
    "symmetries-alone": PLAIN,
    "width-24": ["--width", "24"],
    "width-32": ["--width", "32"],
    "resnet18": ["--model", "resnet18"],
    "smoothing-0.1": ["--label-smoothing", "0.1"],
    "focal": ["--loss", "focal"],
    "synthetic-400": ["--synthetic", "400"],
    "weight-decay-1e-2": ["--weight-decay", "0.01"],
}
"""What is changed against REFERENCE: the baseline CNN, which trains fastest, with training.fit's defaults else."""


def trial(name: str, fold: int, data: Path, runs: Path) -> dict[str, Any]:
    """Train one trial without one fold, going on where it was stopped, and score it on the fold."""
    os.environ.update(LIMITS)
    from wafer_tf.learning.quiet import quiet_tensorflow

    quiet_tensorflow()

    from sklearn.model_selection import StratifiedGroupKFold

    from experiments import commit
    from training.fit import config_of
    from training.job import fill_classes
    from training.runtime import prepare
    from training.train import train
    from wafer_tf.decision.fitting import macro_f1
    from wafer_tf.learning.prediction import mean_logits, predict_logits
    from wafer_tf.learning.run_folder import RunFolder
    from wafer_tf.readers import read
    from wafer_tf.splitting.splits import make_split

    config = config_of([*REFERENCE, *TRIALS[name], "--seed", str(fold), "--patience", "1000"])
    wafers = read(data)
    wafers = wafers.select(wafers.labelled)
    group = make_split(wafers, seed=0).group
    folds = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=0).split(wafers.label, wafers.label, group)
    inside, outside = list(folds)[fold]
    held_out = wafers.select(outside)
    path = runs / f"{name}-fold{fold}"
    run = RunFolder.open(path, finished=False) if path.exists() else RunFolder.create(path)
    run.write_json("config.json", {"config": config.to_json()})
    strategy = prepare(seed=config.seed, precision=config.precision, require_gpu=False)
    training = fill_classes(wafers.select(inside), config.synthetic, seed=config.seed)
    _, progress = train(config, run, training=training, validation=held_out, strategy=strategy)
    model = progress.last_model()
    logits = {"plain": predict_logits(model, held_out), "symmetries": mean_logits(model, held_out)}
    run.write_arrays("logits.npz", {**logits, "index": outside, "group": group[outside]})
    scores = {f"macro_f1_{way}": round(macro_f1(held_out.label, found.argmax(1)), 4) for way, found in logits.items()}
    return {
        "trial": name,
        "fold": fold,
        "flags": " ".join([*REFERENCE, *TRIALS[name]]),
        **scores,
        "parameters": model.count_params(),
        "seconds": round(sum(row["seconds"] for row in progress.history)),
        "finished": time.strftime("%Y-%m-%d"),
        "commit": commit(),
    }


def summary(results: list[dict[str, Any]], data: Path, runs: Path) -> None:
    """Print each trial's scores pooled over its folds, as a Markdown table."""
    import numpy as np

    from wafer_tf.decision import Decision
    from wafer_tf.dies import CLASSES
    from wafer_tf.readers import read
    from wafer_tf.scoring.scores import score

    wafers = read(data)
    label = wafers.label[wafers.labelled]
    print("| trial | folds | macro-F1 [95 %] | over eight symmetries | " + " | ".join(f"{c}" for c in CLASSES) + " |")
    print("| --- " * (4 + len(CLASSES)) + "|")
    for name in dict.fromkeys(r["trial"] for r in results):
        folds = sorted(r["fold"] for r in results if r["trial"] == name)
        archives = [np.load(runs / f"{name}-fold{fold}" / "logits.npz") for fold in folds]
        index, group = (np.concatenate([a[key] for a in archives]) for key in ("index", "group"))
        found = {
            way: score(label[index], Decision().probabilities(np.concatenate([a[way] for a in archives])), group=group)
            for way in ("plain", "symmetries")
        }
        spans = [f"{s.macro_f1.value:.3f} [{s.macro_f1.low:.3f}, {s.macro_f1.high:.3f}]" for s in found.values()]
        recall = [f"{c.recall.value:.2f}" for c in found["plain"].classes]
        print("| " + " | ".join([name, " ".join(map(str, folds)), *spans, *recall]) + " |")


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
    summary(results, args.data, args.runs)


if __name__ == "__main__":
    main()
