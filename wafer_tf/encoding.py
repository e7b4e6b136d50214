"""Wafer map to model input: the one definition that training, the gate and the station share. Needs numpy alone.

A map of any size from 3x3 to 2000x2000 becomes a square input of three planes, each a share of 255:

0. `dies`: how much of the cell's area is covered by dies;
1. `fails`: how much of the cell's area is covered by failing dies;
2. `peak`: 255 where the cell holds a failing die, however small a part of the cell it is.

The first two keep densities when a map shrinks, the third keeps a scratch one die wide. A margin without dies, which
many tools write round the wafer, is cut off, and the rest is stretched to the square: so the wafer fills it and is
round, whatever the margin and the shape of its dies. All arithmetic is on whole numbers: in the matrix products every
partial sum is at most rows * cols, 4,000,000, and float32 holds each whole number up to 2**24, so they are exact in any
order; so is the rounding. The result is the same bits on every machine. It also commutes exactly with the eight
symmetries of the square, and apart from where the dies begin and end, no rule depends on the other dies of the map.
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from wafer_tf.dies import Die, cropped

INPUT_SIZE = 64
"""Rows and columns of the model's input, unless a run says otherwise."""

KEPT_SIDE = 300
"""Largest side, that of WM-811K, whose matrices are kept: a pair takes 150 kB, one of 2,000 rows would take 1 MB."""

FLOAT_AREA = 2**16
"""Cells up to which shares are rounded in float32, which is faster and exact: 255.5 * area fits its 24 bits, and a
quotient below a whole number lies 1 / area or more below it, twice the half step of float32 there."""

ABSENT, FAIL = int(Die.ABSENT), int(Die.FAIL)  # numpy compares with an IntEnum at half the speed
PLANES = ("dies", "fails", "peak")


def encode(grid: NDArray[np.uint8], size: int = INPUT_SIZE) -> NDArray[np.uint8]:
    """Encode one checked map.

    Args:
        grid: (rows, cols) uint8, die states 0..2.
        size: side of the input, in cells.

    Returns:
        (size, size, 3) uint8, the planes named in PLANES, 0..255. The model is fed `to_float` of it.

    Examples:
        >>> grid = np.ones((25, 30), np.uint8)
        >>> grid[3:6, 3:6] = 2
        >>> planes = encode(grid)
        >>> planes.shape, int(planes[..., 1].max())
        ((64, 64, 3), 255)
    """
    box, _ = cropped(grid)
    planes: NDArray[np.uint8] = _encode(box[None], size)[0]
    return planes


def encode_many(grids: NDArray[np.uint8], size: int = INPUT_SIZE) -> NDArray[np.uint8]:
    """Encode checked maps of one shape at once, each to the bits that `encode` gives of it.

    Args:
        grids: (n, rows, cols) uint8, die states 0..2. Some 64 maps are about the fastest.
        size: side of the input, in cells.

    Returns:
        (n, size, size, 3) uint8, see `encode`.

    Examples:
        >>> grids = np.ones((2, 25, 30), np.uint8)
        >>> encode_many(grids).shape
        (2, 64, 64, 3)
    """
    edges = (grids[:, 0], grids[:, -1], grids[:, :, 0], grids[:, :, -1])
    if all(edge.any(axis=1).all() for edge in edges):  # no map has a margin, as nearly always
        return _encode(grids, size)
    boxes = [cropped(grid)[0] for grid in grids]
    alike: dict[tuple[int, ...], list[int]] = {}
    for i, box in enumerate(boxes):
        alike.setdefault(box.shape, []).append(i)
    out = np.empty((len(grids), size, size, len(PLANES)), np.uint8)
    for places in alike.values():
        out[places] = _encode(np.stack([boxes[i] for i in places]), size)
    return out


def _encode(grids: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Encode (n, rows, cols) maps without a margin."""
    n, rows, cols = grids.shape
    down, touch_down = _down(rows, size) if rows <= KEPT_SIDE else _down.__wrapped__(rows, size)
    across, touch_across = _across(cols, size) if cols <= KEPT_SIDE else _across.__wrapped__(cols, size)
    fail, dies = grids == FAIL, grids != ABSENT
    if n > 1:  # wafers of a product have their dies in the same places: one matrix product for all of them
        seen: dict[bytes, int] = {}
        which = [seen.setdefault(mask.tobytes(), len(seen)) for mask in dies]
        dies = np.frombuffer(b"".join(seen), np.bool_).reshape(-1, rows, cols)
    states = np.empty((n + len(dies), rows, cols), np.float32)
    states[:n], states[n:] = fail, dies
    covered = down @ (states.reshape(-1, cols) @ across).reshape(-1, rows, size)
    level = _levels(covered, rows * cols)
    row, col = _one_die(rows, size), _one_die(cols, size)
    if row is None or col is None:
        hit = touch_down @ (states[:n].reshape(-1, cols) @ touch_across).reshape(-1, rows, size) > 0
    else:  # the same, faster
        hit = fail.take(col, 2).take(row, 1)
    out = np.empty((len(dies), size, size, len(PLANES)), np.uint8)
    out[..., 0] = level[n:]
    if n > 1:
        out = out[which]
    out[..., 1] = level[:n]
    out[..., 2] = np.negative(hit.view(np.uint8))  # 1 becomes 255
    return out


def _levels(covered: NDArray[np.float32], area: int) -> NDArray[np.uint8]:
    """Return whole numbers 0..area as shares of 255, to the nearest level, halves up; `covered` is written to."""
    if area <= FLOAT_AREA:
        covered *= np.float32(255)
        covered += np.float32(area // 2)
        covered /= np.float32(area)
        return covered.astype(np.uint8)
    share = covered.astype(np.int32)
    share *= 255
    share += area // 2
    share //= area
    return share.astype(np.uint8)


def to_float(planes: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Scale encoded planes to what the float model reads: float32 in 0..1."""
    return planes.astype(np.float32) / np.float32(255)


@lru_cache(maxsize=128)
def _down(rows: int, size: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return `_overlap` and `_touch` as float32, each (size, rows); up to KEPT_SIDE they are kept."""
    return _overlap(rows, size).astype(np.float32), _touch(rows, size).astype(np.float32)


@lru_cache(maxsize=128)
def _across(cols: int, size: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the same for columns, each (cols, size) and contiguous, as a matrix product is fastest."""
    overlap, touch = _overlap(cols, size).T, _touch(cols, size).T
    return np.ascontiguousarray(overlap, np.float32), np.ascontiguousarray(touch, np.float32)


@lru_cache(maxsize=1024)
def _one_die(dies: int, size: int) -> NDArray[np.intp] | None:
    """(size,): the one die each cell touches, or None where a cell touches two."""
    touch = _touch(dies, size)
    return touch.argmax(axis=1) if (touch.sum(axis=1) == 1).all() else None


def _overlap(dies: int, size: int) -> NDArray[np.int64]:
    """(size, dies): the length that cell and die share along one axis, in units of 1 / size of a die."""
    cell = np.arange(size)[:, None] * dies
    die = np.arange(dies)[None, :] * size
    shared: NDArray[np.int64] = np.maximum(np.minimum(cell + dies, die + size) - np.maximum(cell, die), 0)
    return shared


def _touch(dies: int, size: int) -> NDArray[np.bool_]:
    """(size, dies): whether the centre of the smaller of cell and die lies within the larger, borders included.

    Shrinking, this keeps every die in the cell its centre falls in; growing, it is the nearest die.
    """
    cell = (2 * np.arange(size) + 1)[:, None] * dies
    die = (2 * np.arange(dies) + 1)[None, :] * size
    touch: NDArray[np.bool_] = np.abs(cell - die) <= max(dies, size)
    return touch
