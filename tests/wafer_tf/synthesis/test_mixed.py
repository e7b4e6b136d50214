"""Wafers of several patterns, drawn or laid together: each pattern is there, has its mask, and hides no other."""

from collections.abc import Callable

import numpy as np
import pytest

from tests import SHARED
from wafer_tf.dies import CLASSES, UNLABELLED, Die, check_map
from wafer_tf.errors import InputError, UsageError
from wafer_tf.learning.augment import SYMMETRY_COUNT, symmetry
from wafer_tf.pattern_bits import pattern_names, pattern_texts
from wafer_tf.readers import read
from wafer_tf.synthesis import synthesize
from wafer_tf.synthesis.grids import Grid
from wafer_tf.synthesis.mixed import COMBINATIONS, Mixed, compose, overlay, pattern_dies
from wafer_tf.waferset import WaferSet

REAL = SHARED / "data" / "mixedwm38" / "mixedwm38_dev.npz"
LOCAL = ("Center", "Donut", "Edge-Loc", "Edge-Ring", "Loc", "Scratch")
SINGLES = synthesize(12, seed=4).wafers


@pytest.fixture(scope="module")
def composed() -> Mixed:
    return compose(4 * len(COMBINATIONS), seed=3)


@pytest.fixture(scope="module")
def overlaid() -> Mixed:
    return overlay(SINGLES, 2 * len(COMBINATIONS), seed=3)


def disc(side: int) -> np.ndarray:
    at = np.abs((np.arange(side) + 0.5) * 2 / side - 1)
    return (np.hypot(at[:, None], at) <= 1).astype(np.uint8)


def failing(wafers: WaferSet) -> np.ndarray:
    maps = [wafers.map(i) for i in range(len(wafers))]
    return np.array([(grid == Die.FAIL).sum() / (grid != Die.ABSENT).sum() for grid in maps])


@pytest.mark.skipif(not REAL.is_file(), reason="needs the real maps in ../shared")
def test_the_combinations_are_those_of_the_real_wafers() -> None:
    wafers = read(REAL)
    found = {frozenset(text.split("+")) for text in np.unique(pattern_texts(wafers.patterns[wafers.several])).tolist()}
    assert found == {frozenset(names) for names in COMBINATIONS}
    assert len(COMBINATIONS) == 29


@pytest.mark.parametrize("made", ["composed", "overlaid"])
def test_every_wafer_has_several_patterns_no_label_and_a_mask_for_each(
    made: str, request: pytest.FixtureRequest
) -> None:
    drawn: Mixed = request.getfixturevalue(made)
    wafers = drawn.wafers
    assert wafers.several.all()
    assert (wafers.label == UNLABELLED).all()
    assert len(set(wafers.lot)) == len(wafers)
    assert len(np.unique(wafers.patterns)) == len(COMBINATIONS)
    assert not (drawn.mask_flat[wafers.flat == Die.ABSENT]).any()
    for i, wafer in enumerate(wafers):
        check_map(wafer.map, str(i))
        for name in CLASSES[:8]:
            assert drawn.mask(i, name).any() == (name in wafer.patterns), (i, name)


def test_dies_of_a_mask_fail_far_more_often_than_those_of_none(composed: Mixed) -> None:
    flat, none = composed.wafers.flat, (composed.mask_flat == 0) & (composed.wafers.flat != Die.ABSENT)
    assert (flat[none] == Die.FAIL).mean() < 0.2
    for name in LOCAL:
        mine = (composed.mask_flat >> CLASSES.index(name) & 1).astype(bool)
        assert (flat[mine] == Die.FAIL).mean() > 0.65, name


def test_about_a_third_of_the_dies_fail_and_more_where_there_are_more_patterns(composed: Mixed) -> None:
    share, number = failing(composed.wafers), np.bitwise_count(composed.wafers.patterns)
    assert 0.25 < share.mean() < 0.35
    assert share[number == 2].mean() < share[number == 3].mean() < share[number == 4].mean()


@pytest.mark.parametrize("made", ["composed", "overlaid"])
def test_no_pattern_is_hidden_by_another(made: str, request: pytest.FixtureRequest) -> None:
    drawn: Mixed = request.getfixturevalue(made)
    alone = []
    for i, wafer in enumerate(drawn.wafers):
        masks = [drawn.mask(i, name) for name in wafer.patterns]
        alone += [(mask & (sum(masks) == 1)).sum() / mask.sum() for mask in masks]
    assert np.mean(np.array(alone) > 0.4) > 0.97


@pytest.mark.parametrize(
    "make",
    [lambda n, seed: compose(n, seed=seed, grids=[disc(30)]), lambda n, seed: overlay(SINGLES, n, seed=seed)],
    ids=["compose", "overlay"],
)
def test_a_wafer_depends_on_the_seed_and_its_number_alone(make: Callable[[int, int], Mixed]) -> None:
    few, more, other = make(3, 5), make(6, 5), make(3, 6)
    cells = len(few.wafers.flat)
    np.testing.assert_array_equal(few.wafers.flat, more.wafers.flat[:cells])
    np.testing.assert_array_equal(few.mask_flat, more.mask_flat[:cells])
    assert not np.array_equal(few.wafers.map(0), other.wafers.map(0))


def test_composed_wafers_lie_on_the_grids_given() -> None:
    for wafer in compose(5, seed=0, grids=[disc(30), 2 * disc(30)]).wafers:
        np.testing.assert_array_equal(wafer.map != Die.ABSENT, disc(30) != 0)


@pytest.mark.parametrize("patterns", [(2, 2), (3, 4)])
def test_the_number_of_patterns_is_as_asked(patterns: tuple[int, int]) -> None:
    drawn = compose(10, seed=0, grids=[disc(20)], patterns=patterns).wafers
    assert {len(pattern_names(int(bits))) for bits in drawn.patterns} <= set(range(patterns[0], patterns[1] + 1))
    assert overlay(SINGLES, 0, seed=0, patterns=patterns).wafers.shapes.shape == (0, 2)


def test_an_overlay_keeps_one_wafer_whole_and_adds_but_the_patterns_of_others() -> None:
    singles = SINGLES[np.isin(SINGLES.label, [CLASSES.index("Edge-Ring"), CLASSES.index("Scratch")])]
    turned = [symmetry(singles.map(i), k) for i in range(len(singles)) for k in range(SYMMETRY_COUNT)]
    for i, wafer in enumerate(drawn := overlay(singles, 6, seed=1).wafers):
        under = [one for one in turned if np.array_equal(one != Die.ABSENT, wafer.map != Die.ABSENT)]
        kept = [one for one in under if not ((one == Die.FAIL) & (wafer.map != Die.FAIL)).any()]
        assert kept, i
        added = min(((wafer.map == Die.FAIL) & (one != Die.FAIL)).sum() / wafer.map.size for one in kept)
        assert 0 < added < 0.15
    assert len(drawn) == 6


def test_a_ring_stays_whole_on_a_finer_grid_and_a_line_on_a_coarser_one() -> None:
    coarse, fine = disc(26), disc(100)
    ring = coarse + (Grid.from_mask(coarse.astype(bool)).rim).astype(np.uint8)
    line = fine.copy()
    line[np.arange(30, 70), np.arange(25, 65)] = Die.FAIL
    singles = WaferSet.from_maps([ring, line], label=[CLASSES.index("Edge-Ring"), CLASSES.index("Scratch")])
    sides = set()
    for seed in range(6):
        drawn = overlay(singles, 1, seed=seed)
        rim = Grid.from_mask(drawn.wafers.map(0) != Die.ABSENT).rim
        assert drawn.mask(0, "Edge-Ring")[rim].mean() > 0.95
        rows = np.nonzero(drawn.mask(0, "Scratch"))[0]
        assert len(np.unique(rows)) == rows.max() - rows.min() + 1 >= 0.35 * len(rim)
        sides.add(len(rim))
    assert sides == {26, 100}


@pytest.mark.parametrize("name", LOCAL)
def test_the_dies_of_a_pattern_are_found_on_a_map_with_noise(name: str) -> None:
    made = synthesize({name: 40}, seed=2)
    recall, precision = [], []
    for i, wafer in enumerate(made.wafers):
        found, real = pattern_dies(wafer.map), made.mask(i) & (wafer.map == Die.FAIL)
        assert not (found & (wafer.map != Die.FAIL)).any()
        recall.append((found & real).sum() / max(real.sum(), 1))
        precision.append((found & real).sum() / max(found.sum(), 1))
    assert np.median(recall) > 0.6
    assert np.median(precision) > 0.6


@pytest.mark.parametrize("changes", [{"count": -1}, {"seed": -1}, {"patterns": (1, 1)}, {"patterns": (5, 6)}])
def test_numbers_that_make_no_sense_are_refused(changes: dict[str, object]) -> None:
    arguments = {"count": 1, "seed": 0, "patterns": (2, 4)} | changes
    count = arguments.pop("count")
    with pytest.raises(UsageError, match="expected"):
        compose(count, **arguments)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="expected"):
        overlay(SINGLES, count, **arguments)  # type: ignore[arg-type]


def test_what_cannot_be_laid_together_is_refused() -> None:
    with pytest.raises(InputError, match="labelled wafers of Center, Donut; expected some of 2 to 4 patterns"):
        overlay(SINGLES[SINGLES.label < 2], 1, seed=0)
    blank = WaferSet.from_maps([disc(20)] * 2, label=[3, 7])
    with pytest.raises(InputError, match=r"none of 1 wafers of .* has failing dies in a patch or a line"):
        overlay(blank, 1, seed=0)
    with pytest.raises(InputError, match="no die grid given"):
        compose(1, seed=0, grids=[])
