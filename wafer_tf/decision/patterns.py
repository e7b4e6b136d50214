"""Several patterns on one wafer: which of the eight sigmoids beside the nine-way answer pass. Needs numpy alone."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wafer_tf.dies import NONE
from wafer_tf.errors import ModelError
from wafer_tf.pattern_bits import PATTERNS


@dataclass(frozen=True)
class Patterns:
    """The thresholds that turn a model's eight pattern logits into the patterns of a wafer that has several.

    The nine-way answer names the one pattern of a wafer. Beside it each of the eight has a sigmoid of its own; a wafer
    has several patterns where two or more pass, and the nine-way answer is not "none".

    Attributes:
        thresholds: (8,) probabilities between 0 and 1, in the order of PATTERNS; a pattern passes from its own on.

    Examples:
        >>> logits = np.array([[-9, -9, -9, 4, -9, -9, -9, 2.0]])
        >>> Patterns((0.5,) * 8).names(logits[0], called=3)
        ['Edge-Ring', 'Scratch']
        >>> Patterns((0.5,) * 8).bits(logits, np.array([8])).tolist()
        [0]
    """

    thresholds: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.thresholds) != len(PATTERNS) or not all(0 < t < 1 for t in self.thresholds):
            raise ModelError(
                f"patterns: thresholds must be {len(PATTERNS)} numbers between 0 and 1; got {self.thresholds}."
            )

    def passing(self, logits: NDArray[np.floating[Any]]) -> NDArray[np.bool_]:
        """Return (n, 8) bool, which patterns pass, of (n, 8) logits."""
        least = np.array(self.thresholds)
        passed: NDArray[np.bool_] = np.asarray(logits, np.float64) >= np.log(least / (1 - least))
        return passed

    def bits(self, logits: NDArray[np.floating[Any]], called: NDArray[np.integer[Any]]) -> NDArray[np.uint8]:
        """Return (n,) uint8 patterns, as `pattern_bits` has them, of wafers that have several; 0 of all others.

        Args:
            logits: (n, 8).
            called: (n,) the nine-way answer, an index into CLASSES.
        """
        passed = self.passing(logits)
        several = (passed.sum(axis=1) > 1) & (np.asarray(called) != NONE)
        found: NDArray[np.uint8] = np.packbits(passed & several[:, None], axis=1, bitorder="little")[:, 0]
        return found

    def names(self, logits: NDArray[np.floating[Any]], called: int) -> list[str]:
        """Return the patterns of one wafer of (8,) logits, the likeliest first; none unless it has several."""
        passed = self.passing(logits[None])[0]
        if called == NONE or passed.sum() < 2:
            return []
        return [PATTERNS[k] for k in np.argsort(-np.asarray(logits), kind="stable") if passed[k]]

    def to_json(self) -> dict[str, Any]:
        """Return a dict that JSON can hold."""
        return {"thresholds": list(self.thresholds)}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "Patterns":
        """Read what `to_json` gave.

        Raises:
            ModelError: it is something else.
        """
        if not isinstance(data, dict) or set(data) != {"thresholds"} or not isinstance(data["thresholds"], list):
            raise ModelError(f"patterns: {data!r}; expected their thresholds.")
        try:
            thresholds = tuple(float(value) for value in data["thresholds"])
        except (TypeError, ValueError) as error:
            raise ModelError(f"patterns: thresholds {data['thresholds']!r}; expected numbers.") from error
        return cls(thresholds)
