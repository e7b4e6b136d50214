"""From a run with a head for several patterns to a bundle that names them, and a gate that finds a disturbed head."""

import json
from pathlib import Path

import numpy as np
import pytest

from edge.convert import main
from edge.quantization.calibration import Calibration
from edge.quantization.quantize import _pack, _unpack, named_outputs
from edge.station.classifier import Classifier
from training.fit import main as fit
from wafer_tf.bundle import load_bundle
from wafer_tf.decision.patterns import Patterns
from wafer_tf.errors import ModelError
from wafer_tf.inference.interpreter import PATTERN_LOGITS
from wafer_tf.learning.run_folder import RunFolder

CALL = [
    *("--model", "baseline", "--width", "4", "--input-size", "32", "--backbone-weights", "none"),
    *("--builtin-per-class", "30", "--epochs", "6", "--batch-size", "36", "--learning-rate", "0.01"),
    *("--unknown-epochs", "0", "--mixed", "0.5"),
]
LOOSE = ["--min-agreement", "80", "--max-macro-f1-drop", "20", "--max-recall-drop", "60", "--no-remedies"]
"""What a model that has learned for seconds is allowed of its nine-way answer; here it is of the other head."""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("several") / "run"
    assert fit([*CALL, "--out", str(path)]) == 0
    return path


def test_the_bundle_names_patterns_by_the_run_s_thresholds_and_says_how_int8_kept_them(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "bundle"
    assert main([str(run), "--out", str(out), *LOOSE, "--min-patterns-agreement", "80", "--max-bit-f1-drop", "20"]) == 0
    assert "patterns alike" in capsys.readouterr().out
    bundle, folder = load_bundle(out), RunFolder.open(run)
    assert bundle.patterns == Patterns.from_json(folder.read_json("patterns.json"))
    assert bundle.pattern_output is not None and bundle.golden.patterns is not None
    kept = bundle.gate["patterns"]
    assert kept["mixed"] == len(folder.read_array("patterns.npz", "mixed"))
    assert kept["known"] == bundle.gate["comparison"]["wafers"]
    assert kept["shipped"] is None, "there are no folds"
    names = [check["name"] for check in bundle.gate["checks"]]
    assert names[-2:] == ["min_patterns_agreement", "max_bit_f1_drop"]
    judged = Classifier(bundle).judgement(bundle.golden.grids[0])
    assert judged.patterns is not None and judged.patterns.shape == (8,)


def _head_turned_about(float32: bytes, integer: bytes, calibration: Calibration) -> bytes:
    """Take the place of `refit_logits`: every pattern passes where it did not."""
    model = _unpack(float32)
    graph = model.subgraphs[0]
    (last,) = (op for op in graph.operators if named_outputs(model)[PATTERN_LOGITS] in op.outputs)
    for tensor in last.inputs[1:]:
        buffer = model.buffers[graph.tensors[tensor].buffer]
        buffer.data = np.frombuffer((-np.frombuffer(bytes(buffer.data), np.float32)).tobytes(), np.uint8)
    return _pack(model)


def test_the_gate_catches_a_head_for_patterns_that_was_disturbed(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("edge.quantization.quantize.refit_logits", _head_turned_about)
    out = tmp_path / "bundle"
    assert main([str(run), "--out", str(out), *LOOSE]) == 5
    assert "the accuracy gate failed (min_patterns_agreement" in capsys.readouterr().err
    assert not out.exists()
    found = json.loads((tmp_path / "bundle.gate.json").read_text())
    assert found["comparison"]["agreement"]["value"] > 0.8, "the nine-way answer is as it was"
    assert found["patterns"]["agreement"]["value"] < 0.9


def test_answers_that_are_not_those_of_the_run_s_wafers_are_refused(run: Path, tmp_path: Path) -> None:
    import shutil

    path = shutil.copytree(run, tmp_path / "run")
    folder = RunFolder(path)
    kept = {name: folder.read_array("patterns.npz", name) for name in ("wafers", "mixed", "mixed_logits")}
    folder.write_arrays("patterns.npz", kept | {"mixed": kept["mixed"][1:]})
    (path / "DONE").write_text("")
    from edge.gate.comparison import Limits
    from edge.gate.gated_bundle import Options, convert

    with pytest.raises(ModelError, match=r"patterns.npz holds the answers to \d+ mixed"):
        convert(path, tmp_path / "bundle", Options("int8", 30, 0, Limits()))
