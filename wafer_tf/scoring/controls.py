"""Controls: answers that look at no pattern, which a model must beat before its figures mean anything."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wafer_tf.dies import CLASSES
from wafer_tf.scoring.scores import rates
from wafer_tf.waferset import WaferSet


@dataclass(frozen=True)
class Control:
    """Scores of an answer that looks at no pattern, as in `scores.Scores`; `says` where it is always the same."""

    macro_f1: float
    accuracy: float
    says: str | None = None


@dataclass(frozen=True)
class Controls:
    """The two answers.

    Attributes:
        majority_class: the most frequent class of the training part.
        map_size_only: a random forest on rows, columns and number of dies. A macro-F1 far above the majority class's is
            a shape shortcut: some classes come on some products only.
    """

    majority_class: Control
    map_size_only: Control


def controls(train: WaferSet, test: WaferSet, *, seed: int = 0) -> Controls:
    """Score two answers that see no pattern.

    Args:
        train: wafers the controls learn from; those without a label are left out.
        test: wafers they are scored on, likewise.
        seed: of the forest.
    """
    from sklearn.ensemble import RandomForestClassifier

    x, y = _sizes(train)[train.labelled], train.label[train.labelled]
    answers, truth = _sizes(test)[test.labelled], test.label[test.labelled]
    most = int(train.class_counts().argmax())
    rows, counts = np.unique(np.column_stack([x, y]), axis=0, return_counts=True)
    forest = RandomForestClassifier(100, random_state=seed, n_jobs=1)
    forest.fit(rows[:, :-1], rows[:, -1], sample_weight=counts)
    return Controls(
        majority_class=_control(truth, np.full(len(truth), most), says=CLASSES[most]),
        map_size_only=_control(truth, forest.predict(answers)),
    )


def _sizes(wafers: WaferSet) -> NDArray[np.int64]:
    """Return (n, 3): rows, columns, dies."""
    dies = np.add.reduceat(wafers.flat != 0, wafers.offsets[:-1], dtype=np.int64)
    return np.column_stack([wafers.shapes, dies])


def _control(label: NDArray[np.int8], answer: NDArray[np.int64], *, says: str | None = None) -> Control:
    k = len(CLASSES)
    cells = np.bincount(label.astype(np.int64) * k + answer, minlength=k * k).reshape(k, k)
    found = rates(cells.astype(np.float64))
    return Control(float(found["macro_f1"]), float(found["accuracy"]), says)
