"""Which share of the wafers a model may answer alone, so that the error among them is proven to be small.

A wafer is answered where the likeliest class is likely enough, else a person looks (selective classification: Geifman,
El-Yaniv, "Selective Classification for Deep Neural Networks", NeurIPS 2017). A threshold that is only tuned on wafers
overruns its stated error on others in about half of the trials. So thresholds of a fixed list are tested from the
strictest on, each at the full level, until one fails (fixed-sequence testing, as in Angelopoulos et al., "Learn then
Test", arXiv:2110.01052), by the exact limit of Clopper and Pearson.

That limit is of independent wafers. Wafers of one group are not: one wafer of each is drawn. What is proven is
the error of a wafer of a new group, groups counting alike, which is more than that of all wafers where large lots
are the easy ones. A group that counts as erring where any of its wafers errs would prove something else: how many lots
are without any error.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil, log

import numpy as np
from numpy.typing import NDArray

from wafer_tf.decision.fitting import one_per_group
from wafer_tf.dies import CLASSES, NONE
from wafer_tf.errors import UsageError
from wafer_tf.scoring.evidence import Part
from wafer_tf.scoring.mix import NATURAL, Mix

THRESHOLDS = tuple(float(t) for t in np.round(1 - np.geomspace(1e-4, 0.7, 90), 5))
"""Of the probability of the likeliest class, the strictest first. Fixed before any wafer is seen."""
FIRST_SHARE = 0.2
"""Of the drawn wafers are answered where the tests begin: with few, one unlucky error would end them. Which threshold
that is depends on how likely the calls are, not on whether they are right; the level holds as long as the error does
not fall where the likelihood does."""
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Goal:
    """What is to be proven of the wafers that are answered alone.

    Attributes:
        max_error: share of them that are called wrong.
        max_escapes: share of all defects that are answered none; None for no such limit.
        max_false_alarms: share of all none wafers that are answered as a defect; likewise.
        confidence: of the proof.
    """

    max_error: float = 0.01
    max_escapes: float | None = None
    max_false_alarms: float | None = None
    confidence: float = CONFIDENCE

    def __post_init__(self) -> None:
        rates = {"max-error": self.max_error, "max-escapes": self.max_escapes, "confidence": self.confidence}
        rates["max-false-alarms"] = self.max_false_alarms
        for name, value in rates.items():
            if value is not None and not 0 < value < 1:
                raise UsageError(f"--{name} {value}; expected above 0 and below 1, such as {Goal.max_error}.")

    @property
    def name(self) -> str:
        """What an operating point that reaches it is called."""
        others = self.max_escapes is not None or self.max_false_alarms is not None
        return f"proven-{100 * self.max_error:g}-percent{'+' if others else ''}"

    @property
    def promise(self) -> str:
        """The same in words."""
        words = [f"of the wafers answered at most {self.max_error:.3g} are called wrong"]
        if self.max_escapes is not None:
            words.append(f"of the defects at most {self.max_escapes:.3g} are answered none")
        if self.max_false_alarms is not None:
            words.append(f"of the none wafers at most {self.max_false_alarms:.3g} are answered as a defect")
        return ", ".join(words)


@dataclass(frozen=True)
class Step:
    """One threshold.

    Attributes:
        review_below: the threshold.
        coverage, error: share of all wafers answered, and of these called wrong, at the mix; NaN where none is.
        answered, errors: of the drawn wafers, one a group.
        bound: limit of their error, one-sided.
        escapes, false_alarms: limits of the shares of all drawn defects and none wafers; see `Goal`.
    """

    review_below: float
    coverage: float
    error: float
    answered: int
    errors: int
    bound: float
    escapes: float
    false_alarms: float


@dataclass(frozen=True)
class Proof:
    """What could be proven.

    Attributes:
        mix: on which it stands.
        groups: of all wafers; one wafer of each is drawn.
        drawn: (9,) wafers of each class that are left to make up the mix.
        steps: at all thresholds, the strictest first.
        tested: how many of them were tested, from the first that answers enough on.
        proven: the last that passed; None where the first fails.
        why: where it ended and, where nothing is proven, what it would take.
    """

    goal: Goal
    mix: Mix
    groups: int
    drawn: tuple[int, ...]
    steps: tuple[Step, ...]
    tested: int
    proven: Step | None
    why: str


def prove(part: Part, goal: Goal, *, mix: Mix = NATURAL, seed: int = 0) -> Proof:
    """Find the largest share of wafers that may be answered alone.

    Args:
        part: wafers that trained nothing.
        goal: what is to hold.
        mix: class shares on which it is to hold. Of the drawn wafers so many of each class are left out, at random,
            that the others are of this mix: the exact limits stay exact.
        seed: of the draw. Another seed is another draw: to try several and keep the best proves nothing.
    """
    rows = draw(part, mix, seed=seed)
    weight = mix.among(part.label)[part.label] / np.bincount(part.label, minlength=len(CLASSES))[part.label]
    top, called = part.prob.max(axis=1), part.prob.argmax(axis=1)
    steps = tuple(_step(t, goal, part.label, called, top >= t, weight, rows) for t in THRESHOLDS)
    least = groups_to_prove(goal.max_error, goal.confidence)
    first = max(least, ceil(FIRST_SHARE * len(rows)))
    candidates = [step for step in steps if step.answered >= first]
    passed: list[Step] = []
    failed = None
    for step in candidates:
        if failed := _failed(step, goal):
            break
        passed.append(step)
    proven = passed[-1] if passed else None
    return Proof(
        goal=goal,
        mix=mix,
        groups=len(np.unique(part.group)),
        drawn=tuple(int(n) for n in np.bincount(part.label[rows], minlength=len(CLASSES))),
        steps=steps,
        tested=len(passed) + (failed is not None),
        proven=proven,
        why=_why(proven, failed, candidates, len(rows), least, goal),
    )


def draw(part: Part, mix: Mix, *, seed: int) -> NDArray[np.int64]:
    """Return rows of one wafer a group, thinned at random to a class mix; what is left is a sample of that mix."""
    rows = one_per_group(part.group, seed=seed)
    shares = mix.among(part.label[rows])
    wanted = shares / np.maximum(np.bincount(part.label[rows], minlength=len(CLASSES)), 1)
    kept = np.random.default_rng([seed, 1]).random(len(rows)) * wanted.max() < wanted[part.label[rows]]
    return np.asarray(rows[kept], np.int64)


def upper_limit(errors: int, n: float, confidence: float = CONFIDENCE) -> float:
    """Return the one-sided limit of Clopper and Pearson of a rate; 1 where nothing was counted.

    Examples:
        >>> round(upper_limit(0, 299), 4), round(upper_limit(0, 149), 4)
        (0.01, 0.0199)
    """
    from scipy.special import betaincinv

    return 1.0 if errors >= n else float(betaincinv(errors + 1, n - errors, confidence))


def provable_rate(limit: float, n: float, confidence: float = CONFIDENCE) -> float | None:
    """Return the largest rate seen on n independent wafers that proves one of at most `limit`; None if none does."""
    from scipy.optimize import brentq
    from scipy.special import betaincinv

    if n < groups_to_prove(limit, confidence):
        return None
    return float(brentq(lambda rate: betaincinv(rate * n + 1, n - rate * n, confidence) - limit, 0, limit))


def groups_to_prove(rate: float, confidence: float = CONFIDENCE) -> int:
    """Return how many wafers of different groups, without one error, prove that errors are rarer than `rate`."""
    return ceil(log(1 - confidence) / log(1 - rate))


def _step(
    threshold: float,
    goal: Goal,
    label: NDArray[np.int64],
    called: NDArray[np.int64],
    answered: NDArray[np.bool_],
    weight: NDArray[np.float64],
    rows: NDArray[np.int64],
) -> Step:
    wrong = answered & (called != label)
    share, none = float(weight[answered].sum()), label[rows] == NONE
    counts = int(answered[rows].sum()), int(wrong[rows].sum())
    escapes, alarms = int((wrong[rows] & ~none & (called[rows] == NONE)).sum()), int((wrong[rows] & none).sum())
    return Step(
        review_below=threshold,
        coverage=share,
        error=float(weight[wrong].sum()) / share if share else np.nan,
        answered=counts[0],
        errors=counts[1],
        bound=upper_limit(counts[1], counts[0], goal.confidence),
        escapes=upper_limit(escapes, int((~none).sum()), goal.confidence),
        false_alarms=upper_limit(alarms, int(none.sum()), goal.confidence),
    )


def _failed(step: Step, goal: Goal) -> str | None:
    """Return what a threshold does not prove, in words; None where it proves all."""
    checks = (
        ("the error among the answered", step.bound, goal.max_error),
        ("the share of the defects answered none", step.escapes, goal.max_escapes),
        ("the share of the none wafers answered as a defect", step.false_alarms, goal.max_false_alarms),
    )
    found = next((check for check in checks if check[2] is not None and check[1] > check[2]), None)
    return None if found is None else f"{found[0]} may be {found[1]:.2%} at {step.review_below:g}"


def _why(
    proven: Step | None, failed: str | None, candidates: Sequence[Step], drawn: int, least: int, goal: Goal
) -> str:
    if proven is not None:
        return f"The next threshold fails: {failed}." if failed else "Every threshold passes."
    if not candidates:
        return (
            f"{drawn:,} drawn wafers, one a group, are too few: {least:,} answered without an error prove "
            f"{goal.max_error:.3g} at {goal.confidence:.0%}."
        )
    step = candidates[0]
    rate = step.errors / step.answered
    needed = _needed(rate, goal)
    text = f"Already among the {step.answered:,} drawn wafers that are answered first ({step.errors} wrong), {failed}"
    if _failed(step, replace(goal, max_escapes=None, max_false_alarms=None)) is None:
        return f"{text}."
    if needed is None:
        return f"{text}; with {rate:.2%} of them wrong no number of groups proves {goal.max_error:.3g}."
    return (
        f"{text}; were {rate:.2%} of more groups wrong, {ceil(needed / step.answered * drawn):,} groups would prove it."
    )


def _needed(rate: float, goal: Goal) -> int | None:
    """Return how many answered wafers prove the goal's error at a rate seen; None where none do."""
    for n in np.geomspace(groups_to_prove(goal.max_error, goal.confidence), 1e7, 400).astype(int):
        if upper_limit(ceil(rate * n), int(n), goal.confidence) <= goal.max_error:
            return int(n)
    return None
