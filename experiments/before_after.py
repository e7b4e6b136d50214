"""Before and after: what each step from a plain CNN to the released model brought, per class, on one test part.

    python -m experiments.before_after --data MAPS --runs FOLDER [--jobs 2]

Trains what is missing under FOLDER (the split is the released model's), then writes the table, before_after.json and
docs/img/before_after.png. The test part is read for this table alone; the steps were chosen on validation.
"""

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from experiments import commit
from experiments.side_by_side import command, row, table
from wafer_tf.command import CommandParser

ROOT = Path(__file__).parents[1]
FINAL = ROOT / "models" / "wafer"
CNN = ["--model", "baseline", "--width", "16", "--clean-wafers", "0"]
BARE = ["--no-symmetries", "--turn-prob", "0", "--stretch-prob", "0", "--die-noise", "0"]
SYNTHETIC = ["--synthetic", "400"]
PRETRAINING = ["--builtin-per-class", "1500", "--epochs", "6", "--patience", "6", "--seed", "0"]
STEPS = {
    "baseline CNN": [*CNN, *BARE, "--backbone-weights", "none"],
    "+ augmentation": [*CNN, "--backbone-weights", "none"],
    "+ synthetic maps": [*CNN, *SYNTHETIC, "--backbone-weights", "none"],
    "+ pretraining": [*CNN, *SYNTHETIC, "--backbone-weights", "PRETRAINED"],
}


def fit(flags: list[str], run: Path) -> Path:
    """Train a run on one core, or go on with it, or leave it where it is finished; return its folder."""
    if not (run / "DONE").exists():
        call = ["--resume", str(run)] if (run / "config.json").exists() else [*flags, "--out", str(run)]
        limits = {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1", "OMP_NUM_THREADS": "1"}
        with run.with_suffix(".log").open("a") as log:
            whole = [sys.executable, "-m", "training.fit", *call]
            subprocess.run(whole, check=True, stdout=log, stderr=log, env=os.environ | limits)
    return run


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """Draw recall per class, a bar a step."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    from wafer_tf.figures.style import save, style

    with style():
        figure, axes = plt.subplots(figsize=(11, 4))
        classes = list(rows[0]["recall"])
        tones = plt.get_cmap("viridis")(np.linspace(0.9, 0.05, len(rows)))
        for i, r in enumerate(rows):
            at = np.arange(len(classes)) + (i - (len(rows) - 1) / 2) * 0.16
            label = f"{r['step']} (macro-F1 {r['test_macro_f1'][0]:.3f})"
            axes.bar(at, list(r["recall"].values()), 0.15, color=tones[i], label=label)
        axes.set_xticks(range(len(classes)), classes)
        axes.set_ylabel("recall")
        axes.set_ylim(0, 1)
        axes.set_title(f"Recall on the same test part, {rows[0]['test_wafers']} wafers", loc="left")
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.1), ncols=3, fontsize=9)
        save(figure, path)
        plt.close(figure)


def main() -> None:
    p = CommandParser("python -m experiments.before_after", __doc__)
    p.add_argument("--data", required=True)
    p.add_argument("--runs", type=Path, required=True, help="where the run folders go")
    p.add_argument("--final", type=Path, default=FINAL, help="the last row (default models/wafer)")
    p.add_argument("--jobs", type=int, default=2, help="trainings at once, one core each")
    p.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".json"))
    args = p.parse_args()
    from experiments import SPLIT

    args.runs.mkdir(parents=True, exist_ok=True)
    folder = {step: args.runs / f"step-{i}" for i, step in enumerate(STEPS)}
    pretrained = args.runs / "pretrained"
    with ThreadPoolExecutor(args.jobs) as pool:
        first = pool.submit(fit, [*CNN, *PRETRAINING, "--backbone-weights", "none"], pretrained)

        def step(name: str) -> Path:
            if "PRETRAINED" in STEPS[name]:
                first.result()
            flags = [str(pretrained) if flag == "PRETRAINED" else flag for flag in STEPS[name]]
            return fit(["--data", args.data, *SPLIT, "--seed", "0", *flags], folder[name])

        list(pool.map(step, STEPS))
    rows = [row(run) | {"step": step} for step, run in {**folder, "released model": args.final}.items()]
    for r in rows:
        r["command"] = r["command"].replace(f"{args.runs}/", "")
    first_run = command(json.loads((pretrained / "report.json").read_text())["facts"])
    kept = {"commit": commit(), "pretrained": first_run, "rows": rows}
    args.out.write_text(json.dumps(kept, indent=1) + "\n")
    draw(rows, ROOT / "docs" / "img" / "before_after.png")
    print(table(rows, "recall", "step"))


if __name__ == "__main__":
    main()
