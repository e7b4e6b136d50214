"""Operating points: when a station answers alone, and how readily it calls a wafer none. Needs numpy alone."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wafer_tf.decision import REVIEW_BELOW
from wafer_tf.dies import CLASSES, NONE
from wafer_tf.errors import ModelError, UsageError

REVIEW = len(CLASSES)
"""What `Point.called` gives for a wafer that a person should look at, beside the nine classes."""
MAX_SHIFT = 50.0
MAX_POINTS, MAX_NAME = 20, 40


@dataclass(frozen=True)
class Point:
    """An operating point.

    Attributes:
        review_below: the decision is "review" where the class called is less likely than this, 0..1.
        none_shift: added to the logarithm of none's odds before a wafer is called; below 0 fewer wafers are called
            none. The calibrated probabilities stay as they are; likeliness is meant after the shift.
    """

    review_below: float = REVIEW_BELOW
    none_shift: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.review_below <= 1:
            raise ModelError(f"operating point: review_below {self.review_below}; expected 0 to 1.")
        if not abs(self.none_shift) <= MAX_SHIFT:
            raise ModelError(
                f"operating point: none_shift {self.none_shift}; expected {-MAX_SHIFT:g} to {MAX_SHIFT:g}."
            )

    def moved(self, prob: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return (..., 9) probabilities as this point sees them, by which a wafer is called.

        Examples:
            >>> sharp = Point(none_shift=-np.log(9))
            >>> sharp.moved(np.array([0.1, 0, 0, 0, 0, 0, 0, 0, 0.9]))[[0, 8]].tolist()
            [0.5, 0.5]
        """
        if not self.none_shift:
            return prob
        found = prob * self._factor
        return np.asarray(found / found.sum(axis=-1, keepdims=True))

    def called(self, prob: NDArray[np.float64]) -> NDArray[np.int64]:
        """Return (n,) index into CLASSES of (n, 9) probabilities, or REVIEW."""
        moved = self.moved(prob)
        return np.where(moved.max(axis=1) < self.review_below, REVIEW, moved.argmax(axis=1))

    @cached_property
    def _factor(self) -> NDArray[np.float64]:
        factor = np.ones(len(CLASSES))
        factor[NONE] = np.exp(self.none_shift)
        return factor

    def to_json(self) -> dict[str, float]:
        """Return a dict that JSON can hold; `Point(**d)` gives it back."""
        return asdict(self)


BALANCED = "balanced"
"""The name of the point at which wafers are called by the likeliest class."""


def points_from_json(data: Mapping[str, Any]) -> dict[str, Point]:
    """Read points by their names, each as `to_json` gave it.

    Raises:
        ModelError: it is not that.
    """
    if len(data) > MAX_POINTS or any(not 0 < len(name) <= MAX_NAME for name in data):
        raise ModelError(f"operating points: {len(data)}, or a name too long; expected at most {MAX_POINTS}.")
    found = {}
    for name, point in data.items():
        if set(point) != {"review_below", "none_shift"}:
            raise ModelError(f"operating point {name}: keys {sorted(point)}; expected review_below and none_shift.")
        found[name] = Point(float(point["review_below"]), float(point["none_shift"]))
    return found


def choose_point(points: Mapping[str, Point], name: str, *, where: str) -> Point:
    """Return the point that a user named.

    Args:
        points: of a bundle.
        name: of one of them; "balanced" is known without a bundle's help.
        where: whose points these are, for the error.

    Raises:
        UsageError: there is none of that name.
    """
    known = {BALANCED: Point(), **points}
    if name not in known:
        raise UsageError(
            f"--operating-point {name}: {where} does not offer it; it offers {', '.join(known)}. A point is offered "
            "where wafers that did not choose it show that it keeps its name; see wafer-tf operating RUN."
        )
    return known[name]
