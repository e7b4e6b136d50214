"""Operating points and prediction sets of a quantized model, by its own answers to wafers that did not train it."""

import sys
from collections.abc import Sequence

import numpy as np

from edge.gate.candidate import Candidate, logits
from wafer_tf.decision import Decision
from wafer_tf.errors import InputError
from wafer_tf.inference.interpreter import TfliteModel
from wafer_tf.scoring.evidence import Evidence, Part
from wafer_tf.scoring.operating import OperatingPoints, find_points
from wafer_tf.scoring.selective import Goal
from wafer_tf.splitting.splits import Split
from wafer_tf.waferset import WaferSet


def points_of(
    chosen: Candidate,
    decision: Decision,
    wafers: WaferSet,
    split: Split,
    *,
    goals: Sequence[Goal],
    coverage: float,
) -> OperatingPoints | None:
    """Find them.

    Args:
        chosen: the file; where the run has folds its answers are those of the folds' files, each to its own fold.
        decision: of the run.
        wafers: of the run.
        split: with folds, each fold is judged by what the others choose; else the validation part chooses and the test
            part judges.
        goals: to prove.
        coverage: of the sets.

    Returns:
        None, and a line on stderr, where the wafers do not allow it.
    """
    rows, prob = split.test, chosen.prob
    if not split.folds:
        choosing = chosen.choosing
        if choosing is None:
            answers = logits(
                TfliteModel(chosen.content), wafers.select(split.validation), progress="judging the validation part"
            )
            choosing = decision.probabilities(answers)
        rows, prob = np.concatenate([split.validation, split.test]), np.concatenate([choosing, prob])
    part = Part(wafers.label[rows].astype(np.int64), prob, split.group[rows])
    try:
        return find_points(Evidence.of_split(part, split), goals=goals, coverage=coverage)
    except InputError as why:
        print(f"no operating points and no prediction sets: {why}", file=sys.stderr)
        return None
