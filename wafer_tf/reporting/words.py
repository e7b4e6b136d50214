"""The words that report, model card and operating report share: headline, figures with their intervals."""

import textwrap

import numpy as np

from wafer_tf.reporting.facts import Facts
from wafer_tf.scoring.bootstrap import Estimate
from wafer_tf.scoring.scores import Scores

WIDTH = 100
"""Columns of a report, but for long paths and commands."""


def headline(scores: Scores, *, facts: Facts) -> str:
    """Return one line: macro-F1, its interval, and what it was measured on."""
    present = len(scores.classes) - len(scores.absent)
    classes = f" over {present} of {len(scores.classes)} classes" if scores.absent else ""
    wafers = f"{scores.wafers:,} wafers in {scores.groups:,} groups"
    return f"macro-F1 {span(scores.macro_f1)}{classes}: {scored_on(facts)}, {wafers}"


def scored_on(facts: Facts) -> str:
    """Return "test part of wm811k.npz, group split", or the data's name where no part of it was held out."""
    if facts.split_method is None:
        return facts.data_name
    return f"{facts.part} part of {facts.data_name}, {facts.split_method} split"


def short(value: float) -> str:
    """Return three decimals, "-" where undefined."""
    return "-" if np.isnan(value) else f"{value:.3f}"


def span(estimate: Estimate) -> str:
    """Return "0.912 [0.885, 0.930]", "0.912" without an interval, "-" where undefined."""
    if np.isnan(estimate.low):
        return short(estimate.value)
    return f"{estimate.value:.3f} [{estimate.low:.3f}, {estimate.high:.3f}]"


def bullet(text: str) -> list[str]:
    """Return the lines of a text as one point of a list."""
    return textwrap.wrap(text, WIDTH - 2, initial_indent="- ", subsequent_indent="  ")
