"""Answers out of fold: every labelled map judged by a model that was trained without its fold.

One run a fold, RUN/folds/1 and so on, each with all that --resume needs. No epoch is chosen by the fold that judges:
all are trained, and the last weights, or their moving average, answer. No fold needs another: `python -m training.fold`
trains one alone, and several processes, or machines, may each train some.
"""

import subprocess
import sys
import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.config import FitConfig
from training.mixed import taught_with
from training.teachers import with_teachers
from training.train import fill_classes, train
from training.unknown import teach_fold
from wafer_tf.decision.fitting import fit_decision
from wafer_tf.dies import CLASSES
from wafer_tf.errors import ModelError
from wafer_tf.learning.models import LOGITS
from wafer_tf.learning.prediction import predict_heads
from wafer_tf.learning.run_folder import RunFolder
from wafer_tf.pattern_bits import PATTERNS
from wafer_tf.splitting.splits import Split
from wafer_tf.waferset import WaferSet
from wafer_tf.whole_files import whole_path

Mixed = tuple[WaferSet, Split]
"""Wafers of several patterns and their split, of `training.mixed`."""


def train_fold(
    config: FitConfig,
    run: RunFolder,
    wafers: WaferSet,
    split: Split,
    strategy: Any,
    start: str,
    *,
    fold: int,
    mixed: Mixed | None = None,
) -> None:
    """Train the model without a fold, from 0, and what it does not know, and keep what it answers to the fold.

    What is finished is kept, and what an earlier call was stopped in goes on.
    """
    inside, outside = (wafers.select(np.flatnonzero(part)) for part in (split.part != fold, split.part == fold))
    path = run.path / "folds" / str(fold + 1)
    if (path / "config.json").is_file():  # and stays: the lock of who trains there is on it
        one = RunFolder.open(path, finished=False)
    else:
        one = RunFolder.create(path)
        one.write_json("config.json", {"config": config.to_json()})
    with one.locked():
        if not one.done:
            print(f"fold {fold + 1} of {split.folds}: {len(inside)} maps, {len(outside)} to judge", file=sys.stderr)
            more = None
            if mixed is not None:
                others = mixed[0].select(np.flatnonzero(mixed[1].part != fold))
                more = taught_with(config, inside, others)
            training, target = fill_classes(inside, config.synthetic, seed=config.seed), None
            if config.teachers:
                training, target = with_teachers(config, one, training, outside, fold=fold)
            model, _ = train(
                config,
                one,
                training=training,
                target=target,
                validation=None,
                start=start,
                strategy=strategy,
                mixed=more,
                name=f"fold {fold + 1}",
            )
            with whole_path(path / "model.keras") as file:
                model.save(file)
            answers = {"test": predict_heads(model, outside)}
            if mixed is not None:
                answers["mixed"] = predict_heads(model, mixed[0].select(np.flatnonzero(mixed[1].part == fold)))
            # two bytes a logit: a run keeps nine for every map it knows
            one.write_arrays(
                "logits.npz",
                {
                    part if head == LOGITS else f"{part}_{head}": logits.astype(np.float16)
                    for part, heads in answers.items()
                    for head, logits in heads.items()
                },
            )
            one.finish()
        if config.unknown_epochs:
            teach_fold(config, run, wafers, split, fold)


def answer_out_of_fold(
    config: FitConfig,
    run: RunFolder,
    wafers: WaferSet,
    split: Split,
    strategy: Any,
    start: str,
    *,
    mixed: Mixed | None = None,
    jobs: int = 1,
    meanwhile: Callable[[], None] = lambda: None,
) -> dict[str, NDArray[np.float32]]:
    """Train a model without each fold as the one on all maps, from the same `start`, and return what they answer.

    Args:
        config: of the run.
        run: its folder.
        wafers: its labelled maps.
        split: of these, by folds.
        strategy: of tf.distribute.
        start: see `models.load_backbone_weights`.
        mixed: wafers of several patterns, where there is a head for them.
        jobs: folds trained at once, all but one of them in processes of their own.
        meanwhile: what this process does before it trains folds itself.

    Returns:
        "test": (n, 9) logits of every map; with `mixed`, "test_patterns": (n, 8), and "mixed" (m, 9) and
        "mixed_patterns" (m, 8) of the mixed wafers.
    """
    left: SimpleQueue[int] = SimpleQueue()
    for fold in range(split.folds):
        left.put(fold)
    failed: list[int] = []

    def elsewhere() -> None:
        while not failed and (fold := _next(left)) is not None:
            if subprocess.run([sys.executable, "-m", "training.fold", str(run.path), str(fold + 1)]).returncode:
                failed.append(fold + 1)

    helpers = [threading.Thread(target=elsewhere, daemon=True) for _ in range(min(jobs, split.folds) - 1)]
    for helper in helpers:
        helper.start()
    meanwhile()
    while not failed and (own := _next(left)) is not None:
        train_fold(config, run, wafers, split, strategy, start, fold=own, mixed=mixed)
    for helper in helpers:
        helper.join()
    if failed:
        raise ModelError(f"run folder {run.path}: fold {failed[0]} could not be trained; see above, then --resume it.")
    parts = {"test": split.part}
    if mixed is not None:
        parts |= {"test_patterns": split.part, "mixed": mixed[1].part, "mixed_patterns": mixed[1].part}
    wide = {name: len(PATTERNS if name.endswith("patterns") else CLASSES) for name in parts}
    found = {name: np.zeros((len(part), wide[name]), np.float32) for name, part in parts.items()}
    for fold in range(split.folds):
        one = RunFolder.open(run.path / "folds" / str(fold + 1))
        for name, part in parts.items():
            found[name][part == fold] = one.read_array("logits.npz", name)
    return found


def _next(left: "SimpleQueue[int]") -> int | None:
    try:
        return left.get_nowait()
    except Empty:
        return None


def decide_out_of_fold(logits: NDArray[np.float32], label: NDArray[np.int8], split: Split) -> NDArray[np.float64]:
    """Return (n, 9) probabilities of (n, 9) logits, those of a fold by the decision fitted on the other folds."""
    prob = np.zeros(logits.shape)
    for fold in range(split.folds):
        others, own = split.part != fold, split.part == fold
        prob[own] = fit_decision(logits[others], label[others], split.group[others]).probabilities(logits[own])
    return prob
