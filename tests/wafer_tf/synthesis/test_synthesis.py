"""Synthetic maps are valid, reproducible, of their class, with a true mask, and nobody's wafer."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import SHARED
from wafer_tf.dies import CLASSES, NONE, Die, check_map
from wafer_tf.errors import InputError, UsageError
from wafer_tf.splitting.near_copies import find_near_copies
from wafer_tf.synthesis import Synthetic, synthesize
from wafer_tf.synthesis.grids import PRODUCTS, Grid, product_grid
from wafer_tf.synthesis.patterns import PARAMETERS, PATTERNS
from wafer_tf.waferset import WaferSet

REAL = SHARED / "data/wm811k/wm811k_dev.npz"
WHOLE_WAFER = ("Near-full", "Random")
LOCAL = [name for name in CLASSES if name not in (*WHOLE_WAFER, "none")]


@pytest.fixture(scope="module")
def drawn() -> Synthetic:
    return synthesize(60, seed=3)


def of(drawn: Synthetic, name: str) -> list[int]:
    return np.flatnonzero(drawn.wafers.label == CLASSES.index(name)).tolist()


def disc(rows: int, cols: int) -> np.ndarray:
    y, x = (np.abs((np.arange(n) + 0.5) * 2 / n - 1) for n in (rows, cols))
    return (np.hypot(y[:, None], x) <= 1).astype(np.uint8)


def same(a: Synthetic, i: int, b: Synthetic, j: int) -> bool:
    return np.array_equal(a.wafers.map(i), b.wafers.map(j)) and np.array_equal(a.mask(i), b.mask(j))


def test_every_map_is_valid_and_labelled_in_the_order_of_classes(drawn: Synthetic) -> None:
    assert drawn.wafers.class_counts().tolist() == [60] * 9
    assert np.all(np.diff(drawn.wafers.label) >= 0)
    assert len(drawn.mask_flat) == len(drawn.wafers.flat)
    for i in range(len(drawn.wafers)):
        check_map(drawn.wafers.map(i), str(i))


def test_every_map_is_a_lot_of_its_own(drawn: Synthetic) -> None:
    assert len(set(drawn.wafers.lot)) == len(drawn.wafers)
    assert drawn.wafers.lot[12] == "synthetic-Center-000012"


def test_mask_lies_on_dies_and_is_empty_for_none_and_whole_for_random_and_near_full(drawn: Synthetic) -> None:
    assert not (drawn.mask_flat & (drawn.wafers.flat == Die.ABSENT)).any()
    for i in of(drawn, "none"):
        assert not drawn.mask(i).any()
    for i in of(drawn, "Random") + of(drawn, "Near-full"):
        assert np.array_equal(drawn.mask(i), drawn.wafers.map(i) != Die.ABSENT)


@pytest.mark.parametrize("name", LOCAL)
def test_dies_in_the_mask_fail_far_more_often_than_those_around(drawn: Synthetic, name: str) -> None:
    inside, outside, share = [], [], []
    for i in of(drawn, name):
        grid, mask = drawn.wafers.map(i), drawn.mask(i)
        assert mask.any()
        inside.append((grid[mask] == Die.FAIL).mean())
        outside.append((grid[~mask & (grid != Die.ABSENT)] == Die.FAIL).mean())
        share.append(mask.sum() / (grid != Die.ABSENT).sum())
    assert np.mean(inside) > 0.6 > 0.2 > np.mean(outside)
    assert np.mean(np.array(inside) > np.array(outside)) > 0.95
    assert max(share) < 0.9


def test_failing_share_tells_random_and_near_full_from_none(drawn: Synthetic) -> None:
    def shares(name: str) -> np.ndarray:
        maps = [drawn.wafers.map(i) for i in of(drawn, name)]
        return np.array([(m == Die.FAIL).sum() / (m != Die.ABSENT).sum() for m in maps])

    assert np.median(shares("none")) < 0.12 and shares("none").max() < 0.4
    assert shares("Random").min() > 0.2 and shares("Random").max() < 0.85
    assert shares("Near-full").min() > 0.5 and np.median(shares("Near-full")) > 0.8


def test_wafers_with_a_scratch_are_often_cleaner_than_any_without_a_pattern() -> None:
    drawn = synthesize({"Scratch": 200, "none": 200}, seed=3, grids=[disc(60, 60)])
    cleanest = {}
    for name in ("Scratch", "none"):
        apart = [drawn.wafers.map(i)[~drawn.mask(i)] for i in of(drawn, name)]
        cleanest[name] = np.quantile([(dies[dies != Die.ABSENT] == Die.FAIL).mean() for dies in apart], 0.1)
    assert cleanest["Scratch"] < 0.6 * cleanest["none"]


def test_a_scratch_is_at_least_five_dies_long(drawn: Synthetic) -> None:
    assert min(drawn.mask(i).sum() for i in of(drawn, "Scratch")) >= 5


def test_patterns_lie_where_their_names_say(drawn: Synthetic) -> None:
    def radii(name: str) -> np.ndarray:
        """Return the mean radius of each map's mask."""
        return np.array(
            [Grid.from_mask(drawn.wafers.map(i) != 0).radius[drawn.mask(i)].mean() for i in of(drawn, name)]
        )

    assert np.median(radii("Center")) < 0.3
    assert 0.3 < np.median(radii("Donut")) < 0.65
    assert 0.3 < np.median(radii("Loc")) < 0.8
    assert np.median(radii("Edge-Loc")) > 0.8
    assert radii("Edge-Ring").min() > 0.75


def test_same_seed_gives_the_same_maps_and_another_seed_others(drawn: Synthetic) -> None:
    again, other = synthesize(60, seed=3), synthesize(60, seed=4)
    assert np.array_equal(again.wafers.flat, drawn.wafers.flat) and np.array_equal(again.mask_flat, drawn.mask_flat)
    assert not any(np.array_equal(drawn.wafers.map(i), other.wafers.map(i)) for i in range(len(drawn.wafers)))


@settings(max_examples=10, deadline=None)
@given(st.dictionaries(st.sampled_from(CLASSES), st.integers(0, 5), min_size=1))
def test_a_map_does_not_depend_on_how_many_others_are_drawn(counts: dict[str, int]) -> None:
    drawn = synthesize(counts, seed=3)
    full = synthesize(dict.fromkeys(counts, 6), seed=3)
    for name, n in counts.items():
        assert all(same(drawn, i, full, j) for i, j in zip(of(drawn, name), of(full, name), strict=False))
        assert len(of(drawn, name)) == n


def test_no_two_maps_are_near_copies() -> None:
    wafers = synthesize(100, seed=9, grids=[disc(40, 40)]).wafers
    patterned = np.flatnonzero(~np.isin(wafers.label, [NONE, CLASSES.index("Near-full"), CLASSES.index("Edge-Ring")]))
    pairs = find_near_copies(wafers, patterned)
    assert len(pairs) == 0, pairs


def test_product_grids_are_round_of_many_shapes_and_fill_their_bounding_box() -> None:
    grids = [product_grid(np.random.default_rng(i)) for i in range(PRODUCTS)]
    shapes = np.array([g.present.shape for g in grids])
    side, aspect = np.sqrt(shapes.prod(axis=1)), shapes[:, 0] / shapes[:, 1]
    assert len(np.unique(shapes, axis=0)) > 150
    assert 34 < np.median(side) < 48 and side.max() > 90 and 0.005 < np.mean(shapes.max(axis=1) > 100) < 0.1
    assert aspect.min() > 0.35 and aspect.max() < 2.6 and 0.95 < np.median(aspect) < 1.06
    for grid in grids:
        cover = grid.present.mean()
        assert 0.66 < cover < 0.85, cover
        assert all(grid.present[edge].any() for edge in (np.s_[0], np.s_[-1], np.s_[:, 0], np.s_[:, -1]))
        assert not grid.present[[0, 0, -1, -1], [0, -1, 0, -1]].any()
    assert any((~g.present & (g.radius < 0.7)).any() for g in grids), "no process-control dies in any grid"


def test_grids_given_are_the_grids_used() -> None:
    grids = [disc(31, 40), disc(52, 33), np.ones((10, 12), np.uint8)]
    grids[0][10, 10] = 0
    wafers = synthesize(12, seed=0, grids=grids).wafers
    known = {(g.shape, (g != 0).tobytes()) for g in grids}
    assert {(m.shape, (m != 0).tobytes()) for m in map(wafers.map, range(len(wafers)))} == known


def test_empty_margins_around_the_wafer_move_the_pattern_along() -> None:
    bare = disc(40, 40)
    framed = np.zeros((60, 55), np.uint8)
    framed[4:44, 9:49] = bare
    drawn, moved = (synthesize(20, seed=2, grids=[g]) for g in (bare, framed))
    for i in np.flatnonzero(drawn.wafers.label != NONE):
        a, b = drawn.mask(i), moved.mask(i)[4:44, 9:49]
        assert (a & b).sum() > 0.9 * max(a.sum(), moved.mask(i).sum())


@settings(max_examples=40, deadline=None)
@given(rows=st.integers(3, 60), cols=st.integers(3, 60), whole=st.booleans(), seed=st.integers(0, 2**63))
def test_every_class_works_on_any_grid(rows: int, cols: int, whole: bool, seed: int) -> None:
    grid = np.ones((rows, cols), np.uint8) if whole else disc(rows, cols)
    drawn = synthesize(1, seed=seed, grids=[grid])
    for i in range(len(drawn.wafers)):
        assert np.array_equal(check_map(drawn.wafers.map(i), str(i)) != 0, grid != 0)


@pytest.mark.parametrize("shape", [(3, 3), (300, 300), (3, 300), (300, 3), (18, 4), (6, 6)])
def test_every_class_works_on_the_smallest_and_largest_grids(shape: tuple[int, int]) -> None:
    for grid in (np.ones(shape, np.uint8), disc(*shape)):
        assert len(synthesize(2, seed=1, grids=[grid]).wafers) == 18


def test_a_single_die_is_a_grid() -> None:
    grid = np.zeros((5, 5), np.uint8)
    grid[2, 3] = 1
    assert synthesize(3, seed=0, grids=[grid]).wafers.flat.astype(bool).sum() == 27


def test_unknown_class_bad_count_and_bad_seed_are_named() -> None:
    with pytest.raises(UsageError, match="unknown class 'Centre'; expected one of Center, Donut"):
        synthesize({"Centre": 3}, seed=0)
    with pytest.raises(UsageError, match="-1 of class Loc"):
        synthesize({"Loc": -1}, seed=0)
    with pytest.raises(UsageError, match="seed -1"):
        synthesize(1, seed=-1)


def test_no_grid_or_a_grid_that_is_no_map_is_refused() -> None:
    with pytest.raises(InputError, match="no die grid given"):
        synthesize(1, seed=0, grids=[])
    with pytest.raises(InputError, match="grid 1: no die at all"):
        synthesize(1, seed=0, grids=[disc(9, 9), np.zeros((9, 9), np.uint8)])


def test_nothing_asked_for_gives_an_empty_set() -> None:
    drawn = synthesize({}, seed=0)
    assert len(drawn.wafers) == 0 and drawn.mask_flat.shape == (0,)


def test_every_pattern_has_rising_quantiles_of_every_parameter() -> None:
    assert set(PATTERNS) == set(PARAMETERS) == set(CLASSES) - {"none"}
    for name, table in PARAMETERS.items():
        for parameter, values in table.items():
            assert list(values) == sorted(values), (name, parameter)


@pytest.mark.skipif(not REAL.exists(), reason="needs ../shared/data/wm811k/wm811k_dev.npz")
def test_no_synthetic_map_is_a_near_copy_of_a_real_one_on_the_same_die_grids() -> None:
    archive = np.load(REAL)
    flat, shapes = archive["flat"], archive["shapes"]
    ends = np.cumsum(shapes.prod(axis=1))
    maps = [flat[end - rows * cols : end].reshape(rows, cols) for end, (rows, cols) in zip(ends, shapes, strict=True)]
    real = WaferSet.from_maps(maps, label=np.zeros(len(maps), np.int8))
    made = synthesize(60, seed=5, grids=maps).wafers
    both = WaferSet.concatenate([real, made])
    pairs = find_near_copies(both, np.arange(len(both)))
    crossing = (pairs.first < len(real)) & (pairs.second >= len(real))
    assert not crossing.any(), [made.lot[i - len(real)] for i in pairs.second[crossing]]
