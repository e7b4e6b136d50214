"""What is wrong just now, said when it begins, changes and ends and once a minute between; and when to try again."""

from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic

FIRST_RETRY_S, MAX_RETRY_S = 1.0, 30.0
"""The wait before something that failed is tried again doubles from the one to the other."""
MAX_FILES = 5
"""Failing files said within a minute; thousands are summed up."""


@dataclass
class _Fault:
    text: str
    since: float
    wait_s: float
    next_try: float
    said: bool


class Faults:
    """Places where something fails, each with its text and the time of the next try."""

    def __init__(self, say: Callable[[str], None], *, first_retry_s: float) -> None:
        """Begin with none.

        Args:
            say: tells people.
            first_retry_s: the shortest wait.
        """
        self._say, self._first_retry_s = say, first_retry_s
        self._at: dict[str, _Fault] = {}
        self._files_said = 0

    def __len__(self) -> int:
        return len(self._at)

    def __contains__(self, place: str) -> bool:
        return place in self._at

    def places(self) -> list[str]:
        """Return where something fails."""
        return list(self._at)

    def due(self, place: str) -> bool:
        """Whether the place may be tried now."""
        fault = self._at.get(place)
        return fault is None or monotonic() >= fault.next_try

    def add(self, place: str, text: str) -> None:
        """Note that the place fails, or fails again."""
        now = monotonic()
        fault = self._at.get(place)
        if fault is None:
            fault = self._at[place] = _Fault(text, now, self._first_retry_s, 0.0, said=False)
            fault.said = self._tell(place, f"{text}; it is tried again until it works")
        else:
            fault.wait_s = min(2 * fault.wait_s, MAX_RETRY_S)
            if fault.text != text:
                fault.text = text
                fault.said = self._tell(place, f"now {text}") or fault.said
        fault.next_try = now + fault.wait_s

    def clear(self, place: str) -> None:
        """Note that the place works."""
        fault = self._at.pop(place, None)
        if fault is not None and fault.said:
            self._say(f"{place}: works again after {monotonic() - fault.since:.0f} s")

    def forget(self, place: str) -> None:
        """Drop a place that is no more."""
        self._at.pop(place, None)

    def remind(self) -> None:
        """Say what still fails; to be called once a minute."""
        self._files_said = 0
        files = [place for place in self._at if is_file(place)]
        for place in [place for place in self._at if not is_file(place)] + files[:MAX_FILES]:
            fault = self._at[place]
            fault.said = True
            self._say(f"{place}: still {fault.text}, for {monotonic() - fault.since:.0f} s")
        if len(files) > MAX_FILES:
            self._say(f"and {len(files) - MAX_FILES} more files")

    def _tell(self, place: str, text: str) -> bool:
        """Say a fault, unless it is of one file too many; return whether it was said."""
        self._files_said += is_file(place)
        if not is_file(place) or self._files_said <= MAX_FILES:
            self._say(f"{place}: {text}")
            return True
        if self._files_said == MAX_FILES + 1:
            self._say("more files fail; they are summed up every minute")
        return False


def file_place(name: str) -> str:
    """Return the place of one file."""
    return f"file {name!r}"


def is_file(place: str) -> bool:
    """Whether a place is one file."""
    return place.startswith("file ")
