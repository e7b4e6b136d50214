"""Explained calls, from a model and maps to what is written of them: sheets, heat maps and sentences."""

import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from wafer_tf.as_json import to_json
from wafer_tf.dies import CLASSES, UNLABELLED
from wafer_tf.explaining.narrative import CallFacts, call_facts, sentence
from wafer_tf.figures.explain import COLUMNS, Tile, explanation_sheet
from wafer_tf.figures.style import save, style
from wafer_tf.learning.run_folder import RunFolder
from wafer_tf.tables import judged_table
from wafer_tf.waferset import WaferSet
from wafer_tf.whole_files import write_whole

if TYPE_CHECKING:
    import pandas as pd

    from wafer_tf.explaining.heat_maps import Explainer, HeatMaps

LINES_PER_SHEET = 10
RIGHT_OF_EACH, WRONG_IN_ALL = 1, 3
"""What a run's own small sheet shows: of each class so many right calls, and so many errors."""

Row = tuple[str, NDArray[np.int64]]
"""Heading, and which maps stand under it."""


@dataclass(frozen=True, eq=False)
class Explained:
    """Calls and what was looked at for them.

    Attributes:
        names: (n,) what each map is called in files and on sheets.
        wafers: the n maps.
        heat: their heat maps, for the class called.
        facts: what is told of each.
    """

    names: Sequence[str]
    wafers: WaferSet
    heat: "HeatMaps"
    facts: Sequence[CallFacts]

    def tile(self, i: int) -> Tile:
        """Return map i as it is drawn on a sheet."""
        label, facts = int(self.wafers.label[i]), self.facts[i]
        known = label != UNLABELLED
        wrong = known and CLASSES[label] != facts.call
        title = f"{CLASSES[label]}, called {facts.call}" if wrong else facts.call
        return Tile(
            self.wafers.map(i),
            self.heat.map(i),
            f"{title} {facts.prob:.2f}{'' if known else ' (no label)'}",
            f"{sentence(facts)} [{self.names[i]}]",
            wrong=wrong,
        )


def explain_calls(
    explainer: "Explainer",
    wafers: WaferSet,
    prob: NDArray[np.floating[Any]],
    *,
    names: Sequence[str],
    progress: bool = False,
) -> Explained:
    """Explain the call of every map.

    Args:
        explainer: of the model that called them.
        wafers: the n maps.
        prob: (n, 9) rows sum to 1; the largest is the call.
        names: (n,) what to call each map.
        progress: show a bar on stderr.
    """
    heat = explainer.heat_maps(wafers, prob.argmax(axis=1), progress=progress)
    facts = [call_facts(wafers.map(i), heat.map(i), prob[i]) for i in range(len(wafers))]
    return Explained(names, wafers, heat, facts)


def wafer_names(wafers: WaferSet, numbers: NDArray[np.integer[Any]]) -> list[str]:
    """Name every map by its lot and wafer where known, and by its number in the data otherwise."""
    return [
        f"{lot} #{index}" if lot else f"map {number}"
        for lot, index, number in zip(wafers.lot, wafers.wafer_index, numbers, strict=True)
    ]


def pick(
    label: NDArray[np.integer[Any]], prob: NDArray[np.floating[Any]], code: int, *, count: int, errors: bool = False
) -> list[Row]:
    """Choose maps of one class to show: right calls and unlabelled ones by lot, wrong ones most confident first.

    Args:
        label: (n,) index into CLASSES or UNLABELLED.
        prob: (n, 9) rows sum to 1.
        code: the class: of the label, or of the call where there is no label.
        count: at most so many of each kind.
        errors: wrong calls alone.
    """
    call, sure = prob.argmax(axis=1), prob.max(axis=1)
    order = np.random.default_rng(code).permutation(len(label))  # neither the best nor the first of them
    right, unlabelled = (order[(call[order] == code) & (label[order] == of)] for of in (code, UNLABELLED))
    wrong = np.flatnonzero((label == code) & (call != code))
    wrong = wrong[np.argsort(-sure[wrong], kind="stable")]
    kinds = [("wrong calls, most confident first", wrong)]
    if not errors:
        kinds.insert(0, ("right calls", right))
        if len(unlabelled):
            kinds.append(("calls without a label", unlabelled))
    return [
        (f"{CLASSES[code]}: {text}, {min(count, len(found))} of {len(found):,}", found[:count]) for text, found in kinds
    ]


def join(rows: Sequence[Row]) -> Row:
    """Put rows of one class under one heading."""
    name = rows[0][0].partition(": ")[0]
    texts = [heading.partition(": ")[2] for heading, _ in rows]
    return f"{name}: {'; '.join(texts)}", np.concatenate([chosen for _, chosen in rows])


def draw_sheets(explained: Explained, rows: Sequence[Row], path: str | os.PathLike[str], *, title: str) -> list[Path]:
    """Draw rows of maps on one sheet, or on several numbered ones where they are many; return the files.

    Args:
        explained: the maps the rows speak of.
        rows: heading and indices into `explained`.
        path: the PNG file; a second sheet has "_2" before its suffix.
        title: of every sheet.
    """
    path = Path(path)
    lines = [
        (heading if first == 0 else "", chosen[first : first + COLUMNS])
        for heading, chosen in rows
        for first in range(0, max(len(chosen), 1), COLUMNS)
    ]
    written = []
    with style():
        for number, first in enumerate(range(0, len(lines), LINES_PER_SHEET), start=1):
            page = lines[first : first + LINES_PER_SHEET]
            tiles = [(heading, [explained.tile(int(i)) for i in chosen]) for heading, chosen in page]
            target = path if number == 1 else path.with_stem(f"{path.stem}_{number}")
            written.append(save(explanation_sheet(tiles, title=title), target))
    return written


def write_small_sheet(
    path: str | os.PathLike[str], explainer: "Explainer", wafers: WaferSet, prob: NDArray[np.floating[Any]]
) -> Path:
    """Draw a right call of each class and the most confident errors on one sheet, and return its path."""
    path = Path(path)
    call = prob.argmax(axis=1)
    right = [pick(wafers.label, prob, code, count=RIGHT_OF_EACH)[0][1] for code in range(len(CLASSES))]
    wrong = np.flatnonzero((wafers.label != call) & (wafers.label != UNLABELLED))
    wrong = wrong[np.argsort(-prob[wrong].max(axis=1), kind="stable")][:WRONG_IN_ALL]
    shown = np.concatenate([*right, wrong]).astype(np.int64)
    part = wafers.select(shown)
    explained = explain_calls(explainer, part, prob[shown], names=wafer_names(part, shown))
    heading = f"A right call of each class, and the {len(wrong)} most confident errors"
    return draw_sheets(explained, [(heading, np.arange(len(shown)))], path, title=sheet_title(explained.heat))[0]


def sheet_title(heat: "HeatMaps") -> str:
    """Say what a sheet shows and how the heat came about."""
    return f"What the model looked at: each map, and its evidence for the call per die ({heat.method}, {heat.layer})"


def write_records(folder: str | os.PathLike[str], explained: Explained) -> list[Path]:
    """Write heat.npz (heat maps at die resolution) and calls.jsonl (one line per map) into an existing folder."""
    folder = Path(folder)
    heat = explained.heat
    RunFolder(folder).write_arrays(
        "heat.npz",
        {
            "flat": heat.flat,
            "offsets": heat.offsets,
            "shapes": heat.shapes,
            "id": np.array(explained.names, np.str_),
            "call": heat.target.astype(np.int8),
            "label": explained.wafers.label,
            "peak": heat.peak,
            "method": np.array(heat.method),
            "layer": np.array(heat.layer),
            "classes": np.array(CLASSES),
        },
    )
    write_whole(folder / "calls.jsonl", "".join(_lines(explained)))
    return [folder / "heat.npz", folder / "calls.jsonl"]


def explained_table(explained: Explained, prob: NDArray[np.floating[Any]]) -> "pd.DataFrame":
    """Return explained calls as a table: `id`, `judged_table` of (n, 9) `prob`, `dies`, `failing` and `sentence`."""
    table = judged_table(explained.wafers, prob)
    table.insert(0, "id", list(explained.names))
    return table.assign(
        dies=[facts.dies for facts in explained.facts],
        failing=[facts.failing for facts in explained.facts],
        sentence=[sentence(facts) for facts in explained.facts],
    )


def _lines(explained: Explained) -> Iterable[str]:
    for name, label, facts in zip(explained.names, explained.wafers.label, explained.facts, strict=True):
        known = None if label == UNLABELLED else CLASSES[label]
        record = {"id": name, "label": known, **to_json(facts), "margin": facts.margin, "sentence": sentence(facts)}
        yield json.dumps(record, allow_nan=False) + "\n"
