"""The folder where wafer maps arrive: which files are whole, what they hold, and where they go. Needs numpy alone.

IN/              files arrive here
IN/done/         files on record, whatever the label
IN/quarantine/   files on record that could not be judged, each with NAME.reason.txt beside it
--unknown-to     another folder on the same file system, for files on record that hold an unknown wafer

A writer best names a file `.NAME`, or NAME.tmp, .part or .partial, and renames it when it is whole. Any other file is
whole when it has not changed for the settle time; for PATIENCE times that where it is empty, or looks unfinished. A
writer that pauses for longer has its file judged by halves: the first under its hash, the whole, when it has come under
the same name, once more under its own.

The first two lie inside IN because only there a rename is sure to be atomic.
"""

import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from io import BufferedReader, RawIOBase
from pathlib import Path
from time import monotonic
from typing import BinaryIO

from edge.station.hot_folder.unfinished import LOOKED_AT, looks_unfinished
from wafer_tf.whole_files import MAX_NAME, file_sha256, write_whole

DONE, QUARANTINE = "done", "quarantine"
REASON = ".reason.txt"
UNFINISHED = (".tmp", ".part", ".partial")
PATIENCE = 10
"""An empty file, and one that looks unfinished, must be quiet so many times longer: many writers make the file first
and fill it later, or write it piece by piece."""
MAX_BYTES = 2**32
"""A larger file is not judged. Test results of a lot, as STDF, take some hundred megabytes."""
MAX_IN_MEMORY = 16 * 2**20
"""A larger file is handed on open rather than in memory."""

_CHUNK = 2**20

Stamp = tuple[int, int, int]
"""Size in bytes, time of the last write and of the last change of any kind, in ns."""


@dataclass(frozen=True)
class Taken:
    """A file as it was read.

    Attributes:
        name: in IN.
        sha256: of its bytes.
        stamp: before and after it was read.
    """

    name: str
    sha256: str
    stamp: Stamp


class Inbox:
    """The files that wait in a folder."""

    def __init__(
        self, path: Path, *, settle_s: float, max_bytes: int = MAX_BYTES, unknown_to: Path | None = None
    ) -> None:
        """Name the folder.

        Args:
            path: the folder.
            settle_s: seconds for which a file must not have changed, over at least two scans.
            max_bytes: a larger file is hashed, but not given.
            unknown_to: folder of files with an unknown wafer; None: they go to `done`.
        """
        self._done, self._quarantine, self._unknown = path / DONE, path / QUARANTINE, unknown_to or path / DONE
        self._folders = tuple(dict.fromkeys((self._done, self._quarantine, self._unknown)))
        self._own = {folder.name for folder in self._folders if folder.resolve().parent == path.resolve()}
        self.path, self.strange = path, dict[str, str]()
        """`strange`: what is no file to be judged, and why."""
        self.max_bytes, self._settle_s = max_bytes, settle_s
        self._waiting: dict[str, tuple[Stamp, float]] = {}  # name: stamp, when it was first seen so

    def __len__(self) -> int:
        return len(self._waiting)

    def __contains__(self, name: str) -> bool:
        return name in self._waiting

    def __iter__(self) -> Iterator[str]:
        return iter(self._waiting)

    def make_folders(self) -> None:
        """Make `done`, `quarantine` and the folder of the unknown where that can be done, so that none is a file."""
        for folder in self._folders:
            with suppress(OSError):
                folder.mkdir()

    def stamp(self, name: str) -> Stamp:
        """Return the stamp of a file that waits, as it was last seen; of another zeros."""
        return self._waiting.get(name, ((0, 0, 0), 0.0))[0]

    def scan(self) -> list[str]:
        """Look at the folder; return the names of the files that are whole, the oldest first.

        Raises:
            OSError: the folder cannot be read now.
        """
        now = monotonic()
        waiting, whole, self.strange = {}, [], {}
        with os.scandir(self.path) as entries:
            for entry in entries:
                name = entry.name
                if name.startswith(".") or name.lower().endswith(UNFINISHED) or name in self._own:
                    continue
                try:
                    if not entry.is_file(follow_symlinks=False):
                        self.strange[name] = (
                            "a link" if entry.is_symlink() else "a folder" if entry.is_dir() else "no file"
                        )
                        continue
                    stamp = _stamp(entry.stat(follow_symlinks=False))
                except FileNotFoundError:
                    continue
                except OSError as error:
                    self.strange[name] = str(error.strerror or error)
                    continue
                known = self._waiting.get(name)
                if known is None or known[0] != stamp:
                    waiting[name] = (stamp, now)
                    continue
                waiting[name] = known
                if now - known[1] >= self._settle_s * (1 if stamp[0] else PATIENCE):
                    whole.append((stamp[1], name))
        self._waiting = waiting
        return [name for _, name in sorted(whole)]

    def take(self, name: str, *, stop: Callable[[], bool]) -> tuple[Taken, bytes | BinaryIO | None] | None:
        """Read a whole file.

        Args:
            name: one that `scan` returned.
            stop: asked now and then while a long file is read; True gives up.

        Returns:
            What it is and what it holds: its contents; the open file where it is over MAX_IN_MEMORY, to be closed by
            the caller; None where it is too large. Ask for it by `unchanged` when it has been used. None alone where
            the file was not quiet, or not for long enough, is gone, or the reading was given up.

        Raises:
            OSError: it cannot be read now.
        """
        if name not in self._waiting:  # moved since
            return None
        stamp, since = self._waiting[name]
        found = None
        try:
            fd = os.open(self.path / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            self._leave(name)
            return None
        with ExitStack() as open_files:
            file = open_files.enter_context(os.fdopen(fd, "rb", buffering=0))
            if _stamp(os.fstat(fd)) == stamp:
                if monotonic() - since < self._settle_s * PATIENCE and _looks_unfinished(fd, stamp[0]):
                    return None
                found = self._read(file, name, stamp, stop)
            if found is None:
                self._leave(name)
            elif isinstance(found[1], BufferedReader):
                open_files.pop_all()
        return found

    def unchanged(self, taken: Taken) -> bool:
        """Whether a file is still the one that was taken; if not, or if that cannot be told, it must be quiet anew."""
        with suppress(OSError):
            if _stamp_of(self.path / taken.name) == taken.stamp:
                return True
        self._leave(taken.name)
        return False

    def _read(
        self, file: RawIOBase, name: str, stamp: Stamp, stop: Callable[[], bool]
    ) -> tuple[Taken, bytes | BinaryIO | None] | None:
        given = stamp[0] <= min(MAX_IN_MEMORY, self.max_bytes)
        pieces, digest, size = list[bytes](), hashlib.sha256(), 0
        while piece := file.read(_CHUNK):
            digest.update(piece)
            size += len(piece)
            if size > stamp[0] or (not given and stop()):
                return None
            if given:
                pieces.append(piece)
        if size != stamp[0] or _stamp_of(self.path / name) != stamp:
            return None
        taken = Taken(name, digest.hexdigest(), stamp)
        if given:
            return taken, b"".join(pieces)
        if size > self.max_bytes:
            return taken, None
        file.seek(0)
        return taken, BufferedReader(file)

    def put_away(self, taken: Taken, reason: str | None, *, unknown: bool = False) -> bool:
        """Move a file to where files on record go; never onto a file of other contents.

        Args:
            taken: the file.
            reason: why none of its maps could be judged: it goes to `quarantine`; None of others.
            unknown: one of its wafers is unknown.

        Returns:
            False where it is not the file that was taken any more: it stays and is new.

        Raises:
            OSError: it cannot be moved now.
        """
        self._leave(taken.name)
        source = self.path / taken.name
        if _stamp_of(source) != taken.stamp:
            return False
        folder = self._quarantine if reason is not None else self._unknown if unknown else self._done
        folder.mkdir(exist_ok=True)
        target = _free(folder, taken.name, taken.sha256)
        if reason is not None:
            _write_reason(target, reason)
        if os.path.lexists(target) and source.samefile(target):
            target.unlink()  # two names of one file: a rename from one to the other does nothing
        source.rename(target)
        moved = _stamp_of(target)
        if moved and moved[:2] != taken.stamp[:2]:  # replaced between the look and the move
            target.rename(_free(self.path, taken.name, file_sha256(target)))
            return False
        return True

    def bring_back(self, is_known: Callable[[str], bool]) -> list[str]:
        """Move files that were put away and are not on record back into IN, where they are judged again.

        Args:
            is_known: whether contents of this SHA-256 are on record.

        Returns:
            The names they have in IN now.

        Raises:
            OSError: one cannot be read or moved now.
        """
        brought = []
        for folder in self._folders:
            for path in sorted(folder.iterdir()) if folder.is_dir() else []:
                if path.name.endswith(REASON) or path.is_symlink() or not path.is_file():
                    continue
                sha256 = file_sha256(path)
                if not is_known(sha256):
                    target = _free(self.path, path.name, sha256)
                    path.rename(target)
                    brought.append(target.name)
        return brought

    def _leave(self, name: str) -> None:
        """Forget when a file was first seen: it must be quiet anew."""
        self._waiting.pop(name, None)


def _stamp(found: os.stat_result) -> Stamp:
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _looks_unfinished(fd: int, size: int) -> bool:
    return looks_unfinished(os.pread(fd, LOOKED_AT, 0), os.pread(fd, LOOKED_AT, max(size - LOOKED_AT, 0)))


def _stamp_of(path: Path) -> Stamp | None:
    try:
        return _stamp(os.lstat(path))
    except FileNotFoundError:
        return None


def _free(folder: Path, name: str, sha256: str) -> Path:
    """Return the first of `name`, `name` with its hash in it, where nothing lies or the same contents."""
    stem, suffix = Path(name).stem, Path(name).suffix
    for ending in (suffix, f".{sha256[:12]}{suffix}", f".{sha256}{suffix}"):
        path = folder / _fitted(stem, ending)
        if not os.path.lexists(path) or (stat.S_ISREG(os.lstat(path).st_mode) and file_sha256(path) == sha256):
            return path
    raise FileExistsError(17, "another file is in the way", str(path))


def _fitted(stem: str, ending: str) -> str:
    """Return the file name stem + ending, the stem cut so far that a file system takes it."""
    room = MAX_NAME - len(os.fsencode(ending))
    return (stem if len(os.fsencode(stem)) <= room else os.fsencode(stem)[:room].decode(errors="ignore")) + ending


def _write_reason(target: Path, reason: str) -> None:
    """Write why beside the place where a file goes; whole or not at all."""
    text = (reason + "\n").encode(errors="backslashreplace")
    path = _free(target.parent, _fitted(target.name, REASON), hashlib.sha256(text).hexdigest())
    write_whole(path, text)
