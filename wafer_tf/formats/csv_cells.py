"""What a value is in a CSV file that people open in a spreadsheet. Needs numpy and the standard library alone."""

import csv
import io
from collections.abc import Iterable
from typing import Any

import numpy as np

_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def as_cell(value: Any) -> str:
    r"""Return a value as the text of a cell.

    Numbers have six decimals, whole ones none; true and false are yes and no; None and NaN are empty. A text that a
    spreadsheet would take for a formula is led by an apostrophe.

    Examples:
        >>> [as_cell(value) for value in (None, 0.25, 7, True, "A", "=1+1", "A\r=1+1")]
        ['', '0.250000', '7', 'yes', 'A', "'=1+1", 'A =1+1']
    """
    if value is None:
        return ""
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    if isinstance(value, float | np.floating):
        return "" if np.isnan(value) else f"{value:.6f}"
    text = f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else str(value)
    return text.replace("\r", " ")  # csv does not quote it, and a spreadsheet takes it for the end of a row


def csv_line(values: Iterable[Any]) -> str:
    """Return values as a line of a CSV file, with its newline."""
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerow([as_cell(value) for value in values])
    return out.getvalue()
