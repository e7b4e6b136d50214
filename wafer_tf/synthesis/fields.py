"""Pieces that patterns and yield loss are made of: (rows, cols) float32 fields over a die grid."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wafer_tf.synthesis.grids import Grid

Field = NDArray[np.floating[Any]]
"""float32 throughout."""


def waves(grid: Grid, rng: np.random.Generator, *, strength: float, scale: float = 4.0, count: int = 4) -> Field:
    """Return a smooth field around 0: a sum of products of cosines with random wave numbers and phases.

    Args:
        grid: where to draw it.
        rng: source of randomness.
        strength: about the standard deviation of the field.
        scale: standard deviation of the wave numbers, radians per wafer radius.
        count: how many products to add.
    """
    v, u, v_phase, u_phase = rng.standard_normal((4, count), dtype=np.float32)
    rows = np.cos(grid.y[:, None] * (scale * v) + 2 * math.pi * v_phase)
    cols = np.cos(grid.x[:, None] * (scale * u) + 2 * math.pi * u_phase)
    field: Field = (rows * (2 * strength / count**0.5)) @ cols.T
    return field


def distance(grid: Grid, rng: np.random.Generator, *, shift: float, size: float, stretch: float) -> Field:
    """Return the distance, in units of `size`, from a point `shift` off the centre in a random direction.

    Args:
        grid: where to draw it.
        rng: source of randomness.
        shift: distance of the point from the wafer's centre, wafer radii.
        size: unit of distance, wafer radii; at least about one die.
        stretch: how much longer the unit is along one random direction, and shorter across it.
    """
    place, turn = (2 * math.pi * rng.random(2)).tolist()
    dx = grid.x - shift * math.cos(place)
    dy = grid.y[:, None] - shift * math.sin(place)
    size = max(size, 1.4 * grid.pitch)
    along, across = 1 / (size * stretch), stretch / size
    cos, sin = math.cos(turn), math.sin(turn)
    far: Field = np.sqrt(
        (dx * (cos * along) + dy * (sin * along)) ** 2 + (dy * (cos * across) - dx * (sin * across)) ** 2
    )
    return far


def turned(grid: Grid, rng: np.random.Generator) -> Field:
    """Return angles as seen from the wafer's centre, 0..pi, from a random direction."""
    turn = np.abs(grid.angle - math.pi * (2 * rng.random() - 1))
    nearer: Field = np.minimum(turn, 2 * math.pi - turn)
    return nearer


def fall(off: Field, *, soft: float, density: float) -> Field:
    """Return `density` where `off` is well below 1 and nothing well above it, with a slope of about `soft`."""
    chance: Field = density / (1 + np.exp(np.minimum((off - 1) * (2 / soft), 60)))
    return chance


def share(drift: Field, rate: float) -> Field:
    """Return the chance `rate`, 0..1, moved on the logit scale by `drift`."""
    chance: Field = 1 / (1 + max(1 - rate, 1e-6) / rate * np.exp(-drift))
    return chance


def sites(grid: Grid, rng: np.random.Generator) -> Field:
    """Return a factor per row or per column: one probe-card site in a few sees less of a pattern than the others."""
    rows, cols = grid.present.shape
    along_rows = rng.random() < 0.5
    line = np.arange(rows if along_rows else cols) % rng.integers(2, 6) == 0
    factor: Field = np.where(line, np.float32(rng.uniform(0.1, 0.7)), np.float32(1))
    return factor[:, None] if along_rows else factor


def bands(grid: Grid, rng: np.random.Generator, *, strength: float) -> Field:
    """Return a field around 0 that changes in steps, between a few bands of whole columns or of whole rows.

    Args:
        grid: where to draw it.
        rng: source of randomness.
        strength: standard deviation of the bands' levels.
    """
    across = rng.random() < 0.5
    place = grid.y if across else grid.x
    borders = np.sort(rng.uniform(-1, 1, int(rng.integers(1, 5))))
    levels = strength * rng.standard_normal(len(borders) + 1, dtype=np.float32)
    band: Field = levels[np.searchsorted(borders, place)]
    return band[:, None] if across else band
