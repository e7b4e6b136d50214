"""The calibration set: which training maps show the quantizer what values its activations take."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wafer_tf.dies import CLASSES, grid_sha256
from wafer_tf.encoding import encode, to_float
from wafer_tf.errors import InputError
from wafer_tf.waferset import WaferSet


@dataclass(frozen=True, eq=False)
class Calibration:
    """Encoded calibration maps and what names them.

    Attributes:
        planes: (n, size, size, 3) uint8 of `encoding.encode`.
        sha256: of the `dies.grid_sha256` of each map, in order, as one text.
        counts: (9,) maps of each class.
        seed: of the choice.
    """

    planes: NDArray[np.uint8]
    sha256: str
    counts: tuple[int, ...]
    seed: int

    def inputs(self) -> Iterator[NDArray[np.float32]]:
        """Give each map as the float model reads it, (1, size, size, 3)."""
        return (to_float(planes)[None] for planes in self.planes)

    def to_json(self) -> dict[str, Any]:
        """Return what a bundle records of it."""
        counts = dict(zip(CLASSES, self.counts, strict=True))
        return {"part": "train", "maps": len(self.planes), "counts": counts, "sha256": self.sha256, "seed": self.seed}


def choose(training: WaferSet, maps: int, *, seed: int, size: int) -> Calibration:
    """Choose and encode calibration maps, the same number of each class as far as there are that many.

    The classes are drawn from in turn, so a class with few maps gives all of them and leaves its share to the others,
    and a smaller set of the same seed is the start of a larger one.

    Args:
        training: the training part, labelled.
        maps: how many; all of a part with fewer.
        seed: of the draw.
        size: side of the encoded map.

    Raises:
        InputError: no map.
    """
    if not len(training) or maps < 1:
        raise InputError(f"calibration: {maps} of {len(training)} training maps; expected at least one.")
    chosen = in_turn(training.label, maps, seed=seed)
    grids = [training.map(int(i)) for i in chosen]
    return Calibration(
        planes=np.stack([encode(grid, size) for grid in grids]),
        sha256=hashlib.sha256("".join(grid_sha256(grid) for grid in grids).encode()).hexdigest(),
        counts=tuple(int(n) for n in np.bincount(training.label[chosen], minlength=len(CLASSES))),
        seed=seed,
    )


def in_turn(label: NDArray[np.int8], maps: int, *, seed: int) -> NDArray[np.int64]:
    """Return the indices of so many maps, the classes drawn from in turn, in random order within a class."""
    order = np.random.default_rng(seed).permutation(len(label))
    drawn, turn = label[order], np.empty(len(label), np.int64)
    for c in range(len(CLASSES)):
        own = drawn == c
        turn[own] = np.arange(own.sum())
    return order[np.lexsort((drawn, turn))][:maps]
