"""The report of a run: what a yield engineer reads (text), what a program reads (JSON), and the figures."""

import json
import os
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wafer_tf.as_json import to_json
from wafer_tf.dies import NONE
from wafer_tf.reporting.card import model_card
from wafer_tf.reporting.facts import Facts, format_facts
from wafer_tf.reporting.findings import warnings_of
from wafer_tf.reporting.words import WIDTH, bullet, headline, short, span
from wafer_tf.scoring.bootstrap import Estimate
from wafer_tf.scoring.controls import Controls
from wafer_tf.scoring.scores import NATURAL_COUNTS, MixScores, Scores
from wafer_tf.waferset import WaferSet
from wafer_tf.whole_files import write_whole


def write_report(
    folder: str | os.PathLike[str],
    *,
    facts: Facts,
    scores: Scores,
    controls: Controls | None,
    wafers: WaferSet,
    label: NDArray[np.integer[Any]],
    prob: NDArray[np.floating[Any]],
    history: Sequence[Mapping[str, float]] | None = None,
) -> list[Path]:
    """Write report.txt, report.json, model_card.md and figures/*.png into a run folder, each whole or not at all.

    Args:
        folder: an existing folder; files of these names are replaced.
        facts: of the run.
        scores: of `label` and `prob`.
        controls: as `controls.controls` gives them; None where there are none.
        wafers: the n maps scored, in the order of label and prob.
        label: (n,) index into CLASSES.
        prob: (n, 9) rows sum to 1.
        history: one row per epoch with epoch, loss, val_loss and what else was recorded; None draws no curves.

    Returns:
        The files written.
    """
    folder = Path(folder)
    from wafer_tf.figures.scores import write_figures

    record = {
        "facts": facts.to_json(),
        "scores": scores,
        "controls": controls,
        "warnings": warnings_of(scores, facts=facts, controls=controls),
    }
    texts = {
        "report.json": json.dumps(to_json(record), indent=1, allow_nan=False) + "\n",
        "model_card.md": model_card(scores, facts=facts, controls=controls),
        "report.txt": format_report(scores, facts=facts, controls=controls) + "\n",
    }
    (folder / "figures").mkdir(exist_ok=True)
    written = write_figures(folder / "figures", scores=scores, wafers=wafers, label=label, prob=prob, history=history)
    for name, text in texts.items():
        write_whole(folder / name, text)
    return [*written, *(folder / name for name in texts)]


def format_report(scores: Scores, *, facts: Facts, controls: Controls | None) -> str:
    """Return the whole report as text, at most 100 columns wide but for long paths and commands."""
    warnings = warnings_of(scores, facts=facts, controls=controls)
    sections = {
        headline(scores, facts=facts): [],
        "Per class": format_table(scores).splitlines(),
        "At WM-811K's natural class mix, by re-weighting the rows of the confusion matrix": _natural(scores),
        "Escapes (defect called none) and false alarms (none called a defect), as scored": _escapes(scores),
        **({"Calibration: are the probabilities right?": _calibration(scores)} if scores.if_calibrated else {}),
        "Confusion: rows true, columns predicted, wafers": _confusion(scores),
        **({"Controls: answers that look at no pattern": _controls(scores, controls)} if controls else {}),
        "Warnings": [line for text in warnings for line in bullet(text)] or ["none"],
        "The run": format_facts(facts),
        "How to read this": bullet(
            f"[low, high]: 95 % intervals, {scores.draws} draws of whole groups (wafers sharing a lot or being "
            "near-copies) with replacement; of this test set only, not of another training run."
        )
        + bullet("A class never predicted has no precision and F1 0; a class without wafers has no figure (-).")
        + bullet(
            "Calibration error: 15 equal-width bins of the largest probability. Noise can only raise it, so its "
            "interval leans upwards."
        ),
    }
    return "\n\n".join(
        "\n".join([title, *(f"  {line}".rstrip() for line in lines)]) for title, lines in sections.items()
    )


def format_table(scores: Scores) -> str:
    """Return the per-class table and the summary figures, 98 columns wide."""
    header = f"{'precision':<20} {'recall':<20} {'F1':<20} {'AUC':>5} {'AP':>5}"
    lines = [f"{'class':<9} {'wafers':>6} {'groups':>6} {header}"]
    lines += [
        f"{c.name:<9} {c.support:>6} {c.groups:>6} {span(c.precision):<20} {span(c.recall):<20} {span(c.f1):<20} "
        f"{short(c.roc_auc):>5} {short(c.average_precision):>5}"
        for c in scores.classes
    ]
    left = {
        "macro-F1": scores.macro_f1,
        "balanced accuracy": scores.balanced_accuracy,
        "accuracy": scores.accuracy,
        "top-2 accuracy": scores.top2_accuracy,
    }
    right = {
        "escapes": scores.escape_rate,
        "false alarms": scores.false_alarm_rate,
        "log loss": scores.log_loss,
        "calibration error": scores.ece,
    }
    lines += [""]
    for (a, x), (b, y) in zip(left.items(), right.items(), strict=True):
        lines.append(f"{a:<18} {span(x):<24} {b:<18} {span(y)}")
    return "\n".join(lines)


def _natural(scores: Scores) -> list[str]:
    mix = scores.natural_mix
    lines = [f"{'class':<9} {'weight':>7}  {'precision':<20} {'F1':<20}"]
    for c, count, precision, f1 in zip(scores.classes, mix.counts, mix.precision, mix.f1, strict=True):
        lines.append(f"{c.name:<9} {count:>7}  {span(precision):<20} {span(f1):<20}")
    none = scores.classes[NONE].support
    weights = f"Weights: the {sum(NATURAL_COUNTS):,} labelled maps of WM-811K. Recall is as above. "
    if none:
        weights += (
            f"Each of the {none} wafers of none stands for {NATURAL_COUNTS[NONE] / none:,.0f}: read the intervals."
        )
    else:
        weights += "No wafer here is labelled none, so this mix is of defects alone."
    return [
        *lines,
        "",
        f"{'macro-F1':<18} {span(mix.macro_f1):<24} {'escapes':<18} {span(mix.escape_rate)}",
        f"{'accuracy':<18} {span(mix.accuracy):<24} {'false alarms':<18} {span(mix.false_alarm_rate)}",
        f"of 1,000 wafers: {_of_1000(mix, mix.false_alarm_rate, good=True)} false alarms, "
        f"{_of_1000(mix, mix.escape_rate, good=False)} escapes",
        "",
        *textwrap.wrap(weights, WIDTH - 2),
    ]


def _of_1000(mix: MixScores, rate: Estimate, *, good: bool) -> str:
    """Return how many of 1,000 wafers a rate among the none wafers, or among the others, comes to."""
    none, total = mix.counts[NONE], max(sum(mix.counts), 1)
    share = 1000 * (none if good else total - none) / total
    if np.isnan(rate.value):
        return "-"
    if np.isnan(rate.low):
        return f"{share * rate.value:.1f}"
    return f"{share * rate.value:.1f} [{share * rate.low:.1f}, {share * rate.high:.1f}]"


def _escapes(scores: Scores) -> list[str]:
    none = scores.classes[NONE]
    defects = scores.wafers - none.support
    escaped = sum(row[NONE] for c, row in enumerate(scores.confusion) if c != NONE)
    alarms = none.support - scores.confusion[NONE][NONE]
    lines = [
        f"escapes            {span(scores.escape_rate):<22} {escaped} of {defects} defects",
        f"false alarms       {span(scores.false_alarm_rate):<22} {alarms} of {none.support} none",
    ]
    for c, row in zip(scores.classes, scores.confusion, strict=True):
        if c.support and c is not none:
            lines.append(f"{c.name:<18} {span(c.escape_rate):<22} {row[NONE]} of {c.support} called none")
    return lines


def _calibration(scores: Scores) -> list[str]:
    perfect = scores.if_calibrated
    if perfect is None:
        return []
    lines = [f"{'':<18} {'this model':<24} were its probabilities exact, on so many wafers"]
    for name, found, exact in (
        ("log loss", scores.log_loss, perfect.log_loss),
        ("calibration error", scores.ece, perfect.ece),
    ):
        lines.append(f"{name:<18} {_fine(found):<24} {_fine(exact)}")
    above = scores.ece.value > perfect.ece.high
    verdict = "above what chance gives" if above else "within what chance gives"
    text = (
        f"The calibration error is {verdict}. The band supposes independent wafers; those of one lot are alike, which "
        "makes it wider."
    )
    return [*lines, *textwrap.wrap(text, WIDTH - 2)]


def _fine(estimate: Estimate) -> str:
    if np.isnan(estimate.low):
        return "-" if np.isnan(estimate.value) else f"{estimate.value:.4f}"
    return f"{estimate.value:.4f} [{estimate.low:.4f}, {estimate.high:.4f}]"


def _confusion(scores: Scores) -> list[str]:
    lines = [" " * 9 + "".join(f"{c.name:>9} " for c in scores.classes)]
    for c, row in zip(scores.classes, scores.confusion, strict=True):
        lines.append(f"{c.name:<9}" + "".join(f"{count or '.':>9} " for count in row))
    return lines


def _controls(scores: Scores, controls: Controls) -> list[str]:
    majority, by_size = controls.majority_class, controls.map_size_only
    lines = [f"{'':<28} {'macro-F1':>8} {'accuracy':>9}"]
    for name, found in ((f"majority class ({majority.says})", majority), ("map size only", by_size)):
        lines.append(f"{name:<28} {short(found.macro_f1):>8} {short(found.accuracy):>9}")
    return [*lines, f"{'this model':<28} {short(scores.macro_f1.value):>8} {short(scores.accuracy.value):>9}"]
