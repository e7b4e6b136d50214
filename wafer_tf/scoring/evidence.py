"""Answers of a model to wafers that did not train it, and which of them may choose and which may judge."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wafer_tf.splitting.splits import Split


@dataclass(frozen=True, eq=False)
class Part:
    """Wafers as a model sees them.

    Attributes:
        label: (n,) index into CLASSES.
        prob: (n, 9) calibrated probabilities; rows sum to 1.
        group: (n,) split group of each wafer.
    """

    label: NDArray[np.int64]
    prob: NDArray[np.float64]
    group: NDArray[np.int64]

    def at(self, rows: NDArray[np.integer]) -> "Part":
        """Return some of the wafers."""
        return Part(self.label[rows], self.prob[rows], self.group[rows])

    def __len__(self) -> int:
        return len(self.label)


@dataclass(frozen=True, eq=False)
class Evidence:
    """What thresholds are chosen and judged by, so that no wafer judges what it chose.

    Attributes:
        wafers: all of them.
        rounds: of each the rows that choose and those that judge. With folds, each fold is judged by what the others
            chose; else the validation part chooses and the test part judges.
        final: rows that choose what is shipped: with folds all, else the validation part.
    """

    wafers: Part
    rounds: tuple[tuple[NDArray[np.int64], NDArray[np.int64]], ...]
    final: NDArray[np.int64]

    @classmethod
    def of_folds(cls, wafers: Part, fold: NDArray[np.integer]) -> "Evidence":
        """Take wafers that were answered out of fold, and the (n,) fold of each."""
        rounds = tuple((np.flatnonzero(fold != k), np.flatnonzero(fold == k)) for k in np.unique(fold))
        return cls(wafers, rounds, np.arange(len(wafers)))

    @classmethod
    def of_split(cls, wafers: Part, split: Split) -> "Evidence":
        """Take the wafers of a run's split: all where it has folds, else the validation part, then the test part."""
        if split.folds:
            return cls.of_folds(wafers, split.part[split.test])
        first = np.arange(len(split.validation))
        return cls(wafers, ((first, np.arange(len(first), len(wafers))),), first)

    @property
    def judged(self) -> NDArray[np.int64]:
        """Rows that judge, round by round."""
        return np.concatenate([judge for _, judge in self.rounds])

    def parts(self) -> Iterator[tuple[Part, Part]]:
        """Give the wafers that choose and those that judge, round by round."""
        return ((self.wafers.at(choose), self.wafers.at(judge)) for choose, judge in self.rounds)
