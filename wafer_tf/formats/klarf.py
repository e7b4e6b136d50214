"""KLARF, a defect inspection's result: a die that holds a defect fails. Needs numpy alone.

There are two syntaxes of one thing. Version 1.1 and 1.2 is keywords (klarf_1x.py), 1.8 and 2.0 records in braces
(klarf_18.py); both give the same content (klarf_wafer.py), which is set against the wafer's dies (klarf_dies.py).
"""

import re
from collections.abc import Iterator

import numpy as np

from wafer_tf.dies import MIN_SIDE, Die, check_map
from wafer_tf.errors import InputError
from wafer_tf.formats import klarf_1x, klarf_18
from wafer_tf.formats.dies_on_grid import dies_on_grid
from wafer_tf.formats.klarf_defects import class_asked, hits
from wafer_tf.formats.klarf_dies import on_wafer, planned
from wafer_tf.formats.klarf_header import facts, notch, time
from wafer_tf.formats.klarf_summary import NO_DEFECTS, check_summary, no_defects, other_count
from wafer_tf.formats.klarf_text import Text
from wafer_tf.formats.klarf_wafer import Content, Wafer
from wafer_tf.formats.opened import Opened
from wafer_tf.formats.options import Options
from wafer_tf.formats.wafer_map import MapFile, WaferMap

KEYWORDS, RECORDS = frozenset({"1.1", "1.2"}), frozenset({"1.8", "2.0"})
"""The versions of either syntax."""
_VERSION = re.compile(rb'(?im)^[ \t;]*(?:FileVersion\s+(?P<words>[^;\n]*)|Record\s+FileRecord\s+"?(?P<id>[^\s"{]*))')


def read(file: Opened, options: Options) -> MapFile:
    """Read a KLARF file.

    Args:
        file: opened.
        options: `classes` and `min_defect_size` say which defects count, `orient` where the notch is, `lenient`
            whether counts that differ are warned of.

    Raises:
        InputError: an unknown version, or a file that is cut off or broken.
    """
    for asked in options.classes or ():
        class_asked(asked)
    text = Text(file)
    found = _VERSION.search(text.data)
    if found is None:
        raise InputError(f"{file.name}: no FileVersion and no FileRecord; expected a KLARF file.")
    words = found["words"] if found["id"] is None else found["id"]
    version = ".".join(words.decode("latin-1").split())
    by_keywords = found["id"] is None
    known = KEYWORDS if by_keywords else RECORDS
    if version not in known:
        syntax = "by keywords (FileVersion)" if by_keywords else "by records (FileRecord)"
        raise text.error(
            found.start(),
            f"KLARF version {version[:40]!r} written {syntax}; read are {', '.join(sorted(KEYWORDS))} by keywords and "
            f"{', '.join(sorted(RECORDS))} by records",
        )
    content = (klarf_1x if by_keywords else klarf_18).parse(text, known)
    notes = [options.differs(f"{file.name}: {sentence}") for sentence in content.counts]
    if not content.ended:
        notes.append(
            options.differs(
                f"{file.name}: line {text.line(len(text.data))}: the file ends without EndOfFile; expected it."
            )
        )
    if not content.wafers:
        raise InputError(f"{file.name}: no WaferRecord; expected at least one.")
    if by_keywords:
        _check_lists(content, file.name)
    return MapFile(format="KLARF", version=version, wafers=_wafers(content, file.name, options, tuple(notes)))


def _check_lists(content: Content, name: str) -> None:
    """Refuse a file by keywords with a wafer that has no DefectList: its defects stood elsewhere, or are cut off."""
    for wafer in content.wafers:
        if wafer.defects is None and not no_defects(wafer):
            raise InputError(f"{name}: line {wafer.line}: {_without_list(wafer)}")


def _without_list(wafer: Wafer) -> str:
    return f"wafer {wafer.first('WAFERID')[:40]!r} has no DefectList; expected one, or a summary that says NDEFECT 0."


def _wafers(content: Content, name: str, options: Options, notes: tuple[str, ...]) -> Iterator[WaferMap | InputError]:
    before: Wafer | None = None
    for wafer in content.wafers:
        if before and not wafer.plans and content.unit == 1:
            wafer.plans, wafer.inherited = before.plans, bool(before.plans)  # a keyword holds until it is given again
        before = wafer
        try:
            yield _wafer(wafer, content, f"{name}, wafer {wafer.first('WAFERID')[:40] or '?'}", options, notes)
        except InputError as error:
            if len(content.wafers) == 1:
                raise
            yield error


def _wafer(wafer: Wafer, content: Content, name: str, options: Options, notes: tuple[str, ...]) -> WaferMap:
    if wafer.defects is None and not no_defects(wafer):
        raise InputError(f"{name}: line {wafer.line}: {_without_list(wafer)}")
    warnings, assumed = [*notes, *wafer.notes], list[str]()
    defects = NO_DEFECTS if wafer.defects is None else wafer.defects
    if wafer.declared is not None and wafer.declared != len(defects.lines):
        warnings.append(
            options.differs(f"{name}: DefectList declares {wafer.declared} defects and lists {len(defects.lines)}.")
        )
    dies = planned(wafer, name, options, warnings)
    summary_dies = dies
    if dies is None:
        dies = on_wafer(wafer, content.unit, name)
        assumed.append(dies.assumed)
        warnings += other_count(wafer, dies)
    elif wafer.inherited:
        assumed.append("the wafer has no SampleTestPlan of its own: it has the dies of the one before it in the file")
    warnings += check_summary(wafer, defects, summary_dies, options, name)
    found = hits(defects, dies, content.unit, options=options, name=name)
    states = np.where(found.failing, Die.FAIL, Die.PASS).astype(np.uint8)
    grid, corner = dies_on_grid(dies.x, dies.y, states, name, y_grows="up", notch=notch(wafer, options, assumed, name))
    if min(grid.shape) < MIN_SIDE:
        raise InputError(
            f"{name}: its dies span {grid.shape[0]} rows x {grid.shape[1]} columns; expected at least {MIN_SIDE} each. "
            "An inspection of a bare wafer has one die, and no map."
        )
    if wafer.first("COORDINATESMIRRORED").upper() in ("YES", "TRUE", "1"):
        warnings.append("CoordinatesMirrored YES: the map shows the wafer as it was inspected, from behind.")
    warnings += _unknown_classes(content, options)
    return WaferMap(
        grid=check_map(grid, name),
        lot=wafer.first("LOTID"),
        wafer=wafer.first("WAFERID"),
        product=wafer.first("DEVICEID"),
        step=wafer.first("STEPID"),
        time=time(wafer, warnings, assumed),
        corner=corner,
        bins=found.bins,
        facts={
            **facts(wafer, content.unit),
            "defects": str(len(defects.lines)),
            "defects that count": str(found.counting),
            "defects outside the plan": str(found.outside),
        },
        assumed=(*assumed, *found.assumed),
        warnings=(*warnings, *found.warnings),
    )


def _unknown_classes(content: Content, options: Options) -> list[str]:
    """Say which of the classes asked for the file does not list: likely a slip, and no defect of it would count."""
    asked = {class_asked(text) for text in options.classes or ()}
    unknown = sorted(asked - content.classes) if content.classes else []
    return [f"class {number} is none of the file's ClassLookup (--class)." for number in unknown]
