"""Train a wafer-map classifier: `python -m training.fit [--data PATH]`.

From wafer maps to a run folder with the model, its split, its history and an honest report. Without --data it trains on
a built-in set of synthetic maps.
"""

import argparse
import shlex
import shutil
import sys
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wafer_tf.command import run as run_command
from wafer_tf.errors import ModelError, UsageError

if TYPE_CHECKING:
    from training.config import FitConfig

EXAMPLE = """example:
  python -m training.fit --data LSWMD.pkl --seed 1
  python -m training.fit --resume runs/20261122-101500-resnet18

exit codes: 0 done, 2 usage, 3 bad model or run folder, 4 bad input"""


def parser() -> argparse.ArgumentParser:
    """Return the command's arguments; a flag left out takes the default of FitConfig, ModelConfig or Augmentation."""
    p = argparse.ArgumentParser(
        "python -m training.fit", description=__doc__, epilog=EXAMPLE, allow_abbrev=False,
        argument_default=argparse.SUPPRESS, formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    data = p.add_argument_group("data")
    data.add_argument("--data", metavar="PATH", help="LSWMD.pkl, npz, Parquet wafer set, or class-named folders")
    data.add_argument(
        "--split", metavar="HOW", help="group (default: no lot or near-copy on two sides), official, random"
    )
    data.add_argument("--synthetic", type=int, metavar="N", help="fill classes with fewer than N training maps up to N")
    data.add_argument("--builtin-per-class", type=int, metavar="N", help="size of the built-in set (default 200)")
    data.add_argument("--limit-per-class", type=int, metavar="N", help="use at most N labelled maps of each class")

    model = p.add_argument_group("model")
    model.add_argument("--model", dest="architecture", metavar="NAME", help="resnet18 (default) or baseline")
    model.add_argument("--input-size", type=int, metavar="CELLS", help="side of the encoded map (default 64)")
    model.add_argument(
        "--width", type=int, metavar="N", help="filters of the first stack; 64 is the published ResNet18"
    )
    model.add_argument("--stem", metavar="NAME", help="small (3x3, default) or imagenet (7x7 and pooling)")
    model.add_argument("--dropout", type=float, metavar="SHARE", help="of the pooled features")
    model.add_argument("--backbone-weights", metavar="FROM", help="none (default), imagenet, or a path")
    model.add_argument("--freeze-epochs", type=int, metavar="N", help="first train the head alone for N epochs")

    fit = p.add_argument_group("training")
    fit.add_argument("--epochs", type=int)
    fit.add_argument("--batch-size", type=int)
    fit.add_argument("--learning-rate", type=float)
    fit.add_argument("--weight-decay", type=float)
    fit.add_argument(
        "--patience", type=int, metavar="N", help="stop after N epochs without a better validation macro-F1"
    )
    fit.add_argument("--class-weights", metavar="HOW", help="none, sqrt or balanced")
    fit.add_argument("--loss", metavar="NAME", help="cross-entropy (default) or focal")
    fit.add_argument("--label-smoothing", type=float, metavar="SHARE")
    fit.add_argument("--turn-prob", type=float, metavar="P", help="chance of a turn by any angle in augmentation")
    fit.add_argument("--die-noise", type=float, metavar="SHARE", help="at most this share of dies drawn anew")
    fit.add_argument("--seed", type=int)
    fit.add_argument("--precision", metavar="POLICY", help="float32 (default), mixed_float16 or mixed_bfloat16")
    fit.add_argument("--require-gpu", action="store_true", help="fail early where TensorFlow sees no GPU")

    p.add_argument("--out", type=Path, metavar="RUN", help="run folder (default: a new one under runs/)")
    p.add_argument(
        "--resume", type=Path, metavar="RUN", help="go on with a run that was stopped, exactly as it was set up"
    )
    p.add_argument("--smoke", action="store_true", help="the same way through everything, small, in under a minute")
    return p


def main(argv: list[str] | None = None) -> int:
    """Run the command and return its exit code."""
    args = vars(parser().parse_args(argv))
    return run_command(lambda: _fit(args, argv if argv is not None else sys.argv[1:]))


def _fit(args: dict[str, Any], argv: list[str]) -> int | None:
    from training.runtime import quiet_tensorflow

    quiet_tensorflow()
    resume, out = args.pop("resume", None), args.pop("out", None)
    smoke = args.pop("smoke", False)
    if isinstance(resume, Path):
        if args or out or smoke:
            raise UsageError("--resume takes the run's own configuration: give no other flag with it.")
        return _resume(resume)
    from wafer_tf.run_folder import RunFolder

    config = _config(args)
    if smoke:
        config = config.smoke()
    if not isinstance(out, Path):
        out = Path("runs") / f"{datetime.now():%Y%m%d-%H%M%S}-{config.model.architecture}"
    from training.job import check, execute

    check(config)
    run = RunFolder.create(out)
    command = shlex.join(["python", "-m", "training.fit", *argv])
    run.write_json("config.json", {"config": config.to_json(), "command": command})
    try:
        execute(config, run)
    except BaseException as stop:
        if not (run.path / "split.npz").exists():  # nothing worth keeping yet: leave no folder in the way
            shutil.rmtree(run.path)
        elif isinstance(stop, KeyboardInterrupt):
            print(f"stopped; go on with: python -m training.fit --resume {run.path}", file=sys.stderr)
        raise
    return None


def _config(args: dict[str, Any]) -> "FitConfig":
    from dataclasses import fields

    from training.config import FitConfig
    from wafer_tf.augment import Augmentation
    from wafer_tf.models import ModelConfig

    def pick(kind: type) -> dict[str, Any]:
        return {f.name: args.pop(f.name) for f in fields(kind) if f.name in args}

    model, augmentation = ModelConfig(**pick(ModelConfig)), replace(FitConfig().augmentation, **pick(Augmentation))
    return FitConfig(model=model, augmentation=augmentation, **args)


def _resume(path: Path) -> int | None:
    from training.config import FitConfig
    from training.job import check, execute
    from wafer_tf.run_folder import RunFolder

    run = RunFolder.open(path, finished=False)
    if run.done:
        print(f"run {path} is already finished; see {path / 'report.txt'}", file=sys.stderr)
        return None
    try:
        config = FitConfig.from_json(run.read_json("config.json")["config"])
    except (KeyError, TypeError) as error:
        raise ModelError(f"run folder {path}: config.json holds no configuration ({error!r}).") from error
    check(config)
    execute(config, run)
    return None


if __name__ == "__main__":
    sys.exit(main())
