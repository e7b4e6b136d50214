"""What is on record in OUT, and the lines that put it there. Needs the standard library alone.

records.jsonl      one record per wafer: per contents of a file, and per map in it
duplicates.jsonl   one line for every further file name with contents on record: id, input_sha256, first_id, time

Both are known by hashes: a file that is seen again, after a kill or because it was sent again, gets no second line.
"""

import json
import os
from collections.abc import Sequence
from datetime import datetime, timezone
from hashlib import sha256
from pathlib import Path

from edge.station.hot_folder import sealed
from edge.station.hot_folder.journal import Journal
from edge.station.hot_folder.sealed import Entry
from edge.station.records import FIRST_KEYS, OK, REJECTED, Record
from wafer_tf.errors import InputError

RECORDS, DUPLICATES = "records.jsonl", "duplicates.jsonl"


class Ledger:
    """The two journals of an OUT folder."""

    def __init__(self, out: Path) -> None:
        self._records = Journal(out / RECORDS, _record_key, was_unsealed=_is_first_record)
        self._duplicates = Journal(out / DUPLICATES, _duplicate_key, was_unsealed=_is_first_duplicate)

    def __len__(self) -> int:
        return len(self._records)

    def open(self) -> list[str]:
        """Open both; return what had to be mended. Raises OSError where that cannot be done now."""
        return [mended for journal in (self._records, self._duplicates) if (mended := journal.open())]

    def close(self) -> None:
        """Close both; what is known of them is kept for the next `open`."""
        self._records.close()
        self._duplicates.close()

    def records_of(self, file_sha256: str) -> list[Record] | None:
        """Return the records of a file with this hash, None if not all of them are there. Raises OSError."""
        records = [self._records.get(_map_key(file_sha256, 1))]
        if records[0] is not None:
            many = range(2, (records[0].get("maps") or 1) + 1)
            records += [self._records.get(_map_key(file_sha256, number)) for number in many]
        known = [record for record in records if record is not None]
        return known if len(known) == len(records) else None

    def is_on_record(self, record: Record) -> bool:
        """Whether a record of this map of this file is there already."""
        return _record_key(record) in self._records

    def is_duplicate(self, id: str, input_sha256: str) -> bool:
        """Whether this name with these contents is among the duplicates already."""
        return _name_and_contents(id, input_sha256) in self._duplicates

    def draft_records(self, lines: Sequence[str]) -> None:
        """Write lines that the next `add_records` begins with; till then they outlive the process. Raises OSError."""
        self._records.draft(lines)

    def add_records(self, records: Sequence[tuple[Record, str]]) -> None:
        """Make new records with their lines durable. Raises OSError, and then none is on record."""
        self._records.append([(_record_key(record), line) for record, line in records])

    def add_duplicates(self, duplicates: Sequence[tuple[str, str, str]]) -> None:
        """Make (id, input_sha256, first_id) durable. Raises OSError, and then none is on record."""
        now = datetime.now(timezone.utc).isoformat(timespec="seconds")
        self._duplicates.append(
            [
                (
                    _name_and_contents(id, input_sha256),
                    json.dumps({"id": id, "input_sha256": input_sha256, "first_id": first_id, "time": now}) + "\n",
                )
                for id, input_sha256, first_id in duplicates
            ]
        )


def faults(out: Path) -> tuple[list[str], int]:
    """Return what is wrong with the files of an OUT folder, in sentences, and how many lines they hold.

    Raises:
        InputError: there is no such folder, or no records in it.
        OSError: a file cannot be read.
    """
    if not (out / RECORDS).is_file():
        raise InputError(f"{out}: no {RECORDS} there; expected the OUT folder of a station that watches.")
    found, lines = [], 0
    for path in (out / RECORDS, out / DUPLICATES):
        if path.is_file():
            found += [f"{path}: {fault}" for fault in sealed.faults(path)]
            with path.open("rb") as file:
                lines += sum(1 for _ in file)
    return found, lines


def record_id(name: str) -> str:
    """Return the id of a file's record: its name, whatever its bytes are, as text that every JSON reader takes.

    A byte that is no text is written as \\xff, and a backslash twice, so that no two names have one id.
    """
    return os.fsencode(name.replace("\\", "\\\\")).decode("utf-8", "backslashreplace")


def _record_key(record: Entry) -> bytes:
    known = record.keys() >= set(FIRST_KEYS) and isinstance(record["id"], str) and record["status"] in (OK, REJECTED)
    if not known:
        raise ValueError("no record")
    if "file_sha256" not in record:  # of a station that took one map per file
        return _digest(record["input_sha256"])
    if record["maps"] is not None and not (type(record["maps"]) is int and record["map"] <= record["maps"]):
        raise ValueError(f"map {record['map']} of {record['maps']!r}")
    return _map_key(record["file_sha256"], record["map"])


def _map_key(file_sha256: str, number: int) -> bytes:
    """Return the key of a map of a file; the first map's is the file's own hash, as it was when there was no second."""
    digest = _digest(file_sha256)
    if type(number) is not int or number < 1:
        raise ValueError(f"map {number!r}")
    return digest if number == 1 else sha256(digest + str(number).encode()).digest()


def _is_first_record(record: Entry) -> bool:
    """Whether a record was written before lines were sealed."""
    return tuple(record) == FIRST_KEYS


def _is_first_duplicate(line: Entry) -> bool:
    return tuple(line) == ("id", "input_sha256", "first_id", "time")


def _duplicate_key(line: Entry) -> bytes:
    return _name_and_contents(line["id"], line["input_sha256"])


def _name_and_contents(id: str, input_sha256: str) -> bytes:
    return sha256(_digest(input_sha256) + id.encode()).digest()


def _digest(text: str) -> bytes:
    digest = bytes.fromhex(text)
    if len(digest) != sha256().digest_size:
        raise ValueError(f"{text!r} is no SHA-256")
    return digest
