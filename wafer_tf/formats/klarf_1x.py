"""KLARF 1.1 and 1.2: keywords with their values, each up to a semicolon. Needs numpy alone."""

import re
from collections.abc import Sequence

from wafer_tf.errors import InputError
from wafer_tf.formats.klarf_text import Rows, Table, Text
from wafer_tf.formats.klarf_wafer import (
    HEADER,
    MAX_WAFERS,
    PLACE,
    SUMMARY,
    Content,
    Plan,
    Wafer,
    check_plans,
    class_numbers,
    defect_rows,
    plan_rows,
)

IMAGE_NAMES = frozenset({"FILENAME", "TIFFFILENAME"})
"""Statements that stand between the defects of a list, with or without a semicolon."""
MAX_SUMMARY_ROWS = 10_000
MAX_CLASSES = 65_536
"""Lines a ClassLookup may have; tools write a few hundred."""
MAX_IMAGES = 10_000
"""Images one defect may have."""
_START = re.compile(rb"[\s;]*([^\s;]+)")
_KEYWORDS = b"|".join(
    re.escape(key.encode())
    for key in sorted(
        HEADER
        | IMAGE_NAMES
        | {"CLASSLOOKUP", "DEFECTLIST", "DEFECTRECORDSPEC", "ENDOFFILE", "INSPECTIONTEST", "SAMPLETESTPLAN"}
        | {"DIEORIGIN", "SAMPLEORIENTATIONMARKTYPE", "SAMPLETYPE", "SETUPID", "SUMMARYLIST", "SUMMARYSPEC"}
    )
)
_END = re.compile(rb"(?i);|\n(?=[ \t\r]*(?:" + _KEYWORDS + rb")(?![^\s;]))")
_END_OF_NUMBERS = re.compile(rb"(?i)(?<=[\n;])[ \t\r]*(?=[a-z])(?!(?:n/?a|nan|null|none)[\s;])")
_LINE_END = re.compile(rb"[;\n]")
_NUMBER = re.compile(rb"[-+.\d_]|(?i:n/?a$)")


def parse(text: Text, versions: frozenset[str]) -> Content:
    """Read a file of keywords.

    Args:
        text: the file.
        versions: what FileVersion may say, "1.2".

    Raises:
        InputError: cut off, a row that does not fit its columns, a value that is no number.
    """
    return _Reader(text, versions).read()


class _Reader:
    """Goes through the statements once, with the values in force, as the format is meant to be read."""

    def __init__(self, text: Text, versions: frozenset[str]) -> None:
        self.text, self.versions = text, versions
        self.content = Content(unit=1.0)
        self.values: dict[str, list[str]] = {}
        self.columns: list[str] = []
        self.summary_columns: list[str] = []
        self.columns_line = 1
        self.test = "1"
        self.wafer = Wafer(line=1)
        self.named = False  # whether this wafer has its WaferID
        self.defects: _DefectLines | None = None
        self.numbers_of = ""  # the list that lines of numbers go on with

    def read(self) -> Content:
        """Read all statements."""
        at = 0
        while found := _START.match(self.text.masked, at):
            at = self._statement(found)
            if self.content.ended and self._nothing_follows(at):
                break
        self._finish()
        return self.content

    def _nothing_follows(self, at: int) -> bool:
        """Return whether the file ends here, or another one does not begin."""
        rest = _START.match(self.text.masked, at)
        if rest and rest[1].upper() == b"FILEVERSION":
            return False
        if rest and self.text.masked[at:].strip(b"\0\x1a \t\r\n;"):
            self.content.contradicts(f"line {self.text.line(rest.start(1))}: text behind EndOfFile.")
        return True

    def _statement(self, found: re.Match[bytes]) -> int:
        start, after, word = found.start(1), found.end(), found[1]
        if _NUMBER.match(word):
            if not self.numbers_of:
                raise self.text.error(start, f"{self.text.rest(start)} stands where a keyword is expected")
            return self._numbers(start, start)
        key = word.decode("latin-1").upper()
        if key in IMAGE_NAMES:
            end = _LINE_END.search(self.text.masked, after)
            return end.end() if end else len(self.text.masked)
        self.content.ended = key == "ENDOFFILE"
        self.numbers_of = key if key in ("DEFECTLIST", "SAMPLETESTPLAN") else ""
        if self.numbers_of:
            self._begin_list(key, start)
            return self._numbers(start, after)
        end = _END.search(self.text.masked, after)
        if end is None and key != "ENDOFFILE":
            raise self._cut_off(start, word)
        stop = end.start() if end else len(self.text.masked)
        if end and end[0] != b";":
            self.wafer.note(f"line {self.text.line(start)}: {word.decode('latin-1')[:40]} does not end with ';'.")
        self._keyword(key, start, after, stop)
        return end.end() if end else stop

    def _cut_off(self, start: int, word: bytes) -> InputError:
        return self.text.error(
            start,
            f"the file ends within {word[:40].decode('latin-1')}; expected its ';', and EndOfFile. It was cut off: "
            "transfer it again",
        )

    def _keyword(self, key: str, start: int, after: int, stop: int) -> None:
        if key == "FILEVERSION":
            version = ".".join(self.text.values(after, stop))
            if version not in self.versions:
                raise self.text.error(start, f"KLARF version {version[:40]!r}; expected one of {sorted(self.versions)}")
        elif key in HEADER:
            if key in ("LOTID", "WAFERID"):
                self._begin_wafer(key, start)
            self.values[key] = self.text.values(after, stop)
        elif key == "INSPECTIONTEST":
            self.test = (self.text.values(after, stop) or ["1"])[0]
        elif key == "DEFECTRECORDSPEC":
            self.columns, self.columns_line = self._columns("DefectRecordSpec", start, after, stop)
        elif key == "SUMMARYSPEC":
            self.summary_columns, _ = self._columns("SummarySpec", start, after, stop)
        elif key == "SUMMARYLIST":
            self._summary(start, after, stop)
        elif key == "CLASSLOOKUP":
            self._classes(start, after, stop)

    def _begin_wafer(self, key: str, start: int) -> None:
        again = self.named and key == "WAFERID"
        if again or self.defects is not None or self.wafer.summary is not None:
            self._finish()
            self.wafer, self.defects, self.named = Wafer(line=self.text.line(start)), None, False
        self.named |= key == "WAFERID"
        if key == "WAFERID":
            self.wafer.line = self.text.line(start)

    def _finish(self) -> None:
        if self.defects is not None:
            self.wafer.defects = self.defects.finish()
        else:
            self.wafer.values = dict(self.values)
        self.content.wafers.append(self.wafer)
        if len(self.content.wafers) > MAX_WAFERS:
            raise self.text.error_on(self.wafer.line, f"over {MAX_WAFERS} wafers; expected a lot's")

    def _columns(self, what: str, start: int, after: int, stop: int) -> tuple[list[str], int]:
        line = self.text.line(start)
        declared, *names = self.text.values(after, stop) or [""]
        if not declared.isdecimal():
            declared, names = str(len(names) + 1), [declared, *names]
        if int(declared[:18]) != len(names):
            self.content.contradicts(f"line {line}: {what} declares {declared[:18]} columns and names {len(names)}.")
        return [name.upper() for name in names], line

    # === Lists ===

    def _begin_list(self, key: str, start: int) -> None:
        line = self.text.line(start)
        if key == "SAMPLETESTPLAN":
            check_plans(self.text, len(self.wafer.plans), line)
            self.wafer.plans.append(Plan(self.test, -1, Rows(self.text, PLACE, PLACE, limit=0).table(), line))
            return
        if not self.columns:
            raise self.text.error_on(line, "a DefectList before any DefectRecordSpec; expected its columns first")
        if self.defects is None:
            self.defects = _DefectLines(self.text, self.columns, self.columns_line)
            self.wafer.values = dict(self.values)
        elif self.defects.rows.columns != self.columns:
            raise self.text.error_on(line, "a second DefectList of the wafer has other columns; expected the same")

    def _numbers(self, start: int, after: int) -> int:
        end = _END_OF_NUMBERS.search(self.text.masked, after)
        stop = end.start() if end else len(self.text.masked)
        last = stop - 1
        while self.text.masked[last] in b" \t\r\n":
            last -= 1
        closed = self.text.masked[last] == ord(";")
        name = "DefectList" if self.numbers_of == "DEFECTLIST" else "SampleTestPlan"
        if end is None and not closed:
            raise self._cut_off(start, name.encode())
        if self.numbers_of == "DEFECTLIST" and self.defects is not None:
            self.defects.add(after, stop)
        else:
            self._plan(after, stop)
        following = _START.match(self.text.masked, stop)
        if not closed and following and following[1].decode("latin-1").upper() not in IMAGE_NAMES:
            self.wafer.note(f"line {self.text.line(last)}: {name} does not end with ';'.")
        return stop

    def _plan(self, start: int, stop: int) -> None:
        plan = self.wafer.plans[-1]
        if plan.declared < 0:
            count = _START.match(self.text.masked, start, stop)
            if not count or not count[1].isdigit():
                raise self.text.error_on(
                    plan.line, "SampleTestPlan without a number of dies; expected it, then the dies"
                )
            plan.declared, start = int(count[1][:18]), count.end()
        rows = plan_rows(self.text, list(PLACE), plan.declared, plan.line)
        left: list[bytes] = []
        for piece, line in self.text.pieces(start, stop, b"\n"):
            words = left + piece.replace(b";", b" ").split()
            left = words[len(words) // 2 * 2 :]
            try:
                rows.add_all(words[: len(words) // 2 * 2], line)
            except ValueError:
                self._bad_number(piece, line)
        if left:
            raise self.text.error_on(
                plan.line, "SampleTestPlan holds an odd number of values; expected pairs of XINDEX YINDEX"
            )
        if len(rows):
            plan.dies = rows.table()

    def _bad_number(self, piece: bytes, line: int) -> None:
        for number, row in enumerate(piece.replace(b";", b" ").split(b"\n"), line):
            for word in row.split():
                try:
                    float(word)
                except ValueError:
                    said = f"SampleTestPlan holds {word[:40].decode('latin-1')!r}; expected whole numbers"
                    raise self.text.error_on(number, said) from None

    def _summary(self, start: int, after: int, stop: int) -> None:
        line, width = self.text.line(start), len(self.summary_columns)
        words = self.text.masked[after:stop].split() if stop - after < 1 << 20 else []
        if not width or len(words) % width:
            self.content.contradicts(
                f"line {line}: SummaryList holds {len(words)} values; expected rows of the {width} of SummarySpec."
            )
            return
        rows = Rows(self.text, self.summary_columns, SUMMARY, limit=MAX_SUMMARY_ROWS)
        for first in range(0, len(words), width):
            rows.add(words[first : first + width], line)
        self.wafer.summary = rows.table()

    def _classes(self, start: int, after: int, stop: int) -> None:
        line = self.text.line(start)
        first, _, lines = self.text.masked[after:stop].partition(b"\n")
        if lines.count(b"\n") > MAX_CLASSES:
            raise self.text.error_on(line, f"a ClassLookup of over {MAX_CLASSES} lines; expected a tool's classes")
        entries = [words for row in lines.split(b"\n") if (words := row.split(None, 1))]
        if not first.strip().isdigit() or int(first.strip()[:18]) != len(entries):
            declared = first.strip()[:18].decode("latin-1")
            self.content.contradicts(f"line {line}: ClassLookup declares {declared} classes and lists {len(entries)}.")
        rows = Rows(self.text, ["CLASSNUMBER"], ["CLASSNUMBER"], limit=MAX_CLASSES + 1)
        for number, words in enumerate(entries, line + 1):
            rows.add(words[:1], number)
        self.content.classes.update(class_numbers(rows.table()))


class _DefectLines:
    """A wafer's defects, line by line: a defect begins on a line of its own, and its images may go on over more."""

    def __init__(self, text: Text, columns: list[str], line: int) -> None:
        self.text, self.rows = text, defect_rows(text, columns, line)
        self.width = len(columns)
        self.images = self.rows.columns.index("IMAGELIST") if "IMAGELIST" in self.rows.columns else -1
        self.count = self.rows.columns.index("IMAGECOUNT") if "IMAGECOUNT" in self.rows.columns else -1
        self.open: list[bytes] = []
        self.open_line = line

    def add(self, start: int, stop: int) -> None:
        """Read the lines between two places."""
        for piece, line in self.text.pieces(start, stop, b"\n"):
            for number, row in enumerate(piece.replace(b";", b" ").split(b"\n"), line):
                words = row.split()
                if not words:
                    continue
                if not self.open and len(words) == self.width and (self.images < 0 or words[self.images] == b"0"):
                    self.rows.add(words, number)
                else:
                    self._line(words, number)

    def finish(self) -> Table:
        """Return the defects.

        Raises:
            InputError: the last one is not complete.
        """
        if self.open and not self._fits():
            self._wrong()
        self._close()
        return self.rows.table()

    def _line(self, words: list[bytes], line: int) -> None:
        if self.open and len(self.open) + len(words) > self._wanted(words):
            if not self._fits():
                self._wrong()
            self._close()
        if not self.open:
            self.open_line = line
        self.open += words
        if len(self.open) > self._wanted() and not self._fits():
            self._wrong()
        if len(self.open) >= self._wanted():
            self._close()

    def _images(self, more: Sequence[bytes] = ()) -> int:
        """Return how many images the open defect has, once its line and `more` hold that number."""
        if self.images < 0 or len(self.open) + len(more) <= self.images:
            return 0
        number = self.open[self.images] if len(self.open) > self.images else more[self.images - len(self.open)]
        images = int(number[:9]) if number.isdigit() else 0
        if images > MAX_IMAGES:
            raise self.text.error_on(self.open_line, f"a defect of {images} images; expected at most {MAX_IMAGES}")
        return images

    def _wanted(self, more: Sequence[bytes] = ()) -> int:
        """Return how many values the open defect has in the end: two more for each image of its list."""
        return self.width + 2 * self._images(more)

    def _fits(self) -> bool:
        """Return whether the open defect may end here without two values an image: some tools write one, or three."""
        images, more = self._images(), len(self.open) - self.width
        said = images > 0 and self.count >= 0 and self.open[self.count] == self.open[self.images]
        return said and more > 0 and more % images == 0

    def _close(self) -> None:
        if self.open:
            self.rows.add(self.open, self.open_line)
        self.open = []

    def _wrong(self) -> None:
        raise self.text.error_on(
            self.open_line,
            f"a defect of {len(self.open)} values; expected {self._wanted()}, as DefectRecordSpec names them",
        )
