"""Make the released models from their maps: `python -m training.release --data MAPS MORE_MAPS`.

The maps become one Parquet file. Of each model, models/wafer and models/nano, three are trained without a fold, and one
on all maps: what is reported rests on the answers out of fold, what is released learned from everything. Each
training.fit and edge.convert is a process of its own; what a user of a model needs is then copied, with the SHA-256 of
every file. Finished steps are not done again: after a kill, the same command goes on.
"""

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from wafer_tf.command import CommandParser
from wafer_tf.command import run as run_command
from wafer_tf.errors import GateError, ModelError
from wafer_tf.released import NAMES

EXAMPLE = """example:
  python -m training.release --data wm811k_full_dev.npz wm811k_none_extra.npz --mixed mixedwm38_dev.npz

exit codes: 0 done, 2 usage, 3 bad model or run folder, 4 bad input, 5 accuracy gate failed"""

RECIPE = [
    *("--folds", "3", "--seed", "0", "--backbone-weights", "none"),
    *("--epochs", "20", "--none-per-epoch", "15000", "--clean-wafers", "0.1"),
    *("--class-weights", "none", "--weight-decay", "0.01", "--weight-average", "0.998", "--tool-prob", "0.15"),
]
"""What both models have beyond training.fit's defaults. None starts from weights of an earlier release."""
TRAININGS = {
    "wafer": ["--model", "resnet16", "--width", "16", *RECIPE],
    "nano": ["--model", "resnet14", "--width", "8", "--learning-rate", "0.003", *RECIPE],
}

KEPT = [
    "DONE",
    "bundle",
    "bundle.gate.json",
    "bundle.gate.png",
    "bundle.gate.txt",
    "class_weights.json",
    "config.json",
    "decision.json",
    "history.csv",
    "logits.npz",
    "model.keras",
    "model_card.md",
    "report.json",
    "report.txt",
    "operating.json",
    "operating.txt",
    "seen.npz",
    "split.npz",
    "figures/confusion.png",
    "figures/operating.png",
    "figures/per_class.png",
    "figures/reliability.png",
    "figures/roc_and_precision_recall.png",
    "figures/training.png",
    "figures/unknown.png",
    "unknown.json",
    "unknown.txt",
]
"""What explaining, scoring and the page need of a run. Pictures of real maps stay behind: they are not ours to give."""
KEPT_OF_PATTERNS = ["figures/patterns.png", "patterns.json", "patterns.txt", "patterns_report.json"]
"""The same of a run with a head for several patterns, beside."""

SUMS = "SHA256SUMS"
MAX_BYTES = 10_000_000
"""Of one model; of all in models/ 13,500,000, which a test holds."""


def parser() -> argparse.ArgumentParser:
    """Return the command's arguments."""
    p = CommandParser("python -m training.release", __doc__, epilog=EXAMPLE)
    p.add_argument("--data", required=True, nargs="+", metavar="PATH", help="labelled maps, in one file or several")
    p.add_argument(
        "--mixed",
        metavar="PATH",
        help="wafers of one pattern and of several from another fab: they teach the head for several patterns, and are "
        "not to be unknown",
    )
    p.add_argument("--jobs", type=int, default=os.cpu_count(), metavar="N", help="models trained at once (the cores)")
    p.add_argument("--work", type=Path, default=Path("runs/release"), metavar="DIR", help="default runs/release")
    p.add_argument("--out", type=Path, default=Path("models"), metavar="DIR", help="default models")
    p.add_argument(
        "--bundle-version", type=int, default=0, metavar="N", help="number of the release, such as a date (default 0)"
    )
    return p


def main(argv: list[str] | None = None) -> int:
    """Run the command and return its exit code."""
    args = parser().parse_args(argv)
    return run_command(lambda: _release(args))


def _release(args: argparse.Namespace) -> None:
    args.work.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    maps = args.work / "wafers.parquet"
    if not maps.exists():
        _call("wafer_tf.readers", [*args.data, str(maps)])
    mixed = [] if args.mixed is None else ["--mixed", args.mixed, "--also-known", args.mixed]
    jobs = ["--jobs", str(args.jobs)]
    for name, flags in TRAININGS.items():
        run = args.work / name
        if (run / "DONE").exists():
            print(f"{run}: finished before", file=sys.stderr)
        elif (run / "config.json").exists():
            _call("training.fit", ["--resume", str(run), *jobs])
        else:
            _call("training.fit", ["--data", str(maps), *flags, *mixed, *jobs, "--out", str(run)])
    for name in NAMES:
        if not (args.work / name / "bundle").exists():
            _call("edge.convert", ["--int8", str(args.work / name), "--bundle-version", str(args.bundle_version)])
    for name in NAMES:
        publish(args.work / name, args.out / name)
        print(f"{args.out / name}: released")
    print(f"made in {(time.monotonic() - began) / 60:.0f} minutes of this call")


def publish(run: Path, out: Path) -> None:
    """Copy what is released of a finished, converted run to `out`, in place of what is there, with SHA256SUMS.

    Raises:
        ModelError: a file is missing, or the whole is larger than MAX_BYTES.
    """
    kept = [*KEPT, *(KEPT_OF_PATTERNS if (run / "patterns.json").exists() else [])]
    missing = [name for name in kept if not (run / name).exists()]
    if missing:
        raise ModelError(f"run folder {run}: {missing[0]} is missing; expected a finished run with its bundle.")
    partial = out.with_name(f".{out.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    for name in kept:
        target = partial / name
        target.parent.mkdir(parents=True, exist_ok=True)
        (shutil.copytree if (run / name).is_dir() else shutil.copyfile)(run / name, target)
    files = sorted(path for path in partial.rglob("*") if path.is_file())
    size = sum(path.stat().st_size for path in files)
    if size > MAX_BYTES:
        shutil.rmtree(partial)
        raise ModelError(f"run folder {run}: {size:,} bytes to release; expected at most {MAX_BYTES:,}.")
    sums = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(partial)}\n" for path in files]
    (partial / SUMS).write_text("".join(sums))
    shutil.rmtree(out, ignore_errors=True)
    partial.replace(out)


def _call(module: str, flags: list[str]) -> None:
    """Run one of our commands in a process of its own, so that each begins as a user's call does."""
    print(f"python -m {module} {' '.join(flags)}", file=sys.stderr)
    code = subprocess.run([sys.executable, "-m", module, *flags]).returncode
    if code == GateError.exit_code:
        raise GateError(
            "a model to be released does not pass the accuracy gate; see the .gate.txt beside its run's bundle."
        )
    if code:
        raise ModelError(f"python -m {module} ended with exit code {code}; mend what it said, then repeat this call.")


if __name__ == "__main__":
    sys.exit(main())
