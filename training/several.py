"""What a run says of wafers of several patterns: thresholds for its second head, and the answers that they rest on."""

import sys
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from wafer_tf.decision import Decision
from wafer_tf.decision.fitting_patterns import fit_patterns
from wafer_tf.decision.patterns import Patterns
from wafer_tf.learning.run_folder import RunFolder
from wafer_tf.pattern_bits import bits_of_labels
from wafer_tf.splitting.splits import Split
from wafer_tf.waferset import WaferSet


def judge_several(
    run: RunFolder,
    answers: Mapping[str, NDArray[np.float32]],
    decision: Decision,
    wafers: WaferSet,
    split: Split,
    mixed: WaferSet,
    mixed_split: Split,
) -> None:
    """Fit the thresholds, and keep them with the answers of wafers that judge.

    With folds both are of all wafers, each answered by the model without its fold; else the validation parts choose,
    and the test parts judge.

    Args:
        run: its folder; patterns.json and patterns.npz are written.
        answers: logits by part and head, of `training.job`.
        decision: of the run.
        wafers, split: the run's labelled maps.
        mixed, mixed_split: of `training.mixed.load_mixed`.
    """
    chosen = "test" if split.folds else "validation"
    known = np.flatnonzero(split.part >= 0) if split.folds else split.validation
    rows = np.flatnonzero(mixed_split.part >= 0) if split.folds else mixed_split.validation
    print("thresholds for several patterns", file=sys.stderr)
    patterns = fitted(
        answers["mixed" if split.folds else "mixed_validation"],
        answers["mixed_patterns" if split.folds else "mixed_validation_patterns"],
        mixed.patterns[rows],
        answers[chosen],
        answers[f"{chosen}_patterns"],
        bits_of_labels(wafers.label[known]),
        decision=decision,
    )
    run.write_json("patterns.json", patterns.to_json())
    kept = {"wafers": "test_patterns", "mixed": "mixed_patterns", "mixed_logits": "mixed"}
    run.write_arrays("patterns.npz", {name: answers[of].astype(np.float16) for name, of in kept.items()})


def fitted(
    mixed_logits: NDArray[np.float32],
    mixed_patterns: NDArray[np.float32],
    mixed_bits: NDArray[np.uint8],
    logits: NDArray[np.float32],
    patterns: NDArray[np.float32],
    bits: NDArray[np.uint8],
    *,
    decision: Decision,
) -> Patterns:
    """Fit thresholds by what both heads say of mixed wafers, and of the run's own, which are of one pattern or none.

    Args:
        mixed_logits, logits: (m, 9) and (n, 9) of the nine-way head.
        mixed_patterns, patterns: (m, 8) and (n, 8) of the sigmoids.
        mixed_bits, bits: (m,) and (n,) the patterns that there are.
        decision: turns the nine logits into the call.
    """
    return fit_patterns(
        mixed_patterns,
        mixed_bits,
        known_logits=patterns,
        known_bits=bits,
        called=decision.probabilities(mixed_logits).argmax(axis=1),
        known_called=decision.probabilities(logits).argmax(axis=1),
    )
