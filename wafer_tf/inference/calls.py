"""What a bundle says of many maps, as columns. Needs numpy alone."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from wafer_tf.bundle import Bundle
from wafer_tf.decision.patterns import Patterns
from wafer_tf.decision.points import Point
from wafer_tf.decision.unknown import UNKNOWN_ABOVE
from wafer_tf.dies import CLASSES, NONE
from wafer_tf.pattern_bits import JOINED_BY

PLACES = 6
"""Decimals of a probability in a record."""
SCORE_PLACES = 4
"""Of an unknown score."""


def calls_of(
    bundle: Bundle, answers: NDArray[Any], *, point: Point, unknown_above: float = UNKNOWN_ABOVE
) -> dict[str, NDArray[Any]]:
    """Return columns of n answers; of each map they say what a station's record of it says.

    Args:
        bundle: whose model answered.
        answers: (n,) of `many.run_many`.
        point: by which wafers are called and decided.
        unknown_above: see `decision.verdict`.

    Returns:
        `label` (name of the class called), `probability` (of it), `decision`, the probability of each class under its
        name, 0..1 to PLACES, `unknown_score`, 0..1 to SCORE_PLACES, NaN where there is none, and `patterns` (object),
        the text of `several`, None where the bundle does not tell; (n,) each.
    """
    exact = bundle.decision.probabilities(bundle.output.dequantize(answers["logits"]))
    moved, score = point.moved(exact), answers["unknown_score"]
    called = moved.argmax(axis=1)
    by_label = np.where(called == NONE, "none", "defect")
    sure = np.where(moved.max(axis=1, initial=0) < point.review_below, "review", by_label)
    shown = rounded(exact)
    return {
        "label": np.array(CLASSES)[called],
        "probability": shown[np.arange(len(shown)), called],
        "decision": np.where(score > unknown_above, "unknown", sure),
        **{name: shown[:, c] for c, name in enumerate(CLASSES)},
        "unknown_score": rounded(score, SCORE_PLACES),
        "patterns": _patterns(bundle, answers, called),
    }


def _patterns(bundle: Bundle, answers: NDArray[Any], called: NDArray[np.int64]) -> NDArray[np.object_]:
    if bundle.patterns is None or bundle.pattern_output is None:
        return np.full(len(answers), None, object)
    return several(bundle.patterns, bundle.pattern_output.dequantize(answers["patterns"]), called)


def several(
    patterns: Patterns, logits: NDArray[np.floating[Any]], called: NDArray[np.integer[Any]]
) -> NDArray[np.object_]:
    """Return (n,) texts (object): the patterns of wafers that have several, the likeliest first, "" of all others.

    Args:
        patterns: the thresholds.
        logits: (n, 8) real pattern logits.
        called: (n,) index into CLASSES.

    Examples:
        >>> logits = np.array([[-9, -9, -9, 2, -9, -9, -9, 4.0]] * 2)
        >>> several(Patterns((0.5,) * 8), logits, np.array([3, 8])).tolist()
        ['Scratch+Edge-Ring', '']
    """
    found = np.full(len(logits), "", object)
    for i in np.flatnonzero(patterns.bits(logits, called)).tolist():  # few wafers have several
        found[i] = JOINED_BY.join(patterns.names(logits[i], int(called[i])))
    return found


def rounded(values: NDArray[np.float64], places: int = PLACES) -> NDArray[np.float64]:
    """Return values, 0..1, to so many decimals, each to the bits that Python's `round` gives.

    Examples:
        >>> rounded(np.array([0.1234565, 2 / 3])).tolist()
        [0.123456, 0.666667]
    """
    scaled = values * 10**places
    found: NDArray[np.float64] = np.rint(scaled) / 10**places
    close = np.abs(scaled - np.floor(scaled) - 0.5) < 1e-6  # `round` goes by the value, rint by the rounded product
    found[close] = [round(value, places) for value in values[close].tolist()]
    return found
