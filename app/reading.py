"""What the uploaded files do not say themselves, asked of the user."""

from collections.abc import Callable

import streamlit as st

from wafer_tf.errors import UsageError
from wafer_tf.formats import flags
from wafer_tf.formats.options import Options

AS_SAID = "as the file says"
_CHOICES = {
    "y-axis": ("y grows", (AS_SAID, "down", "up")),
    "orient": ("Notch", (AS_SAID, "down", "left", "up", "right")),
    "retest": ("Of a die tested again", ("last", "first", "best")),
}
_TEXTS = {
    "pass-bins": ("Bins that pass", "1,7"),
    "states": ("Grid values: no die, pass, fail", "0,128,255"),
    "columns": ("Columns of a table", "x=DieX,y=DieY,bin=Grade"),
    "colours": ("Picture colours: no die, pass, fail", "#ffffff,#00ff00,#ff0000"),
}


def show(on_change: Callable[[], None]) -> None:
    """Show the fields, by their flags; a change of one calls `on_change`."""
    with st.expander("Reading files: what they do not say"):
        first, second, third = st.columns(3)
        for place, (flag, (label, options)) in zip((first, second, third), _CHOICES.items(), strict=True):
            place.selectbox(label, options, key=_key(flag), on_change=on_change)
        for place, (flag, (label, example)) in zip(st.columns(4), _TEXTS.items(), strict=True):
            place.text_input(label, placeholder=example, max_chars=200, key=_key(flag), on_change=on_change)
        st.checkbox("Take files that contradict themselves", key=_key("lenient"), on_change=on_change)
        if wrong := st.session_state.get("reading wrong"):
            st.error(wrong)


def options() -> Options:
    """Return what the fields say; a field that makes no sense is named on the page and left out."""
    words = []
    for flag in _CHOICES:
        value = st.session_state.get(_key(flag), AS_SAID)
        if value != AS_SAID:
            words.append(f"--{flag}={value}")
    for flag in _TEXTS:
        if text := st.session_state.get(_key(flag), "").strip():
            words.append(f"--{flag}={text}")
    if st.session_state.get(_key("lenient")):
        words.append("--lenient")
    st.session_state["reading wrong"] = ""
    try:
        return flags.from_words(words)
    except UsageError as error:
        st.session_state["reading wrong"] = str(error)
        return Options()


def _key(flag: str) -> str:
    return f"reading {flag}"
