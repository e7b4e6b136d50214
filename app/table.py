"""Many wafers as a table: a row each, filters, and CSV."""

from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass, fields

import numpy as np

from app.answers import Answer, Wafer
from app.uploads import Rejected
from wafer_tf.dies import CLASSES, UNLABELLED, Die
from wafer_tf.pattern_bits import JOINED_BY
from wafer_tf.tables import csv_text

DOUBTS = (
    *("all", "may be an escape", "review", "unknown", "several patterns", "int8 differs", "label differs"),
    "not judged",
)
"""What the table can be narrowed to."""


@dataclass(frozen=True)
class Row:
    """One wafer of the table; None where it was not judged or nothing is known.

    Attributes:
        wafer: its name.
        lot, wafer_id, product: as its file names them.
        call, prob: the float model's class and its probability.
        runner_up: the second likeliest class.
        defect_prob: probability of any defect.
        may_escape: whether a call of none is in doubt.
        call_int8, prob_int8: the same of the station's model.
        decision: what the station decides: "none", "defect", "review" or "unknown".
        unknown_score: of its model, 0..1.
        may_be: the classes of its prediction set, "Loc or Edge-Loc".
        patterns: of a wafer that has several, the likeliest first, "Edge-Ring+Scratch"; "" where it has not several;
            None where the model cannot say.
        label: what the file says it is.
        rows, cols, dies, failing: of the map.
        learned: whether the map or a turned copy was in the training or validation part: its call proves nothing.
        reason: why it was not judged; "" where it was.
    """

    wafer: str
    lot: str = ""
    wafer_id: str = ""
    product: str = ""
    call: str | None = None
    prob: float | None = None
    runner_up: str | None = None
    defect_prob: float | None = None
    may_escape: bool | None = None
    call_int8: str | None = None
    prob_int8: float | None = None
    decision: str | None = None
    unknown_score: float | None = None
    may_be: str | None = None
    patterns: str | None = None
    label: str | None = None
    rows: int | None = None
    cols: int | None = None
    dies: int | None = None
    failing: int | None = None
    learned: bool | None = None
    reason: str = ""


COLUMNS = tuple(field.name for field in fields(Row))
_TEXTS = ("call", "runner_up", "call_int8", "decision", "may_be", "patterns", "label")


def row_of(wafer: Wafer | Rejected, answer: Answer | None) -> Row:
    """Return the row of a wafer that was judged, or of one that was not."""
    if isinstance(wafer, Rejected) or answer is None:
        return Row(wafer.name, reason=wafer.reason if isinstance(wafer, Rejected) else "")
    int8 = answer.prob_int8
    said = None if wafer.origin is None else wafer.origin.found
    return Row(
        wafer=wafer.name,
        lot=said.lot if said else "",
        wafer_id=said.wafer if said else "",
        product=said.product if said else "",
        call=CLASSES[answer.call],
        prob=float(answer.prob.max()),
        runner_up=CLASSES[int(np.argsort(answer.prob)[-2])],
        defect_prob=answer.defect_prob,
        may_escape=answer.may_escape,
        call_int8=None if int8 is None else CLASSES[int(int8.argmax())],
        prob_int8=None if int8 is None else float(int8.max()),
        decision=answer.decision,
        unknown_score=answer.unknown_score,
        may_be=" or ".join(answer.held) or None,
        patterns=None if answer.patterns is None else JOINED_BY.join(answer.patterns),
        label=None if wafer.label == UNLABELLED else CLASSES[wafer.label],
        rows=wafer.grid.shape[0],
        cols=wafer.grid.shape[1],
        dies=int((wafer.grid != Die.ABSENT).sum()),
        failing=int((wafer.grid == Die.FAIL).sum()),
        learned=answer.learned,
    )


def narrowed(
    rows: Sequence[Row], *, calls: Sequence[str] = (), doubt: str = "all", max_prob: float = 1.0, text: str = ""
) -> list[int]:
    """Return the places of the rows that pass every filter.

    Args:
        rows: the table.
        calls: class names; all where there is none.
        doubt: one of DOUBTS.
        max_prob: the call's probability is at most this.
        text: is part of the wafer's name, in any case.
    """
    tests: dict[str, Callable[[Row], bool]] = {
        "all": lambda row: True,
        "may be an escape": lambda row: row.may_escape is True,
        "review": lambda row: row.decision == "review",
        "unknown": lambda row: row.decision == "unknown",
        "several patterns": lambda row: bool(row.patterns),
        "int8 differs": lambda row: row.call_int8 is not None and row.call_int8 != row.call,
        "label differs": lambda row: row.label is not None and row.label != row.call,
        "not judged": lambda row: row.call is None,
    }
    return [
        i
        for i, row in enumerate(rows)
        if tests[doubt](row)
        and (not calls or row.call in calls)
        and (max_prob >= 1 or (row.prob is not None and row.prob <= max_prob))
        and text.casefold() in row.wafer.casefold()
    ]


def columns(rows: Sequence[Row]) -> dict[str, list[object]]:
    """Return the table column by column; one in which nothing stands is left out.

    Where a text is missing "" stands: the table would write None, which reads like a call.
    """
    found = {name: [getattr(row, name) for row in rows] for name in COLUMNS}
    for name in _TEXTS:
        found[name] = ["" if value is None else value for value in found[name]]
    return {name: values for name, values in found.items() if any(value not in (None, "") for value in values)}


def to_csv(rows: Sequence[Row]) -> str:
    """Return the rows as CSV with a header line; see `wafer_tf.tables.csv_text`."""
    import pandas as pd

    return csv_text(pd.DataFrame(map(astuple, rows), columns=COLUMNS, dtype=object))
