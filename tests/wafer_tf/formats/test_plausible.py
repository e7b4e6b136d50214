"""Which grids hardly are wafer maps: good and bad dies coded 0 and 1 look like a wafer of few dies, all passing."""

import numpy as np
import pytest
from numpy.typing import NDArray

from tests import SHARED
from wafer_tf.formats.plausible import doubt, ends_whole, looks_two_valued
from wafer_tf.synthesis import synthesize

REAL = SHARED / "data" / "wm811k" / "wm811k_full_dev.npz"


def disc(side: int) -> NDArray[np.uint8]:
    y, x = np.indices((side, side)) - (side - 1) / 2
    return (y**2 + x**2 <= (side / 2) ** 2).astype(np.uint8)


def real(every: int) -> list[tuple[str, NDArray[np.uint8]]]:
    if not REAL.is_file():
        pytest.skip("the real maps are not beside the clone")
    with np.load(REAL) as maps:
        flat, offsets, shapes, label = (maps[key] for key in ("flat", "offsets", "shapes", "label"))
    return [(str(label[i]), flat[offsets[i] : offsets[i + 1]].reshape(shapes[i])) for i in range(0, len(shapes), every)]


def test_no_real_map_is_doubted() -> None:
    assert not [label for label, grid in real(20) if doubt(grid)]


def test_real_wafers_of_which_no_die_fails_are_not_doubted() -> None:
    """Of all 49,629, 21 are: of one product, of which but the edge and some dies within are probed."""
    refused = [label for label, grid in real(20) if looks_two_valued((grid != 0).astype(np.uint8))]
    assert len(refused) <= 1


def test_failing_dies_alone_are_doubted() -> None:
    """Of all 49,629 all are but 74 of the 117 Near-full ones, whose failing dies fill the wafer as its dies do."""
    kept = [label for label, grid in real(20) if not looks_two_valued((grid == 2).astype(np.uint8))]
    assert set(kept) <= {"Near-full"}


def test_dies_coded_the_other_way_round_are_doubted() -> None:
    turned = [doubt(np.array([2, 1, 0], np.uint8)[grid]) for _, grid in real(200)]
    assert sum("--states '2,1,0'" in why for why in turned) >= 0.99 * len(turned)


@pytest.mark.parametrize(
    "pattern",
    [
        lambda r, c: r >= 0,
        lambda r, c: (r + c) % 2 == 0,
        lambda r, c: r % 2 == 0,
        lambda r, c: c % 3 == 0,
        lambda r, c: r % 5 != 0,
        lambda r, c: (r % 2 == 0) & (c % 2 == 0),
        lambda r, c: (r % 3 == 0) & (c % 3 == 0),
        lambda r, c: (r + c) % 3 == 0,
        lambda r, c: r < r.max() // 2,
        lambda r, c: (r != 7) & (c != 9) & (c != 20),
    ],
    ids=["all", "chequered", "rows", "columns", "gaps", "quarter", "ninth", "diagonals", "half", "lines missing"],
)
@pytest.mark.parametrize("side", [26, 41, 200])
def test_a_clean_wafer_probed_in_part_is_not_doubted(side: int, pattern: object) -> None:
    assert callable(pattern)
    grid = disc(side) * pattern(*np.indices((side, side))).astype(np.uint8)
    assert not doubt(grid)
    assert not doubt(np.pad(grid, side // 8))


def test_a_small_cluster_of_dies_in_a_large_grid_is_doubted() -> None:
    grid = np.zeros((40, 40), np.uint8)
    grid[4:10, 5:12] = 1
    assert "the dies take only 2.6 % of the grid" in doubt(grid)


def test_synthetic_maps_are_not_doubted_and_their_failing_dies_are() -> None:
    wafers = synthesize(3, seed=5).wafers
    for i in range(len(wafers)):
        assert not doubt(wafers.map(i))


@pytest.mark.parametrize(
    ("data", "whole"),
    [
        (b"0,1\n1,1\n", True),
        (b"0,1\n1,1", False),
        (b"0,1\r\n1,1\r", True),
        (b"0,1\r\n1,", False),
        (b"0,1", True),
        (b"", True),
        ("0,1\n1,1\n".encode("utf-16"), True),
        ("0,1\n1,1".encode("utf-16"), False),
        (b"\x93NUMPY\x01\x00v\0\n", True),
    ],
)
def test_a_text_is_whole_when_its_last_line_ends_as_the_others(data: bytes, whole: bool) -> None:
    assert ends_whole(data) is whole
