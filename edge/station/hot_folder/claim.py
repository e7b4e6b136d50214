"""One station per folder, and the proof that a folder is still the one it was. Needs the standard library alone.

IN and OUT each hold a file LOCK. A running station locks it; the system ends the lock with the process, however that
ends. In both stands the same id: a share that is not mounted leaves an empty folder in its place, and the id tells.
"""

import errno
import fcntl
import os
import re
from contextlib import suppress
from pathlib import Path

from wafer_tf.errors import UsageError

LOCK = ".wafer_tf.lock"
READ_ONLY = (errno.EROFS, errno.EACCES, errno.EPERM)


class Claim:
    """The hold of one station on its two folders."""

    def __init__(self, inbox: Path, out: Path) -> None:
        self._inbox, self._out = inbox, out
        self._held: dict[str, tuple[Path, int]] = {}

    def take(self) -> None:
        """Lock both folders and pair them; where IN is read-only, OUT alone. What was held is let go first.

        Raises:
            UsageError: another process holds one of them, or IN belongs to another OUT.
            OSError: a folder cannot be used now.
        """
        self.release()
        try:
            fd = self._lock("OUT", self._out)
            known = _read_id(fd)
            try:
                inbox_fd = self._lock("IN", self._inbox)
            except OSError as error:
                if error.errno not in READ_ONLY:
                    raise
                inbox_fd = None
            paired = _read_id(inbox_fd) if inbox_fd is not None else None
            if paired and paired != known:
                raise UsageError(
                    f"OUT {self._out}: it is not the folder into which IN {self._inbox} was watched so far, and does "
                    f"not know what is on record. Is its share mounted? To go on with this OUT, delete {LOCK} in IN."
                )
            if not known:
                known = os.urandom(16).hex()
                _write_id(fd, known)
            if inbox_fd is not None and not paired:
                _write_id(inbox_fd, known)
        except (OSError, UsageError):
            self.release()
            raise

    def check(self, name: str) -> None:
        """Make sure that "IN" or "OUT" is still the folder that was locked, if it was.

        Raises:
            OSError: it is not, or cannot be reached.
        """
        if name in self._held:
            path, fd = self._held[name]
            if not os.path.samestat(path.stat(), os.fstat(fd)):
                raise FileNotFoundError(errno.ENOENT, "another folder is in its place", str(path.parent))

    def release(self, *names: str) -> None:
        """Let go of the folders named, of both where none is."""
        for name in names or list(self._held):
            if name in self._held:
                with suppress(OSError):
                    os.close(self._held.pop(name)[1])

    def _lock(self, name: str, folder: Path) -> int:
        path = folder / LOCK
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        self._held[name] = path, fd
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UsageError(
                f"{name} {folder}: another station is working in it; stop that one first, or give other folders."
            ) from None
        except OSError:  # a file system without locks
            pass
        return fd


def _read_id(fd: int) -> str | None:
    text = os.pread(fd, 64, 0)
    return text[:32].decode() if re.fullmatch(rb"[0-9a-f]{32}\n", text) else None


def _write_id(fd: int, value: str) -> None:
    os.ftruncate(fd, 0)
    os.pwrite(fd, value.encode() + b"\n", 0)
    os.fsync(fd)
