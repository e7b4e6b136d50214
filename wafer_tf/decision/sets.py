"""Prediction sets: the classes that a wafer may be of, so that each class's wafers are covered as stated.

Split conformal prediction, one threshold a class (label-conditional or Mondrian: Vovk, "Conditional validity of
inductive conformal predictors", ACML 2012; Sadinle, Lei, Wasserman, "Least Ambiguous Set-Valued Classifiers with
Bounded Error Levels", JASA 2019). One threshold for all classes would cover the rare and hard ones far less often than
stated. `wafer_tf.decision.fitting.fit_sets` finds the thresholds. Needs numpy alone.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wafer_tf.dies import CLASSES
from wafer_tf.errors import ModelError

COVERAGE = 0.9
"""Stated coverage of a class, unless a user says otherwise.

Measured on the released models' answers out of fold: at 0.9 the likeliest class alone is enough for 98 % (`wafer`) and
94 % (`nano`) of the wafers, and the hard classes (Scratch, Loc, Donut, Edge-Loc) gain 4 to 20 points over the call
alone; at 0.95 about twice as many wafers get more than one name.
"""


@dataclass(frozen=True)
class Sets:
    """The thresholds of the sets.

    Attributes:
        coverage: at least this share of the wafers of each class have it in their set, 0..1: of a wafer of a new group
            drawn at random, the groups counting alike.
        least: nine, the least probability with which a class is in a set; None for a class of which too few groups
            were known to state a coverage: it is in a set only where it is the likeliest.
    """

    coverage: float
    least: tuple[float | None, ...]

    def __post_init__(self) -> None:
        if not 0 < self.coverage < 1:
            raise ModelError(f"prediction sets: coverage {self.coverage}; expected above 0 and below 1.")
        if len(self.least) != len(CLASSES) or not all(p is None or 0 <= p <= 1 for p in self.least):
            raise ModelError(f"prediction sets: {self.least}; expected {len(CLASSES)} probabilities or null.")

    def typical(self, prob: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Return (n, 9): which classes of (n, 9) calibrated probabilities reach their threshold; may be none."""
        return np.asarray(prob >= self._least)

    def members(self, prob: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Return (n, 9): the set of each wafer, from (n, 9) calibrated probabilities.

        The likeliest class is in every set, whether it reaches its threshold or not. So no set is empty and none
        leaves the call out, and the coverage can only be more than stated.

        Examples:
            >>> sets = Sets(0.9, (0.2,) * 8 + (0.98,))
            >>> prob = np.array([[0.3, 0.3, 0.1, 0.1, 0.1, 0, 0, 0, 0.1], [0.1, 0, 0, 0, 0, 0, 0, 0, 0.9]])
            >>> [[CLASSES[c] for c in np.flatnonzero(row)] for row in sets.members(prob)]
            [['Center', 'Donut'], ['none']]
        """
        found = self.typical(prob)
        found[np.arange(len(prob)), prob.argmax(axis=1)] = True
        return found

    def names(self, prob: NDArray[np.float64]) -> list[str]:
        """Return the set of one wafer, from (9,) calibrated probabilities, the likeliest class first."""
        held = np.flatnonzero(self.members(prob[None])[0])
        return [CLASSES[c] for c in held[np.argsort(-prob[held], kind="stable")]]

    @cached_property
    def _least(self) -> NDArray[np.float64]:
        return np.array([np.inf if p is None else p for p in self.least])

    def to_json(self) -> dict[str, Any]:
        """Return a dict that JSON can hold; `from_json` gives it back."""
        return {"coverage": self.coverage, "least": list(self.least)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Sets":
        """Read what `to_json` gave.

        Raises:
            ModelError: it is not that.
        """
        if set(data) != {"coverage", "least"}:
            raise ModelError(f"prediction sets: keys {sorted(data)}; expected coverage and least.")
        return cls(float(data["coverage"]), tuple(None if p is None else float(p) for p in data["least"]))
