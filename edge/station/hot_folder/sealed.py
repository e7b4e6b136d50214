"""Lines of JSON that show when a bit of them has changed, or when one is gone. Needs the standard library alone.

A sealed line is an object whose last two keys are `line`, its number in the file from 1, and `crc32`, the CRC-32 of all
bytes of the line before the latter: it finds every change of up to 32 bits in a row, and any other but one in four
billion. A number that is missing tells of a line that was removed; whether one is at the end tells a note beside the
file, FILE.end: a sealed line of its last number and of how many are known to be missing. It is synced at no writing: an
older note, or none, is no fault. All this proves nothing against intent.
"""

import json
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from wafer_tf.whole_files import write_whole

Entry = dict[str, Any]
NO_LINE = (ValueError, KeyError, TypeError, AttributeError, RecursionError)
"""What reading a damaged line as one that was written may raise."""
_SEAL = re.compile(rb', "line": ([1-9][0-9]{0,15}), "crc32": "([0-9a-f]{8})"\}\n')
_KEYS = ("line", "crc32")


def sealed(line: str, number: int) -> bytes:
    r"""Return a line that holds one JSON object, with its newline, as a sealed one.

    Example:
        >>> sealed('{"id": "W1"}\n', 7)
        b'{"id": "W1", "line": 7, "crc32": "76133496"}\n'
    """
    body = f'{line.removesuffix(chr(10)).removesuffix("}")}, "line": {number}'.encode()
    return body + b', "crc32": "%08x"}\n' % zlib.crc32(body)


def unsealed(line: bytes) -> tuple[Entry, int | None]:
    """Return the object of a line, without its seal, and its number; None where it was never sealed.

    Raises:
        ValueError: it does not end, is not JSON, or is not what was sealed.
    """
    if not line.endswith(b"\n"):
        raise ValueError("the line does not end")
    entry = json.loads(line)
    seal = _SEAL.search(line)
    if not isinstance(entry, dict) or not any(key in entry for key in _KEYS):
        return entry, None
    if not seal or seal.end() != len(line) or zlib.crc32(line[: seal.end(1)]) != int(seal[2], 16):
        raise ValueError("its checksum is another: a bit of it has changed")
    return {key: value for key, value in entry.items() if key not in _KEYS}, int(seal[1])


def note_end(path: Path, *, lines: int, missing: int) -> None:
    """Note of a file how many lines it was given, and how many of them are known to be missing. Raises OSError."""
    note = sealed(json.dumps({"lines": lines, "missing": missing}) + "\n", 1)
    write_whole(_end_of(path), note, durable=False)


def noted_end(path: Path) -> tuple[int, int] | None:
    """Return what `note_end` noted of a file, None where nothing was.

    Raises:
        NO_LINE: the note is damaged.
        OSError: it cannot be read.
    """
    try:
        note, _ = unsealed(_end_of(path).read_bytes())
    except FileNotFoundError:
        return None
    return int(note["lines"]), int(note["missing"])


def forget_end(path: Path) -> None:
    """Remove what `note_end` noted of a file. Raises OSError."""
    _end_of(path).unlink(missing_ok=True)


def _end_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.end")


def faults(path: Path) -> Iterator[str]:
    """Say what is wrong with a file of lines, each in a sentence: lines that are damaged, and numbers that are missing.

    Raises:
        OSError: it cannot be read.
    """
    last, damaged, offset, end = 0, 0, 0, 0
    try:
        end, _ = noted_end(path) or (0, 0)  # before the lines, which may become more meanwhile
    except NO_LINE as error:
        yield f"{_end_of(path).name}, the note of how many lines there are, is damaged ({error})"
    with path.open("rb") as file:
        for place, line in enumerate(file, 1):
            try:
                _, number = unsealed(line)
            except (ValueError, RecursionError) as error:
                yield f"line {place}, at byte {offset}, is damaged ({error})"
                damaged += 1
            else:
                if number is not None and number - last - 1 > damaged:  # else they are the damaged ones
                    yield f"before line {place}, at byte {offset}, {number - last - 1 - damaged} lines are missing"
                if number is not None and number <= last:
                    yield f"line {place}, at byte {offset}, bears the number {number} once more"
                if number is not None:
                    last, damaged = max(last, number), 0
            offset += len(line)
    if end - last > damaged:
        yield f"at the end, at byte {offset}, {end - last - damaged} lines are missing"
