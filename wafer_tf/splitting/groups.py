"""Groups of wafers that a split keeps on one side: joined by a shared lot, by being near-copies, or by equal bytes."""

import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wafer_tf.splitting.near_copies import NearCopies, bare_copies
from wafer_tf.waferset import WaferSet

ALIKE_SHARE = 0.01
"""Equal maps with hardly any failing die join their lots up to this share of the wafers (or 25, a lot). Beyond, the
all-pass map of a product would chain most of its lots into one group; such maps stay with their lots, counted."""


def number_lots(lot: NDArray[np.str_]) -> NDArray[np.int64]:
    """Number the lots of (m,) wafers from 0; a wafer of unknown lot ("") is a lot of its own."""
    _, number = np.unique(lot, return_inverse=True)
    return _in_order(np.where(lot == "", len(lot) + np.arange(len(lot)), number))


def join_lots_and_copies(
    wafers: WaferSet, used: NDArray[np.int64], pairs: NearCopies, *, side: NDArray[np.int8]
) -> tuple[NDArray[np.int64], int]:
    """Join wafers that share a lot or are near-copies, directly or through others.

    Args:
        wafers: the set.
        used: (m,) int64, sorted, the wafers to group.
        pairs: the near-copies among them.
        side: (m,) int8; copies on different sides are not joined.

    Returns:
        (m,) int64 group of each used wafer, from 0 in order of first appearance; and how many bare maps stay apart from
        their copies (see ALIKE_SHARE).
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    lots = number_lots(wafers.lot[used])
    first, second = np.searchsorted(used, [pairs.first, pairs.second])
    within = side[first] == side[second]
    n = int(lots.max()) + 1
    links = coo_array((np.ones(within.sum(), np.int8), (lots[first[within]], lots[second[within]])), shape=(n, n))
    group = _in_order(connected_components(links, directed=False)[1][lots])
    alike = [np.searchsorted(used, same) for same in bare_copies(wafers, pairs.bare)]
    return _join_alike(group, [same[side[same] == s] for same in alike for s in np.unique(side)])


def join_identical(wafers: WaferSet, used: NDArray[np.int64]) -> tuple[NDArray[np.int64], int]:
    """Join wafers whose maps are equal byte for byte; returns as `join_lots_and_copies` does."""
    sets: dict[tuple[int, bytes], list[int]] = {}
    for k, i in enumerate(used):
        grid = wafers.map(int(i))
        sets.setdefault((len(grid), hashlib.sha256(grid.tobytes()).digest()), []).append(k)
    return _join_alike(np.arange(len(used)), [np.array(same) for same in sets.values()])


def _join_alike(group: NDArray[np.int64], alike: list[NDArray[np.int64]]) -> tuple[NDArray[np.int64], int]:
    """Join the groups of each set of equal maps where the whole stays small; count the maps left apart."""
    largest = max(25, ALIKE_SHARE * len(group))
    size, root = np.bincount(group), np.arange(group.max() + 1)
    left_apart = 0
    for same in sorted((maps for maps in alike if len(maps) > 1), key=len):
        groups = group[same]
        while (root[groups] != groups).any():
            groups = root[groups]
        groups = np.unique(groups)
        together = size[groups].sum()
        if len(groups) > 1 and together > largest:
            left_apart += len(same)
            continue
        root[groups] = groups[0]
        size[groups[0]] = together
    while (root[root] != root).any():
        root = root[root]
    return _in_order(root[group]), left_apart


def _in_order(group: NDArray[Any]) -> NDArray[np.int64]:
    """Renumber groups from 0 in order of first appearance."""
    _, first, inverse = np.unique(group, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[inverse].astype(np.int64)
