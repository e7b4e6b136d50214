"""Die states, class names, and the check every wafer map passes before anything else sees it. Needs numpy alone."""

import hashlib
from collections.abc import Iterable, Sequence
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wafer_tf.errors import InputError


class Die(IntEnum):
    """State of one cell of a wafer map, as in WM-811K."""

    ABSENT = 0
    PASS = 1
    FAIL = 2


CLASSES = ("Center", "Donut", "Edge-Loc", "Edge-Ring", "Loc", "Near-full", "Random", "Scratch", "none")
"""The nine classes, in the order every array, file and model of this project uses."""

NONE = CLASSES.index("none")
UNLABELLED = -1
MIN_SIDE, MAX_SIDE = 3, 2000
"""Rows and columns a map may have. WM-811K spans 3..300; wafers of LEDs, VCSELs and MEMS have 100,000 dies and more."""
MAX_CELLS = 4_000_000
"""Cells a map may have."""


def check_map(grid: NDArray[Any], name: str) -> NDArray[np.uint8]:
    """Check one wafer map and return it as uint8.

    Args:
        grid: (rows, cols) whole numbers (any dtype), die states 0..2, each side within MIN_SIDE..MAX_SIDE, at most
            MAX_CELLS cells.
        name: what to call the map in an error.

    Returns:
        (rows, cols) uint8, C-contiguous; the same memory where it already was.

    Raises:
        InputError: not 2-D, a side out of range, a value that is no die state, or no die at all.

    Examples:
        >>> check_map([[0, 1, 0], [1, 2, 1], [0, 1, 0]], "W1").dtype
        dtype('uint8')
    """
    try:
        grid = np.asarray(grid)
    except ValueError:  # rows of unequal length
        raise InputError(f"map {name}: rows of unequal length; expected a 2-D grid of dies.") from None
    if grid.ndim != 2:
        raise InputError(f"map {name}: {grid.ndim} dimensions, shape {grid.shape}; expected a 2-D grid of dies.")
    if not sides_fit(grid.shape):
        raise bad_sides(name, grid.shape)
    kind = grid.dtype.kind
    if kind not in "uifb":
        raise InputError(f"map {name}: cells of type {grid.dtype}; expected whole numbers 0, 1 or 2.")
    if kind in "ui" and 0 < np.maximum.reduce(grid, axis=None) <= 2 and (kind == "u" or grid.min() >= 0):
        return np.ascontiguousarray(grid, dtype=np.uint8)  # nearly every map comes this way, the fastest
    wrong = (grid != Die.ABSENT) & (grid != Die.PASS) & (grid != Die.FAIL)
    if wrong.any():
        row, col = np.argwhere(wrong)[0]
        raise InputError(
            f"map {name}: die state {grid[row, col]} at row {row}, column {col}; expected 0 (no die), 1 (pass) or "
            "2 (fail). If the cells are bins, say which pass: --pass-bins 1; else what they mean: --states "
            "NONE,PASS,FAIL."
        )
    if not grid.any():
        raise InputError(
            f"map {name}: no die at all ({grid.shape[0]} x {grid.shape[1]} cells, all 0); expected at least one die."
        )
    return np.ascontiguousarray(grid, dtype=np.uint8)


def cropped(grid: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], tuple[int, int]]:
    """Return the bounding box of a map's dies, and the row and column where it begins.

    Lines without a die inside the box stay: it is the margin round the wafer that goes, which many tools write and
    WM-811K does not have. A map without any die is returned whole.

    Examples:
        >>> box, corner = cropped(np.pad(np.ones((3, 4), np.uint8), ((2, 0), (1, 5))))
        >>> box.shape, corner
        ((3, 4), (2, 1))
    """
    edges = (grid[0], grid[-1], grid[:, 0], grid[:, -1])
    if all(map(np.count_nonzero, edges)):  # nearly every map; `any` takes four times as long
        return grid, (0, 0)
    rows, cols = np.flatnonzero(grid.any(axis=1)), np.flatnonzero(grid.any(axis=0))
    if not len(rows):
        return grid, (0, 0)
    return grid[rows[0] : rows[-1] + 1, cols[0] : cols[-1] + 1], (int(rows[0]), int(cols[0]))


def sides_fit(shape: Sequence[int]) -> bool:
    """Whether a map may have this declared shape (rows, cols)."""
    if len(shape) != 2:
        return False
    rows, cols = shape
    return MIN_SIDE <= rows <= MAX_SIDE and MIN_SIDE <= cols <= MAX_SIDE and rows * cols <= MAX_CELLS


def bad_sides(name: str, shape: Iterable[int]) -> InputError:
    """Return the error for a map of this declared shape (rows, cols)."""
    sides = " x ".join(str(side) for side in shape)
    return InputError(
        f"map {name}: {sides} cells (rows x columns); expected two sides of {MIN_SIDE} to {MAX_SIDE} and at most "
        f"{MAX_CELLS} cells. Crop the grid to the wafer, or merge dies of a larger one."
    )


def grid_sha256(grid: NDArray[np.uint8]) -> str:
    """Return the SHA-256 (hexadecimal) that names a map: of the text "ROWS COLS", a newline, and its dies by rows."""
    rows, cols = grid.shape
    return hashlib.sha256(f"{rows} {cols}\n".encode() + grid.tobytes()).hexdigest()
