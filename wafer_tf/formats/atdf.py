"""ATDF, the text form of STDF V4. Needs numpy alone.

A record is a line, `PRR:1|2|17|...`, and the lines after it that begin with a blank. The character after the first
field of the first record (FAR) parts the fields of all. They come in another order than in STDF. The format: ATDF
Specification, version 2 (Teradyne).
"""

import re
import struct
from collections.abc import Iterator
from datetime import datetime, timezone

from wafer_tf.errors import InputError
from wafer_tf.formats.opened import Opened
from wafer_tf.formats.options import Options
from wafer_tf.formats.stdf_records import CHUNK, plain
from wafer_tf.formats.tester_log import (
    ABNORMAL,
    ALL,
    FAILED,
    NO_COORDINATE,
    NO_VERDICT,
    PART,
    RETEST,
    UNKNOWN,
    Bin,
    Ended,
    Log,
    Picture,
)
from wafer_tf.formats.tester_maps import maps_of
from wafer_tf.formats.wafer_map import MapFile, WaferMap

MAX_RECORD = 1 << 20
"""Bytes a record may take; those that are read take 200."""
MAX_BLANK = 1_000_000
"""Blank lines a file may have: a file of a few megabytes may unpack to 300 million, at 0.1 microseconds each."""
_READ = frozenset((b"MIR:", b"MRR:", b"HBR:", b"WIR:", b"WRR:", b"WCR:", b"PRR:"))
_PASSED_OVER = frozenset(
    b"FAR: ATR: VUR: PCR: SBR: PMR: PGR: PLR: RDR: SDR: PSR: NMR: CNR: SSR: CDR: PIR: TSR: PTR: MPR: FTR: STR: BPS: "
    b"EPS: GDR: DTR:".split()
)
_RECORD = re.compile(rb"[A-Z]{3}:")
_FIRST = re.compile(rb"FAR:A([^A-Za-z0-9\s]|\t)4\1")
_TIME = re.compile(r"(\d{1,2}):(\d{2}):(\d{2}) +(\d{1,2})-([A-Za-z]{3})-(\d{4})")
_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")


def read(file: Opened, options: Options) -> MapFile:
    """Read the wafers of an ATDF file.

    Raises:
        InputError: of another version, damaged, or a final test, which has no map; also from the wafers' iterator.
    """
    first = _FIRST.match(file.head)
    if not first:
        raise InputError(
            f"{file.name}: begins with {file.head[:20].decode('latin-1')!r}; expected FAR:A|4|2, ATDF of STDF V4."
        )
    return MapFile(format="ATDF", version="V4", wafers=_wafers(file, first[1].decode("latin-1"), options))


def _wafers(file: Opened, separator: str, options: Options) -> Iterator[WaferMap | InputError]:
    log = Log(file.name, "<")
    lines = _Lines(file)
    for number, kind, text in lines:
        fields = _Fields(text.decode("latin-1").split(separator), f"{file.name}: line {number}: {kind}")
        _NOTE[kind](log, fields)
    log.cut, log.warnings = lines.cut, lines.warnings
    yield from maps_of(log, options)


class _Lines:
    """The records of a file that are read, as (line, kind, fields).

    Attributes:
        cut: a sentence, where the file ends early.
        warnings: sentences on what is odd.
    """

    def __init__(self, file: Opened) -> None:
        self._file = file
        self.cut, self.warnings = "", list[str]()

    def __iter__(self) -> Iterator[tuple[int, str, bytes]]:
        unknown, first_unknown, line, begun = 0, "", 0, 0
        pieces, blank = list[bytes](), 0
        for line, text in enumerate(self._lines(), 1):
            if not text and not pieces:
                blank += 1
                if blank > MAX_BLANK:
                    raise InputError(f"{self._file.name}: line {line}: over {MAX_BLANK} blank lines; expected records.")
                continue
            start = text[:4]
            if start[:1] == b" ":
                if pieces:
                    pieces.append(text[1:].rstrip(b"\r"))
                    if len(pieces) > 1000:
                        raise InputError(f"{self._file.name}: line {begun}: a record of over 1000 lines; expected one.")
                continue
            if pieces:
                yield begun, pieces[0][:3].decode(), b"".join(pieces)[4:]
                pieces = []
            if start in _PASSED_OVER:
                continue
            if start == b"MRR:":
                break
            if start in _READ:
                pieces, begun = [text.rstrip(b"\r")], line
            elif _RECORD.match(start):
                unknown += 1
                first_unknown = first_unknown or f"the first, {start[:3].decode()}, in line {line}"
            elif text.strip(b" \t\r\0\x1a"):
                raise InputError(
                    f"{self._file.name}: line {line} begins with {text[:20].decode('latin-1')!r}; expected a record "
                    "such as PRR:, or a blank. The file is damaged: copy it anew."
                )
        else:
            if pieces:
                yield begun, pieces[0][:3].decode(), b"".join(pieces)[4:]
            self.cut = f"The file ends in line {line} without an end record (MRR)"
        if unknown:
            self.warnings.append(f"{unknown} records of unknown kinds were passed over: {first_unknown}.")

    def _lines(self) -> Iterator[bytes]:
        """Yield the lines; the last only if it ends, as it may be cut off, or if it is the end record."""
        end = b"\n" if b"\n" in self._file.head else b"\r"
        self._file.stream.seek(0)
        rest = b""
        while chunk := self._file.stream.read(CHUNK):
            *lines, rest = (rest + chunk).split(end)
            yield from lines
            if len(rest) > MAX_RECORD:
                raise InputError(f"{self._file.name}: a line of over {MAX_RECORD} bytes; expected those of ATDF.")
        if rest.startswith(b"MRR:"):
            yield rest


class _Fields:
    """A record's fields by their number; one that was left out is empty."""

    def __init__(self, fields: list[str], where: str) -> None:
        self._fields, self._where = fields, where

    def text(self, index: int) -> str:
        return plain(self._fields[index]) if index < len(self._fields) else ""

    def number(self, index: int, missing: int, low: int = 0, high: int = 2**32 - 1) -> int:
        text = self.text(index)
        if not text:
            return missing
        if not re.fullmatch(r"[+-]?[0-9]{1,10}", text) or not low <= int(text) <= high:
            raise InputError(
                f"{self._where}: field {index + 1} is {text[:40]!r}; expected a whole number of {low} to {high}."
            )
        return int(text)

    def count(self, index: int) -> int | None:
        count = self.number(index, UNKNOWN)
        return None if count == UNKNOWN else count

    def size(self, index: int) -> float:
        try:
            return float(self.text(index))
        except ValueError:
            return 0.0

    def time(self, index: int) -> int:
        """Return the seconds since 1970, 0 for what is no time."""
        found = _TIME.fullmatch(self.text(index))
        if not found or found[5].upper() not in _MONTHS:
            return 0
        hour, minute, second, day, year = (int(found[group]) for group in (1, 2, 3, 4, 6))
        try:
            told = datetime(year, _MONTHS.index(found[5].upper()) + 1, day, hour, minute, second, tzinfo=timezone.utc)
        except ValueError:
            return 0
        return max(int(told.timestamp()), 0)


def _mir(log: Log, fields: _Fields) -> None:
    log.lot, log.product, log.step = fields.text(0), fields.text(1), fields.text(11) or fields.text(31)
    log.time = fields.time(6)
    log.note(
        tester=f"{fields.text(3)} {fields.text(4)}",
        program=f"{fields.text(2)} {fields.text(13)}",
    )


def _wcr(log: Log, fields: _Fields) -> None:
    picture = Picture.of_letters(fields.text(0).upper(), fields.text(1).upper(), fields.text(2).upper())
    log.lay(picture, width=fields.size(5), height=fields.size(4), wafer_size=fields.size(3), units=fields.size(6))


def _wir(log: Log, fields: _Fields) -> None:
    log.begin(fields.number(0, 1), fields.text(3), fields.time(1))


def _wrr(log: Log, fields: _Fields) -> None:
    log.end(fields.number(0, 1), fields.text(3), Ended(fields.count(2), fields.count(5), fields.count(7)))


def _hbr(log: Log, fields: _Fields) -> None:
    head, site = fields.number(0, ALL), fields.number(1, ALL)
    log.count(Bin(head, site, fields.number(2, 0), fields.count(3), fields.text(4).upper()))


def _prr(log: Log, fields: _Fields) -> None:
    verdict = fields.text(4).upper()
    flags = {"P": 0, "F": FAILED}.get(verdict, NO_VERDICT)
    flags |= RETEST if fields.text(9) else 0
    flags |= ABNORMAL if fields.text(10) else 0
    hard, soft = fields.number(5, 65535, high=65535), fields.number(6, 65535, high=65535)
    x, y = (fields.number(index, NO_COORDINATE, NO_COORDINATE, 32767) for index in (7, 8))
    log.add(fields.number(0, 1), struct.pack("<" + PART, 0, 0, flags, 0, hard, soft, x, y))


_NOTE = {"MIR": _mir, "WCR": _wcr, "WIR": _wir, "WRR": _wrr, "HBR": _hbr, "PRR": _prr}
