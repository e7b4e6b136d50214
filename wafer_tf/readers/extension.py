"""Columns that pandas does not keep as plain numpy arrays: text, categories, numbers with gaps, Arrow's types."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wafer_tf.readers.mapped import Mapped
from wafer_tf.readers.pickledtypes import Array, Call, Raw, check_name, content_of

_TEXT = ("StringArray", "StringArrayNumpySemantics")
_MASKED = ("IntegerArray", "FloatingArray", "BooleanArray")
_ARROW = ("ArrowStringArray", "ArrowExtensionArray")
_ARROW_NUMBERS = {
    **{f"{sign}int{8 * size}": f"{kind}{size}" for sign, kind in (("", "i"), ("u", "u")) for size in (1, 2, 4, 8)},
    "float": "f4",
    "double": "f8",
    "halffloat": "f2",
}


OBJECT = 40
"""Bytes of a number as an object of Python, with its place in a list."""
_CATEGORIES = check_name("pandas", "CategoricalDtype")


def cells_of(values: Any, data: Mapped, rows: int | None) -> Sequence[Any] | NDArray[Any]:
    """Return the cells of one extension array: numbers as float64, NaN where there is none; else a list, None there.

    Args:
        values: what the pickle holds for the column.
        data: the file.
        rows: rows of the table, where they are known; checked before anything is allocated by a count in the file.

    Raises:
        ValueError: of a type that is not read, or damaged.
    """
    if type(values) is not Call:
        raise ValueError(f"a {type(values).__name__} for a column")
    kind = values.args[0].name if values.func.name == "__pyx_unpickle_NDArrayBacked" else values.func.name
    if kind in _ARROW:
        return _arrow(values.state, data)
    if kind in _MASKED:
        return _masked(values.state, data)
    if kind == "Categorical":
        return _categories(values.state, data, rows)
    if kind in _TEXT and type(values.state) is tuple:  # NDArrayBacked, whose state holds the array beside the dtype
        (array,) = (part for part in values.state if type(part) is Array)
        return list(line_of(array, data))
    raise ValueError("of a type that is not known")


def line_of(values: Any, data: Mapped) -> Sequence[Any] | NDArray[Any]:
    """Return the elements of one-dimensional values."""
    if type(values) is list:
        return values
    if type(values) is Array:
        if len(values.shape) != 1:
            raise ValueError(f"an array of shape {values.shape} for a line")
        if type(values.data) is list:
            return values.data
        if values.dtype.kind not in "iufb":  # numpy takes any four bytes for a character
            raise ValueError(f"a line of {values.dtype}")
        data.budget.hold(values.shape[0] * (values.dtype.itemsize + OBJECT), "a line of its values")
        return content_of(values, data).tolist()  # type: ignore[no-any-return]
    return cells_of(values, data, None)


def _categories(state: Any, data: Mapped, rows: int | None) -> list[Any]:
    """Return the cells of a Categorical: codes, -1 for none, and the dtype, which holds the categories."""
    if type(state) is tuple:
        parts = [part for part in state if type(part) is not dict] + [
            part for piece in state if type(piece) is dict for part in piece.values()
        ]
    else:
        parts = list(state.values())
    if type(state) is dict and "_categories" in state:  # pandas up to 0.20
        parts.append(Call(_CATEGORIES, ()))
        parts[-1].state = {"categories": state["_categories"]}
    (codes,) = (part for part in parts if type(part) is Array and part.dtype.kind == "i")
    (dtype,) = (part for part in parts if type(part) is Call and part.func.name == "CategoricalDtype")
    if rows is not None and codes.shape not in ((rows,), (1, rows)):
        raise ValueError(f"codes of shape {codes.shape} for {rows} rows")
    _, index = dtype.state["categories"].args
    names = [*line_of(index["data"], data), None]
    data.budget.hold(8 * len(names) + codes.shape[-1] * (16 + codes.dtype.itemsize), "a column of categories")
    places = content_of(codes, data)
    if len(places) and (places.min() < -1 or places.max() > len(names) - 2):
        raise ValueError(f"codes {places.min()} to {places.max()} for {len(names) - 1} categories")
    return [names[place] for place in places.tolist()]


def _masked(state: Any, data: Mapped) -> NDArray[np.float64]:
    values, mask = state["_data"], state["_mask"]
    if values.shape != mask.shape or values.dtype.kind not in "iufb" or mask.dtype.kind != "b":
        raise ValueError(f"values of shape {values.shape} under a mask of shape {mask.shape}")
    data.budget.hold(math.prod(values.shape) * (values.dtype.itemsize + 8 + 2), "a column with gaps")
    numbers = content_of(values, data).astype(np.float64)
    numbers[content_of(mask, data)] = np.nan
    return numbers


def _arrow(state: Any, data: Mapped) -> Sequence[Any] | NDArray[Any]:
    chunked = state.get("_pa_array", state.get("_data"))
    if type(chunked) is not Call or chunked.func.name not in ("chunked_array", "_restore_array"):
        raise ValueError("an Arrow array without chunks")
    chunks = chunked.args[0] if chunked.func.name == "chunked_array" else [chunked]
    claimed = sum(_size(b.args[0]) for chunk in chunks for b in chunk.args[0][4] if b is not None)
    if claimed > len(data):
        raise ValueError(f"Arrow buffers of {claimed} bytes in a file of {len(data)}")
    kinds = {chunk.args[0][0].args[0] for chunk in chunks}
    if kinds <= _ARROW_NUMBERS.keys() and kinds:
        return np.concatenate([_arrow_numbers(chunk, data) for chunk in chunks])
    return [string for chunk in chunks for string in _arrow_strings(chunk, data)]


def _arrow_numbers(chunk: Any, data: Mapped) -> NDArray[np.float64]:
    (spec,) = chunk.args
    kind, length, _, offset, buffers = spec[:5]
    valid, content = (None if b is None else _bytes(b.args[0], data) for b in buffers)
    dtype = np.dtype(_ARROW_NUMBERS[kind.args[0]])
    _hold(spec, data)
    usable = len(content or b"") // dtype.itemsize
    if offset < 0 or length < 0 or offset + length > usable:
        raise ValueError("an Arrow array that ends outside its buffers")
    numbers = np.frombuffer(content or b"", dtype, usable)[offset : offset + length].astype(np.float64)
    for k in _gaps(valid, offset, length):
        numbers[k] = np.nan
    return numbers


def _arrow_strings(chunk: Any, data: Mapped) -> list[str | None]:
    """Return the strings of `_restore_array((type, length, nulls, offset, buffers, children, dictionary))`."""
    (spec,) = chunk.args
    kind, length, _, offset, buffers = spec[:5]
    _hold(spec, data)
    width = {"string": np.int32, "large_string": np.int64}.get(kind.args[0])
    if width is None:
        raise ValueError(f"of Arrow's {kind.args[0]}")
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
    for k in _gaps(valid, offset, length):
        strings[k] = None
    return strings


def _hold(spec: Any, data: Mapped) -> None:
    """Count the buffers of an Arrow array, their copies, and an object for each element there can be."""
    length, buffers = spec[1], [_size(b.args[0]) for b in spec[4] if b is not None]
    data.budget.hold(2 * sum(buffers) + (2 * OBJECT) * min(length, 8 * max(buffers, default=0)), "an Arrow column")


def _gaps(valid: bytes | None, offset: int, length: int) -> list[int]:
    """Return the places of nothing, by Arrow's bits of what is valid."""
    if valid is None:
        return []
    bits = np.unpackbits(np.frombuffer(valid, np.uint8), bitorder="little")[offset : offset + length]
    gaps: list[int] = np.flatnonzero(bits == 0).tolist()
    return gaps


def _size(value: Any) -> int:
    return value.size if type(value) is Raw else len(value)


def _bytes(value: Any, data: Mapped) -> bytes:
    if type(value) is Raw:
        return data[value.offset : value.offset + value.size]
    if type(value) is not bytes:
        raise ValueError(f"a {type(value).__name__} where bytes belong")
    return value
