"""Where answers go: CSV, Parquet, SEMI E142; tests of one wafer merged; maps written anew."""

import csv
import io
import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from edge.station.__main__ import main
from tests.wafer_tf.formats.grid_files import SMALL
from tests.wafer_tf.formats.writers_stdf import write_stdf
from wafer_tf.dies import CLASSES
from wafer_tf.formats.read import read_maps
from wafer_tf.formats.wafer_map import WaferMap

Told = pytest.CaptureFixture[str]


@pytest.fixture
def lot(tmp_path: Path) -> Path:
    path = tmp_path / "lot.stdf"
    path.write_bytes(write_stdf([(SMALL, "L7", f"W{number}") for number in (1, 2)]))
    return path


def the_map(path: Path) -> WaferMap:
    with path.open("rb") as stream:
        (wafer,) = read_maps(stream, path).wafers
    assert isinstance(wafer, WaferMap)
    return wafer


def test_csv_has_a_row_per_map_and_the_probability_of_its_label(lot: Path, capsys: Told) -> None:
    assert main(["classify", str(lot), "--bundle", "nano"]) == 0
    records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert main(["classify", str(lot), "--bundle", "nano", "--csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [row["id"] for row in rows] == ["L7/W1", "L7/W2"]
    for row, record in zip(rows, records, strict=True):
        assert (row["label"], row["decision"], row["product"]) == (record["label"], record["decision"], "PART")
        assert float(row["probability"]) == pytest.approx(record["probabilities"][record["label"]], abs=1e-6)
        assert sum(float(row[name]) for name in CLASSES) == pytest.approx(1, abs=1e-5)


def test_a_lot_that_a_spreadsheet_takes_for_a_formula_is_led_by_an_apostrophe(tmp_path: Path, capsys: Told) -> None:
    (tmp_path / "lot.stdf").write_bytes(write_stdf([(SMALL, "=1+1", "W1")]))
    assert main(["classify", str(tmp_path / "lot.stdf"), "--bundle", "nano", "--csv"]) == 0
    (row,) = csv.DictReader(io.StringIO(capsys.readouterr().out))
    assert row["lot"] == "'=1+1"


def test_parquet_holds_the_same_and_is_not_replaced_unasked(lot: Path, tmp_path: Path) -> None:
    command = ["classify", str(lot), "--bundle", "nano", "--parquet", str(tmp_path / "calls.parquet")]
    assert main(command) == 0
    table = pq.read_table(tmp_path / "calls.parquet")
    assert table["wafer"].to_pylist() == ["W1", "W2"]
    assert main(command) == 2
    assert main([*command, "--overwrite"]) == 0


def test_e142_holds_the_wafer_and_its_call(lot: Path, tmp_path: Path, capsys: Told) -> None:
    assert main(["classify", str(lot), "--bundle", "nano", "--e142", str(tmp_path / "out")]) == 0
    label = json.loads(capsys.readouterr().out.splitlines()[0])["label"]
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"L7_W1.xml", "L7_W2.xml"}
    wafer = the_map(tmp_path / "out" / "L7_W1.xml")
    np.testing.assert_array_equal(wafer.grid, SMALL)
    assert (wafer.lot, wafer.wafer) == ("L7", "W1")
    assert label in " ".join(wafer.facts.values())


def test_a_retest_of_the_failing_dies_is_laid_on_the_first_test(tmp_path: Path, capsys: Told) -> None:
    (tmp_path / "first.stdf").write_bytes(write_stdf([(SMALL, "L7", "W1")]))
    (tmp_path / "again.stdf").write_bytes(write_stdf([(SMALL, "L7", "W1")]))
    files = [str(tmp_path / "first.stdf"), str(tmp_path / "again.stdf")]
    assert main(["classify", *files, "--bundle", "nano", "--merge"]) == 0
    (record,) = map(json.loads, capsys.readouterr().out.splitlines())
    assert (record["lot"], record["wafer"]) == ("L7", "W1")


@pytest.mark.parametrize("name", ["map.xml", "map.csv"])
def test_a_map_written_anew_reads_back(name: str, tmp_path: Path) -> None:
    (tmp_path / "lot.stdf").write_bytes(write_stdf([(SMALL, "L7", "W1")]))
    command = ["convert-map", str(tmp_path / "lot.stdf"), str(tmp_path / name)]
    assert main(command) == 0
    np.testing.assert_array_equal(the_map(tmp_path / name).grid, SMALL)
    assert main(command) == 2, "what is there is not replaced unasked"
