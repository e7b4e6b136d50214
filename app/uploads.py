"""Wafer maps from uploaded files, read from memory, each file and map within limits."""

import io
import zipfile
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from app.answers import Wafer
from edge.station.inputs import wafer_name
from wafer_tf.arrays import DAMAGED, WAFER_SET
from wafer_tf.errors import InputError
from wafer_tf.formats.options import DEFAULT, Options
from wafer_tf.readers.npz import open_npz
from wafer_tf.readers.parquet import open_parquet
from wafer_tf.readers.source import Source
from wafer_tf.readers.tool_files import read_tool_bytes

MAX_BYTES = 8 * 2**20
"""Largest file; .streamlit/config.toml holds the same in MB."""
MAX_FILES = 500
MAX_MAPS = 2000
MAX_CELLS = 32 * 2**20
"""Cells that the maps of one file may have in all: one byte each once read."""
MAX_NAME = 80


@dataclass(frozen=True)
class Rejected:
    """A file or map that cannot be judged.

    Attributes:
        name: what the user knows it by.
        reason: what is wrong with it, in the readers' words.
    """

    name: str
    reason: str


class _NamedBytes(io.BytesIO):
    """A file in memory that the readers, who print the path of what they read, call by its name."""

    def __init__(self, data: bytes, name: str) -> None:
        super().__init__(data)
        self._name = name

    def __str__(self) -> str:
        return self._name


def read_uploads(files: Iterable[tuple[str, bytes]], options: Options = DEFAULT) -> list[Wafer | Rejected]:
    """Read uploaded files in order; what cannot be read is given as such, not raised.

    Args:
        files: (name, contents) each, in any format of `wafer_tf.readers`, told by content.
        options: what the files do not say.

    Returns:
        At most MAX_MAPS wafers, and what was rejected or left out, in the order of the files.
    """
    found: list[Wafer | Rejected] = []
    left = MAX_MAPS
    for number, (name, data) in enumerate(files):
        shown = name if len(name) <= MAX_NAME else f"{name[:MAX_NAME]}..."
        if number == MAX_FILES:
            found.append(Rejected(shown, f"left out, with all after it: expected at most {MAX_FILES} files at a time."))
            break
        read = _read(shown, data, options, limit=left)
        left -= sum(isinstance(item, Wafer) for item in read)
        found += read
    return found


def _read(name: str, data: bytes, options: Options, *, limit: int) -> list[Wafer | Rejected]:
    """Read one file with at most `limit` maps."""
    if len(data) > MAX_BYTES:
        return [Rejected(name, f"{len(data) / 2**20:.1f} MB; expected at most {MAX_BYTES / 2**20:.0f} MB.")]
    try:
        if data.startswith(b"PAR1") and _is_wafer_table(data):
            _check_rows(data, name)
            with open_parquet(cast(Path, _NamedBytes(data, name))) as source:
                return _collected(source, name, limit=limit)
        if data.startswith(b"PK") and _is_wafer_set(data, name):
            with open_npz(cast(Path, _NamedBytes(data, name))) as source:
                return _collected(source, name, limit=limit)
        return _of_tool(name, data, options, limit=limit)
    except InputError as error:
        return [Rejected(name, str(error))]
    except MemoryError:
        return [Rejected(name, "not enough memory to read it.")]


def _of_tool(name: str, data: bytes, options: Options, *, limit: int) -> list[Wafer | Rejected]:
    """Read a file of a tool, a table of dies, a workbook or a picture."""
    found: list[Wafer | Rejected] = []
    cells = 0
    for number, wafer in enumerate(read_tool_bytes(data, name, options).wafers):
        if isinstance(wafer, InputError):
            found.append(Rejected(wafer_name(getattr(wafer, "lot", ""), getattr(wafer, "wafer", ""), name), str(wafer)))
            continue
        cells += wafer.grid.size
        if len(found) >= limit or cells > MAX_CELLS:
            found.append(_too_many(name, number + 1))
            break
        known = wafer_name(wafer.lot, wafer.wafer, wafer.wafer)[:MAX_NAME]
        found.append(Wafer(known or (name if number == 0 else f"{name}:{number}"), wafer.grid, said=wafer))
    return found or [Rejected(name, "no wafer in it.")]


def _collected(source: Source, name: str, *, limit: int) -> list[Wafer | Rejected]:
    if source.rows > limit:
        return [_too_many(name, source.rows)]
    if source.cells > MAX_CELLS:
        return [Rejected(name, f"{source.cells:,} cells in all; expected at most {MAX_CELLS:,}. Split the file.")]
    wafers = source.collect()
    known = [
        f"{lot}/{index}" if lot and index else "" for lot, index in zip(wafers.lot, wafers.wafer_index, strict=True)
    ]
    return [
        Wafer(known[i][:MAX_NAME] or f"{name}:{i}", wafers.map(i), int(wafers.label[i])) for i in range(len(wafers))
    ]


def _too_many(name: str, maps: int) -> Rejected:
    return Rejected(
        name,
        f"left out: {maps:,} maps, more than fit; expected at most {MAX_MAPS:,} in all. "
        "For larger sets: python -m edge.classify",
    )


def _is_wafer_table(data: bytes) -> bool:
    """Whether a Parquet file is a wafer set rather than a table of dies; of a damaged one, its reader says so."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return bool({"dies", "rows", "cols"}.intersection(pq.read_schema(io.BytesIO(data)).names))
    except (pa.ArrowException, OSError, UnicodeDecodeError):
        return True


def _check_rows(data: bytes, name: str) -> None:
    """Refuse a Parquet file of more wafers than any set may have, before its columns are read."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with suppress(pa.ArrowException, OSError, UnicodeDecodeError):  # the reader says what is wrong with a damaged one
        rows = pq.read_metadata(io.BytesIO(data)).num_rows
        if rows > 100 * MAX_MAPS:
            raise InputError(f"{rows:,} wafers; expected at most {MAX_MAPS:,}. Split the file.")


def _is_wafer_set(data: bytes, name: str) -> bool:
    """Whether a zip archive holds the columns of a wafer set.

    Raises:
        InputError: it does, and they would take more memory than a set may.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = archive.infolist()
    except DAMAGED:
        return False
    if not {entry.filename.removesuffix(".npy") for entry in entries}.issuperset(WAFER_SET):
        return False
    size = sum(entry.file_size for entry in entries)
    if size > 2 * MAX_CELLS:
        raise InputError(f"{size:,} bytes unpacked; expected at most {2 * MAX_CELLS:,}. Split the file.")
    return True
