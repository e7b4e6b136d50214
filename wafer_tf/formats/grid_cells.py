"""The cells of a grid as they are written, and the die states they mean. Needs numpy alone."""

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from wafer_tf.dies import MAX_CELLS, MAX_SIDE, MIN_SIDE, Die
from wafer_tf.errors import InputError
from wafer_tf.formats.options import Options
from wafer_tf.formats.table_values import FAIL_WORDS, NO_WORDS, PASS_WORDS, bin_name, same_value, state_of
from wafer_tf.formats.wafer_map import BinCount

MAX_WORDS = 65_536
"""Different values a grid may have; a grid of measurements has more."""
MIN_NAMES = 4
"""Columns or rows whose numbers can be told from die states: of 0, 1, 2, 3 the last is none."""
NO_DIE_MARKS = NO_WORDS | {".", "_", "__", "@@"}
TABLE_REMEDY = " If it is a table of dies, say what its columns are called: --columns x=NAME,y=NAME,bin=NAME."
_NUMBER = re.compile(r"[+-]?[0-9]+(?:[.,][0-9]*)?")


class Cells(NamedTuple):
    """A grid as it is written.

    Attributes:
        codes: (rows, cols) int32, which of `words` a cell holds.
        words: the different values, without blanks around.
    """

    codes: NDArray[np.int32]
    words: list[str]


class Drawn(NamedTuple):
    """A grid of die states, not yet checked.

    Attributes:
        states: (rows, cols) numbers, die states where the cells were such.
        bins: as `WaferMap.bins`, where the cells were bins.
        assumed: what the file does not say, in sentences.
    """

    states: NDArray[Any]
    bins: tuple[BinCount, ...] = ()
    assumed: tuple[str, ...] = ()


class CellRows:
    """Collects a grid line by line."""

    def __init__(self, name: str) -> None:
        """Begin without lines; `name` is what to call the map in an error."""
        self.name = name
        self.lines: list[NDArray[np.int32]] = []
        self._cells = 0
        self._words: list[str] = []
        self._known: dict[str, int] = {}

    def add(self, cells: Sequence[str]) -> None:
        """Take a line.

        Raises:
            InputError: more cells or different values than a map has.
        """
        self._cells += len(cells)
        side = max(len(self.lines), len(cells) - 2)
        if side > MAX_SIDE or self._cells > MAX_CELLS + 2 * MAX_SIDE or len(self._words) > MAX_WORDS:
            raise InputError(
                f"{self.name}: over {MAX_SIDE} rows or columns, {MAX_CELLS} cells or {MAX_WORDS} different values; "
                "expected a grid of dies."
            )
        for cell in dict.fromkeys(cells):  # in order, so that an error names the first
            if cell not in self._known:
                self._known[cell] = len(self._words)
                self._words.append(cell.strip())
        self.lines.append(np.fromiter(map(self._known.__getitem__, cells), np.int32, len(cells)))

    def cells(self) -> Cells:
        """Return the grid; where lines differ, one mark at the end of a line ends it.

        Raises:
            InputError: lines of unequal length.
        """
        empty = [code for code, word in enumerate(self._words) if not word]
        widths = {len(line) for line in self.lines}
        if len(widths) > 1:
            self.lines = [line[:-1] if len(line) and line[-1] in empty else line for line in self.lines]
        for number, line in enumerate(self.lines):
            if len(line) != len(self.lines[0]):
                raise InputError(
                    f"{self.name}: row {number} has {len(line)} cells, row 0 has {len(self.lines[0])}; expected a "
                    "grid, its rows of equal length."
                )
        codes = np.array(self.lines, np.int32).reshape(len(self.lines), len(self.lines[0]) if self.lines else 0)
        if codes.shape[1] > MIN_SIDE and np.isin(codes[:, -1], empty).all() and len(widths) == 1:
            codes = codes[:, :-1]  # every line ends in a mark
        return Cells(codes, self._words)


def drawn(cells: Cells, name: str, options: Options, *, named: bool = True) -> Drawn:
    """Tell what the cells of a grid mean, where that is certain.

    Args:
        cells: as they are written.
        name: what to call the map in an error.
        options: what the user says of them.
        named: whether the first row and column may be names.

    Raises:
        InputError: a cell that is no die state, and means nothing certain.
    """
    top, left = _names(cells) if named else (0, 0)
    inner = Cells(cells.codes[top:, left:], cells.words)
    said = ("the first row holds names, no dies",) * top + ("the first column holds names, no dies",) * left
    used = np.unique(inner.codes).tolist()
    words = [inner.words[code] for code in used]

    def where(word: str) -> str:
        row, column = np.argwhere(inner.codes == used[words.index(word)])[0]
        return f"{word[:20]!r} at row {row + top}, column {column + left}"

    found = _meaning(words, name, where, options)
    table = np.zeros(len(cells.words), np.float64)
    table[used] = found.states
    counts = np.bincount(inner.codes.ravel(), minlength=len(table))
    bins: dict[tuple[bool, str], int] = {}
    if options.pass_bins is not None:
        for code, word in zip(used, words, strict=True):
            if table[code]:
                key = table[code] == Die.FAIL, bin_name(word)
                bins[key] = bins.get(key, 0) + int(counts[code])
    listed = tuple(BinCount(word, not fails, dies) for (fails, word), dies in sorted(bins.items()))
    return Drawn(table[inner.codes], listed, (*said, *found.assumed))


def value(word: str) -> float | None:
    """Return the number that a cell holds ("2", "2.0", "2,0", "-1"), else None."""
    return float(word.replace(",", ".")) if _NUMBER.fullmatch(word) else None


class _Meaning(NamedTuple):
    states: list[float]
    assumed: tuple[str, ...] = ()


def _meaning(words: list[str], name: str, where: Any, options: Options) -> _Meaning:
    if options.pass_bins is not None:
        return _by_bins(words, name, options)
    if options.states is not None:
        return _by_states(words, name, where, options.states)
    numbers = {word: value(word) for word in words if word}
    plain = {same_value(word): word.casefold() for word in words}
    states = set(numbers.values())
    if None not in states and "" not in words:
        if not states <= {0, 1, 2} and all(number is not None and number >= 0 for number in states):
            _refuse_bins(words, numbers, name, where)
        if states <= {0, 1, 2}:
            return _Meaning([numbers[word] or 0 for word in words])
    elif None not in states and states <= {1, 2}:
        assumed = "empty cells are no die (--states ',1,2')"
        return _Meaning([numbers.get(word) or 0 for word in words], (assumed,) * (len(words) > 1))
    elif None not in states and all(number is not None and number >= 1 for number in states):
        _refuse_bins([word for word in words if word], numbers, name, where)
    elif states == {None} and set(plain.values()) & PASS_WORDS and _are_answers(words):
        said = ", ".join(repr(word) for word in words)
        table = {True: Die.PASS, False: Die.FAIL}
        return _Meaning(
            [Die.ABSENT if w.casefold() in NO_DIE_MARKS else table[w.casefold() in PASS_WORDS] for w in words],
            (f"{said} are read as what they say, marks as no die (--states)",),
        )
    odd = next((word for word in words if word and value(word) not in (0, 1, 2)), "")
    held = ", ".join(repr(word[:20]) for word in sorted(words)[:12])
    raise InputError(
        f"{name}: {where(odd)}; expected 0 (no die), 1 (pass) or 2 (fail), without header line and row names. The "
        f"cells hold {held}: say which is no die, which pass and fail: --states NONE,PASS,FAIL (empty: none of them)."
        f"{TABLE_REMEDY if odd and value(odd) is None and ' row 0,' in where(odd) else ''}"
    )


def _are_answers(words: list[str]) -> bool:
    return all(word.casefold() in PASS_WORDS | FAIL_WORDS | NO_DIE_MARKS for word in words)


def _refuse_bins(words: list[str], numbers: dict[str, float | None], name: str, where: Any) -> None:
    odd = next(word for word in words if numbers[word] not in (0, 1, 2))
    place = where(odd).partition(" at ")[2]
    number = numbers[odd]
    shown = f"{number:.0f}" if number is not None and number.is_integer() else f"{number}"
    raise InputError(
        f"map {name}: die state {shown} at {place}; expected 0 (no die), 1 (pass) or 2 (fail). If the cells are bins, "
        "say which pass: --pass-bins 1; else what they mean: --states NONE,PASS,FAIL."
    )


def _by_states(words: list[str], name: str, where: Any, states: tuple[str, str, str]) -> _Meaning:
    meant = state_of(states)
    found: list[float] = []
    for word in words:
        state = meant.get(same_value(word.replace(",", ".")), Die.ABSENT if word == "" else None)
        if state is None:
            listed = ", ".join(repr(word) for word in states if word)
            raise InputError(f"{name}: {where(word)}; expected {listed}, as --states says.")
        found.append(float(state))
    return _Meaning(found)


def _by_bins(words: list[str], name: str, options: Options) -> _Meaning:
    passing = {bin_name(word.strip()) for word in options.pass_bins or ()}
    none = options.states[0] if options.states else ""
    marks = [word for word in words if word.casefold() in NO_DIE_MARKS]
    zero = [word for word in words if bin_name(word) == "0" and "0" not in passing]
    if zero and marks and not none:
        raise InputError(
            f"{name}: cells of bin 0, and {marks[0]!r} in others; say which of them is no die: "
            f"--states '0,1,' or --states '{marks[0] or '-'},1,'."
        )
    absent = {same_value(none)} if none else {same_value(word) for word in (zero or [])}
    states = [
        Die.PASS
        if bin_name(word) in passing
        else Die.ABSENT
        if word in marks or same_value(word) in absent
        else Die.FAIL
        for word in words
    ]
    said = "0 is no die (--states '0,1,')" if zero and not none else "empty cells and marks are no die (--states)"
    return _Meaning([float(state) for state in states], (said,) if (zero or marks) and not none else ())


def _names(cells: Cells) -> tuple[int, int]:
    """Return how many rows and columns of names, 0 or 1 each, stand before the dies."""
    codes, words = cells.codes, cells.words
    if min(codes.shape) < 3:
        return 0, 0
    rows, cols = ([words[code] for code in line] for line in (codes[0], codes[:, 0]))
    both = _are_names(rows[1:]) and _are_names(cols[1:]) and _is_corner(rows[0])
    top, left = (1, 1) if both else (int(_are_names(rows)), int(_are_names(cols)))
    rest = {words[code] for code in np.unique(codes[top:, left:]).tolist()}
    if {value(word) is None for word in rows[left:]} == {True} or {value(word) is None for word in cols[top:]} == {
        True
    }:
        return (
            (top, left) if all(value(word) is not None or word.casefold() in NO_DIE_MARKS for word in rest) else (0, 0)
        )
    return top, left


def _is_corner(word: str) -> bool:
    found = value(word)
    return found is None or found in (0, 1)


def _are_names(line: list[str]) -> bool:
    """Tell whether cells are names: numbers that count up or down, or different words."""
    numbers = [value(word) for word in line]
    if None not in numbers:
        whole = np.array(numbers, np.float64)
        steps = np.diff(whole)
        return len(line) >= MIN_NAMES and bool((steps == 1).all() or (steps == -1).all())
    return not any(number is not None for number in numbers) and len({*line}) == len(line) and all(line)
