"""Clean wafers: a few scattered failing dies, or none at all, on the die grids of given maps."""

import numpy as np

from wafer_tf.dies import MAX_SIDE, MIN_SIDE, NONE, Die
from wafer_tf.learning.augment import stretch
from wafer_tf.waferset import WaferSet

SPOTLESS = 0.2
"""Share of clean wafers without any failing die."""

MAX_RATE = 0.03
"""Greatest chance of a die to fail; the real `none` maps begin about there (5 % of them lie below)."""

MAX_SCALE = 2.0
"""Of a grid's sides: products between and beyond those of the labelled maps."""


def clean_wafers(wafers: WaferSet, count: int, *, seed: int) -> WaferSet:
    """Draw `none` maps cleaner than those an engineer has labelled, on grids like those of any class and between them.

    Labelled sets hold hardly any: nobody labels what shows nothing. A model trained without them takes a clean wafer
    for a class that comes on such grids: of WM-811K's labelled maps, most of the finest grids are Scratch.

    Args:
        wafers: whose die grids to use, each drawn as often as it occurs there, with 1 / MAX_SCALE to MAX_SCALE times
            the rows and columns.
        count: maps to draw.
        seed: the same wafers, count and seed give the same maps.

    Returns:
        Maps labelled "none", every one a lot of its own. Dies fail independently of each other, with a chance that is 0
        on SPOTLESS of the maps and log-uniform from one die of the map to MAX_RATE on the others.
    """
    maps = []
    for k in range(count):
        rng = np.random.default_rng((seed, k))
        grid = wafers.map(int(rng.integers(len(wafers))))
        scale = np.exp(rng.uniform(-np.log(MAX_SCALE), np.log(MAX_SCALE)))
        rows, cols = np.rint(np.array(grid.shape) * scale).astype(int).clip(MIN_SIDE, MAX_SIDE)
        die = stretch(grid, rows, cols) != Die.ABSENT
        least = min(1 / max(int(die.sum()), 1), MAX_RATE)
        rate = 0.0 if rng.random() < SPOTLESS else np.exp(rng.uniform(np.log(least), np.log(MAX_RATE)))
        fails = rng.random(die.shape) < rate
        maps.append(np.where(die, np.where(fails, Die.FAIL, Die.PASS), Die.ABSENT).astype(np.uint8))
    return WaferSet.from_maps(maps, label=np.full(count, NONE), lot=[f"clean-{k:06d}" for k in range(count)])
