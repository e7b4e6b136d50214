"""One model trained by several processes, each on its part of every batch, under tf.distribute.

A step of our own under MultiWorkerMirroredStrategy: Keras' `fit` fails under it. All processes hold the same weights
and the same figures after every step, so that each decides alone, and alike, when to stop. What one process would have
done with the whole batch they do together: gradients are added up, and BatchNormalization has the statistics of the
whole batch. Only dropout differs, which each process draws for itself.
"""

import hashlib
import signal
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

# Nothing public sets the heartbeat; the private import is held by the exact pin of tensorflow.
from tensorflow.python.eager import context

from training.cluster import Cluster
from training.progress import generators
from wafer_tf.dies import CLASSES
from wafer_tf.errors import UsageError
from wafer_tf.splitting.splits import content_hash
from wafer_tf.waferset import WaferSet

GONE = (tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.CancelledError, tf.errors.DeadlineExceededError)
"""What a step raises when another process has ended."""
HEARTBEAT_S = 60
"""How long a process may be silent: on a machine with four times as many busy processes as cores TensorFlow's 10 s
ended healthy ones."""
FIGURES = 3 + 3 * len(CLASSES)
"""Sums over maps: loss, maps, right answers; of each class its share of the right, of the answers, of the targets."""


class Workers:
    """The processes that train together, seen from one of them."""

    def __init__(self, cluster: Cluster) -> None:
        """Connect to the others, and wait for them; before any other use of TensorFlow in the process.

        Args:
            cluster: of this process.

        Raises:
            UsageError: the address of this process cannot be listened on.
        """
        self.cluster = cluster
        _check_address(cluster)
        ends = signal.getsignal(signal.SIGTERM)
        there = context.context()
        there.configure_coordination_service = partial(
            there.configure_coordination_service, heartbeat_timeout_in_ms=HEARTBEAT_S * 1000
        )
        self.strategy = tf.distribute.MultiWorkerMirroredStrategy()
        signal.signal(signal.SIGTERM, ends or signal.SIG_DFL)  # TensorFlow has taken it, and would not end
        self._local = self.strategy.num_replicas_in_sync // len(cluster.addresses)

        @tf.function(input_signature=[tf.TensorSpec([None], tf.float64)])  # type: ignore[untyped-decorator]
        def floats(own: Any) -> Any:
            return self._sum(own)

        @tf.function(input_signature=[tf.TensorSpec([None], tf.int64)])  # type: ignore[untyped-decorator]
        def whole(own: Any) -> Any:
            return self._sum(own)

        self._sums = {np.dtype(np.float64): floats, np.dtype(np.int64): whole}

    def _sum(self, own: Any) -> Any:
        def first(own: Any) -> Any:
            here = tf.distribute.get_replica_context().replica_id_in_sync_group
            return tf.where(here % self._local == 0, own, tf.zeros_like(own))

        return self.strategy.reduce(tf.distribute.ReduceOp.SUM, self.strategy.run(first, args=(own,)), axis=None)

    def sum(self, own: NDArray[Any]) -> NDArray[Any]:
        """Return the sum over all processes of an (n,) float64 or int64 array, the same to all."""
        return np.asarray(self._sums[own.dtype](own))

    def from_chief(self, data: bytes) -> bytes:
        """Return the chief's bytes, in every process.

        Args:
            data: of the chief; of the others it does not matter.
        """
        size = int(self.sum(np.array([len(data) if self.cluster.leads else 0], np.int64))[0])
        padded = np.zeros(-(-size // 8), np.int64)
        if self.cluster.leads:
            padded.view(np.uint8)[:size] = np.frombuffer(data, np.uint8)
        return self.sum(padded).tobytes()[:size]

    def share_of(self, rows: int) -> slice:
        """Return which rows of a batch are this process's.

        Args:
            rows: of the whole batch.

        Raises:
            UsageError: they cannot be shared evenly.
        """
        devices = self.strategy.num_replicas_in_sync
        if rows % devices:
            raise UsageError(
                f"--batch-size {rows}: cannot be shared evenly by {devices} devices of {len(self.cluster.addresses)} "
                "processes; expected a multiple."
            )
        own = rows // devices * self._local
        return slice(self.cluster.rank * own, (self.cluster.rank + 1) * own)

    def own(self, wafers: WaferSet) -> WaferSet:
        """Return this process's share of a set that all judge together."""
        return wafers.select(np.arange(self.cluster.rank, len(wafers), len(self.cluster.addresses)))

    def check_same(self, what: str, data: bytes) -> None:
        """Make sure that all processes have the same.

        Args:
            what: to name it by in the error.
            data: that is to be the same.

        Raises:
            UsageError: in all processes, if in one it is other than the chief's.
        """
        size = hashlib.sha256().digest_size // 8
        everyones = np.zeros((len(self.cluster.addresses), size), np.int64)
        everyones[self.cluster.rank] = np.frombuffer(hashlib.sha256(data).digest(), np.int64)
        everyones = self.sum(everyones.ravel()).reshape(everyones.shape)
        other = [self.cluster.addresses[rank] for rank in np.flatnonzero((everyones != everyones[0]).any(axis=1))]
        if other:
            raise UsageError(
                f"{what}: not the same in all processes: in that at {' and '.join(other)} other than in the chief's, "
                f"{self.cluster.addresses[0]}. All must be started alike, and find the same under the same paths."
            )

    def check_maps(self, training: WaferSet, target: NDArray[np.float32] | None, validation: WaferSet | None) -> None:
        """Make sure that all processes train on the same maps, under the same names, and are judged by the same.

        Args:
            training: the maps to train on.
            target: (n, 9), what they are to be called; None for their labels.
            validation: the maps to judge; None for none.

        Raises:
            UsageError: in all processes, if in one they are others than the chief's.
        """
        sets = [content_hash(wafers) for wafers in (training, validation) if wafers is not None]
        self.check_same("the maps", "".join(sets).encode() + (b"" if target is None else target.tobytes()))

    def fit(
        self,
        model: keras.Model,
        batches: "tf.data.Dataset",
        *,
        epochs: int,
        steps_per_epoch: int,
        class_weight: dict[int, float],
        initial_epoch: int = 0,
        validation_data: "tf.data.Dataset | None" = None,
        callbacks: Sequence[keras.callbacks.Callback] = (),
        **_: Any,
    ) -> None:
        """Train as Keras' fit does, with its figures and callbacks, together with the other processes.

        Args:
            model: compiled and built in the strategy's scope, the same in all processes.
            batches: (input, target) of this process's share of each batch, see `share_of`.
            epochs: the one to end before.
            steps_per_epoch: batches of an epoch.
            class_weight: of each class, by its index.
            initial_epoch: the one to begin with, from 0.
            validation_data: (input, target) of this process's share of the maps to judge after each epoch, see `own`.
            callbacks: as of Keras.
            _: what Keras' fit takes and this does not need.
        """
        for layer in model.layers:
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.synchronized = True
        for generator in generators(model):
            generator.assign(generator + np.array([self.cluster.rank, 0]))  # each drops other features
        with self.strategy.scope():
            model.optimizer.build(model.trainable_variables)
        step, judge = self._step(model, class_weight), _judge(model)
        told = keras.callbacks.CallbackList([*callbacks], model=model)
        model.stop_training = False
        told.on_train_begin()
        source = iter(batches)
        for epoch in range(initial_epoch, epochs):
            told.on_epoch_begin(epoch)
            sums = np.zeros(FIGURES)
            for number in range(steps_per_epoch):
                sums += np.asarray(step(*next(source)))
                told.on_train_batch_end(number)
            logs = figures(self.sum(sums))
            if validation_data is not None:
                told.on_test_begin()
                sums = np.zeros(FIGURES)
                for planes, target in validation_data:
                    sums += np.asarray(judge(planes, target))
                logs |= {f"val_{name}": value for name, value in figures(self.sum(sums)).items()}
                told.on_test_end()
            told.on_epoch_end(epoch, logs)
            if model.stop_training:
                break
        told.on_train_end()

    def _step(self, model: keras.Model, class_weight: dict[int, float]) -> Any:
        """Return a step: of (input, target) of this process to the sums of its maps."""
        weight = tf.constant([class_weight.get(c, 1.0) for c in range(len(CLASSES))], tf.float32)
        variables = model.trainable_variables

        def step(planes: Any, target: Any) -> Any:
            with tf.GradientTape() as tape:
                output = model(planes, training=True)
                loss = model.loss.call(target, output) * tf.gather(weight, tf.argmax(target, axis=1))
                total = tf.reduce_mean(loss) / self.strategy.num_replicas_in_sync
            gradients = tape.gradient(total, [variable.value for variable in variables])
            model.optimizer.apply(gradients, variables)  # adds up what all have found
            return _sums_of(target, output, loss)

        own = self._local

        @tf.function  # type: ignore[untyped-decorator]  # tensorflow has no types
        def together(planes: Any, target: Any) -> Any:
            parts = list(zip(tf.split(planes, own), tf.split(target, own), strict=True))
            first = self.cluster.rank * own

            def part_of(context: Any) -> Any:
                return parts[int(context.replica_id_in_sync_group) - first]

            given = self.strategy.experimental_distribute_values_from_function(part_of) if own > 1 else parts[0]
            found = self.strategy.run(lambda part: step(*part), args=(given,))
            return tf.add_n(self.strategy.experimental_local_results(found))

        return together


def figures(sums: NDArray[np.float64]) -> dict[str, float]:
    """Return an epoch's figures, as the metrics that Keras' fit is compiled with would give them.

    Args:
        sums: (FIGURES,) over the epoch's maps.

    Examples:
        >>> one = np.eye(len(CLASSES))[0]
        >>> figures(np.concatenate([[3.0, 2, 1], one, 2 * one, one]))
        {'accuracy': 0.5, 'loss': 1.5, 'macro_f1': 0.6666666666666666}
    """
    loss, maps, right = sums[:3]
    hit, answered, wanted = sums[3:].reshape(3, -1)
    f1 = 2 * hit / np.maximum(answered + wanted, keras.config.epsilon())
    present = wanted > 0
    return {
        "accuracy": float(right / maps),
        "loss": float(loss / maps),
        "macro_f1": float(f1[present].mean()) if present.any() else 0.0,
    }


def _sums_of(target: Any, output: Any, loss: Any) -> Any:
    answer = tf.one_hot(tf.argmax(output, axis=1), len(CLASSES))
    right = tf.argmax(output, axis=1) == tf.argmax(target, axis=1)
    firsts = tf.stack(
        [tf.reduce_sum(loss), tf.cast(len(target), tf.float32), tf.reduce_sum(tf.cast(right, tf.float32))]
    )
    classes = [tf.reduce_sum(part, axis=0) for part in (answer * target, answer, target)]
    return tf.concat([firsts, *classes], axis=0)


def _judge(model: keras.Model) -> Any:
    """Return what judges a batch: of (input, target) to the sums of its maps."""

    @tf.function(reduce_retracing=True)  # type: ignore[untyped-decorator]  # tensorflow has no types
    def judge(planes: Any, target: Any) -> Any:
        output = model(planes, training=False)
        return _sums_of(target, output, model.loss.call(target, output))

    return judge


@contextmanager
def says_who_is_gone() -> Iterator[None]:
    """Make one error of all that TensorFlow raises when another process has ended.

    Raises:
        ConnectionError: another process has ended.
    """
    try:
        yield
    except GONE as error:
        lines = str(error.message).splitlines()
        said = next((line for line in lines if "aborted by" in line), lines[0])[:200]
        raise ConnectionError(
            f"another of the processes that train together has ended, or is cut off ({said})"
        ) from None


def _check_address(cluster: Cluster) -> None:
    host, _, port = cluster.addresses[cluster.rank].rpartition(":")
    try:
        socket.create_server(("", int(port))).close()
    except OSError as error:
        raise UsageError(
            f"TF_CONFIG: process {cluster.rank} is to listen on {host}:{port}: {error.strerror}. Another one does, or "
            "this is not that machine."
        ) from None
