"""What the page says of a wafer map: the float model's call, the station's, and what a call of none may hide."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wafer_tf.dies import CLASSES, NONE, UNLABELLED
from wafer_tf.formats.options import DEFAULT, Options
from wafer_tf.formats.wafer_map import WaferMap

ESCAPE_PROB = 0.2
"""A call of none is doubted from this probability of any defect up. What that catches: docs/explanation/scores.md."""


@dataclass(frozen=True, eq=False)
class Origin:
    """Where a map comes from.

    Attributes:
        file: name of the file.
        format: its format and version, in words.
        found: the map, and what the file says of it.
        options: how it was read.
        picture: the file itself where it is a picture; None where it is none.
    """

    file: str
    format: str
    found: WaferMap
    options: Options = DEFAULT
    picture: bytes | None = None


@dataclass(frozen=True, eq=False)
class Wafer:
    """A map to look at.

    Attributes:
        name: what the user knows it by.
        grid: (rows, cols) uint8, die states 0..2, checked.
        label: index into CLASSES, UNLABELLED where nobody has said.
        origin: the file it was read from; None of a map that was drawn.
    """

    name: str
    grid: NDArray[np.uint8]
    label: int = UNLABELLED
    origin: Origin | None = None


@dataclass(frozen=True, eq=False)
class Answer:
    """What the models say of one map.

    Attributes:
        prob: (9,) calibrated probabilities of the float model.
        prob_int8: (9,) of the station's int8 model; None where there is no bundle.
        embedding: (d,) float32, the float model's pooled features.
        learned: whether the map, or a turned or mirrored copy, was in the run's training or validation part.
        decision: what the station decides, as in its record; None where there is no bundle.
        held: the classes of its prediction set, the likeliest first; empty where the bundle has no sets.
        unknown_score: the station's, 0..1: the share of known wafers called the same that are less strange; None where
            the bundle has none.
        patterns: those of a wafer that has several, the likeliest first, as in the station's record, or by the float
            model where there is no bundle; empty where it has not several, None where the model cannot say.
        patterns_float: the same of the float model.
        pattern_prob: (8,) the float model's probability of each pattern; None where it has no sigmoids.
    """

    prob: NDArray[np.float64]
    prob_int8: NDArray[np.float64] | None
    embedding: NDArray[np.float32]
    learned: bool = False
    decision: str | None = None
    held: tuple[str, ...] = ()
    unknown_score: float | None = None
    patterns: tuple[str, ...] | None = None
    patterns_float: tuple[str, ...] | None = None
    pattern_prob: NDArray[np.float64] | None = None

    @property
    def call(self) -> int:
        """Index into CLASSES of the float model's likeliest class."""
        return int(self.prob.argmax())

    @property
    def call_int8(self) -> int | None:
        """The same of the int8 model."""
        return None if self.prob_int8 is None else int(self.prob_int8.argmax())

    @property
    def agrees(self) -> bool | None:
        """Whether both models make the same call; None without an int8 model."""
        return None if self.prob_int8 is None else self.call == self.call_int8

    @property
    def shift(self) -> float:
        """Largest difference between the two models' probabilities of one class, 0..1; NaN without an int8 model."""
        return float("nan") if self.prob_int8 is None else float(np.abs(self.prob - self.prob_int8).max())

    @property
    def defect_prob(self) -> float:
        """Probability that there is a defect of any class."""
        return float(1 - self.prob[NONE])

    @property
    def may_escape(self) -> bool:
        """Whether the call is none and a defect has at least ESCAPE_PROB."""
        return self.call == NONE and self.defect_prob >= ESCAPE_PROB

    @property
    def likeliest_defect(self) -> str:
        """Name of the defect class with the largest probability."""
        return CLASSES[int(np.delete(self.prob, NONE).argmax())]
