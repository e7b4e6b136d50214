"""What a bundle says of many maps, as columns. Needs numpy alone."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from wafer_tf.bundle import Bundle
from wafer_tf.dies import CLASSES, NONE

PLACES = 6
"""Decimals of a probability in a record."""


def calls_of(bundle: Bundle, stored: NDArray[Any], *, review_below: float) -> dict[str, NDArray[Any]]:
    """Return columns of n answers; of each map they say what a station's record of it says.

    Args:
        bundle: whose model answered.
        stored: (n, 9) logits as the model stores them.
        review_below: the decision is "review" where the likeliest class is less likely than this.

    Returns:
        `label` (name of the likeliest class), `probability` (of it), `decision`, and the probability of each class
        under its name, 0..1 to PLACES; (n,) each.
    """
    exact = bundle.decision.probabilities(bundle.output.dequantize(stored))
    called = exact.argmax(axis=1)
    by_label = np.where(called == NONE, "none", "defect")
    decision = np.where(exact.max(axis=1, initial=0) < review_below, "review", by_label)
    shown = rounded(exact)
    return {
        "label": np.array(CLASSES)[called],
        "probability": shown[np.arange(len(shown)), called],
        "decision": decision,
        **{name: shown[:, c] for c, name in enumerate(CLASSES)},
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
