"""The page from top to bottom: load the models once, show the view that is chosen, say readably what fails."""

from collections.abc import Callable, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

import streamlit as st

from app import parts
from app.options import Options, choose, parser
from app.quicken import quicken
from wafer_tf.errors import WaferError

if TYPE_CHECKING:
    from app.engine import Engine
    from app.similar import Reference

_HERE = Path(__file__).parent


def main(argv: Sequence[str]) -> None:
    """Show the page.

    Args:
        argv: as of `options.parser`.
    """
    st.set_page_config(page_title="Wafer maps", layout="wide")
    st.html(f"<style>{(_HERE / 'page.css').read_text(encoding='utf-8')}</style>")
    try:
        options = choose(parser().parse_args(argv))
        _show(*_load(options))
    except WaferError as error:
        _fail(str(error))
    except OSError as error:
        _fail(f"{error.filename or 'a file'}: {error.strerror or error}")


@st.cache_resource(show_spinner="Loading the model: some seconds, once.", hash_funcs={Options: repr}, max_entries=1)
def _load(options: Options) -> tuple["Engine", "Reference"]:
    """Load the models and the reference set, and work out what the samples need."""
    from app import samples
    from app.engine import Engine
    from app.similar import load_reference

    engine = Engine(options.run, options.bundle, point=options.point)
    engine.prepare([wafer.grid for wafer in samples.every()])
    reference = load_reference(engine, options.reference)
    quicken()
    return engine, reference


def _show(engine: "Engine", reference: "Reference") -> None:
    from app import batch, pad, report, samples

    views: dict[str, Callable[[Engine, Reference], None]] = {
        "Samples": samples.show,
        "Your maps": batch.show,
        "Draw": pad.show,
        "Report": report.show,
    }
    title, choice = st.columns([1.4, 1], vertical_alignment="center")
    title.html(_title(engine))
    with choice:
        view = st.segmented_control(
            "View", list(views), default="Samples", required=True, key="view", label_visibility="collapsed"
        )
    views[view or "Samples"](engine, reference)


def _title(engine: "Engine") -> str:
    station = f"int8 bundle {engine.bundle_sha256[:8]}" if engine.bundle_sha256 else "no int8 bundle"
    model = f"{engine.run.path.name}: {engine.name}, {engine.parameters:,} parameters; {station}"
    return f'<div class="title"><h1>What is on this wafer?</h1><span>{escape(model)}</span></div>'


def _fail(text: str) -> None:
    st.html(f'<div class="title"><h1>This cannot be shown</h1></div>{parts.failure(text)}')
