"""Fitted thresholds of the patterns: best where nothing holds them back, and within the limits of false seconds."""

import numpy as np
import pytest
from numpy.typing import NDArray

from wafer_tf.decision.fitting_patterns import MARGIN, MOST_OF_NONE, MOST_OF_SINGLES, fit_patterns
from wafer_tf.decision.patterns import Patterns
from wafer_tf.dies import NONE
from wafer_tf.errors import InputError

NOTHING = np.zeros((0, 8)), np.zeros(0, np.uint8)


def drawn(bits: NDArray[np.uint8], rng: np.random.Generator, *, shift: float = 0) -> NDArray[np.float64]:
    """Return (n, 8) logits around 3 + shift where the bit is set, around -3 + shift elsewhere."""
    on = np.unpackbits(bits[:, None], axis=1, bitorder="little")
    return np.where(on, 3.0, -3.0) + shift + rng.normal(0, 1.5, on.shape)


def right(patterns: Patterns, logits: NDArray[np.float64], bits: NDArray[np.uint8]) -> int:
    """Return how many wafers have exactly their patterns, or, with one or none, are found to have no several."""
    found = patterns.bits(logits, np.zeros(len(bits), np.int64))
    return int((found == np.where(np.bitwise_count(bits) > 1, bits, 0)).sum())


def false_shares(patterns: Patterns, logits: NDArray[np.float64], bits: NDArray[np.uint8]) -> tuple[float, float]:
    several = patterns.bits(logits, np.zeros(len(bits), np.int64)) > 0
    return float(several[bits > 0].mean()), float(several[bits == 0].mean())


def test_no_single_threshold_moved_along_the_grid_finds_more_wafers_rightly() -> None:
    rng = np.random.default_rng(1)
    bits = rng.integers(0, 256, 3000).astype(np.uint8)
    logits = drawn(bits, rng, shift=-1)
    found = fit_patterns(logits, bits, known_logits=NOTHING[0], known_bits=NOTHING[1])
    best = right(found, logits, bits)
    assert best > right(Patterns((0.5,) * 8), logits, bits) + 100
    price = 1e-5 * len(bits)
    for k in range(8):
        for logit in np.arange(-3, 3, 0.5):
            moved = list(found.thresholds)
            moved[k] = 1 / (1 + np.exp(-logit))
            before = np.log(found.thresholds[k] / (1 - found.thresholds[k]))
            assert right(Patterns(tuple(moved)), logits, bits) <= best + price * (logit**2 - before**2) + 1e-3


def test_false_second_patterns_on_known_wafers_stay_within_their_limits_and_cost_as_little_as_they_need() -> None:
    rng = np.random.default_rng(2)
    bits = rng.integers(0, 256, 2000).astype(np.uint8)
    logits = drawn(bits, rng)
    known = np.where(rng.random(20_000) < 0.2, 1 << rng.integers(0, 8, 20_000), 0).astype(np.uint8)
    known_logits = drawn(known, rng)
    free = fit_patterns(logits, bits, known_logits=NOTHING[0], known_bits=NOTHING[1])
    held = fit_patterns(logits, bits, known_logits=known_logits, known_bits=known)
    singles, none = false_shares(free, known_logits, known)
    assert singles > MOST_OF_SINGLES
    singles, none = false_shares(held, known_logits, known)
    assert 0.9 * MARGIN * MOST_OF_SINGLES < singles <= MARGIN * MOST_OF_SINGLES  # used, not overrun
    assert none <= MARGIN * MOST_OF_NONE
    alike = max(
        right(Patterns((float(t),) * 8), logits, bits)
        for t in 1 / (1 + np.exp(-np.arange(0, 6, 0.1)))
        if false_shares(Patterns((float(t),) * 8), known_logits, known)[0] <= MARGIN * MOST_OF_SINGLES
    )
    assert right(held, logits, bits) >= alike  # one threshold for all eight is among what it may choose


def test_only_the_pattern_that_is_falsely_second_is_raised() -> None:
    bits = np.array([0b11, 0b101] * 300, np.uint8)
    logits = np.full((600, 8), -5.0)
    logits[:, 0] = 5
    logits[::2, 1], logits[1::2, 2] = np.linspace(0.5, 3, 300), 2
    known_logits = np.full((400, 8), -5.0)
    known_logits[:, 0] = 5
    known_logits[:40, 1] = 1.05
    found = fit_patterns(logits, bits, known_logits=known_logits, known_bits=np.ones(400, np.uint8))
    assert found.thresholds[2:] == (0.5,) * 6
    assert found.thresholds[0] == 0.5
    assert found.thresholds[1] == pytest.approx(1 / (1 + np.exp(-1.1)), abs=1e-6)


def test_a_known_wafer_called_none_needs_no_threshold_to_be_raised() -> None:
    bits = np.array([0b11] * 100, np.uint8)
    logits = np.full((100, 8), -5.0)
    logits[:, :2] = 1.0
    known = {"known_logits": logits, "known_bits": np.zeros(100, np.uint8)}
    assert max(fit_patterns(logits, bits, **known).thresholds) > 0.7
    called = np.zeros(100, np.int64)
    assert fit_patterns(logits, bits, called=called, known_called=called + NONE, **known).thresholds == (0.5,) * 8


def test_the_same_arrays_give_the_same_thresholds_in_any_order() -> None:
    rng = np.random.default_rng(3)
    bits = rng.integers(0, 16, 500).astype(np.uint8)
    logits, order = drawn(bits, rng), rng.permutation(500)
    one, two = (
        fit_patterns(logits[rows], bits[rows], known_logits=logits[rows], known_bits=bits[rows])
        for rows in (np.arange(500), order)
    )
    assert one == two


def test_a_logit_equal_to_a_threshold_passes_it_as_it_did_in_the_fit() -> None:
    for k in range(8):
        bits = np.array([0b11, 0b1] * 50, np.uint8)
        logits = np.full((100, 8), -9.0)
        logits[:, 0] = 14
        threshold = fit_patterns(*_parted_at(0.3 + k), known_logits=NOTHING[0], known_bits=NOTHING[1]).thresholds[1]
        equal = np.log(threshold / (1 - threshold))
        logits[::2, 1], logits[1::2, 1] = equal, np.nextafter(equal, -9)
        found = fit_patterns(logits, bits, known_logits=NOTHING[0], known_bits=NOTHING[1])
        assert found.thresholds[1] == threshold
        assert right(found, logits, bits) == 100


def _parted_at(logit: float) -> tuple[NDArray[np.float64], NDArray[np.uint8]]:
    logits = np.full((100, 8), -9.0)
    logits[:, 0] = 14
    logits[::2, 1], logits[1::2, 1] = logit + 0.06, logit - 0.06
    return logits, np.array([0b11, 0b1] * 50, np.uint8)


def test_arrays_that_do_not_fit_are_refused() -> None:
    with pytest.raises(InputError, match=r"expected \(n, 8\)"):
        fit_patterns(np.zeros((2, 9)), np.zeros(2, np.uint8), known_logits=NOTHING[0], known_bits=NOTHING[1])


def test_where_three_patterns_pass_everywhere_the_thresholds_are_raised_together() -> None:
    logits = np.random.default_rng(0).uniform(0.01, 0.1, (200, 8))
    bits = np.array([1, 2, 4, 0] * 50, np.uint8)
    fitted = fit_patterns(logits[:0], bits[:0], known_logits=logits, known_bits=bits)
    assert false_shares(fitted, logits, bits) == (0, 0)
    assert max(fitted.thresholds) < 0.53


def test_nothing_to_fit_on_leaves_one_half() -> None:
    found = fit_patterns(NOTHING[0], NOTHING[1], known_logits=NOTHING[0], known_bits=NOTHING[1])
    assert found.thresholds == (0.5,) * 8
