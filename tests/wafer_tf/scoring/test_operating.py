"""Operating points: rates by hand, points that keep their names, and the command on a small run folder."""

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
from wafer_tf.decision.points import REVIEW, Point
from wafer_tf.dies import CLASSES, NONE
from wafer_tf.errors import InputError, ModelError, UsageError
from wafer_tf.figures.operating import operating_figure
from wafer_tf.learning.run_folder import RunFolder, newest_run
from wafer_tf.readers import write_parquet
from wafer_tf.reporting.operating_report import format_operating, record
from wafer_tf.reporting.words import WIDTH
from wafer_tf.scoring.call_costs import Costs, effective_groups, exact_interval, measure, wafers_to_measure
from wafer_tf.scoring.evidence import Evidence, Part
from wafer_tf.scoring.mix import NATURAL, Mix, read_mix, reweight
from wafer_tf.scoring.operating import (
    BALANCED,
    FEW_ESCAPES,
    FEW_FALSE_ALARMS,
    every_shift,
    few_escapes,
    few_false_alarms,
    find_points,
    none_margin,
    trade_off,
)
from wafer_tf.scoring.scores import NATURAL_COUNTS, score
from wafer_tf.scoring.selective import Goal, groups_to_prove
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


def good(n: int = 30_000, *, seed: int = 0, sharp: float = 7.0) -> Evidence:
    """Return wafers enough for every point, in three folds; 40 % are none."""
    rng = np.random.default_rng(seed)
    label = np.where(rng.random(n) < 0.4, NONE, rng.integers(0, K - 1, n))
    prob = Decision().probabilities(rng.normal(size=(n, K)) * 1.5 + sharp * np.eye(K)[label])
    group = np.arange(n) // 3
    return Evidence.of_folds(Part(label, prob, group), group % 3)


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
    assert groups_to_prove(0.01) == 299  # 0.99 ** 299 < 0.05 <= 0.99 ** 298
    assert 0.99**299 < 0.05 <= 0.99**298
    assert wafers_to_measure(0.01, 0.005) == 1522


def test_a_wafer_left_to_a_person_is_neither_an_escape_nor_a_false_alarm() -> None:
    label = [CENTER] * 4 + [NONE] * 5
    called = [CENTER, LOC, NONE, REVIEW, NONE, NONE, NONE, CENTER, REVIEW]
    found = costs(label, called, mix_of(Center=0.4, none=0.6))
    assert found.escape_rate.value == pytest.approx(1 / 4)
    assert found.false_alarm_rate.value == pytest.approx(1 / 5)
    assert found.review_rate.value == pytest.approx(0.4 / 4 + 0.6 / 5)
    right = 0.4 / 4 + 0.6 * 3 / 5
    assert found.error_rate.value == pytest.approx(1 - right / (1 - 0.4 / 4 - 0.6 / 5))
    assert found.flagged_per_1000.value == pytest.approx(1000 * (0.4 * 2 / 4 + 0.6 / 5))
    assert found.alarm_precision.value == pytest.approx(0.2 / 0.32)
    assert found.confusion[CENTER][REVIEW] == found.confusion[NONE][REVIEW] == 1


def test_all_left_to_a_person_has_no_error() -> None:
    found = costs([CENTER, NONE], [REVIEW, REVIEW], mix_of(Center=0.5, none=0.5))
    assert math.isnan(found.error_rate.value)
    assert found.review_rate.value == 1


# === Points ===


def test_a_shift_parts_none_from_the_likeliest_defect() -> None:
    prob = np.full((3, K), 0.01)
    prob[0, [LOC, NONE]] = 0.5, 0.43
    prob[1, [CENTER, LOC, NONE]] = 0.2, 0.14, 0.6
    prob[2, NONE] = 0.92
    margin = none_margin(prob)
    assert margin == pytest.approx([math.log(0.5 / 0.43), math.log(0.2 / 0.6), math.log(0.01 / 0.92)])
    for shift, calls in ((margin[1] - 1e-6, [LOC, CENTER, NONE]), (margin[1] + 1e-6, [LOC, NONE, NONE])):
        assert Point(0.0, float(shift)).called(prob).tolist() == calls


def test_sure_answers_are_still_told_apart() -> None:
    part = two_way([1e-30, 1e-20, 1 - 1e-16], [CENTER, CENTER, NONE])
    assert len(every_shift(part.prob)) == 4


def test_rates_along_the_curve_are_those_of_the_calls_made() -> None:
    part = answers(120, sharp=1.5)
    curve = trade_off(part, NATURAL, every_shift(part.prob))
    assert (curve.escape_rate[0], curve.false_alarm_rate[0]) == (0, 1)
    assert (curve.escape_rate[-1], curve.false_alarm_rate[-1]) == (1, 0)
    for place in range(0, len(curve.shift), 7):
        made = Point(0.0, float(curve.shift[place])).called(part.prob)
        found = measure(part.label, made, part.group, mix=NATURAL, draws=0, seed=0)
        assert curve.escape_rate[place] == pytest.approx(found.escape_rate.value)
        assert curve.false_alarm_rate[place] == pytest.approx(found.false_alarm_rate.value)


def test_few_escapes_and_few_false_alarms_are_fewer_than_at_balanced_and_surely_below_their_limits() -> None:
    for sharp in (6.0, 7.0):
        part = good(sharp=sharp).wafers
        rates = {
            name: measure(part.label, point.called(part.prob), part.group, mix=NATURAL, draws=0, seed=0)
            for name, point in (
                ("plain", Point()),
                ("escapes", few_escapes(part, NATURAL)),
                ("alarms", few_false_alarms(part, NATURAL)),
            )
            if point is not None
        }
        defect = part.label != NONE
        weight = NATURAL.among(part.label)[part.label] / np.bincount(part.label)[part.label]
        n = effective_groups(part.group[defect], weight[defect])
        escapes = rates["escapes"].escape_rate.value
        assert escapes < rates["plain"].escape_rate.value
        assert exact_interval(escapes, n)[1] < 0.0215, "two-sided; the choice is one-sided"
        assert rates["alarms"].false_alarm_rate.value < rates["plain"].false_alarm_rate.value
        assert rates["alarms"].false_alarm_rate.value < 0.01


def test_with_few_groups_only_balanced_is_offered_and_each_other_says_why() -> None:
    part = answers(400)
    found = find_points(Evidence.of_folds(part, part.group % 2), draws=0)
    assert list(found.offered) == [BALANCED]
    why = {named.name: named.why for named in found.named if not named.kept}
    assert why.keys() == {FEW_ESCAPES, FEW_FALSE_ALARMS, "proven-1-percent"}
    assert "none wafers that choose it, large groups among them, are worth" in why[FEW_FALSE_ALARMS]
    assert "it takes 299 or more" in why[FEW_FALSE_ALARMS]
    assert "not proven: " in why["proven-1-percent"]
    assert "are too few: 299 answered without an error prove 0.01" in why["proven-1-percent"]


def test_enough_wafers_offer_every_point_and_judges_confirm_the_names() -> None:
    found = find_points(good(), draws=0)
    assert list(found.offered) == [BALANCED, FEW_ESCAPES, FEW_FALSE_ALARMS, "proven-1-percent"]
    by_name = {named.name: named for named in found.named}
    plain = by_name[BALANCED].costs
    assert plain is not None
    for name, key in ((FEW_ESCAPES, "escape_rate"), (FEW_FALSE_ALARMS, "false_alarm_rate")):
        named = by_name[name]
        assert named.costs is not None
        assert named.limit is not None
        assert getattr(named.costs, key).value <= named.limit
        assert getattr(named.costs, key).value < getattr(plain, key).value
        assert len(named.rates) == 3
    proven = by_name["proven-1-percent"]
    assert proven.costs is not None
    assert proven.costs.error_rate.value <= 0.01


def test_a_point_that_judges_contradict_is_not_offered() -> None:
    chosen, judged = good(seed=1).wafers, good(seed=2, sharp=3.0).wafers  # a model that is worse where it is judged
    both = Part(
        *(np.concatenate([getattr(chosen, k), getattr(judged, k)]) for k in ("label", "prob")),
        np.r_[chosen.group, judged.group + 10**6],
    )
    n = len(chosen)
    found = find_points(Evidence(both, ((np.arange(n), np.arange(n, 2 * n)),), np.arange(n)), draws=0)
    assert list(found.offered) == [BALANCED, FEW_ESCAPES], "a model in doubt flags much and lets little go"
    why = {named.name: named.why for named in found.named}
    assert "on the wafers that judge, above 1.00%" in why[FEW_FALSE_ALARMS]
    assert "on the wafers that judge, above 1.00%" in why["proven-1-percent"]


def test_points_are_chosen_without_the_wafers_that_judge_them() -> None:
    evidence = good(seed=1)
    n = len(evidence.wafers)
    first, second = np.arange(n // 2), np.arange(n // 2, n)
    prob = evidence.wafers.prob.copy()
    prob[second] = np.roll(prob[second], 1, axis=1)
    a, b = (
        find_points(Evidence(Part(evidence.wafers.label, p, evidence.wafers.group), ((first, second),), first), draws=0)
        for p in (evidence.wafers.prob, prob)
    )
    assert [named.point for named in a.named] == [named.point for named in b.named]
    assert a.sets.sets == b.sets.sets
    assert a.named[0].costs != b.named[0].costs


@pytest.mark.parametrize(("gone", "says"), [(NONE, "labelled none"), (CENTER, "has a defect that a mix holds")])
@pytest.mark.parametrize("name", ["chooses", "judges"])
def test_a_part_without_none_or_without_defects_is_named(gone: int, says: str, name: str) -> None:
    whole = two_way([0.2, 0.9, 0.1, 0.8] * 2, [CENTER, NONE, CENTER, NONE] * 2)
    keeps = np.flatnonzero(whole.label[:4] != gone) + 4
    rows = (keeps, np.arange(4)) if name == "chooses" else (np.arange(4), keeps)
    with pytest.raises(
        InputError, match=f"the part that {name}: not one of its 2 wafers {'is ' * (gone == NONE)}{says}"
    ):
        find_points(Evidence(whole, (rows,), rows[0]), mix=mix_of(Center=0.5, none=0.5))


# === The report ===


def test_the_report_fits_its_width_and_json_holds_no_nan() -> None:
    part = answers(300, seed=2)
    first, second = np.arange(150), np.flatnonzero((np.arange(300) >= 150) & (part.label != LOC))
    for goals in ((Goal(),), (Goal(0.3, confidence=0.8), Goal(0.5, 0.5, 0.5))):
        found = find_points(Evidence(part, ((first, second),), first), goals=goals, draws=100)
        text = format_operating(found, source="test part of maps.npz")
        widest = max(text.splitlines(), key=len)
        assert len(widest) <= WIDTH, widest
        assert "No Loc judges" in text
        values = json.loads(json.dumps(record(found, source="x"), allow_nan=False))
        assert values["absent"] == ["Loc"]
        assert [p["name"] for p in values["points"]] == [
            BALANCED,
            FEW_ESCAPES,
            FEW_FALSE_ALARMS,
            *(g.name for g in goals),
        ]
        assert values["offered"].keys() == found.offered.keys()
        assert len(values["sets"]["classes"]) == K
    assert "Not proven. " in format_operating(
        find_points(Evidence(part, ((first, second),), first), draws=0), source="x"
    )


def test_the_figure_marks_each_offered_point_where_it_was_measured() -> None:
    found = find_points(good(12_000), goals=(Goal(), Goal(0.02)), draws=50)
    left, middle, right = operating_figure(found).axes
    marked = {c.get_label().split(",")[0]: c.lines[0].get_xydata()[0] for c in left.containers}  # type: ignore[attr-defined]
    assert list(marked) == list(found.offered)
    for named in found.named:
        if named.kept and named.costs is not None:
            at = named.costs.false_alarm_rate.value, named.costs.escape_rate.value
            assert marked[named.name] == pytest.approx(at)
    assert [tick.get_text() for tick in middle.get_yticklabels()] == ["any defect", *CLASSES[:NONE]]
    proven = found.proofs[0].proven
    assert proven is not None
    assert any(tuple(line.get_xydata()[0]) == pytest.approx((proven.coverage, proven.bound)) for line in right.lines)


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
    assert [p["name"] for p in found["points"]] == ["balanced", "few-escapes", "few-false-alarms", "proven-1-percent"]
    assert (folder / "figures" / "operating.png").read_bytes().startswith(b"\x89PNG")
    assert operating(run) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert (
        operating(run, "--overwrite", "--mix", FLAT, "--max-error", "0.3", "--max-error", "0.4", "--max-escapes", "0.5")
        == 0
    )
    found = json.loads((folder / "operating.json").read_text())
    assert found["mix"]["shares"] == pytest.approx([1 / 9] * 9)
    assert [proof["goal"]["max_error"] for proof in found["proofs"]] == [0.3, 0.4]


def test_a_run_whose_logits_are_of_another_split_is_refused(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    RunFolder(run).write_arrays("logits.npz", {"validation": np.zeros((3, K)), "test": np.zeros((3, K))})
    assert operating(run) == 3
    assert "logits.npz holds validation logits of shape (3, 9); expected (" in capsys.readouterr().err


def test_a_run_that_cannot_be_measured_is_refused(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert operating(run, "--max-error", "1") == 2
    assert "--max-error 1.0; expected above 0 and below 1" in capsys.readouterr().err
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
