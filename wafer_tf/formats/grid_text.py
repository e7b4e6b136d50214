"""The cells of a grid that is a text. Needs numpy alone."""

import numpy as np

from wafer_tf.dies import MAX_SIDE, MIN_SIDE
from wafer_tf.errors import InputError
from wafer_tf.formats.grid_cells import CellRows, Cells

SEPARATORS = (";", ",", "\t")
MAX_LINES = 4 * MAX_SIDE


def text_cells(text: str, name: str) -> Cells:
    """Return the cells of a text grid.

    Cells are parted by semicolons, commas, tabs or blanks; where nothing parts them, each is one character. A blank
    line after each row, as a text written with two ends of line has, is passed over.

    Args:
        text: lines that end in a newline, a carriage return, or both.
        name: what to call the map in an error.

    Raises:
        InputError: rows of unequal length, or a blank line between rows.
    """
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if text.count("\n") > MAX_LINES:
        raise InputError(f"{name}: over {MAX_LINES} lines; expected a grid of at most {MAX_SIDE} rows.")
    lines = _rows(text.split("\n"), name)
    found = CellRows(name)
    if len(lines) >= MIN_SIDE and all(map(_is_bare, lines)):
        _check_bare(lines, name)
        for line in lines:
            found.add(list(line.strip()))
        return found.cells()
    for line in lines:
        separator = next((mark for mark in SEPARATORS if mark in line), None)
        found.add(line.split(separator, 2 * MAX_SIDE))  # a longer line is refused by its number of cells
    return found.cells()


def _rows(lines: list[str], name: str) -> list[str]:
    used = [number for number, line in enumerate(lines) if line.strip(" ")]  # a line of tabs is one of empty cells
    lines = lines[used[0] : used[-1] + 1] if used else []
    if len(lines) == len(used):
        return lines
    if len(used) >= MIN_SIDE and len(lines) == 2 * len(used) - 1 and not any(line.strip(" ") for line in lines[1::2]):
        return lines[::2]
    blank = next(number for number, line in enumerate(lines) if not line.strip(" "))
    raise InputError(f"{name}: a blank line after row {blank - 1}; expected one grid per file, its rows together.")


def _is_bare(line: str) -> bool:
    return not any(mark in line for mark in SEPARATORS) and len(line.split()) == 1


def _check_bare(lines: list[str], name: str) -> None:
    """Refuse what is cut off, or written with two digits a cell, of which every first one is 0."""
    for number, line in enumerate(lines):
        if len(line.strip()) != len(lines[0].strip()):
            raise InputError(
                f"{name}: row {number} has {len(line.strip())} characters, row 0 has {len(lines[0].strip())}, and "
                "nothing parts them; expected a grid, its rows of equal length."
            )
    wide = len(lines[0].strip())
    if wide > MAX_SIDE:
        raise InputError(f"{name}: rows of {wide} characters that nothing parts; expected at most {MAX_SIDE} cells.")
    first = np.array([list(line.strip()[::2]) for line in lines])
    if wide > 2 and wide % 2 == 0 and (first == "0").all():
        raise InputError(
            f"{name}: every other character is 0 and nothing parts the cells: cells of two digits? Part them by blanks."
        )
