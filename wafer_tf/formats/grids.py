"""One wafer map from the bytes of a text, a grid of dies, or of a .npy file. Needs numpy alone."""

import io
from functools import lru_cache
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from wafer_tf.arrays import read_header
from wafer_tf.dies import MAX_SIDE, MIN_SIDE, Die, bad_sides, check_map, cropped, sides_fit
from wafer_tf.errors import InputError
from wafer_tf.formats.dies_on_grid import notch_down
from wafer_tf.formats.grid_cells import MAX_WORDS, Cells, Drawn, drawn
from wafer_tf.formats.grid_text import text_cells
from wafer_tf.formats.opened import Opened
from wafer_tf.formats.options import DEFAULT, Options
from wafer_tf.formats.plausible import doubt
from wafer_tf.formats.wafer_map import MapFile, WaferMap

NPY_MAGIC = b"\x93NUMPY"
MAX_HEADER = 1024
"""Bytes a npy header may take; numpy writes 128 for a map."""
MAX_CELL = 8
"""Bytes a cell may take."""
MAX_BYTES = 4 * MAX_SIDE * MAX_SIDE * 4
"""The largest grid there may be, written as '2.00, ', or held in MAX_CELL bytes a cell, takes less."""
_REGULAR = b";,\t "
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


def npy_grid(data: bytes, name: str, options: Options = DEFAULT) -> NDArray[np.uint8]:
    """Return the one checked map, (rows, cols) uint8, that a npy file holds.

    Raises:
        InputError: not a whole npy file of one map, or not a map.
    """
    return check_map(npy_drawn(data, name, options).states, name)


def npy_drawn(data: bytes, name: str, options: Options) -> Drawn:
    """Return the grid of a npy file, not yet checked; where the user says what its values mean, as die states."""
    header = npy_header(data, name)
    if len(data) != header.size:
        kind = "truncated npy file" if len(data) < header.size else "more than one npy array"
        raise InputError(f"{name}: {kind}: {len(data)} bytes; expected {header.size}, as its header says.")
    values = np.ndarray(header.shape, header.dtype, data, header.start, order=header.order)
    if options.states is None and options.pass_bins is None:
        return Drawn(values)
    different, codes = np.unique(values, return_inverse=True)
    if len(different) > MAX_WORDS:
        raise InputError(f"map {name}: over {MAX_WORDS} different values; expected those of dies.")
    words = ["nan" if value != value else str(int(value)) if value == value // 1 else str(value)
             for value in different.tolist()]  # fmt: skip
    return drawn(Cells(codes.reshape(header.shape).astype(np.int32), words), name, options, named=False)


def text_grid(data: bytes, name: str, options: Options = DEFAULT) -> NDArray[np.uint8]:
    """Return the one checked map, (rows, cols) uint8, that a text file holds.

    One row of dies per line, cells parted by commas, semicolons, tabs or blanks, or by nothing.

    Raises:
        InputError: not a grid of numbers, or not a map.
    """
    return check_map(text_drawn(data, name, options).states, name)


def text_drawn(data: bytes, name: str, options: Options) -> Drawn:
    """Return the grid of a text, not yet checked."""
    if len(data) > MAX_BYTES:
        raise InputError(f"{name}: over {MAX_BYTES} bytes; expected a grid of at most {MAX_SIDE} x {MAX_SIDE} cells.")
    wide = data.startswith(_UTF16)
    if b"\0" in data and not wide:
        raise InputError(
            f"{name}: neither npy, npz nor text (damaged, or UTF-16 without its byte-order mark?); expected a grid. "
            "Save it anew, text as plain CSV in UTF-8."
        )
    data = data.removeprefix(_UTF8_MARK)
    grid = _regular(data) if options.states is None and options.pass_bins is None else None
    if grid is not None and grid.max() <= Die.FAIL:
        return Drawn(grid)
    try:
        text = data.decode("utf-16" if wide else "utf-8")
    except UnicodeDecodeError as error:
        kind = "UTF-16 text" if wide else "text file"
        raise InputError(f"{name}: not a {kind} ({error.reason} at byte {error.start}).") from error
    return drawn(text_cells(text, name), name, options)


def read(file: Opened, options: Options = DEFAULT) -> MapFile:
    """Read a text that is a grid of dies; see `text_grid`.

    Raises:
        InputError: not a grid, not a map, or one whose values hardly are die states.
    """
    found = text_drawn(file.whole(MAX_BYTES), file.name, options)
    return MapFile(format="grid of dies", wafers=iter([wafer_of(found, file.name, options)]))


def wafer_of(found: Drawn, name: str, options: Options) -> WaferMap:
    """Return the wafer of a grid: checked, turned, and cut to its dies.

    Raises:
        InputError: not a map, or one whose values hardly are die states, where the user does not say what they are.
    """
    grid = check_map(found.states, name)
    if options.states is None and options.pass_bins is None:
        why = doubt(grid)
        if why:
            raise InputError(f"map {name}: {why}")
    grid = notch_down(grid, options.orient or 0)
    dies, corner = cropped(grid)
    if not sides_fit(dies.shape):
        dies, corner = grid, (0, 0)
    return WaferMap(grid=np.ascontiguousarray(dies), corner=corner, bins=found.bins, assumed=found.assumed)


@lru_cache(maxsize=256)
def _known_header(head: bytes) -> NpyHeader:
    """Remembered because a station sees few shapes, and parsing a header takes as long as encoding a map."""
    return _header(head, "")


def _header(head: bytes, name: str) -> NpyHeader:
    try:
        shape, fortran, dtype = read_header(io.BytesIO(head))
    except ValueError as error:
        raise InputError(f"{name}: not a wafer file: no npy header ({error}).") from error
    if not sides_fit(shape):
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
