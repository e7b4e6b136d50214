"""Whether heat maps tell the truth: measures against a known pattern, and against the model's own answer.

Against a known pattern (synthetic maps): energy inside it, the pointing game (Zhang et al., "Top-down Neural Attention
by Excitation Backprop", ECCV 2016), the area under the curve of overlap by threshold. Against the model: deletion and
insertion (Petsiuk et al., "RISE", BMVC 2018), here by turning failing dies into passing ones and back.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from wafer_tf.dies import Die

Heat = NDArray[np.floating[Any]]
"""(rows, cols), 0 or more, 0 where there is no die; any scale."""
Mask = NDArray[np.bool_]
"""(rows, cols), True on the dies of the pattern."""

THRESHOLDS = np.arange(1, 20) / 20
"""Shares of a heat map's maximum at which it is compared with a mask."""


def energy_inside(heat: Heat, mask: Mask) -> float:
    """Return the share of all heat that lies on the pattern, 0..1; 0 for a map without heat."""
    total = float(heat.sum())
    return float(heat[mask].sum()) / total if total > 0 else 0.0


def pointing_hit(heat: Heat, mask: Mask) -> float:
    """Return whether the hottest die lies on the pattern: 1, 0, or the chance of it where dies tie; 0 without heat."""
    top = float(heat.max())
    return float(mask[heat == top].mean()) if top > 0 else 0.0


def overlap_area(heat: Heat, mask: Mask) -> float:
    """Return the mean of intersection over union of the pattern and the dies above each of THRESHOLDS, 0..1."""
    top = float(heat.max())
    if top <= 0:
        return 0.0
    above = heat[None] >= THRESHOLDS[:, None, None] * top
    return float(((above & mask).sum((1, 2)) / np.maximum((above | mask).sum((1, 2)), 1)).mean())


def removal_order(heat: Heat, grid: NDArray[np.uint8], *, rng: np.random.Generator) -> NDArray[np.intp]:
    """Return the failing dies of a (rows, cols) map as indices into its cells, hottest first, ties in random order."""
    failing = rng.permutation(np.flatnonzero(grid == Die.FAIL))
    return failing[np.argsort(-heat.ravel()[failing], kind="stable")]


def deleted(
    grid: NDArray[np.uint8], order: NDArray[np.intp], shares: NDArray[np.floating[Any]]
) -> list[NDArray[np.uint8]]:
    """Return copies of a map in which the first so many shares of `order` pass instead of failing."""
    maps = []
    for count in np.rint(shares * len(order)).astype(int):
        copy = grid.copy()
        copy.ravel()[order[:count]] = Die.PASS
        maps.append(copy)
    return maps


def inserted(
    grid: NDArray[np.uint8], order: NDArray[np.intp], shares: NDArray[np.floating[Any]]
) -> list[NDArray[np.uint8]]:
    """Return copies of a map in which only the first so many shares of `order` fail and all other dies pass."""
    return deleted(grid, order[::-1], 1 - np.asarray(shares))


def area(curve: NDArray[np.floating[Any]], shares: NDArray[np.floating[Any]]) -> float:
    """Return the mean height of a curve over rising shares."""
    return float(np.trapezoid(curve, shares) / (shares[-1] - shares[0]))


def rank_correlation(a: Heat, b: Heat, on: Mask) -> float:
    """Return Spearman's rank correlation of two heat maps over some dies, -1..1; NaN where one of them is even."""
    from scipy.stats import spearmanr

    x, y = a[on], b[on]
    if len(x) < 2 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return float("nan")
    return float(spearmanr(x, y).statistic)
