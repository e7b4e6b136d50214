"""Names of classes as public sets and people spell them. Needs numpy alone."""

import re
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wafer_tf.dies import CLASSES, UNLABELLED
from wafer_tf.errors import InputError

_MARKS = re.compile(r"[\s_\-.]+")
_OTHER_NAMES = {
    "Center": "centre",
    "Donut": "doughnut",
    "Edge-Loc": "edgelocal edgelocalized edgelocalised edgelocation",
    "Loc": "local localized localised location",
    "Near-full": "nearfull",
    "Scratch": "scratches",
    "none": "normal good nopattern nodefect",
}
_NUMBERED = re.compile(r"(?:c|class|type|label)?\d{1,2}")
_NUMBERS_SAY_NOTHING = "sets number their classes in different orders"


def _plain(name: str) -> str:
    return _MARKS.sub("", name.casefold())


_CODES = {_plain(name): code for code, name in enumerate(CLASSES)} | {"": UNLABELLED}
_CODES |= {other: CLASSES.index(name) for name, others in _OTHER_NAMES.items() for other in others.split()}


def is_class_name(name: str) -> bool:
    """Whether a name is one of a class, in any spelling."""
    return bool(name) and _plain(name) in _CODES and _plain(name) != ""


def is_class_number(name: str) -> bool:
    """Whether a name is that of a class by its number, such as C1: which class it is, it does not say."""
    return _NUMBERED.fullmatch(_plain(name)) is not None and not name.isdigit()


def class_code(name: str, where: str) -> int:
    """Return the index into CLASSES of a class name in any spelling, UNLABELLED for "".

    Upper and lower case, blanks, hyphens and underscores do not matter; "Local", "Normal" and the like are known.

    Raises:
        InputError: no class has that name.

    Examples:
        >>> CLASSES[class_code("Edge_Ring", "folder")]
        'Edge-Ring'
    """
    code = None if name.strip() != name and not name.strip() else _CODES.get(_plain(name))
    if code is None or (code == UNLABELLED and name):
        numbered = f"; {_NUMBERS_SAY_NOTHING}, so rename it" if is_class_number(name) or name.isdigit() else ""
        raise InputError(f"{where}: unknown class {name!r}; expected one of {', '.join(CLASSES)}{numbered}.")
    return code


def class_codes(names: NDArray[np.str_], where: str) -> NDArray[np.int8]:
    """Return (n,) int8 class codes of (n,) names; the error names the first row that has an unknown one."""
    known, places, inverse = np.unique(names, return_index=True, return_inverse=True)
    by_row = sorted(zip(places.tolist(), known.tolist(), range(len(known)), strict=True))
    codes = np.zeros(len(known), np.int8)
    for row, name, k in by_row:
        codes[k] = class_code(name, f"{where} row {row}")
    return codes[inverse]


def spelling_notes(names: Iterable[Any], what: str) -> tuple[str, ...]:
    """Return a sentence for each class name that is spelled another way than in CLASSES.

    Args:
        names: class names that `class_code` takes, each as often as one likes.
        what: what they are the names of: "class folder", "label".

    Examples:
        >>> spelling_notes(["Edge_Ring", "none", "Edge_Ring"], "class folder")
        ('class folder Edge_Ring taken as Edge-Ring',)
    """
    odd = sorted({str(name) for name in names} - {*CLASSES, ""})
    return tuple(f"{what} {name} taken as {CLASSES[class_code(name, what)]}" for name in odd)
