"""A .tflite file held against the float model on a run's test part, run as a station would run it.

Where the run has folds, every map is judged by the file of its fold, made as the file that ships but without that fold:
so no file is judged by maps it learned from. How often the shipped file calls as its own float model is judged beside.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.gate.comparison import Check, Comparison, Limits, UnknownComparison, compare, compare_unknown
from edge.gate.several import PatternComparison, compare_patterns
from edge.gate.stated import SetComparison, Stated
from edge.quantization.contents import Contents, read_contents, require_integer
from edge.quantization.recipes import Recipe
from wafer_tf.decision import Decision
from wafer_tf.decision.patterns import Patterns
from wafer_tf.decision.unknown import UNKNOWN_ABOVE, Unknown
from wafer_tf.dies import CLASSES
from wafer_tf.encoding import encode
from wafer_tf.errors import ModelError
from wafer_tf.inference.interpreter import TfliteModel
from wafer_tf.learning.branch import repeats_of
from wafer_tf.pattern_bits import PATTERNS
from wafer_tf.scoring.scores import Scores, score
from wafer_tf.scoring.several import found_patterns
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
        patterns: what it finds of several patterns beside the float model; None where there is no such head.
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
    patterns: PatternComparison | None = None

    @property
    def passed(self) -> bool:
        """Whether it is within every limit."""
        return all(check.passed for check in self.checks)


@dataclass(frozen=True, eq=False)
class FoldFile:
    """The .tflite file of a fold, and the rows of the judged maps, and of the mixed wafers, that it judges."""

    content: bytes
    rows: NDArray[np.int64]
    mixed: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))


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
class Several:
    """Wafers of several patterns, and the patterns that the float model finds on them and on the judged maps.

    Attributes:
        rule: turns what both heads say into patterns.
        mixed, bits, group: m wafers, their (m,) patterns and their split groups.
        found: (m,) uint8, what the float model finds on them.
        known_found: (n,) uint8, what it finds on the judged maps, which are of one pattern or none.
        sample, sample_found: with folds, some of both, and what the float model that ships finds on them.
    """

    rule: Patterns
    mixed: WaferSet
    bits: NDArray[np.uint8]
    group: NDArray[np.int64]
    found: NDArray[np.uint8]
    known_found: NDArray[np.uint8]
    sample: WaferSet | None = None
    sample_found: NDArray[np.uint8] | None = None

    def comparison(
        self,
        model: TfliteModel,
        judges: Sequence[FoldFile],
        known_found: NDArray[np.uint8],
        *,
        decision: Decision,
        known_group: NDArray[np.int64],
        seed: int,
    ) -> PatternComparison:
        """Hold what files find against it.

        Args:
            model: of the file that ships.
            judges: the files that judge; each its own mixed wafers.
            known_found: (n,) uint8, what they find on the judged maps.
            decision: of the run.
            known_group: (n,) split group of the judged maps.
            seed: of the draws.
        """
        found = np.zeros(len(self.mixed), np.uint8)
        for judge in judges:
            own = self.mixed.select(judge.mixed)
            found[judge.mixed] = self.found_by(TfliteModel(judge.content), own, decision, "judging mixed wafers")
        shipped = None
        if self.sample is not None:
            again = self.found_by(model, self.sample, decision, "judging the file that ships")
            shipped = float((again == self.sample_found).mean())
        return compare_patterns(
            self.bits,
            self.found,
            found,
            group=self.group,
            known_float_found=self.known_found,
            known_found=known_found,
            known_group=known_group,
            shipped=shipped,
            seed=seed,
        )

    def found_by(
        self, model: TfliteModel, wafers: WaferSet, decision: Decision, progress: str = ""
    ) -> NDArray[np.uint8]:
        """Return (k,) uint8, the patterns that a file finds on some wafers."""
        return self.of(*heads(model, wafers, progress=progress), decision)

    def of(self, answers: NDArray[np.float64], patterns: NDArray[np.float64], decision: Decision) -> NDArray[np.uint8]:
        """Return (k,) uint8, the patterns by (k, 9) logits and (k, 8) pattern logits."""
        return found_patterns(self.rule, patterns, decision.probabilities(answers).argmax(axis=1))


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
        several: what the patterns it finds are held against, where the run has a head for several on one wafer.
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
    several: Several | None = None

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
        several = self.several if recipe.integer else None
        all_mixed = np.arange(0 if several is None else len(several.mixed))
        judges = of_folds or [FoldFile(content, np.arange(len(self.test)), all_mixed)]
        answers = np.zeros((len(self.test), len(CLASSES)))
        sigmoids = np.zeros((len(self.test), len(PATTERNS)))
        for judge in judges:
            one, own, shown = TfliteModel(judge.content), self.test.select(judge.rows), f"judging {recipe.name}"
            if several is None:
                answers[judge.rows] = logits(one, own, progress=shown)
            else:
                answers[judge.rows], sigmoids[judge.rows] = heads(one, own, progress=shown)
        prob = self.decision.probabilities(answers)
        shipped = None if self.shipped is None else self.shipped.agreement(model, self.decision)
        unknown = None if self.strange is None else self.strange.comparison(model, self.decision)
        choosing, sets = self._sets(model, prob) if recipe.integer else (None, None)
        patterns = None
        if several is not None:
            known = several.of(answers, sigmoids, self.decision)
            patterns = several.comparison(
                model, judges, known, decision=self.decision, known_group=self.group, seed=self.seed
            )
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
            checks=comparison.checks(self.limits, shipped=shipped, unknown=unknown, sets=sets, patterns=patterns),
            choosing=choosing,
            sets=sets,
            patterns=patterns,
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


def heads(
    model: TfliteModel, wafers: WaferSet, *, progress: str = ""
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return (n, 9) real logits and (n, 8) real pattern logits of every map, in order; `progress` as of `logits`.

    Raises:
        ModelError: the file gives no pattern logits.
    """
    from tqdm import tqdm

    if not model.has_patterns:
        raise ModelError("model: its file gives no pattern logits; expected those of the run's head for them.")
    answers, patterns = np.zeros((len(wafers), len(CLASSES))), np.zeros((len(wafers), len(PATTERNS)))
    for i in tqdm(range(len(wafers)), desc=progress, unit="map", disable=not progress):
        answers[i] = model.logits(encode(wafers.map(i), model.input_size))
        patterns[i] = model.pattern_logits()
    return answers, patterns
