"""The columns of a pickled pandas table, found in the inert objects that `pickled.load` returns."""

import math
import mmap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wafer_tf.arrays import MAX_TEXT
from wafer_tf.errors import InputError
from wafer_tf.readers.pickledtypes import Array, Call, Raw

MAX_COLUMNS = 1000
Column = Sequence[Any] | NDArray[Any]


@dataclass(frozen=True)
class Frame:
    """A table: its columns by name, each a list of cells or a numpy array of numbers, all of one length."""

    columns: dict[str, Any]

    @classmethod
    def of(cls, root: Any, data: mmap.mmap) -> "Frame":
        """Find the columns of a pickled DataFrame.

        Raises:
            InputError: the pickle holds something else.
        """
        try:
            names, blocks = _manager(root, data)
            _check_size(blocks, data)
            columns: dict[str, Any] = {}
            for values, places in blocks:
                for place, column in zip(places, _rows_of(values, data), strict=True):
                    columns[names[place]] = column
        except (TypeError, ValueError, LookupError, AttributeError, OverflowError) as error:
            raise InputError(
                f"not a wafer file: a pickle, but not of a pandas table as known here ({error})."
            ) from error
        lengths = {len(column) for column in columns.values()}
        if len(lengths) > 1:
            raise InputError(f"damaged table: columns of {min(lengths)} and of {max(lengths)} rows.")
        return cls(columns)


def _manager(root: Any, data: mmap.mmap) -> tuple[list[str], list[tuple[Any, list[int]]]]:
    """Return the column names and the blocks, each with the places of its columns."""
    if type(root) is not Call or root.func.name != "DataFrame" or type(root.state) is not dict:
        raise ValueError(f"its root is {_kind(root)}")
    manager = root.state.get("_mgr", root.state.get("_data"))
    if type(manager) is not Call or manager.func.name != "BlockManager":
        raise ValueError("it has no BlockManager")
    if type(manager.state) is tuple and type(manager.state[-1]) is dict:  # pandas up to 1.2
        ((_, latest),) = manager.state[-1].items()
        axes = latest["axes"]
        pairs = [(block["values"], block["mgr_locs"]) for block in latest["blocks"]]
    else:
        blocks, axes = manager.args
        pairs = [(block.args[0], block.args[1]) for block in blocks]
    names = [text(name, data, "column name") for name in _index(axes[0], data)]
    if len(names) > MAX_COLUMNS or len(set(names)) != len(names):
        raise ValueError(f"it has {len(names)} columns, {len(set(names))} of them distinct")
    return names, [(values, _places(places, len(names), data)) for values, places in pairs]


def _check_size(blocks: Sequence[tuple[Any, list[int]]], data: mmap.mmap) -> None:
    """Refuse blocks that share their cells: a thousand of them would fill the memory from a small file."""
    claimed = sum(
        len(values.data) if type(values.data) is list else math.prod(values.shape) * values.dtype.itemsize
        for values, _ in blocks
        if type(values) is Array
    )
    if claimed > len(data):
        raise ValueError(f"blocks of {claimed} bytes in a file of {len(data)}")


def _index(index: Any, data: mmap.mmap) -> Sequence[Any]:
    """Return the labels of an axis: `_new_Index(Index, {"data": ...})`."""
    kind, state = index.args
    del kind
    return _line(state["data"], data)


def _places(places: Any, count: int, data: mmap.mmap) -> list[int]:
    if type(places) is Call and places.func.name == "slice":
        return list(range(count))[slice(*places.args)]
    return [int(place) for place in _line(places, data)]


def _line(values: Any, data: mmap.mmap) -> Sequence[Any]:
    """Return the elements of one-dimensional values."""
    if type(values) is list:
        return list(values)
    (line,) = _rows_of(values, data)
    return list(line)


def _rows_of(values: Any, data: mmap.mmap) -> list[Any]:
    """Return the columns of a block: the rows of its 2-D array, or its one line."""
    if type(values) is Call:
        return [_strings(values, data)]
    sides = values.shape if len(values.shape) == 2 else (1, *values.shape)
    if len(sides) != 2 or sides[0] > MAX_COLUMNS:
        raise ValueError(f"a block of shape {values.shape}")
    lines, length = sides
    if type(values.data) is list:
        cells = values.data
        return [cells[k::lines] if values.fortran else cells[k * length : (k + 1) * length] for k in range(lines)]
    content = content_of(values, data)
    if values.fortran:
        return list(content.reshape(length, lines).T)
    return list(content.reshape(lines, length))


def content_of(array: Array, data: mmap.mmap) -> NDArray[Any]:
    """Return the cells of an array of plain values, flat, in the order of the file; a copy."""
    content = array.data
    if type(content) is int:
        count = int(np.prod(array.shape, dtype=np.int64))
        content = data[content : content + count * array.dtype.itemsize]
    return np.frombuffer(content, array.dtype)  # type: ignore[arg-type]


def _strings(values: Call, data: mmap.mmap) -> list[Any]:
    """Return the text of a string column of pandas 3: pickled Arrow chunks, or an object array."""
    state = values.state
    if type(state) is tuple:  # without pyarrow: NDArrayBacked, whose state holds the array beside the dtype
        (array,) = (part for part in state if type(part) is Array)
        return list(_line(array, data))
    chunked = state.get("_pa_array", state.get("_data"))
    if type(chunked) is not Call or chunked.func.name not in ("chunked_array", "_restore_array"):
        raise ValueError(f"a column of {values.func.module}.{values.func.name}")
    chunks = chunked.args[0] if chunked.func.name == "chunked_array" else [chunked]
    claimed = sum(_size(b.args[0]) for chunk in chunks for b in chunk.args[0][4] if b is not None)
    if claimed > len(data):
        raise ValueError(f"Arrow buffers of {claimed} bytes in a file of {len(data)}")
    return [string for chunk in chunks for string in _arrow_strings(chunk, data)]


def _arrow_strings(chunk: Any, data: mmap.mmap) -> list[str | None]:
    """Return the strings of `_restore_array((type, length, nulls, offset, buffers, children, dictionary))`."""
    (spec,) = chunk.args
    kind, length, _, offset, buffers = spec[:5]
    width = {"string": np.int32, "large_string": np.int64}[kind.args[0]]
    valid, starts_at, bytes_at = (None if b is None else _bytes(b.args[0], data) for b in buffers)
    if not 0 <= offset <= len(starts_at or b"") or length < 0:
        raise ValueError("an Arrow array that begins outside its buffers")
    starts = np.frombuffer(starts_at or b"", width)[offset : offset + length + 1]
    content = bytes_at or b""
    if len(starts) != length + 1 or (np.diff(starts) < 0).any() or starts[0] < 0 or starts[-1] > len(content):
        raise ValueError("an Arrow array with offsets outside its text")
    strings: list[str | None] = [
        content[a:b].decode() for a, b in zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True)
    ]
    if valid is not None:
        bits = np.unpackbits(np.frombuffer(valid, np.uint8), bitorder="little")[offset : offset + length]
        for k in np.flatnonzero(bits == 0).tolist():
            strings[k] = None
    return strings


def _size(value: Any) -> int:
    return value.size if type(value) is Raw else len(value)


def _bytes(value: Any, data: mmap.mmap) -> bytes:
    if type(value) is Raw:
        return data[value.offset : value.offset + value.size]
    if type(value) is not bytes:
        raise ValueError(f"{_kind(value)} where bytes belong")
    return value


def text(cell: Any, data: mmap.mmap, where: str, *, depth: int = 0) -> str:
    """Return the text in a cell, "" where there is none.

    Takes text itself, an array or list of one text at up to three levels ([['none']]), and for "nothing" None, NaN, 0
    and an empty array or list.

    Raises:
        InputError: anything else.
    """
    if type(cell) is bytes:
        cell = cell.decode("latin1")
    if type(cell) is str:
        if len(cell) > MAX_TEXT:
            raise InputError(f"{where}: a text of {len(cell)} characters; expected at most {MAX_TEXT}.")
        return cell
    if cell is None or (type(cell) in (int, float, bool) and (cell == 0 or cell != cell)):
        return ""
    items: Sequence[Any] | None = None
    if type(cell) is Array:
        try:
            items = _elements(cell, data)
        except UnicodeDecodeError as error:
            raise InputError(f"{where}: text that is no Unicode ({error.reason}); the file is damaged.") from error
        except ValueError as error:
            raise InputError(f"{where}: holds {_kind(cell)} that cannot be read ({error}).") from error
    elif type(cell) in (list, tuple):
        items = cell
    if items is None or len(items) > 1 or depth > 3:
        raise InputError(f"{where}: holds {_kind(cell)}; expected one text or nothing.")
    return text(items[0], data, where, depth=depth + 1) if items else ""


def _elements(array: Array, data: mmap.mmap) -> Sequence[Any]:
    """Return the elements of a small array, the text of it decoded strictly.

    numpy takes four bytes of text for a character unchecked; one above U+10FFFF breaks the interpreter later.
    """
    if type(array.data) is list:
        return array.data
    if array.dtype.kind != "U":
        return list(content_of(array, data).tolist())
    size, order = array.dtype.itemsize, "be" if array.dtype.byteorder == ">" else "le"
    content = content_of(array, data).tobytes()
    pieces = [content[k : k + size] for k in range(0, len(content), size or 1)]
    return [piece.decode(f"utf-32-{order}").rstrip("\0") for piece in pieces]


def number(cell: Any, data: mmap.mmap, where: str) -> float:
    """Return the number in a cell of an object column, NaN where there is none."""
    if type(cell) is Array and cell.shape == () and cell.dtype.kind in "iuf":
        return float(content_of(cell, data)[0])
    if type(cell) in (int, float):
        return float(cell)
    if cell is None:
        return float("nan")
    raise InputError(f"{where}: holds {_kind(cell)}; expected a number.")


def _kind(value: Any) -> str:
    if type(value) is Call:
        return f"a {value.func.module}.{value.func.name}"
    if type(value) is Array:
        return f"an array of shape {value.shape}"
    return f"a {type(value).__name__}"
