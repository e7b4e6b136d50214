"""A folder of class-named folders, each with one grid per file: .npy, .csv or .txt."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wafer_tf.dies import CLASSES, MAX_SIDE, MIN_SIDE, check_map
from wafer_tf.errors import InputError
from wafer_tf.readers.npyheader import read_header
from wafer_tf.readers.source import BATCH_ROWS, Source, bad_sides, class_code
from wafer_tf.waferset import WaferSet

SUFFIXES = (".npy", ".csv", ".txt")
MAX_TEXT_BYTES = 4 * MAX_SIDE * MAX_SIDE * 4
"""A grid of 300 x 300 written as '2.00, ' takes less."""
SEPARATORS = (";", ",", "\t")
NUMBER = re.compile(r"[0-9]+(\.[0-9]*)?")


def open_folder(path: Path) -> Source:
    """Open a folder of class-named folders of grids, in the order of the names.

    Raises:
        InputError: no class folder, an unknown one, a file that is no grid.
    """
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
    cells = sum(int(np.prod(_shape(grid))) for grid, _ in files)

    def batches() -> Iterator[WaferSet]:
        for first in range(0, len(files), BATCH_ROWS):
            part = files[first : first + BATCH_ROWS]
            yield WaferSet.from_maps([read_grid(grid) for grid, _ in part], label=[code for _, code in part])

    return Source(path, "folder of grids", len(files), cells, batches)


def read_grid(path: Path) -> NDArray[np.uint8]:
    """Read one wafer map, (rows, cols) uint8, from a .npy, .csv or .txt file.

    Text holds one row of dies per line, cells parted by commas, semicolons, tabs or blanks.

    Raises:
        InputError: no such grid in it.
    """
    if path.suffix.lower() == ".npy":
        _shape(path)
        try:
            grid: NDArray[Any] = np.load(path, allow_pickle=False)
        except (ValueError, EOFError, OSError) as error:
            raise InputError(f"{path}: truncated npy file ({error}).") from error
        return check_map(grid, str(path))
    return check_map(_text_grid(path), str(path))


def _shape(path: Path) -> tuple[int, ...]:
    """Return a grid's shape without reading its cells where the format allows."""
    if path.suffix.lower() != ".npy":
        return _text_grid(path).shape
    with path.open("rb") as stream:
        try:
            shape, dtype = read_header(stream)
        except ValueError as error:
            raise InputError(f"{path}: not a wafer file: no npy header ({error}).") from error
    if len(shape) != 2 or not all(MIN_SIDE <= side <= MAX_SIDE for side in shape):
        raise bad_sides(str(path), shape)
    if dtype.hasobject:
        raise InputError(f"{path}: holds pickled objects, which are not read; expected whole numbers 0, 1 or 2.")
    return shape


def _text_grid(path: Path) -> NDArray[Any]:
    size = path.stat().st_size
    if size > MAX_TEXT_BYTES:
        raise InputError(f"{path}: {size} bytes; expected a grid of at most {MAX_SIDE} x {MAX_SIDE} cells.")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not a text file ({error.reason} at byte {error.start}).") from error
    lines = [_cells(line) for line in text.splitlines() if line.strip()]
    for number, line in enumerate(lines):
        if len(line) != len(lines[0]):
            raise InputError(f"{path}: row {number} has {len(line)} cells, row 0 has {len(lines[0])}; expected a grid.")
        for column, cell in enumerate(line):
            if not NUMBER.fullmatch(cell):
                raise InputError(
                    f"{path}: {cell[:20]!r} at row {number}, column {column}; expected 0, 1 or 2. "
                    "Save the grid without header line and row names."
                )
    return np.array(lines, dtype=np.float64).reshape(len(lines), len(lines[0]) if lines else 0)


def _cells(line: str) -> list[str]:
    """Return the cells of a line, an empty one where two separators meet; one separator at the end ends the line."""
    separator = next((mark for mark in SEPARATORS if mark in line), None)
    cells = [cell.strip() for cell in line.split(separator)]
    return cells[:-1] if separator and not cells[-1] else cells
