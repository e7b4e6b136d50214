import hashlib
import shutil
from pathlib import Path

import pytest

from training import release
from training.fit import config_of
from training.release import KEPT, MAX_BYTES, SUMS, TRAININGS, main, publish
from wafer_tf.errors import ModelError
from wafer_tf.released import NAMES, released

MODELS = released().parent


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A folder with what is released of a run, and more."""
    folder = tmp_path / "run"
    for name in KEPT:
        path = folder / name / "bundle.json" if name == "bundle" else folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"contents of {name}")
    (folder / "figures" / "errors.png").write_text("a picture of real maps")
    (folder / "checkpoints").mkdir()
    return folder


def _sums(folder: Path) -> dict[str, str]:
    return {name: digest for digest, name in (line.split("  ") for line in (folder / SUMS).read_text().splitlines())}


def _files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_what_is_published_is_the_kept_files_and_their_sums_in_place_of_what_was_there(
    run: Path, tmp_path: Path
) -> None:
    out = tmp_path / "models" / "wafer"
    out.mkdir(parents=True)
    (out / "old.txt").write_text("of the last release")
    publish(run, out)
    assert _files(out) == {"bundle/bundle.json" if name == "bundle" else name for name in KEPT} | {SUMS}
    for name, digest in _sums(out).items():
        assert hashlib.sha256((out / name).read_bytes()).hexdigest() == digest
    assert set(_sums(out)) == _files(out) - {SUMS}


def test_a_run_that_lacks_a_file_or_is_too_large_leaves_the_last_release_alone(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "models" / "wafer"
    publish(run, out)
    before = _sums(out)
    (run / "model.keras").write_bytes(bytes(MAX_BYTES))
    with pytest.raises(ModelError, match=r"to release; expected at most 10,000,000"):
        publish(run, out)
    (run / "model.keras").unlink()
    with pytest.raises(ModelError, match=r"model\.keras is missing"):
        publish(run, out)
    assert _sums(out) == before
    assert [path.name for path in out.parent.iterdir()] == ["wafer"]


def test_a_step_that_fails_ends_the_release_with_its_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = str(tmp_path / "missing.npz")
    code = main(["--data", missing, "--work", str(tmp_path / "work")])
    assert code == 3
    assert "python -m wafer_tf.readers ended with exit code 4" in capsys.readouterr().err


def test_finished_steps_are_not_done_again(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    work = tmp_path / "work"
    for name in NAMES:
        shutil.copytree(run, work / name)
    (work / "wafers.parquet").touch()
    monkeypatch.setattr(release, "_call", lambda *call: pytest.fail(f"called {call}"))
    paths = ["--data", "maps", "more", "--work", str(work), "--out", str(tmp_path / "out")]
    assert main(paths) == 0
    assert "wafer: finished before" in capsys.readouterr().err
    assert all((tmp_path / "out" / name / SUMS).exists() for name in NAMES)


def test_the_models_are_judged_out_of_fold_and_start_from_no_release() -> None:
    configs = {name: config_of(flags) for name, flags in TRAININGS.items()}
    assert set(configs) == set(NAMES)
    assert {(c.folds, c.seed, c.backbone_weights, c.teachers) for c in configs.values()} == {(3, 0, "none", ())}


@pytest.mark.parametrize("name", NAMES)
def test_a_released_model_is_whole_and_holds_no_picture_of_real_maps(name: str) -> None:
    sums = _sums(MODELS / name)
    for file, digest in sums.items():
        assert hashlib.sha256((MODELS / name / file).read_bytes()).hexdigest() == digest, file
    assert not {"figures/errors.png", "figures/explain.png"} & set(sums)


def test_the_released_models_are_small() -> None:
    files = [MODELS / name / file for name in NAMES for file in (SUMS, *_sums(MODELS / name))]
    assert sum(path.stat().st_size for path in files) <= 13_500_000
    assert (MODELS / "nano" / "bundle" / "model_int8.tflite").stat().st_size <= 160_000
