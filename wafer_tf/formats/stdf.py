"""STDF V4, the binary log of a tester. Needs numpy alone.

The file is read as it comes, the records of tests unread; what stays in memory is 13 bytes a part. The format: Standard
Test Data Format Specification, version 4 (Teradyne 1995). Its times are read as they stand, without a time zone.
"""

import struct
from collections.abc import Callable, Iterator

from wafer_tf.errors import InputError
from wafer_tf.formats.opened import Opened
from wafer_tf.formats.options import Options
from wafer_tf.formats.stdf_records import FAR, HBR, MIR, PRR, WCR, WIR, WRR, Fields, Order, Records
from wafer_tf.formats.tester_log import ALL, NO_COORDINATE, PART, PART_SIZE, UNKNOWN, Bin, Ended, Log, Picture
from wafer_tf.formats.tester_maps import maps_of
from wafer_tf.formats.wafer_map import MapFile, WaferMap

_VERSION = 4
_CPU_TYPES: dict[int, Order] = {1: ">", 2: "<"}
_MIN_PART = 7
"""Bytes of a part's result up to its hard bin; the coordinates after it may be left out."""
_MISSING_PART = (0, 0, 0, 0, 0, 65535, NO_COORDINATE, NO_COORDINATE)


def read(file: Opened, options: Options) -> MapFile:
    """Read the wafers of an STDF file.

    Raises:
        InputError: another version, a byte order that is not read, damaged, or a final test, which has no map; also
            from the wafers' iterator.
    """
    order, warnings = _attributes(file)
    return MapFile(format="STDF", version="V4", wafers=_wafers(file, order, warnings, options))


def _attributes(file: Opened) -> tuple[Order, list[str]]:
    """Return the byte order, from the first record (FAR), whose length is 2 in that order."""
    if len(file.head) < 6:
        raise InputError(f"{file.name}: an STDF file of {len(file.head)} bytes; expected more than its first record.")
    order: Order = "<" if file.head[0] else ">"
    cpu, version = file.head[4], file.head[5]
    if version != _VERSION:
        raise InputError(f"{file.name}: STDF V{version}; expected V4. Convert it with the tester's own software.")
    if cpu == 0:
        raise InputError(
            f"{file.name}: STDF of a VAX (CPU_TYPE 0), which is not read; expected CPU_TYPE 1 (big-endian) or 2 "
            "(little-endian). Convert it with the tester's own software."
        )
    if _CPU_TYPES.get(cpu) == order:
        return order, []
    named = "big-endian" if order == ">" else "little-endian"
    return order, [f"CPU_TYPE is {cpu}, but the records are {named}: read so."]


def _wafers(file: Opened, order: Order, warnings: list[str], options: Options) -> Iterator[WaferMap | InputError]:
    log = Log(file.name, order, warnings=warnings)
    file.stream.seek(0)
    records = Records(file.stream, order, file.name)
    missing = struct.pack(order + PART, *_MISSING_PART)
    add, seen = log.add, False
    for record in records:
        kind, start, body = record
        if kind == PRR:
            if len(body) < PART_SIZE:
                if len(body) < _MIN_PART:
                    raise InputError(
                        f"{file.name}: damaged: the result of a part (PRR) at byte {start} has {len(body)} bytes; "
                        f"expected {_MIN_PART} or more."
                    )
                body += missing[len(body) :]
            add(body[0], body[:PART_SIZE])
        elif kind == FAR:
            if seen:
                raise InputError(f"{file.name}: another file begins at byte {start}; expected one. Split them.")
            seen = True
        elif kind in _NOTE:
            _NOTE[kind](log, Fields(body, order))
    log.warnings += records.warnings
    log.cut = records.cut
    yield from maps_of(log, options)


def _mir(log: Log, fields: Fields) -> None:
    _, start, *_ = fields.numbers("IIB", 0, 0, 0)
    fields.letters(3)
    fields.numbers("H", 0)
    fields.letters(1)
    lot, product, tester, tester_type, job, revision, _, _, _, _, test_code = (fields.text() for _ in range(11))
    flow = [fields.text() for _ in range(13)][-1]
    log.lot, log.product, log.step, log.time = lot, product, test_code or flow, start % UNKNOWN
    log.note(tester=f"{tester} {tester_type}", program=f"{job} {revision}")


def _wcr(log: Log, fields: Fields) -> None:
    wafer_size, height, width, units = fields.numbers("fffB", 0, 0, 0, 0)
    flat = fields.letters(1)
    fields.numbers("hh", 0, 0)
    log.lay(Picture.of_letters(flat, fields.letters(1), fields.letters(1)), width, height, wafer_size, units)


def _wir(log: Log, fields: Fields) -> None:
    head, _, start = fields.numbers("BBI", 1, ALL, 0)
    log.begin(head, fields.text(), start)


def _wrr(log: Log, fields: Fields) -> None:
    head, _, _, parts, retests, _, good, _ = fields.numbers("BBIIIIII", 1, ALL, 0, *[UNKNOWN] * 5)
    log.end(head, fields.text(), Ended(*(None if count == UNKNOWN else count for count in (parts, retests, good))))


def _hbr(log: Log, fields: Fields) -> None:
    head, site, number, parts = fields.numbers("BBHI", ALL, ALL, 0, UNKNOWN)
    log.count(Bin(head, site, number, None if parts == UNKNOWN else parts, fields.letters(1)))


_NOTE: dict[int, Callable[[Log, Fields], None]] = {MIR: _mir, WCR: _wcr, WIR: _wir, WRR: _wrr, HBR: _hbr}
