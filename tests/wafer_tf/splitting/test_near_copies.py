"""Near-copies: the distance, the exact search, and what it must not call a copy."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from wafer_tf.splitting.near_copies import MAX_DISTANCE, NearCopies, bare_copies, canonical, find_near_copies
from wafer_tf.waferset import WaferSet

TURNS = [lambda a, k=k, t=t: np.rot90(a.T if t else a, k) for k in range(4) for t in (False, True)]


def _round_map(rows: int, cols: int, share: float, seed: int) -> NDArray[np.uint8]:
    """Return a round map with failing dies strewn at random."""
    r, c = np.linspace(-1, 1, rows)[:, None], np.linspace(-1, 1, cols)
    fails = np.random.default_rng(seed).random((rows, cols)) < share
    return np.where(np.hypot(r, c) > 1.1, 0, 1 + fails).astype(np.uint8)


def _flip_dies(grid: NDArray[np.uint8], dies: int, seed: int = 0) -> NDArray[np.uint8]:
    changed = grid.copy()
    at = np.random.default_rng(seed).choice(np.flatnonzero(grid), dies, replace=False)
    changed.flat[at] = 3 - changed.flat[at]
    return changed


def _set(maps: list[NDArray[np.uint8]]) -> WaferSet:
    return WaferSet.from_maps([np.ascontiguousarray(m) for m in maps], label=np.zeros(len(maps)))


def _find(maps: list[NDArray[np.uint8]], **options: float) -> NearCopies:
    return find_near_copies(_set(maps), np.arange(len(maps)), **options)


def _pairs(found: NearCopies) -> list[tuple[int, int]]:
    return list(zip(found.first.tolist(), found.second.tolist(), strict=True))


def _brute_distance(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    """Apply the definition, map by map and turn by turn."""
    best = np.inf
    for turn in TURNS:
        c = turn(b)
        if c.shape != a.shape:
            continue
        x, y, n = a == 2, c == 2, max((a > 0).sum(), (b > 0).sum())
        best = min(best, (x ^ y).sum() / (x.sum() + y.sum() - 2.0 * x.sum() * y.sum() / n))
    return best


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    sides=st.sampled_from([(5, 5), (6, 6), (5, 7), (6, 9), (7, 4)]),
    share=st.floats(0.1, 0.9),
    limit=st.sampled_from([0.0, 0.2, 0.5, 0.8]),
)
def test_near_copy_search_equals_brute_force(seed: int, sides: tuple[int, int], share: float, limit: float) -> None:
    rng = np.random.default_rng(seed)
    maps: list[NDArray[np.uint8]] = []
    for k in range(14):
        if k % 3 and maps:
            grid = TURNS[rng.integers(8)](_flip_dies(maps[rng.integers(len(maps))], int(rng.integers(4)), k))
        else:
            grid = _round_map(*sides, share, seed + k)
            grid.flat[rng.integers(grid.size)] = 0  # grids of one shape need not have the same dies
        maps.append(grid)
    fails = np.array([(m == 2).sum() for m in maps])
    bare = np.minimum(fails, [(m == 1).sum() for m in maps]) < 2
    expected = {
        (i, j): _brute_distance(maps[i], maps[j])
        for i in range(14)
        for j in range(i + 1, 14)
        if not bare[i] and not bare[j] and sorted(maps[i].shape) == sorted(maps[j].shape)
    }
    expected = {pair: d for pair, d in expected.items() if d <= limit}
    found = _find(maps, max_distance=limit, min_dies=2)
    assert _pairs(found) == list(expected)
    np.testing.assert_array_equal(found.distance, list(expected.values()))
    np.testing.assert_array_equal(found.bare, np.flatnonzero(bare))


@pytest.mark.parametrize("turn", TURNS)
@pytest.mark.parametrize("sides", [(25, 27), (26, 26)])
def test_a_turned_copy_with_three_dies_changed_is_found(turn, sides: tuple[int, int]) -> None:  # type: ignore[no-untyped-def]
    grid = _round_map(*sides, 0.1, seed=1)
    found = _find([grid, _round_map(*sides, 0.1, seed=2), turn(_flip_dies(grid, 3))])
    assert _pairs(found) == [(0, 2)]
    assert 0 < found.distance[0] < 0.1


@pytest.mark.parametrize("share", [0.02, 0.1, 0.5, 0.9, 0.97])
def test_two_random_maps_are_a_chance_distance_apart(share: float) -> None:
    found = _find([_round_map(40, 40, share, seed) for seed in range(12)], max_distance=0.99, min_dies=1)
    assert len(_find([_round_map(40, 40, share, seed) for seed in range(12)])) == 0
    assert found.distance.min(initial=1) > 0.6


def test_two_random_near_full_maps_are_not_near_copies_but_a_copy_of_one_is() -> None:
    maps = [_round_map(33, 29, 0.95, seed) for seed in range(20)]
    assert _pairs(_find([*maps, _flip_dies(maps[3][::-1], 2)])) == [(3, 20)]


def test_maps_with_a_handful_of_failing_dies_are_compared_for_equality_alone() -> None:
    clean = _round_map(20, 24, 0.0, seed=0)
    three = clean.copy()
    three[10, 8:11] = 2
    other = clean.copy()
    other[10, 9:12] = 2
    wafers = _set([clean, three, clean, other, three[::-1].T])
    found = find_near_copies(wafers, np.arange(5))
    assert len(found) == 0
    assert found.bare.tolist() == [0, 1, 2, 3, 4]
    assert [same.tolist() for same in bare_copies(wafers, found.bare)] == [[0, 2], [1, 4]]


def test_a_die_absent_in_one_map_counts_only_where_it_fails_in_the_other() -> None:
    grid = _round_map(30, 30, 0.1, seed=5)
    passes, fails = grid.copy(), grid.copy()
    passes.flat[np.flatnonzero(grid == 1)[:20]] = 0
    fails.flat[np.flatnonzero(grid == 2)[:4]] = 0
    assert _find([grid, passes]).distance.tolist() == [0.0]
    missing = _find([grid, fails]).distance
    assert missing.tolist() == [_brute_distance(grid, fails)]
    assert missing[0] > 0.02


def test_blocks_do_not_change_what_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    originals = [_round_map(15, 18, 0.2, seed) for seed in range(30)]
    maps = [*originals, *(_flip_dies(m, 3, k).T for k, m in enumerate(originals))]
    whole = _find(maps)
    assert {(k, 30 + k) for k in range(30)} <= set(_pairs(whole))
    monkeypatch.setattr("wafer_tf.splitting.near_copies.BLOCK", 7)
    blocks = _find(maps)
    for column in ("first", "second", "distance", "bare"):
        np.testing.assert_array_equal(getattr(whole, column), getattr(blocks, column))


def test_only_the_maps_asked_for_are_compared() -> None:
    grid = _round_map(15, 18, 0.2, seed=0)
    found = find_near_copies(_set([grid] * 5), np.array([1, 4]))
    assert _pairs(found) == [(1, 4)]


def test_a_set_of_one_map_has_no_near_copies() -> None:
    assert len(_find([_round_map(9, 9, 0.3, seed=0)])) == 0


def test_the_greatest_distance_leaves_room_for_a_few_dies_on_a_sparse_map() -> None:
    sparse = _round_map(26, 26, 0.05, seed=3)
    assert 15 < (sparse == 2).sum() < 40
    assert _find([sparse, _flip_dies(sparse, 3)]).distance[0] < MAX_DISTANCE


@pytest.mark.parametrize(("moved", "found"), [(6, True), (10, False)])
def test_maps_are_near_copies_up_to_a_fifth_of_their_failing_dies(moved: int, found: bool) -> None:
    """40 failing dies of 1,600, of which 6 or 10 lie elsewhere: distances 0.15 and 0.26, in whatever turn."""
    rng = np.random.default_rng(1)
    places = rng.permutation(1600)
    a, b = np.ones(1600, np.uint8), np.ones(1600, np.uint8)
    a[places[:40]] = b[places[moved : 40 + moved]] = 2
    assert _brute_distance(a.reshape(40, 40), b.reshape(40, 40)) == pytest.approx(moved / 40, abs=0.01)
    assert bool(len(_find([a.reshape(40, 40), b.reshape(40, 40)]))) is found


def test_maps_of_other_sides_are_not_the_same_though_their_bytes_are() -> None:
    assert canonical(np.ones((3, 8), np.uint8)) != canonical(np.ones((4, 6), np.uint8))
    grid = _round_map(7, 9, 0.3, seed=0)
    assert len({canonical(turn(grid)) for turn in TURNS}) == 1
    assert canonical(_flip_dies(grid, 1)) != canonical(grid)
    wafers = _set([np.ones((3, 8), np.uint8), np.ones((4, 6), np.uint8), np.ones((8, 3), np.uint8)])
    assert [same.tolist() for same in bare_copies(wafers, np.arange(3))] == [[0, 2]]


def test_eight_failing_and_eight_passing_dies_are_enough_to_be_compared() -> None:
    def grid(fails: int) -> NDArray[np.uint8]:
        return np.where(np.random.default_rng(0).permutation(40).reshape(5, 8) < fails, 2, 1).astype(np.uint8)

    for fails, compared in ((7, False), (8, True), (32, True), (33, False)):
        found = _find([grid(fails), grid(fails)])
        assert _pairs(found) == ([(0, 1)] if compared else [])
        assert found.bare.tolist() == ([] if compared else [0, 1])


def test_a_map_alone_in_its_shape_is_not_among_the_bare_ones() -> None:
    blank = np.ones((9, 9), np.uint8)
    found = _find([blank, np.ones((9, 10), np.uint8), np.ones((10, 9), np.uint8)])
    assert found.bare.tolist() == [1, 2]


def test_a_bar_counts_every_map_where_one_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    maps = [_round_map(9, 9, 0.3, seed) for seed in range(5)] + [_round_map(9, 12, 0.3, 0), np.ones((9, 9), np.uint8)]
    _find(maps)
    assert capsys.readouterr().err == ""
    find_near_copies(_set(maps), np.arange(7), progress=True)
    err = capsys.readouterr().err
    assert "near-copies" in err
    assert "7/7" in err
