"""How regularly failing dies come back along the rows or the columns of a wafer. Needs numpy alone.

What repeats with a reticle, a stepper's row or a probe card's site does so in whole dies, and finer than a model sees
that looks at 64 x 64 cells. It shows as a line in the spectrum of the failing share along an axis.
"""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from wafer_tf.dies import Die, cropped

if TYPE_CHECKING:
    from wafer_tf.waferset import WaferSet

LONGEST = 8
"""Dies after which a pattern comes back, at most."""
CYCLES = 6
"""Times it comes back across the wafer, at least: what comes back less often is the shape of a pattern."""
FEWEST = 4
"""Frequencies that are told apart by, at least."""


def repeats(grids: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return (n,) of n maps of one shape: how far the strongest frequency along an axis stands above the others.

    Of each row, and of each column, the failing dies beyond their expected number are counted in standard deviations;
    of the spectrum of these, the largest power from CYCLES a wafer and 1 / LONGEST a die upwards is taken over the
    median and the noise. 0 of a wafer on which all dies fail, or none does.

    Args:
        grids: (n, rows, cols), die states 0..2.

    Examples:
        >>> maps = np.ones((2, 30, 30), np.uint8)
        >>> maps[0, ::3] = 2
        >>> maps[1, :10] = 2
        >>> repeats(maps).round(1).tolist()
        [6.1, 1.0]
    """
    dies, fails = grids != Die.ABSENT, grids == Die.FAIL
    total, failing = dies.sum(axis=(1, 2)), fails.sum(axis=(1, 2))
    rate = failing / np.maximum(total, 1)
    spread = np.sqrt(rate * (1 - rate))[:, None]
    highest = np.zeros(len(grids))
    for axis in (2, 1):
        n, m = dies.sum(axis=axis), grids.shape[3 - axis]
        first = max(-(-m // LONGEST), CYCLES)
        beyond = (fails.sum(axis=axis) - rate[:, None] * n) / np.maximum(np.sqrt(n) * spread, 1e-9)
        power = np.square(np.abs(np.fft.rfft(beyond, axis=1)[:, first:]))
        if (count := power.shape[1]) >= FEWEST:
            middle = np.partition(power, count // 2, axis=1)[:, count // 2]
            highest = np.maximum(highest, power.max(axis=1) / (middle + m))
    return np.where((failing > 0) & (failing < total), np.log1p(highest), 0.0)


def repeats_cropped(grids: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return `repeats` of maps of one shape without the margins that tools write round wafers."""
    ends = grids[:, [0, -1]].any(axis=2), grids[:, :, [0, -1]].any(axis=1)
    if all(end.all() for end in ends):
        return repeats(grids)
    return np.array([repeats(cropped(grid)[0][None])[0] for grid in grids])


def repeats_of(wafers: "WaferSet") -> NDArray[np.float64]:
    """Return (n,) `repeats_cropped` of every map of a set."""
    return np.array([repeats_cropped(wafers.map(i)[None])[0] for i in range(len(wafers))])
