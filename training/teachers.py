"""Learning from finished runs: what several teachers together call each training map.

Distillation after Hinton, Vinyals & Dean, "Distilling the Knowledge in a Neural Network", 2015, with two turns: a
labelled map is judged by the teachers that have not trained on it where there are any (see FitConfig.fold), so that a
wrong label is doubted instead of repeated; and every answer is the mean over the eight symmetries of the square. In a
run by folds the model without a fold learns from the teachers' models without the same fold: none of them has met what
it is to be judged by.
"""

import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from training.config import FitConfig
from wafer_tf.dies import CLASSES
from wafer_tf.errors import InputError, UsageError
from wafer_tf.learning.prediction import mean_logits
from wafer_tf.learning.run_folder import RunFolder
from wafer_tf.readers import read
from wafer_tf.splitting.overlap import fingerprints, unrelated
from wafer_tf.splitting.splits import Split
from wafer_tf.waferset import WaferSet


def check_teachers(config: FitConfig, split: Split, wafers: WaferSet) -> None:
    """Refuse teachers of another split: they may have trained on what this run is to be judged by.

    Raises:
        UsageError: naming the teacher.
        ModelError: a teacher is no finished run.
    """
    for path in config.teachers:
        teacher = RunFolder.open(Path(path))
        taught = Split.load(teacher.path / "split.npz", wafers)
        if not np.array_equal(taught.part, split.part):
            raise UsageError(
                f"teacher {path}: was trained on another split of these maps ({taught.method}, seed {taught.seed}, "
                f"shares {taught.fractions}); this run's is {split.method}, seed {split.seed}, {split.fractions}. Its "
                "--split, --split-seed, --shares and --folds must be the same."
            )
        for fold in range(config.folds):  # of a released model they are not there
            RunFolder.open(teacher.path / "folds" / str(fold + 1))


def with_teachers(
    config: FitConfig, run: RunFolder, training: WaferSet, judged: WaferSet, *, fold: int | None = None
) -> tuple[WaferSet, NDArray[np.float32]]:
    """Return the training maps, unlabelled ones added, and (n, 9) what each is to be called, rows of sum 1.

    Unlabelled maps that share a lot with a map of `judged`, or are near-copies of one, are left out. The answers are
    kept in the run folder: a resumed run does not ask the teachers again.

    Args:
        config: of the run.
        run: its folder, or that of one fold.
        training: labelled maps.
        judged: maps that the model is to be judged by.
        fold: the one left out, from 0: the teachers' models without it are asked; None asks those of the whole runs.
    """
    labelled = len(training)
    if config.unlabelled is not None:
        more = _unlabelled(config.unlabelled)
        apart = unrelated(more, judged)
        print(f"{len(apart)} of {len(more)} unlabelled maps share no lot with a map to be judged", file=sys.stderr)
        training = WaferSet.concatenate([training, more.select(apart)])
    if not (run.path / "targets.npz").exists():
        answer = _answers(config.teachers, training, fold)
        one_hot = np.eye(len(CLASSES), dtype=np.float32)[training.label[:labelled]]
        answer[:labelled] = config.teacher_weight * answer[:labelled] + (1 - config.teacher_weight) * one_hot
        run.write_arrays("targets.npz", {"target": answer})
    target = np.asarray(run.read_array("targets.npz", "target"), np.float32)
    if target.shape != (len(training), len(CLASSES)):
        raise InputError(
            f"run folder {run.path}: targets.npz is for {len(target)} maps, the run has {len(training)} for training: "
            "the data has changed since it was started. Restore it, or start a new run."
        )
    return training, target


def known_to_teachers(config: FitConfig) -> NDArray[np.uint64]:
    """Return the fingerprints of all maps that the teachers learned from."""
    known = [RunFolder.open(Path(path)).read_array("seen.npz", "fingerprints") for path in config.teachers]
    return np.unique(np.concatenate(known))


def _unlabelled(path: str) -> WaferSet:
    """Read the maps of a file without whatever labels it has."""
    wafers = read(path)
    return WaferSet.from_maps(
        (wafers.map(i) for i in range(len(wafers))), label=np.full(len(wafers), -1), lot=wafers.lot
    )


def _answers(teachers: tuple[str, ...], wafers: WaferSet, fold: int | None) -> NDArray[np.float32]:
    """(n, 9) mean probabilities: of the teachers that have not seen a map, or of all where all have."""
    known = fingerprints(wafers)
    total = np.zeros((2, len(wafers), len(CLASSES)))
    count = np.zeros(len(wafers), np.int64)
    for path in tqdm(teachers, unit="teacher", desc="asking the teachers", file=sys.stderr):
        run = RunFolder.open(Path(path))
        seen = np.isin(known, run.read_array("seen.npz", "fingerprints"))
        asked = run if fold is None else RunFolder.open(run.path / "folds" / str(fold + 1))
        scaled = mean_logits(asked.model(), wafers) / run.decision().temperature
        prob = np.exp(scaled - scaled.max(axis=1, keepdims=True))
        prob /= prob.sum(axis=1, keepdims=True)
        total[0] += prob
        total[1] += prob * ~seen[:, None]
        count += ~seen
    fresh = count[:, None] > 0
    answer = np.where(fresh, total[1] / np.maximum(count[:, None], 1), total[0] / len(teachers))
    return np.asarray(answer, np.float32)
