"""Wafers of two to four patterns: composed from what each pattern does to a die, or real ones laid over one another.

A fab has no labelled wafers of several patterns to learn from. Two ways to make some, both with a mask per pattern:

- `compose` draws them. Every pattern gives each die a chance p to fail, as in `synthesis`; over one background b a die
  of several passes with (1 - b) times the product of the (1 - p).
- `overlay` takes real wafers of one pattern each. Of the first everything is kept, of the others only the failing dies
  that belong to their pattern: the plain union would carry the background of all.

Which patterns go together follows MixedWM38 (J. Wang, C. Xu, Z. Yang, J. Zhang, X. Li, IEEE Trans. Semicond. Manuf.
33(4), 2020): the 29 combinations of it, that is at most one of Center and Donut, at most one of Edge-Loc and Edge-Ring,
a Loc or none and a Scratch or none; never Near-full or Random.

Mean share of failing dies on wafers of 2, 3 and 4 patterns: 0.27, 0.32 and 0.36 composed (1,160 wafers, seed 7; 0.31
over all, 5 to 95 %: 0.12 to 0.50), 0.32, 0.38 and 0.42 overlaid from MixedWM38's wafers of one pattern (116, seed 0);
0.31, 0.35 and 0.40 on its real ones of several (15,152).
"""

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wafer_tf.dies import CLASSES, UNLABELLED, Die
from wafer_tf.errors import InputError, UsageError
from wafer_tf.learning.augment import SYMMETRY_COUNT, stretch, symmetry
from wafer_tf.pattern_bits import PATTERNS, pattern_bits
from wafer_tf.synthesis import pattern_chance, product
from wafer_tf.synthesis.grids import PRODUCTS, Grid, user_grids
from wafer_tf.synthesis.yield_loss import RATES, background
from wafer_tf.waferset import WaferSet

EXCLUSIVE = (("Center", "Donut"), ("Edge-Loc", "Edge-Ring"), ("Loc",), ("Scratch",))
"""A wafer of several patterns has at most one of each of these."""
COMBINATIONS = tuple(
    names
    for one_of_each in itertools.product(*((None, *names) for names in EXCLUSIVE))
    if len(names := tuple(name for name in one_of_each if name)) > 1
)
"""What patterns a wafer may have together."""

HAZE_SHARE = 0.5
HAZE = 0.25
"""That share of the composed wafers has dies failing anywhere at a rate up to this: of MixedWM38's wafers with one
pattern, 0.195 of the dies away from it fail, wherever they lie."""

MOST_HIDDEN = 0.3
MOST_CELLS = 0.25
TRIES = 8
"""A pattern is drawn anew, so often, while more than MOST_HIDDEN of the smaller of it and another lie on the other, or
it takes more than MOST_CELLS of the map: one would not see it, or nothing else."""

MIN_DIES = 4
"""Failing dies that a real pattern must have to be laid over another."""


@dataclass(frozen=True, eq=False)
class Mixed:
    """Wafers of several patterns and where each of these lies.

    Attributes:
        wafers: the maps, without labels, with `patterns`; every map is a lot of its own.
        mask_flat: (cells,) uint8, in the layout of wafers.flat: bit k where the die belongs to the pattern CLASSES[k].
    """

    wafers: WaferSet
    mask_flat: NDArray[np.uint8]

    def mask(self, i: int, name: str) -> NDArray[np.bool_]:
        """Return the dies of map i that belong to the pattern `name`, (rows, cols) bool."""
        first, last = self.wafers.offsets[i : i + 2]
        rows, cols = self.wafers.shapes[i]
        return (self.mask_flat[first:last].reshape(rows, cols) >> PATTERNS.index(name) & 1).astype(bool)


_Drawn = tuple[tuple[str, ...], NDArray[np.uint8], NDArray[np.uint8]]
"""Names of the patterns, map, bits of the masks."""


def compose(
    count: int,
    *,
    seed: int,
    grids: Sequence[NDArray[np.uint8]] | None = None,
    patterns: tuple[int, int] = (2, 4),
) -> Mixed:
    """Draw wafers of several patterns.

    Args:
        count: wafers to draw; the combinations of patterns take turns.
        seed: 0 or more. Wafer k depends on the seed, k, `grids` and `patterns` alone.
        grids: (rows, cols) maps or masks whose dies (cells other than 0) to use, drawn as often as they occur here;
            left out, round grids of an imaginary fab's products.
        patterns: fewest and most patterns on a wafer, 2 to 4.

    Returns:
        The wafers and the masks of their patterns.

    Raises:
        UsageError: a negative count or seed, or numbers of patterns that no combination has.
        InputError: `grids` without a grid, or one that is no map.

    Examples:
        >>> made = compose(3, seed=0)
        >>> made.wafers[0].label, made.wafers[0].patterns
        (None, ('Loc', 'Scratch'))
        >>> made.mask(0, "Loc").shape == made.wafers.map(0).shape
        True
    """
    chosen = _combinations(count, seed, patterns)
    own = None if grids is None else user_grids(grids)
    if own is not None and not own:
        raise InputError("composed wafers: no die grid given; expected at least one map to take the dies from.")
    return _mixed((_compose_one(chosen[k % len(chosen)], k, seed=seed, own=own) for k in range(count)), "composed")


def overlay(wafers: WaferSet, count: int, *, seed: int, patterns: tuple[int, int] = (2, 4)) -> Mixed:
    """Lay real wafers of one pattern over one another.

    The first gives the die grid and keeps all its failing dies. The others are mirrored or turned at random, brought
    onto that grid by the nearest die, and add the failing dies of their patterns alone.

    Args:
        wafers: with labels; those of the patterns in EXCLUSIVE are used.
        count: wafers to make; the combinations of patterns that `wafers` allows take turns.
        seed: 0 or more. Wafer k depends on the seed, k, `wafers` and `patterns` alone.
        patterns: fewest and most patterns on a wafer, 2 to 4.

    Returns:
        The wafers and the masks of their patterns, as far as `pattern_dies` finds them.

    Raises:
        UsageError: a negative count or seed, or numbers of patterns that no combination has.
        InputError: no two patterns among the labels that go together, or no wafer that shows one of them.

    Examples:
        >>> from wafer_tf.synthesis import synthesize
        >>> singles = synthesize({"Edge-Ring": 5, "Scratch": 5}, seed=0).wafers
        >>> overlay(singles, 2, seed=0).wafers[1].patterns
        ('Edge-Ring', 'Scratch')
    """
    of = {name: np.flatnonzero(wafers.label == CLASSES.index(name)) for names in EXCLUSIVE for name in names}
    known = [name for name, places in of.items() if len(places)]
    chosen = [names for names in _combinations(count, seed, patterns) if set(names) <= set(known)]
    if not chosen:
        raise InputError(
            f"overlaid wafers: labelled wafers of {', '.join(known) or 'no pattern'}; expected some of "
            f"{patterns[0]} to {patterns[1]} patterns that go together, such as Edge-Ring and Scratch."
        )
    return _mixed((_overlay_one(wafers, of, chosen[k % len(chosen)], k, seed=seed) for k in range(count)), "overlaid")


def pattern_dies(grid: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Find the failing dies of a real map that belong to its pattern: those of dense patches, and those in a line.

    Args:
        grid: (rows, cols) uint8, die states 0..2.

    Returns:
        (rows, cols) bool, failing dies: where the failing share of the 5 x 5 dies around is more than halfway from
        the map's median to 1; those in a row of five failing ones in one of eight directions; and the outermost dies
        that fail in a chain from one of these. Groups below MIN_DIES, or a tenth of the largest, are left out.
    """
    from scipy import ndimage

    dies, fails = grid != Die.ABSENT, grid == Die.FAIL
    near = [ndimage.uniform_filter(a.astype(np.float32), 5, mode="constant") for a in (dies, fails)]
    share = near[1] / np.maximum(near[0], 1 / 25)
    found = share > (1 + float(np.median(share[dies]))) / 2
    for line in _LINES:
        found |= ndimage.binary_opening(fails, line)
    found &= fails
    rim = Grid.from_mask(dies).rim  # a ring one die wide goes in steps, of which few are five long
    found = ndimage.binary_propagation(found, np.ones((3, 3)), mask=found | (fails & rim))
    group, _ = ndimage.label(found, np.ones((3, 3)))
    size = np.bincount(group.ravel())
    size[0] = 0
    large: NDArray[np.bool_] = (size >= max(MIN_DIES, 0.1 * size.max()))[group]
    return large


def _line(row: int, col: int, shift: float) -> NDArray[np.bool_]:
    """Return (5, 5) bool, five dies in a line through about the middle that goes `row` down and `col` across in two."""
    line = np.zeros((5, 5), bool)
    along = np.arange(-2, 3)
    line[2 + np.rint(along * row / 2 + shift).astype(int), 2 + np.rint(along * col / 2 + shift).astype(int)] = True
    return line


_STEEP = ((1, 2), (2, 1), (2, -1), (1, -2))
_LINES = [_line(*way, 0) for way in ((0, 2), (2, 2), (2, 0), (2, -2))]
_LINES += [_line(*way, shift) for way in _STEEP for shift in (-0.25, 0.25)]


def _combinations(count: int, seed: int, patterns: tuple[int, int]) -> list[tuple[str, ...]]:
    if count < 0 or seed < 0:
        raise UsageError(f"wafers of several patterns: {count} by seed {seed}; expected 0 or more of each.")
    chosen = [names for names in COMBINATIONS if patterns[0] <= len(names) <= patterns[1]]
    if not chosen:
        raise UsageError(f"wafers of {patterns[0]} to {patterns[1]} patterns; expected a range within 2 to 4.")
    return chosen


def _compose_one(names: tuple[str, ...], k: int, *, seed: int, own: Sequence[Grid] | None) -> _Drawn:
    rng = np.random.default_rng((seed, len(CLASSES) + 1, k))
    grid = own[int(rng.integers(len(own)))] if own is not None else product(seed, int(rng.integers(PRODUCTS)))
    rate, rim_rate, clean = np.mean([RATES[name] for name in names], axis=0).tolist()
    passing = 1 - background(grid, rng, rate=rate, rim_rate=rim_rate, clean=clean)
    if rng.random() < HAZE_SHARE:
        passing *= 1 - HAZE * rng.random()
    masks: dict[str, NDArray[np.bool_]] = {}
    for name in names:
        drawn = (pattern_chance(name, grid, rng) for _ in range(TRIES))
        chance, masks[name] = _best(drawn, list(masks.values()))
        passing *= 1 - chance
    fails = rng.random(passing.shape, dtype=np.float32) >= passing
    return names, (fails.view(np.uint8) + np.uint8(Die.PASS)) * grid.present, _bits(masks)


def _overlay_one(
    wafers: WaferSet, of: dict[str, NDArray[np.int64]], names: tuple[str, ...], k: int, *, seed: int
) -> _Drawn:
    rng = np.random.default_rng((seed, len(CLASSES) + 2, k))
    order = rng.permutation(len(names)).tolist()
    grid = np.zeros((0, 0), np.uint8)
    masks: dict[str, NDArray[np.bool_]] = {}
    for name in (names[place] for place in order):
        turned = (symmetry(wafers.map(int(i)), int(rng.integers(SYMMETRY_COUNT))) for i in rng.permutation(of[name]))
        if not masks:
            grid, masks[name] = _best(((one, pattern_dies(one)) for one in turned), [])
            grid = grid.copy()
        else:
            laid = ((one, _onto(grid, one)) for one in turned)
            _, masks[name] = _best(laid, list(masks.values()))
            grid[masks[name]] = Die.FAIL
        if not masks[name].any():
            raise InputError(
                f"overlaid wafers: none of {len(of[name])} wafers of {name} has failing dies in a patch or a line; "
                "expected some that show the pattern."
            )
    return names, grid, _bits(masks)


def _best(
    candidates: Iterable[tuple[Any, NDArray[np.bool_]]], others: list[NDArray[np.bool_]]
) -> tuple[Any, NDArray[np.bool_]]:
    """Return the first candidate (anything, its mask) that shows beside the other masks, or the one that best does."""
    found, least = None, math.inf
    for tried, (what, mask) in enumerate(candidates, 1):
        size = int(mask.sum())
        hidden = [int((mask & other).sum()) / max(min(size, int(other.sum())), 1) for other in others]
        fault = max(size / MOST_CELLS / mask.size, *(share / MOST_HIDDEN for share in hidden), 0)
        fault = fault if size >= MIN_DIES else math.inf
        if found is None or fault < least:
            found, least = (what, mask), fault
        if least <= 1 or (tried >= TRIES and least < math.inf):
            break
    assert found is not None
    return found


def _onto(grid: NDArray[np.uint8], other: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return the dies of `grid` on which the pattern of the map `other` comes to lie, (rows, cols) bool."""
    from scipy import ndimage

    pattern = pattern_dies(other)
    place = ndimage.distance_transform_edt(other == Die.ABSENT, return_distances=False, return_indices=True)
    laid = stretch(pattern[tuple(place)].astype(np.uint8), *grid.shape).astype(bool)
    row, col = (  # to fewer dies a line would be skipped
        ((at + 0.5) * new / old).astype(np.int64)
        for at, new, old in zip(np.nonzero(pattern), grid.shape, other.shape, strict=True)
    )
    laid[row, col] = True
    laid &= grid != Die.ABSENT
    return laid


def _bits(masks: dict[str, NDArray[np.bool_]]) -> NDArray[np.uint8]:
    bits = np.zeros(next(iter(masks.values())).shape, np.uint8)
    for name, mask in masks.items():
        bits[mask] |= 1 << PATTERNS.index(name)
    return bits


def _mixed(drawn: Iterable[_Drawn], lot: str) -> Mixed:
    names, maps, bits = [list(column) for column in zip(*drawn, strict=True)] or [[], [], []]
    wafers = WaferSet.from_maps(
        maps,
        label=np.full(len(maps), UNLABELLED),
        lot=[f"{lot}-{k:06d}" for k in range(len(maps))],
        wafer_index=np.ones(len(maps), np.int32),
        patterns=np.array([pattern_bits(one, lot) for one in names], np.uint8),
    )
    return Mixed(wafers, np.concatenate([one.ravel() for one in bits]) if bits else np.zeros(0, np.uint8))
