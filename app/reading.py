"""What uploaded files do not say, asked of the user: the flags of reading as fields."""

from collections.abc import Mapping

import streamlit as st

from app import parts
from wafer_tf.errors import UsageError
from wafer_tf.formats import flags
from wafer_tf.formats.options import Options

CHOICES = {
    "y-axis": ("y grows", {"": "as the file says, else down", "down": "down", "up": "up"}),
    "orient": (
        "The notch is",
        {"": "as the file says, else down", "down": "down", "left": "left", "up": "up", "right": "right"},
    ),
    "retest": (
        "Of a die tested again",
        {"": "the last result", "first": "the first result", "best": "the best result"},
    ),
}
"""Flags with few values: the field's label, and the words of each value; "" is the default."""
TEXTS = {
    "pass-bins": ("Passing bins", "1,7"),
    "states": ("Values for no die, pass, fail", "0,128,255"),
    "colours": ("A picture's no die, pass, fail", "#ffffff,#00ff00,#ff0000"),
    "columns": ("A table's columns", "x=DieX,y=DieY,bin=Grade"),
    "class": ("KLARF classes that count", "3,7"),
    "min-defect-size": ("Smallest defect, µm", "0.5"),
    "overlay": ("E142 overlay", "Final"),
}
"""Flags that are written: the field's label, and an example."""
LENIENT = "Take files whose own counts differ, with a warning"
MAX_TEXT = 200


def ask() -> Options | None:
    """Show the fields; return what they ask for, None where a field holds what cannot be read."""
    with st.expander("Reading files: what a file does not say"):
        said = "A message that names --pass-bins means the field Passing bins, and so on. Files are read again at once."
        st.html(parts.caption(said))
        places = [column for _ in range(3) for column in st.columns(4, vertical_alignment="bottom")]
        given = {}
        for place, (name, (label, words)) in zip(places, CHOICES.items(), strict=False):
            given[name] = place.selectbox(
                label, list(words), format_func=words.__getitem__, key=f"reading {name}", persist_state="session"
            )
        for place, (name, (label, example)) in zip(places[len(CHOICES) :], TEXTS.items(), strict=False):
            given[name] = place.text_input(
                label,
                placeholder=f"such as {example}",
                help=f"--{name}",
                max_chars=MAX_TEXT,
                key=f"reading {name}",
                persist_state="session",
            )
        lenient = st.checkbox(LENIENT, help="--lenient", key="reading lenient", persist_state="session")
        try:
            return options_of(given, lenient=lenient)
        except UsageError as error:
            st.html(parts.failure(f"{error} The files are shown as they were read before."))
            return None


def options_of(given: Mapping[str, str | None], *, lenient: bool) -> Options:
    """Return what fields ask for.

    Args:
        given: what stands in the field of a flag, by its name; empty for the default.
        lenient: as of `Options`.

    Raises:
        UsageError: a field holds what its flag does not take; its label is named.
    """
    words = [f"--{name}={text.strip()}" for name, text in given.items() if text and text.strip()]
    try:
        return flags.from_words([*words, *(["--lenient"] if lenient else [])])
    except UsageError as error:
        text = str(error)
        for name, (label, _) in TEXTS.items():
            text = text.replace(f"argument --{name}:", f"{label}:")
        raise UsageError(text) from None
