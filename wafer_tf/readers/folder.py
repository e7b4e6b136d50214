"""A folder of grids, one .npy, .csv or .txt file a wafer, in class folders, lots or neither; and a single grid."""

import math
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from wafer_tf.arrays import MAX_TEXT
from wafer_tf.dies import CLASSES, NONE, UNLABELLED, Die
from wafer_tf.errors import InputError
from wafer_tf.formats.grids import MAX_BYTES, MAX_HEADER, npy_grid, npy_header, text_grid
from wafer_tf.readers.class_names import class_code, is_class_name, is_class_number, spelling_notes
from wafer_tf.readers.source import BATCH_ROWS, Source
from wafer_tf.waferset import WaferSet

SUFFIXES = (".npy", ".csv", ".txt")
_SHOWN = 5


class _Placed(NamedTuple):
    """A grid file and what its folders say of it."""

    path: Path
    code: int
    lot: str
    wafer: str


def open_folder(path: str | os.PathLike[str]) -> Source:
    """Open a folder of grids, in the order of the names.

    Where a folder in it is named as a class, in any spelling, all must be, and the wafers have these labels; folders in
    a class folder are lots. Where none is, the wafers have no label, and folders are lots.

    Raises:
        InputError: no grid; a folder that is no class beside one that is, or numbered as a class; folders deeper than
            two levels; a file that is no grid; a class of defects without a failing die.
    """
    path = Path(path)
    folders, grids, others = _entries(path)
    notes: list[str] = []
    if any(is_class_name(folder.name) for folder in folders):
        others += grids
        files = [placed for folder in folders for placed in _in_class(folder)]
        notes += spelling_notes([folder.name for folder in folders], "class folder")
    else:
        files = [_Placed(grid, UNLABELLED, "", _text(grid.stem)) for grid in grids]
        for folder in folders:
            files += _in_lot(folder)
        named = f"; none of its {len(folders)} folders is named as a class, so they are read as lots" if folders else ""
        notes.append(f"no labels{named}")
    if not files:
        raise InputError(
            f"{path}: not a wafer file: a folder without grids; expected one {', '.join(SUFFIXES)} file per wafer, in "
            f"folders named {', '.join(CLASSES)} where they are labelled."
        )
    if others:
        shown = ", ".join(_text(other.name) for other in others[:_SHOWN]) + ", ..." * (len(others) > _SHOWN)
        notes.append(f"not read, for they lie beside the folders or are no grids: {shown}")
    _check_failing(files)
    cells = sum(math.prod(_shape(placed.path)) for placed in files)

    def batches() -> Iterator[WaferSet]:
        for first in range(0, len(files), BATCH_ROWS):
            part = files[first : first + BATCH_ROWS]
            yield WaferSet.from_maps(
                [read_grid(placed.path) for placed in part],
                label=[placed.code for placed in part],
                lot=[placed.lot for placed in part],
                wafer_id=[placed.wafer for placed in part],
            )

    return Source(path, "folder of grids", len(files), cells, batches, notes=tuple(notes))


def _entries(folder: Path) -> tuple[list[Path], list[Path], list[Path]]:
    """Return the folders, the grid files and what else lies in a folder, each in the order of the names."""
    shown = sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    folders = [entry for entry in shown if entry.is_dir()]
    files = [entry for entry in shown if not entry.is_dir()]
    grids = [entry for entry in files if entry.suffix.lower() in SUFFIXES]
    for grid in grids:
        if not grid.is_file():
            raise InputError(f"{grid}: no file (a broken link or a pipe); expected one grid file per wafer.")
    return folders, grids, [entry for entry in files if entry.suffix.lower() not in SUFFIXES]


def _in_class(folder: Path) -> list[_Placed]:
    """Return the wafers of a class folder, which may hold folders of lots."""
    code = class_code(folder.name, f"{folder}")
    lots, grids, others = _entries(folder)
    _refuse(others)
    files = [_Placed(grid, code, "", _text(grid.stem)) for grid in grids]
    for lot in lots:
        files += [_Placed(grid, code, _text(lot.name), _text(grid.stem)) for grid in _last(lot)]
    return files


def _in_lot(folder: Path) -> list[_Placed]:
    """Return the wafers of a lot's folder, which may hold folders of wafers."""
    if is_class_number(folder.name):
        raise InputError(
            f"{folder}: which class it is, its number does not say: sets number them in different orders. Rename the "
            f"folders to {', '.join(CLASSES)}."
        )
    wafers, grids, others = _entries(folder)
    _refuse(others)
    files = [_Placed(grid, UNLABELLED, _text(folder.name), _text(grid.stem)) for grid in grids]
    for wafer in wafers:
        if is_class_name(wafer.name):
            raise InputError(f"{wafer}: a class folder within {folder.name}; give {folder} as the set, by itself.")
        files += [
            _Placed(grid, UNLABELLED, _text(folder.name), _text(f"{wafer.name}/{grid.stem}")) for grid in _last(wafer)
        ]
    return files


def _last(folder: Path) -> list[Path]:
    """Return the grids of a folder that is not to hold further ones."""
    deeper, grids, others = _entries(folder)
    _refuse(others)
    if deeper:
        raise InputError(f"{deeper[0]}: a folder three levels down; expected at most two, as in class/lot/wafer.csv.")
    if not grids:
        raise InputError(f"{folder}: no file in it; expected one grid file per wafer.")
    return grids


def _refuse(others: Sequence[Path]) -> None:
    if others:
        raise InputError(f"{others[0]}: not a grid file; expected {', '.join(SUFFIXES)}, one per wafer.")


def _check_failing(files: Sequence[_Placed]) -> None:
    """Refuse a class of defects in which no die fails: maps of 0 and 1 would be learned as patterns of nothing."""
    classes: dict[int, list[Path]] = {}
    for placed in files:
        if placed.code not in (UNLABELLED, NONE):
            classes.setdefault(placed.code, []).append(placed.path)
    for code, paths in classes.items():
        if not any((read_grid(path) == Die.FAIL).any() for path in paths):
            raise InputError(
                f"{paths[0].parent}: class {CLASSES[code]}, and none of its {len(paths)} maps holds a failing die (2); "
                "expected 0 no die, 1 pass, 2 fail. If the maps are coded in another way, say how with --states (no "
                "die, pass, fail), as in --states ,0,1; or write them anew."
            )


def _text(name: str) -> str:
    """Return a file's name as text that any file can hold."""
    return os.fsencode(name).decode("utf-8", "replace")[:MAX_TEXT]


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
