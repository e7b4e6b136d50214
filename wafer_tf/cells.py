"""Room for the cells of many maps: in memory, or beyond a size in a file on disk, of which memory holds what it can."""

import os
import tempfile

import numpy as np
from numpy.typing import NDArray

MOST_IN_MEMORY = 256 << 20
"""Cells, a byte each, up to which maps are simply held in memory."""


def empty_cells(cells: int) -> NDArray[np.uint8]:
    """Return (cells,) uint8 to be filled.

    What is larger than MOST_IN_MEMORY lies in a file without a name in the folder for temporary files (TMPDIR), which
    ends with the array. Its pages count as the disk's cache: a set larger than memory can be worked on, and one that
    fits is as fast. Where the disk has no room for it, it is held in memory after all.

    Examples:
        >>> empty_cells(1 << 20).shape
        (1048576,)
    """
    if cells > MOST_IN_MEMORY:
        try:
            with tempfile.TemporaryFile(prefix="wafer_tf-") as file:
                os.posix_fallocate(file.fileno(), 0, cells)  # else a disk that fills up ends the process
                return np.asarray(np.memmap(file, np.uint8, "r+", shape=(cells,)))
        except OSError:
            pass
    return np.empty(cells, np.uint8)
