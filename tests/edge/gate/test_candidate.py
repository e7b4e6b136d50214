"""A .tflite file held against the float model, with the released nano model in place of a trained one."""

import dataclasses

import numpy as np
import pytest

from edge.gate.candidate import Reference, logits
from edge.gate.comparison import Limits, compare
from edge.quantization.contents import read_contents
from edge.quantization.recipes import RECIPES
from wafer_tf.bundle import Bundle, load_bundle
from wafer_tf.encoding import encode
from wafer_tf.errors import ModelError
from wafer_tf.inference.interpreter import TfliteModel
from wafer_tf.released import released
from wafer_tf.scoring.scores import score
from wafer_tf.synthesis import synthesize

TEST = synthesize(3, seed=5).wafers


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return load_bundle(released("nano") / "bundle")


@pytest.fixture
def reference(bundle: Bundle) -> Reference:
    """The int8 model in the float model's place, so that an int8 model loses nothing."""
    prob = bundle.decision.probabilities(logits(TfliteModel(bundle.model), TEST))
    return Reference(TEST, np.arange(len(TEST)) // 2, bundle.decision, prob, Limits(), seed=3)


def test_the_logits_are_those_of_each_map_in_order(bundle: Bundle, capsys: pytest.CaptureFixture[str]) -> None:
    model = TfliteModel(bundle.model)
    found = logits(model, TEST)
    assert found.shape == (27, 9)
    for i in (0, 5, 26):
        np.testing.assert_array_equal(found[i], model.logits(encode(TEST.map(i), 64)))
    assert capsys.readouterr().err == "", "a bar that nobody asked for"
    logits(model, TEST, progress="judging int8")
    err = capsys.readouterr().err
    assert "judging int8" in err
    assert "27/27" in err
    assert "map/s" in err


def test_a_candidate_is_what_its_file_says_and_how_it_compares(bundle: Bundle, reference: Reference) -> None:
    found = reference.candidate("int8, 9 maps", RECIPES["int8"], bundle.model, made={"attempt": "first"})
    assert (found.name, found.recipe, found.content) == ("int8, 9 maps", RECIPES["int8"], bundle.model)
    assert found.made == {"attempt": "first"}
    assert found.contents == read_contents(bundle.model)
    assert found.xnnpack is True
    np.testing.assert_array_equal(found.prob, reference.float_prob)
    assert found.scores.to_json() == score(TEST.label, found.prob, group=reference.group, seed=3).to_json()
    again = compare(TEST.label, found.prob, found.prob, group=reference.group, seed=3)
    assert found.comparison.to_json() == again.to_json()
    assert found.checks == found.comparison.checks(reference.limits)
    assert found.passed
    assert reference.candidate("int8", RECIPES["int8"], bundle.model).made == {}


def test_one_limit_beyond_which_it_is_fails_a_candidate(bundle: Bundle, reference: Reference) -> None:
    other = reference.float_prob.copy()
    other[0] = np.roll(other[0], 1)
    found = dataclasses.replace(reference, float_prob=other).candidate("int8", RECIPES["int8"], bundle.model)
    assert found.comparison.agreement.value == 26 / 27
    assert [check.passed for check in found.checks].count(False) >= 1
    assert not found.passed
    lenient = dataclasses.replace(reference, float_prob=other, limits=Limits(0, 100, 100))
    assert lenient.candidate("int8", RECIPES["int8"], bundle.model).passed


def test_a_file_that_is_not_what_an_integer_recipe_promises_is_no_candidate(
    bundle: Bundle, reference: Reference
) -> None:
    with pytest.raises(ModelError, match="not what the recipe int16x8 promises"):
        reference.candidate("int16x8", RECIPES["int16x8"], bundle.model)
    assert reference.candidate("dynamic_int8", RECIPES["dynamic_int8"], bundle.model).passed, "it promises no integers"
