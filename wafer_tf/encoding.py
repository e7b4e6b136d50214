"""Wafer map to model input: the one definition that training, the gate and the station share. Needs numpy alone.

A map of any size from 3x3 to 300x300 becomes a square input of three planes, each a share of 255:

0. `dies`: how much of the cell's area is covered by dies;
1. `fails`: how much of the cell's area is covered by failing dies;
2. `peak`: 255 where the cell holds a failing die, however small a part of the cell it is.

The first two keep densities when a map shrinks, the third keeps a scratch one die wide. The map is stretched to the
square, so that the wafer is round whatever the shape of its dies. All arithmetic is on whole numbers held in float64
(below 2**53, so a matrix product is exact in any order): the result is the same bits on every machine. It also commutes
exactly with the eight symmetries of the square, and no rule depends on the other dies of the map.
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from wafer_tf.dies import Die

INPUT_SIZE = 64
"""Rows and columns of the model's input, unless a run says otherwise."""

PLANES = ("dies", "fails", "peak")


def encode(grid: NDArray[np.uint8], size: int = INPUT_SIZE) -> NDArray[np.uint8]:
    """Encode one checked map.

    Args:
        grid: (rows, cols) uint8, die states 0..2.
        size: side of the input, in cells.

    Returns:
        (size, size, 3) uint8, the planes named in PLANES, 0..255. The model is fed `to_float` of it.
    """
    rows, cols = grid.shape
    down, across = _overlap(rows, size), _overlap(cols, size).T
    fail = (grid == Die.FAIL).astype(np.float64)
    dies = (grid != Die.ABSENT).astype(np.float64)
    out = np.empty((size, size, len(PLANES)), np.uint8)
    area = rows * cols  # of one cell, in units of (1 / size of a die) squared
    out[..., 0] = np.floor((down @ dies @ across * 510 + area) / (2 * area))
    out[..., 1] = np.floor((down @ fail @ across * 510 + area) / (2 * area))
    out[..., 2] = (_touch(rows, size) @ fail @ _touch(cols, size).T > 0) * np.uint8(255)
    return out


def to_float(planes: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Scale encoded planes to what the float model reads: float32 in 0..1."""
    return planes.astype(np.float32) / np.float32(255)


@lru_cache(maxsize=1024)
def _overlap(dies: int, size: int) -> NDArray[np.float64]:
    """(size, dies): the length that cell and die share along one axis, in units of 1 / size of a die."""
    cell = np.arange(size)[:, None] * dies
    die = np.arange(dies)[None, :] * size
    shared: NDArray[np.float64] = np.maximum(np.minimum(cell + dies, die + size) - np.maximum(cell, die), 0.0)
    return shared


@lru_cache(maxsize=1024)
def _touch(dies: int, size: int) -> NDArray[np.float64]:
    """(size, dies): 1 where the centre of the smaller of cell and die lies within the larger, borders included.

    Shrinking, this keeps every die in the cell its centre falls in; growing, it is the nearest die.
    """
    cell = (2 * np.arange(size) + 1)[:, None] * dies
    die = (2 * np.arange(dies) + 1)[None, :] * size
    touch: NDArray[np.bool_] = np.abs(cell - die) <= max(dies, size)
    return touch.astype(np.float64)
