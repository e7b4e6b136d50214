"""A KLARF file's text: where its statements and values are, and rows of numbers out of it. Needs numpy alone.

Quotation marks and comments are settled once, by painting them over in a copy of the same length: what is left of
`;`, `{`, `}` and blanks in it is structure, and a place in the copy is the same place in the file.
"""

import re
from array import array
from collections.abc import Callable, Iterator, Sequence
from itertools import repeat
from operator import itemgetter
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from wafer_tf.errors import InputError
from wafer_tf.formats.opened import Opened

PIECE = 1 << 20
"""Bytes that are split into words at a time, so that memory stays a small multiple of the file."""
MAX_ROW = 4 << 20
"""Bytes one row may have."""
PAINT = b"_"
"""What stands for a quoted string in `masked`, its quotation marks included."""
NO_NUMBER = frozenset({b"NA", b"N/A", b"NAN", b"NULL", b"NONE", b"-", b"__"})
_COMMENT = re.compile(rb"(?m)^[ \t]*(?:#|//)[^\n]*")
_WORD = re.compile(rb"[^\s;]+")
_ITEM = re.compile(rb"[^\s,;{}]+")


class Table(NamedTuple):
    """Rows of numbers.

    Attributes:
        names: of the columns, upper case.
        values: (rows, columns) float64, NaN where the file has no number.
        lines: (rows,) where each row begins.
    """

    names: tuple[str, ...]
    values: NDArray[np.float64]
    lines: NDArray[np.int32]

    def column(self, name: str) -> NDArray[np.float64] | None:
        """Return a column, None where the file has none of that name."""
        return self.values[:, self.names.index(name)] if name in self.names else None


class Text:
    """A KLARF file in memory.

    Attributes:
        name: what to call it in an error.
        data: its bytes; lines end in a newline.
        masked: the same with strings and comments painted over.
    """

    def __init__(self, file: Opened) -> None:
        """Read a file and paint its strings and comments over.

        Raises:
            InputError: too large, or a quotation mark without its partner on the line.
        """
        data = file.whole()
        if data.startswith((b"\xff\xfe", b"\xfe\xff")):
            data = data.decode("utf-16", "replace").encode()
        data = data.removeprefix(b"\xef\xbb\xbf")
        if b"\r" in data and b"\n" not in data:
            data = data.replace(b"\r", b"\n")
        self.name, self.data = file.name, data
        self._known = (0, 1)  # a place and its line, so that going forward through the file counts each line once
        self.masked = self._painted()

    def _painted(self) -> bytes:
        copy = bytearray(self.data)
        if b"#" in self.data or b"//" in self.data:
            for found in _COMMENT.finditer(self.data):
                copy[found.start() : found.end()] = b" " * (found.end() - found.start())
        if b'"' not in copy:
            return bytes(copy)
        view = np.frombuffer(copy, np.uint8)
        start = 0
        while start < len(copy):
            end = copy.find(b"\n", start + PIECE) + 1 or len(copy)
            part = view[start:end]
            marks = part == ord('"')
            inside = np.bitwise_xor.accumulate(marks)
            broken = inside & (part == ord("\n"))
            if broken.any() or inside[-1]:
                at = int(np.argmax(broken)) if broken.any() else len(part) - 1
                raise self.error(
                    start + at, 'a quotation mark opens a text that does not end on its line; expected a second "'
                )
            part[marks | inside] = ord(PAINT)
            start = end
        return view.tobytes()

    def line(self, at: int) -> int:
        """Return the line of a place, from 1."""
        place, line = self._known if at >= self._known[0] else (0, 1)
        self._known = at, line + self.data.count(b"\n", place, at)
        return self._known[1]

    def error(self, at: int, what: str) -> InputError:
        """Return the error about a place."""
        return self.error_on(self.line(at), what)

    def error_on(self, line: int, what: str) -> InputError:
        """Return the error about a line."""
        return InputError(f"{self.name}: line {line}: {what}.")

    def values(self, start: int, end: int, *, braces: bool = False) -> list[str]:
        """Return the values between two places, strings without their quotation marks.

        Args:
            start, end: the places.
            braces: values as between the braces of version 1.8, where commas stand between them.
        """
        if end - start > MAX_ROW:
            raise self.error(start, f"a statement of over {MAX_ROW} bytes; expected a few values")
        found = (_ITEM if braces else _WORD).finditer(self.masked, start, end)
        return [_decoded(self.data[word.start() : word.end()]).strip('"') for word in found]

    def pieces(self, start: int, end: int, mark: bytes) -> Iterator[tuple[bytes, int]]:
        """Cut a stretch of `masked` behind marks into pieces of a few megabytes.

        Yields:
            A piece, and the line it begins on.

        Raises:
            InputError: a row longer than MAX_ROW.
        """
        line = self.line(start)
        while start < end:
            cut = self.masked.find(mark, min(start + PIECE, end), end) + 1 or end
            if cut - start > PIECE + MAX_ROW:
                raise self.error_on(line, f"over {MAX_ROW} bytes without a {mark.decode()!r}; expected rows of values")
            piece = self.masked[start:cut]
            yield piece, line
            line += piece.count(b"\n")
            start = cut

    def rest(self, at: int) -> str:
        """Say what stands at a place, shortened for an error."""
        return repr(_decoded(self.data[at : at + 40]).strip().split("\n")[0])


class Rows:
    """Collects the wanted numbers of rows; a row is the words of the file."""

    def __init__(self, text: Text, columns: Sequence[str], wanted: Sequence[str], *, limit: int) -> None:
        """Set up the columns.

        Args:
            text: the file, for its name.
            columns: as the file declares them.
            wanted: those to keep; missing ones are left out.
            limit: rows there may be.
        """
        folded = [name.upper() for name in columns]
        self.text, self.columns, self.limit = text, folded, limit
        self.names = tuple(name for name in wanted if name in folded)
        self._places = [folded.index(name) for name in self.names]
        self._pick: Callable[[Sequence[bytes]], Sequence[bytes]]
        self._pick = itemgetter(*self._places) if len(self._places) > 1 else self._one
        self._values, self._lines = array("d"), array("i")

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self._lines)

    def add(self, row: Sequence[bytes], line: int) -> None:
        """Keep the wanted values of one row.

        Raises:
            InputError: a value that is no number, or too many rows.
        """
        kept = len(self._values)
        try:
            self._values.extend(map(float, self._pick(row)))
        except ValueError:
            del self._values[kept:]
            self._values.extend([self._number(row[place], place, line) for place in self._places])
        self._lines.append(line)
        if len(self._lines) > self.limit:
            raise self.text.error_on(line, f"over {self.limit} rows; expected at most that many")

    def add_all(self, words: Sequence[bytes], line: int) -> None:
        """Keep many rows at once, all their values being wanted in the order of the file.

        Args:
            words: a multiple of the columns.
            line: where they begin.

        Raises:
            ValueError: a word that is no number.
            InputError: too many rows.
        """
        self._values.extend(map(float, words))
        self._lines.extend(repeat(line, len(words) // len(self.columns)))
        if len(self._lines) > self.limit:
            raise self.text.error_on(line, f"over {self.limit} rows; expected at most that many")

    def _one(self, row: Sequence[bytes]) -> Sequence[bytes]:
        return [row[place] for place in self._places]  # where itemgetter gives no tuple

    def _number(self, word: bytes, place: int, line: int) -> float:
        try:
            return float(word)
        except ValueError:
            if word.upper() in NO_NUMBER:
                return float("nan")
        raise self.text.error_on(line, f"{self.columns[place]} is {_decoded(word[:40])!r}; expected a number, or N/A")

    def table(self) -> Table:
        """Return what was collected."""
        values = np.asarray(self._values).reshape(len(self), len(self.names))  # the same memory
        return Table(self.names, values, np.asarray(self._lines))


def _decoded(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:  # older tools write a user's words in their own code page
        return data.decode("latin-1")
