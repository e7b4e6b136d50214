from pathlib import Path

import keras
import numpy as np
import pytest

from training.fit import config_of
from wafer_tf.errors import ModelError, UsageError
from wafer_tf.explaining.heat_maps import default_layers
from wafer_tf.learning.models import ModelConfig, build_model, load_backbone_weights

INPUT = np.random.default_rng(0).random((2, 64, 64, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def preset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A keras-hub preset of ResNet18, random weights, saved locally as keras-hub saves it."""
    import keras_hub

    backbone = keras_hub.models.ResNetBackbone(
        [64], [7], [64, 128, 256, 512], [2, 2, 2, 2], [1, 2, 2, 2], "basic_block", image_shape=(None, None, 3)
    )
    path = tmp_path_factory.mktemp("preset")
    backbone.save_to_preset(str(path))
    return path


@pytest.mark.parametrize("architecture", ["resnet18", "baseline"])
@pytest.mark.parametrize("stem", ["small", "imagenet"])
def test_every_model_is_one_flat_graph_ending_in_logits(architecture: str, stem: str) -> None:
    model = build_model(ModelConfig(architecture=architecture, width=8, stem=stem))
    assert not any(isinstance(layer, keras.Model) for layer in model.layers)
    assert model.layers[-1].name == "logits"
    assert model.layers[-1].activation is keras.activations.linear
    assert model.output_shape == (None, 9)


@pytest.mark.parametrize(
    ("architecture", "layer"), [("resnet18", "stack3_block1_out"), ("baseline", "stage3_conv1_relu")]
)
def test_the_last_feature_map_keeps_eight_by_eight_cells(architecture: str, layer: str) -> None:
    model = build_model(ModelConfig(architecture=architecture))
    assert model.get_layer(layer).output.shape[1:3] == (8, 8)
    assert model.get_layer("pool").input is model.get_layer(layer).output


@pytest.mark.parametrize(
    ("architecture", "width", "millions"), [("resnet16", 16, 28.51), ("resnet14", 8, 5.66), ("resnet18", 24, 135.15)]
)
def test_a_map_takes_so_many_multiplications(architecture: str, width: int, millions: float) -> None:
    """28.5 and 5.7 million are what stations are promised: at most 30 and 6."""
    found = 0
    for layer in build_model(ModelConfig(architecture, width=width)).layers:
        if isinstance(layer, keras.layers.Conv2D | keras.layers.Dense):
            found += int(np.prod(layer.output.shape[1:-1])) * int(np.prod(layer.kernel.shape))
    assert round(found / 1e6, 2) == millions


@pytest.mark.parametrize("architecture", ["resnet16", "resnet14"])
def test_the_slim_nets_are_explained_by_the_eight_by_eight_cells_before_their_last_stack(architecture: str) -> None:
    model = build_model(ModelConfig(architecture, width=8))
    assert model.get_layer("pool").input.shape[1:3] == (4, 4)
    assert default_layers(model, "gradcam") == ("stack2_block1_out",)
    assert default_layers(model, "fused") == ("stack0_block0_out", "stack2_block1_out")


def test_the_imagenet_stem_is_the_resnet18s(capsys: pytest.CaptureFixture[str]) -> None:
    assert config_of(["--width", "64", "--stem", "imagenet"]).model.architecture == "resnet18"
    assert config_of([]).model == ModelConfig("resnet16", width=16)
    with pytest.raises(UsageError, match="or --model resnet18"):
        ModelConfig("resnet16", stem="imagenet")


def test_the_thin_resnet_has_the_layer_names_and_shapes_of_keras_hubs() -> None:
    hub = build_model(ModelConfig("resnet18", width=64, stem="imagenet"))
    own = build_model(ModelConfig("resnet18", width=64, stem="small"))
    shapes = {layer.name: [w.shape for w in layer.weights] for layer in hub.layers if layer.weights}
    found = {layer.name: [w.shape for w in layer.weights] for layer in own.layers if layer.weights}
    assert set(shapes) == set(found)
    assert {name for name in shapes if shapes[name] != found[name]} == {"conv1_conv"}


def test_a_local_preset_loads_into_the_published_resnet18_and_gives_its_features(preset: Path) -> None:
    import keras_hub

    model = build_model(ModelConfig("resnet18", width=64, stem="imagenet"))
    copied = load_backbone_weights(model, str(preset))
    backbone = keras_hub.models.Backbone.from_preset(str(preset))
    features = keras.Model(model.input, model.get_layer("stack3_block1_out").output)
    assert copied == sum(bool(layer.weights) for layer in backbone.layers)
    np.testing.assert_allclose(features(INPUT), backbone(INPUT), atol=1e-4)


def test_weights_of_another_width_are_refused_by_name(preset: Path) -> None:
    with pytest.raises(ModelError, match="need --width 64 --stem imagenet"):
        load_backbone_weights(build_model(ModelConfig(width=8)), str(preset))


def test_imagenet_without_network_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    import keras_hub

    def offline(*_: object, **__: object) -> None:
        raise ConnectionError("no route to host")

    monkeypatch.setattr(keras_hub.models.ResNetBackbone, "from_preset", offline)
    with pytest.raises(ModelError, match="connect once, or copy a preset folder here and pass --backbone-weights PATH"):
        load_backbone_weights(build_model(ModelConfig("resnet18", width=64, stem="imagenet")), "imagenet")


def test_weights_of_a_finished_run_head_included_start_the_next_one(small_run: Path) -> None:
    source = keras.saving.load_model(small_run / "model.keras", compile=False)
    model = build_model(ModelConfig(architecture="baseline", width=4, input_size=32))
    assert load_backbone_weights(model, str(small_run)) == sum(bool(layer.weights) for layer in model.layers)
    for a, b in zip(source.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_head_of_other_classes_is_left_behind(tmp_path: Path) -> None:
    config = ModelConfig(architecture="baseline", width=4, input_size=32)
    source = build_model(config)
    five = keras.layers.Dense(5, name="logits")(source.get_layer("logits").input)
    keras.Model(source.input, five).save(tmp_path / "five.keras")
    model = build_model(config)
    head = model.get_layer("logits").get_weights()
    load_backbone_weights(model, str(tmp_path / "five.keras"))
    for a, b in zip(source.get_weights()[:-2] + head, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    "bad", [{"architecture": "vgg"}, {"stem": "big"}, {"input_size": 8}, {"width": 5}, {"dropout": 1.0}]
)
def test_a_model_that_cannot_be_built_is_a_usage_error(bad: dict) -> None:
    with pytest.raises(UsageError, match="expected"):
        ModelConfig(**bad)
