"""Which of a KLARF wafer's defects count, and which dies those hit. Needs numpy alone."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wafer_tf.errors import InputError
from wafer_tf.formats.klarf_dies import Dies, distinct, places
from wafer_tf.formats.klarf_text import Table
from wafer_tf.formats.options import Options
from wafer_tf.formats.wafer_map import BinCount

MAX_CLASSES = 10_000


@dataclass(frozen=True)
class Hits:
    """The defects of a wafer against its dies.

    Attributes:
        failing: (dies,) whether a die holds a defect that counts.
        counting: how many defects count.
        outside: how many of those lie on no die of the wafer.
        bins: dies by class, those without a defect first.
        assumed, warnings: sentences.
    """

    failing: NDArray[np.bool_]
    counting: int
    outside: int
    bins: tuple[BinCount, ...]
    assumed: tuple[str, ...]
    warnings: tuple[str, ...]


def hits(defects: Table, dies: Dies, unit: float, *, options: Options, name: str) -> Hits:
    """Return which dies hold a defect that counts.

    Args:
        defects: of a wafer.
        dies: of the same.
        unit: what a length in the file is, in micrometres.
        options: the classes and the size that count.
        name: what to call it in an error.

    Raises:
        InputError: a class or a size is asked for, and the file's defects have none.
    """
    warnings: list[str] = []
    counts, assumed = _counting(defects, unit, options, name, warnings)
    where, known = places(defects, name)
    at, inside = dies.find(where)
    inside &= known
    failing = np.zeros(len(dies.places), bool)
    failing[at[counts & inside]] = True
    if not inside.all():
        first = int(np.argmin(inside))
        warnings.append(
            f"{int((~inside).sum())} of {len(inside)} defects lie on no die of the wafer, the first on line "
            f"{defects.lines[first]}; they add none."
        )
    classes = defects.column("CLASSNUMBER")
    failed = _by_class(classes, counts & inside, at, len(dies.places), name)
    clean = BinCount("no defect", True, int((~failing).sum()))
    outside = int((~inside & counts).sum())
    return Hits(failing, int(counts.sum()), outside, (clean, *failed), assumed, tuple(warnings))


def _counting(
    defects: Table, unit: float, options: Options, name: str, warnings: list[str]
) -> tuple[NDArray[np.bool_], tuple[str, ...]]:
    counts, assumed = np.ones(len(defects.lines), bool), ()
    if options.classes is not None:
        classes = defects.column("CLASSNUMBER")
        if classes is None:
            raise InputError(f"{name}: the defects have no CLASSNUMBER; read the file without --class.")
        counts &= np.isin(classes, sorted(class_asked(text) for text in options.classes))
        if np.isnan(classes).any():
            warnings.append(f"{int(np.isnan(classes).sum())} defects have no class, and do not count with --class.")
    if options.min_defect_size > 0:
        size, column = _sizes(defects, unit, name)
        counts &= np.isnan(size) | (size >= options.min_defect_size)
        if np.isnan(size).any():
            warnings.append(f"{int(np.isnan(size).sum())} defects have no {column}; they count (--min-defect-size).")
        if column != "DSIZE":
            return counts, (f"a defect's size is {column}, for the file has no DSIZE (--min-defect-size)",)
    return counts, assumed


def class_asked(text: str) -> int:
    """Return the number of a class a user names.

    Raises:
        InputError: no whole number.
    """
    try:
        return int(text)
    except ValueError:
        raise InputError(f"class {text[:40]!r}; expected a KLARF class's number: --class 3") from None


def _sizes(defects: Table, unit: float, name: str) -> tuple[NDArray[np.float64], str]:
    """Return each defect's size in micrometres, and what it was taken from."""
    size, area = defects.column("DSIZE"), defects.column("DEFECTAREA")
    if size is not None:
        return size * unit, "DSIZE"
    if area is not None:
        return np.sqrt(np.maximum(area, 0)) * unit, "the root of DEFECTAREA"
    across, along = defects.column("XSIZE"), defects.column("YSIZE")
    if across is None or along is None:
        raise InputError(f"{name}: the defects have no DSIZE, DEFECTAREA or XSIZE; read it without --min-defect-size.")
    return np.maximum(across, along) * unit, "the larger of XSIZE and YSIZE"


def _by_class(
    classes: NDArray[np.float64] | None, taken: NDArray[np.bool_], at: NDArray[np.int64], dies: int, name: str
) -> list[BinCount]:
    """Count dies by the classes of their defects; a die with two classes stands in both."""
    if not taken.any():
        return []
    if classes is None:
        return [BinCount("defect", False, len(distinct(at[taken])))]
    known, code = np.unique(classes[taken], return_inverse=True)
    if len(known) > MAX_CLASSES:
        raise InputError(f"{name}: defects of {len(known)} classes; expected at most {MAX_CLASSES}.")
    pairs = distinct(code * dies + at[taken])
    counts = np.bincount(pairs // dies, minlength=len(known))
    return [
        BinCount("no class" if np.isnan(number) else f"class {number:.15g}", False, int(count))
        for number, count in zip(known, counts, strict=True)
    ]
