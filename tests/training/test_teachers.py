import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import SMALL_RUN
from training.config import FitConfig, parse_fold
from training.fit import config_of, main
from training.job import load_config, load_data, without_fold
from training.train import fill_classes
from wafer_tf.errors import UsageError
from wafer_tf.learning.prediction import mean_logits, predict_logits
from wafer_tf.learning.run_folder import RunFolder
from wafer_tf.readers import read
from wafer_tf.readers.parquet import write_parquet
from wafer_tf.splitting.overlap import fingerprints, unrelated
from wafer_tf.splitting.splits import Split
from wafer_tf.synthesis import synthesize
from wafer_tf.waferset import WaferSet

FLAGS = [*SMALL_RUN, "--epochs", "1", "--fold", "1/3"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, small_run: Path) -> Path:
    """Two teachers that each left out another half of the training part, and a student of both.

    The teachers are one small run twice; what they say they have seen and how sure they are is set apart.
    """
    folder = tmp_path_factory.mktemp("teaching")
    wafers, split = _wafers(small_run), _split(small_run)
    halves = np.array_split(split.train, 2)
    for k, half in enumerate(halves, 1):
        shutil.copytree(small_run, folder / f"teacher-{k}")
        teacher = RunFolder.open(folder / f"teacher-{k}")
        teacher.write_arrays("seen.npz", {"fingerprints": fingerprints(wafers.select(half))})
        decision = dataclasses.replace(teacher.decision(), temperature=float(k))
        teacher.write_json("decision.json", decision.to_json())
        teacher.finish()
    more = WaferSet.concatenate([synthesize({"Loc": 9, "none": 4}, seed=5).wafers, wafers.select(split.test[:1])])
    lot = [*(f"more {i}" for i in range(len(more) - 1)), "of the test part"]
    write_parquet(dataclasses.replace(more, lot=np.array(lot)), folder / "more.parquet")
    teachers = ["--teachers", *(str(folder / f"teacher-{k}") for k in (1, 2)), "--teacher-weight", "0.75"]
    unlabelled = ["--unlabelled", str(folder / "more.parquet"), "--synthetic", "12"]
    assert main([*FLAGS, *teachers, *unlabelled, "--out", str(folder / "student")]) == 0
    return folder


def _wafers(run: Path) -> WaferSet:
    return load_data(load_config(RunFolder.open(run)))


def _split(run: Path) -> Split:
    return Split.load(run / "split.npz", _wafers(run))


def test_folds_leave_out_each_training_map_once_and_no_group_is_in_two(small_run: Path) -> None:
    wafers, split = _wafers(small_run), _split(small_run)
    kept = [without_fold(config_of([*SMALL_RUN, "--fold", f"{k}/3"]), split, wafers) for k in (1, 2, 3)]
    left_out = [np.setdiff1d(split.train, part) for part in kept]
    assert sorted(np.concatenate(left_out)) == sorted(split.train)
    assert min(map(len, left_out)) > len(split.train) / 4
    assert sum(len(np.unique(split.group[part])) for part in left_out) == len(np.unique(split.group[split.train]))


def _training(folder: Path) -> WaferSet:
    """The student's training maps without the unlabelled ones."""
    wafers, config = _wafers(folder / "student"), load_config(RunFolder.open(folder / "student"))
    kept = without_fold(config, _split(folder / "student"), wafers)
    return fill_classes(wafers.select(kept), config.synthetic, seed=config.seed)


def test_a_labelled_map_is_judged_by_the_teacher_that_has_not_trained_on_it(folder: Path) -> None:
    training, student = _training(folder), RunFolder.open(folder / "student")
    target = student.read_array("targets.npz", "target")
    np.testing.assert_allclose(target.sum(axis=1), 1, atol=1e-5)
    fresh, answer = np.zeros((2, len(training)), bool), np.zeros((2, len(training), 9))
    for k in (0, 1):
        teacher = RunFolder.open(folder / f"teacher-{k + 1}")
        power = np.exp(mean_logits(teacher.model(), training) / teacher.decision().temperature)
        answer[k] = power / power.sum(axis=1, keepdims=True)
        fresh[k] = ~np.isin(fingerprints(training), teacher.read_array("seen.npz", "fingerprints"))
    assert (fresh[0] != fresh[1]).sum() > 10
    expected = np.where(
        fresh.all(axis=0)[:, None], answer.mean(axis=0), answer[fresh.argmax(axis=0), np.arange(len(training))]
    )
    expected = 0.75 * expected + 0.25 * np.eye(9)[training.label]
    np.testing.assert_allclose(target[: len(training)], expected, atol=1e-4)


def test_unlabelled_maps_are_learned_without_their_labels_and_count_as_seen(folder: Path) -> None:
    student, more = RunFolder.open(folder / "student"), read(folder / "more.parquet")
    more = more.select(range(len(more) - 1))  # the last is a copy of a test map
    facts = json.loads((folder / "student" / "report.json").read_text())["facts"]
    assert (facts["unlabelled_training_maps"], facts["teachers"]) == (len(more), 2)
    assert facts["synthetic_training_maps"] > 0
    rest = student.read_array("targets.npz", "target")[-len(more) :]
    assert (rest.max(axis=1) < 1).all()
    assert np.isin(fingerprints(more), student.read_array("seen.npz", "fingerprints")).all()


def test_maps_of_a_judged_lot_or_alike_or_joined_to_them_by_others_are_not_unrelated() -> None:
    judged = synthesize({"Scratch": 2}, seed=7).wafers
    maps = [synthesize({"Donut": 4}, seed=8).wafers.map(i) for i in range(4)]
    turned = np.rot90(judged.map(1))
    wafers = WaferSet.from_maps([*maps, turned], label=np.full(5, -1), lot=["a", "b", "c", "d", "c"])
    judged = WaferSet.from_maps([judged.map(i) for i in range(2)], label=judged.label, lot=["b", "e"])
    assert unrelated(wafers, judged).tolist() == [0, 3]


def test_teachers_of_another_split_are_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    call = [*SMALL_RUN, "--split-seed", "2", "--teachers", str(folder / "teacher-1")]
    assert main([*call, "--out", str(folder / "other")]) == 2
    assert "was trained on another split" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["5", "0/5", "6/5", "1/1", "a/b", "-1/5"])
def test_a_fold_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="expected K/N"):
        FitConfig(fold=text)
    assert parse_fold("2/5") == (1, 5)


def test_unlabelled_maps_without_teachers_are_refused() -> None:
    with pytest.raises(UsageError, match="need teachers"):
        FitConfig(unlabelled="maps.npz")


def test_mean_logits_do_not_change_when_the_maps_are_turned(small_run: Path) -> None:
    model, wafers = RunFolder.open(small_run).model(), synthesize(2, seed=1).wafers
    turned = WaferSet.from_maps((np.rot90(wafers.map(i)) for i in range(len(wafers))), label=wafers.label)
    np.testing.assert_allclose(mean_logits(model, wafers), mean_logits(model, turned), atol=1e-4)
    assert np.abs(predict_logits(model, wafers) - predict_logits(model, turned)).max() > 1e-3
