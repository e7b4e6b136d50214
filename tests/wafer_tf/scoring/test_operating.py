"""Operating points: rates, corrections and thresholds by hand, and the command on a small run folder."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from training.config import FitConfig
from training.operating import main
from wafer_tf.decision import Decision
from wafer_tf.dies import CLASSES, NONE
from wafer_tf.errors import InputError, ModelError, UsageError
from wafer_tf.figures.operating import operating_figure
from wafer_tf.learning.run_folder import RunFolder, newest_run
from wafer_tf.readers import write_parquet
from wafer_tf.reporting.operating_report import format_operating, record
from wafer_tf.reporting.words import WIDTH
from wafer_tf.scoring.call_costs import (
    Costs,
    effective_groups,
    exact_interval,
    measure,
    wafers_to_measure,
    wafers_to_show,
)
from wafer_tf.scoring.mix import NATURAL, Mix, adjust, read_mix, reweight
from wafer_tf.scoring.operating import (
    MAX_CHOICES,
    Curve,
    Part,
    call,
    choose,
    correction,
    every_threshold,
    find_points,
    log_odds,
    trade_off,
    worth_choosing,
)
from wafer_tf.scoring.scores import NATURAL_COUNTS, score
from wafer_tf.splitting.splits import make_split
from wafer_tf.synthesis import synthesize

K = len(CLASSES)
CENTER, LOC = CLASSES.index("Center"), CLASSES.index("Loc")
FLAT = ",".join(f"{name}=1" for name in CLASSES)


def mix_of(**shares: float) -> Mix:
    return Mix("a mix", tuple(shares.get(name, 0.0) for name in CLASSES))


def answers(n: int = 400, *, seed: int = 0, sharp: float = 3.0) -> Part:
    """Return wafers of all nine classes, three to a group, and what an imperfect model says of them."""
    rng = np.random.default_rng(seed)
    label = np.arange(n) % K
    return Part(label, Decision().probabilities(rng.normal(size=(n, K)) + sharp * np.eye(K)[label]), np.arange(n) // 3)


def two_way(p_none: Sequence[float], label: Sequence[int]) -> Part:
    """Return wafers called Center or none with the given probability of none."""
    prob = np.zeros((len(label), K))
    prob[:, NONE] = p_none
    prob[:, CENTER] = 1 - prob[:, NONE]
    return Part(np.array(label), prob, np.arange(len(label)))


# === The mix ===


def test_rows_are_reweighted_to_the_shares_by_hand() -> None:
    confusion = np.zeros((K, K))
    confusion[CENTER, [CENTER, NONE]] = 3, 1
    confusion[NONE, [CENTER, NONE]] = 1, 9
    found = reweight(confusion, mix_of(Center=0.2, none=0.8).array)
    assert found[CENTER, [CENTER, NONE]] == pytest.approx([0.15, 0.05])
    assert found[NONE, [CENTER, NONE]] == pytest.approx([0.08, 0.72])
    assert found.sum() == pytest.approx(1)


def test_correction_equals_bayes_rule_on_known_densities() -> None:
    rng = np.random.default_rng(1)
    density, was, now = rng.random((50, K)), rng.dirichlet(np.ones(K)), NATURAL.array
    direct, before = density * now, density * was
    moved = adjust(before / before.sum(axis=1, keepdims=True), now / was)
    np.testing.assert_allclose(moved, direct / direct.sum(axis=1, keepdims=True), rtol=1e-12)


def test_correction_to_the_mix_the_model_answers_for_changes_nothing() -> None:
    part = answers()
    same = Mix("its own", tuple(part.prob.mean(axis=0).tolist()))
    np.testing.assert_allclose(correction(part, same), 1)


def test_correction_of_a_class_validation_lacks_is_that_of_the_other_defects() -> None:
    part = answers()
    kept = part.label != LOC
    part = Part(part.label[kept], part.prob[kept], part.group[kept])
    factor, others = correction(part, NATURAL), [c for c in range(K) if c not in (LOC, NONE)]
    assert factor[LOC] == pytest.approx(NATURAL.array[others].sum() / part.prob.mean(axis=0)[others].sum())


def test_a_class_without_a_share_is_never_called() -> None:
    part = answers()
    found = find_points(part, part, mix=mix_of(Center=0.1, Donut=0.1, none=0.8), draws=0)
    for point in found.points:
        assert [k.called for k in point.test.classes][2:NONE] == [0] * 6
        assert math.isnan(point.test.classes[LOC].escape_rate.value)


def test_the_natural_mix_is_the_one_of_the_scores() -> None:
    assert NATURAL.shares == pytest.approx([count / 172950 for count in NATURAL_COUNTS])
    assert NATURAL.shares[NONE] == pytest.approx(0.8525, abs=1e-4)


@pytest.mark.parametrize("scale", [1, 1000])
def test_a_mix_is_read_from_a_list_or_a_file_as_shares_or_counts(scale: int, tmp_path: Path) -> None:
    shares = dict.fromkeys(CLASSES, 0.0 if scale == 1 else 0) | {"Center": scale * 0.25, "none": scale * 0.75}
    (tmp_path / "fab.json").write_text(json.dumps(shares))
    for text in (", ".join(f"{k}={v}" for k, v in shares.items()), str(tmp_path / "fab.json")):
        found = read_mix(text)
        assert found.shares == pytest.approx(mix_of(Center=0.25, none=0.75).shares)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (FLAT.replace("Donut", "Doughnut"), "unknown class 'Doughnut'; known: Center"),
        (FLAT + ",none=2", "none is there 2 times; expected once"),
        (FLAT.replace(",none=1", ""), "none missing; expected all nine classes"),
        (FLAT.replace("none=1", "none=many"), "none is 'many'; expected a number of 0 or more"),
        (FLAT.replace("none=1", "none=-1"), "none is -1; expected a number of 0 or more"),
        (FLAT.replace("none=1", "none=nan"), "none is nan; expected a number"),
        (FLAT.replace("none=1", "none=inf"), "none is inf; expected a number"),
        (FLAT.replace("none=1", "none"), "'none'; expected CLASS=SHARE"),
        (FLAT.replace("none=1", "none=0.5"), "adds up to 8.5; expected shares that add up to 1, or whole numbers"),
        (FLAT.replace("=1", "=0"), "adds up to 0"),
        (FLAT.replace("none=1", "none=0"), "none has the share 0; expected above 0 and below 1"),
        (FLAT.replace("=1", "=0").replace("none=0", "none=1"), "none has the share 1"),
    ],
)
def test_a_list_that_is_no_mix_is_named(text: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        read_mix(text)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("not json", "fab.json: not valid JSON"),
        ("[" * 100_000, "fab.json: not valid JSON"),
        ("[1, 2]", "fab.json: expected an object"),
        ('[["none", 1]]', "fab.json: expected an object"),
        ('{"none": 1}', "the mix of fab.json: Center, Donut"),
        ('{"none": 1, "none": 2}', "none is there 2 times"),
        ('{"none": true}', "none is True; expected a number"),
        ('{"none": {"a": 1}}', "expected a number of 0 or more"),
    ],
)
def test_a_file_that_is_no_mix_is_named(content: str, says: str, tmp_path: Path) -> None:
    (tmp_path / "fab.json").write_text(content)
    with pytest.raises(InputError, match=says):
        read_mix(str(tmp_path / "fab.json"))


def test_a_mix_file_that_is_not_there_is_named() -> None:
    with pytest.raises(InputError, match=r"mix fab\.json: no such file"):
        read_mix("fab.json")


# === Rates ===


def costs(label: Sequence[int], called: Sequence[int], mix: Mix, group: NDArray[np.int64] | None = None) -> Costs:
    groups = np.arange(len(label)) if group is None else group
    return measure(np.array(label), np.array(called), groups, mix=mix, draws=200, seed=0)


def test_rates_at_a_mix_equal_those_by_hand() -> None:
    label = [CENTER] * 4 + [LOC] * 2 + [NONE] * 5
    called = [CENTER, CENTER, CENTER, NONE, LOC, CENTER, NONE, NONE, NONE, NONE, LOC]
    found = costs(label, called, mix_of(Center=0.3, Loc=0.1, none=0.6))
    assert (found.escaped, found.alarms) == (1, 1)
    assert found.escape_rate.value == pytest.approx(0.3 / 4 / 0.4)
    assert found.false_alarm_rate.value == pytest.approx(1 / 5)
    assert found.escapes_per_1000.value == pytest.approx(75)
    assert found.false_alarms_per_1000.value == pytest.approx(120)
    assert found.flagged_per_1000.value == pytest.approx(400 - 75 + 120)
    assert found.alarm_precision.value == pytest.approx(325 / 445)
    by_name = {k.name: k for k in found.classes}
    assert by_name["Center"].escape_rate.value == pytest.approx(1 / 4)
    assert by_name["Loc"].escape_rate.value == 0
    assert by_name["Center"].precision.value == pytest.approx(225 / (225 + 50))
    assert by_name["Loc"].precision.value == pytest.approx(50 / (50 + 120))
    assert by_name["none"].precision.value == pytest.approx(480 / (480 + 75))
    assert [k.called for k in found.classes if k.called] == [4, 2, 5]


def test_plain_calls_cost_what_the_report_of_a_run_says() -> None:
    part = answers()
    found = measure(part.label, part.prob.argmax(axis=1), part.group, mix=NATURAL, draws=300, seed=4)
    scores = score(part.label, part.prob, group=part.group, draws=300, seed=4).natural_mix
    for name in ("macro_f1", "escape_rate", "false_alarm_rate"):
        mine, theirs = getattr(found, name), getattr(scores, name)
        assert (mine.value, mine.low, mine.high) == pytest.approx((theirs.value, theirs.low, theirs.high))
    assert [k.precision.value for k in found.classes] == pytest.approx([e.value for e in scores.precision])


def test_errors_that_did_not_occur_are_bounded_by_the_exact_limit() -> None:
    found = costs([CENTER] * 20 + [NONE] * 32, [CENTER] * 20 + [NONE] * 32, mix_of(Center=0.5, none=0.5))
    limit = 1 - 0.025 ** (1 / 32)
    assert (found.false_alarm_rate.low, found.false_alarm_rate.high) == pytest.approx((0, limit))
    assert found.false_alarm_rate.exact and found.escape_rate.exact
    assert found.escape_rate.high == pytest.approx(1 - 0.025 ** (1 / 20))
    assert (found.alarm_precision.value, found.alarm_precision.low) == pytest.approx((1, 1 / (1 + limit)))
    assert found.classes[CENTER].precision.low == pytest.approx(1 / (1 + limit))
    assert found.classes[NONE].precision.low == pytest.approx(1 / (1 + 1 - 0.025 ** (1 / 20)))
    assert found.flagged_per_1000.high == pytest.approx(500 + 500 * limit)


def test_errors_in_every_wafer_are_bounded_from_below() -> None:
    found = costs([CENTER] * 20 + [NONE] * 8, [NONE] * 20 + [CENTER] * 8, mix_of(Center=0.5, none=0.5))
    assert (found.false_alarm_rate.low, found.false_alarm_rate.high) == pytest.approx((0.025 ** (1 / 8), 1))
    assert found.alarm_precision.value == 0


def test_wafers_of_one_group_count_as_one_in_the_exact_limits() -> None:
    label, called = [CENTER] * 20 + [NONE] * 32, [CENTER] * 20 + [NONE] * 32
    paired = costs(label, called, mix_of(Center=0.5, none=0.5), np.arange(52) // 2)
    assert paired.false_alarm_rate.high == pytest.approx(1 - 0.025 ** (1 / 16))
    assert effective_groups(np.array([0, 0, 0, 1]), np.ones(4)) == pytest.approx(16 / 10)


def test_exact_limits_are_scipys_clopper_pearson() -> None:
    from scipy.stats import binomtest

    for hits, n in ((0, 32), (1, 32), (7, 50), (32, 32)):
        limits = binomtest(hits, n).proportion_ci(method="exact")
        assert exact_interval(hits / n, n) == pytest.approx((limits.low, limits.high))


def test_nothing_flagged_has_no_precision() -> None:
    found = costs([CENTER, CENTER, NONE, NONE], [NONE] * 4, mix_of(Center=0.5, none=0.5))
    assert math.isnan(found.alarm_precision.value)
    assert found.flagged_per_1000.value == 0


def test_wafers_needed_follow_the_rule_of_three() -> None:
    assert wafers_to_show(0.01) == 299  # 0.99 ** 299 < 0.05 <= 0.99 ** 298
    assert 0.99**299 < 0.05 <= 0.99**298
    assert wafers_to_measure(0.01, 0.005) == 1522


# === Thresholds ===


def test_a_threshold_parts_none_from_the_likeliest_defect() -> None:
    prob = np.full((3, K), 0.01)
    prob[0, [LOC, NONE]] = 0.5, 0.43
    prob[1, [CENTER, LOC, NONE]] = 0.2, 0.14, 0.6
    prob[2, NONE] = 0.92
    odds = log_odds(prob)
    assert odds == pytest.approx([math.log(p / (1 - p)) for p in (0.57, 0.4, 0.08)])
    assert call(prob, float(odds[1])).tolist() == [LOC, CENTER, NONE]
    assert call(prob, float(odds[1]) + 1e-6).tolist() == [LOC, NONE, NONE]


def test_sure_answers_are_still_told_apart() -> None:
    part = two_way([1e-30, 1e-20, 1 - 1e-16], [CENTER, CENTER, NONE])
    assert len(every_threshold(part.prob)) == 4


def test_rates_along_the_curve_are_those_of_the_calls_made() -> None:
    part = answers(120, sharp=1.5)
    curve = trade_off(part, NATURAL, every_threshold(part.prob))
    assert (curve.escape_rate[0], curve.false_alarm_rate[0]) == (0, 1)
    assert (curve.escape_rate[-1], curve.false_alarm_rate[-1]) == (1, 0)
    for place in range(0, len(curve.threshold), 7):
        made = call(part.prob, float(curve.threshold[place]))
        found = measure(part.label, made, part.group, mix=NATURAL, draws=0, seed=0)
        assert curve.escape_rate[place] == pytest.approx(found.escape_rate.value)
        assert curve.false_alarm_rate[place] == pytest.approx(found.false_alarm_rate.value)


def test_named_thresholds_keep_their_promise_and_no_next_one_does() -> None:
    part = answers(4000, sharp=4.0)
    curve = trade_off(part, NATURAL, every_threshold(part.prob))
    chosen = {name: int(np.flatnonzero(curve.threshold == t)[0]) for name, t in choose(curve).items()}
    few, alarms = chosen["few-escapes"], chosen["few-false-alarms"]
    assert curve.escape_rate[few] <= 0.02 < curve.escape_rate[few + 1]
    assert curve.false_alarm_rate[alarms] <= 0.01 < curve.false_alarm_rate[alarms - 1]
    total = curve.escape_rate + curve.false_alarm_rate
    assert total[chosen["balanced"]] == pytest.approx(total.min())


def test_thresholds_worth_choosing_are_beaten_by_none() -> None:
    part = answers(120, sharp=1.5)
    curve = trade_off(part, NATURAL, every_threshold(part.prob))
    for odds in worth_choosing(curve):
        (place,) = np.flatnonzero(curve.threshold == odds)
        no_worse = (curve.escape_rate <= curve.escape_rate[place] + 1e-9) & (
            curve.false_alarm_rate <= curve.false_alarm_rate[place] + 1e-9
        )
        better = (curve.escape_rate < curve.escape_rate[place] - 1e-9) | (
            curve.false_alarm_rate < curve.false_alarm_rate[place] - 1e-9
        )
        assert not (no_worse & better).any()


def test_a_long_list_of_thresholds_is_thinned_with_both_ends_kept() -> None:
    n = 500
    curve = Curve(np.arange(n, dtype=float), np.linspace(0, 1, n), np.linspace(1, 0, n))
    found = worth_choosing(curve)
    assert len(found) == MAX_CHOICES
    assert (found[0], found[-1]) == (n - 1, 0)


def test_thresholds_and_correction_come_from_validation_alone() -> None:
    validation, test = answers(300, seed=1), answers(300, seed=2)
    worse = Part(np.roll(test.label, 1), answers(300, seed=3, sharp=0.1).prob, test.group)
    a, b = (find_points(validation, part, draws=0) for part in (test, worse))
    assert a.factor == b.factor
    for one, other in zip((*a.points,), (*b.points,), strict=True):
        assert one.threshold.log_odds == other.threshold.log_odds
        assert one.threshold.validation_escape_rate == other.threshold.validation_escape_rate
    assert [t.log_odds for t in a.thresholds] == [t.log_odds for t in b.thresholds]
    assert a.points[0].test != b.points[0].test


def test_the_rates_beside_a_threshold_are_those_measured_with_it() -> None:
    found = find_points(answers(300, seed=1), answers(300, seed=2), draws=0)
    for point in found.points:
        assert point.threshold.test_escape_rate == pytest.approx(point.test.escape_rate.value)
        assert point.threshold.test_false_alarm_rate == pytest.approx(point.test.false_alarm_rate.value)
        assert point.threshold.prob == pytest.approx(1 / (1 + math.exp(-point.threshold.log_odds)))


@pytest.mark.parametrize(("gone", "says"), [(NONE, "labelled none"), (CENTER, "has a defect that a mix holds")])
@pytest.mark.parametrize("name", ["validation", "test"])
def test_a_part_without_none_or_without_defects_is_named(gone: int, says: str, name: str) -> None:
    whole = two_way([0.2, 0.9, 0.1, 0.8], [CENTER, NONE, CENTER, NONE])
    kept = whole.label != gone
    part = Part(whole.label[kept], whole.prob[kept], whole.group[kept])
    parts = (part, whole) if name == "validation" else (whole, part)
    with pytest.raises(InputError, match=f"{name} part: not one of its 2 wafers {'is ' * (gone == NONE)}{says}"):
        find_points(*parts, mix=mix_of(Center=0.5, none=0.5))


# === The report ===


def test_the_report_fits_its_width_and_json_holds_no_nan() -> None:
    test = answers(300, seed=2)
    kept = test.label != LOC
    found = find_points(answers(300, seed=1), Part(test.label[kept], test.prob[kept], test.group[kept]), draws=100)
    text = format_operating(found, source="test part of maps.npz")
    widest = max(text.splitlines(), key=len)
    assert len(widest) <= WIDTH, widest
    assert "Test holds no Loc" in text
    assert "33 none wafers" in text
    values = json.loads(json.dumps(record(found, source="x"), allow_nan=False))
    assert values["absent"] == ["Loc"]
    assert [p["name"] for p in values["points"]] == ["few-escapes", "balanced", "few-false-alarms"]
    assert values["none_wafers"]["without_an_alarm_to_show_0.01"] == 299


def test_the_figure_marks_each_named_point_where_it_was_measured() -> None:
    found = find_points(answers(300, seed=1), answers(300, seed=2), draws=50)
    left, right = operating_figure(found).axes
    marked = {c.get_label().split(",")[0]: c.lines[0].get_xydata()[0] for c in left.containers}  # type: ignore[attr-defined]
    for point in found.points:
        at = point.test.false_alarm_rate.value, point.test.escape_rate.value
        assert marked[point.name] == pytest.approx(at)
    assert [tick.get_text() for tick in right.get_yticklabels()] == ["any defect", *CLASSES[:NONE]]


# === The command ===


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Folder of a run that has finished, with made-up logits in place of a training."""
    wafers = synthesize(20, seed=3).wafers
    write_parquet(wafers, tmp_path / "maps.parquet")
    made = RunFolder.create(tmp_path / "run")
    made.write_json("config.json", {"config": FitConfig(data=str(tmp_path / "maps.parquet")).to_json(), "command": ""})
    split = make_split(wafers)
    split.save(made.path / "split.npz")
    rng = np.random.default_rng(0)
    logits = {
        name: rng.normal(size=(len(index), K)) + 3 * np.eye(K)[wafers.label[index]]
        for name, index in (("validation", split.validation), ("test", split.test))
    }
    made.write_arrays("logits.npz", logits)
    made.write_json("decision.json", Decision().to_json())
    (made.path / "DONE").touch()
    return made.path


def operating(run: Path, *flags: Any) -> int:
    return main([str(run), *map(str, flags)])


def test_the_command_writes_text_json_and_figure(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert operating(run) == 0
    folder, out = run / "evaluations" / "operating", capsys.readouterr().out
    assert out.startswith(
        "Operating points at WM-811K's natural mix (85.2% none)\n  test part of maps.parquet, group split"
    )
    assert (folder / "operating.txt").read_text() in out + "\n"
    found = json.loads((folder / "operating.json").read_text())
    assert [p["name"] for p in found["points"]] == ["few-escapes", "balanced", "few-false-alarms"]
    assert (folder / "figures" / "operating.png").read_bytes().startswith(b"\x89PNG")
    assert operating(run) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert operating(run, "--overwrite", "--mix", FLAT) == 0
    assert json.loads((folder / "operating.json").read_text())["mix"]["shares"] == pytest.approx([1 / 9] * 9)


def test_a_run_whose_logits_are_of_another_split_is_refused(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    RunFolder(run).write_arrays("logits.npz", {"validation": np.zeros((3, K)), "test": np.zeros((3, K))})
    assert operating(run) == 3
    assert "logits.npz holds validation logits of shape (3, 9); expected (" in capsys.readouterr().err


def test_a_run_that_cannot_be_measured_is_refused(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert operating(run, "--mix", "none=1") == 2
    assert "Center, Donut" in capsys.readouterr().err
    assert operating(run, "--mix", tmp_path / "fab.json") == 4
    (tmp_path / "file").write_text("mine")
    assert operating(run, "--out", tmp_path / "file") == 2
    assert "is a file; expected a folder" in capsys.readouterr().err
    (tmp_path / "maps.parquet").rename(tmp_path / "moved.parquet")
    assert operating(run) == 4
    assert "maps.parquet: no such file or folder" in capsys.readouterr().err
    (run / "DONE").unlink()
    assert operating(run) == 3
    assert f"training.fit --resume {run}" in capsys.readouterr().err
    assert not (run / "evaluations").exists()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelError, match="no finished run there"):
        newest_run()
