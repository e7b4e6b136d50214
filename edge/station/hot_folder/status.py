"""What a station tells: counts and faults, to people on stderr and to machines in a file. Standard library alone."""

import sys
import time
from contextlib import suppress
from pathlib import Path

from edge.station.hot_folder.faults import Faults
from edge.station.hot_folder.metrics import Counts
from wafer_tf.errors import WaferError
from wafer_tf.whole_files import write_whole

METRICS_S, METRICS_IDLE_S = 1.0, 15.0
"""The metrics are written no more often than the one and, where nothing changes, no less often than the other."""
MAX_TEXT = 300
"""Characters of an error that are said."""


class Status:
    """Counts and faults of one process.

    Attributes:
        counts, faults: what was done, and what fails now.
    """

    def __init__(self, bundle_sha256: str, *, metrics_file: Path | None, report_s: float, first_retry_s: float) -> None:
        """Begin; `watch.watch` tells the arguments."""
        self.counts, self.faults = Counts(bundle_sha256), Faults(say, first_retry_s=first_retry_s)
        self._report_s, self._reported_at = report_s, time.monotonic()
        self._metrics_file, self._metrics_text, self._metrics_at = metrics_file, "", 0.0

    def fail(self, place: str, error: Exception) -> None:
        """Note that something failed at a place, whose first word is one of metrics.ERRORS."""
        self.counts.errors[_kind(place)] += 1
        self.faults.add(place, _text(error))

    def tell(self, waiting: int, *, last: bool = False) -> None:
        """Say the counts if a minute has passed, and write the metrics if they have changed; `last`: do both.

        Args:
            waiting: files in IN without a record.
            last: whether the station ends.
        """
        now = time.monotonic()
        if last or now - self._reported_at >= self._report_s:
            self._reported_at = now
            say(self.counts.line(waiting=waiting))
            self.faults.remind()
        since = now - self._metrics_at
        if self._metrics_file and (last or (since >= METRICS_S and self.faults.due("metrics"))):
            text = self.counts.text(waiting=waiting, faults=[_kind(place) for place in self.faults.places()])
            if last or text != self._metrics_text or since >= METRICS_IDLE_S:
                self._metrics_at = now
                self._write(self._metrics_file, text)

    def _write(self, path: Path, text: str) -> None:
        try:
            write_whole(path, text, durable=False)
        except OSError as error:
            self.fail("metrics", error)
        else:
            self._metrics_text = text
            self.faults.clear("metrics")


def say(text: str) -> None:
    """Tell people on stderr, with the time; a stderr that cannot be written to stops nothing."""
    text = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)  # a file's name may hold a line end
    with suppress(OSError, ValueError):
        print(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text}", file=sys.stderr, flush=True)


def _kind(place: str) -> str:
    """Return which of metrics.ERRORS a place belongs to."""
    return place.split(maxsplit=1)[0].lower()


def _text(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    text = str(error) if isinstance(error, WaferError) else f"{type(error).__name__}: {error}"
    return " ".join(text.split())[:MAX_TEXT]
