"""Where the dies of a SEMI E142 map lie: its rows and axes, and whether its reference die agrees. Needs numpy alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from wafer_tf.dies import MAX_CELLS
from wafer_tf.errors import InputError
from wafer_tf.formats.bin_codes import Notes, grid_of_rows, packed
from wafer_tf.formats.dies_on_grid import MAX_COORDINATE, check_sides
from wafer_tf.formats.options import Options

ORIGINS = ("Center", "LowerLeft", "LowerRight", "UpperLeft", "UpperRight")
DIRECTIONS = ("DownLeft", "DownRight", "UpLeft", "UpRight")


class Piece(NamedTuple):
    """A row of codes, or where x and y are given a part of one.

    Attributes:
        text: the codes.
        x, y: of its first die, on the map's axes.
        line: where in the file.
    """

    text: str
    x: int | None
    y: int | None
    line: int


class Reference(NamedTuple):
    """A reference die: its name and its place on the map's axes."""

    name: str
    x: int
    y: int


class Placed(NamedTuple):
    """Codes in the order of the axes.

    Attributes:
        codes: (rows, cols) uint32, see `bin_codes.packed`; rows along the y axis, columns along the x axis; 0 where
            nothing is said.
        first: y and x of codes[0, 0], None where the file gives none.
    """

    codes: NDArray[np.uint32]
    first: tuple[int, int] | None


@dataclass(frozen=True)
class Axes:
    """Which way the axes of a map point in the file's picture, and where they begin.

    Attributes:
        origin, direction: as the file says them, one of ORIGINS and of DIRECTIONS.
        said: the file says one of them at least.
    """

    origin: str
    direction: str
    said: bool

    @property
    def down(self) -> bool:
        """Whether y grows downward."""
        return "Down" in self.direction

    @property
    def right(self) -> bool:
        """Whether x grows to the right."""
        return "Right" in self.direction


def axes(origin: str, direction: str, notes: Notes, name: str) -> Axes:
    """Return the axes that a file's OriginLocation and AxisDirection describe.

    AxisDirection tells in which order rows and columns are listed. Without it they begin at the origin's corner;
    without both at the lower left, which is the default of E142.

    Raises:
        InputError: a word that is none of E142's.
    """
    found_origin = _word(origin, ORIGINS, "OriginLocation", name)
    found = _word(direction, DIRECTIONS, "AxisDirection", name)
    if not found:
        upper, left = (found_origin or "").startswith("Upper"), not (found_origin or "").endswith("Right")
        found = ("Down" if upper else "Up") + ("Right" if left else "Left")
    if not found_origin:
        found_origin = ("Upper" if "Down" in found else "Lower") + ("Left" if "Right" in found else "Right")
    if found_origin.startswith("Upper") != ("Down" in found) and found_origin != "Center":
        notes.warnings.append(
            f"OriginLocation {found_origin} and AxisDirection {found} disagree; rows go as the latter."
        )
    return Axes(found_origin, found, bool(origin.strip() or direction.strip()))


def place(
    pieces: Sequence[Piece], width: int, declared: tuple[int, int] | None, options: Options, notes: Notes, name: str
) -> Placed:
    """Set rows, or parts of rows, on their grid.

    Args:
        pieces: the file's BinCodes, in its order.
        width: characters a die.
        declared: rows and columns by the layout; None where it gives none.
        options: whether a contradiction is refused.
        notes: where to say what is odd.
        name: what to call the map in an error.

    Raises:
        InputError: none, or rows that make no grid.
    """
    if not pieces:
        raise InputError(f"{name}: no <BinCode>; expected a map.")
    with_place = sum(piece.x is not None for piece in pieces)
    if with_place not in (0, len(pieces)):
        raise InputError(f"{name}: some <BinCode> have X and Y, others have none; expected all or none of them.")
    if with_place:
        placed = _of_parts(pieces, width, name)
    else:
        cols = declared[1] if declared else len(pieces[0].text) // width
        placed = Placed(grid_of_rows([piece.text for piece in pieces], cols, width, name), None)
    rows, cols = placed.codes.shape
    fits = declared is None or (rows <= declared[0] and cols <= declared[1] if with_place else rows == declared[0])
    if not fits and declared:
        notes.warnings.append(
            options.differs(f"{name}: {rows} rows x {cols} columns, {declared[0]} x {declared[1]} by its layout.")
        )
    return placed


def top_down(
    placed: Placed,
    states: NDArray[np.uint8],
    found: Axes,
    references: Sequence[Reference],
    marks: NDArray[np.bool_],
    options: Options,
    notes: Notes,
) -> bool:
    """Tell whether the first row is the top one.

    The axes say so. Files are met that say LowerLeft and UpRight and yet list their top row first; a reference die
    shows it, where it lies on a die only if the rows are read the other way. `--y-axis` decides where axes point up.

    Args:
        placed: the codes.
        states: (rows, cols) uint8, die states, in the same order.
        found: the file's axes.
        references: its reference dies.
        marks: (rows, cols), whether a place has the bin of a reference die.
        options: see there.
        notes: where to say what was assumed, or shown.
    """
    words = f"OriginLocation {found.origin} and AxisDirection {found.direction}"
    order = "top" if found.down else "bottom"
    if not found.down and options.y_axis is not None:
        if options.y_axis == "down":
            notes.assumed.append(f"the first row is the top one, though {words} say otherwise (--y-axis down)")
        return options.y_axis == "down"
    as_said = any(_fits(place_, states, marks) for one in references for place_ in _places(one, placed, found))
    turned, marked = states[::-1], marks[::-1]
    otherwise = any(_fits(place_, turned, marked) for one in references for place_ in _places(one, placed, found))
    if otherwise and not as_said:
        one = references[0]
        notes.warnings.append(
            f"the first row is the {'bottom' if found.down else 'top'} one: {words} say otherwise, but the reference "
            f"die at x {one.x}, y {one.y} lies on the wafer only so."
        )
        return not found.down
    if not found.said:
        notes.assumed.append(f"the first row is the {order} one, which the file does not say (--y-axis down)")
    elif not found.down and not (as_said and not otherwise):
        notes.assumed.append(
            f"the first row is the bottom one, as {words} say, which no reference die confirms; some files list the "
            "top row first all the same (--y-axis down)"
        )
    return found.down


def _word(text: str, words: Sequence[str], key: str, name: str) -> str | None:
    plain = "".join(filter(str.isalpha, text)).casefold().removeprefix("to")
    if not plain:
        return None
    for word in words:
        if plain == word.casefold():
            return word
    raise InputError(f"{name}: {key} {text[:30]!r}; expected one of {', '.join(words)}.")


def _of_parts(pieces: Sequence[Piece], width: int, name: str) -> Placed:
    for piece in pieces:
        where = f"{name}: line {piece.line}"
        if len(piece.text) % width or not piece.text:
            raise InputError(f"{where}: a <BinCode> of {len(piece.text)} characters; expected dies of {width} each.")
        if max(abs(piece.x or 0), abs(piece.y or 0)) > MAX_COORDINATE:
            raise InputError(f"{where}: a coordinate beyond {MAX_COORDINATE}; expected those of dies.")
    lengths = np.array([len(piece.text) // width for piece in pieces])
    if lengths.sum() > MAX_CELLS:
        raise InputError(f"{name}: {lengths.sum()} dies; expected at most {MAX_CELLS}.")
    starts = np.repeat(np.cumsum(lengths) - lengths, lengths)
    x = np.repeat(np.array([piece.x for piece in pieces], np.int64), lengths) + np.arange(lengths.sum()) - starts
    y = np.repeat(np.array([piece.y for piece in pieces], np.int64), lengths)
    first = int(y.min()), int(x.min())
    sides = int(y.max()) - first[0] + 1, int(x.max()) - first[1] + 1
    check_sides(sides, name)
    codes = np.zeros(sides, np.uint32)
    places = (y - first[0], x - first[1])
    codes[places] = packed("".join(piece.text for piece in pieces), width, name)
    if np.count_nonzero(codes) != lengths.sum():
        taken = np.zeros(sides, np.int32)
        np.add.at(taken, places, 1)
        row, col = np.argwhere(taken > 1)[0]
        raise InputError(f"{name}: the die at x {col + first[1]}, y {row + first[0]} is given more than once.")
    return Placed(codes, first)


def _places(one: Reference, placed: Placed, found: Axes) -> list[tuple[int, int]]:
    """Return where a reference die may lie among the codes: coordinates begin at 0 or at 1, the files do not say."""
    if placed.first is not None:
        return [(one.y - placed.first[0], one.x - placed.first[1])]
    rows, cols = placed.codes.shape
    down = _offsets(rows, found.origin, ("Upper", "Lower") if found.down else ("Lower", "Upper"))
    right = _offsets(cols, found.origin, ("Left", "Right") if found.right else ("Right", "Left"))
    return [(one.y + row - base, one.x + col - base) for base in (0, 1) for row in down for col in right]


def _offsets(side: int, origin: str, near_and_far: tuple[str, str]) -> tuple[int, ...]:
    near, far = near_and_far
    if near in origin:
        return (0,)
    return (side - 1,) if far in origin else ((side - 1) // 2, side // 2)


def _fits(place_: tuple[int, int], states: NDArray[np.uint8], marks: NDArray[np.bool_]) -> bool:
    """Whether a reference die may lie there: on the bin of one, or without such a bin on the wafer."""
    row, col = place_
    if not (0 <= row < states.shape[0] and 0 <= col < states.shape[1]):
        return False
    if marks.any():
        return bool(marks[row, col])
    dies = np.flatnonzero(states[row])
    return len(dies) > 0 and bool(dies[0] <= col <= dies[-1])
