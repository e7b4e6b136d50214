"""A call in the fab's words: how much fails, where the evidence lies, what its strongest cluster looks like, what else.

Computed from the die grid, the heat map and the probabilities; nothing is generated. Places are told as on a clock, 12
at the top row of the map, and by radius, 0 at the middle of the dies' bounding box and 1 at its edge.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wafer_tf.dies import CLASSES, NONE, Die
from wafer_tf.explaining.pattern_heat import apart
from wafer_tf.synthesis.grids import Grid

CENTRE, EDGE = 1 / 3, 0.8
"""Radii: evidence lies at the centre, or at the edge, if half of it is within the one or beyond the other."""
MOST = 0.8
"""Share of the evidence that the clock hours told must hold."""
ALL_ROUND_HOURS = 8.0
"""Evidence that needs more hours than these lies all round; if even, MOST of it needs 9.6."""
RING_SPREAD = 0.18
"""Largest standard deviation of the radius, in wafer radii, of a ring; that of a whole disc is 0.24."""
LONG = 2.0
"""Length over width from which a cluster has a direction."""
WIDE = 0.5
"""Width, in wafer diameters, above which a cluster is told without a place: its centre of gravity says nothing."""
WARM = 0.25
"""Share of a pattern's hottest die that a die must pass to belong to its cluster, beside those of other patterns."""
CLOSE_MARGIN = 0.2
"""Difference of the two largest probabilities below which a call is close."""


@dataclass(frozen=True)
class Place:
    """A place on the wafer.

    Attributes:
        radius: 0 at the centre to 1 at the edge (corners of the grid lie beyond).
        clock: hours, above 0 to 12, from 12 at the top row clockwise.
    """

    radius: float
    clock: float


@dataclass(frozen=True)
class Evidence:
    """Where the dies are that speak for the call: failing ones; all where no failing one has any heat.

    Each weighs by the square of its heat, so that many faintly warm dies do not outweigh the few hot ones.

    Attributes:
        at: the radius that parts them in halves, and the clock of their centre of gravity.
        zone: "centre", "edge", or "between".
        spread: "spot" (one place), "ring" (all round at one radius), "all over", or "several" (apart from each other).
        first: clock hour at which the shortest stretch with MOST of the evidence begins.
        hours: length of that stretch, 0 to 12.
    """

    at: Place
    zone: str
    spread: str
    first: float
    hours: float


@dataclass(frozen=True)
class Cluster:
    """Failing dies that touch each other, by a side or a corner.

    Attributes:
        dies: how many.
        at: their centre of gravity.
        length: extent along their longest direction, as a share of the wafer's diameter.
        width: extent across it, likewise.
        angle: that direction in degrees, 0 up to 180, from horizontal counter-clockwise (45 rises to the right); NaN
            where length is less than LONG times width.
    """

    dies: int
    at: Place
    length: float
    width: float
    angle: float


@dataclass(frozen=True)
class PatternFacts:
    """What is told of one of several patterns on a wafer.

    Attributes:
        name: of the pattern.
        prob: that it is there, by its own sigmoid.
        evidence: of the dies that speak for it more than for the others; None where there is none.
        cluster: of the failing ones among them with more heat than WARM of the hottest, the cluster with the most heat;
            None where there is none.
    """

    name: str
    prob: float
    evidence: Evidence | None
    cluster: Cluster | None


@dataclass(frozen=True)
class CallFacts:
    """What is told of one call.

    Attributes:
        call: name of the class with the largest probability.
        prob: that probability.
        runner_up: name of the class with the second largest.
        runner_up_prob: that probability.
        dies: dies on the wafer.
        failing: how many of them fail.
        evidence: None where the heat map is empty.
        cluster: the cluster of failing dies with the most heat; for a call of none, the largest; None where no die
            fails.
        patterns: those of a wafer that has several, the likeliest first; empty where it has not; None where the model
            cannot say.
    """

    call: str
    prob: float
    runner_up: str
    runner_up_prob: float
    dies: int
    failing: int
    evidence: Evidence | None
    cluster: Cluster | None
    patterns: tuple[PatternFacts, ...] | None = None

    @property
    def margin(self) -> float:
        """Probability of the call less that of the runner-up."""
        return self.prob - self.runner_up_prob


def call_facts(
    grid: NDArray[np.uint8],
    heat: NDArray[np.floating[Any]],
    prob: NDArray[np.floating[Any]],
    *,
    patterns: Mapping[str, tuple[float, NDArray[np.floating[Any]]]] | None = None,
) -> CallFacts:
    """Measure one call.

    Args:
        grid: (rows, cols) uint8, die states 0..2, at least one die.
        heat: (rows, cols) float, 0 or more, evidence for the class called.
        prob: (9,) probabilities.
        patterns: of a wafer that has several, by name, probability and heat (rows, cols) 0..1; empty where it has not
            several, None where the model cannot say.
    """
    first, second = (int(c) for c in np.argsort(-np.asarray(prob), kind="stable")[:2])
    wafer, failing = Grid.from_mask(grid != Die.ABSENT), grid == Die.FAIL
    return CallFacts(
        call=CLASSES[first],
        prob=float(prob[first]),
        runner_up=CLASSES[second],
        runner_up_prob=float(prob[second]),
        dies=int(wafer.present.sum()),
        failing=int(failing.sum()),
        evidence=_evidence(wafer, failing, heat),
        cluster=_cluster(wafer, failing, np.ones_like(heat) if first == NONE else heat),
        patterns=None if patterns is None else _patterns(wafer, failing, patterns),
    )


def sentence(facts: CallFacts) -> str:
    """Word the facts in two to four short sentences, or two for every pattern of a wafer that has several."""
    share = 100 * facts.failing / facts.dies
    fails = f"{facts.failing:,} of {facts.dies:,} dies fail ({share:.3g} %)."
    if facts.patterns:
        names = [f"{one.name} ({one.prob:.2f})" for one in facts.patterns]
        said = [f"{', '.join(names[:-1])} and {names[-1]}: {fails}", *map(_pattern_words, facts.patterns)]
        said.append(f"As one pattern: {facts.call} ({facts.prob:.2f}), then {facts.runner_up}")
        return f"{' '.join(said)} ({facts.runner_up_prob:.2f})."
    said = [f"{facts.call} ({facts.prob:.2f}): {fails}"]
    if facts.call != CLASSES[NONE]:
        said.append(_evidence_words(facts.evidence))
    if facts.cluster is not None:
        which = "Largest" if facts.call == CLASSES[NONE] else "Strongest"
        said.append(f"{which} cluster: {_cluster_words(facts.cluster)}")
    close = ": a close call" if facts.margin < CLOSE_MARGIN else ""
    said.append(f"Runner-up {facts.runner_up} ({facts.runner_up_prob:.2f}), margin {facts.margin:.2f}{close}.")
    return " ".join(said)


def _patterns(
    wafer: Grid, failing: NDArray[np.bool_], patterns: Mapping[str, tuple[float, NDArray[np.floating[Any]]]]
) -> tuple[PatternFacts, ...]:
    own = apart({name: heat for name, (_, heat) in patterns.items()})
    found = []
    for name in sorted(own, key=lambda name: -patterns[name][0]):
        cluster = _cluster(wafer, failing & (own[name] > WARM * own[name].max()), own[name])
        found.append(PatternFacts(name, patterns[name][0], _evidence(wafer, failing, own[name]), cluster))
    return tuple(found)


def _evidence(wafer: Grid, failing: NDArray[np.bool_], heat: NDArray[np.floating[Any]]) -> Evidence | None:
    weight = np.where(failing, heat, 0.0) ** 2
    if not weight.any():
        weight = np.where(wafer.present, heat, 0.0) ** 2
    on = weight > 0
    if not on.any():
        return None
    w, radius = weight[on] / weight[on].sum(), wafer.radius[on].astype(np.float64)
    rows, cols = np.nonzero(on)
    x, y = wafer.x[cols].astype(np.float64), wafer.y[rows].astype(np.float64)
    clock = np.arctan2(x, -y) * 6 / math.pi % 12
    first, hours = _shortest_stretch(clock, w)
    outwards = np.argsort(radius, kind="stable")
    middle = float(radius[outwards[np.searchsorted(np.cumsum(w[outwards]), 0.5)]])
    if middle < CENTRE:
        zone, spread = "centre", "spot"
    else:
        zone = "edge" if middle > EDGE else "between"
        narrow = math.sqrt(max(float(w @ radius**2) - float(w @ radius) ** 2, 0)) < RING_SPREAD
        if hours > ALL_ROUND_HOURS:
            spread = "ring" if narrow else "all over"
        else:
            held = np.bincount((clock * 2).astype(int) % 24, w, minlength=24) > 1 / 100
            spread = "several" if hours > 2 and held.sum() / 2 < 0.6 * hours else "spot"
    return Evidence(_place(float(w @ x), float(w @ y), radius=middle), zone, spread, first, hours)


def _shortest_stretch(clock: NDArray[np.float64], weight: NDArray[np.float64]) -> tuple[float, float]:
    """Return first hour and length of the shortest stretch of the clock with MOST of the weight, which sums to 1."""
    order = np.argsort(clock, kind="stable")
    hours = np.concatenate([clock[order], clock[order] + 12])
    before = np.concatenate([[0.0], np.cumsum(np.tile(weight[order], 2))])
    starts = np.arange(len(clock))
    ends = np.searchsorted(before, before[starts] + MOST - 1e-9) - 1  # the first die with which the stretch holds MOST
    lengths = hours[ends] - hours[starts]
    best = int(lengths.argmin())
    return float(hours[best]), float(lengths[best])


def _cluster(wafer: Grid, failing: NDArray[np.bool_], heat: NDArray[np.floating[Any]]) -> Cluster | None:
    from scipy.ndimage import label

    names, count = label(failing, structure=np.ones((3, 3), int))
    if not count:
        return None
    sizes = np.bincount(names[failing], minlength=count + 1)
    weights = np.bincount(names[failing], heat[failing], minlength=count + 1)
    best = int(np.lexsort((sizes, weights))[-1])
    rows, cols = np.nonzero(names == best)
    x, y = wafer.x[cols].astype(np.float64), wafer.y[rows].astype(np.float64)
    wide, high = (abs(float(axis[1] - axis[0])) for axis in (wafer.x, wafer.y))
    spread = np.cov(np.stack([x, y]), bias=True) + np.diag([wide**2, high**2]) / 12  # a die is no point
    values, axes = np.linalg.eigh(spread)
    extent = [  # along the shorter and the longer axis, whole dies, of a diameter of 2
        min((np.ptp(x * u + y * v) + abs(u) * wide + abs(v) * high) / 2, 1) for u, v in axes.T.tolist()
    ]
    u, v = axes[:, 1].tolist()
    angle = math.degrees(math.atan2(-v, u)) % 180  # y grows downwards
    elongated = values[1] >= LONG**2 * values[0]
    return Cluster(
        dies=len(rows),
        at=_place(float(x.mean()), float(y.mean())),
        length=float(extent[1]),
        width=float(extent[0]),
        angle=angle if elongated else math.nan,
    )


def _place(x: float, y: float, *, radius: float | None = None) -> Place:
    clock = math.atan2(x, -y) * 6 / math.pi % 12
    return Place(radius=math.hypot(x, y) if radius is None else radius, clock=clock or 12.0)


def _pattern_words(pattern: PatternFacts) -> str:
    said = _evidence_words(pattern.evidence, of=pattern.name)
    evidence, cluster = pattern.evidence, pattern.cluster
    if evidence is None or cluster is None or evidence.spread != "spot" or evidence.zone == "centre":
        return said  # of what lies all round, or in the middle, a cluster says nothing more
    return f"{said} Its strongest cluster: {_cluster_words(cluster)}"


def _evidence_words(evidence: Evidence | None, *, of: str = "") -> str:
    if evidence is None:
        return f"No die speaks for {of or 'it'} in the heat map."
    lies = f"{of or 'The evidence'} lies"
    percent = f"{100 * evidence.at.radius:.0f} % of the radius"
    zone = "at the edge" if evidence.zone == "edge" else "between centre and edge"
    if evidence.zone == "centre":
        return f"{lies} near the centre ({percent})."
    if evidence.spread == "all over":
        return f"{lies} all over the wafer."
    if evidence.spread == "ring":
        return f"{lies} in a ring {zone} ({percent})."
    hours = f"from {_hours(evidence.first)} to {_hours(evidence.first + evidence.hours)} o'clock"
    if evidence.spread == "several":
        return f"{lies} in several places {zone} ({percent}), {hours}."
    if evidence.hours < 2:
        hours = f"at {_hours(evidence.at.clock)} o'clock"
    return f"{lies} {zone} ({percent}) {hours}."


def _cluster_words(cluster: Cluster) -> str:
    where = f"at {_hours(cluster.at.clock)} o'clock, {100 * cluster.at.radius:.0f} % of the radius"
    if cluster.at.radius < CENTRE / 2:
        where = "around the centre"
    if cluster.dies == 1:
        return f"a single die {where}."
    size = f"{100 * cluster.length:.0f} x {100 * cluster.width:.0f} % of the diameter"
    if cluster.width > WIDE:
        return f"{cluster.dies:,} failing dies, {size}."
    if not math.isnan(cluster.angle):
        size = f"{100 * cluster.length:.0f} % of the diameter long, {_direction(cluster.angle)}"
    return f"{cluster.dies:,} failing dies, {size}, {where}."


def _hours(clock: float) -> int:
    return round(clock) % 12 or 12


def _direction(angle: float) -> str:
    degrees = 5 * round(angle / 5) % 180
    if degrees in (0, 90):
        return "vertical" if degrees else "horizontal"
    return f"{'rising' if degrees < 90 else 'falling'} to the right at {min(degrees, 180 - degrees)} degrees"
