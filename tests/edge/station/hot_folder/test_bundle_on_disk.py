"""A bundle that is replaced while a station is running: it is said, and taken where that is asked for."""

import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from edge.station.hot_folder.bundle_on_disk import BundleOnDisk
from edge.station.hot_folder.status import Status
from tests import ROOT
from tests.hot_folder import judge, lines, names, once, sha256, wait_for
from tests.station import npy, synthetic
from wafer_tf.errors import ModelError
from wafer_tf.released import released

Said = Callable[[], list[str]]
OLD, NEW, OTHER = b'{"old"}', b'{"new"}', b'{"other"}'


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Said:
    """What was said since the last call, without the times."""
    return lambda: [line[20:] for line in capsys.readouterr().err.splitlines()]


@pytest.fixture
def status() -> Status:
    """Of a station that judges with the bundle OLD; what fails is tried again at once."""
    return Status(sha256(OLD), metrics_file=None, report_s=60, first_retry_s=0.0)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A bundle's folder, with OLD in it."""
    path = tmp_path / "bundle"
    path.mkdir()
    (path / "bundle.json").write_bytes(OLD)
    return path


def _gauge(status: Status) -> int:
    (line,) = [x for x in status.counts.text(waiting=0, faults=[]).splitlines() if x.startswith("wafer_tf_bundle_repl")]
    return int(line.split()[-1])


def test_without_reload_a_replaced_bundle_is_said_once_and_counted_until_it_is_back(
    folder: Path, status: Status, said: Said
) -> None:
    bundle = BundleOnDisk(folder)
    for content, words, gauge in (
        (OLD, [], 0),
        (NEW, [f"was replaced on disk by {sha256(NEW)[:12]}; without --reload {sha256(OLD)[:12]}"], 1),
        (None, [f"was replaced on disk by none that can be read; without --reload {sha256(OLD)[:12]}"], 1),
        (OLD, [], 0),
    ):
        if content is None:
            (folder / "bundle.json").unlink()
        elif gauge or not (folder / "bundle.json").exists():
            (folder / "bundle.json").write_bytes(content)
        for expected in (words, []):
            bundle.look(status)
            assert [line.partition(": ")[2] for line in said()] == [
                f"{word} judges until a restart" for word in expected
            ]
        assert _gauge(status) == gauge
    assert not len(status.faults)
    assert status.counts.bundle_sha256 == sha256(OLD)


def test_a_new_bundle_that_passes_is_taken_and_one_that_fails_is_not(folder: Path, status: Status, said: Said) -> None:
    def reload() -> str:
        content = (folder / "bundle.json").read_bytes()
        if content == OTHER:
            raise ModelError("bundle: refused: golden map 3.")
        return sha256(content)

    bundle = BundleOnDisk(folder, reload=reload)
    bundle.look(status)
    (folder / "bundle.json").write_bytes(OTHER)
    bundle.look(status)
    assert said() == [
        f"bundle {folder}: {sha256(OTHER)[:12]} on disk is not taken; {sha256(OLD)[:12]} goes on judging",
        "bundle: bundle: refused: golden map 3.; it is tried again until it works",
    ]
    bundle.look(status)
    assert (status.counts.bundle_sha256, status.counts.errors["bundle"], _gauge(status)) == (sha256(OLD), 2, 1)
    (folder / "bundle.json").write_bytes(NEW)
    bundle.look(status)
    assert said() == [
        "bundle: works again after 0 s",
        f"bundle {folder}: {sha256(NEW)[:12]} passed its self-test and judges from now on, {sha256(OLD)[:12]} no more",
    ]
    assert (status.counts.bundle_sha256, status.counts.bundle_reloads, _gauge(status)) == (sha256(NEW), 1, 0)
    assert not len(status.faults)


def test_a_fault_of_the_new_bundle_stops_nothing(folder: Path, status: Status, inbox: Path, out: Path) -> None:
    def reload() -> str:
        raise RuntimeError("no interpreter")

    (folder / "bundle.json").write_bytes(NEW)
    (inbox / "w").write_bytes(b"1")
    once(inbox, out, judge, bundle=BundleOnDisk(folder, reload=reload), bundle_sha256=sha256(OLD))
    assert len(lines(out / "records.jsonl")) == 1


@contextmanager
def _station(inbox: Path, out: Path, bundle: Path, stderr: Path, *flags: str) -> Iterator[None]:
    command = [sys.executable, "-m", "edge.station", "watch", inbox, "--out", out, "--bundle", bundle, *flags]
    with stderr.open("w") as file:
        station = subprocess.Popen(
            [*map(str, command), "--poll", "0.05", "--settle", "0.05"], cwd=ROOT, stderr=file, text=True
        )
        try:
            yield
        finally:
            station.terminate()
            assert station.wait() == 0


def _replace(bundle: Path, source: Path) -> None:
    shutil.rmtree(bundle)
    shutil.copytree(source, bundle)


def test_records_bear_the_hash_of_the_bundle_that_judged_them_before_and_after_a_reload(
    inbox: Path, out: Path, tmp_path: Path
) -> None:
    bundle, stderr, metrics = tmp_path / "bundle", tmp_path / "stderr", tmp_path / "metrics"
    nano, wafer = (released(name) / "bundle" for name in ("nano", "wafer"))
    shutil.copytree(nano, bundle)
    forged = tmp_path / "forged"
    shutil.copytree(nano, forged)
    manifest = json.loads((forged / "bundle.json").read_text())
    (forged / "bundle.json").write_text(json.dumps(manifest | {"passed": False}))
    maps = iter(synthetic(1))

    def judged_by(name: str) -> str:
        (inbox / "w.tmp").write_bytes(npy(next(maps)))
        (inbox / "w.tmp").rename(inbox / name)
        wait_for(lambda: name in names(inbox / "done"), name)
        (record,) = [line for line in lines(out / "records.jsonl", running=True) if line["id"] == name]
        return str(record["bundle_sha256"])

    hashes = {path: hashlib.sha256((path / "bundle.json").read_bytes()).hexdigest() for path in (nano, wafer)}
    with _station(inbox, out, bundle, stderr, "--reload", "--metrics-file", str(metrics)):
        assert judged_by("w1") == hashes[nano]
        _replace(bundle, wafer)
        wait_for(lambda: "passed its self-test and judges from now on" in stderr.read_text(), "the new bundle")
        assert judged_by("w2") == hashes[wafer]
        _replace(bundle, forged)
        wait_for(lambda: f"{hashes[wafer][:12]} goes on judging" in stderr.read_text(), "the refusal")
        assert judged_by("w3") == hashes[wafer]
    text = metrics.read_text()
    assert f'wafer_tf_info{{bundle_sha256="{hashes[wafer]}"}} 1' in text
    assert "wafer_tf_bundle_reloads_total 1\n" in text
    assert "wafer_tf_bundle_replaced 1\n" in text
    assert 'wafer_tf_fault{kind="bundle"} 1\n' in text
