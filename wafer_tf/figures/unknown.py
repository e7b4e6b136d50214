"""The figure of an unknown score: how many wafers of each family of patterns, and of each known class, it flags."""

from collections.abc import Mapping
from typing import Any

from matplotlib.figure import Figure

STRICT, LOOSE = "flagged_at_0.01", "flagged_at_0.05"


def unknown_figure(found: Mapping[str, Any]) -> Figure:
    """Draw a bar per family and per class.

    Args:
        found: "families" and "classes", each by name with the shares at 1 % and 5 %; see `training.unknown_report`.
    """
    families = sorted(found["families"].items(), key=lambda item: item[1][STRICT]["share"])
    classes = list(found["classes"].items())
    figure = Figure(figsize=(8, 0.22 * (len(families) + len(classes)) + 1.6), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[len(families), len(classes)])
    for axes, rows, colour in ((upper, families, "#0072B2"), (lower, classes[::-1], "#D55E00")):
        names = [name for name, _ in rows]
        for measure, alpha, label in ((LOOSE, 0.35, "threshold at 5 %"), (STRICT, 1.0, "threshold at 1 %")):
            shares = [100 * row[measure]["share"] for _, row in rows]
            axes.barh(names, shares, color=colour, alpha=alpha, height=0.7, label=label)
        strict = [row[STRICT] for _, row in rows]
        ends = [[100 * abs(one["share"] - one["interval"][k]) for one in strict] for k in (0, 1)]
        axes.errorbar([100 * one["share"] for one in strict], names, xerr=ends, fmt="none", ecolor="black", lw=0.8)
        axes.tick_params(axis="y", labelsize=8)
        axes.margins(y=0.01)
    learned = "not learned" if found["families_unseen"] else "learned"
    upper.set_title(f"patterns that are none of the nine, {learned}: the more flagged, the better")
    upper.legend(loc="lower right", fontsize=8)
    lower.set_title("known wafers, not learned: the fewer flagged, the better")
    lower.set_xlabel("wafers flagged as unknown, per cent")
    return figure
