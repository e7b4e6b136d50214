"""Does what a bundle says of its gate amount to a pass? Judged anew from the limits and figures that stand in it.

It finds a verdict that was changed alone. Who changes the figures as well is found by a signature, not here. Needs the
standard library alone, and agrees with edge.gate.comparison, which writes these figures.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from wafer_tf.dies import CLASSES

SHIPPED = "the file that ships"
"""Where a check is of the file in the bundle, the others being of the files of folds."""
_ROUNDING = 1e-9  # of differences of shares, in points


class _Due(NamedTuple):
    """A check that the figures call for: the limit and the value it must state, and whether they are a pass."""

    limit: float
    value: float
    passed: bool


def fault(gate: Mapping[str, Any]) -> str | None:
    """Return why a gate's own figures are no pass, or None where they are one.

    Args:
        gate: as in bundle.json: `applied`, `passed`, `limits`, `checks`, `comparison` and, where files of folds were
            compared, `shipped_agreement`, `unknown` where there is an unknown score, `sets` where prediction sets are
            stated, and `patterns` where a head tells several patterns on one wafer.

    Raises:
        KeyError, TypeError, ValueError, AttributeError: figures are missing or are none.
    """
    if not gate:
        return "it holds no results of the gate"
    for name in ("applied", "passed"):
        if gate[name] is not True:
            return f"the gate's own {name!r} is {gate[name]!r}"
    due = _due(gate["limits"], gate["comparison"], gate.get("shipped_agreement"))
    if gate.get("unknown") is not None:
        due |= _unknown_due(gate["limits"], gate["unknown"])
    if gate.get("sets") is not None:
        due |= _sets_due(gate["limits"], gate["sets"])
    if gate.get("patterns") is not None:
        due |= _patterns_due(gate["limits"], gate["patterns"])
    stated = {(check["name"], check["where"]): check for check in gate["checks"]}
    if len(stated) != len(gate["checks"]) or stated.keys() != due.keys():
        return f"the gate's {len(gate['checks'])} checks are not the {len(due)} that its limits and figures call for"
    for place, (limit, value, passed) in due.items():
        check, name = stated[place], " ".join(place).strip()
        if not (abs(check["limit"] - limit) <= _ROUNDING and abs(check["value"] - value) <= _ROUNDING):
            stated_as = f"{check['value']:.6g} (limit {check['limit']:g})"
            return f"{name} is stated as {stated_as}, where the figures give {value:.6g} (limit {limit:g})"
        if not passed or check["passed"] is not True:
            return f"{name} is {value:.4g}, where the limit is {limit:g}"
    return None


def _due(
    limits: Mapping[str, Any], comparison: Mapping[str, Any], shipped: float | None
) -> dict[tuple[str, str], _Due]:
    for name, limit in limits.items():
        if not 0 <= limit <= 100:
            raise ValueError(f"{name} {limit}")
    agreement, least = 100 * comparison["agreement"]["value"], limits["min_agreement"]
    found = {("min_agreement", ""): _Due(least, agreement, agreement >= least - _ROUNDING)}
    if shipped is not None:
        found["min_agreement", SHIPPED] = _Due(least, 100 * shipped, 100 * shipped >= least - _ROUNDING)
    drop, most = 100 * comparison["macro_f1_drop"]["value"], limits["max_macro_f1_drop"]
    found["max_macro_f1_drop", ""] = _Due(most, drop, drop <= most + _ROUNDING)
    return found | _of_classes("max_recall_drop", limits["max_recall_drop"], comparison["recall_drop"])


def _of_classes(limit: str, most: float, drops: Mapping[str, Any]) -> dict[tuple[str, str], _Due]:
    found = {}
    for name in CLASSES:
        drop = drops[name]
        if drop["value"] is not None:  # else the test part had no map of the class
            sure = 100 * (drop["value"] if drop["low"] is None else drop["low"])
            found[limit, name] = _Due(most, sure, sure <= most + _ROUNDING)
    return found


def _unknown_due(limits: Mapping[str, Any], unknown: Mapping[str, Any]) -> dict[tuple[str, str], _Due]:
    least, same = limits["min_unknown_agreement"], 100 * unknown["agreement"]
    most, drop = limits["max_unknown_auroc_drop"], 100 * (unknown["auroc_float"] - unknown["auroc"])
    return {
        ("min_unknown_agreement", ""): _Due(least, same, same >= least - _ROUNDING),
        ("max_unknown_auroc_drop", ""): _Due(most, drop, drop <= most + _ROUNDING),
    }


def _sets_due(limits: Mapping[str, Any], sets: Mapping[str, Any]) -> dict[tuple[str, str], _Due]:
    least, same = limits["min_set_agreement"], 100 * sets["agreement"]["value"]
    found = {("min_set_agreement", ""): _Due(least, same, same >= least - _ROUNDING)}
    return found | _of_classes("max_coverage_drop", limits["max_coverage_drop"], sets["coverage_drop"])


def _patterns_due(limits: Mapping[str, Any], patterns: Mapping[str, Any]) -> dict[tuple[str, str], _Due]:
    least, most = limits["min_patterns_agreement"], limits["max_bit_f1_drop"]
    same, drop = 100 * patterns["agreement"]["value"], 100 * patterns["bit_f1_drop"]["value"]
    found = {
        ("min_patterns_agreement", ""): _Due(least, same, same >= least - _ROUNDING),
        ("max_bit_f1_drop", ""): _Due(most, drop, drop <= most + _ROUNDING),
    }
    if patterns["shipped"] is not None:
        same = 100 * patterns["shipped"]
        found["min_patterns_agreement", SHIPPED] = _Due(least, same, same >= least - _ROUNDING)
    return found
