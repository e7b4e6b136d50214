"""The unknown score: a distance and a logit on the scale of known wafers, by hand; damaged numbers are refused."""

from dataclasses import replace

import numpy as np
import pytest

from wafer_tf.decision.unknown import Unknown, parts, strangeness
from wafer_tf.decision.unknown_fitting import (
    CLASS_TIMES,
    LEVELS,
    fit_distance,
    fit_quantiles,
    fit_unknown,
    refit_unknown,
)
from wafer_tf.dies import CLASSES, NONE
from wafer_tf.errors import ModelError

RNG = np.random.default_rng(0)
MEAN = np.array([[0, 0], [10, 0]], np.float32)
UNKNOWN = Unknown(
    mean=MEAN,
    whiten=np.diag([1, 0.5]).astype(np.float16),
    head=np.array([1, 0, -2], np.float32),
    scale=np.array([[0, 1], [0, 1], [0, 2]], float),
    levels=np.array([0, 0.5, 1]),
    quantiles=np.tile([0.0, 5, 100], (len(CLASSES), 1)),
)


def test_the_parts_are_the_distance_to_the_nearest_centre_and_the_logit_of_the_head() -> None:
    found = parts(np.array([[3, 8], [10, 4]]), UNKNOWN.mean, UNKNOWN.whiten, UNKNOWN.head)
    np.testing.assert_allclose(found, [[np.log(9 + 16), 3 - 2], [np.log(4), 10 - 2]], rtol=1e-6)


def test_the_distance_counts_throughout_and_the_head_above_nearly_all_known_wafers() -> None:
    scale = np.array([[2, 4], [-1, 0], [0, 1]], float)  # 90 % and 99 % of known wafers
    found = np.array([[2, -1, 0], [6, -1, 0], [2, 0, 1], [2, 2, 0], [6, 2, 4]], float)
    np.testing.assert_allclose(strangeness(found, scale), [0, 2, 0, 2, 7])


def test_a_score_is_read_off_the_quantiles_of_the_class_called() -> None:
    quantiles = UNKNOWN.quantiles.copy()
    quantiles[2] = [0, 20, 200]
    features = np.array([[3.0, 8], [3, 8], [1000, 0]])
    regular = np.array([3.0, 3, 0])
    found = np.column_stack([parts(features, UNKNOWN.mean, UNKNOWN.whiten, UNKNOWN.head), regular])
    strange = strangeness(found, UNKNOWN.scale)
    score = replace(UNKNOWN, quantiles=quantiles).score(features, regular, np.array([0, 2, 2]))
    np.testing.assert_allclose(score, [0.5 * strange[0] / 5, 0.5 * strange[1] / 20, 1])
    assert score[0] == UNKNOWN.score(features[:1], regular[:1], np.array([0]))[0]


def test_the_numbers_come_back_from_their_bytes() -> None:
    again = Unknown.from_bytes(UNKNOWN.to_bytes())
    for name, value in vars(UNKNOWN).items():
        if isinstance(value, np.ndarray):
            np.testing.assert_array_equal(getattr(again, name), value)
            assert getattr(again, name).dtype == value.dtype


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("head", np.zeros(2, np.float32), "head of shape"),
        ("quantiles", np.zeros((9, 2)), "quantiles of shape"),
        ("quantiles", np.tile([0.0, 5, 1], (9, 1)), "do not rise"),
        ("scale", np.zeros((3, 2)), "do not rise"),
        ("mean", np.full((2, 2), np.nan, np.float32), "not finite"),
    ],
)
def test_numbers_that_make_no_score_are_refused(field: str, value: np.ndarray, said: str) -> None:
    with pytest.raises(ModelError, match=said):
        replace(UNKNOWN, **{field: value})


def test_bytes_that_are_no_such_file_are_refused() -> None:
    for data in (b"", b"PK", UNKNOWN.to_bytes()[:-40]):
        with pytest.raises(ModelError, match="unknown score"):
            Unknown.from_bytes(data)


def test_the_distance_has_unit_covariance_about_the_means_of_the_classes() -> None:
    label = RNG.integers(0, 2, 4000)
    mixed = RNG.normal(size=(4000, 3)) @ RNG.normal(size=(3, 3)) + label[:, None] * [5.0, -3, 2]
    mean, whiten = fit_distance(mixed, label)
    np.testing.assert_allclose(mean[1] - mean[0], [5, -3, 2], atol=0.3)
    white = (mixed - mean[label]) @ whiten.astype(float)
    np.testing.assert_allclose(np.cov(white.T), np.eye(3), atol=0.05)  # rounding's error is in it


def test_known_wafers_are_above_a_score_as_often_as_it_says_and_no_class_much_oftener() -> None:
    called = np.where(RNG.random(100_000) < 0.02, 5, NONE)
    sums = RNG.normal(size=100_000) + 3 * (called == 5)  # a rare class that is strange as a whole
    quantiles = fit_quantiles(sums, called)
    level = list(LEVELS).index(0.99)
    above = sums > quantiles[called, level]
    assert above[called == 5].mean() == pytest.approx(CLASS_TIMES * 0.01, abs=0.01)
    assert above.mean() == pytest.approx(0.01, abs=2e-4)
    assert (np.diff(quantiles, axis=1) >= 0).all()
    np.testing.assert_array_equal(quantiles[0], quantiles[1])  # classes without a wafer: those of all


def test_a_fitted_score_is_the_share_of_known_wafers_below() -> None:
    found = RNG.normal(size=(20_000, 3))
    called = np.full(20_000, NONE)
    unknown = fit_unknown(MEAN, np.eye(2, dtype=np.float16), np.zeros(3, np.float32), found, called)
    score = unknown.score_of(RNG.normal(size=(20_000, 3)), called)
    for share in (0.5, 0.9, 0.99):
        assert (score > share).mean() == pytest.approx(1 - share, abs=0.01)


def test_a_score_refitted_to_another_fab_knows_its_classes_and_flags_as_few_of_its_wafers() -> None:
    known = RNG.normal(size=(4000, 4))
    mean, whiten = fit_distance(known, np.full(4000, NONE))
    found = np.column_stack([parts(known, mean, whiten, np.zeros(5, np.float32)), np.zeros(4000)])
    flat = np.zeros(3000)
    unknown = fit_unknown(mean, whiten, np.zeros(5, np.float32), found, np.full(4000, NONE))
    label = RNG.integers(0, 2, 3000)
    features = RNG.normal(size=(3000, 4)) + np.where(label, 8, -8)[:, None]  # far from what was known
    assert (unknown.score(features, flat, label) > 0.99).all()
    new = refit_unknown(unknown, features, flat, label, label, np.arange(3000) % 5)
    assert len(new.mean) == len(mean) + 2
    fresh = RNG.normal(size=(3000, 4)) + np.where(label, 8, -8)[:, None]
    assert (new.score(fresh, flat, label) > 0.99).mean() == pytest.approx(0.01, abs=0.006)
    assert (new.score(fresh * 3, flat, label) > 0.99).all()
