import json
from pathlib import Path

import pytest

from training.evaluate import main
from wafer_tf.readers import write_parquet
from wafer_tf.synthesis import synthesize


def test_scoring_a_run_again_gives_the_same_report(small_run: Path, tmp_path: Path) -> None:
    assert main([str(small_run), "--out", str(tmp_path / "again")]) == 0
    again, own = (json.loads((p / "report.json").read_text())["scores"] for p in (tmp_path / "again", small_run))
    assert again == own


def test_other_maps_are_scored_and_copies_of_training_maps_are_counted(
    small_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_parquet(synthesize(16, seed=0).wafers, tmp_path / "same.parquet")
    write_parquet(synthesize(4, seed=99).wafers, tmp_path / "new.parquet")
    assert main([str(small_run), "--data", str(tmp_path / "new.parquet"), "--out", str(tmp_path / "new")]) == 0
    assert "copies" not in capsys.readouterr().err
    assert main([str(small_run), "--data", str(tmp_path / "same.parquet"), "--out", str(tmp_path / "same")]) == 0
    facts = json.loads((tmp_path / "same" / "report.json").read_text())["facts"]
    assert "of the 144 maps scored are copies" in " ".join(facts["warnings"])


def test_an_unfinished_run_is_refused_with_the_command_that_finishes_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "config.json").write_text("{}")
    assert main([str(tmp_path)]) == 3
    assert f"training.fit --resume {tmp_path}" in capsys.readouterr().err


def test_an_earlier_report_is_not_overwritten_unasked(
    small_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "report.json").write_text("{}")
    assert main([str(small_run), "--out", str(tmp_path)]) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert (tmp_path / "report.json").read_text() == "{}"


def test_a_damaged_model_is_refused(small_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import shutil

    broken = tmp_path / "broken"
    shutil.copytree(small_run, broken)
    (broken / "model.keras").write_bytes((small_run / "model.keras").read_bytes()[:5000])
    assert main([str(broken)]) == 3
    assert "model.keras cannot be loaded" in capsys.readouterr().err
