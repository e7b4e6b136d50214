"""How often the prediction sets hold the true class, on wafers that did not choose their thresholds."""

from dataclasses import dataclass

import numpy as np

from wafer_tf.decision.fitting import fit_sets
from wafer_tf.decision.sets import COVERAGE, Sets
from wafer_tf.dies import CLASSES
from wafer_tf.scoring.bootstrap import Bootstrap, Estimate
from wafer_tf.scoring.evidence import Evidence

_K = len(CLASSES)


@dataclass(frozen=True)
class ClassCoverage:
    """The sets of the wafers of one class.

    Attributes:
        name: one of CLASSES.
        wafers, groups: of it, that judge.
        least: the shipped threshold; None where too few groups were known.
        covered: share of its wafers whose set holds it, with the interval over groups.
        of_groups: the same with groups counting alike, which is what is stated.
        called: share of its wafers called so, which is what a set of the call alone would cover.
        size: mean number of classes in their sets.
    """

    name: str
    wafers: int
    groups: int
    least: float | None
    covered: Estimate
    of_groups: float
    called: float
    size: float


@dataclass(frozen=True)
class SetScores:
    """What `judge_sets` finds.

    Attributes:
        coverage: as stated.
        sets: what is shipped.
        wafers: that judge.
        empty: of them, sets in which no class reaches its threshold; the likeliest stands in for it.
        sizes: ten, how many sets hold 0, 1, ... 9 classes; none holds 0.
        classes: nine.
    """

    coverage: float
    sets: Sets
    wafers: int
    empty: int
    sizes: tuple[int, ...]
    classes: tuple[ClassCoverage, ...]

    @property
    def shipped(self) -> Sets | None:
        """The sets where they state anything; None where of every class too few groups are known."""
        return self.sets if any(least is not None for least in self.sets.least) else None


def judge_sets(evidence: Evidence, *, coverage: float = COVERAGE, draws: int = 1000, seed: int = 0) -> SetScores:
    """Fit the sets in each round on the wafers that choose, and count on those that judge.

    Args:
        evidence: the wafers.
        coverage: to state.
        draws: bootstrap draws of whole groups, for the intervals.
        seed: of these and of the wafer drawn from each group.
    """
    shipped = evidence.wafers.at(evidence.final)
    held, typical = [], []
    for choose, judge in evidence.parts():
        sets = fit_sets(choose.prob, choose.label, choose.group, coverage=coverage, seed=seed)
        held.append(sets.members(judge.prob))
        typical.append(sets.typical(judge.prob))
    members, judged = np.concatenate(held), evidence.wafers.at(evidence.judged)
    sets = fit_sets(shipped.prob, shipped.label, shipped.group, coverage=coverage, seed=seed)
    size, rows = members.sum(axis=1), np.arange(len(judged))
    hit, called = members[rows, judged.label], judged.prob.argmax(axis=1) == judged.label

    def of_class(c: int) -> ClassCoverage:
        of = judged.label == c
        member = np.unique(judged.group[of], return_inverse=True)[1]
        sums = np.stack([np.bincount(member, weights=hit[of]), np.bincount(member)], axis=1).astype(np.float64)
        found = (
            Bootstrap(sums, lambda s: {"covered": s[..., 0] / s[..., 1]}, draws=draws, seed=seed) if len(sums) else None
        )
        return ClassCoverage(
            name=CLASSES[c],
            wafers=int(of.sum()),
            groups=len(sums),
            least=sets.least[c],
            covered=found.estimate("covered") if found else Estimate(np.nan, np.nan, np.nan),
            of_groups=float((sums[:, 0] / sums[:, 1]).mean()) if found else np.nan,
            called=float(called[of].mean()) if found else np.nan,
            size=float(size[of].mean()) if found else np.nan,
        )

    return SetScores(
        coverage=coverage,
        sets=sets,
        wafers=len(judged),
        empty=int((~np.concatenate(typical).any(axis=1)).sum()),
        sizes=tuple(int(n) for n in np.bincount(size, minlength=_K + 1)),
        classes=tuple(of_class(c) for c in range(_K)),
    )
