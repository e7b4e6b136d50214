"""Label-keeping changes of a wafer map, on the die grid itself: dies stay whole and states stay 0, 1 or 2."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wafer_tf.dies import MAX_SIDE, MIN_SIDE, Die

SYMMETRY_COUNT = 8
LEAST_LEFT = 0.4
"""Share of the failing dies that must be left of a map, or it might show its pattern no more; see `untested`."""
MAX_STRETCH = 1.5
"""Rows and columns grow by 1 to this, each by its own factor. To fewer dies a scratch one die wide could vanish."""


@dataclass(frozen=True)
class Augmentation:
    """What training does to each map it sees.

    Attributes:
        symmetries: apply one of the eight symmetries of the square at random.
        turn_prob: chance of a turn by any angle, the pattern moving over the map's own die grid.
        stretch_prob: chance of a change to more rows and columns, as if the dies were smaller.
        die_noise: upper end of the share of dies whose state is drawn anew at the map's own failing rate; the share
            itself is drawn uniformly from 0..die_noise for each map.
        tool_prob: chance that some dies are left without a result, as tools do: `untested`.
    """

    symmetries: bool = True
    turn_prob: float = 0.0
    stretch_prob: float = 0.0
    die_noise: float = 0.0
    tool_prob: float = 0.0

    def apply(self, grid: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
        """Return a changed copy (or view) of `grid`, (rows, cols) uint8; sides may be swapped."""
        if self.turn_prob and rng.random() < self.turn_prob:
            grid = turn(grid, rng.uniform(0, 2 * np.pi))
        if self.stretch_prob and rng.random() < self.stretch_prob:
            factors = rng.uniform(1, MAX_STRETCH, 2)
            rows, cols = np.rint(grid.shape * factors).astype(int).clip(MIN_SIDE, MAX_SIDE)
            grid = stretch(grid, rows, cols)
        if self.die_noise:
            grid = redraw(grid, rng.uniform(0, self.die_noise), rng)
        if self.tool_prob and rng.random() < self.tool_prob:
            grid = untested(grid, rng)
        return symmetry(grid, int(rng.integers(SYMMETRY_COUNT))) if self.symmetries else grid


def symmetry(grid: NDArray[np.uint8], index: int) -> NDArray[np.uint8]:
    """Return symmetry `index` (0..7) of the square applied to `grid`: index % 4 quarter turns, mirrored from 4 on."""
    return np.rot90(grid.T if index >= SYMMETRY_COUNT // 2 else grid, index % 4)


def turn(grid: NDArray[np.uint8], angle: float) -> NDArray[np.uint8]:
    """Turn the pattern by `angle` (radians) about the wafer's centre, keeping the die grid.

    Each die takes the state of the die that lies nearest where it came from on the round wafer; a place with no die
    there keeps its own state. Patterns on round wafers carry no direction, so the label stands.
    """
    rows, cols = grid.shape
    y, x = np.meshgrid((np.arange(rows) + 0.5) * 2 / rows - 1, (np.arange(cols) + 0.5) * 2 / cols - 1, indexing="ij")
    cos, sin = np.cos(angle), np.sin(angle)
    row = np.clip(((cos * y - sin * x + 1) * rows / 2).astype(np.int64), 0, rows - 1)
    col = np.clip(((sin * y + cos * x + 1) * cols / 2).astype(np.int64), 0, cols - 1)
    source = grid[row, col]
    return np.where((grid != Die.ABSENT) & (source != Die.ABSENT), source, grid)


def stretch(grid: NDArray[np.uint8], rows: int, cols: int) -> NDArray[np.uint8]:
    """Draw the map on `rows` x `cols` dies: each takes the state of the nearest place of the old grid."""
    row = ((np.arange(rows) + 0.5) * grid.shape[0] / rows).astype(np.int64)
    col = ((np.arange(cols) + 0.5) * grid.shape[1] / cols).astype(np.int64)
    return grid[np.ix_(row, col)]


def redraw(grid: NDArray[np.uint8], share: float, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Draw the state of a `share` (0..1) of the dies anew, failing at the map's own failing rate."""
    dies = grid != Die.ABSENT
    rate = float(np.count_nonzero(grid == Die.FAIL)) / max(int(np.count_nonzero(dies)), 1)
    chance = rng.random((2, *grid.shape), dtype=np.float32)
    drawn = np.where(chance[1] < rate, np.uint8(Die.FAIL), np.uint8(Die.PASS))
    return np.where(dies & (chance[0] < share), drawn, grid)


def untested(grid: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Take the result of some dies away, in one of four ways, or of none where less than LEAST_LEFT of the fails stay.

    A row or column, the outermost die all round, every other die as on a chequerboard, or 1 % of the dies anywhere.
    """
    rows, cols = np.indices(grid.shape)
    way = int(rng.integers(4))
    if way == 0:
        lines, count = (rows, len(grid)) if rng.random() < 0.5 else (cols, grid.shape[1])
        left = lines != rng.integers(count)
    elif way == 1:
        dies = np.pad(grid != Die.ABSENT, 1)
        left = dies[:-2, 1:-1] & dies[2:, 1:-1] & dies[1:-1, :-2] & dies[1:-1, 2:]
    elif way == 2:
        left = (rows + cols) % 2 == rng.integers(2)
    else:
        left = rng.random(grid.shape, dtype=np.float32) >= 0.01
    changed = np.where(left, grid, np.uint8(Die.ABSENT))
    fails, before = (int(np.count_nonzero(each == Die.FAIL)) for each in (changed, grid))
    return changed if fails >= LEAST_LEFT * before and changed.any() else grid
