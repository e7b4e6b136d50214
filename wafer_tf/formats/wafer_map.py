"""What a file of a fab's tool holds: its wafer maps, and what it says of each. Needs numpy alone."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from wafer_tf.errors import InputError


class BinCount(NamedTuple):
    """How many dies a bin has.

    Attributes:
        name: the bin as the file writes it: "1", "0A", "clusters".
        passing: whether dies of it are good.
        dies: how many, by the result that counts.
    """

    name: str
    passing: bool
    dies: int


@dataclass(frozen=True, kw_only=True, eq=False)
class WaferMap:
    """One wafer of a file.

    Attributes:
        grid: (rows, cols) uint8, die states 0..2, checked; row 0 on top, notch down.
        lot, wafer, product, step: as the file names them, "" where it does not.
        time: when it was tested, ISO 8601 ("2026-11-26T19:30:00"), "" where the file does not say.
        corner: row and column of grid[0, 0] on the tool's own grid, turned as the map is; two maps of one wafer lie on
            each other by it. None where the file gives no coordinates.
        bins: the passing bins first.
        retested: dies with more than one result.
        facts: what else a user may want to see, in words: {"die size": "2.1 x 3.4 mm"}.
        assumed: what the file does not say, in sentences that name the flag: "y grows downward (--y-axis down)".
        warnings: what is odd, but did not keep the wafer from being read, in sentences.
    """

    grid: NDArray[np.uint8]
    lot: str = ""
    wafer: str = ""
    product: str = ""
    step: str = ""
    time: str = ""
    corner: tuple[int, int] | None = None
    bins: tuple[BinCount, ...] = ()
    retested: int = 0
    facts: dict[str, str] = field(default_factory=dict)
    assumed: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


class UnreadWaferError(InputError):
    """Why a wafer cannot be read of which the file says which it is.

    Attributes:
        lot, wafer: as of `WaferMap`.
    """

    def __init__(self, text: str, *, lot: str, wafer: str) -> None:
        super().__init__(text)
        self.lot, self.wafer = lot, wafer


@dataclass(frozen=True, kw_only=True, eq=False)
class MapFile:
    """A recognised file.

    Attributes:
        format: its name, as a user would say it: "STDF", "SEMI G85", "KLARF".
        version: of the format, "" where there is none.
        wafers: the wafers in the order of the file, each read when it is asked for. An InputError stands in the place
            of a wafer that cannot be read, where the next ones can.
    """

    format: str
    version: str = ""
    wafers: Iterator[WaferMap | InputError]
