"""The eight pattern logits beside the nine: quantized, refitted and read like them."""

import numpy as np
import pytest

from edge.quantization.contents import require_integer
from edge.quantization.quantize import _pack, _unpack, named_outputs, observe, refit_logits
from edge.quantization.recipes import CLIPPED_RANGE, RECIPES, WHOLE_RANGE
from tests.edge_models import Files, logits, patterns_files
from wafer_tf.inference.interpreter import TfliteModel


@pytest.fixture(scope="module")
def files() -> Files:
    return patterns_files()


def patterns(content: bytes, planes: np.ndarray) -> np.ndarray:
    """Return the (n, 8) real pattern logits of encoded maps."""
    model, found = TfliteModel(content), []
    for one in planes:
        model.run(one)
        found.append(model.pattern_logits())
    return np.stack(found)


@pytest.mark.parametrize("recipe", ["int8", "int16x8"])
def test_the_output_is_of_the_recipe_s_type_and_passes_its_audit(files: Files, recipe: str) -> None:
    content, dtype = getattr(files, recipe), RECIPES[recipe].activations
    found = require_integer(content, RECIPES[recipe])
    assert found.operators["FULLY_CONNECTED"] == 2
    assert sorted(w.channels for w in found.weights)[:3] == [4, 4, 8]
    assert found.output == (dtype, dtype)
    model = TfliteModel(content)
    assert model.has_patterns
    assert model.pattern_output is not None
    assert (model.pattern_output.shape, model.pattern_output.dtype) == ((1, 8), dtype)
    assert (model.features, model.feature_count) == (None, 0)


def test_the_outputs_are_told_apart_by_name_and_a_float_file_has_them_too(files: Files) -> None:
    planes = files.calibration.planes[:20]
    model = TfliteModel(files.float32)
    assert model.has_patterns
    assert model.pattern_output is None
    assert patterns(files.float32, planes).shape == (20, 8)
    assert logits(files.float32, planes).shape == (20, 9)
    spread = np.ptp(patterns(files.float32, planes))
    for content, part in ((files.int8, 0.03), (files.int16x8, 0.03)):
        assert np.abs(patterns(content, planes) - patterns(files.float32, planes)).max() < part * spread


def test_the_answer_is_that_of_the_last_map(files: Files) -> None:
    first, second = files.calibration.planes[:2]
    model = TfliteModel(files.int8)
    assert model.stored_patterns() is not None
    model.run(first)
    before = model.stored_patterns()
    model.run(second)
    np.testing.assert_array_equal(model.stored_patterns(), alone(files.int8, second))
    np.testing.assert_array_equal(before, alone(files.int8, first))


def alone(content: bytes, planes: np.ndarray) -> np.ndarray | None:
    model = TfliteModel(content)
    model.run(planes)
    return model.stored_patterns()


def test_the_range_of_an_output_is_never_clipped(files: Files) -> None:
    seen = observe(files.float32, files.calibration)
    outputs = named_outputs(_unpack(files.float32))
    assert set(outputs) == {"logits", "patterns"}
    wide, narrow = seen.ranges(WHOLE_RANGE), seen.ranges(CLIPPED_RANGE)
    for tensor in outputs.values():
        assert wide[tensor] == narrow[tensor]
    assert any(wide[t] != narrow[t] for t in seen.tensors)


def test_refitting_takes_back_an_affine_error_of_either_head_without_the_other(files: Files) -> None:
    rng = np.random.default_rng(0)
    planes = files.calibration.planes
    for name, n, moved, still in (("patterns", 8, patterns, logits), ("logits", 9, logits, patterns)):
        factor, shift = np.eye(n) + rng.normal(0, 0.1, (n, n)), rng.normal(0, 0.5, n)

        def distorted(
            content: bytes, name: str = name, factor: np.ndarray = factor, shift: np.ndarray = shift
        ) -> bytes:
            model = _unpack(content)
            graph = model.subgraphs[0]
            (last,) = (op for op in graph.operators if named_outputs(model)[name] in op.outputs)
            kernel, bias = (model.buffers[graph.tensors[t].buffer] for t in last.inputs[1:])
            k, b = (buffer.data.view("<f4").astype(float) for buffer in (kernel, bias))
            for buffer, values in ((kernel, factor.T @ k.reshape(len(b), -1)), (bias, b @ factor + shift)):
                buffer.data = np.frombuffer(values.astype("<f4").tobytes(), np.uint8)
            return _pack(model)

        wanted, wrong = moved(files.float32, planes), distorted(files.float32)
        spread = np.ptp(wanted)
        assert np.abs(moved(wrong, planes) - wanted).max() > 0.5
        back = distorted(refit_logits(files.float32, wrong, files.calibration))
        assert np.abs(moved(back, planes) - wanted).max() < 1e-4 * spread
        assert np.abs(still(back, planes) - still(files.float32, planes)).max() < 1e-4 * spread


def test_refitting_costs_no_more_than_a_rounding(files: Files) -> None:
    def error(content: bytes) -> float:
        planes = files.calibration.planes
        return float(np.square(patterns(content, planes) - patterns(files.float32, planes)).mean())

    output = TfliteModel(files.int8).pattern_output
    assert output is not None
    assert error(files.int8) <= error(files.not_refitted) + output.scale**2 / 12
