"""Files that are there whole or not at all, even after a crash or on a full disk. Needs the standard library alone.

What is written lies in a hidden file beside the one it becomes. An error removes it; a killed process leaves it behind.
"""

import errno
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

MAX_NAME = 255
"""Bytes that the file systems in use allow a name."""


@contextmanager
def whole_path(path: str | os.PathLike[str], *, ending: str | None = None, durable: bool = True) -> Iterator[Path]:
    """Give the path of a file to write, which takes the place of `path` when the block ends without an error.

    For writers that want a name; others use `whole_file`. Two processes may write one file: the last to end wins.

    Args:
        path: of the file; its folder must be there.
        ending: of the hidden file's name, for writers that look at it (default: that of `path`).
        durable: the bytes are on the disk before the name is, so that a power failure leaves the old file or the new.

    Yields:
        The path to write.

    Raises:
        OSError: it cannot be written, or something that is no file is there; `path` is as it was.
    """
    path = Path(path)
    if path.exists() and not path.is_file():  # a rename would put a file in the place of a device or a pipe
        raise FileExistsError(errno.EEXIST, "is there and is no file", str(path))
    mark = f".{os.getpid()}.partial{path.suffix if ending is None else ending}"
    name = os.fsencode(f".{path.name}")[: MAX_NAME - len(os.fsencode(mark))]
    partial = path.with_name(os.fsdecode(name) + mark)
    try:
        yield partial
        if durable:
            _sync(partial)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def whole_file(path: str | os.PathLike[str], *, durable: bool = True) -> Iterator[IO[bytes]]:
    """Open a file for writing bytes, which takes the place of `path` when the block ends without an error.

    Args:
        path, durable: see `whole_path`.

    Yields:
        The open file.

    Raises:
        OSError: it cannot be written; `path` is as it was.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with whole_file(Path(folder) / "calls.csv") as out:
        ...         size = out.write(b"wafer,label")
        ...     [path.name for path in Path(folder).iterdir()]
        ['calls.csv']
    """
    with whole_path(path, ending="", durable=durable) as partial, partial.open("wb") as out:
        yield out


def write_whole(path: str | os.PathLike[str], content: str | bytes, *, durable: bool = True) -> None:
    """Write a file of this content, text as UTF-8; see `whole_file`."""
    with whole_file(path, durable=durable) as out:
        out.write(content.encode() if isinstance(content, str) else content)


def file_sha256(path: str | os.PathLike[str]) -> str:
    """Return the SHA-256 of a file's bytes. Raises OSError."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def _sync(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
