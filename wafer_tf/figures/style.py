"""One look for every figure: colour-blind-safe colours, fonts, and how a wafer map is drawn."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from numpy.typing import NDArray

from wafer_tf.dies import CLASSES
from wafer_tf.whole_files import whole_file

# Okabe-Ito, with two further tones for nine classes; "none" is grey because it is the absence of a pattern.
CLASS_COLOURS = dict(
    zip(
        CLASSES,
        ("#0072B2", "#56B4E9", "#E69F00", "#D55E00", "#009E73", "#000000", "#CC79A7", "#7F3C8D", "#8C8C8C"),
        strict=True,
    )
)
DIE_COLOURS = ListedColormap(["#FFFFFF", "#D7E3EC", "#B2182B"], name="dies")
"""No die, pass, fail."""


@contextmanager
def style() -> Iterator[None]:
    """Draw with the project's fonts and a backend that needs no screen; leave matplotlib's settings as they were."""
    with mpl.rc_context(
        {
            "figure.dpi": 110,
            "savefig.dpi": 130,
            "font.size": 10,
            "axes.titlesize": 11,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.grid": False,
            "legend.frameon": False,
        }
    ):
        yield


def draw_map(axes: Axes, grid: NDArray[np.uint8], *, title: str = "") -> None:
    """Draw one wafer map, (rows, cols) die states 0..2, as a round wafer with square edges between dies."""
    axes.imshow(grid, cmap=DIE_COLOURS, vmin=0, vmax=2, interpolation="nearest", aspect=grid.shape[1] / grid.shape[0])
    axes.set_title(title, fontsize=8)
    axes.set_axis_off()


def save(figure: Figure, path: str | os.PathLike[str], **options: Any) -> Path:
    """Write a figure whole or not at all, and return its path."""
    path = Path(path)
    with whole_file(path) as out:
        figure.savefig(out, format="png", bbox_inches="tight", **options)
    return path
