"""The verdict that a bundle states is the one its own figures give."""

import copy
import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.gate.comparison import Check, Comparison, Limits
from edge.gate.several import PatternComparison, compare_patterns
from edge.gate.stated import SetComparison
from wafer_tf.as_json import to_json
from wafer_tf.dies import CLASSES
from wafer_tf.gate_verdict import fault
from wafer_tf.released import NAMES, released
from wafer_tf.scoring.bootstrap import Estimate

NAN = float("nan")
SHARE = st.floats(-0.1, 0.1) | st.sampled_from([0.0, 0.005, 0.02])
ZERO = Estimate(0.0, 0.0, 0.0)


def _gate() -> dict[str, Any]:
    """A gate of a run with a test part, passed without any loss."""
    own = Estimate(1.0, 1.0, 1.0)
    found = _comparison(agreement=own, macro_f1_drop=ZERO, recall_drop=(ZERO,) * 9)
    return _as_kept(found, found.checks(Limits()))


def _comparison(**figures: Any) -> Comparison:
    plain = dict.fromkeys(("macro_f1_float", "macro_f1", "escape_change", "false_alarm_change", "drift"), ZERO)
    counts = {"wafers": 9, "groups": 9, "draws": 1, "seed": 0, "only_float_right": 0, "only_quantized_right": 0}
    return Comparison(**plain, **counts, **figures, largest_drift=0.0, confidence_shift=ZERO, mcnemar_p=1.0)


def _as_kept(
    comparison: Comparison,
    checks: tuple[Check, ...],
    *,
    shipped: float | None = None,
    sets: SetComparison | None = None,
    patterns: PatternComparison | None = None,
) -> dict[str, Any]:
    """Return a gate as a bundle keeps it."""
    gate = {"applied": True, "passed": True, "limits": to_json(Limits()), "checks": to_json(checks)}
    gate |= {} if shipped is None else {"shipped_agreement": shipped}
    gate |= {} if sets is None else {"sets": sets.to_json()}
    gate |= {} if patterns is None else {"patterns": to_json(patterns)}
    kept: dict[str, Any] = json.loads(json.dumps(gate | {"comparison": comparison.to_json()}))
    return kept


@pytest.mark.parametrize("name", NAMES)
def test_the_released_models_passed(name: str) -> None:
    assert fault(json.loads((released(name) / "bundle" / "bundle.json").read_text())["gate"]) is None


@given(
    agreement=st.floats(0.99, 1) | st.just(0.995),
    drop=SHARE,
    recalls=st.lists(st.tuples(SHARE, SHARE | st.just(NAN)) | st.just((NAN, NAN)), min_size=9, max_size=9),
    shipped=st.none() | st.floats(0.99, 1) | st.just(0.995),
)
def test_it_is_the_verdict_of_the_gate_itself(
    agreement: float, drop: float, recalls: list[tuple[float, float]], shipped: float | None
) -> None:
    comparison = _comparison(
        agreement=Estimate(agreement, agreement, agreement),
        macro_f1_drop=Estimate(drop, drop, drop),
        recall_drop=tuple(Estimate(value, low, low) for value, low in recalls),
    )
    checks = comparison.checks(Limits(), shipped=shipped)
    gate = _as_kept(comparison, checks, shipped=shipped)
    assert (fault(gate) is None) == all(check.passed for check in checks)


def _sets(agreement: float, drops: list[tuple[float, float]]) -> SetComparison:
    lost = tuple(Estimate(value, low, low) for value, low in drops)
    counts = {"wafers": 9, "groups": 9, "draws": 1, "seed": 0, "stated": 0.9, "review_below": None}
    shares = dict.fromkeys(("size_float", "size", "answered_float", "answered", "error_float", "error"), NAN)
    same = Estimate(agreement, agreement, agreement)
    return SetComparison(
        **counts,
        **shares,
        agreement=same,
        covered_float=lost,
        covered=lost,
        coverage_drop=lost,  # type: ignore[arg-type]
    )


@given(
    agreement=st.floats(0.97, 1) | st.just(0.98),
    drops=st.lists(st.tuples(SHARE, SHARE | st.just(NAN)) | st.just((NAN, NAN)), min_size=9, max_size=9),
)
def test_it_is_the_verdict_of_the_gate_on_prediction_sets(agreement: float, drops: list[tuple[float, float]]) -> None:
    found = _comparison(agreement=Estimate(1.0, 1.0, 1.0), macro_f1_drop=ZERO, recall_drop=(ZERO,) * 9)
    sets = _sets(agreement, drops)
    checks = found.checks(Limits(), sets=sets)
    assert (fault(_as_kept(found, checks, sets=sets)) is None) == all(check.passed for check in checks)


def test_checks_of_sets_that_are_left_out_or_changed_are_named() -> None:
    found = _comparison(agreement=Estimate(1.0, 1.0, 1.0), macro_f1_drop=ZERO, recall_drop=(ZERO,) * 9)
    sets = _sets(0.99, [(0.0, 0.0)] * 9)
    assert "11 checks are not the 21 that" in str(fault(_as_kept(found, found.checks(Limits()), sets=sets)))
    gate = _as_kept(found, found.checks(Limits(), sets=sets), sets=sets)
    gate["sets"]["agreement"]["value"] = 0.9
    assert "min_set_agreement is stated as 99 (limit 98), where the figures give 90" in str(fault(gate))


@given(agreement=st.floats(0.98, 1) | st.just(0.99), drop=SHARE, shipped=st.none() | st.floats(0.98, 1) | st.just(0.99))
def test_it_is_the_verdict_of_the_gate_on_patterns(agreement: float, drop: float, shipped: float | None) -> None:
    found = _comparison(agreement=Estimate(1.0, 1.0, 1.0), macro_f1_drop=ZERO, recall_drop=(ZERO,) * 9)
    none = {name: [] for name in ("known_float_found", "known_found", "known_group")}
    same = compare_patterns([3, 1], [3, 1], [3, 1], group=[0, 1], draws=0, shipped=shipped, **none)
    lost = Estimate(drop, drop, drop)
    patterns = replace(same, agreement=Estimate(agreement, agreement, agreement), bit_f1_drop=lost)
    checks = found.checks(Limits(), patterns=patterns)
    gate = _as_kept(found, checks, patterns=patterns)
    assert (fault(gate) is None) == all(check.passed for check in checks)
    assert "checks are not the" in str(fault(gate | {"patterns": None}))


def _set(gate: dict[str, Any], *place: Any) -> None:
    *way, last, value = place
    for step in way:
        gate = gate[step]
    gate[last] = value


@pytest.mark.parametrize(
    ("place", "says"),
    [
        (("applied", False), "'applied' is False"),
        (("passed", False), "'passed' is False"),
        (("passed", 1), "'passed' is 1"),
        (("checks", 0, "passed", False), "min_agreement is 100, where the limit is 99.5"),
        (("checks", 0, "value", 99.9), r"min_agreement is stated as 99.9 \(limit 99.5\), where the figures give 100"),
        (("checks", 1, "limit", 5), r"max_macro_f1_drop is stated as 0 \(limit 5\)"),
        (("checks", 2, "where", "Donut"), "11 checks are not the 11 that"),
        (("checks", []), "0 checks are not the 11 that"),
        (("limits", "min_agreement", 99), "min_agreement is stated as"),
        (("comparison", "agreement", "value", 0.9), "min_agreement is stated as 100"),
        (("comparison", "agreement", "value", NAN), "min_agreement is stated as 100"),
        (("comparison", "recall_drop", "Scratch", "low", 0.5), "max_recall_drop Scratch is stated as 0"),
    ],
)
def test_figures_that_contradict_each_other_are_named(place: tuple[Any, ...], says: str) -> None:
    gate = copy.deepcopy(_gate())
    _set(gate, *place)
    with pytest.raises(AssertionError, match=says):
        raise AssertionError(fault(gate))


def test_without_results_nothing_was_passed() -> None:
    assert fault({}) == "it holds no results of the gate"


@pytest.mark.parametrize("name", ["limits", "checks", "comparison"])
@pytest.mark.parametrize("value", [None, 7, "x", [], {}, [[]], {"min_agreement": "x"}, {"min_agreement": 1e999}])
def test_figures_that_are_none_raise_what_the_loader_expects(name: str, value: Any) -> None:
    gate = _gate() | {name: value}
    try:
        found = fault(gate)
    except (ValueError, KeyError, TypeError, AttributeError):
        return
    assert found, CLASSES
