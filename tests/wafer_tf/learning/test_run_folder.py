"""A run folder that is damaged, shared or in the way."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from wafer_tf.errors import ModelError, UsageError
from wafer_tf.learning.run_folder import RunFolder


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    made = RunFolder.create(tmp_path / "run")
    made.write_json("config.json", {})
    return made


@pytest.mark.parametrize(
    "content", ["[]", "5", "{}", '{"bias": 3, "temperature": 1}', '{"bias": [0], "temperature": "warm"}', "[" * 100_000]
)
def test_a_damaged_decision_is_named(content: str, run: RunFolder) -> None:
    (run.path / "decision.json").write_text(content)
    with pytest.raises(ModelError, match=r"run folder .*run: decision\.json"):
        run.decision()


@pytest.mark.parametrize("content", [b"", b"not an archive", b"PK\x03\x04", b"\x80\x02cos\nsystem\n."])
def test_a_damaged_array_file_is_named(content: bytes, run: RunFolder) -> None:
    run.write_arrays("seen.npz", {"fingerprints": np.arange(3)})
    np.testing.assert_array_equal(run.read_array("seen.npz", "fingerprints"), np.arange(3))
    with pytest.raises(ModelError, match=r"seen\.npz holds no whole array other"):
        run.read_array("seen.npz", "other")
    (run.path / "seen.npz").write_bytes(content)
    with pytest.raises(ModelError, match=r"seen\.npz holds no whole array fingerprints"):
        run.read_array("seen.npz", "fingerprints")
    (run.path / "seen.npz").unlink()
    with pytest.raises(ModelError, match=r"seen\.npz is missing"):
        run.read_array("seen.npz", "fingerprints")


def test_two_processes_do_not_train_in_one_folder(run: RunFolder) -> None:
    code = f"""
import fcntl
with open({str(run.path / "config.json")!r}, "rb") as file:
    fcntl.flock(file, fcntl.LOCK_EX)
    print("held", flush=True)
    input()
"""
    other = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert other.stdout is not None
    assert other.stdout.readline() == "held\n"
    with pytest.raises(UsageError, match="another process is training in it"), run.locked():
        pass
    other.kill()
    other.communicate()
    with run.locked():
        pass


def test_a_run_folder_below_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UsageError, match="run folder"):
        RunFolder.create(tmp_path / "file")
    with pytest.raises(UsageError, match="run folder"):
        RunFolder.create(tmp_path / "file" / "run")
    assert (tmp_path / "file").read_text() == "mine"
