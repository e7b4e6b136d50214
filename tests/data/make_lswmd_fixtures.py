"""Save twelve made-up maps as LSWMD.pkl in both public layouts, with the pandas that runs this.

    python make_lswmd_fixtures.py TAG        # writes old_TAG.pkl, mir_TAG.pkl and rows_TAG.pkl beside this file

Run under Python 2.7 with pandas 0.19 (TAG pandas019), and under pandas 1.0, 1.5, 2.2, 3.1 with and without pyarrow.
"""

# Python 2 runs this too.
# ruff: noqa: PTH100, PTH118, PTH120, UP031, UP036
import os
import sys

import numpy as np
import pandas as pd

CLASSES = ["Center", "Donut", "Edge-Loc", "Edge-Ring", "Loc", "Near-full", "Random", "Scratch", "none"]


def made_up():
    """Return maps, lots, wafer indices, labels and official splits of twelve wafers that no fab has seen."""
    maps = []
    for i in range(12):
        rows, cols = [(5, 7), (6, 6), (17, 18)][i % 3]
        down, across = np.indices((rows, cols))
        grid = 1 + (down * (i + 3) + across * across + i) % 5 // 4
        off_centre = (2 * down - rows + 1) ** 2 * cols**2 + (2 * across - cols + 1) ** 2 * rows**2
        grid[off_centre > 1.1 * (rows * cols) ** 2] = 0
        maps.append(grid.astype(np.uint8))
    lots = ["lot%d" % (1 + i // 4) for i in range(12)]
    index = [float(i % 4 + 1) for i in range(12)]
    labels = CLASSES + [""] * 3
    return maps, lots, index, labels, (["Training", "Test"] * 5)[:9] + [""] * 3


def cells(values):
    column = np.empty(len(values), dtype=object)
    for i, value in enumerate(values):
        column[i] = value
    return column


def nested(text):
    return np.array([[text]]) if text else np.zeros((0, 0))


def tables():
    maps, lots, index, labels, splits = made_up()
    if sys.version_info[0] == 2:
        labels, splits = [label.decode() for label in labels], [split.decode() for split in splits]
    size = [float((grid > 0).sum()) for grid in maps]
    old = pd.DataFrame(
        {
            "waferMap": cells(maps),
            "dieSize": size,
            "lotName": lots,
            "waferIndex": index,
            "trianTestLabel": cells([nested(split) for split in splits]),
            "failureType": cells([nested(label) for label in labels]),
        },
        columns=["waferMap", "dieSize", "lotName", "waferIndex", "trianTestLabel", "failureType"],
    )
    mir = pd.DataFrame(
        {
            "dieSize": size,
            "failureType": cells([label or 0 for label in labels]),
            "lotName": lots,
            "trainTestLabel": cells([split or 0 for split in splits]),
            "waferIndex": index,
            "waferMap": cells(maps),
        }
    )
    rows = old.iloc[[1, 3, 5, 7, 9, 11]][["lotName", "failureType", "waferIndex", "waferMap"]]
    return {"old": old, "mir": mir, "rows": rows}


if __name__ == "__main__":
    here = os.path.dirname(os.path.abspath(__file__))
    for name, table in tables().items():
        table.to_pickle(os.path.join(here, "%s_%s.pkl" % (name, sys.argv[1])))
    print(pd.__version__)
