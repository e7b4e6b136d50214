"""A folder of class-named folders, each with one grid per file, .npy, .csv or .txt; and a single such file."""

import math
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wafer_tf.dies import CLASSES, UNLABELLED
from wafer_tf.errors import InputError
from wafer_tf.formats.grids import MAX_BYTES, MAX_HEADER, npy_grid, npy_header, text_grid
from wafer_tf.readers.class_names import class_code
from wafer_tf.readers.source import BATCH_ROWS, Source
from wafer_tf.waferset import WaferSet

SUFFIXES = (".npy", ".csv", ".txt")


def open_folder(path: str | os.PathLike[str]) -> Source:
    """Open a folder of class-named folders of grids, in the order of the names.

    Raises:
        InputError: no class folder, an unknown one, a file that is no grid.
    """
    path = Path(path)
    folders = sorted(entry for entry in path.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    files: list[tuple[Path, int]] = []
    for folder in folders:
        code = class_code(folder.name, f"{folder}")
        for grid in sorted(f for f in folder.iterdir() if not f.name.startswith(".")):
            if not grid.is_file():
                raise InputError(
                    f"{grid}: no file (a folder, a broken link or a pipe); expected one grid file per wafer, all "
                    "directly in their class folder."
                )
            if grid.suffix.lower() not in SUFFIXES:
                raise InputError(f"{grid}: not a grid file; expected {', '.join(SUFFIXES)} in a class folder.")
            files.append((grid, code))
    if not files:
        raise InputError(
            f"{path}: not a wafer file: a folder without grids; expected folders named "
            f"{', '.join(CLASSES)}, with one {', '.join(SUFFIXES)} file per wafer."
        )
    cells = sum(math.prod(_shape(grid)) for grid, _ in files)

    def batches() -> Iterator[WaferSet]:
        for first in range(0, len(files), BATCH_ROWS):
            part = files[first : first + BATCH_ROWS]
            yield WaferSet.from_maps([read_grid(grid) for grid, _ in part], label=[code for _, code in part])

    return Source(path, "folder of grids", len(files), cells, batches)


def open_grid(path: str | os.PathLike[str]) -> Source:
    """Open a single grid file as a set of one wafer of which nothing is known.

    Raises:
        InputError: no such grid in it.
    """
    grid = read_grid(path)
    return Source(Path(path), "grid", 1, grid.size, lambda: [WaferSet.from_maps([grid], label=[UNLABELLED])])


def read_grid(path: str | os.PathLike[str]) -> NDArray[np.uint8]:
    """Read one wafer map, (rows, cols) uint8, from a .npy, .csv or .txt file; see `wafer_tf.formats.grids`.

    Raises:
        InputError: no such grid in it.
    """
    path = Path(path)
    with path.open("rb") as stream:
        data = stream.read(MAX_BYTES + 1)
    return npy_grid(data, str(path)) if _is_npy(path) else text_grid(data, str(path))


def _shape(path: Path) -> tuple[int, int]:
    """Return a grid's shape without reading its cells where the format allows."""
    if not _is_npy(path):
        rows, cols = read_grid(path).shape
        return rows, cols
    with path.open("rb") as stream:
        return npy_header(stream.read(MAX_HEADER), str(path)).shape


def _is_npy(path: Path) -> bool:
    return path.suffix.lower() == ".npy"
