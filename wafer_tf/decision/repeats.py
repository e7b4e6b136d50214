"""How regularly failing dies come back along the rows or the columns of a wafer. Needs numpy alone.

What repeats with a reticle, a stepper's row or a probe card's site does so in whole dies, and finer than a model sees
that looks at 64 x 64 cells. It shows as a line in the spectrum of the failing share along an axis.
"""

import numpy as np
from numpy.typing import NDArray

from wafer_tf.dies import Die, cropped

ABSENT, FAIL = int(Die.ABSENT), int(Die.FAIL)  # numpy compares with an IntEnum at half the speed
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
    sides = grids.shape[1:]
    dies, fails = ((grids != ABSENT).astype(np.float32), (grids == FAIL).astype(np.float32))  # products are fast
    along = [(each @ np.ones(sides[1], np.float32)).astype(np.float64) for each in (dies, fails)]
    across = [(np.ones(sides[0], np.float32) @ each).astype(np.float64) for each in (dies, fails)]
    total, failing = (lines.sum(axis=1) for lines in along)
    rate = failing / np.maximum(total, 1)
    noise = np.maximum(rate * (1 - rate), 1e-12)  # of a line's `beyond`
    highest = np.zeros(len(grids))
    for (n, failed), m in zip((along, across), sides, strict=True):
        first = max(-(-m // LONGEST), CYCLES)
        count = m // 2 + 1 - first
        if count >= FEWEST:
            beyond = (failed - rate[:, None] * n) / np.sqrt(np.maximum(n, 1))
            found = np.fft.rfft(beyond)[:, first:]
            power = np.sort(found.real**2 + found.imag**2)
            highest = np.maximum(highest, power[:, -1] / (power[:, count // 2] + m * noise))
    return np.where((failing > 0) & (failing < total), np.log1p(highest), 0.0)


def repeats_cropped(grids: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return `repeats` of maps of one shape without the margins that tools write round wafers."""
    if len(grids) == 1:
        return repeats(cropped(grids[0])[0][None])
    rows, cols = grids[:, [0, -1]] != ABSENT, grids[:, :, [0, -1]] != ABSENT
    tight = rows.any(axis=2).all(axis=1) & cols.any(axis=1).all(axis=1)
    if tight.all():
        return repeats(grids)
    found = np.empty(len(grids))
    found[tight] = repeats(grids[tight])
    within: dict[tuple[int, ...], list[tuple[int, NDArray[np.uint8]]]] = {}
    for i in np.flatnonzero(~tight).tolist():
        grid = cropped(grids[i])[0]
        within.setdefault(grid.shape, []).append((i, grid))
    for same in within.values():
        found[[i for i, _ in same]] = repeats(np.stack([grid for _, grid in same]))
    return found
