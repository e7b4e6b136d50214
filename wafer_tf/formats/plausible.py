"""Whether a grid of 0, 1 and 2 is a wafer map at all, or values that mean something else. Needs numpy alone."""

import numpy as np
from numpy.typing import NDArray

from wafer_tf.dies import Die

MIN_FILL = 0.85
"""Share of their outline that the dies of a wafer fill: at least 0.888 on 133,885 real ones, but for wafers of which
every second or third die is probed; failing dies alone fill less on all but the worst wafers."""
MIN_SHARE = 0.25
"""Share of the grid that the dies take: at least 0.71 on the same wafers; a border of a third leaves 0.28."""
MIN_REGULAR = 9
"""Dies of which a pattern can be told."""
MIN_PROBED = 0.05
"""Share of the grid that is probed at least where it is in a pattern; of every third row and column it is 0.09."""
_MAX_PERIOD = 6
_SAME = 0.91
_DIFFERENT = 0.65


def looks_two_valued(grid: NDArray[np.uint8]) -> bool:
    """Tell whether a grid without a failing die is more likely one of good and bad dies, coded 0 and 1 or 1 and 0.

    A wafer's dies fill their outline, or are probed in a regular pattern, and leave the corners empty; what fails does
    not.

    Args:
        grid: (rows, cols) uint8, die states 0..2.
    """
    return bool(_two_valued(grid))


def doubt(grid: NDArray[np.uint8]) -> str:
    """Return a sentence that says why a checked grid, (rows, cols) uint8, is hardly a wafer map; "" where it may be."""
    if _two_valued(grid):
        return (
            f"{_two_valued(grid)}; where 0 is a good die and 1 a bad one, say --states ',0,1', else --states '0,1,2'."
        )
    if _corners(grid) == Die.FAIL:
        return (
            "all cells outside the wafer's circle are 2, a failing die, and 0, no die, lies within; where 0 is a bad "
            "die, 1 a good one and 2 no die, say --states '2,1,0', else --states '0,1,2'."
        )
    return ""


def ends_whole(data: bytes) -> bool:
    """Tell whether a text ends its last line as it ends the others: what is half written mostly does not.

    Args:
        data: the file's bytes; one that is no text, or holds no end of a line, counts as whole.
    """
    wide = data.startswith((b"\xff\xfe", b"\xfe\xff"))
    if b"\0" in data[:1024] and not wide:
        return True
    last = data[-2:].replace(b"\0", b"") if wide else data[-1:]
    return last in (b"\n", b"\r") or not any(end in data for end in (b"\n", b"\r"))


def outline(dies: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the cells, (rows, cols) bool, that lie between two dies of their row, or of their column."""
    return _spans(dies) | _spans(dies.T).T


def _spans(dies: NDArray[np.bool_]) -> NDArray[np.bool_]:
    from_left = np.logical_or.accumulate(dies, axis=1)
    spans: NDArray[np.bool_] = from_left & np.logical_or.accumulate(dies[:, ::-1], axis=1)[:, ::-1]
    return spans


def _two_valued(grid: NDArray[np.uint8]) -> str:
    if grid.max() == Die.FAIL:  # nearly every map
        return ""
    dies = grid != Die.ABSENT
    share = dies.mean()
    if not share or dies.all():
        return ""
    if _corners(grid) == Die.PASS:
        return "no die fails, and all cells outside the wafer's circle are dies, while some within are none"
    inside = outline(dies)
    fill = dies.sum() / inside.sum()
    if fill < MIN_FILL and not _is_regular(dies, inside):
        return f"no die fails, and the dies fill only {fill:.0%} of their outline".replace("%", " %")
    if share < MIN_SHARE and not _is_regular(dies, inside):
        return f"no die fails, and the dies take only {share:.1%} of the grid".replace("%", " %")
    return ""


def _corners(grid: NDArray[np.uint8]) -> int:
    """Return the state of all cells outside the grid's ellipse where 0 lies within, 0 where they differ or are few."""
    if not grid[0, 0]:  # one of them, and no die on nearly every map
        return 0
    if grid[0, 0] == Die.ABSENT:
        return 0  # nearly every map
    rows, cols = grid.shape
    y, x = ((np.arange(side) + 0.5) / side * 2 - 1 for side in (rows, cols))
    outside = y[:, None] ** 2 + x**2 > 1.1
    states = np.unique(grid[outside])
    if outside.sum() < MIN_REGULAR or len(states) != 1 or grid[~outside].all():
        return 0
    return int(states[0])


def _is_regular(dies: NDArray[np.bool_], inside: NDArray[np.bool_]) -> bool:
    """Tell whether dies are probed in a pattern: in some rows or columns only, or every so many."""
    if dies.sum() < MIN_REGULAR or dies.mean() < MIN_PROBED or not _spread(dies):
        return False
    used = dies[dies.any(axis=1)][:, dies.any(axis=0)]
    if used.shape != dies.shape and used.mean() > 0.5 and used.sum() >= MIN_FILL * outline(used).sum():
        return True
    if min(_alike(dies, inside, 0, 1), _alike(dies, inside, 1, 0)) > _DIFFERENT:
        return False
    shifts = ((down, right) for down in range(_MAX_PERIOD + 1) for right in range(-_MAX_PERIOD, _MAX_PERIOD + 1))
    return any(_alike(dies, inside, *shift) >= _SAME for shift in shifts if shift > (0, 0))


def _spread(dies: NDArray[np.bool_]) -> bool:
    """Tell whether the dies' bounding box takes most of the grid."""
    rows, cols = (np.flatnonzero(dies.any(axis=axis)) for axis in (1, 0))
    return bool((rows[-1] - rows[0] + 1) * (cols[-1] - cols[0] + 1) >= MIN_SHARE * dies.size)


def _alike(dies: NDArray[np.bool_], inside: NDArray[np.bool_], down: int, right: int) -> float:
    """Return which share of the dies have one `down` and `right` of them, of those where the outline reaches there."""
    rows, cols = dies.shape
    if down >= rows or abs(right) >= cols:
        return 0.0
    here = slice(0, rows - down), slice(max(0, -right), cols - max(0, right))
    there = slice(down, rows), slice(max(0, right), cols - max(0, -right))
    both = inside[here] & inside[there]
    either = (dies[here] | dies[there]) & both
    same = dies[here] & dies[there]
    if same.sum() * 2 < dies.sum():
        return 0.0
    return float(same.sum() / max(1, either.sum()))
