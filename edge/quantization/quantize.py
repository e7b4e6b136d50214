"""From a Keras model to .tflite files by recipe: the float graph, dynamic int8, int8, and int8 with 16-bit activations.

The integer files take three steps on the float graph that TensorFlow's converter gives, with BatchNorm folded and ReLU
fused:

1. `observe` runs it on the calibration maps and notes the extremes of every activation. Neither library's own
   calibration is used. In TensorFlow's an addition may write its result into its input's memory, and the sum's extremes
   are then taken for the input's, 19 to 63 % too wide on the residual branches of a trained ResNet18.
   ai-edge-quantizer's keeps a moving average of the maps' extremes, which clips many maps: on the two released models,
   five calibration sets each, its files gave 397 to 399 of the 404 test maps the float model's call and never passed
   the gate; those with these ranges gave 402 to 404 and always passed.
2. ai-edge-quantizer quantizes the graph, with those ranges, per channel.
3. The last layer is refitted, by least squares over the calibration maps from the integer logits to the float ones, and
   the graph is quantized again; so is the layer of the pattern logits where there is one. That takes back what the
   error has in common from map to map (Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias
   Correction", ICCV 2019, take back its mean).

Step 3 changed the mean drift of int8's probabilities by -37 to +3 % on six runs on real maps, and that of int16x8 by
-40 to -63 % on five. Tried and left out, as no better: activations symmetric about 0 (drift 1.3 to 1.6 times as large),
ranges of least squared error, equalizing the channels (Nagel et al.), narrower ranges of the logits, and fine-tuning on
quantized activations against the float logits.
"""

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edge.quantization.calibration import Calibration
from edge.quantization.recipes import WHOLE_RANGE, Attempt
from wafer_tf.errors import ModelError
from wafer_tf.inference.interpreter import FEATURES, LOGITS, PATTERN_LOGITS, TfliteModel

if TYPE_CHECKING:
    import keras

Ranges = dict[int, tuple[float, float]]
"""Smallest and largest value of each activation, by its index in the graph."""
OUTPUTS = {LOGITS: "logits", FEATURES: "features", PATTERN_LOGITS: "patterns"}
"""A file's outputs by name, and the Keras layer that gives each; only the logits must be there."""


@dataclass(frozen=True, eq=False)
class Extremes:
    """Smallest and largest value of each activation of the float graph, on each calibration map.

    Attributes:
        tensors: (t,) index of each activation in the graph.
        low, high: (maps, t) float32.
        whole: (t,) bool, activations whose range is never clipped: the input and the outputs.
    """

    tensors: tuple[int, ...]
    low: NDArray[np.float32]
    high: NDArray[np.float32]
    whole: NDArray[np.bool_]

    def ranges(self, coverage: float) -> Ranges:
        """Return the range of each activation that holds the values of `coverage` % of the maps; 0 is in each."""
        covered = np.where(self.whole, WHOLE_RANGE, coverage)
        low = [float(np.percentile(self.low[:, t], 100 - covered[t])) for t in range(len(self.tensors))]
        high = [float(np.percentile(self.high[:, t], covered[t])) for t in range(len(self.tensors))]
        return {t: (min(0.0, a), max(0.0, b)) for t, a, b in zip(self.tensors, low, high, strict=True)}


class Quantizer:
    """Makes the .tflite files of one Keras model.

    Attributes:
        float32: the float graph's file.
        input_size: side of the encoded map.
    """

    def __init__(self, saved: Path, input_size: int) -> None:
        """Read a SavedModel; `quantizer` makes one from a Keras model."""
        self._saved, self.input_size = saved, input_size
        self.float32 = self._convert(optimize=False)
        self._seen: tuple[Calibration, Extremes] | None = None

    @cached_property
    def dynamic_int8(self) -> bytes:
        """The file with int8 weights and float activations."""
        return self._convert(optimize=True)

    def integer(
        self, attempt: Attempt, calibration: Calibration, *, refit: bool = True, progress: bool = False
    ) -> bytes:
        """Return the file of an integer recipe.

        Args:
            attempt: the recipe and the coverage of its ranges.
            calibration: the maps.
            refit: refit the last layer.
            progress: show a bar on stderr.
        """
        if self._seen is None or self._seen[0] is not calibration:
            self._seen = calibration, observe(self.float32, calibration, progress=progress)
        ranges = self._seen[1].ranges(attempt.coverage)
        make = quantize_int16x8 if attempt.recipe.activations == "int16" else quantize_int8
        first = make(self.float32, ranges)
        return make(refit_logits(self.float32, first, calibration), ranges) if refit else first

    def _convert(self, *, optimize: bool) -> bytes:
        import tensorflow as tf

        with _silence():
            converter = tf.lite.TFLiteConverter.from_saved_model(str(self._saved))
            if optimize:
                converter.optimizations = [tf.lite.Optimize.DEFAULT]
            return bytes(converter.convert())


@contextlib.contextmanager
def quantizer(model: "keras.Model") -> Iterator[Quantizer]:
    """Export a Keras model to a temporary folder for as long as its files are being made."""
    with tempfile.TemporaryDirectory(prefix="wafer_tf-") as folder:
        with _silence():
            _with_outputs(model).export(folder, format="tf_saved_model", verbose=False)
        yield Quantizer(Path(folder), model.input_shape[1])


def _with_outputs(model: "keras.Model") -> "keras.Model":
    """Return the model with those of OUTPUTS that it has layers for, by name."""
    import keras

    layers = {layer.name: layer for layer in model.layers}
    found = {name: layers[layer].output for name, layer in OUTPUTS.items() if layer in layers}
    if LOGITS not in found:
        raise ModelError(f"model: no layer {OUTPUTS[LOGITS]!r}; expected one that gives the logits.")
    return keras.Model(model.input, found, name=model.name)


def named_outputs(model: Any) -> dict[str, int]:
    """Return the index of each output's tensor in an unpacked file; of the only output of a file, as the logits'."""
    outputs = [int(t) for t in model.subgraphs[0].outputs]
    if len(outputs) == 1:
        return {LOGITS: outputs[0]}
    named = {o.name.decode(): int(o.tensorIndex) for s in model.signatureDefs or [] for o in s.outputs}
    if len(named) != len(outputs) or LOGITS not in named:
        raise ModelError(f"model: {len(outputs)} outputs, named {sorted(named)}; expected {LOGITS} among them.")
    return named


def observe(float32: bytes, calibration: Calibration, *, progress: bool = False) -> Extremes:
    """Run the float graph on the calibration maps and return the extremes of each activation."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType
    from tqdm import tqdm

    graph = _unpack(float32).subgraphs[0]
    activations = dict.fromkeys([*graph.inputs, *(t for op in graph.operators for t in op.outputs)])
    tensors = tuple(int(t) for t in activations)
    # with every tensor kept no operator writes into its input's memory; the delegate would keep none
    interpreter = Interpreter(
        model_content=float32,
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        experimental_preserve_all_tensors=True,
    )
    interpreter.allocate_tensors()
    low, high = (np.empty((len(calibration.planes), len(tensors)), np.float32) for _ in range(2))
    shown = tqdm(calibration.inputs(), total=len(low), desc="calibration", unit="map", disable=not progress)
    for i, x in enumerate(shown):
        interpreter.set_tensor(tensors[0], x)
        interpreter.invoke()
        for t, tensor in enumerate(tensors):
            values = interpreter.get_tensor(tensor)
            low[i, t], high[i, t] = values.min(), values.max()
    low[:, 0], high[:, 0] = 0, 1  # what `encoding.to_float` gives, whatever these maps hold
    return Extremes(tensors, low, high, np.isin(tensors, [*graph.inputs, *graph.outputs]))


def quantize_int8(float32: bytes, ranges: Ranges) -> bytes:
    """Return the int8 file of a float graph, given the range of each of its activations."""
    from ai_edge_quantizer import recipe

    return _quantize(float32, recipe.static_wi8_ai8(), ranges)


def quantize_int16x8(float32: bytes, ranges: Ranges) -> bytes:
    """Return the file of a float graph with int8 weights and int16 activations, given the range of each of these."""
    from ai_edge_quantizer import recipe

    return _quantize(float32, recipe.static_wi8_ai16(), ranges)


def _quantize(float32: bytes, recipe: list[dict[str, Any]], ranges: Ranges) -> bytes:
    import ai_edge_quantizer

    tensors = _unpack(float32).subgraphs[0].tensors
    seen = {
        tensors[t].name.decode(): {"min": np.array([low], np.float32), "max": np.array([high], np.float32)}
        for t, (low, high) in ranges.items()
    }
    with _silence():
        made = ai_edge_quantizer.Quantizer(float32, recipe).quantize(
            seen, enable_progress_bar=False, enable_progress_report=False
        )
    return bytes(made.quantized_model)


def refit_logits(float32: bytes, integer: bytes, calibration: Calibration) -> bytes:
    """Return the float graph with the heads that, quantized as `integer` was, come nearest to the float.

    The correction is affine in the nine logits, the smallest of those with the least squared error on the calibration
    maps; in the eight pattern logits likewise, where there are any.
    """
    ours, wanted = (_heads(TfliteModel(content), calibration) for content in (integer, float32))
    model = _unpack(float32)
    for name, found in ours.items():
        ones = np.ones((len(found), 1))
        correction = np.linalg.lstsq(np.hstack([found, ones]), wanted[name] - found, rcond=None)[0]
        _correct(model, name, np.eye(found.shape[1]) + correction[:-1], correction[-1])
    return _pack(model)


def _heads(model: TfliteModel, calibration: Calibration) -> dict[str, NDArray[np.float64]]:
    """Return, by the outputs' names, the (n, 9) logits of the calibration maps and the (n, 8) pattern logits."""
    answers = [(model.logits(planes), model.pattern_logits()) for planes in calibration.planes]
    found = {LOGITS: np.stack([logits for logits, _ in answers])}
    if model.has_patterns:
        found[PATTERN_LOGITS] = np.stack([patterns for _, patterns in answers if patterns is not None])
    return found


def _correct(model: Any, name: str, factor: NDArray[np.float64], shift: NDArray[np.float64]) -> None:
    """Let the last layer of an output of an unpacked float graph give what it gave, times `factor`, plus `shift`."""
    from ai_edge_litert.schema_py_generated import BuiltinOperator

    graph = model.subgraphs[0]
    (last,) = (op for op in graph.operators if named_outputs(model)[name] in op.outputs)
    code = model.operatorCodes[last.opcodeIndex]
    if (
        code.builtinCode != BuiltinOperator.FULLY_CONNECTED
        or len(last.inputs) != 3
        or last.inputs[2] < 0  # the converter leaves out a bias of zeros
    ):
        raise ModelError(f"model: its {name} are not of a Dense layer with a bias; expected one that gives them.")
    kernel, bias = (model.buffers[graph.tensors[t].buffer] for t in last.inputs[1:])
    k = _floats(kernel).reshape(graph.tensors[last.inputs[1]].shape)  # (outputs, features)
    kernel.data = _bytes(factor.T @ k)
    bias.data = _bytes(_floats(bias) @ factor + shift)


def _floats(buffer: Any) -> NDArray[np.float64]:
    return np.frombuffer(bytes(buffer.data), "<f4").astype(np.float64)


def _bytes(values: NDArray[np.float64]) -> NDArray[np.uint8]:
    return np.frombuffer(values.astype("<f4").tobytes(), np.uint8)


def _unpack(model: bytes) -> Any:
    from ai_edge_litert.schema_py_generated import ModelT

    return ModelT.InitFromPackedBuf(model, 0)


def _pack(model: Any) -> bytes:
    import flatbuffers

    builder = flatbuffers.Builder(2**20)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Keep what the converter's C++ prints, and TensorFlow's Python logger, from the user; errors are still raised."""
    import logging
    import warnings

    logger = logging.getLogger("tensorflow")
    level = logger.level
    logger.setLevel(logging.ERROR)
    for text in (sys.stdout, sys.stderr):
        text.flush()
    kept = [os.dup(stream) for stream in (1, 2)]
    try:
        with tempfile.TemporaryFile() as nowhere, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for stream in (1, 2):
                os.dup2(nowhere.fileno(), stream)
            yield
            for text in (sys.stdout, sys.stderr):
                text.flush()
    finally:
        for stream, copy in zip((1, 2), kept, strict=True):
            os.dup2(copy, stream)
            os.close(copy)
        logger.setLevel(level)
