"""The columns of a pickled pandas table, found in the inert objects that `pickled.load` returns."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from wafer_tf.arrays import MAX_TEXT
from wafer_tf.errors import InputError
from wafer_tf.readers.extension import cells_of, line_of
from wafer_tf.readers.mapped import Mapped
from wafer_tf.readers.pickledtypes import NOTHING, Array, Call, Name, content_of

MAX_COLUMNS = 1000
_NONSENSE = (TypeError, ValueError, LookupError, AttributeError, OverflowError)
_AS_TEXT = "Save it again as text or numbers: table[column] = table[column].astype(str)."
Column = Sequence[Any] | NDArray[Any]


@dataclass(frozen=True)
class Frame:
    """A table.

    Attributes:
        names: of all its columns.
        columns: those asked for, each a list of cells or a numpy array of numbers, all of one length.
    """

    names: list[str]
    columns: dict[str, Any]

    @classmethod
    def of(cls, root: Any, data: Mapped, wanted: Sequence[str]) -> "Frame":
        """Find the columns of a pickled DataFrame; what others hold is not looked at.

        Raises:
            InputError: the pickle holds something else, or a wanted column is of a type that is not read.
        """
        columns: dict[str, Any] = {}
        kept: dict[str, Any] = {}
        try:
            names, blocks = _manager(root, data)
            _check_size(blocks, data)
            for values, places in blocks:
                if not any(names[place] in wanted for place in places):
                    continue
                if type(values) is not Array:
                    (place,) = places
                    kept[names[place]] = values
                    continue
                if values.dtype.kind == "V":
                    raise InputError(f"column {names[places[0]]} holds dates or complex numbers. {_AS_TEXT}")
                for place, column in zip(places, _rows_of(values, data), strict=True):
                    if names[place] in wanted:
                        columns[names[place]] = column
        except _NONSENSE as error:
            raise InputError(
                f"not a wafer file: a pickle, but not of a pandas table as known here ({error})."
            ) from error
        rows = max((len(column) for column in columns.values()), default=None)
        for name, values in kept.items():
            try:
                columns[name] = cells_of(values, data, rows)
            except _NONSENSE as error:
                raise InputError(
                    f"column {name} holds {kind_of(values)}, which is not read ({error}). {_AS_TEXT}"
                ) from error
        lengths = {len(column) for column in columns.values()}
        if len(lengths) > 1:
            raise InputError(f"damaged table: columns of {min(lengths)} and of {max(lengths)} rows.")
        return cls(names, {name: columns[name] for name in names if name in columns})


def _manager(root: Any, data: Mapped) -> tuple[list[str], list[tuple[Any, list[int]]]]:
    """Return the column names and the blocks, each with the places of its columns."""
    if type(root) is not Call or root.func.name != "DataFrame" or type(root.state) is not dict:
        raise ValueError(f"its root is {kind_of(root)}")
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
    labels = _index(axes[0], data)
    if len(labels) > MAX_COLUMNS:
        raise ValueError(f"it has {len(labels)} columns")
    names = [text(name, data, "column name") for name in labels]
    if len(set(names)) != len(names):
        raise ValueError(f"it has {len(names)} columns, {len(set(names))} of them distinct")
    return names, [(values, _places(places, len(names), data)) for values, places in pairs]


def _check_size(blocks: Sequence[tuple[Any, list[int]]], data: Mapped) -> None:
    """Refuse blocks that share their cells: a thousand of them would fill the memory from a small file."""
    claimed = sum(
        len(values.data) if type(values.data) is list else math.prod(values.shape) * values.dtype.itemsize
        for values, _ in blocks
        if type(values) is Array
    )
    if claimed > len(data):
        raise ValueError(f"blocks of {claimed} bytes in a file of {len(data)}")


def _index(index: Any, data: Mapped) -> Column:
    """Return the labels of an axis: `_new_Index(Index, {"data": ...})`."""
    _, state = index.args
    return line_of(state["data"], data)


def _places(places: Any, count: int, data: Mapped) -> list[int]:
    if type(places) is Call and places.func.name == "slice":
        bounds = [number(bound, data, "place of a column") for bound in places.args]
        return list(range(count))[slice(*(None if bound != bound else int(bound) for bound in bounds))]
    line = line_of(places, data)
    if len(line) > count:
        raise ValueError(f"a block of {len(line)} of its {count} columns")
    return [int(place) for place in line]


def _rows_of(values: Any, data: Mapped) -> list[Any]:
    """Return the columns of a block: the rows of its 2-D array, or its one line."""
    sides = values.shape if len(values.shape) == 2 else (1, *values.shape)
    if len(sides) != 2 or sides[0] > MAX_COLUMNS:
        raise ValueError(f"a block of shape {values.shape}")
    lines, length = sides
    data.budget.hold(math.prod(sides) * (8 if type(values.data) is list else values.dtype.itemsize), "its columns")
    if type(values.data) is list:
        cells = values.data
        return [cells[k::lines] if values.fortran else cells[k * length : (k + 1) * length] for k in range(lines)]
    content = content_of(values, data)
    if values.fortran:
        return list(content.reshape(length, lines).T)
    return list(content.reshape(lines, length))


def text(cell: Any, data: Mapped, where: str, *, depth: int = 0) -> str:
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
    if cell is None or is_nothing(cell) or (type(cell) in (int, float, bool) and (cell == 0 or cell != cell)):
        return ""
    items: Sequence[Any] | None = None
    if type(cell) is Array:
        try:
            items = _elements(cell, data)
        except UnicodeDecodeError as error:
            raise InputError(f"{where}: text that is no Unicode ({error.reason}); the file is damaged.") from error
        except ValueError as error:
            raise InputError(f"{where}: holds {kind_of(cell)} that cannot be read ({error}).") from error
    elif type(cell) in (list, tuple):
        items = cell
    if items is None or len(items) > 1 or depth > 3:
        raise InputError(f"{where}: holds {kind_of(cell)}; expected one text or nothing.")
    return text(items[0], data, where, depth=depth + 1) if items else ""


def _elements(array: Array, data: Mapped) -> Sequence[Any]:
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


def number(cell: Any, data: Mapped, where: str) -> float:
    """Return the number in a cell of an object column, NaN where there is none."""
    if type(cell) is Array and cell.shape == () and cell.dtype.kind in "iuf":
        return float(content_of(cell, data)[0])
    if type(cell) in (int, float):
        return float(cell)
    if cell is None or is_nothing(cell):
        return float("nan")
    raise InputError(f"{where}: holds {kind_of(cell)}; expected a number.")


def is_nothing(cell: Any) -> bool:
    """Whether a cell is pandas' own mark for nothing."""
    name = cell if type(cell) is Name else cell.func if type(cell) is Call else None
    return name is not None and name.name in NOTHING


def kind_of(value: Any) -> str:
    """Return what a value of the pickle is, for an error."""
    if type(value) is Name:
        return f"a {value.module}.{value.name}"
    if type(value) is Call and value.func.name == "__pyx_unpickle_NDArrayBacked":
        return kind_of(value.args[0])
    if type(value) is Call:
        return f"a {value.func.module}.{value.func.name}"
    if type(value) is Array:
        return f"an array of shape {value.shape}"
    return f"a {type(value).__name__}"
