"""What is on record in OUT, and the lines that put it there. Needs the standard library alone.

records.jsonl      one record per wafer, that is, per contents
duplicates.jsonl   one line for every further file name with contents on record: id, input_sha256, first_id, time

Both are known by hashes: a file that is seen again, after a kill or because it was sent again, gets no second line.
"""

import json
import os
from collections.abc import Sequence
from datetime import datetime, timezone
from hashlib import sha256
from pathlib import Path

from edge.station.hot_folder.journal import Entry, Journal
from edge.station.records import KEYS, OK, REJECTED, Record


class Ledger:
    """The two journals of an OUT folder."""

    def __init__(self, out: Path) -> None:
        self._records = Journal(out / "records.jsonl", _record_key)
        self._duplicates = Journal(out / "duplicates.jsonl", _duplicate_key)

    def __len__(self) -> int:
        return len(self._records)

    def open(self) -> list[str]:
        """Open both; return what had to be mended. Raises OSError where that cannot be done now."""
        return [mended for journal in (self._records, self._duplicates) if (mended := journal.open())]

    def close(self) -> None:
        """Close both; what is known of them is kept for the next `open`."""
        self._records.close()
        self._duplicates.close()

    def record_of(self, input_sha256: str) -> Record | None:
        """Return the record of the contents with this hash, None if there is none. Raises OSError."""
        return self._records.get(_digest(input_sha256))

    def is_duplicate(self, id: str, input_sha256: str) -> bool:
        """Whether this name with these contents is among the duplicates already."""
        return _name_and_contents(id, input_sha256) in self._duplicates

    def add_records(self, lines: Sequence[tuple[str, str]]) -> None:
        """Make (input_sha256, line) of new records durable. Raises OSError, and then none is on record."""
        self._records.append([(_digest(input_sha256), line) for input_sha256, line in lines])

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


def record_id(name: str) -> str:
    """Return the id of a file's record: its name, whatever its bytes are, as text that every JSON reader takes."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def _record_key(record: Entry) -> bytes:
    if not record.keys() >= set(KEYS) or not isinstance(record["id"], str) or record["status"] not in (OK, REJECTED):
        raise ValueError("no record")
    return _digest(record["input_sha256"])


def _duplicate_key(line: Entry) -> bytes:
    return _name_and_contents(line["id"], line["input_sha256"])


def _name_and_contents(id: str, input_sha256: str) -> bytes:
    return sha256(_digest(input_sha256) + id.encode()).digest()


def _digest(text: str) -> bytes:
    digest = bytes.fromhex(text)
    if len(digest) != sha256().digest_size:
        raise ValueError(f"{text!r} is no SHA-256")
    return digest
