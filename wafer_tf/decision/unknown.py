"""How unlike the known patterns a wafer is, from the model's pooled features. Needs numpy alone.

The distance is Mahalanobis' to the nearest class mean, with one covariance for all classes (Lee et al., "A Simple
Unified Framework for Detecting Out-of-Distribution Samples and Adversarial Attacks", NeurIPS 2018). Beside it stands
the logit of a head that learned drawn patterns which are none of the nine (outlier exposure: Hendrycks et al., "Deep
Anomaly Detection with Outlier Exposure", ICLR 2019). Third comes
how regularly dies fail (`repeats`), which the features do not tell. What they say, each on the scale of known wafers,
is held against that of known wafers which the same class was called.
"""

import io
import zipfile
from dataclasses import dataclass, fields
from functools import cached_property, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wafer_tf.arrays import DAMAGED, read_entry
from wafer_tf.dies import CLASSES
from wafer_tf.errors import ModelError

UNKNOWN_ABOVE = 0.99
"""Score above which the decision is "unknown", unless a user says otherwise: one known wafer in a hundred has it."""
MIN_DIES = 250
"""Dies under which a wafer has no score: 99.99 % of WM-811K's have 477 or more, and on coarser grids the models call
patterns strange that are only coarse."""
MAX_BYTES = 200_000
"""Of the file; a larger one is refused."""
_UNREADABLE: tuple[type[Exception], ...] = (*DAMAGED, TypeError, MemoryError)


def parts(
    features: NDArray[np.floating[Any]],
    mean: NDArray[np.float32],
    whiten: NDArray[np.floating[Any]],
    head: NDArray[np.float32],
) -> NDArray[np.float64]:
    """Return (n, 2): the logarithm of the squared distance from the nearest centre, and the head's logit.

    Args:
        features: (n, d) pooled features.
        mean, whiten, head: see `Unknown`.
    """
    return _parts(features, *_prepare(mean, whiten, head))


Prepared = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]
"""Whitening, whitened centres, their squares, head; float64, so that one wafer and many come out the same."""


def _prepare(mean: NDArray[np.float32], whiten: NDArray[np.floating[Any]], head: NDArray[np.float32]) -> Prepared:
    whiten = whiten.astype(np.float64)
    centres = mean @ whiten
    squares = np.asarray(np.square(centres).sum(axis=1))
    return np.asarray(whiten, np.float64), np.asarray(centres), squares, head.astype(np.float64)


def _parts(
    features: NDArray[np.floating[Any]],
    whiten: NDArray[np.float64],
    centres: NDArray[np.float64],
    squares: NDArray[np.float64],
    head: NDArray[np.float64],
) -> NDArray[np.float64]:
    features = features.astype(np.float64)
    white = features @ whiten
    nearest = (squares - 2 * (white @ centres.T)).min(axis=1) + np.square(white).sum(axis=1)
    return np.stack([np.log(np.maximum(nearest, 1e-12)), features @ head[:-1] + head[-1]], axis=1)


def strangeness(found: NDArray[np.float64], scale: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (n,) sums of the columns of `found`, each put on the scale of known wafers.

    The distance counts throughout, the others where they are above 99 % of known wafers. On families that the head had
    not learned this was better than distance or head alone, than their sum or maximum.

    Args:
        found: (n, 3): the two columns of `parts`, and `repeats`.
        scale: see `Unknown`.
    """
    low, high = scale.T
    risen = (found - low) / (high - low)
    total: NDArray[np.float64] = risen[:, 0] + np.maximum(risen[:, 1:] - 1, 0).sum(axis=1)
    return total


@dataclass(frozen=True, eq=False)
class Unknown:
    """The numbers that turn pooled features into a score.

    Attributes:
        mean: (k, d) float32, the centre of each known class.
        whiten: (d, r) float16; the squared distance of x is the smallest |(x - mean) @ whiten|².
        head: (d + 1,) float32, weights and bias of the logit that the pattern is none of the nine; zeros where the
            model learned no such patterns.
        scale: (3, 2) float64; of the distance's logarithm, of that logit and of `repeats`, what 90 % and 99 % of known
            wafers are below.
        levels: (q,) float64, rising from 0 to 1, shares of known wafers.
        quantiles: (9, q) float64, of `strangeness`, over known wafers called each class; rising in each row.
    """

    mean: NDArray[np.float32]
    whiten: NDArray[np.float16]
    head: NDArray[np.float32]
    scale: NDArray[np.float64]
    levels: NDArray[np.float64]
    quantiles: NDArray[np.float64]

    def __post_init__(self) -> None:
        k, d = self.mean.shape
        q = len(self.levels)
        shapes = {
            "whiten": (d, self.whiten.shape[-1]),
            "head": (d + 1,),
            "scale": (3, 2),
            "quantiles": (len(CLASSES), q),
        }
        for name, shape in shapes.items():
            if getattr(self, name).shape != shape:
                raise ModelError(f"unknown score: {name} of shape {getattr(self, name).shape}; expected {shape}.")
        if not k or q < 2 or not all(np.isfinite(getattr(self, field.name)).all() for field in fields(self)):
            raise ModelError("unknown score: no class, fewer than two levels, or a number that is not finite.")
        if (
            (np.diff(self.scale) <= 0).any()
            or (np.diff(self.levels) <= 0).any()
            or (np.diff(self.quantiles, axis=1) < 0).any()
        ):
            raise ModelError("unknown score: a scale, levels or quantiles that do not rise.")

    def score(
        self,
        features: NDArray[np.floating[Any]],
        regular: NDArray[np.float64],
        called: NDArray[np.integer[Any]],
    ) -> NDArray[np.float64]:
        """Return (n,) scores, 0..1: the share of known wafers called the same that are less strange.

        Args:
            features: (n, d) pooled features.
            regular: (n,) `repeats` of the maps.
            called: (n,) index into CLASSES of the likeliest class.
        """
        return self.score_of(np.column_stack([_parts(features, *self._prepared), regular]), called)

    def score_of(self, found: NDArray[np.float64], called: NDArray[np.integer[Any]]) -> NDArray[np.float64]:
        """Return the scores of (n, 3) `found`: what `parts` gave, and `repeats`."""
        sums = strangeness(found, self.scale)
        if len(sums) == 1:
            return np.interp(sums, self.quantiles[called[0]], self.levels)
        scores = np.empty(len(sums))
        for c in np.unique(called):
            rows = called == c
            scores[rows] = np.interp(sums[rows], self.quantiles[c], self.levels)
        return scores

    @cached_property
    def _prepared(self) -> Prepared:
        return _prepare(self.mean, self.whiten, self.head)

    def to_bytes(self) -> bytes:
        """Return the npz file's contents."""
        out = io.BytesIO()
        np.savez_compressed(
            out, allow_pickle=False, **{field.name: getattr(self, field.name) for field in fields(self)}
        )
        return out.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes) -> "Unknown":
        """Read what `to_bytes` gave.

        Raises:
            ModelError: it is not that.
        """
        if len(data) > MAX_BYTES:
            raise ModelError(f"unknown score: {len(data)} bytes; expected at most {MAX_BYTES}.")
        try:
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                read = partial(read_entry, archive, where="unknown.npz", max_bytes=MAX_BYTES * 8, kinds="f")
                return cls(**{field.name: read(field.name) for field in fields(cls)})
        except _UNREADABLE as error:
            raise ModelError(f"unknown score: damaged ({type(error).__name__}: {error}).") from error
