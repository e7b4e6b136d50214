"""Several patterns on one wafer: a report in words and tables, as JSON for a program, and as a figure."""

import json
import os
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from wafer_tf.as_json import to_json
from wafer_tf.decision.fitting_patterns import MOST_OF_NONE, MOST_OF_SINGLES
from wafer_tf.decision.patterns import Patterns
from wafer_tf.pattern_bits import PATTERNS
from wafer_tf.reporting.words import WIDTH, bullet, short, span
from wafer_tf.scoring.several import PatternScores
from wafer_tf.whole_files import write_whole

THIS = "this model"
"""What the model's own way is called beside others."""
WORST = 8
"""Combinations that the text names; the JSON has all."""
DEFINITIONS = {
    "found": "the patterns that pass where two or more do and the nine-way answer is a defect, else the one of the "
    "nine-way answer",
    "exact match": "share of the wafers of which all patterns are found, and no other",
    "bit-F1": "F1 of one pattern over all wafers, alone or among others; the mean counts the patterns that occur alike",
    "macro-F1 of combinations": "each combination that occurs is a class of its own; their F1 count alike",
    "false second": "a known wafer of one pattern, or of none, on which several are found",
    "group": "wafers that share a lot or are near-copies; intervals draw whole groups",
}
"""The words of the report."""


def write_several(
    folder: str | os.PathLike[str],
    scores: PatternScores,
    *,
    source: str,
    patterns: Patterns | None = None,
    beside: Mapping[str, PatternScores] | None = None,
) -> list[Path]:
    """Write patterns.txt, patterns_report.json and figures/patterns.png, each whole or not at all.

    Args:
        folder: made where it is not there; files of these names are replaced.
        scores: of the model.
        source: what was measured, for the headline: "mixed wafers of mixedwm38_dev.npz, out of fold".
        patterns: the thresholds, to stand beside each pattern.
        beside: other ways on the same wafers, by name: "nine-way top two".

    Returns:
        The files written.
    """
    folder, ways = Path(folder), {THIS: scores, **(beside or {})}
    from wafer_tf.figures.several import several_figure
    from wafer_tf.figures.style import save, style

    (folder / "figures").mkdir(parents=True, exist_ok=True)
    texts = {
        "patterns.txt": format_several(scores, source=source, patterns=patterns, beside=beside) + "\n",
        "patterns_report.json": json.dumps(
            record_several(scores, source=source, patterns=patterns, beside=beside), indent=1, allow_nan=False
        )
        + "\n",
    }
    with style():
        picture = save(several_figure(ways), folder / "figures" / "patterns.png")
    for name, text in texts.items():
        write_whole(folder / name, text)
    return [picture, *(folder / name for name in texts)]


def record_several(
    scores: PatternScores,
    *,
    source: str,
    patterns: Patterns | None = None,
    beside: Mapping[str, PatternScores] | None = None,
) -> dict[str, Any]:
    """Return all figures and definitions as plain JSON values, NaN as None; for the arguments see `write_several`."""
    values: dict[str, Any] = to_json(
        {
            "source": source,
            "definitions": DEFINITIONS,
            "patterns": PATTERNS,
            "thresholds": None if patterns is None else patterns.thresholds,
            "scores": scores,
            "beside": dict(beside or {}),
        }
    )
    return values


def format_several(
    scores: PatternScores,
    *,
    source: str,
    patterns: Patterns | None = None,
    beside: Mapping[str, PatternScores] | None = None,
) -> str:
    """Return the report as text, at most 100 columns wide but for a long source; arguments as of `write_several`."""
    ways = {THIS: scores, **(beside or {})}
    sections = {
        "Several patterns on one wafer": [
            f"{source}: {scores.wafers:,} wafers in {scores.groups:,} groups",
            "",
            *_summary(ways),
        ],
        "Exact match by number of patterns": _by_number(ways),
        "Each pattern, alone or among others": _bits(scores, patterns),
        f"The {min(WORST, len(scores.combinations))} combinations found worst": _worst(scores),
        "False second patterns on known wafers": _false_seconds(ways),
        "How to read this": [line for word, text in DEFINITIONS.items() for line in bullet(f"{word}: {text}")],
    }
    return "\n\n".join(
        "\n".join([title, *(f"  {line}".rstrip() for line in lines)]) for title, lines in sections.items() if lines
    )


def _summary(ways: Mapping[str, PatternScores]) -> list[str]:
    wide = max(map(len, ways))
    kinds = len(next(iter(ways.values())).combinations)
    return [
        f"{'':<{wide}} {'exact match':<22} {'mean bit-F1':<22} macro-F1 of {kinds} combinations",
        *(f"{name:<{wide}} {span(s.exact):<22} {span(s.mean_f1):<22} {span(s.macro_f1)}" for name, s in ways.items()),
    ]


def _by_number(ways: Mapping[str, PatternScores]) -> list[str]:
    wide = max(22, *map(len, ways))
    lines = ["patterns  wafers  " + "".join(f"{name:<{wide + 2}}" for name in ways)]
    for rows in zip(*(scores.by_number for scores in ways.values()), strict=True):
        cells = "".join(f"{span(row.exact):<{wide + 2}}" for row in rows)
        lines.append(f"{rows[0].patterns:>8} {rows[0].wafers:>7,}  {cells}")
    return lines


def _bits(scores: PatternScores, patterns: Patterns | None) -> list[str]:
    lines = [f"{'pattern':<10} {'wafers':>7}  {'precision':<21} {'recall':<21} {'F1':<21} passes from"]
    for k, bit in enumerate(scores.bits):
        least = "-" if patterns is None else f"{patterns.thresholds[k]:.3f}"
        rates = f"{span(bit.precision):<21} {span(bit.recall):<21} {span(bit.f1):<21}"
        lines.append(f"{bit.name:<10} {bit.support:>7,}  {rates} {least:>11}")
    return lines


def _worst(scores: PatternScores) -> list[str]:
    lines = [f"{'F1':>5} {'wafers':>7} {'found':>6}  patterns"]
    for one in sorted(scores.combinations, key=lambda one: one.f1)[:WORST]:
        lines.append(f"{short(one.f1)} {one.wafers:>7,} {one.found:>6,}  {' + '.join(one.names) or 'none'}")
    return lines


def _false_seconds(ways: Mapping[str, PatternScores]) -> list[str]:
    lines, wide = [], max(map(len, ways))
    for name, scores in ways.items():
        if (known := scores.known) is not None:
            for kind, count, of, share, most in (
                ("one pattern", known.on_singles, known.singles, known.share_of_singles, MOST_OF_SINGLES),
                ("none", known.on_none, known.none, known.share_of_none, MOST_OF_NONE),
            ):
                shares = (
                    "" if not of else f": {_per_cent(share.value, share.low, share.high)}, aim at most {100 * most:g} %"
                )
                lines.append(f"{name:<{wide}}  {count:,} of {of:,} wafers with {kind}{shares}")
    return [part for line in lines for part in textwrap.wrap(line, WIDTH - 2)]


def _per_cent(value: float, low: float, high: float) -> str:
    return f"{100 * value:.2f} %" if low != low else f"{100 * value:.2f} [{100 * low:.2f}, {100 * high:.2f}] %"
