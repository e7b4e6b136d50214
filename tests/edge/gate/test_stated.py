"""Sets of two models side by side: by hand, as `judge_sets` counts them, and a gate that fails where they part."""

import dataclasses
import json

import numpy as np
import pytest
from numpy.typing import NDArray

from edge.gate.comparison import Limits, compare
from edge.gate.stated import SetComparison, Stated, compare_sets
from edge.gate.text import format_checks
from wafer_tf.decision.fitting import fit_sets
from wafer_tf.dies import CLASSES, NONE
from wafer_tf.errors import InputError
from wafer_tf.scoring.coverage import judge_sets
from wafer_tf.scoring.evidence import Evidence, Part
from wafer_tf.scoring.selective import Goal
from wafer_tf.splitting.splits import Split, content_hash
from wafer_tf.synthesis import synthesize

WAFERS = synthesize(120, seed=4).wafers
LABEL = WAFERS.label.astype(np.int64)
N = len(LABEL)


def answers(seed: int, *, sharp: float = 2.5) -> NDArray[np.float64]:
    """Return (N, 9) probabilities of a model that is right on most wafers."""
    raw = np.random.default_rng(seed).normal(0, 1, (N, 9)) + sharp * np.eye(9)[LABEL]
    odds = np.exp(raw)
    found: NDArray[np.float64] = odds / odds.sum(axis=1, keepdims=True)
    return found


def split_of(*, folds: int) -> Split:
    rng = np.random.default_rng(0)
    part = rng.integers(0, folds or 3, N).astype(np.int8)
    group = part + (folds or 3) * rng.integers(0, 200, N)  # no group crosses a part
    fractions = (1 / folds,) * folds if folds else (0.4, 0.3, 0.3)
    return Split(part, group, "folds" if folds else "group", 0, fractions, content_hash(WAFERS), {})


def compared(split: Split, float_prob: NDArray[np.float64], prob: NDArray[np.float64]) -> SetComparison | None:
    """Return what is compared of two models' answers to all wafers."""
    choosing = None if split.folds else prob[split.validation]
    stated = Stated.of(WAFERS, split, goal=Goal(max_error=0.2), coverage=0.9)
    return stated.comparison(float_prob[split.test], prob[split.test], choosing=choosing, seed=3)


def test_figures_are_those_counted_by_hand() -> None:
    label = [0, 0, 0, NONE]
    float_sets, sets = np.eye(9, dtype=bool)[[0, 0, 1, NONE]], np.eye(9, dtype=bool)[[0, 1, 1, NONE]]
    sets[3, :3] = True
    prob = np.full((4, 9), 0.01)
    prob[:, 0] = 0.92
    less = prob.copy()
    less[0, 0], less[0, 1] = 0.5, 0.43
    found = compare_sets(
        label, float_sets, sets, group=[0, 1, 2, 3], float_prob=prob, prob=less, stated=0.8, review_below=0.9
    )
    assert (found.wafers, found.groups, found.stated) == (4, 4, 0.8)
    assert found.agreement.value == 2 / 4
    assert [found.covered_float[c].value for c in (0, NONE)] == pytest.approx([2 / 3, 1])
    assert [found.covered[c].value for c in (0, NONE)] == pytest.approx([1 / 3, 1])
    assert found.coverage_drop[0].value == pytest.approx(1 / 3)
    assert np.isnan(found.coverage_drop[1].value), "no wafer of Donut"
    assert (found.size_float, found.size) == (1, 7 / 4)
    assert (found.answered_float, found.answered) == (1, 3 / 4)
    assert (found.error_float, found.error) == pytest.approx((1 / 4, 1 / 3))
    data = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert data["coverage_drop"]["Donut"]["value"] is None
    assert data["covered_float"]["none"]["value"] == 1


@pytest.mark.parametrize("folds", [0, 4])
def test_the_sets_are_those_that_ship_each_wafer_judged_by_what_others_chose(folds: int) -> None:
    split, prob = split_of(folds=folds), answers(1)
    found = compared(split, answers(2), prob)
    assert found is not None
    rows = split.test if folds else np.concatenate([split.validation, split.test])
    evidence = Evidence.of_split(Part(LABEL[rows], prob[rows], split.group[rows]), split)
    scores = judge_sets(evidence, coverage=0.9)
    assert found.wafers == scores.wafers == len(split.test)
    for ours, theirs in zip(found.covered, scores.classes, strict=True):
        assert ours.value == pytest.approx(theirs.covered.value)
    assert found.size == pytest.approx(sum(k * n for k, n in enumerate(scores.sizes)) / scores.wafers)
    assert (found.review_below is None) == (not folds), "300 wafers that choose prove no point"
    assert np.isnan(found.answered) if not folds else 0 < found.answered < 1


def test_the_float_model_s_own_answers_choose_nothing() -> None:
    split, prob, other = split_of(folds=0), answers(1), answers(2)
    found = compared(split, other, prob)
    assert found is not None
    rows = split.validation
    sets = fit_sets(prob[rows], LABEL[rows], split.group[rows])
    of, label = sets.members(other[split.test]), LABEL[split.test]
    for c in range(9):
        assert found.covered_float[c].value == pytest.approx(of[label == c, c].mean())


def test_a_model_that_is_the_float_model_loses_nothing() -> None:
    found = compared(split_of(folds=4), answers(1), answers(1))
    assert found is not None
    assert found.agreement.value == 1
    assert all(drop.value == drop.low == drop.high == 0 for drop in found.coverage_drop)
    assert (found.answered, found.error) == (found.answered_float, found.error_float)


def test_where_no_class_has_groups_enough_no_sets_ship_and_none_are_compared() -> None:
    split = split_of(folds=4)
    few = dataclasses.replace(split, group=split.part.astype(np.int64))
    assert compared(few, answers(1), answers(1)) is None


def failed(found: SetComparison, limits: Limits | None = None) -> set[tuple[str, str]]:
    prob = answers(1)
    comparison = compare(LABEL, prob, prob, group=np.arange(N), draws=10)
    checks = comparison.checks(limits or Limits(), sets=found)
    assert len(checks) == 2 + 9 + 1 + sum(not np.isnan(drop.value) for drop in found.coverage_drop)
    return {(check.name, check.where) for check in checks if not check.passed}


def _sets(changed: NDArray[np.bool_], *, lost: bool) -> SetComparison:
    """Compare sets of the right class with others on some wafers: without it, or with a class beside it."""
    right = np.eye(9, dtype=bool)[LABEL]
    other = np.eye(9, dtype=bool)[(LABEL + 1) % 9]
    sets = np.where(changed[:, None], other if lost else right | other, right)
    prob = answers(1)
    return compare_sets(LABEL, right, sets, group=np.arange(N), float_prob=prob, prob=prob, draws=200)


def test_the_gate_fails_where_too_many_sets_are_others() -> None:
    some, many = (np.arange(N) % step == 0 for step in (60, 40))  # 1.7 and 2.5 % of the wafers
    assert not failed(_sets(some, lost=False))
    assert failed(_sets(many, lost=False)) == {("min_set_agreement", "")}
    assert not failed(_sets(many, lost=False), Limits(min_set_agreement=97))


def test_the_gate_fails_where_a_class_is_covered_less_beyond_doubt() -> None:
    few = (np.arange(N) % 40 == 0) & (LABEL == 7)  # 3 of its 120 wafers: the interval reaches down to 0
    many = (np.arange(N) % 8 == 0) & (LABEL == 7)
    doubtful, lost = _sets(few, lost=True), _sets(many, lost=True)
    assert 100 * doubtful.coverage_drop[7].value > 1 > 100 * doubtful.coverage_drop[7].low
    assert not failed(doubtful)
    assert failed(lost) == {("max_coverage_drop", "Scratch")}
    assert not failed(lost, Limits(max_coverage_drop=30))


def test_the_text_has_a_line_for_every_limit_and_the_coverage_of_both() -> None:
    found = compared(split_of(folds=4), answers(1), answers(2))
    assert found is not None
    prob = answers(1)
    comparison = compare(LABEL, prob, prob, group=np.arange(N), draws=10)
    text = format_checks(comparison.checks(Limits(), sets=found), comparison, None, found)
    lines = text.splitlines()
    assert max(map(len, lines)) <= 120
    (alike,) = (line for line in lines if "sets alike" in line)
    assert alike.startswith(f"FAIL  sets alike               {100 * found.agreement.value:.2f} [")
    assert alike.endswith("at least 98 %")
    assert [line.split(",")[1].split()[0] for line in lines if "coverage lost" in line] == list(CLASSES)
    assert f"Center {100 * found.covered_float[0].value:.1f}" in text
    assert "90 % are stated" in " ".join(text.split())
    assert f"quantized {100 * found.answered:.2f} %, from {found.review_below:g} on" in text
    assert "sets alike" not in format_checks(comparison.checks(Limits()), comparison)


def test_arrays_that_do_not_fit_are_refused() -> None:
    prob = answers(1)
    with pytest.raises(InputError, match="at least one wafer"):
        compare_sets(LABEL, prob > 0, prob[1:] > 0, group=np.arange(N), float_prob=prob, prob=prob)
