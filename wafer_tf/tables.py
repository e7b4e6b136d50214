"""Tables that are handed out: calls as a pandas DataFrame, and any DataFrame as CSV."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from wafer_tf.decision import REVIEW_BELOW, verdict
from wafer_tf.decision.unknown import UNKNOWN_ABOVE
from wafer_tf.dies import CLASSES
from wafer_tf.errors import UsageError
from wafer_tf.formats.csv_cells import as_cell
from wafer_tf.whole_files import write_whole

if TYPE_CHECKING:
    import pandas as pd

    from wafer_tf.waferset import WaferSet


def calls_table(
    wafers: "WaferSet",
    prob: NDArray[np.floating[Any]],
    unknown_score: NDArray[np.floating[Any]] | None = None,
    patterns: NDArray[np.object_] | None = None,
    *,
    review_below: float = REVIEW_BELOW,
    unknown_above: float = UNKNOWN_ABOVE,
) -> "pd.DataFrame":
    """Return calls as a table.

    Args:
        wafers: the n wafers.
        prob: (n, 9) their probabilities; the largest is the call.
        unknown_score: (n,) 0..1; None where the model gives none.
        patterns: (n,) texts of `inference.calls.several`; None where the model does not tell.
        review_below, unknown_above: see `decision.verdict`.

    Returns:
        A row per wafer, in order: `lot`, `wafer` (0 where unknown), `label` (the class called), `probability` (of it,
        0..1), `decision` ("none", "defect", "unknown" or "review"), then the probability of each of the nine classes
        under its name, and `unknown_score` and `patterns` where they are given.
    """
    import pandas as pd

    rows = [None] * len(prob) if unknown_score is None else unknown_score.tolist()
    limits = {"review_below": review_below, "unknown_above": unknown_above}
    return pd.DataFrame(
        {
            "lot": wafers.lot.astype(object),
            "wafer": wafers.wafer_index,
            "label": [CLASSES[c] for c in prob.argmax(axis=1)],
            "probability": prob.max(axis=1),
            "decision": [verdict(p, s, **limits) for p, s in zip(prob.tolist(), rows, strict=True)],
            **{name: prob[:, c] for c, name in enumerate(CLASSES)},
            **({} if unknown_score is None else {"unknown_score": unknown_score}),
            **({} if patterns is None else {"patterns": patterns}),
        }
    )


def judged_table(wafers: "WaferSet", prob: NDArray[np.floating[Any]]) -> "pd.DataFrame":
    """Return `calls_table` with what each wafer is by its file as `true_label`, None where that is not said."""
    table = calls_table(wafers, prob)
    table.insert(2, "true_label", [wafer.label for wafer in wafers])
    return table


def csv_text(table: "pd.DataFrame") -> str:
    """Return a table as CSV with a header line.

    Numbers have six decimals, whole ones none; true and false are yes and no; what is missing is empty. A text that a
    spreadsheet would take for a formula is led by an apostrophe.

    Example:
        >>> import pandas as pd
        >>> print(csv_text(pd.DataFrame({"lot": ["A", "=1+1"], "none": [0.25, None]})), end="")
        lot,none
        A,0.250000
        '=1+1,
    """
    return table.map(_cell).to_csv(index=False, lineterminator="\n")


def csv_file(path: str | os.PathLike[str] | None, *, overwrite: bool) -> Path | None:
    """Return the CSV file that a user named, before the work whose result goes into it.

    Raises:
        UsageError: it cannot be made, or is there and may not be replaced.
    """
    if path is None:
        return None
    path = Path(path)
    if path.is_dir() or not path.absolute().parent.is_dir():
        raise UsageError(f"--csv {path}: expected a file in a folder that is there.")
    if path.exists() and not overwrite:
        raise UsageError(f"--csv {path}: is there already; add --overwrite or choose another file.")
    return path


def write_csv(path: str | os.PathLike[str], table: "pd.DataFrame") -> Path:
    """Write a table as `csv_text` gives it, whole or not at all, and return the path."""
    write_whole(path, csv_text(table))
    return Path(path)


def _cell(value: Any) -> str:
    import pandas as pd

    return as_cell(None if pd.isna(value) else value)
