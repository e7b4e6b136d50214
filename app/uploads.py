"""Wafer maps from uploaded files of any format, read from memory, files and maps within limits."""

import io
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from app.answers import Origin, Wafer
from wafer_tf.arrays import DAMAGED, WAFER_SET, open_zip
from wafer_tf.errors import InputError
from wafer_tf.formats.options import DEFAULT, Options
from wafer_tf.formats.recognise import PICTURES
from wafer_tf.formats.wafer_map import MapFile, WaferMap
from wafer_tf.readers.mixedwm38 import is_stack, open_stack
from wafer_tf.readers.npz import open_npz
from wafer_tf.readers.parquet import is_table_of_dies, open_parquet
from wafer_tf.readers.parquet_pages import check_footer
from wafer_tf.readers.source import Source
from wafer_tf.readers.tool_files import NamedBytes, read_tool_bytes

MAX_BYTES = 8 * 2**20
"""Largest file; .streamlit/config.toml holds the same in MB."""
MAX_ALL_BYTES = 32 * MAX_BYTES
"""Bytes of all files that a session keeps, to read them again when it is said how."""
MAX_FILES = 500
MAX_MAPS = 2000
MAX_CELLS = 32 * 2**20
"""Cells that the maps of a session may have in all: one byte each once read."""
MAX_NAME = 80


@dataclass(frozen=True)
class Rejected:
    """A file or map that cannot be judged.

    Attributes:
        name: what the user knows it by.
        reason: what is wrong with it, in the readers' words.
        picture: the file itself where it is a picture; None where it is none.
    """

    name: str
    reason: str
    picture: bytes | None = None


@dataclass
class _Room:
    """What still fits."""

    maps: int
    cells: int


def read_uploads(files: Iterable[tuple[str, bytes]], options: Options = DEFAULT) -> list[Wafer | Rejected]:
    """Read uploaded files in order; what cannot be read is given as such, not raised.

    Args:
        files: (name, contents) each, of any format that is read, told by content.
        options: what the files do not say.

    Returns:
        At most MAX_MAPS wafers of at most MAX_CELLS cells together, and what was rejected or left out, in the order of
        the files.
    """
    found: list[Wafer | Rejected] = []
    room, size = _Room(MAX_MAPS, MAX_CELLS), 0
    for number, (name, data) in enumerate(files):
        shown = _cut(name)
        if number == MAX_FILES:
            found.append(Rejected(shown, f"left out, with all after it: expected at most {MAX_FILES} files at a time."))
            break
        size += len(data)
        if size > MAX_ALL_BYTES:
            words = f"expected at most {MAX_ALL_BYTES // 2**20} MB of files at a time."
            found.append(Rejected(shown, f"left out, with all after it: {words}"))
            break
        read = _read(shown, data, options, room)
        wafers = [item for item in read if isinstance(item, Wafer)]
        room.maps -= len(wafers)
        room.cells -= sum(wafer.grid.size for wafer in wafers)
        found += read
    return found


def _read(name: str, data: bytes, options: Options, room: _Room) -> list[Wafer | Rejected]:
    """Read one file, no more of it than there is room for."""
    if len(data) > MAX_BYTES:
        return [Rejected(name, f"{len(data) / 2**20:.1f} MB; expected at most {MAX_BYTES / 2**20:.0f} MB.")]
    picture = data if data.startswith(PICTURES) else None
    try:
        if data.startswith(b"PAR1") and _is_parquet_set(data):
            with open_parquet(cast(Path, NamedBytes(data, name))) as source:
                return _collected(source, name, room)
        if data.startswith(b"PK") and (open_set := _set_reader(data)):
            with open_set(cast(Path, NamedBytes(data, name))) as source:
                return _collected(source, name, room)
        return _listed(read_tool_bytes(data, name, options), name, room, options, picture)
    except InputError as error:
        return [Rejected(name, str(error), picture)]
    except ModuleNotFoundError as error:
        return [Rejected(name, f"needs {error.name}, which is not installed on this server.")]
    except MemoryError:
        return [Rejected(name, "not enough memory to read it.")]


def _listed(file: MapFile, name: str, room: _Room, options: Options, picture: bytes | None) -> list[Wafer | Rejected]:
    """Return the wafers of a tool's file, each read only while there is room."""
    items: list[WaferMap | InputError] = []
    maps, cells, full = 0, 0, ""
    for item in _until_error(file.wafers):
        if isinstance(item, WaferMap):
            maps, cells = maps + 1, cells + item.grid.size
            if full := _over(maps, cells, room):
                break
        items.append(item)
    if not items and not full:
        return [Rejected(name, "no wafer in it; expected at least one.", picture)]
    many = len(items) > 1 or bool(full)
    format = f"{file.format} {file.version}".rstrip()
    found: list[Wafer | Rejected] = []
    for number, item in enumerate(items):
        id = _name(item, name, number) if many else name
        if isinstance(item, InputError):
            found.append(Rejected(id, str(item), picture))
        else:
            found.append(Wafer(id, item.grid, origin=Origin(name, format, item, options, picture)))
    if full:
        found.append(Rejected(name, f"left out{f' from wafer {len(items) + 1} on' if items else ''}: {full}"))
    return found


def _until_error(wafers: Iterator[WaferMap | InputError]) -> Iterator[WaferMap | InputError]:
    """Give the wafers; an error that ends the file comes last, so that those before it are kept."""
    try:
        yield from wafers
    except InputError as error:
        yield error
    except MemoryError:
        yield InputError("not enough memory to read it.")


def _name(item: WaferMap | InputError, file: str, number: int) -> str:
    """Return LOT/WAFER, or what is known of a wafer of a file of many, with the file's name."""
    lot, wafer = getattr(item, "lot", ""), getattr(item, "wafer", "")
    return _cut(f"{lot}/{wafer}" if lot and wafer else f"{file}:{wafer or number}")


def _collected(source: Source, name: str, room: _Room) -> list[Wafer | Rejected]:
    if full := _over(source.rows, source.cells, room):
        return [Rejected(name, f"left out: {full}")]
    found: list[Wafer | Rejected] = []
    wafers = source.collect()
    for i, wafer in enumerate(wafers):
        of = {key: getattr(wafer, key) for key in ("lot", "wafer", "product", "step", "time")}
        origin = Origin(name, source.kind, WaferMap(grid=wafer.map, **of))
        found.append(Wafer(_name(origin.found, name, i), wafer.map, int(wafers.label[i]), origin))
    return found


def _over(maps: int, cells: int, room: _Room) -> str:
    """Return why so many maps or cells do not fit; "" where they do."""
    if maps > room.maps:
        return (
            f"{maps:,} maps, more than fit; expected at most {MAX_MAPS:,} in all. For larger sets: "
            "python -m edge.classify"
        )
    if cells > room.cells:
        return f"{cells:,} cells, more than fit; expected at most {MAX_CELLS:,} in all. Upload fewer at a time."
    return ""


def _cut(name: str) -> str:
    return name if len(name) <= MAX_NAME else f"{name[:MAX_NAME]}..."


def _is_parquet_set(data: bytes) -> bool:
    """Whether a Parquet file holds maps and not dies; what is damaged is left to the reader of sets to name.

    Raises:
        InputError: it has more wafers than any set may have, told before its columns are read.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    with suppress(pa.ArrowException, OSError, UnicodeDecodeError):
        check_footer(io.BytesIO(data))
        if is_table_of_dies(io.BytesIO(data)):
            return False
        rows = pq.read_metadata(io.BytesIO(data)).num_rows
        if rows > 100 * MAX_MAPS:
            raise InputError(f"{rows:,} wafers; expected at most {MAX_MAPS:,}. Split the file.")
    return True


def _set_reader(data: bytes) -> Callable[[Path], Source] | None:
    """Return what reads the set of maps in a zip archive, None where it holds none.

    Raises:
        InputError: it does, and they would take more memory than a set may.
    """
    try:
        with open_zip(io.BytesIO(data)) as archive:
            entries = archive.infolist()
    except DAMAGED:
        return None
    if {entry.filename.removesuffix(".npy") for entry in entries}.issuperset(WAFER_SET):
        found: Callable[[Path], Source] = open_npz
    elif is_stack(cast(Path, io.BytesIO(data))):
        found = open_stack
    else:
        return None
    size = sum(entry.file_size for entry in entries)
    if size > 2 * MAX_CELLS:
        raise InputError(f"{size:,} bytes unpacked; expected at most {2 * MAX_CELLS:,}. Split the file.")
    return found
