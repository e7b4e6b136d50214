"""The models behind the page, loaded once: logits, embedding and heat of any map, float and int8."""

from collections.abc import Callable, Sequence
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
from wafer_tf.learning.run_folder import RunFolder
from wafer_tf.splitting.overlap import fingerprints
from wafer_tf.waferset import WaferSet

if TYPE_CHECKING:
    import keras

    from wafer_tf.inference.proven import ProvenModel

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
        self._model, self._decision = self.run.model(), self.run.decision()
        self._seen = self.run.seen()
        self.size: int = self._model.input_shape[1]
        self._predict = _compiled(self._model)
        self._station = None if bundle is None else _station(bundle)
        self.bundle_sha256 = None if self._station is None else self._station.bundle.sha256
        points = {} if self._station is None else self._station.bundle.points
        self._point = choose_point(points, point, where="no bundle" if bundle is None else f"bundle {bundle}")
        self._explainers: dict[str, Explainer] = {}
        self._prepared: dict[tuple[bytes, tuple[int, ...]], tuple[Answer, NDArray[np.float32]]] = {}
        self._lock = Lock()  # the explainer redirects stdout, and an interpreter holds its input and output
        blank = np.ones((self.size, self.size), np.uint8)
        self.answers([blank])
        self.heat(blank, target=0)

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
            embedding, logits = self._predict(inputs)
            prob = self._decision.probabilities(logits)
            learned = np.isin(fingerprints(WaferSet.from_maps(part, label=[UNLABELLED] * len(part))), self._seen)
            for i, grid in enumerate(part):
                int8, score = self._judgement(grid)
                decision, held = self._decided(int8, score)
                found.append(Answer(prob[i], int8, embedding[i], bool(learned[i]), decision, held, score))
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

    def prepare(self, grids: Sequence[NDArray[np.uint8]]) -> None:
        """Work out and keep the answers and the default heat of maps that will be asked for again and again."""
        answers = self.answers(grids)
        heats = self._heats(grids, np.array([answer.call for answer in answers]), DEFAULT_METHOD)
        for i, (grid, answer) in enumerate(zip(grids, answers, strict=True)):
            self._prepared[_key(grid)] = answer, heats.map(i)

    def _heats(self, grids: Sequence[NDArray[np.uint8]], target: NDArray[np.int64], method: str) -> HeatMaps:
        with self._lock:
            if method not in self._explainers:
                self._explainers[method] = Explainer(self._model, method=method)
            return self._explainers[method].heat_maps(WaferSet.from_maps(grids, label=target), target)

    def _judgement(self, grid: NDArray[np.uint8]) -> tuple[NDArray[np.float64] | None, float | None]:
        """Return the station's probabilities and unknown score, None where there are none."""
        if self._station is None:
            return None, None
        with self._lock:
            return self._station.judgement(grid)

    def _decided(self, prob: NDArray[np.float64] | None, score: float | None) -> tuple[str | None, tuple[str, ...]]:
        """Return the station's decision and prediction set, from (9,) probabilities and the score of its model."""
        if self._station is None or prob is None:
            return None, ()
        sets = self._station.bundle.sets
        decision = verdict(self._point.moved(prob).tolist(), score, review_below=self._point.review_below)
        return decision, () if sets is None else tuple(sets.names(prob))


def _key(grid: NDArray[np.uint8]) -> tuple[bytes, tuple[int, ...]]:
    return grid.tobytes(), grid.shape


def _compiled(
    model: "keras.Model",
) -> Callable[[NDArray[np.float32]], tuple[NDArray[np.float32], NDArray[np.float32]]]:
    """Return a function from (n, size, size, 3) inputs to embedding and logits, traced once for every n."""
    import keras
    import tensorflow as tf

    both = keras.Model(model.inputs, [model.get_layer(EMBEDDING).output, model.output])
    graph = tf.function(lambda x: both(x, training=False), autograph=False).get_concrete_function(
        tf.TensorSpec((None, *model.input_shape[1:]), tf.float32)
    )

    def predict(inputs: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        assert both.built  # the graph does not keep the model's variables alive; this closure does
        embedding, logits = graph(tf.constant(inputs))
        return np.asarray(embedding, np.float32), np.asarray(logits, np.float32)

    return predict


def _station(path: Path) -> "ProvenModel":
    from wafer_tf.bundle import load_bundle
    from wafer_tf.inference.proven import ProvenModel

    return ProvenModel(load_bundle(path), allow_slow=True)
