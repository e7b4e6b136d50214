"""The pictures of a report: written as sane PNGs for ordinary and odd runs, showing what they claim."""

import struct

import numpy as np
import pytest

from wafer_tf.dies import CLASSES, NONE
from wafer_tf.figures.confusion import confusion_matrix
from wafer_tf.figures.curves import class_curves, training_curves
from wafer_tf.figures.errors import MOST, error_sheet
from wafer_tf.figures.reliability import reliability_diagram
from wafer_tf.figures.scores import per_class, write_figures
from wafer_tf.scoring.scores import score
from wafer_tf.waferset import WaferSet

K = len(CLASSES)
SHAPES = ((12, 12), (26, 31), (3, 3), (18, 4))


def wafers_of(label):
    rng = np.random.default_rng(0)
    maps = [rng.integers(1, 3, SHAPES[i % len(SHAPES)]).astype(np.uint8) for i in range(len(label))]
    return WaferSet.from_maps(maps, label=label, lot=[f"lot{i // 3}" for i in range(len(label))])


def certain(answer, prob=0.8):
    found = np.full((len(answer), K), (1 - prob) / (K - 1))
    found[np.arange(len(answer)), answer] = prob
    return found


def history(epochs):
    names = ("loss", "accuracy", "macro_f1", "val_loss", "val_accuracy", "val_macro_f1", "learning_rate")
    rng = np.random.default_rng(0)
    return [{"epoch": e + 1, **{name: rng.random() for name in names}} for e in range(epochs)]


def size_of(path):
    """Width and height of a whole PNG."""
    data = path.read_bytes()
    assert data.startswith(b"\x89PNG\r\n\x1a\n") and data.endswith(b"IEND\xaeB`\x82"), path
    return struct.unpack(">II", data[16:24])


def texts(axes):
    return [text.get_text() for text in axes.texts]


LABEL = np.arange(5 * K) % K
CASES = {
    "no error": (LABEL, LABEL),
    "one error": (LABEL, np.where(np.arange(5 * K) == 7, NONE, LABEL)),
    "a class missing": (LABEL % 7, LABEL % 7),
    "one wafer": (np.array([2]), np.array([4])),
}


@pytest.mark.parametrize("case", CASES)
def test_every_figure_is_a_whole_png_of_sane_size(case, tmp_path):
    label, answer = CASES[case]
    prob = certain(answer)
    scores = score(label, prob, group=np.arange(len(label)) // 2, draws=20)
    rows = history(1) if case == "one wafer" else None
    paths = write_figures(tmp_path, scores=scores, wafers=wafers_of(label), label=label, prob=prob, history=rows)
    names = {"per_class", "confusion", "roc_and_precision_recall", "reliability", "errors"}
    assert {path.stem for path in paths} == names | ({"training"} if rows else set())
    assert {path.name for path in tmp_path.iterdir()} == {path.name for path in paths}  # no partial left
    for path in paths:
        width, height = size_of(path)
        assert 500 <= width <= 2000, path
        assert 150 <= height <= 2000, path


@pytest.mark.parametrize("epochs", [1, 2, 60])
def test_training_curves_mark_the_best_validation_macro_f1(epochs):
    rows = history(epochs)
    figure = training_curves(rows)
    best = max(rows, key=lambda row: row["val_macro_f1"])["epoch"]
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["loss", "accuracy", "macro-F1", "learning rate"]
    for axes in figure.axes:
        assert axes.lines[-1].get_label() == f"best: epoch {best}"
        assert set(axes.lines[-1].get_xdata()) == {best}
    assert list(figure.axes[0].lines[1].get_ydata()) == [row["val_loss"] for row in rows]


def test_training_curves_draw_what_there_is():
    rows = [{"epoch": 1, "loss": 2.0, "val_loss": 1.5}, {"epoch": 2, "loss": 1.0, "val_loss": 1.8}, {"epoch": 3}]
    figure = training_curves(rows)
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["loss"]
    assert figure.axes[0].lines[-1].get_label() == "best: epoch 1"
    assert len(training_curves([{"epoch": 1}]).axes) == 1
    assert training_curves([{"loss": "1.5"}, {"loss": ""}]).axes[0].lines[0].get_ydata()[0] == 1.5  # rows of a CSV


def test_confusion_cells_show_share_of_the_row_and_wafers():
    label, answer = np.repeat([0, NONE], [4, 500]), np.concatenate([[0, 0, NONE, NONE], np.full(499, NONE), [0]])
    found = texts(confusion_matrix(score(label, certain(answer), draws=0)).axes[0])
    assert found[:8] == ["0.50", "2", "0.50", "2", "<0.01", "1", "1.00", "499"]
    assert found[8:] == ["no wafers of this class"] * 7


def test_error_sheet_shows_the_most_confident_errors_first():
    label = np.zeros(100, int)
    prob = certain(np.ones(100, int))
    prob[:, 1] = np.linspace(0.3, 0.9, 100)
    prob[:, 2:] = ((1 - prob[:, 1] - prob[:, 0]) / 7)[:, None]
    figure = error_sheet(wafers_of(label), label=label, prob=prob)
    titles = [axes.get_title() for axes in figure.axes if axes.get_title()]
    assert len(titles) == MOST >= 24
    assert titles[0] == "Center → Donut\n0.900   lot33 #0"
    shown = [float(title.split("\n")[1].split()[0]) for title in titles]
    assert shown == sorted(shown, reverse=True)
    assert np.array_equal(figure.axes[0].images[0].get_array(), wafers_of(label).map(99))


def test_error_sheet_says_so_when_there_is_no_error():
    figure = error_sheet(wafers_of(LABEL), label=LABEL, prob=certain(LABEL))
    assert texts(figure.axes[0]) == ["No errors in 45 wafers"]


def test_legends_carry_area_and_average_precision():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(len(LABEL), K)) + 2 * np.eye(K)[LABEL]
    prob = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    found = score(LABEL, prob, draws=0)
    left, right = class_curves(LABEL, prob).axes[:2]
    areas = [text.get_text() for text in left.get_legend().get_texts()]
    assert areas == [f"{c.name}  {c.roc_auc:.3f}" for c in found.classes]
    precisions = [text.get_text() for text in right.get_legend().get_texts()]
    assert precisions == [f"{c.name}  {c.average_precision:.3f}" for c in found.classes]


def test_reliability_diagram_draws_the_bins_of_the_scores():
    answer = np.where(np.arange(45) % 3 == 0, (LABEL + 1) % K, LABEL)
    found = score(LABEL, certain(answer, 0.7), draws=0)
    upper, lower = reliability_diagram(found).axes
    points = next(line for line in upper.lines if line.get_label() == "observed")
    assert points.get_xydata().tolist() == [[pytest.approx(0.7), pytest.approx(2 / 3)]]
    assert upper.get_title(loc="left") == "Expected calibration error 0.033"
    assert texts(lower) == ["45"]


def test_per_class_figure_names_the_support():
    found = score(LABEL % 8, certain(LABEL % 8), group=np.arange(45) // 2, draws=20)
    assert texts(per_class(found).axes[0])[-2:] == ["5 wafers\n5 groups", "no wafers"]
