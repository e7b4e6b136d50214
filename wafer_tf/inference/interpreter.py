"""Run a .tflite model on encoded maps, one at a time. Needs numpy and ai-edge-litert alone."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from wafer_tf.bundle import MODEL_FILES, Tensor
from wafer_tf.encoding import to_float
from wafer_tf.errors import ModelError

LEVELS = np.arange(256, dtype=np.uint8)


class TfliteModel:
    """A loaded model: encoded planes in, logits out.

    Attributes:
        xnnpack: whether the XNNPACK delegate runs it; without, it answers several times later.
        input, output: quantization of a model with int8 or int16 input and output; None of one with float ones.
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
            inputs, outputs = self._interpreter.get_input_details(), self._interpreter.get_output_details()
            # LiteRT has no public way to ask for the delegate; the exact pin and a test hold this one.
            operators = [op["op_name"] for op in self._interpreter._get_ops_details()]
        except (ValueError, RuntimeError) as error:
            raise ModelError(f"model: LiteRT cannot load it ({str(error).splitlines()[0]}).") from error
        if len(inputs) != 1 or len(outputs) != 1:
            raise ModelError(f"model: {len(inputs)} inputs and {len(outputs)} outputs; expected one of each.")
        self.xnnpack = "DELEGATE" in operators
        self.input, self.output = _tensor(inputs[0]), _tensor(outputs[0])
        shape = tuple(int(n) for n in inputs[0]["shape"])
        if len(shape) != 4 or shape[1] != shape[2]:
            raise ModelError(f"model: input of shape {shape}; expected a square encoded map.")
        self.input_size = shape[1]
        self._in, self._out = inputs[0]["index"], outputs[0]["index"]
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
        stored = self.run(planes)
        return self.output.dequantize(stored) if self.output else stored.astype(np.float64)


def _tensor(details: dict[str, Any]) -> Tensor | None:
    dtype = np.dtype(details["dtype"]).name
    if dtype not in MODEL_FILES:
        return None
    scale, zero_point = details["quantization"]
    if not (np.isfinite(scale) and scale > 0):
        raise ModelError(f"model: {details['name']} is {dtype} without a scale; expected one for the whole tensor.")
    return Tensor(tuple(int(n) for n in details["shape"]), dtype, float(scale), int(zero_point))
