"""Curves: how the training went, and every class against the rest (ROC and precision-recall)."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from wafer_tf.figures.style import CLASS_COLOURS

TRAIN_COLOUR, VALIDATION_COLOUR, BEST_COLOUR = "#0072B2", "#D55E00", "#009E73"
_PANELS = {"loss": "loss", "accuracy": "accuracy", "macro_f1": "macro-F1"}
_LINES = ("-", "--", "-.")


def training_curves(history: Sequence[Mapping[str, Any]]) -> Figure:
    """Draw loss, accuracy, macro-F1 and learning rate by epoch, the best epoch marked.

    Args:
        history: at least one row per epoch, with `epoch` and any of loss, accuracy, macro_f1 (of training), the same
            with val_ before it (of validation) and learning_rate; a measure that no row holds is not drawn.
    """
    columns = {name: _column(history, name) for name in sorted({key for row in history for key in row})}
    epoch = columns.get("epoch", np.arange(1, len(history) + 1, dtype=np.float64))
    panels = [name for name in _PANELS if name in columns or f"val_{name}" in columns]
    rate = "learning_rate" in columns
    shown = max(1, len(panels) + rate)
    across, down = min(shown, 2), -(-shown // 2)
    height = 3.5 * down + 0.4
    figure = Figure(figsize=(5.2 * across, height))
    figure.subplots_adjust(wspace=0.18, hspace=0.38, bottom=0.95 / height)
    grid = [figure.add_subplot(down, across, i + 1) for i in range(shown)]
    best = _best(columns)
    marker = "o" if len(history) <= 30 else ""
    alone = {"markersize": 7} if len(history) == 1 else {"markersize": 3.5}
    for axes, name in zip(grid, panels, strict=False):
        for key, colour, label in ((name, TRAIN_COLOUR, "train"), (f"val_{name}", VALIDATION_COLOUR, "validation")):
            if key in columns:
                axes.plot(epoch, columns[key], color=colour, marker=marker, label=label, linewidth=1.8, **alone)
        axes.set_title(_PANELS[name], loc="left")
    if rate:
        grid[-1].plot(epoch, columns["learning_rate"], color="#444444", marker=marker, linewidth=1.8, **alone)
        grid[-1].set_title("learning rate", loc="left")
        grid[-1].ticklabel_format(axis="y", style="sci", scilimits=(-2, 3))
    for axes in grid:
        if best is not None:
            axes.axvline(
                epoch[best], color=BEST_COLOUR, linewidth=1.4, linestyle=":", label=f"best: epoch {epoch[best]:.0f}"
            )
        axes.set_xlabel("epoch")
        axes.set_xlim(epoch.min() - 0.5, epoch.max() + 0.5)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8, min_n_ticks=1))
        axes.grid(color="#E5E5E5", linewidth=0.8)
    if handles := grid[0].get_legend_handles_labels()[0]:
        figure.legend(handles=handles, loc="lower center", ncols=3)
    return figure


def class_curves(label: NDArray[np.integer[Any]], prob: NDArray[np.floating[Any]]) -> Figure:
    """Draw ROC and precision-recall curves of every class against the rest, areas in the legends.

    Args:
        label: (n,) index into CLASSES.
        prob: (n, 9) rows sum to 1.
    """
    from sklearn.metrics import auc, average_precision_score, precision_recall_curve, roc_curve

    figure = Figure(figsize=(14, 7))
    figure.subplots_adjust(wspace=0.12)
    left, right = figure.subplots(1, 2)
    corner = left.inset_axes((0.27, 0.46, 0.68, 0.46), xlim=(0, 0.2), ylim=(0.8, 1.005))
    for c, (name, colour) in enumerate(CLASS_COLOURS.items()):
        true = label == c
        line: dict[str, Any] = {"color": colour, "linestyle": _LINES[c % 3], "linewidth": 1.8}
        if true.all() or not true.any():
            left.plot([], [], label=f"{name}  –", **line)
            right.plot([], [], label=f"{name}  –", **line)
            continue
        false_rate, true_rate, _ = roc_curve(true, prob[:, c])
        left.plot(false_rate, true_rate, label=f"{name}  {auc(false_rate, true_rate):.3f}", **line)
        corner.plot(false_rate, true_rate, **line)
        precision, recall, _ = precision_recall_curve(true, prob[:, c])
        area = average_precision_score(true, prob[:, c])
        right.step(recall, precision, where="post", label=f"{name}  {area:.3f}", **line)
    left.plot([0, 1], [0, 1], color="#AAAAAA", linewidth=1, linestyle=":")
    corner.set_title("upper left corner", fontsize=9, loc="left")
    corner.tick_params(labelsize=8)
    corner.locator_params(nbins=5)
    corner.grid(color="#E5E5E5", linewidth=0.8)
    left.set_title("ROC, each class against the rest", loc="left")
    left.set(xlabel="false positive rate", ylabel="true positive rate (recall)")
    right.set_title("Precision-recall, each class against the rest", loc="left")
    right.set(xlabel="recall", ylabel="precision")
    for axes, place, title in ((left, "lower right", "area under curve"), (right, "lower left", "average precision")):
        axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal")
        axes.grid(color="#E5E5E5", linewidth=0.8)
        axes.legend(
            loc=place,
            title=title,
            fontsize=9,
            handlelength=3,
            labelspacing=0.35,
            frameon=True,
            framealpha=0.9,
            edgecolor="none",
        )
    return figure


def _column(history: Sequence[Mapping[str, Any]], name: str) -> NDArray[np.float64]:
    """Return one value per row; NaN where a row has none."""
    values = [row.get(name) for row in history]
    return np.array([np.nan if v is None or v == "" else float(v) for v in values])


def _best(columns: Mapping[str, NDArray[np.float64]]) -> int | None:
    """Return the row with the highest validation macro-F1, else the lowest validation loss; None without either."""
    for name, sign in (("val_macro_f1", 1), ("val_loss", -1)):
        if name in columns and not np.isnan(columns[name]).all():
            return int(np.nanargmax(sign * columns[name]))
    return None
