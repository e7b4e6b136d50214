"""Operating points: the thresholds on "any defect" that a fab can choose from, and what each costs at its class mix.

A wafer is called none where its probability of any defect, 1 - p(none), is below the threshold, else by its likeliest
defect class. The probabilities are first moved to the mix. Thresholds are chosen on the validation part alone; the test
part says what they cost.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from wafer_tf.dies import CLASSES, NONE
from wafer_tf.errors import InputError
from wafer_tf.scoring.call_costs import DEFECTS, Costs, measure
from wafer_tf.scoring.mix import NATURAL, Mix, adjust

MAX_ESCAPE_RATE = 0.02
MAX_FALSE_ALARM_RATE = 0.01
RULES = {
    "few-escapes": f"the highest threshold with at most {MAX_ESCAPE_RATE:.0%} of the defects called none",
    "balanced": "the least sum of escape rate and false-alarm rate",
    "few-false-alarms": f"the lowest threshold with at most {MAX_FALSE_ALARM_RATE:.0%} of the none wafers flagged",
}
"""The named points, each chosen on validation at the mix.

`balanced` is the least cost where missing every defect costs as much as flagging every none wafer: at WM-811K's mix an
escape weighs as 5.8 false alarms. Were they to weigh the same, or were macro-F1 to decide, then with 32 none wafers one
false alarm weighs as 27 escapes in 1,000 wafers and the choice falls on `few-false-alarms` again (measured: of two
models by cost both, by macro-F1 one).
"""
MAX_CHOICES = 40
"""Rows of the table of thresholds; a large part has thousands."""

_K = len(CLASSES)
_TINY = np.finfo(np.float64).tiny


@dataclass(frozen=True, eq=False)
class Part:
    """One part of a run as the model sees it.

    Attributes:
        label: (n,) index into CLASSES.
        prob: (n, 9) rows sum to 1.
        group: (n,) split group of each wafer.
    """

    label: NDArray[np.int64]
    prob: NDArray[np.float64]
    group: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Curve:
    """Rates of a part at many thresholds.

    Attributes:
        threshold: (m,) log-odds of any defect.
        escape_rate: (m,) share of the defects called none, at the mix.
        false_alarm_rate: (m,) share of the none wafers flagged.
    """

    threshold: NDArray[np.float64]
    escape_rate: NDArray[np.float64]
    false_alarm_rate: NDArray[np.float64]


@dataclass(frozen=True)
class Threshold:
    """A threshold and its rates on both parts, at the mix.

    Attributes:
        prob: least probability of any defect, moved to the mix, that is flagged.
        log_odds: the same as ln(p / (1 - p)), which does not round to 0 or 1.
    """

    prob: float
    log_odds: float
    validation_escape_rate: float
    validation_false_alarm_rate: float
    test_escape_rate: float
    test_false_alarm_rate: float


@dataclass(frozen=True)
class Point:
    """A named operating point: a key of RULES, its threshold, and what it costs on the test part."""

    name: str
    threshold: Threshold
    test: Costs


@dataclass(frozen=True)
class OperatingPoints:
    """What `find_points` finds.

    Attributes:
        mix: as asked for.
        absent: classes with a share of which the test part holds no wafer; the figures are at the mix of the others.
        factor: (9,) what the decision's probabilities are multiplied by, before they are made to sum to 1 again.
        wafers, groups: of the test part.
        validation_none, test_none: wafers labelled none.
        draws, seed: of the bootstrap.
        points: one for each of RULES.
        as_called: the test part called without correction or threshold, by the likeliest of the nine classes.
        thresholds: those that no other beats on validation, fewest false alarms first.
        validation_curve, test_curve: at every threshold that tells two wafers of the part apart, ascending.
    """

    mix: Mix
    absent: tuple[str, ...]
    factor: tuple[float, ...]
    wafers: int
    groups: int
    validation_none: int
    test_none: int
    draws: int
    seed: int
    points: tuple[Point, ...]
    as_called: Costs
    thresholds: tuple[Threshold, ...]
    validation_curve: Curve
    test_curve: Curve


def find_points(
    validation: Part, test: Part, *, mix: Mix = NATURAL, draws: int = 1000, seed: int = 0
) -> OperatingPoints:
    """Choose the named thresholds on validation and measure them on test.

    Args:
        validation: decides the correction and the thresholds; `prob` as the decision gives it.
        test: decides the figures alone; likewise.
        mix: class shares where the model will work.
        draws: bootstrap draws of whole groups, for the intervals.
        seed: of the draws.

    Raises:
        InputError: a part without a none wafer, or without a defect that the mix has.
    """
    from scipy.special import expit

    _check("validation", validation, mix)
    _check("test", test, mix)
    factor = correction(validation, mix)
    as_called = test.prob.argmax(axis=1)
    validation, test = (replace(part, prob=adjust(part.prob, factor)) for part in (validation, test))
    curve = trade_off(validation, mix, every_threshold(validation.prob))
    chosen = choose(curve)
    absent = (mix.array > 0) & (np.bincount(test.label, minlength=_K) == 0)

    def costs(called: NDArray[np.int64]) -> Costs:
        return measure(test.label, called, test.group, mix=mix, draws=draws, seed=seed)

    def thresholds(odds: list[float]) -> list[Threshold]:
        here, there = (trade_off(part, mix, np.array(odds)) for part in (validation, test))
        rates = here.escape_rate, here.false_alarm_rate, there.escape_rate, there.false_alarm_rate
        return [Threshold(*map(float, row)) for row in zip(expit(odds), odds, *rates, strict=True)]

    return OperatingPoints(
        mix=mix,
        absent=tuple(CLASSES[c] for c in np.flatnonzero(absent)),
        factor=tuple(factor.tolist()),
        wafers=len(test.label),
        groups=len(np.unique(test.group)),
        validation_none=int((validation.label == NONE).sum()),
        test_none=int((test.label == NONE).sum()),
        draws=draws,
        seed=seed,
        points=tuple(
            Point(name, threshold, costs(call(test.prob, threshold.log_odds)))
            for name, threshold in zip(chosen, thresholds(list(chosen.values())), strict=True)
        ),
        as_called=costs(as_called),
        thresholds=tuple(thresholds(worth_choosing(curve))),
        validation_curve=curve,
        test_curve=trade_off(test, mix, every_threshold(test.prob)),
    )


def correction(validation: Part, mix: Mix) -> NDArray[np.float64]:
    """Return the (9,) factors that move a model's probabilities to a mix.

    The mix they answer for is taken to be their mean on validation. Unlike the label counts it also holds what class
    weights and biases did to them, and no class has 0 (Alexandari, Kundaje, Shrikumar, "Maximum Likelihood with
    Bias-Corrected Calibration is Hard-To-Beat at Label Shift Adaptation", ICML 2020). A defect of which validation has
    no wafer gets the mean factor of the others: its mean probability would be noise.
    """
    was, now = np.maximum(validation.prob.mean(axis=0), _TINY), mix.array
    factor = now / was
    held = np.intersect1d(DEFECTS, validation.label)
    lacking = np.setdiff1d(DEFECTS, held)
    factor[lacking] = np.where(now[lacking] > 0, now[held].sum() / was[held].sum(), 0)
    return np.asarray(factor)


def log_odds(prob: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (n,) ln(p / (1 - p)) of any defect, of (n, 9) probabilities."""
    return np.asarray(np.log(np.maximum(prob[:, DEFECTS].sum(axis=1), _TINY) / np.maximum(prob[:, NONE], _TINY)))


def call(prob: NDArray[np.float64], threshold: float) -> NDArray[np.int64]:
    """Return (n,) class indices: none below the threshold, a log-odds of any defect, else the likeliest defect."""
    return np.where(log_odds(prob) >= threshold, DEFECTS[prob[:, DEFECTS].argmax(axis=1)], NONE)


def every_threshold(prob: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the log-odds half-way between wafers, ascending, and 1 beyond both ends: no other tells more apart."""
    seen = np.unique(log_odds(prob))
    return np.concatenate([[seen[0] - 1], (seen[1:] + seen[:-1]) / 2, [seen[-1] + 1]])


def trade_off(part: Part, mix: Mix, threshold: NDArray[np.float64]) -> Curve:
    """Return the rates of a part at a mix, at (m,) thresholds given as log-odds."""
    odds, none = log_odds(part.prob), part.label == NONE
    weight = (mix.among(part.label) / np.maximum(np.bincount(part.label, minlength=_K), 1))[part.label]

    def share_below(kept: NDArray[np.bool_]) -> NDArray[np.float64]:
        order = np.argsort(odds[kept])
        total = np.concatenate([[0.0], np.cumsum(weight[kept][order])])
        return np.asarray(total[np.searchsorted(odds[kept][order], threshold)] / total[-1])

    return Curve(threshold, share_below(~none), 1 - share_below(none))


def choose(curve: Curve) -> dict[str, float]:
    """Return the threshold, a log-odds, of each of RULES; of equal sums the lower, which lets fewer defects go."""
    escapes, alarms = curve.escape_rate, curve.false_alarm_rate
    places = {
        "few-escapes": np.flatnonzero(escapes <= MAX_ESCAPE_RATE + 1e-9)[-1],
        "balanced": (escapes + alarms).round(9).argmin(),
        "few-false-alarms": np.flatnonzero(alarms <= MAX_FALSE_ALARM_RATE + 1e-9)[0],
    }
    return {name: float(curve.threshold[place]) for name, place in places.items()}


def worth_choosing(curve: Curve) -> list[float]:
    """Return the thresholds, as log-odds, that no other beats in one rate without losing in the other.

    Fewest false alarms first, evenly thinned to MAX_CHOICES.
    """
    _, lowest = np.unique(curve.false_alarm_rate.round(9), return_index=True)
    kept: list[int] = []
    for place in lowest.tolist():
        if not kept or curve.escape_rate[place] < curve.escape_rate[kept[-1]] - 1e-9:
            kept.append(place)
    if len(kept) > MAX_CHOICES:
        kept = [kept[i] for i in np.linspace(0, len(kept) - 1, MAX_CHOICES).round().astype(int)]
    return [float(curve.threshold[place]) for place in kept]


def _check(name: str, part: Part, mix: Mix) -> None:
    n = len(part.label)
    if not (part.label == NONE).any():
        raise InputError(
            f"{name} part: not one of its {n} wafers is labelled none; without one there is no false-alarm rate. "
            "Train on maps that include wafers without a pattern."
        )
    if not mix.array[part.label[part.label != NONE]].any():
        raise InputError(
            f"{name} part: not one of its {n} wafers has a defect that {mix.name} holds; without one there is no "
            "escape rate. Train on maps that include defects, or name another mix."
        )
