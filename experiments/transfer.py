"""What starting from the released model is worth: few maps per class, fine-tuned from it and trained from scratch.

    python -m experiments.transfer --runs FOLDER [--jobs 2]

The maps are synthetic, which the released model has never seen: they stand for another fab, whose real maps are not at
hand. Every run has the same number of steps and is scored with its last weights on the same 900 further maps, as is
the released model untouched. Runs that are finished are not repeated. Writes transfer.json; where nothing
was left out by a flag also the table and docs/img/transfer.png, of the default learning rate.
"""

import json
import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from training.config import FitConfig
from wafer_tf.command import CommandParser

ROOT = Path(__file__).parents[1]
PER_CLASS = (5, 20, 50, 100)
SEEDS = (0, 1, 2)
STARTS = {"none": "from scratch", "wafer": "from the released model"}
UNTOUCHED = "released model untouched"
BATCH, STEPS = 32, 300
DRAW_SEED, TEST_SEED = 2_000_003, 2_000_029
LIMITS = {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1", "OMP_NUM_THREADS": "1"}


def trial(start: str, per_class: int, seed: int, rate: float, runs: Path) -> dict[str, Any]:
    """Train once at a peak learning rate and score; one core."""
    os.environ.update(LIMITS)
    from wafer_tf.learning.quiet import quiet_tensorflow

    quiet_tensorflow()

    from experiments import commit
    from training.fit import config_of
    from training.runtime import prepare
    from training.train import train
    from wafer_tf.decision.fitting import macro_f1
    from wafer_tf.learning.prediction import predict_logits
    from wafer_tf.learning.run_folder import RunFolder
    from wafer_tf.synthesis import synthesize

    epochs = max(STEPS * BATCH // (per_class * 9), 1)
    flags = {"epochs": epochs, "batch-size": BATCH, "seed": seed, "patience": 9999, "learning-rate": rate}
    config = config_of([text for name, value in flags.items() for text in (f"--{name}", str(value))])
    training = synthesize(per_class, seed=DRAW_SEED + seed).wafers
    test = synthesize(100, seed=TEST_SEED).wafers
    path = runs / f"{start}-{per_class}-{seed}-{rate:g}"
    run = RunFolder.open(path, finished=False) if path.exists() else RunFolder.create(path)
    run.write_json("config.json", {"config": config.to_json()})
    strategy = prepare(seed=seed, precision=config.precision, require_gpu=False)
    few = synthesize(2, seed=DRAW_SEED - 1).wafers  # train() reports on a validation part; nothing is chosen by it
    _, progress = train(config, run, training=training, validation=few, start=start, strategy=strategy)
    called = predict_logits(progress.last_model(), test).argmax(1)
    return {
        "start": start,
        "per_class": per_class,
        "seed": seed,
        "learning_rate": rate,
        "macro_f1": round(macro_f1(test.label, called), 4),
        "seconds": round(sum(row["seconds"] for row in progress.history)),
        "commit": commit(),
    }


def untouched() -> dict[str, Any]:
    """Score the released model as it is."""
    from wafer_tf.learning.quiet import quiet_tensorflow

    quiet_tensorflow()

    from experiments import commit
    from wafer_tf.decision.fitting import macro_f1
    from wafer_tf.learning.prediction import predict_logits
    from wafer_tf.learning.run_folder import RunFolder
    from wafer_tf.released import released
    from wafer_tf.synthesis import synthesize

    test = synthesize(100, seed=TEST_SEED).wafers
    called = predict_logits(RunFolder.open(released()).model(), test).argmax(1)
    return {"start": UNTOUCHED, "per_class": 0, "macro_f1": round(macro_f1(test.label, called), 4), "commit": commit()}


def draw(results: list[dict[str, Any]], path: Path) -> None:
    """Draw macro-F1 against maps per class, a line a start, a dot a seed."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    from wafer_tf.figures.style import save, style

    with style():
        figure, axes = plt.subplots(figsize=(6, 4))
        for (start, name), tone in zip(STARTS.items(), ("#8C8C8C", "#0072B2"), strict=True):
            found = {
                n: [r["macro_f1"] for r in results if (r["start"], r["per_class"]) == (start, n)] for n in PER_CLASS
            }
            axes.plot(PER_CLASS, [np.mean(found[n]) for n in PER_CLASS], color=tone, label=name)
            for n in PER_CLASS:
                axes.plot([n] * len(found[n]), found[n], "o", color=tone, markersize=4)
        level = next(r["macro_f1"] for r in results if r["start"] == UNTOUCHED)
        axes.axhline(level, color="#0072B2", linestyle=":", label=UNTOUCHED)
        axes.set_xscale("log")
        axes.set_xticks(PER_CLASS, map(str, PER_CLASS))
        axes.minorticks_off()
        axes.set_xlabel("training maps per class")
        axes.set_ylabel("macro-F1, 900 further maps")
        axes.legend(loc="lower right")
        save(figure, path)
        plt.close(figure)


def main() -> None:
    p = CommandParser("python -m experiments.transfer", __doc__)
    p.add_argument("--runs", type=Path, required=True, help="where the run folders go")
    p.add_argument("--jobs", type=int, default=2, help="trainings at once, one core each")
    p.add_argument("--only", choices=STARTS, help="train from this start alone")
    p.add_argument("--per-class", type=int, nargs="+", choices=PER_CLASS, default=PER_CLASS, help="training maps")
    p.add_argument("--learning-rate", type=float, default=FitConfig().learning_rate, help="at its peak")
    p.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".json"))
    args = p.parse_args()
    args.runs.mkdir(parents=True, exist_ok=True)
    results: list[dict[str, Any]] = json.loads(args.out.read_text()) if args.out.exists() else []
    keys = ("start", "per_class", "seed", "learning_rate")
    done = {tuple(r.get(key) for key in keys) for r in results}
    starts = [args.only] if args.only else list(STARTS)
    cases = [(s, n, seed, args.learning_rate) for s in starts for seed in SEEDS for n in args.per_class]
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(args.jobs, context, max_tasks_per_child=1) as pool:
        for job in [pool.submit(trial, *case, args.runs) for case in cases if case not in done]:
            results.append(job.result())
            print(json.dumps(results[-1]), flush=True)
            args.out.write_text(json.dumps(results, indent=1) + "\n")
    if args.only or set(args.per_class) != set(PER_CLASS) or args.learning_rate != FitConfig().learning_rate:
        return
    if (UNTOUCHED, 0, None, None) not in done:
        results.append(untouched())
        args.out.write_text(json.dumps(results, indent=1) + "\n")
    results = [r for r in results if r.get("learning_rate") in (None, FitConfig().learning_rate)]
    draw(results, ROOT / "docs" / "img" / "transfer.png")
    print("| maps per class | " + " | ".join(STARTS.values()) + " |")
    print("| --- " * (1 + len(STARTS)) + "|")
    for n in PER_CLASS:
        found = [[r["macro_f1"] for r in results if (r["start"], r["per_class"]) == (s, n)] for s in STARTS]
        print(f"| {n} | " + " | ".join(f"{np.mean(f):.3f} ({min(f):.3f} to {max(f):.3f})" for f in found) + " |")
    print(f"{UNTOUCHED}: {next(r['macro_f1'] for r in results if r['start'] == UNTOUCHED)}")


if __name__ == "__main__":
    main()
