"""A table of dies, one die a row: text parted by commas, semicolons, tabs or blanks, or columns. Needs numpy alone."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from wafer_tf.errors import InputError
from wafer_tf.formats.opened import HEAD, Opened
from wafer_tf.formats.options import DEFAULT, Options
from wafer_tf.formats.table_columns import find_columns
from wafer_tf.formats.table_rows import Rows, cells_of
from wafer_tf.formats.table_text import find_layout, pieces
from wafer_tf.formats.table_wafers import wafers_of_dies
from wafer_tf.formats.wafer_map import MapFile, WaferMap

FORMAT = "table of dies"
HEADLESS = {"x": "1", "y": "2", "bin": "3"}
"""The columns of a list without a header."""
_PIECE = 1 << 16


def is_table(file: Opened, options: Options = DEFAULT) -> bool:
    """Tell by a file's first bytes whether it is a table of dies: a header line with x and y, or lines x, y, bin."""
    head = file.head
    if b"\0" in head and not head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return False
    first = head[: head.find(b"\n") + 1]
    if first.strip(b"012,;\t \r\n") == b"" and len(first) > 12 and not options.columns:
        return False  # a plain grid, as most files are
    if len(head) == HEAD and b"\0" not in head:
        head = head[: head.rfind(b"\n") + 1]  # no half line, and no half character
    return find_layout(Opened.of_bytes(head, file.name).text(), options.columns) is not None


def read(file: Opened, options: Options = DEFAULT) -> MapFile:
    """Read a table of dies: a map for each lot and wafer.

    Raises:
        InputError: no column for x, y or the bin; a line that is not of the table, a value that means nothing certain.
    """
    text = file.text()
    layout = find_layout(text[:HEAD], options.columns)
    if layout is None:
        raise InputError(
            f"{file.name}: no header line with the names of columns such as x, y and bin in the first lines; expected "
            "a table of dies. Say what they are called: --columns x=NAME,y=NAME,bin=NAME."
        )
    headless = layout.names == ("1", "2", "3")
    columns = find_columns(layout.names, {**(HEADLESS if headless else {}), **options.columns}, file.name)
    if headless:
        columns = columns._replace(assumed=("the three columns are x, y and bin (--columns x=1,y=2,bin=3)",))
    rows = Rows(columns, file.name, options)
    for numbers, cells in pieces(text, layout, file.name):
        rows.add(numbers, cells_of(cells, columns))
    del text
    wafers = wafers_of_dies(rows.dies(), layout.said, options, file.name)
    return MapFile(format=FORMAT, wafers=_of_list(wafers) if headless else wafers)


def wafers_of_columns(
    columns: Mapping[str, Sequence[Any]], options: Options, name: str, *, first_row: int = 0
) -> Iterator[WaferMap | InputError]:
    """Give the wafers of a table that is in memory by columns, as Parquet and pandas have it.

    Args:
        columns: name to values, all of one length: numbers, texts, booleans, None or nan for nothing.
        options: how to read them.
        name: what to call the table in an error.
        first_row: the number an error gives the first row.

    Raises:
        InputError: as `read`, when the first wafer is asked for.
    """
    found = find_columns(list(columns), options.columns, name)
    values = {role: columns[column] for role, column in found.names.items()}
    length = len(values["x"])
    rows = Rows(found, name, options, unit="row")
    for first in range(0, length, _PIECE):
        last = min(first + _PIECE, length)
        rows.add(
            range(first_row + first, first_row + last),
            {role: words_of(column[first:last]) for role, column in values.items()},
        )
    yield from wafers_of_dies(rows.dies(), {}, options, name)


def _of_list(wafers: Iterator[WaferMap | InputError]) -> Iterator[WaferMap | InputError]:
    for found in wafers:
        if isinstance(found, InputError):
            yield InputError(f"{found} Its lines of three numbers were read as x, y and bin of a die each.")
        else:
            yield found


def words_of(values: Sequence[Any]) -> list[str]:
    """Return values as a text file would hold them: 3.0 is "3", True is "true", None and nan are ""."""
    plain = values.tolist() if hasattr(values, "tolist") else values
    return [value if type(value) is str else str(value) if type(value) is int else _word(value) for value in plain]


def _word(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        if math.isnan(value):
            return ""
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return str(value.isoformat() if hasattr(value, "isoformat") else value)
