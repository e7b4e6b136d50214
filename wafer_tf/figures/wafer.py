"""One wafer: its map, beside it the heat of its call and the probabilities."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from wafer_tf.dies import CLASSES, Die
from wafer_tf.figures.explain import draw_heat, draw_patterns, pattern_patches
from wafer_tf.figures.style import CLASS_COLOURS, draw_map, style
from wafer_tf.pattern_bits import JOINED_BY

_SIDE = 3.4
"""Inches of a panel."""


def wafer_figure(
    grid: NDArray[np.uint8],
    *,
    name: str = "",
    prob: NDArray[np.floating[Any]] | None = None,
    decision: str = "",
    heat: NDArray[np.floating[Any]] | None = None,
    patterns: Mapping[str, NDArray[np.floating[Any]]] | None = None,
    several: str = "",
) -> Figure:
    """Draw a wafer.

    Args:
        grid: (rows, cols) uint8, die states 0..2.
        name: of the wafer, for the title.
        prob: (9,) 0..1, in the order of CLASSES; None draws the map alone.
        decision: what a station would decide.
        heat: (rows, cols) float 0..1, how much each die speaks for the call; None leaves it out.
        patterns: of a wafer that has several, by name the heat of each, in place of `heat`.
        several: their names, for the title.
    """
    failing, dies = int((grid == Die.FAIL).sum()), int((grid != Die.ABSENT).sum())
    panels = 1 + (heat is not None or patterns is not None) + (prob is not None)
    with style():
        figure = Figure(figsize=(panels * _SIDE, _SIDE + 0.5), layout="constrained")
        axes = iter(figure.subplots(1, panels, squeeze=False)[0])
        draw_map(next(axes), grid, title=f"{failing:,} of {dies:,} dies fail")
        if heat is not None:
            shown = next(axes)
            draw_heat(shown, grid, heat)
            shown.set_title("what speaks for the call: orange to brown", fontsize=8)
        elif patterns is not None:
            shown = next(axes)
            draw_patterns(shown, grid, patterns)
            shown.set_title("what speaks for each pattern", fontsize=8)
            shown.legend(
                handles=pattern_patches(list(patterns)),
                loc="upper center",
                bbox_to_anchor=(0.5, 0),
                ncols=2,
                fontsize=8,
            )
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
            called = several.replace(JOINED_BY, " + ") or f"{CLASSES[best]} {prob[best]:.2f}"
            figure.suptitle(f"{name}{called}{decided}", fontsize=11)
        elif name:
            figure.suptitle(name, fontsize=11)
    return figure
