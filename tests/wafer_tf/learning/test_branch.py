"""A branch beside a finished classifier: its logits stay the same bits, its head is numbers on the features."""

import keras
import numpy as np
import pytest

from wafer_tf.learning.augment import Augmentation
from wafer_tf.learning.branch import branch_batches, features_of, head_of, with_branch
from wafer_tf.learning.models import ModelConfig, build_model
from wafer_tf.learning.prediction import predict_logits
from wafer_tf.synthesis import synthesize

WAFERS = synthesize(2, seed=0).wafers


@pytest.mark.parametrize("architecture", ["resnet14", "baseline"])
def test_a_branch_leaves_the_logits_as_they_are_and_trains_alone(architecture: str) -> None:
    keras.utils.set_random_seed(0)
    model = build_model(ModelConfig(architecture, input_size=32, width=4))
    before = [weight.copy() for weight in model.get_weights()]
    expected = predict_logits(model, WAFERS)
    both = with_branch(model)
    learner = keras.Model(both.input, both.output["other"])
    learner.compile("adam", keras.losses.BinaryCrossentropy(from_logits=True))
    batches = branch_batches(WAFERS, WAFERS, Augmentation(), batch_size=12, seed=0, epochs=1, size=32)
    learner.fit(batches, epochs=1, steps_per_epoch=3, shuffle=False, verbose=0)
    logits, features = features_of(both, WAFERS)
    np.testing.assert_array_equal(logits, expected)
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    head = head_of(both)
    other = learner.predict(batches.take(1).map(lambda planes, _: planes), verbose=0)[:, 0]
    told = both.predict(batches.take(1).map(lambda planes, _: planes), verbose=0)["features"]
    np.testing.assert_allclose(told @ head[:-1] + head[-1], other, atol=1e-4)
    assert features.shape == (len(WAFERS), len(head) - 1)


def test_a_batch_shows_every_map_once_an_epoch_and_says_which_are_others() -> None:
    others = synthesize(1, seed=5).wafers
    batches = branch_batches(WAFERS, others, Augmentation(), batch_size=9, seed=1, epochs=2, size=32)
    wanted = [target.numpy()[:, 0] for _, target in batches]
    assert len(wanted) == 2 * 3
    for epoch in (wanted[:3], wanted[3:]):
        assert np.concatenate(epoch).sum() == len(others)
