"""What is in a file of wafer maps, for people and machines. Needs numpy alone."""

import json
import re
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import SEEK_END
from typing import Any, BinaryIO

from edge.station.inputs import shown_name
from edge.station.merged import find_merged
from wafer_tf.dies import Die
from wafer_tf.errors import InputError
from wafer_tf.formats.opened import Opened
from wafer_tf.formats.options import Options
from wafer_tf.formats.read import read_maps
from wafer_tf.formats.recognise import recognise
from wafer_tf.formats.wafer_map import WaferMap

WIDTH = 110
MAX_BINS = 12
_LABEL = 10
_BEGINNING = 512
_SAYS_HOW = re.compile(r"(?i)--[a-z]|\b(?:convert|save|unpack|export|copy|crop|leave out|judge)\b")
"""A reason that names a remedy needs no other."""
_KINDS = {
    "stdf": "STDF",
    "atdf": "ATDF",
    "klarf": "KLARF",
    "e142": "SEMI E142",
    "g85": "SEMI G85",
    "sinf": "SINF",
    "wmap": "WMAP",
    "tsk": "TSK",
    "electroglas": "Electroglas",
    "npy": "npy",
    "archive": "zip archive",
    "packed": "packed file",
    "die_table": "table of dies",
}
"""What a file seems to be, by the module that would read it; anything at all may be taken for a grid."""


@dataclass(frozen=True)
class Inspected:
    """A file that was looked into.

    Attributes:
        name: of the file.
        format: with its version; "" where it was not recognised.
        wafers: its wafers in order, in the place of one that cannot be read why it cannot.
        refused: why the file, or the rest of it, cannot be read; "" where it can.
        looks_like: what a refused file seems to be, and begins with; "" where that is not known.
    """

    name: str
    format: str
    wafers: tuple[WaferMap | InputError, ...]
    refused: str
    looks_like: str = ""

    @property
    def whole(self) -> bool:
        """Whether everything in it can be read."""
        return not self.refused and not any(isinstance(wafer, InputError) for wafer in self.wafers)


def inspect(stream: BinaryIO, name: str, options: Options) -> Inspected:
    """Look into a file; never raises for bad input."""
    format, wafers = "", list[WaferMap | InputError]()
    try:
        file = read_maps(stream, name, options)
        format = f"{file.format} {file.version}".rstrip()
        wafers.extend(file.wafers)
    except InputError as error:
        return Inspected(name, format, tuple(wafers), str(error), _looks_like(stream, name, format))
    except MemoryError:
        return Inspected(name, format, tuple(wafers), "not enough memory to read it")
    return Inspected(name, format, tuple(wafers), "" if wafers else "no wafer in it")


def inspect_merged(names: Sequence[str], options: Options) -> Iterator[Inspected]:
    """Look into files whose maps are tests of the same wafers: what is refused first, then the wafers together."""
    wafers, formats = list[WaferMap | InputError](), dict[str, None]()
    for file, item in find_merged(names, options):
        if isinstance(item.found, InputError):
            yield Inspected(file, item.format or "", (), str(item.found))
        else:
            wafers.append(item.found)
            formats[item.format or ""] = None
    if wafers:
        yield Inspected(" + ".join(map(shown_name, names)), " + ".join(formats), tuple(wafers), "")


def report(found: Inspected, *, every: bool = False) -> str:
    """Return what is in a file as lines for people: the first wafer, or with `every` each, and a table of many."""
    count = len(found.wafers)
    head = f"{found.name}: {found.format or 'not recognised'}"
    lines = [head + (f", {count} wafer{'s' * (count != 1)}" if count else "")]
    maps = [wafer for wafer in found.wafers if isinstance(wafer, WaferMap)]
    if count > 1:
        lines += ["", *_table(found.wafers)]
    for wafer in maps if every or count == 1 else maps[:1]:
        if count > 1:
            lines += ["", f"  {name_of(wafer) or 'the first'}:"]
        lines += _details(wafer)
    for number, each in enumerate(found.wafers, 1):
        if isinstance(each, InputError):
            lines += _entry(
                f"wafer {number}" if count > 1 else "refused", f"refused: {each}" if count > 1 else str(each)
            )
    if found.refused:
        lines += _entry("refused", found.refused)
        lines += _entry("looks like", found.looks_like) if found.looks_like else []
        lines += [] if _SAYS_HOW.search(found.refused) else _entry("what to do", _what_to_do(found))
    return "\n".join(lines)


def to_json(found: Inspected) -> dict[str, Any]:
    """Return the same as plain values: a wafer's fields as of `WaferMap`, its grid as counts."""
    return {
        "file": found.name,
        "format": found.format or None,
        "refused": found.refused or None,
        "looks_like": found.looks_like or None,
        "wafers": [_wafer_json(wafer) for wafer in found.wafers],
    }


def to_line(found: Inspected) -> str:
    """Return `to_json` as one line."""
    return json.dumps(to_json(found), allow_nan=False)


def _looks_like(stream: BinaryIO, name: str, format: str) -> str:
    stream.seek(0)
    file = Opened(stream, name)
    size = f"{stream.seek(0, SEEK_END):,} bytes"
    try:
        kind = format or _KINDS.get(recognise(file), "")
    except InputError:
        kind = ""
    if kind:
        return f"{kind}, {size}"
    head = file.head[:_BEGINNING]
    text = head.decode("utf-16" if head[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8", "ignore")
    first = next((line.strip() for line in text.splitlines() if line.strip()), "")
    if first and first.replace("\t", "").isprintable():
        return f'text, {size}, which begins "{first[:40]}{"..." if len(first) > 40 else ""}"'
    return f"binary, {size}, which begins {head[:8].hex(' ')}" if head else "an empty file"


def _what_to_do(found: Inspected) -> str:
    if found.format or found.looks_like.partition(",")[0] in _KINDS.values():
        return "Have the tool write the file anew, or copy it anew from there."
    return (
        "`station classify --help` names what is read. A grid of other values: --states, --pass-bins. A table whose "
        "columns have other names: --columns."
    )


def _table(wafers: Sequence[WaferMap | InputError]) -> list[str]:
    rows: list[tuple[str, ...]] = [("", "lot", "wafer", "grid", "dies", "pass", "fail", "yield", "retested")]
    for number, wafer in enumerate(wafers, 1):
        if isinstance(wafer, InputError):
            rows.append((str(number), *(getattr(wafer, key, "") for key in ("lot", "wafer")), "refused", *[""] * 5))
            continue
        passing, failing = _counts(wafer)
        size = f"{wafer.grid.shape[0]} x {wafer.grid.shape[1]}"
        share = f"{100 * passing / max(passing + failing, 1):.1f} %"
        counts = (f"{passing + failing:,}", f"{passing:,}", f"{failing:,}", share, f"{wafer.retested:,}")
        rows.append((str(number), wafer.lot, wafer.wafer, size, *counts))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    texts = (1, 2)
    return [
        "  "
        + "  ".join(
            cell.ljust(width) if column in texts else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def facts_of(wafer: WaferMap) -> list[tuple[str, str]]:
    """Return what a file says of a wafer: what it is and its text, more than once where there is more to say."""
    passing, failing = _counts(wafer)
    dies = passing + failing
    rows, cols = wafer.grid.shape
    known = (
        ("product", wafer.product),
        ("lot", wafer.lot),
        ("wafer", wafer.wafer),
        ("step", wafer.step),
        ("tested", wafer.time),
        ("grid", f"{rows} rows x {cols} columns, row 0 on top, notch down"),
        ("dies", f"{dies:,}: {passing:,} pass ({100 * passing / dies:.1f} %), {failing:,} fail"),
        ("bins", _bins(wafer)),
        ("retested", f"{wafer.retested:,} dies" if wafer.retested else ""),
        *wafer.facts.items(),
        *(("assumed", text) for text in wafer.assumed),
        *(("warning", text) for text in wafer.warnings),
    )
    return [(label, text) for label, text in known if text]


def _details(wafer: WaferMap) -> list[str]:
    return [line for label, text in facts_of(wafer) for line in _entry(label, text)]


def _entry(label: str, text: str) -> list[str]:
    """Return a label and its text, folded; a long label has a line of its own."""
    head = f"  {label:<{_LABEL}} " if len(label) <= _LABEL else f"  {label}: "
    rest = " " * (_LABEL + 3)
    return textwrap.wrap(text, WIDTH, initial_indent=head, subsequent_indent=rest, break_long_words=False) or [head]


def _bins(wafer: WaferMap) -> str:
    shown = [f"{b.name}: {b.dies:,}{' pass' if b.passing else ''}" for b in wafer.bins[:MAX_BINS]]
    left = len(wafer.bins) - len(shown)
    return ", ".join(shown) + (f" and {left} more" if left else "")


def name_of(wafer: WaferMap) -> str:
    """Return LOT/WAFER as far as they are known."""
    return f"{wafer.lot}/{wafer.wafer}" if wafer.lot and wafer.wafer else wafer.wafer or wafer.lot


def _counts(wafer: WaferMap) -> tuple[int, int]:
    return int((wafer.grid == Die.PASS).sum()), int((wafer.grid == Die.FAIL).sum())


def _wafer_json(wafer: WaferMap | InputError) -> dict[str, Any]:
    if isinstance(wafer, InputError):
        return {"refused": str(wafer)}
    passing, failing = _counts(wafer)
    texts = ("lot", "wafer", "product", "step", "time")
    return {
        **{name: getattr(wafer, name) or None for name in texts},
        "rows": wafer.grid.shape[0],
        "cols": wafer.grid.shape[1],
        "pass": passing,
        "fail": failing,
        "retested": wafer.retested,
        "bins": [b._asdict() for b in wafer.bins],
        "facts": wafer.facts,
        "assumed": list(wafer.assumed),
        "warnings": list(wafer.warnings),
    }
