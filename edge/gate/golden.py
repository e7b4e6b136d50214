"""The maps of a bundle's self-test: synthetic, so that no fab's map travels with a bundle."""

import numpy as np
from numpy.typing import NDArray

from wafer_tf.bundle import Golden
from wafer_tf.decision import Decision
from wafer_tf.dies import MIN_SIDE, Die
from wafer_tf.encoding import encode
from wafer_tf.errors import ModelError
from wafer_tf.inference.interpreter import TfliteModel
from wafer_tf.synthesis import synthesize

PER_CLASS = 4
SEED = 0
LARGEST = 300
"""Rows and columns of the largest, as in WM-811K: one of 2,000 would add a megabyte and show the model nothing new."""


def golden_maps() -> tuple[NDArray[np.uint8], ...]:
    """Return the same maps always: PER_CLASS of each class, all dies pass, all dies fail, the smallest, the largest."""
    wafers = synthesize(PER_CLASS, seed=SEED).wafers
    grids = [wafers.map(i) for i in range(len(wafers))]
    dies = grids[0] != Die.ABSENT
    across = np.linspace(-1, 1, LARGEST)
    disc = (np.hypot(across, across[:, None]) <= 1).astype(np.uint8)
    return (
        *grids,
        dies * np.uint8(Die.PASS),
        dies * np.uint8(Die.FAIL),
        synthesize({"Random": 1}, seed=SEED, grids=[np.ones((MIN_SIDE, MIN_SIDE), np.uint8)]).wafers.map(0),
        synthesize({"Scratch": 1}, seed=SEED, grids=[disc]).wafers.map(0),
    )


def golden(model: TfliteModel, decision: Decision) -> Golden:
    """Return the golden maps with what an integer model makes of them.

    Raises:
        ModelError: the model's output is not integer.
    """
    if model.output is None:
        raise ModelError("golden maps: the model answers in floats; expected an integer model.")
    grids = golden_maps()
    answers = [(*model.stored(encode(grid, model.input_size)), model.stored_patterns()) for grid in grids]
    logits = np.stack([found for found, _, _ in answers])
    features = np.stack([found for _, found, _ in answers if found is not None]) if model.features else None
    patterns = np.stack([found for *_, found in answers if found is not None]) if model.pattern_output else None
    return Golden(grids, logits, decision.probabilities(model.output.dequantize(logits)), features, patterns)
