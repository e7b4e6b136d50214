"""Answers to many maps are those to each alone."""

import numpy as np
import pytest

from wafer_tf.bundle import load_bundle
from wafer_tf.dies import grid_sha256
from wafer_tf.encoding import encode
from wafer_tf.inference import many
from wafer_tf.inference.interpreter import TfliteModel
from wafer_tf.inference.many import KnownMaps, map_hashes, run_many
from wafer_tf.inference.proven import ProvenModel
from wafer_tf.released import bundle_folder
from wafer_tf.synthesis import synthesize
from wafer_tf.waferset import WaferSet


class Counted(TfliteModel):
    """Counts how often it infers."""

    inferred = 0

    def infer(self, fed: np.ndarray) -> np.ndarray:
        self.inferred += 1
        return super().infer(fed)


@pytest.fixture(scope="module")
def nano() -> ProvenModel:
    model = ProvenModel(load_bundle(bundle_folder("nano")))
    model.tflite = Counted(model.bundle.model)
    return model


@pytest.fixture(scope="module")
def wafers() -> WaferSet:
    """Maps of many shapes, in no order: some with a margin, a large one, and copies."""
    made = synthesize(4, seed=5).wafers
    grids = [made.map(i) for i in range(len(made))]
    grids += [np.pad(grids[1], ((2, 0), (0, 3))), np.pad(grids[2], 1), np.full((400, 300), 2, np.uint8), grids[3]]
    grids += [grids[i].T.copy() for i in range(3)] + [grids[i] for i in (7, 1, 7)]
    order = np.random.default_rng(0).permutation(len(grids))
    return WaferSet.from_maps([grids[i] for i in order], label=np.full(len(grids), -1))


def each_alone(model: ProvenModel, wafers: WaferSet) -> np.ndarray:
    return np.stack([model.tflite.run(encode(wafers.map(i), model.tflite.input_size)) for i in range(len(wafers))])


def scores_alone(model: ProvenModel, wafers: WaferSet) -> list[float]:
    found = [model.judgement(wafers.map(i)).unknown_score for i in range(len(wafers))]
    return [np.nan if score is None else score for score in found]


def test_many_maps_are_answered_as_each_alone(
    nano: ProvenModel, wafers: WaferSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected, scores = each_alone(nano, wafers), scores_alone(nano, wafers)
    found = run_many(nano, wafers)
    assert found["logits"].dtype == expected.dtype
    np.testing.assert_array_equal(found["logits"], expected)
    np.testing.assert_allclose(found["unknown_score"], scores, rtol=1e-9)
    np.testing.assert_array_equal(run_many(nano, wafers, [5, 0, 5])["logits"], expected[[5, 0, 5]])
    monkeypatch.setattr(many, "AT_ONCE", 2)
    found = run_many(nano, wafers)
    np.testing.assert_array_equal(found["logits"], expected)
    np.testing.assert_allclose(found["unknown_score"], scores, rtol=1e-9)
    assert len(run_many(nano, wafers, [])) == 0


def test_few_large_maps_are_in_memory_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(many, "CELLS_AT_ONCE", 1000)
    maps = [np.ones(shape, np.uint8) for shape in [(10, 10)] * 25 + [(20, 20)] * 5 + [(60, 60)] * 2]
    wafers = WaferSet.from_maps(maps, label=np.full(len(maps), -1))
    sizes = [grids.shape for _, grids in many._alike(wafers, np.arange(len(maps)))]
    assert sizes == [(10, 10, 10), (10, 10, 10), (5, 10, 10), *[(2, 20, 20)] * 2, (1, 20, 20), *[(1, 60, 60)] * 2]


def test_hashes_are_those_of_the_records(wafers: WaferSet) -> None:
    for hashes, part in ((map_hashes(wafers), wafers), (map_hashes(wafers[3:9]), wafers[3:9])):
        assert [name.hex() for name in hashes] == [grid_sha256(part.map(i)) for i in range(len(part))]


@pytest.mark.parametrize("most", [0, 3, 1000])
def test_a_map_that_is_known_is_not_inferred_again(nano: ProvenModel, wafers: WaferSet, most: int) -> None:
    hashes, expected = map_hashes(wafers), each_alone(nano, wafers)
    known, different = KnownMaps(nano, most=most), len(set(hashes))
    assert different == len(wafers) - 4
    nano.tflite.inferred = 0
    np.testing.assert_array_equal(known.run(wafers, hashes)["logits"], expected)
    assert nano.tflite.inferred == different
    np.testing.assert_array_equal(known.run(wafers, hashes)["logits"], expected)
    assert nano.tflite.inferred == different + max(0, different - most)
    np.testing.assert_array_equal(known.run(wafers[:2], hashes[:2])["logits"], expected[:2])


def test_no_more_is_remembered_than_is_allowed_and_the_oldest_goes_first(nano: ProvenModel, wafers: WaferSet) -> None:
    known, hashes = KnownMaps(nano, most=2), map_hashes(wafers)
    distinct = list(dict.fromkeys(hashes))
    known.run(wafers, hashes)
    assert list(known._stored) == distinct[-2:]
