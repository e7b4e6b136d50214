"""Electroglas, a prober's list of dies: lines of XnYn, a tab, a code; 1 passes. Needs numpy alone."""

import re
from array import array

import numpy as np
from numpy.typing import NDArray

from wafer_tf.dies import MAX_CELLS, Die, check_map
from wafer_tf.errors import InputError
from wafer_tf.formats.bin_codes import Notes, notch_at
from wafer_tf.formats.dies_on_grid import dies_on_grid
from wafer_tf.formats.opened import Opened
from wafer_tf.formats.options import Options
from wafer_tf.formats.text_lines import first_of, numbered_lines
from wafer_tf.formats.wafer_map import BinCount, MapFile, WaferMap
from wafer_tf.formats.wmap import LOT, PRODUCT, WAFER

_DIE = re.compile(r"[ \t]*X[ \t]*(-?\d{1,6})[ \t]*Y[ \t]*(-?\d{1,6})[ \t]+(\S{1,16})[ \t]*", re.ASCII)
_LIKE_A_DIE = re.compile(r"[ \t]*X[ \t]*-?\d")
_SAID = re.compile(r"[ \t]*([A-Za-z]+)[ \t]*[:=\t][ \t]*(.*)")
MAX_CODES = 1 << 12


def read(file: Opened, options: Options) -> MapFile:
    """Read an Electroglas list, which holds one wafer.

    Raises:
        InputError: a die's line that is none, or no die.
    """
    xs, ys, codes = array("i"), array("i"), array("i")
    known: dict[str, int] = {}
    said: dict[str, str] = {}
    for number, line in numbered_lines(file):
        die = _DIE.fullmatch(line)
        if die:
            xs.append(int(die[1]))
            ys.append(int(die[2]))
            codes.append(known.setdefault(die[3].lstrip("0") or "0", len(known)))
            if len(xs) > MAX_CELLS or len(known) > MAX_CODES:
                raise InputError(f"{file.name}: line {number}: over {MAX_CELLS} dies or {MAX_CODES} codes in one map.")
        elif _LIKE_A_DIE.match(line):
            raise InputError(f"{file.name}: line {number}: {line.strip()[:40]!r}; expected XnYn, a tab, and a code.")
        elif key := _SAID.fullmatch(line):
            said.setdefault(key[1].upper(), key[2].strip())
    places = np.array([xs, ys], np.int32)
    del xs, ys
    wafer = _wafer(file.name, places, np.array(codes, np.int16), list(known), said, options)
    return MapFile(format="Electroglas", wafers=iter([wafer]))


def _wafer(
    file_name: str,
    places: NDArray[np.int32],
    codes: NDArray[np.int16],
    known: list[str],
    said: dict[str, str],
    options: Options,
) -> WaferMap:
    notes = Notes()
    wafer = first_of(said, WAFER)
    name = f"{file_name}, wafer {wafer[:40]}" if wafer else file_name
    good = {code.lstrip("0") or "0" for code in options.pass_bins} if options.pass_bins is not None else {"1"}
    passes = np.array([code in good for code in known], np.bool_)
    if not len(codes):
        raise InputError(f"{name}: no line of a die; expected XnYn, a tab, and a code.")
    counts, retested = _that_count(places, passes[codes], options.retest)
    places, codes = places[:, counts], codes[counts]
    y_grows = options.y_axis or "down"
    if options.y_axis is None:
        notes.assumed.append("y grows downward (--y-axis down)")
    notch = notch_at("", options, notes, name, key="notch")
    states = np.where(passes[codes], Die.PASS, Die.FAIL).astype(np.uint8)
    grid, corner = dies_on_grid(places[0], places[1], states, name, y_grows=y_grows, notch=notch, part=options.part)
    dies = np.bincount(codes, minlength=len(known)).tolist()
    bins = [BinCount(code, bool(passes[n]), dies[n]) for n, code in enumerate(known) if dies[n]]
    return WaferMap(
        grid=check_map(grid, name),
        lot=first_of(said, LOT),
        wafer=wafer,
        product=first_of(said, PRODUCT),
        corner=corner,
        bins=tuple(sorted(bins, key=lambda one: (not one.passing, one.name))),
        retested=retested,
        assumed=tuple(notes.assumed),
        warnings=tuple(notes.warnings),
    )


def _that_count(places: NDArray[np.int32], passes: NDArray[np.bool_], retest: str) -> tuple[NDArray[np.int64], int]:
    """Return which results count, one for each place, and how many places have several."""
    x, y = places - places.min(axis=1, keepdims=True)
    place = y * (np.int64(x.max()) + 1) + x
    order = np.lexsort((passes, place)) if retest == "best" else np.argsort(place, kind="stable")
    place = place[order]
    new = np.append(True, place[1:] != place[:-1])
    first, last = np.flatnonzero(new), np.flatnonzero(np.append(new[1:], True))
    return np.sort(order[first if retest == "first" else last]), int((first != last).sum())
