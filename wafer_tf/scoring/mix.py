"""Class mixes: the share of each class where a model works, how a user names one, and how figures move to it."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wafer_tf.dies import CLASSES, NONE
from wafer_tf.errors import InputError, UsageError
from wafer_tf.scoring.scores import NATURAL_COUNTS

_SLACK = 0.005  # shares written with two or three decimals


@dataclass(frozen=True)
class Mix:
    """The share of each class among the wafers a model will see.

    Attributes:
        name: what to call it.
        shares: nine, 0 or more, in the order of CLASSES; they add up to 1; none and some defect have one.
    """

    name: str
    shares: tuple[float, ...]

    def __post_init__(self) -> None:
        values = np.array(self.shares)
        if values.shape != (len(CLASSES),) or not np.isfinite(values).all() or values.min() < 0:
            raise UsageError(f"{self.name}: {self.shares}; expected {len(CLASSES)} shares of 0 or more.")
        if abs(values.sum() - 1) > 1e-9:
            raise UsageError(f"{self.name}: the shares add up to {values.sum():g}; expected 1.")
        if not 0 < values[NONE] < 1:
            raise UsageError(f"{self.name}: none has the share {values[NONE]:g}; expected above 0 and below 1.")

    @property
    def array(self) -> NDArray[np.float64]:
        """(9,) the shares."""
        return np.array(self.shares)

    def among(self, label: NDArray[np.integer[Any]]) -> NDArray[np.float64]:
        """Return (9,) the shares among the classes that occur in `label`, adding up to 1; 0 for the others."""
        kept = np.where(np.bincount(label, minlength=len(CLASSES)) > 0, self.array, 0)
        return np.asarray(kept / kept.sum())


NATURAL = Mix("WM-811K's natural mix", tuple((np.array(NATURAL_COUNTS) / sum(NATURAL_COUNTS)).tolist()))
"""Of the 172,950 labelled maps of WM-811K, 85 % none."""


def read_mix(text: str) -> Mix:
    """Read a mix from what a user typed.

    Args:
        text: the path of a JSON file {"Center": 0.02, ...}, or Center=0.02,Donut=0.01,... Either names all nine classes
            and gives shares that add up to 1, or whole numbers of wafers.

    Raises:
        UsageError: a list that is no mix.
        InputError: a file that is missing or holds none.
    """
    path = Path(text)
    if "=" in text and not path.is_file():
        items = [item.split("=", 1) for item in text.split(",")]
        if bad := next((item[0] for item in items if len(item) != 2), None):
            raise UsageError(f"mix: {bad!r}; expected CLASS=SHARE.")
        return _mix("the mix given", [(name.strip(), _number(share)) for name, share in items])
    try:
        data = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=_Pairs)
    except FileNotFoundError:
        raise InputError(f"mix {text}: no such file; expected a JSON file or CLASS=SHARE,CLASS=SHARE,...") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"mix {text}: not valid JSON ({error}).") from None
    if not isinstance(data, _Pairs):
        raise InputError(f'mix {text}: expected an object of classes and shares, {{"Center": 0.02, ...}}.')
    try:
        return _mix(f"the mix of {path.name}", data)
    except UsageError as error:
        raise InputError(str(error)) from None


def reweight(confusion: NDArray[np.float64], shares: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (..., 9, 9) confusion matrices whose rows sum to (9,) shares; a row without wafers stays 0."""
    count = confusion.sum(axis=-1, keepdims=True)
    return np.asarray(confusion / np.maximum(count, np.finfo(np.float64).tiny) * shares[:, None])


class _Pairs(list[tuple[str, Any]]):
    """A JSON object as its pairs, so that a class named twice is seen."""


def _number(text: str) -> Any:
    try:
        return int(text)
    except ValueError:
        pass
    try:
        return float(text)
    except ValueError:
        return text


def _mix(name: str, pairs: Sequence[tuple[str, Any]]) -> Mix:
    names = [key for key, _ in pairs]
    for key, value in pairs:
        if key not in CLASSES:
            raise UsageError(f"{name}: unknown class {key!r}; known: {', '.join(CLASSES)}.")
        if names.count(key) > 1:
            raise UsageError(f"{name}: {key} is there {names.count(key)} times; expected once.")
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < float("inf"):
            raise UsageError(f"{name}: {key} is {value!r}; expected a number of 0 or more.")
    if missing := [c for c in CLASSES if c not in names]:
        raise UsageError(f"{name}: {', '.join(missing)} missing; expected all nine classes, 0 where there is none.")
    values = np.array([float(dict(pairs)[c]) for c in CLASSES])
    total = values.sum()
    if not total or (abs(total - 1) > _SLACK and (values % 1).any()):
        raise UsageError(f"{name}: adds up to {total:g}; expected shares that add up to 1, or whole numbers of wafers.")
    return Mix(name, tuple((values / total).tolist()))
