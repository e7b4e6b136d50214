"""Figures with 95 % intervals over groups of wafers that belong together: whole groups drawn with replacement.

Wafers of one lot, and near-copies, say the same thing twice; wafers drawn one by one would make intervals too narrow.
The bootstrap is Efron's ("Bootstrap Methods: Another Look at the Jackknife", Annals of Statistics, 1979) on clusters.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

_CELLS_AT_ONCE = 4_000_000  # of the draws x groups weights: 32 MB

Figures = Callable[[NDArray[np.float64]], dict[str, NDArray[np.float64]]]
"""From (..., columns) sums over wafers to named figures, each (...) or (..., classes)."""


@dataclass(frozen=True)
class Estimate:
    """A figure and its 95 % bootstrap interval; NaN where undefined (JSON: null)."""

    value: float
    low: float
    high: float


class Bootstrap:
    """Figures that are functions of sums over wafers, so that a draw is a weighted sum of the groups' sums.

    Attributes:
        value: the figures of all wafers.
    """

    def __init__(self, sums: NDArray[np.float64], figures: Figures, *, draws: int, seed: int) -> None:
        """Draw.

        Args:
            sums: (groups, columns), the sums over the wafers of each group.
            figures: of the sums of any choice of groups.
            draws: 0, or one group alone, leaves the intervals undefined.
            seed: of the draws; two bootstraps of like groups and seed draw the same ones.
        """
        self.value = figures(sums.sum(axis=0))
        self._drawn = figures(draw_groups(sums, draws=draws, seed=seed)) if draws and len(sums) > 1 else None

    def estimate(self, name: str, c: int | None = None) -> Estimate:
        """Return a figure with the 2.5th and 97.5th percentile of its draws; `c`: of a figure per class."""
        at = (...,) if c is None else (..., c)
        return interval(self.value[name][at], None if self._drawn is None else self._drawn[name][at])


def draw_groups(sums: NDArray[np.float64], *, draws: int, seed: int) -> NDArray[np.float64]:
    """Return (draws, columns): the sums over groups drawn with replacement, from (groups, columns) sums of each."""
    rng = np.random.default_rng(seed)
    n = len(sums)
    parts = []
    for start in range(0, draws, step := max(1, _CELLS_AT_ONCE // n)):
        size = min(step, draws - start)
        picks = rng.integers(0, n, (size, n)) + np.arange(size)[:, None] * n
        times = np.bincount(picks.ravel(), minlength=size * n).reshape(size, n)
        parts.append(times.astype(np.float64) @ sums)
    return np.concatenate(parts)


def interval(value: Any, drawn: NDArray[np.float64] | None) -> Estimate:
    """Return a figure with the 95 % interval of its (draws,) bootstrapped values, NaN among them left out."""
    kept = np.zeros(0) if drawn is None else drawn[~np.isnan(drawn)]
    if not len(kept) or np.isnan(value):
        return Estimate(float(value), np.nan, np.nan)
    low, high = np.percentile(kept, (2.5, 97.5))
    return Estimate(float(value), float(low), float(high))
