"""A folder of files of maps, in class folders, lots or neither."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from wafer_tf.arrays import MAX_TEXT
from wafer_tf.dies import CLASSES, NONE, UNLABELLED, Die
from wafer_tf.errors import InputError
from wafer_tf.formats.options import DEFAULT, Options
from wafer_tf.formats.wafer_map import WaferMap
from wafer_tf.readers.class_names import class_code, is_class_name, is_class_number, spelling_notes
from wafer_tf.readers.source import BATCH_ROWS, Source
from wafer_tf.readers.tool_files import notes_of, set_of, wafers_of_file
from wafer_tf.waferset import WaferSet

_SHOWN = 5
_NO_MAPS = (".md", ".rst", ".html", ".pdf", ".json", ".toml", ".py", ".log")
"""Endings of what people lay beside maps."""
_ABOUT = ("readme", "licence", "license", "notice", "changelog")


class _Placed(NamedTuple):
    """A file and what its folders say of its wafers."""

    path: Path
    code: int
    lot: str
    wafer: str


class _Read(NamedTuple):
    """A wafer with its label, and the folder it lies in."""

    wafer: WaferMap
    code: int
    folder: Path


def open_folder(path: str | os.PathLike[str], options: Options = DEFAULT, *, progress: bool = False) -> Source:
    """Open a folder of files of maps, in the order of the names; all are read at once.

    Where a folder in it is named as a class, in any spelling, all must be, and the wafers have these labels; folders in
    a class folder are lots. Where none is, the wafers have no label, and folders are lots. A lot or a wafer that a file
    names itself comes before the folder's and the file's name.

    Raises:
        InputError: no map; a folder that is no class beside one that is, or numbered as a class; folders deeper than
            two levels; a file that is no map; a class of defects without a failing die.
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
            f"{path}: not a wafer file: a folder without maps; expected files of wafers, in folders named "
            f"{', '.join(CLASSES)} where they are labelled."
        )
    if others:
        shown = ", ".join(_text(other.name) for other in others[:_SHOWN]) + ", ..." * (len(others) > _SHOWN)
        notes.append(f"not read, for they lie beside the folders or are no maps: {shown}")
    found = list(_read(files, options, progress=progress))
    _check_failing(found)
    notes += notes_of([each.wafer for each in found])

    def batches() -> Iterator[WaferSet]:
        for first in range(0, len(found), BATCH_ROWS):
            part = found[first : first + BATCH_ROWS]
            yield set_of([each.wafer for each in part], [each.code for each in part])

    cells = sum(each.wafer.grid.size for each in found)
    return Source(path, "folder of maps", len(found), cells, batches, notes=tuple(notes))


def _read(files: Sequence[_Placed], options: Options, *, progress: bool) -> Iterator[_Read]:
    from tqdm import tqdm

    for placed in tqdm(files, desc="reading files", unit="file", disable=not progress or len(files) < 100):
        _, maps = wafers_of_file(placed.path, options)
        for wafer in maps:
            name = wafer.wafer or (placed.wafer if len(maps) == 1 else "")
            yield _Read(replace(wafer, lot=wafer.lot or placed.lot, wafer=name), placed.code, placed.path.parent)


def _entries(folder: Path) -> tuple[list[Path], list[Path], list[Path]]:
    """Return the folders, the files and what is no file of maps in a folder, each in the order of the names."""
    shown = sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    folders = [entry for entry in shown if entry.is_dir()]
    files = [entry for entry in shown if not entry.is_dir()]
    for file in files:
        if not file.is_file():
            raise InputError(f"{file}: no file (a broken link or a pipe); expected files of wafer maps.")
    about = [file for file in files if file.suffix.lower() in _NO_MAPS or file.stem.lower() in _ABOUT]
    return folders, [file for file in files if file not in about], about


def _in_class(folder: Path) -> list[_Placed]:
    """Return the files of a class folder, which may hold folders of lots."""
    code = class_code(folder.name, f"{folder}")
    lots, grids, _ = _entries(folder)
    files = [_Placed(grid, code, "", _text(grid.stem)) for grid in grids]
    for lot in lots:
        files += [_Placed(grid, code, _text(lot.name), _text(grid.stem)) for grid in _last(lot)]
    return files


def _in_lot(folder: Path) -> list[_Placed]:
    """Return the files of a lot's folder, which may hold folders of wafers."""
    if is_class_number(folder.name):
        raise InputError(
            f"{folder}: which class it is, its number does not say: sets number them in different orders. Rename the "
            f"folders to {', '.join(CLASSES)}."
        )
    wafers, grids, _ = _entries(folder)
    files = [_Placed(grid, UNLABELLED, _text(folder.name), _text(grid.stem)) for grid in grids]
    for wafer in wafers:
        if is_class_name(wafer.name):
            raise InputError(f"{wafer}: a class folder within {folder.name}; give {folder} as the set, by itself.")
        files += [
            _Placed(grid, UNLABELLED, _text(folder.name), _text(f"{wafer.name}/{grid.stem}")) for grid in _last(wafer)
        ]
    return files


def _last(folder: Path) -> list[Path]:
    """Return the files of a folder that is not to hold further ones."""
    deeper, grids, _ = _entries(folder)
    if deeper:
        raise InputError(f"{deeper[0]}: a folder three levels down; expected at most two, as in class/lot/wafer.csv.")
    if not grids:
        raise InputError(f"{folder}: no file in it; expected files of wafer maps.")
    return grids


def _check_failing(found: Sequence[_Read]) -> None:
    """Refuse a class of defects in which no die fails: maps of 0 and 1 would be learned as patterns of nothing."""
    fails: dict[int, bool] = {}
    for each in found:
        if each.code not in (UNLABELLED, NONE):
            fails[each.code] = fails.get(each.code, False) or bool((each.wafer.grid == Die.FAIL).any())
    for each in found:
        if fails.get(each.code) is False:
            raise InputError(
                f"{each.folder}: class {CLASSES[each.code]}, and none of its maps holds a failing die (2); expected 0 "
                "no die, 1 pass, 2 fail. If the maps are coded in another way, say how with --states (no die, pass, "
                "fail), as in --states ,0,1; or write them anew."
            )


def _text(name: str) -> str:
    """Return a file's name as text that any file can hold."""
    return os.fsencode(name).decode("utf-8", "replace")[:MAX_TEXT]
