"""What the pages of a Parquet file claim, checked before any is unpacked.

Arrow sets memory aside by the header of each page, which the file's own summary need not agree with; a page of text
by differences unpacks to gigabytes from kilobytes, and so does one of references to a long text. The headers are read
here (Thrift's compact protocol, https://github.com/apache/parquet-format), a few bytes for each megabyte of pages.
"""

import io
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from wafer_tf.budget import Budget
from wafer_tf.errors import InputError, reason

MAX_FOOTER = 1 << 21
"""Bytes of the summary at the end of a file, or a 64th part of it; Arrow takes 15 to 35 for each."""
MAX_HEADER = 1 << 20
"""Bytes the header of a page may have; it may hold its least and its greatest value."""
DICTIONARY = frozenset((2, 8))
"""Numbers of the encodings by references to a dictionary."""
_KNOWN = {
    0: "PLAIN",
    2: "PLAIN_DICTIONARY",
    3: "RLE",
    5: "DELTA_BINARY_PACKED",
    8: "RLE_DICTIONARY",
    9: "BYTE_STREAM_SPLIT",
}
_OTHERS = {4: "BIT_PACKED", 6: "DELTA_LENGTH_BYTE_ARRAY", 7: "DELTA_BYTE_ARRAY"}
_MORE = {0: 5, 2: 7, 3: 8}
"""By the kind of a page, the field of its header that says what is in it."""
_WORD = 16
"""Bytes that Arrow sets aside for each entry of a dictionary, beside its content."""
_LEAST = {0: 1, 2: 8, 3: 12, 5: 8, 7: 1}
"""Bytes that an entry of a dictionary has at least, by physical type, where that is not 4."""


class Page(NamedTuple):
    """What the header of a page says: its kind (0 and 3 hold values, 2 a dictionary), and how much is in it."""

    kind: int
    size: int
    packed: int
    values: int
    encoding: int


class Claim(NamedTuple):
    """What the summary says of a column in one row group: physical type, values, bytes, where its pages begin."""

    type: int
    num_values: int
    total_uncompressed_size: int
    total_compressed_size: int
    begin: int


class Chunk(NamedTuple):
    """The pages of one column in one row group: bytes they unpack to, of the largest one, and how they are encoded."""

    size: int
    largest: int
    encodings: frozenset[int]


def check_footer(path: str | os.PathLike[str] | io.BytesIO) -> None:
    """Refuse a summary so large that reading it alone fills the memory.

    Raises:
        InputError: larger than that of any set of wafers.
    """
    with _opened(path) as file:
        end = file.seek(0, io.SEEK_END)
        file.seek(max(0, end - 8))
        last = file.read(8)
    size, most = int.from_bytes(last[:4], "little"), max(MAX_FOOTER, end // 64)
    if last.endswith(b"PAR1") and most < size < end:  # Arrow itself refuses what is larger than the file
        raise InputError(
            f"{path}: its footer claims {size} bytes; expected at most {most}. The file is damaged, or was "
            "written in too many columns or row groups."
        )


def check_pages(
    path: str | os.PathLike[str] | io.BytesIO, metadata: Any, columns: list[str], budget: Budget
) -> dict[str, list[Chunk]]:
    """Hold the pages of these columns against each other and the budget.

    Args:
        path: the file.
        metadata: Arrow's, of the whole file.
        columns: names of columns without columns in them.
        budget: what reading may take.

    Returns:
        Column to its pages in each row group.

    Raises:
        InputError: nested columns, pages that disagree with the summary, an encoding without bounds, too much.
    """
    places = _places(path, metadata, columns)
    found: dict[str, list[Chunk]] = {name: [] for name in columns}
    rows = 0
    with _opened(path) as file:
        claims = _claims(path, file, metadata)
        for group in range(metadata.num_row_groups):
            part = metadata.row_group(group)
            rows += part.num_rows
            for name, place in places.items():
                chunk = claims[group][place]
                if chunk.num_values != part.num_rows:
                    raise InputError(
                        f"{path}: column {name} claims {chunk.num_values} values in row group {group} of "
                        f"{part.num_rows} rows; expected as many. The file is damaged."
                    )
                found[name].append(_chunk(path, file, chunk, f"column {name}, row group {group}"))
                budget.unpack(found[name][-1].size)
    if rows != metadata.num_rows:
        raise InputError(f"{path}: {metadata.num_rows} rows, and {rows} in its row groups. The file is damaged.")
    for name, chunks in found.items():  # columns are unpacked side by side, a page of each at a time
        budget.hold(2 * max((chunk.largest for chunk in chunks), default=0), f"a page of column {name}")
    return found


def _opened(path: str | os.PathLike[str] | io.BytesIO) -> AbstractContextManager[BinaryIO]:
    return nullcontext(path) if isinstance(path, io.BytesIO) else Path(path).open("rb")


def _places(path: Any, metadata: Any, columns: list[str]) -> dict[str, int]:
    paths = [metadata.schema.column(place).path for place in range(metadata.num_columns)]
    for name in columns:
        if paths.count(name) != 1 or metadata.schema.column(paths.index(name)).max_repetition_level:
            raise InputError(f"{path}: column {name} holds lists or columns of its own; expected plain values.")
    return {name: paths.index(name) for name in columns}


def _claims(path: Any, file: BinaryIO, metadata: Any) -> list[list[Claim]]:
    """Return the claims of each row group, column by column.

    Read here, for Arrow's own view of a column ends the process where its statistics are damaged (version 26).
    """
    end = file.seek(0, io.SEEK_END)
    file.seek(end - 8)
    size = int.from_bytes(file.read(4), "little")
    file.seek(end - 8 - size)
    try:
        fields, _ = _struct(file.read(size), 0, 0)
        claims = [[_claim(column[3]) for column in group[1]] for group in fields.get(4, [])]
    except (IndexError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise InputError(f"{path}: damaged footer of a Parquet file ({reason(error)}); expected a whole one.") from None
    if {len(group) for group in claims} - {metadata.num_columns} or len(claims) != metadata.num_row_groups:
        raise InputError(f"{path}: damaged footer of a Parquet file: row groups of other columns than its schema has.")
    return claims


def _claim(fields: dict[int, Any]) -> Claim:
    begin, dictionary = fields[9], fields.get(11, 0)
    numbers = (fields[1], fields[5], fields[6], fields[7], dictionary if 0 < dictionary < begin else begin)
    if not all(type(number) is int and number >= 0 for number in numbers):
        raise ValueError("a column without numbers")
    return Claim(*numbers)


def _chunk(path: Any, file: BinaryIO, chunk: Claim, where: str) -> Chunk:
    values, sizes, encodings = 0, [0], set()
    for page in _pages(path, file, chunk.begin, chunk.total_compressed_size, where):
        sizes.append(page.size)
        if page.kind == 2:
            if page.values * _LEAST.get(chunk.type, 4) > page.size:
                raise InputError(f"{path}: {where}: a dictionary of {page.values} values in {page.size} bytes.")
            sizes.append(_WORD * page.values)
            continue
        if page.kind not in (0, 3):
            continue
        if page.encoding not in _KNOWN:
            raise InputError(
                f"{path}: {where}: encoded by {_OTHERS.get(page.encoding, page.encoding)}; expected "
                f"{', '.join(_KNOWN.values())}: what others unpack to has no bounds. Write the file anew."
            )
        encodings.add(page.encoding)
        values += page.values
        if values >= chunk.num_values:
            break
    if values != chunk.num_values:
        raise InputError(f"{path}: {where}: pages of {values} values, {chunk.num_values} expected; it is damaged.")
    if sum(sizes) > chunk.total_uncompressed_size + _WORD * chunk.num_values + MAX_HEADER:
        raise InputError(
            f"{path}: {where}: pages of {sum(sizes)} bytes, {chunk.total_uncompressed_size} claimed; it is damaged, or "
            "made to exhaust memory."
        )
    return Chunk(sum(sizes), max(sizes), frozenset(encodings))


def _pages(path: Any, file: BinaryIO, begin: int, size: int, where: str) -> Iterator[Page]:
    """Give the pages from the place `begin` on, whose headers and contents take `size` bytes."""
    place, end = begin, begin + size
    while place < end:
        file.seek(place)
        head, wanted = b"", 1 << 8
        while True:
            head += file.read(wanted - len(head))
            try:
                fields, used = _struct(head, 0, 0)
                break
            except IndexError:
                if len(head) < wanted or wanted >= MAX_HEADER:
                    raise InputError(f"{path}: {where}: breaks off in the header of a page.") from None
                wanted *= 16
            except ValueError as error:
                raise InputError(f"{path}: {where}: no header of a page at byte {place} ({error}).") from None
        page = _page(fields)
        if page is None or min(page) < 0 or page.packed > end - place - used:
            raise InputError(f"{path}: {where}: a page at byte {place} that does not end where its column does.")
        yield page
        place += used + page.packed


def _page(fields: dict[int, Any]) -> Page | None:
    kind = fields.get(1)
    more = fields.get(_MORE[kind]) if type(kind) is int and kind in _MORE else None
    said = more if type(more) is dict else {1: 0, 2: 0}
    numbers = [fields.get(number) for number in (1, 2, 3)] + [said.get(1), said.get(4 if kind == 3 else 2)]
    whole = [number for number in numbers if type(number) is int]
    return Page(*whole) if len(whole) == len(numbers) else None


# === Thrift's compact protocol ===


def _struct(data: bytes, place: int, depth: int) -> tuple[dict[int, Any], int]:
    """Return the whole numbers, structs and lists of structs among the fields, by number, and where the struct ends."""
    if depth > 8:
        raise ValueError("structs in structs")
    fields: dict[int, Any] = {}
    number = 0
    while True:
        head = data[place]
        place += 1
        if head == 0:
            return fields, place
        kind = head & 15
        if head >> 4:
            number += head >> 4
        else:
            number, place = _zigzag(data, place)
        fields[number], place = _value(data, place, kind, depth)


def _value(data: bytes, place: int, kind: int, depth: int) -> tuple[Any, int]:
    if kind in (1, 2):  # true, false
        return None, place
    if kind == 3:
        return None, place + 1
    if kind in (4, 5, 6):
        return _zigzag(data, place)
    if kind == 7:
        return None, place + 8
    if kind == 8:
        size, place = _varint(data, place)
        if place + size > len(data):
            raise IndexError
        return None, place + size
    if kind == 12:
        return _struct(data, place, depth + 1)
    if kind in (9, 10):
        return _list(data, place, depth + 1)
    raise ValueError(f"a field of type {kind}")


def _list(data: bytes, place: int, depth: int) -> tuple[list[Any], int]:
    if depth > 8:
        raise ValueError("lists in lists")
    head = data[place]
    size, place = (head >> 4, place + 1) if head >> 4 < 15 else _varint(data, place + 1)
    if size > len(data) - place:
        raise IndexError
    values = []
    for _ in range(size):
        if head & 15 in (1, 2):  # true and false take a byte in a list
            place += 1
            continue
        value, place = _value(data, place, head & 15, depth)
        if head & 15 == 12:
            values.append(value)
    if place > len(data):
        raise IndexError
    return values, place


def _varint(data: bytes, place: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        value |= (data[place] & 127) << shift
        place += 1
        if data[place - 1] < 128:
            return value, place
    raise ValueError("a number of over ten bytes")


def _zigzag(data: bytes, place: int) -> tuple[int, int]:
    value, place = _varint(data, place)
    return (value >> 1) ^ -(value & 1), place
