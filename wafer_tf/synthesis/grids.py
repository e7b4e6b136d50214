"""Die grids for synthetic maps: the products of an imaginary fab, or the masks of the user's own wafers."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from wafer_tf.dies import Die, check_map

PRODUCTS = 400
"""Products of the imaginary fab. WM-811K has 632 shapes."""

# About the quantiles of sqrt(rows * columns) and of rows / columns over the training wafers; see the package.
_LEVELS = (0.0, 0.05, 0.25, 0.5, 0.75, 0.9, 0.95, 0.975, 0.99, 1.0)
_SIDE = (26.0, 26.5, 33.0, 41.5, 49.0, 62.5, 78.0, 103.0, 131.0, 141.0)
_ASPECT = (0.5, 0.82, 0.92, 1.0, 1.08, 1.22, 1.37, 1.5, 1.75, 2.0)


@dataclass(frozen=True, eq=False)
class Grid:
    """Where a wafer has dies, in the wafer's own coordinates.

    Attributes:
        present: (rows, cols) bool, True where there is a die.
        x: (cols,) float32, die centres from left to right; the wafer's edge is at -1 and 1.
        y: (rows,) float32, die centres from top to bottom; the wafer's edge is at -1 and 1.
        radius: (rows, cols) float32, 0 at the wafer's centre, 1 at its edge.
        angle: (rows, cols) float32, radians, -pi..pi.
        rim: (rows, cols) bool, dies with a side that touches no other die: the outermost dies of the wafer.
    """

    present: NDArray[np.bool_]
    x: NDArray[np.float32]
    y: NDArray[np.float32]
    radius: NDArray[np.float32]
    angle: NDArray[np.float32]
    rim: NDArray[np.bool_]

    @cached_property
    def pitch(self) -> float:
        """Side of a die in wafer radii, the geometric mean of height and width."""
        return float(np.sqrt((self.x[1] - self.x[0]) * (self.y[1] - self.y[0])))

    @cached_property
    def at_centre(self) -> NDArray[np.float32]:
        """Nearness to the wafer's centre, (rows, cols) float32: 1 there, 1 / e at a tenth of the radius."""
        near: NDArray[np.float32] = np.exp(-10 * self.radius)
        return near

    @cached_property
    def at_edge(self) -> NDArray[np.float32]:
        """Nearness to the wafer's edge, (rows, cols) float32: 1 there, 1 / e an eighth of the radius inside."""
        near: NDArray[np.float32] = np.exp(8 * np.minimum(self.radius - 1, 0))
        return near

    @classmethod
    def from_mask(cls, present: NDArray[np.bool_]) -> "Grid":
        """Place a (rows, cols) mask of dies, at least one True, on a round wafer that touches its bounding box."""
        rows, cols = present.shape
        y, x = _axis(np.asarray(present.any(axis=1))), _axis(np.asarray(present.any(axis=0)))
        padded = np.zeros((rows + 2, cols + 2), bool)
        padded[1:-1, 1:-1] = present
        inner = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
        radius = np.hypot(y[:, None], x)
        return cls(present, x, y, radius, np.arctan2(y[:, None], x), present & ~(inner | (radius < 0.8)))


def product_grid(rng: np.random.Generator) -> Grid:
    """Draw the grid of one product: dies of any aspect whose four corners lie on the wafer, cropped to those dies."""
    side, aspect = (float(np.interp(rng.random(), _LEVELS, q)) for q in (_SIDE, _ASPECT))
    rows, cols = (int(np.clip(round(n), 12, 230)) for n in (side * aspect**0.5, side / aspect**0.5))
    # Steppers put the wafer's centre on a die's centre, on a street, or anywhere in between.
    shift = rng.choice((0.0, 0.5, -1.0), 2, p=(0.2, 0.2, 0.6))
    shift = np.where(shift < 0, rng.random(2), shift)
    y, x = (np.arange(-n // 2 - 1, n // 2 + 2) + s for n, s in zip((rows, cols), shift, strict=True))
    v, u = (np.abs(y) + 0.5) / (rows / 2), (np.abs(x) + 0.5) / (cols / 2)
    present = np.hypot(v[:, None], u) <= 1.0
    if rng.random() < 0.5:  # a flat, a notch or the wafer's identification: a chord at the bottom, or only its middle
        chord = (y + 0.5) / (rows / 2) > rng.uniform(0.96, 1.0)
        present &= ~(chord[:, None] & (np.abs(x) / (cols / 2) < rng.choice((0.12, 1.0), p=(0.1, 0.9))))
    present = _cropped(present)
    outermost = rng.uniform(0.985, 1.01)  # where real grids end, in radii of the circle in their bounding box
    present = _cropped(present & (Grid.from_mask(present).radius <= outermost))
    if rng.random() < 0.06:  # process-control and alignment dies
        for _ in range(rng.integers(1, 6)):
            row, col = (int(rng.integers(n // 6, n - n // 6)) for n in present.shape)
            present[row, col : col + int(rng.integers(1, 3))] = False
    return Grid.from_mask(present)


def user_grids(grids: Sequence[NDArray[np.uint8]]) -> list[Grid]:
    """Return the die grids of (rows, cols) maps or masks (what is not 0 is a die), one object for all equal ones."""
    known: dict[tuple[int, int, bytes], Grid] = {}
    found = []
    for i, grid in enumerate(grids):
        mask = check_map(grid, f"grid {i}") != Die.ABSENT
        key = (*mask.shape, np.packbits(mask).tobytes())
        if key not in known:
            known[key] = Grid.from_mask(mask)
        found.append(known[key])
    return found


def _cropped(present: NDArray[np.bool_]) -> NDArray[np.bool_]:
    return present[present.any(axis=1)][:, present.any(axis=0)]


def _axis(used: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Return die centres along one axis, -1..1 between the first and the last used row or column."""
    first, last = np.flatnonzero(used)[[0, -1]]
    centres: NDArray[np.float32] = ((np.arange(len(used)) - (first + last) / 2) * 2 / (last - first + 1)).astype(
        np.float32
    )
    return centres
