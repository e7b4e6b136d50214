"""Make the released model from its maps: `python -m training.release --data MAPS`.

training.fit with its defaults, then edge.convert, each in a process of its own; what a user of the model needs is then
copied to models/wafer with the SHA-256 of every file. Finished steps are not done again: after a kill, the same command
goes on.
"""

import argparse
import hashlib
import shutil
import subprocess
import sys
import time
from pathlib import Path

from wafer_tf.command import run as run_command
from wafer_tf.errors import GateError, ModelError

EXAMPLE = """example:
  python -m training.release --data ../shared/data/wm811k/wm811k_dev.npz

exit codes: 0 done, 2 usage, 3 bad model or run folder, 4 bad input, 5 accuracy gate failed"""

RECIPE = ["--split-seed", "0", "--shares", "0.8", "0.1", "0.1", "--seed", "0", "--backbone-weights", "none"]
"""Beyond training.fit's defaults: the split, and a start that depends on no earlier release."""

KEPT = [
    "DONE", "bundle", "bundle.gate.json", "bundle.gate.png", "bundle.gate.txt", "class_weights.json", "config.json",
    "decision.json", "history.csv", "logits.npz", "model.keras", "model_card.md", "report.json", "report.txt",
    "operating.json", "operating.txt", "seen.npz", "split.npz", "figures/confusion.png", "figures/operating.png",
    "figures/per_class.png", "figures/reliability.png", "figures/roc_and_precision_recall.png", "figures/training.png",
]  # fmt: skip
"""What explaining, scoring and the page need of a run. Pictures of real maps stay behind: they are not ours to give."""

SUMS = "SHA256SUMS"
MAX_BYTES = 12_000_000


def parser() -> argparse.ArgumentParser:
    """Return the command's arguments."""
    p = argparse.ArgumentParser(
        "python -m training.release", description=__doc__, epilog=EXAMPLE, allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    p.add_argument("--data", required=True, metavar="PATH", help="labelled maps")
    p.add_argument("--work", type=Path, default=Path("runs/release"), metavar="DIR", help="default runs/release")
    p.add_argument("--out", type=Path, default=Path("models/wafer"), metavar="DIR", help="default models/wafer")
    return p


def main(argv: list[str] | None = None) -> int:
    """Run the command and return its exit code."""
    args = parser().parse_args(argv)
    return run_command(lambda: _release(args))


def _release(args: argparse.Namespace) -> None:
    run: Path = args.work / "wafer"
    args.work.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    if (run / "DONE").exists():
        print(f"{run}: finished before", file=sys.stderr)
    elif (run / "config.json").exists():
        _call("training.fit", ["--resume", str(run)])
    else:
        _call("training.fit", ["--data", args.data, *RECIPE, "--out", str(run)])
    if not (run / "bundle").exists():
        _call("edge.convert", ["--int8", str(run)])
    publish(run, args.out)
    print(f"{args.out}: the released model, made in {(time.monotonic() - began) / 60:.0f} minutes of this call")


def publish(run: Path, out: Path) -> None:
    """Copy what is released of a finished, converted run to `out`, in place of what is there, with SHA256SUMS.

    Raises:
        ModelError: a file is missing, or the whole is larger than MAX_BYTES.
    """
    missing = [name for name in KEPT if not (run / name).exists()]
    if missing:
        raise ModelError(f"run folder {run}: {missing[0]} is missing; expected a finished run with its bundle.")
    partial = out.with_name(f".{out.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    for name in KEPT:
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
            "the released model does not pass the accuracy gate; see its .gate.txt beside the run's bundle."
        )
    if code:
        raise ModelError(f"python -m {module} ended with exit code {code}; mend what it said, then repeat this call.")


if __name__ == "__main__":
    sys.exit(main())
