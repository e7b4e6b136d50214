"""A station accepts a bundle only if it is exactly what the gate passed."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from benchmarks.corrupt_bundles import CHANGES, corrupted, read_files, refusal, write_files
from edge.station.classifier import Classifier
from tests.station import int8_model, make_bundle, npy, station
from wafer_tf.bundle import CARD, GOLDEN, MANIFEST, SEAL, Golden, load_bundle
from wafer_tf.decision import Decision
from wafer_tf.encoding import encode
from wafer_tf.errors import ModelError, UsageError
from wafer_tf.inference.interpreter import TfliteModel


@pytest.fixture(scope="module")
def foreign_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a bundle of another model of the same architecture."""
    return make_bundle(tmp_path_factory.mktemp("bundles") / "foreign", int8_model(seed=1))


def test_a_bundle_read_back_is_what_was_written(bundle_path: Path) -> None:
    bundle = load_bundle(bundle_path)
    classifier = Classifier(bundle)
    assert (bundle.input, bundle.output) == (classifier.tflite.input, classifier.tflite.output)
    assert classifier.golden_lsb == 0
    assert classifier.xnnpack
    seal = (bundle_path / SEAL).read_text()
    assert seal == f"{bundle.sha256}  {MANIFEST}\n"
    assert {path.name for path in bundle_path.iterdir()} == {"model_int8.tflite", GOLDEN, CARD, MANIFEST, SEAL}


@pytest.mark.parametrize("kind", CHANGES)
def test_every_corrupted_bundle_is_refused(kind: str, bundle_path: Path, foreign_path: Path, tmp_path: Path) -> None:
    whole, foreign = read_files(bundle_path), read_files(foreign_path)
    write_files(tmp_path / "bundle", whole)
    assert refusal(tmp_path / "bundle") is None
    for number in range(10):
        write_files(tmp_path / "bundle", corrupted(kind, whole, foreign, seed=(7, number)))
        assert refusal(tmp_path / "bundle") is not None, f"corruption {number} was accepted"


def test_the_command_ends_with_3_and_prints_no_record(bundle_path: Path, foreign_path: Path, tmp_path: Path) -> None:
    (tmp_path / "map.npy").write_bytes(npy(np.ones((9, 9), np.uint8)))
    job = ("classify", str(tmp_path / "map.npy"), "--bundle", str(tmp_path / "bundle"))
    assert station(*job[:-1], str(bundle_path)).returncode == 0
    whole, foreign = read_files(bundle_path), read_files(foreign_path)
    for kind in CHANGES:
        write_files(tmp_path / "bundle", corrupted(kind, whole, foreign, seed=(8,)))
        run = station(*job)
        assert (run.returncode, run.stdout) == (3, b""), kind
        assert b"Traceback" not in run.stderr
        assert run.stderr.splitlines()[-1].startswith(b"error: "), kind


@pytest.mark.parametrize("name", ["model_int8.tflite", GOLDEN, CARD, MANIFEST, SEAL])
def test_what_is_no_file_is_refused_without_waiting(name: str, bundle_path: Path, tmp_path: Path) -> None:
    for kind in ("folder", "pipe", "link to nothing"):
        folder = tmp_path / kind
        write_files(folder, {other: data for other, data in read_files(bundle_path).items() if other != name})
        if kind == "folder":
            (folder / name).mkdir()
        elif kind == "pipe":
            os.mkfifo(folder / name)
        else:
            (folder / name).symlink_to("nothing")
        with pytest.raises(ModelError, match=name.replace(".", r"\.")):
            load_bundle(folder)


def test_no_bundle_at_all_is_refused_with_the_command_that_makes_one(tmp_path: Path) -> None:
    for path in (tmp_path / "absent", tmp_path):
        with pytest.raises(ModelError, match=r"bundle\.json is missing.*python -m edge\.convert"):
            load_bundle(path)


def test_an_ungated_bundle_needs_to_be_allowed(bundle_path: Path, tmp_path: Path) -> None:
    path = make_bundle(tmp_path / "bundle", load_bundle(bundle_path).model, passed=False)
    with pytest.raises(ModelError, match="did not pass the accuracy gate; --allow-ungated"):
        load_bundle(path)
    run = station("selftest", "--bundle", str(path))
    assert (run.returncode, run.stdout) == (3, b"")
    run = station("selftest", "--bundle", str(path), "--allow-ungated")
    assert run.returncode == 0
    assert b"NOT passed" in run.stdout
    assert b"warning" in run.stderr


def test_a_model_without_the_delegate_the_gate_had_is_refused_unless_allowed(
    bundle_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without = TfliteModel.__init__

    def init(self: TfliteModel, content: bytes, *, threads: int = 1, delegate: bool = True) -> None:
        without(self, content, threads=threads, delegate=False)

    monkeypatch.setattr(TfliteModel, "__init__", init)
    bundle = load_bundle(bundle_path)
    with pytest.raises(ModelError, match=r"XNNPACK delegate.*--allow-slow"):
        Classifier(bundle)
    slow = Classifier(bundle, allow_slow=True)
    assert not slow.xnnpack
    assert slow.golden_lsb <= 3


def test_a_kernel_a_step_apart_is_accepted_and_four_steps_are_not(bundle_path: Path, tmp_path: Path) -> None:
    bundle = load_bundle(bundle_path)
    logits = bundle.golden.logits
    for steps, accepted in ((0, True), (3, True), (4, False), (50, False)):
        moved = logits.astype(int)
        moved[2, 5] += steps if moved[2, 5] < 100 else -steps
        stored = moved.astype(logits.dtype)
        golden = Golden(bundle.golden.grids, stored, bundle.decision.probabilities(bundle.output.dequantize(stored)))
        path = make_bundle(tmp_path / str(steps), bundle.model, golden=golden)
        assert (refusal(path) is None) == accepted
        if accepted:
            assert Classifier(load_bundle(path)).golden_lsb == steps


def test_a_decision_other_than_the_gates_is_refused(bundle_path: Path, tmp_path: Path) -> None:
    bundle = load_bundle(bundle_path)
    bias = (*bundle.decision.bias[:8], bundle.decision.bias[8] + 1e-4)
    other = Decision(bias, bundle.decision.temperature)
    path = make_bundle(tmp_path / "b", bundle.model, golden=bundle.golden, decision=other)
    assert "its decision does not turn the golden logits" in str(refusal(path))


def test_a_bundle_of_16_bit_activations_is_judged_by_the_built_in_kernels(tmp_path: Path) -> None:
    path = make_bundle(tmp_path / "bundle", int8_model(seed=0, activations="int16"))
    assert (path / "model_int16x8.tflite").is_file()
    classifier = Classifier(load_bundle(path))
    assert not classifier.xnnpack
    assert classifier.golden_lsb == 0
    (record,) = classifier.judge(npy(classifier.bundle.golden.grids[0]), "map")
    expected = classifier.bundle.golden.probabilities[0]
    assert list(record["probabilities"].values()) == [round(p, 6) for p in expected.tolist()]


def test_one_and_two_threads_answer_alike(bundle_path: Path) -> None:
    bundle = load_bundle(bundle_path)
    one, two = Classifier(bundle, threads=1), Classifier(bundle, threads=2)
    for grid in bundle.golden.grids:
        planes = encode(grid, bundle.input_size)
        np.testing.assert_array_equal(one.tflite.run(planes), two.tflite.run(planes))


def test_writing_a_bundle_overwrites_only_a_bundle_and_only_when_told(bundle_path: Path, tmp_path: Path) -> None:
    model = load_bundle(bundle_path).model
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes").write_text("mine")
    with pytest.raises(UsageError, match="no bundle is there"):
        make_bundle(tmp_path / "mine", model, replace=True)
    path = make_bundle(tmp_path / "bundle", model)
    before = read_files(path)
    with pytest.raises(UsageError, match="--overwrite"):
        make_bundle(path, model, card="# new\n")
    assert read_files(path) == before
    make_bundle(path, model, card="# new\n", replace=True)
    assert (path / CARD).read_text() == "# new\n"
    assert json.loads((path / MANIFEST).read_text())["passed"] is True
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["bundle", "mine"]
