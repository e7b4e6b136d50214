"""One wafer map from the bytes of a .npy or text file. Needs numpy alone."""

import io
import re
from functools import lru_cache
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from wafer_tf.arrays import read_header
from wafer_tf.dies import MAX_SIDE, MIN_SIDE, bad_sides, check_map
from wafer_tf.errors import InputError

NPY_MAGIC = b"\x93NUMPY"
MAX_HEADER = 1024
"""Bytes a npy header may take; numpy writes 128 for a map."""
MAX_CELL = 8
"""Bytes a cell may take."""
MAX_BYTES = 4 * MAX_SIDE * MAX_SIDE * 4
"""A grid of 300 x 300 written as '2.00, ', or held in MAX_CELL bytes a cell, takes less."""
SEPARATORS = (";", ",", "\t")
_REGULAR = b";,\t "
_ENDS = re.compile(r"\r\n|\r|\n")
_NUMBER = re.compile(r"[0-9]+(\.[0-9]*)?")
_UTF16 = (b"\xff\xfe", b"\xfe\xff")
_UTF8_MARK = b"\xef\xbb\xbf"


class NpyHeader(NamedTuple):
    """Header of a npy file that holds one map.

    Attributes:
        shape: rows and columns.
        order: "C" by rows, "F" by columns.
        dtype: of a cell, a number of at most MAX_CELL bytes.
        start: where the cells begin.
        size: bytes of the whole file.
    """

    shape: tuple[int, int]
    order: Literal["C", "F"]
    dtype: np.dtype[Any]
    start: int
    size: int


def npy_header(data: bytes, name: str) -> NpyHeader:
    """Read the header of a npy file that holds one map.

    Args:
        data: the file, or at least its first MAX_HEADER bytes.
        name: what to call the map in an error.

    Raises:
        InputError: no npy header, or not one of a map.
    """
    start = npy_header_size(data)
    if start > MAX_HEADER:
        raise InputError(f"map {name}: a npy header of {start} bytes; expected at most {MAX_HEADER}.")
    try:
        return _known_header(data[:start])
    except InputError:  # once more, to name the map
        return _header(data[:start], name)


def npy_header_size(data: bytes) -> int:
    """Return how many bytes the header of a npy file takes, by its first 12 bytes."""
    first = 10 if data[6:7] == b"\x01" else 12
    return first + int.from_bytes(data[8:first], "little")


def npy_grid(data: bytes, name: str) -> NDArray[np.uint8]:
    """Return the one checked map, (rows, cols) uint8, that a npy file holds.

    Raises:
        InputError: not a whole npy file of one map, or not a map.
    """
    header = npy_header(data, name)
    if len(data) != header.size:
        kind = "truncated npy file" if len(data) < header.size else "more than one npy array"
        raise InputError(f"{name}: {kind}: {len(data)} bytes; expected {header.size}, as its header says.")
    return check_map(np.ndarray(header.shape, header.dtype, data, header.start, order=header.order), name)


def text_grid(data: bytes, name: str) -> NDArray[np.uint8]:
    """Return the one checked map, (rows, cols) uint8, that a text file holds.

    One row of dies per line, cells parted by commas, semicolons, tabs or blanks.

    Raises:
        InputError: not a grid of numbers in UTF-8, or not a map.
    """
    if len(data) > MAX_BYTES:
        raise InputError(f"{name}: over {MAX_BYTES} bytes; expected a grid of at most {MAX_SIDE} x {MAX_SIDE} cells.")
    if data.startswith(_UTF16) or b"\0" in data:
        raise InputError(
            f"{name}: neither npy, npz nor UTF-8 text (damaged, or UTF-16?); expected a grid of numbers. Save it anew, "
            "text as plain CSV in UTF-8."
        )
    data = data.removeprefix(_UTF8_MARK)
    grid = _regular(data)
    return check_map(_any(data, name) if grid is None else grid, name)


@lru_cache(maxsize=256)
def _known_header(head: bytes) -> NpyHeader:
    """Remembered because a station sees few shapes, and parsing a header takes as long as encoding a map."""
    return _header(head, "")


def _header(head: bytes, name: str) -> NpyHeader:
    try:
        shape, fortran, dtype = read_header(io.BytesIO(head))
    except ValueError as error:
        raise InputError(f"{name}: not a wafer file: no npy header ({error}).") from error
    if len(shape) != 2 or not all(MIN_SIDE <= side <= MAX_SIDE for side in shape):
        raise bad_sides(name, shape)
    if dtype.hasobject:
        raise InputError(f"{name}: holds pickled objects, which are not read; expected whole numbers 0, 1 or 2.")
    if dtype.kind not in "uif" or dtype.itemsize > MAX_CELL:
        raise InputError(f"map {name}: cells of type {dtype}; expected whole numbers 0, 1 or 2.")
    rows, cols = shape
    return NpyHeader((rows, cols), "F" if fortran else "C", dtype, len(head), len(head) + rows * cols * dtype.itemsize)


def _regular(data: bytes) -> NDArray[np.uint8] | None:
    """Return the cells of a text whose every cell is one digit and whose every line looks like the first, else None.

    That is how most files look, and 20 to 90 times as fast as reading cell by cell (41 to 300 a side).
    """
    width = data.find(b"\n") + 1
    if width < 2 * MIN_SIDE:
        return None
    rest = len(data) % width
    if rest:  # the last line need not end
        end = b"\r\n" if data[width - 2 : width - 1] == b"\r" else b"\n"
        data += end
        if rest + len(end) != width:
            return None
    table = np.frombuffer(data, np.uint8).reshape(-1, width)
    if width % 2:  # digit, mark, ..., digit, \r, \n
        if (table[:, -1] != ord("\n")).any() or table[0, -2] != ord("\r"):
            return None
        table = table[:, :-1]
    marks, cells = table[:, 1::2], table[:, ::2] - np.uint8(ord("0"))
    between = set(marks[0, :-1].tolist())
    if len(between) != 1 or not between <= set(_REGULAR) or (marks != marks[0]).any() or cells.max() > 9:
        return None
    return cells


def _any(data: bytes, name: str) -> NDArray[np.float64]:
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise InputError(f"{name}: not a text file ({error.reason} at byte {error.start}).") from error
    rows = _ENDS.split(text)
    used = [number for number, row in enumerate(rows) if row.strip()]
    rows = rows[used[0] : used[-1] + 1] if used else []
    if len(rows) > len(used):
        blank = next(number for number, row in enumerate(rows) if not row.strip())
        raise InputError(f"{name}: a blank line after row {blank - 1}; expected one grid per file, its rows together.")
    lines = [_cells(row) for row in rows]
    for number, line in enumerate(lines):
        if len(line) != len(lines[0]):
            raise InputError(f"{name}: row {number} has {len(line)} cells, row 0 has {len(lines[0])}; expected a grid.")
    values = {cell: float(cell) if _NUMBER.fullmatch(cell) else None for cell in set().union(*lines)}
    for number, line in enumerate(lines):
        for column, cell in enumerate(line):
            if values[cell] is None:
                raise InputError(
                    f"{name}: {cell[:20]!r} at row {number}, column {column}; expected 0, 1 or 2. "
                    "Save the grid without header line and row names."
                )
    return np.array([[values[cell] for cell in line] for line in lines], np.float64).reshape(
        len(lines), len(lines[0]) if lines else 0
    )


def _cells(line: str) -> list[str]:
    """Return the cells of a line, an empty one where two separators meet; one separator at the end ends the line."""
    separator = next((mark for mark in SEPARATORS if mark in line), None)
    cells = [cell.strip() for cell in line.split(separator)]
    return cells[:-1] if separator and not cells[-1] else cells
