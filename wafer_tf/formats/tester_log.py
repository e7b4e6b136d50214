"""What a tester's log (STDF, ATDF) says of its wafers and of the parts tested, gathered as it comes. Needs numpy."""

import math
import struct
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from wafer_tf.errors import InputError
from wafer_tf.formats.dies_on_grid import NOTCH
from wafer_tf.formats.stdf_records import Order

PART = "BBBHHHhh"
"""A part's result as its record (PRR) begins in STDF: head, site, flags, tests, hard bin, soft bin, x, y."""
PART_SIZE = struct.calcsize("<" + PART)
MAX_PARTS = 6_000_000
"""A file of more results is refused: all are in memory up to its end, where the bins are told."""
MAX_WAFERS = 1000
"""A file of more is refused; a lot has 25."""
MAX_COUNTS = 200_000
"""Records of bins (HBR) a file may have; a lot of 25 wafers on 32 sites with 64 bins each has 51,200."""
NO_COORDINATE = -32768
RETEST, ABNORMAL, FAILED, NO_VERDICT = 0b11, 1 << 2, 1 << 3, 1 << 4
"""Bits of a part's flags."""
ALL = 255
"""Head or site of a count that is of all of them."""
UNKNOWN = 2**32 - 1
"""A count or a time that is not known."""

_UNITS: dict[float, str] = {1: " in", 2: " cm", 3: " mm", 4: " mil"}
_SIDES = {"D": "down", "L": "left", "U": "up", "R": "right"}
_RESULT = {"flags": (2, "u1"), "bin": (5, "u2"), "x": (9, "i2"), "y": (11, "i2")}


class Ended(NamedTuple):
    """What a wafer's end (WRR) counts: parts tested, retests of them, good ones; None where it does not."""

    parts: int | None
    retests: int | None
    good: int | None


class Bin(NamedTuple):
    """What a bin's record (HBR) says.

    Attributes:
        head, site: that it counts; head ALL for the whole file.
        number: of the bin.
        parts: in it, None where not told.
        verdict: "P", "F", or another where not told.
    """

    head: int
    site: int
    number: int
    parts: int | None
    verdict: str


class Picture(NamedTuple):
    """How coordinates lie on the wafer (WCR); None where it is not told."""

    notch: Literal[0, 90, 180, 270] | None = None
    x_grows: Literal["right", "left"] | None = None
    y_grows: Literal["down", "up"] | None = None

    @classmethod
    def of_letters(cls, flat: str, x: str, y: str) -> "Picture":
        """Return it from the letters U, D, L and R of both formats."""
        return cls(
            NOTCH[_SIDES[flat]] if flat in _SIDES else None,  # type: ignore[arg-type]
            "right" if x == "R" else "left" if x == "L" else None,
            "down" if y == "D" else "up" if y == "U" else None,
        )


@dataclass
class Tested:
    """One wafer.

    Attributes:
        wafer: its name, or "".
        lot, product, step, time: see `Log`, as they were when it began.
        parts: the results, PART_SIZE bytes each, in the order they came.
        passes: how often it began (WIR).
        ended: what each end said.
    """

    wafer: str = ""
    lot: str = ""
    product: str = ""
    step: str = ""
    time: int = 0
    parts: bytearray = field(default_factory=bytearray)
    passes: int = 0
    ended: list[Ended] = field(default_factory=list)

    def results(self, order: Order) -> NDArray[Any]:
        """Return the results as records, (n,) of flags, bin, x and y."""
        formats = [order + code for _, code in _RESULT.values()]
        offsets = [at for at, _ in _RESULT.values()]
        kind = np.dtype({"names": list(_RESULT), "formats": formats, "offsets": offsets, "itemsize": PART_SIZE})
        return np.frombuffer(self.parts, kind)


@dataclass
class Log:
    """A tester's log, as far as it was read.

    Attributes:
        name: of the file.
        order: byte order of the results.
        lot, product, step: of the wafers that begin from here on.
        time: when testing began, in seconds since 1970, 0 where not told.
        facts: see `WaferMap`.
        pictures: all that were told.
        bins: what the file says of them.
        wafers: in the order they began.
        outside: what was tested while no wafer was begun; it is the only wafer, where the file begins none.
        warnings: sentences on the file.
        cut: a sentence, where the file ends early.
    """

    name: str
    order: Order
    lot: str = ""
    product: str = ""
    step: str = ""
    time: int = 0
    facts: dict[str, str] = field(default_factory=dict)
    pictures: set[Picture] = field(default_factory=set)
    bins: list[Bin] = field(default_factory=list)
    wafers: list[Tested] = field(default_factory=list)
    outside: Tested = field(default_factory=Tested)
    warnings: list[str] = field(default_factory=list)
    cut: str = ""
    _running: dict[int, Tested] = field(default_factory=dict)
    _named: dict[str, Tested] = field(default_factory=dict)
    _parts: int = 0

    def note(self, **facts: str) -> None:
        """Take those of the facts that say something."""
        self.facts |= {name: fact.strip() for name, fact in facts.items() if fact.strip()}

    def as_wafer(self, tested: Tested) -> Tested:
        """Return what was tested outside of any wafer, as one of this lot."""
        return replace(tested, lot=self.lot, product=self.product, step=self.step, time=self.time)

    def begin(self, head: int, wafer: str, time: int) -> None:
        """Begin a wafer on a test head; one that was there before under this name goes on.

        Raises:
            InputError: more wafers than a file may have; so does `end`.
        """
        tested = self._named.get(wafer) if wafer else None
        if tested is None:
            tested = Tested(wafer, self.lot, self.product, self.step, time if 0 < time < UNKNOWN else self.time)
            self._list(tested)
            if wafer:
                self._named[wafer] = tested
        tested.passes += 1
        self._running[head] = tested

    def add(self, head: int, part: bytes) -> None:
        """Add a part's result, PART_SIZE bytes, to the wafer on its head.

        Raises:
            InputError: more than a file may have.
        """
        self._parts += 1
        if self._parts > MAX_PARTS:
            raise InputError(f"{self.name}: over {MAX_PARTS} results of parts; expected at most that. Split the file.")
        tested = self._running.get(head)
        if tested is None:
            tested = next(iter(self._running.values())) if len(self._running) == 1 else self.outside
        tested.parts += part

    def end(self, head: int, wafer: str, ended: Ended) -> None:
        """End the wafer on a test head, or, where none was begun, what was tested so far."""
        if head not in self._running and len(self._running) == 1:
            head = next(iter(self._running))
        tested = self._running.pop(head, None)
        if tested is None:
            if self.wafers and not self.outside.parts:
                return
            tested, self.outside = self.as_wafer(self.outside), Tested()
            self._list(tested)
        tested.wafer = tested.wafer or wafer
        tested.ended.append(ended)

    def count(self, bin_: Bin) -> None:
        """Take a bin's record.

        Raises:
            InputError: more than a file may have.
        """
        if len(self.bins) == MAX_COUNTS:
            raise InputError(f"{self.name}: over {MAX_COUNTS} records of bins (HBR); expected at most that.")
        self.bins.append(bin_)

    def _list(self, tested: Tested) -> None:
        if len(self.wafers) == MAX_WAFERS:
            raise InputError(f"{self.name}: over {MAX_WAFERS} wafers; expected at most that. Split the file.")
        self.wafers.append(tested)

    def lay(self, picture: Picture, width: float, height: float, wafer_size: float, units: float) -> None:
        """Note how coordinates lie on the wafer, and sizes in `units` of the standard, 0 where not told."""
        self.pictures.add(picture)
        unit = _UNITS.get(units, "")
        if all(math.isfinite(size) and size > 0 for size in (width, height)):
            self.facts["die size"] = f"{width:g} x {height:g}{unit}"
        if math.isfinite(wafer_size) and wafer_size > 0:
            self.facts["wafer size"] = f"{wafer_size:g}{unit}"
