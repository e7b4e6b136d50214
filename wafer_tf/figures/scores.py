"""The figures of a report: which are drawn, under which names, and precision and recall per class."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from wafer_tf.figures.confusion import confusion_matrix
from wafer_tf.figures.curves import class_curves, training_curves
from wafer_tf.figures.errors import error_sheet
from wafer_tf.figures.reliability import reliability_diagram
from wafer_tf.figures.style import save, style
from wafer_tf.scoring.bootstrap import Estimate
from wafer_tf.scoring.scores import Scores
from wafer_tf.waferset import WaferSet

MEASURES = {"precision": ("#0072B2", "o"), "recall": ("#D55E00", "s"), "f1": ("#000000", "D")}


def write_figures(
    folder: str | os.PathLike[str],
    *,
    scores: Scores,
    wafers: WaferSet,
    label: NDArray[np.integer[Any]],
    prob: NDArray[np.floating[Any]],
    history: Sequence[Mapping[str, Any]] | None = None,
) -> list[Path]:
    """Draw every figure of a report into an existing folder.

    Args:
        folder: where the PNG files go; files of the same names are replaced.
        scores: of `label` and `prob`.
        wafers: the n maps scored, in the order of label and prob.
        label: (n,) index into CLASSES.
        prob: (n, 9) rows sum to 1.
        history: rows of the training, see `curves.training_curves`; None or empty draws no training curves.

    Returns:
        The files written.
    """
    folder = Path(folder)
    with style():
        figures = {
            "per_class": per_class(scores),
            "confusion": confusion_matrix(scores),
            "roc_and_precision_recall": class_curves(label, prob),
            "reliability": reliability_diagram(scores),
            "errors": error_sheet(wafers, label=label, prob=prob),
        }
        if history:
            figures["training"] = training_curves(history)
        return [save(figure, folder / f"{name}.png") for name, figure in figures.items()]


def per_class(scores: Scores) -> Figure:
    """Draw precision, recall and F1 of every class with their intervals."""
    figure = Figure(figsize=(8.5, 6))
    axes = figure.add_subplot()
    rows = np.arange(len(scores.classes))
    for (name, (colour, marker)), shift in zip(MEASURES.items(), (-0.24, 0, 0.24), strict=True):
        found: list[Estimate] = [getattr(c, name) for c in scores.classes]
        value = np.array([e.value for e in found])
        spread = np.nan_to_num(np.array([[e.value - e.low, e.high - e.value] for e in found]).T)
        axes.errorbar(
            value,
            rows + shift,
            xerr=np.maximum(spread, 0),
            fmt=marker,
            color=colour,
            markersize=6,
            elinewidth=1.6,
            capsize=2.5,
            label="F1" if name == "f1" else name,
            clip_on=False,
            zorder=3,
        )
    for row in rows[::2]:
        axes.axhspan(row - 0.5, row + 0.5, color="#F4F4F4", zorder=0)
    mean = scores.macro_f1.value
    axes.axvline(mean, color="#666666", linewidth=1, linestyle="--", zorder=1)
    axes.annotate(
        f"macro-F1 {mean:.3f}",
        (mean, 1),
        xycoords=("data", "axes fraction"),
        xytext=(0, 4),
        textcoords="offset points",
        ha="center",
        color="#444444",
        fontsize=9,
    )
    axes.set_yticks(rows, [c.name for c in scores.classes])
    for row, c in zip(rows, scores.classes, strict=True):
        count = f"{c.support} wafers\n{c.groups} groups" if c.support else "no wafers"
        axes.annotate(count, (1.03, row), xycoords=("axes fraction", "data"), va="center", fontsize=8, color="#444444")
    axes.set(xlim=(0, 1), ylim=(len(rows) - 0.5, -0.5), xlabel="share (bars: 95 % bootstrap interval over groups)")
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color="#DDDDDD", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.1), ncols=3)
    return figure
