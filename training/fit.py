"""Train a wafer-map classifier: `python -m training.fit [--data PATH]`.

From wafer maps to a run folder with the model, its split, its history and an honest report. Without --data it trains on
a built-in set of synthetic maps.
"""

import argparse
import os
import shlex
import shutil
import sys
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from training.cluster import Cluster, cluster_of
from wafer_tf.command import CommandParser, called
from wafer_tf.command import run as run_command
from wafer_tf.errors import UsageError, WaferError
from wafer_tf.formats import flags as reading

if TYPE_CHECKING:
    from training.config import FitConfig
    from wafer_tf.learning.run_folder import RunFolder

EXAMPLE = """example:
  python -m training.fit --data LSWMD.pkl --seed 1
  python -m training.fit --resume runs/20261122-101500-resnet16

Several processes, of one machine or of many, train one model where TF_CONFIG says which they are: give all of them the
same flags, with --out. The first one keeps the run folder. See docs/howto/many-machines.md.

exit codes: 0 done, 2 usage, 3 bad model or run folder, 4 bad input"""


def parser() -> argparse.ArgumentParser:
    """Return the command's arguments; a flag left out takes the default of FitConfig, ModelConfig or Augmentation."""
    from training.config import CLASS_WEIGHTS, LOSSES, PRECISIONS, SPLITS, FitConfig
    from wafer_tf.learning.models import ARCHITECTURES, STEMS

    d = FitConfig()
    p = CommandParser("python -m training.fit", __doc__, epilog=EXAMPLE, argument_default=argparse.SUPPRESS)

    def flag(group: argparse._ArgumentGroup, name: str, default: Any, text: str, **options: Any) -> None:
        kind: dict[str, Any] = {} if default is None or isinstance(default, str) else {"type": type(default)}
        shown = "" if default is None else f" (default {default})"
        group.add_argument(name, help=text + shown, **kind, **options)

    data = p.add_argument_group("data")
    flag(data, "--data", None, "LSWMD.pkl, Parquet, npz, or class-named folders of any tool's files", metavar="PATH")
    flag(data, "--split", d.split, f"{', '.join(SPLITS)}: group keeps lots and near-copies on one side", metavar="HOW")
    data.add_argument("--split-seed", type=int, metavar="N", help="of the split alone (default: --seed)")
    data.add_argument(
        "--shares",
        type=float,
        nargs=3,
        metavar=("TRAIN", "VAL", "TEST"),
        help=f"of the maps, together 1 (default {' '.join(map(str, d.shares))})",
    )
    flag(
        data,
        "--folds",
        d.folds,
        "learn from all maps; judge each by a model trained without its fold, one of N group folds",
        metavar="N",
    )
    data.add_argument("--fold", metavar="K/N", help="leave the K-th of N group folds out of the training part")
    flag(data, "--synthetic", d.synthetic, "fill classes with fewer than N training maps up to N", metavar="N")
    flag(data, "--clean-wafers", d.clean_wafers, "add none maps with hardly a failing die, so many", metavar="SHARE")
    data.add_argument(
        "--mixed",
        metavar="FILE|SHARE",
        help="learn to name several patterns on one wafer, from labelled ones in a file, or from drawn ones, such a "
        "share of the maps (0.3)",
    )
    flag(
        data,
        "--none-per-epoch",
        d.none_per_epoch,
        "an epoch shows N maps of none, the next one others; 0 shows all",
        metavar="N",
    )
    flag(data, "--builtin-per-class", d.builtin_per_class, "maps of each class in the built-in set", metavar="N")
    data.add_argument("--limit-per-class", type=int, metavar="N", help="use at most N labelled maps of each class")

    model = p.add_argument_group("model")
    flag(
        model,
        "--model",
        d.model.architecture,
        f"{', '.join(ARCHITECTURES)}; with --stem imagenet resnet18",
        dest="architecture",
        metavar="NAME",
    )
    flag(model, "--input-size", d.model.input_size, "side of the encoded map", metavar="CELLS")
    flag(model, "--width", d.model.width, "filters of the first stack; 64 is the published ResNet18", metavar="N")
    flag(model, "--stem", d.model.stem, f"of the ResNet: {' or '.join(STEMS)}", metavar="NAME")
    flag(model, "--dropout", d.model.dropout, "share of the pooled features", metavar="SHARE")
    flag(
        model,
        "--backbone-weights",
        d.backbone_weights,
        "none, wafer (the released model), imagenet, a path, or "
        "auto: wafer where it fits and knows none of the maps the run is judged by",
        metavar="FROM",
    )
    flag(model, "--freeze-epochs", d.freeze_epochs, "first train the head alone for N epochs", metavar="N")

    learn = p.add_argument_group("learning from finished runs")
    learn.add_argument(
        "--teachers",
        nargs="+",
        metavar="RUN",
        help="learn their answers too; for a map that some have not trained on, theirs alone (see --fold); with "
        "--folds, runs by the same folds",
    )
    learn.add_argument("--unlabelled", metavar="PATH", help="maps without labels, learned from the teachers' answers")
    flag(learn, "--teacher-weight", d.teacher_weight, "share of their answer for a labelled map", metavar="SHARE")

    fit = p.add_argument_group("training")
    flag(fit, "--epochs", d.epochs, "at most so many", metavar="N")
    flag(fit, "--patience", d.patience, "stop after N epochs without a better validation macro-F1", metavar="N")
    flag(
        fit,
        "--unknown-epochs",
        d.unknown_epochs,
        "then learn from drawn patterns what is none of the nine: training.unknown; 0 leaves it out",
        metavar="N",
    )
    fit.add_argument(
        "--also-known", metavar="PATH", help="labelled wafers of another fab, which are not to be unknown either"
    )
    flag(fit, "--batch-size", d.batch_size, "maps per step, over all devices", metavar="N")
    flag(fit, "--learning-rate", d.learning_rate, "peak, after one epoch; then a cosine to zero", metavar="RATE")
    flag(fit, "--weight-decay", d.weight_decay, "AdamW's", metavar="RATE")
    flag(
        fit,
        "--weight-average",
        d.weight_average,
        "take the moving average of the weights of this decay, such as 0.998; 0 takes the weights themselves",
        metavar="DECAY",
    )
    flag(fit, "--class-weights", d.class_weights, ", ".join(CLASS_WEIGHTS), metavar="HOW")
    flag(fit, "--loss", d.loss, " or ".join(LOSSES), metavar="NAME")
    flag(fit, "--label-smoothing", d.label_smoothing, "share spread over the other classes", metavar="SHARE")
    fit.add_argument(
        "--no-symmetries", dest="symmetries", action="store_false", help="no turns and mirrors of the square"
    )
    flag(fit, "--turn-prob", d.augmentation.turn_prob, "chance of a turn by any angle", metavar="P")
    flag(
        fit,
        "--stretch-prob",
        d.augmentation.stretch_prob,
        "chance of more rows and columns, as of smaller dies",
        metavar="P",
    )
    flag(fit, "--die-noise", d.augmentation.die_noise, "at most this share of dies drawn anew", metavar="SHARE")
    flag(
        fit,
        "--tool-prob",
        d.augmentation.tool_prob,
        "chance that a row, the edge, every other die or 1 %% of them stay untested",
        metavar="P",
    )
    flag(fit, "--seed", d.seed, "of split, weights, shuffling and augmentation", metavar="N")
    flag(fit, "--precision", d.precision, ", ".join(PRECISIONS), metavar="POLICY")
    fit.add_argument("--require-gpu", action="store_true", help="fail early where TensorFlow sees no GPU")

    reading.add_arguments(p)
    p.add_argument("--out", type=Path, metavar="RUN", help="run folder (default: a new one under runs/)")
    p.add_argument("--resume", type=Path, metavar="RUN", help="go on with a run that was stopped, set up as it was")
    p.add_argument(
        "--jobs",
        type=int,
        metavar="N",
        help="with --folds: models trained at once, each with its share of the cores; 0 stops when the folds are dealt "
        "(default 1)",
    )
    p.add_argument(
        "--smoke",
        action="store_true",
        help="the same way through everything, small, in 1 to 3 minutes; it teaches nothing",
    )
    return p


def config_of(flags: list[str]) -> "FitConfig":
    """Return the configuration that these flags of the command give."""
    return _config(vars(parser().parse_args(flags)))


def main(argv: list[str] | None = None) -> int:
    """Run the command and return its exit code."""
    args = vars(parser().parse_args(argv))
    return run_command(lambda: _fit(args, argv if argv is not None else sys.argv[1:]))


def _fit(args: dict[str, Any], argv: list[str]) -> int | None:
    from wafer_tf.learning.quiet import quiet_tensorflow

    cluster = cluster_of(os.environ)
    if cluster:
        os.environ.pop("TF_NUM_INTEROP_THREADS", None)  # with few of them all processes wait for each other for ever
    quiet_tensorflow()
    resume, out, jobs = args.pop("resume", None), args.pop("out", None), args.pop("jobs", 1)
    if not 0 <= jobs <= 64:
        raise UsageError(f"--jobs {jobs}; expected 0 to 64.")
    if jobs > 1:  # TensorFlow reads it when it starts; the processes of the folds inherit it
        os.environ.setdefault("TF_NUM_INTRAOP_THREADS", str(max((os.cpu_count() or 1) // jobs, 1)))
    smoke = args.pop("smoke", False)
    if isinstance(resume, Path):
        if args or out or smoke:
            raise UsageError("--resume takes the run's own configuration: give no other flag with it.")
        return _resume(resume, jobs, cluster)
    from wafer_tf.learning.run_folder import RunFolder

    config = _config(args)
    if smoke:
        config = config.smoke()
    if cluster and not cluster.leads:
        _follow(cluster, config)
        return None
    if cluster and not isinstance(out, Path):
        raise UsageError("--out: expected under TF_CONFIG, so that the run can be found again to go on with it.")
    if not isinstance(out, Path):
        out = Path("runs") / f"{datetime.now():%Y%m%d-%H%M%S}-{config.model.architecture}"
    _check(config, cluster, jobs)
    run = RunFolder.create(out)
    command = shlex.join([*called("python -m training.fit").split(), *argv])
    try:
        run.write_json("config.json", {"config": config.to_json(), "command": command})
        _execute(config, run, jobs, cluster)
    except BaseException as stop:
        # nothing worth keeping yet, or a fault that --resume would only meet again: leave no folder in the way
        hopeless = isinstance(stop, WaferError) and not (run.path / "checkpoints" / "state.json").exists()
        if hopeless or not (run.path / "split.npz").exists():
            shutil.rmtree(run.path)
        raise
    return None


def _check(config: "FitConfig", cluster: Cluster | None, jobs: int = 1) -> None:
    from training.job import check

    if jobs != 1 and not config.folds:
        raise UsageError(f"--jobs {jobs}: one model is trained without --folds; leave it out.")

    if cluster:
        from training.joint import check_joint

        check_joint(config)
    check(config, alone=cluster is None)


def _execute(config: "FitConfig", run: "RunFolder", jobs: int, cluster: Cluster | None) -> None:
    from training.job import execute

    try:
        with run.locked():
            if cluster is None:
                execute(config, run, jobs=jobs)
            else:
                from training.joint import lead

                lead(cluster, config, run)
    except (KeyboardInterrupt, OSError):  # an OSError of a full disk may name no file
        if (run.path / "split.npz").exists():
            print(called(f"stopped; go on with: python -m training.fit --resume {run.path}"), file=sys.stderr)
        raise
    if cluster:
        from training.joint import go_on_alone

        go_on_alone(run)


def _follow(cluster: Cluster, config: "FitConfig | None") -> None:
    from training.joint import follow

    if config is not None:
        _check(config, cluster)
    follow(cluster, config)


def _config(args: dict[str, Any]) -> "FitConfig":
    from dataclasses import fields

    from training.config import FitConfig
    from wafer_tf.learning.augment import Augmentation
    from wafer_tf.learning.models import ModelConfig

    def pick(kind: type) -> dict[str, Any]:
        return {f.name: args.pop(f.name) for f in fields(kind) if f.name in args}

    words = tuple(reading.as_words(reading.take(args)))
    if args.get("stem") == "imagenet":
        args.setdefault("architecture", "resnet18")  # the only one with that stem
    args["patterns"] = args.get("mixed") is not None
    model, augmentation = ModelConfig(**pick(ModelConfig)), replace(FitConfig().augmentation, **pick(Augmentation))
    for name in {"shares", "teachers"} & set(args):
        args[name] = tuple(args[name])
    return FitConfig(model=model, augmentation=augmentation, reading=words, **args)


def _resume(path: Path, jobs: int, cluster: Cluster | None) -> int | None:
    from wafer_tf.learning.run_folder import RunFolder

    if RunFolder(path).done:
        print(f"run {path} is already finished; see {path / 'report.txt'}", file=sys.stderr)
        return None
    if cluster and not cluster.leads:  # who follows need not reach the folder
        _follow(cluster, None)
        return None
    from training.job import load_config

    run = RunFolder.open(path, finished=False)
    config = load_config(run)
    _check(config, cluster, jobs)
    _execute(config, run, jobs, cluster)
    return None


if __name__ == "__main__":
    sys.exit(main())
