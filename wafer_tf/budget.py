"""What reading one file may take: every reader that a file passes through counts on the same Budget.

Memory is counted where it is about to be taken, by what the file claims or by what its content is made into, not
measured. Needs the standard library alone.
"""

import io
import os
from pathlib import Path

from wafer_tf.errors import InputError

MIN_MEMORY = 2**28
"""Bytes that reading any file may take, beyond the interpreter with its imports."""
MEMORY_RATIO = 4
"""Bytes of memory for each byte of a file, where that is more."""
COUNTED = 0.75
"""The part of them that is counted; the rest is for what is not: pages of the file, and what an allocator keeps."""

MAX_UNPACKED = 2**30
"""Bytes a tool's file may unpack to: 20 times the largest STDF file that is usual."""
MAX_SET = 2**33
"""Bytes a set of wafers may unpack to; WM-811K has 1.9e9."""
MIN_UNPACKED = 2**28
"""Bytes any file may unpack to."""
MAX_RATIO = 100
"""Bytes each packed byte may unpack to beyond that: a tester's log unpacks to 20, what is made to do harm to 1,000."""


class BudgetError(InputError):
    """A file that takes more than reading it may; the text names it."""


class Budget:
    """What one file may still take, with all that it holds.

    Attributes:
        name: of the file.
        memory_limit, unpacked_limit: bytes of memory, and bytes it may unpack to.
        memory, unpacked: bytes of them that are left, below 0 once it was refused.
    """

    def __init__(self, name: str, size: int, *, most: int = MAX_UNPACKED) -> None:
        """Begin with all of it left.

        Args:
            name: as the attribute.
            size: bytes of the file.
            most: bytes it may unpack to at most, whatever its size.
        """
        self.name = name
        self.memory_limit = max(MIN_MEMORY, MEMORY_RATIO * size)
        self.memory = int(self.memory_limit * COUNTED)
        self.unpacked = self.unpacked_limit = min(most, max(MIN_UNPACKED, MAX_RATIO * size))

    @classmethod
    def of_set(cls, path: str | os.PathLike[str] | io.BytesIO) -> "Budget":
        """Return the budget of a file of a set of wafers, on disk or in memory."""
        size = path.getbuffer().nbytes if isinstance(path, io.BytesIO) else Path(path).stat().st_size
        return cls(str(path), size, most=MAX_SET)

    def hold(self, size: int, what: str = "what is in it") -> None:
        """Count bytes of memory, before they are taken or soon after.

        Raises:
            BudgetError: more than reading the file may take.
        """
        self.memory -= size
        if self.memory < 0:
            raise BudgetError(
                f"{self.name}: {what} takes over {self.memory_limit} bytes of memory, which is the most for a file of "
                "its size. It is made to exhaust a reader, or damaged; else split it."
            )

    def enlarge(self, size: int) -> None:
        """Grant memory by what a packed file was found to unpack to, `size` bytes."""
        limit = max(self.memory_limit, MEMORY_RATIO * size)
        self.memory += int((limit - self.memory_limit) * COUNTED)
        self.memory_limit = limit

    def unpack(self, size: int) -> None:
        """Count bytes that were unpacked, or are about to be.

        Raises:
            BudgetError: more than the file may unpack to.
        """
        self.unpacked -= size
        if self.unpacked < 0:
            raise BudgetError(
                f"{self.name}: unpacks to over {self.unpacked_limit} bytes; expected files of wafer maps. It is made "
                "to exhaust a reader, or holds more than a lot: unpack it first."
            )
