"""Which dies a KLARF wafer has, by its test plans or by its sizes. Needs numpy alone."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wafer_tf.errors import InputError
from wafer_tf.formats.dies_on_grid import check_sides
from wafer_tf.formats.klarf_text import Table
from wafer_tf.formats.klarf_wafer import PLACE, Wafer
from wafer_tf.formats.options import Options

FAR = 2**30
"""How far from die 0, 0 a die may be named, so that a place is one 64-bit number."""
_ROUND = "1"
_ROWS = 1 << 16
"""Rows looked at together, which keeps what is needed between small."""


@dataclass(frozen=True)
class Dies:
    """The dies of a wafer.

    Attributes:
        places: (n,) one number a die, in order; see `places`.
        assumed: where they come from, if not from a test plan.
    """

    places: NDArray[np.int64]
    assumed: str = ""

    @property
    def x(self) -> NDArray[np.int64]:
        """Return XINDEX."""
        return (self.places + FAR) // (2 * FAR + 1)

    @property
    def y(self) -> NDArray[np.int64]:
        """Return YINDEX."""
        return self.places - self.x * (2 * FAR + 1)

    def find(self, places: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Return where in `places` these stand, and which of them stand there at all."""
        at = np.minimum(np.searchsorted(self.places, places), len(self.places) - 1)
        return at, self.places[at] == places


def places(table: Table, name: str) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return a whole number for the die of each row, and which rows name a die at all.

    Raises:
        InputError: an XINDEX or YINDEX that is not whole.
    """
    found, known = np.zeros(len(table.lines), np.int64), np.zeros(len(table.lines), bool)
    x, y = (table.column(key) for key in PLACE)
    if x is None or y is None:
        return found, known
    for start in range(0, len(found), _ROWS):
        part = slice(start, start + _ROWS)
        found[part], known[part] = _places(x[part], y[part], table.lines[part], name)
    return found, known


def _places(
    x: NDArray[np.float64], y: NDArray[np.float64], lines: NDArray[np.int32], name: str
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    known = ~(np.isnan(x) | np.isnan(y))
    x, y = np.where(known, x, 0), np.where(known, y, 0)
    wrong = (np.abs(x) > FAR) | (np.abs(y) > FAR) | (np.rint(x) != x) | (np.rint(y) != y)
    if wrong.any():
        at = int(np.argmax(wrong))
        raise InputError(
            f"{name}: line {lines[at]}: XINDEX {x[at]:g}, YINDEX {y[at]:g}; expected the whole numbers of a die."
        )
    return x.astype(np.int64) * (2 * FAR + 1) + y.astype(np.int64), known


def distinct(numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return numbers in order, each once; np.unique hashes, which takes ten times as long for the dies of a plan."""
    ordered: NDArray[np.int64] = np.sort(numbers)
    first = np.ones(len(ordered), bool)
    first[1:] = ordered[1:] != ordered[:-1]
    return ordered[first]


def planned(wafer: Wafer, name: str, options: Options, notes: list[str]) -> Dies | None:
    """Return the dies of a wafer's test plans, None where it has none.

    Args:
        wafer: it.
        name: what to call it in an error.
        options: whether a plan that is not as long as it says is taken.
        notes: takes what is odd.

    Raises:
        InputError: a plan with more or fewer dies than it declares.
    """
    found = []
    for plan in wafer.plans:
        dies, known = places(plan.dies, name)
        if len(dies) != plan.declared:
            notes.append(
                options.differs(
                    f"{name}: line {plan.line}: SampleTestPlan declares {plan.declared} dies and lists {len(dies)}."
                )
            )
        unique = distinct(dies[known])
        if len(unique) != len(dies):
            notes.append(
                f"line {plan.line}: SampleTestPlan lists {len(dies) - len(unique)} dies twice or without a place."
            )
        found.append(unique)
    together = found[0] if len(found) == 1 else distinct(np.concatenate([np.zeros(0, np.int64), *found]))
    return Dies(together) if len(together) else None


def on_wafer(wafer: Wafer, unit: float, name: str) -> Dies:
    """Return the dies whose area lies wholly on a round wafer.

    The zero of SampleCenterLocation is the lower left corner of die 0, 0, as for XREL and YREL; a real file proves it:
    all 4,988 dies of its plan lie within 97.0 mm so, of a wafer of 100 mm. DieOrigin is 0 0 in every file seen, and
    other readers leave it aside as well.

    Args:
        wafer: it.
        unit: what a length in the file is, in micrometres.
        name: what to call it in an error.

    Raises:
        InputError: SampleSize, DiePitch or SampleCenterLocation missing or no sizes, or more dies than a map may have.
    """
    pitch = np.array(_numbers(wafer, "DIEPITCH", 2, name)) * unit
    centre = np.array(_numbers(wafer, "SAMPLECENTERLOCATION", 2, name)) * unit
    radius = diameter(wafer, unit, name) / 2
    if min(*pitch, radius) <= 0 or max(*np.abs(centre), radius) > 1e9 or min(pitch) < 1e-3:
        raise InputError(
            f"{name}: dies of {pitch[0]:g} x {pitch[1]:g} um around {centre[0]:g}, {centre[1]:g} on a wafer of "
            f"{2 * radius:g} um; expected sizes above 0."
        )
    first = np.ceil((centre - radius) / pitch)
    sides = np.floor((centre + radius) / pitch) - first
    check_sides((max(0, int(sides[1])), max(0, int(sides[0]))), name)
    edges = [(first[axis] + np.arange(int(sides[axis]) + 1)) * pitch[axis] - centre[axis] for axis in (0, 1)]
    far_x, far_y = (np.maximum(np.abs(edge[:-1]), np.abs(edge[1:])) for edge in edges)
    rows, cols = np.nonzero(far_y[:, None] ** 2 + far_x**2 <= radius**2)
    if not len(rows):
        raise InputError(f"{name}: no die of {pitch[0]:g} x {pitch[1]:g} um fits on a wafer of {2 * radius:g} um.")
    x, y = cols + int(first[0]), rows + int(first[1])
    return Dies(
        np.sort(x * (2 * FAR + 1) + y),
        "the file has no SampleTestPlan: its dies are those that lie wholly on the wafer by SampleSize, DiePitch and "
        "SampleCenterLocation, die 0, 0 having its lower left corner at 0, 0; no flag changes it",
    )


def diameter(wafer: Wafer, unit: float, name: str) -> float:
    """Return a round wafer's diameter in micrometres: version 1.x gives a shape and millimetres, 1.8 nanometres.

    Raises:
        InputError: no such size.
    """
    if unit == 1:
        shape, *_ = sizes = wafer.values.get("SAMPLESIZE") or [""]
        if shape != _ROUND or len(sizes) < 2:
            raise InputError(f"{name}: SampleSize {' '.join(sizes)[:40]!r}; expected '1' (round) and millimetres.")
        return _numbers(wafer, "SAMPLESIZE", 2, name)[1] * 1000
    return _numbers(wafer, "SAMPLESIZE", 1, name)[0] * unit


def _numbers(wafer: Wafer, key: str, count: int, name: str) -> list[float]:
    words = wafer.values.get(key, [])
    try:
        numbers = [float(word) for word in words[:count]]
    except ValueError:
        numbers = []
    if len(numbers) < count or not np.isfinite(numbers).all():
        raise InputError(
            f"{name}: no SampleTestPlan, and {key} is {' '.join(words)[:60]!r}; expected {count} numbers, to find the "
            "dies by."
        )
    return numbers
