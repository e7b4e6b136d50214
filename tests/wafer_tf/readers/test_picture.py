"""Wafer maps in pictures: read back exactly, or refused."""

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from wafer_tf.dies import cropped
from wafer_tf.errors import InputError
from wafer_tf.formats.options import DEFAULT, Options
from wafer_tf.readers.picture import read_picture
from wafer_tf.synthesis import synthesize

VIRIDIS = np.array([[84, 1, 68], [140, 145, 33], [37, 231, 253]], np.uint8)  # OpenCV's order, blue first


def maps() -> list[NDArray[np.uint8]]:
    wafers = synthesize(2, seed=3).wafers
    return [cropped(wafers.map(i))[0] for i in range(len(wafers))]


def packed(image: NDArray[np.uint8], ending: str = ".png") -> bytes:
    return bytes(cv2.imencode(ending, image)[1])


def the_grid(data: bytes, options: Options = DEFAULT) -> NDArray[np.uint8]:
    (wafer,) = read_picture(data, "map.png", options).wafers
    if isinstance(wafer, InputError):
        raise wafer
    return wafer.grid


@pytest.mark.parametrize("levels", [(0, 127, 255), (0, 180, 255), (0, 128, 255)])
def test_one_pixel_a_die_in_grey_is_read_back(levels: tuple[int, int, int]) -> None:
    for grid in maps():
        np.testing.assert_array_equal(the_grid(packed(np.array(levels, np.uint8)[grid])), grid)


def test_matplotlib_s_colours_at_one_pixel_a_die_are_read_back() -> None:
    for grid in maps():
        np.testing.assert_array_equal(the_grid(packed(VIRIDIS[grid])), grid)


@pytest.mark.parametrize("factor", [2, 4, 7])
def test_a_picture_that_was_enlarged_is_read_back(factor: int) -> None:
    for grid in maps()[::4]:
        image = np.array([0, 127, 255], np.uint8)[grid].repeat(factor, axis=0).repeat(factor, axis=1)
        np.testing.assert_array_equal(the_grid(packed(image)), grid)


def test_a_picture_without_a_grid_is_refused() -> None:
    rng = np.random.default_rng(0)
    photo = cv2.GaussianBlur(rng.integers(0, 256, (300, 400, 3), dtype=np.uint8), (0, 0), 9)
    with pytest.raises(InputError, match=r"map\.png"):
        the_grid(packed(photo))
    with pytest.raises(InputError, match=r"map\.png"):
        the_grid(packed(photo, ".jpg"))


def test_a_picture_of_many_pixels_is_refused_by_its_header() -> None:
    data = bytearray(packed(np.zeros((4, 4), np.uint8)))
    data[16:24] = (60_000).to_bytes(4, "big") * 2
    with pytest.raises(InputError, match=r"60,?000"):
        the_grid(bytes(data))
