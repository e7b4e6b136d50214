"""Wafer maps in an Excel workbook, .xlsx: a grid of cells or a table of dies; and dies in a Parquet file, one a row."""

import io
import itertools
import os
import re
import warnings
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from wafer_tf.arrays import DAMAGED, MAX_EXPANSION, PACKINGS
from wafer_tf.budget import Budget
from wafer_tf.errors import InputError, reason
from wafer_tf.formats.die_table import FORMAT, words_of
from wafer_tf.formats.grid_cells import CellRows, drawn
from wafer_tf.formats.grids import wafer_of
from wafer_tf.formats.options import DEFAULT, Options
from wafer_tf.formats.table_columns import find_columns, has_places, plain
from wafer_tf.formats.table_rows import MAX_ROWS, MAX_WORD, Rows
from wafer_tf.formats.table_wafers import wafers_of_dies
from wafer_tf.formats.wafer_map import MapFile, WaferMap
from wafer_tf.readers.parquet_pages import check_footer, check_pages

MAX_BYTES = 64 * 2**20
"""A workbook may have."""
MAX_UNPACKED = 256 * 2**20
"""Bytes all parts of a workbook may unpack to; sheets are read as they unpack."""
MAX_PART = 32 * 2**20
"""Bytes each part but a sheet may unpack to: its texts and styles are in memory as a whole."""
OBJECT = 128
"""Bytes of memory for each byte of a part that openpyxl makes objects of, an empty style of five bytes among them."""
_OBJECTS = re.compile(r"xl/styles\.xml|xl/workbook\.xml|\[Content_Types\]\.xml|docProps/.*|.*\.rels", re.IGNORECASE)
TEXT = 8
"""Bytes of memory for each byte of the texts that cells share."""
_TEXTS = re.compile(r"xl/sharedStrings\.xml", re.IGNORECASE)
MAX_PARTS = 1000
MAX_CELLS = 8_000_000
"""Cells all sheets may have, empty ones within their rows among them; a million rows of eight."""
MAX_SHEETS = 50
_ROW, _DIE = 24, 100
"""Bytes that a row of a Parquet file takes until the wafers are parted, and each die of the wafer that is then made."""
HEADER_ROWS = 50
"""Rows of a sheet that are searched for the names of columns."""
_PIECE = 1 << 16
_XML = re.compile(rb"(?:\xef\xbb\xbf)?\s*(?:<\?xml[^<>]*\?>)?\s*<[A-Za-z_]")
_NO_WORKBOOK: tuple[type[Exception], ...] = (*DAMAGED, SyntaxError, TypeError, AttributeError)
"""What openpyxl and the XML parser under it raise on a workbook that is none."""


def read_excel(data: bytes | str | os.PathLike[str], options: Options = DEFAULT, *, name: str = "") -> MapFile:
    """Read the first sheet of a workbook that holds a table of dies or a grid of them.

    Args:
        data: an .xlsx file's bytes, or its path.
        options: how to read it.
        name: what to call it in an error, where that is not its path.

    Raises:
        InputError: no workbook, one made to exhaust memory, or no sheet in it that holds dies; also from the wafers'
            iterator.
    """
    if not isinstance(data, bytes):
        name = name or os.fspath(data)
        with Path(data).open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    name = name or "workbook"
    _check_parts(data, name)
    reasons = []
    for sheet, rows in _sheets(data, name):
        where = f"{name}:{sheet}"
        try:
            first = list(itertools.islice(rows, HEADER_ROWS))
            if not any(any(cells) for cells in first):
                continue
            header = _header(first, options)
            if header is not None:
                return MapFile(format=FORMAT, version="xlsx", wafers=_table(first, rows, header, options, where))
            return MapFile(format="grid of dies", version="xlsx", wafers=iter([_grid(first, rows, options, where)]))
        except InputError as error:
            reasons.append(str(error))
    why = " ".join(reasons[:3]) or "All its sheets are empty."
    raise InputError(f"{name}: no sheet with a table of dies or a grid of them. {why}")


def read_parquet_dies(path: str | os.PathLike[str] | io.BytesIO, options: Options = DEFAULT) -> MapFile:
    """Read a Parquet file of dies, one a row, with columns as a table of dies has them.

    Raises:
        InputError: damaged, or without columns for x, y and the bin; a value that is none.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    name = str(path) if isinstance(path, io.BytesIO) else os.fspath(path)  # an upload is read from memory
    budget = Budget.of_set(path)
    try:
        check_footer(path)
        found = find_columns(pq.read_schema(path).names, options.columns, name)
        wanted = sorted(set(found.names.values()))
        with pq.ParquetFile(path, read_dictionary=wanted, page_checksum_verification=True) as file:  # of text
            if file.metadata.num_rows > MAX_ROWS:
                raise InputError(
                    f"{name}: {file.metadata.num_rows} rows; expected at most {MAX_ROWS} dies. Split the file."
                )
            budget.hold(file.metadata.num_rows * _ROW, f"what is kept of its {file.metadata.num_rows} rows")
            check_pages(path, file.metadata, wanted, budget)
            rows, done = Rows(found, name, options, unit="row"), 0
            for batch in file.iter_batches(_PIECE, columns=wanted):
                cells = {role: _words(batch.column(column), column, name) for role, column in found.names.items()}
                rows.add(range(done, done + len(batch)), cells)
                done += len(batch)
        dies = rows.dies()
        budget.hold(int(np.bincount(dies.wafers).max(initial=0)) * _DIE, "the largest of its wafers")
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"{name}: damaged or truncated Parquet file ({reason(error)}); expected a whole one."
        ) from error
    return MapFile(format=FORMAT, version="Parquet", wafers=wafers_of_dies(dies, {}, options, name))


def _words(column: Any, title: str, name: str) -> list[str]:
    """Return a column's values as text; of references to a dictionary, each text once."""
    import pyarrow as pa

    if not pa.types.is_dictionary(column.type):
        return words_of(column.to_pylist())
    column.validate(full=True)
    longest = max(map(len, column.dictionary.to_pylist()), default=0)
    if longest > MAX_WORD:
        raise InputError(f"{name}: column {title} holds a text of {longest} characters; expected at most {MAX_WORD}.")
    words = [*words_of(column.dictionary.to_pylist()), ""]
    return [words[place] for place in column.indices.fill_null(len(words) - 1).to_pylist()]


def _check_parts(data: bytes, name: str) -> None:
    """Refuse a workbook whose parts unpack to more than sheets of dies take, or declare entities, unread."""
    if len(data) > MAX_BYTES:
        raise InputError(f"{name}: over {MAX_BYTES} bytes; expected a workbook of at most that. Save the sheet as CSV.")
    if data.count(b"PK\1\2") > MAX_PARTS:
        raise InputError(f"{name}: an archive of over {MAX_PARTS} parts; expected a workbook.")
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            parts = archive.infolist()
            if "[Content_Types].xml" not in archive.namelist():
                raise InputError(f"{name}: a zip archive, but no .xlsx workbook; expected one.")
            size = sum(part.file_size for part in parts)
            bomb = [
                part
                for part in parts
                if part.file_size > (part.compress_size + 1) * MAX_EXPANSION
                or (part.file_size > MAX_PART and not part.filename.startswith("xl/worksheets/"))
            ]
            if size > MAX_UNPACKED or bomb or any(part.compress_type not in PACKINGS for part in parts):
                raise InputError(
                    f"{name}: its parts claim {size} bytes of {len(data)} packed; expected at most {MAX_UNPACKED}, "
                    "packed by deflate. The file is damaged, too large or made to exhaust memory."
                )
            budget = Budget(name, len(data))
            for part in parts:
                if (
                    cost := OBJECT
                    if _OBJECTS.fullmatch(part.filename)
                    else TEXT
                    if _TEXTS.fullmatch(part.filename)
                    else 0
                ):
                    budget.hold(cost * part.file_size, part.filename)
                if part.filename.endswith((".xml", ".rels")):
                    with archive.open(part) as stream:
                        start = stream.read(4096)
                    if not _XML.match(start):
                        raise InputError(
                            f"{name}: {part.filename} begins with no element; expected XML without declarations of its "
                            "own, which can be made to exhaust memory."
                        )
    except DAMAGED as error:
        if isinstance(error, InputError):
            raise
        raise _damaged(name, error) from error


def _sheets(data: bytes, name: str) -> Iterator[tuple[str, Iterator[list[str]]]]:
    """Give the name of each sheet and its rows, cells as text."""
    import openpyxl

    try:
        with warnings.catch_warnings():  # of styles and extensions that openpyxl does not know, and that hold no dies
            warnings.simplefilter("ignore")
            book = openpyxl.load_workbook(io.BytesIO(data), read_only=True, data_only=True, keep_links=False)
        sheets = book.worksheets[:MAX_SHEETS]
    except _NO_WORKBOOK as error:
        raise _damaged(name, error) from error
    budget = _Budget()
    for sheet in sheets:
        yield sheet.title, _rows(sheet, f"{name}:{sheet.title}", budget)


class _Budget:
    """How many cells have been read of a workbook."""

    cells = 0


def _rows(sheet: Any, where: str, budget: _Budget) -> Iterator[list[str]]:
    sheet.reset_dimensions()  # what a sheet declares may be a million empty rows
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for row in sheet.iter_rows(values_only=True):
                budget.cells += len(row) + 1
                if budget.cells > MAX_CELLS:
                    raise InputError(f"{where}: over {MAX_CELLS} cells; expected sheets of dies. Save one as CSV.")
                yield words_of(row)
    except _NO_WORKBOOK as error:
        if isinstance(error, InputError):
            raise
        raise _damaged(where, error) from error


def _header(rows: Sequence[Sequence[str]], options: Options) -> int | None:
    """Return which row names the columns of a table of dies."""
    wanted = {plain(column) for column in options.columns.values()}
    for number, row in enumerate(rows):
        if has_places(row) or (wanted and wanted <= {plain(cell) for cell in row}):
            return number
    return None


def _table(
    first: list[list[str]], rest: Iterator[list[str]], header: int, options: Options, where: str
) -> Iterator[WaferMap | InputError]:
    """Give the wafers of a table of dies; its rows end at the first one without a cell in the columns needed."""
    names = [cell.strip() for cell in first[header]]
    while names and not names[-1]:
        names.pop()
    found = find_columns(names, options.columns, where)
    rows, number = Rows(found, where, options, unit="row"), header + 2
    lines = itertools.chain(first[header + 1 :], rest)
    while piece := list(itertools.islice(lines, _PIECE)):
        wide = [[*line, *[""] * (len(names) - len(line))] for line in piece]
        kept = [(number + n, line) for n, line in enumerate(wide) if any(line[p] for p in found.places.values())]
        if kept:
            cells = {role: [line[place] for _, line in kept] for role, place in found.places.items()}
            rows.add([n for n, _ in kept], cells)
        number += len(piece)
    return wafers_of_dies(rows.dies(), {}, options, where)


def _grid(first: list[list[str]], rest: Iterator[list[str]], options: Options, where: str) -> WaferMap:
    """Read a grid of cells, which need not begin in the sheet's first row or column."""
    lines = [*first, *rest]
    while lines and not any(lines[-1]):
        lines.pop()
    while lines and not any(lines[0]):
        lines.pop(0)
    right = max((n for line in lines for n in range(len(line), 0, -1) if line[n - 1]), default=0)
    left = min((n for line in lines for n, cell in enumerate(line) if cell), default=0)
    found = CellRows(where)
    for line in lines:
        found.add([*line[left:right], *[""] * (right - max(len(line), left))])
    return wafer_of(drawn(found.cells(), where, options), where, options)


def _damaged(name: str, error: Exception) -> InputError:
    return InputError(
        f"{name}: damaged .xlsx workbook ({reason(error)}); expected a whole one. Save it anew, or as CSV."
    )
