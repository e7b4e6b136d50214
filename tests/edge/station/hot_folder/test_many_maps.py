"""Files of many maps in the hot folder: a record per map, all of them once, whatever happens in between."""

import json
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pytest

import edge.station.hot_folder.inbox as inboxes
from edge.station.classifier import Classifier
from edge.station.inputs import wafer_name
from edge.station.records import FIRST_KEYS, Record, answered, said, to_line
from tests.hot_folder import BUNDLE, judge, lines, names, once, sha256
from tests.station import npy, synthetic, wafer_set
from tests.wafer_tf.formats.writers_stdf import write_stdf
from wafer_tf.dies import grid_sha256
from wafer_tf.formats.wafer_map import WaferMap

GRIDS = synthetic(1)[:4]
STDF = write_stdf([(grid, "L7", f"{number:02}") for number, grid in enumerate(GRIDS, 1)])


def test_a_file_of_four_wafers_gives_four_records_and_goes_to_done(
    inbox: Path, out: Path, nano: Classifier, capsys: pytest.CaptureFixture[str]
) -> None:
    (inbox / "lot.stdf").write_bytes(STDF)
    assert once(inbox, out, nano.judge_each) == 0
    found = lines(out / "records.jsonl")
    assert [record["id"] for record in found] == ["L7/01", "L7/02", "L7/03", "L7/04"]
    assert [(record["map"], record["maps"]) for record in found] == [(number, 4) for number in (1, 2, 3, 4)]
    assert [record["input_sha256"] for record in found] == [grid_sha256(grid) for grid in GRIDS]
    about = {(record["status"], record["file"], record["file_sha256"], record["format"]) for record in found}
    assert about == {("ok", "lot.stdf", sha256(STDF), "STDF V4")}
    assert (names(inbox), names(inbox / "done")) == (set(), {"lot.stdf"})
    assert "4 seen: 4 ok" in capsys.readouterr().err


@pytest.mark.parametrize("there", [1, 2, 3])
def test_a_station_killed_among_the_lines_of_a_file_writes_those_that_are_missing(
    there: int, inbox: Path, out: Path, nano: Classifier
) -> None:
    (inbox / "lot.stdf").write_bytes(STDF)
    assert once(inbox, out, nano.judge_each) == 0
    path = out / "records.jsonl"
    kept = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(kept[:there]))
    (inbox / "done" / "lot.stdf").rename(inbox / "lot.stdf")
    assert once(inbox, out, nano.judge_each) == 0
    assert path.read_bytes().splitlines(keepends=True)[:there] == kept[:there]
    assert [record["map"] for record in lines(path)] == [1, 2, 3, 4]
    assert names(inbox / "done") == {"lot.stdf"}
    assert lines(out / "duplicates.jsonl") == []


def test_the_same_contents_under_another_name_are_a_duplicate_and_under_the_same_are_known(
    inbox: Path, out: Path, nano: Classifier, capsys: pytest.CaptureFixture[str]
) -> None:
    (inbox / "lot.stdf").write_bytes(STDF)
    assert once(inbox, out, nano.judge_each) == 0

    def no_judge(data: bytes | BinaryIO, name: str) -> list[Record]:
        raise AssertionError("it was judged again")

    for name, counted in (("copy", "1 duplicates, 0"), ("lot.stdf", "0 duplicates, 1"), ("copy", "0 duplicates, 1")):
        (inbox / name).write_bytes(STDF)
        assert once(inbox, out, no_judge) == 0
        assert f"{counted} recorded before" in capsys.readouterr().err
    assert len(lines(out / "records.jsonl")) == 4
    (line,) = lines(out / "duplicates.jsonl")
    assert (line["id"], line["first_id"], line["input_sha256"]) == ("copy", "lot.stdf", sha256(STDF))
    assert names(inbox / "done") == {"lot.stdf", "copy"}


def test_a_file_goes_to_quarantine_only_where_all_its_maps_are_bad(inbox: Path, out: Path, nano: Classifier) -> None:
    seven = np.full((3, 3), 7, np.uint8)
    (inbox / "one.npz").write_bytes(wafer_set([GRIDS[0], seven, GRIDS[1]]))
    (inbox / "all.npz").write_bytes(wafer_set([seven, np.zeros((3, 3), np.uint8)]))
    assert once(inbox, out, nano.judge_each) == 0
    found = {(record["file"], record["map"]): record for record in lines(out / "records.jsonl")}
    assert [found["one.npz", number]["status"] for number in (1, 2, 3)] == ["ok", "rejected", "ok"]
    assert [found["all.npz", number]["status"] for number in (1, 2)] == ["rejected", "rejected"]
    assert names(inbox / "done") == {"one.npz"}
    assert names(inbox / "quarantine") == {"all.npz", "all.npz.reason.txt"}
    first = found["all.npz", 1]["reason"]
    assert "die state 7" in first
    assert (inbox / "quarantine" / "all.npz.reason.txt").read_text() == first + "\n"


def test_a_large_file_is_judged_from_the_open_file(
    inbox: Path, out: Path, nano: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[Any] = []

    def noting(data: bytes | BinaryIO, name: str) -> Any:
        given.append(data)
        return nano.judge_each(data, name)

    monkeypatch.setattr(inboxes, "MAX_IN_MEMORY", len(STDF) - 1)
    (inbox / "lot.stdf").write_bytes(STDF)
    (inbox / "small.npy").write_bytes(npy(GRIDS[0]))
    assert once(inbox, out, noting) == 0
    assert sorted(isinstance(data, bytes) for data in given) == [False, True]
    assert all(isinstance(data, bytes) or data.closed for data in given)
    found = [record for record in lines(out / "records.jsonl") if record["file"] == "lot.stdf"]
    assert [record["input_sha256"] for record in found] == [grid_sha256(grid) for grid in GRIDS]
    assert {record["file_sha256"] for record in found} == {sha256(STDF)}


def test_a_record_of_the_release_before_is_known_and_its_file_not_judged_again(inbox: Path, out: Path) -> None:
    out.mkdir()
    old = {key: judge(b"one", "w.txt")[0][key] for key in FIRST_KEYS}
    (out / "records.jsonl").write_text(json.dumps(old) + "\n")
    for name in ("w.txt", "copy.txt"):
        (inbox / name).write_bytes(b"one")
    assert once(inbox, out) == 0
    assert lines(out / "records.jsonl") == [old]
    assert [(line["id"], line["first_id"]) for line in lines(out / "duplicates.jsonl")] == [("copy.txt", "w.txt")]
    assert names(inbox / "done") == {"w.txt", "copy.txt"}


def test_the_longest_record_there_may_be_is_read_back(inbox: Path, out: Path) -> None:
    wide = "\U0001f600"  # twelve bytes in JSON
    long = wide * 30_000
    wafers = [WaferMap(grid=GRIDS[0], lot=long, wafer=long, product=long, step=long, time=long, warnings=(long,) * 99)]

    def wordy(data: bytes, name: str) -> list[Record]:
        what = said(wafers[0], format=long, file=name, file_sha256=BUNDLE)
        about: dict[str, Any] = {"input_sha256": BUNDLE, "bundle_sha256": BUNDLE}
        return [answered(wafer_name(long, long, name), np.ones(9) / 9, ms=1.0, said=what, **about)] * 2

    for name in (wide * 60, "copy"):
        (inbox / name).write_bytes(b"1")
        assert once(inbox, out, wordy) == 0
    found = lines(out / "records.jsonl")
    assert 2**16 < len(to_line(found[0])) < 2**17
    assert len(found) == 2
    assert len(lines(out / "duplicates.jsonl")) == 1
    assert {path.name for path in out.iterdir() if path.suffix == ".damaged"} == set()
