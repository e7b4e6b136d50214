"""A bundle calibrated on another fab's wafers: what changes, what stays, and what it says of both."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edge.calibrate import main
from edge.station.classifier import Classifier
from wafer_tf.bundle import load_bundle
from wafer_tf.decision.sets import Sets
from wafer_tf.dies import CLASSES
from wafer_tf.readers import write_parquet
from wafer_tf.released import released
from wafer_tf.splitting.splits import content_hash
from wafer_tf.synthesis import synthesize
from wafer_tf.waferset import WaferSet

GOALS = ["--max-error", "0.45", "--confidence", "0.8"]
"""So loose that 180 wafers prove it."""


@pytest.fixture(scope="module")
def fab() -> WaferSet:
    """Drawn maps, each a lot of its own."""
    return synthesize(20, seed=5).wafers


@pytest.fixture(scope="module")
def new(fab: WaferSet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the nano bundle calibrated on them."""
    folder = tmp_path_factory.mktemp("fab")
    write_parquet(fab, folder / "own.parquet")
    assert main(["nano", "--data", str(folder / "own.parquet"), "--out", str(folder / "new"), *GOALS]) == 0
    return folder / "new"


def test_the_new_bundle_passes_a_station_s_checks_with_the_same_model_and_golden_logits(new: Path) -> None:
    old, found = load_bundle(released("nano") / "bundle"), load_bundle(new)
    assert found.model == old.model
    np.testing.assert_array_equal(found.golden.logits, old.golden.logits)
    expected = found.decision.probabilities(old.output.dequantize(old.golden.logits))
    np.testing.assert_allclose(found.golden.probabilities, expected)
    station = Classifier(found)
    assert station.golden_lsb == 0


def test_it_names_the_old_bundle_and_the_maps(new: Path, fab: WaferSet) -> None:
    old, found = load_bundle(released("nano") / "bundle"), load_bundle(new)
    made = found.provenance["calibrated"]
    assert made["from_bundle_sha256"] == old.sha256 == found.gate["of_bundle"]
    assert made["data_sha256"] == content_hash(fab)
    assert (made["data_name"], made["wafers"]) == ("own.parquet", 180)
    assert {key: value for key, value in found.provenance.items() if key != "calibrated"} == old.provenance
    assert found.release == old.release
    text = (new.with_name("new.calibration.txt")).read_text()
    assert old.sha256 in text
    assert content_hash(fab) in text
    assert "were not measured again" in " ".join(text.split())
    assert text.strip() in (new / "model_card.md").read_text()
    report = json.loads(new.with_name("new.calibration.json").read_text())
    assert report["bundle_before"] == old.sha256
    assert report["decision"] == found.decision.to_json()
    assert set(report["refit"]["log_loss"]) == {"as it was", "temperature", "temperature and biases"}


def test_the_gate_s_verdict_and_figures_are_carried_over_unchanged(new: Path) -> None:
    old, found = load_bundle(released("nano") / "bundle"), load_bundle(new)
    assert found.passed == old.passed
    assert found.gate["of_decision"] == old.decision.to_json()
    assert {key: value for key, value in found.gate.items() if not key.startswith("of_")} == old.gate


def test_sets_and_points_are_of_these_wafers_and_a_record_holds_a_set(new: Path, fab: WaferSet) -> None:
    found = load_bundle(new)
    assert isinstance(found.sets, Sets)
    assert all(least is not None for least in found.sets.least), "20 groups of each class"
    assert {"balanced", "proven-45-percent"} == set(found.points)
    station = Classifier(found, point=found.points["proven-45-percent"])
    record = station.answer("w", fab.map(0), input_sha256=None, started=0.0)
    assert record["label"] in record["set"]
    assert set(record["set"]) <= set(CLASSES)


def test_what_cannot_be_calibrated_by_is_refused_and_nothing_is_written(
    new: Path, fab: WaferSet, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, out = str(new.with_name("own.parquet")), str(tmp_path / "out")
    assert main(["nano", "--data", data, "--out", str(new)]) == 2
    assert "--overwrite replaces it" in capsys.readouterr().err
    assert main(["nano", "--data", data, "--out", out, "--coverage", "1"]) == 2
    assert main(["nano", "--data", data, "--out", out, "--max-error", "0"]) == 2
    assert main([str(tmp_path), "--data", data, "--out", out]) == 3
    assert main(["nano", "--data", str(tmp_path / "gone"), "--out", out]) == 4
    defects = fab.select(np.flatnonzero(fab.label < 8))
    write_parquet(defects, tmp_path / "defects.parquet")
    capsys.readouterr()
    assert (
        main(
            [
                "nano",
                "--data",
                str(tmp_path / "defects.parquet"),
                "--out",
                out,
                "--mix",
                "Center=1,Donut=1,Edge-Loc=1,Edge-Ring=1,Loc=1,Near-full=1,Random=1,Scratch=1,none=9",
            ]
        )
        == 4
    )
    assert "labelled none" in capsys.readouterr().err
    unlabelled = replace(fab.select(np.arange(9)), label=np.full(9, -1, np.int8), patterns=np.zeros(9, np.uint8))
    write_parquet(unlabelled, tmp_path / "unlabelled.parquet")
    assert main(["nano", "--data", str(tmp_path / "unlabelled.parquet"), "--out", out]) == 4
    assert "no labelled wafer among 9" in capsys.readouterr().err
    assert not list(tmp_path.glob("out*"))
