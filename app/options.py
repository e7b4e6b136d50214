"""Which run, bundle and reference set the page works on."""

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from wafer_tf.command import CommandParser
from wafer_tf.decision.points import BALANCED
from wafer_tf.errors import ModelError, UsageError
from wafer_tf.released import bundle_folder, released, run_folder

EXAMPLE = """examples:
  python -m app
  python -m app --run runs/20261122-101500-resnet16 --reference labelled.parquet
  streamlit run app/server.py -- --run runs/20261122-101500-resnet16

The page is for this machine alone, at http://localhost:8501; Ctrl-C ends it.

exit codes: 0 done, 2 usage, 3 no model or a bad run folder, 4 bad input"""


@dataclass(frozen=True)
class Options:
    """What the page works on.

    Attributes:
        run: a finished run folder.
        bundle: folder of an int8 bundle; None where there is none.
        reference: file of labelled maps among which to look for similar ones; None for the built-in synthetic maps.
        point: name of the bundle's operating point by which the station decides.
    """

    run: Path
    bundle: Path | None
    reference: Path | None
    point: str = BALANCED


class _Parser(CommandParser):
    """A parser whose errors are the project's: the page shows them, where the command would end."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}. {self.format_usage().strip()}")


def parser() -> argparse.ArgumentParser:
    """Return the arguments of the command and of the page."""
    p = _Parser("python -m app", "Open the web page: wafer maps called, explained and compared.", epilog=EXAMPLE)
    p.add_argument(
        "--run",
        metavar="RUN",
        help="a finished run folder (default: the released model, else the newest in runs/)",
    )
    p.add_argument(
        "--bundle", type=bundle_folder, metavar="DIR", help="its int8 bundle (default: RUN/bundle, where there is one)"
    )
    p.add_argument(
        "--reference",
        type=Path,
        metavar="SET",
        help="labelled maps, in any format training.fit reads, to find similar ones in (default: synthetic maps)",
    )
    p.add_argument(
        "--operating-point",
        metavar="NAME",
        default=BALANCED,
        help="point of the bundle by which the station's decision is shown (default: %(default)s)",
    )
    return p


def choose(args: argparse.Namespace, *, runs: Path = Path("runs")) -> Options:
    """Settle what the page works on.

    Args:
        args: of `parser`.
        runs: where training.fit leaves its runs.

    Raises:
        ModelError: no run was named and there is none.
    """
    run = run_folder(args.run) if args.run else _default_run(runs)
    bundle = args.bundle or (run / "bundle" if (run / "bundle").is_dir() else None)
    return Options(run, bundle, args.reference, args.operating_point)


def _default_run(runs: Path) -> Path:
    try:
        return released()
    except ModelError as error:
        missing = error
    done = sorted(runs.glob("*/DONE"), key=lambda marker: marker.stat().st_mtime)
    if not done:
        raise ModelError(
            f"no model: no finished run in {runs}, and {missing} Train one with: python -m training.fit. Or name one "
            "with --run RUN."
        )
    return done[-1].parent
