"""The run's own report: how good the model is, measured when it was trained."""

from typing import TYPE_CHECKING

import streamlit as st

from app import parts
from wafer_tf.errors import ModelError

if TYPE_CHECKING:
    from pathlib import Path

    from app.engine import Engine
    from app.similar import Reference

FIGURES = {
    "per_class": "Every class: precision, recall and F1 with their intervals",
    "confusion": "What each true class is called",
    "reliability": "Whether a probability means what it says",
    "roc_and_precision_recall": "Every class at every threshold",
    "operating": "Escapes against false alarms at each operating point, and what may be answered alone",
    "errors": "The most confident errors",
    "explain": "What the model looked at",
    "training": "How training went",
}
"""Captions by the file's name, in the order shown; figures of other names come last, under their names."""


def show(engine: "Engine", reference: "Reference") -> None:
    """Show report, model card and figures of the run."""
    del reference
    path = engine.run.path
    try:
        text, card = _read(path / "report.txt"), _read(path / "model_card.md")
    except ModelError as error:
        st.html(parts.failure(str(error)))
        return
    st.html(parts.story(text.partition("\n")[0]))
    left, right = st.columns(2)
    for i, picture in enumerate(_figures(path / "figures")):
        caption = FIGURES.get(picture.stem, picture.stem)
        with (left, right)[i % 2]:
            st.html(parts.caption(caption))  # st.image writes its captions too faint to read
            st.image(str(picture), alt=caption)
    with st.expander("The whole report"):
        st.code(text, language=None)
    with st.expander("Model card"):
        st.markdown(card)


def _figures(folder: "Path") -> list["Path"]:
    order = list(FIGURES)
    found = sorted(folder.glob("*.png"))
    return sorted(found, key=lambda picture: order.index(picture.stem) if picture.stem in order else len(order))


def _read(path: "Path") -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ModelError(f"{path}: cannot be read ({error}); expected what training.fit wrote.") from error
