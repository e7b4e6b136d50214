"""Patterns that are none of the nine: drawn to see what a model says of what it has never learned.

Each family is a function from a die grid to the chance that the pattern fails a die. They come in five kinds: what
repeats with a tool's step (systematic), shapes no tool is known for (geometric), traces of tools and processes
(process), two of the nine on one wafer (mixture), and shapes put together at random (abstract). None is a drawing of a
real wafer. The yield loss behind the pattern is that of `none`, drawn or a real wafer's own.
"""

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from wafer_tf.dies import UNLABELLED, Die
from wafer_tf.errors import UsageError
from wafer_tf.synthesis.abstract import ABSTRACT
from wafer_tf.synthesis.fields import Field, distance, fall, turned
from wafer_tf.synthesis.grids import Grid, user_grids
from wafer_tf.synthesis.patterns import PATTERNS, draw
from wafer_tf.synthesis.yield_loss import RATES, background
from wafer_tf.waferset import WaferSet

Family = Callable[[Grid, np.random.Generator], Field]


def _rows_cols(grid: Grid) -> NDArray[np.int64]:
    found: NDArray[np.int64] = np.indices(grid.present.shape, dtype=np.int64)
    return found


def _chance(where: NDArray[np.bool_], density: float) -> Field:
    found: Field = np.where(where, np.float32(density), np.float32(0))
    return found


def _angle_from(grid: Grid, rng: np.random.Generator) -> Field:
    """Return angles about the centre, 0..2 pi, from a random direction."""
    found: Field = np.mod(grid.angle + 2 * math.pi * rng.random(), 2 * math.pi).astype(np.float32)
    return found


# === Systematic ===


def reticle(grid: Grid, rng: np.random.Generator) -> Field:
    """Fail the same die or two of every exposure field of 2 x 2 to 5 x 4 dies."""
    rows, cols = _rows_cols(grid)
    high, wide = int(rng.integers(2, 6)), int(rng.integers(2, 5))
    cell = (rows + rng.integers(high)) % high * wide + (cols + rng.integers(wide)) % wide
    bad = rng.choice(high * wide, max(1, high * wide // 6), replace=False)
    return _chance(np.isin(cell, bad), rng.uniform(0.75, 1))


def stepper_rows(grid: Grid, rng: np.random.Generator) -> Field:
    """Fail every third to sixth row or column."""
    rows, cols = _rows_cols(grid)
    lines = rows if rng.random() < 0.5 else cols
    step = int(rng.integers(3, 7))
    return _chance(lines % step == rng.integers(step), rng.uniform(0.7, 1))


def probe_columns(grid: Grid, rng: np.random.Generator) -> Field:
    """Fail one to three whole columns or rows: needles of a probe card."""
    rows, cols = _rows_cols(grid)
    lines, count = (rows, grid.present.shape[0]) if rng.random() < 0.5 else (cols, grid.present.shape[1])
    bad = rng.choice(np.arange(count // 6, count - count // 6), int(rng.integers(1, 4)), replace=False)
    return _chance(np.isin(lines, bad), rng.uniform(0.85, 1))


def checkerboard(grid: Grid, rng: np.random.Generator) -> Field:
    """Fail every other block of one to four dies a side."""
    rows, cols = _rows_cols(grid)
    side = int(rng.integers(1, 5))
    return _chance((rows // side + cols // side) % 2 == 0, rng.uniform(0.7, 0.95))


def stripes(grid: Grid, rng: np.random.Generator) -> Field:
    """Fail bands across the wafer, at any angle."""
    turn, waves = rng.uniform(0, math.pi), rng.uniform(3, 7)
    along = grid.x * math.cos(turn) + grid.y[:, None] * math.sin(turn)
    return _chance(np.sin(2 * math.pi * waves * along / 2 + rng.uniform(0, 6)) > 0.3, rng.uniform(0.6, 0.95))


def lattice(grid: Grid, rng: np.random.Generator) -> Field:
    """Fail the lines of a grid of streets."""
    rows, cols = _rows_cols(grid)
    step = int(rng.integers(4, 8))
    return _chance((rows % step == 0) | (cols % step == 0), rng.uniform(0.7, 1))


# === Geometric ===


def spiral(grid: Grid, rng: np.random.Generator) -> Field:
    """Fail an arm that winds outwards once to three times."""
    winds, turn = rng.uniform(1, 3) * rng.choice((-1, 1)), rng.uniform(0, 1)
    phase = np.mod(grid.angle / (2 * math.pi) + winds * grid.radius + turn, 1)
    return _chance((phase < rng.uniform(0.15, 0.3)) & (grid.radius > 0.08), rng.uniform(0.75, 1))


def spokes(grid: Grid, rng: np.random.Generator) -> Field:
    """Fail three to eight rays from the centre."""
    count = int(rng.integers(3, 9))
    near = np.abs(np.mod(_angle_from(grid, rng) * count / (2 * math.pi), 1) - 0.5) * 2 * math.pi / count
    return _chance((near * grid.radius < rng.uniform(0.05, 0.09)) & (grid.radius < 0.98), rng.uniform(0.75, 1))


def petals(grid: Grid, rng: np.random.Generator) -> Field:
    """Fail a rose of three to six leaves."""
    edge = rng.uniform(0.6, 0.9) * np.abs(np.cos(int(rng.integers(3, 7)) * _angle_from(grid, rng) / 2))
    return _chance(grid.radius < edge, rng.uniform(0.7, 1))


def cross(grid: Grid, rng: np.random.Generator) -> Field:
    """Fail two bars through the centre."""
    turn, wide = rng.uniform(0, math.pi / 2), rng.uniform(0.08, 0.16)
    along = grid.x * math.cos(turn) + grid.y[:, None] * math.sin(turn)
    across = grid.y[:, None] * math.cos(turn) - grid.x * math.sin(turn)
    return _chance((np.abs(along) < wide) | (np.abs(across) < wide), rng.uniform(0.75, 1))


def half(grid: Grid, rng: np.random.Generator) -> Field:
    """Fail one side of a straight line."""
    turn, border = rng.uniform(0, 2 * math.pi), rng.uniform(-0.15, 0.15)
    return _chance(grid.x * math.cos(turn) + grid.y[:, None] * math.sin(turn) > border, rng.uniform(0.7, 0.97))


def quadrant(grid: Grid, rng: np.random.Generator) -> Field:
    """Fail a sector of 60 to 120 degrees from the centre to the edge."""
    return _chance(turned(grid, rng) < rng.uniform(math.pi / 6, math.pi / 3), rng.uniform(0.7, 0.97))


def bow_tie(grid: Grid, rng: np.random.Generator) -> Field:
    """Fail two sectors that face each other."""
    near = np.abs(np.mod(_angle_from(grid, rng), math.pi) - math.pi / 2)
    return _chance(near < rng.uniform(0.3, 0.6), rng.uniform(0.7, 0.97))


def rings(grid: Grid, rng: np.random.Generator) -> Field:
    """Fail two to four rings, one in the other."""
    count = int(rng.integers(2, 5))
    return _chance((np.mod(grid.radius * count, 1) > 0.55) & (grid.radius < 0.93), rng.uniform(0.7, 1))


def frame(grid: Grid, rng: np.random.Generator) -> Field:
    """Fail the outline of a square."""
    turn, side, wide = rng.uniform(0, math.pi / 2), rng.uniform(0.4, 0.6), rng.uniform(0.06, 0.12)
    along = grid.x * math.cos(turn) + grid.y[:, None] * math.sin(turn)
    across = grid.y[:, None] * math.cos(turn) - grid.x * math.sin(turn)
    return _chance(np.abs(np.maximum(np.abs(along), np.abs(across)) - side) < wide, rng.uniform(0.8, 1))


def gradient(grid: Grid, rng: np.random.Generator) -> Field:
    """Fail ever more from one side to the other."""
    turn = rng.uniform(0, 2 * math.pi)
    along = grid.x * math.cos(turn) + grid.y[:, None] * math.sin(turn)
    found: Field = (rng.uniform(0.7, 1) * np.clip((along + 1) / 2, 0, 1) ** rng.uniform(1.2, 2.5)).astype(np.float32)
    return found


# === Process ===


def comets(grid: Grid, rng: np.random.Generator) -> Field:
    """Fail spots with tails that point away from the centre, as of drops on a spinning wafer."""
    chance = np.zeros_like(grid.radius)
    for _ in range(int(rng.integers(3, 8))):
        turn, start, long = rng.uniform(-math.pi, math.pi), rng.uniform(0.2, 0.6), rng.uniform(0.25, 0.5)
        along = grid.x * math.cos(turn) + grid.y[:, None] * math.sin(turn)
        across = np.abs(grid.y[:, None] * math.cos(turn) - grid.x * math.sin(turn))
        wide = np.maximum(0.09 * (1 - (along - start) / long), 0.6 * grid.pitch)
        chance = np.maximum(chance, _chance((along > start) & (along < start + long) & (across < wide), 0.9))
    return chance


def slurry_arcs(grid: Grid, rng: np.random.Generator) -> Field:
    """Fail parallel arcs about a point outside the wafer, as of polishing."""
    turn, off = rng.uniform(-math.pi, math.pi), rng.uniform(1.3, 2.2)
    far = np.hypot(grid.x - off * math.cos(turn), grid.y[:, None] - off * math.sin(turn))
    return _chance(np.mod(far * rng.uniform(2.5, 4), 1) < rng.uniform(0.2, 0.35), rng.uniform(0.6, 0.9))


def chuck_marks(grid: Grid, rng: np.random.Generator) -> Field:
    """Fail the rings and the lattice of spots by which a chuck holds a wafer."""
    step = rng.uniform(0.25, 0.4)
    spots = np.hypot(np.mod(grid.x + 5 * step, step) - step / 2, np.mod(grid.y[:, None] + 5 * step, step) - step / 2)
    return _chance((spots < 0.28 * step) & (grid.radius < 0.9), rng.uniform(0.75, 1))


def gripper(grid: Grid, rng: np.random.Generator) -> Field:
    """Fail three to six spots at the edge, evenly spaced, as of an edge gripper."""
    count = int(rng.integers(3, 7))
    near = np.abs(np.mod(_angle_from(grid, rng), 2 * math.pi / count) - math.pi / count)
    return _chance((near < rng.uniform(0.08, 0.14)) & (grid.radius > rng.uniform(0.75, 0.85)), rng.uniform(0.85, 1))


def plumes(grid: Grid, rng: np.random.Generator) -> Field:
    """Fail what widens inwards from two to four gas inlets at the edge."""
    count = int(rng.integers(2, 5))
    near = np.abs(np.mod(_angle_from(grid, rng), 2 * math.pi / count) - math.pi / count)
    return _chance((near < rng.uniform(0.5, 0.8) * (1.05 - grid.radius)) & (grid.radius > 0.25), rng.uniform(0.7, 0.95))


def lift_pins(grid: Grid, rng: np.random.Generator) -> Field:
    """Fail the three spots of lift pins, half way to the edge."""
    turn, off, chance = rng.uniform(-math.pi, math.pi), rng.uniform(0.45, 0.65), np.zeros_like(grid.radius)
    size = max(rng.uniform(0.1, 0.16), 1.5 * grid.pitch)
    for k in range(3):
        place = turn + 2 * math.pi * k / 3
        far = np.hypot(grid.x - off * math.cos(place), grid.y[:, None] - off * math.sin(place))
        chance = np.maximum(chance, _chance(far < size, 0.95))
    return chance


def showerhead(grid: Grid, rng: np.random.Generator) -> Field:
    """Fail spots on circles, as under the holes of a gas showerhead."""
    chance = np.zeros_like(grid.radius)
    for circle in range(1, 4):
        count = 4 * circle + int(rng.integers(2))
        near = np.abs(np.mod(grid.angle + rng.uniform(0, 6), 2 * math.pi / count) - math.pi / count)
        spot = np.hypot(near * grid.radius, grid.radius - 0.27 * circle) < max(0.07, 0.8 * grid.pitch)
        chance = np.maximum(chance, _chance(spot, 0.95))
    return chance


def splash(grid: Grid, rng: np.random.Generator) -> Field:
    """Fail ten to thirty small spots anywhere."""
    chance = np.zeros_like(grid.radius)
    for _ in range(int(rng.integers(10, 31))):
        far = distance(grid, rng, shift=0.95 * math.sqrt(rng.random()), size=rng.uniform(0.03, 0.08), stretch=1)
        chance = np.maximum(chance, fall(far, soft=0.2, density=0.95))
    return chance


# === Mixtures ===


def _both(first: str, second: str) -> Family:
    def overlaid(grid: Grid, rng: np.random.Generator) -> Field:
        fields = [PATTERNS[name](grid, rng, draw(rng, name)) for name in (first, second)]
        found: Field = 1 - (1 - fields[0]) * (1 - fields[1])
        return found

    overlaid.__doc__ = f"Fail by {first} and {second} on one wafer."
    return overlaid


def several(grid: Grid, rng: np.random.Generator) -> Field:
    """Fail by two to four of the nine that occur together: at the middle, at the edge, somewhere, and a scratch."""
    choices = (("Center", "Donut"), ("Edge-Loc", "Edge-Ring"), ("Loc",), ("Scratch",))
    picked = rng.permutation(len(choices))[: int(rng.integers(2, 5))]
    names = [str(rng.choice(choices[k])) for k in picked]
    left = np.ones_like(grid.radius)
    for name in names:
        left *= 1 - PATTERNS[name](grid, rng, draw(rng, name))
    found: Field = 1 - left
    return found


FAMILIES: Mapping[str, Mapping[str, Family]] = {
    "systematic": {f.__name__: f for f in (reticle, stepper_rows, probe_columns, checkerboard, stripes, lattice)},
    "geometric": {
        f.__name__: f for f in (spiral, spokes, petals, cross, half, quadrant, bow_tie, rings, frame, gradient)
    },
    "process": {
        f.__name__: f for f in (comets, slurry_arcs, chuck_marks, gripper, plumes, lift_pins, showerhead, splash)
    },
    "mixture": {
        f"{a} and {b}": _both(a, b)
        for a, b in (("Center", "Edge-Ring"), ("Donut", "Scratch"), ("Edge-Ring", "Scratch"), ("Center", "Edge-Loc"))
    }
    | {"several": several},
    "abstract": {f.__name__: f for f in ABSTRACT},
}
"""By kind and name."""
NAMES = tuple(name for family in FAMILIES.values() for name in family)
KIN = (
    ("reticle", "stepper_rows", "probe_columns", "checkerboard", "stripes", "lattice", "tiling"),
    ("spiral", "rings", "slurry_arcs", "windings", "ripples", "arcs"),
    ("spokes", "petals", "cross", "half", "quadrant", "bow_tie", "plumes", "sectors"),
    ("chuck_marks", "gripper", "lift_pins", "showerhead", "splash", "spots"),
    ("frame", "gradient", "comets", "polygons", "slopes", "bars", *FAMILIES["mixture"]),
)
"""Families that look alike stand together: who judges by one has learned none of its kin."""


def draw_others(
    family: str, count: int, *, seed: int, grids: Sequence[NDArray[np.uint8]], keep_fails: bool = False
) -> WaferSet:
    """Draw wafers with a pattern that is none of the nine.

    Args:
        family: one of NAMES.
        count: wafers to draw.
        seed: 0 or more; wafer k depends on the family, the seed, k and `grids` alone.
        grids: (rows, cols) maps whose dies (cells other than 0) to use, drawn as often as they occur here.
        keep_fails: leave the failing dies of the grid's map behind the pattern, instead of drawing yield loss; the maps
            should then be of none.

    Returns:
        Unlabelled wafers, every one a lot of its own.

    Raises:
        UsageError: an unknown family.

    Examples:
        >>> round_ones = [np.pad(np.ones((24, 24), np.uint8), 1)]
        >>> len(draw_others("spiral", 3, seed=0, grids=round_ones))
        3
    """
    drawers = {name: drawer for kind in FAMILIES.values() for name, drawer in kind.items()}
    if family not in drawers:
        raise UsageError(f"pattern {family!r}; expected one of {', '.join(NAMES)}.")
    own, maps = user_grids(grids), []
    rate, rim_rate, clean = RATES["none"]
    for k in range(count):
        rng = np.random.default_rng((seed, NAMES.index(family), k))
        number = int(rng.integers(len(own)))
        grid = own[number]
        behind = background(grid, rng, rate=rate, rim_rate=rim_rate, clean=clean)
        if keep_fails:
            behind = (np.asarray(grids[number]) == Die.FAIL).astype(np.float32)
        chance = 1 - (1 - behind) * (1 - drawers[family](grid, rng) * grid.present)
        fails = rng.random(chance.shape, dtype=np.float32) < chance
        maps.append((fails.view(np.uint8) + np.uint8(Die.PASS)) * grid.present)
    lots = [f"{family.replace(' ', '-')}-{k:06d}" for k in range(count)]
    return WaferSet.from_maps(maps, label=np.full(count, UNLABELLED), lot=lots)
