"""A run by folds: all maps are learned from, and each is judged by a model that did not learn from it."""

import json
import shutil
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from edge.convert import main as convert
from training import job, out_of_fold
from training.averaging import MovingAverage
from training.config import FitConfig
from training.evaluate import main as evaluate
from training.fit import _fit, main, parser
from training.job import evidence_of, load_config, load_data
from training.operating import main as operating
from training.out_of_fold import decide_out_of_fold
from training.progress import Progress
from wafer_tf.bundle import load_bundle
from wafer_tf.decision.fitting import fit_decision
from wafer_tf.encoding import encode
from wafer_tf.errors import UsageError
from wafer_tf.inference.interpreter import TfliteModel
from wafer_tf.learning.prediction import mean_logits, predict_logits
from wafer_tf.learning.run_folder import RunFolder
from wafer_tf.splitting.overlap import fingerprints
from wafer_tf.splitting.splits import Split
from wafer_tf.waferset import WaferSet

CALL = [
    *("--model", "baseline", "--width", "4", "--input-size", "32", "--backbone-weights", "none"),
    *("--builtin-per-class", "10", "--epochs", "2", "--folds", "2", "--unknown-epochs", "0"),
    *("--none-per-epoch", "4", "--weight-average", "0.9", "--clean-wafers", "0"),
]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("folds") / "run"
    assert main([*CALL, "--out", str(path)]) == 0
    return path


def _parts(path: Path) -> tuple[RunFolder, Any, Split]:
    run = RunFolder.open(path)
    wafers = load_data(load_config(run))
    return run, wafers, Split.load(path / "split.npz", wafers)


def test_every_map_is_judged_by_the_model_trained_without_its_fold(run: Path) -> None:
    folder, wafers, split = _parts(run)
    logits = folder.read_array("logits.npz", "test").astype(np.float32)
    for fold in range(2):
        own = np.flatnonzero(split.part == fold)
        model = RunFolder.open(run / "folds" / str(fold + 1)).model()
        np.testing.assert_allclose(predict_logits(model, wafers.select(own)), logits[own], atol=2e-3)
    whole = predict_logits(folder.model(), wafers)
    assert np.abs(whole - logits).max() > 1e-3, "the model that learned from all of them answers otherwise"
    np.testing.assert_array_equal(folder.seen(), np.unique(fingerprints(wafers)))


def test_its_report_is_of_those_answers_each_decided_without_its_fold(run: Path, tmp_path: Path) -> None:
    folder, wafers, split = _parts(run)
    logits = folder.read_array("logits.npz", "test").astype(np.float32)
    prob = decide_out_of_fold(logits, wafers.label, split)
    first = split.part == 0
    by_others = fit_decision(logits[~first], wafers.label[~first], split.group[~first])
    np.testing.assert_array_equal(prob[first], by_others.probabilities(logits[first]))
    report = json.loads((run / "report.json").read_text())
    called = np.bincount(wafers.label * 9 + prob.argmax(axis=1), minlength=81).reshape(9, 9)
    assert report["scores"]["confusion"] == called.tolist()
    facts = report["facts"]
    assert (facts["part"], facts["split_method"], sum(facts["split_sizes"].values())) == ("out-of-fold", "folds", 90)
    assert "out-of-fold part of built-in synthetic maps, folds split" in (run / "report.txt").read_text()
    assert evaluate([str(run), "--out", str(tmp_path / "again")]) == 0
    again = json.loads((tmp_path / "again" / "report.json").read_text())
    assert again["scores"] == report["scores"]


def test_thresholds_are_judged_on_each_fold_by_what_the_others_chose(run: Path, tmp_path: Path) -> None:
    folder, wafers, split = _parts(run)
    logits = folder.read_array("logits.npz", "test").astype(np.float32)
    evidence = evidence_of({"test": logits}.__getitem__, folder.decision(), wafers, split)
    assert len(evidence.rounds) == split.folds
    assert sorted(evidence.judged) == sorted(evidence.final) == list(range(90))
    for fold, (choose, judge) in enumerate(evidence.parts()):
        np.testing.assert_array_equal(judge.label, wafers.label[split.part == fold])
        np.testing.assert_array_equal(choose.prob, folder.decision().probabilities(logits[split.part != fold]))
    assert operating([str(run), "--out", str(tmp_path / "points")]) == 0
    assert "all folds of built-in synthetic maps" in (tmp_path / "points" / "operating.txt").read_text()


def test_the_gate_judges_by_the_files_of_the_folds_and_the_file_that_ships_by_its_own_model(
    run: Path, tmp_path: Path
) -> None:
    assert convert([str(run), "--no-gate", "--calibration-maps", "40", "--out", str(tmp_path / "bundle")]) == 0
    bundle = load_bundle(tmp_path / "bundle", allow_ungated=True)
    gate = json.loads((tmp_path / "bundle.gate.json").read_text())
    assert gate["comparison"]["wafers"] == 90
    assert 0.9 <= gate["shipped_agreement"] <= 1
    checks = {(check["name"], check["where"]): check["value"] for check in gate["checks"]}
    assert checks["min_agreement", "the file that ships"] == pytest.approx(100 * gate["shipped_agreement"])
    text = (tmp_path / "bundle.gate.txt").read_text()
    assert "each judged by the models of its fold" in text
    assert "the file that ships" in text
    folder, wafers, _ = _parts(run)
    shipped = TfliteModel(bundle.model)
    near = shipped.logits(encode(wafers.map(0), 32)) - predict_logits(folder.model(), wafers)[0]
    assert np.abs(near).max() < 0.3, "what ships is the model that learned from all maps"


def test_a_run_stopped_in_its_second_fold_goes_on_to_the_same_answers(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended: list[int] = []
    keep = Progress.on_epoch_end

    def stop(self: Progress, epoch: int, logs: Any = None) -> None:
        keep(self, epoch, logs)
        ended.append(epoch)
        if len(ended) == 5:  # two of all maps, two of the first fold
            raise KeyboardInterrupt

    monkeypatch.setattr(Progress, "on_epoch_end", stop)
    path = tmp_path / "stopped"
    with pytest.raises(KeyboardInterrupt):
        _fit(vars(parser().parse_args([*CALL, "--out", str(path)])), CALL)
    assert sorted(p.name for p in (path / "folds").iterdir()) == ["1", "2"]
    assert not (path / "folds" / "2" / "DONE").exists()
    monkeypatch.setattr(Progress, "on_epoch_end", keep)
    assert main(["--resume", str(path)]) == 0
    for name in ("logits.npz", "decision.json", "split.npz"):
        assert (path / name).read_bytes() == (run / name).read_bytes(), name
    for a, b in zip(RunFolder.open(path).model().get_weights(), RunFolder.open(run).model().get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_models_of_the_folds_learn_as_the_one_on_all_maps_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From one start, and classes with few maps filled up: else the report would be of another recipe."""
    learned: list[tuple[int, int, str]] = []
    real = out_of_fold.train

    def train(config: FitConfig, run: RunFolder, *, training: WaferSet, start: str, **more: Any) -> Any:
        counts = training.class_counts()
        learned.append((int(counts.min()), int(counts.max()), start))
        return real(config, run, training=training, start=start, **more)

    monkeypatch.setattr(out_of_fold, "train", train)
    monkeypatch.setattr(job, "train", train)
    assert main([*CALL, "--epochs", "1", "--synthetic", "12", "--out", str(tmp_path / "run")]) == 0
    assert learned == [(12, 12, "none")] * 3


def test_the_model_without_a_fold_is_taught_by_the_teachers_model_without_it(run: Path, tmp_path: Path) -> None:
    taught = tmp_path / "taught"
    assert main([*CALL, "--epochs", "1", "--teachers", str(run), "--teacher-weight", "1", "--out", str(taught)]) == 0
    teacher, wafers, split = _parts(run)
    temperature = teacher.decision().temperature
    for place, learned, model in [
        (taught, np.arange(len(wafers)), teacher),
        *(
            (taught / "folds" / str(k + 1), np.flatnonzero(split.part != k), RunFolder.open(run / "folds" / str(k + 1)))
            for k in range(2)
        ),
    ]:
        power = np.exp(mean_logits(model.model(), wafers.select(learned)) / temperature)
        target = RunFolder.open(place).read_array("targets.npz", "target")
        np.testing.assert_allclose(target, power / power.sum(axis=1, keepdims=True), atol=1e-4)
    facts = json.loads((taught / "report.json").read_text())["facts"]
    assert (facts["teachers"], facts["part"]) == (1, "out-of-fold")


def test_teachers_by_other_folds_are_refused(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    call = [*CALL, "--folds", "3", "--teachers", str(run), "--out", str(tmp_path / "other")]
    assert main(call) == 2
    assert "was trained on another split" in capsys.readouterr().err


def test_a_teacher_without_its_folds_is_refused_before_any_training(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(run, tmp_path / "teacher", ignore=shutil.ignore_patterns("folds"))
    call = [*CALL, "--teachers", str(tmp_path / "teacher"), "--out", str(tmp_path / "taught")]
    assert main(call) == 3
    assert "folds/1: no config.json there" in capsys.readouterr().err
    assert not (tmp_path / "taught" / "history.csv").exists()


@pytest.mark.parametrize("flags", [{"folds": 1}, {"folds": 5, "fold": "1/5"}, {"weight_average": 1.0}])
def test_a_configuration_that_contradicts_itself_is_refused(flags: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        FitConfig(**flags)


# === The moving average ===


def test_the_average_is_the_exponential_one_with_a_warm_up_and_judges_in_the_models_place() -> None:
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1), keras.layers.BatchNormalization()])
    average = MovingAverage(0.5, steps=2, first_epoch=0, start=None)
    average.set_model(model)
    average.on_train_begin()
    expected = model.get_weights()
    for step in range(12):
        model.set_weights([value + step for value in model.get_weights()])
        decay = min(0.5, (1 + step) / (10 + step))
        expected = [decay * old + (1 - decay) * new for old, new in zip(expected, model.get_weights(), strict=True)]
        average.on_train_batch_end(step)
    own = model.get_weights()
    average.on_test_begin()
    for found, wanted in zip(model.get_weights(), expected, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-5)
    average.on_test_end()
    for found, wanted in zip(model.get_weights(), own, strict=True):
        np.testing.assert_array_equal(found, wanted)


def test_an_average_that_goes_on_is_that_of_an_uninterrupted_run() -> None:
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    whole = MovingAverage(0.9, steps=3, first_epoch=0, start=None)
    whole.set_model(model)
    whole.on_train_begin()
    for step in range(3):
        model.set_weights([value + 1 for value in model.get_weights()])
        whole.on_train_batch_end(step)
    rest = MovingAverage(0.9, steps=3, first_epoch=1, start=whole.weights())
    rest.set_model(model)
    rest.on_train_begin()
    for average in (whole, rest):
        average.on_train_batch_end(0)
    for found, wanted in zip(rest.weights(), whole.weights(), strict=True):
        np.testing.assert_array_equal(found, wanted)
