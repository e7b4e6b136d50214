"""TSK / Accretech, a prober's binary map, big-endian: a header of 236 bytes, then six bytes a die. Needs numpy.

The dies are taken in the order they are stored: columns from the left, rows from the top. The header's flat angle is
counted clockwise from up, as 180 is down in the files of these probers; the directions in which its coordinates grow
(x: 1 left, 2 right; y: 1 forward, 2 backward) do not move a die in that order, and are given as facts.
"""

import struct

import numpy as np
from numpy.typing import NDArray

from wafer_tf.dies import MAX_SIDE, Die
from wafer_tf.errors import InputError
from wafer_tf.formats.bin_codes import Notes, notch_at, upright
from wafer_tf.formats.dies_on_grid import check_sides
from wafer_tf.formats.opened import Opened
from wafer_tf.formats.options import Options
from wafer_tf.formats.wafer_map import BinCount, MapFile, WaferMap

HEADER = 236
DIE = 6
_TEXTS = {"operator": (0, 20), "device": (20, 16), "wafer": (60, 21), "lot": (82, 18)}
_PROBED = 1
"""The kind of place that is a die to test; 0 is none, or skipped, 2 is marked without a test."""
_COORDINATE = 0x1FF
"""Bits of the first and the second word of a die that are its x and y."""
MAX_MISPLACED = 0.4
"""Share of dies beyond which their coordinates are taken for none."""
_X = ("not said", "to the left", "to the right")
_Y = ("not said", "forward", "backward")


def is_tsk(head: bytes) -> bool:
    """Whether a file begins with the header of a TSK map.

    Four fields of text that is padded at its end, one of them filled; an angle of quarter turns; sides of a wafer;
    directions of 0, 1 or 2; and no die of a kind that does not exist.
    """
    if len(head) < HEADER + DIE:
        return False
    texts = [_text(head, field) for field in _TEXTS]
    cols, rows = struct.unpack_from(">HH", head, 52)
    words = np.frombuffer(head[HEADER : HEADER + (len(head) - HEADER) // DIE * DIE], ">u2").reshape(-1, 3)
    kinds = words[: cols * rows, 1] >> 14
    return (
        None not in texts
        and any(texts[1:])
        and struct.unpack_from(">H", head, 48)[0] in (0, 90, 180, 270)
        and 1 <= cols <= MAX_SIDE
        and 1 <= rows <= MAX_SIDE
        and max(head[104], head[105]) <= 2
        and bool((kinds <= 2).all())
    )


def read(file: Opened, options: Options) -> MapFile:
    """Read a TSK file, which holds one wafer.

    Raises:
        InputError: fewer bytes than its header announces, or counts that differ.
    """
    head = file.head
    if not is_tsk(head):
        raise InputError(f"{file.name}: no TSK header, or shorter than one ({HEADER} bytes).")
    notes = Notes()
    wafer, lot = _text(head, "wafer") or "", _text(head, "lot") or ""
    name = f"{file.name}, wafer {wafer}" if wafer else file.name
    cols, rows = struct.unpack_from(">HH", head, 52)
    check_sides((rows, cols), name)
    data = file.whole()
    size = HEADER + rows * cols * DIE
    if len(data) < size:
        raise InputError(f"{name}: {len(data)} bytes; expected {size} for {rows} rows x {cols} columns. It is cut off.")
    words = np.frombuffer(data, ">u2", rows * cols * 3, HEADER).reshape(rows, cols, 3)
    results, kinds = words[..., 0] >> 14, words[..., 1] >> 14
    probed = kinds == _PROBED
    if not probed.any() and results.any():
        probed = kinds == 0
        notes.warnings.append("no place is marked as a die to test; those with a result are read as dies.")
    tested = probed & (results > 0)
    _check_places(words, probed, options, notes, name)
    categories = words[..., 2] & 0x3F
    passes = results == 1
    _compare(head, tested, tested & passes, options, notes, name)
    if options.pass_bins is not None:
        good = {code.lstrip("0") or "0" for code in options.pass_bins}
        passes = np.isin(categories, [number for number in range(64) if str(number) in good])
    states = np.where(tested, np.where(passes, Die.PASS, Die.FAIL), Die.ABSENT).astype(np.uint8)
    untested = int((probed & (results == 0)).sum())
    if untested:
        notes.warnings.append(f"{untested} dies were not tested, and are read as no die.")
    angle = struct.unpack_from(">H", head, 48)[0]
    notch = notch_at(str(angle), options, notes, name, key="flat angle", from_up=True)
    if notch == 180:
        notes.assumed.append("flat angle 0 is read as up (--orient)")
    notes.assumed.append("dies are stored from the upper left, row by row, which the file does not say (--orient)")
    grid, corner = upright(states, notch, name)
    return MapFile(
        format="TSK",
        version=str(head[51]),
        wafers=iter(
            [
                WaferMap(
                    grid=grid,
                    lot=lot,
                    wafer=wafer,
                    product=_text(head, "device") or "",
                    time=_time(head[148:158]),
                    corner=corner,
                    bins=_bins(categories[tested], passes[tested]),
                    facts={"x grows": _X[head[104]], "y grows": _Y[head[105]]},
                    assumed=tuple(notes.assumed),
                    warnings=tuple(notes.warnings),
                )
            ]
        ),
    )


def _text(head: bytes, field: str) -> str | None:
    """Return a field of text, None where its bytes are none: printable, then blanks or zeros to its end."""
    start, length = _TEXTS[field]
    text, _, rest = head[start : start + length].partition(b"\0")
    if rest.strip(b"\0 ") or not all(32 <= byte < 127 for byte in text):
        return None
    return text.decode("ascii").strip()


def _compare(
    head: bytes, tested: NDArray[np.bool_], passed: NDArray[np.bool_], options: Options, notes: Notes, name: str
) -> None:
    declared = struct.unpack_from(">HHH", head, 210)
    dies, good = int(tested.sum()), int(passed.sum())
    if not any(declared):
        notes.warnings.append("the header counts no die; the map cannot be checked against it.")
        return
    for what, said, found in zip(("tested", "good", "bad"), declared, (dies, good, dies - good), strict=True):
        if said != found & 0xFFFF:  # the fields have 16 bits; larger wafers overflow them
            notes.warnings.append(options.differs(f"{name}: {said} {what} dies by the header, {found} in the map."))


def _check_places(
    words: NDArray[np.uint16], probed: NDArray[np.bool_], options: Options, notes: Notes, name: str
) -> None:
    """Compare the coordinates of each die with where it is stored, if most agree: a writer may leave them empty."""
    rows, cols = probed.shape
    if not probed.any():
        return
    for what, word, place in (("x", 0, np.arange(cols)), ("y", 1, np.arange(rows)[:, None])):
        said = (words[..., word] & _COORDINATE).astype(np.int32)
        for grows in (place, -place):
            offsets = ((said - grows) & _COORDINATE)[probed]
            usual = np.bincount(offsets).argmax()
            odd = np.count_nonzero(offsets != usual)
            if 0 < odd < len(offsets) * MAX_MISPLACED:
                row, col = np.argwhere(probed)[np.argmax(offsets != usual)]
                notes.warnings.append(
                    options.differs(
                        f"{name}: {odd} of {len(offsets)} dies are not where their own {what} says, the first at row "
                        f"{row}, column {col}."
                    )
                )


def _bins(categories: NDArray[np.uint16], passes: NDArray[np.bool_]) -> tuple[BinCount, ...]:
    found = np.bincount(categories * 2 + ~passes, minlength=128).tolist()
    bins = [BinCount(str(pair // 2), pair % 2 == 0, dies) for pair, dies in enumerate(found) if dies]
    return tuple(sorted(bins, key=lambda one: not one.passing))


def _time(field: bytes) -> str:
    if not (field.isdigit() and len(field) == 10):
        return ""
    year, month, day, hour, minute = (field[place : place + 2].decode() for place in range(0, 10, 2))
    return f"20{year}-{month}-{day}T{hour}:{minute}:00"
