import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.wafer_tf.formats.writers_stdf import FAILING_BIN, START, joined, prr, wir, write_stdf, wrr
from wafer_tf.dies import Die
from wafer_tf.errors import InputError
from wafer_tf.formats.merging import OneTest, merge, one_wafer_each
from wafer_tf.formats.options import Options
from wafer_tf.formats.read import read_maps
from wafer_tf.formats.wafer_map import BinCount, WaferMap

FIRST = np.array([[0, 1, 2, 1], [1, 2, 1, 1], [2, 1, 1, 2], [0, 1, 1, 0]], np.uint8)


def one_test(name: str, grid: NDArray[np.uint8], **changes: object) -> OneTest:
    return OneTest(name, WaferMap(**{"grid": grid, "corner": (0, 0)} | changes))  # type: ignore[arg-type]


def stdf(data: bytes, name: str) -> OneTest:
    (found,) = read_maps(io.BytesIO(data), name, Options(part=True)).wafers
    assert isinstance(found, WaferMap)
    return OneTest(name, found)


def retest_of(places: list[tuple[int, int, int]], start: int = START + 3600, *, wafer: str = "W1") -> bytes:
    results = [prr("<", x, y, bin_=bin_) for x, y, bin_ in places]
    good = sum(bin_ == 1 for _, _, bin_ in places)
    return joined("<", [wir("<", wafer, start=start), *results, wrr("<", wafer, len(places), good)])


def test_a_retest_of_the_failing_dies_counts_for_the_dies_it_tested() -> None:
    first = stdf(write_stdf([(FIRST, "LOT", "W1")]), "first.stdf")  # writes x and y from -2 on
    again = stdf(retest_of([(0, -2, 1), (-1, -1, 1), (-2, 0, 7), (1, 0, 7)]), "again.stdf")
    found = merge([first, again])
    assert found.grid.tolist() == [[0, 1, 1, 1], [1, 1, 1, 1], [2, 1, 1, 2], [0, 1, 1, 0]]
    assert (found.lot, found.wafer, found.retested, found.corner) == ("LOT", "W1", 4, first.map.corner)
    assert found.bins == (BinCount("1", True, 11), BinCount("7", False, 2))
    assert found.warnings == ()
    assert found.assumed[0] == (
        "the files are tests of one wafer (--merge), by their times: first.stdf (13 dies), then again.stdf (4 dies)"
    )
    assert found.time == again.map.time > first.map.time


def test_a_later_file_comes_later_however_the_files_are_given() -> None:
    first = stdf(write_stdf([(FIRST, "LOT", "W1")]), "first.stdf")
    again = stdf(retest_of([(0, -2, 1)]), "again.stdf")
    assert np.array_equal(merge([again, first]).grid, merge([first, again]).grid)


def test_without_times_the_order_given_counts_and_is_said() -> None:
    again = one_test(
        "b", np.where(FIRST == Die.FAIL, Die.PASS, Die.ABSENT).astype(np.uint8), time="2026-01-01T00:00:00"
    )
    found = merge([one_test("a", FIRST), again])
    assert found.assumed == (
        "the files are tests of one wafer (--merge), in the order given: a (13 dies), then b (4 dies)",
    )
    assert (found.grid == Die.FAIL).sum() == 0
    assert merge([again, one_test("a", FIRST)]).grid.tolist() == FIRST.tolist()


@pytest.mark.parametrize(("way", "state"), [("last", [2, 1]), ("first", [1, 2]), ("best", [1, 1])])
def test_which_result_counts_is_as_for_a_retest_within_a_file(way: str, state: list[int]) -> None:
    first = np.array([[1, 2, 2], [1, 1, 1], [1, 1, 1]], np.uint8)
    again = np.array([[2, 1, 2], [0, 0, 0], [0, 0, 0]], np.uint8)
    found = merge([one_test("a", first), one_test("b", again)], retest=way)  # type: ignore[arg-type]
    assert found.grid[0].tolist() == [*state, 2]
    assert found.retested == 3


def test_maps_of_other_corners_are_laid_by_them() -> None:
    part = np.array([[1, 0, 1], [0, 0, 0], [1, 0, 1]], np.uint8)
    whole = np.full((3, 3), 2, np.uint8)
    found = merge([one_test("a", whole, corner=(-3, 10)), one_test("b", part, corner=(-2, 11))])
    assert found.corner == (-3, 10)
    assert found.grid.tolist() == [[2, 2, 2, 0], [2, 1, 2, 1], [2, 2, 2, 0], [0, 1, 0, 1]]
    assert found.warnings == ("3 of the 4 dies of b were not tested before.",)


def test_bins_that_cannot_be_told_apart_any_more_are_counted_together() -> None:
    bins = (BinCount("1", True, 9), BinCount("2", False, 3), BinCount("5", False, 1))
    again = np.where(FIRST == Die.FAIL, 1, 0).astype(np.uint8)
    again[0, 2] = 0
    found = merge([one_test("a", FIRST, bins=bins), one_test("b", again, bins=(BinCount("1", True, 3),))])
    assert found.bins == (BinCount("1", True, 12), BinCount("2 or 5", False, 1))


def test_a_retest_of_dies_that_had_passed_is_doubted() -> None:
    rng = np.random.default_rng(7)
    first = np.where(rng.random((20, 20)) < 0.1, 2, 1).astype(np.uint8)
    again = np.where(np.fliplr(first) == 2, 1, 0).astype(np.uint8)
    (warning,) = merge([one_test("a", first), one_test("b", again)]).warnings
    assert "tests again only" in warning
    assert "--y-axis" in warning
    assert merge([one_test("a", first), one_test("b", np.ones_like(first))]).warnings == ()  # the whole wafer again


def test_what_cannot_be_laid_on_each_other_is_refused_with_a_reason() -> None:
    with pytest.raises(InputError, match=r"^b: gives its dies no coordinates"):
        merge([one_test("a", FIRST), one_test("b", FIRST, corner=None)])
    with pytest.raises(InputError, match=r"^b: none of its 13 dies is a die of a; expected tests of one wafer"):
        merge([one_test("a", FIRST), one_test("b", FIRST, corner=(9, 9))])
    with pytest.raises(InputError, match="dies span 5004 rows"):
        merge([one_test("a", FIRST), one_test("b", FIRST, corner=(5000, 0))])


def test_a_map_alone_comes_back_as_it_is() -> None:
    only = one_test("a", FIRST, corner=None)
    assert merge([only]) is only.map


def test_maps_belong_together_by_lot_and_wafer() -> None:
    a3, b, again = (one_test(n, FIRST, lot="L", wafer=w) for n, w in (("1", "03"), ("2", "4"), ("3", "3")))
    assert one_wafer_each([a3, b, again]) == [[a3, again], [b]]
    nameless, only_lot = one_test("4", FIRST), one_test("5", FIRST, lot="L")
    assert one_wafer_each([a3, nameless, only_lot, again]) == [[a3, nameless, only_lot, again]]
    assert one_wafer_each([nameless, nameless, only_lot]) == [[nameless, nameless, only_lot]]


def test_a_wafer_without_its_lot_is_told_by_its_own_name() -> None:
    one, two, lotless = (
        one_test(n, FIRST, lot=lot, wafer=w) for n, lot, w in (("1", "L", "A"), ("2", "L", "B"), ("3", "", "B"))
    )
    assert one_wafer_each([lotless, one, two]) == [[lotless, two], [one]]
    others = [one_test(w, FIRST, wafer=w) for w in "AB"]
    assert one_wafer_each(others) == [[others[0]], [others[1]]]


@pytest.mark.parametrize(
    "names",
    [
        [("L", "3"), ("L", "4"), ("L", "")],
        [("L", "3"), ("M", "3"), ("", "3")],
        [("L", "3"), ("M", "")],
        [("L", ""), ("M", "")],
    ],
)
def test_a_map_that_may_be_of_several_wafers_or_of_none_is_refused(names: list[tuple[str, str]]) -> None:
    tests = [one_test(f"file {i}", FIRST, lot=lot, wafer=wafer) for i, (lot, wafer) in enumerate(names)]
    with pytest.raises(InputError, match=r"^file \d: which wafer it is of cannot be told"):
        one_wafer_each(tests)


@given(
    st.lists(st.lists(st.integers(0, 2), min_size=12, max_size=12), min_size=2, max_size=4),
    st.tuples(st.integers(-3, 3), st.integers(-3, 3)),
)
def test_the_last_result_of_every_die_counts_and_no_die_is_lost(
    cells: list[list[int]], corner: tuple[int, int]
) -> None:
    grids = [np.array(row, np.uint8).reshape(3, 4) for row in cells]
    for grid in grids:
        grid[0, 0] = grid[2, 3] = 1  # so that they share dies, and the box
    found = merge([one_test(str(i), grid, corner=corner) for i, grid in enumerate(grids)])
    expected = grids[0].copy()
    for grid in grids[1:]:
        expected[grid > 0] = grid[grid > 0]
    assert np.array_equal(found.grid, expected)
    assert found.corner == corner


def test_products_that_differ_are_said() -> None:
    found = merge([one_test("a", FIRST, product="P", step="WS1"), one_test("b", FIRST, product="Q", step="WS2")])
    assert found.warnings == ("The tests say different products: P, Q.",)
    assert (found.product, found.step) == ("P", "WS1, WS2")


def test_failing_again_in_another_bin_is_that_bin() -> None:
    first = stdf(write_stdf([(FIRST, "LOT", "W1")]), "first.stdf")
    again = stdf(retest_of([(0, -2, 1), (-1, -1, 1), (-2, 0, 7)]), "again.stdf")
    found = merge([first, again])
    assert found.bins[1:] == (BinCount(str(FAILING_BIN), False, 1), BinCount("7", False, 1))


@pytest.mark.parametrize("kind", ["stdf", "table"])
def test_a_retest_of_one_die_is_read_as_a_part_and_no_map_alone(kind: str) -> None:
    data = {"stdf": retest_of([(0, -2, 1)]), "table": b"x,y,bin,lot,wafer\n0,-2,1,LOT,W1\n"}[kind]
    one = stdf(data, "again")
    assert one.map.grid.tolist() == [[1, 0, 0], [0, 0, 0], [0, 0, 0]]
    found = merge([stdf(write_stdf([(FIRST, "LOT", "W1")]), "first.stdf"), one])
    assert np.argwhere(found.grid != FIRST).tolist() == [[0, 2]]
    with pytest.raises(InputError, match="map again, which no other test of its wafer goes with: 1 x 1 cells"):
        merge([one])
    (unread,) = read_maps(io.BytesIO(data), "again").wafers
    assert isinstance(unread, InputError)
