"""The counts of a station, for people and as Prometheus text, to the letter."""

from typing import Any

import pytest

from edge.station.hot_folder import metrics
from edge.station.hot_folder.metrics import Counts
from wafer_tf.dies import CLASSES


@pytest.fixture
def counts(monkeypatch: pytest.MonkeyPatch) -> Counts:
    """Counts that begin at second 1000."""
    monkeypatch.setattr(metrics, "time", lambda: 1000.0)
    return Counts("ab" * 32)


def _record(label: str | None, decision: str, ms: float) -> dict[str, Any]:
    return {"status": "rejected" if label is None else "ok", "label": label, "decision": decision, "ms": ms}


def test_before_the_first_record_everything_is_there_at_zero(counts: Counts) -> None:
    text = counts.text(waiting=0, faults=[])
    assert "\nwafer_tf_last_record" not in text, "no time at all, or a reader takes 1970 for it"
    assert counts.line(waiting=3) == "0 seen: 0 ok, 0 rejected, 0 duplicates, 0 recorded before; 3 waiting"
    assert 'wafer_tf_judge_seconds_bucket{le="+Inf"} 0\n' in text
    assert text.count('wafer_tf_wafers_total{label="') == 36


def test_wafers_of_several_patterns_are_counted(counts: Counts) -> None:
    for patterns in (["Edge-Ring", "Scratch"], [], ["Loc", "Center", "Scratch"], None):
        counts.record(_record("Scratch", "defect", 1.0) | {"patterns": patterns})
    counts.record(_record(None, "rejected", 1.0) | {"patterns": None})
    assert "; 2 of several patterns; 0 waiting; " in counts.line(waiting=0)
    assert "\nwafer_tf_several_patterns_total 2\n" in counts.text(waiting=0, faults=[])


def test_the_text_is_this(counts: Counts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "time", lambda: 1234.56789)
    for record in (
        _record("Scratch", "defect", 1.0),
        _record("Scratch", "review", 1.5),
        _record("none", "unknown", 2000.0),
        _record(None, "rejected", 0.25),
        _record("Scratch", "defect", 50.0),
    ):
        counts.record(record)
    counts.duplicates, counts.known = 4, 7
    counts.errors["out"] += 2
    counts.bundle_replaced, counts.bundle_reloads = True, 5
    text = counts.text(waiting=6, faults=["out", "file", "file"])
    wafers = {("Scratch", "defect"): 2, ("Scratch", "review"): 1, ("none", "unknown"): 1}
    expected = {
        "info": [f'{{bundle_sha256="{"ab" * 32}"}} 1'],
        "bundle_replaced": [" 1"],
        "bundle_reloads_total": [" 5"],
        "start_time_seconds": [" 1000.0"],
        "wafers_total": [
            f'{{label="{label}",decision="{decision}"}} {wafers.get((label, decision), 0)}'
            for label in CLASSES
            for decision in ("none", "defect", "review", "unknown")
        ],
        "several_patterns_total": [" 0"],
        "rejected_total": [" 1"],
        "duplicates_total": [" 4"],
        "known_total": [" 7"],
        "errors_total": [f'{{kind="{kind}"}} {2 * (kind == "out")}' for kind in metrics.ERRORS],
        "fault": [f'{{kind="{kind}"}} {int(kind in ("out", "file"))}' for kind in metrics.ERRORS],
        "queue_wafers": [" 6"],
        "last_record_timestamp_seconds": [" 1234.568"],
        "judge_seconds": [
            *(
                f'_bucket{{le="{bound}"}} {n}'
                for bound, n in zip(
                    ("0.001", "0.002", "0.005", "0.01", "0.02", "0.05", "0.1", "0.2", "0.5", "1", "+Inf"),
                    (2, 3, 3, 3, 3, 4, 4, 4, 4, 4, 5),
                    strict=True,
                )
            ),
            "_sum 2.05275",
            "_count 5",
        ],
    }
    families: dict[str, list[str]] = {}
    kinds: dict[str, str] = {}
    for line in text.splitlines():
        if line.startswith("# HELP wafer_tf_"):
            name, help_text = line.removeprefix("# HELP wafer_tf_").split(" ", 1)
            assert help_text.endswith(".")
            families[name] = []
        elif line.startswith("# TYPE wafer_tf_"):
            kinds[name] = line.removeprefix(f"# TYPE wafer_tf_{name} ")
        else:
            families[name].append(line.removeprefix(f"wafer_tf_{name}"))
    assert families == expected
    gauges = ("info", "bundle_replaced", "start_time_seconds", "fault", "queue_wafers", "last_record_timestamp_seconds")
    assert kinds == {name: "gauge" if name in gauges else "counter" for name in expected} | {
        "judge_seconds": "histogram"
    }
    assert text.endswith("\n")


def test_the_line_sums_up_classes_and_gives_the_median_since_the_last_line(counts: Counts) -> None:
    for record in (
        _record("none", "none", 9.0),
        _record("Center", "defect", 1.04),
        _record("none", "review", 2.0),
        _record(None, "rejected", 3.26),
    ):
        counts.record(record)
    counts.duplicates, counts.known = 1, 2
    assert counts.line(waiting=0) == (
        "7 seen: 3 ok, 1 rejected, 1 duplicates, 2 recorded before; Center 1, none 2; 0 waiting; median 3.3 ms"
    )
    assert "median" not in counts.line(waiting=0)
    counts.record(_record("none", "none", 8.0))
    assert counts.line(waiting=0).endswith("Center 1, none 3; 0 waiting; median 8.0 ms")
