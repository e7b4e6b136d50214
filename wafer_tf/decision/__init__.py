"""From logits to the answer a user acts on: softmax((logits + class bias) / temperature). Needs numpy alone."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wafer_tf.decision.unknown import UNKNOWN_ABOVE
from wafer_tf.dies import CLASSES, NONE
from wafer_tf.errors import ModelError

REVIEW_BELOW = 0.5
"""Probability of the likeliest class under which a person should look, unless a user says otherwise."""


@dataclass(frozen=True)
class Decision:
    """The numbers that turn logits into calibrated probabilities.

    Attributes:
        bias: nine values added to the logits, in the order of CLASSES.
        temperature: above 0; larger is less sure.
    """

    bias: tuple[float, ...] = (0.0,) * len(CLASSES)
    temperature: float = 1.0

    def __post_init__(self) -> None:
        if len(self.bias) != len(CLASSES) or not np.isfinite(self.bias).all():
            raise ModelError(f"decision: bias must be {len(CLASSES)} finite numbers; got {self.bias}.")
        if not (np.isfinite(self.temperature) and self.temperature > 0):
            raise ModelError(f"decision: temperature must be above 0; got {self.temperature}.")

    def probabilities(self, logits: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
        """Return (n, 9) float64 probabilities of (n, 9) logits."""
        scaled = (np.asarray(logits, np.float64) + self._bias) / self.temperature
        scaled -= np.maximum.reduce(scaled, axis=-1, keepdims=True)
        powers = np.exp(scaled, out=scaled)
        powers /= np.add.reduce(powers, axis=-1, keepdims=True)
        return powers

    @cached_property
    def _bias(self) -> NDArray[np.float64]:
        return np.array(self.bias)

    def to_json(self) -> dict[str, Any]:
        """Return a dict that JSON can hold; `Decision(**d)` with a tuple bias gives it back."""
        return {**asdict(self), "bias": list(self.bias)}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "Decision":
        """Read what `to_json` gave."""
        if set(data) != {"bias", "temperature"}:
            raise ModelError(f"decision: keys {sorted(data)}; expected bias and temperature.")
        return cls(bias=tuple(float(b) for b in data["bias"]), temperature=float(data["temperature"]))


def verdict(
    probabilities: Sequence[float],
    unknown_score: float | None = None,
    *,
    review_below: float = REVIEW_BELOW,
    unknown_above: float = UNKNOWN_ABOVE,
) -> str:
    """Return what is decided on a wafer.

    "unknown" where it is too strange; else "review" where the likeliest class is not likely enough; else "none" or
    "defect".

    Args:
        probabilities: nine, in the order of CLASSES.
        unknown_score: 0..1; None where there is none.
        review_below: see REVIEW_BELOW.
        unknown_above: see UNKNOWN_ABOVE; at 1 nothing is unknown.

    Examples:
        >>> verdict([0.9, 0.1, 0, 0, 0, 0, 0, 0, 0])
        'defect'
        >>> verdict([0.9, 0.1, 0, 0, 0, 0, 0, 0, 0], 0.998)
        'unknown'
    """
    if unknown_score is not None and unknown_score > unknown_above:
        return "unknown"
    top = max(probabilities)
    return "review" if top < review_below else "none" if probabilities.index(top) == NONE else "defect"
