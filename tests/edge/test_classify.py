"""edge.classify: a whole wafer set on all cores."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from edge.classify import METADATA, main
from edge.sets import judging
from tests.station import ROOT, assert_whole, bare_environment, station, wafer_set
from wafer_tf.readers import write_parquet
from wafer_tf.synthesis import synthesize
from wafer_tf.waferset import WaferSet
from wafer_tf.whole_files import file_sha256


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


IN_SMALL_PARTS = """
import sys
from edge.sets import judging
judging.CHUNK = 8
from edge.classify import METADATA, main
sys.exit(main(sys.argv[1:]))
"""


def start(*arguments: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", IN_SMALL_PARTS, *arguments, "--bundle", "nano", "--processes", "1"]
    return subprocess.Popen(command, cwd=ROOT, env=bare_environment(), stderr=subprocess.PIPE, text=True)


def parts(folder: Path) -> set[str]:
    return {path.name for path in folder.glob("*.part")}


@pytest.mark.parametrize(("form", "kills"), [("parquet", (1, 30)), ("jsonl", (10,))])
def test_killed_and_started_again_it_goes_on_to_the_same_file(
    wafers: WaferSet, tmp_path: Path, form: str, kills: tuple[int, ...]
) -> None:
    many = WaferSet.concatenate([wafers] * 20)
    write_parquet(many, tmp_path / "set.parquet")
    whole, out = tmp_path / f"whole.{form}", tmp_path / f"out.{form}"
    done = start(str(tmp_path / "set.parquet"), "--out", str(whole))
    told = done.communicate(timeout=300)[1]
    assert done.returncode == 0, told
    folder, kept = out.with_name(f"{out.name}.partial"), set()
    for more in kills:
        running = start(str(tmp_path / "set.parquet"), "--out", str(out))
        while running.poll() is None and len(parts(folder)) < len(kept) + more:
            pass
        running.send_signal(signal.SIGKILL)
        running.communicate()
        assert kept <= parts(folder)
        kept = parts(folder)
        assert 0 < len(kept) < len(many) / 8
    last = start(str(tmp_path / "set.parquet"), "--out", str(out))
    told = last.communicate(timeout=300)[1]
    assert last.returncode == 0, told
    assert f"{len(many)} wafers, {8 * len(kept)} of them earlier: " in told
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([out.name, whole.name, "set.parquet"])
    if form == "parquet":
        assert out.read_bytes() == whole.read_bytes()
    else:
        assert records(out) == records(whole)


def test_no_process_is_left_when_the_first_is_killed(wafers: WaferSet, tmp_path: Path) -> None:
    write_parquet(WaferSet.concatenate([wafers] * 20), tmp_path / "set.parquet")
    running = start(str(tmp_path / "set.parquet"), "--out", str(tmp_path / "out.parquet"))
    while running.poll() is None and not parts(tmp_path / "out.parquet.partial"):
        pass
    started = children(running.pid)
    assert started
    running.send_signal(signal.SIGKILL)
    running.communicate()
    for _ in range(600):
        if not any(alive(pid) for pid in started):
            return
        time.sleep(0.1)
    pytest.fail("a process judges on")


def children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_each_set_of_a_folder_has_its_file(
    wafers: WaferSet, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sets, out = tmp_path / "sets", tmp_path / "calls"
    sets.mkdir()
    arguments = [str(sets), "--bundle", "nano", "--processes", "1", "--out", str(out)]
    assert main(arguments) == 4
    assert "no file *.parquet in it" in capsys.readouterr().err
    write_parquet(wafers, sets / "b.parquet")
    write_parquet(wafers[5:9], sets / "a.parquet")
    (sets / "notes.txt").write_text("no set")
    assert main(arguments) == 0
    assert sorted(path.name for path in out.iterdir()) == ["a.parquet", "b.parquet"]
    first = pq.read_table(out / "a.parquet")
    assert first["map"].to_pylist() == [1, 2, 3, 4]
    assert set(first["file"].to_pylist()) == {str(sets / "a.parquet")}
    before = (out / "b.parquet").read_bytes()
    (out / "a.parquet").unlink()
    capsys.readouterr()
    assert main(arguments) == 0
    assert f"{out / 'b.parquet'}: is there already" in capsys.readouterr().err
    assert pq.read_table(out / "a.parquet").equals(first)
    assert main([*arguments, "--review-below", "0.9"]) == 2
    assert "exists already" in capsys.readouterr().err
    assert (out / "b.parquet").read_bytes() == before
    assert main([str(sets), "--bundle", "nano", "--out", str(sets)]) == 2


def test_neither_the_cache_nor_the_processes_change_a_byte(wafers: WaferSet, tmp_path: Path) -> None:
    write_parquet(WaferSet.concatenate([wafers] * 3), tmp_path / "set.parquet")
    found = []
    for flags in ([], ["--no-cache", "--processes", "2"]):
        arguments = [str(tmp_path / "set.parquet"), "--bundle", "nano", "--out", str(tmp_path / "out.parquet")]
        assert main([*arguments, "--overwrite", *flags]) == 0
        found.append((tmp_path / "out.parquet").read_bytes())
    assert found[0] == found[1]
    table = pq.read_table(tmp_path / "out.parquet")
    about = json.loads(table.schema.metadata[METADATA])
    assert about["set_sha256"] == file_sha256(tmp_path / "set.parquet")
    assert about["review_below"] == "0.5"


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
