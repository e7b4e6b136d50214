"""Figures of merit, against sklearn, against hand-worked cases, and their intervals."""

import json
from time import process_time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from wafer_tf.dies import CLASSES, NONE
from wafer_tf.errors import InputError, ModelError
from wafer_tf.scoring.bootstrap import Estimate
from wafer_tf.scoring.calibration import if_calibrated
from wafer_tf.scoring.controls import Control, controls
from wafer_tf.scoring.scores import NATURAL_COUNTS, Scores, rates, score
from wafer_tf.waferset import WaferSet

K = len(CLASSES)


def answers(n, *, seed=0, classes=K, groups=None):
    """Labels, probabilities right about three times in four, groups."""
    rng = np.random.default_rng(seed)
    label = np.concatenate([np.arange(classes), rng.integers(0, classes, n - classes)])
    logits = rng.normal(0, 1.2, (n, K))
    logits[np.arange(n), label] += 2
    prob = np.exp(logits)
    return label, prob / prob.sum(axis=1, keepdims=True), rng.integers(0, groups or n, n)


def certain(label, answer):
    """Probabilities that name `answer` and put a known rest on the others."""
    prob = np.full((len(label), K), 0.2 / (K - 1))
    prob[np.arange(len(label)), answer] = 0.8
    return prob


def values(scores):
    """Every point estimate, flat, by place."""

    def walk(data, place):
        if isinstance(data, dict) and set(data) == {"value", "low", "high"}:
            yield place, data
        elif isinstance(data, dict | list):
            for key, item in data.items() if isinstance(data, dict) else enumerate(data):
                yield from walk(item, f"{place}/{key}")

    return dict(walk(scores.to_json(), ""))


# === Values ===


def test_every_figure_equals_sklearns():
    label, prob, group = answers(700, seed=3)
    found = score(label, prob, group=group, draws=0)
    answer = prob.argmax(axis=1)
    precision, recall, f1, support = metrics.precision_recall_fscore_support(label, answer, labels=range(K))
    for c, got in enumerate(found.classes):
        assert got.name == CLASSES[c]
        assert (got.support, got.predicted) == (support[c], (answer == c).sum())
        assert (got.precision.value, got.recall.value, got.f1.value) == pytest.approx((precision[c], recall[c], f1[c]))
        assert got.roc_auc == pytest.approx(metrics.roc_auc_score(label == c, prob[:, c]))
        assert got.average_precision == pytest.approx(metrics.average_precision_score(label == c, prob[:, c]))
        assert got.groups == len(np.unique(group[label == c]))
    assert found.macro_f1.value == pytest.approx(metrics.f1_score(label, answer, average="macro"))
    assert found.accuracy.value == pytest.approx(metrics.accuracy_score(label, answer))
    assert found.balanced_accuracy.value == pytest.approx(metrics.balanced_accuracy_score(label, answer))
    assert found.top2_accuracy.value == pytest.approx(metrics.top_k_accuracy_score(label, prob, k=2))
    assert found.log_loss.value == pytest.approx(metrics.log_loss(label, prob, labels=range(K)))
    assert np.array_equal(found.confusion, metrics.confusion_matrix(label, answer, labels=range(K)))


def test_escapes_and_false_alarms_by_hand():
    center, scratch = 0, CLASSES.index("Scratch")
    label = np.array([center] * 4 + [scratch] * 6 + [NONE] * 10)
    answer = np.array([center] * 3 + [NONE] + [scratch] * 3 + [NONE] * 2 + [center] + [NONE] * 7 + [center] * 3)
    found = score(label, certain(label, answer), draws=0)
    assert found.escape_rate.value == pytest.approx(3 / 10)
    assert found.classes[center].escape_rate.value == pytest.approx(1 / 4)
    assert found.classes[scratch].escape_rate.value == pytest.approx(2 / 6)
    assert np.isnan(found.classes[NONE].escape_rate.value)
    assert found.false_alarm_rate.value == pytest.approx(3 / 10)


def test_calibration_error_by_hand():
    label = np.zeros(10, int)
    prob = np.zeros((10, K))
    prob[:6, 0], prob[:6, 1] = 0.9, 0.1  # six right at 0.9: gap 0.1
    prob[6:, 0], prob[6:, 1] = 0.4, 0.6  # four wrong at 0.6: gap 0.6
    found = score(label, prob, draws=0)
    assert found.ece.value == pytest.approx(0.6 * 0.1 + 0.4 * 0.6)
    held = {i: (b.count, b.confidence, b.accuracy) for i, b in enumerate(found.reliability) if b.count}
    assert held == {13: (6, pytest.approx(0.9), 1.0), 8: (4, pytest.approx(0.6), 0.0)}
    assert found.log_loss.value == pytest.approx(-(6 * np.log(0.9) + 4 * np.log(0.4)) / 10)


def test_natural_mix_by_hand_for_three_classes():
    # Rows: Center 8 of 10 right (2 called none), Loc 5 of 5, none 18 of 20 right (2 called Center).
    center, loc = 0, CLASSES.index("Loc")
    label = np.array([center] * 10 + [loc] * 5 + [NONE] * 20)
    answer = np.array([center] * 8 + [NONE] * 2 + [loc] * 5 + [NONE] * 18 + [center] * 2)
    mix = score(label, certain(label, answer), draws=0).natural_mix
    n_center, n_loc, n_none = (NATURAL_COUNTS[c] for c in (center, loc, NONE))
    precision = 0.8 * n_center / (0.8 * n_center + 0.1 * n_none)
    precision_none = 0.9 * n_none / (0.9 * n_none + 0.2 * n_center)
    f1 = 2 * precision * 0.8 / (precision + 0.8)
    f1_none = 2 * precision_none * 0.9 / (precision_none + 0.9)
    total = n_center + n_loc + n_none
    assert mix.counts == tuple(n if c in (center, loc, NONE) else 0 for c, n in enumerate(NATURAL_COUNTS))
    assert mix.precision[center].value == pytest.approx(precision)
    assert mix.precision[NONE].value == pytest.approx(precision_none)
    assert mix.f1[center].value == pytest.approx(f1)
    assert mix.macro_f1.value == pytest.approx((f1 + 1 + f1_none) / 3)
    assert mix.accuracy.value == pytest.approx((0.8 * n_center + n_loc + 0.9 * n_none) / total)
    assert mix.escape_rate.value == pytest.approx(0.2 * n_center / (n_center + n_loc))
    assert mix.false_alarm_rate.value == pytest.approx(0.1)


def test_natural_mix_of_a_set_that_has_it_already_changes_nothing():
    label = np.repeat(np.arange(K), np.array(NATURAL_COUNTS) // 149 + 1)
    exact = np.diag(NATURAL_COUNTS).astype(float)
    exact[0, 0] -= 94
    exact[0, NONE] += 94
    scaled = rates(exact / exact.sum(axis=1, keepdims=True) * np.array(NATURAL_COUNTS)[:, None])
    assert all(np.allclose(scaled[name], figure, equal_nan=True) for name, figure in rates(exact).items())
    assert score(label, certain(label, label), draws=0).natural_mix.accuracy.value == 1


def test_ties_name_the_first_class_and_keep_it_among_the_first_two():
    found = score(np.array([0, 1, 2]), np.full((3, K), 1 / K), draws=0)
    assert found.accuracy.value == pytest.approx(1 / 3)
    assert found.top2_accuracy.value == pytest.approx(2 / 3)


# === Absent and single classes ===


def test_absent_classes_are_undefined_and_leave_the_means():
    label, _, group = answers(300, classes=7)
    answer = np.where(np.arange(300) % 5 == 0, 7, label)  # a fifth called Scratch, which no wafer is
    found = score(label, certain(label, answer), group=group)
    assert found.absent == ("Scratch", "none")
    scratch = found.classes[7]
    assert (scratch.support, scratch.predicted) == (0, 60)
    for estimate in (scratch.precision, scratch.recall, scratch.f1, found.false_alarm_rate):
        assert np.isnan([estimate.value, estimate.low, estimate.high]).all()
    assert found.macro_f1.value == pytest.approx(metrics.f1_score(label, answer, average="macro", labels=range(7)))
    assert found.balanced_accuracy.value == pytest.approx(np.mean([c.recall.value for c in found.classes[:7]]))
    assert found.to_json()["classes"][7]["precision"] == {"value": None, "low": None, "high": None}


def test_a_class_never_predicted_has_no_precision_and_f1_zero():
    label = np.array([0, 0, 1, 1])
    found = score(label, certain(label, np.zeros(4, int)), draws=0)
    assert np.isnan(found.classes[1].precision.value)
    assert (found.classes[1].recall.value, found.classes[1].f1.value) == (0, 0)


@pytest.mark.parametrize("only", [0, NONE])
def test_labels_of_one_class_alone_are_scored(only):
    label = np.full(6, only)
    found = score(label, certain(label, [only] * 5 + [3]), group=np.arange(6))
    assert found.macro_f1.value == pytest.approx(10 / 11)
    assert np.isnan(found.classes[only].roc_auc)
    assert np.isnan(found.escape_rate.value) == (only == NONE)
    json.dumps(found.to_json(), allow_nan=False)


def test_one_wafer_is_scored_without_an_interval():
    found = score([4], certain([4], [4]))
    assert found.accuracy == Estimate(1.0, pytest.approx(np.nan, nan_ok=True), pytest.approx(np.nan, nan_ok=True))


# === Intervals ===


def test_interval_equals_a_plain_bootstrap_when_every_wafer_is_its_own_group():
    label, prob, _ = answers(240, seed=5)
    found = score(label, prob, draws=4000)
    answer, confidence = prob.argmax(axis=1), prob.max(axis=1)
    right, defect = answer == label, label != NONE
    bins = np.ceil(confidence * 15).astype(int)
    plain = {
        "macro_f1": lambda i: np.mean(
            [
                2 * (right[i] & (label[i] == c)).sum() / ((label[i] == c).sum() + (answer[i] == c).sum())
                for c in range(K)
            ]
        ),
        "accuracy": lambda i: right[i].mean(),
        "escape_rate": lambda i: (answer[i] == NONE)[defect[i]].mean(),
        "ece": lambda i: np.abs(np.bincount(bins[i], right[i] - confidence[i])).sum() / len(i),
        "log_loss": lambda i: -np.log(prob[i, label[i]]).mean(),
    }
    rng = np.random.default_rng(99)
    picks = rng.integers(0, len(label), (1000, len(label)))
    for name, figure in plain.items():
        drawn = [figure(i) for i in picks]
        got = getattr(found, name)
        assert got.value == pytest.approx(figure(np.arange(len(label))))
        # Percentiles of 4000 and of 1000 draws: their Monte Carlo error is about 0.1 standard deviations.
        assert [got.low, got.high] == pytest.approx(np.percentile(drawn, (2.5, 97.5)), abs=0.4 * np.std(drawn)), name


def test_interval_of_accuracy_is_the_binomial_one():
    label = np.zeros(400, int)
    found = score(label, certain(label, np.where(np.arange(400) % 4 == 0, 1, 0)), draws=4000).accuracy
    half = 1.96 * np.sqrt(0.75 * 0.25 / 400)
    assert (found.low, found.high) == pytest.approx((0.75 - half, 0.75 + half), abs=0.006)


def test_every_group_is_drawn():
    label = np.zeros(4, int)
    found = score(label, certain(label, [0, 0, 1, 1]), group=[7, 7, 9, 9]).accuracy
    assert (found.value, found.low, found.high) == (0.5, 0, 1)


def test_copies_in_one_group_do_not_narrow_the_interval():
    label, prob, _ = answers(200, seed=1)
    once = score(label, prob, group=np.arange(200))
    copied = score(np.tile(label, 5), np.tile(prob, (5, 1)), group=np.tile(np.arange(200), 5))
    apart = score(np.tile(label, 5), np.tile(prob, (5, 1)), group=np.arange(1000))
    assert copied.macro_f1.low == pytest.approx(once.macro_f1.low)
    assert copied.macro_f1.high == pytest.approx(once.macro_f1.high)
    width = apart.macro_f1.high - apart.macro_f1.low
    assert width < 0.6 * (copied.macro_f1.high - copied.macro_f1.low)


def test_interval_narrows_with_more_groups():
    widths = []
    for n in (200, 800, 3200):
        label, prob, _ = answers(n, seed=n)
        found = score(label, prob).macro_f1
        widths.append(found.high - found.low)
    assert widths[0] / widths[1] == pytest.approx(2, rel=0.4)
    assert widths[1] / widths[2] == pytest.approx(2, rel=0.4)


def test_same_seed_same_interval_and_group_numbers_do_not_matter():
    label, prob, group = answers(300, groups=80)
    assert score(label, prob, group=group).to_json() == score(label, prob, group=group * 7 + 10**12).to_json()
    assert score(label, prob, group=group, seed=1).macro_f1 != score(label, prob, group=group).macro_f1


def test_draws_in_blocks_are_the_draws_at_once(monkeypatch):
    label, prob, group = answers(300, groups=80)
    at_once = values(score(label, prob, group=group))
    monkeypatch.setattr("wafer_tf.scoring.bootstrap._CELLS_AT_ONCE", 1000)
    in_blocks = values(score(label, prob, group=group))
    for place, found in at_once.items():
        expected = [np.nan if v is None else v for v in found.values()]
        got = [np.nan if v is None else v for v in in_blocks[place].values()]
        assert got == pytest.approx(expected, nan_ok=True), place


def test_26_000_wafers_are_scored_in_seconds():
    label, prob, group = answers(26_000, groups=10_000)
    score(label[:50], prob[:50])  # imports
    start = process_time()
    score(label, prob, group=group)
    assert process_time() - start < 4  # measured 0.4 s; the bound leaves room for a slow shared machine


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 60), st.integers(1, K), st.integers(1, 20), st.integers(0, 10**6))
def test_any_answers_give_figures_within_bounds_that_survive_json(n, classes, groups, seed):
    label, prob, group = answers(max(n, classes), seed=seed, classes=classes, groups=groups)
    found = score(label, prob, group=group, draws=50)
    for place, estimate in values(found).items():
        if estimate["low"] is not None:
            assert estimate["low"] <= estimate["high"], place
        if estimate["value"] is not None and not place.endswith("/log_loss"):
            assert -1e-12 <= estimate["value"] <= 1 + 1e-12, place
    assert sum(map(sum, found.confusion)) == len(label)
    assert found.top2_accuracy.value >= found.accuracy.value - 1e-12
    text = json.dumps(found.to_json(), allow_nan=False)
    assert Scores.from_json(json.loads(text)).to_json() == found.to_json()


# === JSON and bad input ===


def test_unknown_and_missing_keys_are_errors_that_name_the_place():
    data = score(*answers(40)[:2], draws=0).to_json()
    with pytest.raises(InputError, match=r"scores\.classes\[2\]: unknown key 'f2'; known: name, support"):
        Scores.from_json({**data, "classes": [*data["classes"][:2], {**data["classes"][2], "f2": 1}]})
    with pytest.raises(InputError, match="scores: key 'ece' is missing"):
        Scores.from_json({k: v for k, v in data.items() if k != "ece"})
    with pytest.raises(InputError, match=r"scores\.wafers: 'many'; expected int"):
        Scores.from_json({**data, "wafers": "many"})


@pytest.mark.parametrize(
    ("label", "prob", "error", "text"),
    [
        ([], np.zeros((0, K)), InputError, "no labelled wafer"),
        ([0, -1], np.full((2, K), 1 / K), InputError, "label -1 of wafer 1"),
        ([9], np.full((1, K), 1 / K), InputError, "label 9 of wafer 0"),
        ([0], np.full((1, 3), 1 / 3), InputError, r"prob \(1, 3\)"),
        ([0], np.full((1, K), np.nan), ModelError, "not finite"),
        ([0], np.full((1, K), 0.5), ModelError, "sum to 1"),
    ],
)
def test_bad_input_is_named(label, prob, error, text):
    with pytest.raises(error, match=text):
        score(label, prob)


def test_float32_softmax_is_accepted():
    label, prob, _ = answers(200)
    rounded = score(label, prob.astype(np.float32), draws=0)
    assert rounded.macro_f1.value == score(label, prob, draws=0).macro_f1.value


# === Controls ===


def disc(rows, cols):
    y, x = np.ogrid[:rows, :cols]
    inside = ((y - (rows - 1) / 2) / rows) ** 2 + ((x - (cols - 1) / 2) / cols) ** 2 <= 0.25
    return inside.astype(np.uint8)


def wafers_of(label, sides):
    return WaferSet.from_maps([disc(side, side) for side in sides], label=label)


def test_size_control_finds_a_shape_shortcut_and_nothing_where_there_is_none():
    rng = np.random.default_rng(0)
    label = rng.integers(0, 3, 300)
    tied = wafers_of(label, 10 + 5 * label)
    free = wafers_of(label, 10 + 5 * rng.integers(0, 3, 300))
    half = np.arange(300) < 150
    assert controls(tied.select(half), tied.select(~half)).map_size_only.macro_f1 == 1
    assert controls(free.select(half), free.select(~half)).map_size_only.macro_f1 < 0.5


def test_size_control_answers_what_is_most_frequent_at_a_size():
    sides = np.repeat(np.arange(10, 20), 10)
    train = wafers_of(np.tile([0, *[NONE] * 9], 10), sides)
    test = wafers_of(np.full(10, NONE), np.arange(10, 20))
    assert controls(train, test).map_size_only.accuracy == 1


def test_majority_control_is_the_training_majority_by_hand():
    train = wafers_of([0, 8, 8, -1, -1, -1], [10] * 6)
    test = wafers_of([0, 8, 8, 0, -1], [10] * 5)
    found = controls(train, test).majority_class
    assert found == Control(macro_f1=pytest.approx((0 + 2 / 3) / 2), accuracy=0.5, says="none")


# === The band of exact probabilities ===


def test_exact_probabilities_lie_in_their_band_and_overconfident_ones_above_it() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, (6000, K))
    prob = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    label = (prob.cumsum(axis=1) > rng.random((6000, 1))).argmax(axis=1)
    exact = score(label, prob, draws=100)
    sharp = prob**1.5 / (prob**1.5).sum(axis=1, keepdims=True)
    sure = score(label, sharp, draws=100)
    for found, inside in ((exact, True), (sure, False)):
        assert found.if_calibrated is not None
        assert (found.ece.value <= found.if_calibrated.ece.high) is inside
        band = found.if_calibrated.log_loss
        assert (band.low <= found.log_loss.value <= band.high) is inside


def test_the_band_of_two_wafers_by_hand() -> None:
    prob = np.zeros((2, K))
    prob[:, [0, 1]] = 0.5
    found = if_calibrated(prob, bins=np.array([7, 7]), draws=2000)
    assert found.log_loss.value == pytest.approx(np.log(2))
    assert found.log_loss.low == found.log_loss.high == pytest.approx(np.log(2)), "whichever it is costs the same"
    assert (found.ece.low, found.ece.high) == (0, 0.5), "none, one or both of two right"


def test_calibration_error_below_a_hundredth_is_noise_on_a_thousand_wafers() -> None:
    rng = np.random.default_rng(1)
    logits = rng.normal(0, 1, (1133, K))
    logits[np.arange(1133), rng.integers(0, K, 1133)] += 6
    prob = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    bins = np.clip(np.ceil(prob.max(axis=1) * 15).astype(int) - 1, 0, 14)
    assert 0.002 < if_calibrated(prob, bins=bins).ece.value < 0.02


def test_a_record_without_the_band_is_still_read() -> None:
    label, prob, _ = answers(50)
    data = score(label, prob, draws=0).to_json()
    del data["if_calibrated"]
    assert Scores.from_json(data).if_calibrated is None
