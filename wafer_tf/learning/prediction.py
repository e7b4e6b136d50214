"""Logits of many wafer maps by a Keras model."""

import sys
from contextlib import redirect_stdout
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from wafer_tf.learning.augment import SYMMETRY_COUNT, symmetry
from wafer_tf.learning.models import LOGITS
from wafer_tf.learning.pipeline import evaluation_batches
from wafer_tf.waferset import WaferSet

if TYPE_CHECKING:
    import keras


def predict_logits(model: "keras.Model", wafers: WaferSet, *, progress: bool = False) -> NDArray[np.float32]:
    """Return (n, 9) float32 logits of every map, in order."""
    return predict_heads(model, wafers, progress=progress)[LOGITS]


def predict_heads(model: "keras.Model", wafers: WaferSet, *, progress: bool = False) -> dict[str, NDArray[np.float32]]:
    """Return what every head of a model says of every map, in order: "logits" (n, 9), and "patterns" (n, 8) if any."""
    batches = evaluation_batches(wafers, size=model.input_shape[1])
    with redirect_stdout(sys.stderr):
        found = model.predict(batches, verbose=1 if progress else 0)
    heads = found if isinstance(found, dict) else {LOGITS: found}
    return {name: np.asarray(values, np.float32) for name, values in heads.items()}


def mean_logits(model: "keras.Model", wafers: WaferSet) -> NDArray[np.float32]:
    """Return (n, 9) float32, the mean of every map's logits over the eight symmetries of the square."""
    turned = (
        WaferSet.from_maps((symmetry(wafers.map(i), k) for i in range(len(wafers))), label=wafers.label)
        for k in range(SYMMETRY_COUNT)
    )
    return np.asarray(np.mean([predict_logits(model, each) for each in turned], axis=0), np.float32)
