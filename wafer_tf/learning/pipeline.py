"""tf.data from a WaferSet: shuffle, augment, encode, batch.

Every training batch is a pure function of (seed, epoch, step): a run that resumes at epoch k sees exactly what an
uninterrupted one would have, and nothing but the raw die grids is held in memory.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from wafer_tf.dies import CLASSES, NONE, UNLABELLED
from wafer_tf.encoding import INPUT_SIZE, PLANES, encode
from wafer_tf.learning.augment import Augmentation
from wafer_tf.learning.models import LOGITS, PATTERN_LOGITS
from wafer_tf.pattern_bits import PATTERNS
from wafer_tf.waferset import WaferSet

if TYPE_CHECKING:
    import tensorflow as tf


def training_batches(
    wafers: WaferSet,
    augmentation: Augmentation,
    *,
    batch_size: int,
    seed: int,
    epochs: int,
    first_epoch: int = 0,
    size: int = INPUT_SIZE,
    target: NDArray[np.float32] | None = None,
    none_per_epoch: int = 0,
    weights: Mapping[int, float] | None = None,
    share: slice | None = None,
) -> "tf.data.Dataset":
    """Return batches (input float32 0..1, target) of epochs first_epoch..epochs-1, one after another.

    `target`, (n, 9) float32 of rows that sum to 1, is what each map is to be called; None for its one-hot label.
    `none_per_epoch`: see `Epochs`. `share`: the rows of each batch that are wanted; None for all. With `weights`, of
    each class, the batches are for a model with the head for several patterns: input, a dict of targets, and a dict of
    weights; see `_for_both_heads`.

    Each epoch is shuffled; the last, smaller batch of an epoch is filled from the start of the same epoch's order so
    that every step has `batch_size` maps. `steps_per_epoch` gives the steps of one epoch.
    """
    import tensorflow as tf

    shown = Epochs(wafers.label, none_per_epoch, seed=seed)
    steps = steps_per_epoch(len(shown), batch_size)
    own = slice(None) if share is None else share
    if target is None:
        target = one_hot(wafers.label)
    if weights is not None:
        target = _for_both_heads(wafers, target, weights)

    def batch(number: np.int64) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        epoch, step = divmod(int(number), steps)
        order = shown.order(epoch)
        picked = np.take(order, np.arange(step * batch_size, (step + 1) * batch_size), mode="wrap")
        rng = np.random.default_rng((seed, epoch, step))
        changed = [augmentation.apply(wafers.map(i), rng) for i in picked]  # all: they draw from one stream
        return np.stack([encode(each, size) for each in changed[own]]), target[picked[own]]

    numbers = tf.data.Dataset.range(first_epoch * steps, epochs * steps)
    found = batched(numbers, batch, len(range(*own.indices(batch_size))), size, wanted=target.shape[1])
    return found if weights is None else found.map(_by_head)


def one_hot(label: NDArray[np.int8]) -> NDArray[np.float32]:
    """Return (n, 9) float32: 1 at the label, and all zero where there is none."""
    found: NDArray[np.float32] = np.concatenate([np.eye(len(CLASSES)), np.zeros((1, len(CLASSES)))])[label].astype(
        np.float32
    )
    return found


def _for_both_heads(wafers: WaferSet, calls: NDArray[np.float32], weights: Mapping[int, float]) -> NDArray[np.float32]:
    """Return (n, 9 + 1 + 8 + 1) targets of both heads, each followed by its weight.

    A wafer of several patterns has no name for the nine-way head to learn, and weighs nothing there; one of which no
    pattern is known weighs nothing for the sigmoids.
    """
    bits = np.unpackbits(wafers.patterns[:, None], axis=1, bitorder="little", count=len(PATTERNS))
    named = calls.sum(axis=1) > 0
    weight = np.where(named, np.array([weights.get(c, 0.0) for c in range(len(CLASSES))])[calls.argmax(axis=1)], 0)
    known = (wafers.label != UNLABELLED) | (wafers.patterns != 0)
    return np.column_stack([calls, weight, bits, known]).astype(np.float32)


def _by_head(planes: "tf.Tensor", target: "tf.Tensor") -> tuple[Any, dict[str, Any], dict[str, Any]]:
    """Part what `_for_both_heads` put together."""
    end = len(CLASSES)
    targets = {LOGITS: target[:, :end], PATTERN_LOGITS: target[:, end + 1 : -1]}
    return planes, targets, {LOGITS: target[:, end], PATTERN_LOGITS: target[:, -1]}


class Epochs:
    """Which maps each epoch shows, and in which order.

    All of them, or all but the maps of none, of which there are so many that they teach little new: of these an epoch
    shows a part, the next epoch the next part, and so on round and round.

    Example:
        >>> shown = Epochs(np.array([0, 8, 8, 8, 8], np.int8), 2, seed=0)
        >>> len(shown), sorted({*shown.order(0), *shown.order(1)})
        (3, [0, 1, 2, 3, 4])
    """

    def __init__(self, label: NDArray[np.int8], none_per_epoch: int, *, seed: int) -> None:
        """Take the (n,) class of each map, and how many of none an epoch shows: 0 for all of them."""
        none = np.flatnonzero(label == NONE)
        part = bool(none_per_epoch) and none_per_epoch < len(none)
        self._seed, self._in_turn = seed, none_per_epoch if part else 0
        self._none = np.random.default_rng((seed, len(label))).permutation(none) if part else none[:0]
        self._always = np.flatnonzero(label != NONE) if part else np.arange(len(label))

    def __len__(self) -> int:
        return len(self._always) + self._in_turn

    def order(self, epoch: int) -> NDArray[np.int64]:
        """Return the indices of the maps of an epoch, shuffled."""
        turn = np.arange(epoch * self._in_turn, (epoch + 1) * self._in_turn)
        shown = np.concatenate([self._always, np.take(self._none, turn, mode="wrap")]) if len(turn) else self._always
        return np.random.default_rng((self._seed, epoch)).permutation(shown)


def steps_per_epoch(maps: int, batch_size: int) -> int:
    """Return the number of steps that show every map at least once."""
    return -(-maps // batch_size)


def evaluation_batches(wafers: WaferSet, *, batch_size: int = 256, size: int = INPUT_SIZE) -> "tf.data.Dataset":
    """Return batches (input float32 0..1, one-hot label) of every map once, in order; unlabelled rows are all zero."""
    import tensorflow as tf

    target = one_hot(wafers.label)

    def batch(start: np.int64) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        picked = np.arange(int(start), min(int(start) + batch_size, len(wafers)))
        return np.stack([encode(wafers.map(int(i)), size) for i in picked]), target[picked]

    return batched(tf.data.Dataset.range(0, len(wafers), batch_size), batch, None, size)


def batched(
    numbers: "tf.data.Dataset",
    batch: Callable[..., tuple[NDArray[np.uint8], NDArray[np.float32]]],
    rows: int | None,
    size: int,
    *,
    wanted: int = len(CLASSES),
) -> "tf.data.Dataset":
    """Return the batches (input float32 0..1, target) that `batch` makes of each number.

    Args:
        numbers: what `batch` is called with, one after another.
        batch: gives (rows, size, size, 3) uint8 planes and a (rows, wanted) float32 target.
        rows, size, wanted: the shapes; rows None where they differ.
    """
    import tensorflow as tf

    def load(number: "tf.Tensor") -> tuple["tf.Tensor", "tf.Tensor"]:
        planes, target = tf.numpy_function(batch, [number], (tf.uint8, tf.float32), stateful=False)
        planes.set_shape((rows, size, size, len(PLANES)))
        target.set_shape((rows, wanted))
        return tf.cast(planes, tf.float32) / 255.0, target

    # Nothing is left to tune, and whoever ends the dataset waits for its tuner, which sleeps ever longer.
    untuned = tf.data.Options()
    untuned.autotune.enabled = False
    return numbers.map(load, num_parallel_calls=2, deterministic=True).prefetch(2).with_options(untuned)
