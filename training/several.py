"""What a run says of wafers of several patterns: thresholds for its second head, and how well they find them."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wafer_tf.decision import Decision
from wafer_tf.decision.fitting_patterns import fit_patterns
from wafer_tf.decision.patterns import Patterns
from wafer_tf.learning.run_folder import RunFolder
from wafer_tf.pattern_bits import bits_of_labels
from wafer_tf.reporting.several_report import write_several
from wafer_tf.scoring.several import false_seconds, found_patterns, score_patterns
from wafer_tf.scoring.top_two import fit_top_two, top_two
from wafer_tf.splitting.splits import Split
from wafer_tf.waferset import WaferSet

Logits = Mapping[str, NDArray[np.float32]]
TOP_TWO = "nine-way top two"


@dataclass(frozen=True, eq=False)
class Heard:
    """What both heads say of some wafers, and what is on them.

    Attributes:
        prob: (n, 9) of the nine-way answer.
        patterns: (n, 8) logits of the sigmoids.
        bits: (n,) uint8, the patterns that there are.
        group: (n,) split group.
    """

    prob: NDArray[np.float64]
    patterns: NDArray[np.float32]
    bits: NDArray[np.uint8]
    group: NDArray[np.int64]

    @property
    def called(self) -> NDArray[np.int64]:
        """The (n,) nine-way answers, indices into CLASSES."""
        found: NDArray[np.int64] = self.prob.argmax(axis=1)
        return found

    def at(self, rows: NDArray[np.bool_]) -> "Heard":
        """Return some of them."""
        return Heard(self.prob[rows], self.patterns[rows], self.bits[rows], self.group[rows])


def judge_several(
    run: RunFolder,
    answers: Logits,
    decision: Decision,
    wafers: WaferSet,
    split: Split,
    mixed: WaferSet,
    mixed_split: Split,
) -> None:
    """Fit the thresholds, keep them with the answers they rest on, and report.

    With folds every wafer is judged: by the model without its fold, and by thresholds that the other folds chose; those
    that ship are chosen by all. Else the validation parts choose, and the test parts judge.

    Args:
        run: its folder; patterns.json, patterns.npz, patterns.txt, patterns_report.json and a figure are written.
        answers: logits by part and head, of `training.job`.
        decision: of the run.
        wafers, split: the run's labelled maps.
        mixed, mixed_split: of `training.mixed.load_mixed`.
    """
    print("thresholds for several patterns", file=sys.stderr)

    def heard(name: str, found: WaferSet, of: Split, rows: NDArray[np.int64]) -> Heard:
        bits = np.where(found.several, found.patterns, bits_of_labels(found.label))[rows].astype(np.uint8)
        return Heard(decision.probabilities(answers[name]), answers[f"{name}_patterns"], bits, of.group[rows])

    singles = heard("test", wafers, split, split.test)
    several = heard("mixed", mixed, mixed_split, mixed_split.test)
    ways: dict[str, tuple[NDArray[np.uint8], NDArray[np.uint8]]] = {}
    if split.folds:
        patterns = fitted(several, singles)
        rounds = [
            (several.at(mixed_split.part != fold), singles.at(split.part != fold), mixed_split.part == fold, own)
            for fold, own in ((fold, split.part == fold) for fold in range(split.folds))
        ]
    else:
        chosen = heard("mixed_validation", mixed, mixed_split, mixed_split.validation)
        known = heard("validation", wafers, split, split.validation)
        patterns = fitted(chosen, known)
        rounds = [(chosen, known, np.ones(len(several.bits), bool), np.ones(len(singles.bits), bool))]
    for way in ("", TOP_TWO):
        found, on_known = (np.zeros(len(one.bits), np.uint8) for one in (several, singles))
        for chosen, known, judged, own in rounds:
            if way == TOP_TWO:
                least = fit_top_two(chosen.prob, chosen.bits, known_prob=known.prob, known_bits=known.bits)
                found[judged], on_known[own] = top_two(several.prob[judged], least), top_two(singles.prob[own], least)
            else:
                rule = fitted(chosen, known)
                found[judged] = found_patterns(rule, several.patterns[judged], several.called[judged])
                on_known[own] = found_patterns(rule, singles.patterns[own], singles.called[own])
        ways[way] = found, on_known
    scores = {
        way: score_patterns(
            several.bits, found, group=several.group, known=false_seconds(singles.bits, on_known, group=singles.group)
        )
        for way, (found, on_known) in ways.items()
    }
    run.write_json("patterns.json", patterns.to_json())
    kept = {"wafers": "test_patterns", "mixed": "mixed_patterns", "mixed_logits": "mixed"}
    run.write_arrays("patterns.npz", {name: answers[of].astype(np.float16) for name, of in kept.items()})
    part = "out of fold" if split.folds else "test part"
    source = f"{'drawn wafers' if 'drawn' in mixed_split.stats else 'mixed wafers'}, {part}"
    write_several(run.path, scores[""], source=source, patterns=patterns, beside={TOP_TWO: scores[TOP_TWO]})


def fitted(several: Heard, singles: Heard) -> Patterns:
    """Fit thresholds by what both heads say of mixed wafers, and of the run's own, which are of one pattern or none."""
    return fit_patterns(
        several.patterns,
        several.bits,
        known_logits=singles.patterns,
        known_bits=singles.bits,
        called=several.called,
        known_called=singles.called,
    )
