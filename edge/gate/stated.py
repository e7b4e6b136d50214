"""Does a quantized model state what the float one would? Prediction sets and the first proven point, paired.

Both are fitted after the gate, by the quantized model's own answers (`edge.gate.points`). So they are fitted here too,
on the wafers that choose them, and applied to the answers of both models on the wafers that judge. The float model is
given thresholds that were not fitted on its own answers: what is compared is one bundle's thresholds on two models.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from wafer_tf.as_json import to_json
from wafer_tf.decision.fitting import fit_sets
from wafer_tf.decision.sets import COVERAGE
from wafer_tf.dies import CLASSES
from wafer_tf.errors import InputError
from wafer_tf.scoring.bootstrap import Bootstrap, Estimate
from wafer_tf.scoring.evidence import Evidence, Part
from wafer_tf.scoring.selective import Goal, prove
from wafer_tf.splitting.splits import Split
from wafer_tf.waferset import WaferSet

DRAWS = 1000
_K = len(CLASSES)


@dataclass(frozen=True)
class SetComparison:
    """Prediction sets, and what is answered alone, of a quantized model beside the float one on the same wafers.

    Shares of 1, each with its 95 % interval: groups drawn with replacement, both models on the same draw.

    Attributes:
        wafers, groups, draws, seed: what it rests on.
        stated: the coverage that the sets state.
        agreement: share of the wafers with the same set.
        covered_float, covered: (9,) of each class, the share of its wafers whose set holds it.
        coverage_drop: (9,) float less quantized.
        size_float, size: mean number of classes in a set.
        review_below: of the first point that is proven; None where it is not.
        answered_float, answered: share of the wafers that are answered alone there; NaN without such a point.
        error_float, error: share of these that are called wrong.
    """

    wafers: int
    groups: int
    draws: int
    seed: int
    stated: float
    agreement: Estimate
    covered_float: tuple[Estimate, ...]
    covered: tuple[Estimate, ...]
    coverage_drop: tuple[Estimate, ...]
    size_float: float
    size: float
    review_below: float | None
    answered_float: float
    answered: float
    error_float: float
    error: float

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values; NaN becomes None, what is of a class a value per class name."""
        found: dict[str, Any] = to_json(self)
        by_class = ("covered_float", "covered", "coverage_drop")
        return found | {name: dict(zip(CLASSES, found[name], strict=True)) for name in by_class}


def compare_sets(
    label: ArrayLike,
    float_sets: ArrayLike,
    sets: ArrayLike,
    *,
    group: ArrayLike,
    float_prob: ArrayLike,
    prob: ArrayLike,
    stated: float = COVERAGE,
    review_below: float | None = None,
    draws: int = DRAWS,
    seed: int = 0,
) -> SetComparison:
    """Compare the prediction sets of a quantized model with the float model's.

    Args:
        label: (n,) index into CLASSES.
        float_sets, sets: (n, 9) bool, the sets of the same wafers by `Sets.members`.
        group: (n,) split group.
        float_prob, prob: (n, 9) that the sets are of.
        stated: coverage.
        review_below: the point whose answers are compared; None for none.
        draws: of the bootstrap.
        seed: of the draws.

    Raises:
        InputError: no wafers, or arrays that do not fit.

    Examples:
        >>> prob = np.eye(9)[[0, 1]]
        >>> found = compare_sets([0, 1], prob > 0, prob > -1, group=[0, 1], float_prob=prob, prob=prob)
        >>> found.agreement.value, found.covered[1].value, found.size
        (0.0, 1.0, 9.0)
    """
    true, groups = np.asarray(label).astype(np.int64), np.unique(np.asarray(group), return_inverse=True)[1]
    theirs, ours = np.asarray(float_sets, bool), np.asarray(sets, bool)
    probs = np.asarray(float_prob, np.float64), np.asarray(prob, np.float64)
    n = len(true)
    if not n or any(each.shape != (n, _K) for each in (theirs, ours, *probs)) or groups.shape != (n,):
        raise InputError(
            f"gate: label {true.shape}, sets {theirs.shape} and {ours.shape}, group {groups.shape}; expected at least "
            f"one wafer, (n,), (n, {_K}) twice and (n,)."
        )
    rows, classes = np.arange(n), np.eye(_K)[true]
    each = np.column_stack(
        [
            classes,
            classes * theirs[rows, true][:, None],
            classes * ours[rows, true][:, None],
            (theirs == ours).all(axis=1),
            np.ones(n),
        ]
    )
    sums = np.zeros((int(groups.max()) + 1, each.shape[1]))
    np.add.at(sums, groups, each)
    estimate = Bootstrap(sums, _figures, draws=draws, seed=seed).estimate
    answered_float, error_float, answered, error = (
        figure for each in probs for figure in _answered_alone(each, true, review_below)
    )
    return SetComparison(
        wafers=n,
        groups=len(sums),
        draws=draws,
        seed=seed,
        stated=stated,
        agreement=estimate("agreement"),
        covered_float=tuple(estimate("covered_float", c) for c in range(_K)),
        covered=tuple(estimate("covered", c) for c in range(_K)),
        coverage_drop=tuple(estimate("coverage_drop", c) for c in range(_K)),
        size_float=float(theirs.sum(axis=1).mean()),
        size=float(ours.sum(axis=1).mean()),
        review_below=review_below,
        answered_float=answered_float,
        answered=answered,
        error_float=error_float,
        error=error,
    )


@dataclass(frozen=True, eq=False)
class Stated:
    """What the sets of a candidate are fitted and judged on.

    Attributes:
        label, group: (n,) of the wafers that choose and those that judge, in the order of `Evidence.of_split`.
        choosing: without folds, the wafers that choose, which a candidate is asked about; None with folds, where the
            judged wafers choose too, those of the other folds.
        split: of the run.
        goal: of the first point.
        coverage: to state.
    """

    label: NDArray[np.int64]
    group: NDArray[np.int64]
    choosing: WaferSet | None
    split: Split
    goal: Goal
    coverage: float

    @classmethod
    def of(cls, wafers: WaferSet, split: Split, *, goal: Goal, coverage: float) -> "Stated":
        """Take them from a run's wafers and their split."""
        rows = split.test if split.folds else np.concatenate([split.validation, split.test])
        choosing = None if split.folds else wafers.select(split.validation)
        return cls(wafers.label[rows].astype(np.int64), split.group[rows], choosing, split, goal, coverage)

    def comparison(
        self,
        float_prob: NDArray[np.float64],
        prob: NDArray[np.float64],
        *,
        choosing: NDArray[np.float64] | None,
        seed: int,
    ) -> SetComparison | None:
        """Fit sets and point on a candidate's answers, and hold both models against them.

        Args:
            float_prob, prob: (m, 9) of the judged wafers by the float model and by the candidate.
            choosing: (k, 9) of the candidate, of the wafers of that name.
            seed: of the draws.

        Returns:
            None where of every class too few groups are known to state a coverage: then no sets are shipped.
        """
        ours, theirs = prob, float_prob
        if choosing is not None:  # the float model is asked about the judged wafers alone
            ours, theirs = (np.concatenate([choosing, judged]) for judged in (prob, float_prob))
        evidence = Evidence.of_split(Part(self.label, ours, self.group), self.split)
        final = evidence.wafers.at(evidence.final)
        shipped = fit_sets(final.prob, final.label, final.group, coverage=self.coverage)
        if all(least is None for least in shipped.least):
            return None
        members = np.zeros((2, len(self.label), _K), bool)
        for choose, judge in evidence.rounds:
            part = evidence.wafers.at(choose)
            sets = fit_sets(part.prob, part.label, part.group, coverage=self.coverage)
            members[:, judge] = sets.members(theirs[judge]), sets.members(ours[judge])
        judged = np.sort(evidence.judged)
        proven = prove(final, self.goal).proven
        return compare_sets(
            self.label[judged],
            members[0, judged],
            members[1, judged],
            group=self.group[judged],
            float_prob=theirs[judged],
            prob=ours[judged],
            stated=self.coverage,
            review_below=None if proven is None else proven.review_below,
            seed=seed,
        )


def _answered_alone(
    prob: NDArray[np.float64], true: NDArray[np.int64], review_below: float | None
) -> tuple[float, float]:
    """Return the share that is likely enough, and of these the share called wrong."""
    if review_below is None:
        return np.nan, np.nan
    answered = prob.max(axis=1) >= review_below
    wrong = answered & (prob.argmax(axis=1) != true)
    return float(answered.mean()), float(wrong.sum() / answered.sum()) if answered.any() else np.nan


def _figures(sums: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """Return every bootstrapped figure from (..., columns) sums, laid out as in `compare_sets`."""
    wafers, theirs, ours = (sums[..., i * _K : (i + 1) * _K] for i in range(3))
    covered = [np.divide(held, wafers, out=np.full(wafers.shape, np.nan), where=wafers > 0) for held in (theirs, ours)]
    return {
        "covered_float": covered[0],
        "covered": covered[1],
        "coverage_drop": covered[0] - covered[1],
        "agreement": sums[..., -2] / sums[..., -1],
    }
