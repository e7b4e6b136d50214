"""LSWMD.pkl, the public file of WM-811K: a pickled pandas table, read without pandas and without running any of it.

Layouts: the original (pandas 0.19 under Python 2; `trianTestLabel`, labels as [['none']] or empty arrays), MIR's
WM811K.pkl (`trainTestLabel`, labels as plain text, 0 where there is none), and either as saved again by pandas 1 to 3:
with categories, numbers with gaps or Arrow's text for columns, lists for maps, two columns or more than the usual.
"""

import gc
import mmap
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from wafer_tf.budget import Budget, BudgetError
from wafer_tf.errors import InputError
from wafer_tf.readers import pickled
from wafer_tf.readers.cells import map_in
from wafer_tf.readers.class_names import class_code, spelling_notes
from wafer_tf.readers.frame import Frame, number, text
from wafer_tf.readers.mapped import Mapped
from wafer_tf.readers.pickledtypes import Array
from wafer_tf.readers.source import (
    ROW,
    SPLITS,
    Source,
    batch_edges,
    check_dies,
    check_shapes,
    offsets_of,
    tight,
    whole_numbers,
)
from wafer_tf.waferset import WaferSet

PICKLE_STARTS = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
REQUIRED = ("waferMap", "failureType")
OPTIONAL = ("lotName", "waferIndex")
_LOST = {
    "lotName": "lots are not known, so wafers of one lot cannot be kept together in a split",
    "waferIndex": "wafers have no number",
}
_MAX_KNOWN = 1 << 16
"""Cells whose code is kept; a column whose equal cells are one object has a dozen."""
_PIECE = 1 << 12
SPLIT_COLUMNS = ("trianTestLabel", "trainTestLabel")


def open_lswmd(
    path: str | os.PathLike[str],
    *,
    progress: bool = False,
    fast: bool = True,
    unpacked: BinaryIO | None = None,
    budget: Budget | None = None,
) -> Source:
    """Open a pickled WM-811K table; the maps stay in the file until they are wanted.

    Args:
        path: the file.
        progress: show a bar on stderr.
        fast: whether to pass over arrays by pattern; the result is the same.
        unpacked: a file on disk that holds what `path` unpacks to.
        budget: what reading may take, where it was begun on; else by the size of the file.

    Raises:
        InputError: unsafe, damaged, a column missing, an unknown label, a map that is none; more than reading may take.
    """
    path = Path(path)
    with nullcontext(unpacked) if unpacked else path.open("rb") as stream:
        data = Mapped(stream.fileno(), 0, access=mmap.ACCESS_READ)
    data.budget = budget or Budget.of_set(path)
    try:
        with _bar(path, len(data), progress) as advance, _no_collection():
            frame = Frame.of(
                pickled.load(data, progress=advance, fast=fast), data, (*REQUIRED, *OPTIONAL, *SPLIT_COLUMNS)
            )
            return _source(path, frame, data)
    except BudgetError:
        data.close()
        raise
    except InputError as error:
        data.close()
        raise InputError(f"{path}: {error}") from None


def _source(path: Path, frame: Frame, data: Mapped) -> Source:
    missing = [name for name in REQUIRED if name not in frame.columns]
    if missing:
        found = ", ".join(frame.names[:12])
        raise InputError(
            f"column {', '.join(missing)} is missing (it has {found}); expected {', '.join(REQUIRED)}, and where known "
            f"{', '.join(OPTIONAL)} and {' or '.join(SPLIT_COLUMNS)}."
        )
    data.budget.hold(ROW * len(frame.columns["waferMap"]), "what is kept of its rows")
    maps = [map_in(cell, data, row) for row, cell in enumerate(frame.columns["waferMap"])]
    sides = np.array([grid.shape for grid in maps], np.int64).reshape(-1, 2)
    check_shapes(sides, "table")
    if int(sides.prod(axis=1).sum()) > data.budget.memory_limit:
        raise InputError(f"maps of {sides.prod(axis=1).sum()} dies in a file of {len(data)} bytes: rows share them.")
    shapes = sides.astype(np.int32)
    n, offsets = len(maps), offsets_of(shapes)
    notes = [f"no column {name}: {lost}" for name, lost in _LOST.items() if name not in frame.columns]
    lot, index = np.zeros(n, "<U1"), np.zeros(n, np.int32)
    if "lotName" in frame.columns:
        lot = _strings(frame.columns["lotName"], data, "lotName")
    if "waferIndex" in frame.columns:
        index = whole_numbers(_numbers(frame.columns["waferIndex"], data), "table", column="waferIndex")
    spellings: set[str] = set()

    def code_of(name: str, row: int) -> int:
        spellings.add(name)
        return class_code(name, f"row {row}: failureType")

    label = _codes(frame.columns, "failureType", data, code_of)
    notes += spelling_notes(spellings, "label")
    split = np.zeros(n, "<U1")
    for name in SPLIT_COLUMNS:
        if name in frame.columns:
            names = np.array(SPLITS, dtype=np.str_)
            split = tight(names[_codes(frame.columns, name, data, _split_code)])

    def batches() -> Iterator[WaferSet]:
        for a, b in batch_edges(offsets):
            flat = check_dies(_cells(maps[a:b], data), shapes[a:b], str(path), first_row=a)
            columns = (lot[a:b], index[a:b], label[a:b].astype(np.int8), split[a:b])
            yield WaferSet(flat, offsets[a : b + 1] - offsets[a], shapes[a:b], *columns)

    return Source(path, "LSWMD pickle", n, int(offsets[-1]), batches, data, tuple(notes))


def _cells(maps: Sequence[Array], data: Mapped) -> NDArray[Any]:
    """Return the cells of these maps one after another, at the dtype they have in the file."""
    dtype = maps[0].dtype
    if any(grid.dtype != dtype or grid.fortran or type(grid.data) is not int for grid in maps):
        return np.concatenate([_grid(grid, data).ravel() for grid in maps])
    pieces = []
    for grid in maps:
        start, (rows, cols) = grid.data, grid.shape
        pieces.append(data[start : start + rows * cols * dtype.itemsize])  # type: ignore[operator, index]
    cells = np.frombuffer(b"".join(pieces), dtype)
    first, last = maps[0].data, maps[-1].data
    if type(first) is int and type(last) is int and last > first:
        first -= first % mmap.PAGESIZE
        data.madvise(mmap.MADV_DONTNEED, first, last - first)
    return cells


def _grid(grid: Array, data: Mapped) -> NDArray[Any]:
    rows, cols = grid.shape
    content = grid.data
    if type(content) is int:
        content = data[content : content + rows * cols * grid.dtype.itemsize]
    flat: NDArray[Any] = np.frombuffer(content, grid.dtype)  # type: ignore[arg-type]
    return flat.reshape(cols, rows).T if grid.fortran else flat.reshape(rows, cols)


def _codes(columns: dict[str, Any], name: str, data: Mapped, code: Callable[[str, int], int]) -> NDArray[np.int64]:
    """Return (n,) the code of each cell; equal cells are one object in the main, so each is worked out once."""
    column: Sequence[Any] = columns[name]
    if isinstance(column, np.ndarray):  # of numbers: all 0 or NaN where no wafer has a label
        column = column.tolist()
    known: dict[int, int] = {}
    codes = np.empty(len(column), np.int64)
    for row, cell in enumerate(column):
        found = known.get(id(cell))  # the column keeps the cells alive, so an id stands for one cell
        if found is None:
            found = code(text(cell, data, f"row {row}: {name}"), row)
            if len(known) < _MAX_KNOWN:
                known[id(cell)] = found
        codes[row] = found
    return codes


def _split_code(name: str, row: int) -> int:
    if name not in SPLITS:
        raise InputError(f"row {row}: official split {name!r}; expected Training, Test or nothing.")
    return SPLITS.index(name)


def _strings(column: Sequence[Any], data: Mapped, name: str) -> NDArray[np.str_]:
    pieces = []
    for first in range(0, len(column), _PIECE):
        cells = column[first : first + _PIECE]
        piece = np.array([text(cell, data, f"row {first + k}: {name}") for k, cell in enumerate(cells)], dtype=np.str_)
        data.budget.hold(piece.nbytes, f"column {name}")
        pieces.append(piece)
    data.budget.hold(len(column) * max((piece.itemsize for piece in pieces), default=4), f"column {name}")
    return tight(np.concatenate(pieces))


def _numbers(column: Sequence[Any], data: Mapped) -> NDArray[Any]:
    if isinstance(column, np.ndarray):
        return column
    return np.array([number(cell, data, f"row {row}: waferIndex") for row, cell in enumerate(column)], np.float64)


@contextmanager
def _bar(path: Path, size: int, shown: bool) -> Iterator[Callable[[int], object] | None]:
    if not shown:
        yield None
        return
    from tqdm import tqdm

    with tqdm(desc=f"reading {path.name}", total=size, unit="B", unit_scale=True, mininterval=0.5) as bar:
        yield bar.update


@contextmanager
def _no_collection() -> Iterator[None]:
    """Keep the garbage collector from walking millions of objects that are all in use."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
