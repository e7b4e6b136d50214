"""Files that are still being written when the station looks at them."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import edge.station.hot_folder.inbox as inboxes
from edge.station.classifier import Classifier
from edge.station.hot_folder.inbox import Inbox
from edge.station.hot_folder.unfinished import looks_unfinished
from edge.station.records import Record
from tests import SHARED
from tests.hot_folder import Running, judge, lines, names, once, sha256, wait_for
from tests.station import npy, synthetic
from tests.wafer_tf.formats.writers_stdf import write_stdf

GRIDS = synthetic(1)[:4]
STDF = write_stdf([(grid, "L7", f"{number:02}") for number, grid in enumerate(GRIDS, 1)])
WHOLE = SHARED / "cases" / "12-half-written" / "whole.csv"


def _whole() -> bytes:
    if not WHOLE.is_file():
        pytest.skip("needs ../shared/cases")
    return WHOLE.read_bytes()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Put the clock of the inbox forward by so many seconds; it stands still otherwise."""
    now = [1000.0]
    monkeypatch.setattr(inboxes, "monotonic", lambda: now[0])
    return lambda seconds: now.__setitem__(0, now[0] + seconds)


def _is_taken(found: Inbox, name: str) -> bool:
    return name in found.scan() and found.take(name, stop=lambda: False) is not None


@pytest.mark.parametrize("kept", [13, 6, 20, 12.7])
def test_what_looks_unfinished_is_given_ten_times_the_settle_time(
    kept: float, inbox: Path, clock: Callable[[float], None]
) -> None:
    rows = _whole().splitlines(keepends=True)
    (inbox / "w.csv").write_bytes(b"".join(rows)[: int(kept * len(rows[0]))])
    found = Inbox(inbox, settle_s=2.0)
    assert not _is_taken(found, "w.csv")
    for _ in range(3):
        clock(6.6)
        assert not _is_taken(found, "w.csv")
    clock(0.2)
    assert _is_taken(found, "w.csv"), "a writer that is gone for 20 s has done its work"


def test_a_file_that_looks_finished_is_taken_at_once(inbox: Path, clock: Callable[[float], None]) -> None:
    found = Inbox(inbox, settle_s=2.0)
    files = {"whole.csv": _whole(), "lot.stdf": STDF, "w.npy": npy(GRIDS[0]), "w.xml": b"<a>\n</a>", "one": b"7"}
    for name, data in files.items():
        (inbox / name).write_bytes(data)
    found.scan()
    clock(2.0)
    assert all(_is_taken(found, name) for name in files)


@pytest.mark.parametrize(
    ("data", "unfinished"),
    [
        (b"x,y,bin\n0,0,1\n0,1,", True),
        (b"x,y,bin\n0,0,1\n0,1,1\n", False),
        (b"ROWCT:3\nRowData:01 01\nRowData:01", True),
        (b"<a>\n<b/>\n", False),
        (b"\xef\xbb\xbf<a>\n</a>", False),
        (b"<a>\n<b", True),
        ("1,1\n1,1\n".encode("utf-16"), False),
        ("1,1\n1,".encode("utf-16"), True),
        (b"0 0 1 0 0\r\n0 1 1 1 0\r\n1 1 1 2 1\r\n", True),
        (b"00100\n01110\n11111\n01110\n00100\n", False),
        (b"BZh9\1\n\2", False),
        (b"", False),
        (b"\n\n", False),
    ],
)
def test_a_text_looks_unfinished_within_a_line_and_a_grid_within_a_wafer(data: bytes, unfinished: bool) -> None:
    assert looks_unfinished(data, data) is unfinished


def test_a_grid_that_comes_in_two_bursts_has_one_record_of_the_whole(inbox: Path, out: Path, nano: Classifier) -> None:
    whole = _whole()
    half = len(whole) // 2
    with Running(inbox, out, nano.judge_each, settle_s=0.2), (inbox / "w.csv").open("wb", buffering=0) as file:
        file.write(whole[:half])
        time.sleep(0.5)
        assert not names(inbox / "done"), "half of it was taken"
        file.write(whole[half:])
        wait_for(lambda: "w.csv" in names(inbox / "done"), "the whole")
    (record,) = lines(out / "records.jsonl")
    assert record["file_sha256"] == sha256(whole)


def test_a_writer_that_pauses_for_longer_has_the_whole_judged_last(inbox: Path, out: Path, nano: Classifier) -> None:
    whole = _whole()
    for data in (whole[: len(whole) // 2], whole):
        (inbox / "w.csv").write_bytes(data)
        assert once(inbox, out, nano.judge_each) == 0  # which waits for nothing
    first, last = lines(out / "records.jsonl")
    assert (first["file"], first["map"]) == (last["file"], last["map"]) == ("w.csv", 1)
    assert last["file_sha256"] == sha256(whole)
    assert names(inbox / "done") == {"w.csv", f"w.{sha256(whole)[:12]}.csv"}


@pytest.mark.parametrize("replaced", [False, True])
def test_what_changes_after_it_was_read_gets_no_record_and_no_copy_of_it_hangs_on_one(
    replaced: bool, inbox: Path, out: Path
) -> None:
    def changing(data: bytes, name: str) -> list[Record]:
        if data == b"half":
            written = inbox / ("new.part" if replaced else name)
            written.write_bytes(b"half and half")
            written.rename(inbox / name)
        return judge(data, name)

    for name in ("a", "copy"):
        (inbox / name).write_bytes(b"half")
        os.utime(inbox / name, (1e9, 1e9))
    (inbox / "other").write_bytes(b"other")
    assert once(inbox, out, changing) == 0
    found = {record["file"]: record["file_sha256"] for record in lines(out / "records.jsonl")}
    assert found == {"a": sha256(b"half and half"), "other": sha256(b"other")}
    assert [(line["id"], line["first_id"]) for line in lines(out / "duplicates.jsonl")] == [("copy", "a")]
    assert not names(inbox)
