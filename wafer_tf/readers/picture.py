"""A wafer map from a picture of it: one pixel a die, or a drawing of squares with a title, a legend and axes.

A map is taken only where a regular grid is found whose every die has one of two colours, and whose dies fill a wafer's
outline. Of anything else the reader says that it found no grid; it never guesses one.
"""

from collections.abc import Iterator
from itertools import chain
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from wafer_tf.dies import check_map
from wafer_tf.errors import InputError
from wafer_tf.formats.dies_on_grid import notch_down
from wafer_tf.formats.options import DEFAULT, Options
from wafer_tf.formats.wafer_map import MapFile, WaferMap
from wafer_tf.readers.picture_bytes import decoded, picture_format
from wafer_tf.readers.picture_cells import Cells, Pixels
from wafer_tf.readers.picture_lattice import lattices
from wafer_tf.readers.picture_scaled import scaled
from wafer_tf.readers.picture_states import NoWaferError, Shown, hides_dies, shown

MAX_BYTES = 64 * 2**20
MIN_PIXELS = 3


class FoundGrid(NamedTuple):
    """Where the dies are in a picture, in pixels of it; before the map is turned so that its notch is down.

    Attributes:
        x0, y0: the left and upper edge of the die or cell in row 0, column 0.
        pitch_x, pitch_y: from one die to the next.
        rows, cols: of the map.
    """

    x0: float
    y0: float
    pitch_x: float
    pitch_y: float
    rows: int
    cols: int


def read_picture(data: bytes, name: str, options: Options = DEFAULT) -> MapFile:
    """Read the one map that a picture shows.

    Args:
        data: a whole PNG, JPEG or BMP file.
        name: what to call it in an error.
        options: `colours` and `orient` matter.

    Raises:
        InputError: no picture, too large, no regular grid in it, or colours that may mean one thing or another.
    """
    found = _found(data, name, options)
    grid = notch_down(found.grid, options.orient or 0)
    place = _place(found)
    turned = () if options.orient is not None else ("the notch is down in the picture (--orient)",)
    facts = {
        "pitch in the picture": f"{place.pitch_x:.2f} x {place.pitch_y:.2f} pixels",
        "first die in the picture": f"{place.x0:.1f}, {place.y0:.1f} pixels from the left and the top",
    }
    wafer = WaferMap(grid=check_map(grid, name), facts=facts, assumed=(*found.assumed, *turned))
    return MapFile(format="picture", version=str(picture_format(data)), wafers=iter([wafer]))


def found_grid(data: bytes, name: str, options: Options = DEFAULT) -> FoundGrid:
    """Return where in a picture its map was found, so that it can be drawn over it; raises as `read_picture` does."""
    return _place(_found(data, name, options))


def _place(found: Shown) -> FoundGrid:
    cells = found.cells
    return FoundGrid(cells.x0, cells.y0, cells.pitch_x, cells.pitch_y, *found.grid.shape)


def _found(data: bytes, name: str, options: Options) -> Shown:
    pixels = decoded(data, name)
    why = "no lines at even distances"
    if min(pixels.shape[:2]) >= MIN_PIXELS:
        for cells in _candidates(pixels):
            try:
                found = shown(cells, name, options.colours)
            except NoWaferError as error:
                why = str(error)
                continue
            if _repeats(found.grid):
                why = "its cells are parts of larger ones"
            elif hides_dies(pixels, found):
                why = "there are dies between its cells"
            else:
                return found
    raise InputError(
        f"{name}: no regular grid of dies in the picture ({why}); expected squares of two colours and a background, or "
        "one pixel a die. Save it as PNG, larger and without smoothing, or read the tool's own file."
    )


def _candidates(pixels: Pixels) -> Iterator[Cells]:
    return chain(scaled(pixels), lattices(pixels))


def _repeats(grid: NDArray[np.uint8]) -> bool:
    """Whether all changes of state stand at every other line, or every third and so on: the true grid is coarser."""
    changes = [np.flatnonzero((np.diff(grid, axis=axis) != 0).any(axis=1 - axis)) for axis in (0, 1)]
    return any(len(np.unique(places % step)) < 2 for places in changes for step in range(2, 9))
