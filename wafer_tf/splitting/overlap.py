"""What maps of one set have to do with another's: copies, by fingerprints, shared lots, near-copies."""

import hashlib

import numpy as np
from numpy.typing import NDArray

from wafer_tf.splitting.groups import join_lots_and_copies
from wafer_tf.splitting.near_copies import canonical, find_near_copies
from wafer_tf.waferset import WaferSet


def fingerprints(wafers: WaferSet) -> NDArray[np.uint64]:
    """Return (n,) uint64, the same for maps that one of the eight symmetries turns into each other."""
    digests = (hashlib.blake2b(canonical(wafers.map(i)), digest_size=8).digest() for i in range(len(wafers)))
    return np.frombuffer(b"".join(digests), "<u8").astype(np.uint64)


def count_known(wafers: WaferSet, known: NDArray[np.uint64]) -> int:
    """Return how many of the maps are copies, also turned or mirrored, of maps with the fingerprints `known`."""
    return int(np.isin(fingerprints(wafers), known).sum())


def unrelated(wafers: WaferSet, judged: WaferSet) -> NDArray[np.int64]:
    """Return the indices of the wafers that share no lot and no near-copy with any of `judged`, nor through others."""
    both = WaferSet.concatenate([judged, wafers])
    used = np.arange(len(both))
    group, _ = join_lots_and_copies(both, used, find_near_copies(both, used), side=np.zeros(len(both), np.int8))
    return np.flatnonzero(~np.isin(group[len(judged) :], group[: len(judged)]))
