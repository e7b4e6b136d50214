"""A bundle, loaded and proven, that turns input files into records. Needs numpy and ai-edge-litert alone."""

from collections.abc import Iterator
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from edge.station.inputs import find_maps
from edge.station.interpreter import TfliteModel
from edge.station.records import Record, answered, rejected
from wafer_tf.bundle import MANIFEST, Bundle
from wafer_tf.dies import CLASSES
from wafer_tf.encoding import encode
from wafer_tf.errors import InputError, ModelError

MAX_KERNEL_LSB = 3
"""Steps of the output that a golden map's logit may be from the gate's.

The same kernel gives the same bits; on a trained ResNet18 and 200 maps, XNNPACK, built-in and reference kernels were at
most 2 steps apart (int8; 1 with 16-bit activations). No label is compared beside the logits: where the likeliest class
leads by more than twice this it cannot change, and where it leads by less it may, on a good station.
"""
MAX_PROBABILITY_ERROR = 1e-9
"""Between two machines' exp, of float64."""


class Classifier:
    """A bundle's model behind its checks.

    Attributes:
        bundle: what was loaded.
        model: its model, running.
        xnnpack: whether the XNNPACK delegate runs the model.
        golden_lsb: how far the golden maps' logits were from the gate's, in steps of the output; 0 on the same kernel.
    """

    def __init__(
        self, bundle: Bundle, *, threads: int = 1, allow_slow: bool = False, review_below: float = 0.5
    ) -> None:
        """Load the bundle's model and let it judge the golden maps.

        Args:
            bundle: of `load_bundle`.
            threads: of the interpreter; the answers do not depend on it.
            allow_slow: accept running without XNNPACK where the gate had it.
            review_below: probability of the likeliest class under which the decision is "review".

        Raises:
            ModelError: the model is not the one the bundle describes, or does not answer as the gate saw.
        """
        self.bundle = bundle
        self._review_below = review_below
        self.model = TfliteModel(bundle.model, threads=threads)
        self.xnnpack = self.model.xnnpack
        if bundle.xnnpack and not self.xnnpack and not allow_slow:
            raise self._refused(
                "the gate ran its model on the XNNPACK delegate, which is not at work here: each map would take "
                "several times as long. Install the pinned ai-edge-litert, or pass --allow-slow"
            )
        self._compare_with_bundle()
        self.golden_lsb = self._judge_golden_maps()

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
        probabilities = self.bundle.decision.probabilities(self.model.logits(encode(grid, self.bundle.input_size)))
        return answered(
            name, probabilities, review_below=self._review_below, input_sha256=input_sha256,
            bundle_sha256=self.bundle.sha256, ms=_ms_since(started),
        )  # fmt: skip

    def reject(self, name: str, reason: str, *, input_sha256: str | None = None, ms: float = 0.0) -> Record:
        """Return the record of what cannot be judged."""
        return rejected(name, reason, input_sha256=input_sha256, bundle_sha256=self.bundle.sha256, ms=ms)

    def _compare_with_bundle(self) -> None:
        stated, found = (self.bundle.input, self.bundle.output), (self.model.input, self.model.output)
        if stated != found:
            raise self._refused(f"its model has input and output {found}; {MANIFEST} says {stated}")
        golden = self.bundle.golden
        if golden.logits.dtype != self.bundle.output.dtype:
            raise self._refused(f"golden logits of {golden.logits.dtype}; expected {self.bundle.output.dtype}")
        expected = self.bundle.decision.probabilities(self.bundle.output.dequantize(golden.logits))
        if not (np.abs(expected - golden.probabilities) <= MAX_PROBABILITY_ERROR).all():
            raise self._refused("its decision does not turn the golden logits into the probabilities the gate saw")

    def _judge_golden_maps(self) -> int:
        golden = self.bundle.golden
        worst = 0
        for i, (grid, logits) in enumerate(zip(golden.grids, golden.logits.astype(np.int64), strict=True)):
            apart = np.abs(self.model.run(encode(grid, self.bundle.input_size)) - logits)
            if apart.max() > MAX_KERNEL_LSB:
                raise self._refused(
                    f"golden map {i}: logit of {CLASSES[apart.argmax()]} is {apart.max()} steps of the output from "
                    f"what the gate saw; kernels differ by at most {MAX_KERNEL_LSB}"
                )
            worst = max(worst, int(apart.max()))
        return worst

    def _refused(self, why: str) -> ModelError:
        return ModelError(f"bundle {self.bundle.sha256[:12]}: refused: {why}.")


def _ms_since(started: float) -> float:
    return (perf_counter() - started) * 1e3
