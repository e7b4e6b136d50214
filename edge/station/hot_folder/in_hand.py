"""Which files are being read, written down before they are: what ends the station, or the machine, can then be told.

OUT/in_hand.json holds two lines. The first, made durable at every batch, names the files that are read next, and those
that were in hand when a station ended. The second names the file in hand; it is written at every file and synced at
none, and so outlives the process, not the machine. After a death of the process it tells the one file; after one of
the machine, which the system's boot id tells, all files of the first line are suspects, and are read one by one. Both
lines are sealed: torn, or with a bit changed, one is not believed. Standard library alone.
"""

import json
import os
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path
from typing import Any

from edge.station.hot_folder.sealed import NO_LINE, sealed, unsealed

IN_HAND = "in_hand.json"
DEATHS = 3
"""Times a file may be in hand when the station ends before it goes to quarantine unread. Two are not enough: of 165
kills at random moments of judging, one met a file that is well for the second time."""
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")

Place = tuple[str, tuple[int, ...]]
"""A file's name in IN, and its stamp."""


class InHand:
    """The files in hand, and how often each was when a station ended."""

    def __init__(self, path: Path) -> None:
        self._path, self._fd = path, -1
        self._deaths: dict[Place, int] = {}
        self._next: frozenset[Place] = frozenset()
        self._hand_at = 0

    def open(self) -> str | None:
        """Read what an earlier station left; return in words what was in hand when it ended, if anything was.

        Raises:
            OSError: the file cannot be read or made now.
        """
        self.close()
        self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        ended: list[Place] = []
        words = None
        with suppress(*NO_LINE):  # then it is not known what was in hand
            first, _, second = os.pread(self._fd, 1 << 20, 0).partition(b"\n")
            left, _ = unsealed(first + b"\n")
            self._deaths = {_place(name, stamp): int(deaths) for name, stamp, deaths in left["deaths"]}
            if left["boot"] != _boot_id():
                ended = [_place(*place) for place in left["next"]]
                words = f"{len(ended)} files were to be read when the machine went down; they are judged one by one,"
            elif second:
                hand, _ = unsealed(second)
                ended = [_place(*hand["hand"])]
                words = f"{ended[0][0]}: was being read when the last station ended; it is judged"
        for place in ended:
            self._deaths[place] = self._deaths.get(place, 0) + 1
        self._write(())
        os.fsync(self._fd)
        return f"{words} after the others" if ended else None

    def close(self) -> None:
        """Close the file; nothing is in hand."""
        if self._fd >= 0:
            with suppress(OSError):
                self._write(())
            os.close(self._fd)
            self._fd = -1

    def expect(self, places: Collection[Place]) -> None:
        """Make durable which files are read next; nothing else is. Raises OSError."""
        self._write(places)
        os.fsync(self._fd)

    def expects(self, name: str, stamp: tuple[int, ...]) -> bool:
        """Whether a file is among those that are read next."""
        return (name, stamp) in self._next

    def rest(self) -> None:
        """Write down that none is to be read, if that can be done: it saves suspicions alone."""
        if self._next:
            with suppress(OSError):
                self._write(())

    def take(self, name: str, stamp: tuple[int, ...]) -> None:
        """Write down that a file is read now. Raises OSError."""
        os.pwrite(self._fd, sealed(json.dumps({"hand": (name, stamp)}) + "\n", 2), self._hand_at)

    def drop(self) -> None:
        """Write down that none is. Raises OSError."""
        os.ftruncate(self._fd, self._hand_at)

    def deaths(self, name: str, stamp: tuple[int, ...]) -> int:
        """Return how often a file was in hand when a station ended."""
        return self._deaths.get((name, stamp), 0)

    def forget(self, name: str, stamp: tuple[int, ...]) -> None:
        """Forget a file that is on record."""
        self._deaths.pop((name, stamp), None)

    def forget_gone(self, is_there: Callable[[Place], bool]) -> None:
        """Forget the files that are not there any more."""
        self._deaths = {place: deaths for place, deaths in self._deaths.items() if is_there(place)}

    def _write(self, places: Collection[Place]) -> None:
        deaths = [[name, list(stamp), count] for (name, stamp), count in self._deaths.items()]
        text = sealed(json.dumps({"boot": _boot_id(), "deaths": deaths, "next": list(places)}) + "\n", 1)
        os.pwrite(self._fd, text, 0)
        os.ftruncate(self._fd, len(text))
        self._next, self._hand_at = frozenset(places), len(text)


def _boot_id() -> str:
    """Return what the system calls the time since its start; "" where it does not say."""
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        return ""


def _place(name: Any, stamp: Any) -> Place:
    return str(name), tuple(int(part) for part in stamp)
