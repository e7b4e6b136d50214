"""Is a quantized model as good as the float one? Both judged on the same maps, map by map; pure functions on arrays."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edge.gate.several import PatternComparison
from edge.gate.stated import SetComparison
from wafer_tf.as_json import to_json
from wafer_tf.dies import CLASSES
from wafer_tf.errors import InputError, UsageError
from wafer_tf.gate_verdict import SHIPPED
from wafer_tf.scoring.bootstrap import Bootstrap, Estimate
from wafer_tf.scoring.scores import rates

DRAWS = 1000
_K = len(CLASSES)
_ROUNDING = 1e-9  # of differences of shares, in points


@dataclass(frozen=True)
class Limits:
    """What a quantized model must keep; a point is one hundredth.

    Attributes:
        min_agreement: per cent of the maps that both models call the same.
        max_macro_f1_drop: points of macro-F1 that may be lost.
        max_recall_drop: points that each class's recall may lose beyond what its interval allows: the gate fails where
            the whole 95 % interval of the drop lies above it. Where there is no interval (all maps one group), the drop
            itself counts.
        min_unknown_agreement: per cent of the maps, known wafers and drawn other patterns, that both models flag as
            unknown or both do not, where there is an unknown score.
        max_unknown_auroc_drop: points of AUROC, known wafers against other patterns, that may be lost.
        min_set_agreement: per cent of the maps with the same prediction set, where sets are stated.
        max_coverage_drop: points of each class's coverage by these sets that may be lost, as of `max_recall_drop`.
        min_patterns_agreement: per cent of the maps, mixed and known wafers, that both models give the same patterns,
            where a head tells several patterns on one wafer.
        max_bit_f1_drop: points that the patterns' mean F1 on the mixed wafers may lose.
    """

    min_agreement: float = 99.5
    max_macro_f1_drop: float = 0.5
    max_recall_drop: float = 2.0
    min_unknown_agreement: float = 99.0
    max_unknown_auroc_drop: float = 0.5
    min_set_agreement: float = 98.0
    max_coverage_drop: float = 1.0
    min_patterns_agreement: float = 99.0
    max_bit_f1_drop: float = 0.5

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not 0 <= value <= 100:
                raise UsageError(f"{name.replace('_', '-')} {value}; expected 0 to 100.")


@dataclass(frozen=True)
class Check:
    """One limit and what was found.

    Attributes:
        name: of the limit, as in `Limits`.
        limit, value: per cent or points. For a recall or a coverage, the lower end of the interval of its drop.
        where: the class of a recall or a coverage; SHIPPED of an agreement of the shipped file, where files of folds
            were compared; "" of others.
    """

    name: str
    where: str
    limit: float
    value: float
    passed: bool


@dataclass(frozen=True)
class Comparison:
    """A quantized model beside the float one, on the same maps.

    Shares of 1, each with its 95 % interval: groups drawn with replacement, both models on the same draw.

    Attributes:
        wafers, groups, draws, seed: what it rests on.
        agreement: share of the maps that both call the same.
        macro_f1_float, macro_f1: of the two models.
        macro_f1_drop: float less quantized; negative is a gain, as in all drops.
        recall_drop: (9,) of each class; NaN of a class without maps.
        escape_change, false_alarm_change: quantized less float.
        drift: mean over the maps of the largest change of any class's probability.
        largest_drift: of any map.
        confidence_shift: mean change of the likeliest class's probability, quantized less float.
        only_float_right, only_quantized_right: maps that one model alone calls rightly.
        mcnemar_p: exact two-sided p-value of those two counts coming from models equally good.
    """

    wafers: int
    groups: int
    draws: int
    seed: int
    agreement: Estimate
    macro_f1_float: Estimate
    macro_f1: Estimate
    macro_f1_drop: Estimate
    recall_drop: tuple[Estimate, ...]
    escape_change: Estimate
    false_alarm_change: Estimate
    drift: Estimate
    largest_drift: float
    confidence_shift: Estimate
    only_float_right: int
    only_quantized_right: int
    mcnemar_p: float

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values; NaN becomes None, the recalls a value per class name."""
        found: dict[str, Any] = to_json(self)
        return found | {"recall_drop": dict(zip(CLASSES, found["recall_drop"], strict=True))}

    def checks(
        self,
        limits: Limits,
        *,
        shipped: float | None = None,
        unknown: "UnknownComparison | None" = None,
        sets: SetComparison | None = None,
        patterns: PatternComparison | None = None,
    ) -> tuple[Check, ...]:
        """Hold the figures against the limits; a class without maps is not judged.

        Args:
            limits: of the gate.
            shipped: share of maps that the shipped file calls as its float model, where files of folds were compared.
            unknown: of the unknown score, where there is one.
            sets: of the prediction sets, where any are stated.
            patterns: of the patterns found, where there is a head for several on one wafer.
        """
        agreement, drop = 100 * self.agreement.value, 100 * self.macro_f1_drop.value
        found = [
            Check("min_agreement", "", limits.min_agreement, agreement, agreement >= limits.min_agreement - _ROUNDING),
            Check(
                "max_macro_f1_drop", "", limits.max_macro_f1_drop, drop, drop <= limits.max_macro_f1_drop + _ROUNDING
            ),
        ]
        if shipped is not None:
            passed = 100 * shipped >= limits.min_agreement - _ROUNDING
            found.append(Check("min_agreement", SHIPPED, limits.min_agreement, 100 * shipped, passed))
        found += _of_classes("max_recall_drop", limits.max_recall_drop, self.recall_drop)
        if unknown is not None:
            same, drop = 100 * unknown.agreement, 100 * (unknown.auroc_float - unknown.auroc)
            least, most = limits.min_unknown_agreement, limits.max_unknown_auroc_drop
            found += [
                Check("min_unknown_agreement", "", least, same, same >= least - _ROUNDING),
                Check("max_unknown_auroc_drop", "", most, drop, drop <= most + _ROUNDING),
            ]
        if sets is not None:
            same, least = 100 * sets.agreement.value, limits.min_set_agreement
            found.append(Check("min_set_agreement", "", least, same, same >= least - _ROUNDING))
            found += _of_classes("max_coverage_drop", limits.max_coverage_drop, sets.coverage_drop)
        if patterns is not None:
            least, most, drop = limits.min_patterns_agreement, limits.max_bit_f1_drop, 100 * patterns.bit_f1_drop.value
            agreements = {"": patterns.agreement.value, SHIPPED: patterns.shipped}
            found += [
                Check("min_patterns_agreement", where, least, 100 * share, 100 * share >= least - _ROUNDING)
                for where, share in agreements.items()
                if share is not None
            ]
            found.append(Check("max_bit_f1_drop", "", most, drop, drop <= most + _ROUNDING))
        return tuple(found)


def _of_classes(name: str, most: float, drops: tuple[Estimate, ...]) -> list[Check]:
    """Hold the lower end of each class's drop against a limit; a class without maps is left out."""
    found = []
    for class_name, drop in zip(CLASSES, drops, strict=True):
        if not np.isnan(drop.value):
            sure = 100 * (drop.value if np.isnan(drop.low) else drop.low)
            found.append(Check(name, class_name, most, sure, sure <= most + _ROUNDING))
    return found


@dataclass(frozen=True)
class UnknownComparison:
    """What a quantized model says is unknown, beside its own float model, on the same maps.

    Attributes:
        known, others: maps of wafers of the nine classes, and of drawn patterns that are none of them.
        agreement: share of all of them that both flag or both do not.
        known_flagged_float, known_flagged: share of the known that is flagged.
        others_flagged_float, others_flagged: of the others.
        auroc_float, auroc: of the score, known against others.
    """

    known: int
    others: int
    agreement: float
    known_flagged_float: float
    known_flagged: float
    others_flagged_float: float
    others_flagged: float
    auroc_float: float
    auroc: float


def compare_unknown(float_score: ArrayLike, score: ArrayLike, *, known: int, above: float) -> UnknownComparison:
    """Compare a quantized model's unknown scores with the float model's.

    Args:
        float_score, score: (n,) 0..1 of the same maps, the known wafers first.
        known: how many these are.
        above: score above which a map is flagged.
    """
    from sklearn.metrics import roc_auc_score

    theirs, ours = np.asarray(float_score, np.float64), np.asarray(score, np.float64)
    if theirs.shape != ours.shape or not 0 < known < len(ours):
        raise InputError(f"gate: unknown scores {theirs.shape} and {ours.shape}, {known} known; expected some of both.")
    other, flagged_float, flagged = np.arange(len(ours)) >= known, theirs > above, ours > above
    return UnknownComparison(
        known=known,
        others=len(ours) - known,
        agreement=float((flagged_float == flagged).mean()),
        known_flagged_float=float(flagged_float[~other].mean()),
        known_flagged=float(flagged[~other].mean()),
        others_flagged_float=float(flagged_float[other].mean()),
        others_flagged=float(flagged[other].mean()),
        auroc_float=float(roc_auc_score(other, theirs)),
        auroc=float(roc_auc_score(other, ours)),
    )


def compare(
    label: ArrayLike,
    float_prob: ArrayLike,
    prob: ArrayLike,
    *,
    group: ArrayLike,
    draws: int = DRAWS,
    seed: int = 0,
) -> Comparison:
    """Compare a quantized model's probabilities with the float model's.

    Args:
        label: (n,) index into CLASSES.
        float_prob, prob: (n, 9) after the decision, of the same maps in the same order.
        group: (n,) split group; wafers of a lot and near-copies share one.
        draws: of the bootstrap.
        seed: of the draws.

    Raises:
        InputError: no maps, or arrays that do not fit.
    """
    true, groups = np.asarray(label).astype(np.int64), np.unique(np.asarray(group), return_inverse=True)[1]
    ours, theirs = np.asarray(prob, np.float64), np.asarray(float_prob, np.float64)
    n = len(true)
    if not n or ours.shape != (n, _K) or theirs.shape != (n, _K) or groups.shape != (n,):
        raise InputError(
            f"gate: label {true.shape}, probabilities {theirs.shape} and {ours.shape}, group {groups.shape}; expected "
            f"at least one map, (n,), (n, {_K}) twice and (n,)."
        )
    call, float_call = ours.argmax(axis=1), theirs.argmax(axis=1)
    change = np.abs(ours - theirs).max(axis=1)
    each = np.column_stack(
        [
            np.eye(_K * _K)[true * _K + float_call],
            np.eye(_K * _K)[true * _K + call],
            call == float_call,
            change,
            ours.max(axis=1) - theirs.max(axis=1),
            np.ones(n),
        ]
    )
    sums = np.zeros((int(groups.max()) + 1, each.shape[1]))
    np.add.at(sums, groups, each)
    estimate = Bootstrap(sums, _figures, draws=draws, seed=seed).estimate

    from scipy.stats import binomtest

    lost = int(((float_call == true) & (call != true)).sum())
    won = int(((float_call != true) & (call == true)).sum())
    return Comparison(
        wafers=n,
        groups=len(sums),
        draws=draws,
        seed=seed,
        agreement=estimate("agreement"),
        macro_f1_float=estimate("macro_f1_float"),
        macro_f1=estimate("macro_f1"),
        macro_f1_drop=estimate("macro_f1_drop"),
        recall_drop=tuple(estimate("recall_drop", c) for c in range(_K)),
        escape_change=estimate("escape_change"),
        false_alarm_change=estimate("false_alarm_change"),
        drift=estimate("drift"),
        largest_drift=float(change.max()),
        confidence_shift=estimate("confidence_shift"),
        only_float_right=lost,
        only_quantized_right=won,
        mcnemar_p=float(binomtest(lost, lost + won).pvalue) if lost + won else 1.0,
    )


def _figures(sums: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """Return every bootstrapped figure from (..., columns) sums, laid out as in `compare`."""
    shape = (*sums.shape[:-1], _K, _K)
    before = rates(sums[..., : _K * _K].reshape(shape))
    after = rates(sums[..., _K * _K : 2 * _K * _K].reshape(shape))
    agree, drift, shift, n = (sums[..., i] for i in range(2 * _K * _K, 2 * _K * _K + 4))
    return {
        "agreement": agree / n,
        "macro_f1_float": before["macro_f1"],
        "macro_f1": after["macro_f1"],
        "macro_f1_drop": before["macro_f1"] - after["macro_f1"],
        "recall_drop": before["recall"] - after["recall"],
        "escape_change": after["escape_rate"] - before["escape_rate"],
        "false_alarm_change": after["false_alarm_rate"] - before["false_alarm_rate"],
        "drift": drift / n,
        "confidence_shift": shift / n,
    }
