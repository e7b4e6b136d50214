"""A wafer map in the browser: drawn die by die, and painted on."""

import base64
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from app.answers import Wafer
from wafer_tf.dies import CLASSES, UNLABELLED, Die
from wafer_tf.encoding import encode
from wafer_tf.errors import InputError

_HERE = Path(__file__).parent
THUMBNAIL_CELLS = 48
_PALETTE = np.array([[255, 255, 255], [236, 227, 215], [43, 24, 178]], np.uint8)
"""figures.style.DIE_COLOURS, as in wafer.js; blue, green, red, as OpenCV has them."""


Heat = NDArray[np.float32] | dict[str, NDArray[np.float32]]
"""(rows, cols), 0..1; or one for every pattern of a wafer that has several, by name, in the order of their colours."""


def draw(wafer: Wafer, heat: Heat | None, *, opacity: float, label: str, key: str) -> None:
    """Draw a map.

    Args:
        wafer: what to draw.
        heat: drawn over the dies, of several patterns each in its colour; None for the dies alone.
        opacity: 0..1, of the heat.
        label: what the picture shows, for those who do not see it.
        key: names the place on the page.
    """
    _component()(data=_data(wafer.grid, heat, opacity=opacity, label=label, name=wafer.name), key=key)


def paint(wafer: Wafer, heat: Heat | None, *, opacity: float, label: str, key: str) -> None:
    """Draw a map on which dies can be painted; `painted` gives what was. Arguments as of `draw`."""
    data = _data(wafer.grid, heat, opacity=opacity, label=label, name=wafer.name) | {"paint": True}
    _component()(data=data, key=key, on_dies_change=_nothing)


def painted(start: NDArray[np.uint8], *, key: str) -> NDArray[np.uint8]:
    """Return the map as painted so far, `start` where nothing was.

    Raises:
        InputError: the browser sent something that is no painting of `start`.
    """
    dies = dict(st.session_state.get(key) or {}).get("dies")
    return start if dies is None else grid_of(dies, start)


def grid_of(dies: Any, start: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the (rows, cols) uint8 map of a text with a digit per die, which has the dies of `start`.

    Raises:
        InputError: it is something else.
    """
    if not isinstance(dies, str) or len(dies) != start.size or not set(dies) <= set("012"):
        raise InputError(f"painted map: expected {start.size} digits 0, 1 or 2. Reload the page.")
    grid = (np.frombuffer(dies.encode(), np.uint8) - np.uint8(ord("0"))).reshape(start.shape)
    if ((grid == Die.ABSENT) != (start == Die.ABSENT)).any():
        raise InputError("painted map: dies were added or removed; expected the same wafer. Reload the page.")
    return grid


@st.cache_data(max_entries=512, show_spinner=False)
def thumbnail(grid: NDArray[np.uint8]) -> str:
    """Return a small picture of a map, as a data URL of a PNG; a failing die is never lost in it."""
    import cv2

    planes = encode(grid, THUMBNAIL_CELLS)
    states = np.where(planes[..., 2] > 0, Die.FAIL, np.where(planes[..., 0] >= 128, Die.PASS, Die.ABSENT))
    _, png = cv2.imencode(".png", _PALETTE[states])
    return f"data:image/png;base64,{base64.b64encode(png.tobytes()).decode()}"


def round_wafer(side: int) -> NDArray[np.uint8]:
    """Return a (side, side) map of a round wafer on which every die passes."""
    centres = (np.arange(side) + 0.5) * 2 / side - 1
    return (np.hypot(centres[:, None], centres) <= 1).astype(np.uint8) * np.uint8(Die.PASS)


def known_as(wafer: Wafer) -> str:
    """Return the label of a map in words."""
    return "unlabelled" if wafer.label == UNLABELLED else CLASSES[wafer.label]


def _data(grid: NDArray[np.uint8], heat: Heat | None, *, opacity: float, label: str, name: str) -> dict[str, Any]:
    rows, cols = grid.shape
    several = heat if isinstance(heat, dict) else {}
    dies = (grid + np.uint8(ord("0"))).tobytes().decode()
    return {
        "rows": rows,
        "cols": cols,
        "dies": dies,
        "heat": None if heat is None or isinstance(heat, dict) else _levels(heat),
        "patterns": [{"name": one, "heat": _levels(own)} for one, own in several.items()],
        "opacity": opacity,
        "label": label,
        "name": name,
        "paint": False,
    }


def _levels(heat: NDArray[np.float32]) -> str:
    """Return base64 of a byte per die."""
    return base64.b64encode(np.rint(heat * 255).astype(np.uint8).tobytes()).decode()


@cache
def _component() -> Callable[..., Any]:
    html, css, js = ((_HERE / f"wafer.{kind}").read_text(encoding="utf-8") for kind in ("html", "css", "js"))
    return st.components.v2.component("wafer_map", html=html, css=css, js=js)


def _nothing() -> None:
    """A state of a component needs a callback to be one."""
