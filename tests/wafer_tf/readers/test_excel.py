"""Workbooks that hold a grid or a table of dies, and Parquet files of dies: the same maps as their texts."""

import io
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import SHARED
from tests.wafer_tf.formats.writers_table import write_die_table
from wafer_tf.errors import InputError
from wafer_tf.formats.options import Options
from wafer_tf.formats.wafer_map import WaferMap
from wafer_tf.readers import excel
from wafer_tf.readers.excel import read_excel, read_parquet_dies

GRID = np.array([[0, 1, 1, 0], [1, 2, 1, 1], [1, 1, 2, 2], [0, 2, 1, 0]], np.uint8)
DOWN = Options(y_axis="down", orient=0)
CASES = SHARED / "cases"


def workbook(*sheets: Sequence[Sequence[Any]]) -> bytes:
    book = openpyxl.Workbook()
    book.remove(book.active)
    for rows in sheets:
        sheet = book.create_sheet()
        for row in rows:
            sheet.append(list(row))
    file = io.BytesIO()
    book.save(file)
    return file.getvalue()


def rows_of(data: bytes) -> list[list[Any]]:
    """Return the cells of a table, whole numbers as such."""
    return [[int(c) if c.lstrip("-").isdigit() else c for c in line.split(",")] for line in data.decode().splitlines()]


def read_all(data: bytes, options: Options = DOWN) -> list[WaferMap]:
    found = list(read_excel(data, options, name="lot7.xlsx").wafers)
    assert all(isinstance(wafer, WaferMap) for wafer in found)
    return [wafer for wafer in found if isinstance(wafer, WaferMap)]


TABLE = rows_of(write_die_table({("L1", "W1"): GRID, ("L1", "W2"): GRID[::-1]}, x0=-2))
EMPTY: list[list[Any]] = []


@pytest.mark.parametrize(
    "sheets",
    [
        [TABLE],
        [EMPTY, TABLE],
        [[["Report"], [], ["Operator", "Kim"], *TABLE]],
        [[[None, None, *row] for row in TABLE]],
        [[*TABLE, [], []]],
        [[[*row, f"=A{n}"] for n, row in enumerate(TABLE, 1)]],
        [[["made by hand"]], TABLE],
    ],
    ids=["alone", "second sheet", "words above", "shifted", "empty rows below", "a formula", "a sheet of words first"],
)
def test_a_table_of_dies_in_a_workbook_is_read(sheets: list[list[list[Any]]]) -> None:
    first, second = read_all(workbook(*sheets))
    np.testing.assert_array_equal(first.grid, GRID)
    np.testing.assert_array_equal(second.grid, GRID[::-1])
    assert (first.lot, first.wafer, second.wafer) == ("L1", "W1", "W2")


@pytest.mark.parametrize(
    "rows",
    [
        GRID.tolist(),
        [[], [], *([None, None, *row] for row in GRID.tolist())],
        [[cell or None for cell in row] for row in GRID.tolist()],
        [[None, 1, 2, 3, 4], *([n, *row] for n, row in enumerate(GRID.tolist(), 1))],
        [[float(cell) for cell in row] for row in GRID.tolist()],
    ],
    ids=["plain", "shifted", "blanks", "names", "floats"],
)
def test_a_grid_of_cells_in_a_workbook_is_read(rows: list[list[Any]]) -> None:
    (found,) = read_all(workbook(rows))
    np.testing.assert_array_equal(found.grid, GRID)


def test_bins_in_cells_are_read_with_the_flag_and_else_refused() -> None:
    bins = [[(None, 1, 5)[cell] for cell in row] for row in GRID.tolist()]
    with pytest.raises(InputError, match=r"lot7.xlsx:Sheet.*die state 5.*--pass-bins 1"):
        read_all(workbook(bins))
    (found,) = read_all(workbook(bins), Options(pass_bins=frozenset({"1"})))
    np.testing.assert_array_equal(found.grid, GRID)


def test_a_faulty_row_of_a_sheet_is_named_by_its_number_there() -> None:
    rows = [["Report"], [], *TABLE]
    rows[6] = ["L1", "W1", 0.5, 1, 1]
    with pytest.raises(InputError, match=r"lot7.xlsx:Sheet, row 7, column x: '0.5'; expected a whole number"):
        read_all(workbook(rows))


def test_columns_of_other_names_are_read_when_they_are_named() -> None:
    rows = [["Lot", "Slot", "Spalte", "Zeile", "Klasse"], *TABLE[1:]]
    options = Options(columns={"x": "Spalte", "y": "Zeile", "bin": "Klasse"})
    np.testing.assert_array_equal(read_all(workbook(rows), options)[0].grid, GRID)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "damaged .xlsx workbook"),
        (b"PK\3\4", "damaged .xlsx workbook"),
        (workbook(EMPTY), "no sheet with a table of dies or a grid of them. All its sheets are empty"),
        (workbook([["hello"]]), "no sheet with a table of dies.*'hello' at row 0"),
        (workbook(TABLE)[:-300], "damaged .xlsx workbook"),
    ],
)
def test_what_is_no_workbook_of_dies_is_refused(data: bytes, says: str) -> None:
    with pytest.raises(InputError, match=says):
        read_all(data)


@pytest.mark.skipif(not CASES.is_dir(), reason="the cases are not beside the clone")
def test_the_case_that_is_no_workbook_is_refused_as_damaged() -> None:
    with pytest.raises(InputError, match=r"ring\.xlsx: damaged \.xlsx workbook"):
        read_excel(CASES / "11-excel-blanks" / "ring.xlsx")


def changed(data: bytes, part: str, content: bytes) -> bytes:
    """Return a workbook of which one part is replaced."""
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as new:
        for info in old.infolist():
            if info.filename != part:
                new.writestr(info.filename, old.read(info))
        new.writestr(part, content)
    return file.getvalue()


def test_a_workbook_made_to_exhaust_memory_is_refused_before_it_is_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    sheet = "xl/worksheets/sheet1.xml"
    far = b"".join(b'<row r="%d"><c r="XFD%d"><v>1</v></c></row>' % (n, n) for n in range(1, 600))
    start = b'<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheetData>'
    for part, content, says in (
        ("xl/sharedStrings.xml", b"<sst>" + b" " * (excel.MAX_PART + 1), "its parts claim"),
        ("xl/styles.xml", b"<styleSheet><cellXfs>" + b"<xf/>" * 400_000, "xl/styles.xml takes over 268435456 bytes"),
        (sheet, b'<!DOCTYPE a [<!ENTITY b "c">]><a/>', "begins with no element"),
        (sheet, b"<!-- x -->" + b"<a/>", "begins with no element"),
        (sheet, start + far + b"</sheetData></worksheet>", "over 8000000 cells"),
    ):
        with pytest.raises(InputError, match=says):
            read_all(changed(workbook(TABLE), part, content))
    monkeypatch.setattr(excel, "MAX_UNPACKED", 1000)
    with pytest.raises(InputError, match="its parts claim"):
        read_all(workbook(TABLE))


WHOLE = workbook(TABLE)


@settings(deadline=None, max_examples=60)
@given(st.integers(0, len(WHOLE) - 1), st.binary(min_size=1, max_size=3))
def test_a_damaged_workbook_is_read_or_refused_in_words(at: int, new: bytes) -> None:
    try:
        list(read_excel(WHOLE[:at] + new + WHOLE[at + len(new) :], DOWN, name="lot7.xlsx").wafers)
    except InputError as error:
        assert "lot7.xlsx" in str(error)


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 3000), st.sampled_from([b"", b"<", b">", b'"', b"9", b"A", b"&a;", b"-", b"\xff"]))
def test_a_changed_sheet_is_read_or_refused_in_words(at: int, new: bytes) -> None:
    sheet = "xl/worksheets/sheet1.xml"
    with zipfile.ZipFile(io.BytesIO(WHOLE)) as archive:
        content = archive.read(sheet)
    at %= len(content)
    try:
        list(read_excel(changed(WHOLE, sheet, content[:at] + new + content[at + 1 :]), DOWN, name="lot7.xlsx").wafers)
    except InputError as error:
        assert "lot7.xlsx" in str(error)


# === Parquet ===


def parquet(path: Path, **columns: Any) -> Path:
    pq.write_table(pa.table(columns), path)
    return path


def test_a_parquet_of_dies_reads_as_the_map_it_was_made_of(tmp_path: Path) -> None:
    row, col = np.nonzero(GRID)
    path = parquet(
        tmp_path / "dies.parquet",
        lot_id=pa.array(["L1"] * len(row)).dictionary_encode(),
        wafer_id=np.full(len(row), 7),
        die_x=col.astype(np.int16) - 3,
        die_y=row.astype(float),
        hard_bin=GRID[row, col],
        reading=np.zeros(len(row)),
    )
    file = read_parquet_dies(path, DOWN)
    assert (file.format, file.version) == ("table of dies", "Parquet")
    (found,) = file.wafers
    assert isinstance(found, WaferMap)
    np.testing.assert_array_equal(found.grid, GRID)
    assert (found.lot, found.wafer, found.corner) == ("L1", "7", (0, -3))


def test_a_parquet_that_holds_no_dies_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no column for the x and y of a die .it has a"):
        read_parquet_dies(parquet(tmp_path / "a.parquet", a=[1]))
    (tmp_path / "b.parquet").write_bytes(b"PAR1 nothing PAR1")
    with pytest.raises(InputError, match="damaged or truncated Parquet file"):
        read_parquet_dies(tmp_path / "b.parquet")
    with pytest.raises(InputError, match=r"row 1, column y: ''; expected a whole number"):
        read_parquet_dies(parquet(tmp_path / "c.parquet", x=[0, 1], y=[0, None], bin=[1, 1]))
