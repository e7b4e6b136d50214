"""The patterns of a wafer as bits: bit k is the class CLASSES[k], so that one byte holds any of the eight together."""

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from wafer_tf.dies import CLASSES, NONE, UNLABELLED
from wafer_tf.errors import InputError

PATTERNS = CLASSES[:NONE]
"""The eight classes that are patterns, in the order of their bits."""
JOINED_BY = "+"
"""Between the names of patterns where they are one text."""
_OF_LABEL = np.array([*(1 << k for k in range(NONE)), 0, 0], np.uint8)  # UNLABELLED is -1: the last


def bits_of_labels(label: NDArray[np.signedinteger[Any]]) -> NDArray[np.uint8]:
    """Return (n,) uint8 patterns of (n,) class codes: one bit for a pattern, 0 for "none" and UNLABELLED.

    Examples:
        >>> bits_of_labels(np.array([0, 7, 8, -1])).tolist()
        [1, 128, 0, 0]
    """
    bits: NDArray[np.uint8] = _OF_LABEL[label]
    return bits


def several_of(bits: NDArray[np.uint8]) -> bool:
    """Whether any of (n,) bytes has several patterns."""
    return bool((np.bitwise_count(bits) > 1).any())


def pattern_names(bits: int) -> tuple[str, ...]:
    """Return the names of the patterns in a byte, in the order of CLASSES.

    Examples:
        >>> pattern_names(0b10001000)
        ('Edge-Ring', 'Scratch')
    """
    return tuple(name for k, name in enumerate(PATTERNS) if bits >> k & 1)


def pattern_bits(names: Iterable[Any] | Any, where: str) -> int:
    """Return the byte of some patterns; those of one text are parted by JOINED_BY.

    Args:
        names: names out of PATTERNS, or one text such as "Edge-Ring+Scratch"; "" has no pattern.
        where: the place, for the error.

    Raises:
        InputError: a name of no pattern, or one that comes twice.

    Examples:
        >>> pattern_bits("Edge-Ring+Scratch", "row 0") == pattern_bits(["Scratch", "Edge-Ring"], "row 0") == 0b10001000
        True
    """
    if isinstance(names, str):
        given: list[Any] = names.split(JOINED_BY) if names else []
    else:
        given = list(names) if isinstance(names, Iterable) else [names]
    bits = 0
    for name in given:
        if not isinstance(name, str) or name not in PATTERNS or bits >> PATTERNS.index(name) & 1:
            raise InputError(
                f"{where}: pattern {name!r} in {names!r}; expected names out of {', '.join(PATTERNS)}, each once."
            )
        bits |= 1 << PATTERNS.index(name)
    return bits


def pattern_texts(bits: NDArray[np.uint8]) -> NDArray[np.str_]:
    """Return (n,) str, the names in each of (n,) bytes joined by JOINED_BY, "" where there is none."""
    known, places = np.unique(bits, return_inverse=True)
    return np.array([JOINED_BY.join(pattern_names(byte)) for byte in known.tolist()], dtype=np.str_)[places]


def check_patterns(patterns: ArrayLike, label: NDArray[np.int8], where: str = "wafer set, wafer") -> NDArray[np.uint8]:
    """Return the (n,) patterns of a set's wafers as uint8, each in agreement with the wafer's label.

    A label names the one pattern or "none"; a wafer of several patterns is UNLABELLED, and so is one of which nothing
    is known (0). `where` comes before the wafer's number in the error.

    Raises:
        InputError: naming the first wafer where they disagree.
    """
    values = np.asarray(patterns)
    if values.shape != label.shape or (values.size and values.dtype.kind not in "iu"):
        raise InputError(
            f"wafer set: patterns are {values.dtype} of shape {values.shape}; expected {len(label)} whole numbers, a "
            "bit per pattern."
        )
    known = label != UNLABELLED
    bits = bits_of_labels(label)
    odd = (values != 0) & (np.bitwise_count(np.maximum(values, 0)) < 2)
    wrong = (values < 0) | (values > 255) | np.where(known, values != bits, odd)
    if wrong.any():
        i = int(wrong.argmax())
        said = " and ".join(pattern_names(int(values[i]))) if 0 <= values[i] < 256 else ""
        raise InputError(
            f"{where} {i}: patterns {int(values[i])} ({said or 'none'}), label "
            f"{CLASSES[label[i]] if known[i] else 'not given'}; expected the label of the one pattern, none without "
            "any, and no label with several."
        )
    return values.astype(np.uint8, copy=False)
