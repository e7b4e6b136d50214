"""The cells of a grid that is drawn in a picture: their colours, and the part of them that is the wafer."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

SAME = 22
"""Colours that differ by at most this in each of red, green and blue are one; JPEG leaves some 10 in the middle."""
APART = 45
"""Two colours of dies differ by more than this in one of them."""
MAX_COLOURS = 6

Pixels = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Cells:
    """A grid as found in a picture.

    Attributes:
        colours: (rows, cols, 3) uint8, of each cell.
        x0, y0: the left and upper edge of cell [0, 0], in pixels.
        pitch_x, pitch_y: from one cell to the next, in pixels.
        outside: (3,) uint8, the colour of the picture round the grid.
    """

    colours: Pixels
    x0: float
    y0: float
    pitch_x: float
    pitch_y: float
    outside: Pixels

    def part(self, top: int, bottom: int, left: int, right: int) -> "Cells":
        """Return these rows and columns."""
        x0, y0 = self.x0 + left * self.pitch_x, self.y0 + top * self.pitch_y
        colours = self.colours[top:bottom, left:right]
        return Cells(colours, x0, y0, self.pitch_x, self.pitch_y, self.outside)


def far(colours: NDArray[Any], colour: NDArray[Any]) -> NDArray[np.uint8]:
    """Return how far (..., 3) colours are from one, or from as many: the largest difference of the three."""
    apart = np.abs(colours.astype(np.int16) - colour.astype(np.int16))
    red, green, blue = apart[..., 0], apart[..., 1], apart[..., 2]  # 20 times as fast as max(axis=-1)
    furthest: NDArray[np.uint8] = np.maximum(np.maximum(red, green), blue).astype(np.uint8)
    return furthest


def most_common(colours: Pixels) -> Pixels:
    """Return the most common of (n, 3) colours: the median of those in the fullest eighth of the scale each way."""
    bins = (colours >> 4).astype(np.int32) @ np.array([256, 16, 1])
    centre = colours[bins == np.bincount(bins).argmax()]
    near = colours[far(colours, np.median(centre, axis=0)) <= SAME]
    return np.asarray(np.median(near if len(near) else centre, axis=0), np.uint8)


def clusters(colours: Pixels) -> tuple[Pixels, NDArray[np.int8]] | None:
    """Part the (n, 3) colours of cells into a few that are clearly different.

    Returns:
        (k, 3) uint8 colours, the most common first, and (n,) int8 which of them each cell has; None where there are
        more than MAX_COLOURS, two are hard to tell apart, or a cell lies between them.
    """
    which = np.full(len(colours), -1, np.int8)
    found: list[Pixels] = []
    left = np.arange(len(colours))
    while len(left):
        if len(found) == MAX_COLOURS:
            return None
        colour = most_common(colours[left])
        if any(far(colour, other) <= APART for other in found):
            return None
        near = far(colours[left], colour) <= SAME
        if not near.any():
            return None
        which[left[near]] = len(found)
        found.append(colour)
        left = left[~near]
    return np.array(found, np.uint8), which


def sampled(
    pixels: Pixels, start: float, pitch: float, count: int, parts: tuple[float, ...], axis: int
) -> NDArray[Any]:
    """Return (count * parts,) places along an axis, at these parts of each cell."""
    places = start + (np.arange(count)[:, None] + np.array(parts)) * pitch
    return np.asarray(np.floor(places), np.int64).clip(0, pixels.shape[axis] - 1).ravel()
