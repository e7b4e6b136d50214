"""A file as the readers of formats are handed it: a stream and its first bytes. Needs the standard library alone."""

import io
from typing import BinaryIO

from wafer_tf.budget import Budget
from wafer_tf.errors import InputError

HEAD = 1 << 16
"""Bytes by which a format is told."""
MAX_WHOLE = 64 * 2**20
"""Bytes a format that is read as a whole may have; STDF is read as it comes, and may have more."""


class Opened:
    """An open file.

    Attributes:
        name: what to call it in an error.
        head: its first bytes, at most HEAD.
        stream: at its start again.
        depth: how many archives it was taken out of.
    """

    def __init__(self, stream: BinaryIO, name: str, *, depth: int = 0, budget: Budget | None = None) -> None:
        """Look at the first bytes of a stream that can go back to its start.

        Args:
            stream, name, depth: as the attributes.
            budget: that of the archive it was taken out of.
        """
        self.name, self.stream, self.depth, self._budget = name, stream, depth, budget
        self.head = stream.read(HEAD)
        stream.seek(0)

    @classmethod
    def of_bytes(cls, data: bytes, name: str) -> "Opened":
        """Return a file that is in memory already."""
        return cls(io.BytesIO(data), name)

    @property
    def budget(self) -> Budget:
        """What this file, or the one it was taken out of, may still take."""
        if self._budget is None:
            size = self.stream.seek(0, io.SEEK_END)
            self.stream.seek(0)
            self._budget = Budget(self.name, size)
        return self._budget

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
