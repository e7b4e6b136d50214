"""edge.classify: a whole wafer set on all cores."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge.classify import main
from edge.sets import judging
from tests.station import ROOT, assert_whole, bare_environment, station, wafer_set
from wafer_tf.readers import write_parquet
from wafer_tf.synthesis import synthesize
from wafer_tf.waferset import WaferSet


@pytest.fixture(scope="module")
def wafers() -> WaferSet:
    """Synthetic wafers, of which every third has no lot."""
    made = synthesize(6, seed=2).wafers
    lots = [f"L{i}" if i % 3 else "" for i in range(len(made))]
    grids = [made.map(i) for i in range(len(made))]
    return WaferSet.from_maps(grids, label=made.label, lot=lots, wafer_index=np.arange(1, len(made) + 1))


def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "edge.classify", *arguments],
        cwd=ROOT,
        env=bare_environment(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def records(path: Path) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in path.read_text().splitlines()]
    for record in found:
        assert_whole(record)
        del record["ms"]
    return found


def test_a_set_is_judged_in_order_as_the_station_judges_each_map(
    bundle_path: Path, wafers: WaferSet, tmp_path: Path
) -> None:
    write_parquet(wafers, tmp_path / "set.parquet")
    arguments = (str(tmp_path / "set.parquet"), "--bundle", str(bundle_path), "--processes", "2")
    done = run(*arguments, "--out", str(tmp_path / "out.jsonl"))
    assert done.returncode == 0, done.stderr
    assert "wafers/s on 2 processes" in done.stderr
    assert done.stdout == ""
    found = records(tmp_path / "out.jsonl")
    assert found[0]["id"] == f"{tmp_path / 'set.parquet'}:0"
    assert found[1]["id"] == "L1/2"
    assert len(found) == len(wafers)
    grids = [wafers.map(i) for i in range(len(wafers))]
    (tmp_path / "set.parquet").with_suffix(".npz").write_bytes(
        wafer_set(grids, lot=wafers.lot, wafer_index=wafers.wafer_index)
    )
    alone = station("classify", str(tmp_path / "set.npz"), "--bundle", str(bundle_path))
    expected = [json.loads(line) for line in alone.stdout.splitlines()]
    for record in expected:  # of a file the station knows the format and the hash, of a set there may be no file
        record |= {"format": None, "file_sha256": None}
        del record["ms"]
        for key in ("id", "file"):
            record[key] = record[key].replace("set.npz", "set.parquet")
    assert found == expected


def test_chunks_come_back_in_order_and_few_are_in_memory(wafers: WaferSet, monkeypatch: pytest.MonkeyPatch) -> None:
    from concurrent.futures import ThreadPoolExecutor

    taken: list[int] = []
    monkeypatch.setattr(judging, "CHUNK", 7)
    monkeypatch.setattr(judging, "judge", lambda chunk: chunk.first)

    def watched() -> Iterator[Any]:
        for chunk in judging.chunks_of([wafers, wafers], file="set", folder=Path(), lines=False):
            taken.append(chunk.first)
            assert chunk.number == len(taken) - 1
            yield chunk

    given = []
    with ThreadPoolExecutor(3) as pool:
        for first in judging.judge_all(pool, watched(), ahead=4):
            given.append(first)
            assert len(taken) - len(given) <= 4
    assert given == taken == [*range(0, 54, 7), *range(54, 108, 7)]


def test_nothing_is_left_under_the_name_when_the_set_is_bad(
    bundle_path: Path, wafers: WaferSet, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = wafer_set([wafers.map(0), wafers.map(1) * 3])
    (tmp_path / "set.npz").write_bytes(data)
    out = tmp_path / "out.jsonl"
    assert main([str(tmp_path / "set.npz"), "--bundle", str(bundle_path), "--out", str(out), "--processes", "1"]) == 4
    assert "row 1: die state" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["set.npz"]


def test_a_killed_process_is_an_error_and_leaves_nothing(
    bundle_path: Path, wafers: WaferSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    write_parquet(wafers, tmp_path / "set.parquet")
    out = tmp_path / "out.jsonl"
    monkeypatch.setattr(judging, "judge", _die)
    assert main([str(tmp_path / "set.parquet"), "--bundle", str(bundle_path), "--out", str(out)]) == 4
    assert "a process ended before its work was done" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["set.parquet"]


def _die(_: Any) -> Any:
    import os

    os._exit(9)


def test_an_existing_file_is_kept_unless_told(bundle_path: Path, wafers: WaferSet, tmp_path: Path) -> None:
    write_parquet(wafers, tmp_path / "set.parquet")
    out = tmp_path / "out.jsonl"
    out.write_text("mine")
    arguments = [str(tmp_path / "set.parquet"), "--bundle", str(bundle_path), "--out"]
    assert main([*arguments, str(out)]) == 2
    assert out.read_text() == "mine"
    assert main([*arguments, str(tmp_path)]) == 2
    assert main([*arguments, str(tmp_path / "absent" / "out.jsonl")]) == 2
    assert main([*arguments, str(out), "--overwrite", "--processes", "1"]) == 0
    assert len(records(out)) == len(wafers)


def test_a_refused_bundle_ends_with_3_before_the_set_is_read(tmp_path: Path) -> None:
    done = run(str(tmp_path / "absent.parquet"), "--bundle", str(tmp_path), "--out", str(tmp_path / "out.jsonl"))
    assert done.returncode == 3
    assert "bundle.json is missing" in done.stderr


def test_help_answers_without_heavy_imports() -> None:
    program = "import sys, edge.classify; edge.classify.parser(); print([*sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env=bare_environment(), capture_output=True, text=True, check=True
    )
    assert not {"'numpy'", "'pyarrow'", "'tqdm'"} & set(done.stdout.strip("[]\n").split(", "))
