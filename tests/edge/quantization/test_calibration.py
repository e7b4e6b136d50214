from dataclasses import replace

import numpy as np
import pytest

from edge.quantization.calibration import choose
from wafer_tf.dies import CLASSES
from wafer_tf.encoding import encode, to_float
from wafer_tf.errors import InputError
from wafer_tf.synthesis import synthesize
from wafer_tf.waferset import WaferSet

COUNTS = {"Center": 12, "Donut": 2, "Loc": 9, "none": 30}


@pytest.fixture(scope="module")
def training() -> WaferSet:
    return synthesize(COUNTS, seed=3).wafers


def test_classes_share_the_set_equally_and_a_small_class_leaves_its_share_to_the_others(training: WaferSet) -> None:
    found = dict(zip(CLASSES, choose(training, 26, seed=0, size=32).counts, strict=True))
    assert {name: n for name, n in found.items() if n} == {"Center": 8, "Donut": 2, "Loc": 8, "none": 8}


def test_a_smaller_set_is_the_start_of_a_larger_one(training: WaferSet) -> None:
    few, many = (choose(training, n, seed=5, size=32).planes for n in (10, 40))
    np.testing.assert_array_equal(few, many[:10])


def test_maps_are_taken_once_each_and_all_where_there_are_too_few(training: WaferSet) -> None:
    found = choose(training, 1000, seed=0, size=32)
    assert found.counts == tuple(COUNTS.get(name, 0) for name in CLASSES)
    expected = {encode(training.map(i), 32).tobytes() for i in range(len(training))}
    assert {planes.tobytes() for planes in found.planes} == expected


def test_inputs_are_what_training_feeds_the_float_model(training: WaferSet) -> None:
    found = choose(training, 5, seed=0, size=32)
    for planes, x in zip(found.planes, found.inputs(), strict=True):
        np.testing.assert_array_equal(x, to_float(planes)[None])


def test_the_same_seed_names_the_same_set_and_another_another(training: WaferSet) -> None:
    one, same, other = (choose(training, 20, seed=seed, size=32).to_json() for seed in (0, 0, 1))
    assert one == same
    assert one["sha256"] != other["sha256"]
    assert (one["maps"], one["part"], one["seed"]) == (20, "train", 0)


def test_one_die_of_one_map_changes_the_hash(training: WaferSet) -> None:
    flat = training.flat.copy()
    flat[training.offsets[7] + np.flatnonzero(training.map(7).ravel() == 1)[0]] = 2
    changed = replace(training, flat=flat)
    assert choose(training, 1000, seed=0, size=32).sha256 != choose(changed, 1000, seed=0, size=32).sha256


def test_a_training_part_without_maps_is_refused(training: WaferSet) -> None:
    with pytest.raises(InputError, match="5 of 0 training maps"):
        choose(training.select([]), 5, seed=0, size=32)
