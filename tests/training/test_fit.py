import csv
import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests import ROOT
from tests.conftest import SMALL_RUN
from training import train as trainer
from training.config import FitConfig, class_weights
from training.fit import config_of, main
from training.progress import MacroF1, Progress
from training.runtime import prepare
from training.train import fill_classes
from wafer_tf.decision.fitting import macro_f1
from wafer_tf.dies import NONE
from wafer_tf.errors import InputError, ModelError
from wafer_tf.learning.models import ModelConfig
from wafer_tf.learning.run_folder import READ_AGAIN, RunFolder
from wafer_tf.synthesis import synthesize
from wafer_tf.synthesis.clean import MAX_RATE, clean_wafers
from wafer_tf.waferset import WaferSet

EXPECTED = {
    "DONE",
    "config.json",
    "split.npz",
    "class_weights.json",
    "history.csv",
    "model.keras",
    "decision.json",
    "logits.npz",
    "seen.npz",
    "operating.txt",
    "operating.json",
    "report.txt",
    "report.json",
    "model_card.md",
    "figures",
    "checkpoints",
    "tensorboard",
    "unknown.keras",
    "unknown.npz",
    "unknown.txt",
    "unknown.json",
}


def _weights(run: Path) -> list[np.ndarray]:
    return keras.saving.load_model(run / "model.keras", compile=False).get_weights()


def _history(run: Path) -> list[dict[str, str]]:
    with (run / "history.csv").open() as rows:
        return [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(rows)]


def test_a_finished_run_holds_everything_its_folder_promises(small_run: Path) -> None:
    assert {p.name for p in small_run.iterdir()} == EXPECTED
    assert len(_history(small_run)) == 3
    assert any((small_run / "tensorboard").iterdir())
    facts = json.loads((small_run / "report.json").read_text())["facts"]
    assert sum(facts["split_sizes"].values()) == 144


def test_a_run_killed_after_its_first_epoch_resumes_to_the_same_model(small_run: Path, tmp_path: Path) -> None:
    run = tmp_path / "killed"
    process = subprocess.Popen(
        [sys.executable, "-m", "training.fit", *SMALL_RUN, "--out", str(run)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=ROOT,
    )
    deadline = time.monotonic() + 240
    while not (run / "checkpoints" / "state.json").exists():
        assert process.poll() is None, "the run ended before its first epoch did"
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not (run / "DONE").exists()
    assert main(["--resume", str(run)]) == 0
    assert _history(run) == _history(small_run)
    for a, b in zip(_weights(run), _weights(small_run), strict=True):
        np.testing.assert_array_equal(a, b)
    for name in ("split.npz", "decision.json"):
        assert (run / name).read_bytes() == (small_run / name).read_bytes()


def test_a_full_disk_ends_a_run_with_the_command_that_goes_on_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fill(config: FitConfig, run: RunFolder, **_: object) -> None:
        (run.path / "split.npz").touch()
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("training.job.execute", fill)
    run = tmp_path / "run"
    assert main([*SMALL_RUN, "--out", str(run)]) == 4
    said = capsys.readouterr().err
    assert f"go on with: python -m training.fit --resume {run}" in said
    assert "error: No space left on device" in said
    assert (run / "config.json").exists()


def test_a_finished_run_is_not_run_again(small_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (small_run / "model.keras").stat().st_mtime_ns
    assert main(["--resume", str(small_run)]) == 0
    assert "already finished" in capsys.readouterr().err
    assert (small_run / "model.keras").stat().st_mtime_ns == before


def test_an_existing_run_folder_is_left_alone(small_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--out", str(small_run)]) == 2
    assert "already exists" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "code", "says"),
    [
        (["--data", "missing.pkl"], 4, "no such file"),
        (["--class-weights", "cubic"], 2, "expected one of none, sqrt, balanced"),
        (["--precision", "int8"], 2, "expected one of float32"),
        (["--epochs", "0"], 2, "expected at least 1"),
        (["--require-gpu"], 2, "TensorFlow sees no GPU"),
        (["--limit-per-class", "0"], 2, "expected at least 1"),
        (["--seed", str(2**40)], 2, "expected 0 to 4294967295"),
        (["--turn-prob", "7"], 2, "expected 0 to 1"),
        (["--weight-decay", "nan"], 2, "0 to below 1"),
        (["--resume", "missing"], 3, "expected a folder that training.fit made"),
        (["--resume", "missing", "--epochs", "3"], 2, "give no other flag"),
        (["--backbone-weights", "missing", "--out", "OUT"], 3, "no such file or folder"),
    ],
)
def test_a_wrong_call_ends_with_one_clear_line_and_its_exit_code(
    flags: list[str],
    code: int,
    says: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(flags) == code
    err = capsys.readouterr().err
    assert says in err
    assert "Traceback" not in err
    assert not list(tmp_path.iterdir()), "a folder was left in the way of the next try"


@pytest.mark.parametrize(
    ("names", "says"),
    [(["Center"], "class"), ([], "label")],
)
def test_data_that_cannot_be_learned_from_is_refused(
    names: list[str], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from wafer_tf.readers import write_parquet
    from wafer_tf.waferset import WaferSet

    made = synthesize(dict.fromkeys(names, 6) or {"none": 6}, seed=0).wafers
    if not names:
        made = WaferSet.from_maps([made.map(i) for i in range(6)], label=[-1] * 6)
    write_parquet(made, tmp_path / "maps.parquet")
    assert main(["--data", str(tmp_path / "maps.parquet"), "--out", str(tmp_path / "run")]) == 4
    assert says in capsys.readouterr().err
    assert not (tmp_path / "run" / "DONE").exists()


def test_two_classes_only_train_and_report_what_is_absent(tmp_path: Path) -> None:
    from wafer_tf.readers import write_parquet

    write_parquet(synthesize({"Center": 20, "none": 20}, seed=0).wafers, tmp_path / "two.parquet")
    flags = [
        "--model",
        "baseline",
        "--width",
        "4",
        "--input-size",
        "32",
        "--epochs",
        "1",
        "--class-weights",
        "balanced",
    ]
    assert main(["--data", str(tmp_path / "two.parquet"), "--out", str(tmp_path / "run"), *flags]) == 0
    scores = json.loads((tmp_path / "run" / "report.json").read_text())["scores"]
    assert len(scores["absent"]) == 7


def test_class_weights_are_dense_and_average_to_one_over_the_training_maps() -> None:
    label = np.repeat([0, 1, 8], [100, 25, 400])
    for scheme, ratio in (("none", 1), ("sqrt", 2), ("balanced", 4)):
        weights = class_weights(scheme, label)
        assert list(weights) == list(range(9))
        assert weights[1] / weights[0] == pytest.approx(ratio)
        assert np.mean([weights[c] for c in label]) == pytest.approx(1)
        assert weights[5] == 0


def test_the_macro_f1_metric_equals_the_scores_even_with_absent_classes() -> None:
    rng = np.random.default_rng(0)
    label, logits = rng.integers(0, 5, 300), rng.normal(size=(300, 9))
    metric = MacroF1()
    for part in np.array_split(np.arange(300), 4):
        metric.update_state(np.eye(9, dtype=np.float32)[label[part]], logits[part])
    assert float(metric.result()) == pytest.approx(macro_f1(label, logits.argmax(1)), abs=1e-6)


def test_early_stopping_needs_nothing_but_the_history(tmp_path: Path) -> None:
    run = RunFolder.create(tmp_path / "run")
    progress = Progress(run, patience=2)
    for value, stop in ((0.5, False), (0.6, False), (0.6, False), (0.55, True)):
        progress.history.append({"val_macro_f1": value})
        assert progress.exhausted is stop
    assert progress.best_epoch == 1


STATE = {
    "history": [{"val_macro_f1": 0.5, "seconds": 1.0}],
    "last": "l.keras",
    "best": "b.npz",
    "random": [],
    "sha256": {},
}


@pytest.mark.parametrize(
    ("state", "says"),
    [
        ([], "holds no training state"),
        ({}, "holds no training state"),
        ({**STATE, "history": []}, "no epoch"),
        ({**STATE, "history": [{"val_macro_f1": "high", "seconds": 1.0}]}, "holds no training state"),
        ({**STATE, "last": None}, "holds no training state"),
        ({**STATE, "random": 5}, "holds no training state"),
        (STATE, "names l.keras, which is missing"),
    ],
)
def test_a_damaged_training_state_is_refused_with_the_way_to_go_on(state: object, says: str, tmp_path: Path) -> None:
    run = RunFolder.create(tmp_path / "run")
    run.write_json("checkpoints/state.json", state)
    with pytest.raises(ModelError, match=rf"state\.json: .*{says}.*Delete .*state\.json to train again"):
        Progress(run, patience=2)


def _one_epoch(folder: Path) -> tuple[RunFolder, keras.Model]:
    """Let a model of one layer be kept after an epoch."""
    run = RunFolder.create(folder)
    for name in ("config.json", "split.npz"):
        (run.path / name).write_text(f"what {name} holds")
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile("adam", "mse")
    progress = Progress(run, patience=2)
    progress.set_model(model)
    progress.on_train_begin()
    progress.on_epoch_begin(0)
    progress.on_epoch_end(0, {"val_macro_f1": 0.5})
    return run, model


def test_every_flipped_bit_of_a_checkpoint_is_found(tmp_path: Path) -> None:
    run, _ = _one_epoch(tmp_path / "run")
    rng = np.random.default_rng(0)
    for path in [*sorted((run.path / "checkpoints").iterdir()), run.path / "config.json", run.path / "split.npz"]:
        whole = path.read_bytes()
        for place in rng.integers(8 * len(whole), size=60).tolist():
            changed = bytearray(whole)
            changed[place // 8] ^= 1 << place % 8
            path.write_bytes(changed)
            with pytest.raises(ModelError, match=r"is not what the run wrote|holds no|is missing|JSON|no epoch"):
                Progress(run, patience=2)
        path.write_bytes(whole)
    Progress(run, patience=2)


def test_the_best_weights_come_back_as_they_were(tmp_path: Path) -> None:
    run, model = _one_epoch(tmp_path / "run")
    other = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    Progress(run, patience=2).load_best(other)
    for kept, back in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(kept, back)


def test_a_full_disk_is_an_error_and_no_crash_and_leaves_the_epoch_before(tmp_path: Path) -> None:
    """Where a file may not grow, as on a full disk, HDF5 ended the process with SIGSEGV."""
    import resource

    run, model = _one_epoch(tmp_path / "run")
    progress = Progress(run, patience=2)
    progress.set_model(model)
    progress.on_epoch_begin(1)
    progress.board = tf.summary.create_noop_writer()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (400, hard))
    try:
        with pytest.raises(OSError, match="File too large"):
            progress.on_epoch_end(1, {"val_macro_f1": 0.6})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert len(Progress(run, patience=2).history) == 1


def test_a_finished_run_of_which_a_bit_is_flipped_is_refused(tmp_path: Path) -> None:
    run = RunFolder.create(tmp_path / "run")
    run.write_json("config.json", {"config": {}})
    run.write_json("decision.json", {"bias": [0.0] * 9})
    run.finish()
    RunFolder.open(run.path)
    for name in ("config.json", "decision.json", "DONE"):
        whole = (run.path / name).read_bytes()
        for place in range(0, 8 * len(whole), 7):
            changed = bytearray(whole)
            changed[place // 8] ^= 1 << place % 8
            (run.path / name).write_bytes(changed)
            with pytest.raises(ModelError, match=r"is not what the run wrote|DONE is damaged"):
                RunFolder.open(run.path)
        (run.path / name).write_bytes(whole)
    (run.path / "DONE").write_text("")  # of a run before there were sums
    RunFolder.open(run.path)


def test_what_a_finished_run_rests_on_cannot_be_gone_unseen(tmp_path: Path) -> None:
    run = RunFolder.create(tmp_path / "run")
    for name in READ_AGAIN:
        (run.path / name).write_text(name)
    run.finish()
    sums = (run.path / "DONE").read_text().splitlines(keepends=True)
    for gone in range(len(sums)):
        (run.path / "DONE").write_text("".join([*sums[:gone], *sums[gone + 1 :]]))
        with pytest.raises(ModelError, match=f"DONE is damaged: it says nothing of {READ_AGAIN[gone]}"):
            RunFolder.open(run.path)
    (run.path / "DONE").write_text("".join(sums))
    for name in ("split.npz", "logits.npz"):  # the wheel's models are without them
        (run.path / name).unlink()
        RunFolder.open(run.path)
    (run.path / "seen.npz").unlink()
    with pytest.raises(ModelError, match=r"seen\.npz is missing"):
        RunFolder.open(run.path)


def test_a_split_that_cannot_be_made_leaves_no_folder_in_the_way(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from wafer_tf.readers import write_parquet
    from wafer_tf.waferset import WaferSet

    made = synthesize({"Center": 1, "none": 5}, seed=0).wafers
    maps = [made.map(i) for i in range(6)]
    write_parquet(WaferSet.from_maps(maps, label=made.label, lot=["one lot"] * 6), tmp_path / "maps.parquet")
    assert main(["--data", str(tmp_path / "maps.parquet"), "--out", str(tmp_path / "run")]) == 4
    assert "in 1 groups leaves none for the validation part" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_the_configuration_goes_to_json_and_back_and_refuses_unknown_keys() -> None:
    config = FitConfig(data="maps.npz", model=ModelConfig(width=32), class_weights="balanced")
    data = json.loads(json.dumps(config.to_json()))
    assert FitConfig.from_json(data) == config
    with pytest.raises(InputError, match="unknown key 'learning_speed'"):
        FitConfig.from_json({**data, "learning_speed": 1})
    with pytest.raises(InputError, match=r"run configuration\.epochs: '9'; expected int"):
        FitConfig.from_json({**data, "epochs": "9"})


def test_rare_classes_are_filled_with_synthetic_maps_on_the_users_die_grids() -> None:
    training = synthesize({"Center": 12, "none": 3}, seed=0).wafers
    filled = fill_classes(training, 10, seed=0)
    assert filled.class_counts().tolist() == [12, 10, 10, 10, 10, 10, 10, 10, 10]
    masks = {(training.map(i) != 0).tobytes() for i in range(len(training))}
    assert all((filled.map(i) != 0).tobytes() in masks for i in range(len(filled)))


def test_clean_wafers_are_none_maps_with_few_failing_dies_on_grids_of_many_sizes() -> None:
    training = synthesize({"Scratch": 12, "Donut": 3}, seed=0).wafers
    clean = clean_wafers(training, 60, seed=4)
    assert (clean.label == NONE).all()
    ratio = clean.shapes.max(axis=1) / training.shapes.max()
    assert ratio.max() < 2.1
    assert len(np.unique(clean.shapes, axis=0)) > 30
    failing = np.array([(clean.map(i) == 2).sum() / (clean.map(i) != 0).sum() for i in range(len(clean))])
    assert failing.max() < 2 * MAX_RATE
    assert 0.1 < (failing == 0).mean() < 0.5  # a rate of one die may leave none as well
    assert np.array_equal(clean.flat, clean_wafers(training, 60, seed=4).flat)


def test_a_run_learns_clean_wafers_as_none_whatever_its_teachers_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, Any] = {}

    def stop(training: WaferSet, *_: Any, target: Any, **__: Any) -> None:
        seen.update(training=training, target=target)
        raise InterruptedError

    monkeypatch.setattr(trainer, "training_batches", stop)
    training = synthesize({"Center": 12, "none": 8}, seed=0).wafers
    config = config_of([*SMALL_RUN, "--clean-wafers", "0.25"])
    answers = np.full((20, 9), 1 / 9, np.float32)
    run, strategy = RunFolder.create(tmp_path / "run"), prepare(seed=0, precision="float32", require_gpu=False)
    with pytest.raises(InterruptedError):
        trainer.train(config, run, training=training, validation=training, target=answers, strategy=strategy)
    assert len(seen["training"]) == len(seen["target"]) == 25
    assert (seen["target"][:20] == answers).all()
    assert seen["target"][20:].argmax(axis=1).tolist() == [NONE] * 5
    assert (seen["target"][20:].max(axis=1) == 1).all()


def test_mixed_precision_and_two_devices_train_one_step_with_float32_logits(tmp_path: Path) -> None:
    """Run apart, because virtual devices and the precision policy hold for a whole process."""
    code = """
import numpy as np
from pathlib import Path
from training.runtime import prepare
from wafer_tf.learning.quiet import quiet_tensorflow
quiet_tensorflow()
import tensorflow as tf, keras
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
strategy = prepare(seed=0, precision="mixed_float16", require_gpu=False, devices=["CPU:0", "CPU:1"])
assert strategy.num_replicas_in_sync == 2
from training.config import FitConfig
from training.train import train
from wafer_tf.learning.models import ModelConfig
from wafer_tf.learning.run_folder import RunFolder
from wafer_tf.synthesis import synthesize
config = FitConfig(epochs=2, batch_size=18, precision="mixed_float16",
                   model=ModelConfig(architecture="baseline", width=4, input_size=32))
made = synthesize(4, seed=0).wafers
model, progress = train(config, RunFolder.create(Path("run")), training=made, validation=made, strategy=strategy)
assert model.get_layer("stage0_conv0").compute_dtype == "float16"
assert model.output.dtype == "float32"
assert model.get_layer("stage0_conv0").kernel.dtype == "float32"
assert all(np.isfinite(row["loss"]) for row in progress.history) and len(progress.history) == 2
"""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]


def test_a_full_disk_ends_with_one_line_and_nothing_that_looks_whole(tmp_path: Path) -> None:
    """The disk is made full by a limit on the size of any one file."""
    code = f"""
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, 30_000))
from training.fit import main
raise SystemExit(main({[*SMALL_RUN, "--out", "run"]!r}))
"""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 4, done.stderr[-2000:]
    assert "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith("error: ")
    assert not (tmp_path / "run" / "DONE").exists()
    assert not (tmp_path / "run" / "model.keras").exists()


def test_memory_growth_is_asked_for_on_every_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    from training.runtime import prepare

    grown = []
    gpus = [tf.config.PhysicalDevice(f"/physical_device:GPU:{i}", "GPU") for i in range(2)]
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind=None: gpus)
    monkeypatch.setattr(tf.config.experimental, "set_memory_growth", lambda gpu, on: grown.append((gpu, on)))
    monkeypatch.setattr(tf.distribute, "MirroredStrategy", lambda names: tuple(names))
    assert prepare(seed=0, precision="float32", require_gpu=True) == ("GPU:0", "GPU:1")
    assert grown == [(gpus[0], True), (gpus[1], True)]


@pytest.mark.parametrize("command", ["training.fit", "training.evaluate", "wafer_tf.readers"])
def test_help_shows_an_example_without_importing_tensorflow(command: str) -> None:
    code = (
        f"import sys, runpy; sys.argv = [{command!r}, '--help']\n"
        f"try: runpy.run_module({command!r}, run_name='__main__')\n"
        "except SystemExit as end: assert not end.code\n"
        "assert not {'tensorflow', 'keras', 'matplotlib', 'pandas', 'sklearn'} & set(sys.modules), 'heavy import'"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert f"python -m {command}" in done.stdout.split("example", 1)[1]
