"""One wafer on the page: the map with its heat, the call, both models' probabilities, the sentence, similar wafers."""

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from app import file_facts, parts
from app.answers import Answer, Wafer
from app.engine import Engine
from app.similar import Reference
from app.wafer import draw, known_as, paint
from wafer_tf.dies import CLASSES, UNLABELLED
from wafer_tf.explaining.heat_maps import DEFAULT_METHOD, METHODS
from wafer_tf.explaining.narrative import call_facts, sentence
from wafer_tf.pattern_bits import PATTERNS

METHOD_NAMES = {
    "fused": "LayerCAM, two layers",
    "layercam": "LayerCAM",
    "gradcam": "Grad-CAM",
    "gradcam++": "Grad-CAM++",
    "scorecam": "Score-CAM (slow)",
}
KEPT = 64
"""Answers and heat maps a session keeps, so that moving a control computes nothing twice."""
LARGE_CELLS, LARGE_KEPT = 2**18, 2
"""From how many cells on a heat map takes a megabyte and more, up to 16, and how many of those a session keeps."""


def show(engine: Engine, reference: Reference, wafer: Wafer, *, about: str, pad: str | None = None) -> None:
    """Show everything about one wafer.

    Args:
        engine: the models.
        reference: where to look for similar wafers.
        wafer: the map.
        about: what is known of it.
        pad: key of the drawing pad where the map is being painted; None to only look at it.
    """
    answer = answered(engine, wafer.grid)
    left, right = st.columns([1, 1.1], gap="medium")
    method, opacity = _overlay(pad is not None)
    heat = explained(engine, wafer.grid, answer.call, method or DEFAULT_METHOD)
    apart = explained_apart(engine, wafer.grid, answer.patterns or (), method or DEFAULT_METHOD)
    facts = call_facts(wafer.grid, heat, answer.prob, patterns=_with_prob(answer, apart))
    with left:
        label = f"Wafer map, {facts.failing} of {facts.dies} dies fail. Call: {facts.call}."
        if answer.patterns:
            label += f" Patterns: {', '.join(answer.patterns)}."
        shown = (apart or heat) if method else None
        if pad is None:
            draw(wafer, shown, opacity=opacity, label=label, key="wafer")
        else:
            paint(wafer, shown, opacity=opacity, label=label, key=pad)
    right.html(
        parts.call_line(answer, about=about)
        + parts.several(answer, list(apart))
        + parts.strangeness(answer)
        + parts.doubt(answer)
        + parts.learned(answer)
        + parts.bars(answer)
        + parts.agreement(answer)
        + parts.station(answer)
        + parts.story(sentence(facts))
    )
    if wafer.origin is not None:
        file_facts.show(wafer.origin)
    _similar(reference, answer)


def about(wafer: Wafer) -> str:
    """Return what is known of an uploaded wafer."""
    rows, cols = wafer.grid.shape
    said = wafer.origin.found if wafer.origin else None
    known = [f"{kind} {text}" for kind in ("lot", "wafer") if said and (text := getattr(said, kind))]
    name = wafer.name if said and wafer.name == f"{said.lot}/{said.wafer}" else ", ".join([wafer.name, *known])
    label = "" if wafer.label == UNLABELLED else f", labelled {known_as(wafer)}"
    return f"{name}: {rows} x {cols} cells{label}"


@st.cache_resource(scope="session", max_entries=KEPT, show_spinner=False, hash_funcs={Engine: id})
def answered(engine: Engine, grid: NDArray[np.uint8]) -> Answer:
    """Answer for one map, at most once per session."""
    return engine.answer(grid)


def explained(engine: Engine, grid: NDArray[np.uint8], target: int, method: str) -> NDArray[np.float32]:
    """Explain one map, at most once per session while it is among the last looked at."""
    return (_explained if grid.size < LARGE_CELLS else _explained_large)(engine, grid, target, method)


def explained_apart(
    engine: Engine, grid: NDArray[np.uint8], names: tuple[str, ...], method: str
) -> dict[str, NDArray[np.float32]]:
    """Explain each of several patterns of one map, none without sigmoids in the float model; kept like `explained`."""
    if not names or not engine.explains_patterns:
        return {}
    return (_explained_apart if grid.size < LARGE_CELLS else _explained_apart_large)(engine, grid, names, method)


def _with_prob(
    answer: Answer, heats: dict[str, NDArray[np.float32]]
) -> dict[str, tuple[float, NDArray[np.float32]]] | None:
    """Return the heats with the probabilities of their patterns; None where there are no sigmoids to ask."""
    if answer.pattern_prob is None:
        return None
    return {name: (float(answer.pattern_prob[PATTERNS.index(name)]), heat) for name, heat in heats.items()}


@st.cache_resource(scope="session", max_entries=KEPT, show_spinner=False, hash_funcs={Engine: id})
def _explained_apart(
    engine: Engine, grid: NDArray[np.uint8], names: tuple[str, ...], method: str
) -> dict[str, NDArray[np.float32]]:
    return engine.pattern_heats(grid, names, method=method)


@st.cache_resource(scope="session", max_entries=LARGE_KEPT, show_spinner=False, hash_funcs={Engine: id})
def _explained_apart_large(
    engine: Engine, grid: NDArray[np.uint8], names: tuple[str, ...], method: str
) -> dict[str, NDArray[np.float32]]:
    return engine.pattern_heats(grid, names, method=method)


@st.cache_resource(scope="session", max_entries=KEPT, show_spinner=False, hash_funcs={Engine: id})
def _explained(engine: Engine, grid: NDArray[np.uint8], target: int, method: str) -> NDArray[np.float32]:
    return engine.heat(grid, target=target, method=method)


@st.cache_resource(scope="session", max_entries=LARGE_KEPT, show_spinner=False, hash_funcs={Engine: id})
def _explained_large(engine: Engine, grid: NDArray[np.uint8], target: int, method: str) -> NDArray[np.float32]:
    return engine.heat(grid, target=target, method=method)


def _overlay(pad: bool) -> tuple[str | None, float]:
    """Show the overlay's controls; return the method, None where it is off, and the opacity."""
    place = "pad" if pad else "look"
    first, second, third = st.columns([1.4, 1, 1], gap="medium", vertical_alignment="bottom")
    on = first.toggle("Show where the call comes from", value=not pad, key=f"overlay-{place}", persist_state="session")
    if not on:
        return None, 0.0
    method = second.selectbox(
        "Method",
        METHODS,
        format_func=lambda name: METHOD_NAMES.get(name, name),
        key=f"method-{place}",
        persist_state="session",
    )
    percent = third.slider(
        "Opacity", 0, 100, 90, step=10, format="%d %%", key=f"opacity-{place}", persist_state="session"
    )
    return method, percent / 100


def _similar(reference: Reference, answer: Answer) -> None:
    head, choice = st.columns([5, 1], vertical_alignment="bottom")
    count = choice.number_input("How many", 1, 20, 7, key="similar", persist_state="session")
    found = reference.matches(answer.embedding, count=count)
    same = sum(match.wafer.label == answer.call for match in found)
    words = f"among {reference.words}: {same} of {len(found)} are {CLASSES[answer.call]}"
    title = "Nearest known wafers" if answer.decision == "unknown" else "Most similar wafers"
    head.html(f"<b>{title}</b> {parts.plain(words)}")
    st.html(parts.matches(found))
