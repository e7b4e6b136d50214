import numpy as np
import pytest

from wafer_tf.encoding import encode, to_float
from wafer_tf.learning.augment import Augmentation
from wafer_tf.learning.pipeline import Epochs, evaluation_batches, steps_per_epoch, training_batches
from wafer_tf.pattern_bits import pattern_bits
from wafer_tf.synthesis import synthesize
from wafer_tf.waferset import WaferSet

PLAIN = Augmentation(symmetries=False)


@pytest.fixture(scope="module")
def wafers() -> WaferSet:
    return synthesize(3, seed=0).wafers


def test_training_and_evaluation_encode_bit_for_bit_as_the_encoder(wafers: WaferSet) -> None:
    inputs = np.concatenate([x.numpy() for x, _ in evaluation_batches(wafers, batch_size=4)])
    expected = np.stack([to_float(encode(wafers.map(i))) for i in range(len(wafers))])
    np.testing.assert_array_equal(inputs, expected)
    one_epoch = training_batches(wafers, PLAIN, batch_size=27, seed=0, epochs=1)
    shuffled = np.concatenate([x.numpy() for x, _ in one_epoch])
    assert sorted(map(bytes, shuffled)) == sorted(map(bytes, expected))


def test_every_map_is_seen_each_epoch_with_its_label_and_in_a_new_order(wafers: WaferSet) -> None:
    encoded = {encode(wafers.map(i)).tobytes(): int(wafers.label[i]) for i in range(len(wafers))}
    steps = steps_per_epoch(len(wafers), 8)
    batches = list(training_batches(wafers, PLAIN, batch_size=8, seed=0, epochs=2))
    assert len(batches) == 2 * steps == 8
    orders = []
    for epoch in range(2):
        seen = []
        for x, y in batches[epoch * steps : (epoch + 1) * steps]:
            keys = [np.rint(one * 255).astype(np.uint8).tobytes() for one in x.numpy()]
            assert [encoded[k] for k in keys] == y.numpy().argmax(1).tolist()
            seen += keys
        assert set(seen) == set(encoded)
        orders.append(seen)
    assert orders[0] != orders[1]


def test_an_epoch_is_the_same_whether_or_not_those_before_it_were_drawn(wafers: WaferSet) -> None:
    settings = {"batch_size": 8, "seed": 3, "epochs": 3}
    augmentation = Augmentation(turn_prob=0.5, stretch_prob=0.5, die_noise=0.2)
    whole = [x.numpy() for x, _ in training_batches(wafers, augmentation, **settings)]
    rest = [x.numpy() for x, _ in training_batches(wafers, augmentation, first_epoch=2, **settings)]
    np.testing.assert_array_equal(np.stack(whole[-len(rest) :]), np.stack(rest))
    other = next(iter(training_batches(wafers, augmentation, batch_size=8, seed=4, epochs=1)))[0].numpy()
    assert not np.array_equal(whole[0], other)


def test_an_epoch_shows_every_defect_and_the_next_part_of_none() -> None:
    label = np.array([8] * 10 + [0, 1, 2, 7], np.int8)
    shown = Epochs(label, 4, seed=1)
    orders = [shown.order(epoch) for epoch in range(5)]
    assert len(shown) == 8
    for order in orders:
        assert sorted(label[order].tolist()) == [0, 1, 2, 7, 8, 8, 8, 8]
    none = np.concatenate([order[label[order] == 8] for order in orders])
    assert np.bincount(none, minlength=10)[:10].tolist() == [2] * 10, "20 places, round and round over 10 maps"
    assert len(Epochs(label, 10, seed=1)) == len(Epochs(label, 0, seed=1)) == 14
    np.testing.assert_array_equal(Epochs(label, 4, seed=1).order(3), orders[3])


def test_an_unlabelled_map_has_an_all_zero_label(wafers: WaferSet) -> None:
    grids = [wafers.map(i) for i in range(2)]
    unlabelled = WaferSet.from_maps(grids, label=[-1, 4])
    ((_, y),) = evaluation_batches(unlabelled)
    assert y.numpy().sum(1).tolist() == [0, 1]


def test_a_wafer_of_several_patterns_weighs_nothing_in_the_nine_way_loss_and_one_of_unknown_ones_nothing_at_all() -> (
    None
):
    grids = [synthesize(1, seed=0).wafers.map(i) for i in range(4)]
    both = pattern_bits(["Center", "Scratch"], "here")
    wafers = WaferSet.from_maps(grids, label=[3, 8, -1, -1], patterns=[pattern_bits(["Edge-Ring"], "here"), 0, both, 0])
    ((_, y, w),) = training_batches(
        wafers, PLAIN, batch_size=4, seed=0, epochs=1, weights=dict.fromkeys(range(9), 1.0) | {3: 2.0}
    )
    order = Epochs(wafers.label, 0, seed=0).order(0)
    calls, bits = np.zeros((4, 9)), np.zeros((4, 8))
    calls[0, 3] = calls[1, 8] = 1
    bits[0, 3] = bits[2, 0] = bits[2, 7] = 1
    np.testing.assert_array_equal(y["logits"], calls[order])
    np.testing.assert_array_equal(y["patterns"], bits[order])
    assert w["logits"].numpy().tolist() == np.array([2, 1, 0, 0])[order].tolist()
    assert w["patterns"].numpy().tolist() == np.array([1, 1, 1, 0])[order].tolist()
