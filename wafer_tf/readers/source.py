"""Source: wafer maps in some file, handed on in checked batches, so that no file need fit in memory."""

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wafer_tf.cells import empty_cells
from wafer_tf.dies import MAX_CELLS as MAX_MAP_CELLS
from wafer_tf.dies import MAX_SIDE, MIN_SIDE, Die, bad_sides, check_map
from wafer_tf.errors import InputError
from wafer_tf.waferset import COLUMNS, WaferSet

BATCH_ROWS = 8192
BATCH_CELLS = 1 << 25
MAX_CELLS = 1 << 33
"""Cells a file may declare in all; WM-811K has 1.9e9."""
MAX_WAFERS = 1 << 24
ROW = 192
"""Bytes of memory that each wafer takes beside its map and its texts: shape, place, numbers, codes, references."""
SPLITS = ("", "Training", "Test")


@dataclass(frozen=True)
class Source(AbstractContextManager["Source"]):
    """An open file of wafer maps.

    Attributes:
        path: the file or folder.
        kind: its format, in words.
        rows: number of wafers.
        cells: cells of all maps together.
        batches: gives the wafers in order, as checked WaferSets of at most about BATCH_ROWS maps or BATCH_CELLS cells.
        resource: closed when the source is.
        notes: what was assumed or matched, and what is odd, in sentences for the user.
        several: whether any wafer has several patterns.
    """

    path: Path
    kind: str
    rows: int
    cells: int
    batches: Callable[[], Iterable[WaferSet]]
    resource: AbstractContextManager[object] = field(default_factory=nullcontext)
    notes: tuple[str, ...] = ()
    several: bool = False

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.resource.__exit__(kind, error, trace)

    def tell(self) -> None:
        """Print the notes on stderr."""
        for note in self.notes:
            print(f"note: {self.path}: {note}", file=sys.stderr)

    def collect(self) -> WaferSet:
        """Return all wafers as one set."""
        flat = empty_cells(self.cells)
        parts, done = [], 0
        for batch in self.batches():
            flat[done : done + len(batch.flat)] = batch.flat
            done += len(batch.flat)
            parts.append((batch.shapes, *(getattr(batch, name) for name in COLUMNS)))
        shapes, *columns = (np.concatenate(column) for column in zip(*parts, strict=True))
        return WaferSet(flat, offsets_of(shapes), shapes, *columns)


def offsets_of(shapes: NDArray[np.integer[Any]]) -> NDArray[np.int64]:
    """Return (n + 1,) int64, where each map of (n, 2) `shapes` begins when they lie one after another."""
    return np.concatenate([[0], np.cumsum(shapes.astype(np.int64).prod(axis=1))]).astype(np.int64)


def tight(strings: NDArray[np.str_]) -> NDArray[np.str_]:
    """Return the strings at the narrowest dtype that holds them, so that equal sets have equal dtypes."""
    width = int(np.char.str_len(strings).max(initial=1))
    return strings.astype(f"<U{max(width, 1)}", copy=False)


def batch_edges(offsets: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Cut maps with these (n + 1,) offsets into ranges of BATCH_ROWS maps, or fewer where they are large."""
    first, n = 0, len(offsets) - 1
    while first < n:
        full = int(np.searchsorted(offsets, offsets[first] + BATCH_CELLS, side="right")) - 1
        last = max(first + 1, min(first + BATCH_ROWS, full, n))
        yield first, last
        first = last


def check_shapes(shapes: NDArray[np.int64], where: str) -> None:
    """Refuse any side outside MIN_SIDE..MAX_SIDE, and more than MAX_CELLS cells, before anything is allocated."""
    if len(shapes) == 0:
        raise InputError(f"{where}: no wafer in it; expected at least one.")
    if len(shapes) > MAX_WAFERS:
        raise InputError(f"{where}: {len(shapes)} wafers; expected at most {MAX_WAFERS}. Split the file.")
    wrong = ((shapes < MIN_SIDE) | (shapes > MAX_SIDE)).any(axis=1) | (shapes.prod(axis=1) > MAX_MAP_CELLS)
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        raise bad_sides(f"{where} row {row}", shapes[row].tolist())
    if int(shapes.prod(axis=1).sum()) > MAX_CELLS:
        raise InputError(f"{where}: {shapes.prod(axis=1).sum()} cells in all; expected at most {MAX_CELLS}.")


def check_dies(
    flat: NDArray[Any], shapes: NDArray[np.integer[Any]], where: str, *, first_row: int
) -> NDArray[np.uint8]:
    """Check many maps at once and return their cells as uint8.

    Args:
        flat: (cells,) whole numbers, the maps one after another.
        shapes: (n, 2) rows and columns, already checked.
        where: the file, for the error.
        first_row: row number of the first map, for the error.

    Raises:
        InputError: of the first map that holds a value other than 0..2, or no die at all.
    """
    offsets = offsets_of(shapes)
    if flat.dtype == np.uint8:  # nearly always, and without another array of all cells
        top = np.maximum.reduceat(flat, offsets[:-1])
        if top.min() >= Die.PASS and top.max() <= Die.FAIL:
            return flat
    good = (flat == Die.ABSENT) | (flat == Die.PASS) | (flat == Die.FAIL)
    used = np.logical_or.reduceat(flat != 0, offsets[:-1])
    if not (good.all() and used.all()):
        row = int((~used).argmax()) if good.all() else int(np.searchsorted(offsets, (~good).argmax(), side="right") - 1)
        check_map(flat[offsets[row] : offsets[row + 1]].reshape(shapes[row]), f"{where} row {first_row + row}")
    return flat.astype(np.uint8, copy=False)


def check_splits(names: NDArray[np.str_], where: str) -> NDArray[np.str_]:
    """Return (n,) official split names unchanged, each "Training", "Test" or ""."""
    wrong = ~np.isin(names, SPLITS)
    if wrong.any():
        row = int(wrong.argmax())
        raise InputError(f"{where} row {row}: official split {str(names[row])!r}; expected Training, Test or nothing.")
    return names


def whole_numbers(values: NDArray[np.generic], where: str, *, column: str) -> NDArray[np.int32]:
    """Return (n,) wafer indices as int32, 0 where they are unknown (NaN)."""
    if values.dtype.kind not in "iuf":
        raise InputError(f"{where}: {column} holds {values.dtype}; expected whole numbers.")
    numbers = np.nan_to_num(values.astype(np.float64), nan=0.0, posinf=-1.0)
    wrong = (numbers != np.floor(numbers)) | (numbers < 0) | (numbers >= 2**31)
    if wrong.any():
        row = int(wrong.argmax())
        raise InputError(f"{where} row {row}: {column} {values[row]}; expected a whole number from 0 up.")
    return numbers.astype(np.int32)
