"""Wafer maps as a table of dies, or one as a grid. Needs numpy and the standard library alone."""

from collections.abc import Iterable, Iterator

import numpy as np

from wafer_tf.dies import Die
from wafer_tf.formats.csv_cells import csv_line
from wafer_tf.formats.wafer_map import WaferMap

COLUMNS = ("lot", "wafer", "product", "step", "time", "x", "y", "result")


def table_lines(wafers: Iterable[WaferMap]) -> Iterator[str]:
    r"""Give a CSV file's lines: a header, then each wafer's dies, row by row, as PASS or FAIL.

    x and y are those of the tool, turned so that the notch is down, y growing downward; from 0 where it gives none.
    `formats.die_table` reads the same maps back.

    Examples:
        >>> grid = np.array([[0, 1, 0], [1, 2, 1], [0, 1, 0]], np.uint8)
        >>> "".join(table_lines([WaferMap(grid=grid, lot="L7", wafer="3", corner=(-1, 4))])).split("\n")[:3]
        ['lot,wafer,product,step,time,x,y,result', 'L7,3,,,,5,-1,PASS', 'L7,3,,,,4,0,PASS']
    """
    yield csv_line(COLUMNS)
    for wafer in wafers:
        top, left = wafer.corner or (0, 0)
        before = csv_line([wafer.lot, wafer.wafer, wafer.product, wafer.step, wafer.time]).removesuffix("\n")
        for row, states in enumerate(wafer.grid, top):
            for col in np.flatnonzero(states).tolist():
                yield f"{before},{left + col},{row},{'PASS' if states[col] == Die.PASS else 'FAIL'}\n"


def grid_lines(wafer: WaferMap) -> Iterator[str]:
    """Give the lines of a grid, the die states of a row on each, commas between them."""
    for row in wafer.grid.tolist():
        yield ",".join(map(str, row)) + "\n"
