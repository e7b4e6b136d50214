"""Patterns of two models side by side: by hand, each fold's wafers by its own file, and a gate that fails."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from edge.gate import gated_bundle
from edge.gate.candidate import FoldFile, Reference, Several, heads
from edge.gate.comparison import Limits, compare
from edge.gate.several import PatternComparison, compare_patterns
from edge.gate.text import format_checks
from edge.quantization.quantize import _pack, _unpack, named_outputs
from edge.quantization.recipes import RECIPES
from tests.edge_models import Files, patterns_files
from wafer_tf.as_json import to_json
from wafer_tf.decision import Decision
from wafer_tf.decision.patterns import Patterns
from wafer_tf.errors import InputError, ModelError
from wafer_tf.explaining.pattern_heat import patterns_of
from wafer_tf.gate_verdict import SHIPPED
from wafer_tf.inference.interpreter import PATTERN_LOGITS, TfliteModel
from wafer_tf.learning.run_folder import RunFolder
from wafer_tf.pattern_bits import bits_of_labels
from wafer_tf.scoring.several import found_patterns
from wafer_tf.splitting.splits import Split, content_hash
from wafer_tf.synthesis import synthesize
from wafer_tf.synthesis.mixed import compose

KNOWN = synthesize(4, seed=5).wafers
MIXED = compose(40, seed=6).wafers
GROUP, MIXED_GROUP = np.arange(len(KNOWN)) // 2, np.arange(len(MIXED)) // 2
NOBODY = {"known_float_found": [], "known_found": [], "known_group": []}


# === Figures ===


def test_figures_are_those_counted_by_hand() -> None:
    true = [0b11, 0b11, 0b01, 0b10]
    theirs, ours = [0b11, 0b11, 0b01, 0b11], [0b11, 0b01, 0b01, 0b10]
    found = compare_patterns(
        true,
        theirs,
        ours,
        group=range(4),
        known_float_found=[0, 1, 3, 2, 0, 0],
        known_found=[0, 1, 1, 2, 0, 3],
        known_group=[0, 0, 1, 2, 3, 4],
        draws=50,
    )
    assert (found.mixed, found.known, found.groups) == (4, 6, 4 + 5)
    assert found.agreement.value == pytest.approx(6 / 10)
    assert (found.agreement_mixed, found.agreement_known) == pytest.approx((2 / 4, 4 / 6))
    assert found.bit_f1_float.value == pytest.approx((6 / 7 + 6 / 6) / 2)  # 3 of 3 and 1 too many; 3 of 3
    assert found.bit_f1.value == pytest.approx((6 / 6 + 4 / 5) / 2)
    assert found.bit_f1_drop.value == pytest.approx(found.bit_f1_float.value - found.bit_f1.value)
    assert (found.exact_float.value, found.exact.value) == (3 / 4, 3 / 4)
    assert (found.false_seconds_float, found.false_seconds) == (1, 1)
    assert found.shipped is None
    assert found.agreement.low < 0.6 < found.agreement.high


def test_a_paired_interval_of_the_drop_is_narrower_than_that_of_the_scores() -> None:
    rng = np.random.default_rng(0)
    true = rng.integers(0, 16, 600)
    theirs = np.where(rng.random(600) < 0.8, true, true ^ 1)
    ours = np.where(rng.random(600) < 0.99, theirs, theirs ^ 2)
    found = compare_patterns(true, theirs, ours, group=np.arange(600), **NOBODY)
    assert np.isnan(found.agreement_known)
    own = found.bit_f1.high - found.bit_f1.low
    assert 0 < found.bit_f1_drop.high - found.bit_f1_drop.low < 0.6 * own


def test_arrays_that_do_not_fit_are_refused() -> None:
    with pytest.raises(InputError, match="at least one mixed wafer"):
        compare_patterns([], [], [], group=[], **NOBODY)
    with pytest.raises(InputError, match="known wafers"):
        compare_patterns([1], [1], [1], group=[0], known_float_found=[1], known_found=[1, 1], known_group=[0, 0])


# === Limits ===


def failed(found: PatternComparison, limits: Limits | None = None) -> set[tuple[str, str]]:
    prob = np.eye(9)[KNOWN.label]
    comparison = compare(KNOWN.label, prob, prob, group=GROUP, draws=5)
    return {(c.name, c.where) for c in comparison.checks(limits or Limits(), patterns=found) if not c.passed}


def _agreeing(other: int, *, wrong: bool = False, shipped: float | None = None) -> PatternComparison:
    """Compare models that say otherwise of so many of 1,000 wafers; wrongly, or where the float model is wrong."""
    true = np.full(1000, 0b11)
    changed = np.arange(1000) < other
    one, two = np.where(changed, 0b1, true), np.where(changed, 0b11, true)
    theirs, ours = (two, one) if wrong else (one, two)
    return compare_patterns(true, theirs, ours, group=np.arange(1000), shipped=shipped, draws=5, **NOBODY)


def test_the_gate_fails_where_too_many_wafers_are_given_other_patterns() -> None:
    assert not failed(_agreeing(10))
    assert failed(_agreeing(11)) == {("min_patterns_agreement", "")}
    assert not failed(_agreeing(11), Limits(min_patterns_agreement=98.9))


def test_the_gate_fails_where_the_shipped_file_leaves_its_own_float_model() -> None:
    assert not failed(_agreeing(0, shipped=0.99))
    assert failed(_agreeing(0, shipped=0.989)) == {("min_patterns_agreement", SHIPPED)}


def test_the_gate_fails_where_f1_is_lost_and_not_where_it_is_won() -> None:
    lost = _agreeing(20, wrong=True)  # 20 of 1,000: F1 of one pattern falls by 1 point, the mean by half a point
    assert 0.5 < 100 * lost.bit_f1_drop.value < 0.51
    loose = Limits(min_patterns_agreement=90)
    assert failed(lost, loose) == {("max_bit_f1_drop", "")}
    assert not failed(lost, dataclasses.replace(loose, max_bit_f1_drop=0.51))
    assert not failed(_agreeing(20), loose)


def test_the_text_has_the_limits_and_what_has_none() -> None:
    found = _agreeing(11, shipped=0.9912)
    prob = np.eye(9)[KNOWN.label]
    comparison = compare(KNOWN.label, prob, prob, group=GROUP, draws=5)
    text = format_checks(comparison.checks(Limits(), patterns=found), comparison, patterns=found)
    lines = [line for line in text.splitlines() if "pattern" in line or "exactly" in line]
    assert lines[0].startswith("FAIL  patterns alike           98.90 [") and lines[0].endswith("at least 99 %")
    assert lines[1] == "PASS  patterns, as shipped     99.12 %                          at least 99 %"
    assert lines[2].startswith("PASS  patterns: mean F1 lost   -0.")
    assert "      patterns alike on        98.90 % of 1,000 mixed wafers" in lines
    assert "      found exactly            float 98.90, quantized 100.00 % of 1,000 mixed wafers" in lines
    assert "pattern" not in format_checks(comparison.checks(Limits()), comparison)


# === Files ===


@pytest.fixture(scope="module")
def files() -> Files:
    return patterns_files()


def disturbed(content: bytes) -> bytes:
    """Return the file with the weights of the pattern logits turned about, and the nine logits as they are."""
    model = _unpack(content)
    graph = model.subgraphs[0]
    (last,) = (op for op in graph.operators if named_outputs(model)[PATTERN_LOGITS] in op.outputs)
    buffer = model.buffers[graph.tensors[last.inputs[1]].buffer]
    buffer.data = (-np.frombuffer(bytes(buffer.data), np.int8).clip(-127)).astype(np.int8).view(np.uint8)
    return _pack(model)


def found_by(content: bytes, rule: Patterns, wafers: object) -> NDArray[np.uint8]:
    answers, patterns = heads(TfliteModel(content), wafers)  # type: ignore[arg-type]
    return found_patterns(rule, patterns, Decision().probabilities(answers).argmax(axis=1))


@pytest.fixture
def reference(files: Files) -> Reference:
    """The int8 model in the float model's place, each pattern passing on half of the maps."""
    model = TfliteModel(files.int8)
    answers, patterns = heads(model, KNOWN)
    assert model.pattern_output is not None
    middle = np.median(patterns, axis=0) + model.pattern_output.scale / 4
    rule = Patterns(tuple((1 / (1 + np.exp(-middle))).tolist()))
    several = Several(
        rule=rule,
        mixed=MIXED,
        bits=MIXED.patterns,
        group=MIXED_GROUP,
        found=found_by(files.int8, rule, MIXED),
        known_found=found_by(files.int8, rule, KNOWN),
    )
    return Reference(KNOWN, GROUP, Decision(), Decision().probabilities(answers), Limits(), seed=3, several=several)


def test_a_file_that_is_the_float_model_passes_and_one_with_disturbed_patterns_does_not(
    files: Files, reference: Reference
) -> None:
    same = reference.candidate("int8", RECIPES["int8"], files.int8)
    assert same.patterns is not None and same.passed
    assert (same.patterns.agreement.value, same.patterns.bit_f1_drop.value) == (1, 0)
    assert (same.patterns.mixed, same.patterns.known) == (len(MIXED), len(KNOWN))
    other = reference.candidate("int8", RECIPES["int8"], disturbed(files.int8))
    assert other.comparison.agreement.value == 1, "the nine-way answer is as it was"
    assert ("min_patterns_agreement", "") in {(check.name, check.where) for check in other.checks if not check.passed}
    assert not other.passed
    assert reference.candidate("dynamic_int8", RECIPES["dynamic_int8"], files.dynamic_int8).patterns is None


def test_each_fold_s_file_judges_its_own_mixed_wafers_and_the_shipped_one_a_sample(
    files: Files, reference: Reference
) -> None:
    assert reference.several is not None
    bad, rule = disturbed(files.int8), reference.several.rule
    sample = MIXED.select(np.arange(9))
    sampled = dataclasses.replace(reference.several, sample=sample, sample_found=found_by(files.int8, rule, sample))
    odd = np.arange(len(MIXED)) % 2 == 1
    rows = np.arange(len(KNOWN)) % 2 == 1
    judges = [
        FoldFile(content, np.flatnonzero(known), np.flatnonzero(mixed))
        for content, known, mixed in ((files.int8, ~rows, ~odd), (bad, rows, odd))
    ]
    with_sample = dataclasses.replace(reference, several=sampled)
    found = with_sample.candidate("int8", RECIPES["int8"], files.int8, of_folds=judges).patterns
    assert found is not None
    expected = np.where(odd, found_by(bad, rule, MIXED) == reference.several.found, True)
    assert found.agreement_mixed == pytest.approx(expected.mean()) != 1
    assert found.shipped == 1
    again = with_sample.candidate("int8", RECIPES["int8"], bad, of_folds=judges).patterns
    assert again is not None and again.shipped == pytest.approx(
        (found_by(bad, rule, sample) == found_by(files.int8, rule, sample)).mean()
    )
    assert again.agreement == found.agreement


def test_a_file_without_pattern_logits_is_no_candidate_of_a_run_with_them(reference: Reference) -> None:
    from wafer_tf.bundle import load_bundle
    from wafer_tf.released import released

    nano = load_bundle(released("nano") / "bundle").model
    with pytest.raises(ModelError, match="no pattern logits"):
        reference.candidate("int8", RECIPES["int8"], nano)


# === The run folder ===


def _run(path: Path, *, mixed: int) -> tuple[RunFolder, Split]:
    """Return a run folder with thresholds and the float model's answers, of wafers of which the last half judges."""
    run = RunFolder(path)
    run.write_json("patterns.json", Patterns((0.5,) * 8).to_json())
    half = np.where(np.arange(len(MIXED)) < len(MIXED) // 2, 0, 2).astype(np.int8)
    rng = np.random.default_rng(0)
    shapes = {"wafers": (len(KNOWN), 8), "mixed": (mixed, 8), "mixed_logits": (mixed, 9)}
    run.write_arrays("patterns.npz", {name: rng.normal(0, 2, n).astype(np.float16) for name, n in shapes.items()})
    group = half + 3 * np.arange(len(MIXED))
    return run, Split(half, group, "group", 0, (0.5, 0.0, 0.5), content_hash(MIXED), {})


def test_the_float_model_s_answers_are_those_that_the_run_kept(tmp_path: Path) -> None:
    run, split = _run(tmp_path, mixed=len(MIXED) // 2)
    rule = patterns_of(run)
    assert rule == Patterns((0.5,) * 8)
    assert patterns_of(RunFolder(tmp_path / "elsewhere")) is None
    logits = np.random.default_rng(1).normal(0, 1, (len(KNOWN), 9)).astype(np.float32)
    several = gated_bundle._several(run, rule, MIXED, split, logits, Decision())
    np.testing.assert_array_equal(several.bits, MIXED.patterns[split.test])
    np.testing.assert_array_equal(several.group, split.group[split.test])
    assert len(several.mixed) == len(MIXED) // 2
    for found, of, nine in (
        (several.found, "mixed", run.read_array("patterns.npz", "mixed_logits")),
        (several.known_found, "wafers", logits),
    ):
        called = nine.astype(np.float64).argmax(axis=1)
        passing = run.read_array("patterns.npz", of) >= 0
        expected = np.packbits(passing & (called != 8)[:, None], axis=1, bitorder="little")[:, 0]
        np.testing.assert_array_equal(found, np.where(np.bitwise_count(expected) > 1, expected, bits_of_labels(called)))


def test_answers_to_other_wafers_are_refused(tmp_path: Path) -> None:
    run, split = _run(tmp_path, mixed=3)
    with pytest.raises(ModelError, match=f"holds the answers to 3 mixed and {len(KNOWN)} other wafers; expected 20"):
        gated_bundle._several(
            run, Patterns((0.5,) * 8), MIXED, split, np.zeros((len(KNOWN), 9), np.float32), Decision()
        )


def test_a_comparison_is_plain_json() -> None:
    data = json.loads(json.dumps(to_json(_agreeing(11)), allow_nan=False))
    assert data["agreement_known"] is None and data["shipped"] is None
    assert data["agreement"]["value"] == 0.989
