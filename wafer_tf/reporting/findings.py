"""What the figures of a run say in words: weak classes, and what a reader must know before trusting a figure."""

import numpy as np

from wafer_tf.dies import CLASSES, NONE
from wafer_tf.reporting.facts import Facts
from wafer_tf.scoring.controls import Controls
from wafer_tf.scoring.scores import ClassScores, Scores

WEAK_F1 = 0.8
FEW_GROUPS = 20


def weak_classes(scores: Scores) -> list[str]:
    """Return a sentence for each class with F1 below WEAK_F1, weakest first; where none is, for the weakest alone."""
    present = sorted((c for c in scores.classes if c.support), key=lambda c: c.f1.value)
    weak = [c for c in present if c.f1.value < WEAK_F1]
    kind = "Weak class" if weak else "Weakest class"
    return [f"{kind} {c.name}: F1 {c.f1.value:.3f}{_mistaken(scores, c)}." for c in weak or present[:1]]


def _mistaken(scores: Scores, c: ClassScores) -> str:
    """Say what a class is mixed up with: what its own wafers are called, or what else is called by its name."""
    cells = np.array(scores.confusion)
    true = CLASSES.index(c.name)
    others = cells - np.diag(np.diag(cells))
    called, named = others[true], others[:, true]
    if named.sum() > called.sum():
        worst = int(named.argmax())
        return f"; of the {c.predicted} wafers called {c.name}, {named[worst]} are {CLASSES[worst]}"
    worst = int(called.argmax())
    return f"; of its {c.support} wafers, {called[worst]} are called {CLASSES[worst]}" if called[worst] else ""


def warnings_of(scores: Scores, *, facts: Facts, controls: Controls | None) -> list[str]:
    """Return what a reader must know before trusting the figures, one sentence or two each."""
    found = list(facts.warnings)
    present = [c for c in scores.classes if c.support]
    if scores.absent:
        found.append(
            f"No wafer is labelled {_and(scores.absent)}: means run over the other {len(present)} classes, and this "
            "macro-F1 compares with no nine-class one."
        )
    if scores.groups < 2:
        found.append("All wafers are one group (one lot, or near-copies): there is no interval.")
    if facts.split_method == "random":
        found.append("Random split: wafers of one lot lie on both sides, so these figures are too good.")
    if few := [f"{c.name} ({c.groups})" for c in present if c.groups < FEW_GROUPS]:
        found.append(f"Fewer than {FEW_GROUPS} groups of {_and(few)}: read the intervals, not the figures.")
    if perfect := [f"{c.name} (miss rate up to {min(1, 3 / c.groups):.2f})" for c in present if c.recall.value == 1]:
        found.append(
            f"No miss was seen for {_and(perfect)}: an interval of errors that did not occur has no width; the bound "
            "given is 3 / groups."
        )
    by_size = controls.map_size_only.macro_f1 if controls else None
    if by_size is not None and not scores.macro_f1.low > by_size:
        found.append(f"The model is not shown to be better than a guess from map size alone (macro-F1 {by_size:.3f}).")
    elif controls and by_size is not None and by_size > controls.majority_class.macro_f1 + 0.2:
        found.append(
            f"Map size alone reaches macro-F1 {by_size:.3f}: some classes come mostly on some products, and part of "
            "the model's figure may be that."
        )
    share = scores.classes[NONE].support / scores.wafers
    if 0 < share < 0.5:
        found.append(
            f"{share:.0%} of these wafers are none; in production most are. Precision, F1, accuracy and calibration "
            "depend on that mix: see the natural-mix figures."
        )
    return found


def _and(names: list[str] | tuple[str, ...]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
