"""Tables of dies, written as testers and spreadsheets do, for tests."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

NAMES = {"lot": "lot", "wafer": "wafer", "x": "x", "y": "y", "bin": "bin"}


def write_die_table(
    wafers: Mapping[tuple[str, str], NDArray[np.uint8]],
    *,
    y_up: bool = False,
    x0: int = 0,
    y0: int = 0,
    names: Mapping[str, str] = NAMES,
    mark: str = ",",
    end: str = "\n",
    bins: tuple[str, str] = ("1", "2"),
) -> bytes:
    """Return a table of the dies of maps.

    Args:
        wafers: lot and wafer to its map, (rows, cols) die states.
        y_up: whether y grows upward.
        x0, y0: coordinates of the left column, and of the row where y begins (the top one, the lowest with `y_up`).
        names: role to the column's name; a role that is not in it has no column.
        mark: between cells.
        end: of a line.
        bins: of a passing and a failing die.
    """
    lines = [mark.join(names.values())]
    for (lot, wafer), grid in wafers.items():
        for row, col in np.argwhere(grid != 0).tolist():
            y = y0 + (len(grid) - 1 - row if y_up else row)
            said = {"lot": lot, "wafer": wafer, "x": str(x0 + col), "y": str(y), "bin": bins[grid[row, col] - 1]}
            lines.append(mark.join(said[role] for role in names))
    return (end.join(lines) + end).encode()
