"""What the model looked at: heat drawn on the dies themselves, light dies passing, dark ones failing.

On a wafer of several patterns each die takes the colour of the pattern that it speaks for most.
"""

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray

from wafer_tf.dies import Die
from wafer_tf.figures.style import draw_map

# Blue to orange is told apart with any colour vision; passing dies stay lighter than failing ones at every heat.
PASS_HEAT = LinearSegmentedColormap.from_list("passing", ["#E9EEF3", "#F8DDA0", "#FDB833"])
FAIL_HEAT = LinearSegmentedColormap.from_list("failing", ["#6C88A6", "#B0713F", "#7A1F02"])
PATTERN_COLOURS = (("#8CB8FF", "#0A3A8C"), ("#FFB000", "#8F3D00"), ("#B2AA9B", "#2D120F"), ("#5BFD90", "#0A7A2A"))
"""Of the first, second, ... pattern of a wafer, in the order of CLASSES: a passing and a failing die with all its heat.

Blue and orange are far apart for any colour vision, the third is told from both, the fourth by the passing dies."""
COLD = ("#E9EEF3", "#5F6B76")
"""A passing and a failing die without heat, where several patterns are drawn."""
COLUMNS = 4
_TILE, _MAP, _LINE = 3.4, 1.6, 0.125
"""Inches: width of a tile, side of one of its two maps, height of a line of its text."""
_TEXT_WIDTH, _TEXT_LINES = 63, 6
_TITLE_WIDTH = 42
"""Letters of a title at its full size; a longer one, of several patterns, is smaller."""


@dataclass(frozen=True, eq=False)
class Tile:
    """One explained call.

    Attributes:
        grid: (rows, cols) uint8, die states 0..2.
        heat: (rows, cols) float 0..1.
        title: label, call and probability; one short line.
        text: what is said of it; wrapped, at most six lines, and three more for every further pattern.
        wrong: whether the call differs from the label.
        patterns: of a wafer that has several, by name the heat (rows, cols) 0..1, drawn instead of `heat`.
    """

    grid: NDArray[np.uint8]
    heat: NDArray[np.floating[Any]]
    title: str
    text: str
    wrong: bool = False
    patterns: Mapping[str, NDArray[np.floating[Any]]] = field(default_factory=dict)


def heat_image(grid: NDArray[np.uint8], heat: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Return (rows, cols, 3) colours 0..1, one per die; white where there is none.

    Args:
        grid: (rows, cols) uint8, die states 0..2.
        heat: (rows, cols) float 0..1.
    """
    image = np.ones((*grid.shape, 3))
    for state, colours in ((Die.PASS, PASS_HEAT), (Die.FAIL, FAIL_HEAT)):
        image[grid == state] = colours(np.asarray(heat, np.float64)[grid == state])[:, :3]
    return image


def pattern_image(grid: NDArray[np.uint8], patterns: Mapping[str, NDArray[np.floating[Any]]]) -> NDArray[np.float64]:
    """Return (rows, cols, 3) colours 0..1, one per die: that of the pattern it speaks for most; white where none is.

    Args:
        grid: (rows, cols) uint8, die states 0..2.
        patterns: by name the heat (rows, cols) 0..1, in the order of their colours.
    """
    heats = np.stack([np.asarray(heat, np.float64) for heat in patterns.values()])
    most, heat = heats.argmax(axis=0), heats.max(axis=0)[..., None]
    image = np.ones((*grid.shape, 3))
    for state, cold, hot in zip((Die.PASS, Die.FAIL), COLD, zip(*PATTERN_COLOURS, strict=True), strict=True):
        colours = np.array([to_rgb(colour) for colour in hot])[most % len(hot)]
        image[grid == state] = ((1 - heat) * to_rgb(cold) + heat * colours)[grid == state]
    return image


def draw_heat(axes: Axes, grid: NDArray[np.uint8], heat: NDArray[np.floating[Any]]) -> None:
    """Draw one map with its heat as a round wafer with square edges between dies."""
    axes.imshow(heat_image(grid, heat), interpolation="nearest", aspect=grid.shape[1] / grid.shape[0])
    axes.set_axis_off()


def draw_patterns(axes: Axes, grid: NDArray[np.uint8], patterns: Mapping[str, NDArray[np.floating[Any]]]) -> None:
    """Draw one map with the heat of its patterns, each in its colour; arguments as of `pattern_image`."""
    axes.imshow(pattern_image(grid, patterns), interpolation="nearest", aspect=grid.shape[1] / grid.shape[0])
    axes.set_axis_off()


def pattern_patches(names: Sequence[str]) -> list[Patch]:
    """Return what a legend shows for the patterns of a wafer, in the order of their colours."""
    return [Patch(facecolor=PATTERN_COLOURS[k % len(PATTERN_COLOURS)][1], label=name) for k, name in enumerate(names)]


def explanation_sheet(rows: Sequence[tuple[str, Sequence[Tile]]], *, title: str) -> Figure:
    """Draw explained calls: of each the map, the map with heat, its title and what is said of it.

    Args:
        rows: heading, which may be empty, and at most COLUMNS tiles.
        title: of the whole sheet.
    """
    heading_height = 0.3
    heights = [
        _MAP + _text_height(tiles) + (heading_height if heading else 0) if tiles else 0.6 for heading, tiles in rows
    ]
    top = 0.85
    width, height = COLUMNS * _TILE + 0.2, sum(heights) + top
    figure = Figure(figsize=(width, height))
    figure.text(0.1 / width, 1 - 0.08 / height, title, ha="left", va="top", fontsize=12)
    _key(figure, width, height, several=any(tile.patterns for _, tiles in rows for tile in tiles))
    above = top
    for (heading, tiles), row_height in zip(rows, heights, strict=True):
        start = above
        if heading:
            figure.text(0.1 / width, 1 - (start + 0.05) / height, heading, va="top", fontsize=11, weight="bold")
            start += heading_height
        if not tiles:
            figure.text(
                0.15 / width, 1 - (start + 0.02) / height, "no such call", va="top", fontsize=9, color="#555555"
            )
        for place, tile in enumerate(tiles):
            _draw_tile(figure, tile, left=0.1 + place * _TILE, above=start)
        above += row_height
    return figure


def _draw_tile(figure: Figure, tile: Tile, *, left: float, above: float) -> None:
    """Draw a tile whose upper left corner lies so many inches from the figure's."""
    width, height = figure.get_size_inches()
    colour = "#A6410B" if tile.wrong else "#1A1A1A"
    size = 9 * min(1, _TITLE_WIDTH / max(len(tile.title), 1))
    figure.text(left / width, 1 - above / height, tile.title, va="top", fontsize=size, color=colour, weight="bold")
    bottom = 1 - (above + 0.2 + _MAP) / height
    first, second = (
        figure.add_axes((start / width, bottom, _MAP / width, _MAP / height)) for start in (left, left + _MAP + 0.05)
    )
    draw_map(first, tile.grid)
    below = 0.05
    if tile.patterns:
        draw_patterns(second, tile.grid, tile.patterns)
        figure.legend(
            handles=pattern_patches(list(tile.patterns)),
            loc="upper left",
            bbox_to_anchor=(left / width, bottom - 0.02 / height),
            ncols=len(tile.patterns),
            fontsize=7,
            borderpad=0,
            borderaxespad=0,
            handlelength=0.9,
            handletextpad=0.3,
            columnspacing=1.0,
        )
        below += 0.15
    else:
        draw_heat(second, tile.grid, tile.heat)
    said = textwrap.wrap(tile.text, _TEXT_WIDTH, max_lines=_lines_of(tile), placeholder=" ...")
    figure.text(left / width, bottom - below / height, "\n".join(said), va="top", fontsize=7)


def _lines_of(tile: Tile) -> int:
    """Return how many lines of text a tile may have: a sentence or two for each of several patterns."""
    return _TEXT_LINES + 3 * max(len(tile.patterns) - 1, 0)


def _text_height(tiles: Sequence[Tile]) -> float:
    """Return the inches that the texts below the maps of some tiles need."""
    legend = 0.15 if any(tile.patterns for tile in tiles) else 0
    return 0.36 + legend + max((_lines_of(tile) for tile in tiles), default=_TEXT_LINES) * _LINE


def _key(figure: Figure, width: float, height: float, *, several: bool) -> None:
    """Draw what the colours mean, below the title."""
    for k, (name, colours) in enumerate((("passing die", PASS_HEAT), ("failing die", FAIL_HEAT))):
        left = 0.1 + k * 3.6
        axes = figure.add_axes(((left + 0.75) / width, 1 - 0.62 / height, 1.2 / width, 0.14 / height))
        axes.imshow(np.linspace(0, 1, 64)[None], cmap=colours, aspect="auto")
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_visible(False)
        figure.text(left / width, 1 - 0.55 / height, name, va="center", fontsize=8)
        figure.text((left + 2.0) / width, 1 - 0.55 / height, "no evidence to strongest", va="center", fontsize=8)
    if several:
        words = "several patterns: each die in the colour of the one it speaks for most"
        figure.text(7.3 / width, 1 - 0.55 / height, words, va="center", fontsize=8)
