"""The eight failure patterns: each a function from a die grid to the chance that the pattern fails a die.

Every size is in wafer radii and every parameter is drawn from the quantiles of PARAMETERS, so that the table and not
the code says what a pattern looks like.
"""

import math
from collections.abc import Callable

import numpy as np

from wafer_tf.synthesis.fields import Field, distance, fall, share, turned, waves
from wafer_tf.synthesis.grids import Grid

Draws = dict[str, float]

LEVELS = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Quantiles at which PARAMETERS gives values; between them values are interpolated."""

PARAMETERS: dict[str, dict[str, tuple[float, float, float, float, float]]] = {
    "Center": {
        "size": (0.06, 0.14, 0.24, 0.38, 0.72),
        "stretch": (0.87, 0.97, 1.0, 1.03, 1.2),
        "copies": (1.0, 1.0, 1.0, 1.0, 1.0),
        "shift": (0.0, 0.003, 0.012, 0.035, 0.15),
        "soft": (0.04, 0.1, 0.18, 0.3, 0.7),
        "rough": (0.0, 0.05, 0.12, 0.2, 0.4),
        "density": (0.6, 0.9, 0.98, 1.0, 1.0),
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
        "depth": (0.07, 0.115, 0.175, 0.3, 0.8),
        "span": (0.18, 0.3, 0.42, 0.65, 1.2),
        "copies": (1.0, 1.0, 1.0, 1.0, 2.4),
        "square": (0.0, 0.0, 0.2, 0.5, 1.0),
        "soft": (0.03, 0.08, 0.14, 0.22, 0.5),
        "rough": (0.0, 0.08, 0.15, 0.22, 0.35),
        "density": (0.65, 0.87, 0.96, 1.0, 1.0),
    },
    "Edge-Ring": {
        "dies": (0.4, 0.7, 0.9, 1.2, 2.2),
        "lopsided": (0.0, 0.15, 0.35, 0.6, 1.0),
        "gap": (0.0, 0.0, 0.0, 0.0, 0.5),
        "density": (0.7, 0.95, 1.0, 1.0, 1.0),
    },
    "Loc": {
        "size": (0.07, 0.11, 0.165, 0.26, 0.55),
        "stretch": (0.6, 0.8, 1.0, 1.25, 1.7),
        "copies": (1.0, 1.0, 1.0, 1.4, 2.9),
        "shift": (0.18, 0.36, 0.5, 0.66, 0.85),
        "soft": (0.05, 0.15, 0.25, 0.4, 0.8),
        "rough": (0.0, 0.15, 0.25, 0.35, 0.5),
        "density": (0.6, 0.8, 0.92, 1.0, 1.0),
    },
    "Near-full": {
        "rate": (0.81, 0.88, 0.95, 0.995, 1.0),
        "uneven": (0.0, 0.2, 0.5, 0.8, 1.5),
        "spared": (0.0, 0.0, 0.3, 0.7, 1.0),
        "depth": (0.06, 0.1, 0.16, 0.28, 0.6),
        "span": (0.3, 0.5, 0.75, 1.1, 2.4),
        "soft": (0.05, 0.15, 0.3, 0.5, 0.8),
    },
    "Random": {
        "rate": (0.28, 0.44, 0.5, 0.56, 0.7),
        "uneven": (0.0, 0.1, 0.25, 0.5, 1.2),
        "tilt": (0.0, 0.1, 0.3, 0.6, 1.5),
        "middle": (-1.5, -0.3, 0.3, 0.8, 2.0),
        "rim": (-0.5, 0.0, 0.5, 1.0, 2.0),
    },
    "Scratch": {
        "length": (0.35, 0.6, 0.9, 1.3, 2.1),
        "bend": (0.0, 0.15, 0.4, 0.9, 1.8),
        "dies": (1.0, 1.0, 1.0, 1.0, 2.0),
        "fan": (0.0, 0.1, 0.4, 1.5, 3.1),
        "gaps": (0.0, 0.0, 0.02, 0.1, 0.3),
        "copies": (1.0, 1.0, 1.0, 1.6, 4.6),
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
    depth = np.maximum(1 - grid.radius, 0) / max(p["depth"], 1.8 * grid.pitch)
    for _ in range(int(p["copies"])):
        turn = turned(grid, rng) * np.maximum(grid.radius, 0.4) / max(p["span"], 2 * grid.pitch)
        off = (1 - p["square"]) * np.sqrt(turn**2 + depth**2) + p["square"] * np.maximum(turn, depth)
        off *= np.exp(waves(grid, rng, strength=p["rough"]))
        chance = np.maximum(chance, fall(off, soft=p["soft"], density=p["density"]))
    return chance


def edge_ring(grid: Grid, rng: np.random.Generator, p: Draws) -> Field:
    """Return the outermost dies all around, thicker on one side, sometimes with a gap."""
    width = grid.pitch * p["dies"] * (1 + p["lopsided"] * (0.5 - turned(grid, rng) / math.pi))
    chance = p["density"] * (grid.rim | (grid.radius > 1 - width)).astype(np.float32)
    return chance * (turned(grid, rng) > p["gap"]) if p["gap"] > 0 else chance


def near_full(grid: Grid, rng: np.random.Generator, p: Draws) -> Field:
    """Return almost every die, often sparing some at one place of the edge."""
    chance = share(waves(grid, rng, strength=p["uneven"], scale=2.5), p["rate"])
    if p["spared"] > 0:
        chance *= 1 - edge_loc(grid, rng, p | {"square": 0.2, "rough": 0.3, "density": p["spared"], "copies": 1})
    return chance


def random(grid: Grid, rng: np.random.Generator, p: Draws) -> Field:
    """Return many dies without structure; the rate may drift over the wafer."""
    drift = waves(grid, rng, strength=p["uneven"], scale=2.5)
    turn = 2 * math.pi * rng.random()
    drift += (p["tilt"] * math.cos(turn)) * grid.x + (p["tilt"] * math.sin(turn)) * grid.y[:, None]
    drift += p["middle"] * (0.5 - grid.radius) + p["rim"] * grid.rim
    return share(drift, p["rate"])


def scratch(grid: Grid, rng: np.random.Generator, p: Draws) -> Field:
    """Return one to three thin lines, straight or bent, with gaps."""
    rows, cols = grid.present.shape
    chance = np.zeros((rows, cols), np.float32)
    (left, right), (top, below) = grid.x[:2].tolist(), grid.y[:2].tolist()
    wide, high = right - left, below - top
    step = 0.9 * min(wide, high)  # one die per step: lines join at corners, as real ones do
    first = 2 * math.pi * rng.random()
    for _ in range(int(p["copies"])):
        length = max(p["length"], 6 * grid.pitch) * rng.uniform(0.7, 1.3)
        s = np.arange(-length / 2, length / 2, step)
        heading = first + p["fan"] * rng.uniform(-1, 1) + (p["bend"] if rng.random() < 0.5 else -p["bend"]) * s
        cos, sin = np.cos(heading), np.sin(heading)
        x, y = np.cumsum(cos) * step, np.cumsum(sin) * step
        place, turn = 0.95 * rng.random() ** 0.4, 2 * math.pi * rng.random()
        x += place * math.cos(turn) - x[len(s) // 2]
        y += place * math.sin(turn) - y[len(s) // 2]
        whole = 0.95 - p["gaps"] * (np.cos(s * rng.uniform(8, 30) + turn) > 0.3)
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
