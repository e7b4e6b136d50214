"""What a set knows of a wafer with several patterns: bits beside the label, kept through everything a set can do."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from wafer_tf.dies import CLASSES
from wafer_tf.errors import InputError
from wafer_tf.model import as_wafer_set
from wafer_tf.pattern_bits import PATTERNS, pattern_bits, pattern_names, pattern_texts
from wafer_tf.waferset import COLUMNS, Wafer, WaferSet

RING, SCRATCH, NONE = CLASSES.index("Edge-Ring"), CLASSES.index("Scratch"), CLASSES.index("none")
BOTH = 1 << RING | 1 << SCRATCH
MAPS = [np.full((4, 5), 1 + k % 2, np.uint8) for k in range(4)]
WAFERS = WaferSet.from_maps(MAPS, label=[RING, -1, NONE, -1], lot=list("ABCD"), patterns=[1 << RING, BOTH, 0, 0])


def same(a: WaferSet, b: WaferSet) -> None:
    for name in COLUMNS:
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))


def test_a_set_without_patterns_has_those_of_its_labels() -> None:
    wafers = WaferSet.from_maps([MAPS[0]] * 10, label=[*range(9), -1])
    assert wafers.patterns.dtype == np.uint8
    assert wafers.patterns.tolist() == [1, 2, 4, 8, 16, 32, 64, 128, 0, 0]
    assert not wafers.several.any()
    assert [wafer.patterns for wafer in wafers] == [*((name,) for name in PATTERNS), (), ()]


def test_a_wafer_of_several_patterns_has_no_label_and_is_counted_apart() -> None:
    assert WAFERS.several.tolist() == [False, True, False, False]
    assert WAFERS[1].label is None
    assert WAFERS[1].patterns == ("Edge-Ring", "Scratch")
    assert repr(WAFERS).startswith("WaferSet of 4 wafers, 2 labelled (1 Edge-Ring, 1 none), 1 of several patterns")
    assert "Edge-Ring+Scratch" in repr(WAFERS[1])
    assert WAFERS.class_counts().sum() == len(WAFERS.labelled) == 2


def test_patterns_stay_with_their_wafers() -> None:
    assert WAFERS.select([3, 1]).patterns.tolist() == [0, BOTH]
    assert WAFERS[WAFERS.several].patterns.tolist() == [BOTH]
    assert WaferSet.concatenate([WAFERS[2:], WAFERS[:2]]).patterns.tolist() == [0, 0, 1 << RING, BOTH]
    same(as_wafer_set(list(WAFERS)), WAFERS)


def test_patterns_go_to_pandas_and_back_where_some_wafer_has_several() -> None:
    table = WAFERS.to_pandas()
    assert table["patterns"].tolist() == ["Edge-Ring", "Edge-Ring+Scratch", None, None]
    same(WaferSet.from_pandas(table), WAFERS)
    assert "patterns" not in WAFERS[~WAFERS.several].to_pandas().columns


@pytest.mark.parametrize(
    "cell", [["Scratch", "Edge-Ring"], ("Edge-Ring", "Scratch"), np.array(["Edge-Ring", "Scratch"])]
)
def test_a_table_may_hold_patterns_as_lists_of_names(cell: Any) -> None:
    table = pd.DataFrame({"map": MAPS[:3], "label": ["Loc", None, None]})
    table["patterns"] = pd.Series([np.nan, cell, ()], dtype=object)
    assert WaferSet.from_pandas(table).patterns.tolist() == [1 << CLASSES.index("Loc"), BOTH, 0]


@pytest.mark.parametrize(
    ("label", "patterns", "says"),
    [
        ([RING, RING], [1 << RING, 1 << SCRATCH], r"wafer 1: patterns 128 \(Scratch\), label Edge-Ring"),
        ([RING, NONE], [1 << RING, BOTH], r"wafer 1: patterns 136 \(Edge-Ring and Scratch\), label none"),
        ([RING, NONE], [0, 0], r"wafer 0: patterns 0 \(none\), label Edge-Ring"),
        ([-1, -1], [BOTH, 1], r"wafer 1: patterns 1 \(Center\), label not given; expected the label"),
        ([-1, -1], [BOTH, 256 + BOTH], "wafer 1: patterns 392"),
        ([-1, -1], [-1, BOTH], "wafer 0: patterns -1"),
        ([-1, -1], [BOTH], "1 values of patterns for 2 maps"),
        ([-1, -1], [[BOTH], [0]], r"patterns are int64 of shape \(2, 1\); expected 2 whole numbers"),
        ([-1, -1], [3.0, 3.0], r"patterns are float64 of shape \(2,\)"),
    ],
)
def test_patterns_that_disagree_with_the_label_are_refused(label: list[int], patterns: list[Any], says: str) -> None:
    with pytest.raises(InputError, match=says):
        WaferSet.from_maps(MAPS[:2], label=label, patterns=patterns)


@pytest.mark.parametrize("cell", ["Ring", "Edge-Ring+none", "Edge-Ring+Edge-Ring", "Edge-Ring+", ["Loc", 3], 5])
def test_a_pattern_that_is_none_is_refused_with_its_row(cell: Any) -> None:
    table = pd.DataFrame({"map": MAPS[:1]}, index=["w7"])
    table["patterns"] = pd.Series([cell], index=["w7"], dtype=object)
    with pytest.raises(InputError, match=r"table, row w7: pattern .* expected names out of Center"):
        WaferSet.from_pandas(table)


def test_every_byte_is_named_and_read_back() -> None:
    assert [pattern_bits(pattern_names(bits), "") for bits in range(256)] == list(range(256))
    texts = pattern_texts(np.arange(256, dtype=np.uint8))
    assert [pattern_bits(text, "") for text in texts.tolist()] == list(range(256))


def test_a_wafer_by_itself_has_the_pattern_of_its_label() -> None:
    assert Wafer(MAPS[0], label="Loc").patterns == ("Loc",)
    assert Wafer(MAPS[0], label="none").patterns == Wafer(MAPS[0]).patterns == ()
