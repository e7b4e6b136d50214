"""A .tflite file held against the float model on a run's test part, run as a station would run it.

Where the run has folds, every map is judged by the file of its fold, made as the file that ships but without that fold:
so no file is judged by maps it learned from. How often the shipped file calls as its own float model is judged beside.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.gate.comparison import Check, Comparison, Limits, UnknownComparison, compare, compare_unknown
from edge.gate.stated import SetComparison, Stated
from edge.quantization.contents import Contents, read_contents, require_integer
from edge.quantization.recipes import Recipe
from wafer_tf.decision import Decision
from wafer_tf.decision.unknown import UNKNOWN_ABOVE, Unknown
from wafer_tf.dies import CLASSES
from wafer_tf.encoding import encode
from wafer_tf.inference.interpreter import TfliteModel
from wafer_tf.learning.branch import repeats_of
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
        shipped: with folds, share of maps that the shipped file calls as its float model; None else, where it is
            what `comparison` judges.
        unknown: the shipped file's unknown scores beside those of its float model; None where there is no such score.
        prob: (n, 9) of the test part.
        scores, comparison, checks: of these.
        choosing: (k, 9) of the wafers that choose sets and points; None where the judged do.
        sets: its prediction sets beside the float model's; None where none are stated.
    """

    name: str
    recipe: Recipe
    content: bytes
    made: dict[str, Any]
    contents: Contents
    xnnpack: bool
    shipped: float | None
    unknown: UnknownComparison | None
    prob: NDArray[np.float64]
    scores: Scores
    comparison: Comparison
    checks: tuple[Check, ...]
    choosing: NDArray[np.float64] | None = None
    sets: SetComparison | None = None

    @property
    def passed(self) -> bool:
        """Whether it is within every limit."""
        return all(check.passed for check in self.checks)


@dataclass(frozen=True, eq=False)
class FoldFile:
    """The .tflite file of a fold, and the rows of the judged maps that it judges."""

    content: bytes
    rows: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Shipped:
    """Maps, and what the float model that ships calls them: (n,) index into CLASSES."""

    wafers: WaferSet
    called: NDArray[np.int64]

    def agreement(self, model: TfliteModel, decision: Decision) -> float:
        """Return the share of the maps that a file calls the same."""
        found = decision.probabilities(logits(model, self.wafers, progress="judging the file that ships"))
        return float((found.argmax(axis=1) == self.called).mean())


@dataclass(frozen=True, eq=False)
class Strange:
    """Maps, known wafers first, then drawn other patterns, and the unknown scores of the float model that ships.

    Attributes:
        wafers, known: the maps, and how many are of known wafers.
        score: (n,) of the float model.
        unknown: makes the score.
    """

    wafers: WaferSet
    known: int
    score: NDArray[np.float64]
    unknown: Unknown

    def comparison(self, model: TfliteModel, decision: Decision) -> UnknownComparison:
        """Hold a file's scores against them."""
        answers = [model.answer(encode(self.wafers.map(i), model.input_size)) for i in range(len(self.wafers))]
        features = np.stack([found for _, found in answers if found is not None])
        called = decision.probabilities(np.stack([found for found, _ in answers])).argmax(axis=1)
        score = self.unknown.score(features, repeats_of(self.wafers), called)
        return compare_unknown(self.score, score, known=self.known, above=UNKNOWN_ABOVE)


@dataclass(frozen=True, eq=False)
class Reference:
    """The float model on a run's test part: what every candidate is held against.

    Attributes:
        test, group: the run's test part and its split groups.
        float_prob: (n, 9) of the float Keras model, after the decision.
        limits: of the gate.
        seed: of the bootstrap.
        shipped: what the shipped file is held against, where the run has folds.
        strange: what its unknown scores are held against, where the run has such a score.
        stated: what its prediction sets are fitted and judged on; None: sets are not compared.
    """

    test: WaferSet
    group: NDArray[np.int64]
    decision: Decision
    float_prob: NDArray[np.float64]
    limits: Limits
    seed: int
    shipped: Shipped | None = None
    strange: Strange | None = None
    stated: Stated | None = None

    def candidate(
        self,
        name: str,
        recipe: Recipe,
        content: bytes,
        *,
        of_folds: Sequence[FoldFile] = (),
        made: dict[str, Any] | None = None,
    ) -> Candidate:
        """Read a file, run it and hold it against the float model.

        Args:
            name, recipe, content: of the file that ships.
            of_folds: the files that judge instead, where the run has folds.
            made: how, as a bundle records it.

        Raises:
            ModelError: the file is not what its recipe promises.
        """
        found = require_integer(content, recipe) if recipe.integer else read_contents(content)
        model = TfliteModel(content)
        judges = of_folds or [FoldFile(content, np.arange(len(self.test)))]
        answers = np.zeros((len(self.test), len(CLASSES)))
        for judge in judges:
            shown = f"judging {recipe.name}"
            answers[judge.rows] = logits(TfliteModel(judge.content), self.test.select(judge.rows), progress=shown)
        prob = self.decision.probabilities(answers)
        shipped = None if self.shipped is None else self.shipped.agreement(model, self.decision)
        unknown = None if self.strange is None else self.strange.comparison(model, self.decision)
        choosing, sets = self._sets(model, prob) if recipe.integer else (None, None)
        comparison = compare(self.test.label, self.float_prob, prob, group=self.group, seed=self.seed)
        return Candidate(
            name=name,
            recipe=recipe,
            content=content,
            made=made or {},
            contents=found,
            xnnpack=model.xnnpack,
            shipped=shipped,
            unknown=unknown,
            prob=prob,
            scores=score(self.test.label, prob, group=self.group, seed=self.seed),
            comparison=comparison,
            checks=comparison.checks(self.limits, shipped=shipped, unknown=unknown, sets=sets),
            choosing=choosing,
            sets=sets,
        )

    def _sets(
        self, model: TfliteModel, prob: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64] | None, SetComparison | None]:
        """Return a model's (k, 9) probabilities of the wafers that choose sets, if others than judge, and its sets."""
        if self.stated is None:
            return None, None
        choosing = None
        if self.stated.choosing is not None:
            answers = logits(model, self.stated.choosing, progress="judging the validation part")
            choosing = self.decision.probabilities(answers)
        return choosing, self.stated.comparison(self.float_prob, prob, choosing=choosing, seed=self.seed)


def logits(model: TfliteModel, wafers: WaferSet, *, progress: str = "") -> NDArray[np.float64]:
    """Return (n, 9) real logits of every map, in order, with a bar of that name on stderr."""
    from tqdm import tqdm

    shown = tqdm(range(len(wafers)), desc=progress, unit="map", disable=not progress)
    return np.stack([model.logits(encode(wafers.map(i), model.input_size)) for i in shown])
