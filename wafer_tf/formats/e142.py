"""SEMI E142 substrate maps: XML, with several wafers, layouts and overlays. Needs numpy and the standard library.

The default of an absent OriginLocation and AxisDirection, lower left and up right, is the standard's.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from wafer_tf.dies import MAX_CELLS
from wafer_tf.errors import InputError
from wafer_tf.formats.bin_codes import Bin, Notes, judge, kind_and_width, notch_at, packed, upright, whole_number
from wafer_tf.formats.dies_on_grid import check_sides
from wafer_tf.formats.e142_axes import Axes, Piece, Placed, Reference, axes, place, top_down
from wafer_tf.formats.g85 import iso_time
from wafer_tf.formats.opened import Opened
from wafer_tf.formats.options import Options
from wafer_tf.formats.safe_xml import Event, events
from wafer_tf.formats.wafer_map import MapFile, UnreadWaferError, WaferMap

_VERSION = re.compile(rb"(?i)E142[-.\d]*\.(V\d{4})")
_REFERENCE = re.compile(r"(?i)\bref(?:erence)?\b")
_TEXTS = ("bincode", "lotid", "productid", "gooddevices", "createdate")
_NAMED = frozenset({"layout", "substrate", "aliasid", "substratemap", "bindefinition", "referencedevice"})
MAX_PARTS = 1_000_000
"""BinCode elements a map may have."""


MAX_OVERLAYS = 1_000
MAX_NAMED = 100_000
"""Layouts, substrates, names, bins and reference dies a file may have: each takes ten times its text in memory."""


@dataclass
class _Layout:
    sides: tuple[int, int] | None = None
    product: str = ""
    die_size: str = ""


@dataclass
class _Substrate:
    texts: dict[str, str] = field(default_factory=dict)
    aliases: dict[str, str] = field(default_factory=dict)


@dataclass
class _Overlay:
    name: str
    attributes: dict[str, str] | None = None
    bins: list[Bin] = field(default_factory=list)
    marks: list[str] = field(default_factory=list)
    pieces: list[Piece] = field(default_factory=list)
    references: list[Reference] = field(default_factory=list)
    characters: int = 0


@dataclass
class _Map:
    attributes: dict[str, str]
    line: int
    overlays: list[_Overlay] = field(default_factory=list)


def read(file: Opened, options: Options) -> MapFile:
    """Read an E142 file, one wafer for each SubstrateMap.

    Raises:
        InputError: from the iterator: not XML, or no map in it.
    """
    version = _VERSION.search(file.head.replace(b"\0", b""))
    return MapFile(format="SEMI E142", version=version[1].decode() if version else "", wafers=_wafers(file, options))


def _wafers(file: Opened, options: Options) -> Iterator[WaferMap | InputError]:
    content = _Content(file.name)
    given = 0
    for event in events(file, _TEXTS):
        if not (found := content.take(event)):
            continue
        given += 1
        try:
            yield _wafer(found, content, options)
        except InputError as error:
            wafer = found.attributes.get("substrateid", "").strip()
            yield UnreadWaferError(str(error), lot=content.lot(wafer), wafer=wafer)
    if not given:
        raise InputError(f"{file.name}: no <SubstrateMap>; expected a SEMI E142 file with one for each wafer.")


class _Content:
    """What an E142 file says before the map that is read, and of that map so far."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.layouts: dict[str, _Layout] = {}
        self.substrates: dict[str, _Substrate] = {}
        self._layout, self._substrate = _Layout(), _Substrate()
        self._map: _Map | None = None
        self._reference = ""
        self._named = 0
        self._x = self._y = ""

    def lot(self, wafer: str) -> str:
        """Return the lot of a substrate, "" where none is given."""
        return self.substrates.get(wafer, _Substrate()).texts.get("lotid", "")

    def take(self, event: Event) -> _Map | None:
        """Take an element in, and give back the SubstrateMap that it ends."""
        if event.begins:
            self._begin(event)
        elif event.tag == "substratemap":
            found, self._map = self._map, None
            return found
        elif event.tag == "bincode":
            self._bin_code(event)
        elif event.tag in _TEXTS:
            if event.tag == "productid" and not self.substrates:
                self._layout.product = event.text.strip()
            self._substrate.texts.setdefault(event.tag, event.text.strip())
        return None

    def _begin(self, event: Event) -> None:
        said, where = event.attributes, f"{self.name}: line {event.line}"
        self._named += event.tag in _NAMED
        if self._named > MAX_NAMED:
            raise InputError(f"{where}: over {MAX_NAMED} layouts, substrates, bins and names; expected a lot's wafers.")
        match event.tag:
            case "layout":
                self._layout = self.layouts.setdefault(said.get("layoutid", "").casefold(), _Layout())
            case "dimension":
                self._layout.sides = (_whole(said, "y", where), _whole(said, "x", where))
            case "devicesize":
                size = " x ".join(said[key].strip() for key in ("x", "y") if said.get(key, "").strip())
                self._layout.die_size = f"{size} {said.get('units', '')}".strip() if " x " in size else ""
            case "substrate":
                self._substrate = self.substrates.setdefault(said.get("substrateid", "").strip(), _Substrate())
            case "aliasid":
                self._substrate.aliases[said.get("type", "").casefold()] = said.get("value", "")
            case "substratemap":
                self._map = _Map(said, event.line)
            case "overlay" if self._map:
                if len(self._map.overlays) >= MAX_OVERLAYS:
                    raise InputError(f"{where}: over {MAX_OVERLAYS} overlays; expected one or a few in a map.")
                self._map.overlays.append(_Overlay(said.get("mapname", "")))
            case _ if self._map and self._map.overlays:
                self._begin_in(self._map.overlays[-1], event, where)

    def _begin_in(self, overlay: _Overlay, event: Event, where: str) -> None:
        said = event.attributes
        match event.tag:
            case "referencedevice":
                self._reference = said.get("name", "")
            case "coordinates" if _is_whole(said.get("x")) and _is_whole(said.get("y")):
                overlay.references.append(Reference(self._reference, int(said["x"]), int(said["y"])))
            case "bincodemap":
                overlay.attributes = said
            case "bindefinition":
                dies = said.get("bincount", "").strip()
                quality = said.get("binquality", "")
                declared = whole_number(dies, "BinCount", where) if dies else None
                overlay.bins.append(Bin(said.get("bincode", ""), quality, declared))
                if _REFERENCE.search(f"{quality} {said.get('bindescription', '')}"):
                    overlay.marks.append(said.get("bincode", ""))
            case "bincode":
                self._x, self._y = said.get("x", "").strip(), said.get("y", "").strip()

    def _bin_code(self, event: Event) -> None:
        overlay = self._map.overlays[-1] if self._map and self._map.overlays else None
        if overlay is None or overlay.attributes is None:
            return
        where = f"{self.name}: line {event.line}"
        if bool(self._x) != bool(self._y):
            raise InputError(f"{where}: a <BinCode> with X or Y alone; expected both, or none.")
        x, y = (whole_number(text, "X or Y", where) if text else None for text in (self._x, self._y))
        blanks = overlay.attributes.get("bintype", "").strip().casefold() == "ascii"
        text = event.text.strip("\r\n") if blanks else "".join(event.text.split())
        overlay.characters += len(text)
        overlay.pieces.append(Piece(text, x, y, event.line))
        if overlay.characters > 8 * MAX_CELLS or len(overlay.pieces) > MAX_PARTS:
            raise InputError(f"{where}: over {8 * MAX_CELLS} characters or {MAX_PARTS} <BinCode> in one map.")


def _wafer(found: _Map, content: _Content, options: Options) -> WaferMap:
    said, notes = found.attributes, Notes()
    wafer = said.get("substrateid", "").strip()
    name = f"{content.name}, wafer {wafer[:40] or f'of line {found.line}'}"
    kind_of = said.get("substratetype", "Wafer").strip()
    if kind_of.casefold() != "wafer":
        raise InputError(f"{name}: a {kind_of[:20]}, by its SubstrateType; expected a Wafer.")
    overlay = _chosen(found, options, notes, name)
    attributes = overlay.attributes or {}
    substrate = content.substrates.get(wafer, _Substrate())
    layout = content.layouts.get(said.get("layoutspecifier", "").rpartition("/")[2].strip().casefold(), _Layout())
    null = attributes.get("nullbin") or None
    kind, width = kind_and_width(
        attributes.get("bintype", ""), [null or "", *(bin_.code for bin_ in overlay.bins)], name
    )
    sides = layout.sides if layout.sides not in ((1, 1), None) else None  # 1 x 1 is the wafer, not its dies
    if sides:
        if min(sides) < 1:
            raise InputError(f"{name}: a layout of {sides[0]} x {sides[1]}; expected at least one row and column.")
        check_sides(sides, name)
    if kind == "ascii" and sides:  # a blank may be a code, or stand round the row
        wanted = sides[1] * width
        for number, piece in enumerate(overlay.pieces):
            if piece.x is None and len(piece.text) != wanted:
                overlay.pieces[number] = piece._replace(text=piece.text.strip())
    placed = place(overlay.pieces, width, sides, options, notes, name)
    judged = judge(
        placed.codes,
        overlay.bins,
        frozenset({null}) if null else None,
        options,
        notes,
        name,
        kind=kind,
        width=width,
    )
    good = substrate.texts.get("gooddevices", "")
    passing = int((judged.grid == 1).sum())
    if good and options.pass_bins is None and whole_number(good, "GoodDevices", name) != passing:
        notes.warnings.append(options.differs(f"{name}: {good} good dies by its GoodDevices, {passing} in the map."))
    found_axes = axes(said.get("originlocation", ""), said.get("axisdirection", ""), notes, name)
    marks = np.isin(placed.codes, [packed(mark, width, name)[0] for mark in overlay.marks if len(mark) == width])
    first_on_top = top_down(placed, judged.grid, found_axes, overlay.references, marks, options, notes)
    picture = judged.grid[:: 1 if first_on_top else -1, :: 1 if found_axes.right else -1]
    if said.get("substrateside", "").strip().casefold().startswith("bottom"):
        notes.warnings.append("the map is of the wafer's bottom side, and is read as it is drawn, not mirrored.")
    notch = notch_at(said.get("orientation", ""), options, notes, name, key="Orientation")
    grid, corner = upright(picture, notch, name, top_left=_top_left(placed, found_axes, first_on_top))
    aliases = {f"alias {kind}": value for kind, value in substrate.aliases.items() if kind and value}
    start = substrate.aliases.get("teststarttime") or substrate.texts.get("createdate", "")
    return WaferMap(
        grid=grid,
        lot=content.lot(wafer),
        wafer=wafer,
        product=layout.product or substrate.texts.get("productid", ""),
        time=iso_time(start),
        corner=corner,
        bins=judged.bins,
        facts={**({"die size": layout.die_size} if layout.die_size else {}), **aliases},
        assumed=tuple(notes.assumed),
        warnings=tuple(notes.warnings),
    )


def _chosen(found: _Map, options: Options, notes: Notes, name: str) -> _Overlay:
    maps = [overlay for overlay in found.overlays if overlay.attributes is not None]
    names = ", ".join(repr(overlay.name) for overlay in maps) or "none"
    if options.overlay is not None:
        asked = options.overlay.casefold()
        for overlay in maps:
            if overlay.name.casefold() == asked:
                return overlay
        raise InputError(f"{name}: no overlay {options.overlay!r} with a BinCodeMap; expected one of: {names}.")
    if not maps:
        raise InputError(f"{name}: no <BinCodeMap>; expected an overlay with the dies' bins.")
    best = [overlay for overlay in maps if overlay.bins] or maps
    if len(maps) > 1:
        notes.assumed.append(f"overlay {best[0].name!r} is read, of {names} (--overlay)")
    return best[0]


def _top_left(placed: Placed, found: Axes, first_on_top: bool) -> tuple[int, int]:
    if placed.first is None:
        return 0, 0
    (row, col), (rows, cols) = placed.first, placed.codes.shape
    return row if first_on_top else -(row + rows - 1), col if found.right else -(col + cols - 1)


def _whole(said: dict[str, str], key: str, where: str) -> int:
    return whole_number(said.get(key, ""), key.upper(), where)


def _is_whole(text: str | None) -> bool:
    return text is not None and re.fullmatch(r"\s*[+-]?[0-9]{1,9}\s*", text) is not None
