"""The maps of a bundle's self-test, and what goes with them."""

from types import SimpleNamespace

import numpy as np
import pytest

from edge.gate.golden import golden, golden_maps
from wafer_tf.bundle import load_bundle
from wafer_tf.decision import Decision
from wafer_tf.encoding import encode
from wafer_tf.errors import ModelError
from wafer_tf.inference.interpreter import TfliteModel
from wafer_tf.released import released
from wafer_tf.synthesis import synthesize


def test_the_first_are_four_synthetic_maps_of_each_class() -> None:
    grids, wafers = golden_maps(), synthesize(4, seed=0).wafers
    assert len(grids) == 40
    for i in range(36):
        np.testing.assert_array_equal(grids[i], wafers.map(i))
    assert np.bincount(wafers.label).tolist() == [4] * 9


def test_the_others_are_what_real_maps_are_seldom() -> None:
    *drawn, passed, failed, smallest, largest = golden_maps()
    np.testing.assert_array_equal(passed, (drawn[0] > 0) * 1)
    np.testing.assert_array_equal(failed, (drawn[0] > 0) * 2)
    assert passed.dtype == failed.dtype == smallest.dtype == largest.dtype == np.uint8
    assert smallest.shape == (3, 3)
    assert smallest.all(), "a die everywhere"
    assert largest.shape == (300, 300)
    across = np.linspace(-1, 1, 300)
    np.testing.assert_array_equal(largest > 0, np.hypot(across, across[:, None]) <= 1)
    assert 0 < (largest == 2).sum() < 9000, "a scratch"
    np.testing.assert_array_equal(
        smallest, synthesize({"Random": 1}, seed=0, grids=[np.ones((3, 3), np.uint8)]).wafers.map(0)
    )
    np.testing.assert_array_equal(
        largest, synthesize({"Scratch": 1}, seed=0, grids=[(largest > 0).astype(np.uint8)]).wafers.map(0)
    )


def test_golden_answers_are_those_of_the_model_and_the_decision() -> None:
    bundle = load_bundle(released("nano") / "bundle")
    decision = Decision(bias=(1.0, *[0.0] * 8), temperature=2.0)
    model = TfliteModel(bundle.model)
    found = golden(model, decision)
    assert (found.logits.shape, found.logits.dtype) == ((40, 9), np.int8)
    for grid, stored, prob in zip(found.grids, found.logits, found.probabilities, strict=True):
        np.testing.assert_array_equal(stored, model.run(encode(grid, 64)))
        real = bundle.output.dequantize(stored)
        np.testing.assert_allclose(prob, decision.probabilities(real), rtol=1e-12)


def test_a_model_that_answers_in_floats_has_no_golden_maps() -> None:
    with pytest.raises(ModelError, match="expected an integer model"):
        golden(SimpleNamespace(output=None), Decision())  # type: ignore[arg-type]
