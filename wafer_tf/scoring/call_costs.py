"""What one way of calling wafers costs at a class mix: escapes, false alarms, precision, each with a 95 % interval.

A wafer that is left to a person is neither an escape nor a false alarm; it is counted apart.

A bootstrap over groups has no width where errors were none or all of the wafers. The limits then rest on Clopper and
Pearson's, over the effective number of groups: wafers of one group count as one.
"""

from dataclasses import dataclass
from math import ceil
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wafer_tf.decision.points import REVIEW
from wafer_tf.dies import CLASSES, NONE
from wafer_tf.scoring.bootstrap import Bootstrap, Estimate
from wafer_tf.scoring.mix import Mix, reweight

_K = len(CLASSES)
_CALLS = _K + 1
DEFECTS = np.array([c for c in range(_K) if c != NONE])


@dataclass(frozen=True)
class Bounded(Estimate):
    """A figure and its 95 % interval; `exact` where that rests on Clopper and Pearson's limits."""

    exact: bool = False


@dataclass(frozen=True)
class ClassCosts:
    """One class.

    Attributes:
        name: one of CLASSES.
        wafers: labelled so.
        groups: with at least one of them.
        escaped: of them, called none (0 for none itself).
        called: wafers called by this name, as counted.
        escape_rate: share of its wafers called none; undefined for none itself and for a class without a share.
        precision: share of the wafers called by this name, at the mix, that are of it; undefined where never called.
    """

    name: str
    wafers: int
    groups: int
    escaped: int
    called: int
    escape_rate: Bounded
    precision: Bounded


@dataclass(frozen=True)
class Costs:
    """All of it; `escaped`, `alarms` and `confusion` count wafers, the rest is at the mix.

    Attributes:
        escaped: defects called none, of the classes that have a share.
        alarms: none wafers flagged, that is called a defect.
        escape_rate: share of the defects called none.
        false_alarm_rate: share of the none wafers flagged.
        false_alarm_exact: its limits by Clopper and Pearson, whatever was counted.
        alarm_precision: share of the flagged wafers that have a defect, of whichever class.
        macro_f1: mean F1 over the classes present; a wafer left to a person is not found.
        review_rate: share of all wafers left to a person.
        error_rate: share of the others that are called wrong, by whichever class; undefined where none is left.
        flagged_per_1000: of 1,000 wafers, those flagged; likewise the next two.
        classes: the nine, in the order of CLASSES.
        confusion: (9, 10) rows true, columns called; the last column is those left to a person.
    """

    escaped: int
    alarms: int
    escape_rate: Bounded
    false_alarm_rate: Bounded
    false_alarm_exact: tuple[float, float]
    alarm_precision: Bounded
    macro_f1: Estimate
    review_rate: Estimate
    error_rate: Estimate
    flagged_per_1000: Bounded
    false_alarms_per_1000: Bounded
    escapes_per_1000: Bounded
    classes: tuple[ClassCosts, ...]
    confusion: tuple[tuple[int, ...], ...]


def measure(
    label: NDArray[np.integer[Any]],
    called: NDArray[np.integer[Any]],
    group: NDArray[np.integer[Any]],
    *,
    mix: Mix,
    draws: int,
    seed: int,
) -> Costs:
    """Judge calls against labels at a mix, over the classes that the labels hold.

    Args:
        label: (n,) index into CLASSES; none and a defect with a share among them.
        called: (n,) index into CLASSES, or REVIEW where a person looks.
        group: (n,) split group of each wafer.
        mix: shares of the classes.
        draws: bootstrap draws of whole groups; 0, or one group alone, leaves their intervals undefined.
        seed: of the draws.
    """
    member = np.unique(group, return_inverse=True)[1]
    n_groups = int(member.max()) + 1
    cells = np.bincount((member * _K + label) * _CALLS + called, minlength=n_groups * _K * _CALLS)
    cells = cells.reshape(n_groups, _K * _CALLS)
    counts, shares = cells.sum(axis=0).reshape(_K, _CALLS), mix.among(label)
    support = counts.sum(axis=1)
    estimate = Bootstrap(
        cells.astype(np.float64),
        lambda sums: _figures(sums.reshape(*sums.shape[:-1], _K, _CALLS), shares),
        draws=draws,
        seed=seed,
    ).estimate
    none, defect = label == NONE, (label != NONE) & (shares[label] > 0)
    weight = shares[label] / support[label]

    def error_rate(found: Estimate, errors: int, kept: NDArray[np.bool_]) -> Bounded:
        if 0 < errors < kept.sum():
            return Bounded(found.value, found.low, found.high)
        limits = exact_interval(found.value, effective_groups(group[kept], weight[kept]))
        return Bounded(found.value, *limits, exact=True)

    escaped, alarms = int((called[defect] == NONE).sum()), int(counts[NONE, DEFECTS].sum())
    escape_rate = error_rate(estimate("escape_rate"), escaped, defect)
    false_alarm_rate = error_rate(estimate("false_alarm_rate"), alarms, none)
    n_none = effective_groups(group[none], weight[none])
    good, bad = float(shares[NONE]), float(shares[DEFECTS].sum())
    # share of all wafers that may be none wafers called by one name although the part holds none of them
    unseen_alarms = good * exact_interval(0.0, n_none)[1]

    def precision(found: Estimate, called_share: float, unseen: float) -> Bounded:
        if not unseen or np.isnan(found.value):
            return Bounded(found.value, found.low, found.high)
        low = found.value * called_share / (called_share + unseen)
        return Bounded(found.value, float(np.fmin(found.low, low)), float(np.fmax(found.high, found.value)), exact=True)

    flagged = estimate("flagged")
    if not alarms:
        high = float(np.fmax(flagged.high, flagged.value + unseen_alarms))
        flagged = Bounded(flagged.value, float(np.fmin(flagged.low, flagged.value)), high, exact=True)
    called_share = reweight(counts.astype(np.float64), shares).sum(axis=0)[:_K]
    unseen = np.where(counts[NONE] == 0, unseen_alarms, 0.0)
    unseen[NONE] = 0.0 if escaped else bad * escape_rate.high
    undefined = Bounded(np.nan, np.nan, np.nan)
    return Costs(
        escaped=escaped,
        alarms=alarms,
        escape_rate=escape_rate,
        false_alarm_rate=false_alarm_rate,
        false_alarm_exact=exact_interval(false_alarm_rate.value, n_none),
        alarm_precision=precision(estimate("alarm_precision"), flagged.value, 0.0 if alarms else unseen_alarms),
        macro_f1=estimate("macro_f1"),
        review_rate=estimate("review_rate"),
        error_rate=estimate("error_rate"),
        flagged_per_1000=_times(1000, flagged),
        false_alarms_per_1000=_times(1000 * good, false_alarm_rate),
        escapes_per_1000=_times(1000 * bad, escape_rate),
        classes=tuple(
            ClassCosts(
                name=name,
                wafers=int(support[c]),
                groups=len(np.unique(group[label == c])),
                escaped=0 if c == NONE else int(counts[c, NONE]),
                called=int(counts[:, c].sum()),
                escape_rate=error_rate(estimate("class_escape_rate", c), int(counts[c, NONE]), label == c)
                if c != NONE and shares[c]
                else undefined,
                precision=precision(estimate("precision", c), float(called_share[c]), float(unseen[c])),
            )
            for c, name in enumerate(CLASSES)
        ),
        confusion=tuple(tuple(int(v) for v in row) for row in counts),
    )


def exact_interval(rate: float, n: float) -> tuple[float, float]:
    """Return the 95 % limits of Clopper and Pearson for a rate over n independent wafers, or effectively so many."""
    from scipy.stats import beta

    hits = rate * n
    low = float(beta.ppf(0.025, hits, n - hits + 1)) if hits > 1e-9 else 0.0
    high = float(beta.ppf(0.975, hits + 1, n - hits)) if n - hits > 1e-9 else 1.0
    return low, high


def effective_groups(group: NDArray[np.integer[Any]], weight: NDArray[np.float64]) -> float:
    """Return Kish's effective number of groups, (sum w)^2 / sum w^2, w the weight of all wafers of a group."""
    of = np.bincount(np.unique(group, return_inverse=True)[1], weights=weight)
    return float(of.sum() ** 2 / np.square(of).sum())


def wafers_to_measure(rate: float, half_width: float) -> int:
    """Return how many wafers measure a rate to within a 95 % interval of plus or minus `half_width`."""
    return ceil(1.96**2 * rate * (1 - rate) / half_width**2)


def _figures(confusion: NDArray[np.float64], shares: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """Return the figures of (..., 9, 10) counted confusion matrices at a mix."""
    moved = reweight(confusion, shares)
    hits = np.diagonal(moved, axis1=-2, axis2=-1)
    called, defects = moved[..., :_K].sum(axis=-2), moved[..., DEFECTS, :]
    support = moved.sum(axis=-1)
    present, alarms = support > 0, moved[..., NONE, DEFECTS].sum(axis=-1)
    caught, flagged = defects[..., DEFECTS].sum(axis=(-2, -1)), moved[..., DEFECTS].sum(axis=(-2, -1))
    answered = moved[..., :_K].sum(axis=(-2, -1))
    escapes = moved[..., NONE].copy()
    escapes[..., NONE] = np.nan
    f1 = np.where(present, _ratio(2 * hits, support + called), 0)
    return {
        "precision": _ratio(hits, np.where(present, called, 0)),
        "class_escape_rate": _ratio(escapes, support),
        "macro_f1": f1.sum(axis=-1) / present.sum(axis=-1),
        "escape_rate": _ratio(defects[..., NONE].sum(axis=-1), defects.sum(axis=(-2, -1))),
        "false_alarm_rate": _ratio(alarms, support[..., NONE]),
        "review_rate": moved[..., REVIEW].sum(axis=-1) / support.sum(axis=-1),
        "error_rate": 1 - _ratio(hits.sum(axis=-1), answered),
        "flagged": flagged / support.sum(axis=-1),
        "alarm_precision": _ratio(caught, flagged),
    }


def _ratio(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return a / b, NaN where b is 0."""
    return np.asarray(np.divide(a, b, out=np.full(np.shape(b), np.nan), where=b > 0))


def _times(scale: float, found: Estimate) -> Bounded:
    exact = isinstance(found, Bounded) and found.exact
    return Bounded(scale * found.value, scale * found.low, scale * found.high, exact)
