"""Patterns without a tool or a cause: shapes put together at random, so that no two wafers show the same.

A model that learns what is not one of the nine from a few named families knows these families alone. What is drawn here
is wide instead: tilings of the die grid, waves along and about the wafer, spots, bars, arcs and sectors in any number.
"""

import math

import numpy as np
from numpy.typing import NDArray

from wafer_tf.synthesis.fields import Field, waves
from wafer_tf.synthesis.grids import Grid


def _chance(where: NDArray[np.bool_], rng: np.random.Generator) -> Field:
    found: Field = np.where(where, np.float32(rng.uniform(0.6, 1)), np.float32(0))
    return found


def _turned(grid: Grid, turn: float) -> tuple[Field, Field]:
    along = grid.x * math.cos(turn) + grid.y[:, None] * math.sin(turn)
    return along, grid.y[:, None] * math.cos(turn) - grid.x * math.sin(turn)


def tiling(grid: Grid, rng: np.random.Generator) -> Field:
    """Fail the same random dies of every tile of 1 x 2 to 6 x 6 dies, each row of tiles shifted against the last."""
    rows, cols = np.indices(grid.present.shape)
    high, wide = rng.integers(1, 7, 2)
    if high * wide < 2:
        high = 2
    col = cols + rows // high * rng.integers(wide)
    bad = rng.random((high, wide)) < rng.uniform(0.15, 0.6)
    bad[rng.integers(high), rng.integers(wide)] = True
    bad[rng.integers(high), rng.integers(wide)] = False
    return _chance(bad[rows % high, col % wide], rng)


def ripples(grid: Grid, rng: np.random.Generator) -> Field:
    """Fail where the sum of one to three waves is high: along a line, outwards or about a point anywhere."""
    total = np.zeros_like(grid.radius)
    for _ in range(int(rng.integers(1, 4))):
        along, across = _turned(grid, rng.uniform(0, 2 * math.pi))
        off = 0.0 if rng.random() < 0.5 else rng.uniform(0.2, 1.5)
        far, angle = np.hypot(along - off, across), np.arctan2(across, along - off)
        kind = int(rng.integers(3))
        phase = (along * rng.uniform(1.2, 6), far * rng.uniform(1.5, 5), angle * rng.integers(3, 9) / (2 * math.pi))[
            kind
        ]
        total += np.sin(2 * math.pi * phase + rng.uniform(0, 6)).astype(np.float32)
    return _chance(total > np.quantile(total[grid.present], rng.uniform(0.5, 0.85)), rng)


def windings(grid: Grid, rng: np.random.Generator) -> Field:
    """Fail one to five arms that wind about a point near the centre, as a line or as a band."""
    along, across = _turned(grid, rng.uniform(0, 2 * math.pi))
    off = rng.uniform(0, 0.4)
    far, angle = np.hypot(along - off, across), np.arctan2(across, along - off)
    arms, winds = int(rng.integers(1, 6)), rng.uniform(0.4, 3) * rng.choice((-1, 1))
    phase = np.mod(arms * angle / (2 * math.pi) + winds * far ** rng.uniform(0.7, 1.4), 1)
    return _chance((phase < rng.uniform(0.12, 0.4)) & (far > rng.uniform(0, 0.3)), rng)


def spots(grid: Grid, rng: np.random.Generator) -> Field:
    """Fail three to twenty spots: in a circle, in a lattice or anywhere."""
    count, kind = int(rng.integers(3, 21)), int(rng.integers(3))
    angle, far = rng.uniform(0, 2 * math.pi, count), np.sqrt(rng.uniform(0, 0.9, count))
    x, y = far * np.cos(angle), far * np.sin(angle)
    if kind == 0:
        angle = rng.uniform(0, 6) + 2 * math.pi * np.arange(count) / count
        x, y = (rng.uniform(0.5, 0.95) * wave(angle) for wave in (np.cos, np.sin))
    elif kind == 1:
        side, step = math.ceil(math.sqrt(count)), rng.uniform(0.25, 0.5)
        x, y = ((axis.ravel() - (side - 1) / 2) * step for axis in np.indices((side, side)))
    along, across = _turned(grid, rng.uniform(0, 2 * math.pi))
    size, stretch = max(rng.uniform(0.04, 0.16), 0.9 * grid.pitch), math.exp(rng.normal(0, 0.4))
    near = np.zeros_like(grid.present)
    for a, b in zip(x, y, strict=True):
        near |= np.hypot((along - a) * stretch, across - b) < size
    return _chance(near, rng)


def bars(grid: Grid, rng: np.random.Generator) -> Field:
    """Fail four to nine straight bars: side by side, crossing, or outwards from a point."""
    count, wide = int(rng.integers(4, 10)), max(rng.uniform(0.02, 0.08), 0.6 * grid.pitch)
    turn, kind, near = rng.uniform(0, math.pi), int(rng.integers(3)), np.zeros_like(grid.present)
    for k in range(count):
        if kind == 0:
            along, across = _turned(grid, turn)
            across = across - 1.6 * (k + 0.5) / count + 0.8
        else:
            along, across = _turned(grid, rng.uniform(0, 2 * math.pi) if kind == 1 else turn + 2 * math.pi * k / count)
            across = across - (rng.uniform(-0.6, 0.6) if kind == 1 else 0)
        start = rng.uniform(0.1, 0.3) if kind == 2 else rng.uniform(-0.9, -0.2)
        near |= (np.abs(across) < wide) & (along > start) & (along < start + rng.uniform(0.5, 1.4))
    return _chance(near, rng)


def arcs(grid: Grid, rng: np.random.Generator) -> Field:
    """Fail two to seven pieces of rings about the centre or about points anywhere."""
    near, about = np.zeros_like(grid.present), rng.random() < 0.5
    for _ in range(int(rng.integers(2, 8))):
        along, across = _turned(grid, rng.uniform(0, 2 * math.pi))
        off = 0.0 if about else rng.uniform(0.2, 1.6)
        far, angle = np.hypot(along - off, across), np.abs(np.arctan2(across, along - off))
        ring = np.abs(far - rng.uniform(0.2, 0.8) - 0.5 * off) < max(rng.uniform(0.03, 0.1), 0.6 * grid.pitch)
        near |= ring & (angle > math.pi - rng.uniform(0.4, 2.5) if off else angle < rng.uniform(0.4, 2.5))
    return _chance(near, rng)


def sectors(grid: Grid, rng: np.random.Generator) -> Field:
    """Fail one to four sectors from one radius to another; a single one reaches from the centre to the edge."""
    near = np.zeros_like(grid.present)
    turn = rng.uniform(0, 2 * math.pi)
    count = int(rng.integers(1, 5))
    for k in range(count):
        along, across = _turned(grid, turn + 2 * math.pi * (k + rng.uniform(-0.2, 0.2)) / count)
        inner, outer = rng.uniform(0, 0.4 if count > 1 else 0.1), rng.uniform(0.75 if count > 1 else 0.95, 1.1)
        near |= (
            (np.abs(np.arctan2(across, along)) < rng.uniform(0.3, 2 / count))
            & (grid.radius > inner)
            & (grid.radius < outer)
        )
    return _chance(near, rng)


def polygons(grid: Grid, rng: np.random.Generator) -> Field:
    """Fail the inside or the outline of one to three large shapes of three to six corners, some of them stars."""
    near = np.zeros_like(grid.present)
    for _ in range(int(rng.integers(1, 4))):
        along, across = _turned(grid, rng.uniform(0, 2 * math.pi))
        off, corners, size = rng.uniform(0, 0.35), int(rng.integers(3, 7)), rng.uniform(0.35, 0.75)
        far, angle = np.hypot(along - off, across), np.arctan2(across, along - off)
        sector = np.mod(angle, 2 * math.pi / corners) - math.pi / corners
        side = np.cos(sector) if rng.random() < 0.7 else 1.4 - np.abs(sector) * corners / math.pi
        edge = far * side / (size * math.cos(math.pi / corners))
        near ^= (edge < 1) & ((edge > 0.75) | (rng.random() < 0.4))
    return _chance(near, rng)


def slopes(grid: Grid, rng: np.random.Generator) -> Field:
    """Fail ever more along a line, or as a smooth landscape of several hills."""
    along, _ = _turned(grid, rng.uniform(0, 2 * math.pi))
    height = along * rng.uniform(0.8, 1.2) if rng.random() < 0.5 else waves(grid, rng, strength=0.7, scale=5.0)
    found: Field = np.clip(rng.uniform(0.25, 0.5) + rng.uniform(0.4, 0.7) * height, 0, 1).astype(np.float32)
    return found


ABSTRACT = (tiling, ripples, windings, spots, bars, arcs, sectors, polygons, slopes)
