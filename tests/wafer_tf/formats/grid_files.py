"""A small wafer that looks different from every side, and how to read files of it in tests."""

import io
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from tests import SHARED
from wafer_tf.errors import InputError
from wafer_tf.formats.opened import Opened
from wafer_tf.formats.options import DEFAULT, Options
from wafer_tf.formats.read import read_maps
from wafer_tf.formats.wafer_map import MapFile, WaferMap

CASES, FORMATS = SHARED / "cases", SHARED / "data" / "formats"

SMALL: NDArray[np.uint8] = np.array(
    [
        [0, 0, 2, 1, 1, 0, 0],
        [0, 2, 2, 1, 1, 1, 0],
        [1, 2, 1, 1, 1, 1, 1],
        [1, 1, 1, 0, 1, 1, 2],
        [0, 1, 1, 1, 1, 1, 0],
    ],
    np.uint8,
)
"""Fails at the upper left, a hole, and neither square nor symmetric."""
TURNS = (0, 90, 180, 270)


def opened(data: bytes, options: Options = DEFAULT, name: str = "f") -> MapFile:
    """Read a file that is in memory."""
    return read_maps(io.BytesIO(data), name, options)


def the_wafer(data: bytes, options: Options = DEFAULT) -> WaferMap:
    """Return the one wafer of a file, raising what stands in its place."""
    wafers = list(opened(data, options).wafers)
    assert len(wafers) == 1
    (wafer,) = wafers
    if isinstance(wafer, InputError):
        raise wafer
    return wafer


def wafers_or_refusals(
    read: Callable[[Opened, Options], MapFile], data: bytes, options: Options = DEFAULT
) -> list[WaferMap]:
    """Return the maps of a file that may be damaged; what is not read must have been refused by an InputError."""
    try:
        return [wafer for wafer in read(Opened.of_bytes(data, "f"), options).wafers if isinstance(wafer, WaferMap)]
    except InputError:
        return []
