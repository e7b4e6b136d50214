"""A model's answers to many maps. Needs numpy and ai-edge-litert alone.

The int8 interpreter is no faster on a batch, so each map is inferred alone. What is around that is done for many at
once: maps of one shape are encoded together, and a map that was seen before is not inferred again.
"""

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from wafer_tf.dies import CLASSES
from wafer_tf.encoding import encode_many
from wafer_tf.inference.proven import ProvenModel, unknown_scores
from wafer_tf.pattern_bits import PATTERNS

AT_ONCE = 64
"""Maps that are encoded together; what is made of them takes some 50 kB each."""
CELLS_AT_ONCE = AT_ONCE * 64 * 64
"""Fewer where they are larger: encoding takes 8 bytes or some more for each cell."""
KNOWN = 1 << 18
"""Maps that are remembered; each takes some 250 bytes."""


class Maps(Protocol):
    """Checked maps one after another, as a WaferSet holds them.

    Attributes:
        flat: (cells,) uint8, die states 0..2 of all maps, row by row.
        offsets: (n + 1,) int64; map i is flat[offsets[i]:offsets[i + 1]].
        shapes: (n, 2) int32, rows and columns.
    """

    @property
    def flat(self) -> NDArray[np.uint8]: ...
    @property
    def offsets(self) -> NDArray[np.int64]: ...
    @property
    def shapes(self) -> NDArray[np.int32]: ...


def run_many(model: ProvenModel, maps: Maps, which: Sequence[int] | None = None) -> NDArray[Any]:
    """Return what a bundle's model answers to maps, in their order.

    Args:
        model: runs each.
        maps: all of them.
        which: numbers of the n maps to run; all where left out.

    Returns:
        (n,) of the fields `logits`, nine as the model stores them, `unknown_score`, NaN where there is none, and, of a
        bundle that has `patterns`, these: eight pattern logits as the model stores them.

    Examples:
        >>> from wafer_tf.bundle import load_bundle
        >>> from wafer_tf.released import bundle_folder
        >>> from wafer_tf.synthesis import synthesize
        >>> model = ProvenModel(load_bundle(bundle_folder("nano")))
        >>> run_many(model, synthesize(1, seed=0).wafers)["logits"].shape
        (9, 9)
    """
    wanted = np.arange(len(maps.shapes)) if which is None else np.asarray(which, np.int64)
    bundle, tflite = model.bundle, model.tflite
    kind: list[Any] = [("logits", bundle.output.dtype, len(CLASSES)), ("unknown_score", np.float64)]
    if bundle.patterns is not None:
        kind.append(("patterns", bundle.output.dtype, len(PATTERNS)))
    answers = np.empty(len(wanted), kind)
    answers["unknown_score"] = np.nan
    for places, grids in _alike(maps, wanted):
        features = np.empty((len(places), tflite.feature_count), bundle.output.dtype)
        for number, fed in enumerate(tflite.feed(encode_many(grids, tflite.input_size))):
            answers["logits"][places[number]] = tflite.infer(fed)
            if bundle.unknown is not None:
                features[number] = tflite.pooled()
            if bundle.patterns is not None:
                answers["patterns"][places[number]] = tflite.stored_patterns()
        if bundle.unknown is not None and bundle.features is not None:
            prob = bundle.decision.probabilities(bundle.output.dequantize(answers["logits"][places]))
            real = bundle.features.dequantize(features).astype(np.float32)
            answers["unknown_score"][places] = unknown_scores(bundle.unknown, real, grids, prob)
    return answers


def _alike(maps: Maps, wanted: NDArray[np.int64]) -> Iterator[tuple[list[int], NDArray[np.uint8]]]:
    """Give the wanted maps by shape, some at a time: their places in `wanted`, and the (k, rows, cols) maps."""
    rows, cols = maps.shapes[wanted].astype(np.int64).T
    shape = rows << 32 | cols
    order = np.argsort(shape, kind="stable")
    starts, ends = maps.offsets[wanted].tolist(), maps.offsets[wanted + 1].tolist()
    for same in np.split(order, np.flatnonzero(np.diff(shape[order])) + 1):
        if not len(same):
            return
        sides = int(rows[same[0]]), int(cols[same[0]])
        step = max(1, min(AT_ONCE, CELLS_AT_ONCE // (sides[0] * sides[1])))
        for first in range(0, len(same), step):
            places = same[first : first + step].tolist()
            cells = np.concatenate([maps.flat[starts[place] : ends[place]] for place in places])
            yield places, cells.reshape(-1, *sides)


def map_hashes(maps: Maps) -> list[bytes]:
    """Return of each map the 32 bytes that `dies.grid_sha256` gives in hexadecimal."""
    begun = [f"{rows} {cols}\n".encode() for rows, cols in maps.shapes.tolist()]
    content, edges = maps.flat.tobytes(), maps.offsets.tolist()
    spans = zip(begun, edges[:-1], edges[1:], strict=True)
    return [hashlib.sha256(text + content[start:end]).digest() for text, start, end in spans]


class KnownMaps:
    """A model that remembers its answers: of equal maps one is inferred."""

    def __init__(self, model: ProvenModel, *, most: int = KNOWN) -> None:
        """Begin with nothing known.

        Args:
            model: runs what is new.
            most: maps to remember beyond those just asked for; the oldest go first.
        """
        self.model, self.most = model, most
        self._stored: dict[bytes, bytes] = {}

    def run(self, maps: Maps, hashes: Sequence[bytes]) -> NDArray[Any]:
        """Return what `run_many` returns.

        Args:
            maps: as there.
            hashes: of `map_hashes`.
        """
        new: dict[bytes, int] = {}
        for place, name in enumerate(hashes):
            if name not in self._stored:
                new.setdefault(name, place)
        answers = run_many(self.model, maps, list(new.values()))
        self._stored.update(zip(new, (answer.tobytes() for answer in answers), strict=True))
        found = np.frombuffer(b"".join(map(self._stored.__getitem__, hashes)), answers.dtype)
        while len(self._stored) > self.most:
            del self._stored[next(iter(self._stored))]
        return found
