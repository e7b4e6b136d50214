"""The eight failure patterns: each a function from a die grid to the chance that the pattern fails a die.

Every size is in wafer radii and every parameter is drawn from the quantiles of PARAMETERS, so that the table and not
the code says what a pattern looks like.
"""

import math
from collections.abc import Callable

import numpy as np

from wafer_tf.synthesis.fields import Field, bands, distance, fall, share, turned, waves
from wafer_tf.synthesis.grids import Grid

Draws = dict[str, float]

LEVELS = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Quantiles at which PARAMETERS gives values; between them values are interpolated."""

PARAMETERS: dict[str, dict[str, tuple[float, float, float, float, float]]] = {
    "Center": {
        "size": (0.08, 0.15, 0.25, 0.38, 0.62),
        "stretch": (0.87, 0.97, 1.0, 1.03, 1.2),
        "copies": (1.0, 1.0, 1.0, 1.0, 1.0),
        "shift": (0.0, 0.0, 0.01, 0.03, 0.1),
        "soft": (0.04, 0.1, 0.15, 0.22, 0.45),
        "rough": (0.0, 0.05, 0.12, 0.2, 0.4),
        "density": (0.75, 0.95, 1.0, 1.0, 1.0),
    },
    "Donut": {
        "size": (0.32, 0.39, 0.43, 0.47, 0.58),
        "width": (0.07, 0.11, 0.145, 0.18, 0.3),
        "stretch": (0.88, 0.96, 1.0, 1.04, 1.12),
        "shift": (0.0, 0.01, 0.03, 0.06, 0.15),
        "soft": (0.05, 0.1, 0.18, 0.3, 0.6),
        "rough": (0.0, 0.1, 0.2, 0.35, 0.6),
        "lumps": (0.0, 0.0, 0.1, 0.2, 0.5),
        "lopsided": (0.0, 0.35, 0.7, 1.0, 1.0),
        "density": (0.55, 0.85, 0.97, 1.0, 1.0),
    },
    "Edge-Loc": {
        "depth": (0.06, 0.1, 0.17, 0.3, 1.0),
        "inset": (0.0, 0.0, 0.0, 0.0, 0.4),
        "span": (0.1, 0.22, 0.4, 0.68, 1.4),
        "copies": (1.0, 1.0, 1.0, 1.0, 2.4),
        "square": (0.0, 0.0, 0.2, 0.5, 1.0),
        "soft": (0.03, 0.08, 0.14, 0.22, 0.5),
        "rough": (0.0, 0.06, 0.12, 0.18, 0.32),
        "density": (0.7, 0.9, 0.98, 1.0, 1.0),
    },
    "Edge-Ring": {
        "dies": (0.4, 0.7, 0.9, 1.1, 1.6),
        "lopsided": (0.0, 0.1, 0.3, 0.6, 1.2),
        "gap": (0.0, 0.0, 0.0, 0.15, 1.2),
        "density": (0.75, 0.96, 1.0, 1.0, 1.0),
        "halo": (0.0, 0.04, 0.08, 0.15, 0.3),
    },
    "Loc": {
        "size": (0.07, 0.12, 0.175, 0.27, 0.5),
        "stretch": (0.55, 0.78, 1.0, 1.3, 1.8),
        "copies": (1.0, 1.0, 1.0, 1.4, 2.9),
        "shift": (0.15, 0.32, 0.47, 0.62, 0.76),
        "soft": (0.05, 0.15, 0.25, 0.4, 0.8),
        "rough": (0.0, 0.15, 0.25, 0.35, 0.5),
        "density": (0.7, 0.88, 0.97, 1.0, 1.0),
    },
    "Near-full": {
        "rate": (0.84, 0.9, 0.95, 0.995, 1.0),
        "uneven": (0.0, 0.2, 0.5, 0.8, 1.5),
        "spared": (0.0, 0.0, 0.2, 0.6, 1.0),
        "depth": (0.06, 0.1, 0.15, 0.22, 0.4),
        "span": (0.25, 0.4, 0.6, 0.9, 1.8),
        "soft": (0.05, 0.15, 0.3, 0.5, 0.8),
    },
    "Random": {
        "rate": (0.32, 0.43, 0.48, 0.54, 0.68),
        "uneven": (0.0, 0.05, 0.1, 0.25, 1.2),
        "tilt": (0.0, 0.05, 0.15, 0.4, 1.2),
        "middle": (-1.2, -0.4, 0.1, 0.6, 2.2),
        "rim": (0.0, 0.4, 0.7, 1.1, 2.2),
        "spot": (0.0, 0.0, 0.0, 0.3, 3.0),
        "bands": (0.0, 0.0, 0.0, 0.0, 2.0),
    },
    "Scratch": {
        "length": (0.3, 0.7, 1.15, 1.75, 2.8),
        "bend": (0.0, 0.15, 0.4, 0.9, 1.8),
        "dies": (1.0, 1.0, 1.0, 1.1, 1.8),
        "fan": (0.0, 0.1, 0.3, 1.0, 3.1),
        "gaps": (0.0, 0.0, 0.0, 0.02, 0.2),
        "copies": (1.0, 1.0, 1.0, 2.3, 6.0),
    },
}
"""Per class and parameter, the values at LEVELS."""


def draw(rng: np.random.Generator, pattern: str) -> Draws:
    """Draw one value of every parameter of a pattern."""
    values: Draws = {}
    table = PARAMETERS[pattern]
    for (name, quantiles), at in zip(table.items(), (rng.random(len(table)) * (len(LEVELS) - 1)).tolist(), strict=True):
        low = int(at)
        values[name] = quantiles[low] + (at - low) * (quantiles[low + 1] - quantiles[low])
    return values


def blob(grid: Grid, rng: np.random.Generator, p: Draws) -> Field:
    """Return a compact patch of rough outline; sometimes a second one, smaller."""
    chance = np.zeros_like(grid.radius)
    for copy in range(int(p["copies"])):
        off = distance(grid, rng, shift=p["shift"], size=p["size"] / (1 + copy), stretch=p["stretch"])
        off *= np.exp(waves(grid, rng, strength=p["rough"]))
        chance = np.maximum(chance, fall(off, soft=p["soft"], density=p["density"]))
    return chance


def donut(grid: Grid, rng: np.random.Generator, p: Draws) -> Field:
    """Return a ring around the middle, often stronger on one side, down to a crescent."""
    off = distance(grid, rng, shift=p["shift"], size=p["size"], stretch=p["stretch"])
    off *= np.exp(waves(grid, rng, strength=0.3 * p["rough"]))
    chance = fall(np.abs(off - 1) * (p["size"] / p["width"]), soft=p["soft"], density=p["density"])
    chance *= np.clip(1 + waves(grid, rng, strength=p["lumps"]), 0, 1)
    return chance * (1 - (p["lopsided"] / math.pi**2) * turned(grid, rng) ** 2)


def edge_loc(grid: Grid, rng: np.random.Generator, p: Draws) -> Field:
    """Return a lens at the edge: deepest at one angle, gone at `span` radians to either side; sometimes two."""
    chance = np.zeros_like(grid.radius)
    deep = max(min(p["depth"], 1.3 * p["span"]), 1.8 * grid.pitch)  # no narrow finger that points to the middle
    depth = np.abs(np.maximum(1 - grid.radius, 0) / deep - p["inset"])
    for _ in range(int(p["copies"])):
        turn = turned(grid, rng) * np.maximum(grid.radius, 0.4) / max(p["span"], 2 * grid.pitch)
        off = (1 - p["square"]) * np.sqrt(turn**2 + depth**2) + p["square"] * np.maximum(turn, depth)
        off *= np.exp(waves(grid, rng, strength=p["rough"]))
        chance = np.maximum(chance, fall(off, soft=p["soft"], density=p["density"]))
    return chance


def edge_ring(grid: Grid, rng: np.random.Generator, p: Draws) -> Field:
    """Return the outermost dies all around, thicker on one side, sometimes with a gap, and a few dies inside them."""
    width = grid.pitch * p["dies"] * (1 + p["lopsided"] * (0.5 - turned(grid, rng) / math.pi))
    chance: Field = p["density"] * (grid.rim | (grid.radius > 1 - width)).astype(np.float32)
    inside = np.maximum(1 - width - grid.radius, 0) / (1.5 * grid.pitch)
    chance = np.maximum(chance, p["halo"] * np.exp(-inside))
    return chance * (turned(grid, rng) > p["gap"]) if p["gap"] > 0 else chance


def near_full(grid: Grid, rng: np.random.Generator, p: Draws) -> Field:
    """Return almost every die, often sparing some at one place of the edge."""
    chance = share(waves(grid, rng, strength=p["uneven"], scale=2.5), p["rate"])
    if p["spared"] > 0:
        chance *= 1 - edge_loc(
            grid, rng, p | {"square": 0.2, "rough": 0.3, "density": p["spared"], "copies": 1, "inset": 0}
        )
    return chance


def random(grid: Grid, rng: np.random.Generator, p: Draws) -> Field:
    """Return many dies; their rate may drift over the wafer, rise at one place or change in steps between bands."""
    drift = waves(grid, rng, strength=p["uneven"], scale=2.5)
    turn = 2 * math.pi * rng.random()
    drift += (p["tilt"] * math.cos(turn)) * grid.x + (p["tilt"] * math.sin(turn)) * grid.y[:, None]
    drift += p["middle"] * (0.5 - grid.radius) + p["rim"] * grid.rim
    off = distance(grid, rng, shift=0.6 * rng.random(), size=0.4, stretch=rng.uniform(0.6, 1.6))
    drift += p["spot"] * fall(off, soft=0.6, density=1.0)
    drift += bands(grid, rng, strength=p["bands"])
    drift -= drift[grid.present].mean()
    return share(drift, p["rate"])


def scratch(grid: Grid, rng: np.random.Generator, p: Draws) -> Field:
    """Return thin lines, straight or bent, with gaps: mostly one, up to six on a fine grid."""
    rows, cols = grid.present.shape
    chance = np.zeros((rows, cols), np.float32)
    (left, right), (top, below) = grid.x[:2].tolist(), grid.y[:2].tolist()
    wide, high = right - left, below - top
    step = 0.6 * min(wide, high)  # of two dies that a line only clips, it fails one or both
    first = 2 * math.pi * rng.random()
    for _ in range(min(int(p["copies"]), 1 + round(0.09 / grid.pitch))):  # on a coarse grid many would be a patch
        length = max(p["length"] * rng.uniform(0.7, 1.3), 8 * grid.pitch)
        s = np.arange(-length / 2, length / 2, step)
        heading = first + p["fan"] * rng.uniform(-1, 1) + (p["bend"] if rng.random() < 0.5 else -p["bend"]) * s
        cos, sin = np.cos(heading), np.sin(heading)
        x, y = np.cumsum(cos) * step, np.cumsum(sin) * step
        place, turn = 0.95 * rng.random() ** 0.4, 2 * math.pi * rng.random()
        x += place * math.cos(turn) - x[len(s) // 2]
        y += place * math.sin(turn) - y[len(s) // 2]
        whole = 0.97 - p["gaps"] * (np.cos(s * rng.uniform(8, 30) + turn) > 0.3)
        reach = grid.pitch * (p["dies"] - 1) / 2
        for off in (-reach, 0, reach) if reach > 0 else (0,):
            row = np.rint((y + off * cos - top) / high).astype(np.intp)
            col = np.rint((x - off * sin - left) / wide).astype(np.intp)
            on = (row >= 0) & (row < rows) & (col >= 0) & (col < cols)
            chance[row[on], col[on]] = whole[on]
    return chance


PATTERNS: dict[str, Callable[[Grid, np.random.Generator, Draws], Field]] = {
    "Center": blob,
    "Donut": donut,
    "Edge-Loc": edge_loc,
    "Edge-Ring": edge_ring,
    "Loc": blob,
    "Near-full": near_full,
    "Random": random,
    "Scratch": scratch,
}
