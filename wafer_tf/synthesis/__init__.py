"""Synthetic wafer maps of all nine classes, with the mask of the pattern as ground truth.

A map is a die grid (`grids`), a chance for every die to fail without a pattern (`yield_loss`), a chance to fail by the
pattern (`patterns`, from the pieces in `fields`), and one throw of the dice per die. No map is stored or copied: rules
draw it, and what they know of real wafers are a few dozen constants, set by looking at the training part (group split,
seed 0: 2,833 wafers) of 4,048 labelled WM-811K maps (M.-J. Wu, J.-S. R. Jang, J.-L. Chen, IEEE Trans. Semicond. Manuf.
28(1), 2015). What was measured there, and set from it:

- Grids: sqrt(rows * columns) 26 / 33 / 41 / 48 / 77 and rows / columns 0.85 / 0.93 / 1 / 1.08 / 1.37 (quantiles 5, 25,
  50, 75, 95 %); 71 to 81 % of the bounding box holds dies; dies end at 0.975 to 1.005 of its inscribed radius.
- Yield loss between 0.45 and 0.85 of the radius, at 40 x 40 cells: 0.05 (none, Scratch) to 0.09 (Center, Edge-Loc),
  falling as sqrt(rows * columns) ** -1.4, scattered between wafers by a factor exp(0.5) upwards and, downwards, from
  exp(0.5) (none) to exp(1) (Scratch): many wafers with a pattern are much cleaner than any without. On the outermost
  dies 0.2 to 0.4, correlated with it by 0.6; 1.4 times as high beyond 0.85 of the radius as before it, those dies
  apart; the dies within 0.1 of the centre fail about twice as often as those around them.
- Failing share of all dies, quantiles 5, 50, 95 %, real and (in brackets) synthetic:
  Center 4, 22, 44 % (4, 16, 40); Donut 14, 27, 57 (13, 25, 44); Edge-Loc 5, 17, 43 (4, 15, 38); Edge-Ring 6, 13, 23
  (6, 14, 28); Loc 3, 15, 29 (4, 13, 33); Near-full 75, 88, 100 (75, 92, 100); Random 31, 48, 65 (35, 48, 63); Scratch
  1, 7, 23 (3, 8, 20); none 3, 7, 17 (2, 7, 20).

Classes share one distribution of grids on purpose: in WM-811K the shape of a map alone tells much of its class, which
a model would learn as a shortcut. Sizes, widths, spans and densities in `patterns.PARAMETERS` were set by eye, from
sheets of real and synthetic maps side by side, and by where features of the two differed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from wafer_tf.dies import CLASSES, Die
from wafer_tf.errors import InputError, UsageError
from wafer_tf.synthesis.fields import Field, sites
from wafer_tf.synthesis.grids import PRODUCTS, Grid, product_grid, user_grids
from wafer_tf.synthesis.patterns import PATTERNS, draw
from wafer_tf.synthesis.yield_loss import RATES, background
from wafer_tf.waferset import WaferSet

MASK_SHARE = 1 / 3
"""A die belongs to the pattern where its chance to fail by it is at least this share of its highest chance."""

SITES_SHARE = 0.08
"""Share of the maps with a pattern, Near-full and Scratch apart, that the probe card's sites see in stripes."""

__all__ = ["Synthetic", "synthesize"]


@dataclass(frozen=True, eq=False)
class Synthetic:
    """Synthetic maps and where their patterns lie.

    Attributes:
        wafers: the labelled maps, class after class; every map is a lot of its own.
        mask_flat: (cells,) bool, in the layout of wafers.flat: dies that the pattern makes likelier to fail. No die for
            "none"; every die for Near-full and Random.
    """

    wafers: WaferSet
    mask_flat: NDArray[np.bool_]

    def mask(self, i: int) -> NDArray[np.bool_]:
        """Return the pattern of map i, (rows, cols) bool: a view, not a copy."""
        first, last = self.wafers.offsets[i : i + 2]
        rows, cols = self.wafers.shapes[i]
        return self.mask_flat[first:last].reshape(rows, cols)


def synthesize(
    counts: Mapping[str, int] | int, *, seed: int, grids: Sequence[NDArray[np.uint8]] | None = None
) -> Synthetic:
    """Draw synthetic wafer maps.

    Args:
        counts: maps per class name, or one number for each of the nine classes.
        seed: 0 or more. Map k of a class depends on the seed, the class, k and `grids` alone.
        grids: (rows, cols) maps or masks whose dies (cells other than 0) to use, drawn as often as they occur here;
            left out, round grids of an imaginary fab's products.

    Returns:
        The maps in the order of CLASSES and their masks.

    Raises:
        UsageError: an unknown class, a negative count or seed.
        InputError: `grids` without a grid, or one that is no map.

    Examples:
        >>> made = synthesize({"Scratch": 3, "none": 1}, seed=0)
        >>> made.wafers.class_counts().tolist()
        [0, 0, 0, 0, 0, 0, 0, 3, 1]
    """
    wanted = dict.fromkeys(CLASSES, counts) if isinstance(counts, int) else dict(counts)
    for name, n in wanted.items():
        if name not in CLASSES:
            raise UsageError(f"synthetic maps: unknown class {name!r}; expected one of {', '.join(CLASSES)}.")
        if n < 0:
            raise UsageError(f"synthetic maps: {n} of class {name}; expected 0 or more.")
    if seed < 0:
        raise UsageError(f"synthetic maps: seed {seed}; expected 0 or more.")
    own = None if grids is None else user_grids(grids)
    if own is not None and not own:
        raise InputError("synthetic maps: no die grid given; expected at least one map to take the dies from.")
    names = [(name, k) for name in CLASSES for k in range(wanted.get(name, 0))]
    drawn = [_draw_map(name, k, seed=seed, own=own) for name, k in names]
    wafers = WaferSet.from_maps(
        [grid for grid, _ in drawn],
        label=[CLASSES.index(name) for name, _ in names],
        lot=[f"synthetic-{name}-{k:06d}" for name, k in names],
        wafer_index=np.ones(len(names), np.int32),
    )
    masks = [mask.ravel() for _, mask in drawn]
    return Synthetic(wafers, np.concatenate(masks) if masks else np.zeros(0, bool))


def _draw_map(
    name: str, k: int, *, seed: int, own: Sequence[Grid] | None
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    rng = np.random.default_rng((seed, CLASSES.index(name), k))
    grid = own[int(rng.integers(len(own)))] if own is not None else product(seed, int(rng.integers(PRODUCTS)))
    if name == "none":
        pattern, mask = np.zeros_like(grid.radius), np.zeros_like(grid.present)
    else:
        pattern, mask = pattern_chance(name, grid, rng)
    if name in RATES:
        rate, rim_rate, clean = RATES[name]
        pattern = 1 - (1 - background(grid, rng, rate=rate, rim_rate=rim_rate, clean=clean)) * (1 - pattern)
    fails = rng.random(pattern.shape, dtype=np.float32) < pattern
    return (fails.view(np.uint8) + np.uint8(Die.PASS)) * grid.present, mask


def pattern_chance(name: str, grid: Grid, rng: np.random.Generator) -> tuple[Field, NDArray[np.bool_]]:
    """Return the chance, (rows, cols), that a pattern drawn anew fails each die, and the dies that belong to it."""
    pattern = PATTERNS[name](grid, rng, draw(rng, name)) * grid.present
    mask = pattern > MASK_SHARE * pattern.max() if name in RATES else grid.present
    if name not in ("Near-full", "Scratch") and rng.random() < SITES_SHARE:
        pattern *= sites(grid, rng)
    return pattern, mask


@lru_cache(maxsize=2 * PRODUCTS)
def product(seed: int, number: int) -> Grid:
    """Return the die grid of product `number`, 0..PRODUCTS - 1, of the imaginary fab that `seed` stands for."""
    return product_grid(np.random.default_rng((seed, len(CLASSES), number)))
