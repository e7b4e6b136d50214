"""The confusion matrix: what each class is taken for."""

import numpy as np
from matplotlib.figure import Figure

from wafer_tf.dies import CLASSES
from wafer_tf.scoring.scores import Scores


def confusion_matrix(scores: Scores) -> Figure:
    """Draw the confusion matrix: rows (true) sum to 1, the number of wafers below each share."""
    counts = np.array(scores.confusion)
    support = counts.sum(axis=1, keepdims=True)
    share = counts / np.maximum(support, 1)
    figure = Figure(figsize=(8.6, 8.2))
    axes = figure.add_subplot()
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    for row, col in np.argwhere(counts > 0).tolist():
        dark = share[row, col] > 0.55
        bold = "bold" if row == col else "normal"
        colour = "white" if dark else "#222222"
        text = f"{share[row, col]:.2f}".replace("0.00", "<0.01")
        axes.text(col, row - 0.1, text, ha="center", va="center", fontsize=10, color=colour, fontweight=bold)
        axes.text(col, row + 0.24, f"{counts[row, col]:,}", ha="center", va="center", fontsize=8, color=colour)
    for row in np.flatnonzero(support[:, 0] == 0).tolist():
        axes.text((len(CLASSES) - 1) / 2, row, "no wafers of this class", ha="center", va="center", color="#777777")
    ticks = np.arange(len(CLASSES))
    axes.set_xticks(ticks, CLASSES, rotation=35, ha="right", rotation_mode="anchor")
    axes.set_yticks(ticks, [f"{name} ({n:,})" for name, n in zip(CLASSES, support[:, 0], strict=True)])
    axes.set_xticks(ticks[1:] - 0.5, minor=True)
    axes.set_yticks(ticks[1:] - 0.5, minor=True)
    axes.grid(which="minor", color="#DDDDDD", linewidth=0.8)
    axes.tick_params(which="both", length=0)
    axes.set(xlabel="predicted", ylabel="true (wafers)")
    axes.set_title(
        f"What each true class is called: share of its row, wafers below ({scores.wafers:,} in all)", loc="left"
    )
    return figure
