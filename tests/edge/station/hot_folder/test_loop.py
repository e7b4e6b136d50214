"""The hot folder at work: what is said, in which portions lines are made durable, and what a record is given."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from edge.station.hot_folder import loop
from edge.station.hot_folder.inbox import Inbox
from edge.station.hot_folder.loop import HotFolder
from edge.station.hot_folder.record_files import Ledger
from edge.station.hot_folder.status import Status
from edge.station.records import Record
from tests.hot_folder import BUNDLE, judge, lines, names, once, sha256


def _send(inbox: Path, n: int) -> None:
    for k in range(n):
        (inbox / f"w{k:03}").write_bytes(b"%d" % k)
        os.utime(inbox / f"w{k:03}", (1e9 + k, 1e9 + k))


@pytest.fixture
def portions(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many records were made durable at a time."""
    found: list[int] = []
    real = Ledger.add_records

    def noting(self: Ledger, new: list[tuple[Record, str]]) -> None:
        found.append(len(new))
        real(self, new)

    monkeypatch.setattr(Ledger, "add_records", noting)
    return found


def test_the_first_word_is_what_is_watched_and_what_is_on_record(
    inbox: Path, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _send(inbox, 2)
    for known in (0, 2):
        assert once(inbox, out) == 0
        first = capsys.readouterr().err.splitlines()[0]
        assert first[20:] == f"watching {inbox}; {known} wafers on record in {out}"


def test_64_records_are_made_durable_at_a_time(inbox: Path, out: Path, portions: list[int]) -> None:
    _send(inbox, 130)
    assert once(inbox, out) == 0
    assert [n for n in portions if n] == [64, 64, 2]


def test_after_a_second_fewer_will_do(
    inbox: Path, out: Path, portions: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds

    monkeypatch.setattr(loop, "time", SimpleNamespace(monotonic=lambda: now[0], sleep=sleep))

    def slow(data: bytes, name: str) -> list[Record]:
        now[0] += 0.4
        return judge(data, name)

    _send(inbox, 7)
    monkeypatch.setattr(HotFolder, "_tell", lambda self, last=False: None)
    assert once(inbox, out, slow, poll_s=0.01) == 0
    assert [n for n in portions if n] == [3, 3, 1]


def test_what_lies_in_in_and_is_no_file_is_said_once_by_name(
    inbox: Path, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = Inbox(inbox, settle_s=0.0)
    station = HotFolder(found, out, judge, status=Status(BUNDLE, metrics_file=None, report_s=60, first_retry_s=1))

    def said() -> list[str]:
        found.scan()
        station._say_strange()
        return [line[20:] for line in capsys.readouterr().err.splitlines()]

    assert said() == []
    for name in "gfedc":
        (inbox / name).mkdir()
    five = ", ".join(f"{name!r} (a folder)" for name in "cdefg")
    assert said() == [f"left alone in {inbox}: {five}"]
    assert said() == []
    for name in "abhijkl":
        (inbox / name).mkdir()
    five = ", ".join(f"{name!r} (a folder)" for name in "abhij")
    assert said() == [f"left alone in {inbox}: {five} and 2 more"]
    (inbox / "a").rmdir()
    assert said() == []
    (inbox / "a").mkdir()
    assert said() == [f"left alone in {inbox}: 'a' (a folder)"], "it was gone in between"


def test_a_record_bears_the_name_and_hash_of_its_file_whatever_the_judge_says(inbox: Path, out: Path) -> None:
    def other(data: bytes, name: str) -> list[Record]:
        return [judge(data, name)[0] | {"id": "other", "input_sha256": "ab" * 32}]

    (inbox / "w").write_bytes(b"1")
    assert once(inbox, out, other) == 0
    (record,) = lines(out / "records.jsonl")
    assert (record["id"], record["input_sha256"]) == ("w", sha256(b"1"))


def test_of_a_file_of_too_many_maps_no_more_are_asked_for_than_show_it(
    inbox: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "MAX_MAPS", 7)
    given = []

    def many(data: bytes, name: str) -> Iterator[Record]:
        for _ in range(int(data)):
            given.append(name)
            yield judge(b"1", name)[0]

    (inbox / "fits").write_bytes(b"7")
    assert once(inbox, out, many) == 0
    assert [record["maps"] for record in lines(out / "records.jsonl")] == [7] * 7
    given.clear()
    (inbox / "w").write_bytes(b"9")
    assert once(inbox, out, many) == 0
    assert len(given) == 8
    *_, record = lines(out / "records.jsonl")
    assert (record["id"], record["status"], record["bundle_sha256"]) == ("w", "rejected", BUNDLE)
    assert record["reason"] == "over 7 maps; expected a file of at most that. Judge it by edge.classify"
    assert (record["file"], record["map"], record["maps"]) == ("w", 1, 1)
    assert names(inbox / "quarantine") == {"w", "w.reason.txt"}


def test_files_that_wait_are_those_without_a_record(inbox: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[int, bool]] = []
    monkeypatch.setattr(Status, "tell", lambda self, waiting, *, last=False: told.append((waiting, last)))

    def failing(data: bytes, name: str) -> list[Record]:
        if data in (b"1", b"2"):
            raise RuntimeError("no interpreter")
        return judge(data, name)

    _send(inbox, 5)
    assert once(inbox, out, failing) == 4
    assert told[-1] == (2, True)
    assert [last for _, last in told].count(True) == 1


def test_files_on_record_that_cannot_be_moved_do_not_wait(
    inbox: Path, out: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    told: list[int] = []
    monkeypatch.setattr(Status, "tell", lambda self, waiting, *, last=False: told.append(waiting))
    real = Inbox.put_away
    tried: list[str] = []

    def refusing(self: Inbox, taken: Any, reason: str | None, *, unknown: bool) -> bool:
        tried.append(taken.name)
        if taken.name == "w001":
            raise PermissionError(13, "Permission denied", str(inbox / taken.name))
        return real(self, taken, reason, unknown=unknown)

    _send(inbox, 3)
    with monkeypatch.context() as patch:
        patch.setattr(Inbox, "put_away", refusing)
        assert once(inbox, out, first_retry_s=60.0) == 4
    assert tried == ["w000", "w001", "w002"], "one that cannot be moved keeps no other; it is not due again"
    assert told[-1] == 0
    assert names(inbox / "done") == {"w000", "w002"}
    assert "moving: " in capsys.readouterr().err
    assert once(inbox, out) == 0
    assert len(lines(out / "records.jsonl")) == 3
    assert not names(inbox)


def test_a_station_that_is_asked_to_stop_takes_up_nothing_more(inbox: Path, out: Path) -> None:
    status = Status(BUNDLE, metrics_file=None, report_s=60, first_retry_s=1)
    station = HotFolder(Inbox(inbox, settle_s=0.0), out, judge, status=status)
    station.stop = signal.SIGTERM
    _send(inbox, 2)
    assert station.work(poll_s=0.01, once=False) == 0
    assert names(inbox) == {"w000", "w001"}


def test_between_two_looks_a_stop_is_noticed_within_a_tenth_of_a_second(
    inbox: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, slept = [100.0], list[float]()

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        now[0] += seconds
        if len(slept) == 25:
            station.stop = signal.SIGTERM

    monkeypatch.setattr(loop, "time", SimpleNamespace(monotonic=lambda: now[0], sleep=sleep))
    looks: list[float] = []
    monkeypatch.setattr(HotFolder, "_look", lambda self: looks.append(now[0]) or 0)
    status = Status(BUNDLE, metrics_file=None, report_s=60, first_retry_s=1)
    station = HotFolder(Inbox(inbox, settle_s=0.0), out, judge, status=status)
    assert station.work(poll_s=1.05, once=False) == 0
    assert looks == pytest.approx([100.0, 101.05, 102.1])
    assert max(slept) == 0.1
    assert slept[10] == pytest.approx(0.05)


def test_without_once_the_exit_code_is_0_whatever_failed(inbox: Path, out: Path) -> None:
    def failing(data: bytes, name: str) -> list[Record]:
        station.stop = signal.SIGTERM
        raise RuntimeError("no interpreter")

    _send(inbox, 1)
    status = Status(BUNDLE, metrics_file=None, report_s=60, first_retry_s=0.01)
    station = HotFolder(Inbox(inbox, settle_s=0.0), out, failing, status=status)
    assert station.work(poll_s=0.01, once=False) == 0
    assert len(status.faults) == 1


def test_a_file_that_failed_and_was_taken_away_fails_no_more(inbox: Path, out: Path) -> None:
    def failing(data: bytes, name: str) -> list[Record]:
        raise RuntimeError("no interpreter")

    _send(inbox, 2)
    found = Inbox(inbox, settle_s=0.0)
    status = Status(BUNDLE, metrics_file=None, report_s=60, first_retry_s=60)
    station = HotFolder(found, out, failing, status=status)
    station._look()
    station._look()
    assert status.faults.places() == ["file 'w000'", "file 'w001'"]
    (inbox / "w000").unlink()
    station._look()
    assert status.faults.places() == ["file 'w001'"]
    station._ledger.close()
    station._claim.release()


def test_what_prepares_for_a_file_comes_before_it_is_in_hand_and_fails_no_other(inbox: Path, out: Path) -> None:
    notes: list[str] = []

    def prepare(file: Any) -> None:
        notes.append((out / "in_hand.json").read_text())
        if file == b"1":
            raise RuntimeError("no process can be started")

    _send(inbox, 3)
    assert once(inbox, out, prepare=prepare) == 4
    assert [record["id"] for record in lines(out / "records.jsonl")] == ["w000", "w002"]
    assert names(inbox) == {"w001"}
    assert len(notes) >= 3
    assert not any('"hand"' in note for note in notes)
