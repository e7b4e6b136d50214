"""A .tflite file held against the float model on a run's test part, run as a station would run it."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.gate.comparison import Check, Comparison, Limits, compare
from edge.quantization.contents import Contents, read_contents, require_integer
from edge.quantization.recipes import Recipe
from wafer_tf.decision import Decision
from wafer_tf.encoding import encode
from wafer_tf.inference.interpreter import TfliteModel
from wafer_tf.scoring.scores import Scores, score
from wafer_tf.waferset import WaferSet


@dataclass(frozen=True, eq=False)
class Candidate:
    """A .tflite file and what was found of it.

    Attributes:
        name: the recipe, and what else tells the file from the others.
        made: how, as a bundle records it.
        contents: of the file.
        xnnpack: whether the delegate ran it.
        prob: (n, 9) of the test part.
        scores, comparison, checks: of these.
    """

    name: str
    recipe: Recipe
    content: bytes
    made: dict[str, Any]
    contents: Contents
    xnnpack: bool
    prob: NDArray[np.float64]
    scores: Scores
    comparison: Comparison
    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        """Whether it is within every limit."""
        return all(check.passed for check in self.checks)


@dataclass(frozen=True, eq=False)
class Reference:
    """The float model on a run's test part: what every candidate is held against.

    Attributes:
        test, group: the run's test part and its split groups.
        float_prob: (n, 9) of the float Keras model, after the decision.
        limits: of the gate.
        seed: of the bootstrap.
    """

    test: WaferSet
    group: NDArray[np.int64]
    decision: Decision
    float_prob: NDArray[np.float64]
    limits: Limits
    seed: int

    def candidate(self, name: str, recipe: Recipe, content: bytes, *, made: dict[str, Any] | None = None) -> Candidate:
        """Read a file, run it and hold it against the float model.

        Raises:
            ModelError: the file is not what its recipe promises.
        """
        found = require_integer(content, recipe) if recipe.integer else read_contents(content)
        model = TfliteModel(content)
        prob = self.decision.probabilities(logits(model, self.test, progress=f"judging {recipe.name}"))
        comparison = compare(self.test.label, self.float_prob, prob, group=self.group, seed=self.seed)
        return Candidate(
            name=name,
            recipe=recipe,
            content=content,
            made=made or {},
            contents=found,
            xnnpack=model.xnnpack,
            prob=prob,
            scores=score(self.test.label, prob, group=self.group, seed=self.seed),
            comparison=comparison,
            checks=comparison.checks(self.limits),
        )


def logits(model: TfliteModel, wafers: WaferSet, *, progress: str = "") -> NDArray[np.float64]:
    """Return (n, 9) real logits of every map, in order, with a bar of that name on stderr."""
    from tqdm import tqdm

    shown = tqdm(range(len(wafers)), desc=progress, unit="map", disable=not progress)
    return np.stack([model.logits(encode(wafers.map(i), model.input_size)) for i in shown])
