"""The records of an STDF V4 file; those of tests are passed over unread. Needs the standard library alone."""

import struct
from collections.abc import Iterator
from typing import Any, BinaryIO, Literal, NamedTuple

from wafer_tf.errors import InputError

Order = Literal["<", ">"]
"""Byte order, as `struct` writes it."""

CHUNK = 1 << 20
_HEADER = 4
_PADDING = b"\0\r\n\x1a "

FAR, MIR, MRR, HBR, WIR, WRR, WCR, PRR = (
    (typ << 8) + sub for typ, sub in ((0, 10), (1, 10), (1, 20), (1, 40), (2, 10), (2, 20), (2, 30), (5, 20))
)
READ = (FAR, MIR, MRR, HBR, WIR, WRR, WCR, PRR)
"""Kinds of records that a map is made of: type and subtype in one number."""

_SUBTYPES: dict[int, tuple[int, ...]] = {
    0: (20, 30),  # audit trail; version update
    1: (30, 50, 60, 62, 63, 70, 80, *range(90, 100)),  # counts, pins, sites; scan structures of V4-2007 and later
    5: (10,),  # a part begins: its result says all of it
    10: (30,),
    15: (10, 15, 20, 30, 40),  # test results, 95 % of a file
    20: (10, 20),
    50: (10, 30),
    180: tuple(range(256)),  # both kept by the standard for testers' own software
    181: tuple(range(256)),
}
PASSED_OVER = tuple((typ << 8) + sub for typ, subtypes in _SUBTYPES.items() for sub in subtypes)


class Record(NamedTuple):
    """A record that is read.

    Attributes:
        kind: one of READ.
        start: byte of the file at which its header begins.
        body: what follows the header.
    """

    kind: int
    start: int
    body: bytes


class Records:
    """The records of a stream, up to its end record (MRR).

    Attributes:
        cut: a sentence, where the file ends in the middle of a record or without an end record.
        warnings: sentences on what is odd.
    """

    def __init__(self, stream: BinaryIO, order: Order, name: str) -> None:
        """Start at the beginning of a stream."""
        self._stream, self._order, self._name = stream, order, name
        self.cut = ""
        self._unknown, self._unknown_first, self._unknown_last, self._unknown_end = 0, "", -1, -1
        self._goes_on = ""

    @property
    def warnings(self) -> list[str]:
        """Return them; complete when all records were taken."""
        unknown = (
            f"{self._unknown} records of kinds that STDF V4 does not have were passed over: {self._unknown_first}."
        )
        return [unknown] * bool(self._unknown) + [self._goes_on] * bool(self._goes_on)

    def __iter__(self) -> Iterator[Record]:
        """Yield the records whose kind is in READ.

        Raises:
            InputError: headers that follow on no record: the file is damaged.
        """
        header = struct.Struct(self._order + "HH").unpack_from
        passed_over = frozenset(_as_read(kind, self._order) for kind in PASSED_OVER)
        read = {_as_read(kind, self._order): kind for kind in READ}
        buffer, base, at = b"", 0, 0  # `at` counts from the buffer's first byte, which is byte `base` of the file
        while chunk := self._stream.read(CHUNK):
            kept = buffer[at:]
            base, at = base + len(buffer) - len(kept), max(at - len(buffer), 0)
            buffer = kept + chunk if kept else chunk
            end = len(buffer)
            last = end - _HEADER
            while at <= last:  # 0.1 microseconds a record: whatever is added here is added millions of times
                size, code = header(buffer, at)
                if code in passed_over:
                    at += size + _HEADER
                    continue
                stop = at + _HEADER + size
                if stop > end:
                    break
                kind = read.get(code)
                if kind is None:
                    self._meet_unknown(_as_read(code, self._order), base + at, base + stop)
                else:
                    yield Record(kind, base + at, buffer[at + _HEADER : stop])
                    if kind == MRR:
                        if (buffer[stop:] or self._stream.read(CHUNK)).strip(_PADDING):
                            self._goes_on = (
                                f"The file goes on after its end record (MRR, up to byte {base + stop}); what follows "
                                "was not read. Two files joined?"
                            )
                        return
                at = stop
        self.cut = f"The file ends at byte {base + len(buffer)} without an end record (MRR)"
        if at > len(buffer):
            self.cut += f", in the middle of a record that goes on to byte {base + at}"
        elif at < len(buffer):
            self.cut += f", in the middle of the record that begins at byte {base + at}"
            if at <= len(buffer) - _HEADER:
                code = header(buffer, at)[1]
                if code not in read:
                    raise self._damaged(_as_read(code, self._order), base + at)

    def _meet_unknown(self, kind: int, start: int, stop: int) -> None:
        if start == self._unknown_end and (kind != self._unknown_last or stop - start == _HEADER):
            raise self._damaged(kind, start)  # a tester's own records come alone, or many of one kind
        self._unknown += 1
        self._unknown_first = self._unknown_first or f"the first, of type {_typed(kind)}, at byte {start}"
        self._unknown_last, self._unknown_end = kind, stop

    def _damaged(self, kind: int, start: int) -> InputError:
        return InputError(
            f"{self._name}: damaged: at byte {start} a record of type {_typed(kind)}, which STDF V4 does not have; "
            "expected a record's length, type and subtype. Copy the file anew, or export it again."
        )


def _as_read(kind: int, order: Order) -> int:
    return kind if order == ">" else (kind & 255) << 8 | kind >> 8


def _typed(kind: int) -> str:
    return f"{kind >> 8}, subtype {kind & 255}"


class Fields:
    """The fields of a record's body, from its first to its last; one that was left out has its missing value."""

    def __init__(self, body: bytes, order: Order) -> None:
        """Start at the first field."""
        self._body, self._order, self._at = body, order, 0

    def numbers(self, codes: str, *missing: float) -> tuple[Any, ...]:
        """Return the next fields, of the types that `struct` knows by these letters."""
        found = []
        for code, instead in zip(codes, missing, strict=True):
            size = struct.calcsize(self._order + code)
            field = self._body[self._at : self._at + size]
            self._at += size
            found.append(struct.unpack(self._order + code, field)[0] if len(field) == size else instead)
        return tuple(found)

    def letters(self, count: int) -> str:
        """Return the next `count` fields of one character each, a blank for one that was left out."""
        field = self._body[self._at : self._at + count]
        self._at += count
        return field.decode("latin-1").ljust(count)

    def text(self) -> str:
        """Return the next field, a text with its length before it."""
        size = int.from_bytes(self._body[self._at : self._at + 1], "big")
        field = self._body[self._at + 1 : self._at + 1 + size]
        self._at += 1 + size
        return plain(field.decode("latin-1"))


def plain(text: str) -> str:
    """Return a text without its control characters, and without blanks around it."""
    return "".join(c for c in text if c.isprintable()).strip()
