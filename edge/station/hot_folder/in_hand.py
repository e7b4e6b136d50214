"""Which file is being read, written down before it is: what ends the station can then be told. Standard library alone.

OUT/in_hand.json holds the file in hand, and the files that were in hand when a station ended without saying so. It is
one sealed line, written at every file and synced at none: it need outlive the process, not a power failure. Torn, or
with a bit changed, it is not believed.
"""

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from edge.station.hot_folder.sealed import NO_LINE, sealed, unsealed

DEATHS = 2
"""Times a file may be in hand when the station ends before it goes to quarantine unread."""

Place = tuple[str, tuple[int, ...]]
"""A file's name in IN, and its stamp."""


class InHand:
    """The file in hand, and how often each was when a station ended."""

    def __init__(self, path: Path) -> None:
        self._path, self._fd = path, -1
        self._deaths: dict[Place, int] = {}

    def open(self) -> str | None:
        """Read what an earlier station left; return the name of the file that was in hand when it ended, if one was.

        Raises:
            OSError: the file cannot be read or made now.
        """
        self.close()
        self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        hand = None
        with suppress(*NO_LINE):  # then it is not known what was in hand
            left, _ = unsealed(os.pread(self._fd, 1 << 20, 0))
            self._deaths = {_place(name, stamp): int(deaths) for name, stamp, deaths in left["deaths"]}
            hand = None if left["hand"] is None else _place(*left["hand"])
        if hand is not None:
            self._deaths[hand] = self._deaths.get(hand, 0) + 1
        self._write(None)
        return None if hand is None else hand[0]

    def close(self) -> None:
        """Close the file; nothing is in hand."""
        if self._fd >= 0:
            with suppress(OSError):
                self._write(None)
            os.close(self._fd)
            self._fd = -1

    def take(self, name: str, stamp: tuple[int, ...]) -> None:
        """Write down that a file is read now. Raises OSError."""
        self._write((name, stamp))

    def drop(self) -> None:
        """Write down that none is. Raises OSError."""
        self._write(None)

    def deaths(self, name: str, stamp: tuple[int, ...]) -> int:
        """Return how often a file was in hand when a station ended."""
        return self._deaths.get((name, stamp), 0)

    def forget(self, name: str, stamp: tuple[int, ...]) -> None:
        """Forget a file that is on record."""
        self._deaths.pop((name, stamp), None)

    def _write(self, hand: Place | None) -> None:
        deaths = [[name, list(stamp), count] for (name, stamp), count in self._deaths.items()]
        text = sealed(json.dumps({"hand": hand, "deaths": deaths}) + "\n", 1)
        os.pwrite(self._fd, text, 0)
        os.ftruncate(self._fd, len(text))


def _place(name: Any, stamp: Any) -> Place:
    return str(name), tuple(int(part) for part in stamp)
