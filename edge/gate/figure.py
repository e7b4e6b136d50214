"""The gate's figure: what each class lost, and how the confidence of every map moved."""

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from edge.gate.comparison import Comparison, Limits
from wafer_tf.dies import CLASSES

LOST, KEPT = "#D55E00", "#0072B2"


def gate_figure(
    comparison: Comparison, limits: Limits, *, float_prob: NDArray[np.float64], prob: NDArray[np.float64], title: str
) -> Figure:
    """Draw each class's lost recall with its interval and limit, and the confidence of the two models on each map.

    Args:
        comparison: of the two models.
        limits: of the gate.
        float_prob, prob: (n, 9) of the float and the quantized model.
        title: names the quantized model.
    """
    figure = Figure(figsize=(11, 4.6), layout="constrained")
    figure.suptitle(title, x=0.01, ha="left")
    recall, confidence = figure.subplots(1, 2, width_ratios=(1.2, 1))
    rows = np.arange(len(CLASSES))
    drop = 100 * np.array([(d.value, d.low, d.high) for d in comparison.recall_drop])
    spread = np.nan_to_num(np.abs(drop[:, 1:] - drop[:, :1]).T)
    recall.errorbar(drop[:, 0], rows, xerr=spread, fmt="o", color=KEPT, capsize=3)
    recall.axvline(limits.max_recall_drop, color=LOST, linestyle="--", linewidth=1.2)
    recall.annotate(
        f"limit {limits.max_recall_drop:g}",
        (limits.max_recall_drop, 1),
        xycoords=("data", "axes fraction"),
        xytext=(4, -10),
        textcoords="offset points",
        color=LOST,
        fontsize=9,
    )
    recall.axvline(0, color="#888888", linewidth=0.8)
    recall.set_yticks(rows, list(CLASSES))
    recall.set(ylim=(len(rows) - 0.5, -0.5), xlabel="recall lost, points (bars: 95 % interval, paired, over groups)")
    recall.grid(axis="x", color="#E5E5E5")
    recall.set_axisbelow(True)

    same = float_prob.argmax(axis=1) == prob.argmax(axis=1)
    for mask, colour, word, size in ((same, KEPT, "same call", 8), (~same, LOST, "another call", 28)):
        confidence.scatter(
            float_prob[mask].max(axis=1),
            prob[mask].max(axis=1),
            s=size,
            color=colour,
            alpha=0.6,
            linewidths=0,
            label=f"{word} ({int(mask.sum()):,} maps)",
        )
    confidence.plot([0, 1], [0, 1], color="#888888", linewidth=0.8, zorder=0)
    low = float(min(float_prob.max(axis=1).min(), prob.max(axis=1).min())) - 0.03
    confidence.set(xlim=(low, 1.01), ylim=(low, 1.01), aspect="equal")
    confidence.set(xlabel="probability of its call, float model", ylabel="probability of its call, quantized model")
    confidence.legend(loc="upper left", fontsize=9)
    return figure
