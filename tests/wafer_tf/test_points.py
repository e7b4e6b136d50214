"""Operating points and prediction sets as numbers: what they decide, and what they are written as."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wafer_tf.decision import Decision
from wafer_tf.decision.points import REVIEW, Point, choose_point, points_from_json
from wafer_tf.decision.sets import Sets
from wafer_tf.dies import CLASSES, NONE
from wafer_tf.errors import ModelError, UsageError

K = len(CLASSES)
LOGITS = st.lists(st.floats(-20, 20), min_size=K, max_size=K)


# === Points ===


@given(LOGITS, st.floats(-8, 8))
def test_a_shift_is_a_bias_of_none_at_temperature_1(logits: list[float], shift: float) -> None:
    bias = [0.0] * K
    bias[NONE] = shift
    plain, shifted = (Decision(tuple(b)).probabilities(np.array([logits])) for b in ([0.0] * K, bias))
    np.testing.assert_allclose(Point(none_shift=shift).moved(plain), shifted, atol=1e-12)


def test_without_a_shift_not_a_bit_changes() -> None:
    prob = np.array([[0.1, 0.2, 0.05, 0.05, 0.1, 0.1, 0.1, 0.1, 0.2]])
    assert Point(0.9).moved(prob) is prob


def test_a_point_calls_or_leaves_to_a_person() -> None:
    prob = np.zeros((3, K))
    prob[:, [0, NONE]] = [[0.6, 0.4], [0.45, 0.55], [0.2, 0.8]]
    assert Point(0.5).called(prob).tolist() == [0, NONE, NONE]
    assert Point(0.6).called(prob).tolist() == [0, REVIEW, NONE]
    assert Point(0.5, -0.5).called(prob).tolist() == [0, 0, NONE]
    assert Point(0.5, 1.0).called(prob).tolist() == [NONE, NONE, NONE]


@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan")])
def test_what_is_no_probability_is_no_point(value: float) -> None:
    with pytest.raises(ModelError, match="review_below"):
        Point(value)
    with pytest.raises(ModelError, match="none_shift"):
        Point(none_shift=value * 1000)


def test_points_come_back_from_json() -> None:
    points = {"balanced": Point(), "few-escapes": Point(0.5, -1.25)}
    data = json.loads(json.dumps({name: point.to_json() for name, point in points.items()}))
    assert points_from_json(data) == points


@pytest.mark.parametrize(
    "data",
    [
        {"x": {"review_below": 0.5}},
        {"x": {"review_below": 0.5, "none_shift": 0, "more": 1}},
        {"x" * 41: {"review_below": 0.5, "none_shift": 0}},
        {str(i): {"review_below": 0.5, "none_shift": 0} for i in range(21)},
    ],
)
def test_what_are_no_points_is_refused(data: Any) -> None:
    with pytest.raises(ModelError, match="operating point"):
        points_from_json(data)


def test_a_point_that_is_not_offered_is_named_with_those_that_are() -> None:
    assert choose_point({}, "balanced", where="bundle b") == Point()
    with pytest.raises(UsageError, match="few-escapes: bundle b does not offer it; it offers balanced, proven"):
        choose_point({"proven-1-percent": Point(0.8)}, "few-escapes", where="bundle b")


# === Sets ===


@given(LOGITS)
def test_no_set_is_empty_and_none_leaves_the_likeliest_class_out(logits: list[float]) -> None:
    prob = Decision().probabilities(np.array([logits]))
    sets = Sets(0.9, (0.5, None, 0.3, 0.99, 0.0, 1.0, 0.2, None, 0.98))
    held = sets.members(prob)[0]
    assert held[prob.argmax()]
    assert (held | ~sets.typical(prob)[0]).all()
    names = sets.names(prob[0])
    assert sorted(names) == sorted(name for name, kept in zip(CLASSES, held, strict=True) if kept)
    assert names[0] == CLASSES[int(prob.argmax())] or prob[0].max() == prob[0, CLASSES.index(names[0])]


def test_a_class_without_a_threshold_is_held_only_where_it_is_likeliest() -> None:
    sets = Sets(0.9, (None, *(1.0,) * 8))
    prob = np.full((2, K), 0.4 / 7)
    prob[:, [0, NONE]] = [[0.35, 0.25], [0.25, 0.35]]
    assert [sets.names(row) for row in prob] == [["Center"], ["none"]]


def test_sets_come_back_from_json() -> None:
    sets = Sets(0.9, (0.5, None, 0.3, 0.99, 0.0, 1.0, 0.2, None, 0.98))
    assert Sets.from_json(json.loads(json.dumps(sets.to_json()))) == sets


@pytest.mark.parametrize(
    "data",
    [
        {"coverage": 1.0, "least": [0.5] * K},
        {"coverage": 0.9, "least": [0.5] * 8},
        {"coverage": 0.9, "least": [1.5] * K},
        {"coverage": 0.9, "least": [float("nan")] * K},
        {"coverage": 0.9},
        {"coverage": 0.9, "least": [0.5] * K, "more": 1},
    ],
)
def test_what_are_no_sets_is_refused(data: Any) -> None:
    with pytest.raises(ModelError, match="prediction sets"):
        Sets.from_json(data)
