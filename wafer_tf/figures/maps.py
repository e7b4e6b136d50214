"""Wafer maps side by side."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from wafer_tf.dies import Die
from wafer_tf.figures.style import draw_map, style

MAX_COLUMNS = 5


def maps_figure(grids: Sequence[NDArray[np.uint8]], titles: Sequence[str]) -> Figure:
    """Draw maps, each (rows, cols) uint8, under their titles with how many dies fail."""
    columns = min(len(grids), MAX_COLUMNS)
    rows = -(-len(grids) // columns)
    side = 4.2 if len(grids) == 1 else 2.4
    with style():
        figure = Figure(figsize=(columns * side, rows * (side + 0.4)), layout="constrained")
        places = figure.subplots(rows, columns, squeeze=False).ravel()
        for axes, grid, title in zip(places, grids, titles, strict=False):
            failing, dies = int((grid == Die.FAIL).sum()), int((grid != Die.ABSENT).sum())
            draw_map(axes, grid, title=f"{title}\n{failing:,} of {dies:,} dies fail")
        for axes in places[len(grids) :]:
            axes.set_axis_off()
    return figure
