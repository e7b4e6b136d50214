"""A file as the readers of formats are handed it: a stream and its first bytes. Needs the standard library alone."""

import io
from typing import BinaryIO

from wafer_tf.errors import InputError

HEAD = 1 << 16
"""Bytes by which a format is told."""
MAX_WHOLE = 64 * 2**20
"""Bytes a format that is read as a whole may have; STDF is read as it comes, and may have more."""


MAX_UNPACKED = 2**30
"""Bytes a file may unpack to: 20 times the largest STDF file that is usual."""
MIN_UNPACKED = 2**28
"""Bytes any file may unpack to."""
MAX_RATIO = 100
"""Bytes each packed byte may unpack to beyond that: a tester's log unpacks to 20, what is made to do harm to 1,000."""


class Unpacking:
    """How much a file may still unpack to, all that it holds together.

    Attributes:
        name: of the file.
        limit: bytes it may unpack to.
        left: bytes of them that are left, below 0 once it was refused.
    """

    def __init__(self, name: str, limit: int) -> None:
        """Begin with all of them left."""
        self.name, self.limit, self.left = name, limit, limit

    @classmethod
    def of(cls, stream: BinaryIO, name: str) -> "Unpacking":
        """Set the limit by the size of a packed file, whose stream is put back to its start."""
        size = stream.seek(0, io.SEEK_END)
        stream.seek(0)
        return cls(name, min(MAX_UNPACKED, max(MIN_UNPACKED, MAX_RATIO * size)))

    def take(self, size: int) -> None:
        """Count bytes that were unpacked.

        Raises:
            InputError: more than the file may unpack to.
        """
        self.left -= size
        if self.left < 0:
            raise InputError(
                f"{self.name}: unpacks to over {self.limit} bytes; expected files of wafer maps. It is made to exhaust "
                "a reader, or holds more than a lot: unpack it first."
            )


class Opened:
    """An open file.

    Attributes:
        name: what to call it in an error.
        head: its first bytes, at most HEAD.
        stream: at its start again.
        depth: how many archives it was taken out of.
    """

    def __init__(self, stream: BinaryIO, name: str, *, depth: int = 0, unpacking: Unpacking | None = None) -> None:
        """Look at the first bytes of a stream that can go back to its start.

        Args:
            stream, name, depth: as the attributes.
            unpacking: that of the archive it was taken out of.
        """
        self.name, self.stream, self.depth, self._unpacking = name, stream, depth, unpacking
        self.head = stream.read(HEAD)
        stream.seek(0)

    @classmethod
    def of_bytes(cls, data: bytes, name: str) -> "Opened":
        """Return a file that is in memory already."""
        return cls(io.BytesIO(data), name)

    @property
    def unpacking(self) -> Unpacking:
        """How much this file, or the one it was taken out of, may still unpack to."""
        if self._unpacking is None:
            self._unpacking = Unpacking.of(self.stream, self.name)
        return self._unpacking

    def whole(self, limit: int = MAX_WHOLE) -> bytes:
        """Return all bytes.

        Raises:
            InputError: more than `limit`.
        """
        self.stream.seek(0)
        data = self.stream.read(limit + 1)
        if len(data) > limit:
            raise InputError(f"{self.name}: over {limit} bytes; expected a file of wafer maps of at most that.")
        return data

    def text(self, limit: int = MAX_WHOLE) -> str:
        """Return all bytes as text: UTF-8, UTF-16 by its byte-order mark, else Latin-1; lines end in a newline.

        Raises:
            InputError: more than `limit` bytes.
        """
        data = self.whole(limit)
        if data.startswith((b"\xff\xfe", b"\xfe\xff")):
            text = data.decode("utf-16", "replace")
        else:
            try:
                text = data.decode("utf-8-sig")
            except UnicodeDecodeError:  # older tools write a user's words in their own code page
                text = data.decode("latin-1")
        return text.replace("\r\n", "\n").replace("\r", "\n")
