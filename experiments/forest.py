"""A random forest on hand-made features of wafer maps: what can be had without a network."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from wafer_tf.dies import Die
from wafer_tf.waferset import WaferSet

RINGS = np.array([0.3, 0.5, 0.65, 0.8, 0.9])
"""Borders of six rings, as shares of the wafer's radius."""
SECTORS = 8
ANGLES = np.arange(0, 180, 15)


def features(grid: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return (28,) features of one map, none of which depends on how the wafer is turned or mirrored.

    Share of failing dies in all, per ring and, sorted, per sector of the outer third; spread of the share over
    projections along 12 directions (a Radon transform's columns); and of the largest connected patch of failing dies
    its share of dies and of fails, distance from the centre, length, breadth and filling, with the number of patches.
    """
    die, fails = grid != Die.ABSENT, grid == Die.FAIL
    y, x = np.indices(grid.shape, dtype=float)
    y, x = (2 * (v + 0.5) / n - 1 for v, n in zip((y, x), grid.shape, strict=True))
    radius, angle = np.hypot(y, x), np.arctan2(y, x)
    ring = np.digitize(radius, RINGS)
    rings = [_share(fails, die & (ring == r)) for r in range(len(RINGS) + 1)]
    sector = ((angle + np.pi) / (2 * np.pi) * SECTORS).astype(int) % SECTORS
    sectors = sorted(_share(fails, die & (radius > RINGS[2]) & (sector == s)) for s in range(SECTORS))
    peaks = np.sort([_steepest(fails, die, x * np.cos(t) + y * np.sin(t)) for t in np.deg2rad(ANGLES)])
    patches, count = ndimage.label(fails, np.ones((3, 3)))
    sizes = np.bincount(patches.ravel(), minlength=2)[1:]
    inside = patches == 1 + int(sizes.argmax())
    length = breadth = filling = far = 0.0
    if count:
        at = np.column_stack([y[inside], x[inside]])
        breadth, length = np.sqrt(np.linalg.eigvalsh(np.cov(at.T, bias=True)).clip(0))
        far = float(np.hypot(*at.mean(axis=0)))
        box = ndimage.find_objects(inside.astype(np.int8))[0]
        filling = float(inside[box].mean())
    patch = [sizes.max() / die.sum(), sizes.max() / max(fails.sum(), 1), far, length, breadth, filling, count]
    return np.nan_to_num(
        np.array([_share(fails, die), *rings, *sectors, *peaks[[0, 3, 6, 9, 11]], peaks.std(), *patch])
    )


def _share(fails: NDArray[np.bool_], where: NDArray[np.bool_]) -> float:
    return float(fails[where].mean()) if where.any() else 0.0


def _steepest(fails: NDArray[np.bool_], die: NDArray[np.bool_], along: NDArray[np.float64]) -> float:
    """Return how far the share of fails in the worst of 20 parallel strips is above the wafer's."""
    strip = ((along + 1.5) / 3 * 20).astype(int)[die]
    dies = np.bincount(strip, minlength=20)
    share = np.bincount(strip, weights=fails[die], minlength=20) / np.maximum(dies, 1)
    return float(share[dies > 3].max(initial=0.0) - fails[die].mean())


def forest_logits(training: WaferSet, *parts: WaferSet, seed: int = 0) -> list[NDArray[np.float64]]:
    """Train 500 trees, classes weighted by inverse frequency, and return log-probabilities (n, 9) of each part."""
    from sklearn.ensemble import RandomForestClassifier

    forest = RandomForestClassifier(500, class_weight="balanced_subsample", min_samples_leaf=2, random_state=seed)
    forest.fit(_table(training), training.label)
    answers: list[Any] = [forest.predict_proba(_table(part)) for part in parts]
    return [np.log(np.maximum(answer, 1e-4)) for answer in answers]


def _table(wafers: WaferSet) -> NDArray[np.float64]:
    return np.stack([features(wafers.map(i)) for i in range(len(wafers))])
