"""Yield loss without a pattern: what a `none` wafer shows, and what lies behind every pattern."""

import math

import numpy as np

from wafer_tf.synthesis.fields import Field, waves
from wafer_tf.synthesis.grids import Grid

RATES = {
    "Center": (0.06, 0.12, 0.7),
    "Donut": (0.055, 0.2, 0.6),
    "Edge-Loc": (0.075, 0.24, 0.95),
    "Edge-Ring": (0.045, 0.2, 0.6),
    "Loc": (0.052, 0.15, 0.9),
    "Scratch": (0.038, 0.13, 1.0),
    "none": (0.047, 0.14, 0.5),
}
"""By class, on a wafer of 40 x 40 cells: median failing share between edge and centre, and of the outermost dies; how
far below its median the first goes on clean wafers, standard deviation of its logarithm."""


def background(grid: Grid, rng: np.random.Generator, *, rate: float, rim_rate: float, clean: float) -> Field:
    """Return (rows, cols) chances that a die fails with no pattern there.

    The rate differs from wafer to wafer (log-normal), falls with the number of dies, drifts smoothly over the wafer,
    and is higher at the very centre and on the outermost dies.

    Args:
        grid: the wafer's dies.
        rng: source of randomness.
        rate: median failing share between edge and centre of a wafer of 40 x 40 cells, 0..1.
        rim_rate: the same of the outermost dies.
        clean: standard deviation of the rate's logarithm on the side of clean wafers.
    """
    wafer, middle, spot, edge, rim, right, down = rng.standard_normal(7).tolist()
    level = (20 * grid.pitch) ** 1.4 * math.exp((0.5 if wafer > 0 else clean) * wafer)
    drift = waves(grid, rng, strength=0.3 * rng.random(), scale=3.0)
    drift += (0.2 + 0.5 * middle) * (0.5 - grid.radius)
    drift += (1.2 + 0.7 * spot) * grid.at_centre + (0.8 + 0.4 * edge) * grid.at_edge
    chance = min(level, 3.5) * rate * np.exp(drift)
    at_rim = min(rim_rate * level**0.4 * math.exp(0.25 * rim), 0.4)
    chance += grid.rim * (at_rim * (1 + 0.15 * right * grid.x + 0.15 * down * grid.y[:, None]))
    limited: Field = np.minimum(chance, 0.7)
    return limited
