"""An append-only file of JSON lines that outlives kills, torn writes, full disks and changed bits.

What `append` was given is durable when it returns. What a killed or failed write left, or a disk changed, is found by
the next `open`: bytes that are no whole line of the journal, by its seal, are set aside in FILE.damaged, so that
nothing is ever appended to half a line and no damaged line is read as a whole one; and lines that are gone are missed.
Needs the standard library alone.
"""

import errno
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from edge.station.hot_folder.sealed import NO_LINE, Entry, forget_end, note_end, noted_end, sealed, unsealed
from wafer_tf.whole_files import whole_file

MAX_LINE = 2**17
"""Bytes of the longest line; a record takes about 700, and 80,000 where every word and note in it is as long as it may
be and in letters that JSON writes in twelve bytes."""


class Index:
    """Where the line of each key begins: 22 bytes a key, 31 MB for a million as measured.

    Keys are hashes, of which the first 16 bytes are kept: enough to tell apart all wafers there will ever be, and
    `Journal.get` compares the whole.
    """

    _BUCKETS, _KEY, _OFFSET = 4096, 16, 6

    def __init__(self) -> None:
        self._buckets = [bytearray() for _ in range(self._BUCKETS)]
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def add(self, key: bytes, offset: int) -> None:
        """Note where the line of a new key begins."""
        self._bucket(key).extend(key[: self._KEY] + offset.to_bytes(self._OFFSET, "big"))
        self._size += 1

    def get(self, key: bytes) -> int | None:
        """Return where the key's line begins, None if there is none."""
        bucket, entry = self._bucket(key), self._KEY + self._OFFSET
        at = bucket.find(key[: self._KEY])
        while at >= 0 and at % entry:  # those bytes, but across two entries
            at = bucket.find(key[: self._KEY], at + 1)
        return None if at < 0 else int.from_bytes(bucket[at + self._KEY : at + entry], "big")

    def _bucket(self, key: bytes) -> bytearray:
        return self._buckets[int.from_bytes(key[:2], "big") % self._BUCKETS]


class Journal:
    """One file of JSON lines and the index of their keys."""

    def __init__(
        self, path: Path, key: Callable[[Entry], bytes], *, was_unsealed: Callable[[Entry], bool] = lambda entry: False
    ) -> None:
        """Name the file; `open` reads or creates it.

        Args:
            path: of the file; its folder must exist when it is opened.
            key: gives the key of a line's object, a 32-byte hash; a KeyError, TypeError or ValueError from it says
                that the line is none of this journal's.
            was_unsealed: whether an object was written before lines were sealed. Of others a line without a seal is a
                damaged one.
        """
        self.path = path
        self._key, self._was_unsealed = key, was_unsealed
        self._fd: int | None = None
        self._drafts: list[tuple[str, bytes]] = []
        """Lines after the last durable one, each also as it is in the file."""
        self._forget()

    def __len__(self) -> int:
        return len(self._index)

    def __contains__(self, key: bytes) -> bool:
        return self._index.get(key) is not None

    def open(self) -> str | None:
        """Open the file, mend it and know its keys; after a failed `append`, go on where the last good one ended.

        Returns:
            What was mended, or that lines are missing, in words; None where nothing is. The latter until the next
            `append`: who opens it brings back what they were of, and may be killed over it.

        Raises:
            OSError: it cannot be read or written now; the journal is closed, and may be opened again later.
        """
        self.close()
        if not self.path.exists():  # it is begun anew
            forget_end(self.path)
        self._fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        try:
            mended = None
            now = os.fstat(self._fd)
            if (now.st_dev, now.st_ino) == self._file and now.st_size >= self._end:
                os.ftruncate(self._fd, self._end)
            else:
                mended = self._load()
                self._miss_lines()
            os.fsync(self._fd)  # lines that a killed process wrote may not be on the disk yet
            sync_folder(self.path.parent)
        except OSError:
            self.close()
            raise
        if self._missing > self._known and not mended:
            return f"{self.path}: {self._missing - self._known} lines are missing"
        return mended

    def close(self) -> None:
        """Close the file; what is durable of it is still known."""
        self._drafts = []
        if self._fd is not None:
            with suppress(OSError):
                os.close(self._fd)
            self._fd = None

    def append(self, entries: Sequence[tuple[bytes, str]]) -> None:
        """Add lines, durable when this returns: all of them or, as far as the journal knows, none.

        What `draft` wrote before is kept where the entries begin with it, and cut off where they do not.

        Args:
            entries: (key, line) each, the line one JSON object with its newline; it is sealed here.

        Raises:
            OSError: they could not be written; the journal is closed.
        """
        if not entries and not self._drafts:
            return
        with self._writing() as fd:
            if [line for _, line in entries[: len(self._drafts)]] != [line for line, _ in self._drafts]:
                os.ftruncate(fd, self._end)
                self._drafts = []
            self._write(fd, [line for _, line in entries[len(self._drafts) :]])
            os.fsync(fd)
        for (key, _), (_, data) in zip(entries, self._drafts, strict=True):
            self._index.add(key, self._end)
            self._end += len(data)
        self._last += len(entries)
        self._drafts = []
        self._known = self._missing
        with suppress(OSError):  # what is on record is on the disk all the same
            note_end(self.path, lines=self._last, missing=self._missing)

    def draft(self, lines: Sequence[str]) -> None:
        """Write lines that the next `append` is to make durable; until then they outlive this process alone.

        Raises:
            OSError: they could not be written; the journal is closed, and no draft is left.
        """
        if lines:
            with self._writing() as fd:
                self._write(fd, lines)

    def _write(self, fd: int, lines: Sequence[str]) -> None:
        """Add lines to the drafts."""
        first = self._last + len(self._drafts) + 1
        drafts = [(line, sealed(line, number)) for number, line in enumerate(lines, first)]
        left = memoryview(b"".join(data for _, data in drafts))
        while left:
            left = left[os.write(fd, left) :]
        self._drafts += drafts

    def get(self, key: bytes) -> Entry | None:
        """Return the object of the key's line, None if there is none.

        Raises:
            OSError: the line cannot be read now; the journal is closed.
        """
        offset = self._index.get(key)
        if offset is None:
            return None
        try:
            line, end, _ = os.pread(self._descriptor(), MAX_LINE, offset).partition(b"\n")
            with suppress(*NO_LINE):
                entry, _ = self._read(line + end)
                if self._key(entry) == key:
                    return entry
            self._forget()
            raise OSError(errno.EIO, "was changed by another program, or by the disk", str(self.path))
        except OSError:
            self.close()
            raise

    @contextmanager
    def _writing(self) -> Iterator[int]:
        """Give the open file, if it is as it was left; where the block fails, cut off what is not durable."""
        fd = self._descriptor()
        if os.fstat(fd).st_size != self._end + sum(len(data) for _, data in self._drafts):
            # Where a failed write would be cut off there may be good lines.
            self._forget()
            self.close()
            raise OSError(errno.EIO, "was changed by another program", str(self.path))
        try:
            if not os.path.samestat(self.path.stat(), os.fstat(fd)):
                raise FileNotFoundError(errno.ENOENT, "another file is in its place", str(self.path))
            yield fd
        except OSError:
            with suppress(OSError):  # where even this fails, open() does it
                os.ftruncate(fd, self._end)
            self.close()
            raise

    def _read(self, line: bytes) -> tuple[Entry, int | None]:
        entry, number = unsealed(line)
        if number is None and not self._was_unsealed(entry):
            raise ValueError("it has no seal")
        return entry, number

    def _descriptor(self) -> int:
        if self._fd is None:
            raise FileNotFoundError(errno.ENOENT, "is not open", str(self.path))
        return self._fd

    def _forget(self) -> None:
        self._index, self._end, self._last = Index(), 0, 0
        self._drafts = []
        self._numbered, self._missing, self._known = 0, 0, 0  # lines with a number; numbers without one; those noted
        self._file: tuple[int, int] | None = None
        """Device and inode of the file that is known, None before any is."""

    def _lines(self) -> Iterator[tuple[int, bytes]]:
        """Give each line and where it begins; of what is too long for a line, pieces."""
        offset = 0
        with os.fdopen(os.dup(self._descriptor()), "rb") as file:
            file.seek(0)
            while line := file.readline(MAX_LINE):
                yield offset, line
                offset += len(line)

    def _load(self) -> str | None:
        """Read the whole file; set aside what is no line of it."""
        self._forget()
        damaged: dict[int, int] = {}  # where it begins: how many bytes
        end = 0
        for offset, line in self._lines():
            end = offset + len(line)
            try:
                entry, number = self._read(line)
                key = self._key(entry)
            except NO_LINE:
                damaged[offset] = len(line)
            else:
                self._last = max(self._last, number or 0)
                self._numbered += number is not None
                if self._index.get(key) is None:
                    self._index.add(key, offset)
        mended = None
        if damaged:
            mended = self._set_aside(damaged)
            if min(damaged) + sum(damaged.values()) == end:
                end = min(damaged)
                os.ftruncate(self._descriptor(), end)
            else:
                self._write_without(damaged)
                self._load()  # every offset has changed
                return mended
        now = os.fstat(self._descriptor())
        self._file, self._end = (now.st_dev, now.st_ino), end
        return mended

    def _miss_lines(self) -> None:
        """Count the numbers that no line bears; go on with those after them."""
        with suppress(*NO_LINE, OSError):  # then none is known to be missing
            lines, self._known = noted_end(self.path) or (0, 0)
            self._last = max(self._last, lines)
        self._missing = max(0, self._last - self._numbered)

    def _set_aside(self, damaged: dict[int, int]) -> str:
        aside = self.path.with_name(f"{self.path.name}.damaged")
        with aside.open("ab") as out:
            for offset, size in damaged.items():
                out.write(os.pread(self._descriptor(), size, offset).removesuffix(b"\n") + b"\n")
            out.flush()
            os.fsync(out.fileno())
        return f"{self.path}: {sum(damaged.values())} bytes that are no whole line were set aside in {aside.name}"

    def _write_without(self, damaged: dict[int, int]) -> None:
        """Put a file without the damaged pieces in the place of this one."""
        with whole_file(self.path) as out:
            out.writelines(line for offset, line in self._lines() if offset not in damaged)
        self.close()
        self._fd = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)


def sync_folder(path: Path) -> None:
    """Make the names in a folder durable, where its file system can."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with suppress(OSError):  # some network file systems refuse
            os.fsync(fd)
    finally:
        os.close(fd)
