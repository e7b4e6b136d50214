"""Run a .tflite model on encoded maps, one at a time. Needs numpy and ai-edge-litert alone."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from wafer_tf.bundle import MODEL_FILES, Tensor
from wafer_tf.encoding import to_float
from wafer_tf.errors import ModelError

LEVELS = np.arange(256, dtype=np.uint8)
LOGITS, FEATURES, PATTERN_LOGITS = "logits", "features", "patterns"
"""Names of a file's outputs, where it has more than one; others are let be."""


class TfliteModel:
    """A loaded model: encoded planes in, logits out, the pooled features that they were made of, and pattern logits.

    Attributes:
        xnnpack: whether the XNNPACK delegate runs it; without, it answers several times later.
        input, output: quantization of a model with int8 or int16 input and output; None of one with float ones.
        features: of the features; None where they are float, or there are none.
        feature_count: how many there are; 0 of a file without.
        pattern_output: of the logits of the eight patterns' sigmoids; None where they are float, or there are none.
        has_patterns: whether there are any.
    """

    def __init__(self, content: bytes, *, threads: int = 1, delegate: bool = True) -> None:
        """Load a model from its bytes.

        Args:
            content: of a .tflite file. Loading bytes, not a path, makes a damaged model an error instead of a crash.
            threads: of the interpreter; the answer does not depend on it.
            delegate: False runs the built-in kernels without XNNPACK, to compare with.

        Raises:
            ModelError: no model, or not one from an encoded map to nine logits.
        """
        from ai_edge_litert.interpreter import Interpreter, OpResolverType

        resolver = OpResolverType.AUTO if delegate else OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
        try:
            self._interpreter = Interpreter(
                model_content=content, num_threads=threads, experimental_op_resolver_type=resolver
            )
            self._interpreter.allocate_tensors()
            inputs, outputs = self._interpreter.get_input_details(), self._outputs()
            # LiteRT has no public way to ask for the delegate; the exact pin and a test hold this one.
            operators = [op["op_name"] for op in self._interpreter._get_ops_details()]
        except (ValueError, RuntimeError) as error:
            raise ModelError(f"model: LiteRT cannot load it ({str(error).splitlines()[0]}).") from error
        if len(inputs) != 1 or LOGITS not in outputs:
            told = f"{len(inputs)} inputs and the outputs {', '.join(outputs) or 'without names'}"
            raise ModelError(f"model: {told}; expected one input, and one output or {LOGITS} among them.")
        self.xnnpack = "DELEGATE" in operators
        self.input, self.output = _tensor(inputs[0]), _tensor(outputs[LOGITS])
        pooled, patterns = outputs.get(FEATURES), outputs.get(PATTERN_LOGITS)
        self.features = _tensor(pooled) if pooled else None
        self.feature_count = int(pooled["shape"][-1]) if pooled else 0
        self.pattern_output = _tensor(patterns) if patterns else None
        self.has_patterns = patterns is not None
        shape = tuple(int(n) for n in inputs[0]["shape"])
        if len(shape) != 4 or shape[1] != shape[2]:
            raise ModelError(f"model: input of shape {shape}; expected a square encoded map.")
        self.input_size = shape[1]
        self._in, self._out = inputs[0]["index"], outputs[LOGITS]["index"]
        self._pooled = pooled["index"] if pooled else None
        self._patterns = patterns["index"] if patterns else None
        real = to_float(LEVELS)
        self._levels = self.input.quantize(real) if self.input else real
        """What each of the 256 levels of a plane is fed as."""
        self._shifted = self._levels.dtype == np.int8 and np.array_equal(self._levels, (LEVELS ^ 0x80).view(np.int8))
        """Whether that is the level less 128, as calibration on 0..1 gives; a look-up takes 20 times as long."""

    def feed(self, planes: NDArray[np.uint8]) -> NDArray[Any]:
        """Return encoded planes, (size, size, 3) uint8 of `encoding.encode`, as the model reads them."""
        return (planes ^ 0x80).view(np.int8) if self._shifted else self._levels[planes]

    def infer(self, fed: NDArray[Any]) -> NDArray[Any]:
        """Return the (9,) logits, as the model stores them, of what `feed` gave."""
        self._interpreter.set_tensor(self._in, fed[None])
        self._interpreter.invoke()
        stored: NDArray[Any] = self._interpreter.get_tensor(self._out)[0]
        return stored

    def run(self, planes: NDArray[np.uint8]) -> NDArray[Any]:
        """Return the (9,) logits of one encoded map as the model stores them.

        Args:
            planes: (size, size, 3) uint8 of `encoding.encode`.
        """
        return self.infer(self.feed(planes))

    def logits(self, planes: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Return the (9,) real logits of one encoded map."""
        return self.answer(planes)[0]

    def stored(self, planes: NDArray[np.uint8]) -> tuple[NDArray[Any], NDArray[Any] | None]:
        """Return the (9,) logits and the (d,) features of one encoded map, None without any, as the model stores them.

        Args:
            planes: (size, size, 3) uint8 of `encoding.encode`.
        """
        return self.run(planes), self.pooled()

    def pooled(self) -> NDArray[Any] | None:
        """Return the (d,) features of the last map that was inferred, as stored; None of a file without."""
        return None if self._pooled is None else np.asarray(self._interpreter.get_tensor(self._pooled)[0])

    def stored_patterns(self) -> NDArray[Any] | None:
        """Return the (8,) pattern logits of the last map that was inferred, as stored; None of a file without."""
        return None if self._patterns is None else np.asarray(self._interpreter.get_tensor(self._patterns)[0])

    def pattern_logits(self) -> NDArray[np.float64] | None:
        """Return the (8,) real pattern logits of the last map that was inferred; None of a file without."""
        stored = self.stored_patterns()
        if stored is None:
            return None
        return self.pattern_output.dequantize(stored) if self.pattern_output else stored.astype(np.float64)

    def answer(self, planes: NDArray[np.uint8]) -> tuple[NDArray[np.float64], NDArray[np.float32] | None]:
        """Return the (9,) real logits of one encoded map and, of the same run, its (d,) real features."""
        logits, pooled = self.stored(planes)
        if self.features and pooled is not None:
            pooled = self.features.dequantize(pooled)
        real = self.output.dequantize(logits) if self.output else logits.astype(np.float64)
        return real, None if pooled is None else pooled.astype(np.float32)

    def _outputs(self) -> dict[str, dict[str, Any]]:
        """Return the details of the outputs by name; the only one is the logits, whatever it is called."""
        found = self._interpreter.get_output_details()
        if len(found) == 1:
            return {LOGITS: found[0]}
        signed: dict[str, dict[str, Any]] = self._interpreter.get_signature_runner().get_output_details()
        return signed


def _tensor(details: dict[str, Any]) -> Tensor | None:
    dtype = np.dtype(details["dtype"]).name
    if dtype not in MODEL_FILES:
        return None
    scale, zero_point = details["quantization"]
    if not (np.isfinite(scale) and scale > 0):
        raise ModelError(f"model: {details['name']} is {dtype} without a scale; expected one for the whole tensor.")
    return Tensor(tuple(int(n) for n in details["shape"]), dtype, float(scale), int(zero_point))
