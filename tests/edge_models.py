"""A small ResNet18 that no training made, and its .tflite files; made once per run of the tests."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from edge.quantization.calibration import Calibration, choose
from edge.quantization.quantize import quantizer
from edge.quantization.recipes import RECIPES, Attempt
from wafer_tf.inference.interpreter import TfliteModel
from wafer_tf.synthesis import synthesize

SIZE = 32


@dataclass(frozen=True, eq=False)
class Files:
    """The .tflite files of one model, and the maps that calibrated them."""

    calibration: Calibration
    float32: bytes
    dynamic_int8: bytes
    int8: bytes
    not_refitted: bytes
    int16x8: bytes


def resnet_files() -> Files:
    """Return every file of a ResNet18, four filters wide, with batch normalizations that do something."""
    import keras

    from wafer_tf.learning.models import ModelConfig, build_model

    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    model = build_model(ModelConfig("resnet18", input_size=SIZE, width=4))
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            n = layer.gamma.shape[0]
            layer.set_weights(
                [rng.uniform(0.5, 1.5, n), rng.normal(0, 0.3, n), rng.normal(0, 0.2, n), rng.uniform(0.5, 2, n)]
            )
    model.get_layer("logits").bias.assign(rng.normal(0, 1, 9))
    return _files(model)


def patterns_files() -> Files:
    """Return every file of a small CNN with the sigmoids of eight patterns beside its logits."""
    import keras

    from wafer_tf.learning.models import ModelConfig, build_model

    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    model = build_model(ModelConfig("baseline", input_size=SIZE, width=4, patterns=True))
    pooled = keras.Model(model.input, model.get_layer("pool").output)
    found = pooled(np.concatenate(list(_calibration().inputs()))).numpy()
    for name in ("logits", "patterns"):  # by an untrained head all maps would look alike
        head = model.get_layer(name)
        kernel = head.get_weights()[0]
        kernel *= 3 / (found @ kernel).std(axis=0)
        head.set_weights([kernel, rng.normal(0, 1, kernel.shape[1]) - (found @ kernel).mean(axis=0)])
    return _files(model)


def _calibration() -> Calibration:
    return choose(synthesize(8, seed=1).wafers, 60, seed=0, size=SIZE)


def _files(model: Any) -> Files:
    calibration = _calibration()
    with quantizer(model) as files:
        int8 = Attempt(RECIPES["int8"], 60)
        return Files(
            calibration=calibration,
            float32=files.float32,
            dynamic_int8=files.dynamic_int8,
            int8=files.integer(int8, calibration),
            not_refitted=files.integer(int8, calibration, refit=False),
            int16x8=files.integer(Attempt(RECIPES["int16x8"], 60), calibration),
        )


def logits(content: bytes, planes: np.ndarray) -> np.ndarray:
    """Return the (n, 9) real logits of encoded maps."""
    model = TfliteModel(content)
    return np.stack([model.logits(p) for p in planes])
