"""The words that report, model card and operating report share: facts, headline, figures with their intervals."""

import textwrap
from collections.abc import Mapping
from typing import Any

import numpy as np

from wafer_tf.scoring.scores import Estimate, Scores

WIDTH = 100
"""Columns of a report, but for long paths and commands."""
FACT_NAMES = {
    "data_name": "data",
    "data_path": "file",
    "data_sha256": "SHA-256 of the maps",
    "part": "part scored",
    "split_method": "split",
    "split_sizes": "wafers per part",
    "near_copies_leaked": "leaked by a lot split",
    "seed": "seed",
    "model": "model",
    "input": "input",
    "parameters": "parameters",
    "class_weights": "class weights",
    "synthetic_training_maps": "synthetic maps",
    "clean_wafers": "clean wafers, share",
    "unlabelled_training_maps": "unlabelled maps",
    "teachers": "teachers",
    "started_from": "started from",
    "epochs": "epochs",
    "best_epoch": "best epoch",
    "validation_macro_f1": "validation macro-F1",
    "seconds": "training seconds",
    "versions": "versions",
    "command": "command",
}
"""Facts the report and the model card know, in the order shown; any further key is shown under its own name.

`citations` (texts the data asks for) and `warnings` (further sentences) are shown apart. `near_copies_leaked` counts
the test wafers that a plain lot split would have left with a near-copy in another part.
"""


def headline(scores: Scores, *, facts: Mapping[str, Any]) -> str:
    """Return one line: macro-F1, its interval, and what it was measured on."""
    present = len(scores.classes) - len(scores.absent)
    classes = f" over {present} of {len(scores.classes)} classes" if scores.absent else ""
    wafers = f"{scores.wafers:,} wafers in {scores.groups:,} groups"
    return f"macro-F1 {span(scores.macro_f1)}{classes}: {scored_on(facts)}, {wafers}"


def scored_on(facts: Mapping[str, Any]) -> str:
    """Return "test part of wm811k.npz, group split", or the data's name where no part of it was held out."""
    data = str(facts.get("data_name", "unnamed data"))
    if "split_method" not in facts:
        return data
    return f"{facts.get('part', 'test')} part of {data}, {facts['split_method']} split"


def format_facts(facts: Mapping[str, Any]) -> list[str]:
    """Return one line per fact, known ones first and in order."""
    apart = ("citations", "warnings")
    keys = [key for key in FACT_NAMES if key in facts] + [k for k in facts if k not in FACT_NAMES and k not in apart]
    return [f"{FACT_NAMES.get(key, key):<22} {_value(facts[key])}" for key in keys]


def short(value: float) -> str:
    """Return three decimals, "-" where undefined."""
    return "-" if np.isnan(value) else f"{value:.3f}"


def span(estimate: Estimate) -> str:
    """Return "0.912 [0.885, 0.930]", "0.912" without an interval, "-" where undefined."""
    if np.isnan(estimate.low):
        return short(estimate.value)
    return f"{estimate.value:.3f} [{estimate.low:.3f}, {estimate.high:.3f}]"


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_value(item)}" for key, item in value.items())
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}" if value >= 10_000 else str(value)
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def bullet(text: str) -> list[str]:
    """Return the lines of a text as one point of a list."""
    return textwrap.wrap(text, WIDTH - 2, initial_indent="- ", subsequent_indent="  ")
