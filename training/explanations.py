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
from wafer_tf.decision.patterns import Patterns
from wafer_tf.dies import CLASSES, UNLABELLED
from wafer_tf.explaining.narrative import CallFacts, call_facts, sentence
from wafer_tf.explaining.pattern_heat import PatternHeat, heat_per_pattern
from wafer_tf.figures.explain import COLUMNS, Tile, explanation_sheet
from wafer_tf.figures.style import save, style
from wafer_tf.learning.run_folder import RunFolder
from wafer_tf.pattern_bits import PATTERNS, pattern_names, pattern_texts
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
class Several:
    """What the sigmoids beside the nine-way answer say of n wafers.

    Attributes:
        bits: (n,) uint8, the patterns of wafers that have several, see `pattern_bits`; 0 of all others.
        prob: (n, 8) float64, the probability of each pattern.
    """

    bits: NDArray[np.uint8]
    prob: NDArray[np.float64]

    @classmethod
    def of(cls, rule: Patterns, logits: NDArray[np.floating[Any]], prob: NDArray[np.floating[Any]]) -> "Several":
        """Judge wafers by (n, 8) logits of their sigmoids and the (n, 9) probabilities of the nine-way answer."""
        from scipy.special import expit

        return cls(rule.bits(logits, prob.argmax(axis=1)), expit(np.asarray(logits, np.float64)))

    def select(self, indices: NDArray[np.integer[Any]]) -> "Several":
        """Return what is said of the wafers at `indices`."""
        return Several(self.bits[indices], self.prob[indices])


@dataclass(frozen=True, eq=False)
class Explained:
    """Calls and what was looked at for them.

    Attributes:
        names: (n,) what each map is called in files and on sheets.
        wafers: the n maps.
        heat: their heat maps, for the class called.
        facts: what is told of each.
        patterns: heat for every pattern of the wafers that have several; None of a model that cannot say.
    """

    names: Sequence[str]
    wafers: WaferSet
    heat: "HeatMaps"
    facts: Sequence[CallFacts]
    patterns: PatternHeat | None = None

    def tile(self, i: int) -> Tile:
        """Return map i as it is drawn on a sheet."""
        facts, truth, called = self.facts[i], self.truth(i), self.called(i)
        wrong = truth is not None and truth != called
        words = ["+".join(called) if len(called) > 1 else f"{called[0]} {facts.prob:.2f}"]
        if truth is None:
            words.append("(no label)")
        elif wrong:
            words.insert(0, f"{'+'.join(truth)}, called")
        return Tile(
            self.wafers.map(i),
            self.heat.map(i),
            " ".join(words),
            f"{sentence(facts)} [{self.names[i]}]",
            wrong=wrong,
            patterns={} if self.patterns is None else self.patterns.of(i),
        )

    def truth(self, i: int) -> tuple[str, ...] | None:
        """Return what wafer i is by its file, its patterns where it has several; None where that is not said."""
        label, bits = int(self.wafers.label[i]), int(self.wafers.patterns[i])
        return (CLASSES[label],) if label != UNLABELLED else pattern_names(bits) or None

    def called(self, i: int) -> tuple[str, ...]:
        """Return what wafer i is called, in the order of CLASSES: its patterns where it has several."""
        several = () if self.patterns is None else tuple(self.patterns.of(i))
        return several or (self.facts[i].call,)


def explain_calls(
    explainer: "Explainer",
    wafers: WaferSet,
    prob: NDArray[np.floating[Any]],
    *,
    names: Sequence[str],
    several: tuple["Explainer", Several] | None = None,
    progress: bool = False,
) -> Explained:
    """Explain the call of every map, and each pattern of those that have several.

    Args:
        explainer: of the model that called them.
        wafers: the n maps.
        prob: (n, 9) rows sum to 1; the largest is the call.
        names: (n,) what to call each map.
        several: an explainer of the head "patterns", and what that head says of the n maps; None without that head.
        progress: show a bar on stderr.
    """
    heat = explainer.heat_maps(wafers, prob.argmax(axis=1), progress=progress)
    if several is None:
        facts = [call_facts(wafers.map(i), heat.map(i), prob[i]) for i in range(len(wafers))]
        return Explained(names, wafers, heat, facts)
    patterns = heat_per_pattern(several[0], wafers, several[1].bits, progress=progress)
    facts = []
    for i, chance in enumerate(several[1].prob):
        each = {name: (float(chance[PATTERNS.index(name)]), own) for name, own in patterns.of(i).items()}
        facts.append(call_facts(wafers.map(i), heat.map(i), prob[i], patterns=each))
    return Explained(names, wafers, heat, facts, patterns)


def wafer_names(wafers: WaferSet, numbers: NDArray[np.integer[Any]], *, of: str = "map") -> list[str]:
    """Name every map by its lot and wafer where known, and otherwise by the word `of` and its number in the data."""
    return [
        f"{lot} #{index}" if lot else f"{of} {number}"
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


def pick_several(wafers: WaferSet, bits: NDArray[np.uint8], *, count: int, errors: bool = False) -> list[Row]:
    """Choose wafers of several patterns to show: all patterns found, other patterns found, and those without a label.

    Args:
        wafers: the n wafers.
        bits: (n,) uint8, the patterns found on those that have several by the model; 0 of all others.
        count: at most so many of each kind.
        errors: wrong ones alone.
    """
    order = np.random.default_rng(len(CLASSES)).permutation(len(wafers))  # neither the best nor the first of them
    truth, found = wafers.patterns[order], bits[order]
    known = (wafers.label[order] != UNLABELLED) | (truth != 0)
    several = known & (wafers.several[order] | (found != 0))
    kinds = [("other patterns found than there are", order[several & (found != truth)])]
    if not errors:
        kinds.insert(0, ("all patterns found, and no other", order[several & (found == truth)]))
        kinds.append(("found without a label", order[~known & (found != 0)]))
    return [
        (f"Several patterns: {text}, {min(count, len(rows))} of {len(rows):,}", rows[:count])
        for text, rows in kinds
        if len(rows)
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
    heat, apart = explained.heat, explained.patterns
    patterns = {} if apart is None else _pattern_arrays(apart)
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
            **patterns,
        },
    )
    write_whole(folder / "calls.jsonl", "".join(_lines(explained)))
    return [folder / "heat.npz", folder / "calls.jsonl"]


def _pattern_arrays(patterns: PatternHeat) -> dict[str, NDArray[Any]]:
    return {
        "pattern_flat": patterns.heat.flat,
        "pattern_offsets": patterns.heat.offsets,
        "pattern_shapes": patterns.heat.shapes,
        "pattern": patterns.heat.target.astype(np.int8),
        "pattern_peak": patterns.heat.peak,
        "pattern_first": patterns.first,
    }


def explained_table(explained: Explained, prob: NDArray[np.floating[Any]]) -> "pd.DataFrame":
    """Return explained calls as a table.

    `id`, `judged_table` of (n, 9) `prob`, `patterns` and `true_patterns` where the model can say of several, `dies`,
    `failing` and `sentence`.
    """
    table = judged_table(explained.wafers, prob)
    table.insert(0, "id", list(explained.names))
    if explained.patterns is not None:
        called = [explained.called(i) for i in range(len(table))]
        table["patterns"] = ["+".join(names) if len(names) > 1 else "" for names in called]
        table["true_patterns"] = pattern_texts(explained.wafers.patterns)
    return table.assign(
        dies=[facts.dies for facts in explained.facts],
        failing=[facts.failing for facts in explained.facts],
        sentence=[sentence(facts) for facts in explained.facts],
    )


def _lines(explained: Explained) -> Iterable[str]:
    for i, (name, label, facts) in enumerate(
        zip(explained.names, explained.wafers.label, explained.facts, strict=True)
    ):
        known = None if label == UNLABELLED else CLASSES[label]
        record = {"id": name, "label": known, **to_json(facts), "margin": facts.margin, "sentence": sentence(facts)}
        if explained.patterns is not None:
            truth = explained.truth(i)
            record["true_patterns"] = None if truth is None else [one for one in truth if one in PATTERNS]
        yield json.dumps(record, allow_nan=False) + "\n"
