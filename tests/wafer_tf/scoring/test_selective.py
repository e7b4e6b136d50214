"""Proofs of an error among the answered, and coverage of sets: by hand, by simulation, and by other libraries."""

import warnings

import numpy as np
import pytest
from numpy.typing import NDArray

from wafer_tf.decision.fitting import fit_sets, one_per_group
from wafer_tf.dies import CLASSES, NONE
from wafer_tf.errors import UsageError
from wafer_tf.scoring.coverage import judge_sets
from wafer_tf.scoring.evidence import Evidence, Part
from wafer_tf.scoring.mix import NATURAL, Mix
from wafer_tf.scoring.selective import (
    FIRST_SHARE,
    THRESHOLDS,
    Goal,
    draw,
    groups_to_prove,
    provable_rate,
    prove,
    upper_limit,
)

K = len(CLASSES)
HALVES = Mix("halves", (0.5, *(0.0,) * 7, 0.5))


def two_way(p: NDArray[np.float64], right: NDArray[np.bool_], group: NDArray[np.int64] | None = None) -> Part:
    """Return wafers called Center or none, in turn, with probability p, rightly or not."""
    called = np.where(np.arange(len(p)) % 2, NONE, 0)
    prob = np.zeros((len(p), K))
    prob[np.arange(len(p)), called] = p
    prob[np.arange(len(p)), NONE - called] = 1 - p
    return Part(np.where(right, called, NONE - called), prob, np.arange(len(p)) if group is None else group)


# === Limits ===


def test_without_an_error_the_limit_is_by_hand() -> None:
    assert upper_limit(0, 299) == pytest.approx(1 - 0.05 ** (1 / 299))
    assert (groups_to_prove(0.01), groups_to_prove(0.02)) == (299, 149)
    assert upper_limit(0, 299) <= 0.01 < upper_limit(0, 298)
    assert upper_limit(3, 3) == upper_limit(0, 0) == 1


def test_limits_are_scipys() -> None:
    from scipy.stats import binomtest

    for errors, n, confidence in ((0, 40, 0.95), (3, 500, 0.95), (17, 60, 0.9)):
        theirs = binomtest(errors, n, alternative="less").proportion_ci(confidence, method="exact").high
        assert upper_limit(errors, n, confidence) == pytest.approx(theirs)


def test_the_provable_rate_just_proves_its_limit() -> None:
    rate = provable_rate(0.02, 1000)
    assert rate is not None
    errors = int(rate * 1000)
    assert upper_limit(errors, 1000) <= 0.02 < upper_limit(errors + 1, 1000)
    assert provable_rate(0.02, 148) is None


# === The proof ===


def test_the_proof_ends_before_the_first_threshold_that_fails() -> None:
    p = np.r_[np.full(1000, 0.99), np.full(1000, 0.8), np.full(1000, 0.6)]
    right = np.ones(3000, bool)
    right[1000:1005] = False  # 5 of 2,000 at 0.8: at most 0.53 %
    right[2000:2400] = False
    found = prove(two_way(p, right), Goal(0.01), mix=HALVES)
    assert found.proven is not None
    assert 0.6 < found.proven.review_below <= 0.8
    assert found.proven.review_below == min(t for t in THRESHOLDS if t > 0.6)
    assert found.proven.coverage == pytest.approx(2 / 3, abs=0.01)
    assert found.proven.bound == upper_limit(found.proven.errors, found.proven.answered)
    assert "The next threshold fails: the error among the answered may be" in found.why


def test_a_pass_behind_a_failure_does_not_count() -> None:
    p = np.r_[np.full(400, 0.99), np.full(40_000, 0.6)]
    right = np.ones(len(p), bool)
    right[:40] = False
    assert prove(two_way(p, right), Goal(0.01), mix=HALVES).proven is not None, "too few are answered at 0.99 to begin"
    p = np.r_[np.full(12_000, 0.99), np.full(40_000, 0.6)]
    right = np.ones(len(p), bool)
    right[:200] = False  # 1.7 % of 12,000, but 0.4 % of all
    found = prove(two_way(p, right), Goal(0.01), mix=HALVES)
    assert found.proven is None
    assert "no number of groups proves 0.01" in found.why


def test_too_few_groups_are_said_to_be_and_how_many_are_needed() -> None:
    found = prove(two_way(np.full(200, 0.99), np.ones(200, bool)), Goal(0.01), mix=HALVES)
    assert found.proven is None
    assert "200 drawn wafers, one a group, are too few: 299 answered without an error prove 0.01 at 95%" in found.why
    right = np.ones(400, bool)
    right[:2] = False
    found = prove(two_way(np.full(400, 0.99), right), Goal(0.01), mix=HALVES)
    assert found.proven is None
    assert upper_limit(2, 400) > 0.01
    assert "groups would prove it" in found.why


def test_wafers_of_one_group_count_once() -> None:
    group = np.arange(3000) // 30
    found = prove(two_way(np.full(3000, 0.99), np.ones(3000, bool), group), Goal(0.01), mix=HALVES)
    assert found.proven is None
    assert sum(found.drawn) <= found.groups == 100
    rows = one_per_group(group, seed=3)
    assert sorted(group[rows]) == list(range(100))


def test_drawn_wafers_are_of_the_mix() -> None:
    rng = np.random.default_rng(0)
    label = rng.integers(0, K, 40_000)
    part = Part(label, np.eye(K)[label], np.arange(len(label)))
    rows = draw(part, NATURAL, seed=0)
    np.testing.assert_allclose(np.bincount(label[rows], minlength=K) / len(rows), NATURAL.array, atol=0.012)
    assert len(rows) > 0.95 * (label == NONE).sum() / NATURAL.array[NONE]
    assert not np.isin(label[draw(part, HALVES, seed=0)], range(1, NONE)).any()


def test_limits_of_escapes_and_false_alarms_end_the_proof_too() -> None:
    p = np.r_[np.full(4000, 0.99), np.full(4000, 0.8)]
    right = np.ones(8000, bool)
    right[4000:4061:2] = False  # even: called Center, so of none: 31 false alarms
    part = two_way(p, right)
    plain, few = (prove(part, goal, mix=HALVES) for goal in (Goal(0.02), Goal(0.02, max_false_alarms=0.005)))
    assert plain.proven is not None
    assert few.proven is not None
    assert plain.proven.coverage > 0.95 > 0.6 > few.proven.coverage
    assert "the share of the none wafers answered as a defect" in few.why
    escapes = prove(part, Goal(0.02, max_escapes=0.005), mix=HALVES)
    assert escapes.proven == plain.proven


@pytest.mark.parametrize("wrong", [{"max_error": 0.0}, {"max_error": 1.0}, {"max_escapes": -1.0}, {"confidence": 2.0}])
def test_a_goal_that_is_none_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(UsageError, match="expected above 0 and below 1"):
        Goal(**wrong)


def test_a_stated_error_is_overrun_in_at_most_one_trial_of_twenty() -> None:
    overrun = 0
    for trial in range(100):
        rng = np.random.default_rng(trial)
        p = rng.beta(6, 1, 900) / 2 + 0.5
        risk = (1 - p) * 0.35  # of a call
        found = prove(two_way(p, rng.random(900) > risk), Goal(0.05), mix=HALVES, seed=trial)
        if found.proven is not None:
            many = np.random.default_rng(10**6).beta(6, 1, 100_000) / 2 + 0.5
            true = (1 - many[many >= found.proven.review_below]).mean() * 0.35
            overrun += true > 0.05
    assert overrun <= 9, "of 100 trials at 5 %: more come up in 3 % of such tests, and the trials are always the same"


# === Sets ===


def answers(n: int, *, seed: int, sharp: float = 2.5, per_group: int = 3) -> Part:
    """Return wafers whose groups are alike: all of a group are of one class, and as hard as each other."""
    rng = np.random.default_rng(seed)
    group = np.arange(n) // per_group
    label = rng.integers(0, K, group.max() + 1)[group]
    logits = rng.normal(size=(group.max() + 1, K))[group] + 0.3 * rng.normal(size=(n, K)) + sharp * np.eye(K)[label]
    powers = np.exp(logits)
    return Part(label, powers / powers.sum(axis=1, keepdims=True), group)


def test_thresholds_by_hand() -> None:
    label = np.zeros(19, np.int64)
    prob = np.zeros((19, K))
    prob[:, 0] = np.arange(1, 20) / 20
    found = fit_sets(prob, label, np.arange(19), coverage=0.9)
    assert found.least == (0.1, *(None,) * 8), "of 20, two may be missed: the second smallest"
    assert fit_sets(prob[:9], label[:9], np.arange(9)).least[0] == 0.05
    assert fit_sets(prob[:8], label[:8], np.arange(8)).least[0] is None
    assert fit_sets(prob, label, np.arange(19) // 3).least[0] is None, "seven groups"


def test_each_class_of_new_groups_is_covered_as_stated_on_average() -> None:
    covered = np.zeros((40, K))
    for trial in range(40):
        sets = fit_sets(*(getattr(answers(1500, seed=trial), key) for key in ("prob", "label", "group")), seed=trial)
        new = answers(3000, seed=1000 + trial)
        held = sets.members(new.prob)[np.arange(3000), new.label]
        covered[trial] = [held[new.label == c].mean() for c in range(K)]
    assert (covered.mean(axis=0) > 0.885).all()
    assert (covered.mean(axis=0) < 0.95).all()


def test_sets_are_judged_by_groups_that_did_not_choose_them() -> None:
    part = answers(6000, seed=0)
    found = judge_sets(Evidence.of_folds(part, part.group % 4), draws=100)
    assert sum(found.sizes) == found.wafers == 6000
    assert found.sizes[0] == 0
    for c in found.classes:
        assert c.covered.low < c.covered.value < c.covered.high
        assert c.covered.value >= c.called
        assert c.of_groups == pytest.approx(0.9, abs=0.06)
    whole = fit_sets(part.prob, part.label, part.group)
    assert found.sets == whole
    typical = np.concatenate([whole.typical(part.prob)])
    assert found.empty == pytest.approx((~typical.any(axis=1)).sum(), abs=120)


# === Oracles: in no lock file; these skip without them ===


def test_sets_are_those_of_crepes() -> None:
    crepes = pytest.importorskip("crepes")
    known, new = (answers(2000, seed=seed, per_group=1) for seed in (1, 2))
    # not 0.9: where (n + 1) / 10 is whole, crepes keeps a class whose p value is 0.1 itself, and covers a wafer more
    mine = fit_sets(known.prob, known.label, known.group, coverage=0.9001).typical(new.prob)
    oracle = crepes.ConformalClassifier()
    hinge = 1 - known.prob[np.arange(2000), known.label]
    oracle.fit(hinge, bins=known.label)
    theirs = np.stack(
        [
            oracle.predict_set((1 - new.prob[:, [c]]), bins=np.full(2000, c), confidence=0.9001, smoothing=False)[:, 0]
            for c in range(K)
        ],
        axis=1,
    )
    differ = mine != theirs.astype(bool)
    assert differ.mean() < 1e-3, "thresholds are rounded down to six places"


def test_sets_are_those_of_mapie() -> None:
    classification = pytest.importorskip("mapie.classification")
    from sklearn.base import BaseEstimator, ClassifierMixin

    class Known(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
        classes_ = np.arange(K)

        def fit(self, x: object, y: object = None) -> "Known":
            return self

        def predict_proba(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
            return x

        def predict(self, x: NDArray[np.float64]) -> NDArray[np.int64]:
            return x.argmax(axis=1)

        def __sklearn_is_fitted__(self) -> bool:
            return True

    known, new = (answers(2000, seed=seed, per_group=1) for seed in (1, 2))
    mine = fit_sets(known.prob, known.label, known.group).typical(new.prob)
    for c in range(K):
        of = known.label == c
        oracle = classification.SplitConformalClassifier(
            Known(), confidence_level=0.9, conformity_score="lac", prefit=True
        )
        with warnings.catch_warnings():  # that one class alone is there to be calibrated
            warnings.simplefilter("ignore", UserWarning)
            oracle.conformalize(known.prob[of], known.label[of])
        theirs = oracle.predict_set(new.prob)[1][:, c, 0]
        assert (mine[:, c] != theirs).mean() < 1e-3


@pytest.mark.parametrize("seed", range(5))
def test_the_proof_is_that_of_mapies_risk_control(seed: int) -> None:
    risk = pytest.importorskip("mapie.risk_control")
    methods = pytest.importorskip("mapie.risk_control.methods")
    rng = np.random.default_rng(seed)
    p = rng.beta(6, 1, 4000) / 2 + 0.5
    found = prove(two_way(p, rng.random(4000) > (1 - p) * 0.2), Goal(0.01), mix=HALVES, seed=seed)
    first = max(299, FIRST_SHARE * sum(found.drawn))
    tested = [step for step in found.steps if step.answered >= first]
    # a hair below the rate, or its ceil(n * rate) may count an error too many
    rates = np.array([step.errors / step.answered * (1 - 1e-12) for step in tested])
    n = np.array([step.answered for step in tested], float)
    p_values = methods.compute_hoeffding_bentkus_p_value(rates, n, 0.01, binary=True)[:, 0]
    passed = risk.control_fwer(p_values, 0.05, "fixed_sequence")
    assert found.proven == (tested[passed[-1]] if len(passed) else None)
