"""The reliability diagram: how often the model is right when it says how sure it is."""

import numpy as np
from matplotlib.figure import Figure

from wafer_tf.scoring.scores import Scores


def reliability_diagram(scores: Scores) -> Figure:
    """Draw accuracy against confidence in equal-width bins, and below it how many wafers each bin holds."""
    figure = Figure(figsize=(6.4, 7.6))
    figure.subplots_adjust(hspace=0.06)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    edges = np.linspace(0, 1, len(scores.reliability) + 1)
    count = np.array([b.count for b in scores.reliability])
    confidence = np.array([b.confidence for b in scores.reliability])
    accuracy = np.array([b.accuracy for b in scores.reliability])
    held = count > 0
    width = edges[1]
    upper.plot([0, 1], [0, 1], color="#777777", linestyle="--", linewidth=1.2, label="perfectly calibrated")
    upper.bar(edges[:-1][held], accuracy[held], width=width, align="edge", color="#B7D3E8", edgecolor="#FFFFFF")
    upper.vlines(confidence[held], accuracy[held], confidence[held], color="#D55E00", linewidth=1.6, zorder=3)
    upper.plot(confidence[held], accuracy[held], "o", color="#0072B2", markersize=6, label="observed", zorder=4)
    upper.plot([], [], color="#D55E00", linewidth=1.6, label="gap")
    upper.set(ylim=(0, 1.02), ylabel="share of answers that are right")
    ece = scores.ece
    interval = "" if np.isnan(ece.low) else f" [{ece.low:.3f}, {ece.high:.3f}]"
    upper.set_title(f"Expected calibration error {ece.value:.3f}{interval}", loc="left")
    upper.legend(loc="upper left")
    lower.bar(edges[:-1], count / scores.wafers, width=width, align="edge", color="#8C8C8C", edgecolor="#FFFFFF")
    for left, n in zip(edges[:-1], count, strict=True):
        if n:
            lower.annotate(
                f"{n:,}",
                (left + width / 2, n / scores.wafers),
                xytext=(0, 2),
                textcoords="offset points",
                ha="center",
                fontsize=7.5,
                color="#444444",
            )
    lower.set(xlim=(0, 1), ylim=(0, 1.15 * count.max() / scores.wafers), ylabel="share of wafers")
    lower.set_xlabel(f"largest probability ({len(scores.reliability)} equal-width bins; numbers: wafers)")
    return figure
