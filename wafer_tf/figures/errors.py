"""The most confident errors, as wafer maps: where the model, or the label, is most wrong."""

from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from wafer_tf.dies import CLASSES
from wafer_tf.figures.style import draw_map
from wafer_tf.waferset import WaferSet

COLUMNS, MOST = 6, 30


def error_sheet(
    wafers: WaferSet, *, label: NDArray[np.integer[Any]], prob: NDArray[np.floating[Any]], most: int = MOST
) -> Figure:
    """Draw the wrong answers with the largest probability, most confident first.

    Args:
        wafers: the n maps.
        label: (n,) index into CLASSES.
        prob: (n, 9) rows sum to 1.
        most: answers drawn, at most.
    """
    answer = prob.argmax(axis=1)
    wrong = np.flatnonzero(answer != label)
    shown = wrong[np.argsort(-prob[wrong, answer[wrong]], kind="stable")][:most]
    if not len(shown):
        figure = Figure(figsize=(6, 1.5))
        axes = figure.add_axes((0, 0, 1, 1), xticks=[], yticks=[], facecolor="#F4F4F4", frame_on=True)
        axes.text(0.5, 0.5, f"No errors in {len(label):,} wafers", ha="center", va="center", fontsize=12)
        return figure
    rows = -(-len(shown) // COLUMNS)
    height = 2.5 * rows + 0.4
    figure = Figure(figsize=(2.15 * COLUMNS, height))
    figure.subplots_adjust(left=0, right=1, bottom=0, top=1 - 0.85 / height, wspace=0.05, hspace=0.22)
    figure.suptitle(
        f"Errors, most confident first: {len(shown)} of {len(wrong):,}, in {len(label):,} wafers. "
        "Each: true → predicted, probability, lot and wafer",
        x=0,
        y=1 - 0.1 / height,
        ha="left",
        va="top",
        fontsize=12,
    )
    grid = [figure.add_subplot(rows, COLUMNS, place + 1) for place in range(len(shown))]
    for axes, i in zip(grid, shown, strict=True):
        text = f"{CLASSES[label[i]]} → {CLASSES[answer[i]]}\n{prob[i, answer[i]]:.3f}"
        if wafers.lot[i]:
            text += f"   {wafers.lot[i]} #{wafers.wafer_index[i]}"
        draw_map(axes, wafers.map(i), title=text)
    return figure
