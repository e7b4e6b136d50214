"""Two processes on this machine train one model; slow beside most tests, so each run of theirs serves several."""

import csv
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests import ROOT
from tests.conftest import SMALL_RUN
from training.fit import main
from training.progress import MacroF1
from training.workers import _sums_of, figures
from wafer_tf.dies import CLASSES
from wafer_tf.learning.run_folder import RunFolder

FLAGS = [*SMALL_RUN, "--epochs", "2", "--dropout", "0", "--weight-average", "0.9", "--learning-rate", "0.001"]
PATIENCE_S = 500
DIES_IN_EPOCH_2 = """
import os, signal, sys
from training.announce import Announcer
def die(self, batch, logs=None):
    if self._progress.history:
        os.kill(os.getpid(), signal.SIGKILL)
Announcer.on_train_batch_end = die
from training.fit import main
main(sys.argv[1:])
"""
CLOSE, LATER = 1e-4, 1e-2
"""Sums over maps are taken in another order, and Adam makes much of rounding. At ten times this learning rate losses
were 5e-5 apart after the first epoch and 1.1e-3 after the second; of one process with its variances rounded otherwise
6e-5 and 4e-4."""


def _start(flags: list[str], *, second: tuple[str, ...] = ("-m", "training.fit")) -> "list[subprocess.Popen[str]]":
    """Start two processes; say what runs as the second."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
    workers = [f"127.0.0.1:{each.getsockname()[1]}" for each in sockets]
    for each in sockets:
        each.close()
    processes = []
    for index, words in enumerate((("-m", "training.fit"), second)):
        config = {"cluster": {"worker": workers}, "task": {"type": "worker", "index": index}}
        environment = os.environ | {"TF_CONFIG": json.dumps(config), "CUDA_VISIBLE_DEVICES": "-1"}
        if second == words and words[0] == "-c":
            environment.pop("TF_NUM_INTEROP_THREADS", None)  # imports TensorFlow before the command can
        processes.append(
            subprocess.Popen(
                [sys.executable, *words, *flags], env=environment, cwd=ROOT, stderr=subprocess.PIPE, text=True
            )
        )
    return processes


def _end(processes: "list[subprocess.Popen[str]]") -> list[tuple[int, str]]:
    """Return exit code and stderr of each."""
    try:
        said = [each.communicate(timeout=PATIENCE_S)[1] for each in processes]
    finally:
        for each in processes:
            each.kill()
    return [(each.returncode, text) for each, text in zip(processes, said, strict=True)]


def _history(run: Path) -> list[dict[str, float]]:
    with (run / "history.csv").open() as rows:
        return [{k: float(v) for k, v in row.items() if k != "seconds"} for row in csv.DictReader(rows)]


@pytest.fixture(scope="module")
def joint_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a run that two processes have trained."""
    path = tmp_path_factory.mktemp("joint") / "run"
    for code, said in _end(_start([*FLAGS, "--out", str(path)])):
        assert code == 0, said
    return path


def test_two_processes_learn_what_one_does(joint_run: Path, tmp_path: Path) -> None:
    alone = tmp_path / "alone"
    assert main([*FLAGS, "--out", str(alone)]) == 0
    assert {p.name for p in joint_run.iterdir()} == {p.name for p in alone.iterdir()}
    assert (joint_run / "split.npz").read_bytes() == (alone / "split.npz").read_bytes()
    ours, theirs = _history(joint_run), _history(alone)
    assert ours[0] == pytest.approx(theirs[0], abs=CLOSE)
    for name in ("loss", "val_loss"):
        assert ours[1][name] == pytest.approx(theirs[1][name], abs=LATER)


def test_when_one_process_is_killed_all_end_and_resumed_they_end_where_they_would_have(
    joint_run: Path, tmp_path: Path
) -> None:
    run = tmp_path / "killed"
    (code, said), (killed, _) = _end(_start([*FLAGS, "--out", str(run)], second=("-c", DIES_IN_EPOCH_2)))
    assert killed == -9
    assert code == 4, said
    assert "another of the processes that train together has ended" in said
    assert f"go on with: python -m training.fit --resume {run}" in said
    assert len(_history(run)) == 1
    for code, said in _end(_start(["--resume", str(run)])):
        assert code == 0, said
    assert _history(run) == _history(joint_run)
    first, second = (RunFolder.open(path).model() for path in (run, joint_run))
    for a, b in zip(first.get_weights(), second.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_processes_that_were_not_started_alike_say_so_and_leave_nothing(tmp_path: Path) -> None:
    run = tmp_path / "run"
    code = "import sys; from training.fit import main; sys.exit(main([*sys.argv[1:], '--seed', '7']))"
    for code_found, said in _end(_start([*FLAGS, "--out", str(run)], second=("-c", code))):
        assert code_found == 2
        assert "error: the flags: not the same in all processes" in said
    assert not run.exists()


def test_figures_are_those_of_keras_metrics() -> None:
    rng = np.random.default_rng(0)
    output = rng.normal(size=(40, len(CLASSES))).astype(np.float32)
    target = np.eye(len(CLASSES), dtype=np.float32)[rng.integers(0, 5, 40)] * 0.9 + 0.1 / len(CLASSES)
    loss = keras.losses.CategoricalCrossentropy(from_logits=True)
    found = figures(
        np.asarray(_sums_of(tf.constant(target), tf.constant(output), loss.call(target, output)), np.float64)
    )
    metrics = {"accuracy": keras.metrics.CategoricalAccuracy(), "macro_f1": MacroF1()}
    for name, metric in metrics.items():
        metric.update_state(target, output)
        assert found[name] == pytest.approx(float(metric.result()), abs=1e-6), name
    assert found["loss"] == pytest.approx(float(loss(target, output)), abs=1e-6)
