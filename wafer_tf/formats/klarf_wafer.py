"""What a KLARF file of either syntax says of one wafer. Needs numpy alone."""

from dataclasses import dataclass, field

import numpy as np

from wafer_tf.dies import MAX_CELLS
from wafer_tf.formats.klarf_text import Rows, Table, Text

MAX_DEFECTS = 2_000_000
MAX_WAFERS = 1000
"""Wafers one file may hold; a lot has 25."""
MAX_PLANS = 1000
"""Test plans one wafer may have; there is one a test."""

HEADER = frozenset(
    {
        "COORDINATESMIRRORED",
        "DEVICEID",
        "DIEPITCH",
        "FILETIMESTAMP",
        "INSPECTIONSTATIONID",
        "LOTID",
        "ORIENTATIONMARKLOCATION",
        "RESULTTIMESTAMP",
        "SAMPLECENTERLOCATION",
        "SAMPLESIZE",
        "SLOT",
        "SLOTNUMBER",
        "STEPID",
        "WAFERID",
    }
)
"""The keywords whose values are kept."""

DEFECT = ("XINDEX", "YINDEX", "CLASSNUMBER", "TEST")
SIZES = (("DSIZE",), ("DEFECTAREA",), ("XSIZE", "YSIZE"))
"""The columns that give a defect's size, the best first."""
MAX_NOTES = 20
"""Sentences about oddities that are kept; a file can have one on every line."""
SUMMARY = ("TESTNO", "NDEFECT", "NDIE", "NDEFDIE")
PLACE = ("XINDEX", "YINDEX")


@dataclass
class Plan:
    """The dies that one test looked at.

    Attributes:
        test: its number or name.
        declared: how many dies the file says there are.
        dies: XINDEX and YINDEX of each.
        line: where it stands.
    """

    test: str
    declared: int
    dies: Table
    line: int


@dataclass
class Wafer:
    """One wafer of a KLARF file.

    Attributes:
        line: where it begins.
        values: those of HEADER that hold for it.
        plans: of its tests; empty where the file gives no dies.
        defects: columns of DEFECT and SIZES; None where the file has no DefectList for it.
        declared: how many defects the list says it holds, None where it does not say.
        summary: rows of SUMMARY, None where the file has none.
        notes: what is odd about it, in sentences.
        inherited: its plans are those of the wafer before.
    """

    line: int
    values: dict[str, list[str]] = field(default_factory=dict)
    plans: list[Plan] = field(default_factory=list)
    defects: Table | None = None
    declared: int | None = None
    summary: Table | None = None
    notes: list[str] = field(default_factory=list)
    inherited: bool = False

    def note(self, sentence: str) -> None:
        """Keep a sentence about an oddity."""
        if len(self.notes) < MAX_NOTES:
            self.notes.append(sentence)

    def first(self, key: str) -> str:
        """Return the first value of a keyword, "" where there is none."""
        return (self.values.get(key) or [""])[0]


@dataclass
class Content:
    """A parsed file.

    Attributes:
        unit: what a length in it is, in micrometres.
        wafers: in the order of the file.
        classes: the defect classes it knows; empty where it lists none.
        ended: whether it ends with EndOfFile, and with nothing behind.
        counts: sentences about declared counts that do not hold.
    """

    unit: float
    wafers: list[Wafer] = field(default_factory=list)
    classes: set[int] = field(default_factory=set)
    ended: bool = False
    counts: list[str] = field(default_factory=list)

    def contradicts(self, sentence: str) -> None:
        """Keep a sentence about a declared count that does not hold."""
        if len(self.counts) < MAX_NOTES:
            self.counts.append(sentence)


def defect_rows(text: Text, columns: list[str], line: int) -> Rows:
    """Return a collector of a DefectList's rows.

    Raises:
        InputError: no XINDEX or YINDEX among the columns.
    """
    folded = [name.upper() for name in columns]
    for name in PLACE:
        if name not in folded:
            raise text.error_on(line, f"a DefectList without {name}; expected the columns XINDEX and YINDEX")
    size = next((names for names in SIZES if all(name in folded for name in names)), ())
    return Rows(text, columns, (*DEFECT, *size), limit=MAX_DEFECTS)


def check_declared(text: Text, what: str, declared: int, limit: int, line: int) -> None:
    """Refuse a declared count before anything is read by it.

    Raises:
        InputError: larger than the limit.
    """
    if declared > limit:
        raise text.error_on(line, f"{what} declares {declared} rows; expected at most {limit}")


def check_plans(text: Text, plans: int, line: int) -> None:
    """Refuse a wafer of endless plans.

    Raises:
        InputError: it has MAX_PLANS already.
    """
    if plans >= MAX_PLANS:
        raise text.error_on(line, f"over {MAX_PLANS} test plans of one wafer; expected one a test")


def plan_rows(text: Text, columns: list[str], declared: int, line: int) -> Rows:
    """Return a collector of a test plan's dies.

    Raises:
        InputError: more dies declared than a map may have, or no XINDEX or YINDEX.
    """
    check_declared(text, "SampleTestPlan", declared, MAX_CELLS, line)
    folded = [name.upper() for name in columns]
    if not all(name in folded for name in PLACE):
        raise text.error_on(line, f"a test plan of the columns {', '.join(columns[:20])}; expected XINDEX and YINDEX")
    return Rows(text, columns, PLACE, limit=MAX_CELLS)


def class_numbers(table: Table) -> list[int]:
    """Return the classes of a ClassLookup."""
    numbers = table.values[:, 0]
    return [int(number) for number in numbers[np.isfinite(numbers)]]
