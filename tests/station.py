"""A small bundle of a real int8 model, made once per run of the tests, and the station as a user runs it."""

import io
import os
import subprocess
import sys
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests import ROOT
from wafer_tf.bundle import Golden, load_bundle, write_bundle
from wafer_tf.decision import Decision
from wafer_tf.decision.unknown import Unknown, parts, strangeness
from wafer_tf.dies import CLASSES
from wafer_tf.encoding import encode, to_float
from wafer_tf.inference.interpreter import TfliteModel
from wafer_tf.released import released
from wafer_tf.synthesis import synthesize

SIZE = 32


def int8_model(seed: int, *, activations: str = "int8") -> bytes:
    """Return a tiny CNN of random weights as int8, calibrated on synthetic maps; `activations` may be "int16"."""
    import keras
    import tensorflow as tf

    from wafer_tf.learning.models import ModelConfig, build_model

    keras.utils.set_random_seed(seed)
    model = build_model(ModelConfig("baseline", SIZE, width=4))
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([to_float(encode(grid, SIZE))[None]] for grid in synthetic(1))
    sets = {
        "int8": tf.lite.OpsSet.TFLITE_BUILTINS_INT8,
        "int16": tf.lite.OpsSet.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8,
    }
    converter.target_spec.supported_ops = [sets[activations]]
    converter.inference_input_type = converter.inference_output_type = getattr(tf, activations)
    with warnings.catch_warnings():  # that the input's range is calibrated and not given
        warnings.filterwarnings("ignore", "Statistics for quantized inputs were expected", UserWarning)
        return bytes(converter.convert())


def with_features(content: bytes) -> bytes:
    """Return a model with what its last layer reads as features beside the logits; one that has any as it is."""
    from ai_edge_litert.schema_py_generated import SignatureDefT, TensorMapT

    from edge.quantization.quantize import _pack, _unpack

    if TfliteModel(content).feature_count:
        return content
    model = _unpack(content)
    graph = model.subgraphs[0]
    (logits,) = graph.outputs
    (last,) = (op for op in graph.operators if logits in op.outputs)
    graph.outputs = [logits, last.inputs[0]]
    outputs = [TensorMapT(name, t) for name, t in zip((b"logits", b"features"), graph.outputs, strict=True)]
    model.signatureDefs = [SignatureDefT([TensorMapT(b"map", graph.inputs[0])], outputs, b"serving_default", 0)]
    return _pack(model)


def synthetic(per_class: int) -> list[NDArray[np.uint8]]:
    """Return synthetic maps of every class."""
    wafers = synthesize(per_class, seed=1).wafers
    return [wafers.map(i) for i in range(len(wafers))]


def make_bundle(path: Path, content: bytes, **changes: Any) -> Path:
    """Write a bundle of a model; `changes` replace what write_bundle is told."""
    model = TfliteModel(content)
    grids = (*synthetic(2), np.ones((25, 25), np.uint8), np.full((3, 3), 2, np.uint8), np.full((300, 299), 1, np.uint8))
    logits = np.stack([model.run(encode(grid, model.input_size)) for grid in grids])
    assert model.input is not None
    assert model.output is not None
    real = model.output.dequantize(logits)
    # Random weights prefer one class; without that, each of several is the likeliest of some map.
    decision = Decision(tuple((-real.mean(axis=0)).round(4).tolist()), round(float(real.std()), 4) / 4)
    features = None
    if model.features is not None:
        features = np.stack([model.stored(encode(grid, model.input_size))[1] for grid in grids])
    patterns = None
    if model.pattern_output is not None:
        patterns = np.stack([_patterns(model, grid) for grid in grids])
    golden = Golden(grids, logits, decision.probabilities(real), features, patterns)
    facts: dict[str, Any] = {
        "model": content,
        "input": model.input,
        "output": model.output,
        "input_size": model.input_size,
        "decision": decision,
        "golden": golden,
        "features": model.features,
        "pattern_output": None if changes.get("patterns") is None else model.pattern_output,
        "xnnpack": model.xnnpack,
        "passed": True,
        "gate": load_bundle(released("nano") / "bundle").gate,
        "provenance": {},
        "card": "# A model for the tests\n",
    }
    write_bundle(path, **facts | changes)
    return path


def _patterns(model: TfliteModel, grid: NDArray[np.uint8]) -> NDArray[Any]:
    model.run(encode(grid, model.input_size))
    stored = model.stored_patterns()
    assert stored is not None
    return stored


def unknown_of(content: bytes, grids: Sequence[NDArray[np.uint8]]) -> Unknown:
    """Return an unknown score by which half of some maps, those with the larger features, are strange.

    Of the others the score is about 0.5, of these about 1: the only class's mean lies at 0, and nothing is whitened.
    """
    model = TfliteModel(content)
    found = [model.answer(encode(grid, model.input_size))[1] for grid in grids]
    features = np.stack([each for each in found if each is not None])
    d, levels = features.shape[1], np.array([0.0, 0.5, 1.0])
    mean, whiten, head = np.zeros((1, d), np.float32), np.eye(d, dtype=np.float16), np.zeros(d + 1, np.float32)
    scale = np.array([[0.0, 1.0], [0.0, 1.0], [0.0, 1e9]])  # regular maps are not strange here
    unknown = Unknown(mean, whiten, head, scale, levels, np.zeros((9, 3)))
    middle = float(
        np.median(strangeness(np.column_stack([parts(features, mean, whiten, head), np.zeros(len(features))]), scale))
    )
    return replace(unknown, quantiles=np.tile([-100.0, middle, middle + 1e-6], (9, 1)))


def npy(grid: NDArray[Any], *, order: str = "C") -> bytes:
    """Return a npy file of one map."""
    out = io.BytesIO()
    np.save(out, np.asarray(grid, order=order))  # type: ignore[call-overload]
    return out.getvalue()


def text(grid: NDArray[Any], mark: str = ",", end: str = "\n") -> bytes:
    """Return a text file of one map."""
    return "".join(mark.join(map(str, row)) + end for row in grid.tolist()).encode()


def npz(**arrays: Any) -> bytes:
    """Return an npz file."""
    out = io.BytesIO()
    np.savez_compressed(out, **arrays)
    return out.getvalue()


def wafer_set(grids: list[NDArray[Any]], **changes: Any) -> bytes:
    """Return an npz of many maps, as wafer_tf.readers reads it; `changes` replace its arrays."""
    n = len(grids)
    return npz(
        **{
            "flat": np.concatenate([grid.ravel() for grid in grids]),
            "offsets": np.cumsum([0, *(g.size for g in grids)]),
            "shapes": np.array([grid.shape for grid in grids]),
            "lot": np.array(["L7"] * n),
            "wafer_index": np.arange(1, n + 1),
        }
        | changes
    )


def station(*arguments: str, stdin: bytes = b"", **options: Any) -> "subprocess.CompletedProcess[bytes]":
    """Run `python -m edge.station` in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "edge.station", *arguments],
        input=stdin,
        capture_output=True,
        timeout=120,
        check=False,
        **{"cwd": ROOT, "env": bare_environment()} | options,
    )


def bare_environment() -> dict[str, str]:
    """Return the environment without what points Python at this project."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}


def assert_whole(record: dict[str, Any]) -> None:
    """Hold a record against its contract."""
    from edge.station.records import KEYS

    assert tuple(record) == KEYS
    if record["status"] == "ok":
        assert record["label"] in CLASSES
        assert list(record["probabilities"]) == list(CLASSES)
        assert sum(record["probabilities"].values()) == pytest.approx(1, abs=1e-5)
        assert record["decision"] in ("none", "defect", "review", "unknown")
        assert record["unknown_score"] is None or 0 <= record["unknown_score"] <= 1
        assert record["patterns"] is None or set(record["patterns"]) <= set(CLASSES[:8])
        assert record["reason"] is None
    else:
        assert (record["status"], record["decision"]) == ("rejected", "rejected")
        assert record["label"] is record["probabilities"] is record["unknown_score"] is record["patterns"] is None
        assert record["reason"]
