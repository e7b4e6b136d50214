"""The measures of faithfulness give what can be counted by hand."""

import numpy as np
import pytest

from wafer_tf.explaining.faithfulness import (
    area,
    deleted,
    energy_inside,
    inserted,
    overlap_area,
    pointing_hit,
    rank_correlation,
    removal_order,
)

GRID = np.array([[0, 2, 1, 0], [2, 2, 1, 1], [1, 1, 2, 2], [0, 1, 1, 0]], np.uint8)
MASK = np.zeros((4, 4), bool)
MASK[0, 1] = MASK[1, :2] = True


def heat_at(**dies: float) -> np.ndarray:
    heat = np.zeros((4, 4))
    for name, value in dies.items():
        heat[int(name[1]), int(name[2])] = value
    return heat


def test_energy_is_the_share_of_heat_on_the_pattern() -> None:
    assert energy_inside(heat_at(d01=3, d22=1), MASK) == 0.75
    assert energy_inside(MASK * 0.3, MASK) == pytest.approx(1)
    assert energy_inside(np.zeros((4, 4)), MASK) == 0


def test_pointing_counts_the_hottest_die_and_shares_it_where_dies_tie() -> None:
    assert pointing_hit(heat_at(d01=3, d22=1), MASK) == 1
    assert pointing_hit(heat_at(d01=1, d22=3), MASK) == 0
    assert pointing_hit(heat_at(d01=3, d22=3, d23=3, d10=3), MASK) == 0.5
    assert pointing_hit((GRID > 0).astype(float), MASK) == 3 / 12
    assert pointing_hit(np.zeros((4, 4)), MASK) == 0


def test_overlap_is_1_for_the_mask_itself_and_averages_over_thresholds() -> None:
    assert overlap_area(MASK.astype(float), MASK) == 1
    assert overlap_area(~MASK * 1.0, MASK) == 0
    half = heat_at(d01=1, d10=1, d11=1, d22=0.5)  # one die too many at the lower half of the thresholds
    assert overlap_area(half, MASK) == pytest.approx((9 + 10 * 0.75) / 19)
    assert overlap_area(np.zeros((4, 4)), MASK) == 0


def test_overlap_and_pointing_do_not_depend_on_the_scale_of_the_heat() -> None:
    heat = np.random.default_rng(0).random((4, 4)) * (GRID > 0)
    assert overlap_area(heat, MASK) == overlap_area(heat * 64, MASK)
    assert pointing_hit(heat, MASK) == pointing_hit(heat * 64, MASK)


def test_failing_dies_are_removed_hottest_first_and_ties_at_random() -> None:
    heat = heat_at(d23=0.9, d11=0.5, d02=1.0)  # the last is a passing die
    orders = {tuple(removal_order(heat, GRID, rng=np.random.default_rng(seed)).tolist()) for seed in range(20)}
    assert {order[:2] for order in orders} == {(11, 5)}
    assert {tuple(sorted(order)) for order in orders} == {(1, 4, 5, 10, 11)}
    assert len(orders) > 1


def test_deleting_and_inserting_turn_the_first_shares_of_the_order() -> None:
    order, shares = np.array([11, 5, 1, 4, 10]), np.array([0, 0.4, 1])
    none, some, every = deleted(GRID, order, shares)
    assert np.array_equal(none, GRID)
    assert sorted(np.flatnonzero(some != GRID)) == [5, 11] and some[2, 3] == some[1, 1] == 1
    assert not (every == 2).any() and np.array_equal(every > 0, GRID > 0)
    empty, first, whole = inserted(GRID, order, shares)
    assert not (empty == 2).any() and np.array_equal(whole, GRID)
    assert sorted(np.flatnonzero(first == 2)) == [5, 11]


def test_deletion_leaves_the_map_it_was_given_alone() -> None:
    before = GRID.copy()
    deleted(GRID, removal_order(GRID * 1.0, GRID, rng=np.random.default_rng(0)), np.array([1.0]))
    assert np.array_equal(GRID, before)


def test_area_is_the_mean_height_of_a_curve_over_uneven_steps() -> None:
    shares = np.array([0, 0.1, 1.0])
    assert area(np.array([0.7, 0.7, 0.7]), shares) == pytest.approx(0.7)
    assert area(1 - shares, shares) == pytest.approx(0.5)


def test_rank_correlation_is_of_order_alone_and_nan_for_even_heat() -> None:
    heat, on = np.random.default_rng(0).random((4, 4)), GRID > 0
    assert rank_correlation(heat, heat**3, on) == pytest.approx(1)
    assert rank_correlation(heat, -heat, on) == pytest.approx(-1)
    assert np.isnan(rank_correlation(heat, np.ones((4, 4)), on))
    assert np.isnan(rank_correlation(heat, heat, heat > heat.max() - 1e-9))
