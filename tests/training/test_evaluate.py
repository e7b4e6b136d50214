import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from training.evaluate import main
from wafer_tf.dies import CLASSES
from wafer_tf.learning.run_folder import RunFolder
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


def test_the_table_has_a_row_per_wafer_and_gives_the_reports_accuracy(
    small_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    csv, out = tmp_path / "calls.csv", tmp_path / "out"
    assert main([str(small_run), "--out", str(out), "--csv", str(csv)]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"table: {csv}"
    table = pd.read_csv(csv)
    scores = json.loads((out / "report.json").read_text())["scores"]
    confusion = np.array(scores["confusion"])
    places = [[CLASSES.index(name) for name in table[column]] for column in ("true_label", "label")]
    again = np.zeros_like(confusion)
    np.add.at(again, tuple(places), 1)
    np.testing.assert_array_equal(again, confusion)
    np.testing.assert_allclose(table[list(CLASSES)].sum(axis=1), 1, atol=1e-5)
    before = csv.read_bytes()
    assert main([str(small_run), "--out", str(tmp_path / "new"), "--csv", str(csv)]) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert csv.read_bytes() == before and not (tmp_path / "new").exists()


@pytest.mark.parametrize("content", ["[]", "{}", '{"facts": {}}', "not json"])
@pytest.mark.parametrize("name", ["config.json", "report.json", "decision.json"])
def test_a_damaged_record_of_a_run_is_named(
    name: str, content: str, small_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(small_run, broken)
    (broken / name).write_text(content)
    assert main([str(broken)]) == 3
    assert f"run folder {broken}: {name}" in capsys.readouterr().err


def test_data_that_has_gone_or_changed_since_training_is_named(
    small_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    moved = tmp_path / "moved"
    shutil.copytree(small_run, moved)
    record = json.loads((moved / "config.json").read_text())
    record["config"]["data"] = str(tmp_path / "maps.parquet")
    (moved / "config.json").write_text(json.dumps(record))
    RunFolder(moved).finish()
    assert main([str(moved)]) == 4
    assert "maps.parquet: no such file or folder" in capsys.readouterr().err
    write_parquet(synthesize(4, seed=99).wafers, tmp_path / "maps.parquet")
    assert main([str(moved)]) == 3
    assert "belongs to another set of wafers" in capsys.readouterr().err


def test_a_report_folder_that_is_a_file_is_refused_before_scoring(
    small_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("mine")
    assert main([str(small_run), "--out", str(tmp_path / "file")]) == 2
    assert "is a file; expected a folder" in capsys.readouterr().err


def test_a_model_of_other_classes_is_refused(
    small_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import keras

    other = tmp_path / "other"
    shutil.copytree(small_run, other)
    keras.Sequential([keras.Input((32, 32, 3)), keras.layers.Flatten(), keras.layers.Dense(4)]).save(
        other / "model.keras"
    )
    RunFolder(other).finish()
    assert main([str(other)]) == 3
    assert "answers (None, 4); expected a square encoded map and 9 logits" in capsys.readouterr().err


def test_a_damaged_model_is_refused(small_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(small_run, broken)
    (broken / "model.keras").write_bytes((small_run / "model.keras").read_bytes()[:5000])
    assert main([str(broken)]) == 3
    assert "model.keras is not what the run wrote" in capsys.readouterr().err
    (broken / "DONE").write_text("")  # as of a run before there were sums
    assert main([str(broken)]) == 3
    assert "model.keras cannot be loaded" in capsys.readouterr().err
