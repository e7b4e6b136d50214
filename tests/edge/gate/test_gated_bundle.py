"""The way from a run to a bundle, with the released nano model in place of what a conversion would give.

tests/edge/test_convert.py goes the whole way, with TensorFlow; here every step is held to the letter.
"""

import dataclasses
import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from edge.gate import gated_bundle
from edge.gate.candidate import Candidate, Reference, logits
from edge.gate.comparison import Limits
from edge.gate.gated_bundle import Options, convert
from edge.gate.golden import golden_maps
from edge.gate.time_per_map import Latency
from edge.quantization.recipes import RECIPES
from edge.signing import folder_signature
from wafer_tf.bundle import load_bundle
from wafer_tf.decision.points import Point
from wafer_tf.dies import CLASSES
from wafer_tf.encoding import PLANES
from wafer_tf.errors import GateError, ModelError, UsageError
from wafer_tf.inference.interpreter import TfliteModel
from wafer_tf.learning.run_folder import RunFolder
from wafer_tf.released import released
from wafer_tf.splitting.splits import make_split
from wafer_tf.synthesis import synthesize
from wafer_tf.waferset import WaferSet

NANO = load_bundle(released("nano") / "bundle")
MODEL = NANO.model[: NANO.model.rfind(b"PK\3\4")]
"""Without what an earlier conversion wrote behind it."""
WAFERS = synthesize(20, seed=3).wafers
SPLIT = make_split(WAFERS, seed=1)
OPTIONS = Options(recipe="int8", calibration_maps=30, seed=5, limits=Limits())


def _reference(limits: Limits | None = None, *, wrong: int = 0) -> Reference:
    """The int8 model in the float model's place; `wrong` maps are called otherwise by that one."""
    test = WAFERS.select(SPLIT.test)
    prob = NANO.decision.probabilities(logits(TfliteModel(NANO.model), test))
    prob[:wrong] = np.roll(prob[:wrong], 1, axis=1)
    return Reference(test, SPLIT.group[SPLIT.test], NANO.decision, prob, limits or Limits(), 5)


@pytest.fixture(scope="module")
def run() -> RunFolder:
    return RunFolder.open(released("nano"))


@pytest.fixture(scope="module")
def passed() -> Candidate:
    return _reference().candidate("int8, 30 calibration maps", RECIPES["int8"], NANO.model, made={"calibration": "c"})


@pytest.fixture(scope="module")
def failed() -> Candidate:
    return _reference(wrong=3).candidate("int8, 30 calibration maps", RECIPES["int8"], NANO.model, made={"a": 1})


@pytest.fixture
def conversion(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Give `convert` wafers, a split and files without a training or TensorFlow; returns what it asked for."""
    asked: list[Any] = []

    class Files:
        float32 = dynamic_int8 = MODEL
        input_size = 64

        def integer(self, attempt: Any, calibration: Any, *, progress: bool) -> bytes:
            assert progress
            asked.append((str(attempt), len(calibration.planes)))
            return MODEL

    @contextmanager
    def quantizer(model: Any) -> Iterator[Files]:
        asked.append(model)
        yield Files()

    def predict_logits(model: Any, wafers: WaferSet, *, progress: bool) -> np.ndarray:
        assert (model, progress) == ("float32 model", True)
        assert len(wafers) == len(SPLIT.test)
        return logits(TfliteModel(NANO.model), wafers)

    def load_split(path: Path, wafers: WaferSet) -> Any:
        assert (Path(path), wafers) == (released("nano") / "split.npz", WAFERS)
        return SPLIT

    def prepare(**options: Any) -> None:
        asked.append(options)

    monkeypatch.setattr(gated_bundle, "load_data", lambda config: WAFERS)
    monkeypatch.setattr(gated_bundle, "prepare", prepare)
    monkeypatch.setattr(gated_bundle.Split, "load", load_split)
    monkeypatch.setattr(RunFolder, "model", lambda self: "model")
    monkeypatch.setattr(gated_bundle, "in_float32", lambda model: f"float32 {model}")
    monkeypatch.setattr(gated_bundle, "predict_logits", predict_logits)
    monkeypatch.setattr(gated_bundle, "quantizer", quantizer)
    return asked


def test_a_run_becomes_a_bundle_that_loads_with_a_report_beside_it(
    conversion: list[Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "more" / "bundle"
    convert(str(released("nano")), str(out), OPTIONS)
    assert conversion[:2] == [{"seed": 0, "precision": "float32", "require_gpu": False}, "float32 model"]
    assert conversion[2:] == [("int8, 30 calibration maps", 30)]
    found = load_bundle(out)
    assert found.passed
    assert found.provenance["attempt"] == "int8, 30 calibration maps"
    assert found.provenance["recipe"] == "int8"
    assert found.provenance["run"] == "nano"
    assert found.provenance["calibration"]["maps"] == 30
    assert found.points == {"balanced": Point()}, "27 wafers choose, and 27 judge"
    assert found.sets is None
    assert found.gate["applied"] is True
    assert [model["recipe"] for model in found.gate["models"]] == ["float32", "dynamic_int8", "int8"]
    told = capsys.readouterr()
    assert (
        f"bundle: {out}  (SHA-256 {found.sha256})\nnext: python -m edge.station selftest --bundle {out}\n" in told.out
    )
    assert told.out.startswith("model  ")
    words = [line for line in told.err.splitlines() if line and "judging" not in line and "answering" not in line]
    assert words == [
        f"the float model on the {len(SPLIT.test)} maps of the test part",
        "converting",
        "attempt 1: int8, 30 calibration maps",
        "attempt 1: PASS",
    ]
    report = json.loads((tmp_path / "more" / "bundle.gate.json").read_text())
    assert report.pop("run") == "nano"
    assert report == found.gate
    assert (tmp_path / "more" / "bundle.gate.txt").read_text().startswith("run nano\n\nmodel  ")
    assert (tmp_path / "more" / "bundle.gate.png").read_bytes().startswith(b"\x89PNG")


def test_a_gate_that_fails_writes_its_report_and_no_bundle(
    conversion: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        gated_bundle, "predict_logits", lambda model, wafers, progress: np.roll(_reference().float_prob, 1, axis=1)
    )
    options = dataclasses.replace(OPTIONS, remedies=False)
    with pytest.raises(GateError) as failure:
        convert(released("nano"), tmp_path / "bundle", options)
    text = str(failure.value)
    assert "the accuracy gate failed (min_agreement) after 1 attempts; no bundle was written. See " in text
    assert not (tmp_path / "bundle").exists()
    assert "FAIL" in capsys.readouterr().out
    assert json.loads((tmp_path / "bundle.gate.json").read_text())["passed"] is False
    (tmp_path / "bundle").mkdir()
    with pytest.raises(GateError, match="and the one there is as it was"):
        convert(released("nano"), tmp_path / "bundle", options)
    convert(released("nano"), tmp_path / "marked", dataclasses.replace(OPTIONS, gated=False))
    assert not load_bundle(tmp_path / "marked", allow_ungated=True).passed


# === Attempts ===


class _Judge:
    """In the place of a Reference: lets the attempts fail that it is told."""

    def __init__(self, *passes: bool) -> None:
        self.decision, self.passes, self.made = NANO.decision, list(passes), list[Any]()

    def candidate(self, name: str, recipe: Any, content: bytes, *, of_folds: Any, made: dict[str, Any]) -> Any:
        assert of_folds == []
        self.made.append((name, recipe.name, content, made))
        passed = self.passes[len(self.made) - 1]
        return SimpleNamespace(checks=[SimpleNamespace(passed=passed), SimpleNamespace(passed=True)])


def _attempts(judge: _Judge, **options: Any) -> tuple[int, list[Any]]:
    asked: list[Any] = []

    def integer(attempt: Any, calibration: Any, *, progress: bool) -> bytes:
        assert progress
        asked.append((str(attempt), calibration))
        return MODEL

    @contextmanager
    def quantizer(model: Any) -> Iterator[Any]:
        yield SimpleNamespace(input_size=64, integer=integer)

    wafers = synthesize(10, seed=0).wafers
    with ExitStack() as stack, pytest.MonkeyPatch.context() as patch:
        patch.setattr(gated_bundle, "quantizer", quantizer)
        main = gated_bundle._Made("model", wafers, np.arange(len(wafers)), stack)  # type: ignore[arg-type]
        tried = gated_bundle._try(main, [], judge, dataclasses.replace(OPTIONS, **options), {"run": "r"})  # type: ignore[arg-type]
    return len(tried), asked


def test_one_attempt_follows_another_until_one_passes(capsys: pytest.CaptureFixture[str]) -> None:
    judge = _Judge(False, False, True)
    n, asked = _attempts(judge)
    assert n == 3
    assert [attempt for attempt, _ in asked] == [
        "int8, 30 calibration maps",
        "int8, 90 calibration maps",
        "int8, 90 calibration maps, ranges covering 95 % of them",
    ]
    assert asked[1][1] is asked[2][1], "the same maps are not chosen and encoded twice"
    assert asked[0][1] is not asked[1][1]
    for (name, recipe, content, made), (attempt, calibration) in zip(judge.made, asked, strict=True):
        assert (name, recipe) == (attempt, "int8")
        assert content.startswith(NANO.model[:8])
        assert made == {"run": "r", "recipe": "int8", "attempt": attempt, "calibration": calibration.to_json()}
    assert [line for line in capsys.readouterr().err.splitlines() if line.startswith("attempt")] == [
        "attempt 1: int8, 30 calibration maps",
        "attempt 1: FAIL, beyond 1 of the limits",
        "attempt 2: int8, 90 calibration maps",
        "attempt 2: FAIL, beyond 1 of the limits",
        "attempt 3: int8, 90 calibration maps, ranges covering 95 % of them",
        "attempt 3: PASS",
    ]


@pytest.mark.parametrize("options", [{"remedies": False}, {"gated": False}])
def test_without_remedies_or_gate_the_first_attempt_is_the_last(options: dict[str, bool]) -> None:
    assert _attempts(_Judge(False), **options)[0] == 1


def test_after_the_last_remedy_all_that_was_tried_is_given() -> None:
    n, asked = _attempts(_Judge(False, False, False, False))
    assert n == 4
    assert asked[3][0] == "int16x8, 30 calibration maps"


# === What is said of a model ===


def test_a_file_says_of_itself_what_a_reader_needs_and_nothing_of_the_gate() -> None:
    assert NANO.input is not None and NANO.output is not None
    assert gated_bundle._metadata(NANO.model, NANO.decision, {"run": "r"}) == {
        "classes": list(CLASSES),
        "encoding": {"planes": list(PLANES), "size": 64},
        "input": {"shape": [1, 64, 64, 3], "dtype": "int8", "scale": NANO.input.scale, "zero_point": -128},
        "output": {"shape": [1, 9], "dtype": "int8", "scale": NANO.output.scale, "zero_point": NANO.output.zero_point},
        "probabilities": "softmax((logits + bias) / temperature)",
        "decision": NANO.decision.to_json(),
        "provenance": {"run": "r"},
    }


LATENCY = {"other": Latency(9.0, 10.0, 20), "int8, 30 calibration maps": Latency(1.5, 2.5, 200)}


def test_the_report_is_of_the_last_model_and_shows_all(passed: Candidate, failed: Candidate) -> None:
    other = dataclasses.replace(passed, name="other")
    parts = gated_bundle._text([other, failed], LATENCY, OPTIONS).split("\n\n")
    assert len(parts) == 5
    assert [line.split("  ")[0] for line in parts[0].splitlines()] == ["model", "other", "int8, 30 calibration maps"]
    assert parts[0].splitlines()[1].endswith("9.000  10.000")
    assert parts[1] == "The gate on int8, 30 calibration maps: FAIL"
    assert parts[2].startswith("FAIL  called the same")
    assert parts[3].startswith(
        "In the file: operators 6 ADD, 1 CONCATENATION, 18 CONV_2D, 1 FULLY_CONNECTED, 1 MAX_POOL_2D"
    )
    assert max(map(len, parts[3].splitlines())) <= 120
    assert parts[4].startswith(f"{len(SPLIT.test)} maps of the run's test part")
    marked = gated_bundle._text([failed, passed], LATENCY, dataclasses.replace(OPTIONS, gated=False))
    assert "\n\nThe gate on int8, 30 calibration maps: PASS (not applied: --no-gate)\n\n" in marked


def test_the_findings_as_json_hold_the_gate_and_every_model(passed: Candidate, failed: Candidate) -> None:
    other = dataclasses.replace(passed, name="other", made={})
    found = gated_bundle._gate_json([other, failed], LATENCY, OPTIONS)
    json.dumps(found, allow_nan=False)
    assert list(found) == ["applied", "passed", "limits", "checks", "comparison", "audit", "models"]
    assert (found["applied"], found["passed"]) == (True, False)
    assert found["limits"] == {
        "min_agreement": 99.5,
        "max_macro_f1_drop": 0.5,
        "max_recall_drop": 2.0,
        "min_unknown_agreement": 99.0,
        "max_unknown_auroc_drop": 0.5,
        "min_set_agreement": 98.0,
        "max_coverage_drop": 1.0,
        "min_patterns_agreement": 99.0,
        "max_bit_f1_drop": 0.5,
    }
    assert [check["passed"] for check in found["checks"]] == [check.passed for check in failed.checks]
    assert found["comparison"] == failed.comparison.to_json()
    assert found["audit"] == failed.contents.to_json()
    for model, candidate in zip(found["models"], (other, failed), strict=True):
        assert model == {
            "name": candidate.name,
            "recipe": "int8",
            "bytes": len(NANO.model),
            "xnnpack": True,
            "passed": candidate.passed,
            "calibration": None,
            "latency": LATENCY[candidate.name].to_json(),
            "macro_f1": dataclasses.asdict(candidate.scores.macro_f1),
            "recall": {c.name: dataclasses.asdict(c.recall) for c in candidate.scores.classes},
            "comparison": candidate.comparison.to_json(),
        }
    kept = gated_bundle._gate_json([passed], LATENCY, dataclasses.replace(OPTIONS, gated=False))
    assert (kept["applied"], kept["passed"], kept["models"][0]["calibration"]) == (False, True, "c")


def test_the_card_is_of_the_quantized_model_and_names_no_path(run: RunFolder, passed: Candidate) -> None:
    card = gated_bundle._card(run, passed, None, text="the table", passed=True)
    assert card.startswith("# Model card: resnet14, width 8, small stem, int8\n")
    assert "runs/release/wafers.parquet" not in card.split("## How to reproduce")[0]
    says = RECIPES["int8"].says
    assert card.endswith(
        f"\n## Quantization\n\nEvery figure above is of the quantized model: {says}. It passed the accuracy gate.\n\n"
        "```\nthe table\n```\n"
    )
    assert f"{len(SPLIT.test)} wafers" in card
    refused = gated_bundle._card(run, passed, None, text="", passed=False)
    assert "**It did not pass the accuracy gate.**" in refused


# === The bundle ===


def _written(out: Path, run: RunFolder, candidate: Candidate, **options: Any) -> str:
    chosen = dataclasses.replace(OPTIONS, **options)
    return gated_bundle._write_bundle(
        out, run, candidate, NANO.decision, None, unknown=None, text="the table", gate=NANO.gate, options=chosen
    )


def test_a_bundle_holds_the_candidate_and_the_golden_maps(
    run: RunFolder, passed: Candidate, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "bundle"
    folder_signature(out).write_text("of a bundle that was there")
    sha256 = _written(out, run, passed)
    assert not folder_signature(out).exists()
    found = load_bundle(out)
    assert (found.sha256, found.model, found.input_size) == (sha256, NANO.model, 64)
    assert (found.input, found.output, found.decision) == (NANO.input, NANO.output, NANO.decision)
    assert (found.xnnpack, found.passed, found.gate, found.provenance) == (True, True, NANO.gate, passed.made)
    assert len(found.golden.grids) == len(golden_maps())
    assert "the table" in (out / "model_card.md").read_text()
    assert "It passed the accuracy gate" in (out / "model_card.md").read_text()
    assert capsys.readouterr().err == ""
    with pytest.raises(UsageError, match="overwrite"):
        _written(out, run, passed)
    assert _written(out, run, passed, overwrite=True) == sha256
    assert found.release == 0
    _written(out, run, passed, overwrite=True, release=20261126)
    assert load_bundle(out, min_version=20261126).release == 20261126


@pytest.mark.parametrize(("gated", "whole"), [(False, True), (True, False)])
def test_a_bundle_that_did_not_pass_is_marked_and_said(
    gated: bool,
    whole: bool,
    run: RunFolder,
    passed: Candidate,
    failed: Candidate,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    _written(tmp_path / "b", run, passed if whole else failed, gated=gated)
    assert "a station refuses it unless told --allow-ungated" in capsys.readouterr().err
    assert not load_bundle(tmp_path / "b", allow_ungated=True).passed
    assert "did not pass" in (tmp_path / "b" / "model_card.md").read_text()


def test_a_model_without_the_delegate_is_said_and_one_of_floats_is_no_bundle(
    run: RunFolder,
    passed: Candidate,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    real = TfliteModel
    monkeypatch.setattr(gated_bundle, "TfliteModel", lambda content: real(content, delegate=False))
    _written(tmp_path / "slow", run, passed)
    assert "XNNPACK does not run this recipe" in capsys.readouterr().err
    assert not load_bundle(tmp_path / "slow").xnnpack
    for name in ("input", "output"):

        def floats(content: bytes, name: str = name) -> TfliteModel:
            model = real(content)
            setattr(model, name, None)
            return model

        monkeypatch.setattr(gated_bundle, "TfliteModel", floats)
        with pytest.raises(ModelError, match="float input or output"):
            _written(tmp_path / "float", run, passed)
    assert not (tmp_path / "float").exists()
