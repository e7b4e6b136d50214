"""KLARF 1.8 and 2.0: records within records, with fields and lists in braces. Needs numpy alone."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from wafer_tf.formats.klarf_text import Rows, Text
from wafer_tf.formats.klarf_wafer import (
    HEADER,
    MAX_DEFECTS,
    MAX_WAFERS,
    SUMMARY,
    Content,
    Plan,
    Wafer,
    check_declared,
    check_plans,
    class_numbers,
    defect_rows,
    plan_rows,
)

MAX_DEPTH = 16
"""Records within records; a file has four."""
MAX_LIST = 1_000_000
"""Rows of a list that is neither defects nor dies."""
_STEP = re.compile(
    rb"""(?ix) [\s;]* (?:
        Record \s+ (?P<record>\w+) \s* (?P<id>[^\s{}]*) \s* \{
      | Field \s+ (?P<field>\w+) \s+ (?P<count>\d{1,9}) \s* \{ (?P<values>[^{}]*) \}
      | List \s+ (?P<list>\w+) \s* \{
      | (?P<close>\})
    )"""
)
_LIST = re.compile(rb"(?i)\s*Columns\s+(\d{1,9})\s*\{([^{}]*)\}\s*Data\s+(\d{1,18})\s*\{")
_BRACE = re.compile(rb"[{}]")
_CLOSE = re.compile(rb"\s*\}")
_END = re.compile(rb"(?i)[\s;]*EndOfFile[\s;\0\x1a]*")
_IMAGES = re.compile(rb"(?i)(?<![^\s])Images?\s+\d+\s*\{[^{}]*\}")


@dataclass
class _Record:
    """One record while it is open.

    Attributes:
        kind: LOTRECORD and so on, upper case.
        id: its name.
        parent: the record around it.
        values: those of its fields that are in HEADER.
        wafer: the wafer it is of, or is.
        plans: of a lot, for the wafers that have none.
    """

    kind: str
    id: str
    parent: "_Record | None"
    values: dict[str, list[str]] = field(default_factory=dict)
    wafer: Wafer | None = None
    plans: list[Plan] = field(default_factory=list)


def parse(text: Text, versions: frozenset[str]) -> Content:
    """Read a file of records.

    Args:
        text: the file.
        versions: what the FileRecord may be called, "1.8".

    Raises:
        InputError: cut off, braces that do not match, a row that does not fit its columns.
    """
    return _Reader(text, versions).read()


class _Reader:
    """Goes through the records once; a record's fields may stand behind the records in it, so wafers are made last."""

    def __init__(self, text: Text, versions: frozenset[str]) -> None:
        self.text, self.versions = text, versions
        self.content = Content(unit=1e-3)
        self.open: list[_Record] = []
        self.wafers: list[tuple[_Record, Wafer]] = []

    def read(self) -> Content:
        """Read all records."""
        at = 0
        while True:
            found = _STEP.match(self.text.masked, at)
            if found is None or not (self.open or found["record"]):
                break
            at = self._step(found)
        end = _END.match(self.text.masked, at)
        if self.open:
            self._not_closed(at)
        self.content.ended = bool(end and end.end() == len(self.text.masked))
        if self.text.masked[end.end() if end else at :].strip(b"\0\x1a \t\r\n;"):
            place = end.end() if end else at
            line = self.text.line(place)
            self.content.contradicts(f"line {line}: {self.text.rest(place)} stands behind the last record.")
        self.content.wafers = [self._wafer(record, wafer) for record, wafer in self.wafers]
        return self.content

    def _not_closed(self, at: int) -> None:
        inner = self.open[-1]
        if self.text.masked[at:].strip():
            at += len(self.text.masked[at:]) - len(self.text.masked[at:].lstrip())
            raise self.text.error(at, f"{self.text.rest(at)} in {inner.kind}; expected Record, Field, List or '}}'")
        raise self.text.error(
            at,
            f"the file ends within {inner.kind}; expected its '}}', and EndOfFile. It was cut off: transfer it again",
        )

    def _step(self, found: re.Match[bytes]) -> int:
        if found["record"]:
            self._record(found)
        elif found["field"]:
            self._field(found)
        elif found["list"]:
            return self._list(found["list"].decode("latin-1").upper(), found.start("list"), found.end())
        else:
            self.open.pop()
        return found.end()

    def _record(self, found: re.Match[bytes]) -> None:
        names = self.text.values(found.start("id"), found.end("id"), braces=True) if found["id"] else []
        kind, parent = found["record"].decode("latin-1").upper(), self.open[-1] if self.open else None
        record = _Record(kind, (names or [""])[0], parent, wafer=parent.wafer if parent else None)
        if kind == "FILERECORD" and record.id not in self.versions:
            raise self.text.error(
                found.start("id"), f"KLARF version {record.id[:40]!r}; expected one of {sorted(self.versions)}"
            )
        if kind == "WAFERRECORD":
            record.wafer = Wafer(line=self.text.line(found.start("record")))
            self.wafers.append((record, record.wafer))
            if len(self.wafers) > MAX_WAFERS:
                raise self.text.error_on(record.wafer.line, f"over {MAX_WAFERS} wafers; expected a lot's")
        self.open.append(record)
        if len(self.open) > MAX_DEPTH:
            raise self.text.error(found.start("record"), f"over {MAX_DEPTH} records within each other; expected four")

    def _field(self, found: re.Match[bytes]) -> None:
        key = found["field"].decode("latin-1").upper()
        if key not in HEADER:
            return
        values = self.text.values(found.start("values"), found.end("values"), braces=True)
        if len(values) != int(found["count"]):
            line = self.text.line(found.start("field"))
            self.content.contradicts(
                f"line {line}: {key} declares {found['count'].decode()} values and has {len(values)}."
            )
        self.open[-1].values[key] = values

    def _wafer(self, record: _Record, wafer: Wafer) -> Wafer:
        levels, around = [record], record
        while around.parent:
            around = around.parent
            levels.append(around)
        for level in reversed(levels):
            wafer.values.update(level.values)
            key = {"LOTRECORD": "LOTID", "WAFERRECORD": "WAFERID"}.get(level.kind)
            if key and level.id:
                wafer.values[key] = [level.id]
        if "SLOTNUMBER" in wafer.values:
            wafer.values["SLOT"] = wafer.values["SLOTNUMBER"]
        if not wafer.plans:
            wafer.plans = next((level.plans for level in levels if level.plans), [])
        return wafer

    # === Lists ===

    def _list(self, name: str, start: int, after: int) -> int:
        if name not in ("DEFECTLIST", "SAMPLETESTPLANLIST", "TESTSUMMARYLIST", "CLASSLOOKUPLIST"):
            return self._closing(name, start, after)
        head = _LIST.match(self.text.masked, after)
        if head is None:
            raise self.text.error(
                after, f"{name} begins with {self.text.rest(after)}; expected Columns n {{ }} Data n {{ }}"
            )
        line = self.text.line(start)
        columns = self._columns(name, line, head)
        stop = self._closing(name, start, head.end()) - 1
        rows = self._rows(name, columns, int(head[3]), line)
        for row, number in self._split(head.end(), stop):
            if len(row) != len(columns):
                raise self.text.error_on(
                    number, f"a row of {len(row)} values in {name}; expected {len(columns)}, as its Columns name them"
                )
            rows.add(row, number)
        self._keep(name, rows, int(head[3]), line)
        end = _CLOSE.match(self.text.masked, stop + 1)
        if end is None:
            raise self.text.error(stop + 1, f"{self.text.rest(stop + 1)} behind the Data of {name}; expected '}}'")
        return end.end()

    def _columns(self, name: str, line: int, head: re.Match[bytes]) -> list[str]:
        pairs = [pair.split() for pair in head[2].split(b",")] if head[2].strip() else []
        columns = [pair[-1].decode("latin-1").upper() if pair else "" for pair in pairs]
        if len(columns) != int(head[1]):
            self.content.contradicts(f"line {line}: {name} declares {int(head[1])} columns and names {len(columns)}.")
        return columns

    def _rows(self, name: str, columns: list[str], declared: int, line: int) -> Rows:
        if name == "DEFECTLIST":
            check_declared(self.text, name, declared, MAX_DEFECTS, line)
            return defect_rows(self.text, columns, line)
        if name == "SAMPLETESTPLANLIST":
            return plan_rows(self.text, columns, declared, line)
        check_declared(self.text, name, declared, MAX_LIST, line)
        return Rows(self.text, columns, SUMMARY if name == "TESTSUMMARYLIST" else ["CLASSNUMBER"], limit=MAX_LIST)

    def _keep(self, name: str, rows: Rows, declared: int, line: int) -> None:
        record, table = self.open[-1], rows.table()
        wafer = record.wafer
        if name == "CLASSLOOKUPLIST":
            if table.names:
                self.content.classes.update(class_numbers(table))
            if len(table.lines) != declared:
                self.content.contradicts(
                    f"line {line}: ClassLookupList declares {declared} classes and lists {len(table.lines)}."
                )
        elif name == "SAMPLETESTPLANLIST":
            test = record.id if record.kind == "TESTRECORD" else "1"
            plans = wafer.plans if wafer else record.plans
            check_plans(self.text, len(plans), line)
            plans.append(Plan(test, declared, table, line))
        elif wafer is None:
            raise self.text.error_on(line, f"{name} outside of any WaferRecord; expected it in one")
        elif name == "TESTSUMMARYLIST":
            wafer.summary = table
        elif wafer.defects is not None:
            raise self.text.error_on(line, "a second DefectList in one WaferRecord; expected one")
        else:
            wafer.defects, wafer.declared = table, declared

    def _closing(self, name: str, start: int, after: int) -> int:
        """Return the place behind the brace that closes the one before `after`."""
        depth = 1
        for found in _BRACE.finditer(self.text.masked, after):
            depth += 1 if found[0] == b"{" else -1
            if not depth:
                return found.end()
        raise self.text.error(
            start, f"the file ends within {name}; expected its '}}', and EndOfFile. It was cut off: transfer it again"
        )

    def _split(self, start: int, stop: int) -> Iterator[tuple[list[bytes], int]]:
        """Cut the rows of a list, each up to a semicolon; a defect's images count as one value."""
        for piece, first in self.text.pieces(start, stop, b";"):
            line, flat = first, piece
            if b"{" in piece:
                flat = _IMAGES.sub(lambda found: b"N" + b"\n" * found[0].count(b"\n"), piece)
            *rows, left = flat.split(b";")
            for row in rows:
                words = row.split()
                yield words, line + (row[: len(row) - len(row.lstrip())].count(b"\n"))
                line += row.count(b"\n")
            if left.strip():
                raise self.text.error_on(
                    line, f"a row that does not end with ';': {left.split()[0][:40].decode('latin-1')!r}"
                )
