"""What comes back every few dies along an axis stands out; shapes and chance do not."""

import numpy as np
import pytest

from wafer_tf.decision.repeats import repeats, repeats_cropped
from wafer_tf.dies import CLASSES
from wafer_tf.learning.branch import repeats_of
from wafer_tf.synthesis import synthesize
from wafer_tf.synthesis.others import draw_others

WAFERS = synthesize(12, seed=3).wafers
NONE = WAFERS.select(np.flatnonzero(WAFERS.label == CLASSES.index("none")))
USUAL = np.quantile(repeats_of(WAFERS), 0.95)


@pytest.mark.parametrize("family", ["reticle", "stepper_rows", "lattice"])
def test_patterns_that_repeat_in_dies_stand_above_the_nine(family: str) -> None:
    drawn = draw_others(family, 12, seed=1, grids=[NONE.map(i) for i in range(len(NONE))])
    assert (repeats_of(drawn) > USUAL).mean() > 0.8


def test_every_map_of_a_batch_has_what_it_has_alone_and_turned() -> None:
    rng = np.random.default_rng(0)
    maps = np.where(rng.random((5, 31, 24)) < 0.2, 2, 1).astype(np.uint8)
    maps[:, :3, :3] = 0
    found = repeats(maps)
    for grid, value in zip(maps, found, strict=True):
        assert repeats(grid[None])[0] == value
        assert repeats(grid.T[None])[0] == pytest.approx(value)


def test_without_a_contrast_or_with_hardly_a_row_nothing_repeats() -> None:
    for grid in (np.ones((30, 30)), np.full((30, 30), 2), np.zeros((30, 30)), np.tile([1, 2], (3, 2))):
        assert repeats(grid[None].astype(np.uint8))[0] == 0


def test_maps_with_and_without_margins_are_judged_together_as_each_alone() -> None:
    rng = np.random.default_rng(0)
    tight = rng.integers(1, 3, (40, 36)).astype(np.uint8)
    wide, high = np.pad(tight[:, 2:-2], ((0, 0), (1, 3))), np.pad(tight[4:], ((4, 0), (0, 0)))
    grids = np.stack([wide, tight, high, wide])
    together = repeats_cropped(grids)
    assert together.tolist() == [repeats(each[None])[0] for each in (tight[:, 2:-2], tight, tight[4:], tight[:, 2:-2])]
    assert repeats_cropped(grids[[0, 2]]).tolist() == together[[0, 2]].tolist()
