"""Answers out of fold: every labelled map judged by a model that was trained without its fold.

One run a fold, RUN/folds/1 and so on, each with all that --resume needs. No epoch is chosen by the fold that judges:
all are trained, and the last weights, or their moving average, answer.
"""

import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.config import FitConfig
from training.train import fill_classes, train
from wafer_tf.decision.fitting import fit_decision
from wafer_tf.dies import CLASSES
from wafer_tf.learning.prediction import predict_logits
from wafer_tf.learning.run_folder import RunFolder
from wafer_tf.splitting.splits import Split
from wafer_tf.waferset import WaferSet
from wafer_tf.whole_files import whole_path


def answer_out_of_fold(
    config: FitConfig, run: RunFolder, wafers: WaferSet, split: Split, strategy: Any, start: str
) -> NDArray[np.float32]:
    """Train a model without each fold as the one on all maps, from the same `start`; return the (n, 9) logits.

    What an earlier call has finished is kept, and what it was stopped in goes on.
    """
    logits = np.zeros((len(wafers), len(CLASSES)), np.float32)
    for fold in range(split.folds):
        inside, outside = (wafers.select(np.flatnonzero(part)) for part in (split.part != fold, split.part == fold))
        path = run.path / "folds" / str(fold + 1)
        one = RunFolder.open(path, finished=False) if (path / "config.json").is_file() else RunFolder.create(path)
        if not one.done:
            print(f"fold {fold + 1} of {split.folds}: {len(inside)} maps, {len(outside)} to judge", file=sys.stderr)
            one.write_json("config.json", {"config": config.to_json()})
            inside = fill_classes(inside, config.synthetic, seed=config.seed)
            model, _ = train(config, one, training=inside, validation=None, start=start, strategy=strategy)
            with whole_path(path / "model.keras") as file:
                model.save(file)
            # two bytes a logit: a run keeps nine for every map it knows
            one.write_arrays("logits.npz", {"test": predict_logits(model, outside).astype(np.float16)})
            one.finish()
        logits[split.part == fold] = RunFolder.open(path).read_array("logits.npz", "test")
    return logits


def decide_out_of_fold(logits: NDArray[np.float32], label: NDArray[np.int8], split: Split) -> NDArray[np.float64]:
    """Return (n, 9) probabilities of (n, 9) logits, those of a fold by the decision fitted on the other folds."""
    prob = np.zeros(logits.shape)
    for fold in range(split.folds):
        others, own = split.part != fold, split.part == fold
        prob[own] = fit_decision(logits[others], label[others], split.group[others]).probabilities(logits[own])
    return prob
