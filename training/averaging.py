"""The moving average of a model's weights: what training returns instead of the last step's, where it is asked for.

Polyak & Juditsky, "Acceleration of Stochastic Approximation by Averaging", SIAM J. Control Optim. 30(4), 1992, with the
exponential window and the warm-up of tf.train.ExponentialMovingAverage. Keras' own averages the trainable weights
alone, and leaves BatchNormalization with the statistics of other weights; here the statistics are averaged with them.
"""

from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray


class MovingAverage(keras.callbacks.Callback):  # type: ignore[misc]  # keras has no types
    """Averages the weights after every step, and puts the average into the model wherever it is judged.

    Comes before `Progress` among the callbacks.
    """

    def __init__(self, decay: float, *, steps: int, first_epoch: int, start: list[NDArray[Any]] | None) -> None:
        """Take the window.

        Args:
            decay: share of the average that stays at each step, 0 to below 1.
            steps: of an epoch.
            first_epoch: the one that training goes on with.
            start: the average so far, as `weights` gave it; None at the first epoch.
        """
        super().__init__()
        self._decay, self._step, self._start = decay, first_epoch * steps, start

    def weights(self) -> list[NDArray[Any]]:
        """Return the average, in the order of the model's weights."""
        return [np.asarray(variable) for variable in self._average]

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Begin from the model's weights, or from the average of a run that goes on."""
        values = self._start or self.model.get_weights()
        self._average = [tf.Variable(value, trainable=False) for value in values]
        floats = [
            (mean, own.value)
            for mean, own in zip(self._average, self.model.weights, strict=True)
            if mean.dtype.is_floating
        ]

        @tf.function  # type: ignore[untyped-decorator]  # tensorflow has no types
        def update(decay: Any) -> None:
            for mean, own in floats:
                mean.assign(decay * mean + (1 - decay) * tf.cast(own, mean.dtype))

        self._update = update

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Let the last step's weights into the average: the more, the fewer steps there were."""
        self._update(tf.constant(min(self._decay, (1 + self._step) / (10 + self._step)), tf.float32))
        self._step += 1

    def on_test_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Judge the average."""
        self._own = self.model.get_weights()
        self.model.set_weights(self.weights())

    def on_test_end(self, logs: dict[str, Any] | None = None) -> None:
        """Go on training with the last step's weights."""
        self.model.set_weights(self._own)
