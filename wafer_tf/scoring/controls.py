"""Controls: answers that look at no pattern, which a model must beat before its figures mean anything."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from wafer_tf.dies import CLASSES
from wafer_tf.scoring.scores import rates
from wafer_tf.waferset import WaferSet


def controls(train: WaferSet, test: WaferSet, *, seed: int = 0) -> dict[str, dict[str, Any]]:
    """Score two answers that see no pattern.

    Args:
        train: wafers the controls learn from; those without a label are left out.
        test: wafers they are scored on, likewise.
        seed: of the forest.

    Returns:
        "majority_class" (with "says": the class) and "map_size_only" (a random forest on rows, columns and number of
        dies), each with macro_f1 and accuracy as in `scores.Scores`. A map-size-only macro-F1 far above the majority
        class's is a shape shortcut: some classes come on some products only.
    """
    from sklearn.ensemble import RandomForestClassifier

    x, y = _sizes(train)[train.labelled], train.label[train.labelled]
    answers, truth = _sizes(test)[test.labelled], test.label[test.labelled]
    most = int(train.class_counts().argmax())
    rows, counts = np.unique(np.column_stack([x, y]), axis=0, return_counts=True)
    forest = RandomForestClassifier(100, random_state=seed, n_jobs=1)
    forest.fit(rows[:, :-1], rows[:, -1], sample_weight=counts)
    return {
        "majority_class": {"says": CLASSES[most], **_judge(truth, np.full(len(truth), most))},
        "map_size_only": _judge(truth, forest.predict(answers)),
    }


def _sizes(wafers: WaferSet) -> NDArray[np.int64]:
    """Return (n, 3): rows, columns, dies."""
    dies = np.add.reduceat(wafers.flat != 0, wafers.offsets[:-1], dtype=np.int64)
    return np.column_stack([wafers.shapes, dies])


def _judge(label: NDArray[np.int8], answer: NDArray[np.int64]) -> dict[str, float]:
    k = len(CLASSES)
    cells = np.bincount(label.astype(np.int64) * k + answer, minlength=k * k).reshape(k, k)
    found = rates(cells.astype(np.float64))
    return {name: float(found[name]) for name in ("macro_f1", "accuracy")}
