"""A folder of SEMI E142 files, one per judged wafer, with the call in it. Needs numpy alone."""

import os
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from edge.station.records import OK, Record
from wafer_tf.errors import InputError, UsageError
from wafer_tf.formats.e142_writer import write_e142
from wafer_tf.formats.read import read_maps
from wafer_tf.formats.wafer_map import WaferMap
from wafer_tf.pattern_bits import JOINED_BY
from wafer_tf.whole_files import MAX_NAME, write_whole

_UNSAFE = re.compile(r"[^\w.+-]+")
_MAX_STEM = MAX_NAME - 60
"""Bytes of a name before its number and ending; a file in the making has a longer one."""
_MAX_SAME = 1000
"""Files of other wafers that may have a wafer's name."""


class E142Folder:
    """Where E142 files go, each called LOT_WAFER.xml; a wafer that is not named is called as the file of its map.

    No file of another wafer is ever replaced: the name then ends in _2, _3 and so on.
    """

    def __init__(self, path: str | os.PathLike[str], *, overwrite: bool = False, latest: bool = False) -> None:
        """Make the folder if it is not there.

        Args:
            path: of the folder; the one it is in must be there.
            overwrite: a file of the same wafer that was there before is replaced.
            latest: a wafer that is judged again replaces its own file; else its name ends in _2.

        Raises:
            UsageError: it cannot be made.
        """
        self._path, self._overwrite, self._latest = Path(path), overwrite, latest
        self._mine: set[Path] = set()
        try:
            self._path.mkdir(exist_ok=True)
        except OSError as error:
            raise UsageError(f"--e142 {path}: no folder can be made there ({error.strerror}).") from error

    def write(self, wafer: WaferMap | InputError, record: Record) -> Path | None:
        """Write the file of a wafer that was judged; return its path, None for one that was not.

        Raises:
            InputError: the wafer has its file already, and that may not be replaced.
            OSError: it cannot be written.
        """
        if isinstance(wafer, InputError) or record["status"] != OK:
            return None
        named = wafer if wafer.wafer else replace(wafer, wafer=_stem(record))
        call = {
            "class": record["label"],
            "confidence": f"{record['probabilities'][record['label']]:.6f}",
            "decision": record["decision"],
            "bundle_sha256": record["bundle_sha256"],
        }
        if record.get("patterns"):
            call["patterns"] = JOINED_BY.join(record["patterns"])
        path = self._place(named, record)
        write_whole(path, write_e142(named, call=call))
        self._mine.add(path)
        return path

    def _place(self, wafer: WaferMap, record: Record) -> Path:
        stem = safe_name("_".join(filter(None, (wafer.lot.strip(), wafer.wafer.strip()))))
        for path in self._names(stem):
            if not path.exists():
                return path
            if not _is_of(path, wafer):
                continue
            if self._latest or (self._overwrite and path not in self._mine):
                return path
            if path not in self._mine:
                raise InputError(f"{path}: is there already, of the same wafer; not replaced without --overwrite.")
        raise InputError(f"--e142 {self._path}: over {_MAX_SAME} files are called {stem}; choose another folder.")

    def _names(self, stem: str) -> Iterator[Path]:
        yield self._path / f"{stem}.xml"
        for number in range(2, _MAX_SAME + 1):
            yield self._path / f"{stem}_{number}.xml"


def safe_name(text: str) -> str:
    """Return a text as the stem of a file's name on every system: letters, digits and _ . + -, no dot in front.

    Examples:
        >>> safe_name("../LOT 7:A/03"), safe_name("CON"), safe_name("")
        ('_LOT_7_A_03', 'CON_', 'wafer')
    """
    name = _UNSAFE.sub("_", text).strip(".")
    name = name.encode()[:_MAX_STEM].decode(errors="ignore") or "wafer"
    return f"{name}_" if re.fullmatch(r"(?i)(con|prn|aux|nul|com\d|lpt\d)(\..*)?", name) else name


def _stem(record: Record) -> str:
    """Return what to call a wafer whose lot or wafer is not known: by its file, and its place in it."""
    file = str(record["file"] or record["id"])
    stem = file.replace("\\", "/").rpartition("/")[2].partition(".")[0] or "wafer"
    return stem if record["id"] == file else f"{stem}_{record['map']}"


def _is_of(path: Path, wafer: WaferMap) -> bool:
    """Whether a file is an E142 file of this wafer; of one whose lot is not known, also of this map."""
    try:
        with path.open("rb") as file:
            there = next(read_maps(file, path.name).wafers)
    except (InputError, StopIteration):
        return False
    if isinstance(there, InputError) or (there.lot, there.wafer) != (wafer.lot.strip(), wafer.wafer.strip()):
        return False
    return bool(wafer.lot) or np.array_equal(there.grid, wafer.grid)
