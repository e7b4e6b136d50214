"""The report and the model card say what the figures say, whatever the run was like."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest

from wafer_tf.as_json import from_json
from wafer_tf.dies import CLASSES, NONE
from wafer_tf.reporting.card import WM811K_CITATIONS, model_card
from wafer_tf.reporting.facts import Facts
from wafer_tf.reporting.findings import warnings_of, weak_classes
from wafer_tf.reporting.report import format_report, format_table, write_report
from wafer_tf.reporting.words import WIDTH, headline
from wafer_tf.scoring.controls import Control, Controls
from wafer_tf.scoring.scores import Scores, score
from wafer_tf.waferset import WaferSet

K = len(CLASSES)
FACTS = Facts(
    data_name="fab7.npz",
    data_path="maps/fab7.npz",
    data_sha256="ab" * 32,
    split_method="group",
    split_sizes={"train": 2100, "validation": 450, "test": 450},
    near_copies_leaked=17,
    seed=3,
    model="ResNet18, width 64",
    parameters=11183945,
    seconds=431.23,
    versions={"tensorflow": "2.21.0", "keras": "3.15.1"},
    command="python -m training.fit --data maps/fab7.npz --seed 3",
    citations=WM811K_CITATIONS,
)
CONTROLS = Controls(Control(0.06, 0.4, says="none"), Control(0.12, 0.5))


def scored(label, answer, **options):
    prob = np.full((len(label), K), 0.2 / (K - 1))
    prob[np.arange(len(label)), answer] = 0.8
    return score(np.asarray(label), prob, **options), prob


@pytest.fixture(scope="module")
def ordinary():
    """450 wafers, 50 of each class in 50 groups; Loc is right 20 times and called Edge-Loc 30 times."""
    label = np.tile(np.arange(K), 50)
    answer = label.copy()
    answer[np.flatnonzero(label == CLASSES.index("Loc"))[:30]] = CLASSES.index("Edge-Loc")
    answer[np.flatnonzero(label == CLASSES.index("Scratch"))[:3]] = NONE
    return (label, *scored(label, answer, group=np.arange(450) // 9, draws=200))


def test_first_line_names_macro_f1_interval_data_and_split(ordinary):
    first = format_report(ordinary[1], facts=FACTS, controls=CONTROLS).splitlines()[0]
    pattern = r"macro-F1 0\.9\d\d \[0\.\d{3}, 0\.\d{3}\]: test part of fab7\.npz, group split, 450 wafers in 50 groups"
    assert re.fullmatch(pattern, first)
    assert ": fab7.npz, 450 wafers" in headline(ordinary[1], facts=Facts(data_name="fab7.npz"))


def test_table_is_readable_on_a_terminal_and_holds_every_class(ordinary):
    found = ordinary[1]
    lines = format_table(found).splitlines()
    assert max(map(len, lines)) <= WIDTH
    for line, c in zip(lines[1:], found.classes, strict=False):
        assert line.split()[:3] == [c.name, "50", "50"]
        assert f"{c.precision.value:.3f} [{c.precision.low:.3f}, {c.precision.high:.3f}]" in line
        assert f"{c.f1.value:.3f} [" in line
    loc = lines[1 + CLASSES.index("Loc")]
    assert "1.000 [1.000, 1.000] 0.400 [" in loc


def test_report_is_narrow_and_has_every_section(ordinary):
    text = format_report(ordinary[1], facts=FACTS, controls=CONTROLS)
    assert max(map(len, text.splitlines())) <= WIDTH
    assert not [line for line in text.splitlines() if line != line.rstrip()]
    for title in (
        "Per class",
        "At WM-811K's natural class mix",
        "Escapes",
        "Confusion",
        "Controls",
        "Warnings",
        "The run",
    ):
        assert re.search(rf"^{title}", text, re.MULTILINE), title
    assert "3 of 400 defects" in text
    assert "3 of 50 called none" in text
    assert re.search(r"majority class \(none\) +0\.060 +0\.400", text)
    assert re.search(r"leaked by a lot split +17", text)
    assert re.search(r"versions +tensorflow 2.21.0, keras 3.15.1", text)


def test_files_of_a_run_are_written_and_the_json_gives_the_scores_back(ordinary, tmp_path):
    label, found, prob = ordinary
    wafers = WaferSet.from_maps([np.ones((9, 9), np.uint8)] * len(label), label=label)
    paths = write_report(
        tmp_path,
        facts=FACTS,
        scores=found,
        controls=CONTROLS,
        wafers=wafers,
        label=label,
        prob=prob,
        history=[{"epoch": 1, "loss": 1.0, "val_macro_f1": 0.5}],
    )
    assert {path.relative_to(tmp_path).as_posix() for path in paths} == {
        "report.txt",
        "report.json",
        "model_card.md",
        "figures/per_class.png",
        "figures/confusion.png",
        "figures/roc_and_precision_recall.png",
        "figures/reliability.png",
        "figures/errors.png",
        "figures/training.png",
    }
    assert {path for path in tmp_path.rglob("*") if path.is_file()} == set(paths)
    record = json.loads((tmp_path / "report.json").read_text())
    assert Scores.from_json(record["scores"]).to_json() == found.to_json()
    assert from_json(Facts, record["facts"], where="facts") == FACTS
    assert from_json(Controls, record["controls"], where="controls") == CONTROLS
    assert record["warnings"] == warnings_of(found, facts=FACTS, controls=CONTROLS)
    assert (tmp_path / "report.txt").read_text() == format_report(found, facts=FACTS, controls=CONTROLS) + "\n"
    assert (tmp_path / "model_card.md").read_text() == model_card(found, facts=FACTS, controls=CONTROLS)


@pytest.mark.parametrize(
    ("label", "answer"),
    [([2], [4]), ([NONE] * 4, [NONE] * 4), ([0, 1, 2] * 4, [3, 4, 5] * 4), ([0] * 5, [0] * 5)],
    ids=["one wafer", "none alone", "all wrong", "one defect class, no error"],
)
def test_odd_runs_are_reported_without_nan_or_crash(label, answer):
    found, _ = scored(label, answer, draws=20)
    text = format_report(found, facts=Facts(), controls=None) + model_card(found, facts=Facts(), controls=None)
    assert "nan" not in re.sub("unnamed", "", text)
    assert "No wafer is labelled" in text


# === Warnings ===


def said(found, *, facts=None, controls=None):
    return " ".join(warnings_of(found, facts=facts or Facts(), controls=controls))


def test_absent_classes_are_named(ordinary):
    found, _ = scored(np.tile(np.arange(7), 10), np.tile(np.arange(7), 10), draws=20)
    assert "No wafer is labelled Scratch and none: means run over the other 7 classes" in said(found)
    assert "over 7 of 9 classes" in headline(found, facts=Facts())
    assert "No wafer is labelled" not in said(ordinary[1])


def test_random_split_few_groups_and_one_group_are_warned_of(ordinary):
    assert "too good" in said(ordinary[1], facts=Facts(split_method="random"))
    assert "too good" not in said(ordinary[1], facts=Facts(split_method="group"))
    assert "Fewer than" not in said(ordinary[1])
    label = np.tile(np.arange(K), 50)
    assert "Fewer than 20 groups of Center (10), Donut (10)" in said(
        scored(label, label, group=np.arange(450) // 45, draws=20)[0]
    )
    assert "there is no interval" in said(scored(label, label, group=np.zeros(450))[0])


def test_perfect_recall_is_not_taken_for_certainty(ordinary):
    assert "Center (miss rate up to 0.06)" in said(ordinary[1])
    assert "Scratch (miss" not in said(ordinary[1])


def test_map_size_control_is_judged(ordinary):
    assert "size" not in said(ordinary[1], controls=CONTROLS)
    shortcut = replace(CONTROLS, map_size_only=Control(0.4, 0.6))
    assert "Map size alone reaches macro-F1 0.400" in said(ordinary[1], controls=shortcut)
    better = replace(CONTROLS, map_size_only=Control(0.95, 0.6))
    assert "not shown to be better" in said(ordinary[1], controls=better)


def test_artificial_mix_is_warned_of_and_a_natural_one_is_not(ordinary):
    assert "11% of these wafers are none" in said(ordinary[1])
    label = np.array([NONE] * 90 + [0] * 10)
    assert "of these wafers are none" not in said(scored(label, label, draws=20)[0])


def test_warnings_of_the_run_are_passed_on(ordinary):
    assert "Donut: one wafer" in said(ordinary[1], facts=Facts(warnings=("Donut: one wafer.",)))


# === Model card ===


def test_weak_classes_come_from_the_figures(ordinary):
    assert weak_classes(ordinary[1]) == [
        "Weak class Loc: F1 0.571; of its 50 wafers, 30 are called Edge-Loc.",
        "Weak class Edge-Loc: F1 0.769; of the 80 wafers called Edge-Loc, 30 are Loc.",
    ]
    label = np.tile(np.arange(K), 50)
    assert weak_classes(scored(label, label, draws=0)[0]) == ["Weakest class Center: F1 1.000."]


def test_card_says_use_data_limits_and_command(ordinary):
    card = model_card(ordinary[1], facts=FACTS, controls=CONTROLS)
    assert "The label is a prompt, not a diagnosis" in card
    assert "10.1109/TSM.2014.2364237" in card
    assert "http://mirlab.org/dataset/public/" in card
    assert "Weak class Loc" in card
    assert FACTS.command in card
    assert all(f"| {c.name} | 50 | {c.precision.value:.3f} [" in card for c in ordinary[1].classes)
    assert "mirlab" not in model_card(ordinary[1], facts=Facts(data_name="built-in"), controls=None)
