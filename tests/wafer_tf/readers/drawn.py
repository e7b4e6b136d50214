"""Pictures of wafer maps, drawn in the ways people draw them: for the tests of reading them back."""

import io
from collections.abc import Callable
from typing import Any

import cv2
import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.image import imsave
from matplotlib.patches import Patch
from numpy.typing import NDArray

from wafer_tf.formats.options import Options

Grid = NDArray[np.uint8]
GREYS: dict[str, tuple[int, int, int]] = {"180": (0, 180, 255), "127": (0, 127, 255), "128": (0, 128, 255)}
GREEN_RED = ("#ffffff", "#2ca02c", "#d62728")
BLUES = ("#f0f0f0", "#1f4e9c", "#ffa500")


def png(rgb: NDArray[np.uint8]) -> bytes:
    return encoded(rgb, ".png")


def encoded(rgb: NDArray[np.uint8], ending: str, *flags: int) -> bytes:
    done, data = cv2.imencode(ending, rgb if rgb.ndim == 2 else rgb[:, :, ::-1], list(flags))
    assert done
    return data.tobytes()


def jpeg(data: bytes, quality: int = 80) -> bytes:
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    done, packed = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])
    assert done
    return packed.tobytes()


def grey(grid: Grid, values: str = "180") -> NDArray[np.uint8]:
    return np.array(GREYS[values], np.uint8)[grid]


def viridis(grid: Grid) -> bytes:
    """One pixel a die, as matplotlib saves an array."""
    buffer = io.BytesIO()
    imsave(buffer, grid, vmin=0, vmax=2, format="png")
    return buffer.getvalue()


def resized(data: bytes, factor: float, way: int = cv2.INTER_NEAREST) -> bytes:
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    size = round(pixels.shape[1] * factor), round(pixels.shape[0] * factor)
    return encoded(cv2.resize(pixels, size, interpolation=way)[:, :, ::-1], ".png")


def figure(
    grid: Grid,
    *,
    axes: bool = True,
    colours: tuple[str, str, str] | None = None,
    tight: bool = False,
    dpi: int = 100,
    legend: bool = False,
    bar: bool = False,
    aspect: str = "equal",
    lines: float = 0.0,
) -> bytes:
    """A map as matplotlib draws it."""
    made = Figure(figsize=(6.4, 4.8), dpi=dpi)
    FigureCanvasAgg(made)
    place = made.add_subplot()
    cmap = ListedColormap(list(colours)) if colours else mpl.colormaps["viridis"]
    image: Any
    if lines:  # as seaborn's heat map does
        image = place.pcolormesh(grid, cmap=cmap, vmin=0, vmax=2, edgecolors="white", linewidth=lines)
        place.invert_yaxis()
        place.set_aspect("equal")
    else:
        image = place.imshow(grid, cmap=cmap, vmin=0, vmax=2, aspect=aspect)
    if axes:
        place.set_title("lot W0312, wafer 7: 1,204 dies")
        place.set_xlabel("column")
    else:
        place.set_axis_off()
    if bar:
        made.colorbar(image)
    if legend:
        handles = [
            Patch(color=image.cmap(image.norm(k)), label=name) for k, name in enumerate(("none", "pass", "fail"))
        ]
        place.legend(handles=handles, loc="upper left", bbox_to_anchor=(1.02, 1))
    buffer = io.BytesIO()
    made.savefig(buffer, format="png", bbox_inches="tight" if tight else None)
    return buffer.getvalue()


def squares(
    grid: Grid,
    *,
    die: tuple[int, int] = (10, 10),
    gap: int = 1,
    colours: tuple[tuple[int, int, int], ...] = ((255, 255, 255), (60, 170, 60), (210, 40, 40)),
    line: tuple[int, int, int] = (0, 0, 0),
    empty: bool = False,
    outline: bool = False,
    legend: bool = True,
) -> NDArray[np.uint8]:
    """A drawing of squares with lines between, a title and a legend."""
    rows, cols = grid.shape
    wide, high = die[0] + gap, die[1] + gap
    picture = np.full((rows * high + 120, cols * wide + 220, 3), colours[0], np.uint8)
    x0, y0 = 37, 71
    for row, col in np.argwhere(grid > 0) if not empty else np.argwhere(grid >= 0):
        x, y = x0 + col * wide, y0 + row * high
        picture[y : y + high + gap, x : x + wide + gap] = line
        picture[y + gap : y + high, x + gap : x + wide] = colours[grid[row, col]]
    ink = (0, 0, 0) if sum(colours[0]) > 380 else (255, 255, 255)
    cv2.putText(picture, "Lot 4711 wafer 03", (30, 40), cv2.FONT_HERSHEY_SIMPLEX, 0.8, ink, 2, cv2.LINE_AA)
    if outline:
        centre = x0 + cols * wide // 2, y0 + rows * high // 2
        cv2.ellipse(picture, centre, (cols * wide // 2 + 8, rows * high // 2 + 8), 0, 0, 360, (120, 120, 120), 1)
    if legend:
        for k, name in enumerate(("pass", "fail")):
            x, y = cols * wide + 70, 90 + 30 * k
            picture[y : y + 16, x : x + 16] = colours[k + 1]
            cv2.putText(picture, name, (x + 26, y + 14), cv2.FONT_HERSHEY_SIMPLEX, 0.5, ink, 1, cv2.LINE_AA)
    return picture


OPTIONS = {
    "figure blue and orange": Options(colours=BLUES),
    "squares on black": Options(colours=("#000000", "#3c78dc", "#fad228")),
}
"""Colours that say nothing of themselves."""
WAYS: dict[str, Callable[[Grid], bytes]] = {
    "grey 180": lambda grid: png(grey(grid)),
    "grey 127": lambda grid: png(grey(grid, "127")),
    "grey 128 bmp": lambda grid: encoded(grey(grid, "128"), ".bmp"),
    "viridis": viridis,
    "viridis x1.5": lambda grid: resized(viridis(grid), 1.5),
    "viridis x2": lambda grid: resized(viridis(grid), 2),
    "viridis x2.5": lambda grid: resized(viridis(grid), 2.5),
    "viridis x3.5": lambda grid: resized(viridis(grid), 3.5),
    "viridis x8": lambda grid: resized(viridis(grid), 8),
    "viridis x3.5 exact": lambda grid: resized(viridis(grid), 3.5, cv2.INTER_NEAREST_EXACT),
    "viridis x3.5 linear": lambda grid: resized(viridis(grid), 3.5, cv2.INTER_LINEAR),
    "viridis x4 cubic": lambda grid: resized(viridis(grid), 4, cv2.INTER_CUBIC),
    "grey x2": lambda grid: resized(png(grey(grid)), 2),
    "grey x2 linear": lambda grid: resized(png(grey(grid)), 2, cv2.INTER_LINEAR),
    "grey x5 area": lambda grid: resized(png(grey(grid)), 5, cv2.INTER_AREA),
    "viridis jpeg": lambda grid: jpeg(viridis(grid)),
    "grey jpeg": lambda grid: jpeg(png(grey(grid))),
    "grey jpeg 95": lambda grid: jpeg(png(grey(grid)), 95),
    "viridis x2 jpeg": lambda grid: jpeg(resized(viridis(grid), 2)),
    "grey x2 jpeg": lambda grid: jpeg(resized(png(grey(grid)), 2)),
    "viridis x3.5 jpeg": lambda grid: jpeg(resized(viridis(grid), 3.5)),
    "viridis x4 jpeg": lambda grid: jpeg(resized(viridis(grid), 4)),
    "viridis x8 jpeg": lambda grid: jpeg(resized(viridis(grid), 8)),
    "grey x6 jpeg 50": lambda grid: jpeg(resized(png(grey(grid)), 6), 50),
    "figure": figure,
    "figure without axes": lambda grid: figure(grid, axes=False),
    "figure without axes, tight": lambda grid: figure(grid, axes=False, tight=True),
    "figure green and red": lambda grid: figure(grid, colours=GREEN_RED),
    "figure blue and orange": lambda grid: figure(grid, colours=BLUES, axes=False),
    "figure with legend": lambda grid: figure(grid, legend=True, tight=True),
    "figure with colour bar": lambda grid: figure(grid, bar=True),
    "figure, dpi 150": lambda grid: figure(grid, dpi=150),
    "figure, dpi 61": lambda grid: figure(grid, dpi=61),
    "figure stretched": lambda grid: figure(grid, aspect="auto"),
    "figure jpeg": lambda grid: jpeg(figure(grid)),
    "figure jpeg, dpi 200": lambda grid: jpeg(figure(grid, dpi=200, colours=GREEN_RED)),
    "seaborn-like": lambda grid: figure(grid, lines=0.5, dpi=150),
    "seaborn-like green and red": lambda grid: figure(grid, lines=0.5, dpi=200, colours=GREEN_RED, bar=True),
    "squares": lambda grid: png(squares(grid)),
    "squares gap 2": lambda grid: png(squares(grid, gap=2, die=(9, 14))),
    "squares white lines": lambda grid: png(squares(grid, line=(255, 255, 255), gap=3)),
    "squares grey lines, all cells": lambda grid: png(squares(grid, line=(150, 150, 150), empty=True)),
    "squares outline": lambda grid: png(squares(grid, outline=True)),
    "squares on black": lambda grid: png(
        squares(grid, colours=((0, 0, 0), (60, 120, 220), (250, 210, 40)), line=(90, 90, 90))
    ),
    "squares small": lambda grid: png(squares(grid, die=(4, 4), gap=1)),
    "squares smallest": lambda grid: png(squares(grid, die=(3, 3), gap=1, line=(255, 255, 255))),
    "squares without lines": lambda grid: png(squares(grid, gap=0, die=(7, 7))),
    "squares jpeg": lambda grid: jpeg(png(squares(grid))),
    "squares jpeg 60": lambda grid: jpeg(png(squares(grid, die=(12, 12), gap=2)), 60),
    "squares shrunk": lambda grid: resized(png(squares(grid, die=(20, 20), gap=2)), 0.5, cv2.INTER_AREA),
    "squares shrunk, odd": lambda grid: resized(png(squares(grid, die=(20, 20), gap=2)), 0.37, cv2.INTER_AREA),
    "squares blown up": lambda grid: resized(png(squares(grid, die=(6, 6))), 1.5, cv2.INTER_LINEAR),
}
