"""Which equal maps join their wafers into one group, and which are too many to."""

import numpy as np
import pytest

from wafer_tf.splitting.groups import join_identical, join_lots_and_copies, number_lots
from wafer_tf.splitting.near_copies import find_near_copies
from wafer_tf.waferset import WaferSet


def _wafers(n: int, alike: int) -> WaferSet:
    """Return n small maps, the first `alike` of them equal, the others all different."""
    cells = (np.arange(n)[:, None] >> np.arange(16)) % 2 + 1
    cells[:alike] = 1
    cells[alike:, :] = (np.arange(1, n - alike + 1)[:, None] >> np.arange(16)) % 2 + 1
    return WaferSet.from_maps(list(cells.astype(np.uint8).reshape(n, 4, 4)), label=np.zeros(n))


@pytest.mark.parametrize(
    ("n", "alike", "joined"),
    [
        (3000, 30, True),  # a hundredth of the wafers
        (3000, 31, False),
        (500, 25, True),  # a lot, where a hundredth is less
        (500, 26, False),
    ],
)
def test_equal_maps_join_up_to_a_hundredth_of_the_wafers_or_a_lot(n: int, alike: int, joined: bool) -> None:
    group, left_apart = join_identical(_wafers(n, alike), np.arange(n))
    assert len(np.unique(group[:alike])) == (1 if joined else alike)
    assert left_apart == (0 if joined else alike)
    assert len(np.unique(group)) == (n - alike + 1 if joined else n)


def _grouped(wafers: WaferSet, *, side: list[int] | None = None) -> tuple[list[int], int]:
    used = np.arange(len(wafers))
    sides = np.zeros(len(wafers), np.int8) if side is None else np.array(side, np.int8)
    group, left_apart = join_lots_and_copies(wafers, used, find_near_copies(wafers, used), side=sides)
    return group.tolist(), left_apart


def _bare(kind: int) -> np.ndarray:
    """A map of one failing die, the same for the same `kind` alone, in every turn."""
    grid = np.ones((12, 12), np.uint8)
    grid[0, kind] = 2
    return grid


def _random(n: int) -> list[np.ndarray]:
    return [(1 + (np.random.default_rng(k).random((12, 12)) < 0.3)).astype(np.uint8) for k in range(n)]


def test_what_two_sets_of_equal_maps_join_together_stays_within_the_limit() -> None:
    """Lots of ten: the first two may be joined by one map, the third not by another, the limit being 25."""
    maps = _random(30)
    maps[9] = maps[10] = _bare(0)
    maps[17] = maps[18] = maps[20] = _bare(1)
    wafers = WaferSet.from_maps(maps, label=np.zeros(30), lot=[f"lot{k // 10}" for k in range(30)])
    assert _grouped(wafers) == ([0] * 20 + [1] * 10, 3)


def test_the_smaller_set_of_equal_maps_is_joined_first_and_all_left_apart_are_counted() -> None:
    maps = _random(60)
    for k in (0, 10, 20):
        maps[k] = _bare(0)
    for k in (1, 11):
        maps[k] = _bare(1)
    for k in (31, 41, 51, 42):
        maps[k] = _bare(2)
    wafers = WaferSet.from_maps(maps, label=np.zeros(60), lot=[f"lot{k // 10}" for k in range(60)])
    group, left_apart = _grouped(wafers)
    assert group == [0] * 20 + [1] * 10 + [2] * 10 + [3] * 10 + [4] * 10
    assert left_apart == 3 + 4


def test_equal_maps_of_one_lot_leave_nothing_apart_however_large_it_is() -> None:
    maps = [*_random(28), _bare(0), _bare(0)]
    assert _grouped(WaferSet.from_maps(maps, label=np.zeros(30), lot=["a"] * 30)) == ([0] * 30, 0)


def test_copies_and_equal_maps_on_two_sides_are_not_joined() -> None:
    a, b, c = _random(3)
    maps = [a, a[::-1].copy(), b, b.T.copy(), c, _bare(0), _bare(0), _bare(0)]
    wafers = WaferSet.from_maps(maps, label=np.zeros(8), lot=[""] * 8)
    assert _grouped(wafers) == ([0, 0, 1, 1, 2, 3, 3, 3], 0)
    assert _grouped(wafers, side=[0, 1, 1, 1, 0, 0, 1, 1]) == ([0, 1, 2, 2, 3, 4, 5, 5], 0)


def test_copies_join_lots_through_one_another() -> None:
    a, b, c, d = _random(4)
    maps = [a, b, b.T.copy(), c, c[::-1].copy(), d]
    wafers = WaferSet.from_maps(maps, label=np.zeros(6), lot=["A", "A", "B", "B", "C", "D"])
    assert _grouped(wafers) == ([0, 0, 0, 0, 0, 1], 0)
    used = np.array([1, 2, 5])
    group, _ = join_lots_and_copies(wafers, used, find_near_copies(wafers, used), side=np.zeros(3, np.int8))
    assert group.tolist() == [0, 0, 1]


def test_lots_are_numbered_as_they_come_and_unknown_ones_are_each_their_own() -> None:
    found = number_lots(np.array(["b", "", "a", "b", "", "a", "c"]))
    assert found.tolist() == [0, 1, 2, 0, 3, 2, 4]
    assert found.dtype == np.int64


def test_identical_maps_are_those_of_the_same_bytes_and_sides() -> None:
    a, b = _random(2)
    other = np.ones((4, 6), np.uint8)
    maps = [a, b, a.copy(), a[::-1].copy(), other, np.ones((6, 4), np.uint8), other.copy()]
    wafers = WaferSet.from_maps(maps, label=np.zeros(7))
    group, left_apart = join_identical(wafers, np.arange(7))
    assert (group.tolist(), left_apart) == ([0, 1, 0, 2, 3, 4, 3], 0)
    group, _ = join_identical(wafers, np.array([1, 2, 3]))
    assert group.tolist() == [0, 1, 2]
