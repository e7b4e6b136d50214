"""Several patterns on one wafer: a heat map for each, told apart; the nine-way heat as it was."""

from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from wafer_tf.dies import NONE
from wafer_tf.errors import ModelError, UsageError
from wafer_tf.explaining.heat_maps import Explainer, default_layers, on_dies, one_head
from wafer_tf.explaining.pattern_heat import apart, heat_per_pattern, patterns_of
from wafer_tf.learning.models import ModelConfig, build_model, nine_way
from wafer_tf.learning.pipeline import evaluation_batches
from wafer_tf.learning.run_folder import RunFolder
from wafer_tf.pattern_bits import PATTERNS, pattern_names
from wafer_tf.synthesis.mixed import Mixed, compose

ARCHITECTURES = ("resnet14", "baseline")
SIZE = 32


@pytest.fixture(scope="module")
def models() -> dict[str, keras.Model]:
    keras.utils.set_random_seed(2)
    return {name: build_model(ModelConfig(name, input_size=SIZE, width=8, patterns=True)) for name in ARCHITECTURES}


@pytest.fixture(scope="module")
def made() -> Mixed:
    return compose(5, seed=3)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_pattern_of_a_wafer_has_a_heat_map_of_its_own(
    architecture: str, models: dict[str, keras.Model], made: Mixed
) -> None:
    wafers = made.wafers
    found = heat_per_pattern(Explainer(models[architecture], head="patterns"), wafers, wafers.patterns)
    assert len(found) == len(wafers)
    different = 0
    for i in range(len(wafers)):
        heats = found.of(i)
        assert tuple(heats) == pattern_names(int(wafers.patterns[i])) and len(heats) > 1
        for heat in heats.values():
            assert heat.shape == tuple(wafers.shapes[i]) and not heat[wafers.map(i) == 0].any()
            assert heat.min() >= 0 and heat.max() in (0, 1)
        first, second, *_ = heats.values()
        different += float(np.abs(first - second).max()) > 0.1
    assert different >= 4


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_heat_of_a_pattern_is_that_of_its_own_sigmoid(
    architecture: str, models: dict[str, keras.Model], made: Mixed
) -> None:
    model, wafers = models[architecture], made.wafers.select([0])
    (layer,) = default_layers(model, "gradcam")
    whole = keras.Model(model.inputs, [model.get_layer(layer).output, model.output["patterns"]])
    ((inputs, _),) = evaluation_batches(wafers, size=SIZE)
    heats = heat_per_pattern(Explainer(model, method="gradcam", head="patterns"), wafers, wafers.patterns).of(0)
    for name, heat in heats.items():
        with tf.GradientTape() as tape:
            features, logits = whole(inputs)
            score = logits[:, PATTERNS.index(name)]
        weights = tf.reduce_mean(tape.gradient(score, features), axis=(1, 2), keepdims=True)
        cells = tf.nn.relu(tf.reduce_sum(features * weights, axis=-1)).numpy()[0]
        expected = on_dies(cells, wafers.map(0))
        np.testing.assert_allclose(heat, expected / (expected.max() or 1), atol=1e-5)


def test_wafers_without_several_patterns_have_no_heat_maps_and_shift_no_other(
    models: dict[str, keras.Model], made: Mixed
) -> None:
    explainer = Explainer(models["baseline"], head="patterns")
    bits = made.wafers.patterns.copy()
    bits[[0, 2]] = 0
    some, every = (heat_per_pattern(explainer, made.wafers, which) for which in (bits, made.wafers.patterns))
    assert [len(some.of(i)) for i in (0, 2)] == [0, 0] and len(some) == 5
    for i in (1, 3, 4):
        assert list(some.of(i)) == list(every.of(i))
        for name, heat in some.of(i).items():
            np.testing.assert_allclose(heat, every.of(i)[name], atol=1e-5)
    assert len(heat_per_pattern(explainer, made.wafers, np.zeros(5, np.uint8)).heat) == 0


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_nine_way_heat_does_not_depend_on_the_head_beside_it(
    architecture: str, models: dict[str, keras.Model], made: Mixed
) -> None:
    target = np.arange(5) + 4
    assert target[-1] == NONE
    whole, alone = (
        Explainer(model).heat_maps(made.wafers, target)
        for model in (models[architecture], nine_way(models[architecture]))
    )
    assert whole.peak.any() and whole.target.tolist() == target.tolist()
    np.testing.assert_allclose(whole.flat, alone.flat, atol=1e-6)


def test_a_sigmoid_speaks_for_another_heat_than_the_nine_way_logit_of_its_name(
    models: dict[str, keras.Model], made: Mixed
) -> None:
    target = np.zeros(5, int)
    nine, own = (
        Explainer(models["resnet14"], head=head).heat_maps(made.wafers, target) for head in ("logits", "patterns")
    )
    assert np.abs(nine.flat - own.flat).max() > 0.1


def test_a_model_without_sigmoids_and_a_pattern_that_is_none_are_refused(
    models: dict[str, keras.Model], made: Mixed
) -> None:
    plain = build_model(ModelConfig("baseline", input_size=SIZE, width=4))
    with pytest.raises(ModelError, match="no head 'patterns'; it has logits"):
        Explainer(plain, head="patterns")
    assert one_head(plain, "logits") is plain
    with pytest.raises(UsageError, match="target 8; expected 0 to 7"):
        Explainer(models["baseline"], head="patterns").heat_maps(made.wafers, np.full(5, NONE))
    with pytest.raises(UsageError, match="patterns of 2 wafers for 5 maps"):
        heat_per_pattern(Explainer(models["baseline"], head="patterns"), made.wafers, np.zeros(2, np.uint8))


def test_each_die_is_left_to_the_pattern_it_speaks_for_most() -> None:
    heats = {"Loc": np.array([[0.2, 1.0, 0.0, 0.5]]), "Scratch": np.array([[0.9, 0.4, 0.0, 0.5]])}
    found = apart(heats)
    assert found["Loc"].tolist() == [[0, 1, 0, 0.5]] and found["Scratch"].tolist() == [[0.9, 0, 0, 0.5]]
    assert heats["Loc"].tolist() == [[0.2, 1.0, 0.0, 0.5]]
    assert apart({}) == {}


def test_a_runs_rule_is_read_and_a_damaged_one_named(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    assert patterns_of(run) is None
    run.write_json("patterns.json", {"thresholds": [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8]})
    assert patterns_of(run).thresholds[2] == 0.3
    run.write_json("patterns.json", {"thresholds": [0.1]})
    with pytest.raises(ModelError, match=r"run folder .*thresholds must be 8 numbers"):
        patterns_of(run)
