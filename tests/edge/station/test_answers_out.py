"""Answers as CSV, Parquet and SEMI E142; maps written anew; tests of one wafer judged as one."""

import csv
import io
import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray

from edge.station import e142_files
from edge.station.__main__ import main
from edge.station.answers import COLUMNS
from edge.station.e142_files import E142Folder, safe_name
from edge.station.records import NOTHING_SAID, OK, REJECTED
from tests.station import npy, synthetic
from tests.wafer_tf.formats.writers_stdf import START, joined, prr, wir, write_stdf, wrr
from wafer_tf.dies import CLASSES, Die, cropped, grid_sha256
from wafer_tf.errors import InputError, UsageError
from wafer_tf.formats.read import read_maps
from wafer_tf.formats.wafer_map import WaferMap

GRID = cropped(synthetic(1)[0])[0]
NANO = ["--bundle", "nano"]
Told = pytest.CaptureFixture[str]


@pytest.fixture
def lot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two wafers of a lot, a map without a name and a file that is none, in the current folder."""
    monkeypatch.chdir(tmp_path)
    Path("lot.stdf").write_bytes(write_stdf([(GRID, "L7", "W1"), (GRID.T, "L7", "W2")]))
    Path("map.npy").write_bytes(npy(GRID))
    Path("bad").write_bytes(b"no map")
    return tmp_path


def maps_of(path: Path) -> list[WaferMap]:
    with path.open("rb") as file:
        return [wafer for wafer in read_maps(file, path.name).wafers if isinstance(wafer, WaferMap)]


# === CSV and Parquet ===


def test_csv_has_a_header_and_the_records_of_json_lines_as_rows(lot: Path, capsys: Told) -> None:
    files = ["lot.stdf", "bad", "map.npy"]
    assert main(["classify", *files, *NANO]) == 0
    records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert main(["classify", *files, *NANO, "--csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert tuple(rows[0]) == COLUMNS
    for row, record in zip(rows, records, strict=True):
        assert {key: row[key] or None for key in ("id", "lot", "wafer", "time", "label", "reason", "format")} == {
            key: record[key] for key in ("id", "lot", "wafer", "time", "label", "reason", "format")
        }
        assert (row["decision"], row["map"]) == (record["decision"], str(record["map"]))
        for name in CLASSES:
            assert row[name] == ("" if record["probabilities"] is None else f"{record['probabilities'][name]:.6f}")
        assert row["probability"] == (row[record["label"]] if record["label"] else "")
    assert [row["decision"] for row in rows][2] == REJECTED


def test_a_name_that_a_spreadsheet_would_run_is_led_by_an_apostrophe(lot: Path, capsys: Told) -> None:
    Path("=1+1").write_bytes(npy(GRID))
    assert main(["classify", "=1+1", *NANO, "--csv"]) == 0
    (row,) = csv.DictReader(io.StringIO(capsys.readouterr().out))
    assert (row["id"], row["file"]) == ("'=1+1", "'=1+1")


def test_no_map_at_all_is_a_header_alone(lot: Path, capsys: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    kept, empty = os.dup(0), os.open(os.devnull, os.O_RDONLY)
    os.dup2(empty, 0)
    try:
        assert main(["classify", "-", *NANO, "--csv"]) == 0
    finally:
        os.dup2(kept, 0)
        os.close(kept)
        os.close(empty)
    assert capsys.readouterr().out == ",".join(COLUMNS) + "\n"


def test_parquet_holds_the_same_rows_with_their_types(lot: Path, capsys: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge.station.answers.BATCH", 2)
    assert main(["classify", "lot.stdf", "bad", *NANO, "--parquet", "out.parquet"]) == 0
    assert capsys.readouterr().out == ""
    table = pq.read_table("out.parquet")
    assert tuple(table.column_names) == COLUMNS
    assert table["id"].to_pylist() == ["L7/W1", "L7/W2", "bad"]
    assert table["map"].to_pylist() == [1, 2, 1]
    assert table["probability"].to_pylist()[2] is None
    assert 0 < table["probability"].to_pylist()[0] <= 1
    assert [path.name for path in lot.iterdir() if "partial" in path.name] == []


def test_a_parquet_file_that_is_there_is_replaced_only_where_asked(lot: Path, capsys: Told) -> None:
    Path("out.parquet").write_text("mine")
    flags = ["classify", "map.npy", *NANO, "--parquet", "out.parquet"]
    assert main(flags) == 2
    assert "is there already; add --overwrite" in capsys.readouterr().err
    assert Path("out.parquet").read_text() == "mine"
    assert main([*flags, "--overwrite"]) == 0
    assert pq.read_table("out.parquet").num_rows == 1
    assert main(["classify", "map.npy", *NANO, "--parquet", "absent/out.parquet"]) == 2


def test_without_pyarrow_what_to_install_is_said_before_the_work(
    lot: Path, capsys: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert main(["classify", "map.npy", *NANO, "--parquet", "out.parquet"]) == 2
    err = capsys.readouterr().err
    assert "error: pyarrow is not installed, and this needs it: pip install 'WHEEL[train]'" in err
    assert not Path("out.parquet").exists()


def test_answers_go_to_one_place(lot: Path, capsys: Told) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["classify", "map.npy", "--csv", "--jsonl"])
    assert "not allowed with argument" in capsys.readouterr().err


# === E142 ===


def test_each_judged_wafer_has_an_e142_file_with_its_call(lot: Path, capsys: Told) -> None:
    assert main(["classify", "lot.stdf", "bad", "map.npy", *NANO, "--e142", "mes"]) == 0
    records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert sorted(path.name for path in Path("mes").iterdir()) == ["L7_W1.xml", "L7_W2.xml", "map.xml"]
    (wafer,) = maps_of(Path("mes/L7_W2.xml"))
    assert (wafer.lot, wafer.wafer) == ("L7", "W2")
    assert np.array_equal(wafer.grid, GRID.T)
    text = Path("mes/L7_W2.xml").read_text()
    assert f'<AliasId Type="wafer_tf class" Value="{records[1]["label"]}"/>' in text
    assert f'<AliasId Type="wafer_tf decision" Value="{records[1]["decision"]}"/>' in text
    assert maps_of(Path("mes/map.xml"))[0].wafer == "map"


def test_an_e142_file_that_is_there_is_replaced_only_where_asked_and_the_record_is_given(
    lot: Path, capsys: Told
) -> None:
    flags = ["classify", "lot.stdf", *NANO, "--e142", "mes"]
    assert main(flags) == 0
    capsys.readouterr()
    assert main(flags) == 4
    told = capsys.readouterr()
    assert told.out.count("\n") == 2
    assert "mes/L7_W1.xml: is there already, of the same wafer; not replaced without --overwrite." in told.err
    assert main([*flags, "--overwrite"]) == 0
    assert len(list(Path("mes").iterdir())) == 2


def record(**changes: Any) -> dict[str, Any]:
    probabilities = {name: float(name == "Loc") for name in CLASSES}
    answer = {"id": "f", "bundle_sha256": "0", "status": OK, "label": "Loc", "decision": "defect"}
    return {**answer, "probabilities": probabilities, **NOTHING_SAID, "file": "f", **changes}


def wafer_map(lot: str, wafer: str, grid: NDArray[np.uint8] = GRID) -> tuple[WaferMap, dict[str, Any]]:
    return WaferMap(grid=grid, lot=lot, wafer=wafer), record(lot=lot or None, wafer=wafer or None)


def test_another_wafer_of_the_same_name_is_never_replaced(tmp_path: Path) -> None:
    folder = E142Folder(tmp_path / "mes", overwrite=True)
    names = [folder.write(*wafer_map(lot, wafer)) for lot, wafer in (("A", "B_1"), ("A_B", "1"), ("A/B", "1"))]
    assert [path.name for path in names if path] == ["A_B_1.xml", "A_B_1_2.xml", "A_B_1_3.xml"]
    again = E142Folder(tmp_path / "mes", overwrite=True)
    assert again.write(*wafer_map("A/B", "1")) == names[2]
    (tmp_path / "mes" / "C_1.xml").write_text("mine")
    assert again.write(*wafer_map("C", "1")) == tmp_path / "mes" / "C_1_2.xml"
    assert (tmp_path / "mes" / "C_1.xml").read_text() == "mine"


def test_the_same_wafer_twice_has_two_files_and_in_a_hot_folder_the_latest(tmp_path: Path) -> None:
    folder, latest = E142Folder(tmp_path / "a"), E142Folder(tmp_path / "b", latest=True)
    for each in (folder, latest):
        each.write(*wafer_map("L", "1"))
        each.write(*wafer_map("L", "1", GRID.T.copy()))
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == ["L_1.xml", "L_1_2.xml"]
    assert [path.name for path in (tmp_path / "b").iterdir()] == ["L_1.xml"]
    assert np.array_equal(maps_of(tmp_path / "b" / "L_1.xml")[0].grid, GRID.T)


def test_maps_without_a_lot_are_the_same_wafer_only_where_the_map_is_the_same(tmp_path: Path) -> None:
    write = E142Folder(tmp_path / "mes", latest=True).write
    assert write(*wafer_map("", "")) == write(*wafer_map("", "")) == tmp_path / "mes" / "f.xml"
    assert write(*wafer_map("", "", GRID.T.copy())) == tmp_path / "mes" / "f_2.xml"


def test_the_patterns_of_a_wafer_that_has_several_stand_beside_its_class_and_of_others_nothing(tmp_path: Path) -> None:
    folder = E142Folder(tmp_path / "mes", latest=True)
    wafer, said = wafer_map("L", "1")
    for patterns, shown in ((["Scratch", "Edge-Ring"], "Scratch+Edge-Ring"), ([], None), (None, None)):
        path = folder.write(wafer, said | {"patterns": patterns})
        assert path is not None
        line = f'<AliasId Type="wafer_tf patterns" Value="{shown}"/>'
        assert ("wafer_tf patterns" in path.read_text()) == (shown is not None) == (line in path.read_text())


def test_what_was_not_judged_has_no_file(tmp_path: Path) -> None:
    folder = E142Folder(tmp_path / "mes")
    assert folder.write(InputError("why"), record(status=REJECTED)) is None
    assert list((tmp_path / "mes").iterdir()) == []


def test_a_folder_that_cannot_be_made_is_a_wrong_flag(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "absent" / "mes"):
        with pytest.raises(UsageError, match="--e142"):
            E142Folder(path)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("GAL-LOT_02", "GAL-LOT_02"),
        ("../../etc/passwd", "_.._etc_passwd"),
        ("..", "wafer"),
        ("a:b*c?", "a_b_c_"),
        ("批次1_3", "批次1_3"),
        ("nul", "nul_"),
        ("x" * 400, "x" * e142_files._MAX_STEM),
    ],
)
def test_a_name_is_safe_for_every_file_system(text: str, name: str) -> None:
    assert safe_name(text) == name


def test_a_hot_folder_writes_e142_too(lot: Path, capsys: Told) -> None:
    Path("in").mkdir()
    Path("in/lot.stdf").write_bytes(Path("lot.stdf").read_bytes())
    flags = ["watch", "in", "--out", "records", "--once", "--settle", "0", "--poll", "0.01", *NANO, "--e142", "mes"]
    assert main(flags) == 0
    assert sorted(path.name for path in Path("mes").iterdir()) == ["L7_W1.xml", "L7_W2.xml"]
    assert len(Path("records/records.jsonl").read_text().splitlines()) == 2


# === Merged ===


@pytest.fixture
def retested(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> NDArray[np.uint8]:
    """A first test and a later one of its failing dies, of which the upper half passes; give the map that results."""
    monkeypatch.chdir(tmp_path)
    Path("first.stdf").write_bytes(write_stdf([(GRID, "L7", "W1")]))
    results, expected = [], GRID.copy()
    for row, col in np.argwhere(GRID == Die.FAIL).tolist():
        passes = row < len(GRID) // 2
        expected[row, col] = Die.PASS if passes else Die.FAIL
        results.append(prr("<", col - 2, row - 2, bin_=1 if passes else 5))
    good = int((expected != GRID).sum())
    parts = [wir("<", "W1", start=START + 3600), *results, wrr("<", "W1", len(results), good)]
    lot_7 = joined("<", parts).replace(b"\x03LOT", b"\x03L7 ", 1)
    Path("again.stdf").write_bytes(lot_7)
    return expected


def test_a_first_test_and_its_retest_are_judged_as_one(retested: NDArray[np.uint8], capsys: Told) -> None:
    assert main(["classify", "again.stdf", "first.stdf", "--merge", *NANO]) == 0
    (found,) = map(json.loads, capsys.readouterr().out.splitlines())
    assert (found["id"], found["file"], found["file_sha256"]) == ("L7/W1", "again.stdf + first.stdf", None)
    assert found["input_sha256"] == grid_sha256(retested)
    assert found["notes"][0].startswith("the files are tests of one wafer (--merge), by their times: first.stdf (")
    assert main(["classify", "again.stdf", "first.stdf", "--merge", "--retest", "first", *NANO]) == 0
    (found,) = map(json.loads, capsys.readouterr().out.splitlines())
    assert found["input_sha256"] == grid_sha256(GRID)


def test_merged_wafers_are_looked_into_as_one(retested: NDArray[np.uint8], capsys: Told) -> None:
    assert main(["inspect", "first.stdf", "again.stdf", "--merge", "--json"]) == 0
    (found,) = map(json.loads, capsys.readouterr().out.splitlines())
    (wafer,) = found["wafers"]
    assert wafer["fail"] == (retested == Die.FAIL).sum()
    assert wafer["retested"] == (GRID == Die.FAIL).sum()


def test_a_test_that_cannot_be_read_is_a_record_and_said_of_the_others(
    retested: NDArray[np.uint8], capsys: Told
) -> None:
    Path("again.stdf").write_bytes(Path("again.stdf").read_bytes()[:40])
    assert main(["classify", "first.stdf", "again.stdf", "--merge", *NANO]) == 0
    bad, found = map(json.loads, capsys.readouterr().out.splitlines())
    assert (bad["id"], bad["status"]) == ("again.stdf", REJECTED)
    assert found["notes"][0] == "again.stdf could not be read: results of this wafer may be missing."


def test_files_that_cannot_be_merged_are_one_record_with_the_reason(lot: Path, capsys: Told) -> None:
    Path("other.stdf").write_bytes(write_stdf([(GRID, "", "")]))
    assert main(["classify", "lot.stdf", "other.stdf", "--merge", "--strict", *NANO]) == 4
    (found,) = map(json.loads, capsys.readouterr().out.splitlines())
    assert found["file"] == "lot.stdf + other.stdf"
    assert found["reason"].startswith("other.stdf: which wafer it is of cannot be told")
    assert main(["classify", "-", "--merge", *NANO]) == 2


# === Written anew ===


@pytest.mark.parametrize("out", ["w.xml", "w.csv", "w.txt"])
def test_a_map_that_is_written_anew_reads_as_it_was(lot: Path, out: str, capsys: Told) -> None:
    assert main(["convert-map", "lot.stdf", out, "--map", "2"]) == 0
    (wafer,) = maps_of(Path(out))
    assert np.array_equal(wafer.grid, GRID.T)
    if out != "w.txt":
        assert (wafer.lot, wafer.wafer) == ("L7", "W2")
    assert main(["convert-map", "lot.stdf", out, "--map", "2"]) == 2
    assert "is there already; add --overwrite" in capsys.readouterr().err
    assert main(["convert-map", "lot.stdf", out, "--map", "2", "--overwrite"]) == 0


def test_a_table_holds_all_wafers_with_the_tool_s_coordinates(lot: Path) -> None:
    assert main(["convert-map", "lot.stdf", "lot.csv"]) == 0
    one, two = maps_of(Path("lot.csv"))
    assert np.array_equal(one.grid, GRID)
    assert np.array_equal(two.grid, GRID.T)
    assert one.corner == (-2, -2)
    assert (one.product, one.step, one.time) == ("PART", "EWS1", "2026-05-28T20:26:40")


def test_what_cannot_be_written_anew_is_said_and_nothing_is_written(lot: Path, capsys: Told) -> None:
    for words, code, said in (
        (["lot.stdf", "w.xml"], 2, "holds 2 wafers, and .xml takes one; add --map N"),
        (["lot.stdf", "w.png"], 2, "expected a name that ends in .xml, .txt, .csv."),
        (["lot.stdf", "w.xml", "--map", "3"], 4, "lot.stdf: holds 2 maps; expected one that is number 3."),
        (["lot.stdf", "w.xml", "--map", "0"], 2, "--map 0; expected a number from 1."),
        (["bad", "w.csv"], 4, "bad: "),
        (["absent", "w.csv"], 4, "absent: cannot be read"),
        (["lot.stdf", "absent/w.csv"], 2, "expected a file in a folder that is there."),
    ):
        assert main(["convert-map", *words]) == code
        assert said in capsys.readouterr().err
    assert not list(lot.glob("w.*"))
