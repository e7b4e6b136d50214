"""A set larger than what is simply held in memory lies in a file, and is the same set."""

from pathlib import Path

import numpy as np
import pytest

from wafer_tf import cells
from wafer_tf.readers import read, write_parquet
from wafer_tf.synthesis import synthesize
from wafer_tf.waferset import WaferSet


def _on_disk() -> int:
    """Return how many files without a name are mapped into this process."""
    return sum(line.endswith("(deleted)") for line in Path("/proc/self/maps").read_text().splitlines())


def test_a_large_set_read_chosen_and_joined_lies_on_disk_and_is_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = synthesize(2, seed=0).wafers
    write_parquet(small, tmp_path / "set.parquet")
    before = _on_disk()
    monkeypatch.setattr(cells, "MOST_IN_MEMORY", 1000)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    large = read(tmp_path / "set.parquet")
    chosen = large.select(range(len(large) - 1, -1, -1))
    joined = WaferSet.concatenate([large, chosen])
    assert _on_disk() == before + 3
    np.testing.assert_array_equal(large.flat, small.flat)
    for i in range(len(small)):
        np.testing.assert_array_equal(chosen.map(-1 - i), small.map(i))
        np.testing.assert_array_equal(joined.map(i), joined.map(-1 - i))
    assert [path.name for path in tmp_path.iterdir()] == ["set.parquet"], "no file is left to be removed"
    del large, chosen, joined
    assert _on_disk() == before


def test_where_the_disk_has_no_room_a_set_is_held_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cells, "MOST_IN_MEMORY", 1000)
    monkeypatch.setattr("os.posix_fallocate", full)
    before, array = _on_disk(), cells.empty_cells(2000)
    array[:] = 2
    assert _on_disk() == before and array.sum() == 4000
