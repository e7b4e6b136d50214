"""Scores of several patterns: by hand, against sklearn, the rule, false seconds, and the nine-way answer's top two."""

import json
import warnings

import numpy as np
import pytest

from wafer_tf.decision.patterns import Patterns
from wafer_tf.dies import CLASSES, NONE
from wafer_tf.errors import InputError
from wafer_tf.pattern_bits import PATTERNS, bits_of_labels
from wafer_tf.scoring.several import PatternScores, false_seconds, found_patterns, score_patterns
from wafer_tf.scoring.top_two import NEVER, fit_top_two, top_two

CENTER, DONUT, SCRATCH = (1 << PATTERNS.index(name) for name in ("Center", "Donut", "Scratch"))
BOTH = CENTER | SCRATCH


def test_figures_are_those_counted_by_hand() -> None:
    true = [0, 0, CENTER, CENTER, BOTH, BOTH, BOTH, SCRATCH]
    found = [0, CENTER, CENTER, BOTH, BOTH, BOTH, CENTER, DONUT]
    scores = score_patterns(true, found, group=range(8), draws=0)
    assert scores.exact.value == 4 / 8
    assert [(one.patterns, one.wafers) for one in scores.by_number] == [(0, 2), (1, 3), (2, 3), (3, 0), (4, 0)]
    assert [one.exact.value for one in scores.by_number[:3]] == pytest.approx([1 / 2, 1 / 3, 2 / 3])
    assert np.isnan(scores.by_number[3].exact.value)
    center, donut, scratch = (scores.bits[PATTERNS.index(name)] for name in ("Center", "Donut", "Scratch"))
    assert (center.support, center.found) == (5, 6)
    assert (center.precision.value, center.recall.value, center.f1.value) == pytest.approx((5 / 6, 1, 10 / 11))
    assert (scratch.precision.value, scratch.recall.value, scratch.f1.value) == pytest.approx((2 / 3, 2 / 4, 4 / 7))
    assert (donut.support, donut.found) == (0, 1)
    assert np.isnan([donut.precision.value, donut.recall.value, donut.f1.value]).all()  # it occurs on none
    assert scores.mean_f1.value == pytest.approx((10 / 11 + 4 / 7) / 2)
    f1 = {one.names: one.f1 for one in scores.combinations}
    assert f1 == pytest.approx({(): 2 / 3, ("Center",): 2 / 5, ("Scratch",): 0, ("Center", "Scratch"): 2 / 3})
    assert [one.found for one in scores.combinations] == [1, 3, 0, 3]  # and one Donut, which no wafer is
    assert scores.macro_f1.value == pytest.approx((2 / 3 + 2 / 5 + 0 + 2 / 3) / 4)


def test_figures_are_sklearns() -> None:
    from sklearn.metrics import accuracy_score, f1_score, precision_score

    rng = np.random.default_rng(0)
    true = rng.choice(rng.integers(0, 256, 12), 800).astype(np.uint8)
    found = np.where(rng.random(800) < 0.7, true, rng.choice(true, 800)).astype(np.uint8)
    scores = score_patterns(true, found, group=rng.integers(0, 90, 800), draws=50)
    held, seen = (np.unpackbits(bits[:, None], axis=1, bitorder="little") for bits in (true, found))
    assert [bit.f1.value for bit in scores.bits] == pytest.approx(f1_score(held, seen, average=None))
    assert scores.bits[3].precision.value == pytest.approx(precision_score(held[:, 3], seen[:, 3]))
    assert scores.exact.value == pytest.approx(accuracy_score(true, found))
    assert scores.macro_f1.value == pytest.approx(f1_score(true, found, average="macro"))
    assert scores.mean_f1.value == pytest.approx(f1_score(held, seen, average="macro"))


def test_intervals_draw_whole_groups() -> None:
    true = np.repeat(np.array([CENTER, BOTH], np.uint8), 200)
    wrong = np.arange(400) % 20 < 10  # each half of what is found is wrong
    found = np.where(wrong, 0, true)
    alone = score_patterns(true, found, group=np.arange(400)).exact
    together = score_patterns(true, found, group=np.arange(400) // 10).exact  # a group all right or all wrong
    assert alone.value == together.value == 0.5
    assert together.high - together.low > 2.5 * (alone.high - alone.low)
    assert score_patterns(true, found, group=np.arange(400)).exact == alone  # a seed, so the same again


def test_json_gives_the_scores_back_and_holds_no_nan() -> None:
    known = false_seconds([1, 0], [1, 0], group=[0, 1])
    scores = score_patterns([0, 1, 3, 15, 31], [0, 1, 3, 15, 31], group=range(5), known=known, draws=20)
    data = json.loads(json.dumps(scores.to_json(), allow_nan=False))
    assert PatternScores.from_json(data).to_json() == scores.to_json()
    assert [one.patterns for one in scores.by_number] == [0, 1, 2, 3, 4, 5]


def test_a_wafer_without_several_has_the_pattern_of_its_nine_way_answer() -> None:
    rule = Patterns((0.5,) * 8)
    logits = np.full((3, 8), -4.0)
    logits[0, [0, 7]] = 2
    logits[1, 0] = 2
    logits[2, [0, 7]] = 2
    scratch = CLASSES.index("Scratch")
    assert found_patterns(rule, logits, np.array([scratch, scratch, NONE])).tolist() == [BOTH, SCRATCH, 0]


def test_false_seconds_are_counted_on_singles_and_on_none_apart() -> None:
    true = np.array([CENTER] * 200 + [0] * 1000, np.uint8)
    found = true.copy()
    found[:4] = BOTH
    found[4:30] = SCRATCH  # wrong, but no second
    found[200:203] = BOTH
    counted = false_seconds(true, found, group=np.arange(1200))
    assert (counted.on_singles, counted.singles, counted.on_none, counted.none) == (4, 200, 3, 1000)
    assert (counted.share_of_singles.value, counted.share_of_none.value) == pytest.approx((0.02, 0.003))
    assert 0 < counted.share_of_singles.low < 0.02 < counted.share_of_singles.high < 0.05
    with pytest.raises(InputError, match="several"):
        false_seconds([BOTH], [BOTH], group=[0])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.isnan(false_seconds([CENTER], [CENTER], group=[0]).share_of_none.value)


def test_arrays_that_do_not_fit_are_refused() -> None:
    with pytest.raises(InputError, match="at least one wafer"):
        score_patterns([], [], group=[])
    with pytest.raises(InputError, match="three times"):
        score_patterns([1, 2], [1], group=[0, 1])


# === The nine-way answer's top two ===


def test_top_two_has_the_second_where_it_is_likely_enough_and_nothing_on_none() -> None:
    prob = np.zeros((4, 9))
    prob[0, [0, 7]] = 0.6, 0.4
    prob[1, [0, 7]] = 0.9, 0.1
    prob[2, [0, 7, NONE]] = 0.3, 0.3, 0.4
    prob[3, [7, 0, NONE]] = 0.4, 0.25, 0.35  # none is second, but no pattern
    assert top_two(prob, 0.2).tolist() == [BOTH, CENTER, 0, BOTH]
    assert top_two(prob, NEVER).tolist() == [CENTER, CENTER, 0, SCRATCH]


def test_its_threshold_finds_most_wafers_within_the_limit_of_false_seconds() -> None:
    second = np.linspace(0.01, 0.49, 100)
    prob = np.zeros((100, 9))
    prob[:, 0], prob[:, 7] = 1 - second, second
    bits = np.where(second > 0.2, BOTH, CENTER).astype(np.uint8)
    nothing = {"known_prob": prob[:0], "known_bits": bits[:0]}
    free = fit_top_two(prob, bits, **nothing)
    assert (top_two(prob, free) == bits).all()
    known = np.zeros((100, 9))
    known[:, 0], known[:, 7] = 1 - second, second
    held = fit_top_two(prob, bits, known_prob=known, known_bits=bits_of_labels(np.zeros(100, np.int64)))
    assert (np.bitwise_count(top_two(known, held)) > 1).sum() == 1  # one in a hundred, which is allowed
    assert held > free + 0.2
    at_half = np.tile([0.5, *[0] * 6, 0.5, 0], (2, 1))
    assert fit_top_two(at_half, np.array([3, 3]), known_prob=at_half, known_bits=np.array([1, 2])) == NEVER
