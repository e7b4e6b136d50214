"""Near-copies: pairs of wafer maps with the same failing dies but for a few, also mirrored, turned or transposed.

The distance of two maps is 1 - Cohen's kappa of "this die fails", least over the symmetries of the square:

    d(A, B) = min over g of |A xor gB| / (|A| + |B| - 2 |A| |B| / n)

with A and B the sets of failing dies and n the dies of the larger grid. The denominator is the number of differing dies
that two unrelated maps with as many failing dies would show, so 0 is a copy and about 1 is chance, at every fail share:
with few failing dies d is the Dice distance, and two Near-full maps that agree on 90 % of their dies by chance alone
are still at 1. A die that is absent in one map and fails in the other differs; absent against passing does not, so
slightly different grids of one size compare. Maps of r x c and c x r compare through the transposed symmetries.
Maps with hardly any failing (or passing) dies agree by chance; they are compared for equality alone, see `bare_copies`.
(J. Cohen, A coefficient of agreement for nominal scales, Educational and Psychological Measurement 20, 1960.)
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wafer_tf.dies import Die
from wafer_tf.waferset import WaferSet

MAX_DISTANCE = 0.2
"""Among 4,048 WM-811K maps, pairs of different lots: 89 up to 0.1, 2 from 0.1 to 0.2, 10 to 0.25, 823 from 0.3 to 0.4.
With lots joined by them, the largest group is one lot of 25 wafers up to 0.25, 48 at 0.3, and a chain of 146 at 0.4."""
MIN_DIES = 8
"""Failing and passing dies a map needs of each to be compared: below, maps agree by chance (all-pass ones always)."""

BLOCK = 2048
"""Maps a side of one block of comparisons: 16 MB of float32."""
MANY = 0.02
"""Share of the pairs in a block beyond which a closer bound is worth its eightfold cost."""

SHAPE_KEEPING: tuple[Callable[[NDArray[Any]], NDArray[Any]], ...] = (
    lambda a: a,
    lambda a: a[..., ::-1, :],
    lambda a: a[..., :, ::-1],
    lambda a: a[..., ::-1, ::-1],
)
"""What maps r x c onto r x c; with `transpose` before each, onto c x r (the other four of the square's eight)."""


_Found = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]
_NOTHING: _Found = (np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.float64))


@dataclass(frozen=True)
class NearCopies:
    """Pairs of near-copies.

    Attributes:
        first, second: (pairs,) int64, indices into the set, first < second, sorted by first, then second.
        distance: (pairs,) float64, 0 (a copy) to the greatest distance searched.
        bare: (maps,) int64, sorted, the maps with too few failing or passing dies to compare.
    """

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    distance: NDArray[np.float64]
    bare: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.first)


def find_near_copies(
    wafers: WaferSet,
    indices: NDArray[np.int64],
    *,
    max_distance: float = MAX_DISTANCE,
    min_dies: int = MIN_DIES,
    progress: bool = False,
) -> NearCopies:
    """Find every pair of near-copies among the maps at `indices`; exact, no hashing, the same at every call.

    Args:
        wafers: the set.
        indices: (m,) int64, sorted, the maps to compare.
        max_distance: greatest distance of a pair, 0 <= d < 1.
        min_dies: failing and passing dies (of each) a map needs to be compared.
        progress: show a bar on stderr.
    """
    from tqdm import tqdm

    sides = np.sort(wafers.shapes[indices], axis=1)
    _, shape_of, counts = np.unique(sides, axis=0, return_inverse=True, return_counts=True)
    members = np.split(indices[np.argsort(shape_of.ravel(), kind="stable")], np.cumsum(counts)[:-1])
    found, bare = [_NOTHING], [_NOTHING[0]]
    with tqdm(total=len(indices), desc="near-copies", unit="map", mininterval=1, disable=not progress) as bar:
        for same_shape in members:
            if len(same_shape) > 1:
                bare.append(_search_shape(wafers, same_shape, max_distance, min_dies, found, bar))
            else:
                bar.update(1)
    i, j, d = (np.concatenate(parts) for parts in zip(*found, strict=True))
    first, second = np.minimum(i, j), np.maximum(i, j)
    order = np.lexsort((second, first))
    return NearCopies(first[order], second[order], d[order], np.sort(np.concatenate(bare)))


def bare_copies(wafers: WaferSet, bare: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Find maps that are equal under a symmetry, among those too bare for `find_near_copies` (its `bare`).

    Returns:
        One sorted array of indices per set of equal maps (two or more), in order of first appearance.
    """
    sets: dict[bytes, list[int]] = {}
    for i in bare:
        sets.setdefault(canonical(wafers.map(int(i))), []).append(int(i))
    return [np.array(same, dtype=np.int64) for same in sets.values() if len(same) > 1]


def canonical(grid: NDArray[np.uint8]) -> bytes:
    """Return bytes equal for maps that a symmetry maps onto each other, and for no others."""
    turned = [g(a) for g in SHAPE_KEEPING for a in (grid, grid.T)]
    return min(bytes(str(a.shape), "ascii") + a.tobytes() for a in turned)


def _search_shape(
    wafers: WaferSet, indices: NDArray[np.int64], max_distance: float, min_dies: int, found: list[_Found], bar: Any
) -> NDArray[np.int64]:
    """Search maps of r x c and c x r: append the pairs to `found`, return the maps too bare to compare.

    Exact distances come from bit counts, for the few pairs that a cheap bound lets through: a symmetry moves dies only
    within their orbit, so the failing dies that two maps share under any of them are at most the sum over orbits of
    min(u, v) <= sqrt(u v), u and v the failing dies of the orbit. That is one matrix product with a quarter (an eighth
    on square grids) of the cells instead of four (eight) with all. Where dies fail all over the maps the root lets too
    many through (75 % of the pairs of MixedWM38, a fifth of whose dies fail anywhere); the least itself, summed over
    the levels t as [u >= t] [v >= t], leaves 0.4 % of them.
    """
    rows, cols = sorted(int(side) for side in wafers.shapes[indices[0]])
    maps = np.stack([m if m.shape == (rows, cols) else m.T for m in map(wafers.map, indices)])
    dies, fails = (maps != Die.ABSENT).sum((1, 2)), (maps == Die.FAIL).sum((1, 2))
    enough = np.minimum(fails, dies - fails) >= min_dies
    bare: NDArray[np.int64] = indices[~enough]
    bar.update(len(bare))
    keep = np.flatnonzero(enough)
    if len(keep) == 0:
        return bare
    keep = keep[np.argsort(fails[keep], kind="stable")]
    indices, dies, fails = indices[keep], dies[keep], fails[keep]
    failing = maps[keep] == Die.FAIL
    del maps
    turned = [g(failing) for g in SHAPE_KEEPING]
    if rows == cols:
        turned += [g(failing.transpose(0, 2, 1)) for g in SHAPE_KEEPING]
    packed = [_pack(a) for a in turned]
    counts = _orbit_counts(failing)
    roots = np.sqrt(counts, dtype=np.float32)
    # Rounding of a float32 sum of up to 22,500 terms stays below 0.3 %.
    half = (0.497 * (1 - max_distance) * fails).astype(np.float32)
    reach = np.searchsorted(fails, fails * (1 + max_distance) / (1 - max_distance) + 1e-6, side="right")
    for top in range(0, len(fails), BLOCK):
        bottom = min(top + BLOCK, len(fails))
        for left in range(top, int(reach[bottom - 1]), BLOCK):
            right = min(left + BLOCK, int(reach[bottom - 1]))
            shared = roots[top:bottom] @ roots[left:right].T
            shared -= half[left:right]
            close = shared >= half[top:bottom, None]
            if np.count_nonzero(close) > MANY * close.size:
                most = _levels(counts[top:bottom]) @ _levels(counts[left:right]).T
                close &= most - half[left:right] >= half[top:bottom, None]
            i, j = np.nonzero(close)
            i, j = i + top, j + left
            i, j = i[i < j], j[i < j]
            d = _distances(packed, i, j, fails, dies)
            near = d <= max_distance
            found.append((indices[i[near]], indices[j[near]], d[near]))
        bar.update(bottom - top)
    return bare


def _distances(
    packed: list[NDArray[np.uint64]],
    i: NDArray[np.int64],
    j: NDArray[np.int64],
    fails: NDArray[np.int64],
    dies: NDArray[np.int64],
) -> NDArray[np.float64]:
    """Return the distance of each pair (i, j)."""
    shared = np.zeros(len(i), np.int64)
    words = packed[0].shape[1]
    for a in range(0, len(i), step := max(1, 2_000_000 // words)):
        pair = slice(a, a + step)
        fixed = packed[0][i[pair]]
        for turned in packed:
            count = np.bitwise_count(fixed & turned[j[pair]]).sum(axis=1, dtype=np.int64)
            np.maximum(shared[pair], count, out=shared[pair])
    total = fails[i] + fails[j]
    chance = total - 2.0 * fails[i] * fails[j] / np.maximum(dies[i], dies[j])
    distance: NDArray[np.float64] = (total - 2 * shared) / chance
    return distance


def _pack(sets: NDArray[np.bool_]) -> NDArray[np.uint64]:
    """Pack (n, rows, cols) bool into (n, words) uint64."""
    bits = np.packbits(sets.reshape(len(sets), -1), axis=1)
    return np.pad(bits, ((0, 0), (0, -bits.shape[1] % 8))).view(np.uint64)


def _levels(counts: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return (n, 8 orbits) float32, 1 where a count is at least 1, 2, ... 8: products sum the lesser of two counts."""
    return np.concatenate([counts >= level for level in range(1, 9)], axis=1, dtype=np.float32)


def _orbit_counts(sets: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Return (n, orbits) uint8, how many cells of each orbit of the symmetries are set, 0 to 8."""
    _, rows, cols = sets.shape
    ones = sets.view(np.uint8)
    counts = np.zeros((len(sets), (rows + 1) // 2, (cols + 1) // 2), np.uint8)
    for g in SHAPE_KEEPING:
        counts += g(ones)[:, : counts.shape[1], : counts.shape[2]]
    own = np.ones(counts.shape[1:], np.float32)  # cells that a symmetry maps onto themselves were counted twice
    own[rows // 2 :] /= 2
    own[:, cols // 2 :] /= 2
    if rows == cols:
        upper = np.triu_indices(len(own))
        counts, own = (counts + counts.transpose(0, 2, 1))[:, upper[0], upper[1]], own[upper]
        own[upper[0] == upper[1]] /= 2
    return (counts * own).reshape(len(sets), -1).astype(np.uint8)
