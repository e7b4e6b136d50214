"""A pickled table packed by gzip, bzip2, xz or zip, unpacked to a file on disk piece by piece."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, BinaryIO, cast

from wafer_tf.arrays import DAMAGED, PACKINGS, open_zip
from wafer_tf.budget import Budget
from wafer_tf.errors import InputError, reason
from wafer_tf.formats.packed import unpacked
from wafer_tf.formats.recognise import PACKED
from wafer_tf.readers.lswmd import PICKLE_STARTS, open_lswmd
from wafer_tf.readers.source import Source

MAX_RATIO = 16
"""Memory is granted for what a table unpacks to, up to so many times its packed size; LSWMD.pkl has 14."""
_CHUNK = 1 << 20
_HIDDEN = ("__MACOSX/", ".")


def is_packed_table(path: str | os.PathLike[str], start: bytes) -> bool:
    """Whether a file that begins with `start` is a pickle packed by gzip, bzip2 or xz."""
    path = Path(path)
    if not start.startswith(tuple(PACKED)):
        return False
    try:
        with _content(path, None, Budget.of_set(path)) as content:
            return content.read(2).startswith(PICKLE_STARTS)
    except InputError:  # damaged: whoever reads it says so
        return False


def zipped_table(path: str | os.PathLike[str]) -> str | None:
    """Return the name of a zip archive's only file, where there is one and it is a pickle; else None."""
    path = Path(path)
    try:
        with open_zip(path) as archive:
            shown = [name for name in archive.namelist() if not name.startswith(_HIDDEN) and not name.endswith("/")]
            if len(shown) != 1 or archive.getinfo(shown[0]).compress_type not in PACKINGS:
                return None
            with archive.open(shown[0]) as stream:
                return shown[0] if stream.read(2).startswith(PICKLE_STARTS) else None
    except DAMAGED:
        return None


def open_packed(path: str | os.PathLike[str], *, member: str | None = None, progress: bool = False) -> Source:
    """Open a packed table. What it unpacks to lies in a nameless file on disk until the source is closed.

    Args:
        path: the file.
        member: the name of the pickle, where the file is a zip archive.
        progress: show a bar on stderr.

    Raises:
        InputError: damaged, no pickle in it, too large unpacked; and as `open_lswmd`.
    """
    path = Path(path)
    budget = Budget.of_set(path)
    with _content(path, member, budget) as content:
        start = content.read(2)
        if not start.startswith(PICKLE_STARTS):
            raise InputError(f"{path}: packed, and no pickled table in it; unpack it first.")
        try:
            with tempfile.TemporaryFile() as disk:
                size = _copy(start, content, disk, budget, counted=member is None)
                budget.enlarge(min(size, MAX_RATIO * path.stat().st_size))
                return open_lswmd(path, progress=progress, unpacked=cast(BinaryIO, disk), budget=budget)
        except OSError as error:
            raise InputError(
                f"{path}: could not be unpacked to {tempfile.gettempdir()} ({error.strerror or error}). Make room "
                "there, set TMPDIR to a folder with room, or unpack the file yourself."
            ) from error


@contextmanager
def _content(path: Path, member: str | None, budget: Budget) -> Iterator[IO[bytes]]:
    if member is None:
        with path.open("rb") as stream:
            head = stream.read(8)
            stream.seek(0)
            yield unpacked(stream, head, str(path), budget=budget)
        return
    try:
        with open_zip(path) as archive, archive.open(member) as content:
            yield content
    except InputError:
        raise
    except DAMAGED as error:
        raise InputError(
            f"{path}: damaged zip archive ({reason(error)}); expected a whole one. Copy it anew."
        ) from error


def _copy(start: bytes, content: IO[bytes], disk: IO[bytes], budget: Budget, *, counted: bool) -> int:
    """Return how many bytes were written; they are counted here where the content does not do so itself."""
    size = disk.write(start)
    while piece := content.read(_CHUNK):
        size += disk.write(piece)
        if not counted:
            budget.unpack(len(piece))
    disk.flush()
    return size
