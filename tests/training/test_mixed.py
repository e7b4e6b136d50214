"""A run with a head for several patterns: from drawn wafers, from a file, by folds in processes of their own."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from training.fit import main
from training.fold import main as train_fold
from training.job import load_config, load_data
from training.mixed import load_mixed
from wafer_tf.decision.patterns import Patterns
from wafer_tf.errors import UsageError
from wafer_tf.learning.prediction import predict_heads
from wafer_tf.learning.run_folder import RunFolder
from wafer_tf.readers.parquet import write_parquet
from wafer_tf.splitting.splits import Split
from wafer_tf.synthesis import synthesize
from wafer_tf.synthesis.mixed import compose
from wafer_tf.waferset import WaferSet

CALL = [
    *("--model", "baseline", "--width", "4", "--input-size", "32", "--backbone-weights", "none"),
    *("--builtin-per-class", "12", "--epochs", "2", "--unknown-epochs", "1", "--clean-wafers", "0"),
    *("--none-per-epoch", "8", "--weight-average", "0.9", "--tool-prob", "0.3"),
]


@pytest.fixture(scope="module")
def by_folds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run by two folds, one of them trained in a process of its own, with drawn wafers of several patterns."""
    path = tmp_path_factory.mktemp("mixed") / "run"
    assert main([*CALL, "--folds", "2", "--jobs", "2", "--mixed", "0.3", "--out", str(path)]) == 0
    return path


def _parts(path: Path) -> tuple[RunFolder, WaferSet, Split, WaferSet, Split]:
    run = RunFolder.open(path)
    config = load_config(run)
    wafers = load_data(config)
    split = Split.load(path / "split.npz", wafers)
    return run, wafers, split, *load_mixed(config, run, wafers, split)


def test_each_mixed_wafer_is_judged_by_the_model_without_its_fold(by_folds: Path) -> None:
    run, wafers, split, mixed, mixed_split = _parts(by_folds)
    assert mixed_split.folds == 2 and len(mixed) == len(mixed_split.part) and mixed.several.all()
    kept = {name: run.read_array("patterns.npz", name) for name in ("wafers", "mixed", "mixed_logits")}
    assert [kept[name].shape for name in kept] == [(len(wafers), 8), (len(mixed), 8), (len(mixed), 9)]
    for fold in range(2):
        model = RunFolder.open(by_folds / "folds" / str(fold + 1)).whole_model()
        own = mixed_split.part == fold
        found = predict_heads(model, mixed.select(np.flatnonzero(own)))
        np.testing.assert_allclose(found["patterns"], kept["mixed"][own], atol=2e-3)
        np.testing.assert_allclose(found["logits"], kept["mixed_logits"][own], atol=2e-3)
        found = predict_heads(model, wafers.select(np.flatnonzero(split.part == fold)))
        np.testing.assert_allclose(found["patterns"], kept["wafers"][split.part == fold], atol=2e-3)
    assert len(Patterns.from_json(run.read_json("patterns.json")).thresholds) == 8


def test_wafers_drawn_for_a_fold_lie_on_the_grids_of_that_fold(by_folds: Path) -> None:
    _, wafers, split, mixed, mixed_split = _parts(by_folds)

    def grids(found: WaferSet, rows: Any) -> set[bytes]:
        return {(found.map(int(i)) != 0).tobytes() for i in rows}

    for fold in range(2):
        drawn = grids(mixed, np.flatnonzero(mixed_split.part == fold))
        # one that is overlaid may be turned, so that its grid is not always among them
        assert len(drawn & grids(wafers, np.flatnonzero(split.part == fold))) > len(drawn) / 3


def test_the_nine_way_model_of_the_run_and_its_taught_one_have_the_heads_answers(by_folds: Path) -> None:
    run, wafers, *_ = _parts(by_folds)
    some = wafers.select(np.arange(6))
    heads = predict_heads(run.whole_model(), some)
    assert sorted(heads) == ["logits", "patterns"] and run.model().output_shape == (None, 9)
    taught = predict_heads(run.taught_model(), some)
    assert sorted(taught) == ["features", "logits", "patterns"]
    np.testing.assert_allclose(taught["patterns"], heads["patterns"], atol=1e-5)


def test_mixed_wafers_of_a_file_are_split_and_the_folds_can_be_trained_one_by_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    drawn = WaferSet.concatenate([compose(24, seed=3).wafers, synthesize(2, seed=4).wafers])
    write_parquet(drawn, tmp_path / "mixed.parquet")
    path = tmp_path / "run"
    call = [*CALL, "--folds", "2", "--unknown-epochs", "0", "--mixed", str(tmp_path / "mixed.parquet")]
    assert main([*call, "--jobs", "0", "--out", str(path)]) == 0
    assert "python -m training.fold" in capsys.readouterr().err and not (path / "folds").exists()
    assert train_fold([str(path), "3"]) == 2
    assert "expected 1 to 2" in capsys.readouterr().err
    assert train_fold([str(path), "2"]) == 0
    with RunFolder.open(path / "folds" / "2").locked():  # a job of the same fold, called twice
        assert train_fold([str(path), "2"]) == UsageError.exit_code
    assert "another process is training in it" in capsys.readouterr().err
    before = (path / "folds" / "2" / "model.keras").read_bytes()
    assert main(["--resume", str(path)]) == 0
    assert (path / "folds" / "2" / "model.keras").read_bytes() == before, "what was trained apart is not trained again"
    _, _, _, mixed, mixed_split = _parts(path)
    assert len(mixed) == len(drawn) and set(mixed_split.part.tolist()) == {0, 1}


@pytest.mark.parametrize(
    ("flags", "why"),
    [
        (["--mixed", "1.5"], "expected a file, or a share above 0"),
        (["--mixed", "0.1", "--freeze-epochs", "1"], "leave it out with --mixed"),
        (["--jobs", "-1"], "--jobs -1"),
        (["--jobs", "0"], "without --folds"),
    ],
)
def test_flags_that_make_no_sense_are_refused(flags: list[str], why: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*CALL, *flags]) == UsageError.exit_code
    assert why in capsys.readouterr().err


def test_a_file_without_a_wafer_of_several_patterns_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_parquet(synthesize(2, seed=4).wafers, tmp_path / "singles.parquet")
    assert main([*CALL, "--mixed", str(tmp_path / "singles.parquet"), "--out", str(tmp_path / "run")]) == 4
    assert "expected some of several patterns" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
