"""Files of a fab's tools as a set: every format of `wafer_tf.formats`, and those that need more than numpy."""

import io
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np

from wafer_tf.dies import UNLABELLED
from wafer_tf.errors import InputError
from wafer_tf.formats.archive import is_workbook
from wafer_tf.formats.opened import Opened
from wafer_tf.formats.options import Options
from wafer_tf.formats.read import read_maps
from wafer_tf.formats.recognise import PICTURES
from wafer_tf.formats.wafer_map import MapFile, WaferMap
from wafer_tf.readers.parquet import is_table_of_dies
from wafer_tf.readers.source import BATCH_ROWS, Source
from wafer_tf.waferset import WaferSet

MAX_INDEX = 2**31
_SHOWN = 5


class NamedBytes(io.BytesIO):
    """A file in memory that the readers, who print the path of what they read, call by its name."""

    def __init__(self, data: bytes, name: str) -> None:
        super().__init__(data)
        self._name = name

    def __str__(self) -> str:
        return self._name


def open_tool_file(path: str | os.PathLike[str], options: Options) -> Source:
    """Read a file of a tool as a set of wafers without labels.

    Raises:
        InputError: not a file of wafer maps, damaged, or with a wafer that cannot be read.
    """
    path = Path(path)
    kind, maps = wafers_of_file(path, options)
    cells = sum(wafer.grid.size for wafer in maps)

    def batches() -> Iterator[WaferSet]:
        for first in range(0, len(maps), BATCH_ROWS):
            part = maps[first : first + BATCH_ROWS]
            yield set_of(part, [UNLABELLED] * len(part))

    return Source(path, kind, len(maps), cells, batches, notes=notes_of(maps))


def wafers_of_file(path: str | os.PathLike[str], options: Options) -> tuple[str, list[WaferMap]]:
    """Return a file's format, in words, and its wafers.

    Raises:
        InputError: as of `open_tool_file`.
    """
    path = Path(path)
    with path.open("rb") as stream:
        file = _read(stream, path, str(path), options)
        maps = []
        for wafer in file.wafers:
            if isinstance(wafer, InputError):
                raise wafer
            maps.append(wafer)
    if not maps:
        raise InputError(f"{path}: no wafer in it; expected at least one.")
    return f"{file.format} {file.version}".rstrip(), maps


def read_tool_bytes(data: bytes, name: str, options: Options) -> MapFile:
    """Read a file that is in memory, also of the kinds that need more than numpy: workbooks, Parquet files, pictures.

    Raises:
        InputError: as of `open_tool_file`; also from the wafers' iterator.
    """
    return _read(io.BytesIO(data), NamedBytes(data, name), name, options)


def _read(stream: BinaryIO, path: Path | io.BytesIO, name: str, options: Options) -> MapFile:
    start = stream.read(8)
    stream.seek(0)
    if start.startswith(b"PAR1"):
        from wafer_tf.readers.excel import read_parquet_dies

        if not is_table_of_dies(path):
            raise InputError(f"{name}: a wafer set; expected a file of a tool. A set of maps goes to --data.")
        return read_parquet_dies(path, options)
    if start.startswith(b"PK\x03\x04") and is_workbook(stream):
        from wafer_tf.readers.excel import read_excel

        stream.seek(0)
        return read_excel(Opened(stream, name).whole(), options, name=name)
    stream.seek(0)
    if start.startswith(PICTURES):
        from wafer_tf.readers.picture import read_picture

        return read_picture(Opened(stream, name).whole(), name, options)
    return read_maps(stream, name, options)


def set_of(maps: Sequence[WaferMap], label: Sequence[int]) -> WaferSet:
    """Return wafers of files as a set, each with its (n,) label, a place in CLASSES or UNLABELLED."""
    return WaferSet.from_maps(
        [wafer.grid for wafer in maps],
        label=label,
        lot=[wafer.lot for wafer in maps],
        wafer_index=np.array([_index(wafer.wafer) for wafer in maps], np.int32),
        wafer_id=["" if str(_index(wafer.wafer)) == wafer.wafer else wafer.wafer for wafer in maps],
        product=[wafer.product for wafer in maps],
        step=[wafer.step for wafer in maps],
        time=[wafer.time for wafer in maps],
    )


def notes_of(maps: Sequence[WaferMap]) -> tuple[str, ...]:
    """Return what was assumed and what is odd, each sentence once, with how many wafers it is said of."""
    said = Counter(note for wafer in maps for note in (*wafer.warnings, *wafer.assumed))
    notes = [note if count == 1 else f"{note} ({count} wafers)" for note, count in said.most_common(_SHOWN)]
    left = len(said) - len(notes)
    return (*notes, f"and {left} more such notes; see wafer-tf inspect") if left else tuple(notes)


def _index(wafer: str) -> int:
    """Return a wafer's place in its lot, where its name says no more than that; 0 where it says something else."""
    return int(wafer) if wafer.isascii() and wafer.isdigit() and int(wafer) < MAX_INDEX else 0
