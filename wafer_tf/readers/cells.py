"""The map in a cell of a pickled table: a 2-D array, or rows of dies as lists or arrays of their own."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from wafer_tf.dies import MAX_SIDE
from wafer_tf.errors import InputError
from wafer_tf.readers.frame import kind_of
from wafer_tf.readers.mapped import Mapped
from wafer_tf.readers.pickledtypes import Array, content_of

_NUMBERS = "uifb"
_BYTE = np.dtype(np.uint8)
_FLOAT = np.dtype(np.float64)
_LINE, _NUMBER = 128, 40
"""Bytes that a row of dies takes while a map is made of it, and a die in it that is no byte."""


def map_in(cell: Any, data: Mapped, row: int) -> Array:
    """Return a cell's map as a 2-D array of numbers.

    Args:
        cell: what the pickle holds there.
        data: the file.
        row: of the table, for the error.

    Raises:
        InputError: no map, or rows of unequal length.
    """
    if type(cell) is Array and not cell.dtype.hasobject:
        if len(cell.shape) != 2 or cell.dtype.kind not in _NUMBERS:
            raise InputError(f"row {row}: waferMap of shape {cell.shape}, dtype {cell.dtype}; expected 2-D, 0 to 2.")
        return cell
    lines = _items(cell)
    if lines is None:
        raise InputError(f"row {row}: waferMap holds {kind_of(cell)}; expected a 2-D array of dies.")
    if len(lines) > MAX_SIDE:
        raise InputError(f"row {row}: waferMap of {len(lines)} rows; expected at most {MAX_SIDE}.")
    if type(cell) is Array and len(cell.shape) == 2:  # of Python's own numbers
        return _rows([lines[k * cell.shape[1] : (k + 1) * cell.shape[1]] for k in range(cell.shape[0])], data, row)
    return _rows(lines, data, row)


def _items(cell: Any) -> Sequence[Any] | None:
    """Return what a list, a tuple or an array of objects holds."""
    if type(cell) is Array and type(cell.data) is list and not cell.fortran:
        return cell.data
    return cell if type(cell) in (list, tuple) else None


def _rows(lines: Sequence[Any], data: Mapped, row: int) -> Array:
    pieces = [_line(line, data, f"row {row}: waferMap row {number}") for number, line in enumerate(lines)]
    widths = {len(piece) for piece in pieces}
    if len(widths) > 1:
        raise InputError(f"row {row}: waferMap of rows of {min(widths)} to {max(widths)} dies; expected a 2-D grid.")
    counted = sum(map(len, pieces)) * (1 if all(type(piece) is bytes for piece in pieces) else _NUMBER)
    data.budget.hold(_LINE * len(pieces) + counted, "maps made of lists")
    grid = Array()
    grid.shape, grid.fortran = (len(pieces), *(widths or {0})), False
    if all(type(piece) is bytes for piece in pieces):
        grid.dtype, grid.data = _BYTE, b"".join(pieces)  # type: ignore[arg-type]
    else:
        grid.dtype, grid.data = _FLOAT, np.array([list(piece) for piece in pieces], _FLOAT).tobytes()
    return grid


def _line(line: Any, data: Mapped, where: str) -> bytes | list[float]:
    """Return one row of dies: bytes where all are whole numbers up to 255."""
    numbers = _items(line)
    if type(line) is Array and len(line.shape) == 1 and line.dtype.kind in _NUMBERS:
        numbers = content_of(line, data).tolist()
    if numbers is None:
        raise InputError(f"{where} holds {kind_of(line)}; expected dies.")
    if len(numbers) > MAX_SIDE:
        raise InputError(f"{where} of {len(numbers)} dies; expected at most {MAX_SIDE}.")
    try:
        return bytes(numbers)
    except (TypeError, ValueError):
        return [_number(number, data, where) for number in numbers]


def _number(number: Any, data: Mapped, where: str) -> float:
    if type(number) is Array and number.shape == () and number.dtype.kind in _NUMBERS:
        return float(content_of(number, data)[0])
    if type(number) in (int, float, bool):
        return float(number)
    raise InputError(f"{where} holds {kind_of(number)}; expected dies 0, 1 or 2.")
