"""Which maps a model has already seen: fingerprints of maps, equal for copies that are turned or mirrored."""

import hashlib

import numpy as np
from numpy.typing import NDArray

from wafer_tf.near_copies import canonical
from wafer_tf.waferset import WaferSet


def fingerprints(wafers: WaferSet) -> NDArray[np.uint64]:
    """Return (n,) uint64, the same for maps that one of the eight symmetries turns into each other."""
    digests = (hashlib.blake2b(canonical(wafers.map(i)), digest_size=8).digest() for i in range(len(wafers)))
    return np.frombuffer(b"".join(digests), "<u8").astype(np.uint64)


def count_known(wafers: WaferSet, known: NDArray[np.uint64]) -> int:
    """Return how many of the maps are copies, also turned or mirrored, of maps with the fingerprints `known`."""
    return int(np.isin(fingerprints(wafers), known).sum())
