"""Train one fold of a run by folds, in a process of its own: `python -m training.fold RUN K`.

training.fit --folds N --jobs J calls this for its folds. By hand it spreads them over machines that share RUN: make the
run with --jobs 0, which stops when the folds are dealt, train each fold as a job of its own, then
`python -m training.fit --resume RUN` trains on all maps and reports.
"""

import argparse
import sys
from pathlib import Path

from wafer_tf.command import CommandParser
from wafer_tf.command import run as run_command
from wafer_tf.errors import UsageError

EXAMPLE = """example:
  python -m training.fit --data LSWMD.pkl --folds 5 --jobs 0 --out runs/five
  python -m training.fold runs/five 1

exit codes: 0 done, 2 usage, 3 bad model or run folder, 4 bad input"""


def parser() -> argparse.ArgumentParser:
    """Return the command's arguments."""
    p = CommandParser("python -m training.fold", __doc__, epilog=EXAMPLE)
    p.add_argument("run", type=Path, metavar="RUN", help="a run folder that training.fit --folds N made")
    p.add_argument("fold", type=int, metavar="K", help="1 to N")
    return p


def main(argv: list[str] | None = None) -> int:
    """Run the command and return its exit code."""
    args = parser().parse_args(argv)
    return run_command(lambda: _fold(args.run, args.fold))


def _fold(path: Path, fold: int) -> None:
    from wafer_tf.learning.quiet import quiet_tensorflow

    quiet_tensorflow()
    from training.job import check, load_config, load_data
    from training.mixed import load_mixed
    from training.out_of_fold import train_fold
    from training.runtime import prepare
    from training.start import starting_weights
    from wafer_tf.learning.run_folder import RunFolder
    from wafer_tf.splitting.splits import Split

    run = RunFolder.open(path, finished=False)
    config = load_config(run)
    if not 1 <= fold <= config.folds:
        raise UsageError(f"fold {fold} of run {path}; expected 1 to {config.folds} (training.fit --folds).")
    check(config)
    strategy = prepare(seed=config.seed, precision=config.precision, require_gpu=config.require_gpu)
    wafers = load_data(config)
    split = Split.load(path / "split.npz", wafers)
    mixed = None if config.mixed is None else load_mixed(config, run, wafers, split)
    start = starting_weights(config, wafers)
    train_fold(config, run, wafers, split, strategy, start.source, fold=fold - 1, mixed=mixed)


if __name__ == "__main__":
    sys.exit(main())
