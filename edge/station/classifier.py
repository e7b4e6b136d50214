"""A proven bundle that turns input files into records. Needs numpy and ai-edge-litert alone."""

from collections.abc import Iterator
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from edge.station.inputs import find_maps
from edge.station.records import Record, answered, rejected
from wafer_tf.bundle import Bundle
from wafer_tf.decision import REVIEW_BELOW
from wafer_tf.errors import InputError
from wafer_tf.inference.proven import ProvenModel


class Classifier(ProvenModel):
    """A proven model whose answers are records."""

    def __init__(
        self, bundle: Bundle, *, threads: int = 1, allow_slow: bool = False, review_below: float = REVIEW_BELOW
    ) -> None:
        """Load the bundle's model and let it judge the golden maps.

        Args:
            bundle, threads, allow_slow: see `ProvenModel`.
            review_below: probability of the likeliest class under which the decision is "review".

        Raises:
            ModelError: the model is not the one the bundle describes, or does not answer as the gate saw.
        """
        super().__init__(bundle, threads=threads, allow_slow=allow_slow)
        self._review_below = review_below

    def judge(self, data: bytes, name: str) -> list[Record]:
        """Judge the contents of one input file; never raises for bad input.

        Args:
            data: a .npy, .npz or text grid, told by content.
            name: the file's name: the record's id, or the start of it where the file holds many maps.

        Returns:
            One record per map, in order; a map or file that cannot be judged is a record with a reason.
        """
        return list(self.judge_each(data, name))

    def judge_each(self, data: bytes, name: str) -> Iterator[Record]:
        """Give the records of `judge` one by one."""
        started = perf_counter()
        for found in find_maps(data, name):
            if isinstance(found.grid, InputError):
                yield self.reject(found.name, str(found.grid), input_sha256=found.sha256, ms=_ms_since(started))
            else:
                yield self.answer(found.name, found.grid, input_sha256=found.sha256, started=started)
            started = perf_counter()

    def answer(self, name: str, grid: NDArray[np.uint8], *, input_sha256: str | None, started: float) -> Record:
        """Judge one checked map.

        Args:
            name: the record's id.
            grid: (rows, cols) uint8, checked.
            input_sha256: as the record shall say.
            started: perf_counter() when work on the map began.
        """
        return answered(
            name,
            self.probabilities(grid),
            review_below=self._review_below,
            input_sha256=input_sha256,
            bundle_sha256=self.bundle.sha256,
            ms=_ms_since(started),
        )

    def reject(self, name: str, reason: str, *, input_sha256: str | None = None, ms: float = 0.0) -> Record:
        """Return the record of what cannot be judged."""
        return rejected(name, reason, input_sha256=input_sha256, bundle_sha256=self.bundle.sha256, ms=ms)


def _ms_since(started: float) -> float:
    return (perf_counter() - started) * 1e3
