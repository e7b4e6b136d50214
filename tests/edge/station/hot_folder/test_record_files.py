"""What is on record in OUT."""

import hashlib
import json
import os
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from edge.station.hot_folder.record_files import Ledger, record_id
from edge.station.hot_folder.sealed import sealed
from edge.station.records import FIRST_KEYS, from_line, rejected, said, to_line
from tests.hot_folder import lines


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _record(name: str, number: int = 1, maps: int = 1) -> dict[str, Any]:
    what = said(None, format=None, file=name, file_sha256=_sha256(name), map=number, maps=maps)
    return rejected(name, "?", input_sha256=_sha256(name), bundle_sha256="b", said=what)


def _old(name: str) -> dict[str, Any]:
    """Return a record as it was before there were files of many maps."""
    return {key: value for key, value in _record(name).items() if key in FIRST_KEYS}


def _line(record: dict[str, Any]) -> tuple[dict[str, Any], str]:
    return record, to_line(record)


@pytest.fixture
def ledger(tmp_path: Path) -> Any:
    found = Ledger(tmp_path)
    assert found.open() == []
    yield found
    found.close()


def test_records_are_known_by_their_hash_now_and_after_a_restart(ledger: Ledger, tmp_path: Path) -> None:
    assert len(ledger) == 0
    ledger.add_records([_line(_record(name)) for name in ("a", "b")])
    ledger.add_records([])
    assert len(ledger) == 2
    assert lines(tmp_path / "records.jsonl") == [_record("a"), _record("b")]
    for found in (ledger, Ledger(tmp_path)):
        found.open()
        assert len(found) == 2
        assert found.records_of(_sha256("b")) == [_record("b")]
        assert found.records_of(_sha256("c")) is None
        found.close()
    with pytest.raises(ValueError, match="is no SHA-256"):
        ledger.records_of("ab" * 16)


def test_a_file_of_many_maps_is_known_when_all_its_records_are(ledger: Ledger, tmp_path: Path) -> None:
    four = [_record("a", number, maps=4) for number in range(1, 5)]
    ledger.add_records([_line(record) for record in four[:3]])
    assert ledger.records_of(_sha256("a")) is None
    assert [ledger.is_on_record(record) for record in four] == [True, True, True, False]
    ledger.add_records([_line(four[3])])
    again = Ledger(tmp_path)
    assert again.open() == []
    for found in (ledger, again):
        assert found.records_of(_sha256("a")) == four
        assert len(found) == 4
    again.close()


def test_a_record_of_the_release_before_is_known_by_the_hash_of_its_file(tmp_path: Path) -> None:
    (tmp_path / "records.jsonl").write_text(to_line(_old("a")))
    ledger = Ledger(tmp_path)
    assert ledger.open() == []
    assert ledger.records_of(_sha256("a")) == [_old("a")]
    assert ledger.is_on_record(_record("a"))
    assert not ledger.is_on_record(_record("a", 2, maps=2))
    ledger.close()


@pytest.mark.parametrize(
    "change",
    [
        *({"file_sha256": value} for value in ("ab", None)),
        *({"map": value} for value in (..., None, 0, "1", True, 2)),
        *({"maps": value} for value in (..., "1", 0, 1.5)),
    ],
)
def test_a_sealed_line_without_its_place_in_a_file_is_no_record(change: dict[str, Any], tmp_path: Path) -> None:
    record = {key: value for key, value in (_record("a") | change).items() if value is not ...}
    (tmp_path / "records.jsonl").write_bytes(sealed(to_line(record), 1) + sealed(to_line(_record("b")), 2))
    ledger = Ledger(tmp_path)
    assert len(ledger.open()) == len(ledger) == 1
    assert lines(tmp_path / "records.jsonl") == [_record("b")]
    ledger.close()


def test_duplicates_are_known_by_name_and_contents(ledger: Ledger, tmp_path: Path) -> None:
    ledger.add_records([_line(_record("a"))])
    ledger.add_duplicates([("copy", _sha256("a"), "a"), ("other", _sha256("a"), "a")])
    assert len(ledger) == 1, "a duplicate is no record"
    again = Ledger(tmp_path)
    again.open()
    for found in (ledger, again):
        assert found.is_duplicate("copy", _sha256("a"))
        assert found.is_duplicate("other", _sha256("a"))
        assert not found.is_duplicate("copy", _sha256("b"))
        assert not found.is_duplicate("a", _sha256("a"))
    again.close()
    found_lines = lines(tmp_path / "duplicates.jsonl")
    times = [datetime.fromisoformat(line.pop("time")) for line in found_lines]
    assert found_lines == [{"id": name, "input_sha256": _sha256("a"), "first_id": "a"} for name in ("copy", "other")]
    assert all(time.utcoffset() == timedelta(0) and time.microsecond == 0 for time in times)
    assert all(abs(datetime.now(timezone.utc) - time) < timedelta(minutes=5) for time in times)


def test_what_was_mended_is_told_of_both_files(tmp_path: Path) -> None:
    (tmp_path / "records.jsonl").write_text(to_line(_old("a")) + "{")
    (tmp_path / "duplicates.jsonl").write_text("no line\n")
    ledger = Ledger(tmp_path)
    told = ledger.open()
    assert [text.split(":")[0].rpartition("/")[2] for text in told] == ["records.jsonl", "duplicates.jsonl"]
    assert ledger.open() == []
    ledger.close()


@pytest.mark.parametrize(
    "change",
    [
        {"id": None},
        {"id": 5},
        {"status": "done"},
        {"status": None},
        {"input_sha256": "ab"},
        {"input_sha256": None},
        *({key: ...} for key in FIRST_KEYS),
        {"more": 1},
    ],
)
def test_a_line_that_is_no_record_is_set_aside(change: dict[str, Any], tmp_path: Path) -> None:
    record = {key: value for key, value in (_old("a") | change).items() if value is not ...}
    (tmp_path / "records.jsonl").write_text(json.dumps(record) + "\n" + to_line(_old("b")))
    ledger = Ledger(tmp_path)
    assert len(ledger.open()) == 1
    assert len(ledger) == 1
    assert json.loads((tmp_path / "records.jsonl.damaged").read_text()) == record
    assert from_line((tmp_path / "records.jsonl").read_text()) == _old("b")
    ledger.close()


@pytest.mark.parametrize("change", [{"id": None}, {"id": 5}, {"input_sha256": "ab"}])
def test_a_line_that_is_no_duplicate_is_set_aside(change: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "duplicates.jsonl").write_text(json.dumps({"id": "a", "input_sha256": _sha256("a")} | change) + "\n")
    ledger = Ledger(tmp_path)
    assert len(ledger.open()) == 1
    assert (tmp_path / "duplicates.jsonl").read_text() == ""
    ledger.close()


def test_a_record_of_a_later_version_with_more_keys_counts(tmp_path: Path) -> None:
    (tmp_path / "records.jsonl").write_bytes(sealed(json.dumps(_record("a") | {"more": 1}) + "\n", 1))
    ledger = Ledger(tmp_path)
    assert ledger.open() == []
    assert len(ledger) == 1
    ledger.close()


def test_the_id_of_a_name_that_is_no_unicode_can_be_read() -> None:
    assert record_id("w 1.npy") == "w 1.npy"
    assert record_id(os.fsdecode(b"w\xff.npy")) == "w\\xff.npy"
    assert record_id("w\\xff.npy") == "w\\\\xff.npy", "no other name has the id of this one"
