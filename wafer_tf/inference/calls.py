"""What a bundle says of many maps, as columns. Needs numpy alone."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from wafer_tf.bundle import Bundle
from wafer_tf.decision.points import Point
from wafer_tf.decision.unknown import UNKNOWN_ABOVE
from wafer_tf.dies import CLASSES, NONE

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
        name, 0..1 to PLACES, and `unknown_score`, 0..1 to SCORE_PLACES, NaN where there is none; (n,) each.
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
    }


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
