"""Operating points and prediction sets in words and tables for an engineer, as JSON for a program, and as a figure."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from wafer_tf.as_json import to_json
from wafer_tf.decision.points import BALANCED
from wafer_tf.dies import CLASSES, NONE
from wafer_tf.reporting.words import bullet, short, span
from wafer_tf.scoring.bootstrap import Estimate
from wafer_tf.scoring.call_costs import Bounded, wafers_to_measure
from wafer_tf.scoring.operating import MAX_FALSE_ALARM_RATE, Named, OperatingPoints
from wafer_tf.scoring.selective import Proof, groups_to_prove
from wafer_tf.whole_files import write_whole

MOST_STEPS = 12
COLUMNS = 4
"""Points beside each other in a table."""
DEFINITIONS = {
    "call": "the likeliest class, after none's odds were multiplied by e to the point's shift; where that class is "
    "then less likely than review_below, nobody but a person decides (review)",
    "escape": "a wafer with a defect that is called none; one in review is none",
    "false alarm": "a none wafer called a defect; one in review is none",
    "error": "a wafer called another class than its own, of those not in review",
    "at the mix": "each wafer weighs as its class's share of the mix says",
    "flag precision": "share of the wafers called a defect that have one, of whichever class",
    "group": "wafers that share a lot or are near-copies",
    "set": "every class that reaches its threshold, and the likeliest",
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
            "classes": CLASSES,
            "mix": found.mix,
            "absent": found.absent,
            "wafers": found.wafers,
            "groups": found.groups,
            "none_wafers": found.none_wafers,
            "draws": found.draws,
            "seed": found.seed,
            "offered": found.offered,
            "points": found.named,
            "proofs": found.proofs,
            "sets": found.sets,
        }
    )
    return values


def format_operating(found: OperatingPoints, *, source: str) -> str:
    """Return the whole report as text, at most 100 columns wide but for a long source."""
    part = f"{source}: {found.wafers:,} wafers in {found.groups:,} groups"
    sections = {
        f"Operating points at {found.mix.name} ({found.mix.shares[NONE]:.1%} none)": [part, "", *_summary(found)],
        "Of 1,000 wafers": _per_1000(found),
        "What each name promises, and whether wafers that did not choose it say so": _promises(found),
        "Escapes per true class: share called none": _escapes(found),
        "Precision per call at the mix (in brackets: wafers called so, as counted)": _precision(found),
        **{f"Answered alone with at most {p.goal.max_error:.3g} wrong": _proof(p) for p in found.proofs},
        f"Prediction sets, {found.sets.coverage:.0%} of each class": _sets(found),
        "How fine these figures can be": _resolution(found),
        "How to read this": _notes(found),
    }
    return "\n\n".join(
        "\n".join([title, *(f"  {line}".rstrip() for line in lines)]) for title, lines in sections.items()
    )


def format_summary(found: OperatingPoints) -> str:
    """Return what a model card or a terminal shows of it: the points, what they promise, and the sets."""
    sections = {
        f"Operating points at {found.mix.name}": _summary(found),
        "What each name promises": _promises(found),
        f"Prediction sets, {found.sets.coverage:.0%} of each class": _sets(found),
    }
    return "\n\n".join(
        "\n".join([title, *(f"  {line}".rstrip() for line in lines)]) for title, lines in sections.items()
    )


def _shown(found: OperatingPoints) -> list[tuple[str, Any]]:
    """Return names and costs of the points that are offered."""
    return [(named.name, named.costs) for named in found.named if named.kept and named.costs is not None]


def _summary(found: OperatingPoints) -> list[str]:
    lines = [f"{'point':<19} {'escapes':<23} {'false alarms':<23} {'review':>6} {'error':>6} {'flag precision':>15}"]
    for name, costs in _shown(found):
        rates = f"{_span(costs.escape_rate):<23} {_span(costs.false_alarm_rate):<23}"
        others = f"{short(costs.review_rate.value):>6} {short(costs.error_rate.value):>6}"
        lines.append(f"{name:<19} {rates} {others} {short(costs.alarm_precision.value):>15}")
    return lines


def _per_1000(found: OperatingPoints) -> list[str]:
    lines = [f"{'point':<19} {'flagged':<22} {'false alarms':<20} {'escapes':<20} {'review':>6}"]
    for name, costs in _shown(found):
        figures = (
            f"{_span(costs.flagged_per_1000, decimals=1):<22} {_span(costs.false_alarms_per_1000, decimals=1):<20}"
        )
        escapes = _span(costs.escapes_per_1000, decimals=1)
        lines.append(f"{name:<19} {figures} {escapes:<20} {1000 * costs.review_rate.value:>6.1f}")
    return lines


def _promises(found: OperatingPoints) -> list[str]:
    lines = []
    for named in found.named:
        lines += bullet(f"{named.name}: {named.promise}. {_verdict(named)}")
    return lines


def _verdict(named: Named) -> str:
    if not named.kept:
        return f"Not offered: {named.why}."
    if named.point is None or named.name == BALANCED:
        return "Offered."
    point = f"review below {named.point.review_below:g}, shift of none {named.point.none_shift:+.4f}"
    judged = ", ".join(f"{rate:.2%}" for rate in named.rates)
    by = "fold by fold" if len(named.rates) > 1 else "on the test part"
    return f"Offered: {point}; {judged} {by}."


def _escapes(found: OperatingPoints) -> list[str]:
    shown, defects = _shown(found), [c for c in range(len(CLASSES)) if c != NONE]
    classes = [shown[0][1].classes[c] for c in defects]
    rows: dict[str, list[str]] = {
        "class": [c.name for c in classes],
        "share": [f"{found.mix.shares[c]:.4f}" for c in defects],
        "wafers": [str(c.wafers) for c in classes],
        "groups": [str(c.groups) for c in classes],
        **{name: [short(costs.classes[c].escape_rate.value) for c in defects] for name, costs in shown},
    }
    return [f"{name:<18}" + "".join(f"{cell:>10}" for cell in cells) for name, cells in rows.items()]


def _precision(found: OperatingPoints) -> list[str]:
    lines: list[str] = []
    shown = _shown(found)
    for first in range(0, len(shown), COLUMNS):
        some = shown[first : first + COLUMNS]
        lines += [*([""] if lines else []), f"{'called':<9} " + " ".join(f"{name:<19}" for name, _ in some)]
        for c, name in enumerate(CLASSES):
            cells = [costs.classes[c] for _, costs in some]
            lines.append(f"{name:<9} " + " ".join(f"{f'{short(k.precision.value)} ({k.called})':<19}" for k in cells))
    return lines


def _proof(proof: Proof) -> list[str]:
    drawn = ", ".join(f"{name} {count}" for name, count in zip(CLASSES, proof.drawn, strict=True))
    goal, step = proof.goal, proof.proven
    if step is None:
        text = f"Not proven. {proof.why}"
    else:
        text = (
            f"Proven at {goal.confidence:.0%}: {step.coverage:.1%} of the wafers may be answered alone, those "
            f"called with {step.review_below:g} or more. Of the drawn ones {step.errors} of {step.answered:,} are "
            f"wrong, at most {step.bound:.2%}. {proof.why}"
        )
    lines = bullet(text)
    lines += bullet(
        f"One wafer of each of {proof.groups:,} groups, thinned to {proof.mix.name}: {sum(proof.drawn):,} ({drawn}). "
        "The proof is of a wafer of a group that is new, groups counting alike, at this mix."
    )
    shown = [step for step in proof.steps if step.answered]
    if not shown:
        return lines
    picked = {int(i) for i in np.linspace(0, len(shown) - 1, MOST_STEPS)}
    if step is not None:
        picked.add(shown.index(step))
    lines += ["", f"{'called with':>11} {'answered':>8} {'error':>7}  {'drawn':>6} {'wrong':>5} {'at most':>7}"]
    for i in sorted(picked):
        s = shown[i]
        mark = "  <" if s is step else ""
        counts = f"{s.answered:>6} {s.errors:>5} {s.bound:>7.2%}"
        lines.append(f"{s.review_below:>11.5f} {s.coverage:>8.1%} {s.error:>7.2%}  {counts}{mark}")
    return lines


def _sets(found: OperatingPoints) -> list[str]:
    sets = found.sets
    lines = [
        f"{'class':<9} {'wafers':>6} {'groups':>6} {'threshold':>9}  {'covered':<22} {'of groups':>9} {'called':>7} "
        f"{'classes':>7}"
    ]
    for c in sets.classes:
        least = "-" if c.least is None else f"{c.least:.4f}"
        figures = f"{span(c.covered):<22} {short(c.of_groups):>9} {short(c.called):>7} {short(c.size):>7}"
        lines.append(f"{c.name:<9} {c.wafers:>6} {c.groups:>6} {least:>9}  {figures}")
    several = ", ".join(f"{n} {count:,}" for n, count in enumerate(sets.sizes) if n > 1 and count)
    texts = [
        f"Classes in a set: 1 {sets.sizes[1]:,}{f', {several}' if several else ''}. In {sets.empty:,} of them no class "
        "reaches its threshold; the likeliest stands in for it.",
        "covered: share of the class's wafers whose set holds it; of groups: the same, groups counting alike, which is "
        "what is stated; called: share of its wafers called so; classes: how many its sets hold, in the mean.",
    ]
    if unstated := [c.name for c in sets.classes if c.least is None]:
        texts.append(f"Of {', '.join(unstated)} too few groups are known to state a coverage.")
    return [*lines, *(line for text in texts for line in bullet(text))]


def _resolution(found: OperatingPoints) -> list[str]:
    m, limit = found.none_wafers, MAX_FALSE_ALARM_RATE
    counted = "; ".join(
        f"{name} {costs.alarms} ({costs.false_alarm_exact[0]:.1%} to {costs.false_alarm_exact[1]:.1%})"
        for name, costs in _shown(found)
    )
    texts = [
        f"No false-alarm rate is finer than 1/{m} ({1 / m:.1%}) on the {m} none wafers that judge; large groups among "
        f"them make them worth {found.none_groups:,.0f} independent ones.",
        f"False alarms among the {m}, with exact 95 % limits of their rate: {counted}.",
        f"To show a rate below {limit:.0%} takes {groups_to_prove(limit):,} none wafers of different groups without "
        f"one false alarm (the rule of three: 3 / {limit:g}); to measure {limit:.0%} to within half of it either way, "
        f"{wafers_to_measure(limit, limit / 2):,}.",
    ]
    if found.absent:
        texts.append(f"No {', '.join(found.absent)} judges: the figures are at the mix of the other classes.")
    return [line for text in texts for line in bullet(text)]


def _notes(found: OperatingPoints) -> list[str]:
    notes = [
        *(f"{name}: {text}." for name, text in DEFINITIONS.items()),
        "Every figure but a proof's is of wafers that did not choose the thresholds they are judged with. The decision "
        "(bias and temperature) is one for all.",
        f"[low, high]: 95 % intervals, {found.draws} draws of whole groups, the thresholds held. *: errors were none "
        "or all of the wafers; the limits are those of Clopper and Pearson over groups.",
    ]
    return [line for text in notes for line in bullet(text)]


def _span(estimate: Estimate, *, decimals: int = 3) -> str:
    mark = "*" if isinstance(estimate, Bounded) and estimate.exact else ""
    if decimals == 3:
        return span(estimate) + mark
    if np.isnan(estimate.low):
        return f"{estimate.value:.{decimals}f}"
    return f"{estimate.value:.{decimals}f} [{estimate.low:.{decimals}f}, {estimate.high:.{decimals}f}]{mark}"
