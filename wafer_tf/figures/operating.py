"""Operating points: escapes against false alarms, precision of each call, and error against the share answered."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from numpy.typing import NDArray

from wafer_tf.dies import NONE
from wafer_tf.scoring.bootstrap import Estimate
from wafer_tf.scoring.call_costs import Costs
from wafer_tf.scoring.operating import OperatingPoints
from wafer_tf.scoring.selective import Proof

STYLES = (
    *(("#009E73", "D"), ("#0072B2", "o"), ("#D55E00", "s"), ("#CC79A7", "^"), ("#E69F00", "v"), ("#56B4E9", "P")),
)
"""Of the points that are offered, in turn."""
_TICKS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.6, 0.8, 1)


def operating_figure(found: OperatingPoints) -> Figure:
    """Draw the trade-off with the offered points, the precision of each call at them, and each proof."""
    figure = Figure(figsize=(21, 6.4))
    figure.subplots_adjust(wspace=0.22)
    left, middle, right = figure.subplots(1, 3)
    _trade_off(left, found)
    _precision(middle, found)
    _proofs(right, found.proofs)
    return figure


def _offered(found: OperatingPoints) -> list[tuple[str, Costs, str, str]]:
    """Return name, costs, colour and marker of the points that are offered, as many as there are styles."""
    kept = [(named.name, named.costs) for named in found.named if named.kept and named.costs is not None]
    return [(name, costs, *style) for (name, costs), style in zip(kept, STYLES, strict=False)]


def _trade_off(axes: Axes, found: OperatingPoints) -> None:
    curve, shown = found.curve, _offered(found)
    label = f"shifts of none's odds, without review ({found.none_wafers:,} none wafers)"
    axes.plot(curve.false_alarm_rate, curve.escape_rate, color="#000000", linewidth=1.3, label=label)
    for name, costs, colour, marker in shown:
        _mark(axes, costs, colour, marker, label=f"{name}, {costs.review_rate.value:.1%} to review")
    highest = [
        max(_limits(getattr(costs, name))[1] for _, costs, _, _ in shown)
        for name in ("false_alarm_rate", "escape_rate")
    ]
    # Unlike a logarithm, a square root keeps 0 on the axis; it spreads the first per cents as well.
    axes.set_xscale("function", functions=(_root, np.square))
    axes.set_yscale("function", functions=(_root, np.square))
    for axis, high in zip((axes.xaxis, axes.yaxis), highest, strict=True):
        limit = min(1.0, max(1.05 * high, 0.01))
        axis.set_view_interval(0, limit, ignore=True)
        axis.set_ticks(_ticks(limit))
        axis.set_major_formatter(PercentFormatter(1))
    axes.set(xlabel="false alarms: share of the none wafers called a defect (square-root scale)")
    axes.set(ylabel="escapes: share of the defects called none (square-root scale)")
    axes.set_title(f"Escapes and false alarms at {found.mix.name} (bars: 95 %)", loc="left")
    axes.grid(color="#E5E5E5", linewidth=0.8)
    if axes.get_legend_handles_labels()[0]:  # with few wafers nothing is drawn
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.1), ncols=2, fontsize=9)


def _proofs(axes: Axes, proofs: Sequence[Proof]) -> None:
    axes.set(xlabel="share of the wafers answered alone", ylabel="share of these called wrong")
    axes.set_title("Error against the share answered, at the same mix", loc="left")
    axes.set_xlim(0, 1)
    axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    axes.grid(color="#E5E5E5", linewidth=0.8)
    if not proofs:
        return
    steps = [step for step in proofs[0].steps if step.answered]
    if steps:
        share = [step.coverage for step in steps]
        confidence = f"{proofs[0].goal.confidence:.0%}"
        axes.plot(share, [step.error for step in steps], color="#000000", label="all wafers")
        rates = [step.errors / step.answered for step in steps]
        axes.plot(share, rates, color="#999999", linestyle="--", label="drawn wafers, one a group")
        axes.plot(share, [step.bound for step in steps], color="#D55E00", label=f"their limit at {confidence}")
    highest = max(proof.goal.max_error for proof in proofs)
    axes.set_ylim(0, max(2.5 * highest, 1.2 * steps[-1].errors / steps[-1].answered if steps else 0))
    for proof, (colour, marker) in zip(proofs, STYLES[::-1], strict=False):
        goal, step = proof.goal.max_error, proof.proven
        axes.axhline(goal, color=colour, linewidth=0.9, linestyle=":")
        if step is None:
            axes.text(0.02, goal, f"{goal:.3g}: not proven", color=colour, va="bottom", fontsize=9)
            continue
        name = f"{step.coverage:.1%} answered: at most {goal:.3g} wrong, proven"
        axes.plot(
            [step.coverage], [step.bound], marker=marker, color=colour, markersize=9, linestyle="none", label=name
        )
    if axes.get_legend_handles_labels()[0]:  # with few wafers nothing is drawn
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.1), ncols=2, fontsize=9)


def _mark(axes: Axes, costs: Costs, colour: str, marker: str, *, label: str) -> None:
    x, y = costs.false_alarm_rate, costs.escape_rate
    axes.errorbar(
        x.value,
        y.value,
        xerr=_bars([x]),
        yerr=_bars([y]),
        fmt=marker,
        color=colour,
        markersize=8,
        elinewidth=1.3,
        capsize=2.5,
        label=label,
        clip_on=False,
        zorder=4,
    )


def _precision(axes: Axes, found: OperatingPoints) -> None:
    shown = _offered(found)
    first = shown[0][1]
    defects = [c for c in range(len(first.classes)) if c != NONE and found.mix.shares[c]]
    names = ["any defect", *(first.classes[c].name for c in defects)]
    rows = np.arange(len(names))
    for (name, costs, colour, marker), shift in zip(shown, np.linspace(-0.3, 0.3, len(shown)), strict=True):
        each = [costs.alarm_precision, *(costs.classes[c].precision for c in defects)]
        axes.errorbar(
            [e.value for e in each],
            rows + shift,
            xerr=_bars(each),
            fmt=marker,
            color=colour,
            markersize=5.5,
            elinewidth=1.3,
            capsize=2,
            label=name,
            clip_on=False,
            zorder=3,
        )
    for row in rows[::2]:
        axes.axhspan(row - 0.5, row + 0.5, color="#F4F4F4", zorder=0)
    axes.set_yticks(rows, names)
    axes.set(xlim=(0, 1), ylim=(len(rows) - 0.5, -0.5), xlabel="share of the calls that are right (bars: 95 %)")
    axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color="#DDDDDD", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.set_title("Precision of each call at the same mix", loc="left")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.1), ncols=3, fontsize=9)


def _limits(estimate: Estimate) -> tuple[float, float]:
    """Return an interval, the value itself where there is none."""
    value = estimate.value
    return (value, value) if np.isnan(estimate.low) else (min(value, estimate.low), max(value, estimate.high))


def _bars(estimates: Sequence[Estimate]) -> NDArray[np.float64]:
    """Return (2, n) lengths of error bars downwards and upwards."""
    limits = np.array([_limits(e) for e in estimates]).T
    value = np.array([e.value for e in estimates])
    found: NDArray[np.float64] = np.nan_to_num(np.stack([value - limits[0], limits[1] - value]))
    return found


def _root(value: NDArray[np.float64]) -> NDArray[np.float64]:
    found: NDArray[np.float64] = np.sqrt(np.maximum(value, 0))
    return found


def _ticks(limit: float) -> list[float]:
    """Return round values up to a limit, far enough apart on a square-root axis for their labels."""
    kept = [0.0]
    for tick in _TICKS:
        if tick <= limit and tick**0.5 - kept[-1] ** 0.5 > 0.09 * limit**0.5:
            kept.append(tick)
    return kept
