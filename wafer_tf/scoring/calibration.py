"""What a perfectly calibrated model would show on the same wafers: calibration error is never 0 on finitely many.

On 1,133 wafers a model whose probabilities are exactly right has a calibration error near 0.01. A figure says something
beside that band alone.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wafer_tf.scoring.bootstrap import Estimate

_AT_ONCE = 4_000_000
"""Random numbers."""


@dataclass(frozen=True)
class Calibration:
    """The figures of a model that is right as often as it says, on wafers that are independent of each other.

    Attributes:
        ece: median of its expected calibration error, and what lies between its 2.5th and 97.5th percentile.
        log_loss: its mean log loss, and the same percentiles.
    """

    ece: Estimate
    log_loss: Estimate


def if_calibrated(
    prob: NDArray[np.float64], *, bins: NDArray[np.int64], draws: int = 200, seed: int = 0
) -> Calibration:
    """Return what the figures would be were the probabilities exactly right.

    Args:
        prob: (n, 9) rows sum to 1.
        bins: (n,) the confidence bin of each wafer, from 0.
        draws: of right and wrong calls, for the calibration error.
        seed: of these.

    Examples:
        >>> sure = np.eye(9)[[0, 1, 2]]
        >>> if_calibrated(sure, bins=np.array([14, 14, 14])).ece.value
        0.0
    """
    n, confidence = len(prob), prob.max(axis=1)
    rng = np.random.default_rng(seed)
    order = np.argsort(bins, kind="stable")
    starts = np.flatnonzero(np.diff(bins[order], prepend=-1))
    expected = np.add.reduceat(confidence[order], starts)
    errors: list[float] = []
    while len(errors) < draws:
        size = min(draws - len(errors), max(1, _AT_ONCE // n))
        right = rng.random((size, n)) < confidence[order]
        apart = np.abs(np.add.reduceat(right, starts, axis=1, dtype=np.int64) - expected)
        errors += (apart.sum(axis=1) / n).tolist()
    low, median, high = np.percentile(errors, (2.5, 50, 97.5)) if errors else (np.nan,) * 3
    log_prob = np.log(np.maximum(prob, np.finfo(np.float64).eps))
    mean = -(prob * log_prob).sum(axis=1)
    variance = float(((prob * np.square(log_prob)).sum(axis=1) - np.square(mean)).sum())
    loss, spread = float(mean.mean()), max(0.0, variance) ** 0.5 / n
    return Calibration(
        ece=Estimate(float(median), float(low), float(high)),
        log_loss=Estimate(loss, max(0.0, loss - 1.96 * spread), loss + 1.96 * spread),
    )
