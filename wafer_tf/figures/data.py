"""Figures of a set of wafers before any model: counts, sizes, yields, and the maps as the model sees them."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from wafer_tf.dies import CLASSES, UNLABELLED
from wafer_tf.figures.style import CLASS_COLOURS, save, style

if TYPE_CHECKING:
    from wafer_tf.readers.summary import Summary

MAPS_PER_CLASS = 4


def draw_report(summary: "Summary", folder: str | os.PathLike[str]) -> list[Path]:
    """Draw every figure of a data report into a folder and return their paths."""
    folder = Path(folder)
    with style():
        drawn = [save(class_counts(summary.class_table()), folder / "class_counts.png")]
        drawn.append(save(map_sizes(summary.shapes, summary.label), folder / "map_sizes.png"))
        if any(summary.yields.values()):
            drawn.append(save(yield_per_class(summary.yields), folder / "yield_per_class.png"))
            drawn.append(save(maps_per_class(summary.samples), folder / "maps_per_class.png"))
    return drawn


def class_counts(table: NDArray[np.int64]) -> Figure:
    """Draw wafers per class and official split, on a logarithmic axis.

    Args:
        table: (10, 3) int64, classes and the unlabelled, by Training, Test and no split.
    """
    figure = Figure(figsize=(8, 4.2))
    axes = figure.add_subplot()
    names, totals = (*CLASSES, "unlabelled"), table.sum(axis=1)
    shown = [k for k in range(len(names)) if totals[k] or k < len(CLASSES)]
    places = np.arange(len(shown))
    shades = ("#30618C", "#8FB4D4", "#B5B5B5")
    for k, (part, shade) in enumerate(zip(("official Training", "official Test", "no split"), shades, strict=True)):
        if table[:, k].any():
            axes.bar(places + (k - 1) * 0.28, table[shown, k], 0.26, color=shade, label=part)
    axes.set_yscale("log")
    axes.set_ylim(0.7, max(totals.max(), 10) * 3)
    for place, k in zip(places, shown, strict=True):
        axes.text(float(place), float(max(table[k].max(), 1)) * 1.25, f"{totals[k]:,}", ha="center", fontsize=9)
    axes.set_xticks(places, [names[k] for k in shown], rotation=30, ha="right")
    axes.set_ylabel("wafers (log scale)")
    axes.set_title(f"Wafers per class: {totals[:-1].sum():,} labelled, {totals[-1]:,} unlabelled", loc="left")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.17), ncols=3, fontsize=9)
    return figure


def map_sizes(shapes: NDArray[np.int32], label: NDArray[np.int8]) -> Figure:
    """Draw rows against columns, one disc per shape with an area by its number of wafers.

    Args:
        shapes: (n, 2) rows and columns.
        label: (n,) class codes; UNLABELLED counts too.
    """
    figure = Figure(figsize=(6.4, 5.6))
    axes = figure.add_subplot()
    unique, counts = np.unique(shapes, axis=0, return_counts=True)
    order = np.argsort(-counts)
    area = 6 + 500 * counts[order] / counts.max()
    axes.scatter(unique[order, 1], unique[order, 0], s=area, color="#0072B2", alpha=0.45, linewidths=0)
    limit = float(shapes.max()) * 1.06
    axes.plot([0, limit], [0, limit], color="#B0B0B0", linewidth=0.8, zorder=0)
    commonest = [f"{unique[k, 0]} x {unique[k, 1]}: {counts[k]:,} maps" for k in order[:5]]
    axes.text(
        0.98,
        0.04,
        "\n".join(["commonest (rows x columns)", *commonest]),
        transform=axes.transAxes,
        ha="right",
        fontsize=9,
    )
    axes.set(xlim=(0, limit), ylim=(0, limit), xlabel="columns", ylabel="rows", aspect="equal")
    labelled = int((label != UNLABELLED).sum())
    axes.set_title(f"{len(unique):,} shapes of {len(shapes):,} maps ({labelled:,} labelled)", loc="left")
    return figure


def yield_per_class(yields: dict[int, list[NDArray[np.float64]]]) -> Figure:
    """Draw the spread of yield in each class, as boxes from the 5th to the 95th percentile.

    Args:
        yields: per class code, arrays of passing dies over dies, 0..1.
    """
    figure = Figure(figsize=(8, 4.2))
    axes = figure.add_subplot()
    shown = [code for code in range(len(CLASSES)) if yields[code]]
    parts = [100 * np.concatenate(yields[code]) for code in shown]
    boxes = axes.boxplot(
        parts, whis=(5, 95), showfliers=False, patch_artist=True, widths=0.6, medianprops={"color": "white"}
    )
    for box, code, median in zip(boxes["boxes"], shown, boxes["medians"], strict=True):
        box.set(facecolor=CLASS_COLOURS[CLASSES[code]], alpha=0.85, linewidth=0.8)
        median.set_linewidth(1.6)
    ticks = [f"{CLASSES[code]}\n({len(part):,})" for code, part in zip(shown, parts, strict=True)]
    axes.set_xticks(range(1, len(shown) + 1), ticks, fontsize=9)
    axes.set(ylim=(0, 102), ylabel="yield: passing dies, % of all dies")
    axes.set_title("Yield per class: median, quartiles, 5th to 95th percentile", loc="left")
    return figure


def maps_per_class(samples: dict[int, list[NDArray[np.uint8]]]) -> Figure:
    """Draw maps of each class as the model is fed them: every plane of the encoded input, side by side.

    Args:
        samples: per class code, maps (rows, cols) uint8; the first MAPS_PER_CLASS are shown.
    """
    from wafer_tf.encoding import PLANES, encode

    shown = [code for code in range(len(CLASSES)) if samples[code]]
    count = len(PLANES)
    widths = ([1.0] * count + [0.18]) * MAPS_PER_CLASS
    height = len(shown) + 0.35
    figure = Figure(figsize=(0.9 * sum(widths) + 1.2, 1.02 * height + 0.5))
    top = 1 - 0.62 / figure.get_figheight()
    left = 1.1 / figure.get_figwidth()
    cells = figure.add_gridspec(
        len(shown), len(widths), width_ratios=widths, left=left, right=1, top=top, bottom=0.02, wspace=0.05, hspace=0.22
    )
    for row, code in enumerate(shown):
        for which, grid in enumerate(samples[code][:MAPS_PER_CLASS]):
            planes = encode(grid)
            for plane in range(count):
                axes = figure.add_subplot(cells[row, which * (count + 1) + plane])
                axes.imshow(planes[..., plane], cmap="gray_r", vmin=0, vmax=255, interpolation="nearest")
                axes.set(xticks=[], yticks=[])
                axes.spines[:].set(visible=True, color="#C8C8C8", linewidth=0.6)
                if row == 0:
                    axes.set_title(PLANES[plane], fontsize=8)
                if which == 0 and plane == 0:
                    axes.set_ylabel(CLASSES[code], rotation=0, ha="right", va="center", fontsize=10)
                if plane == 1:
                    axes.set_xlabel(f"{grid.shape[0]} x {grid.shape[1]} dies", fontsize=7, labelpad=1)
    figure.suptitle("Maps per class, each plane as the model sees it (white 0, black 255)", fontsize=11, y=0.995)
    return figure
