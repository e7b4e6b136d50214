"""A bundle's model, loaded and proven: it answers the golden maps as the gate saw. Needs numpy and ai-edge-litert."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from wafer_tf.bundle import MANIFEST, Bundle
from wafer_tf.decision.repeats import repeats_cropped
from wafer_tf.decision.unknown import MIN_DIES, Unknown
from wafer_tf.dies import CLASSES
from wafer_tf.encoding import encode
from wafer_tf.errors import ModelError
from wafer_tf.inference.interpreter import TfliteModel
from wafer_tf.pattern_bits import PATTERNS

MAX_KERNEL_LSB = 3
"""Steps of the output that a golden map's logit may be from the gate's.

The same kernel gives the same bits; on a trained ResNet18 and 200 maps, XNNPACK, built-in and reference kernels were at
most 2 steps apart (int8; 1 with 16-bit activations). No label is compared beside the logits: where the likeliest class
leads by more than twice this it cannot change, and where it leads by less it may, on a good station.
"""
MAX_FEATURE_LSB = 6
"""The same of a feature. On the two released models, their golden maps and 260 others, the three kernels were at most 4
steps apart, 3 on the golden maps: more than in logits, since the first stacks' means are not averaged over again."""
MAX_PATTERN_LSB = 3
"""The same of a pattern's logit, whose layer is like that of the logits and reads what that reads; taken over from
there, and not measured on a trained head yet."""
MAX_PROBABILITY_ERROR = 1e-9
"""Between two machines' exp, of float64."""


class Judgement(NamedTuple):
    """What a bundle says of one map.

    Attributes:
        probabilities: (9,) calibrated, in the order of CLASSES.
        unknown_score: 0..1, the share of known wafers called the same that are less strange; None where the bundle has
            no unknown score, or the wafer fewer than MIN_DIES dies.
        patterns: (8,) real logits of the patterns' sigmoids, in the order of PATTERNS, of which `Bundle.patterns` tells
            the patterns of a wafer that has several; None where the bundle has none.
    """

    probabilities: NDArray[np.float64]
    unknown_score: float | None
    patterns: NDArray[np.float64] | None = None


def unknown_scores(
    unknown: Unknown, features: NDArray[np.floating[Any]], grids: NDArray[np.uint8], prob: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return (n,) unknown scores of n maps of one shape, NaN of one with fewer than MIN_DIES dies.

    Args:
        unknown: of the bundle.
        features: (n, d) real pooled features.
        grids: (n, rows, cols).
        prob: (n, 9) calibrated probabilities.
    """
    enough = np.count_nonzero(grids.reshape(len(grids), -1), axis=1) >= MIN_DIES
    return np.where(enough, unknown.score(features, repeats_cropped(grids), prob.argmax(axis=1)), np.nan)


class ProvenModel:
    """A bundle's model behind its checks.

    Example:
        >>> from wafer_tf.bundle import load_bundle
        >>> from wafer_tf.released import bundle_folder
        >>> model = ProvenModel(load_bundle(bundle_folder("nano")))
        >>> model.probabilities(np.pad(np.full((24, 24), 2, np.uint8), 1)).argmax() == CLASSES.index("Near-full")
        np.True_

    Attributes:
        bundle: what was loaded.
        tflite: its model, running.
        xnnpack: whether the XNNPACK delegate runs the model.
        golden_lsb: how far what the golden maps gave was from what the gate saw, in steps; 0 on the same kernel.
    """

    def __init__(self, bundle: Bundle, *, threads: int = 1, allow_slow: bool = False) -> None:
        """Load the bundle's model and let it judge the golden maps.

        Args:
            bundle: of `load_bundle`.
            threads: of the interpreter; the answers do not depend on it.
            allow_slow: accept running without XNNPACK where the gate had it.

        Raises:
            ModelError: the model is not the one the bundle describes, or does not answer as the gate saw.
        """
        self.bundle = bundle
        self.tflite = TfliteModel(bundle.model, threads=threads)
        self.xnnpack = self.tflite.xnnpack
        if bundle.xnnpack and not self.xnnpack and not allow_slow:
            raise self._refused(
                "the gate ran its model on the XNNPACK delegate, which is not at work here: each map would take "
                "several times as long. Install the pinned ai-edge-litert, or pass --allow-slow"
            )
        self._compare_with_bundle()
        self.golden_lsb = self._judge_golden_maps()

    def probabilities(self, grid: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Return the (9,) calibrated probabilities, in the order of CLASSES, of one checked map, (rows, cols) uint8."""
        return self.judgement(grid).probabilities

    def judgement(self, grid: NDArray[np.uint8]) -> Judgement:
        """Return what there is to say of one checked map, (rows, cols) uint8, by one run."""
        logits, features = self.tflite.answer(encode(grid, self.bundle.input_size))
        patterns = None if self.bundle.patterns is None else self.tflite.pattern_logits()
        probabilities = self.bundle.decision.probabilities(logits)
        if self.bundle.unknown is None or features is None:
            return Judgement(probabilities, None, patterns)
        score = unknown_scores(self.bundle.unknown, features[None], grid[None], probabilities[None])
        return Judgement(probabilities, None if np.isnan(score[0]) else float(score[0]), patterns)

    def _compare_with_bundle(self) -> None:
        stated, found = ((side.input, side.output, side.features) for side in (self.bundle, self.tflite))
        if stated != found:
            raise self._refused(f"its model has input, output and features {found}; {MANIFEST} says {stated}")
        if self.bundle.patterns is not None and self.bundle.pattern_output != self.tflite.pattern_output:
            raise self._refused(
                f"its model has patterns {self.tflite.pattern_output}; {MANIFEST} says {self.bundle.pattern_output}"
            )
        golden = self.bundle.golden
        kinds = {"logits": golden.logits, "features": golden.features, "patterns": golden.patterns}
        for name, stored in kinds.items():
            if stored is not None and stored.dtype != self.bundle.output.dtype:
                raise self._refused(f"golden {name} of {stored.dtype}; expected {self.bundle.output.dtype}")
        expected = self.bundle.decision.probabilities(self.bundle.output.dequantize(golden.logits))
        if not (np.abs(expected - golden.probabilities) <= MAX_PROBABILITY_ERROR).all():
            raise self._refused("its decision does not turn the golden logits into the probabilities the gate saw")

    def _judge_golden_maps(self) -> int:
        golden = self.bundle.golden
        worst = 0
        for i, grid in enumerate(golden.grids):
            logits, features = self.tflite.stored(encode(grid, self.bundle.input_size))
            outputs = [("logit", logits, golden.logits[i], MAX_KERNEL_LSB)]
            if features is not None and golden.features is not None:
                outputs.append(("feature", features, golden.features[i], MAX_FEATURE_LSB))
            patterns = self.tflite.stored_patterns()
            if patterns is not None and golden.patterns is not None:
                outputs.append(("pattern logit", patterns, golden.patterns[i], MAX_PATTERN_LSB))
            for kind, found, expected, most in outputs:
                apart = np.abs(found.astype(np.int64) - expected)
                if apart.max() > most:
                    worst_at = int(apart.argmax())
                    named = {"logit": CLASSES, "pattern logit": PATTERNS}.get(kind)
                    which = f"{kind} {worst_at}" if named is None else f"{kind} of {named[worst_at]}"
                    raise self._refused(
                        f"golden map {i}: {which} is {apart.max()} steps of the output from "
                        f"what the gate saw; kernels differ by at most {most}"
                    )
                worst = max(worst, int(apart.max()))
        return worst

    def _refused(self, why: str) -> ModelError:
        return ModelError(f"bundle {self.bundle.sha256[:12]}: refused: {why}.")
