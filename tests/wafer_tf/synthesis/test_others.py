"""Patterns that are none of the nine: each family fails dies of the grid it is given, more than yield loss does."""

import numpy as np
import pytest

from wafer_tf.dies import UNLABELLED, Die
from wafer_tf.errors import UsageError
from wafer_tf.synthesis import synthesize
from wafer_tf.synthesis.grids import Grid
from wafer_tf.synthesis.others import FAMILIES, KIN, NAMES, draw_others

GRIDS = [synthesize({"none": 6}, seed=2).wafers.map(i) for i in range(6)]
DRAWERS = [(name, drawer) for kind in FAMILIES.values() for name, drawer in kind.items()]


def test_there_are_many_families_of_five_kinds_and_each_has_its_kin() -> None:
    assert len(NAMES) == len(set(NAMES)) == 38
    assert list(FAMILIES) == ["systematic", "geometric", "process", "mixture", "abstract"]
    assert sorted(name for kin in KIN for name in kin) == sorted(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_family_draws_unlabelled_maps_on_the_grids_given_and_the_same_ones_again(name: str) -> None:
    made, again = (draw_others(name, 4, seed=3, grids=GRIDS) for _ in range(2))
    dies = {(grid != Die.ABSENT).tobytes() for grid in GRIDS}
    for i in range(4):
        grid = made.map(i)
        assert (grid != Die.ABSENT).tobytes() in dies
        assert {Die.PASS, Die.FAIL} <= set(np.unique(grid))
        np.testing.assert_array_equal(grid, again.map(i))
    assert made.label.tolist() == [UNLABELLED] * 4
    assert len(np.unique(made.lot)) == 4
    other = draw_others(name, 4, seed=4, grids=GRIDS)
    assert any(made.map(i).tobytes() != other.map(i).tobytes() for i in range(4))


@pytest.mark.parametrize(("name", "drawer"), DRAWERS)
def test_a_pattern_is_a_chance_that_is_high_somewhere_and_low_elsewhere(name: str, drawer: object) -> None:
    grid = Grid.from_mask(np.hypot(*np.indices((41, 41)) - 20) <= 20.5)
    for seed in range(5):
        chance = drawer(grid, np.random.default_rng(seed))  # type: ignore[operator]
        assert chance.shape == grid.present.shape
        assert np.isfinite(chance).all()
        assert 0 <= chance.min() < 0.35 and 0.55 < chance[grid.present].max() <= 1, name
        assert 0.005 < chance[grid.present].mean() < 0.7, name


def test_an_unknown_family_is_refused_by_the_names_there_are() -> None:
    with pytest.raises(UsageError, match="'swirl'; expected one of reticle, stepper_rows"):
        draw_others("swirl", 1, seed=0, grids=GRIDS)
