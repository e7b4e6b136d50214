"""One wafer: its map, beside it the heat of its call and the probabilities."""

from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from wafer_tf.dies import CLASSES, Die
from wafer_tf.figures.explain import draw_heat
from wafer_tf.figures.style import CLASS_COLOURS, draw_map, style

_SIDE = 3.4
"""Inches of a panel."""


def wafer_figure(
    grid: NDArray[np.uint8],
    *,
    name: str = "",
    prob: NDArray[np.floating[Any]] | None = None,
    decision: str = "",
    heat: NDArray[np.floating[Any]] | None = None,
) -> Figure:
    """Draw a wafer.

    Args:
        grid: (rows, cols) uint8, die states 0..2.
        name: of the wafer, for the title.
        prob: (9,) 0..1, in the order of CLASSES; None draws the map alone.
        decision: what a station would decide.
        heat: (rows, cols) float 0..1, how much each die speaks for the call; None leaves it out.
    """
    failing, dies = int((grid == Die.FAIL).sum()), int((grid != Die.ABSENT).sum())
    panels = 1 + (heat is not None) + (prob is not None)
    with style():
        figure = Figure(figsize=(panels * _SIDE, _SIDE + 0.5), layout="constrained")
        axes = iter(figure.subplots(1, panels, squeeze=False)[0])
        draw_map(next(axes), grid, title=f"{failing:,} of {dies:,} dies fail")
        if heat is not None:
            shown = next(axes)
            draw_heat(shown, grid, heat)
            shown.set_title("what speaks for the call: orange to brown", fontsize=8)
        if prob is not None:
            best = int(np.argmax(prob))
            bars = next(axes)
            order = np.arange(len(CLASSES))[::-1]
            bars.barh(order, prob, color=[CLASS_COLOURS[c] for c in CLASSES], height=0.7)
            bars.set(yticks=order, xlim=(0, 1.12), xlabel="probability")
            bars.set_yticklabels(CLASSES, fontsize=8)
            for y, value in zip(order, prob, strict=True):
                bars.text(value + 0.01, y, f"{value:.2f}", va="center", fontsize=8)
            decided = f", decision {decision}" if decision else ""
            name = f"{name}: " if name else ""
            figure.suptitle(f"{name}{CLASSES[best]} {prob[best]:.2f}{decided}", fontsize=11)
        elif name:
            figure.suptitle(name, fontsize=11)
    return figure
