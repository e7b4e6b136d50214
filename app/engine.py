"""The models behind the page, loaded once: logits, embedding and heat of any map, float and int8."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from app.answers import Answer
from wafer_tf.decision import verdict
from wafer_tf.decision.points import BALANCED, choose_point
from wafer_tf.dies import UNLABELLED
from wafer_tf.encoding import encode, to_float
from wafer_tf.explaining.heat_maps import DEFAULT_METHOD, Explainer, HeatMaps
from wafer_tf.explaining.pattern_heat import heat_per_pattern, patterns_of
from wafer_tf.learning.models import LOGITS, PATTERN_LOGITS, several_outputs
from wafer_tf.learning.run_folder import RunFolder
from wafer_tf.pattern_bits import pattern_bits
from wafer_tf.splitting.overlap import fingerprints
from wafer_tf.waferset import WaferSet

if TYPE_CHECKING:
    import keras

    from wafer_tf.inference.proven import Judgement, ProvenModel

EMBEDDING = "pool"
"""Layer whose output two similar maps share."""
BATCH = 64


class Engine:
    """A run's model and decision, its explainers, and the classifier of the bundle. Safe to use from several threads.

    Attributes:
        run: the run folder.
        bundle_sha256: names the bundle; None where there is none.
        size: side of the encoded map.
    """

    def __init__(self, run: Path, bundle: Path | None, *, point: str = BALANCED) -> None:
        """Load everything and let it answer once, so that the first map is as fast as the others.

        Args:
            run, bundle: see `Engine`.
            point: name of the operating point by which the station decides.

        Raises:
            ModelError: the run folder or the bundle cannot be used.
            UsageError: the bundle does not offer the operating point.
        """
        from wafer_tf.learning.quiet import quiet_tensorflow

        quiet_tensorflow()
        self.run = RunFolder.open(run)
        self._rule, self._decision = patterns_of(self.run), self.run.decision()
        self._model = self.run.model() if self._rule is None else self.run.whole_model()
        self._seen = self.run.seen()
        self.size: int = self._model.input_shape[1]
        self._predict = _compiled(self._model)
        self._station = None if bundle is None else _station(bundle)
        self.bundle_sha256 = None if self._station is None else self._station.bundle.sha256
        points = {} if self._station is None else self._station.bundle.points
        self._point = choose_point(points, point, where="no bundle" if bundle is None else f"bundle {bundle}")
        self._explainers: dict[tuple[str, str], Explainer] = {}
        self._prepared: dict[tuple[bytes, tuple[int, ...]], tuple[Answer, NDArray[np.float32]]] = {}
        self._lock = Lock()  # the explainer redirects stdout, and an interpreter holds its input and output
        blank = np.ones((self.size, self.size), np.uint8)
        self.answers([blank])
        self.heat(blank, target=0)
        if self.explains_patterns:
            self.pattern_heats(blank, ("Edge-Ring", "Scratch"))

    @property
    def explains_patterns(self) -> bool:
        """Whether the float model has a sigmoid for each pattern, whose heat can be shown."""
        return self._rule is not None

    @property
    def parameters(self) -> int:
        """Number of weights of the float model."""
        return int(self._model.count_params())

    @property
    def name(self) -> str:
        """Architecture of the float model."""
        return str(self._model.name)

    def answers(
        self, grids: Sequence[NDArray[np.uint8]], *, progress: Callable[[float], Any] | None = None
    ) -> list[Answer]:
        """Answer for every map.

        Args:
            grids: (rows, cols) uint8 each, checked.
            progress: is told the share of maps done, 0..1, after every batch.
        """
        found: list[Answer] = []
        for first in range(0, len(grids), BATCH):
            part = grids[first : first + BATCH]
            inputs = np.stack([to_float(encode(grid, self.size)) for grid in part])
            embedding, logits, patterns = self._predict(inputs)
            prob = self._decision.probabilities(logits)
            learned = np.isin(fingerprints(WaferSet.from_maps(part, label=[UNLABELLED] * len(part))), self._seen)
            for i, grid in enumerate(part):
                several = None if patterns is None else patterns[i]
                found.append(self._answer(grid, prob[i], embedding[i], several, learned=bool(learned[i])))
            if progress is not None:
                progress(len(found) / len(grids))
        return found

    def answer(self, grid: NDArray[np.uint8]) -> Answer:
        """Answer for one map."""
        known = self._prepared.get(_key(grid))
        return known[0] if known else self.answers([grid])[0]

    def heat(self, grid: NDArray[np.uint8], *, target: int, method: str = DEFAULT_METHOD) -> NDArray[np.float32]:
        """Return how much each die speaks for a class, (rows, cols) float32, 0..1.

        Args:
            grid: (rows, cols) uint8, checked.
            target: index into CLASSES.
            method: one of `explain.METHODS`; its explainer is built at the first use.
        """
        known = self._prepared.get(_key(grid))
        if known and known[0].call == target and method == DEFAULT_METHOD:
            return known[1]
        return self._heats([grid], np.array([target]), method).map(0)

    def pattern_heats(
        self, grid: NDArray[np.uint8], names: Iterable[str], *, method: str = DEFAULT_METHOD
    ) -> dict[str, NDArray[np.float32]]:
        """Return how much each die speaks for each of some patterns, (rows, cols) float32, 0..1, in CLASSES' order.

        Args:
            grid: (rows, cols) uint8, checked.
            names: of the patterns.
            method: one of `explain.METHODS`; its explainer is built at the first use.
        """
        bits = np.array([pattern_bits(names, "page")], np.uint8)
        with self._lock:
            explainer = self._explainer(method, PATTERN_LOGITS)
            found = heat_per_pattern(explainer, WaferSet.from_maps([grid], label=[UNLABELLED]), bits).of(0)
        return {name: np.asarray(heat, np.float32) for name, heat in found.items()}

    def prepare(self, grids: Sequence[NDArray[np.uint8]]) -> None:
        """Work out and keep the answers and the default heat of maps that will be asked for again and again."""
        answers = self.answers(grids)
        heats = self._heats(grids, np.array([answer.call for answer in answers]), DEFAULT_METHOD)
        for i, (grid, answer) in enumerate(zip(grids, answers, strict=True)):
            self._prepared[_key(grid)] = answer, heats.map(i)

    def _heats(self, grids: Sequence[NDArray[np.uint8]], target: NDArray[np.int64], method: str) -> HeatMaps:
        with self._lock:
            explainer = self._explainer(method, LOGITS)
            return explainer.heat_maps(WaferSet.from_maps(grids, label=target), target)

    def _explainer(self, method: str, head: str) -> Explainer:
        """Return an explainer, built at its first use; the lock is held."""
        if (method, head) not in self._explainers:
            self._explainers[method, head] = Explainer(self._model, method=method, head=head)
        return self._explainers[method, head]

    def _answer(
        self,
        grid: NDArray[np.uint8],
        prob: NDArray[np.float64],
        embedding: NDArray[np.float32],
        pattern_logits: NDArray[np.float32] | None,
        *,
        learned: bool,
    ) -> Answer:
        """Put together what the float model and the station say of a map."""
        own, sigmoids = None, None
        if self._rule is not None and pattern_logits is not None:
            own = tuple(self._rule.names(pattern_logits, int(prob.argmax())))
            sigmoids = 1 / (1 + np.exp(-pattern_logits.astype(np.float64)))
        answer = Answer(prob, None, embedding, learned, patterns=own, patterns_float=own, pattern_prob=sigmoids)
        if self._station is None:
            return answer
        with self._lock:
            judged = self._station.judgement(grid)
        moved = self._point.moved(judged.probabilities)
        sets = self._station.bundle.sets
        return replace(
            answer,
            prob_int8=judged.probabilities,
            decision=verdict(moved.tolist(), judged.unknown_score, review_below=self._point.review_below),
            held=() if sets is None else tuple(sets.names(judged.probabilities)),
            unknown_score=judged.unknown_score,
            patterns=self._patterns(judged, int(moved.argmax())),
        )

    def _patterns(self, judged: "Judgement", called: int) -> tuple[str, ...] | None:
        """Return the patterns by the station's model, None where it cannot say."""
        if self._station is None or self._station.bundle.patterns is None or judged.patterns is None:
            return None
        return tuple(self._station.bundle.patterns.names(judged.patterns, called))


def _key(grid: NDArray[np.uint8]) -> tuple[bytes, tuple[int, ...]]:
    return grid.tobytes(), grid.shape


def _compiled(
    model: "keras.Model",
) -> Callable[[NDArray[np.float32]], tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32] | None]]:
    """Return a function from (n, size, size, 3) inputs to embedding, logits and, if any, those of the sigmoids.

    It is traced once for every n.
    """
    import keras
    import tensorflow as tf

    heads = model.output if several_outputs(model) else {LOGITS: model.output}
    wanted = [model.get_layer(EMBEDDING).output, *(heads[name] for name in (LOGITS, PATTERN_LOGITS) if name in heads)]
    whole = keras.Model(model.inputs, wanted)
    graph = tf.function(lambda x: whole(x, training=False), autograph=False).get_concrete_function(
        tf.TensorSpec((None, *model.input_shape[1:]), tf.float32)
    )

    def predict(
        inputs: NDArray[np.float32],
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32] | None]:
        assert whole.built  # the graph does not keep the model's variables alive; this closure does
        embedding, logits, *patterns = (np.asarray(found, np.float32) for found in graph(tf.constant(inputs)))
        return embedding, logits, patterns[0] if patterns else None

    return predict


def _station(path: Path) -> "ProvenModel":
    from wafer_tf.bundle import load_bundle
    from wafer_tf.inference.proven import ProvenModel

    return ProvenModel(load_bundle(path), allow_slow=True)
