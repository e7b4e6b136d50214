"""What maps of one set have to do with another's."""

import numpy as np
from numpy.typing import NDArray

from wafer_tf.splitting.overlap import count_known, fingerprints, unrelated
from wafer_tf.waferset import WaferSet


def _maps(n: int, *, rows: int = 16, cols: int = 18, seed: int = 0) -> list[NDArray[np.uint8]]:
    rng = np.random.default_rng(seed)
    return [(1 + (rng.random((rows, cols)) < 0.25)).astype(np.uint8) for _ in range(n)]


def _set(maps: list[NDArray[np.uint8]], lot: list[str] | None = None) -> WaferSet:
    return WaferSet.from_maps([np.ascontiguousarray(m) for m in maps], label=np.zeros(len(maps)), lot=lot)


def test_a_fingerprint_is_that_of_the_map_in_every_turn_and_of_no_other() -> None:
    a, b = _maps(2)
    turns = [np.rot90(t, k) for t in (a, a.T) for k in range(4)]
    found = fingerprints(_set([*turns, b]))
    assert found.dtype == np.uint64
    assert found.shape == (9,)
    assert len(set(found[:8].tolist())) == 1
    assert found[8] != found[0]


def test_fingerprints_are_the_same_on_every_machine() -> None:
    """Runs keep them in seen.npz, which a later version reads."""
    assert fingerprints(_set([np.array([[1, 2, 1], [1, 1, 1], [0, 1, 2]], np.uint8)])).tolist() == [0xAC87CAC95083CF09]


def test_the_maps_that_are_known_are_counted_in_whatever_turn() -> None:
    a, b, c, d = _maps(4)
    known = fingerprints(_set([a, b]))
    assert count_known(_set([a[::-1], a.T, c, b, d]), known) == 3
    assert count_known(_set([c, d]), known) == 0


def test_wafers_that_share_a_lot_or_a_near_copy_with_judged_ones_are_related_and_through_others_too() -> None:
    judged, same_lot, through, alone, other = _maps(5)
    near = judged.T.copy()
    near[3, 3] = 3 - near[3, 3]
    wafers = _set([same_lot, near, through, alone, other], ["J", "L2", "L2", "L3", "L4"])
    assert unrelated(wafers, _set([judged], ["J"])).tolist() == [3, 4]
    assert unrelated(_set([alone, other], ["L3", "L3"]), _set([judged], ["J"])).tolist() == [0, 1]


def test_wafers_of_unknown_lot_are_not_related_by_that() -> None:
    judged, other = _maps(2)
    assert unrelated(_set([other], [""]), _set([judged], [""])).tolist() == [0]
