"""Wafers of several patterns for the head beside the nine-way answer: read from a file, or made from the run's own.

`training.fit --mixed FILE` takes labelled ones, such as MixedWM38's; `--mixed SHARE` needs none: half of them composed
on the die grids of the run's wafers, half laid over one another out of its wafers of one pattern, see
`synthesis.mixed`. With a file, COMPOSED wafers are drawn beside it on the run's own grids, which the file has not.
"""

import numpy as np

from training.config import FitConfig
from wafer_tf.dies import NONE, UNLABELLED
from wafer_tf.errors import InputError
from wafer_tf.formats import flags
from wafer_tf.learning.run_folder import RunFolder
from wafer_tf.readers import read
from wafer_tf.splitting.splits import Split, content_hash, make_folds, make_split
from wafer_tf.synthesis.mixed import compose, overlay
from wafer_tf.waferset import WaferSet

COMPOSED = 0.1
"""Composed wafers to learn from beside those of a file, as a share of the maps an epoch shows."""
GRIDS = 3000
"""Maps whose die grids the composed are drawn on, at most."""
SPLIT = "mixed_split.npz"


def load_mixed(config: FitConfig, run: RunFolder, wafers: WaferSet, split: Split) -> tuple[WaferSet, Split]:
    """Return the wafers that teach and judge the head for several patterns, and which part each is in.

    The split is kept in the run folder; its parts, or folds, are as many as those of the run's own wafers.

    Args:
        config: with `mixed`.
        run: its folder.
        wafers: of the run; wafers that are drawn are drawn from those of one part alone.
        split: of these.

    Raises:
        InputError: the file cannot be read, or has no wafer of several patterns.
    """
    share, path = config.mixed_share, run.path / SPLIT
    if share is not None:
        parts = [wafers.select(np.flatnonzero(split.part == part)) for part in range(split.folds or 3)]
        drawn = [_drawn(config, one, share, seed=config.seed + 1_000_000 * (k + 1)) for k, one in enumerate(parts)]
        mixed = WaferSet.concatenate(drawn)
        if not path.exists():
            part = np.repeat(np.arange(len(drawn), dtype=np.int8), [len(one) for one in drawn])
            facts = (split.method, split.seed, split.fractions, content_hash(mixed))
            Split(part, np.arange(len(mixed)), *facts, stats={"drawn": len(mixed)}).save(path)
        return mixed, Split.load(path, mixed)
    mixed = read(str(config.mixed), options=flags.from_words(config.reading), progress=True)
    mixed = mixed.select(np.flatnonzero((mixed.label != UNLABELLED) | mixed.several))
    if not mixed.several.any():
        raise InputError(f"{config.mixed}: {len(mixed)} labelled wafers; expected some of several patterns (--mixed).")
    if not path.exists():
        if split.folds:
            made = make_folds(mixed, split.folds, seed=split.seed, several=True, progress=True)
        else:
            made = make_split(mixed, seed=split.seed, fractions=config.shares, several=True, progress=True)
        made.save(path)
    return mixed, Split.load(path, mixed)


def taught_with(config: FitConfig, wafers: WaferSet, mixed: WaferSet) -> WaferSet:
    """Return what is learned from beside the wafers of a training part: those of the mixed one, and composed ones.

    Args:
        config: of the run.
        wafers: the training part; the composed lie on its grids.
        mixed: those of the same part, or folds, of `load_mixed`.
    """
    if config.mixed_share is not None:
        return mixed
    return WaferSet.concatenate([mixed, _composed(wafers, round(COMPOSED * _shown(config, wafers)), seed=config.seed)])


def _drawn(config: FitConfig, wafers: WaferSet, share: float, *, seed: int) -> WaferSet:
    count = max(round(share * _shown(config, wafers)), 2)
    laid = overlay(wafers, count // 2, seed=seed).wafers
    return WaferSet.concatenate([_composed(wafers, count - count // 2, seed=seed), laid])


def _composed(wafers: WaferSet, count: int, *, seed: int) -> WaferSet:
    step = -(-len(wafers) // GRIDS)
    return compose(count, seed=seed, grids=[wafers.map(i) for i in range(0, len(wafers), step)]).wafers


def _shown(config: FitConfig, wafers: WaferSet) -> int:
    """Return how many of the wafers an epoch shows."""
    none = int((wafers.label == NONE).sum())
    return len(wafers) - none + min(none, config.none_per_epoch or none)
