"""From a grid of bin codes, as SEMI's map formats and the probers write them, to die states. Needs numpy alone."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from wafer_tf.dies import MAX_CELLS, Die, check_map, cropped
from wafer_tf.errors import InputError
from wafer_tf.formats.dies_on_grid import NOTCH, OnGrid, notch_down
from wafer_tf.formats.options import Options
from wafer_tf.formats.wafer_map import BinCount

WIDTHS = {"ascii": 1, "hexadecimal": 2, "decimal": 3, "integer2": 4}
"""Characters a die, by BinType in lower case."""
MAX_CODES = 1 << 16
"""Different codes a map may have: what four hexadecimal digits can tell apart."""
GOOD = frozenset({"pass", "passed", "good", "p", "g", "ok"})
BAD = frozenset({"fail", "failed", "bad", "reject", "rejected", "f", "ng", "ugly"})
NO_DIE = frozenset({"null", "nodie", "skip", "skipped", "ref", "reference", "edge", "mirror", "untested"})
"""Qualities of what is no tested die, as a skipped or reference die of SINF is none."""
_DIGITS = {"hexadecimal": "0123456789ABCDEFabcdef", "integer2": "0123456789ABCDEFabcdef", "decimal": "0123456789"}


class Bin(NamedTuple):
    """A bin as a file defines it.

    Attributes:
        code: as it stands in the grid.
        quality: "Pass", "Fail", ..., "" where the file does not say.
        dies: how many, None where the file does not say.
    """

    code: str
    quality: str = ""
    dies: int | None = None


@dataclass
class Notes:
    """What a reader has to say of a wafer, in sentences; see `WaferMap`."""

    assumed: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


class Judged(NamedTuple):
    """Dies in the file's own picture.

    Attributes:
        grid: (rows, cols) uint8, die states.
        bins: the passing bins first.
    """

    grid: NDArray[np.uint8]
    bins: tuple[BinCount, ...]


def packed(text: str, width: int, where: str) -> NDArray[np.uint32]:
    """Return the codes of a text as numbers, (n,) uint32: their characters' bytes, the first the highest.

    Raises:
        InputError: characters beyond ASCII.
    """
    try:
        characters = np.frombuffer(text.encode("ascii"), np.uint8).reshape(-1, width)
    except UnicodeEncodeError as error:
        raise InputError(f"{where}: {text[error.start]!r}; expected bin codes in ASCII.") from None
    numbers = np.zeros(len(characters), np.uint32)
    for place in range(width):
        numbers = (numbers << np.uint32(8)) | characters[:, place]
    return numbers


def grid_of_rows(rows: Sequence[str], cols: int, width: int, name: str) -> NDArray[np.uint32]:
    """Return the codes of rows of a known width, (rows, cols) uint32 as `packed` gives them.

    Raises:
        InputError: a row with more or fewer cells, or more cells than a map may have.
    """
    for number, row in enumerate(rows, 1):
        if len(row) != cols * width:
            raise InputError(
                f"{name}: row {number} has {len(row)} characters; expected {cols * width}: {cols} dies of {width} each."
            )
    if len(rows) * cols > MAX_CELLS:
        raise InputError(f"{name}: {len(rows)} rows x {cols} columns; expected at most {MAX_CELLS} cells.")
    return packed("".join(rows), width, name).reshape(len(rows), cols)


def judge(
    codes: NDArray[np.uint32],
    bins: Sequence[Bin],
    nulls: frozenset[str] | None,
    options: Options,
    notes: Notes,
    name: str,
    *,
    kind: str,
    width: int,
    good: Collection[str] | None = None,
) -> Judged:
    """Tell the dies that pass from those that fail and from places without a die.

    Args:
        codes: (rows, cols) uint32, see `packed`; 0 where the file gives no code, which is no die.
        bins: those the file defines.
        nulls: the codes of a place without a die; it is none even where `bins` lists its code. None: the file does
            not say.
        options: see there.
        notes: where to say what was assumed, and what is odd.
        name: what to call the map in an error.
        kind: see WIDTHS; bins of "ascii" are compared as they stand, others without leading zeros.
        width: characters a code.
        good: the passing bins, where the file lists them instead of giving each bin's quality.

    Raises:
        InputError: a code that is none of its kind, or counts that differ from the file's own.
    """
    unique, index, counts = np.unique(codes, return_inverse=True, return_counts=True)
    if len(unique) > MAX_CODES:
        raise InputError(f"{name}: {len(unique)} different bin codes; expected at most {MAX_CODES}.")
    index = index.reshape(codes.shape)
    texts = [_text(int(code), width) if code else "" for code in unique]
    plains = [_plain(text, kind) if text else None for text in texts]
    known = {_plain(bin_.code, kind): bin_ for bin_ in reversed(bins)}
    absent = _null_codes(index, texts, known, nulls, kind, notes)
    for number, (text, plain) in enumerate(zip(texts, plains, strict=True)):
        if plain not in absent and plain not in known and not set(text) <= set(_DIGITS.get(kind, text)):
            row, col = np.argwhere(index == number)[0]
            raise InputError(f"{name}: bin code {text!r} at row {row + 1}, column {col + 1}; expected {kind} digits.")
    dies: dict[str, int] = {}
    for plain, count in zip(plains, counts.tolist(), strict=True):
        if plain is not None:
            dies[plain] = dies.get(plain, 0) + count
    absent |= _no_dies(known, absent, dies, notes)
    listed = options.pass_bins if options.pass_bins is not None else good
    passing = _passing(known, kind, notes) if listed is None else {_plain(code, kind) for code in listed}
    states = np.array(
        [
            Die.ABSENT if plain is None or plain in absent else Die.PASS if plain in passing else Die.FAIL
            for plain in plains
        ],
        np.uint8,
    )
    shown = {plain: text for plain, text in zip(plains, texts, strict=True) if plain is not None}
    shown |= {plain: bin_.code.strip() or bin_.code for plain, bin_ in known.items()}
    found = {
        plain: BinCount(shown[plain], plain in passing, count) for plain, count in dies.items() if plain not in absent
    }
    _compare(known, absent, found, options, notes, name)
    if options.pass_bins and found and not any(one.passing for one in found.values()):
        notes.warnings.append(f"no die has a bin of --pass-bins {','.join(sorted(options.pass_bins))}; all fail.")
    ordered = sorted(found.values(), key=lambda one: (not one.passing, one.name))
    return Judged(states[index], tuple(ordered))


def upright(grid: NDArray[np.uint8], notch: int, name: str, *, top_left: tuple[int, int] = (0, 0)) -> OnGrid:
    """Turn a grid so that its notch is down, cut off the margin, and check it.

    Args:
        grid: (rows, cols) uint8, die states as the file draws them.
        notch: where the notch is in it, see NOTCH.
        name: what to call the map in an error.
        top_left: row and column of grid[0, 0] on the tool's grid.

    Raises:
        InputError: not a map, or without a die.
    """
    if not grid.any():
        raise InputError(f"{name}: no die at all, every place has the code of none; expected at least one die.")
    box, (down, right) = cropped(grid)
    row, col = top_left[0] + down, top_left[1] + right
    rows, cols = box.shape
    for _ in range(notch // 90):  # a quarter turn counter-clockwise takes (row, col) to (-col, row)
        row, col, rows, cols = -(col + cols - 1), row, cols, rows
    return OnGrid(check_map(notch_down(box, notch), name), (row, col))


def notch_at(text: str, options: Options, notes: Notes, name: str, *, key: str, from_up: bool = False) -> int:
    """Return where the notch is in the file's picture, see NOTCH, by what the file says, or `--orient`.

    Args:
        text: degrees clockwise, or a word such as "Down"; "" where the file does not say.
        options: see there.
        notes: where to say what was assumed.
        name: what to call the map in an error.
        key: what the file calls it.
        from_up: whether 0 degrees are up, as in SINF, not down, as in SEMI's XML.

    Raises:
        InputError: neither, and no `--orient`.
    """
    if options.orient is not None:
        return options.orient
    text = text.strip()
    if not text:
        notes.assumed.append("the notch is down, which the file does not say (--orient)")
        return 0
    for word, angle in NOTCH.items():
        if text.casefold().startswith(word):
            return angle
    try:
        angle = round(float(text))
    except (ValueError, OverflowError):
        angle = -1
    if angle not in (0, 90, 180, 270, 360):
        raise InputError(f"{name}: {key} {text[:20]!r}; expected 0, 90, 180 or 270. Say where the notch is: --orient.")
    notch = (angle + 180 * from_up) % 360
    if notch in (90, 270):
        side = "left" if notch == 90 else "right"
        notes.assumed.append(
            f"{key} {angle} is read as a notch on the {side}, degrees being counted clockwise from "
            f"{'up' if from_up else 'down'} (--orient)"
        )
    return notch


def kind_and_width(text: str, codes: Iterable[str], name: str) -> tuple[str, int]:
    """Return the kind of codes, see WIDTHS, and their characters, by BinType or, without one, the codes known.

    Raises:
        InputError: an unknown BinType, or none and codes of several lengths.
    """
    kind = text.strip().casefold()
    if kind in WIDTHS:
        return kind, WIDTHS[kind]
    lengths = {len(code) for code in codes if code}
    if kind or len(lengths) != 1 or not lengths <= {1, 2, 3, 4}:
        raise InputError(f"{name}: BinType {text[:20]!r}; expected Ascii, Decimal, HexaDecimal or Integer2.")
    return "ascii", lengths.pop()


def whole_number(text: str, what: str, name: str) -> int:
    """Return a whole number that a file declares.

    Raises:
        InputError: it is none, or of more than 18 digits.
    """
    text = text.strip()
    if not (text.removeprefix("-").removeprefix("+").isdecimal() and len(text) <= 18):
        raise InputError(f"{name}: {what} {text[:20]!r}; expected a whole number.")
    return int(text)


def _text(code: int, width: int) -> str:
    return code.to_bytes(width, "big").decode("ascii")


def _plain(code: str, kind: str) -> str:
    if kind == "ascii":
        return code
    return code.strip().upper().lstrip("0") or "0"


def _null_codes(
    index: NDArray[np.intp],
    texts: list[str],
    known: dict[str, Bin],
    nulls: frozenset[str] | None,
    kind: str,
    notes: Notes,
) -> set[str]:
    """Return the codes of no die: those named, else what fills all four corners and is no bin."""
    if nulls:
        return {_plain(null, kind) for null in nulls}
    corners = {texts[index[row, col]] for row in (0, -1) for col in (0, -1)} if index.size else set()
    corner = next(iter(corners)) if len(corners) == 1 else ""
    if not corner or not known or _plain(corner, kind) in known:
        return set()
    notes.assumed.append(
        f"{corner!r}, which fills the corners and is no bin of the file, is no die; it names no NullBin"
    )
    return {_plain(corner, kind)}


def _no_dies(known: dict[str, Bin], absent: set[str], dies: dict[str, int], notes: Notes) -> set[str]:
    found = set()
    for plain, bin_ in known.items():
        if plain not in absent and "".join(filter(str.isalpha, bin_.quality)).casefold() in NO_DIE:
            found.add(plain)
            if plain in dies:
                notes.warnings.append(f"{dies[plain]} places of bin {bin_.code}, {bin_.quality}, are read as no die.")
    return found


def _passing(known: dict[str, Bin], kind: str, notes: Notes) -> set[str]:
    qualities = {plain: bin_.quality.strip().casefold() for plain, bin_ in known.items()}
    if not any(quality in GOOD | BAD for quality in qualities.values()):
        notes.assumed.append("bin 1 passes and all others fail, the file giving no bin's quality (--pass-bins)")
        return {"1"} if kind != "ascii" else {"1", "01", "001", "0001"}
    for plain, quality in qualities.items():
        if quality not in GOOD | BAD | NO_DIE:
            notes.assumed.append(f"bin {known[plain].code} of quality {quality[:20]!r} fails (--pass-bins)")
    return {plain for plain, quality in qualities.items() if quality in GOOD}


def _compare(
    known: dict[str, Bin], absent: set[str], found: dict[str, BinCount], options: Options, notes: Notes, name: str
) -> None:
    for plain, bin_ in known.items():
        dies = found[plain].dies if plain in found else 0
        if bin_.dies is not None and plain not in absent and bin_.dies != dies:
            notes.warnings.append(
                options.differs(f"{name}: bin {bin_.code} has {bin_.dies} dies by its BinCount, {dies} in the map.")
            )
    for plain, one in found.items():
        if known and plain not in known:
            notes.warnings.append(
                f"{one.dies} dies of bin {one.name}, which the file does not define, "
                f"{'pass' if one.passing else 'fail'} (--pass-bins)."
            )
