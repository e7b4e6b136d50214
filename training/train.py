"""Train one model: the part of a run between the split and the report."""

import sys
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from numpy.typing import NDArray

from training.announce import Announcer
from training.averaging import MovingAverage
from training.config import FitConfig, class_weights
from training.progress import MacroF1, Progress
from wafer_tf.dies import CLASSES
from wafer_tf.learning.models import LOGITS, PATTERN_LOGITS, build_model, load_backbone_weights
from wafer_tf.learning.pipeline import Epochs, evaluation_batches, one_hot, steps_per_epoch, training_batches
from wafer_tf.learning.run_folder import RunFolder
from wafer_tf.pattern_bits import PATTERNS
from wafer_tf.synthesis import synthesize
from wafer_tf.synthesis.clean import clean_wafers
from wafer_tf.waferset import WaferSet

if TYPE_CHECKING:
    from training.workers import Workers

PATTERN_LOSS = 8.0
"""Weight of the mean of the eight sigmoids' losses beside the nine-way answer's: their sum."""


def train(
    config: FitConfig,
    run: RunFolder,
    *,
    training: WaferSet,
    validation: WaferSet | None,
    strategy: Any,
    start: str = "none",
    target: NDArray[np.float32] | None = None,
    mixed: WaferSet | None = None,
    name: str = "",
    callbacks: Sequence[keras.callbacks.Callback] = (),
    workers: "Workers | None" = None,
) -> tuple[keras.Model, Progress]:
    """Train until the epochs are over or validation macro-F1 stops rising; go on from a checkpoint where there is one.

    Without a validation part all epochs are trained, and the last one's weights are taken.

    Args:
        config: of the run.
        run: its folder.
        training: maps to train on; `config.clean_wafers` come on top.
        validation: labelled maps to choose the epoch by; None to take the last.
        strategy: of tf.distribute.
        start: where the weights come from, see `models.load_backbone_weights`.
        target: (n, 9), what each training map is to be called; None for its label.
        mixed: what the head for several patterns learns from besides, see `training.mixed`; None without that head.
        name: of the training, where several are going on.
        callbacks: called after an epoch has been kept, so one that raises loses nothing.
        workers: the processes to train together with, under their strategy; None to train alone.

    Returns:
        The model with the best epoch's weights, and the run's progress (history and best epoch).
    """
    weights = weights_of(config, training, target)
    if count := round(config.clean_wafers * len(training)):
        clean = clean_wafers(training, count, seed=config.seed)
        if target is not None:
            target = np.concatenate([target, np.eye(len(CLASSES), dtype=np.float32)[clean.label]])
        training = WaferSet.concatenate([training, clean])
    if mixed is not None:
        if target is not None:
            target = np.concatenate([target, one_hot(mixed.label)])
        training = WaferSet.concatenate([training, mixed])
    if workers:
        workers.check_maps(training, target, validation)
    progress = Progress(run, patience=config.patience)
    first = len(progress.history)
    keras.utils.set_random_seed(config.seed)  # whatever was trained before in this process
    with strategy.scope():
        if first:
            model = progress.last_model()
        else:
            model = build_model(config.model)
            load_backbone_weights(model, start)
            if config.freeze_epochs:
                _train_head(config, model, training, weights, target, workers)
            compile_model(config, model, maps_per_epoch(config, training))
    if first < config.epochs and not progress.exhausted:
        size = config.model.input_size
        steps = steps_per_epoch(maps_per_epoch(config, training), config.batch_size)
        if config.weight_average:
            start_from = progress.last_average()
            progress.average = MovingAverage(config.weight_average, steps=steps, first_epoch=first, start=start_from)
        if workers and validation is not None:
            validation = workers.own(validation)
        _fit(model, workers)(
            training_batches(
                training,
                config.augmentation,
                batch_size=config.batch_size,
                seed=config.seed,
                epochs=config.epochs,
                first_epoch=first,
                size=size,
                target=target,
                none_per_epoch=config.none_per_epoch,
                weights=weights if config.model.patterns else None,
                share=workers.share_of(config.batch_size) if workers else None,
            ),
            validation_data=None if validation is None else _judging(config, validation),
            initial_epoch=first,
            epochs=config.epochs,
            steps_per_epoch=steps,
            class_weight=None if config.model.patterns else weights,
            callbacks=[
                *([progress.average] if progress.average else []),
                progress,
                Announcer(progress, epochs=config.epochs, steps=steps, name=name),
                *callbacks,
            ],
            shuffle=False,
            verbose=0,
        )
    best = build_model(config.model)
    progress.load_best(best)
    return best, progress


def fill_classes(training: WaferSet, wanted: int, *, seed: int) -> WaferSet:
    """Fill every class with fewer than `wanted` training maps up to it, on die grids of the training maps."""
    counts = {name: max(0, wanted - int(n)) for name, n in zip(CLASSES, training.class_counts(), strict=True)}
    if not any(counts.values()):
        return training
    made = synthesize(counts, seed=seed, grids=[training.map(i) for i in range(len(training))])
    words = ", ".join(f"{name} {n}" for name, n in counts.items() if n)
    print(f"synthetic training maps: {words}", file=sys.stderr)
    return WaferSet.concatenate([training, made.wafers])


def weights_of(config: FitConfig, training: WaferSet, target: NDArray[np.float32] | None) -> dict[int, float]:
    """Return the class weights for what an epoch shows of the training maps."""
    label = training.label[training.labelled] if target is None else target.argmax(axis=1)
    return class_weights(config.class_weights, label, none_per_epoch=config.none_per_epoch)


def maps_per_epoch(config: FitConfig, training: WaferSet) -> int:
    """Return how many of the training maps an epoch shows."""
    return len(Epochs(training.label, config.none_per_epoch, seed=config.seed))


def _judging(config: FitConfig, validation: WaferSet) -> Any:
    """Return the batches that choose the epoch: by the nine-way answer alone, whatever heads there are."""
    batches = evaluation_batches(validation, size=config.model.input_size)
    if not config.model.patterns:
        return batches
    import tensorflow as tf

    def with_heads(planes: Any, target: Any) -> tuple[Any, ...]:
        maps = tf.shape(planes)[0]
        weights = {LOGITS: tf.ones(maps), PATTERN_LOGITS: tf.zeros(maps)}
        return planes, {LOGITS: target, PATTERN_LOGITS: tf.zeros((maps, len(PATTERNS)))}, weights

    return batches.map(with_heads)


def _train_head(
    config: FitConfig,
    model: keras.Model,
    training: WaferSet,
    weights: dict[int, float],
    target: NDArray[np.float32] | None,
    workers: "Workers | None",
) -> None:
    """Train the "logits" layer alone for `freeze_epochs`, so that fresh weights do not disturb loaded ones."""
    for layer in model.layers:
        layer.trainable = layer.name == "logits"
    model.compile(keras.optimizers.Adam(config.learning_rate), _loss(config))
    _fit(model, workers)(
        training_batches(
            training,
            config.augmentation,
            batch_size=config.batch_size,
            seed=config.seed + 1,
            epochs=config.freeze_epochs,
            size=config.model.input_size,
            target=target,
            share=workers.share_of(config.batch_size) if workers else None,
        ),
        epochs=config.freeze_epochs,
        steps_per_epoch=steps_per_epoch(len(training), config.batch_size),
        class_weight=weights,
        shuffle=False,
        verbose=0,
    )
    for layer in model.layers:
        layer.trainable = True


def _fit(model: keras.Model, workers: "Workers | None") -> Any:
    """Return what trains the model: Keras' own fit, or that of several processes, with its words."""
    return partial(workers.fit, model) if workers else model.fit


@keras.saving.register_keras_serializable(package="wafer_tf")
class KernelAdamW(keras.optimizers.AdamW):  # type: ignore[misc]  # keras has no types
    """AdamW that decays kernels alone, also after it was loaded: Keras does not save what is left out of the decay."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.exclude_from_weight_decay(var_names=["bias", "beta", "gamma"])


def compile_model(config: FitConfig, model: keras.Model, maps: int) -> None:
    """Give the model its loss, metrics and AdamW on a schedule over `config.epochs` epochs of `maps` maps."""
    steps = steps_per_epoch(maps, config.batch_size)
    rate = keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=config.learning_rate / 20,
        warmup_target=config.learning_rate,
        warmup_steps=steps,
        decay_steps=max(steps * (config.epochs - 1), 1),
    )
    optimizer = KernelAdamW(rate, weight_decay=config.weight_decay)
    if config.precision == "mixed_float16":
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    metrics = [keras.metrics.CategoricalAccuracy("accuracy"), MacroF1()]
    if config.model.patterns:
        model.compile(
            optimizer,
            {LOGITS: _loss(config), PATTERN_LOGITS: keras.losses.BinaryCrossentropy(from_logits=True)},
            loss_weights={LOGITS: 1.0, PATTERN_LOGITS: PATTERN_LOSS},
            weighted_metrics={LOGITS: metrics},
            jit_compile=False,
        )
    else:
        model.compile(optimizer, _loss(config), metrics=metrics, jit_compile=False)


def _loss(config: FitConfig) -> keras.losses.Loss:
    if config.loss == "focal":
        return keras.losses.CategoricalFocalCrossentropy(
            from_logits=True, alpha=1.0, label_smoothing=config.label_smoothing
        )
    return keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=config.label_smoothing)
