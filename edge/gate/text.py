"""The gate's findings as text: the models side by side, then every limit with its figure."""

import textwrap
from collections.abc import Sequence

import numpy as np

from edge.gate.comparison import Check, Comparison, UnknownComparison
from edge.gate.several import PatternComparison
from edge.gate.stated import SetComparison
from edge.gate.time_per_map import Latency
from wafer_tf.dies import CLASSES
from wafer_tf.gate_verdict import SHIPPED
from wafer_tf.reporting.words import WIDTH, span
from wafer_tf.scoring.bootstrap import Estimate
from wafer_tf.scoring.scores import Scores

Row = tuple[str, int, Scores, Comparison, Latency, bool]
"""Name, bytes of the file, scores, comparison with the float model, time per map, whether XNNPACK ran it."""

LIMITS = {
    "min_agreement": ("called the same", "%", "at least"),
    "max_macro_f1_drop": ("macro-F1 lost", "points", "at most"),
    "max_recall_drop": ("recall lost", "points", "at most"),
    "min_unknown_agreement": ("unknown alike", "%", "at least"),
    "max_unknown_auroc_drop": ("unknown: AUROC lost", "points", "at most"),
    "min_set_agreement": ("sets alike", "%", "at least"),
    "max_coverage_drop": ("coverage lost", "points", "at most"),
    "min_patterns_agreement": ("patterns alike", "%", "at least"),
    "max_bit_f1_drop": ("patterns: mean F1 lost", "points", "at most"),
}
SHIPPED_AS = {"min_agreement": SHIPPED, "min_patterns_agreement": "patterns, as shipped"}
"""What a check of the file that ships is called."""


def format_models(rows: Sequence[Row]) -> str:
    """Return the models side by side, one a line."""
    cells = [("model", "MB", "macro-F1", "worst class", "recall", "same call", "ms", "p99", "")]
    for name, size, scores, comparison, latency, xnnpack in rows:
        worst = min((c for c in scores.classes if c.support), key=lambda c: c.recall.value)
        agreement = f"{100 * comparison.agreement.value:.2f} %"
        speed = f"{latency.median_ms:.3f}", f"{latency.p99_ms:.3f}", "" if xnnpack else "no XNNPACK"
        cells.append(
            (name, f"{size / 1e6:.2f}", span(scores.macro_f1), worst.name, span(worst.recall), agreement, *speed)
        )
    wide = [max(len(row[i]) for row in cells) for i in range(len(cells[0]))]
    right = (1, 5, 6, 7)
    lines = [
        "  ".join(
            cell.rjust(w) if i in right else cell.ljust(w) for i, (cell, w) in enumerate(zip(row, wide, strict=True))
        )
        for row in cells
    ]
    return "\n".join(line.rstrip() for line in lines)


def format_checks(
    checks: Sequence[Check],
    comparison: Comparison,
    unknown: UnknownComparison | None = None,
    sets: SetComparison | None = None,
    patterns: PatternComparison | None = None,
) -> str:
    """Return every limit with what was found and PASS or FAIL, then what has no limit."""
    found: dict[tuple[str, str], Estimate] = {
        ("min_agreement", ""): comparison.agreement,
        ("max_macro_f1_drop", ""): comparison.macro_f1_drop,
        **_by_class("max_recall_drop", comparison.recall_drop),
    }
    if sets is not None:
        found |= {("min_set_agreement", ""): sets.agreement, **_by_class("max_coverage_drop", sets.coverage_drop)}
    if patterns is not None:
        found |= {("min_patterns_agreement", ""): patterns.agreement, ("max_bit_f1_drop", ""): patterns.bit_f1_drop}
    lines = []
    for check in checks:
        what, unit, word = LIMITS[check.name]
        shipped = check.where == SHIPPED
        name = SHIPPED_AS[check.name] if shipped else f"{what}, {check.where}" if check.where else what
        estimate = found.get((check.name, check.where))
        value = f"{check.value:.2f} {unit}" if estimate is None else _points(estimate, unit)
        lines.append(
            f"{'PASS' if check.passed else 'FAIL'}  {name:<24} {value:<32} {word} {check.limit:g} {unit}"
            f"{' beyond the interval' if check.where and not shipped else ''}"
        )
    if missing := [name for name, drop in zip(CLASSES, comparison.recall_drop, strict=True) if np.isnan(drop.value)]:
        lines.append(f"      not judged, for want of test maps: {', '.join(missing)}")
    lines += [
        f"      {name:<24} {_points(value, 'points')}"
        for name, value in {
            "more escapes": comparison.escape_change,
            "more false alarms": comparison.false_alarm_change,
            "probability drift": comparison.drift,
            "surer by": comparison.confidence_shift,
        }.items()
    ]
    return "\n".join(
        [
            *lines,
            f"      {'largest drift':<24} {100 * comparison.largest_drift:.2f} points",
            f"      {'right by one model alone':<24} float {comparison.only_float_right}, quantized "
            f"{comparison.only_quantized_right} maps; McNemar's exact p = {comparison.mcnemar_p:.2g}",
            *([] if unknown is None else _format_unknown(unknown)),
            *([] if sets is None else _format_sets(sets)),
            *([] if patterns is None else _format_patterns(patterns)),
        ]
    )


def _by_class(limit: str, drops: Sequence[Estimate]) -> dict[tuple[str, str], Estimate]:
    return {(limit, name): drop for name, drop in zip(CLASSES, drops, strict=True)}


def _format_unknown(unknown: UnknownComparison) -> list[str]:
    return [
        f"      {name:<24} float {100 * before:.2f}, quantized {100 * after:.2f} % of {count:,}"
        for name, before, after, count in (
            ("known flagged unknown", unknown.known_flagged_float, unknown.known_flagged, unknown.known),
            ("other patterns flagged", unknown.others_flagged_float, unknown.others_flagged, unknown.others),
        )
    ]


def _format_sets(sets: SetComparison) -> list[str]:
    lines = [f"      {'classes in a set':<24} float {sets.size_float:.3f}, quantized {sets.size:.3f} in the mean"]
    for model, covered in (("float", sets.covered_float), ("quantized", sets.covered)):
        shares = ", ".join(
            f"{name} {100 * each.value:.1f}"
            for name, each in zip(CLASSES, covered, strict=True)
            if not np.isnan(each.value)
        )
        lines.append(f"      {f'covered, {model}':<24} {shares} %")
    lines[-1] += f"; {100 * sets.stated:g} % are stated"
    if sets.review_below is not None:
        answered, wrong = (
            f"float {100 * before:.2f}, quantized {100 * after:.2f} %"
            for before, after in ((sets.answered_float, sets.answered), (sets.error_float, sets.error))
        )
        lines += [
            f"      {'answered alone':<24} {answered}, from {sets.review_below:g} on, which is proven",
            f"      {'of these wrong':<24} {wrong}",
        ]
    return [
        line
        for long in lines
        for line in textwrap.wrap(long, WIDTH + 20, subsequent_indent=31 * " ", initial_indent="")
    ]


def _format_patterns(patterns: PatternComparison) -> list[str]:
    exact, known = f"{patterns.mixed:,} mixed wafers", f"{patterns.known:,} known wafers"
    alike = f"{100 * patterns.agreement_mixed:.2f} % of {exact}"
    if patterns.known:
        alike += f", {100 * patterns.agreement_known:.2f} % of {known}"
    return [
        f"      {'patterns alike on':<24} {alike}",
        f"      {'patterns: mean F1':<24} float {patterns.bit_f1_float.value:.4f}, "
        f"quantized {patterns.bit_f1.value:.4f}",
        f"      {'found exactly':<24} float {100 * patterns.exact_float.value:.2f}, quantized "
        f"{100 * patterns.exact.value:.2f} % of {exact}",
        f"      {'several falsely found':<24} float {patterns.false_seconds_float:,}, quantized "
        f"{patterns.false_seconds:,} of {known}",
    ]


def footnotes(comparison: Comparison, *, folds: bool = False) -> str:
    """Return how to read the table and the limits.

    Args:
        comparison: of the two models.
        folds: the maps were judged by files of folds.
    """
    judged = (
        "maps, each judged by the models of its fold, float and quantized, which did not learn from it,"
        if folds
        else "maps of the run's test part"
    )
    text = (
        f"{comparison.wafers:,} {judged} in {comparison.groups:,} groups; 95 % intervals from "
        f"{comparison.draws:,} draws of whole groups, both models on the same draw. Losses and changes are of the "
        "quantized model against the float Keras model. Drift: the mean over maps of the largest change of any class's "
        "probability. A class fails where the whole interval of its lost recall is above the limit. ms per map: the "
        "model alone, one thread, median and 99th percentile."
    )
    return "\n".join(textwrap.wrap(text, WIDTH))


def _points(found: Estimate, unit: str) -> str:
    value = f"{100 * found.value:.2f}"
    return (
        f"{value} {unit}" if np.isnan(found.low) else f"{value} [{100 * found.low:.2f}, {100 * found.high:.2f}] {unit}"
    )
