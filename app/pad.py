"""The drawing pad: paint failing dies on a wafer and see what the model makes of them."""

from typing import TYPE_CHECKING

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from app import panel, parts, samples
from app.answers import Wafer
from app.wafer import painted, round_wafer
from wafer_tf.dies import NONE
from wafer_tf.errors import InputError

if TYPE_CHECKING:
    from app.engine import Engine
    from app.similar import Reference

EASY_CELLS = 40 * 40
"""Cells of a map whose dies are large enough to be hit with a mouse, and small enough for every pattern."""
STARTS = ("scattered fails", "spotless, 26 across", "spotless, 40 across", "spotless, 64 across", "the last sample")
"""Wafers to paint on. Spotless ones are unlike any a model was trained on, so they are not the first."""


def show(engine: "Engine", reference: "Reference") -> None:
    """Let the user paint, and answer after every stroke."""
    start = st.pills(
        "Paint failing dies on a wafer with",
        STARTS,
        default=STARTS[0],
        required=True,
        key="start",
        wrap=False,
        persist_state="session",
    )
    name, grid = _start(start or STARTS[0])
    drawings = st.session_state.setdefault("drawings", {})
    key = f"pad {name}"
    try:
        drawings[name] = painted(drawings.get(name, grid), key=key)
    except InputError as error:
        st.html(parts.failure(str(error)))
        return
    panel.show(engine, reference, Wafer(name, drawings[name]), about="What you painted", pad=key)


def _start(name: str) -> tuple[str, NDArray[np.uint8]]:
    """Return a start's wafer, and what to call a drawing on it."""
    if name == STARTS[0]:
        plain = [wafer.grid for wafer in samples.every() if wafer.label == NONE]
        return "drawn on scattered fails", min(plain, key=lambda grid: abs(grid.size - EASY_CELLS))
    if name == STARTS[-1]:
        shown = st.session_state.get("sample") or samples.sample("Loc", 1)
        return f"drawn on {shown.name}", shown.grid
    return f"drawn on {name}", round_wafer(int(name.split()[1]))
