"""The installed station, as a user has it who has numpy, LiteRT and nothing of the clone. Needs no TensorFlow.

.ci/run runs this file alone, outside the clone, on every interpreter of the machine, with the wheel in an empty
environment and `--noconftest`.
"""

import io
import json
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from edge.station.classifier import Classifier
from edge.station.hot_folder.watch import watch
from edge.station.inputs import find_maps
from edge.station.records import KEYS, from_line, to_line
from wafer_tf.bundle import MANIFEST, load_bundle, write_bundle
from wafer_tf.dies import CLASSES, grid_sha256
from wafer_tf.errors import ModelError
from wafer_tf.released import NAMES, released
from wafer_tf.whole_files import whole_file

NANO = released("nano") / "bundle"
GRID = np.pad(np.ones((9, 7), np.uint8), 1) * np.tile(np.array([1, 2, 1], np.uint8), 33).reshape(11, 9)


def _framed(inner: NDArray[np.uint8]) -> NDArray[np.uint8]:
    grid = np.pad(inner, 1, constant_values=1)
    grid[0, 0] = 2
    return grid


GRIDS = arrays(np.uint8, st.tuples(st.integers(1, 40), st.integers(2, 40)), elements=st.integers(0, 2)).map(_framed)
"""Maps with a die on every side, and one that fails: no margin is cut off, no value doubted. Of three columns, a text
may be a list of dies."""


@pytest.fixture(scope="module")
def nano() -> Classifier:
    return Classifier(load_bundle(NANO))


def wafer_tf(*arguments: str, stdin: bytes = b"", cwd: Path | None = None) -> "subprocess.CompletedProcess[bytes]":
    command = [sys.executable, "-m", "wafer_tf", *arguments]
    return subprocess.run(command, input=stdin, capture_output=True, timeout=120, check=False, cwd=cwd)


def records(run: "subprocess.CompletedProcess[bytes]") -> list[dict[str, Any]]:
    return [json.loads(line) for line in run.stdout.splitlines()]


def npy(grid: NDArray[Any]) -> bytes:
    out = io.BytesIO()
    np.save(out, grid)
    return out.getvalue()


def npz(**columns: Any) -> bytes:
    out = io.BytesIO()
    np.savez_compressed(out, **columns)
    return out.getvalue()


def text(grid: NDArray[Any], mark: str) -> bytes:
    return "".join(mark.join(map(str, row)) + "\n" for row in grid.tolist()).encode()


WAFER_SET = npz(
    flat=np.concatenate([GRID.ravel()] * 2),
    offsets=np.array([0, GRID.size, 2 * GRID.size]),
    shapes=np.array([GRID.shape] * 2),
    lot=np.array(["L7", "L7"]),
    wafer_index=np.array([1, 2]),
)
KINDS = {
    "map.npy": npy(GRID),
    "map.npz": npz(grid=GRID),
    "comma.csv": text(GRID, ","),
    "semicolon.txt": text(GRID, ";"),
    "tab.txt": text(GRID, "\t"),
    "blank.txt": text(GRID, " "),
    "set.npz": WAFER_SET,
}


def test_every_kind_of_file_of_one_map_is_called_alike(tmp_path: Path) -> None:
    for name, data in KINDS.items():
        (tmp_path / name).write_bytes(data)
    run = wafer_tf("classify", *KINDS, cwd=tmp_path)
    assert run.returncode == 0, run.stderr.decode()
    found = records(run)
    assert [record["id"] for record in found] == [*list(KINDS)[:-1], "L7/1", "L7/2"]
    assert all(tuple(record) == KEYS and record["status"] == "ok" for record in found)
    assert len({json.dumps(record["probabilities"]) for record in found}) == 1
    assert list(found[0]["probabilities"]) == list(CLASSES)


def test_standard_input_is_judged_map_by_map() -> None:
    run = wafer_tf("classify", "-", "--bundle", "nano", stdin=KINDS["map.npy"] * 3)
    assert [record["id"] for record in records(run)] == ["stdin:0", "stdin:1", "stdin:2"]
    run = wafer_tf("classify", "-", "--bundle", "nano", stdin=text(GRID, ",") + b"\n" + text(GRID, ","))
    assert [record["status"] for record in records(run)] == ["ok", "ok"]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b"0,1,7\n1,1,1\n1,1,1\n", "7"),
        (b"\x80\x04K\x01.", "pickle"),
        (b"PAR1PAR1", "Parquet"),
        (KINDS["map.npy"][:-5], "truncated npy"),
        (KINDS["set.npz"][:-40], "zip"),
        (npy(np.full((4, 4), 1.5)), "1.5 at row 0"),
        (npy(np.ones((2, 500), np.uint8)), "500"),
    ],
)
def test_bad_input_is_a_record_with_a_reason_and_an_exit_code_where_asked(
    data: bytes, reason: str, tmp_path: Path
) -> None:
    (tmp_path / "bad").write_bytes(data)
    run = wafer_tf("classify", "bad", "--strict", "--bundle", "nano", cwd=tmp_path)
    (record,) = records(run)
    assert (run.returncode, record["status"], record["decision"]) == (4, "rejected", "rejected")
    assert reason in record["reason"]


def test_the_hot_folder_records_each_wafer_once_and_goes_on(tmp_path: Path) -> None:
    inbox = tmp_path / "in"
    inbox.mkdir()
    (inbox / "a.npy").write_bytes(KINDS["map.npy"])
    (inbox / "b.csv").write_bytes(text(GRID[::-1], ","))
    (inbox / "again.npy").write_bytes(KINDS["map.npy"])
    (inbox / "bad.csv").write_bytes(b"no map")
    flags = ["--out", "out", "--once", "--settle", "0", "--poll", "0.05", "--metrics-file", "m.prom"]
    run = wafer_tf("watch", "in", *flags, cwd=tmp_path)
    assert run.returncode == 0, run.stderr.decode()
    lines = [json.loads(line) for line in (tmp_path / "out" / "records.jsonl").read_text().splitlines()]
    assert sorted(line["decision"] == "rejected" for line in lines) == [False, False, True]
    assert len((tmp_path / "out" / "duplicates.jsonl").read_text().splitlines()) == 1
    assert (inbox / "quarantine" / "bad.csv.reason.txt").is_file()
    assert "wafer" in (tmp_path / "m.prom").read_text()
    (inbox / "later.npy").write_bytes(KINDS["map.npy"])
    assert wafer_tf("watch", "in", *flags, cwd=tmp_path).returncode == 0
    assert len((tmp_path / "out" / "records.jsonl").read_text().splitlines()) == 3


def test_the_hot_folder_runs_in_python_too(nano: Classifier, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.npy").write_bytes(KINDS["map.npy"])
    sha256 = nano.bundle.sha256
    code = watch(
        str(tmp_path / "in"),
        str(tmp_path / "out"),
        nano.judge_each,
        bundle_sha256=sha256,
        poll_s=0.05,
        settle_s=0,
        once=True,
    )
    assert code == 0
    assert from_line((tmp_path / "out" / "records.jsonl").read_text())["bundle_sha256"] == sha256


@pytest.mark.parametrize("name", NAMES)
def test_the_released_bundles_come_along_and_pass_their_self_test(name: str) -> None:
    run = wafer_tf("selftest", "--bundle", name)
    assert run.returncode == 0, run.stderr.decode()
    assert b"XNNPACK on" in run.stdout


def test_a_changed_bundle_is_refused(tmp_path: Path) -> None:
    bundle = load_bundle(NANO)
    names = ("model", "input", "output", "input_size", "decision", "golden", "features", "unknown")
    facts = {name: getattr(bundle, name) for name in names}
    write_bundle(
        str(tmp_path / "b"), **facts, xnnpack=True, passed=True, gate=bundle.gate, provenance={}, card="# Nano"
    )
    assert load_bundle(str(tmp_path / "b")).model == bundle.model
    manifest = tmp_path / "b" / MANIFEST
    manifest.write_bytes(manifest.read_bytes().replace(b"true", b"True", 1))
    with pytest.raises(ModelError, match="refused"):
        load_bundle(tmp_path / "b")
    assert wafer_tf("classify", "-", "--bundle", str(tmp_path / "b")).returncode == 3


def test_a_file_is_whole_or_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"before")
    with pytest.raises(ValueError, match="stop"), whole_file(str(path)) as out:
        out.write(b"half")
        raise ValueError("stop")
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("file", b"before")]


@settings(deadline=None, max_examples=40, derandomize=True)
@given(grid=GRIDS, mark=st.sampled_from([",", ";", "\t", " "]))
def test_a_map_reads_back_from_every_kind_of_file(grid: NDArray[np.uint8], mark: str) -> None:
    for data in (npy(grid), npy(np.asfortranarray(grid)), npz(grid=grid), text(grid, mark)):
        (found,) = find_maps(data, "map")
        np.testing.assert_array_equal(found.grid, grid)


@settings(deadline=None, max_examples=40, derandomize=True)
@given(grid=GRIDS)
def test_any_map_is_a_record_that_reads_back(grid: NDArray[np.uint8], nano: Classifier) -> None:
    (record,) = nano.judge_each(npy(grid), "map")
    assert record["status"] == "ok"
    assert sum(record["probabilities"].values()) == pytest.approx(1, abs=1e-5)
    assert from_line(to_line(record)) == record
    assert grid_sha256(grid) == grid_sha256(grid.copy(order="F"))


def test_the_command_tells_its_version_its_verbs_and_what_is_missing() -> None:
    assert wafer_tf("--version").stdout.decode() == f"wafer-tf {version('wafer-tf')}\n"
    assert b"classify" in wafer_tf("--help").stdout
    for verb in ("classify", "watch", "fit", "convert", "page"):
        run = wafer_tf(verb, "--help")
        assert run.returncode == 0, run.stderr.decode()
        assert run.stdout.startswith(f"usage: wafer-tf {verb} ".encode())
    assert b"Did you mean watch?" in wafer_tf("wach").stderr
