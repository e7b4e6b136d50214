"""What a signal does to a station within this process, and what `watch` hands on."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edge.station.hot_folder import watch as module
from edge.station.hot_folder.watch import watch
from edge.station.records import Record
from tests.hot_folder import BUNDLE, judge, lines, names, once


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    """IN, with three files that are judged by their names."""
    path = tmp_path / "in"
    path.mkdir()
    for n in range(3):
        (path / f"w{n}").write_bytes(b"%d" % n)
        os.utime(path / f"w{n}", (1e9 + n, 1e9 + n))
    return path


@pytest.fixture
def not_ignored() -> Iterator[None]:
    """A shell may have started the tests with SIGINT ignored, and what is ignored stays ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("not_ignored")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_a_signal_ends_the_station_after_the_wafer_in_hand(number: int, code: int, inbox: Path, tmp_path: Path) -> None:
    before = signal.getsignal(number)
    within: list[Any] = []

    def signalling(data: bytes, name: str) -> list[Record]:
        asked = signal.getsignal(number)
        os.kill(os.getpid(), number)
        within.append((asked == before, signal.getsignal(number)))
        return judge(data, name)

    assert once(inbox, tmp_path / "out", signalling) == code
    assert within == [(False, signal.SIG_DFL)], "a second signal ends the process at once"
    assert signal.getsignal(number) == before
    assert [record["id"] for record in lines(tmp_path / "out" / "records.jsonl")] == ["w0"]
    assert (names(inbox), names(inbox / "done")) == ({"w1", "w2"}, {"w0"})


def test_a_signal_that_is_ignored_stays_ignored(inbox: Path, tmp_path: Path) -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:

        def signalling(data: bytes, name: str) -> list[Record]:
            os.kill(os.getpid(), signal.SIGINT)
            return judge(data, name)

        assert once(inbox, tmp_path / "out", signalling) == 0
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
    assert names(inbox / "done") == {"w0", "w1", "w2"}


@pytest.mark.parametrize("given", [False, True])
def test_what_a_user_leaves_out_is_this(
    given: bool, inbox: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, Any] = {}

    class Station:
        stop = None

        def __init__(self, inbox: Any, out: Path, judge: Any, *, status: Any, bundle: Any, prepare: Any) -> None:
            asked.update(inbox=inbox, out=out, judge=judge, status=status, bundle=bundle)

        def work(self, **options: Any) -> int:
            asked.update(options)
            return 7

    monkeypatch.setattr(module, "Inbox", lambda path, **options: (path, options))
    monkeypatch.setattr(module, "Status", lambda bundle, **options: (bundle, options))
    monkeypatch.setattr(module, "HotFolder", Station)
    options: dict[str, Any] = (
        {
            "poll_s": 0.5,
            "settle_s": 0.0,
            "metrics_file": str(tmp_path / "m"),
            "unknown_to": str(tmp_path / "strange"),
            "once": True,
            "max_bytes": 9,
            "report_s": 5.0,
            "first_retry_s": 0.1,
        }
        if given
        else {}
    )
    assert watch(str(inbox), str(tmp_path / "out"), judge, bundle_sha256=BUNDLE, **options) == 7
    told = {"settle_s": 0.0, "max_bytes": 9, "unknown_to": tmp_path / "strange"}
    assert asked["inbox"] == (
        inbox,
        told if given else {"settle_s": 2.0, "max_bytes": 2**32, "unknown_to": None},
    )
    metrics = {"metrics_file": tmp_path / "m", "report_s": 5.0, "first_retry_s": 0.1}
    plain = {"metrics_file": None, "report_s": 60.0, "first_retry_s": 1.0}
    assert asked["status"] == (BUNDLE, metrics if given else plain)
    assert (asked["out"], asked["judge"], asked["bundle"]) == (tmp_path / "out", judge, None)
    assert (asked["poll_s"], asked["once"]) == ((0.5, True) if given else (1.0, False))


@pytest.mark.parametrize(
    ("poll_s", "settle_s", "taken"), [(0.001, 0.0, True), (0.0, 0.0, False), (-1.0, 2.0, False), (1.0, -0.1, False)]
)
def test_waits_below_nothing_are_wrong(
    poll_s: float, settle_s: float, taken: bool, inbox: Path, tmp_path: Path
) -> None:
    assert once(inbox, tmp_path / "out", poll_s=poll_s, settle_s=settle_s) == (0 if taken else 2)
