"""The figure of several patterns on one wafer: how well each is found, and all of a wafer's exactly."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from wafer_tf.figures.scores import MEASURES
from wafer_tf.scoring.bootstrap import Estimate
from wafer_tf.scoring.several import PatternScores

WAY_COLOURS = ("#0072B2", "#E69F00", "#8C8C8C", "#CC79A7")
"""Of the ways that stand beside each other; the first is the model's own."""


def several_figure(ways: Mapping[str, PatternScores]) -> Figure:
    """Draw precision, recall and F1 of each pattern, and the share of wafers found exactly by number of patterns.

    Args:
        ways: scores by name, on the same wafers; the first is drawn pattern by pattern, all of them by number.
    """
    figure = Figure(figsize=(11, 4.8), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=[1.15, 1])
    name, scores = next(iter(ways.items()))
    _draw_bits(left, scores, name)
    _draw_numbers(right, ways)
    return figure


def _draw_bits(axes: Axes, scores: PatternScores, name: str) -> None:
    rows = np.arange(len(scores.bits))
    for (measure, (colour, marker)), shift in zip(MEASURES.items(), (-0.24, 0, 0.24), strict=True):
        found: list[Estimate] = [getattr(bit, measure) for bit in scores.bits]
        axes.errorbar(
            [e.value for e in found],
            rows + shift,
            xerr=_spread(found),
            fmt=marker,
            color=colour,
            markersize=5,
            elinewidth=1.4,
            capsize=2,
            label="F1" if measure == "f1" else measure,
            clip_on=False,
            zorder=3,
        )
    for row in rows[::2]:
        axes.axhspan(row - 0.5, row + 0.5, color="#F4F4F4", zorder=0)
    axes.set_yticks(rows, [f"{bit.name}\n{bit.support:,} wafers" for bit in scores.bits], fontsize=8)
    values = [e.value for bit in scores.bits for e in (bit.precision, bit.recall, bit.f1) if not np.isnan(e.value)]
    lowest = min(values, default=0.0)
    axes.set(xlim=(max(0.0, np.floor(lowest * 10 - 0.5) / 10), 1), ylim=(len(rows) - 0.5, -0.5), xlabel="share")
    axes.set_title(f"each pattern, {name}: mean F1 {scores.mean_f1.value:.3f}")
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color="#DDDDDD", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.14), fontsize=8, ncols=3)


def _draw_numbers(axes: Axes, ways: Mapping[str, PatternScores]) -> None:
    numbers = next(iter(ways.values())).by_number
    places, width = np.arange(len(numbers)), 0.8 / len(ways)
    for i, (name, scores) in enumerate(ways.items()):
        found = [one.exact for one in scores.by_number]
        axes.bar(
            places + (i - (len(ways) - 1) / 2) * width,
            [0 if np.isnan(e.value) else e.value for e in found],
            width * 0.92,
            yerr=_spread(found),
            color=WAY_COLOURS[i % len(WAY_COLOURS)],
            error_kw={"elinewidth": 1.2, "ecolor": "#333333"},
            capsize=2,
            label=f"{name}: {scores.exact.value:.3f} of all",
        )
    axes.set_xticks(places, [f"{one.patterns}\n{one.wafers:,} wafers" for one in numbers], fontsize=8)
    axes.set(ylim=(0, 1), xlabel="patterns on the wafer", ylabel="share found exactly")
    axes.set_title("all patterns of a wafer, and no other")
    axes.grid(axis="y", color="#DDDDDD", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), fontsize=8, ncols=1)


def _spread(found: list[Estimate]) -> NDArray[np.float64]:
    ends = np.array([[e.value - e.low, e.high - e.value] for e in found], np.float64).T
    return np.asarray(np.maximum(np.nan_to_num(ends), 0))
