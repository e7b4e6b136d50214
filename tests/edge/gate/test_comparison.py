import json

import numpy as np
import pytest
from numpy.typing import NDArray

from edge.gate.comparison import Comparison, Limits, compare
from edge.gate.text import format_checks
from wafer_tf.dies import CLASSES, NONE
from wafer_tf.errors import InputError, UsageError
from wafer_tf.scoring.scores import score

N = 900
LABEL = np.repeat(np.arange(9), N // 9)
GROUP = np.arange(N) // 3


def _prob(call: NDArray[np.int64], sure: float = 0.9) -> NDArray[np.float64]:
    """Probabilities of classifiers that call each map `call`."""
    prob = np.full((len(call), 9), (1 - sure) / 8)
    prob[np.arange(len(call)), call] = sure
    return prob


def _float_calls() -> NDArray[np.int64]:
    """Calls of a model that is right on four maps of five, at random."""
    rng = np.random.default_rng(0)
    return np.where(rng.random(N) < 0.8, LABEL, rng.integers(0, 9, N))


def _failed(found: Comparison, limits: Limits | None = None) -> set[tuple[str, str]]:
    return {(check.name, check.where) for check in found.checks(limits or Limits()) if not check.passed}


def test_a_model_that_is_the_float_model_passes_with_nothing_lost() -> None:
    prob = _prob(_float_calls())
    found = compare(LABEL, prob, prob, group=GROUP)
    assert not _failed(found)
    assert found.agreement.value == 1
    assert (found.macro_f1_drop.value, found.drift.value, found.largest_drift, found.mcnemar_p) == (0, 0, 0, 1)
    assert all(drop.value == drop.low == drop.high == 0 for drop in found.recall_drop)


def test_a_shuffled_class_order_fails_every_limit() -> None:
    prob = _prob(LABEL)
    found = compare(LABEL, prob, np.roll(prob, 1, axis=1), group=GROUP)
    assert found.agreement.value == 0
    assert found.escape_change.value == pytest.approx(1 / 8)  # one class now lands on none
    assert _failed(found) == {
        ("min_agreement", ""),
        ("max_macro_f1_drop", ""),
        *(("max_recall_drop", c) for c in CLASSES),
    }


def test_its_figures_are_those_of_the_scores_of_each_model() -> None:
    call = _float_calls()
    other = np.where(np.arange(N) % 50 == 0, NONE, call)
    found = compare(LABEL, _prob(call), _prob(other, 0.7), group=GROUP, seed=4)
    before = score(LABEL, _prob(call), group=GROUP, seed=4)
    after = score(LABEL, _prob(other, 0.7), group=GROUP, seed=4)
    assert found.macro_f1_float == before.macro_f1
    assert found.macro_f1 == after.macro_f1
    assert found.macro_f1_drop.value == pytest.approx(before.macro_f1.value - after.macro_f1.value)
    assert found.escape_change.value == pytest.approx(after.escape_rate.value - before.escape_rate.value)
    assert found.false_alarm_change.value == pytest.approx(after.false_alarm_rate.value - before.false_alarm_rate.value)
    for drop, a, b in zip(found.recall_drop, before.classes, after.classes, strict=True):
        assert drop.value == pytest.approx(a.recall.value - b.recall.value)
    assert found.agreement.value == np.mean(call == other)
    assert found.confidence_shift.value == pytest.approx(0.7 - 0.9)
    assert found.largest_drift == pytest.approx(max(0.2, np.abs(_prob(call) - _prob(other, 0.7)).max()))


def test_a_paired_interval_is_narrower_than_the_models_own() -> None:
    call = _float_calls()
    other = np.where(np.arange(N) % 150 == 0, (call + 1) % 9, call)
    found = compare(LABEL, _prob(call), _prob(other), group=GROUP)
    own, paired = found.macro_f1, found.macro_f1_drop
    assert 0 < paired.high - paired.low < 0.5 * (own.high - own.low)


def test_mcnemar_counts_the_maps_that_one_model_alone_calls_rightly() -> None:
    lost, won = np.zeros(N, bool), np.zeros(N, bool)
    lost[:8], won[100:102] = True, True
    wrong = (LABEL + 1) % 9
    found = compare(LABEL, _prob(np.where(won, wrong, LABEL)), _prob(np.where(lost, wrong, LABEL)), group=GROUP)
    assert (found.only_float_right, found.only_quantized_right) == (8, 2)
    assert found.mcnemar_p == pytest.approx(2 * (1 + 10 + 45) / 2**10)  # P(at most 2 of 10 heads), both sides


@pytest.mark.parametrize(("maps", "passes"), [(4, True), (5, False)])
def test_half_a_per_cent_of_other_calls_is_the_most_that_passes(maps: int, passes: bool) -> None:
    other = LABEL.copy()
    other[:: N // maps][:maps] = (other[:: N // maps][:maps] + 1) % 9
    found = compare(LABEL, _prob(LABEL), _prob(other), group=GROUP)
    assert (("min_agreement", "") not in _failed(found)) == passes


def test_a_class_fails_only_where_the_whole_interval_of_its_loss_is_above_the_limit() -> None:
    some, many = LABEL.copy(), LABEL.copy()
    some[:5] = NONE  # 5 of 100 Center maps, all in two groups: the interval reaches down to 0
    many[:100:4] = NONE  # 25 of them, in as many groups
    few = compare(LABEL, _prob(LABEL), _prob(some), group=GROUP)
    assert few.recall_drop[0].value == pytest.approx(0.05)
    assert 100 * few.recall_drop[0].low < 2
    assert ("max_recall_drop", "Center") not in _failed(few)
    lots = compare(LABEL, _prob(LABEL), _prob(many), group=GROUP)
    assert 100 * lots.recall_drop[0].low > 2
    assert [where for name, where in _failed(lots) if name == "max_recall_drop"] == ["Center"]
    assert ("max_recall_drop", "Center") not in _failed(lots, Limits(max_recall_drop=40))


def test_without_an_interval_the_loss_itself_counts() -> None:
    other = LABEL.copy()
    other[:3] = NONE
    found = compare(LABEL, _prob(LABEL), _prob(other), group=np.zeros(N, int))
    assert np.isnan(found.recall_drop[0].low)
    assert ("max_recall_drop", "Center") in _failed(found)


def test_a_class_without_maps_is_not_judged_and_named() -> None:
    kept = CLASSES.index("Donut") != LABEL
    prob = _prob(LABEL[kept])
    found = compare(LABEL[kept], prob, prob, group=GROUP[kept])
    checks = found.checks(Limits())
    assert "Donut" not in {check.where for check in checks}
    assert len(checks) == 2 + 8
    assert "not judged, for want of test maps: Donut" in format_checks(checks, found)


def test_a_comparison_is_plain_json_with_the_recalls_by_name() -> None:
    prob = _prob(LABEL[:200])
    found = compare(LABEL[:200], prob, prob, group=GROUP[:200])
    data = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert list(data["recall_drop"]) == list(CLASSES)
    assert data["recall_drop"]["Center"] == {"value": 0, "low": 0, "high": 0}
    assert data["recall_drop"]["none"]["value"] is None


def test_the_same_seed_gives_the_same_intervals() -> None:
    call = _float_calls()
    a, b, c = (compare(LABEL, _prob(LABEL), _prob(call), group=GROUP, seed=seed) for seed in (1, 1, 2))
    assert a == b
    assert a.macro_f1_drop.low != c.macro_f1_drop.low


@pytest.mark.parametrize(("n", "columns", "groups"), [(0, 9, 0), (900, 8, 900), (900, 9, 899)])
def test_arrays_that_do_not_fit_are_refused(n: int, columns: int, groups: int) -> None:
    with pytest.raises(InputError, match="expected at least one map"):
        compare(LABEL[:n], np.ones((n, columns)), np.ones((n, 9)), group=GROUP[:groups])


@pytest.mark.parametrize("limits", [{"min_agreement": 101}, {"max_recall_drop": -1}, {"max_macro_f1_drop": np.nan}])
def test_limits_beyond_their_range_are_refused(limits: dict[str, float]) -> None:
    with pytest.raises(UsageError, match="expected 0 to 100"):
        Limits(**limits)


def test_drift_and_shift_are_means_over_the_maps_of_what_moved_most() -> None:
    rng = np.random.default_rng(3)
    before, after = rng.dirichlet(np.ones(9), N), rng.dirichlet(np.ones(9), N)
    found = compare(LABEL, before, after, group=GROUP, draws=50, seed=7)
    assert found.drift.value == pytest.approx(np.abs(after - before).max(axis=1).mean())
    assert found.largest_drift == np.abs(after - before).max()
    assert found.confidence_shift.value == pytest.approx((after.max(axis=1) - before.max(axis=1)).mean())
    assert found.drift.low < found.drift.value < found.drift.high
    assert (found.wafers, found.groups, found.draws, found.seed) == (N, N // 3, 50, 7)


def test_an_interval_is_that_of_draws_of_whole_groups() -> None:
    """Of two groups, one all lost and one all kept, a draw keeps none, a half or all."""
    label = np.zeros(20, int)
    after = _prob(np.where(np.arange(20) < 10, 0, NONE))
    found = compare(label, _prob(label), after, group=np.arange(20) // 10, draws=400)
    assert (found.agreement.low, found.agreement.value, found.agreement.high) == (0, 0.5, 1)
    apart = compare(label, _prob(label), after, group=np.arange(20), draws=400)
    assert 0.2 < apart.agreement.low < 0.5 < apart.agreement.high < 0.8


@pytest.mark.parametrize(("lost", "passes"), [(2, True), (3, False)])
def test_a_drop_of_just_the_limit_passes(lost: int, passes: bool) -> None:
    other = LABEL.copy()
    other[:lost] = NONE
    found = compare(LABEL, _prob(LABEL), _prob(other), group=np.zeros(N, int))
    checks = {check.where: check for check in found.checks(Limits()) if check.name == "max_recall_drop"}
    assert checks["Center"].passed is passes
    assert checks["Center"].value == pytest.approx(lost)
    assert checks["Center"].limit == 2.0
    assert checks["Donut"].passed
    exact = Limits(max_macro_f1_drop=100 * found.macro_f1_drop.value, min_agreement=100 * found.agreement.value)
    assert not {name for name, _ in _failed(found, exact)} & {"min_agreement", "max_macro_f1_drop"}


def test_the_limits_are_these_unless_a_user_says_otherwise() -> None:
    assert Limits() == Limits(min_agreement=99.5, max_macro_f1_drop=0.5, max_recall_drop=2.0)
    assert Limits(0, 100, 0).max_macro_f1_drop == 100
    found = compare(LABEL, _prob(LABEL), _prob(LABEL), group=GROUP)
    assert found.draws == 1000
    assert [(check.name, check.limit, check.value) for check in found.checks(Limits())[:2]] == [
        ("min_agreement", 99.5, 100.0),
        ("max_macro_f1_drop", 0.5, 0.0),
    ]
