"""Every figure of merit of a classified set, with 95 % intervals over groups of wafers that belong together."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from wafer_tf.as_json import from_json, to_json
from wafer_tf.dies import CLASSES, NONE
from wafer_tf.errors import InputError, ModelError
from wafer_tf.scoring.bootstrap import Bootstrap, Estimate
from wafer_tf.scoring.calibration import Calibration, if_calibrated

NATURAL_COUNTS = (4294, 555, 5189, 9680, 3593, 149, 866, 1193, 147431)
"""Labelled maps per class in the whole of WM-811K, in the order of CLASSES; 85 % are none."""

ECE_BINS = 15
"""Equal-width bins of the largest probability, (i/15, (i+1)/15], as in Guo et al. 2017, arXiv:1706.04599."""

_CALIBRATED_DRAWS = 200
_K = len(CLASSES)
_DEFECTS = np.array([c for c in range(_K) if c != NONE])


@dataclass(frozen=True)
class ClassScores:
    """Figures of one class.

    A class without wafers in the labels has every rate undefined. Precision is undefined for a class never predicted;
    its F1 is then 0.

    Attributes:
        name: one of CLASSES.
        support: labelled wafers of it.
        groups: groups with at least one of them, which is what the interval's width depends on.
        predicted: wafers the model calls by this name.
        escape_rate: share of its wafers called none; undefined for none itself.
        roc_auc: area under the one-vs-rest ROC curve.
        average_precision: one-vs-rest, as sklearn defines it.
    """

    name: str
    support: int
    groups: int
    predicted: int
    precision: Estimate
    recall: Estimate
    f1: Estimate
    escape_rate: Estimate
    roc_auc: float
    average_precision: float


@dataclass(frozen=True)
class MixScores:
    """The same classifier at another class mix: rows of the confusion matrix re-weighted, recall as it was.

    Attributes:
        counts: (9,) wafers per class of that mix; 0 for a class the labels do not hold, which cannot be re-weighted.
    """

    counts: tuple[int, ...]
    precision: tuple[Estimate, ...]
    f1: tuple[Estimate, ...]
    macro_f1: Estimate
    accuracy: Estimate
    escape_rate: Estimate
    false_alarm_rate: Estimate


@dataclass(frozen=True)
class Bin:
    """One bin of the reliability diagram: wafers in it, their mean confidence and accuracy (NaN where empty)."""

    count: int
    confidence: float
    accuracy: float


@dataclass(frozen=True)
class Scores:
    """What `score` finds.

    Macro-F1 and balanced accuracy are means over the classes present in the labels (`absent` lists the others): a
    wafer called by an absent class costs its own class recall, but no ninth F1 enters the mean, so a macro-F1 over
    fewer classes compares with no nine-class one.

    Attributes:
        confusion: (9, 9) wafers, rows true, columns predicted, in the order of CLASSES.
        absent: names of the classes without a labelled wafer.
        escape_rate: share of all defect wafers called none.
        false_alarm_rate: share of the wafers labelled none that are called a defect.
        log_loss: mean of -log(probability of the true class), nats.
        ece: expected calibration error of the largest probability, ECE_BINS equal-width bins.
        natural_mix: the same at WM-811K's public class counts, NATURAL_COUNTS.
        if_calibrated: log loss and calibration error that exact probabilities would show on these wafers; None in
            records of earlier versions.
    """

    wafers: int
    groups: int
    draws: int
    seed: int
    confusion: tuple[tuple[int, ...], ...]
    absent: tuple[str, ...]
    macro_f1: Estimate
    balanced_accuracy: Estimate
    accuracy: Estimate
    top2_accuracy: Estimate
    log_loss: Estimate
    ece: Estimate
    escape_rate: Estimate
    false_alarm_rate: Estimate
    classes: tuple[ClassScores, ...]
    natural_mix: MixScores
    reliability: tuple[Bin, ...]
    if_calibrated: Calibration | None = None

    def to_json(self) -> dict[str, Any]:
        """Return plain dicts, lists and numbers; NaN becomes None."""
        found: dict[str, Any] = to_json(self)
        return found

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Scores":
        """Build from what `to_json` gave; raises InputError for a key too many or too few."""
        found: Scores = from_json(cls, data, where="scores")
        return found


def score(
    label: ArrayLike, prob: ArrayLike, *, group: ArrayLike | None = None, draws: int = 1000, seed: int = 0
) -> Scores:
    """Judge probabilities against labels.

    Intervals: groups drawn with replacement, `draws` times, 2.5th and 97.5th percentile of each figure (draws in
    which a figure is undefined are left out). They are undefined with fewer than two groups.

    Args:
        label: (n,) whole numbers, index into CLASSES.
        prob: (n, 9) float, rows sum to 1.
        group: (n,) whole numbers; wafers of one lot or near-copies of each other share one. None: each its own.
        draws: bootstrap draws; 0 leaves the intervals undefined.
        seed: of the draws.

    Raises:
        InputError: no wafers, arrays that do not fit, or a label outside 0..8.
        ModelError: probabilities that are not finite or do not sum to 1.

    Examples:
        >>> label = [0, 0, 8, 8]
        >>> prob = np.eye(9)[[0, 8, 8, 8]]
        >>> found = score(label, prob, group=[1, 2, 3, 4])
        >>> found.accuracy.value, found.escape_rate.value
        (0.75, 0.5)
    """
    label, prob, group = _checked(label, prob, group)
    n, predicted = len(label), prob.argmax(axis=1)
    _, group = np.unique(group, return_inverse=True)
    n_groups = int(group.max()) + 1

    # Every bootstrapped figure is a function of sums over wafers: 81 cells of the confusion matrix, three sums per
    # confidence bin, and two more.
    confidence = prob.max(axis=1)
    bins = np.clip(np.ceil(confidence * ECE_BINS).astype(np.int64) - 1, 0, ECE_BINS - 1)
    top2 = np.argsort(-prob, axis=1, kind="stable")[:, :2] == label[:, None]
    surprise = -np.log(np.clip(prob[np.arange(n), label], np.finfo(np.float64).eps, None))

    def by_group(column: NDArray[np.int64], width: int, weight: NDArray[Any] | None = None) -> NDArray[np.float64]:
        flat = np.bincount(group * width + column, weights=weight, minlength=n_groups * width)
        return flat.reshape(n_groups, width).astype(np.float64)

    only = np.zeros(n, np.int64)
    cells = by_group(label * _K + predicted, _K * _K)
    sums = np.concatenate(
        [
            cells,
            by_group(bins, ECE_BINS),
            by_group(bins, ECE_BINS, confidence),
            by_group(bins, ECE_BINS, (predicted == label).astype(float)),
            by_group(only, 1, top2.any(axis=1).astype(float)),
            by_group(only, 1, surprise),
        ],
        axis=1,
    )
    total = sums.sum(axis=0)
    bootstrap = Bootstrap(sums, _figures, draws=draws, seed=seed)
    value, estimate = bootstrap.value, bootstrap.estimate
    support, guesses = np.bincount(label, minlength=_K), np.bincount(predicted, minlength=_K)
    groups_of = (cells.reshape(n_groups, _K, _K).sum(axis=2) > 0).sum(axis=0)
    ranking = [_ranking(label == c, prob[:, c]) for c in range(_K)]
    return Scores(
        wafers=n,
        groups=n_groups,
        draws=draws,
        seed=seed,
        confusion=tuple(tuple(int(v) for v in row) for row in total[: _K * _K].reshape(_K, _K)),
        absent=tuple(name for name, count in zip(CLASSES, support, strict=True) if not count),
        macro_f1=estimate("macro_f1"),
        balanced_accuracy=estimate("balanced_accuracy"),
        accuracy=estimate("accuracy"),
        top2_accuracy=estimate("top2_accuracy"),
        log_loss=estimate("log_loss"),
        ece=estimate("ece"),
        escape_rate=estimate("escape_rate"),
        false_alarm_rate=estimate("false_alarm_rate"),
        classes=tuple(
            ClassScores(
                name=name,
                support=int(support[c]),
                groups=int(groups_of[c]),
                predicted=int(guesses[c]),
                precision=estimate("precision", c),
                recall=estimate("recall", c),
                f1=estimate("f1", c),
                escape_rate=estimate("class_escape_rate", c),
                roc_auc=ranking[c][0],
                average_precision=ranking[c][1],
            )
            for c, name in enumerate(CLASSES)
        ),
        natural_mix=MixScores(
            counts=tuple(count if present else 0 for count, present in zip(NATURAL_COUNTS, support, strict=True)),
            precision=tuple(estimate("natural_precision", c) for c in range(_K)),
            f1=tuple(estimate("natural_f1", c) for c in range(_K)),
            macro_f1=estimate("natural_macro_f1"),
            accuracy=estimate("natural_accuracy"),
            escape_rate=estimate("natural_escape_rate"),
            false_alarm_rate=estimate("natural_false_alarm_rate"),
        ),
        reliability=tuple(
            Bin(int(count), float(value["bin_confidence"][b]), float(value["bin_accuracy"][b]))
            for b, count in enumerate(value["bin_count"])
        ),
        if_calibrated=if_calibrated(prob, bins=bins, draws=min(draws, _CALIBRATED_DRAWS), seed=seed),
    )


def _checked(
    label: ArrayLike, prob: ArrayLike, group: ArrayLike | None
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]:
    labels, probs = np.asarray(label).astype(np.int64), np.asarray(prob, np.float64)
    groups = np.arange(len(labels)) if group is None else np.asarray(group).astype(np.int64)
    n = len(labels)
    if not n:
        raise InputError("scores: no labelled wafer to score; expected at least one.")
    if probs.shape != (n, _K) or groups.shape != (n,):
        raise InputError(
            f"scores: label {labels.shape}, prob {probs.shape}, group {groups.shape}; expected (n,), (n, {_K}), (n,)."
        )
    if labels.min() < 0 or labels.max() >= _K:
        wrong = int(np.flatnonzero((labels < 0) | (labels >= _K))[0])
        raise InputError(f"scores: label {labels[wrong]} of wafer {wrong}; expected 0..{_K - 1}. Leave out unlabelled.")
    if not np.isfinite(probs).all() or np.abs(probs.sum(axis=1) - 1).max() > 1e-3 or probs.min() < 0:
        raise ModelError("scores: probabilities that are negative, not finite or do not sum to 1; expected a softmax.")
    return labels, probs, groups


def _figures(sums: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """Return every bootstrapped figure from (..., columns) sums, laid out as in `score`."""
    cells, rest = sums[..., : _K * _K], sums[..., _K * _K :]
    confusion = cells.reshape(*cells.shape[:-1], _K, _K)
    count, confidence, correct = (rest[..., i * ECE_BINS : (i + 1) * ECE_BINS] for i in range(3))
    n = confusion.sum(axis=(-2, -1))
    natural = rates(_divide(confusion, confusion.sum(axis=-1, keepdims=True), 0.0) * np.array(NATURAL_COUNTS)[:, None])
    return {
        **rates(confusion),
        **{f"natural_{name}": figure for name, figure in natural.items()},
        "bin_count": count,
        "bin_confidence": _divide(confidence, count),
        "bin_accuracy": _divide(correct, count),
        "ece": np.abs(confidence - correct).sum(axis=-1) / n,
        "top2_accuracy": rest[..., -2] / n,
        "log_loss": rest[..., -1] / n,
    }


def rates(confusion: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """Return the figures of (..., 9, 9) confusion matrices, each (...) or, per class, (..., 9)."""
    support, predicted = confusion.sum(axis=-1), confusion.sum(axis=-2)
    hits = np.diagonal(confusion, axis1=-2, axis2=-1)
    present = support > 0
    recall = _divide(hits, support)
    f1 = _divide(2 * hits, np.where(present, support + predicted, 0))
    escapes = confusion[..., NONE].copy()
    escapes[..., NONE] = np.nan
    here = present.sum(axis=-1)
    return {
        "precision": _divide(hits, np.where(present, predicted, 0)),
        "recall": recall,
        "f1": f1,
        "class_escape_rate": _divide(escapes, support),
        "macro_f1": np.where(present, f1, 0).sum(axis=-1) / here,
        "balanced_accuracy": np.where(present, recall, 0).sum(axis=-1) / here,
        "accuracy": hits.sum(axis=-1) / support.sum(axis=-1),
        "escape_rate": _divide(escapes[..., _DEFECTS].sum(axis=-1), support[..., _DEFECTS].sum(axis=-1)),
        "false_alarm_rate": 1 - recall[..., NONE],
    }


def _divide(a: NDArray[np.float64], b: NDArray[np.float64], otherwise: float = np.nan) -> NDArray[np.float64]:
    shape = np.broadcast_shapes(a.shape, b.shape)
    found: NDArray[np.float64] = np.divide(a, b, out=np.full(shape, otherwise), where=np.broadcast_to(b > 0, shape))
    return found


def _ranking(true: NDArray[np.bool_], prob: NDArray[np.float64]) -> tuple[float, float]:
    """Return ROC AUC and average precision of one class against the rest; NaN where one side is empty."""
    from sklearn.metrics import average_precision_score, roc_auc_score

    if true.all() or not true.any():
        return np.nan, np.nan
    return float(roc_auc_score(true, prob)), float(average_precision_score(true, prob))
