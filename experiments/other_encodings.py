"""Run training.fit with an encoding that was weighed against `wafer_tf.encoding` and lost.

    python -m experiments.other_encodings nearest --data MAPS ...

nearest: every plane by nearest neighbour, as most published pipelines resize. area: no `peak` plane.
"""

import sys

import numpy as np
from numpy.typing import NDArray

import wafer_tf.encoding

_encode = wafer_tf.encoding.encode


def nearest(grid: NDArray[np.uint8], size: int = wafer_tf.encoding.INPUT_SIZE) -> NDArray[np.uint8]:
    """Sample the die at each cell's centre."""
    rows, cols = grid.shape
    row, col = ((2 * np.arange(size) + 1) * n // (2 * size) for n in (rows, cols))
    cells = grid[np.ix_(row, col)]
    return np.stack([cells != 0, cells == 2, cells == 2], axis=-1).astype(np.uint8) * np.uint8(255)


def area(grid: NDArray[np.uint8], size: int = wafer_tf.encoding.INPUT_SIZE) -> NDArray[np.uint8]:
    """Keep shares of area alone; the third plane repeats the second, so that the network is the same."""
    return _encode(grid, size)[..., [0, 1, 1]]


if __name__ == "__main__":
    wafer_tf.encoding.encode = {"nearest": nearest, "area": area}[sys.argv[1]]
    from training.fit import main

    sys.exit(main(sys.argv[2:]))
