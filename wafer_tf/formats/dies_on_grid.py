"""From a list of dies, or a grid drawn another way round, to a map with the notch down. Needs numpy alone."""

from collections.abc import Iterable
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from wafer_tf.dies import MAX_CELLS, MAX_SIDE, MIN_SIDE
from wafer_tf.errors import InputError
from wafer_tf.formats.wafer_map import BinCount

NOTCH = {"down": 0, "left": 90, "up": 180, "right": 270}
"""Where the notch is in the file's picture, in degrees clockwise from down, as SEMI E5 gives a notch (FNLOC)."""

MAX_COORDINATE = 2**31


class OnGrid(NamedTuple):
    """Dies on their grid.

    Attributes:
        grid: (rows, cols) of the values given, 0 where there is no die; notch down.
        corner: see `WaferMap`.
    """

    grid: NDArray[Any]
    corner: tuple[int, int]


def notch_down(grid: NDArray[Any], notch: int) -> NDArray[Any]:
    """Turn a (rows, cols) grid whose notch is at `notch` degrees clockwise from down so that it is down."""
    return np.rot90(grid, notch // 90)


def dies_on_grid(
    x: NDArray[np.integer[Any]],
    y: NDArray[np.integer[Any]],
    values: NDArray[Any],
    name: str,
    *,
    x_grows: Literal["right", "left"] = "right",
    y_grows: Literal["down", "up"] = "down",
    notch: int = 0,
    part: bool = False,
) -> OnGrid:
    """Set dies on the bounding box of their coordinates.

    Args:
        x, y: (n,) whole numbers, a die's column and row as the tool counts them; one place at most once.
        values: (n,) what to write at each place.
        name: what to call the map in an error.
        x_grows, y_grows: which way the coordinates grow in the tool's picture.
        notch: where the notch is in the tool's picture, see NOTCH.
        part: see `Options`.

    Raises:
        InputError: no die, or a bounding box larger than a map may be.
    """
    if not len(x):
        raise InputError(f"map {name}: no die with coordinates; expected at least one.")
    cols, rows = np.asarray(x, np.int64), np.asarray(y, np.int64)
    if max(np.abs(cols).max(), np.abs(rows).max()) > MAX_COORDINATE:
        raise InputError(f"map {name}: a coordinate beyond {MAX_COORDINATE}; expected those of dies.")
    cols = cols if x_grows == "right" else -cols
    rows = rows if y_grows == "down" else -rows
    for _ in range(notch // 90):  # a quarter turn counter-clockwise takes (row, col) to (-col, row)
        rows, cols = -cols, rows
    top, left = int(rows.min()), int(cols.min())
    sides = int(rows.max()) - top + 1, int(cols.max()) - left + 1
    check_sides(sides, name)
    if part:
        sides = max(sides[0], MIN_SIDE), max(sides[1], MIN_SIDE)
    grid = np.zeros(sides, np.asarray(values).dtype)
    grid[rows - top, cols - left] = values
    return OnGrid(grid, (top, left))


def check_sides(sides: tuple[int, int], name: str) -> None:
    """Refuse a declared size before anything of it is allocated.

    Raises:
        InputError: a side or the number of cells is larger than a map may have.
    """
    if max(sides) > MAX_SIDE or sides[0] * sides[1] > MAX_CELLS:
        raise InputError(
            f"map {name}: dies span {sides[0]} rows x {sides[1]} columns; expected at most {MAX_SIDE} each and "
            f"{MAX_CELLS} cells. A stray coordinate, or no wafer."
        )


def bin_counts(bins: Iterable[str], passing: Iterable[bool]) -> tuple[BinCount, ...]:
    """Count dies by bin, the passing bins first, then by name.

    Args:
        bins: of each die.
        passing: whether each die passed.
    """
    counted: dict[tuple[bool, str], int] = {}
    for name, passes in zip(bins, passing, strict=True):
        counted[not passes, name] = counted.get((not passes, name), 0) + 1
    return tuple(BinCount(name, not fails, dies) for (fails, name), dies in sorted(counted.items()))
