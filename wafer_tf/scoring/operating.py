"""Operating points by name: how each is chosen, and what it does on wafers that did not choose it.

A point moves the logarithm of none's odds, and so the calls, or says below which likelihood a person looks. It is
offered only if it keeps what its name promises on the wafers that judge. Rates are at the class mix of a fab.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wafer_tf.decision.points import BALANCED, MAX_SHIFT, REVIEW, Point
from wafer_tf.decision.sets import COVERAGE
from wafer_tf.dies import CLASSES, NONE
from wafer_tf.errors import InputError
from wafer_tf.scoring.call_costs import DEFECTS, Costs, effective_groups, measure
from wafer_tf.scoring.coverage import SetScores, judge_sets
from wafer_tf.scoring.evidence import Evidence, Part
from wafer_tf.scoring.mix import NATURAL, Mix
from wafer_tf.scoring.selective import Goal, Proof, draw, groups_to_prove, provable_rate, prove

FEW_ESCAPES, FEW_FALSE_ALARMS = "few-escapes", "few-false-alarms"
MAX_ESCAPE_RATE = 0.02
MAX_FALSE_ALARM_RATE = 0.01
RULES = {
    BALANCED: "the likeliest class is called",
    FEW_ESCAPES: f"at most {MAX_ESCAPE_RATE:.0%} of the defects are called none, and fewer than at balanced",
    FEW_FALSE_ALARMS: f"at most {MAX_FALSE_ALARM_RATE:.0%} of the none wafers are flagged, and fewer than at balanced",
}
"""What the named points promise. The last two are chosen so that their rate is below the limit at 95 % (Clopper and
Pearson over the effective number of groups), or half of balanced's where that is less already."""

_K = len(CLASSES)
_TINY = np.finfo(np.float64).tiny


@dataclass(frozen=True, eq=False)
class Curve:
    """Rates at many shifts of none's odds, ascending.

    Attributes:
        shift: (m,).
        escape_rate: (m,) share of the defects called none, at the mix.
        false_alarm_rate: (m,) share of the none wafers flagged.
    """

    shift: NDArray[np.float64]
    escape_rate: NDArray[np.float64]
    false_alarm_rate: NDArray[np.float64]


@dataclass(frozen=True)
class Named:
    """A named operating point.

    Attributes:
        name: a key of RULES, or that of a goal that was to be proven.
        promise: what the name says, in words.
        point: what is shipped; None where the wafers that choose do not give one.
        limit: of the rate that the name promises; None where it promises none.
        rates: that rate in each round, on the wafers that judge; NaN where the round gives no point, or they no rate.
        costs: on all wafers that judge, each by the point of its round; None where a round gives none.
        kept: whether the name holds there. A point that is not kept is not offered.
        why: it is not, in words; else empty.
    """

    name: str
    promise: str
    point: Point | None
    limit: float | None
    rates: tuple[float, ...]
    costs: Costs | None
    kept: bool
    why: str


@dataclass(frozen=True)
class OperatingPoints:
    """What `find_points` finds.

    Attributes:
        mix: as asked for.
        absent: classes with a share of which no wafer judges; the figures are at the mix of the others.
        wafers, groups: that judge.
        none_wafers, none_groups: of these, labelled none; `none_groups` is the effective number at which exact limits
            are taken.
        draws, seed: of the bootstrap; the seed is that of the drawn wafers, too.
        named: the points, offered or not.
        curve: rates at every shift that tells two of the judging wafers apart.
        proofs: of each goal, on the wafers that choose what is shipped.
        sets: the prediction sets.
    """

    mix: Mix
    absent: tuple[str, ...]
    wafers: int
    groups: int
    none_wafers: int
    none_groups: float
    draws: int
    seed: int
    named: tuple[Named, ...]
    curve: Curve
    proofs: tuple[Proof, ...]
    sets: SetScores

    @property
    def offered(self) -> dict[str, Point]:
        """The points that keep their names."""
        return {named.name: named.point for named in self.named if named.kept and named.point is not None}


def find_points(
    evidence: Evidence,
    *,
    mix: Mix = NATURAL,
    goals: Sequence[Goal] = (Goal(),),
    coverage: float = COVERAGE,
    draws: int = 1000,
    seed: int = 0,
) -> OperatingPoints:
    """Choose the named points and the prediction sets, and judge them by wafers that did not choose.

    Args:
        evidence: the wafers.
        mix: class shares where the model will work.
        goals: to prove; each that can be proven is a point.
        coverage: of the prediction sets.
        draws: bootstrap draws of whole groups, for the intervals.
        seed: of these, and of the wafer that is drawn of each group.

    Raises:
        InputError: wafers that choose or judge without a none wafer, or without a defect that the mix has.
    """
    judged, shipped = evidence.wafers.at(evidence.judged), evidence.wafers.at(evidence.final)
    for choose, _ in evidence.parts():
        _check("chooses", choose, mix)
    _check("judges", judged, mix)
    proofs = tuple(prove(shipped, goal, mix=mix, seed=seed) for goal in goals)
    final = _choose(shipped, mix, proofs)
    rounds = [
        _choose(choose, mix, [prove(choose, goal, mix=mix, seed=seed) for goal in goals])
        for choose, _ in evidence.parts()
    ]
    parts = [judge for _, judge in evidence.parts()]
    balanced = _costs(parts, [Point()] * len(parts), mix, draws, seed)
    first = min((choose for choose, _ in evidence.parts()), key=len)
    lacking = {name: _too_few(name, first, mix) for name in (FEW_ESCAPES, FEW_FALSE_ALARMS)}
    for proof in proofs:
        lacking[proof.goal.name] = (
            "not proven without the wafers that judge it" if proof.proven else f"not proven: {proof.why.rstrip('.')}"
        )
    named = [
        _judge(
            name,
            point,
            [found[name] for found in rounds],
            parts,
            balanced,
            lacking.get(name, ""),
            mix,
            goals,
            draws,
            seed,
        )
        for name, point in final.items()
    ]
    is_none = judged.label == NONE
    absent = (mix.array > 0) & (np.bincount(judged.label, minlength=_K) == 0)
    return OperatingPoints(
        mix=mix,
        absent=tuple(CLASSES[c] for c in np.flatnonzero(absent)),
        wafers=len(judged),
        groups=len(np.unique(judged.group)),
        none_wafers=int(is_none.sum()),
        none_groups=effective_groups(judged.group[is_none], np.ones(int(is_none.sum()))),
        draws=draws,
        seed=seed,
        named=tuple(named),
        curve=trade_off(judged, mix, every_shift(judged.prob)),
        proofs=proofs,
        sets=judge_sets(evidence, coverage=coverage, draws=draws, seed=seed),
    )


def none_margin(prob: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (n,) the shift of none's odds above which a wafer of (n, 9) probabilities is called none."""
    return np.asarray(np.log(np.maximum(prob[:, DEFECTS].max(axis=1), _TINY) / np.maximum(prob[:, NONE], _TINY)))


def every_shift(prob: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the shifts half-way between wafers, ascending, and 1 beyond both ends: no other tells more apart."""
    seen = np.unique(none_margin(prob))
    return np.concatenate([[seen[0] - 1], (seen[1:] + seen[:-1]) / 2, [seen[-1] + 1]])


def trade_off(part: Part, mix: Mix, shift: NDArray[np.float64]) -> Curve:
    """Return the rates of a part at a mix, at (m,) shifts, none of its wafers being left to review."""
    margin, none = none_margin(part.prob), part.label == NONE
    weight = (mix.among(part.label) / np.maximum(np.bincount(part.label, minlength=_K), 1))[part.label]

    def share_below(kept: NDArray[np.bool_]) -> NDArray[np.float64]:
        order = np.argsort(margin[kept])
        total = np.concatenate([[0.0], np.cumsum(weight[kept][order])])
        return np.asarray(total[np.searchsorted(margin[kept][order], shift)] / total[-1])

    return Curve(shift, share_below(~none), 1 - share_below(none))


def few_escapes(part: Part, mix: Mix) -> Point | None:
    """Return the point of the fewest false alarms at which escapes are sure to be few; None where too few say so."""
    curve = trade_off(part, mix, every_shift(part.prob))
    rate = _sure_rate(part, mix, MAX_ESCAPE_RATE, part.label != NONE, trade_off(part, mix, np.zeros(1)).escape_rate[0])
    if rate is None:
        return None
    shift = curve.shift[np.flatnonzero(curve.escape_rate <= rate + 1e-9)[-1]]
    return Point(none_shift=float(np.clip(np.floor(shift * 1e4) / 1e4, -MAX_SHIFT, MAX_SHIFT)))


def few_false_alarms(part: Part, mix: Mix) -> Point | None:
    """Return the point of the fewest escapes at which false alarms are sure to be few; None as in `few_escapes`."""
    curve = trade_off(part, mix, every_shift(part.prob))
    now = trade_off(part, mix, np.zeros(1)).false_alarm_rate[0]
    rate = _sure_rate(part, mix, MAX_FALSE_ALARM_RATE, part.label == NONE, now)
    if rate is None:
        return None
    shift = curve.shift[np.flatnonzero(curve.false_alarm_rate <= rate + 1e-9)[0]]
    return Point(none_shift=float(np.clip(np.ceil(shift * 1e4) / 1e4, -MAX_SHIFT, MAX_SHIFT)))


def _sure_rate(part: Part, mix: Mix, limit: float, kept: NDArray[np.bool_], now: float) -> float | None:
    """Return the rate to aim at: one that shows the limit to hold, or half of today's where that is lower."""
    rate = provable_rate(limit, _worth(part, mix, kept))
    return None if rate is None else rate if rate < now else now / 2


def _worth(part: Part, mix: Mix, kept: NDArray[np.bool_]) -> float:
    """Return how many independent wafers some of a part are worth at a mix."""
    kept = kept & (mix.array[part.label] > 0)
    weight = (mix.among(part.label) / np.maximum(np.bincount(part.label, minlength=_K), 1))[part.label]
    return effective_groups(part.group[kept], weight[kept])


def _too_few(name: str, part: Part, mix: Mix) -> str:
    """Return why the wafers that choose give no such point."""
    of, kept, limit = "defects", part.label != NONE, MAX_ESCAPE_RATE
    if name == FEW_FALSE_ALARMS:
        of, kept, limit = "none wafers", ~kept, MAX_FALSE_ALARM_RATE
    return (
        f"the {int(kept.sum()):,} {of} that choose it, large groups among them, are worth "
        f"{_worth(part, mix, kept):,.0f} independent ones; it takes {groups_to_prove(limit):,} or more"
    )


def _choose(part: Part, mix: Mix, proofs: Sequence[Proof]) -> dict[str, Point | None]:
    found = {BALANCED: Point(), FEW_ESCAPES: few_escapes(part, mix), FEW_FALSE_ALARMS: few_false_alarms(part, mix)}
    for proof in proofs:
        found[proof.goal.name] = None if proof.proven is None else Point(proof.proven.review_below)
    return found


def _judge(
    name: str,
    point: Point | None,
    rounds: Sequence[Point | None],
    parts: Sequence[Part],
    balanced: Costs,
    lacking: str,
    mix: Mix,
    goals: Sequence[Goal],
    draws: int,
    seed: int,
) -> Named:
    goal = next((goal for goal in goals if goal.name == name), None)
    promise = RULES[name] if goal is None else goal.promise
    found = [one for one in rounds if one is not None]
    if point is None or len(found) < len(rounds):
        return Named(name, promise, None, None, (np.nan,) * len(rounds), None, kept=False, why=lacking)
    costs = _costs(parts, found, mix, draws, seed)
    if name == BALANCED:
        return Named(name, promise, point, None, (), costs, kept=True, why="")
    if goal is not None:
        answers = [_drawn_errors(part, one, mix, seed) for part, one in zip(parts, found, strict=True)]
        rates = [wrong / max(answered, 1) for wrong, answered in answers]
        wrong, answered = np.sum(answers, axis=0)
        limit, rate = goal.max_error, float(wrong / max(answered, 1))
        for most, found_rate, what in (
            (goal.max_escapes, costs.escape_rate.value, "of the defects called none"),
            (goal.max_false_alarms, costs.false_alarm_rate.value, "of the none wafers flagged"),
        ):
            if most is not None and found_rate > most:
                why = f"{found_rate:.2%} {what} on the wafers that judge, above {most:.2%}"
                return Named(name, promise, point, limit, tuple(rates), costs, kept=False, why=why)
    else:
        key = "escape_rate" if name == FEW_ESCAPES else "false_alarm_rate"
        rates = [
            getattr(_costs([part], [one], mix, 0, seed), key).value if _whole(part, mix) else np.nan
            for part, one in zip(parts, found, strict=True)
        ]
        limit = MAX_ESCAPE_RATE if name == FEW_ESCAPES else MAX_FALSE_ALARM_RATE
        rate = getattr(costs, key).value
        if rate >= (other := getattr(balanced, key).value):
            why = f"{rate:.2%} on the wafers that judge, where balanced has {other:.2%}"
            return Named(name, promise, point, limit, tuple(rates), costs, kept=False, why=why)
    kept = rate <= limit
    why = "" if kept else f"{rate:.2%} on the wafers that judge, above {limit:.2%}"
    return Named(name, promise, point, limit, tuple(rates), costs, kept=kept, why=why)


def _costs(parts: Sequence[Part], points: Sequence[Point], mix: Mix, draws: int, seed: int) -> Costs:
    called = np.concatenate([point.called(part.prob) for part, point in zip(parts, points, strict=True)])
    label, group = (np.concatenate([getattr(part, key) for part in parts]) for key in ("label", "group"))
    return measure(label, called, group, mix=mix, draws=draws, seed=seed)


def _drawn_errors(part: Part, point: Point, mix: Mix, seed: int) -> tuple[int, int]:
    """Return how many wafers, of those drawn as for a proof, are answered wrong, and how many are answered."""
    drawn = part.at(draw(part, mix, seed=seed))
    called = point.called(drawn.prob)
    return int(((called != REVIEW) & (called != drawn.label)).sum()), int((called != REVIEW).sum())


def _whole(part: Part, mix: Mix) -> bool:
    """Whether a part has a none wafer, and a defect that the mix holds."""
    none = part.label == NONE
    return bool(none.any() and mix.array[part.label[~none]].any())


def _check(what: str, part: Part, mix: Mix) -> None:
    n = len(part)
    if not (part.label == NONE).any():
        raise InputError(
            f"the part that {what}: not one of its {n} wafers is labelled none; without one there is no false-alarm "
            "rate. Add maps of wafers without a pattern."
        )
    if not mix.array[part.label[part.label != NONE]].any():
        raise InputError(
            f"the part that {what}: not one of its {n} wafers has a defect that {mix.name} holds; without one there is "
            "no escape rate. Add maps of defects, or name another mix."
        )
