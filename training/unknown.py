"""Teach a finished run what it does not know: `python -m training.unknown RUN`.

Drawn patterns that are none of the nine train a small branch beside the classifier, whose own answers stay as they are.
What the branch and the classifier's pooled features say of a wafer becomes one number, the unknown score; edge.convert
takes it into the bundle. A run by folds is judged out of fold, in wafers and in patterns: each fold's wafers, and a
fifth of the families of patterns, are left out in turn. Finished folds are not trained again.
"""

import argparse
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from wafer_tf.command import CommandParser, called
from wafer_tf.command import run as run_command
from wafer_tf.errors import UsageError
from wafer_tf.learning.run_folder import RunFolder
from wafer_tf.released import run_folder

if TYPE_CHECKING:
    import keras

    from training.config import FitConfig
    from wafer_tf.splitting.splits import Split
    from wafer_tf.waferset import WaferSet

EXAMPLE = """example:
  python -m training.unknown runs/20261122-101500-resnet16
  python -m edge.convert --int8 runs/20261122-101500-resnet16

writes into RUN: unknown.keras, unknown.npz, unknown.txt, unknown.json, figures/unknown.png
exit codes: 0 done, 2 usage, 3 bad model or run folder, 4 bad input"""

MODEL, NUMBERS, FOLDS = "unknown.keras", "unknown.npz", "unknown"
BATCH, RATE, DECAY = 128, 4e-3, 0.01
NONE = 15_000
"""Wafers of none to learn from, at most; all defects are."""
OTHERS = 0.3
"""Drawn other maps to learn from, as a share of the known ones."""
LEAST_OTHERS = 2_000
CLEAN = SYNTHETIC = 0.04
"""Clean wafers, and drawn wafers of the nine classes, among the known: it is not the drawing that is to be found."""
JUDGED = 200
"""Maps of each family that judge, at most; no more than a twentieth of the wafers that judge."""
DISTANCE_MAPS = 30_000
RECTANGULAR = 60
"""Wafers of each class, see `rectangular`."""


@dataclass(frozen=True, eq=False)
class Answers:
    """What a model with a branch says of maps.

    Attributes:
        parts: (n, 3), `unknown.parts` and `repeats`.
        called: (n,) index into CLASSES, by the run's decision.
    """

    parts: NDArray[np.float64]
    called: NDArray[np.int64]


def parser() -> argparse.ArgumentParser:
    """Return the command's arguments."""
    p = CommandParser("python -m training.unknown", __doc__, epilog=EXAMPLE)
    p.add_argument("run", type=run_folder, metavar="RUN", help="a finished run folder")
    p.add_argument(
        "--also-known", metavar="PATH", help="labelled wafers of another fab, which are not to be flagged either"
    )
    p.add_argument("--overwrite", action="store_true", help="teach it anew")
    return p


def main(argv: list[str] | None = None) -> int:
    """Run the command and return its exit code."""
    args = parser().parse_args(argv)
    return run_command(lambda: _teach(args.run, also_known=args.also_known, overwrite=args.overwrite))


def _teach(path: Path, *, also_known: str | None, overwrite: bool) -> None:
    run = RunFolder.open(path)
    if (path / NUMBERS).exists() and not overwrite:
        raise UsageError(f"{path / NUMBERS}: is there already; --overwrite teaches the run anew.")
    from wafer_tf.learning.quiet import quiet_tensorflow

    quiet_tensorflow()
    from training.job import load_config, load_data
    from training.runtime import prepare
    from wafer_tf.splitting.splits import Split

    config = load_config(run)
    if also_known is not None:
        labelled(also_known)  # refuses here, before anything is taken away
        config = replace(config, also_known=also_known)
    prepare(seed=config.seed, precision="float32", require_gpu=False)
    wafers = load_data(config)
    with run.locked():
        if overwrite:  # of what is there: a run that is stopped now is one that was not taught
            for name in (MODEL, NUMBERS):
                (path / name).unlink(missing_ok=True)
            shutil.rmtree(path / FOLDS, ignore_errors=True)
            run.finish()
        teach(config, run, wafers, Split.load(path / "split.npz", wafers))
        run.finish()
    print((path / "unknown.txt").read_text(encoding="utf-8"))
    print(called(f"next: python -m edge.convert --int8 {path}"))


def teach(config: "FitConfig", run: RunFolder, wafers: "WaferSet", split: "Split") -> None:
    """Train the branch of a run whose classifier is trained, and write its files.

    Args:
        config: of the run.
        run: its folder, with model.keras and decision.json.
        wafers: the run's labelled maps.
        split: of these.
    """
    from training.unknown_report import Judged, write_report
    from wafer_tf.decision.unknown_fitting import fit_unknown
    from wafer_tf.synthesis.others import NAMES
    from wafer_tf.whole_files import whole_path, write_whole

    known: list[Answers] = []
    rows: list[NDArray[np.int64]] = []
    others: dict[str, Answers] = {}
    decision = run.decision()

    def called(parts: NDArray[np.float64], logits: NDArray[np.float32]) -> Answers:
        return Answers(parts, decision.probabilities(logits).argmax(axis=1))

    for fold in range(split.folds):
        teach_fold(config, run, wafers, split, fold)
        kept = f"{FOLDS}/fold-{fold + 1}.npz"
        found = {name: run.read_array(kept, name) for name in ("parts", "logits")}
        rows.append(np.flatnonzero(split.part == fold))
        known.append(called(found["parts"], found["logits"]))
        for family in _unseen(split, fold):
            one = (run.read_array(kept, f"{family} {name}") for name in ("parts", "logits"))
            others[family] = called(*one)
    print("unknown patterns: the model that ships", file=sys.stderr)
    learned = np.arange(len(wafers)) if split.folds else split.train
    model, numbers = branch_of(config, run.whole_model(), wafers.select(learned), NAMES, _also_known(config))
    if not split.folds:
        rows = [split.validation, split.test]
        known = [called(*_answers(model, numbers, wafers.select(part))) for part in rows]
        drawn = _answers_to_others(config, model, numbers, wafers.select(split.test), NAMES)
        others = {name: called(*one) for name, one in drawn.items()}
    chosen = known if split.folds else known[:1]  # those that the quantiles rest on
    parts, calls = (np.concatenate([getattr(one, name) for one in chosen]) for name in ("parts", "called"))
    unknown = fit_unknown(*numbers, parts, calls)
    judging, at = (known, rows) if split.folds else (known[1:], rows[1:])
    write_report(
        run.path,
        unknown,
        known=Judged(
            np.concatenate([unknown.score_of(one.parts, one.called) for one in judging]),
            wafers.label[np.concatenate(at)],
        ),
        others={name: unknown.score_of(one.parts, one.called) for name, one in others.items()},
        unseen=bool(split.folds),
    )
    with whole_path(run.path / MODEL) as file:
        import keras

        keras.Model(model.input, {name: found for name, found in model.output.items() if name != "other"}).save(file)
    write_whole(run.path / NUMBERS, unknown.to_bytes())


def teach_fold(config: "FitConfig", run: RunFolder, wafers: "WaferSet", split: "Split", fold: int) -> None:
    """Train the branch of a fold on the classifier of that fold, and keep what it says of wafers and families unseen.

    What is kept already is not done again.

    Args:
        config: of the run.
        run: its folder, with the folds' models.
        wafers: the run's labelled maps.
        split: of these, by folds.
        fold: from 0.
    """
    from wafer_tf.synthesis.others import NAMES

    kept, unseen = f"{FOLDS}/fold-{fold + 1}.npz", _unseen(split, fold)
    if (run.path / kept).is_file():
        return
    print(f"unknown patterns: fold {fold + 1} of {split.folds}", file=sys.stderr)
    learned, judged = np.flatnonzero(split.part != fold), np.flatnonzero(split.part == fold)
    classifier = RunFolder.open(run.path / "folds" / str(fold + 1)).whole_model()
    families = [name for name in NAMES if name not in unseen]
    model, numbers = branch_of(config, classifier, wafers.select(learned), families, _also_known(config))
    parts, logits = _answers(model, numbers, wafers.select(judged))
    found: dict[str, NDArray[Any]] = {"parts": parts, "logits": logits.astype(np.float16)}
    for family, (parts, logits) in _answers_to_others(config, model, numbers, wafers.select(judged), unseen).items():
        found |= {f"{family} parts": parts, f"{family} logits": logits.astype(np.float16)}
    (run.path / FOLDS).mkdir(exist_ok=True)
    run.write_arrays(kept, found)


def _unseen(split: "Split", fold: int) -> list[str]:
    """Return the families of patterns that a fold judges, and its branch has not learned, nor their kin."""
    from wafer_tf.synthesis.others import KIN

    return [name for number, kin in enumerate(KIN) if number % split.folds == fold for name in kin]


def _also_known(config: "FitConfig") -> "WaferSet | None":
    return None if config.also_known is None else labelled(config.also_known)


def branch_of(
    config: "FitConfig",
    classifier: "keras.Model",
    wafers: "WaferSet",
    families: Sequence[str],
    also_known: "WaferSet | None" = None,
) -> tuple["keras.Model", tuple[Any, Any, Any]]:
    """Train a branch; return the model with it and the mean, whitening and head of `Unknown`.

    Args:
        config: of the run.
        classifier: whose layers are shared, and stay as they are.
        wafers: known ones, labelled.
        families: of `synthesis.others`, which the branch learns as unknown.
        also_known: labelled wafers of another fab; the distance has centres of its classes too.
    """
    import keras
    from tqdm.keras import TqdmCallback

    from training.config import FitConfig
    from training.train import KernelAdamW
    from wafer_tf.decision.unknown_fitting import fit_distance
    from wafer_tf.dies import CLASSES
    from wafer_tf.dies import NONE as NONE_CLASS
    from wafer_tf.learning.branch import branch_batches, features_of, head_of, with_branch
    from wafer_tf.learning.models import in_float32
    from wafer_tf.learning.pipeline import steps_per_epoch
    from wafer_tf.synthesis import synthesize
    from wafer_tf.synthesis.clean import clean_wafers
    from wafer_tf.waferset import WaferSet

    epochs, rng = config.unknown_epochs or FitConfig.unknown_epochs, np.random.default_rng(config.seed)
    defects, none = np.flatnonzero(wafers.label != NONE_CLASS), np.flatnonzero(wafers.label == NONE_CLASS)
    real = wafers.select(np.sort(np.concatenate([defects, rng.permutation(none)[:NONE]])))
    grids = _grids(wafers)
    known = WaferSet.concatenate(
        [
            real,
            clean_wafers(real, round(CLEAN * len(real)), seed=config.seed),
            synthesize(-(-round(SYNTHETIC * len(real)) // len(CLASSES)), seed=config.seed, grids=grids).wafers,
        ]
    )
    count = -(-max(round(OTHERS * len(known)), LEAST_OTHERS) // len(families))
    others = WaferSet.concatenate([_drawn(name, count, seed=config.seed, grids=grids) for name in families])
    keras.utils.set_random_seed(config.seed)
    model = with_branch(in_float32(classifier))
    steps = steps_per_epoch(len(known) + len(others), BATCH)
    rate = keras.optimizers.schedules.CosineDecay(
        RATE / 20, epochs * steps - steps // 2, warmup_target=RATE, warmup_steps=steps // 2
    )
    learner = keras.Model(model.input, model.output["other"])
    learner.compile(KernelAdamW(rate, weight_decay=DECAY), keras.losses.BinaryCrossentropy(from_logits=True))
    learner.fit(
        branch_batches(
            known,
            others,
            config.augmentation,
            batch_size=BATCH,
            seed=config.seed,
            epochs=epochs,
            size=config.model.input_size,
        ),
        epochs=epochs,
        steps_per_epoch=steps,
        shuffle=False,
        verbose=0,
        callbacks=[TqdmCallback(verbose=0, desc="unknown patterns")],
    )
    some = real.select(np.sort(rng.permutation(len(real))[:DISTANCE_MAPS]))
    fabs = [some, *rectangular(config.seed), *([] if also_known is None else [also_known])]
    features = np.concatenate([features_of(model, each)[1] for each in fabs])
    label = np.concatenate([each.label + number * len(CLASSES) for number, each in enumerate(fabs)])
    return model, (*fit_distance(features, label), head_of(model))


def rectangular(seed: int) -> "tuple[WaferSet, WaferSet]":
    """Draw wafers whose dies fill a rectangle, as those of cut-outs and first tries do: of the nine classes, and clean.

    No real wafer is so, and all of them were strange. To the distance they are two other fabs'.
    """
    from wafer_tf.synthesis import synthesize
    from wafer_tf.synthesis.clean import clean_wafers

    sides = (16, 20, 24, 32, 44, 60, 80)
    grids = [np.ones((rows, cols), np.uint8) for rows in sides for cols in sides if 0.6 < rows / cols < 1.7]
    drawn = synthesize(RECTANGULAR, seed=seed, grids=grids).wafers
    return drawn, clean_wafers(drawn, 5 * RECTANGULAR, seed=seed)


def labelled(path: str) -> "WaferSet":
    """Read the labelled wafers of a file.

    Raises:
        InputError: it holds none, or cannot be read.
    """
    from wafer_tf.errors import InputError
    from wafer_tf.readers import read

    wafers = read(path)
    if not wafers.labelled.any():
        raise InputError(f"{path}: no labelled wafer; expected wafers of known classes (--also-known).")
    return wafers.select(wafers.labelled)


def _answers(
    model: "keras.Model", numbers: tuple[Any, Any, Any], wafers: "WaferSet"
) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """Return the (n, 3) parts, and the (n, 9) logits."""
    from wafer_tf.decision.unknown import parts
    from wafer_tf.learning.branch import features_of, repeats_of

    logits, features = features_of(model, wafers)
    return np.column_stack([parts(features, *numbers), repeats_of(wafers)]), logits


def _grids(wafers: "WaferSet") -> list[NDArray[np.uint8]]:
    """Return maps of none, or where there are few, of any class: their die grids and yield loss lie behind patterns."""
    from wafer_tf.dies import NONE as NONE_CLASS

    none = np.flatnonzero(wafers.label == NONE_CLASS)
    chosen = none if len(none) >= 50 else np.arange(len(wafers))
    return [wafers.map(int(i)) for i in chosen[:: max(1, len(chosen) // 3000)]]


def _drawn(family: str, count: int, *, seed: int, grids: list[NDArray[np.uint8]]) -> "WaferSet":
    """Draw maps of a family: half on drawn yield loss, half on that of the maps whose grids are used."""
    from wafer_tf.synthesis.others import draw_others
    from wafer_tf.waferset import WaferSet

    half = count // 2
    return WaferSet.concatenate(
        [
            draw_others(family, count - half, seed=seed, grids=grids),
            draw_others(family, half, seed=seed + 1_000_000, grids=grids, keep_fails=True),
        ]
    )


def _answers_to_others(
    config: "FitConfig",
    model: "keras.Model",
    numbers: tuple[Any, Any, Any],
    wafers: "WaferSet",
    families: Sequence[str],
) -> dict[str, tuple[NDArray[np.float64], NDArray[np.float32]]]:
    """Draw families on the grids of wafers, and return what the model says of each; all in one go, which is quicker."""
    from wafer_tf.waferset import WaferSet

    count, grids = min(JUDGED, max(len(wafers) // 20, 10)), _grids(wafers)
    drawn = [_drawn(family, count, seed=config.seed + 1, grids=grids) for family in families]
    parts, logits = _answers(model, numbers, WaferSet.concatenate(drawn))
    rows = [slice(k * count, (k + 1) * count) for k in range(len(families))]
    return {name: (parts[of], logits[of]) for name, of in zip(families, rows, strict=True)}


if __name__ == "__main__":
    sys.exit(main())
