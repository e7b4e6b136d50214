"""The rows of a table of dies, taken in pieces and kept as numbers. Needs numpy alone."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from wafer_tf.errors import InputError
from wafer_tf.formats.dies_on_grid import MAX_COORDINATE
from wafer_tf.formats.options import Options
from wafer_tf.formats.table_columns import RESULTS, Columns, plain
from wafer_tf.formats.table_values import UnknownValueError, meaning, number

MAX_ROWS = 5_000_000
"""Rows a table may have: 25 wafers of 200,000 dies; each takes 16 bytes of memory."""
MAX_WAFERS = 10_000
MAX_BINS = 65_536
"""Different values a column of bins may have; a measurement has more."""
MAX_WORD = 256
"""Characters the name of a lot, a wafer or a bin may have."""
_SAID = ("product", "step", "time")
_BOOLEAN_NAMES = frozenset({"passfail", "pf", "pass", "passed", "ispass", "passflag", "good", "isgood"})


class Dies(NamedTuple):
    """All dies of a table.

    Attributes:
        x, y: (n,) int32, as the table counts.
        states: (n,) uint8, die states.
        bins: (n,) int32, which of `words` is the die's bin.
        words: the different bins.
        wafers: (n,) int32, which of `names` the die is of.
        names: lot and wafer.
        said: product, step and time of each wafer, as the last of its rows gives them.
        steps: the different steps of each wafer.
        column: the name of the column that holds the bins.
        assumed: what the file does not say, in sentences.
    """

    x: NDArray[np.int32]
    y: NDArray[np.int32]
    states: NDArray[np.uint8]
    bins: NDArray[np.int32]
    words: list[str]
    wafers: NDArray[np.int32]
    names: list[tuple[str, str]]
    said: dict[str, dict[int, str]]
    steps: dict[int, set[str]]
    column: str
    assumed: tuple[str, ...]


class Rows:
    """Collects the rows of a table of dies."""

    def __init__(self, columns: Columns, name: str, options: Options, *, unit: str = "line") -> None:
        """Begin without rows; `unit` is what an error calls a row, whose number comes with it."""
        self.columns, self.name, self.options, self.unit = columns, name, options, unit
        self.count = 0
        self._numbers: list[Sequence[int]] = []
        self._parts: dict[str, list[NDArray[Any]]] = {role: [] for role in ("x", "y", "bin", "result", "wafer")}
        self._words: dict[str, _Words] = {role: _Words() for role in columns.kinds}
        self._wafers: dict[tuple[str, str], int] = {}
        self._said: dict[str, dict[int, str]] = {role: {} for role in _SAID if role in columns.places}
        self._steps: set[tuple[int, str]] = set()

    def add(self, numbers: Sequence[int], cells: Mapping[str, Sequence[str]]) -> None:
        """Take some rows.

        Args:
            numbers: of the rows, as the user counts them.
            cells: role to the cells of its column.

        Raises:
            InputError: a coordinate that is no whole number, too many rows, wafers or bins.
        """
        self.count += len(numbers)
        if self.count > MAX_ROWS:
            raise InputError(f"{self.name}: over {MAX_ROWS} rows; expected a table of dies of at most that. Split it.")
        self._numbers.append(numbers)
        for role in ("x", "y"):
            self._parts[role].append(self._coordinates(role, numbers, cells[role]))
        for role, words in self._words.items():
            self._parts[role].append(words.codes(cells[role]))
            words.check(self.name, self.columns.names[role])
        wafers = self._wafer_codes(len(numbers), cells)
        self._parts["wafer"].append(np.fromiter(wafers, np.int32, len(wafers)))
        for role, said in self._said.items():
            said.update(zip(wafers, cells[role], strict=True))
        if "step" in self._said and len(self._steps) < MAX_WAFERS:
            self._steps.update(zip(wafers, cells["step"], strict=True))

    def dies(self) -> Dies:
        """Return all dies, with what their values mean.

        Raises:
            InputError: no row, or a value that means nothing certain.
        """
        if not self.count:
            raise InputError(f"{self.name}: a table of dies without a row; expected one row per die.")
        parts, self._parts = self._parts, {}  # each goes when its whole is there: together they take twice the memory
        whole = {role: np.concatenate(parts.pop(role)) for role in list(parts) if parts[role]}
        role, states, assumed = self._judged(whole)
        shown = "bin" if "bin" in whole else role
        steps: dict[int, set[str]] = {}
        for wafer, step in self._steps:
            steps.setdefault(wafer, set()).add(step.strip())
        return Dies(
            *(whole["x"], whole["y"], states, whole[shown], self._words[shown].words, whole["wafer"]),
            [(lot.strip(), wafer.strip()) for lot, wafer in self._wafers],
            *(self._said, steps, self.columns.names[shown], (*self.columns.assumed, *assumed)),
        )

    def _coordinates(self, role: str, numbers: Sequence[int], cells: Sequence[str]) -> NDArray[np.int32]:
        known: dict[str, int] = {}
        for cell in set(cells):
            found = number(cell.strip())
            if found is None or abs(found) >= MAX_COORDINATE:
                row = numbers[cells.index(cell)]
                raise self.error(row, role, cell, f"a whole number, a die's {role} as the tool counts")
            known[cell] = found
        return np.fromiter(map(known.__getitem__, cells), np.int32, len(cells))

    def _wafer_codes(self, rows: int, cells: Mapping[str, Sequence[str]]) -> list[int]:
        nothing = [""] * rows
        pairs = list(zip(cells.get("lot", nothing), cells.get("wafer", nothing), strict=True))
        for pair in dict.fromkeys(pairs):
            if pair not in self._wafers:
                if max(map(len, pair)) > MAX_WORD:
                    raise InputError(f"{self.name}: a lot or wafer of over {MAX_WORD} characters; expected its name.")
                self._wafers[pair] = len(self._wafers)
        if len(self._wafers) > MAX_WAFERS:
            raise InputError(
                f"{self.name}: over {MAX_WAFERS} different wafers; expected at most that. Is the column "
                f"{self.columns.names.get('wafer', 'of lots')} one of wafers? --columns wafer=NAME says which is."
            )
        return list(map(self._wafers.__getitem__, pairs))

    def _judged(self, whole: Mapping[str, NDArray[Any]]) -> tuple[str, NDArray[np.uint8], tuple[str, ...]]:
        """Return the column that says which dies pass, each die's state, and what is assumed.

        A column of results is the file's own word of the bins that pass, where its values are sure to be that.
        """
        roles = [role for role in ("result", "bin") if role in self._words]
        if self.options.pass_bins is not None:
            roles.reverse()
        if len(roles) == 2 and roles[0] == "result" and not self._says_pass():
            roles.reverse()
        for role in roles:
            try:
                return role, *self._means(role, whole[role])
            except UnknownValueError as error:
                if role != roles[-1]:
                    continue
                row = self._number(int(np.argmax(whole[role] == error.which)))
                raise self.error(row, role, self._words[role].words[error.which], str(error)) from None
        raise InputError(f"{self.name}: no column for a die's bin or result.")

    def _means(self, role: str, codes: NDArray[Any]) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
        column = self.columns.names[role]
        found = meaning(self._words[role].words, self.columns.kinds[role], column, self.options)
        assumed = found.assumed
        if role == "result" and "bin" in self._words:
            assumed = (*assumed, f"whether a die passes is taken from column {column}, not from the bin (--pass-bins)")
        return np.array(found.states, np.uint8)[codes], assumed

    def _says_pass(self) -> bool:
        """Tell whether the results are words, or 0 and 1 in a column whose name leaves no doubt."""
        words = self._words["result"].words
        sure = plain(self.columns.names["result"]) in {*_BOOLEAN_NAMES, *RESULTS["fail"]}
        return sure or all(number(word) is None for word in words)

    def _number(self, place: int) -> int:
        for numbers in self._numbers:
            if place < len(numbers):
                return numbers[place]
            place -= len(numbers)
        raise IndexError(place)

    def error(self, row: int, role: str, cell: str, expected: str) -> InputError:
        """Return the error for a cell."""
        return InputError(
            f"{self.name}, {self.unit} {row}, column {self.columns.names[role]}: {cell[:40]!r}; expected {expected}"
            f"{'' if expected.endswith('.') else '.'}"
        )


class _Words:
    """The different values of a column, without blanks around, in the order met."""

    def __init__(self) -> None:
        self.words: list[str] = []
        self._known: dict[str, int] = {}
        self._raw: dict[str, int] = {}

    def codes(self, cells: Sequence[str]) -> NDArray[np.int32]:
        for cell in dict.fromkeys(cells):
            if cell not in self._raw:
                word = cell.strip()
                if word not in self._known:
                    self._known[word] = len(self.words)
                    self.words.append(word)
                self._raw[cell] = self._known[word]
        return np.fromiter(map(self._raw.__getitem__, cells), np.int32, len(cells))

    def check(self, name: str, column: str) -> None:
        if len(self._raw) > MAX_BINS or max(map(len, self.words), default=0) > MAX_WORD:
            raise InputError(
                f"{name}: column {column} has over {MAX_BINS} different values, or one of over {MAX_WORD} characters; "
                "expected a die's bin or result. Say which column it is: --columns bin=NAME."
            )


def cells_of(rows: Sequence[Sequence[str]], columns: Columns) -> dict[str, Sequence[str]]:
    """Return the cells of the columns that are needed, role to cells, of rows of cells."""
    return {role: [row[place] for row in rows] for role, place in columns.places.items()}
