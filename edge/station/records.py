"""The station's answer: one JSON line per wafer map. Needs numpy and the standard library alone."""

import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wafer_tf.decision import verdict
from wafer_tf.decision.patterns import Patterns
from wafer_tf.decision.points import Point
from wafer_tf.decision.sets import Sets
from wafer_tf.decision.unknown import UNKNOWN_ABOVE
from wafer_tf.dies import CLASSES
from wafer_tf.errors import InputError
from wafer_tf.formats.wafer_map import WaferMap

Record = dict[str, Any]
FIRST_KEYS = ("id", "input_sha256", "bundle_sha256", "status", "label", "probabilities", "decision", "ms", "reason")
"""Keys of every record ever written; what came later may be missing from an old line."""
_SAID = ("lot", "wafer", "product", "step", "time", "format", "notes", "file", "file_sha256", "map", "maps")
KEYS = (*FIRST_KEYS, *_SAID, "unknown_score", "set", "patterns")
"""A record's keys, in this order.

id             the file as named on the command line; of a file of many maps LOT/WAFER, or FILE:NUMBER from 0
input_sha256   of the file's bytes, as `sha256sum` gives it; of a map in a file of many
               `dies.grid_sha256`; null of what could not be read
bundle_sha256  of the bundle that judged it
status         "ok" or "rejected"
label          class name, null if rejected; the likeliest, or as the operating point asked for calls
probabilities  {class: 0..1 to 6 places}, null if rejected; the same at every operating point
decision       "none", "defect", "unknown" (too unlike the known patterns), "review" (the class called is not likely
               enough) or "rejected"
ms             milliseconds from the map's bytes to this record
reason         why it was rejected, else null
lot, wafer, product, step
               as the file names them, null where it does not
time           when the wafer was tested, ISO 8601, null where the file does not say
format         of the file, as `wafer-tf inspect` names it, null where it was not recognised
notes          what was assumed and what is odd, in sentences
file           its name, as the id gives it where it is one map
file_sha256    of the file's bytes, null where they could not be read
map, maps      which map of the file this is, from 1, and how many it holds, null where that is not known yet
unknown_score  0..1 to 4 places, the share of known wafers called the same that are less strange; null if rejected, and
               where the bundle has no unknown score
set            classes that it may be of, the likeliest first, so that each class's wafers are covered as the bundle
               states; null if rejected and where the bundle has no prediction sets
patterns       those of a wafer that has several, the likeliest first; [] of one that is called none or has not two;
               null if rejected and where the bundle does not tell several patterns on one wafer
"""
OK, REJECTED = "ok", "rejected"
DEFAULT_POINT = Point()
MAX_REASON = 500
MAX_NOTES = 10
MAX_WORD = 200
"""Characters of a lot, wafer, product or step."""
NOTHING_SAID: dict[str, Any] = {
    **dict.fromkeys(("lot", "wafer", "product", "step", "time", "format")),
    "notes": [],
    "file": None,
    "file_sha256": None,
    "map": 1,
    "maps": None,
}


def said(
    wafer: WaferMap | InputError | None,
    *,
    format: str | None,
    file: str,
    file_sha256: str | None,
    map: int = 1,
    maps: int | None = None,
) -> dict[str, Any]:
    """Return the part of a record that the file gives; the keys after FIRST_KEYS, see KEYS."""
    found: dict[str, Any] = {"lot": None, "wafer": None, "product": None, "step": None, "time": None}
    notes: list[str] = []
    if wafer is not None:  # of an UnreadWaferError at least lot and wafer are known
        found = {key: getattr(wafer, key, "")[:MAX_WORD] or None for key in found}
    if isinstance(wafer, WaferMap):
        notes = [*wafer.warnings, *wafer.assumed]
    return {
        **found,
        "format": format and format[:MAX_WORD],
        "notes": [_short(note) for note in notes[:MAX_NOTES]],
        "file": file,
        "file_sha256": file_sha256,
        "map": map,
        "maps": maps,
    }


def answered(
    name: str,
    probabilities: NDArray[np.float64],
    unknown_score: float | None = None,
    pattern_logits: NDArray[np.float64] | None = None,
    *,
    point: Point = DEFAULT_POINT,
    unknown_above: float = UNKNOWN_ABOVE,
    sets: Sets | None = None,
    patterns: Patterns | None = None,
    input_sha256: str | None,
    bundle_sha256: str,
    ms: float,
    said: dict[str, Any] = NOTHING_SAID,
) -> Record:
    """Return the record of a map that was judged.

    Args:
        name: the record's id.
        probabilities: (9,) in the order of CLASSES.
        unknown_score: 0..1; None where the bundle has none.
        pattern_logits: (8,) real, of the patterns' sigmoids; None where the bundle has none.
        point: by which it is called and decided.
        unknown_above: see `decision.verdict`.
        sets: the bundle's prediction sets; None where it has none.
        patterns: the bundle's thresholds of the patterns; None where it has none.
        input_sha256, bundle_sha256, ms: see KEYS.
        said: what the file says of the wafer, see `said`.
    """
    values = probabilities.tolist()
    moved = point.moved(probabilities).tolist()
    called = moved.index(max(moved))
    several = None if patterns is None or pattern_logits is None else patterns.names(pattern_logits, called)
    return {
        "id": name,
        "input_sha256": input_sha256,
        "bundle_sha256": bundle_sha256,
        "status": OK,
        "label": CLASSES[called],
        "probabilities": {label: round(value, 6) for label, value in zip(CLASSES, values, strict=True)},
        "decision": verdict(moved, unknown_score, review_below=point.review_below, unknown_above=unknown_above),
        "ms": round(ms, 3),
        "reason": None,
        **said,
        "unknown_score": None if unknown_score is None else round(unknown_score, 4),
        "set": None if sets is None else sets.names(probabilities),
        "patterns": several,
    }


def rejected(
    name: str,
    reason: str,
    *,
    input_sha256: str | None,
    bundle_sha256: str,
    ms: float = 0.0,
    said: dict[str, Any] = NOTHING_SAID,
) -> Record:
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
        "reason": _short(reason),
        **said,
        "unknown_score": None,
        "set": None,
        "patterns": None,
    }


def _short(text: str) -> str:
    return text if len(text) <= MAX_REASON else f"{text[:MAX_REASON]}..."


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
    if not isinstance(record, dict) or tuple(record)[: len(FIRST_KEYS)] != FIRST_KEYS:
        raise ValueError(f"expected an object that begins with {', '.join(FIRST_KEYS)}")
    return record
