"""The text of a table of dies: where the table begins, what parts its cells, its rows in pieces. Needs numpy alone."""

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from wafer_tf.errors import InputError
from wafer_tf.formats.table_columns import WORDS, has_places, plain
from wafer_tf.formats.table_values import number

MARKS = ("\t", ";", ",", "|")
MIN_LINES = 9
"""Lines of three numbers that may be a list of dies without a header: a map of 3 x 3 has nine dies."""
MAX_TALL = 24
"""Lines of three numbers beyond which no grid is so narrow."""
MAX_PREFACE = 200
"""Lines before a table that are searched for its header."""
MAX_LINE = 1 << 16
"""Characters of a line."""
PIECE = 1 << 20
"""Characters of a table that are parted at a time."""
_COMMENT = re.compile(r"\s*(?:#|//|%|\*)\s*")
_SAID = re.compile(r"[#/%*\s\"]*([A-Za-z][\w .-]{0,30}?)\"?\s*[:=,;\t]\s*\"?([^,;\t\"]{1,256})")


class Layout(NamedTuple):
    """How a table is written.

    Attributes:
        names: of its columns; "1", "2" and "3" where it has no header.
        mark: what parts the cells; None: blanks.
        start: where the line after the header begins, in characters.
        line: the number of that line, from 1.
        said: lot, wafer, product, step and time, where a line before the table says them.
    """

    names: tuple[str, ...]
    mark: str | None
    start: int
    line: int
    said: dict[str, str]


def find_layout(text: str, columns: Mapping[str, str]) -> Layout | None:
    """Return how the table in a text, or in its first part, is written; None: there is no table of dies.

    A line of unknown names above what looks like a list gives the columns their names, which `find_columns` refuses.

    Args:
        text: lines that end in a newline.
        columns: `Options.columns`.
    """
    start, said = 0, dict[str, str]()
    wanted = {plain(column) for column in columns.values() if column}
    first, before = None, ""
    for line_number in range(1, MAX_PREFACE + 1):
        end = text.find("\n", start)
        line = text[start : end if end >= 0 else len(text)]
        comment = _COMMENT.match(line)
        bare = line[comment.end() :] if comment else line
        if re.search("[A-Za-z]", bare):
            for mark in [*(mark for mark in MARKS if mark in bare), None]:
                names = _header(bare, mark)
                known = {plain(name) for name in names}
                if len(names) >= 3 and (has_places(names) or (wanted and wanted <= known)) and end >= 0:
                    return Layout(names, mark, end + 1, line_number + 1, said)
            _remember(line, said)
            before = "" if comment else line
        elif first is None and line.strip() and not comment:
            first = start, line_number
        if end < 0:
            break
        start = end + 1
    layout = None if first is None else _headless(text, *first, said)
    if layout is not None and before:
        names = _header(before, layout.mark)
        return layout._replace(names=names) if len(names) == len(layout.names) else layout
    return layout


def pieces(text: str, layout: Layout, name: str) -> Iterator[tuple[Sequence[int], list[list[str]]]]:
    """Give the rows of a table, some thousands at a time, as their line numbers and their cells.

    Raises:
        InputError: a line with more or fewer cells than there are columns.
    """
    at, line, wide = layout.start, layout.line, len(layout.names)
    while at < len(text):
        end = text.find("\n", at + PIECE)
        end = len(text) if end < 0 else end
        lines = text[at:end].split("\n")
        if len(max(lines, key=len)) > MAX_LINE:
            long = next(n for n, text_line in enumerate(lines, line) if len(text_line) > MAX_LINE)
            raise InputError(f"{name}, line {long}: over {MAX_LINE} characters; expected one die a line.")
        rows = _rows(lines, layout.mark, line, name)
        numbers: Sequence[int] = range(line, line + len(lines))
        if set(map(len, rows)) != {wide}:
            kept = [(n, _row(row, n, wide, name)) for n, row, text_line in zip(numbers, rows, lines, strict=True)
                    if not _is_empty(row, text_line)]  # fmt: skip
            numbers, rows = [n for n, _ in kept], [row for _, row in kept]
        if rows:
            yield numbers, rows
        at, line = end + 1, line + len(lines)


def _header(line: str, mark: str | None) -> tuple[str, ...]:
    if mark is None:
        return tuple(line.replace('"', " ").split())
    names = [cell.strip().strip('"').strip() for cell in line.split(mark)]
    while names and not names[-1]:
        names.pop()
    return tuple(names)


def _remember(line: str, said: dict[str, str]) -> None:
    found = _SAID.match(line)
    if found:
        word = plain(found[1])
        for role, known in WORDS.items():
            if word in known:
                said.setdefault(role, found[2].strip())


def _headless(text: str, start: int, line: int, said: dict[str, str]) -> Layout | None:
    """Return the layout of lines x, y, bin without a header, told from a grid of three columns by what they hold.

    In a list a place comes once, or a few times, and the places fill their bounding box; a grid three columns wide has
    the same two numbers at the beginning of many lines.
    """
    lines = text[start:].split("\n")
    if len(text) - start > 4096 and not text.endswith("\n"):
        lines.pop()  # cut off within a line
    lines = [row for row in lines if row.strip()]
    if len(lines) < MIN_LINES:
        return None
    mark = next((mark for mark in MARKS if mark in lines[0]), None)
    if len(lines[0].split(mark)) != 3:
        return None
    rows = [row.split(mark) for row in lines]
    if any(len(row) != 3 for row in rows[:MIN_LINES]):
        return None
    cells = [[number(cell.strip()) for cell in row[:2]] for row in rows if len(row) == 3]
    places = [(x, y) for x, y in cells if x is not None and y is not None]
    if len(places) < 0.9 * len(lines):
        return None
    xs, ys = [x for x, _ in places], [y for _, y in places]
    different = len(set(places))
    box = (max(xs) - min(xs) + 1) * (max(ys) - min(ys) + 1)
    states_only = max(xs) <= 2 and max(ys) <= 2 and min(xs) >= 0 and min(ys) >= 0
    if different == len(places) and different >= 0.5 * box:
        return Layout(("1", "2", "3"), mark, start, line, said)
    if len(places) > MAX_TALL and (states_only or different >= 0.25 * len(places)):
        return Layout(("1", "2", "3"), mark, start, line, said)
    return None


def _rows(lines: list[str], mark: str | None, first: int, name: str) -> list[list[str]]:
    if mark is None:
        return [line.replace('"', " ").split() for line in lines]
    if not any('"' in line for line in lines):
        return [line.split(mark) for line in lines]
    rows: list[list[str]] = []
    try:
        for number_, line in enumerate(lines, first):
            rows.extend(csv.reader([line], delimiter=mark, strict=True) if line else [[""]])
            if len(rows) != number_ - first + 1:
                raise csv.Error("no row")
    except csv.Error as error:
        raise InputError(
            f"{name}, line {first + len(rows)}: quotes that do not end on the line ({error}); expected one die a line."
        ) from None
    return rows


def _is_empty(row: list[str], line: str) -> bool:
    return not any(map(str.strip, row)) or line.lstrip().startswith("#")


def _row(row: list[str], line: int, wide: int, name: str) -> list[str]:
    if len(row) > wide and not any(map(str.strip, row[wide:])):  # marks at the end of the line
        return row[:wide]
    if len(row) != wide:
        raise InputError(
            f"{name}, line {line}: {len(row)} cells, the last {row[-1][:40]!r}; expected {wide}, one for each column. "
            "The file is cut off, or the line is not of the table."
        )
    return row
