"""The station's answer: one JSON line per wafer map. Needs numpy and the standard library alone."""

import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wafer_tf.decision import verdict
from wafer_tf.dies import CLASSES

Record = dict[str, Any]
KEYS = ("id", "input_sha256", "bundle_sha256", "status", "label", "probabilities", "decision", "ms", "reason")
"""A record's keys, in this order.

id             the file as named on the command line; of a file of many maps LOT/WAFER, or FILE:NUMBER from 0
input_sha256   of the file's bytes, as `sha256sum` gives it; of a map in a file of many
               `dies.grid_sha256`; null of what could not be read
bundle_sha256  of the bundle that judged it
status         "ok" or "rejected"
label          class name, null if rejected
probabilities  {class: 0..1 to 6 places}, null if rejected
decision       "none", "defect", "review" (the likeliest class is not likely enough) or "rejected"
ms             milliseconds from the map's bytes to this record
reason         why it was rejected, else null
"""
OK, REJECTED = "ok", "rejected"
MAX_REASON = 500


def answered(
    name: str,
    probabilities: NDArray[np.float64],
    *,
    review_below: float,
    input_sha256: str | None,
    bundle_sha256: str,
    ms: float,
) -> Record:
    """Return the record of a map that was judged.

    Args:
        name: the record's id.
        probabilities: (9,) in the order of CLASSES.
        review_below: the decision is "review" where the likeliest class is less likely than this.
        input_sha256, bundle_sha256, ms: see KEYS.
    """
    values = probabilities.tolist()
    return {
        "id": name,
        "input_sha256": input_sha256,
        "bundle_sha256": bundle_sha256,
        "status": OK,
        "label": CLASSES[values.index(max(values))],
        "probabilities": {label: round(value, 6) for label, value in zip(CLASSES, values, strict=True)},
        "decision": verdict(values, review_below=review_below),
        "ms": round(ms, 3),
        "reason": None,
    }


def rejected(name: str, reason: str, *, input_sha256: str | None, bundle_sha256: str, ms: float = 0.0) -> Record:
    """Return the record of a map, or of a whole file, that cannot be judged."""
    return {
        "id": name,
        "input_sha256": input_sha256,
        "bundle_sha256": bundle_sha256,
        "status": REJECTED,
        "label": None,
        "probabilities": None,
        "decision": REJECTED,
        "ms": round(ms, 3),
        "reason": reason if len(reason) <= MAX_REASON else f"{reason[:MAX_REASON]}...",
    }


def to_line(record: Record) -> str:
    """Return the record as one line of ASCII JSON with its newline.

    Raises:
        ValueError: a number is NaN or infinite.
    """
    return json.dumps(record, allow_nan=False) + "\n"


def from_line(line: str) -> Record:
    """Return the record of a line that `to_line` gave.

    Raises:
        ValueError: it is not such a line, or only the beginning of one.
    """
    if not line.endswith("\n"):
        raise ValueError("the line does not end")
    record = json.loads(line)
    if not isinstance(record, dict) or tuple(record) != KEYS:
        raise ValueError(f"expected an object of {', '.join(KEYS)}")
    return record
