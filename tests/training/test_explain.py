"""training.explain as a user calls it, and the sheets it draws."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests import ROOT
from tests.several import FOUND, run_with_sigmoids
from training.explain import main
from training.explanations import LINES_PER_SHEET, Explained, Several, draw_sheets, pick, pick_several
from training.job import load_config, load_data
from wafer_tf.decision.patterns import Patterns
from wafer_tf.dies import CLASSES, NONE, UNLABELLED
from wafer_tf.explaining.heat_maps import HeatMaps
from wafer_tf.explaining.narrative import call_facts
from wafer_tf.explaining.pattern_heat import PatternHeat
from wafer_tf.figures.explain import COLD, FAIL_HEAT, PASS_HEAT, PATTERN_COLOURS, heat_image, pattern_image
from wafer_tf.learning.run_folder import RunFolder
from wafer_tf.pattern_bits import pattern_bits
from wafer_tf.readers import write_parquet
from wafer_tf.splitting.splits import Split
from wafer_tf.synthesis import synthesize
from wafer_tf.synthesis.mixed import compose
from wafer_tf.waferset import WaferSet

PNG_START, PNG_END = b"\x89PNG\r\n\x1a\n", b"IEND\xaeB`\x82"


def is_png(path: Path) -> bool:
    data = path.read_bytes()
    return data.startswith(PNG_START) and data.endswith(PNG_END)


def calls(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "calls.jsonl").read_text().splitlines()]


def test_a_run_holds_a_small_sheet_of_what_its_model_looked_at(small_run: Path) -> None:
    assert is_png(small_run / "figures" / "explain.png")


def test_without_maps_all_nine_classes_of_the_test_part_are_shown(
    small_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert main([str(small_run), "--out", str(out)]) == 0
    assert capsys.readouterr().out.split() == [str(out / n) for n in ("all_classes.png", "heat.npz", "calls.jsonl")]
    assert is_png(out / "all_classes.png")
    found = calls(out)
    with np.load(out / "heat.npz", allow_pickle=False) as heat:
        assert heat["flat"].dtype == np.float32 and heat["flat"].min() >= 0 and heat["flat"].max() == 1
        assert heat["id"].tolist() == [line["id"] for line in found]
        assert [CLASSES[c] for c in heat["call"]] == [line["call"] for line in found]
        assert heat["offsets"][-1] == len(heat["flat"]) == heat["shapes"].astype(int).prod(axis=1).sum()
    assert {line["label"] for line in found} <= set(CLASSES)
    for line in found:
        assert line["sentence"].startswith(f"{line['call']} ({line['prob']:.2f}): {line['failing']:,} of ")


def test_errors_of_a_class_are_wrong_calls_of_it_alone(small_run: Path, tmp_path: Path) -> None:
    write_parquet(synthesize(6, seed=99).wafers, tmp_path / "maps.parquet")
    shutil.copytree(small_run, tmp_path / "run")
    bias = [1000.0 * (name == "Loc") for name in CLASSES]  # whatever it has learned, every map is called Loc
    (tmp_path / "run" / "decision.json").write_text(json.dumps({"bias": bias, "temperature": 1.0}))
    RunFolder(tmp_path / "run").finish()
    command = [str(tmp_path / "run"), "--data", str(tmp_path / "maps.parquet"), "--errors", "--count", "5"]
    command += ["--csv", str(tmp_path / "calls.csv")]
    picked = ("Loc", "Scratch", "Donut")
    assert main([*command, *[part for name in picked for part in ("--class", name)], "--out", str(tmp_path / "x")]) == 0
    assert {path.stem for path in (tmp_path / "x").glob("*.png") if is_png(path)} == set(picked)
    found = calls(tmp_path / "x")
    assert {line["call"] for line in found} == {"Loc"}
    assert sorted(line["label"] for line in found) == ["Donut"] * 5 + ["Scratch"] * 5  # of 6 each; the Loc are right
    table = pd.read_csv(tmp_path / "calls.csv")
    for column, key in (
        ("id", "id"),
        ("true_label", "label"),
        ("label", "call"),
        ("dies", "dies"),
        ("failing", "failing"),
        ("sentence", "sentence"),
    ):
        assert table[column].tolist() == [line[key] for line in found]
    np.testing.assert_allclose(table["probability"], [line["prob"] for line in found], atol=1e-6)


def test_single_maps_are_explained_in_a_sentence_on_stdout(
    small_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    grid = synthesize({"Loc": 1}, seed=3).wafers.map(0)
    np.save(tmp_path / "a.npy", grid)
    np.savetxt(tmp_path / "b.csv", grid[::-1], fmt="%d", delimiter=",")
    paths = [str(tmp_path / name) for name in ("a.npy", "b.csv")]
    out = tmp_path / "out"
    assert main([str(small_run), "--method", "gradcam", *paths, "--out", str(out)]) == 0
    said = capsys.readouterr().out.splitlines()[-2:]
    for line, path, record in zip(said, paths, calls(out), strict=True):
        assert line == f"{path}: {record['sentence']}"
        assert record["label"] is None and record["id"] == path
        assert record["failing"] == (grid == 2).sum()
    with np.load(out / "heat.npz", allow_pickle=False) as heat:
        assert heat["shapes"].tolist() == [list(grid.shape)] * 2 and heat["method"] == "gradcam"
        assert heat["label"].tolist() == [UNLABELLED] * 2
    assert is_png(out / "maps.png")


def test_a_bad_map_among_others_is_named_and_left_out(
    small_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    grid = synthesize({"Loc": 1}, seed=3).wafers.map(0)
    for name in ("a.npy", "c.npy"):
        np.save(tmp_path / name, grid)
    (tmp_path / "b.csv").write_text("0,1\n1,7\n")
    paths = [str(tmp_path / name) for name in ("a.npy", "b.csv", "missing.npy", "c.npy")]
    out = tmp_path / "out"
    assert main([str(small_run), "--method", "gradcam", *paths, "--out", str(out)]) == 4
    assert [record["id"] for record in calls(out)] == [paths[0], paths[3]]
    said = capsys.readouterr().err
    assert f"left out: map {paths[1]}: die state 7 at row 1" in said
    assert f"left out: {paths[2]}: No such file" in said


def test_maps_that_are_all_bad_are_refused_before_tensorflow_is_loaded(small_run: Path, tmp_path: Path) -> None:
    (tmp_path / "b.csv").write_text("0,1\n1,7\n")
    code = "import sys; from training.explain import main; code = main(sys.argv[1:]); "
    code += "assert 'tensorflow' not in sys.modules; sys.exit(code)"
    call = [sys.executable, "-c", code, str(small_run), str(tmp_path / "b.csv")]
    done = subprocess.run(call, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 4, done.stderr
    assert "none of the 1 files can be explained" in done.stderr


def test_maps_explained_one_after_another_do_not_get_in_each_others_way(
    small_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wafers = load_data(load_config(RunFolder.open(small_run)))
    split = Split.load(small_run / "split.npz", wafers)
    shutil.copytree(small_run, tmp_path / "run")
    for name, part, learned in (("maps", split.train, True), ("maps-2", split.test, False)):
        np.save(tmp_path / f"{name}.npy", wafers.map(int(part[0])))
        assert main([str(tmp_path / "run"), str(tmp_path / f"{name}.npy"), "--method", "gradcam"]) == 0
        assert is_png(tmp_path / "run" / "explanations" / name / "maps.png")
        assert ("1 of the 1 maps shown" in capsys.readouterr().err) == learned


def test_all_explains_every_map_and_shows_a_few(small_run: Path, tmp_path: Path) -> None:
    drawn = synthesize(5, seed=99).wafers
    unlabelled = WaferSet.from_maps([drawn.map(i) for i in range(len(drawn))], label=np.full(len(drawn), UNLABELLED))
    write_parquet(unlabelled, tmp_path / "maps.parquet")
    out = tmp_path / "out"
    assert main([str(small_run), "--data", str(tmp_path / "maps.parquet"), "--all", "--out", str(out)]) == 0
    assert len(calls(out)) == len(drawn)
    with np.load(out / "heat.npz", allow_pickle=False) as heat:
        assert np.array_equal(heat["shapes"], drawn.shapes)
        assert not heat["flat"][drawn.flat == 0].any()


def test_an_earlier_explanation_is_not_overwritten_unasked(
    small_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "heat.npz").write_text("mine")
    command = [str(small_run), "--class", "none", "--count", "1", "--out", str(tmp_path)]
    assert main(command) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert (tmp_path / "heat.npz").read_text() == "mine"
    assert main([*command, "--overwrite"]) == 0
    assert len(calls(tmp_path)) <= 2


@pytest.mark.parametrize(
    ("flags", "code", "text"),
    [
        (["a.npy", "--errors"], 2, "MAP files are all shown"),
        (["--count", "0"], 2, "expected at least 1"),
        (["--method", "guess"], 2, "expected one of fused"),
        (["--method", "gradcam", "--layer", "guess"], 2, "expected one of stage0_conv0_relu"),
        (["missing.npy"], 4, "missing.npy: No such file"),
        (["--data", "missing.parquet"], 4, "no such file"),
    ],
)
def test_what_cannot_be_done_is_said_and_leaves_nothing(
    flags: list[str], code: int, text: str, small_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(small_run), *flags, "--out", str(tmp_path / "out")]) == code
    assert text in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_errors_need_labels(small_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = WaferSet.from_maps([np.full((5, 5), 1, np.uint8)], label=[UNLABELLED])
    write_parquet(one, tmp_path / "maps.parquet")
    assert main([str(small_run), "--data", str(tmp_path / "maps.parquet"), "--errors"]) == 4
    assert "no labelled wafer" in capsys.readouterr().err


def test_a_run_that_has_not_finished_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    assert main([str(tmp_path)]) == 3


def test_picks_are_of_the_class_and_errors_come_most_confident_first() -> None:
    rng = np.random.default_rng(0)
    prob = rng.dirichlet(np.ones(9), 900)
    call, label = prob.argmax(axis=1), rng.integers(-1, 9, 900)
    for code in range(9):
        (first, right), (second, wrong), (third, unlabelled) = pick(label, prob, code, count=4)
        assert (label[right] == code).all() and (call[right] == code).all()
        assert (label[wrong] == code).all() and (call[wrong] != code).all()
        assert (label[unlabelled] == UNLABELLED).all() and (call[unlabelled] == code).all()
        assert len(right) == len(wrong) == len(unlabelled) == 4
        every = np.flatnonzero((label == code) & (call != code))
        assert prob[wrong].max(axis=1).tolist() == sorted(prob[every].max(axis=1), reverse=True)[:4]
        total = int(((label == code) & (call == code)).sum())
        assert first == f"{CLASSES[code]}: right calls, 4 of {total}"
        assert "most confident first" in second and "without a label" in third
    assert [row[0] for row in pick(label, prob, 3, count=4, errors=True)] == [pick(label, prob, 3, count=4)[1][0]]


def explained(n: int) -> Explained:
    maps = [np.full((5, 4), 2, np.uint8)] * n
    wafers = WaferSet.from_maps(maps, label=np.zeros(n))
    heat = HeatMaps(
        np.ones(20 * n, np.float32), wafers.offsets, wafers.shapes, np.zeros(n, int), np.ones(n), "gradcam", "layer"
    )
    facts = [call_facts(grid, np.ones((5, 4)), np.eye(9)[0]) for grid in maps]
    return Explained([f"map {i}" for i in range(n)], wafers, heat, facts)


@pytest.mark.parametrize(("n", "sheets"), [(0, 1), (1, 1), (4 * LINES_PER_SHEET + 1, 2)])
def test_many_maps_go_on_on_further_sheets(n: int, sheets: int, tmp_path: Path) -> None:
    drawn = draw_sheets(explained(n), [("all of them", np.arange(n))], tmp_path / "x.png", title="t")
    assert [path.name for path in drawn] == ["x.png", "x_2.png"][:sheets]
    assert all(is_png(path) for path in drawn)


def test_every_die_has_a_colour_of_its_own_and_what_is_no_die_is_white() -> None:
    grid = np.array([[0, 1, 2], [1, 2, 0], [2, 2, 1]], np.uint8)
    heat = np.array([[0, 0.2, 0.2], [1, 1, 0], [0, 0.5, 0]], np.float32)
    image = heat_image(grid, heat)
    assert (image[grid == 0] == 1).all()
    assert len({tuple(colour) for colour in image[grid > 0].round(6)}) == 7


def linear(colours: np.ndarray) -> np.ndarray:
    return np.where(colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4)


def light(colours: np.ndarray) -> np.ndarray:
    return linear(colours) @ [0.2126, 0.7152, 0.0722]


def test_passing_dies_are_lighter_than_failing_ones_at_every_heat() -> None:
    scale = np.linspace(0, 1, 50)
    passing, failing = (light(colours(scale)[:, :3]) for colours in (PASS_HEAT, FAIL_HEAT))
    assert (passing.min() + 0.05) / (failing.max() + 0.05) > 2  # contrast ratio as WCAG has it


# === Several patterns ===


def rgb(colour: str) -> np.ndarray:
    return np.array([int(colour[at : at + 2], 16) for at in (1, 3, 5)]) / 255


SEEN = {  # Machado, Oliveira, Fernandes, IEEE Trans. Vis. Comput. Graph. 15(6), 2009, at full severity
    "all cones": np.eye(3),
    "no red": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "no green": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "no blue": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}


def difference(a: str, b: str) -> float:
    """CIE76 between two colours, to whichever kind of eyes it is least; 2.3 can just be told."""
    lab = []
    for eyes in SEEN.values():
        seen = np.clip(np.array([linear(rgb(a)), linear(rgb(b))]) @ np.transpose(eyes), 0, 1)
        xyz = seen @ np.array([[0.4124, 0.2126, 0.0193], [0.3576, 0.7152, 0.1192], [0.1805, 0.0722, 0.9505]])
        f = np.cbrt(np.maximum(xyz / [0.9505, 1, 1.089], 1e-6))
        f = np.where(f > 0.2069, f, 7.787 * f**3 + 16 / 116)
        lab.append(np.stack([116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], axis=1))
    return min(float(np.linalg.norm(one - other)) for one, other in lab)


def test_the_colours_of_patterns_are_told_apart_by_any_eyes_and_two_by_far() -> None:
    for state in range(2):
        hot = [pair[state] for pair in PATTERN_COLOURS]
        assert difference(hot[0], hot[1]) > 60
        assert min(difference(hot[2], other) for other in hot[:2]) > 30
        assert min(difference(hot[3], other) for other in hot[:3]) > 14
        assert min(difference(colour, COLD[state]) for colour in hot) > 15
    passing, failing = (
        np.array([light(rgb(c)) for c in (*column, cold)])
        for column, cold in zip(zip(*PATTERN_COLOURS, strict=True), COLD, strict=True)
    )
    assert (passing.min() + 0.05) / (failing.max() + 0.05) > 2


def test_each_die_takes_the_colour_of_the_pattern_it_speaks_for_most() -> None:
    grid = np.array([[1, 2, 1, 2, 0]], np.uint8)
    heats = {"Edge-Ring": np.array([[1, 1, 0.2, 0, 0]]), "Scratch": np.array([[0.5, 0, 1, 0, 0]])}
    image = pattern_image(grid, heats)
    (blue, blue_fail), (orange, _), *_ = PATTERN_COLOURS
    for die, colour in enumerate((blue, blue_fail, orange, COLD[1], "#FFFFFF")):
        np.testing.assert_allclose(image[0, die], rgb(colour), atol=1e-9)


def mixed_set() -> WaferSet:
    return WaferSet.concatenate([synthesize(2, seed=5).wafers, compose(6, seed=5).wafers])


def test_several_patterns_are_picked_by_whether_all_and_no_other_were_found() -> None:
    wafers = mixed_set()
    named = WaferSet.from_maps([wafers.map(0)] * 2, label=[UNLABELLED] * 2)
    wafers = WaferSet.concatenate([wafers, named])
    bits = np.where(wafers.several, wafers.patterns, 0).astype(np.uint8)
    bits[18] ^= pattern_bits("Near-full", "x")  # one too many
    bits[19] = 0  # none found
    bits[4] = pattern_bits("Center+Scratch", "x")  # on a wafer of one pattern
    bits[24] = pattern_bits("Center+Scratch", "x")  # of the two without labels
    right, wrong, unlabelled = pick_several(wafers, bits, count=3)
    assert sorted(pick_several(wafers, bits, count=99)[0][1].tolist()) == [20, 21, 22, 23]
    assert len(right[1]) == 3 and "3 of 4" in right[0] and "all patterns found" in right[0]
    assert sorted(wrong[1].tolist()) == [4, 18, 19] and unlabelled[1].tolist() == [24]
    assert [row[1].tolist() for row in pick_several(wafers, bits, count=3, errors=True)] == [wrong[1].tolist()]
    none_of_several = wafers.select(np.arange(18))
    assert pick_several(none_of_several, np.zeros(18, np.uint8), count=3) == []


def test_wafers_called_none_have_not_several_patterns() -> None:
    logits = np.array([[9.0, -9, -9, -9, -9, -9, -9, 8]] * 2)
    several = Several.of(Patterns((0.5,) * 8), logits, np.eye(9)[[0, NONE]])
    assert several.bits.tolist() == [0b10000001, 0] and several.prob[0, 0] == pytest.approx(1 / (1 + np.exp(-9)))
    assert several.select(np.array([1])).bits.tolist() == [0]


def test_a_wafer_of_several_patterns_is_right_where_all_are_found_and_no_other() -> None:
    made = compose(2, seed=0).wafers.select([0, 0])  # Loc and Scratch
    heat = HeatMaps(np.ones(len(made.flat), np.float32), made.offsets, made.shapes, np.full(2, 4), np.ones(2), "m", "l")
    each = made.select([0, 0, 1, 1])
    own = HeatMaps(
        np.ones(len(each.flat), np.float32), each.offsets, each.shapes, np.array([4, 7, 0, 4]), np.ones(4), "m", "l"
    )
    apart = PatternHeat(own, np.array([0, 2, 4]))
    facts = [
        call_facts(made.map(i), heat.map(i), np.eye(9)[4], patterns={n: (0.9, h) for n, h in apart.of(i).items()})
        for i in range(2)
    ]
    explained = Explained(["a", "b"], made, heat, facts, apart)
    right, wrong = explained.tile(0), explained.tile(1)
    assert right.title == "Loc+Scratch" and not right.wrong and list(right.patterns) == ["Loc", "Scratch"]
    assert wrong.title == "Loc+Scratch, called Center+Loc" and wrong.wrong
    assert "Scratch lies" in right.text


def test_a_run_that_tells_several_patterns_explains_each_and_shows_a_sheet_of_them(
    small_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = run_with_sigmoids(small_run, tmp_path / "run")
    bias = [1000.0 * (name == "Scratch") for name in CLASSES]
    (run / "decision.json").write_text(json.dumps({"bias": bias, "temperature": 1.0}))
    RunFolder(run).finish()
    wafers = mixed_set()
    write_parquet(wafers, tmp_path / "maps.parquet")
    out = tmp_path / "out"
    command = [str(run), "--data", str(tmp_path / "maps.parquet"), "--out", str(out), "--method", "gradcam"]
    assert main([*command, "--csv", str(tmp_path / "calls.csv")]) == 0
    assert str(out / "several_patterns.png") in capsys.readouterr().out
    assert is_png(out / "all_classes.png") and is_png(out / "several_patterns.png")
    found = calls(out)
    assert {tuple(one["name"] for one in line["patterns"]) for line in found} == {FOUND}
    assert all("Edge-Ring lies" in line["sentence"] or "for Edge-Ring" in line["sentence"] for line in found)
    truth = [line["true_patterns"] for line in found if line["label"] is None]
    assert truth and all(len(names) > 1 for names in truth)
    with np.load(out / "heat.npz", allow_pickle=False) as heat:
        assert heat["pattern"].tolist() == [3, 7] * len(found)
        assert heat["pattern_first"].tolist() == list(range(0, 2 * len(found) + 1, 2))
        offsets = heat["pattern_offsets"]
        first, second = (heat["pattern_flat"][offsets[k] : offsets[k + 1]] for k in range(2))
        assert len(first) == len(second) and np.abs(first - second).max() > 0.01
    table = pd.read_csv(tmp_path / "calls.csv")
    assert set(table["patterns"]) == {"Edge-Ring+Scratch"}


def test_a_run_without_sigmoids_says_nothing_of_several_patterns(small_run: Path, tmp_path: Path) -> None:
    write_parquet(mixed_set(), tmp_path / "maps.parquet")
    out = tmp_path / "out"
    command = [str(small_run), "--data", str(tmp_path / "maps.parquet"), "--out", str(out), "--method", "gradcam"]
    assert main([*command, "--csv", str(tmp_path / "calls.csv")]) == 0
    assert not (out / "several_patterns.png").exists()
    assert {line["patterns"] for line in calls(out)} == {None}
    with np.load(out / "heat.npz", allow_pickle=False) as heat:
        assert "pattern" not in heat.files
    assert "patterns" not in pd.read_csv(tmp_path / "calls.csv")
