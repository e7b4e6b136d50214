"""Sample maps of every class to look at: synthetic, for no fab's maps may be passed on."""

from typing import TYPE_CHECKING

import streamlit as st

from app import panel, parts
from app.answers import Wafer
from wafer_tf.dies import CLASSES
from wafer_tf.synthesis import synthesize

if TYPE_CHECKING:
    from app.engine import Engine
    from app.similar import Reference

PER_CLASS, SEED = 10, 0
NOTE = "Samples are synthetic: drawn by rules, not probed in a fab. They show the page, not how good the model is."


def show(engine: "Engine", reference: "Reference") -> None:
    """Let the user choose a sample, and show it."""
    left, right = st.columns([1.5, 1], vertical_alignment="bottom")
    name = left.pills(
        "Synthetic sample of", CLASSES, default="Edge-Loc", required=True, key="class", persist_state="session"
    )
    number = right.pills(
        "Number", range(1, PER_CLASS + 1), default=1, required=True, key="number", persist_state="session"
    )
    wafer = sample(name or CLASSES[0], number or 1)
    st.session_state["sample"] = wafer
    panel.show(engine, reference, wafer, about=f"Synthetic sample {number}, drawn as {name}")
    st.html(parts.caption(NOTE))


def sample(name: str, number: int) -> Wafer:
    """Return sample `number`, from 1, of a class."""
    return every()[CLASSES.index(name) * PER_CLASS + number - 1]


@st.cache_resource(show_spinner=False)
def every() -> list[Wafer]:
    """Return all samples, class after class."""
    wafers = synthesize(PER_CLASS, seed=SEED).wafers
    return [
        Wafer(f"{CLASSES[wafers.label[i]]} {i % PER_CLASS + 1}", wafers.map(i), int(wafers.label[i]))
        for i in range(len(wafers))
    ]
