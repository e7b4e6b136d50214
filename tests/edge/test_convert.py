import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from edge.convert import main
from edge.gate.comparison import Limits
from edge.gate.golden import golden_maps
from edge.quantization.calibration import Calibration
from edge.quantization.contents import require_integer
from edge.quantization.metadata import read_metadata
from edge.quantization.quantize import _pack, _unpack
from edge.quantization.recipes import RECIPES
from edge.station.classifier import Classifier
from tests.signing import keys
from training.unknown import main as teach
from wafer_tf.as_json import to_json
from wafer_tf.bundle import load_bundle
from wafer_tf.decision import Decision
from wafer_tf.decision.points import Point
from wafer_tf.dies import CLASSES, check_map
from wafer_tf.encoding import encode, to_float
from wafer_tf.errors import ModelError
from wafer_tf.learning.run_folder import RunFolder

MARGIN = 0.15
"""Of the span of the logits, 38 of int8's 255 steps; int8 moved logits of such models by 2 to 12 steps at most."""


@pytest.fixture(scope="module")
def run(small_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the small run, with its model trained on until it is sure of every map that the gate judges.

    Of a model in doubt int8 may call a map otherwise, and one of these 18 is more than the gate allows. So the model
    learns the test part too, and is trained until the second likeliest class of each map lies well behind.
    """
    import keras

    from training.job import load_config, load_data
    from wafer_tf.splitting.splits import Split

    path = tmp_path_factory.mktemp("edge") / "run"
    shutil.copytree(small_run, path)
    folder = RunFolder.open(path)
    wafers = load_data(load_config(folder))
    split = Split.load(path / "split.npz", wafers)
    part = np.concatenate([split.train, split.test])
    planes = np.stack([to_float(encode(wafers.map(int(i)), 32)) for i in part])
    model = folder.model()
    keras.utils.set_random_seed(0)
    model.compile(keras.optimizers.Adam(0.01), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    for _ in range(10):
        model.fit(planes, wafers.label[part], batch_size=36, epochs=20, verbose=0)
        logits = np.sort(model.predict(planes[-len(split.test) :], verbose=0), axis=1)
        if (logits[:, -1] - logits[:, -2]).min() > MARGIN * np.ptp(logits):
            break
    else:
        pytest.fail("the model is not sure of the maps the gate judges: it has learned nothing, or MARGIN is too wide")
    model.save(path / "model.keras")
    (path / "DONE").write_text("")  # which holds the hash of the model that this one replaces
    folder.write_json("decision.json", Decision().to_json())
    for name in ("unknown.keras", "unknown.npz"):  # of the model that this one replaces
        (path / name).unlink()
    return path


@pytest.fixture(scope="module")
def bundle(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the bundle that the command makes of that run at its default limits."""
    out = tmp_path_factory.mktemp("edge") / "bundle"
    assert main(["--int8", str(run), "--out", str(out)]) == 0
    return out


def test_the_bundle_passes_loads_and_its_model_answers_as_the_gate_saw(bundle: Path) -> None:
    loaded = load_bundle(bundle)
    assert loaded.passed
    assert loaded.xnnpack
    assert Classifier(loaded).golden_lsb == 0
    require_integer(loaded.model, RECIPES["int8"])


def test_the_bundle_says_where_it_came_from_without_a_path_of_this_machine(bundle: Path, run: Path) -> None:
    found = load_bundle(bundle)
    made, report = found.provenance, json.loads((run / "report.json").read_text())["facts"]
    assert made["run"] == "run"
    assert made["model_sha256"] == hashlib.sha256((run / "model.keras").read_bytes()).hexdigest()
    assert made["config_sha256"] == hashlib.sha256((run / "config.json").read_bytes()).hexdigest()
    assert made["data_sha256"] == report["data_sha256"]
    assert made["calibration"]["part"] == "train"
    assert made["calibration"]["maps"] == sum(made["calibration"]["counts"].values()) == 108
    assert {"tensorflow", "keras", "ai-edge-litert"} <= set(made["versions"])
    assert str(run.parent) not in (bundle / "bundle.json").read_text() + (bundle / "model_card.md").read_text()


def test_the_bundle_offers_points_and_what_it_says_of_them_stands_in_its_card(bundle: Path) -> None:
    found = load_bundle(bundle)
    assert found.points["balanced"] == Point()
    card = (bundle / "model_card.md").read_text()
    assert "## What a station may decide" in card
    assert "few-escapes: at most 2% of the defects are called none" in card
    assert found.sets is None, "two maps of each class choose, and nine groups are needed"


def test_the_model_file_explains_itself(bundle: Path) -> None:
    found = load_bundle(bundle)
    told = read_metadata(found.model)
    assert told["classes"] == list(CLASSES)
    assert told["decision"] == found.decision.to_json()
    assert told["provenance"] == found.provenance
    assert told["output"]["scale"] == found.output.scale


def test_the_gate_s_findings_lie_beside_the_bundle_and_in_it(bundle: Path) -> None:
    beside = json.loads(bundle.with_name("bundle.gate.json").read_text())
    assert beside.pop("run") == "run"
    assert beside == load_bundle(bundle).gate
    assert [model["recipe"] for model in beside["models"]] == ["float32", "dynamic_int8", "int8"]
    assert beside["limits"] == to_json(Limits())
    assert {check["where"] for check in beside["checks"]} == {"", *CLASSES}
    text = bundle.with_name("bundle.gate.txt").read_text()
    assert "The gate on int8, 108 calibration maps: PASS" in text
    assert text.split("\n\n")[1] in (bundle / "model_card.md").read_text()
    assert bundle.with_name("bundle.gate.png").read_bytes().startswith(b"\x89PNG")


def test_golden_maps_cover_every_class_and_the_odd_ones() -> None:
    grids = golden_maps()
    assert len(grids) == 4 * 9 + 4
    blank, failed, tiny, huge = grids[-4:]
    assert set(np.unique(blank)) == {0, 1}
    assert set(np.unique(failed)) == {0, 2}
    assert (tiny.shape, huge.shape) == ((3, 3), (300, 300))
    for grid, again in zip(grids, golden_maps(), strict=True):
        check_map(grid, "golden")
        np.testing.assert_array_equal(grid, again)


def test_an_earlier_bundle_is_not_replaced_unasked(bundle: Path, run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (bundle / "bundle.json").read_bytes()
    assert main([str(run), "--out", str(bundle)]) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert (bundle / "bundle.json").read_bytes() == before


# === Models broken on purpose ===


def test_the_gate_catches_calibration_with_a_wrong_encoding(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("edge.quantization.calibration.to_float", lambda planes: planes.astype(np.float32))
    assert main([str(run), "--out", str(tmp_path / "bundle"), "--no-remedies"]) == 5
    assert "the accuracy gate failed (min_agreement" in capsys.readouterr().err
    assert not (tmp_path / "bundle").exists()
    found = json.loads((tmp_path / "bundle.gate.json").read_text())
    assert not found["passed"]
    # Ranges 255 times as wide leave an activation one or two of its 255 steps. A model that calls every map alike
    # agrees on 2 of the 18; twelve such models agreed on 1 to 4.
    assert found["comparison"]["agreement"]["value"] < 0.5


def _class_order_shuffled(float32: bytes, integer: bytes, calibration: Calibration) -> bytes:
    """Take the place of `refit_logits`, so that every attempt, whatever its recipe, calls the class before."""
    model = _unpack(float32)
    graph = model.subgraphs[0]
    for tensor in graph.operators[-1].inputs[1:]:
        buffer = model.buffers[graph.tensors[tensor].buffer]
        rows = buffer.data.reshape(len(CLASSES), -1)
        buffer.data = np.roll(rows, 1, axis=0).ravel()
    return _pack(model)


def test_the_gate_catches_a_shuffled_class_order_and_no_gate_marks_its_bundle(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("edge.quantization.quantize.refit_logits", _class_order_shuffled)
    out = tmp_path / "bundle"
    private, public = keys(tmp_path, "ours", "ed25519")
    signed = ["--sign", str(private), "--bundle-version", "20261126"]
    assert main([str(run), "--out", str(out), "--no-gate", *signed]) == 0
    told = capsys.readouterr()
    assert f"signature: {out / 'bundle.json.sig'}" in told.out
    assert "FAIL (not applied: --no-gate)" in told.out
    assert "marked as ungated" in told.err
    with pytest.raises(ModelError, match="did not pass the accuracy gate"):
        load_bundle(out)
    loaded = load_bundle(out, allow_ungated=True, require_signature=public, min_version=20261126)
    assert not loaded.passed
    assert loaded.gate["comparison"]["agreement"]["value"] < 0.2
    assert "did not pass" in (out / "model_card.md").read_text()


def test_every_remedy_is_tried_before_the_command_gives_up_and_an_earlier_bundle_stays(
    bundle: Path, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("edge.quantization.quantize.refit_logits", _class_order_shuffled)
    shutil.copytree(bundle, tmp_path / "bundle")
    assert main([str(run), "--out", str(tmp_path / "bundle"), "--overwrite"]) == 5
    told = capsys.readouterr()
    assert "after 3 attempts; no bundle was written, and the one there is as it was" in told.err
    assert load_bundle(tmp_path / "bundle").sha256 == load_bundle(bundle).sha256
    models = json.loads((tmp_path / "bundle.gate.json").read_text())["models"]
    assert [(model["recipe"], model["passed"]) for model in models[2:]] == [
        ("int8", False),
        ("int8", False),
        ("int16x8", False),
    ]
    assert "no XNNPACK" in told.out


# === Calls that cannot be answered ===


@pytest.mark.parametrize(
    ("flags", "code", "says"),
    [
        (["missing"], 3, "expected a folder that training.fit made"),
        ([], 3, "no finished run there"),
        (["missing", "--calibration-maps", "0"], 2, "expected at least 1"),
        (["missing", "--seed", "-1"], 2, "expected 0 or more"),
        (["missing", "--min-agreement", "995"], 2, "min-agreement 995.0; expected 0 to 100"),
        (["missing", "--sign", "key.pem"], 2, "key key.pem: cannot be read"),
        (["missing", "--bundle-version", "-1"], 2, "expected 0 or more"),
    ],
)
def test_a_wrong_call_ends_with_one_clear_line_and_its_exit_code(
    flags: list[str],
    code: int,
    says: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(flags) == code
    err = capsys.readouterr().err
    assert says in err
    assert "Traceback" not in err
    assert not list(tmp_path.iterdir())


def test_the_run_that_finished_last_is_the_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    from wafer_tf.learning.run_folder import newest_run

    monkeypatch.chdir(tmp_path)
    for name, at in (("first", 100), ("second", 300), ("third", 200)):
        (tmp_path / "runs" / name).mkdir(parents=True)
        (tmp_path / "runs" / name / "DONE").touch()
        os.utime(tmp_path / "runs" / name / "DONE", (at, at))
    (tmp_path / "runs" / "unfinished").mkdir()
    assert newest_run() == Path("runs/second")


def test_a_taught_run_gives_a_bundle_with_an_unknown_score_if_int8_keeps_it(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = shutil.copytree(run, tmp_path / "run")
    assert teach([str(path)]) == 0
    command = ["--int8", str(path), "--no-remedies", "--max-unknown-auroc-drop", "100"]
    assert main([*command, "--min-unknown-agreement", "100"]) == 5
    assert "min_unknown_agreement" in capsys.readouterr().err
    assert main([*command, "--min-unknown-agreement", "50"]) == 0
    told = capsys.readouterr().out
    assert "unknown alike" in told and "other patterns flagged" in told
    loaded = load_bundle(path / "bundle")
    assert loaded.unknown is not None and loaded.features is not None
    assert loaded.golden.features is not None
    assert loaded.gate["unknown"]["known"] == loaded.gate["comparison"]["wafers"]
    score = Classifier(loaded).judgement(loaded.golden.grids[0]).unknown_score
    assert score is not None and 0 <= score <= 1
    other = RunFolder.open(path).model()
    other.get_layer("logits").set_weights([w + 1 for w in other.get_layer("logits").get_weights()])
    other.save(path / "model.keras")
    (path / "DONE").write_text("")
    assert main([*command, "--overwrite"]) == 3
    assert "python -m training.unknown RUN --overwrite" in capsys.readouterr().err
