"""Wafers of several patterns in files: the Parquet column that keeps them, the command that writes it, the counts."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from wafer_tf.dies import CLASSES
from wafer_tf.errors import InputError
from wafer_tf.readers import open_source, read, write_batches, write_parquet
from wafer_tf.readers.__main__ import main
from wafer_tf.waferset import COLUMNS, WaferSet

RING, SCRATCH = CLASSES.index("Edge-Ring"), CLASSES.index("Scratch")
BOTH = 1 << RING | 1 << SCRATCH
MAPS = [np.full((4, 5), 1 + k % 2, np.uint8) for k in range(5)]
WAFERS = WaferSet.from_maps(MAPS, label=[RING, -1, 8, -1, -1], patterns=[1 << RING, BOTH, 0, 0, BOTH | 1])


def same(a: WaferSet, b: WaferSet) -> None:
    for name in ("flat", "shapes", *COLUMNS):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))


def test_parquet_keeps_the_patterns_as_names_that_other_tools_read(tmp_path: Path) -> None:
    write_parquet(WAFERS, tmp_path / "set.parquet")
    table = pq.read_table(tmp_path / "set.parquet")
    assert table.column_names[-1] == "patterns"
    assert table["patterns"].to_pylist() == ["Edge-Ring", "Edge-Ring+Scratch", None, None, "Center+Edge-Ring+Scratch"]
    assert table["label"].to_pylist() == ["Edge-Ring", None, "none", None, None]
    same(read(tmp_path / "set.parquet"), WAFERS)
    with open_source(tmp_path / "set.parquet") as opened:
        assert opened.several


def test_a_set_without_a_wafer_of_several_is_written_as_ever(tmp_path: Path) -> None:
    kept = WAFERS[~WAFERS.several]
    write_parquet(kept, tmp_path / "kept.parquet")
    write_parquet(WaferSet.from_maps(MAPS[0:3:2] + MAPS[3:4], label=kept.label), tmp_path / "plain.parquet")
    assert (tmp_path / "kept.parquet").read_bytes() == (tmp_path / "plain.parquet").read_bytes()
    assert "patterns" not in pq.read_schema(tmp_path / "kept.parquet").names
    with open_source(tmp_path / "kept.parquet") as opened:
        assert not opened.several


def test_patterns_are_not_dropped_unasked(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="pass several=True"):
        write_batches([WAFERS[2:3], WAFERS[1:2]], tmp_path / "set.parquet")
    assert not list(tmp_path.iterdir())
    write_batches([WAFERS[2:3], WAFERS[1:2]], tmp_path / "set.parquet", several=True)
    same(read(tmp_path / "set.parquet"), WAFERS[[2, 1]])


@pytest.mark.parametrize(
    ("column", "says"),
    [
        (pa.array([None, "Edge-Ring+Scratch", None, "Ring", None]), r"set\.parquet row 3: pattern 'Ring'"),
        (
            pa.array(["Scratch", None, None, None, None]),
            r"set\.parquet row 0: patterns 128 \(Scratch\), label Edge-Ring",
        ),
        (pa.array([None, None, None, "Loc", None]), r"set\.parquet row 3: patterns 16 \(Loc\), label not given"),
        (pa.array([None, "Loc+Scratch+Loc", None, None, None]), "row 1: pattern 'Loc' in 'Loc.Scratch.Loc'"),
        (pa.array([0, BOTH, 0, 0, 0]), "column patterns is int64; expected string"),
        (pa.array([["Loc"]] * 5), "column patterns is list.*; expected string"),
    ],
)
def test_patterns_that_are_none_are_refused_with_file_and_row(column: Any, says: str, tmp_path: Path) -> None:
    write_parquet(WAFERS, tmp_path / "set.parquet")
    table = pq.read_table(tmp_path / "set.parquet")
    pq.write_table(table.set_column(table.num_columns - 1, "patterns", column), tmp_path / "set.parquet")
    with pytest.raises(InputError, match=says):
        read(tmp_path / "set.parquet")


def test_the_command_keeps_the_patterns_of_one_input_among_others_and_counts_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bits = np.zeros((3, 8), np.uint8)
    bits[1, 3] = bits[2, 3] = bits[2, 6] = 1
    np.savez(tmp_path / "mixed.npz", arr_0=np.stack(MAPS[:3]), arr_1=bits)
    write_parquet(WAFERS[[0, 2]], tmp_path / "plain.parquet")
    names = ("plain.parquet", "mixed.npz", "out.parquet")
    assert main([str(tmp_path / name) for name in names]) == 0
    assert read(tmp_path / "out.parquet").patterns.tolist() == [1 << RING, 0, 0, 1 << RING, BOTH]
    printed = capsys.readouterr().out
    assert "several             1  (unlabelled wafers with several patterns: 1 of 2)" in printed
    assert "Edge-Ring           2         0         0         2            1" in printed
    assert main([str(tmp_path / "plain.parquet"), str(tmp_path / "again.parquet")]) == 0
    assert (tmp_path / "again.parquet").read_bytes() == (tmp_path / "plain.parquet").read_bytes()
    printed = capsys.readouterr().out
    assert "several" not in printed
    assert "with others" not in printed
