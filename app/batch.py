"""The user's own maps: uploaded, judged, and one or many of them shown."""

from dataclasses import replace
from typing import TYPE_CHECKING

import streamlit as st
from streamlit.runtime.memory_uploaded_file_manager import MemoryUploadedFileManager
from streamlit.runtime.scriptrunner import get_script_run_ctx

from app import file_facts, panel, parts, reading, samples
from app.answers import Answer, Wafer
from app.table import DOUBTS, Row, columns, narrowed, row_of, to_csv
from app.uploads import MAX_ALL_BYTES, MAX_BYTES, MAX_FILES, MAX_MAPS, Rejected, read_uploads
from wafer_tf.dies import CLASSES
from wafer_tf.formats.options import Options

if TYPE_CHECKING:
    from app.engine import Engine
    from app.similar import Reference

Judged = tuple[Wafer | Rejected, Answer | None]

HELP = (
    "Any file of a prober, tester or inspection tool, told by its content: STDF, ATDF, KLARF, SEMI E142 and G85, SINF, "
    "WMAP, TSK, Electroglas; a table of dies or a grid as CSV, text, Excel, Parquet, npy or npz; a picture of a map as "
    "PNG, JPEG or BMP; tools' files and grids also packed by gzip or zip. Up to "
    f"{MAX_BYTES // 2**20} MB a file, {MAX_ALL_BYTES // 2**20} MB and {MAX_FILES} files in all, {MAX_MAPS:,} wafers."
)
KEPT = "Nothing uploaded is kept: it stays in the memory of the server until you remove it or close the page."


def show(engine: "Engine", reference: "Reference") -> None:
    """Take files, judge their maps, and show one map, or a table of many."""
    st.file_uploader("Your wafer maps", accept_multiple_files=True, key=_uploader(), on_change=_take, help=HELP)
    options = reading.ask()
    items = _items(options)
    if not items:
        st.html(parts.caption(f"{HELP} {KEPT}"))
        st.button("Try it with the samples", on_click=_take_samples)
        return
    st.button("Remove all", on_click=_remove)
    judged = _judge(engine, items)
    rejected = [item for item in items if isinstance(item, Rejected)]
    if rejected:
        st.html(parts.rejections(rejected))
        file_facts.show_refused(rejected)
    wafers = [item for item in items if isinstance(item, Wafer)]
    if len(wafers) == 1:
        panel.show(engine, reference, wafers[0], about=panel.about(wafers[0]))
    elif wafers:
        _many(engine, reference, judged)


def _many(engine: "Engine", reference: "Reference", judged: list[Judged]) -> None:
    rows = [row_of(item, answer) for item, answer in judged]
    st.html(parts.caption(f"{_counts(rows)} Tick a row to see its wafer."))
    chosen = _filters(rows)
    shown = [rows[i] for i in chosen]
    key = f"table {hash(tuple(shown))}"  # another table begins without a ticked row
    event = st.dataframe(
        columns(shown),
        hide_index=True,
        on_select="rerun",
        selection_mode="single-row",
        key=key,
        height=280,
        column_config=_LOOKS,
    )
    words = f"Download the table as CSV ({len(shown):,})"
    st.download_button(words, to_csv(shown), "wafers.csv", "text/csv", on_click="ignore")
    picked = event.selection.rows
    place = picked[0] if picked and picked[0] < len(chosen) else 0
    wafer = judged[chosen[place]][0] if chosen else None
    if isinstance(wafer, Wafer):
        panel.show(engine, reference, wafer, about=panel.about(wafer))
    else:
        st.html(parts.caption("No wafer that was judged is left to show."))


def _filters(rows: list[Row]) -> list[int]:
    """Show the filters; return the places of the rows that pass them."""
    first, second, third, fourth = st.columns([1.4, 1.2, 1, 1])
    present = [name for name in CLASSES if any(row.call == name for row in rows)]
    calls = first.multiselect("Call", present, placeholder="every class", key="calls")
    doubt = second.selectbox("Show", DOUBTS, key="doubt")
    most = third.slider("Probability up to", 0, 100, 100, step=5, format="%d %%", key="most")
    text = fourth.text_input("Name contains", max_chars=80, key="text")
    return narrowed(rows, calls=calls, doubt=doubt, max_prob=most / 100, text=text)


def _counts(rows: list[Row]) -> str:
    judged = [row for row in rows if row.call is not None]
    said = [f"{len(judged):,} wafers", f"{sum(row.call != CLASSES[-1] for row in judged):,} called a defect"]
    said.append(f"possible escapes: {sum(row.may_escape is True for row in judged):,}")
    if any(row.call_int8 for row in judged):
        said.append(f"{sum(row.call == row.call_int8 for row in judged):,} with the same call of the int8 model")
    if any(row.decision for row in judged):
        left = {word: sum(row.decision == word for row in judged) for word in ("review", "unknown")}
        said.append(f"the station leaves {left['review']:,} to review and says unknown of {left['unknown']:,}")
    if any(row.patterns for row in judged):
        said.append(f"{sum(bool(row.patterns) for row in judged):,} with several patterns")
    if labelled := [row for row in judged if row.label]:
        fresh = [row for row in labelled if not row.learned]
        said.append(f"{sum(row.call == row.label for row in fresh):,} of {len(fresh):,} labels met")
        if learned := len(labelled) - len(fresh):
            said.append(f"{learned:,} not counted there: in the model's training or validation part")
    return ", ".join(said) + "."


def _judge(engine: "Engine", items: list[Wafer | Rejected]) -> list[Judged]:
    """Return the items with their answers, worked out once for each set of files."""
    if "judged" not in st.session_state or st.session_state["judge"] is not engine:
        bar = st.progress(0.0, "Judging the wafers")
        wafers = [item for item in items if isinstance(item, Wafer)]
        answers = iter(engine.answers([wafer.grid for wafer in wafers], progress=bar.progress))
        st.session_state["judged"] = [(item, next(answers) if isinstance(item, Wafer) else None) for item in items]
        st.session_state["judge"] = engine
        bar.empty()
    judged: list[Judged] = st.session_state["judged"]
    return judged


def _uploader() -> str:
    """Key of the file uploader: one that has been emptied is another one, because none gives its files back."""
    return f"files {st.session_state.setdefault('emptied', 0)}"


def _items(options: Options | None) -> list[Wafer | Rejected]:
    """Return the maps of the files, read anew where other files came or `options` changed; None changes nothing."""
    state = st.session_state
    if "files" in state and options is not None and options != state.get("read with"):
        with st.spinner("Reading the files"):
            _put(read_uploads(state["files"], options))
        state["read with"] = options
    items: list[Wafer | Rejected] = state.get("maps", [])
    return items


def _take() -> None:
    """Keep what the uploader holds: it forgets its files when another view is shown, and they may be read again.

    A file that was removed while the page ran has no contents left, and none of a file's attributes.
    """
    held = [file for file in st.session_state.get(_uploader()) or [] if hasattr(file, "getvalue")]
    st.session_state["files"] = [(file.name, file.getvalue()) for file in held]
    st.session_state.pop("read with", None)
    _let_go({file.file_id for file in held})
    if not st.session_state["files"]:
        _put([])


def _take_samples() -> None:
    st.session_state.pop("files", None)
    _let_go(set())
    _put([replace(wafer, name=f"{wafer.name} (synthetic)") for wafer in samples.every()])


def _remove() -> None:
    st.session_state["emptied"] = st.session_state.get("emptied", 0) + 1
    st.session_state.pop("files", None)
    _let_go(set())
    _put([])


def _let_go(held: set[str]) -> None:
    """Have Streamlit forget the uploads that were held and are not among `held` any more.

    It keeps them until the session ends where the uploader was emptied or went from the page meanwhile.
    """
    context, before = get_script_run_ctx(), st.session_state.get("held", set())
    st.session_state["held"] = held
    if context and isinstance(context.uploaded_file_mgr, MemoryUploadedFileManager):
        for id in before - held:
            context.uploaded_file_mgr.remove_file(context.session_id, id)


def _put(items: list[Wafer | Rejected]) -> None:
    st.session_state["maps"] = items
    st.session_state.pop("judged", None)


_LOOKS = {
    "wafer": st.column_config.TextColumn("Name", pinned=True),
    "lot": st.column_config.TextColumn("Lot", width=100),
    "wafer_id": st.column_config.TextColumn("Wafer", width=100),
    "product": st.column_config.TextColumn("Product", width=100),
    "call": st.column_config.TextColumn("Call"),
    "prob": st.column_config.NumberColumn("Probability", format="percent"),
    "runner_up": st.column_config.TextColumn("Runner-up"),
    "defect_prob": st.column_config.NumberColumn("Any defect", format="percent"),
    "may_escape": st.column_config.CheckboxColumn("May escape"),
    "call_int8": st.column_config.TextColumn("int8 call"),
    "prob_int8": st.column_config.NumberColumn("int8 probability", format="percent"),
    "decision": st.column_config.TextColumn("Decision"),
    "unknown_score": st.column_config.NumberColumn("Unknown score", format="%.4f"),
    "may_be": st.column_config.TextColumn("May be"),
    "patterns": st.column_config.TextColumn("Patterns"),
    "label": st.column_config.TextColumn("Label"),
    "rows": st.column_config.NumberColumn("Rows"),
    "cols": st.column_config.NumberColumn("Columns"),
    "dies": st.column_config.NumberColumn("Dies"),
    "failing": st.column_config.NumberColumn("Failing"),
    "learned": st.column_config.CheckboxColumn("In training"),
    "reason": st.column_config.TextColumn("Not judged because"),
}
