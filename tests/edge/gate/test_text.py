"""The gate's findings as people read them."""

import dataclasses

import numpy as np

from edge.gate.comparison import Comparison, Limits, compare
from edge.gate.text import footnotes, format_checks, format_models
from edge.gate.time_per_map import Latency
from wafer_tf.dies import CLASSES
from wafer_tf.scoring.bootstrap import Estimate
from wafer_tf.scoring.scores import score

LABEL = np.repeat(np.arange(9), 10)
PROB = np.full((90, 9), 0.01)
PROB[np.arange(90), LABEL] = 0.92
GROUP = np.arange(90) // 2


def _compared(**changes: object) -> Comparison:
    found = compare(LABEL, PROB, PROB, group=GROUP, draws=20)
    return dataclasses.replace(found, **changes)  # type: ignore[arg-type]


def test_the_models_stand_side_by_side_in_columns() -> None:
    other = PROB.copy()
    other[30:34] = np.roll(other[30:34], 1, axis=1)  # four of the ten Edge-Ring maps
    rows = [
        ("float32", 5_198_000, score(LABEL, PROB, group=None, draws=0), _compared(), Latency(5.199, 7.25, 200), True),
        (
            "int8, 300 calibration maps",
            14_560_000,
            score(LABEL, other, group=None, draws=0),
            _compared(agreement=Estimate(86 / 90, 0.9, 1.0)),
            Latency(15.3065, 20.0, 20),
            False,
        ),
    ]
    head, first, second = format_models(rows).splitlines()
    assert head.split() == ["model", "MB", "macro-F1", "worst", "class", "recall", "same", "call", "ms", "p99"]
    assert first.split("  ")[0] == "float32"
    assert first.split()[1:] == ["5.20", "1.000", "Center", "1.000", "100.00", "%", "5.199", "7.250"]
    assert second.split()[:4] == ["int8,", "300", "calibration", "maps"]
    assert second.split()[4] == "14.56"
    assert "Edge-Ring    0.600  " in second
    assert second.endswith(" 95.56 %  15.306  20.000  no XNNPACK")
    ends = {word: head.index(word) + len(word) for word in ("MB", "same call", "ms", "p99")}
    for line, cells in ((first, ("5.20", "100.00 %", "5.199", "7.250")), (second, ("14.56", "95.56 %", "15.306"))):
        for word, cell in zip(ends, cells, strict=False):
            assert line[: ends[word]].endswith(cell), f"{word} is not flush right"
    assert head.index("macro-F1") == first.index("1.000")
    assert not any(line != line.rstrip() for line in (head, first, second))


def test_every_limit_has_a_line_with_what_was_found_and_whether_it_passes() -> None:
    drops = [Estimate(0.0, 0.0, 0.0)] * 9
    drops[3] = Estimate(0.0512, 0.0305, 0.0721)
    drops[8] = Estimate(np.nan, np.nan, np.nan)
    found = _compared(
        agreement=Estimate(0.9956, 0.99, 1.0),
        macro_f1_drop=Estimate(0.0061, -0.001, 0.01),
        recall_drop=tuple(drops),
        escape_change=Estimate(0.0123, 0.01, 0.02),
        false_alarm_change=Estimate(-0.004, -0.005, 0.0),
        drift=Estimate(0.0071, np.nan, np.nan),
        confidence_shift=Estimate(-0.0016, -0.002, -0.001),
        largest_drift=0.2345,
        only_float_right=8,
        only_quantized_right=2,
        mcnemar_p=0.109375,
    )
    lines = format_checks(found.checks(Limits()), found).splitlines()
    assert lines[0] == "PASS  called the same          99.56 [99.00, 100.00] %          at least 99.5 %"
    assert lines[1] == "FAIL  macro-F1 lost            0.61 [-0.10, 1.00] points        at most 0.5 points"
    assert lines[2] == (
        "PASS  recall lost, Center      0.00 [0.00, 0.00] points         at most 2 points beyond the interval"
    )
    assert lines[5] == (
        "FAIL  recall lost, Edge-Ring   5.12 [3.05, 7.21] points         at most 2 points beyond the interval"
    )
    assert [line[:4] for line in lines[2:10]] == ["PASS", "PASS", "PASS", "FAIL", "PASS", "PASS", "PASS", "PASS"]
    assert lines[10:] == [
        "      not judged, for want of test maps: none",
        "      more escapes             1.23 [1.00, 2.00] points",
        "      more false alarms        -0.40 [-0.50, 0.00] points",
        "      probability drift        0.71 points",
        "      surer by                 -0.16 [-0.20, -0.10] points",
        "      largest drift            23.45 points",
        "      right by one model alone float 8, quantized 2 maps; McNemar's exact p = 0.11",
    ]


def test_every_class_without_test_maps_is_named() -> None:
    drops = tuple(Estimate(np.nan, np.nan, np.nan) if k in (1, 7) else Estimate(0.0, 0.0, 0.0) for k in range(9))
    found = _compared(recall_drop=drops)
    text = format_checks(found.checks(Limits()), found)
    assert f"not judged, for want of test maps: {CLASSES[1]}, {CLASSES[7]}\n" in text
    assert "not judged" not in format_checks(_compared().checks(Limits()), _compared())


def test_the_footnotes_say_what_the_figures_rest_on() -> None:
    text = footnotes(_compared(wafers=4048, groups=1234, draws=1000))
    assert text.startswith("4,048 maps of the run's test part in 1,234 groups; 95 % intervals from 1,000 draws")
    assert max(map(len, text.splitlines())) <= 120
