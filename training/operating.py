"""Which share of wafers a station may answer alone, and what each operating point does, at a fab's class mix.

`python -m training.operating [RUN] --max-error 0.01` says how many wafers may be answered alone so that the error among
them is at most that, proven, or that so few wafers cannot prove it and how many would. It names the points that keep
what they promise on wafers that did not choose them, with their escapes and false alarms, and how often the prediction
sets hold the true class. It writes operating.txt, operating.json and figures/operating.png into a new folder.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from wafer_tf.command import CommandParser
from wafer_tf.command import run as run_command
from wafer_tf.errors import InputError, ModelError, UsageError
from wafer_tf.released import results, run_folder

if TYPE_CHECKING:
    from wafer_tf.scoring.selective import Goal

MAX_ERROR = 0.01
EXAMPLE = """examples:
  python -m training.operating runs/20261122-101500-resnet16
  python -m training.operating wafer --max-error 0.01 --max-escapes 0.02
  python -m training.operating --mix fab.json
  python -m training.operating --mix \\
    Center=20,Donut=5,Edge-Loc=40,Edge-Ring=30,Loc=20,Near-full=1,Random=4,Scratch=10,none=870

exit codes: 0 done, 2 usage, 3 bad run folder, 4 bad input"""


def parser() -> argparse.ArgumentParser:
    """Return the command's arguments."""
    p = CommandParser("python -m training.operating", __doc__, epilog=EXAMPLE)
    p.add_argument(
        "run",
        type=run_folder,
        nargs="?",
        metavar="RUN",
        help="a finished run folder, or wafer or nano (default: the newest in runs/)",
    )
    p.add_argument(
        "--mix",
        metavar="MIX",
        help="class shares or wafer counts of a fab, all nine classes: a JSON file, or CLASS=SHARE,... "
        "(default: WM-811K's, 85 %% none)",
    )
    add_goal_arguments(p)
    p.add_argument("--out", type=Path, metavar="DIR", help="where the files go (default: RUN/evaluations/operating)")
    p.add_argument("--overwrite", action="store_true", help="replace the operating points of an earlier time in DIR")
    return p


def add_goal_arguments(p: argparse.ArgumentParser) -> None:
    """Add the flags of what is to be proven; `goals` reads them."""
    group = p.add_argument_group("what is to be proven of the wafers that are answered alone")
    group.add_argument(
        "--max-error",
        type=float,
        action="append",
        metavar="E",
        help="share of them called wrong; given several times, each is proven by itself (default 0.01)",
    )
    group.add_argument("--max-escapes", type=float, metavar="E", help="share of all defects answered none")
    group.add_argument("--max-false-alarms", type=float, metavar="F", help="share of all none wafers answered a defect")
    group.add_argument("--confidence", type=float, default=0.95, metavar="C", help="of the proof (default 0.95)")
    group.add_argument(
        "--coverage", type=float, default=0.9, metavar="C", help="of each class by the prediction sets (default 0.9)"
    )


def goals(args: argparse.Namespace) -> tuple["Goal", ...]:
    """Return what the flags ask to be proven.

    Raises:
        UsageError: a share, the confidence or the coverage is not above 0 and below 1.
    """
    from wafer_tf.scoring.selective import Goal

    if not 0 < args.coverage < 1:
        raise UsageError(f"--coverage {args.coverage}; expected above 0 and below 1, such as 0.9.")

    others = {"max_escapes": args.max_escapes, "max_false_alarms": args.max_false_alarms, "confidence": args.confidence}
    return tuple(Goal(max_error=error, **others) for error in dict.fromkeys(args.max_error or [MAX_ERROR]))


def main(argv: list[str] | None = None) -> int:
    """Run the command and return its exit code."""
    args = parser().parse_args(argv)
    return run_command(
        lambda: operating(
            args.run,
            goals=goals(args),
            coverage=args.coverage,
            mix=args.mix,
            out=args.out,
            overwrite=args.overwrite,
        )
    )


def operating(
    path: str | os.PathLike[str] | None,
    *,
    goals: Sequence["Goal"],
    coverage: float,
    mix: str | None,
    out: str | os.PathLike[str] | None,
    overwrite: bool,
) -> None:
    """Find a run's operating points, print them and write them."""
    path = None if path is None else Path(path)
    out = None if out is None else Path(out)
    from wafer_tf.learning.run_folder import RunFolder, newest_run
    from wafer_tf.scoring.mix import NATURAL, read_mix

    path = path or newest_run()
    wanted = read_mix(mix) if mix else NATURAL
    run = RunFolder.open(path)
    target = out or results(path, "evaluations") / "operating"
    if (target / "operating.json").exists() and not overwrite:
        raise UsageError(f"{target}: holds operating points already; add --overwrite or choose another --out.")
    if target.exists() and not target.is_dir():
        raise UsageError(f"{target}: is a file; expected a folder (--out).")
    decision = run.decision()

    from wafer_tf.learning.quiet import quiet_tensorflow

    quiet_tensorflow()

    import numpy as np
    from numpy.typing import NDArray

    from training.job import evidence_of, load_config, load_data, operating_source
    from wafer_tf.dies import CLASSES
    from wafer_tf.reporting.operating_report import format_operating, write_operating
    from wafer_tf.scoring.operating import find_points
    from wafer_tf.splitting.splits import Split

    config = load_config(run)
    if config.data is not None and not Path(config.data).exists():
        raise InputError(
            f"{config.data}: no such file or folder, seen from {Path.cwd()}; it is what the run was trained on, and "
            "its labels are needed. Run the command where it is found."
        )
    wafers = load_data(config)
    split = Split.load(path / "split.npz", wafers)

    def logits(name: str) -> NDArray[np.float32]:
        found, wanted = run.read_array("logits.npz", name), len(getattr(split, name))
        if found.shape != (wanted, len(CLASSES)):
            raise ModelError(
                f"run folder {path}: logits.npz holds {name} logits of shape {found.shape}; expected "
                f"({wanted}, {len(CLASSES)}), one row per wafer of the part. Restore it, or train again."
            )
        return found

    found = find_points(evidence_of(logits, decision, wafers, split), mix=wanted, goals=goals, coverage=coverage)
    source = operating_source(config, split)
    write_operating(target, found, source=source)
    print(format_operating(found, source=source))
    print(f"\nfiles: {target}")


if __name__ == "__main__":
    sys.exit(main())
