"""How unlike the known patterns a wafer is, from the model's pooled features. Needs numpy alone.

The distance is Mahalanobis' to the nearest class mean, with one covariance for all classes (Lee et al., "A Simple
Unified Framework for Detecting Out-of-Distribution Samples and Adversarial Attacks", NeurIPS 2018). Beside it stands
the logit of a head that learned drawn patterns which are none of the nine (outlier exposure: Hendrycks et al., "Deep
Anomaly Detection with Outlier Exposure", ICLR 2019). Their weighted sum is held against that of known wafers which the
same class was called.
"""

import io
import zipfile
from dataclasses import dataclass, fields
from functools import partial

import numpy as np
from numpy.typing import NDArray

from wafer_tf.arrays import DAMAGED, read_entry
from wafer_tf.dies import CLASSES
from wafer_tf.errors import ModelError

UNKNOWN_ABOVE = 0.99
"""Score above which the decision is "unknown", unless a user says otherwise: one known wafer in a hundred has it."""
MAX_BYTES = 200_000
"""Of the file."""


@dataclass(frozen=True, eq=False)
class Unknown:
    """The numbers that turn pooled features into a score.

    Attributes:
        mean: (k, d) float32, the centre of each known class.
        whiten: (d, r) float32; the squared distance of x is the smallest |(x - mean) @ whiten|².
        head: (d + 1,) float32, weights and bias of the logit that the pattern is none of the nine; zeros where the
            model learned no such patterns.
        weights: (2,) float64 of the distance's logarithm and of that logit in the sum.
        levels: (q,) float64, rising from 0 to 1, shares of known wafers.
        quantiles: (9, q) float64, of the sum, over known wafers called each class; rising in each row.
    """

    mean: NDArray[np.float32]
    whiten: NDArray[np.float32]
    head: NDArray[np.float32]
    weights: NDArray[np.float64]
    levels: NDArray[np.float64]
    quantiles: NDArray[np.float64]

    def __post_init__(self) -> None:
        k, d = self.mean.shape
        q = len(self.levels)
        shapes = {
            "whiten": (d, self.whiten.shape[-1]),
            "head": (d + 1,),
            "weights": (2,),
            "quantiles": (len(CLASSES), q),
        }
        for name, shape in shapes.items():
            if getattr(self, name).shape != shape:
                raise ModelError(f"unknown score: {name} of shape {getattr(self, name).shape}; expected {shape}.")
        if not k or q < 2 or not all(np.isfinite(getattr(self, field.name)).all() for field in fields(self)):
            raise ModelError("unknown score: no class, fewer than two levels, or a number that is not finite.")
        if (np.diff(self.levels) <= 0).any() or (np.diff(self.quantiles, axis=1) < 0).any():
            raise ModelError("unknown score: levels or quantiles that do not rise.")

    def sums(self, features: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return (n,) weighted sums of (n, d) pooled features; the larger, the stranger."""
        return self.parts(features) @ self.weights

    def parts(self, features: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return (n, 2): the logarithm of the squared distance, and the head's logit."""
        white = features @ self.whiten
        centre = self.mean @ self.whiten
        squared = (np.square(white).sum(1)[:, None] - 2 * white @ centre.T + np.square(centre).sum(1)).min(axis=1)
        logit = features @ self.head[:-1] + self.head[-1]
        return np.stack([np.log(np.maximum(squared, 1e-12)), logit], axis=1).astype(np.float64)

    def score(self, features: NDArray[np.floating], called: NDArray[np.integer]) -> NDArray[np.float64]:
        """Return (n,) scores, 0..1: the share of known wafers called the same that are less strange.

        Args:
            features: (n, d) pooled features.
            called: (n,) index into CLASSES of the likeliest class.
        """
        sums = self.sums(features)
        found = np.empty(len(sums))
        for c in np.unique(called):
            rows = called == c
            found[rows] = np.interp(sums[rows], self.quantiles[c], self.levels)
        return found

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
        try:
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                read = partial(read_entry, archive, where="unknown.npz", max_bytes=MAX_BYTES * 8, kinds="f")
                return cls(**{field.name: read(field.name) for field in fields(cls)})
        except DAMAGED as error:
            raise ModelError(f"unknown score: damaged ({type(error).__name__}: {error}).") from error
