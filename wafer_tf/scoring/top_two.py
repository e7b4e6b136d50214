"""The nine-way answer's two likeliest patterns, the second where likely enough: what stands beside eight sigmoids."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from wafer_tf.decision.fitting_patterns import MOST_OF_NONE, MOST_OF_SINGLES
from wafer_tf.dies import NONE
from wafer_tf.pattern_bits import bits_of_labels

_TRIED = np.arange(1, 101) / 200
"""Probabilities of the second; more than a half it never has."""
NEVER = 1.0


def top_two(prob: NDArray[np.floating[Any]], least: float) -> NDArray[np.uint8]:
    """Return (n,) uint8, the patterns of (n, 9) probabilities: the likeliest, and the second where likely enough.

    Args:
        prob: (n, 9), rows sum to 1. A wafer called "none" has no pattern.
        least: probability from which on the second of the eight patterns is taken too.

    Examples:
        >>> prob = np.array([[0.6, 0.3, *[0] * 6, 0.1], [0.3, 0.2, *[0] * 6, 0.5]])
        >>> top_two(prob, 0.25).tolist(), top_two(prob, 0.35).tolist()
        ([3, 0], [1, 0])
    """
    called = prob.argmax(axis=1)
    order = np.argsort(-prob[:, :NONE], axis=1, kind="stable")[:, 1]
    second = np.where(prob[np.arange(len(prob)), order] >= least, bits_of_labels(order), 0)
    found: NDArray[np.uint8] = np.where(called == NONE, 0, bits_of_labels(called) | second).astype(np.uint8)
    return found


def fit_top_two(
    prob: NDArray[np.floating[Any]],
    bits: NDArray[np.uint8],
    *,
    known_prob: NDArray[np.floating[Any]],
    known_bits: NDArray[np.uint8],
) -> float:
    """Find the threshold of the second with which most wafers have exactly their patterns, within the same limits.

    Args:
        prob: (n, 9) of wafers of no, one or several patterns.
        bits: (n,) uint8, their patterns.
        known_prob: (k, 9) of wafers of one pattern or none; of them at most MOST_OF_SINGLES and MOST_OF_NONE may be
            found to have two.
        known_bits: (k,) uint8, their patterns.

    Returns:
        The threshold; NEVER where none keeps the limits.

    Examples:
        >>> prob = np.array([[0.6, 0.3, *[0] * 7], [0.9, 0.1, *[0] * 7]])
        >>> round(fit_top_two(prob, np.array([3, 1]), known_prob=prob[:0], known_bits=np.zeros(0, np.uint8)), 3)
        0.3
    """
    number = np.bitwise_count(known_bits)
    limits = [(known_prob[number == k], most) for k, most in ((1, MOST_OF_SINGLES), (0, MOST_OF_NONE))]
    best, least = -1, NEVER
    for tried in (NEVER, *_TRIED[::-1].tolist()):
        if any((np.bitwise_count(top_two(known, tried)) > 1).sum() > most * len(known) for known, most in limits):
            break
        right = int((top_two(prob, tried) == bits).sum())
        if right > best:
            best, least = right, tried
    return least
