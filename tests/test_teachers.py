import json
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import SMALL_RUN
from training.config import FitConfig, parse_fold
from training.fit import main
from wafer_tf.errors import UsageError
from wafer_tf.overlap import fingerprints
from wafer_tf.readers import read
from wafer_tf.readers.parquet import write_parquet
from wafer_tf.run_folder import RunFolder, mean_logits, predict_logits
from wafer_tf.splits import Split
from wafer_tf.synthesis import synthesize
from wafer_tf.waferset import WaferSet

SHORT = [*SMALL_RUN[:6], "--epochs", "1", "--batch-size", "36", "--seed", "3", "--split-seed", "1"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two teachers that each left out another half of the training part, and a student of both."""
    folder = tmp_path_factory.mktemp("teaching")
    write_parquet(synthesize(14, seed=0).wafers, folder / "maps.parquet")
    write_parquet(synthesize({"Loc": 9, "none": 4}, seed=5).wafers, folder / "more.parquet")
    data = ["--data", str(folder / "maps.parquet")]
    for k in (1, 2):
        assert main([*SHORT, *data, "--fold", f"{k}/2", "--out", str(folder / f"teacher-{k}")]) == 0
    teachers = ["--teachers", *(str(folder / f"teacher-{k}") for k in (1, 2)), "--teacher-weight", "0.75"]
    more = ["--unlabelled", str(folder / "more.parquet"), "--synthetic", "12"]
    assert main([*SHORT, *data, *teachers, *more, "--out", str(folder / "student")]) == 0
    return folder


def _training(folder: Path) -> WaferSet:
    wafers = read(folder / "maps.parquet")
    return wafers.select(Split.load(folder / "student" / "split.npz", wafers).train)


def test_folds_leave_out_each_training_map_once_and_keep_the_rest_of_the_split(folder: Path) -> None:
    training = fingerprints(_training(folder))
    seen = [RunFolder.open(folder / f"teacher-{k}").read_array("seen.npz", "fingerprints") for k in (1, 2)]
    left_out = np.stack([~np.isin(training, known) for known in seen])
    assert (left_out.sum(axis=0) == 1).all()
    assert left_out.sum(axis=1).min() > len(training) / 4


def test_a_labelled_map_is_judged_by_the_teacher_that_has_not_trained_on_it(folder: Path) -> None:
    training, student = _training(folder), RunFolder.open(folder / "student")
    target = student.read_array("targets.npz", "target")
    np.testing.assert_allclose(target.sum(axis=1), 1, atol=1e-5)
    expected = np.zeros((len(training), 9))
    for k in (1, 2):
        teacher = RunFolder.open(folder / f"teacher-{k}")
        power = np.exp(mean_logits(teacher.model(), training) / teacher.decision().temperature)
        fresh = ~np.isin(fingerprints(training), teacher.read_array("seen.npz", "fingerprints"))
        expected[fresh] = (power / power.sum(axis=1, keepdims=True))[fresh]
    expected = 0.75 * expected + 0.25 * np.eye(9)[training.label]
    np.testing.assert_allclose(target[: len(training)], expected, atol=1e-4)


def test_unlabelled_maps_are_learned_without_their_labels_and_count_as_seen(folder: Path) -> None:
    student, more = RunFolder.open(folder / "student"), read(folder / "more.parquet")
    facts = json.loads((folder / "student" / "report.json").read_text())["facts"]
    assert (facts["unlabelled_training_maps"], facts["teachers"]) == (len(more), 2)
    assert facts["synthetic_training_maps"] > 0
    rest = student.read_array("targets.npz", "target")[-len(more) :]
    assert (rest.max(axis=1) < 1).all()
    assert np.isin(fingerprints(more), student.read_array("seen.npz", "fingerprints")).all()


def test_teachers_of_another_split_are_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    call = [*SHORT[:-1], "2", "--data", str(folder / "maps.parquet"), "--teachers", str(folder / "teacher-1")]
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
