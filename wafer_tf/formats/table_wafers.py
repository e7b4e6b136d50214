"""From the dies of a table to wafer maps, one for each lot and wafer. Needs numpy alone."""

from collections.abc import Iterator
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from wafer_tf.dies import Die, check_map
from wafer_tf.errors import InputError
from wafer_tf.formats.dies_on_grid import check_sides, dies_on_grid
from wafer_tf.formats.options import Options
from wafer_tf.formats.table_rows import Dies
from wafer_tf.formats.table_values import bin_name
from wafer_tf.formats.wafer_map import BinCount, WaferMap

MIN_FILLED = 5
"""Sides of a rectangle full of dies whose corners of bin 0 are told to be no dies."""


def wafers_of_dies(dies: Dies, said: dict[str, str], options: Options, name: str) -> Iterator[WaferMap | InputError]:
    """Give the wafers of a table in the order in which each begins.

    Args:
        dies: of the table.
        said: lot, wafer, product, step and time, where lines before the table say them.
        options: how to read them.
        name: what to call the file in an error.
    """
    order = np.argsort(dies.wafers, kind="stable")
    ends = np.cumsum(np.bincount(dies.wafers, minlength=len(dies.names)))
    first = 0
    for wafer, last in enumerate(ends.tolist()):
        try:
            yield _wafer(dies, wafer, order[first:last], said, options, name)
        except InputError as error:
            yield error
        first = last


def _wafer(
    dies: Dies, wafer: int, rows: NDArray[np.intp], said: dict[str, str], options: Options, name: str
) -> WaferMap:
    lot, number = (found or said.get(role, "") for role, found in zip(("lot", "wafer"), dies.names[wafer], strict=True))
    called = f"{name} {lot}/{number}" if lot or number else name
    tested = rows[dies.states[rows] != Die.ABSENT]
    if not len(tested):
        raise InputError(f"map {called}: no die has a result ({len(rows)} rows); expected at least one.")
    kept, retested = _one_each(dies, tested, options, called)
    assumed = [*dies.assumed]
    absent = _corners_of_zero(dies, kept) if options.pass_bins is None and options.states is None else None
    if absent is not None:
        kept = kept[~absent]
        assumed.append("bin 0, which fills the corners of the rectangle, is no die (--pass-bins 1 makes it a bin)")
    y_axis = options.y_axis or "down"
    notch = options.orient or 0
    grid, corner = dies_on_grid(
        dies.x[kept], dies.y[kept], dies.states[kept], called, y_grows=y_axis, notch=notch, part=options.part
    )
    if options.y_axis is None:
        assumed.append("y grows downward (--y-axis down)")
    if options.orient is None:
        assumed.append("the notch is down (--orient down)")
    words = {role: values.get(wafer, "").strip() or said.get(role, "") for role, values in dies.said.items()}
    time = words.get("time", said.get("time", ""))
    return WaferMap(
        grid=check_map(grid, called),
        lot=lot,
        wafer=number,
        product=words.get("product", said.get("product", "")),
        step=words.get("step", said.get("step", "")),
        time=iso_time(time),
        corner=corner,
        bins=_counts(dies, kept),
        retested=retested,
        facts={"time": time} if time and not iso_time(time) else {},
        assumed=tuple(assumed),
        warnings=tuple(_warnings(dies, wafer, kept, len(rows) - len(tested))),
    )


def _one_each(dies: Dies, rows: NDArray[np.intp], options: Options, name: str) -> tuple[NDArray[np.intp], int]:
    """Return the row that counts of each die, and how many dies have several."""
    x, y = dies.x[rows].astype(np.int64), dies.y[rows].astype(np.int64)
    height, width = int(y.max() - y.min()) + 1, int(x.max() - x.min()) + 1
    check_sides((height, width), name)
    places = (y - y.min()) * width + (x - x.min())
    if options.retest == "best":
        best = np.argsort(dies.states[rows], kind="stable")  # a passing die is 1, a failing one 2
        rows, places = rows[best], places[best]
    elif options.retest == "last":
        rows, places = rows[::-1], places[::-1]
    _, first, counts = np.unique(places, return_index=True, return_counts=True)
    return rows[first], int((counts > 1).sum())


def _corners_of_zero(dies: Dies, kept: NDArray[np.intp]) -> NDArray[np.bool_] | None:
    """Return which dies are of value 0, where they are a full rectangle with 0 in its corners: a grid written out."""
    zero = [code for code, word in enumerate(dies.words) if bin_name(word) == "0"]
    x, y = dies.x[kept], dies.y[kept]
    sides = int(y.max()) - int(y.min()) + 1, int(x.max()) - int(x.min()) + 1
    if not zero or min(sides) < MIN_FILLED or sides[0] * sides[1] != len(kept):
        return None
    absent = np.isin(dies.bins[kept], zero)
    corners = np.isin(x, (x.min(), x.max())) & np.isin(y, (y.min(), y.max()))
    failing = (dies.states[kept] == Die.FAIL)[absent]
    return absent if absent[corners].all() and failing.all() and not absent.all() else None


def _counts(dies: Dies, kept: NDArray[np.intp]) -> tuple[BinCount, ...]:
    pairs = dies.bins[kept].astype(np.int64) * 2 + (dies.states[kept] == Die.FAIL)
    counted: dict[tuple[bool, str], int] = {}
    for pair, count in zip(*(found.tolist() for found in np.unique(pairs, return_counts=True)), strict=True):
        key = bool(pair % 2), bin_name(dies.words[pair // 2])
        counted[key] = counted.get(key, 0) + count
    return tuple(BinCount(word, not fails, count) for (fails, word), count in sorted(counted.items()))


def _warnings(dies: Dies, wafer: int, kept: NDArray[np.intp], untested: int) -> Iterator[str]:
    if untested:
        yield f"{untested} rows have no result in column {dies.column}; they are not counted as dies."
    steps = sorted(step for step in dies.steps.get(wafer, ()) if step)
    if len(steps) > 1:
        yield f"{len(steps)} steps in one wafer ({', '.join(steps[:5])}); a die of several counts as one retested."
    if not (dies.states[kept] == Die.PASS).any():
        yield f"no die passes by column {dies.column}; if another bin passes, say so by --pass-bins."


def iso_time(text: str) -> str:
    """Return a time as ISO 8601 to the second, "" where it is none or day and month may be mixed up."""
    for form in ("", "%Y/%m/%d %H:%M:%S", "%Y/%m/%d", "%d.%m.%Y %H:%M:%S", "%d.%m.%Y"):
        try:
            found = datetime.strptime(text, form) if form else datetime.fromisoformat(text)
        except ValueError:
            continue
        return found.replace(tzinfo=None).isoformat(timespec="seconds")
    return ""
