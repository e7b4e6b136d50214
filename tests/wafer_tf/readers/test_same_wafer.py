"""The wafer of the tools' formats, as workbook, Parquet file and picture, named "file": the same array comes back."""

import io
from collections.abc import Callable

import cv2
import numpy as np
import openpyxl
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from tests.wafer_tf.formats.test_same_wafer import WAFER
from tests.wafer_tf.formats.writers_grids import drawn
from tests.wafer_tf.formats.writers_table import write_die_table
from wafer_tf.errors import InputError
from wafer_tf.formats.dies_on_grid import NOTCH
from wafer_tf.formats.options import Options
from wafer_tf.readers.tool_files import read_tool_bytes

Grid = np.ndarray


def table(grid: Grid, y_up: bool) -> list[list[str]]:
    data = write_die_table({("L1", "W1"): grid}, y_up=y_up, x0=-3, y0=5)
    return [line.split(",") for line in data.decode().splitlines()]


def workbook(rows: list[list[str]]) -> bytes:
    book, out = openpyxl.Workbook(), io.BytesIO()
    for row in rows:
        book.active.append([int(cell) if cell.lstrip("-").isdigit() else cell for cell in row])
    book.save(out)
    return out.getvalue()


def excel_table(grid: Grid, y_up: bool) -> bytes:
    return workbook(table(grid, y_up))


def parquet(grid: Grid, y_up: bool) -> bytes:
    text = "\n".join(",".join(row) for row in table(grid, y_up)).encode()
    out = io.BytesIO()
    pq.write_table(pyarrow.csv.read_csv(pa.BufferReader(text)), out)
    return out.getvalue()


def excel_grid(grid: Grid, y_up: bool) -> bytes:
    return workbook([list(map(str, row)) for row in grid.tolist()])


def png(grid: Grid, y_up: bool) -> bytes:
    return bytes(cv2.imencode(".png", np.array([0, 180, 255], np.uint8)[grid])[1])


@pytest.mark.parametrize("y_axis", ["down", "up"])
@pytest.mark.parametrize("notch", NOTCH)
@pytest.mark.parametrize("write", [excel_table, parquet, excel_grid, png])
def test_the_same_array_comes_back(write: Callable[[Grid, bool], bytes], notch: str, y_axis: str) -> None:
    options = Options(orient=NOTCH[notch], y_axis=y_axis)
    (wafer,) = read_tool_bytes(write(drawn(WAFER, NOTCH[notch]), y_axis == "up"), "file", options).wafers
    assert not isinstance(wafer, InputError), wafer
    np.testing.assert_array_equal(wafer.grid, WAFER)
    if write in (excel_table, parquet):
        assert (wafer.lot, wafer.wafer) == ("L1", "W1")
