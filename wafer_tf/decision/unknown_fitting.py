"""Fit what turns pooled features into an unknown score. Needs numpy alone."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from wafer_tf.decision.unknown import Unknown, parts, strangeness
from wafer_tf.dies import CLASSES

LEVELS = np.array([0, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.97, 0.98, 0.985, 0.99, 0.995, 0.998, 0.999, 1.0])
SCALE = (0.9, 0.99)
CLASS_TIMES = 10
"""A class's own wafers may be above a score so many times as often as all known wafers are, and no oftener. With one
threshold for all, most Near-full wafers were unknown; with one for each class, the rare ones' few strange wafers moved
it so far that half as many patterns were found."""
LEAST_OF_CLASS = 20
"""Wafers of a class of another fab that make a centre."""
_RIDGE = 1e-6


def fit_distance(
    features: NDArray[np.floating[Any]], label: NDArray[np.integer[Any]]
) -> tuple[NDArray[np.float32], NDArray[np.float16]]:
    """Return the (k, d) means of the classes in `label` and the (d, d) whitening of their common covariance.

    The error of rounding to int8 is added to the covariance: where features hardly differ, it would be taken for
    strangeness.

    Args:
        features: (n, d) of wafers of known classes.
        label: (n,) class; wafers of another fab may have classes of their own.
    """
    known = np.unique(label)
    mean = np.stack([features[label == c].mean(axis=0, dtype=np.float64) for c in known])
    off = features - mean[np.searchsorted(known, label)]
    covariance = off.T @ off / len(off)
    step = (features.max() - min(features.min(), 0)) / 255
    covariance += (step**2 / 12 + _RIDGE * np.trace(covariance) / len(covariance)) * np.eye(len(covariance))
    values, vectors = np.linalg.eigh(covariance)
    return mean.astype(np.float32), (vectors / np.sqrt(values)).astype(np.float16)


def fit_quantiles(sums: NDArray[np.float64], called: NDArray[np.integer[Any]]) -> NDArray[np.float64]:
    """Return (9, q) quantiles, at LEVELS, of the sums of known wafers that each class was called.

    A share 1 - level of all known wafers is above theirs, and of no class more than CLASS_TIMES as many.

    Args:
        sums: (n,) of known wafers that neither the model nor the distance learned from.
        called: (n,) index into CLASSES.
    """
    found = np.full((len(CLASSES), len(LEVELS)), sums.min())
    own_levels = 1 - np.minimum(CLASS_TIMES * (1 - LEVELS), 1)
    for c in np.unique(called):
        found[c] = np.quantile(sums[called == c], own_levels)
    for k, level in enumerate(LEVELS):
        allowed = np.where(sums >= found[called, k], sums, sums.min())
        found[:, k] = np.maximum(found[:, k], np.quantile(allowed, level))
    return np.maximum.accumulate(found, axis=1)


def fit_unknown(
    mean: NDArray[np.float32],
    whiten: NDArray[np.float16],
    head: NDArray[np.float32],
    found: NDArray[np.float64],
    called: NDArray[np.integer[Any]],
) -> Unknown:
    """Return the score of a distance and a head.

    Args:
        mean, whiten, head: of the model that ships, see `Unknown`.
        found: (n, 3), `unknown.parts` of known wafers, by a model and a distance that did not learn from them, and
            `repeats`.
        called: (n,) index into CLASSES, what these wafers are called.
    """
    scale = np.quantile(found, SCALE, axis=0).T
    scale[:, 1] = np.maximum(scale[:, 1], scale[:, 0] + 1e-6)  # of a head of zeros, or of maps that are all alike
    return Unknown(mean, whiten, head, scale, LEVELS.copy(), fit_quantiles(strangeness(found, scale), called))


def refit_unknown(
    unknown: Unknown,
    features: NDArray[np.floating[Any]],
    regular: NDArray[np.float64],
    label: NDArray[np.integer[Any]],
    called: NDArray[np.integer[Any]],
    fold: NDArray[np.integer[Any]],
) -> Unknown:
    """Return the score for another fab's wafers: their classes become centres too, and their strangeness the measure.

    Args:
        unknown: the score so far.
        features: (n, d) of the fab's wafers.
        regular: (n,) their `repeats`.
        label: (n,) their classes, index into CLASSES.
        called: (n,) what they are called.
        fold: (n,); a wafer is measured by the centres of the other folds.
    """

    def centres(rows: NDArray[np.bool_]) -> NDArray[np.float32]:
        own = [features[rows & (label == c)] for c in range(len(CLASSES))]
        means = [each.mean(axis=0, dtype=np.float64) for each in own if len(each) >= LEAST_OF_CLASS]
        return np.concatenate([unknown.mean, *(mean[None].astype(np.float32) for mean in means)])

    found = np.column_stack([np.zeros((len(features), 2)), regular])
    for k in np.unique(fold):
        found[fold == k, :2] = parts(features[fold == k], centres(fold != k), unknown.whiten, unknown.head)
    return fit_unknown(centres(np.ones(len(label), bool)), unknown.whiten, unknown.head, found, called)
