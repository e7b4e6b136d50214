"""A hot folder with a stand-in for the model, in a thread or as a process that can be killed.

python -m tests.hot_folder IN OUT [SECONDS_PER_WAFER]

A file that holds "poison" kills the process as soon as it is to be judged.
"""

import hashlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from edge.station.hot_folder.inbox import MAX_BYTES, Inbox
from edge.station.hot_folder.loop import HotFolder, JudgeFile
from edge.station.hot_folder.sealed import unsealed
from edge.station.hot_folder.status import Status
from edge.station.hot_folder.watch import watch
from edge.station.records import FIRST_KEYS, NOTHING_SAID, Record, rejected
from tests import ROOT
from wafer_tf.command import run
from wafer_tf.dies import CLASSES

BUNDLE = "b" * 64


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def judge(data: bytes, name: str) -> list[Record]:
    """Reject what begins with "bad"; find as many maps as there are lines in anything else, all of them Scratch.

    One whose line begins with "odd" is unknown.
    """
    if data.startswith(b"bad"):
        return [rejected(name, "it begins with bad", input_sha256=sha256(data), bundle_sha256=BUNDLE, ms=0.5)]
    probabilities = dict.fromkeys(CLASSES, 0.0) | {"Scratch": 1.0}
    found = []
    for line in data.splitlines():
        decision, score = ("unknown", 0.997) if line.startswith(b"odd") else ("defect", 0.5)
        values = (name, sha256(data), BUNDLE, "ok", "Scratch", probabilities, decision, 2.0, None)
        later = {"unknown_score": score, "set": None, "patterns": None}
        found.append(dict(zip(FIRST_KEYS, values, strict=True)) | NOTHING_SAID | later)
    return found


def recorded(data: bytes, name: str) -> list[Record]:
    """Return the records that a station with this judge writes of a file."""
    found = judge(data, name)
    about = {"file": name, "file_sha256": sha256(data), "maps": len(found)}
    return [record | about | {"map": number} for number, record in enumerate(found, 1)]


def lines(path: Path, *, running: bool = False) -> list[dict[str, Any]]:
    """Read a file of JSON lines, none of them damaged; the last may be unfinished while a station is running."""
    text = path.read_text()
    if running:
        text = text[: text.rfind("\n") + 1]
    assert not text or text.endswith("\n")
    return [unsealed(line.encode())[0] for line in text.splitlines(keepends=True)]


def names(folder: Path) -> set[str]:
    """Return the names of the files in a folder, hidden ones left out; none where it is not there."""
    if not folder.is_dir():
        return set()
    return {path.name for path in folder.iterdir() if path.is_file() and not path.name.startswith(".")}


def wait_for(condition: Callable[[], object], what: str, seconds: float = 60) -> None:
    """Wait until a condition holds; fail after a time that no machine should need."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.01)


def once(inbox: Path, out: Path, judge: JudgeFile = judge, **options: Any) -> int:
    """Judge what waits, at once; return the exit code."""
    given = {"bundle_sha256": BUNDLE, "poll_s": 0.01, "settle_s": 0.0, "first_retry_s": 0.01} | options
    return run(lambda: watch(inbox, out, judge, once=True, **given))


class Running:
    """A station in a thread, for as long as the `with` block lasts."""

    def __init__(
        self,
        inbox: Path,
        out: Path,
        judge: JudgeFile = judge,
        *,
        settle_s: float = 0.0,
        metrics_file: Path | None = None,
        report_s: float = 60.0,
    ) -> None:
        status = Status(BUNDLE, metrics_file=metrics_file, report_s=report_s, first_retry_s=0.01)
        self.station = HotFolder(Inbox(inbox, settle_s=settle_s, max_bytes=MAX_BYTES), out, judge, status=status)
        self._ended: list[int | BaseException] = []
        self._thread = threading.Thread(target=self._work)

    def _work(self) -> None:
        try:
            self._ended.append(self.station.work(poll_s=0.01, once=False))
        except BaseException as error:
            self._ended.append(error)

    def __enter__(self) -> "Running":
        self._thread.start()
        return self

    def __exit__(self, *failed: object) -> None:
        self.station.stop = signal.SIGTERM
        self._thread.join()
        (end,) = self._ended
        if isinstance(end, BaseException):
            raise AssertionError("the station crashed") from end
        assert end == 0


def start(*args: object, **options: Any) -> "subprocess.Popen[str]":
    """Start a station as a process of its own."""
    command = [sys.executable, "-m", "tests.hot_folder", *map(str, args)]
    return subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True, **options)


def _main(inbox: str, out: str, seconds: str = "0") -> int:
    def slow_judge(data: bytes, name: str) -> Iterable[Record]:
        time.sleep(float(seconds))
        if data == b"poison":
            os.kill(os.getpid(), signal.SIGKILL)
        return judge(data, name)

    return run(
        lambda: watch(
            Path(inbox), Path(out), slow_judge, bundle_sha256=BUNDLE, poll_s=0.02, settle_s=0.02, first_retry_s=0.05
        )
    )


if __name__ == "__main__":
    raise SystemExit(_main(*sys.argv[1:]))
