"""Operating points: escapes against false alarms, with the named points on it, and the precision each point gives."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from numpy.typing import NDArray

from wafer_tf.dies import NONE
from wafer_tf.scoring.bootstrap import Estimate
from wafer_tf.scoring.call_costs import Costs
from wafer_tf.scoring.operating import RULES, OperatingPoints

POINT_STYLES = dict(zip(RULES, (("#0072B2", "o"), ("#009E73", "D"), ("#D55E00", "s")), strict=True))
AS_CALLED_STYLE = ("#666666", "X")
_TICKS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.6, 0.8, 1)


def operating_figure(found: OperatingPoints) -> Figure:
    """Draw the trade-off of both parts with the named points, and the precision of each call at each point."""
    figure = Figure(figsize=(14, 6.4))
    figure.subplots_adjust(wspace=0.2)
    left, right = figure.subplots(1, 2)
    _trade_off(left, found)
    _precision(right, found)
    return figure


def _trade_off(axes: Axes, found: OperatingPoints) -> None:
    for curve, colour, line, name in (
        (found.validation_curve, "#999999", "--", f"validation ({found.validation_none} none wafers)"),
        (found.test_curve, "#000000", "-", f"test ({found.test_none} none wafers)"),
    ):
        axes.plot(curve.false_alarm_rate, curve.escape_rate, color=colour, linestyle=line, linewidth=1.3, label=name)
    for point in found.points:
        colour, marker = POINT_STYLES[point.name]
        _mark(axes, point.test, colour, marker, label=f"{point.name}, threshold {point.threshold.prob:.3f}")
        axes.plot(
            point.threshold.validation_false_alarm_rate,
            point.threshold.validation_escape_rate,
            marker=marker,
            color=colour,
            markersize=8,
            markerfacecolor="none",
            linestyle="none",
            clip_on=False,
        )
    _mark(axes, found.as_called, *AS_CALLED_STYLE, label="as called: no correction, no threshold")
    axes.plot([], [], marker="o", color="#999999", markerfacecolor="none", linestyle="none", label="hollow: validation")
    shown = [*(point.test for point in found.points), found.as_called]
    highest = [
        max(
            *(_limits(getattr(costs, name))[1] for costs in shown),
            *(getattr(point.threshold, f"validation_{name}") for point in found.points),
        )
        for name in ("false_alarm_rate", "escape_rate")
    ]
    # Unlike a logarithm, a square root keeps 0 on the axis; it spreads the first per cents as well.
    axes.set_xscale("function", functions=(_root, np.square))
    axes.set_yscale("function", functions=(_root, np.square))
    for axis, high in zip((axes.xaxis, axes.yaxis), highest, strict=True):
        limit = min(1.0, 1.05 * high)
        axis.set_view_interval(0, limit, ignore=True)
        axis.set_ticks(_ticks(limit))
        axis.set_major_formatter(PercentFormatter(1))
    axes.set(xlabel="false alarms: share of the none wafers called a defect (square-root scale)")
    axes.set(ylabel="escapes: share of the defects called none (square-root scale)")
    axes.set_title(f"Escapes and false alarms at {found.mix.name} (bars: 95 %)", loc="left")
    axes.grid(color="#E5E5E5", linewidth=0.8)
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
    defects = [c for c, costs in enumerate(found.as_called.classes) if c != NONE and found.mix.shares[c]]
    names = ["any defect", *(found.as_called.classes[c].name for c in defects)]
    rows = np.arange(len(names))
    styles = [*((p.name, p.test, *POINT_STYLES[p.name]) for p in found.points)]
    styles.append(("as called", found.as_called, *AS_CALLED_STYLE))
    for (name, costs, colour, marker), shift in zip(styles, (-0.3, -0.1, 0.1, 0.3), strict=True):
        shown = [costs.alarm_precision, *(costs.classes[c].precision for c in defects)]
        axes.errorbar(
            [e.value for e in shown],
            rows + shift,
            xerr=_bars(shown),
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
    axes.set_title("Precision of each call, test part at the same mix", loc="left")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.1), ncols=4, fontsize=9)


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
