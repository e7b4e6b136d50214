"""SEMI G85, the older of SEMI's two XML wafer maps. Needs numpy and the standard library alone.

In the field the names' case, the prefix, and whether an attribute stands at <Map> or <Device>, vary; the rows do not:
the first is the top one.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from wafer_tf.dies import MAX_CELLS
from wafer_tf.errors import InputError
from wafer_tf.formats.bin_codes import (
    MAX_CODES,
    Bin,
    Notes,
    grid_of_rows,
    judge,
    kind_and_width,
    notch_at,
    upright,
    whole_number,
)
from wafer_tf.formats.dies_on_grid import check_sides
from wafer_tf.formats.opened import Opened
from wafer_tf.formats.options import Options
from wafer_tf.formats.safe_xml import events
from wafer_tf.formats.wafer_map import MapFile, UnreadWaferError, WaferMap

_REVISION = re.compile(rb"(?i)G85-(\d{4})")
_LOT, _WAFER = ("lotid", "lotno", "lot"), ("waferid", "substrateid", "substratenumber")
_FROM_BELOW = ("3", "4", "lowerleft", "lowerright")
"""OriginLocations at the bottom: 3 and 4 by SEMI E5."""


@dataclass
class _Device:
    attributes: dict[str, str]
    line: int
    bins: list[Bin] = field(default_factory=list)
    rows: list[str] = field(default_factory=list)
    characters: int = 0
    maps: list[str] = field(default_factory=list)


def read(file: Opened, options: Options) -> MapFile:
    """Read a G85 file, one wafer for each <Device>, or each <Map> without one.

    Raises:
        InputError: from the iterator: not XML, or no map in it.
    """
    revision = _REVISION.search(file.head.replace(b"\0", b""))
    return MapFile(format="SEMI G85", version=revision[1].decode() if revision else "", wafers=_wafers(file, options))


def _wafers(file: Opened, options: Options) -> Iterator[WaferMap | InputError]:
    of_map: dict[str, str] = {}
    device: _Device | None = None
    given = 0
    for event in events(file, ("row",)):
        tag = event.tag
        if event.begins and tag == "map":
            of_map, device = event.attributes, _Device(event.attributes, event.line)
        elif event.begins and tag == "device":
            device = _Device(of_map | event.attributes, event.line)
        elif device is None:
            continue
        elif event.begins and tag == "bin":
            device.bins.append(_bin(event.attributes, f"{file.name}: line {event.line}"))
            if len(device.bins) > MAX_CODES:
                raise InputError(f"{file.name}: line {event.line}: over {MAX_CODES} bins; expected a wafer map.")
        elif event.begins and tag == "data":
            device.maps.append(event.attributes.get("mapname", ""))
        elif not event.begins and tag == "row" and len(device.maps) < 2:
            device.rows.append(event.text)
            device.characters += len(event.text)
            if device.characters > 8 * MAX_CELLS:
                raise InputError(f"{file.name}: line {event.line}: rows of over {8 * MAX_CELLS} characters in one map.")
        elif not event.begins and (tag == "device" or (tag == "map" and device.rows)):
            given += 1
            try:
                yield _wafer(device, options, file.name)
            except InputError as error:
                said = device.attributes
                yield UnreadWaferError(str(error), lot=_first(said, *_LOT), wafer=_first(said, *_WAFER))
            device = None
    if not given:
        raise InputError(f"{file.name}: no <Device> with a map in it; expected a SEMI G85 map.")


def _bin(attributes: Mapping[str, str], where: str) -> Bin:
    count = attributes.get("bincount", "").strip()
    return Bin(
        attributes.get("bincode", ""),
        attributes.get("binquality", ""),
        whole_number(count, "BinCount", where) if count else None,
    )


def _wafer(device: _Device, options: Options, file_name: str) -> WaferMap:
    said, notes = device.attributes, Notes()
    wafer = _first(said, *_WAFER)
    name = f"{file_name}, wafer {wafer[:40] or f'of line {device.line}'}"
    declared = {side: _side(said, side, name) for side in ("rows", "columns")}
    if all(declared.values()):
        check_sides((declared["rows"], declared["columns"]), name)
    null = said.get("nullbin") or None
    kind, width = kind_and_width(said.get("bintype", ""), [null or "", *(bin_.code for bin_ in device.bins)], name)
    rows = [_cells(row, declared["columns"], kind, width) for row in device.rows]
    if not rows:
        raise InputError(f"{name}: no <Row>; expected a map.")
    if declared["rows"] and len(rows) != declared["rows"]:
        notes.warnings.append(options.differs(f"{name}: {len(rows)} rows, {declared['rows']} by its Rows."))
    codes = grid_of_rows(rows, declared["columns"] or len(rows[0]) // width, width, name)
    if len(device.maps) > 1:
        notes.warnings.append(f"{len(device.maps)} maps of this wafer; the first, {device.maps[0]!r}, is read.")
    if said.get("originlocation", "").strip().casefold() in _FROM_BELOW:
        up = options.y_axis == "up"
        codes = codes[::-1] if up else codes
        notes.assumed.append(
            f"the first row is the {'bottom' if up else 'top'} one, whatever OriginLocation says of coordinates "
            f"(--y-axis {'up' if up else 'down'})"
        )
    judged = judge(
        codes, device.bins, frozenset({null}) if null else None, options, notes, name, kind=kind, width=width
    )
    notch = notch_at(said.get("orientation", ""), options, notes, name, key="Orientation")
    grid, corner = upright(judged.grid, notch, name)
    size = [said[key].strip() for key in ("devicesizex", "devicesizey") if said.get(key, "").strip()]
    return WaferMap(
        grid=grid,
        lot=_first(said, *_LOT),
        wafer=wafer,
        product=_first(said, "productid", "devicename", "product"),
        time=iso_time(_first(said, "createdate", "lastmodified")),
        corner=corner,
        bins=judged.bins,
        facts={"die size, in the file's unit": " x ".join(size)} if len(size) == 2 else {},
        assumed=tuple(notes.assumed),
        warnings=tuple(notes.warnings),
    )


def iso_time(text: str) -> str:
    """Return YYYYMMDDhhmmss..., as SEMI's XML writes a time, in ISO 8601, "" where it is none.

    Examples:
        >>> iso_time("20261126193000123")
        '2026-11-26T19:30:00'
    """
    digits = re.fullmatch(r"(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)\d*", text.strip())
    if digits:
        year, month, day, hour, minute, second = digits.groups()
        return f"{year}-{month}-{day}T{hour}:{minute}:{second}"
    iso = re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", text.strip())
    return iso[0] if iso else ""


def _first(said: Mapping[str, str], *keys: str) -> str:
    return next((said[key].strip() for key in keys if said.get(key, "").strip()), "")


def _side(said: Mapping[str, str], side: str, name: str) -> int:
    if not said.get(side, "").strip():
        return 0
    declared = whole_number(said[side], side.capitalize(), name)
    if declared < 1:
        raise InputError(f"{name}: {side.capitalize()} {declared}; expected at least 1.")
    return declared


def _cells(row: str, cols: int, kind: str, width: int) -> str:
    """Return a row's codes: blanks may stand round it or between dies, and in Ascii be a code."""
    parted = row.split()
    if len(parted) == cols > 1 and kind != "ascii":
        return "".join(cell.rjust(width, "0") for cell in parted)
    if kind != "ascii":
        return "".join(parted)
    row = row.strip("\r\n")
    for candidate in (row, row.strip(), "".join(parted)):
        if len(candidate) == cols * width:
            return candidate
    return row.strip()
