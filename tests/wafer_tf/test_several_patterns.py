"""The rule for several patterns on one wafer: thresholds, the nine-way answer none, order of the names, bad JSON."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from wafer_tf.decision.patterns import Patterns
from wafer_tf.dies import CLASSES, NONE
from wafer_tf.errors import ModelError
from wafer_tf.pattern_bits import PATTERNS, pattern_names

HALF = Patterns((0.5,) * 8)
RING, SCRATCH = PATTERNS.index("Edge-Ring"), PATTERNS.index("Scratch")


def logits(ring: float = -6, scratch: float = -6) -> NDArray[np.float64]:
    found = np.full(8, -6.0)
    found[[RING, SCRATCH]] = ring, scratch
    return found


def test_two_that_pass_are_named_the_likeliest_first() -> None:
    assert HALF.names(logits(1, 3), called=RING) == ["Scratch", "Edge-Ring"]


def test_one_pattern_or_a_wafer_called_none_has_no_list() -> None:
    shown = np.stack([logits(5), logits(5, 5), logits(5, 5)])
    bits = HALF.bits(shown, np.array([RING, NONE, CLASSES.index("Center")]))
    assert [pattern_names(int(one)) for one in bits] == [(), (), ("Edge-Ring", "Scratch")]
    assert HALF.names(shown[1], called=NONE) == [] == HALF.names(shown[0], called=RING)


def test_a_pattern_passes_from_its_own_threshold_on() -> None:
    low = list(HALF.thresholds)
    low[SCRATCH] = 0.25
    some = logits(0.0, np.log(1 / 3))
    assert Patterns(tuple(low)).names(some, called=RING) == ["Edge-Ring", "Scratch"]
    assert Patterns(tuple(low)).names(some - 1e-6, called=RING) == []


@pytest.mark.parametrize("wrong", [{}, {"thresholds": [0.5] * 7}, {"thresholds": [0.5] * 7 + [1.0]}, []])
def test_what_is_no_threshold_is_refused(wrong: Any) -> None:
    with pytest.raises(ModelError, match="thresholds"):
        Patterns.from_json(wrong)


def test_json_gives_it_back() -> None:
    assert Patterns.from_json(HALF.to_json()) == HALF
