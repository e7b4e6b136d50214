"""Which equal maps join their wafers into one group, and which are too many to."""

import numpy as np
import pytest

from wafer_tf.splitting.groups import join_identical
from wafer_tf.waferset import WaferSet


def _wafers(n: int, alike: int) -> WaferSet:
    """Return n small maps, the first `alike` of them equal, the others all different."""
    cells = (np.arange(n)[:, None] >> np.arange(16)) % 2 + 1
    cells[:alike] = 1
    cells[alike:, :] = (np.arange(1, n - alike + 1)[:, None] >> np.arange(16)) % 2 + 1
    return WaferSet.from_maps(list(cells.astype(np.uint8).reshape(n, 4, 4)), label=np.zeros(n))


@pytest.mark.parametrize(
    ("n", "alike", "joined"),
    [
        (3000, 30, True),  # a hundredth of the wafers
        (3000, 31, False),
        (500, 25, True),  # a lot, where a hundredth is less
        (500, 26, False),
    ],
)
def test_equal_maps_join_up_to_a_hundredth_of_the_wafers_or_a_lot(n: int, alike: int, joined: bool) -> None:
    group, left_apart = join_identical(_wafers(n, alike), np.arange(n))
    assert len(np.unique(group[:alike])) == (1 if joined else alike)
    assert left_apart == (0 if joined else alike)
    assert len(np.unique(group)) == (n - alike + 1 if joined else n)
