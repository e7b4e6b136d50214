import hashlib
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from wafer_tf.dies import check_map, cropped
from wafer_tf.encoding import FLOAT_AREA, _levels, encode, encode_many, to_float
from wafer_tf.learning.augment import SYMMETRY_COUNT, Augmentation, redraw, stretch, symmetry, turn

MAPS = st.tuples(st.integers(3, 90), st.integers(3, 90)).flatmap(
    lambda shape: arrays(np.uint8, shape, elements=st.integers(0, 2))
)
SIZES = st.sampled_from([32, 48, 64, 96])


@given(MAPS, SIZES, st.integers(0, SYMMETRY_COUNT - 1))
def test_encoding_commutes_with_every_symmetry_bit_for_bit(grid: NDArray[np.uint8], size: int, index: int) -> None:
    planes = np.moveaxis(encode(grid, size), -1, 0)
    turned = np.stack([symmetry(plane, index) for plane in planes], axis=-1)
    np.testing.assert_array_equal(encode(symmetry(grid, index), size), turned)


@given(MAPS, SIZES)
def test_planes_keep_the_share_of_dies_and_of_failing_dies(grid: NDArray[np.uint8], size: int) -> None:
    planes = to_float(encode(grid, size))
    box, _ = cropped(grid)
    assert planes[..., 0].mean() == pytest.approx((box != 0).mean(), abs=1 / 510)
    assert planes[..., 1].mean() == pytest.approx((box == 2).mean(), abs=1 / 510)


@given(MAPS, SIZES, st.tuples(*[st.integers(0, 20)] * 4))
def test_an_empty_margin_changes_no_bit(grid: NDArray[np.uint8], size: int, margin: tuple[int, ...]) -> None:
    top, bottom, left, right = margin
    padded = np.pad(grid, ((top, bottom), (left, right)))
    if grid.any():
        np.testing.assert_array_equal(encode(padded, size), encode(grid, size))


def test_the_sums_are_exact_on_the_largest_map() -> None:
    rng = np.random.default_rng(0)
    grid = rng.integers(0, 3, (2000, 2000), dtype=np.uint8)
    cells, centres = np.arange(64) * 2000 / 64, np.arange(2000)
    share = np.clip(np.minimum(cells[:, None] + 31.25, centres + 1) - np.maximum(cells[:, None], centres), 0, 1)
    for plane, state in ((0, grid != 0), (1, grid == 2)):
        exact = np.floor(share @ state.astype(np.float64) @ share.T * 255 / 31.25**2 + 0.5)
        np.testing.assert_array_equal(encode(grid)[..., plane], exact)


@given(MAPS, SIZES)
def test_no_failing_die_is_lost_and_none_is_invented(grid: NDArray[np.uint8], size: int) -> None:
    planes = encode(grid, size)
    assert ((planes[..., 2] == 255) | (planes[..., 2] == 0)).all()
    assert (planes[..., 2] > 0).any() == (grid == 2).any()
    assert (planes[..., 1] <= planes[..., 0]).all()


def test_a_scratch_one_die_wide_stays_one_unbroken_line_on_the_largest_map() -> None:
    grid = np.ones((300, 300), np.uint8)
    rows = np.arange(30, 270)
    grid[rows, rows // 2 + 40] = 2
    peak = encode(grid)[..., 2] > 0
    hit = np.flatnonzero(peak.any(axis=1))
    assert len(hit) == hit[-1] - hit[0] + 1 >= 51
    for upper, lower in pairwise(hit):
        gap = np.abs(np.flatnonzero(peak[upper])[:, None] - np.flatnonzero(peak[lower])[None, :]).min()
        assert gap <= 1


@pytest.mark.parametrize("shape", [(3, 3), (3, 2000), (300, 300), (2000, 2000), (18, 4), (15, 3)])
def test_every_permitted_size_is_encoded(shape: tuple[int, int]) -> None:
    planes = encode(np.full(shape, 2, np.uint8))
    assert planes.shape == (64, 64, 3)
    assert planes.dtype == np.uint8
    assert (planes == 255).all()


@given(arrays(np.uint8, st.tuples(st.integers(3, 40), st.integers(3, 24)), elements=st.integers(0, 2)), SIZES)
def test_encoding_is_what_exact_arithmetic_gives(grid: NDArray[np.uint8], size: int) -> None:
    """Every die cut into size x size pieces, every cell a mean of rows x cols of them, halves rounded up."""
    grid, _ = cropped(grid)
    rows, cols = grid.shape
    pieces = np.repeat(np.repeat(grid, size, axis=0), size, axis=1).reshape(size, rows, size, cols)
    for plane, states in ((0, (1, 2)), (1, (2,))):
        covered = np.isin(pieces, states).sum(axis=(1, 3), dtype=np.int64)
        np.testing.assert_array_equal(
            encode(grid, size)[..., plane], (510 * covered + rows * cols) // (2 * rows * cols)
        )


MANY = st.tuples(st.integers(1, 9), st.integers(3, 70), st.integers(3, 70)).flatmap(
    lambda shape: arrays(np.uint8, shape, elements=st.integers(0, 2))
)


@given(MANY, SIZES, st.lists(st.integers(0, 8), max_size=12))
def test_many_maps_are_encoded_to_the_bits_of_each_alone(
    grids: NDArray[np.uint8], size: int, copies: list[int]
) -> None:
    """Whatever they share: dies in the same places, all cells, or no die at an edge in some of them."""
    masked = grids.copy()
    masked[1::2] = np.where(grids[0] > 0, np.maximum(grids[1::2], 1), 0)
    many = np.concatenate([grids, masked, masked[[i % len(masked) for i in copies]]])
    planes = encode_many(many, size)
    assert planes.dtype == np.uint8
    for grid, found in zip(many, planes, strict=True):
        np.testing.assert_array_equal(found, encode(grid, size))


@pytest.mark.parametrize("shape", [(3, 2000), (300, 300), (64, 64), (65, 63)])
def test_many_maps_of_every_size_are_encoded_as_each_alone(shape: tuple[int, int]) -> None:
    grids = np.random.default_rng(3).integers(0, 3, (3, *shape), dtype=np.uint8)
    grids[1, 0] = 0
    for grid, found in zip(grids, encode_many(grids), strict=True):
        np.testing.assert_array_equal(found, encode(grid))


@pytest.mark.parametrize("area", [9, 255, 257, 26 * 26, 9973, 65521, FLOAT_AREA - 1, FLOAT_AREA, FLOAT_AREA + 1])
def test_shares_are_rounded_as_whole_numbers_are(area: int) -> None:
    covered = np.arange(area + 1)
    levels = _levels(covered.astype(np.float32), area)
    np.testing.assert_array_equal(levels, (255 * covered + area // 2) // area)


def test_encoding_never_changes_from_one_release_to_the_next() -> None:
    """A model is trained on exactly these bytes: a change of them needs a new model."""
    rng = np.random.default_rng(7)
    digest = hashlib.sha256()
    for shape in [(3, 3), (25, 27), (64, 64), (52, 59), (212, 160)]:
        digest.update(encode(rng.integers(0, 3, shape, dtype=np.uint8)).tobytes())
    assert digest.hexdigest() == "2f56461f95fc812de4a3dd412019125849fc5fb0a0a6fed0ab834423cb22c372"


@given(MAPS, st.floats(0, 6.3), st.floats(0, 1))
def test_augmentation_keeps_every_die_whole_and_in_place(grid: NDArray[np.uint8], angle: float, share: float) -> None:
    for changed in (turn(grid, angle), redraw(grid, share, np.random.default_rng(0))):
        assert changed.dtype == np.uint8
        np.testing.assert_array_equal(changed == 0, grid == 0)


def test_a_half_turn_by_angle_is_the_half_turn_of_the_square() -> None:
    grid = np.random.default_rng(0).integers(1, 3, (41, 40)).astype(np.uint8)
    np.testing.assert_array_equal(turn(grid, np.pi), np.rot90(grid, 2))


def test_a_stretched_map_keeps_its_states_and_an_unbroken_scratch() -> None:
    grid = np.ones((40, 40), np.uint8)
    grid[:, 17] = 2
    for rows, cols in ((60, 41), (40, 57), (40, 40)):
        changed = stretch(grid, rows, cols)
        assert changed.shape == (rows, cols)
        assert (changed == 2).any(axis=1).all()
    np.testing.assert_array_equal(changed, grid)


def test_redrawn_dies_keep_the_failing_rate() -> None:
    grid = np.where(np.random.default_rng(0).random((200, 200)) < 0.2, 2, 1).astype(np.uint8)
    changed = redraw(grid, 1.0, np.random.default_rng(1))
    assert (changed == 2).mean() == pytest.approx(0.2, abs=0.01)
    assert (changed != grid).mean() == pytest.approx(2 * 0.2 * 0.8, abs=0.01)


def test_all_eight_symmetries_are_drawn() -> None:
    grid = np.arange(1, 10).reshape(3, 3).astype(np.uint8)
    rng = np.random.default_rng(0)
    seen = {Augmentation().apply(grid, rng).tobytes() for _ in range(200)}
    assert len(seen) == SYMMETRY_COUNT
    assert grid.tobytes() in seen


def test_a_map_with_a_wrong_state_is_named_with_its_place() -> None:
    grid = np.ones((5, 9), np.int64)
    grid[4, 8] = 7
    with pytest.raises(ValueError, match=r"map W3: die state 7 at row 4, column 8; expected 0"):
        check_map(grid, "W3")
