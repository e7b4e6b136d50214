"""The wafer maps in one input file, told by content, each with its id and hash. Needs numpy alone."""

import hashlib
import io
import os
from collections.abc import Iterable, Iterator
from typing import BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge.station.records import MAX_WORD
from wafer_tf.dies import grid_sha256
from wafer_tf.errors import InputError
from wafer_tf.formats.opened import MAX_WHOLE
from wafer_tf.formats.options import DEFAULT, Options
from wafer_tf.formats.read import read_maps
from wafer_tf.formats.wafer_map import WaferMap

MAX_BYTES = MAX_WHOLE
"""What cannot be read twice, a pipe, may have so many bytes: a station has little memory."""
_CHUNK = 1 << 20


class Found(NamedTuple):
    """A map of an input file, or why it is none.

    Attributes:
        name: the record's id.
        number: which map of the file it is, from 1.
        sha256: of the file's bytes where it is one map; of a map in a file of many `grid_sha256`. None of what is no
            map in a file of many.
        file_sha256: of the file's bytes; None where they could not be read, or are of several files.
        format: of the file, None where it was not recognised.
        found: the map and what the file says of it; or the error that says what is wrong.
    """

    name: str
    number: int
    sha256: str | None
    file_sha256: str | None
    format: str | None
    found: WaferMap | InputError

    @property
    def grid(self) -> NDArray[np.uint8]:
        """The map, (rows, cols) uint8, checked.

        Raises:
            InputError: it is none.
        """
        if isinstance(self.found, InputError):
            raise self.found
        return self.found.grid


def find_maps(
    file: bytes | BinaryIO, name: str, options: Options = DEFAULT, *, file_sha256: str | None = None
) -> Iterator[Found]:
    """Give the maps of one file in order, each as soon as it is known; bad input is given as an error, not raised.

    Args:
        file: its contents, or the file itself, opened in binary and seekable.
        name: the file's name. It is the id of a single map; a map of a file of many is LOT/WAFER, or NAME:NUMBER from 0
            where the lot or the wafer is not known.
        options: what the file does not say.
        file_sha256: of the file, where it is known already.
    """
    if isinstance(file, bytes):
        file_sha256, stream = file_sha256 or hashlib.sha256(file).hexdigest(), io.BytesIO(file)
    else:
        file_sha256, stream = file_sha256 or _sha256(file), file  # type: ignore[assignment]
    format, wafers = _open(stream, name, options)
    before, number = None, 0
    for found in wafers:
        if before is not None:
            number += 1
            yield _of_many(before, name, number, file_sha256, format)
        before = found
    if before is None:
        before = InputError(f"{name}: no wafer in it; expected at least one.")
    if number:
        yield _of_many(before, name, number + 1, file_sha256, format)
    else:
        yield Found(name, 1, file_sha256, file_sha256, format, before)


def find_in_files(names: Iterable[str], options: Options = DEFAULT) -> Iterator[tuple[str, Found]]:
    """Give the maps of files by their names, each with its file's name; one that cannot be read is an error given."""
    for name in names:
        shown = shown_name(name)
        try:
            with open_input(name) as file:
                for found in find_maps(file, shown, options):
                    yield shown, found
        except OSError as error:
            why = InputError(f"{shown}: cannot be read ({error.strerror}); expected a file of wafer maps.")
            yield shown, Found(shown, 1, None, None, None, why)


def shown_name(name: str) -> str:
    """Return a file's name, whatever its bytes are, as text that can be printed."""
    return os.fsencode(name).decode(errors="backslashreplace")


def open_input(name: str) -> BinaryIO:
    """Open a file to be read more than once; a pipe is read into memory."""
    file = open(name, "rb")  # noqa: PTH123, SIM115  # the name as given: a Path would drop a leading ./
    if file.seekable():
        return file
    with file:
        return io.BytesIO(file.read(MAX_BYTES + 1))


def wafer_name(lot: str, wafer: str, otherwise: str) -> str:
    """Return the id of a map of many: LOT/WAFER, or `otherwise` where the lot or the wafer is not known."""
    return f"{lot[:MAX_WORD]}/{wafer[:MAX_WORD]}" if lot and wafer else otherwise


def _open(stream: BinaryIO, name: str, options: Options) -> tuple[str | None, Iterator[WaferMap | InputError]]:
    try:
        file = read_maps(stream, name, options)
    except InputError as error:
        return None, iter([error])
    except MemoryError:
        return None, iter([InputError(f"{name}: not enough memory to read it.")])
    return f"{file.format} {file.version}".rstrip(), _wafers(file.wafers, name)


def _wafers(wafers: Iterator[WaferMap | InputError], name: str) -> Iterator[WaferMap | InputError]:
    try:
        yield from wafers
    except InputError as error:
        yield error
    except MemoryError:
        yield InputError(f"{name}: not enough memory to read it.")


def _of_many(found: WaferMap | InputError, name: str, number: int, file_sha256: str, format: str | None) -> Found:
    id = wafer_name(getattr(found, "lot", ""), getattr(found, "wafer", ""), f"{name}:{number - 1}")
    sha256 = None if isinstance(found, InputError) else grid_sha256(found.grid)
    return Found(id, number, sha256, file_sha256, format, found)


def _sha256(stream: BinaryIO) -> str:
    digest = hashlib.sha256()
    while piece := stream.read(_CHUNK):
        digest.update(piece)
    stream.seek(0)
    return digest.hexdigest()
