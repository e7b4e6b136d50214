import numpy as np
import pytest
from ai_edge_litert.schema_py_generated import TensorType

from edge.quantization.calibration import Calibration, choose
from edge.quantization.contents import read_contents, require_integer
from edge.quantization.metadata import append_metadata, read_metadata
from edge.quantization.quantize import _pack, _unpack, observe, quantize_int8, refit_logits
from edge.quantization.recipes import CLIPPED_RANGE, MORE_MAPS, RECIPES, WHOLE_RANGE, attempts
from tests.edge_models import SIZE, Files, logits, resnet_files
from wafer_tf.errors import ModelError
from wafer_tf.inference.interpreter import TfliteModel
from wafer_tf.synthesis import synthesize


@pytest.fixture(scope="module")
def files() -> Files:
    return resnet_files()


@pytest.fixture(scope="module")
def unseen() -> Calibration:
    return choose(synthesize(6, seed=2).wafers, 54, seed=0, size=SIZE)


def _error(files: Files, content: bytes, planes: np.ndarray) -> float:
    return float(np.abs(logits(content, planes) - logits(files.float32, planes)).mean())


# === What is in the files ===


@pytest.mark.parametrize("recipe", ["int8", "int16x8"])
def test_an_integer_recipe_leaves_no_float_operator_and_a_scale_per_channel(files: Files, recipe: str) -> None:
    content = getattr(files, recipe)
    found = require_integer(content, RECIPES[recipe])
    assert found.operators == {"ADD": 8, "CONV_2D": 20, "FULLY_CONNECTED": 1, "MEAN": 1, "PAD": 3}
    assert found.custom == found.float_tensors == ()
    assert [w.scales for w in found.weights] == [w.channels for w in found.weights]
    assert {w.channels for w in found.weights} == {4, 8, 16, 32, 9}
    assert found.input == found.output == (RECIPES[recipe].activations,)
    model = TfliteModel(content)
    assert model.input is not None
    assert model.output is not None
    assert model.xnnpack == (recipe == "int8")


def test_int8_reads_the_levels_of_a_plane_as_they_are(files: Files) -> None:
    levels = np.arange(256, dtype=np.uint8).repeat(12).reshape(SIZE, SIZE, 3)
    np.testing.assert_array_equal(TfliteModel(files.int8).feed(levels), levels.astype(np.int16) - 128)


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("float32", "float tensors"),
        ("dynamic_int8", "float tensors"),
        ("int16x8", "input int16; expected one, int8"),
    ],
)
def test_a_file_of_another_recipe_is_no_int8(files: Files, name: str, fault: str) -> None:
    with pytest.raises(ModelError, match=fault):
        require_integer(getattr(files, name), RECIPES["int8"])


def test_weights_with_one_scale_for_all_channels_are_a_fault(files: Files) -> None:
    model = _unpack(files.int8)
    (first, *_) = (op for op in model.subgraphs[0].operators if len(op.inputs) == 3)
    quantization = model.subgraphs[0].tensors[first.inputs[1]].quantization
    quantization.scale, quantization.zeroPoint = quantization.scale[:1], [3]
    with pytest.raises(ModelError, match="1 scales for 4 channels, not symmetric"):
        require_integer(_pack(model), RECIPES["int8"])


@pytest.mark.parametrize(
    ("code", "custom", "fault"),
    [("CUSTOM", b"FlexErf", "custom operators FlexErf"), ("MUL", None, "not folded"), ("DEQUANTIZE", None, "between")],
)
def test_an_operator_that_a_station_lacks_or_that_should_be_gone_is_a_fault(
    files: Files, code: str, custom: bytes | None, fault: str
) -> None:
    from ai_edge_litert.schema_py_generated import BuiltinOperator

    model = _unpack(files.int8)
    changed = next(c for c in model.operatorCodes if c.builtinCode == BuiltinOperator.ADD)
    changed.builtinCode = changed.deprecatedBuiltinCode = getattr(BuiltinOperator, code)
    changed.customCode = custom
    with pytest.raises(ModelError, match=fault):
        require_integer(_pack(model), RECIPES["int8"])


def test_a_damaged_file_is_refused_by_the_audit(files: Files) -> None:
    with pytest.raises(ModelError, match=r"not a \.tflite file"):
        read_contents(b"no model at all")
    for length in (8, 20, 1000, len(files.int8) // 2):
        with pytest.raises(ModelError, match=r"not a whole \.tflite file"):
            read_contents(files.int8[:length])


def test_a_file_with_its_metadata_loads_audits_and_answers_as_without(files: Files, unseen: Calibration) -> None:
    facts = {"classes": ["Center", "none"], "provenance": {"seed": 3, "commit": None}}
    told = append_metadata(files.int8, facts)
    assert told.startswith(files.int8)
    assert read_metadata(told) == facts
    assert told == append_metadata(files.int8, facts)
    assert read_contents(told) == read_contents(files.int8)
    np.testing.assert_array_equal(logits(told, unseen.planes[:5]), logits(files.int8, unseen.planes[:5]))
    with pytest.raises(ModelError, match=r"no whole metadata\.json"):
        read_metadata(files.int8)
    with pytest.raises(ModelError, match=r"no whole metadata\.json"):
        read_metadata(told[:-30])


# === How near they are to the float graph ===


def test_integer_files_are_small_and_near_the_float_logits(files: Files, unseen: Calibration) -> None:
    # the weights are a third of this tiny model's float file; of a trained one's they are nearly all
    assert len(files.int8) < 0.5 * len(files.float32)
    # 1 % is 2.5 of the 255 steps over the span of the logits; eight random nets were 0.3 to 0.4 steps off
    span = np.ptp(logits(files.float32, unseen.planes))
    assert _error(files, files.int8, unseen.planes) < 0.01 * span
    assert _error(files, files.int16x8, unseen.planes) < 0.01 * span


def test_16_bit_activations_add_next_to_nothing_to_the_rounding_of_the_weights(files: Files) -> None:
    # What the weights lose is in int8 too, and how much of its error that is depends on the net. On the maps that gave
    # the ranges nothing is clipped, so what is left is rounding: 0.5 to 0.8 of int16's 65,534 steps on eight random
    # nets, where 8-bit activations were 80 to 110 of them off.
    planes = files.calibration.planes
    rounded = logits(_with_weights_of(files.int16x8, files.float32), planes)
    assert np.abs(logits(files.int16x8, planes) - rounded).mean() < 5 * np.ptp(rounded) / 65534


def _with_weights_of(integer: bytes, float32: bytes) -> bytes:
    """The float graph with the weights and biases that an integer file holds."""
    model, other = _unpack(float32), _unpack(integer)
    graph = other.subgraphs[0]
    held = {tensor.name: (tensor, other.buffers[tensor.buffer].data) for tensor in graph.tensors}
    ours = {tensor.name: model.buffers[tensor.buffer] for tensor in model.subgraphs[0].tensors}
    for operator in graph.operators:
        if len(operator.inputs) != 3:
            continue
        for name in (graph.tensors[t].name for t in operator.inputs[1:]):
            tensor, data = held[name]
            scale = tensor.quantization.scale[:, None]
            steps = data.view(np.int8 if tensor.type == TensorType.INT8 else "<i8").reshape(len(scale), -1)
            ours[name].data = np.frombuffer((steps * scale).astype("<f4").tobytes(), np.uint8)
    return _pack(model)


def test_refitting_the_last_layer_costs_no_more_than_a_rounding(files: Files, unseen: Calibration) -> None:
    def error(content: bytes, planes: np.ndarray) -> float:
        return float(np.square(logits(content, planes) - logits(files.float32, planes)).mean())

    # What is refitted is the least of squares before the layer is rounded to int8 once more; how much of a gain that
    # rounding leaves depends on the net and the processor. Rounding to steps of a scale has the variance scale**2 / 12.
    output = TfliteModel(files.int8).output
    assert output is not None
    for planes in (files.calibration.planes, unseen.planes):
        assert error(files.int8, planes) <= error(files.not_refitted, planes) + output.scale**2 / 12


def test_an_affine_error_of_the_logits_is_taken_back(files: Files, unseen: Calibration) -> None:
    rng = np.random.default_rng(0)
    factor, shift = np.eye(9) + rng.normal(0, 0.1, (9, 9)), rng.normal(0, 0.5, 9)

    def distorted(content: bytes) -> bytes:
        model = _unpack(content)
        graph = model.subgraphs[0]
        kernel, bias = (model.buffers[graph.tensors[t].buffer] for t in graph.operators[-1].inputs[1:])
        k, b = (buffer.data.view("<f4").astype(float) for buffer in (kernel, bias))
        for buffer, values in ((kernel, factor.T @ k.reshape(9, -1)), (bias, b @ factor + shift)):
            buffer.data = np.frombuffer(values.astype("<f4").tobytes(), np.uint8)
        return _pack(model)

    wanted = logits(files.float32, unseen.planes)
    wrong = distorted(files.float32)
    assert np.abs(logits(wrong, unseen.planes) - wanted).max() > 0.5
    back = distorted(refit_logits(files.float32, wrong, files.calibration))
    np.testing.assert_allclose(logits(back, unseen.planes), wanted, atol=1e-3)


@pytest.mark.parametrize(("recipe", "steps"), [("int8", 255), ("int16x8", 2 * 32767)])
def test_every_activation_has_the_range_that_was_observed(files: Files, recipe: str, steps: int) -> None:
    names = [tensor.name for tensor in _unpack(files.float32).subgraphs[0].tensors]
    ranges = observe(files.float32, files.calibration).ranges(WHOLE_RANGE)
    found = {tensor.name: tensor.quantization for tensor in _unpack(getattr(files, recipe)).subgraphs[0].tensors}
    for t, (low, high) in ranges.items():
        # int16's kernels ask for a range symmetric about 0; int8's moves by half a step at most, so 0 has a level
        low, high = (low, high) if recipe == "int8" else (-max(-low, high), max(-low, high))
        (scale,), (zero_point,) = found[names[t]].scale, found[names[t]].zeroPoint
        assert scale == pytest.approx((high - low) / steps, rel=1e-6)
        assert abs(zero_point - (-128 - low / scale if recipe == "int8" else 0)) < 0.501


def test_weights_are_rounded_by_channel_and_biases_to_the_steps_of_their_sums(files: Files) -> None:
    """The arithmetic of an int8 file, against its definition: Jacob et al., CVPR 2018, and LiteRT's specification."""
    models = [_unpack(content) for content in (files.float32, files.not_refitted)]
    floats, ints = ({t.name: (t, m.buffers[t.buffer].data) for t in m.subgraphs[0].tensors} for m in models)
    graph = models[1].subgraphs[0]
    layers = [[graph.tensors[i].name for i in op.inputs] for op in graph.operators if len(op.inputs) == 3]
    assert len(layers) == 21
    for x, weights, bias in layers:
        scale, steps = ints[weights][0].quantization.scale, ints[x][0].quantization.scale
        exact = floats[weights][1].view("<f4").reshape(floats[weights][0].shape[0], -1).astype(np.float64)
        np.testing.assert_allclose(scale, np.abs(exact).max(axis=1) / 127, rtol=1e-6)
        stored = ints[weights][1].view(np.int8).reshape(exact.shape)
        assert (np.abs(stored * scale[:, None] - exact) <= 0.5001 * scale[:, None]).all()
        assert np.abs(stored).max() == 127
        sums = ints[bias][1].view("<i4") * scale * steps
        assert (np.abs(sums - floats[bias][1].view("<f4")) <= 0.51 * scale * steps).all()


# === Ranges ===


def test_a_residual_branch_gets_its_own_range_and_not_that_of_the_sum(files: Files) -> None:
    graph = _unpack(files.float32).subgraphs[0]
    ranges = observe(files.float32, files.calibration).ranges(WHOLE_RANGE)
    additions = [op for op in graph.operators if len(op.inputs) == 2 and all(int(i) in ranges for i in op.inputs)]
    assert len(additions) == 8
    for addition in additions:
        assert all(ranges[int(i)][1] != ranges[int(addition.outputs[0])][1] for i in addition.inputs)


def test_clipped_ranges_lie_within_the_whole_ones_but_for_the_input_and_the_logits(files: Files) -> None:
    seen = observe(files.float32, files.calibration)
    whole, clipped = seen.ranges(WHOLE_RANGE), seen.ranges(CLIPPED_RANGE)
    first, *between, last = seen.tensors
    assert whole[first] == clipped[first] == (0, 1)
    assert whole[last] == clipped[last]
    assert all(whole[t][0] <= clipped[t][0] <= 0 <= clipped[t][1] <= whole[t][1] for t in between)
    assert sum(clipped[t][1] < whole[t][1] for t in between) > len(between) / 2


def test_the_same_ranges_give_the_same_file(files: Files) -> None:
    ranges = observe(files.float32, files.calibration).ranges(WHOLE_RANGE)
    assert quantize_int8(files.float32, ranges) == files.not_refitted


# === What is tried next ===


def test_more_maps_then_clipped_ranges_then_16_bits_are_tried_in_turn() -> None:
    plan = attempts("int8", 300, available=5000)
    assert [(a.recipe.name, a.maps, a.coverage) for a in plan] == [
        ("int8", 300, WHOLE_RANGE),
        ("int8", MORE_MAPS, WHOLE_RANGE),
        ("int8", MORE_MAPS, CLIPPED_RANGE),
        ("int16x8", 300, WHOLE_RANGE),
    ]


def test_nothing_is_tried_twice_where_there_are_few_training_maps() -> None:
    plan = attempts("int8", 300, available=200)
    assert [(a.recipe.name, a.maps) for a in plan] == [("int8", 200), ("int8", 200), ("int16x8", 200)]
    assert len(attempts("int16x8", 300, available=5000)) == 1
