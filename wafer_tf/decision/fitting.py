"""Fit a decision on wafers that neither trained the model nor judge it. Needs scipy.

Temperature scaling follows Guo et al., "On Calibration of Modern Neural Networks", ICML 2017.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wafer_tf.decision import Decision
from wafer_tf.decision.sets import COVERAGE, Sets
from wafer_tf.dies import CLASSES

_STEPS = np.arange(-1.5, 1.51, 0.1)
_FOLDS = 5
_DRAWS = 400


def fit_decision(
    logits: NDArray[np.floating[Any]], label: NDArray[np.integer[Any]], group: NDArray[np.integer[Any]]
) -> Decision:
    """Fit class biases (for macro-F1), then the temperature (for log loss), on the validation part.

    The biases are kept only if fitting them on four fifths of the groups raises macro-F1 on the remaining fifth, over
    all five fifths together; otherwise they are zero.

    Args:
        logits: (n, 9) of the validation maps.
        label: (n,) class index.
        group: (n,) split group, so that no group is both fitted on and judged.
    """
    raw = logits.astype(np.float64)
    fold = np.unique(group, return_inverse=True)[1] % _FOLDS
    crossed = np.zeros_like(raw)
    for k in range(_FOLDS):
        kept = fold != k
        crossed[~kept] = raw[~kept] + _fit_bias(raw[kept], label[kept])
    earns = macro_f1(label, crossed.argmax(1)) > macro_f1(label, raw.argmax(1))
    bias = _fit_bias(raw, label) if earns else np.zeros(len(CLASSES))
    return Decision(bias=tuple(bias.round(4).tolist()), temperature=round(_fit_temperature(raw + bias, label), 4))


@dataclass(frozen=True)
class Refit:
    """A decision fitted anew on another fab's wafers.

    Attributes:
        decision: what is kept.
        kept: which of REFITS it is.
        log_loss: of each of REFITS, on groups that did not fit it.
    """

    decision: Decision
    kept: str
    log_loss: dict[str, float]


REFITS = ("as it was", "temperature", "temperature and biases")
"""From no parameter to ten."""


def refit_decision(
    logits: NDArray[np.floating[Any]],
    label: NDArray[np.integer[Any]],
    group: NDArray[np.integer[Any]],
    *,
    was: Decision,
    weight: NDArray[np.float64] | None = None,
    seed: int = 0,
) -> Refit:
    """Fit a decision's parameters again by log loss, as many as other groups show to be worth it.

    Each further step of REFITS is taken only where it lowers the log loss of groups that did not fit it: in 95 of 100
    draws of whole groups. The biases are drawn to those that were, by a price of one wafer's loss for a shift of 1.

    Args:
        logits: (n, 9).
        label: (n,) class index.
        group: (n,) split group.
        was: the decision so far.
        weight: (n,) how much each wafer counts, so that probabilities answer for the class mix of the fab and not for
            that of its labelled maps; None for all alike.
        seed: of the draws.
    """
    raw, member = logits.astype(np.float64), np.unique(group, return_inverse=True)[1]
    counts = np.ones(len(raw)) if weight is None else weight / weight.mean()

    def fit(name: str, kept: NDArray[np.bool_]) -> Decision:
        if name == REFITS[0]:
            return was
        if name == REFITS[1]:
            return Decision(was.bias, _fit_temperature(raw[kept] + np.array(was.bias), label[kept], counts[kept]))
        return _fit_all(raw[kept], label[kept], counts[kept], was)

    losses = {}
    for name in REFITS:
        losses[name] = np.zeros(len(raw))
        for k in range(_FOLDS):
            own = member % _FOLDS == k
            prob = fit(name, ~own).probabilities(raw[own])
            losses[name][own] = -counts[own] * np.log(np.maximum(prob[np.arange(len(prob)), label[own]], 1e-12))
    kept, groups = REFITS[0], int(member.max()) + 1
    times = np.random.default_rng(seed).multinomial(groups, np.full(groups, 1 / groups), _DRAWS)
    for name in REFITS[1:]:
        gain = np.bincount(member, weights=losses[kept] - losses[name])
        if (times @ gain > 0).mean() >= 0.95:
            kept = name
    found = fit(kept, np.ones(len(raw), bool))
    rounded = Decision(tuple(round(b, 4) for b in found.bias), round(found.temperature, 4))
    return Refit(rounded, kept, {name: float(loss.mean()) for name, loss in losses.items()})


def fit_sets(
    prob: NDArray[np.floating[Any]],
    label: NDArray[np.integer[Any]],
    group: NDArray[np.integer[Any]],
    *,
    coverage: float = COVERAGE,
    seed: int = 0,
) -> Sets:
    """Find the thresholds of the prediction sets on wafers that did not train the model.

    Wafers of one group are alike, so that conformal prediction's exchangeable wafers are the groups: of each class, one
    wafer of each group is drawn ("subsampling once": Dunn, Wasserman, Ramdas, "Distribution-Free Prediction Sets for
    Two-Layer Hierarchical Models", JASA 2023). The coverage then holds for a wafer of a new group, with finitely many
    groups, whatever the distribution.

    Args:
        prob: (n, 9) calibrated probabilities.
        label: (n,) class index.
        group: (n,) split group.
        coverage: share of each class's wafers whose set shall hold it. A class needs coverage / (1 - coverage) groups,
            9 for 0.9; one with fewer gets no threshold.
        seed: of the draw.
    """
    least: list[float | None] = []
    for c in range(len(CLASSES)):
        of = np.flatnonzero(label == c)
        scores = np.sort(prob[of[one_per_group(group[of], seed=seed)], c])
        missed = int((len(scores) + 1) * (1 - coverage) + 1e-9)
        # down to six places, as records give probabilities: a lower threshold covers more
        least.append(float(np.floor(scores[missed - 1] * 1e6) / 1e6) if missed else None)
    return Sets(coverage, tuple(least))


def one_per_group(group: NDArray[np.integer[Any]], *, seed: int) -> NDArray[np.int64]:
    """Return the row of one wafer of each of the groups of (n,) wafers, drawn at random."""
    order = np.random.default_rng(seed).permutation(len(group))
    return np.asarray(order[np.unique(group[order], return_index=True)[1]], np.int64)


def macro_f1(label: NDArray[np.integer[Any]], call: NDArray[np.integer[Any]]) -> float:
    """Return the mean F1 of the classes present in `label`."""
    k = len(CLASSES)
    confusion = np.bincount(label.astype(np.int64) * k + call, minlength=k * k).reshape(k, k)
    hit, total = np.diag(confusion), confusion.sum(0) + confusion.sum(1)
    present = confusion.sum(1) > 0
    return float((2 * hit[present] / total[present]).mean()) if present.any() else float("nan")


def _fit_bias(logits: NDArray[np.float64], label: NDArray[np.integer[Any]]) -> NDArray[np.float64]:
    """Coordinate ascent on macro-F1 less a small price on large biases; (9,) with mean 0."""
    bias = np.zeros(len(CLASSES))
    best = macro_f1(label, logits.argmax(1))
    for _ in range(3):
        for c in range(len(CLASSES)):
            others = logits + bias
            others[:, c] = -np.inf
            rival = others.argmax(1)
            highest = others[np.arange(len(others)), rival]
            for value in _STEPS:
                trial = bias.copy()
                trial[c] = value
                own = logits[:, c] + value
                call = np.where((own > highest) | ((own == highest) & (c < rival)), c, rival)
                score = macro_f1(label, call) - 0.002 * float(np.square(trial).sum())
                if score > best + 1e-9:
                    best, bias = score, trial
    return np.asarray(bias - bias.mean())


def _fit_all(
    logits: NDArray[np.float64], label: NDArray[np.integer[Any]], weight: NDArray[np.float64], was: Decision
) -> Decision:
    """Fit temperature and biases together by log loss, from where they were."""
    from scipy.optimize import minimize
    from scipy.special import log_softmax

    n, true = len(label), np.eye(len(CLASSES))[label]

    def loss(x: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        sharpness, bias = np.exp(x[0]), x[1:]
        scaled = (logits + bias) * sharpness
        log_prob = log_softmax(scaled, axis=1)
        error = (np.exp(log_prob) - true) * weight[:, None]
        moved = bias - was.bias
        slope = np.concatenate([[(error * scaled).sum()], error.sum(axis=0) * sharpness + 2 * moved])
        return float((-(weight * log_prob[true > 0]).sum() + np.square(moved).sum()) / n), slope / n

    start = np.concatenate([[-np.log(was.temperature)], was.bias])
    bounds = [(-np.log(10), np.log(5)), *((b - 10, b + 10) for b in was.bias)]
    x = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds).x
    return Decision(tuple(x[1:].tolist()), float(np.exp(-x[0])))


def _fit_temperature(
    logits: NDArray[np.float64], label: NDArray[np.integer[Any]], weight: NDArray[np.float64] | None = None
) -> float:
    from scipy.optimize import minimize_scalar
    from scipy.special import log_softmax

    def log_loss(log_t: float) -> float:
        of_truth = log_softmax(logits / np.exp(log_t), axis=1)[np.arange(len(label)), label]
        return -float(np.average(of_truth, weights=weight))

    return float(np.exp(minimize_scalar(log_loss, bounds=(np.log(0.2), np.log(10)), method="bounded").x))
