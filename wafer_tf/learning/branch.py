"""A branch on a finished classifier that learns what is none of the nine patterns; the classifier stays as it is.

It sees what the classifier's second stack sees, at a quarter of the cells, and takes under 5 % of its multiplications.
"""

import sys
from contextlib import redirect_stdout
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from wafer_tf.decision.repeats import repeats_cropped
from wafer_tf.encoding import encode
from wafer_tf.learning.augment import Augmentation
from wafer_tf.learning.models import LOGITS, several_outputs
from wafer_tf.learning.pipeline import batched, evaluation_batches, steps_per_epoch
from wafer_tf.waferset import WaferSet

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

FEATURES, OTHER = "features", "other"
"""Outputs of a model with a branch, beside "logits"."""


def with_branch(model: "keras.Model") -> "keras.Model":
    """Return the model with a new branch: outputs "logits" (n, 9), "features" (n, d) and "other" (n, 1).

    "patterns" (n, 8) stays an output where the model has that head.

    The features are the means over the cells of every stack's last map, and the means and the largest values of the
    branch's. "other" is the logit that a map shows none of the nine. The model's own layers are shared, and frozen.

    Args:
        model: of `models.build_model`.
    """
    from keras import Model, layers

    model.trainable = False
    ends = _ends(model)
    second = ends[min(1, len(ends) - 1)]
    x, filters = second, second.shape[-1]
    for number, stride in enumerate((2, 1)):
        name = f"branch{number}"
        x = layers.Conv2D(filters, 3, strides=stride, padding="same", use_bias=False, name=f"{name}_conv")(x)
        x = layers.BatchNormalization(epsilon=1e-5, momentum=0.9, name=f"{name}_bn")(x)
        x = layers.ReLU(name=f"{name}_relu")(x)
    means = [layers.GlobalAveragePooling2D(name=f"mean{i}")(end) for i, end in enumerate((*ends, x))]
    # Not GlobalMaxPooling2D, which the quantizer leaves in floats. The mean of the one cell has a scale of its own.
    largest = layers.GlobalAveragePooling2D(name="largest")(layers.MaxPooling2D(x.shape[1:3], name="largest_cell")(x))
    features = layers.Concatenate(name=FEATURES)([*means, largest])
    y = layers.BatchNormalization(momentum=0.9, name="other_bn")(features)
    y = layers.Dropout(0.2, name="other_dropout")(y)
    y = layers.Dense(1, dtype="float32", name=OTHER)(y)
    heads = model.output if several_outputs(model) else {LOGITS: model.output}
    return Model(model.input, {**heads, FEATURES: features, OTHER: y}, name=model.name)


def _ends(model: "keras.Model") -> list[Any]:
    """Return the last map of every stack, in order."""
    ends: dict[str, Any] = {}
    for layer in model.layers:
        if layer.name.startswith(("stack", "stage")) and len(layer.output.shape) == 4:
            ends[layer.name.split("_")[0]] = layer.output
    return list(ends.values())


def head_of(model: "keras.Model") -> NDArray[np.float32]:
    """Return (d + 1,) weights on the features and a bias that give the logit "other" of a model with a branch."""
    gamma, beta, mean, variance = model.get_layer("other_bn").get_weights()
    kernel, bias = model.get_layer(OTHER).get_weights()
    scale = gamma / np.sqrt(variance + model.get_layer("other_bn").epsilon)
    weights = scale * kernel[:, 0]
    return np.append(weights, bias[0] + (beta - mean * scale) @ kernel[:, 0]).astype(np.float32)


def branch_batches(
    known: WaferSet, others: WaferSet, augmentation: Augmentation, *, batch_size: int, seed: int, epochs: int, size: int
) -> "tf.data.Dataset":
    """Return batches (input float32 0..1, (batch_size, 1) float32: 1 of an other map, 0 of a known one) of all epochs.

    Each is a function of (seed, epoch, step) alone, as those of `pipeline.training_batches`.
    """
    import tensorflow as tf

    wafers = WaferSet.concatenate([known, others])
    other = (np.arange(len(wafers)) >= len(known)).astype(np.float32)
    steps = steps_per_epoch(len(wafers), batch_size)

    def batch(number: np.int64) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        epoch, step = divmod(int(number), steps)
        order = np.random.default_rng((seed, epoch)).permutation(len(wafers))
        picked = np.take(order, np.arange(step * batch_size, (step + 1) * batch_size), mode="wrap")
        rng = np.random.default_rng((seed, epoch, step))
        planes = np.stack([encode(augmentation.apply(wafers.map(i), rng), size) for i in picked])
        return planes, other[picked, None]

    return batched(tf.data.Dataset.range(epochs * steps), batch, batch_size, size, wanted=1)


def features_of(
    model: "keras.Model", wafers: WaferSet, *, progress: bool = False
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the (n, 9) logits and the (n, d) features of every map, in order, by a model with a branch."""
    import keras

    batches = evaluation_batches(wafers, size=model.input_shape[1])
    asked = keras.Model(model.input, [model.output["logits"], model.output[FEATURES]])
    with redirect_stdout(sys.stderr):
        logits, features = asked.predict(batches, verbose=1 if progress else 0)
    return np.asarray(logits, np.float32), np.asarray(features, np.float32)


def repeats_of(wafers: WaferSet) -> NDArray[np.float64]:
    """Return (n,) `repeats_cropped` of every map of a set."""
    return np.array([repeats_cropped(wafers.map(i)[None])[0] for i in range(len(wafers))])
