"""Files packed by gzip, bzip2 or xz, unpacked as they are read. Needs the standard library alone."""

import bz2
import gzip
import io
import lzma
import zlib
from typing import Any, BinaryIO, cast

from wafer_tf.budget import MAX_UNPACKED, Budget
from wafer_tf.errors import InputError
from wafer_tf.formats.opened import Opened
from wafer_tf.formats.options import Options
from wafer_tf.formats.recognise import PACKED
from wafer_tf.formats.wafer_map import MapFile

MAX_MEMORY = 2**27
"""Bytes an xz file may ask its unpacker to set aside; `xz -6` asks for 9 million, `xz -9` for 68."""
MAX_DEPTH = 2
"""A file in an archive may be packed once more."""
_CHUNK = 1 << 16
_DAMAGED = (zlib.error, lzma.LZMAError, OSError, EOFError, ValueError)


def read(file: Opened, options: Options) -> MapFile:
    """Read what is packed.

    Raises:
        InputError: damaged, too large, or packed again and again; and whatever its content's own reader raises.
    """
    from wafer_tf.formats.read import read_opened

    if file.depth >= MAX_DEPTH:
        raise InputError(f"{file.name}: packed {file.depth + 1} times over; expected a file that is packed once.")
    content = unpacked(file.stream, file.head, file.name, budget=file.budget)
    return read_opened(Opened(content, file.name, depth=file.depth + 1, budget=file.budget), options)


def unpacked(stream: BinaryIO, head: bytes, name: str, *, budget: Budget | None = None) -> BinaryIO:
    """Return the content of a packed stream, as a stream that can go back to its start.

    Args:
        stream: at its start.
        head: its first bytes.
        name: what to call it in an error.
        budget: of the file it is in; else it may unpack to MAX_UNPACKED bytes.
    """
    kind = next(kind for start, kind in PACKED.items() if head.startswith(start))
    budget = budget or Budget(name, MAX_UNPACKED)
    return cast(BinaryIO, io.BufferedReader(_Unpacked(stream, kind, name, budget), _CHUNK))


class _Unpacked(io.RawIOBase):
    """A packed stream unpacked piece by piece; no more is in memory than was asked for."""

    def __init__(self, stream: BinaryIO, kind: str, name: str, budget: Budget) -> None:
        super().__init__()
        self._counted = 0
        self._stream, self._kind, self._name, self._budget = stream, kind, name, budget
        self._start()

    def _start(self) -> None:
        self._stream.seek(0)
        self._size = 0
        self._content = (
            gzip.GzipFile(fileobj=self._stream) if self._kind == "gzip" else _Members(self._stream, self._kind)
        )

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._size

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        if whence == io.SEEK_CUR:
            offset, whence = self._size + offset, io.SEEK_SET
        if whence != io.SEEK_SET or offset < 0:
            raise io.UnsupportedOperation("only to a place counted from the start")
        if offset < self._size:
            self._start()
        while self._size < offset and self._unpack(min(_CHUNK, offset - self._size)):
            pass
        return self._size

    def readinto(self, buffer: Any) -> int:
        piece = self._unpack(len(buffer))
        buffer[: len(piece)] = piece
        return len(piece)

    def _unpack(self, size: int) -> bytes:
        try:
            piece = self._content.read(size)
        except _DAMAGED as error:
            raise InputError(
                f"{self._name}: its {self._kind} packing is damaged after {self._size} bytes unpacked ({error}); "
                "expected a whole file. Copy it anew."
            ) from error
        self._size += len(piece)
        if self._size > self._counted:  # what is unpacked again, after going back to the start, counts once
            self._budget.unpack(self._size - self._counted)
            self._counted = self._size
        return piece


class _Members:
    """bzip2 or xz members one after another. The library's own files of them set no limit to what xz may ask for."""

    def __init__(self, stream: BinaryIO, kind: str) -> None:
        self._stream, self._kind, self._ahead = stream, kind, b""
        self._unpacker = self._fresh()

    def _fresh(self) -> bz2.BZ2Decompressor | lzma.LZMADecompressor:
        return bz2.BZ2Decompressor() if self._kind == "bzip2" else lzma.LZMADecompressor(memlimit=MAX_MEMORY)

    def read(self, size: int) -> bytes:
        """Return at most `size` bytes, none only at the end."""
        while True:
            if self._unpacker.eof:
                self._ahead = self._unpacker.unused_data.lstrip(b"\0")  # padding, as xz and tapes have it
                while not self._ahead:
                    read = self._stream.read(_CHUNK)
                    if not read:
                        return b""
                    self._ahead = read.lstrip(b"\0")
                self._unpacker = self._fresh()
            data = b""
            if self._unpacker.needs_input:
                data, self._ahead = self._ahead or self._stream.read(_CHUNK), b""
                if not data:
                    raise EOFError("it ends in the middle")
            if piece := self._unpacker.decompress(data, size):
                return piece
