"""The maps of a reference set that look most alike to the model."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from app.answers import Wafer
from app.engine import Engine
from wafer_tf.waferset import WaferSet

MOST = 4000
"""Maps of a reference set that are looked through; of a larger one as many drawn at random."""
BUILT_IN_PER_CLASS, BUILT_IN_SEED = 40, 1


@dataclass(frozen=True)
class Match:
    """A map of the reference set.

    Attributes:
        wafer: the map with its label.
        similarity: cosine between the two embeddings, -1..1.
    """

    wafer: Wafer
    similarity: float


class Reference:
    """A set of maps with their embeddings.

    Attributes:
        words: what the set is, for the page.
    """

    def __init__(self, engine: Engine, wafers: WaferSet, *, words: str) -> None:
        """Embed the maps."""
        from sklearn.neighbors import NearestNeighbors

        self._wafers, self.words = wafers, words
        embeddings = np.stack([answer.embedding for answer in engine.answers(_grids(wafers))])
        self._nearest = NearestNeighbors(metric="cosine", algorithm="brute").fit(embeddings)

    def __len__(self) -> int:
        return len(self._wafers)

    def matches(self, embedding: NDArray[np.float32], *, count: int) -> list[Match]:
        """Return the most similar maps, the most similar first.

        Args:
            embedding: (d,) of the map in question.
            count: how many; fewer where the set is smaller.
        """
        distances, places = self._nearest.kneighbors(embedding[None], n_neighbors=min(count, len(self)))
        return [
            Match(Wafer(self._name(i), self._wafers.map(i), int(self._wafers.label[i])), 1 - float(distance))
            for i, distance in zip(places[0].tolist(), distances[0], strict=True)
        ]

    def _name(self, i: int) -> str:
        lot, index = str(self._wafers.lot[i]), int(self._wafers.wafer_index[i])
        return f"{lot} #{index}" if lot and index else lot or f"map {i}"


def load_reference(engine: Engine, path: Path | None) -> Reference:
    """Return the reference set of a file, or the built-in one of synthetic maps.

    Raises:
        InputError: the file cannot be used.
    """
    if path is None:
        from wafer_tf.synthesis import synthesize

        wafers = synthesize(BUILT_IN_PER_CLASS, seed=BUILT_IN_SEED).wafers
        return Reference(engine, wafers, words=f"{len(wafers):,} synthetic maps")
    from wafer_tf.readers import read

    wafers, words = read(path), path.name
    if len(wafers.labelled):
        wafers = wafers.select(wafers.labelled)
    if len(wafers) > MOST:
        words = f"{MOST:,} of the {len(wafers):,} maps of {words}"
        wafers = wafers.select(np.sort(np.random.default_rng(0).permutation(len(wafers))[:MOST]))
    else:
        words = f"{len(wafers):,} maps of {words}"
    return Reference(engine, wafers, words=words)


def _grids(wafers: WaferSet) -> list[NDArray[np.uint8]]:
    return [wafers.map(i) for i in range(len(wafers))]
