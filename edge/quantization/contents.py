"""What is inside a .tflite file, read from the file itself: its operators, its types, how its weights are quantized."""

import struct
from collections import Counter
from dataclasses import dataclass
from typing import Any

from edge.quantization.recipes import Recipe
from wafer_tf.as_json import to_json
from wafer_tf.errors import ModelError

WEIGHTED = {"CONV_2D": 0, "DEPTHWISE_CONV_2D": 3, "FULLY_CONNECTED": 0}
"""Operators with weights, their second input, and the axis of the weights that holds the output channels."""
UNFOLDED = frozenset({"MUL", "SUB", "DIV", "RSQRT"})
"""What a batch normalization becomes that was not folded into its convolution."""
CONVERSIONS = frozenset({"QUANTIZE", "DEQUANTIZE", "CAST"})
"""Operators between types; a QUANTIZE from a type to the same one changes the scale alone, and is none."""


@dataclass(frozen=True)
class Weights:
    """The weights of one operator.

    Attributes:
        name: of the tensor.
        dtype: such as "int8".
        channels: output channels.
        scales: how many scales they have; as many as channels where quantized per channel, 0 where not quantized.
        symmetric: every zero point is 0.
    """

    name: str
    dtype: str
    channels: int
    scales: int
    symmetric: bool


@dataclass(frozen=True)
class Contents:
    """What a .tflite file holds.

    Attributes:
        operators: how often each occurs.
        custom: names of custom operators; those that need TensorFlow ("flex") are among them.
        dtypes: how many tensors are of each type.
        float_tensors: names of the tensors of a floating type.
        weights: of each operator that has some, in order.
        converting: names of the operators that change a type.
        input, output: dtypes.
        subgraphs: 1 in a model without control flow.
    """

    operators: dict[str, int]
    custom: tuple[str, ...]
    dtypes: dict[str, int]
    float_tensors: tuple[str, ...]
    weights: tuple[Weights, ...]
    converting: tuple[str, ...]
    input: tuple[str, ...]
    output: tuple[str, ...]
    subgraphs: int

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        found: dict[str, Any] = to_json(self)
        return found

    def __str__(self) -> str:
        operators = ", ".join(f"{count} {name}" for name, count in self.operators.items())
        dtypes = ", ".join(f"{count} {name}" for name, count in self.dtypes.items())
        scaled = sum(1 < w.scales == w.channels for w in self.weights)
        return (
            f"operators {operators}; {', '.join(self.custom) or 'none'} custom; tensors {dtypes}; {scaled} of "
            f"{len(self.weights)} weights quantized per channel; input {', '.join(self.input)}, output "
            f"{', '.join(self.output)}"
        )

    def faults(self, recipe: Recipe) -> list[str]:
        """Return why this is not what an integer recipe promises; empty where it is."""
        found = []
        if self.subgraphs != 1:
            found.append(f"{self.subgraphs} subgraphs; expected 1")
        if self.custom:
            found.append(f"custom operators {', '.join(self.custom)}; a station has built-in ones alone")
        if self.float_tensors:
            found.append(f"{len(self.float_tensors)} float tensors, the first is {self.float_tensors[0]}")
        if self.converting:
            found.append(f"{', '.join(self.converting)} between types; expected one type throughout")
        if unfolded := sorted(UNFOLDED & set(self.operators)):
            found.append(f"{', '.join(unfolded)}: a batch normalization that was not folded")
        if self.input != (recipe.activations,):
            found.append(f"input {', '.join(self.input)}; expected one, {recipe.activations}")
        if set(self.output) != {recipe.activations}:
            found.append(f"output {', '.join(self.output)}; expected {recipe.activations} alone")
        if not self.weights:
            found.append("no operator with weights")
        for w in self.weights:
            if (w.dtype, w.scales, w.symmetric) != (recipe.weights, w.channels, True):
                kind = "symmetric" if w.symmetric else "not symmetric"
                found.append(
                    f"weights {w.name}: {w.dtype}, {w.scales} scales for {w.channels} channels, {kind}; expected "
                    f"{recipe.weights}, a scale for each, symmetric"
                )
        return found


def read_contents(model: bytes) -> Contents:
    """Read what a .tflite file holds; metadata behind it is left alone.

    Raises:
        ModelError: it is no whole .tflite file.
    """
    from ai_edge_litert import schema_py_generated as schema

    names = {v: k for k, v in vars(schema.BuiltinOperator).items() if isinstance(v, int)}
    kinds = {v: k.lower() for k, v in vars(schema.TensorType).items() if isinstance(v, int)}
    if model[4:8] != b"TFL3":
        raise ModelError("model: not a .tflite file; expected the identifier TFL3.")
    try:
        whole = schema.ModelT.InitFromPackedBuf(model, 0)
        graph = whole.subgraphs[0]
        # a file from before 2020 has its code in the older field alone
        codes = [names[max(code.builtinCode, code.deprecatedBuiltinCode)] for code in whole.operatorCodes]
        dtype = [kinds[tensor.type] for tensor in graph.tensors]
        text = [tensor.name.decode(errors="replace") for tensor in graph.tensors]
        weights, converting = [], set()
        for op in graph.operators:
            name = codes[op.opcodeIndex]
            if name in CONVERSIONS and not (name == "QUANTIZE" and dtype[op.inputs[0]] == dtype[op.outputs[0]]):
                converting.add(name)
            axis = WEIGHTED.get(codes[op.opcodeIndex])
            if axis is not None:
                at = int(op.inputs[1])
                scales, zero_points = (_list(graph.tensors[at].quantization, name) for name in ("scale", "zeroPoint"))
                channels = int(graph.tensors[at].shape[axis])
                weights.append(Weights(text[at], dtype[at], channels, len(scales), not any(zero_points)))
        return Contents(
            operators=dict(sorted(Counter(codes[op.opcodeIndex] for op in graph.operators).items())),
            custom=tuple(c.customCode.decode(errors="replace") for c in whole.operatorCodes if c.customCode),
            dtypes=dict(sorted(Counter(dtype).items())),
            float_tensors=tuple(t for t, kind in zip(text, dtype, strict=True) if "float" in kind),
            weights=tuple(weights),
            converting=tuple(sorted(converting)),
            input=tuple(dtype[i] for i in graph.inputs),
            output=tuple(dtype[i] for i in graph.outputs),
            subgraphs=len(whole.subgraphs),
        )
    except (LookupError, ValueError, TypeError, AttributeError, struct.error) as error:
        raise ModelError(f"model: not a whole .tflite file ({type(error).__name__}: {error}).") from error


def require_integer(model: bytes, recipe: Recipe) -> Contents:
    """Return the audit of a model that is what an integer recipe promises.

    Raises:
        ModelError: it is not; the text names every fault.
    """
    found = read_contents(model)
    if faults := found.faults(recipe):
        raise ModelError(f"model: not what the recipe {recipe.name} promises: {'; '.join(faults)}.")
    return found


def _list(quantization: Any, name: str) -> list[Any]:
    found = None if quantization is None else getattr(quantization, name)
    return [] if found is None else list(found)
