"""Operating points in words and tables for an engineer, as JSON for a program, and as a figure."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from wafer_tf.as_json import to_json
from wafer_tf.dies import CLASSES, NONE
from wafer_tf.reporting.words import bullet, short, span
from wafer_tf.scoring.bootstrap import Estimate
from wafer_tf.scoring.call_costs import Bounded, wafers_to_measure, wafers_to_show
from wafer_tf.scoring.operating import MAX_FALSE_ALARM_RATE, RULES, OperatingPoints
from wafer_tf.whole_files import write_whole

MOST_ROWS = 12
DEFINITIONS = {
    "call": "none where the probability of any defect, 1 - p(none), is below the threshold, else the likeliest defect",
    "probability": "of the run's decision, moved to the mix: p(class) x factor(class), made to sum to 1 again (Saerens "
    "et al. 2002); a threshold holds for this mix alone",
    "escape": "a wafer with a defect that is called none",
    "false alarm": "a none wafer called a defect",
    "at the mix": "rows of the confusion matrix, one per true class, weighted to the shares of the mix",
    "flag precision": "share of the wafers called a defect that have one, of whichever class",
}
"""The words of the report."""


def write_operating(folder: str | os.PathLike[str], found: OperatingPoints, *, source: str) -> list[Path]:
    """Write operating.txt, operating.json and figures/operating.png, each whole or not at all.

    Args:
        folder: made where it is not there; files of these names are replaced.
        found: the points.
        source: what was measured, for the headline: "test part of wm811k.npz".

    Returns:
        The files written.
    """
    folder = Path(folder)
    from wafer_tf.figures.operating import operating_figure
    from wafer_tf.figures.style import save, style

    (folder / "figures").mkdir(parents=True, exist_ok=True)
    texts = {
        "operating.txt": format_operating(found, source=source) + "\n",
        "operating.json": json.dumps(record(found, source=source), indent=1, allow_nan=False) + "\n",
    }
    with style():
        picture = save(operating_figure(found), folder / "figures" / "operating.png")
    for name, text in texts.items():
        write_whole(folder / name, text)
    return [picture, *(folder / name for name in texts)]


def record(found: OperatingPoints, *, source: str) -> dict[str, Any]:
    """Return all figures and definitions as plain JSON values, NaN as None."""
    values: dict[str, Any] = to_json(
        {
            "source": source,
            "definitions": DEFINITIONS,
            "rules": RULES,
            "classes": CLASSES,
            "mix": found.mix,
            "absent": found.absent,
            "factor": found.factor,
            "wafers": found.wafers,
            "groups": found.groups,
            "draws": found.draws,
            "seed": found.seed,
            "points": found.points,
            "as_called": found.as_called,
            "thresholds": found.thresholds,
            "none_wafers": {
                "validation": found.validation_none,
                "test": found.test_none,
                f"without_an_alarm_to_show_{MAX_FALSE_ALARM_RATE:g}": wafers_to_show(MAX_FALSE_ALARM_RATE),
                f"to_measure_{MAX_FALSE_ALARM_RATE:g}_to_half_of_it": _to_half_of_it(),
            },
        }
    )
    return values


def format_operating(found: OperatingPoints, *, source: str) -> str:
    """Return the whole report as text, at most 100 columns wide but for a long source."""
    part = f"{source}: {found.wafers:,} wafers in {found.groups:,} groups"
    sections = {
        f"Operating points at {found.mix.name} ({found.mix.shares[NONE]:.1%} none)": [part, "", *_summary(found)],
        "Of 1,000 wafers": _per_1000(found),
        "Chosen on the validation part alone": _rules(found),
        "Escapes per true class: share called none": _escapes(found),
        "Precision per call at the mix (in brackets: wafers called so, as counted)": _precision(found),
        "Thresholds to choose from, none beaten by another on validation": _thresholds(found),
        "How fine these figures can be": _resolution(found),
        "How to read this": _notes(found),
    }
    return "\n\n".join(
        "\n".join([title, *(f"  {line}".rstrip() for line in lines)]) for title, lines in sections.items()
    )


def _rows(found: OperatingPoints) -> list[tuple[str, str, Any]]:
    named = [(p.name, _threshold(p.threshold.prob), p.test) for p in found.points]
    return [*named, ("as called", "-", found.as_called)]


def _summary(found: OperatingPoints) -> list[str]:
    lines = [
        f"{'point':<16} {'threshold':>9}  {'escapes':<22}{'false alarms':<22}{'flag precision':<17}{'macro-F1':>9}"
    ]
    for name, threshold, costs in _rows(found):
        rates = f"{_span(costs.escape_rate):<22}{_span(costs.false_alarm_rate):<22}{_span(costs.alarm_precision):<21}"
        lines.append(f"{name:<16} {threshold:>9}  {rates}{short(costs.macro_f1.value):>5}")
    return lines


def _per_1000(found: OperatingPoints) -> list[str]:
    lines = [f"{'point':<16} {'flagged':<25}{'false alarms':<25}{'escapes':<25}"]
    for name, _, costs in _rows(found):
        figures = (costs.flagged_per_1000, costs.false_alarms_per_1000, costs.escapes_per_1000)
        lines.append(f"{name:<16} {''.join(f'{_span(e, decimals=1):<25}' for e in figures)}")
    return lines


def _rules(found: OperatingPoints) -> list[str]:
    lines = [f"{'point':<16} {'escapes':>7} {'alarms':>6}  rule"]
    for point in found.points:
        rates = point.threshold.validation_escape_rate, point.threshold.validation_false_alarm_rate
        lines.append(f"{point.name:<16} {rates[0]:>7.3f} {rates[1]:>6.3f}  {RULES[point.name]}")
    return lines


def _escapes(found: OperatingPoints) -> list[str]:
    lines = [
        f"{'class':<9} {'share':>7} {'wafers':>6} {'groups':>6}  " + "".join(f"{p.name:<22}" for p in found.points)
    ]
    for c, share in enumerate(found.mix.shares):
        if c == NONE:
            continue
        first = found.as_called.classes[c]
        rates = "".join(f"{_span(p.test.classes[c].escape_rate):<22}" for p in found.points)
        lines.append(f"{first.name:<9} {share:>7.4f} {first.wafers:>6} {first.groups:>6}  {rates}")
    return lines


def _precision(found: OperatingPoints) -> list[str]:
    lines = [f"{'called':<9} " + "".join(f"{p.name:<29}" for p in found.points)]
    for c, name in enumerate(CLASSES):
        cells = [p.test.classes[c] for p in found.points]
        lines.append(f"{name:<9} " + "".join(f"{f'{_span(k.precision)} ({k.called})':<29}" for k in cells))
    return lines


def _thresholds(found: OperatingPoints) -> list[str]:
    lines = [
        f"{'':>9}  {'validation':<24} {'test':<24} of 1,000 wafers, by test:",
        f"{'threshold':>9}  {'escapes':>8} {'false alarms':>14}  {'escapes':>8} {'false alarms':>14}  {'escapes':>8} "
        f"{'false alarms':>13}",
    ]
    none = found.mix.shares[NONE] / (1 - sum(found.mix.shares[CLASSES.index(name)] for name in found.absent))
    for t in found.thresholds[:MOST_ROWS]:
        lines.append(
            f"{_threshold(t.prob):>9}  {t.validation_escape_rate:>8.3f} {t.validation_false_alarm_rate:>14.3f}  "
            f"{t.test_escape_rate:>8.3f} {t.test_false_alarm_rate:>14.3f}  "
            f"{1000 * (1 - none) * t.test_escape_rate:>8.1f} {1000 * none * t.test_false_alarm_rate:>13.1f}"
        )
    if len(found.thresholds) > MOST_ROWS:
        lines.append(f"{len(found.thresholds) - MOST_ROWS} more are in operating.json.")
    return lines


def _resolution(found: OperatingPoints) -> list[str]:
    n, m, limit = found.validation_none, found.test_none, MAX_FALSE_ALARM_RATE
    chosen = f"No false-alarm rate is finer than 1/{n} ({1 / n:.1%}) where it is chosen, on the {n} none wafers of "
    chosen += f"validation, or than 1/{m} ({1 / m:.1%}) where it is measured, on the {m} of test."
    if n * limit < 1:
        chosen += f" {limit:.0%} of {n} is less than one wafer: few-false-alarms flags no none wafer of validation."
    counted = "; ".join(
        f"{name} {costs.alarms} ({costs.false_alarm_exact[0]:.1%} to {costs.false_alarm_exact[1]:.1%})"
        for name, _, costs in _rows(found)
    )
    texts = [
        chosen,
        f"False alarms among the {m}, with exact 95 % limits of their rate (a group counts as one): {counted}.",
        f"To show a rate below {limit:.0%} takes {wafers_to_show(limit):,} none wafers of different groups without one "
        f"false alarm (the rule of three: 3 / {limit:g}); to measure {limit:.0%} to within half of it either way, "
        f"{_to_half_of_it():,}.",
    ]
    if found.absent:
        texts.append(f"Test holds no {', '.join(found.absent)}: the figures are at the mix of the other classes.")
    return [line for text in texts for line in bullet(text)]


def _notes(found: OperatingPoints) -> list[str]:
    factor = ", ".join(f"{name} {value:.3g}" for name, value in zip(CLASSES, found.factor, strict=True))
    notes = [
        *(f"{name}: {text}." for name, text in DEFINITIONS.items()),
        f"Factors that move the decision's probabilities to this mix: {factor}.",
        "As called: by the likeliest of the nine classes, uncorrected, as in the run's own report.",
        f"[low, high]: 95 % intervals, {found.draws} draws of whole groups of the test part, the thresholds held. *: "
        "errors were none or all of the wafers; the limits are those of Clopper and Pearson over groups. ",
        "A precision with *: no none wafer was called so; the low limit supposes that as many are as the exact limit "
        "allows. That holds for each call alone; of all together, see the flag precision.",
    ]
    return [line for text in notes for line in bullet(text)]


def _span(estimate: Estimate, *, decimals: int = 3) -> str:
    mark = "*" if isinstance(estimate, Bounded) and estimate.exact else ""
    if decimals == 3:
        return span(estimate) + mark
    if np.isnan(estimate.low):
        return f"{estimate.value:.{decimals}f}"
    return f"{estimate.value:.{decimals}f} [{estimate.low:.{decimals}f}, {estimate.high:.{decimals}f}]{mark}"


def _threshold(prob: float) -> str:
    return f"{prob:.4f}" if 0.1 <= prob < 0.999 else f"{prob:.3g}" if prob < 0.5 else f"1-{1 - prob:.2g}"


def _to_half_of_it() -> int:
    return wafers_to_measure(MAX_FALSE_ALARM_RATE, MAX_FALSE_ALARM_RATE / 2)
