"""Heat maps: equal to the published formulas, on the right dies, for every architecture and precision."""

from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from wafer_tf.dies import CLASSES
from wafer_tf.encoding import encode
from wafer_tf.errors import ModelError, UsageError
from wafer_tf.explaining.heat_maps import METHODS, MIN_CELLS, Explainer, default_layers, layers_to_explain, on_dies
from wafer_tf.learning.models import ModelConfig, build_model
from wafer_tf.learning.pipeline import evaluation_batches
from wafer_tf.waferset import WaferSet

GRADIENT = [method for method in METHODS if method != "scorecam"]
SHAPES = ((26, 31), (3, 3), (18, 4), (64, 64), (90, 70), (12, 12))


@pytest.fixture(scope="module")
def wafers() -> WaferSet:
    rng = np.random.default_rng(0)
    maps = [rng.integers(0, 3, shape).astype(np.uint8) for shape in SHAPES]
    return WaferSet.from_maps(maps, label=np.arange(len(SHAPES)))


@pytest.fixture(scope="module")
def models() -> dict[str, keras.Model]:
    keras.utils.set_random_seed(1)
    # Not narrower than 8: the gradients taken here are those of the weights too, and oneDNN's AVX2 kernel for that of a
    # 1 x 1 convolution with stride 2 writes beyond its memory below 8 channels (oneDNN, issue 6035).
    configs = [ModelConfig("resnet18", width=8), ModelConfig(width=4, architecture="baseline")]
    return {config.architecture: build_model(config) for config in configs}


def tape_cells(model: keras.Model, layer: str, wafers: WaferSet, method: str) -> np.ndarray:
    """Grad-CAM and LayerCAM in a few lines, on the whole model: (n, cells, cells), before any scaling."""
    whole = keras.Model(model.inputs, [model.get_layer(layer).output, model.output])
    inputs = tf.concat([batch for batch, _ in evaluation_batches(wafers, size=model.input_shape[1])], 0)
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        features, logits = whole(inputs)
        score = tf.reduce_sum(tf.gather(logits, wafers.label.astype(int), axis=1, batch_dims=1))
    slope = tape.gradient(score, features)
    weights = tf.reduce_mean(slope, axis=(1, 2), keepdims=True) if method == "gradcam" else tf.nn.relu(slope)
    return tf.nn.relu(tf.reduce_sum(features * weights, axis=-1)).numpy()


@pytest.mark.parametrize("method", ["gradcam", "layercam"])
@pytest.mark.parametrize(
    ("architecture", "layer"),
    [
        ("resnet18", "stack3_block1_out"),
        ("resnet18", "stack1_block1_out"),
        ("baseline", "stage3_conv1_relu"),
        ("baseline", "stage1_conv1_relu"),
    ],
)
def test_heat_equals_a_short_gradient_tape_version(
    method: str, architecture: str, layer: str, models: dict[str, keras.Model], wafers: WaferSet
) -> None:
    model = models[architecture]
    heat = Explainer(model, method=method, layer=layer).heat_maps(wafers, wafers.label)
    expected = [on_dies(cells, wafers.map(i)) for i, cells in enumerate(tape_cells(model, layer, wafers, method))]
    assert max(found.max() for found in expected) > 0
    for i, found in enumerate(expected):
        assert heat.peak[i] == pytest.approx(found.max(), rel=1e-4)
        np.testing.assert_allclose(heat.map(i), found / (found.max() or 1), atol=1e-5)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("architecture", ["resnet18", "baseline"])
def test_heat_lies_on_the_dies_of_the_wafer_itself_from_0_to_1(
    method: str, architecture: str, models: dict[str, keras.Model], wafers: WaferSet, capsys: pytest.CaptureFixture[str]
) -> None:
    heat = Explainer(models[architecture], method=method).heat_maps(wafers, wafers.label)
    assert heat.flat.dtype == np.float32 and len(heat) == len(wafers)
    for i, (rows, cols) in enumerate(SHAPES):
        found = heat.map(i)
        assert found.shape == (rows, cols)
        assert not found[wafers.map(i) == 0].any()
        assert found.min() >= 0 and found.max() == (1 if heat.peak[i] > 0 else 0)
    assert heat.peak.any()
    assert capsys.readouterr().out == ""


def test_batches_of_any_size_give_the_same_heat(models: dict[str, keras.Model], wafers: WaferSet) -> None:
    explainer = Explainer(models["baseline"])
    whole, parts = (explainer.heat_maps(wafers, wafers.label, batch_size=size) for size in (64, 4))
    np.testing.assert_allclose(whole.flat, parts.flat, atol=1e-5)


def test_another_class_gives_another_heat(models: dict[str, keras.Model], wafers: WaferSet) -> None:
    explainer = Explainer(models["resnet18"])
    a, b = (explainer.heat_maps(wafers, np.full(len(wafers), code)) for code in (0, 5))
    assert a.target.tolist() == [0] * len(wafers)
    assert np.abs(a.flat - b.flat).max() > 0.1


def test_no_maps_give_no_heat(models: dict[str, keras.Model], wafers: WaferSet) -> None:
    heat = Explainer(models["baseline"]).heat_maps(wafers.select([]), np.zeros(0, int))
    assert len(heat) == 0 and len(heat.flat) == 0


@given(rows=st.integers(3, 64), cols=st.integers(3, 64), data=st.data())
def test_a_die_is_found_again_where_encoding_put_it(rows: int, cols: int, data: st.DataObject) -> None:
    row, col = data.draw(st.integers(0, rows - 1)), data.draw(st.integers(0, cols - 1))
    grid = np.ones((rows, cols), np.uint8)
    grid[row, col] = 2
    back = on_dies(encode(grid)[..., 1], grid)
    assert back[row, col] == back.max() > 0
    assert (np.argwhere(back == back.max()) == [row, col]).all()


@given(rows=st.integers(65, 300), cols=st.integers(65, 300), data=st.data())
def test_on_a_large_map_a_die_is_found_again_within_the_cell_it_shares(
    rows: int, cols: int, data: st.DataObject
) -> None:
    row, col = data.draw(st.integers(0, rows - 1)), data.draw(st.integers(0, cols - 1))
    grid = np.ones((rows, cols), np.uint8)
    grid[row, col] = 2
    back = on_dies(encode(grid)[..., 1], grid)
    hottest = np.argwhere(back == back.max())
    assert np.all(np.abs(hottest - [row, col]) <= np.array([rows, cols]) / 64)


@given(rows=st.integers(3, 90), cols=st.integers(3, 90), turns=st.integers(0, 3), mirrored=st.booleans())
def test_sampling_commutes_with_turning_and_mirroring(rows: int, cols: int, turns: int, mirrored: bool) -> None:
    rng = np.random.default_rng(rows * 1000 + cols)
    cells, grid = rng.random((8, 8)), rng.integers(0, 3, (rows, cols)).astype(np.uint8)

    def moved(array: np.ndarray) -> np.ndarray:
        turned = np.rot90(array, turns)
        return np.fliplr(turned) if mirrored else turned

    np.testing.assert_allclose(on_dies(moved(cells), moved(grid)), moved(on_dies(cells, grid)), atol=1e-12)


def test_sampling_is_linear_between_the_middles_of_cells_and_even_beyond() -> None:
    cells = np.tile(np.arange(8.0), (8, 1))
    found = on_dies(cells, np.ones((5, 16), np.uint8))[2]
    np.testing.assert_allclose(found, np.clip((np.arange(16) + 0.5) / 2 - 0.5, 0, 7))


@pytest.fixture
def policy() -> Iterator[None]:
    yield
    keras.config.set_dtype_policy("float32")


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
@pytest.mark.usefixtures("policy")
def test_a_model_of_mixed_precision_is_explained_in_float32(
    precision: str, method: str, models: dict[str, keras.Model], wafers: WaferSet
) -> None:
    plain = models["baseline"]
    keras.config.set_dtype_policy(precision)
    mixed = build_model(ModelConfig(width=4, architecture="baseline"))
    mixed.set_weights(plain.get_weights())
    found = Explainer(mixed, method=method).heat_maps(wafers, wafers.label)  # the policy still set, as in training
    keras.config.set_dtype_policy("float32")
    expected = Explainer(plain, method=method).heat_maps(wafers, wafers.label)
    np.testing.assert_allclose(found.flat, expected.flat, atol=1e-5)


def test_the_layer_looked_at_has_at_least_8_by_8_cells_in_every_model() -> None:
    for config in (
        ModelConfig(),
        ModelConfig("resnet14", width=8),
        ModelConfig("resnet18", width=24),
        ModelConfig(architecture="baseline"),
        ModelConfig("resnet18", width=64, stem="imagenet"),
        ModelConfig(input_size=32),
        ModelConfig(architecture="baseline", input_size=32),
        ModelConfig("resnet18", width=64, stem="imagenet", input_size=32),
        ModelConfig(input_size=97),
    ):
        model = build_model(config)
        for name in default_layers(model, "fused"):
            assert name in layers_to_explain(model)
            assert min(model.get_layer(name).output.shape[1:3]) >= MIN_CELLS


def test_the_default_layers_of_the_resnet18_are_as_documented() -> None:
    model = build_model(ModelConfig("resnet18", width=4))
    fine, deep = "stack0_block1_out", "stack3_block1_out"
    assert default_layers(model, "fused") == (fine, deep)
    assert default_layers(model, "layercam") == (fine,)
    assert {default_layers(model, method) for method in ("gradcam", "gradcam++", "scorecam")} == {(deep,)}


def test_fused_heat_is_the_geometric_mean_of_two_layers(models: dict[str, keras.Model], wafers: WaferSet) -> None:
    model = models["resnet18"]
    fused = Explainer(model, method="fused").heat_maps(wafers, wafers.label)
    fine, deep = (
        Explainer(model, method="layercam", layer=layer).heat_maps(wafers, wafers.label)
        for layer in default_layers(model, "fused")
    )
    assert fused.peak.any()
    for i in range(len(wafers)):
        both = np.sqrt(fine.map(i) * deep.map(i))
        np.testing.assert_allclose(fused.map(i), both / (both.max() or 1), atol=1e-5)


@pytest.mark.parametrize(
    ("choice", "text"),
    [
        ({"layer": "stage0_conv0_relu"}, "fused, which looks at two of its own"),
        ({"method": "gradcam2"}, "expected one of fused, layercam, gradcam, gradcam\\+\\+, scorecam"),
        ({"layer": "stack9_out", "method": "gradcam"}, "expected one of .*stage0_conv0_relu.*at least 8 x 8 cells"),
        ({"layer": "logits", "method": "gradcam"}, "layer 'logits'"),
    ],
)
def test_an_unknown_method_or_layer_is_refused_with_those_there_are(
    choice: dict[str, str], text: str, models: dict[str, keras.Model]
) -> None:
    with pytest.raises(UsageError, match=text):
        Explainer(models["baseline"], **choice)


def test_a_layer_too_coarse_to_explain_is_refused() -> None:
    with pytest.raises(UsageError, match="stage3_conv1_relu"):
        small = build_model(ModelConfig(width=4, architecture="baseline", input_size=32))
        Explainer(small, method="gradcam", layer="stage3_conv1_relu")


def test_classes_and_maps_must_be_as_many(models: dict[str, keras.Model], wafers: WaferSet) -> None:
    with pytest.raises(UsageError, match="2 target classes for 6 maps"):
        Explainer(models["baseline"]).heat_maps(wafers, np.array([0, 1]))


@pytest.mark.parametrize("method", GRADIENT)
def test_weights_that_are_not_finite_are_reported(method: str, wafers: WaferSet) -> None:
    model = build_model(ModelConfig(width=4, architecture="baseline"))
    model.get_layer("logits").set_weights([np.full(w.shape, np.nan) for w in model.get_layer("logits").get_weights()])
    with pytest.raises(ModelError, match="not finite"):
        Explainer(model, method=method).heat_maps(wafers, wafers.label)


def test_grad_cam_plus_plus_stays_finite_where_logits_are_large(wafers: WaferSet) -> None:
    model = build_model(ModelConfig(width=4, architecture="baseline"))
    kernel, bias = model.get_layer("logits").get_weights()
    model.get_layer("logits").set_weights([kernel, bias + 500])
    heat = Explainer(model, method="gradcam++").heat_maps(wafers, wafers.label)
    assert np.isfinite(heat.flat).all() and heat.peak.any()


def test_explaining_leaves_the_model_as_it_was(small_run: Path, wafers: WaferSet) -> None:
    from wafer_tf.learning.prediction import predict_logits
    from wafer_tf.learning.run_folder import RunFolder

    model = RunFolder.open(small_run).model()
    before, weights = predict_logits(model, wafers), model.get_weights()
    for method in METHODS:
        Explainer(model, method=method).heat_maps(wafers, wafers.label)
    assert np.array_equal(predict_logits(model, wafers), before)
    assert all(np.array_equal(a, b) for a, b in zip(model.get_weights(), weights, strict=True))
    assert len(CLASSES) == before.shape[1]
