"""`import wafer_tf as wt`, as a user of Python has it."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import wafer_tf as wt
from edge.station.classifier import Classifier
from tests import ROOT
from tests.several import FOUND, run_with_sigmoids
from tests.station import npy, station
from wafer_tf.bundle import load_bundle
from wafer_tf.dies import CLASSES
from wafer_tf.errors import InputError, ModelError
from wafer_tf.readers import write_parquet
from wafer_tf.released import bundle_folder, released

WAFERS = wt.synthesize(2, seed=3).wafers
CLEAN = np.pad(np.ones((24, 24), np.uint8), 1)


@pytest.fixture(scope="module")
def nano() -> wt.Model:
    return wt.load("nano")


def test_importing_it_leaves_alone_what_is_slow() -> None:
    code = "import sys, wafer_tf; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert {"numpy", "pandas", "matplotlib", "tensorflow", "keras"}.isdisjoint(done.stdout.split())


def test_every_name_it_offers_is_there_and_no_other() -> None:
    assert all(getattr(wt, name) is not None for name in wt.__all__)
    assert dir(wt) == wt.__all__
    with pytest.raises(AttributeError, match="no attribute 'clasify'"):
        wt.clasify  # noqa: B018


# === Models ===


def test_calls_are_those_of_the_station_to_the_last_bit(nano: wt.Model, tmp_path: Path) -> None:
    paths = [tmp_path / f"{i}.npy" for i in range(len(WAFERS))]
    for wafer, path in zip(WAFERS, paths, strict=True):
        path.write_bytes(npy(wafer.map))
    done = station("classify", *map(str, paths), "--bundle", "nano")
    records = [json.loads(line) for line in done.stdout.splitlines()]
    calls = nano.classify(WAFERS)
    assert calls["label"].tolist() == [record["label"] for record in records]
    assert calls["decision"].tolist() == [record["decision"] for record in records]
    rounded = calls[list(CLASSES)].round(6).to_dict("records")
    assert rounded == [record["probabilities"] for record in records]
    whole = Classifier(load_bundle(bundle_folder("nano")))  # what a record rounds
    np.testing.assert_array_equal(calls[list(CLASSES)], [whole.probabilities(wafer.map) for wafer in WAFERS])


def test_a_set_a_wafer_a_map_a_list_a_table_and_a_file_are_called_alike(nano: wt.Model, tmp_path: Path) -> None:
    write_parquet(WAFERS, tmp_path / "wafers.parquet")
    wanted = nano.probabilities(WAFERS)
    for given_as in (
        list(WAFERS),
        [wafer.map for wafer in WAFERS],
        WAFERS.to_pandas(),
        tmp_path / "wafers.parquet",
        str(tmp_path / "wafers.parquet"),
    ):
        np.testing.assert_array_equal(nano.probabilities(given_as), wanted)
    for one in (WAFERS[0], WAFERS[0].map, WAFERS[0].map.astype(float)):
        np.testing.assert_array_equal(nano.probabilities(one), wanted[:1])
    assert nano.classify(list(WAFERS))["lot"].tolist() == WAFERS.lot.tolist()
    assert nano.classify([CLEAN, WAFERS[1]])["lot"].tolist() == ["", WAFERS.lot[1]]


@pytest.mark.parametrize("name", ["one.npy", "one.CSV", "one.txt"])
def test_a_file_of_one_map_is_called_as_the_map_is(name: str, nano: wt.Model, tmp_path: Path) -> None:
    path = tmp_path / name
    if name.endswith(".npy"):
        np.save(path, WAFERS[0].map)
    else:
        np.savetxt(path, WAFERS[0].map, fmt="%d", delimiter=",")
    assert [(w.lot, w.index, w.label) for w in wt.read(path)] == [("", 0, None)]
    np.testing.assert_array_equal(nano.probabilities(path), nano.probabilities(WAFERS[0]))


def test_a_row_says_what_it_is_of(nano: wt.Model) -> None:
    calls = nano.classify(WAFERS)
    assert calls.columns.tolist() == ["lot", "wafer", "label", "probability", "decision", *CLASSES, "unknown_score"]
    assert calls["lot"].tolist() == WAFERS.lot.tolist()
    np.testing.assert_array_equal(calls["probability"], calls[list(CLASSES)].max(axis=1))
    assert set(nano.classify(WAFERS, review_below=1.1, unknown_above=1.0)["decision"]) == {"review"}


def test_no_wafer_gives_an_empty_table(nano: wt.Model) -> None:
    assert nano.classify(WAFERS[:0]).shape == (0, 6 + len(CLASSES))


@pytest.mark.parametrize("wrong", [3, {"map": CLEAN}, None, np.array(1)])
def test_what_is_no_wafer_is_refused_by_its_kind(nano: wt.Model, wrong: object) -> None:
    with pytest.raises(InputError, match=type(wrong).__name__):
        nano.classify(wrong)  # type: ignore[arg-type]


def test_a_map_that_is_none_is_named_by_its_place(nano: wt.Model) -> None:
    with pytest.raises(InputError, match="map number 1: die state 7 at row 0, column 2"):
        nano.classify([CLEAN, np.array([[0, 1, 7], [1, 1, 1], [1, 1, 1]])])


def test_a_run_a_bundle_a_name_and_nothing_load_from_text_and_path(small_run: Path, bundle_path: Path) -> None:
    assert wt.load().kind == "int8"
    assert wt.load().name == "wafer"
    for path in (small_run, str(small_run)):
        model = wt.load(path)
        assert (model.kind, model.run) == ("float", small_run)
        assert model.classify(WAFERS)["label"].isin(CLASSES).all()
    for path in (bundle_path, str(bundle_path)):
        assert (wt.load(path).kind, wt.load(path).run) == ("int8", None)


def test_a_folder_here_comes_before_a_released_model_of_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(released("wafer") / "bundle", tmp_path / "nano")
    (tmp_path / "wafer").mkdir()
    monkeypatch.chdir(tmp_path)
    wafer, here = wt.load("wafer"), wt.load("nano")
    assert wafer.run == released("wafer") and here.run is None
    np.testing.assert_array_equal(here.probabilities(CLEAN), wafer.probabilities(CLEAN))


def test_what_is_no_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="neither a bundle"):
        wt.load(tmp_path / "nothing")


# === Figures ===


def test_a_figure_has_the_map_the_heat_and_the_probabilities(small_run: Path) -> None:
    calls = wt.load(small_run).classify(WAFERS)
    assert len(wt.show(WAFERS[0], calls.iloc[0]).axes) == 3
    assert len(wt.show(WAFERS[0], calls.iloc[0], heat=False).axes) == 2
    assert len(wt.show(WAFERS[0].map).axes) == 1
    figure = wt.show(WAFERS[0], calls.iloc[0])
    assert figure.get_suptitle().startswith(f"{WAFERS[0].name}: {calls['label'][0]}")


def test_a_run_names_several_patterns_and_their_figure_has_the_heat_of_each(small_run: Path, tmp_path: Path) -> None:
    model = wt.load(run_with_sigmoids(small_run, tmp_path / "run"))
    calls = model.classify(WAFERS)
    assert [text == "+".join(FOUND) for text in calls["patterns"]] == (calls["label"] != "none").tolist()
    assert model.classify(WAFERS[:0])["patterns"].tolist() == []
    mixed = int((calls["label"] != "none").to_numpy().argmax())
    figure = wt.show(WAFERS[mixed], calls.iloc[mixed])
    assert figure.get_suptitle().startswith(f"{WAFERS[mixed].name}: {' + '.join(FOUND)}, decision ")
    assert [text.get_text() for text in figure.axes[1].get_legend().get_texts()] == list(FOUND)
    assert len(wt.show(WAFERS[mixed], calls.iloc[mixed], heat=False).axes) == 2


def test_a_call_with_patterns_is_drawn_with_the_heat_of_its_class_by_a_model_that_names_none(small_run: Path) -> None:
    model = wt.load(small_run)
    call = model.classify(WAFERS[:1]).iloc[0]
    for patterns, title in (("Loc+Scratch", "Loc + Scratch,"), (np.nan, call["label"]), (None, call["label"])):
        call["patterns"] = patterns
        figure = wt.show(WAFERS[0], call, model=model)
        assert figure.axes[1].get_title() == "what speaks for the call: orange to brown"
        assert title in figure.get_suptitle()


def test_maps_of_other_whole_numbers_are_held_as_bytes_and_others_refused() -> None:
    wafers = wt.WaferSet.from_maps([np.ones((4, 5), int)] * 2, label=[8, 8])
    assert wafers.flat.dtype == np.uint8 and len(wt.WaferSet.concatenate([wafers[[1]], wafers])) == 3
    for wrong in (257, -1, 0.5):
        with pytest.raises(InputError, match="expected 0, 1 or 2"):
            wt.WaferSet.from_maps([np.full((4, 5), wrong)], label=[8])


def test_a_call_of_a_bundle_alone_has_no_heat(bundle_path: Path) -> None:
    calls = wt.load(bundle_path).classify(WAFERS)
    assert len(wt.show(WAFERS[0], calls.iloc[0]).axes) == 2


def test_what_is_no_row_of_calls_is_refused(nano: wt.Model) -> None:
    calls = nano.classify(WAFERS)
    for wrong in (calls, calls.iloc[0].to_dict(), calls[["label"]].iloc[0]):
        with pytest.raises(InputError, match=f"call: a {type(wrong).__name__}; expected one row"):
            wt.show(WAFERS[0], wrong)  # type: ignore[arg-type]


# === WaferSet ===


def test_a_set_is_indexed_as_a_list_is() -> None:
    n = len(WAFERS)
    assert [wafer.label for wafer in WAFERS] == [WAFERS[i].label for i in range(n)]
    np.testing.assert_array_equal(WAFERS[-1].map, WAFERS.map(n - 1))
    np.testing.assert_array_equal(np.asarray(WAFERS[0]), WAFERS.map(0))
    assert WAFERS[2:5].lot.tolist() == WAFERS.lot[2:5].tolist()
    assert WAFERS[::-1].lot.tolist() == WAFERS.lot[::-1].tolist()
    assert WAFERS[[3, -1]].lot.tolist() == WAFERS.lot[[3, -1]].tolist()
    assert WAFERS[WAFERS.label == 0].lot.tolist() == WAFERS.lot[WAFERS.label == 0].tolist()
    assert len(WAFERS[[]]) == len(WAFERS[np.zeros(n, bool)]) == 0
    for outside in (n, -n - 1):
        with pytest.raises(IndexError, match=f"of {n}"):
            WAFERS[outside]
    for mask in (np.ones(n + 1, bool), np.ones((n, 1), bool), True):
        with pytest.raises(IndexError, match="one value per wafer"):
            WAFERS[mask]
    for wrong in (0.5, [0.5], "A", [[0, 1]], [None]):
        with pytest.raises(IndexError, match="expected a whole number, a slice, a mask"):
            WAFERS[wrong]  # type: ignore[index]


def test_a_number_below_zero_never_gives_another_wafers_dies() -> None:
    maps = [CLEAN, CLEAN * 2, CLEAN]
    wafers = wt.WaferSet.from_maps(maps, label=[8, 5, 8], lot=["A", "B", "C"])
    for i in range(-3, 3):
        np.testing.assert_array_equal(wafers.map(i), maps[i])
        np.testing.assert_array_equal(wafers.select([i]).map(0), maps[i])
    for outside in (3, -4):
        with pytest.raises(IndexError, match="of 3"):
            wafers.map(outside)
    for wrong in ([3], [-4], [True], "A", [0.5]):
        with pytest.raises(IndexError):
            wafers.select(wrong)


def test_wafers_are_chosen_by_a_question_to_their_calls(nano: wt.Model) -> None:
    calls = nano.classify(WAFERS)
    chosen = WAFERS[calls["label"] == "Scratch"]
    assert 0 < len(chosen) < len(WAFERS)
    assert set(nano.classify(chosen)["label"]) == {"Scratch"}


@given(
    st.lists(
        st.tuples(
            st.integers(3, 6),
            st.integers(3, 6),
            st.sampled_from([None, *CLASSES]),
            st.text(max_size=4).filter(lambda lot: "\0" not in lot),
            st.integers(0, 25),
        ),
        max_size=5,
    )
)
def test_to_pandas_and_back_is_the_same_set(rows: list[tuple[int, int, str | None, str, int]]) -> None:
    grids = [np.arange(r * c).reshape(r, c) % 3 for r, c, *_ in rows]
    table = pd.DataFrame(
        {
            "map": pd.Series(grids, dtype=object),
            "label": pd.Series([label for _, _, label, *_ in rows], dtype=object),
            "lot": pd.Series([lot for *_, lot, _ in rows], dtype=object),
            "wafer": [index for *_, index in rows],
        }
    )
    once = wt.WaferSet.from_pandas(table)
    twice = wt.WaferSet.from_pandas(once.to_pandas())
    for name in ("flat", "offsets", "shapes", "lot", "wafer_index", "label"):
        np.testing.assert_array_equal(getattr(once, name), getattr(twice, name))
    assert [wafer.label for wafer in once] == [label for _, _, label, *_ in rows]
    assert [wafer.lot for wafer in once] == [lot for *_, lot, _ in rows]


@pytest.mark.parametrize(
    ("columns", "fault"),
    [
        ({"grid": [CLEAN]}, "columns grid; expected one named map"),
        ({"map": [CLEAN, CLEAN * 9]}, "map of row 1: die state 9"),
        ({"map": [CLEAN], "label": ["Edge_Ring"]}, "row 0: label 'Edge_Ring'; expected one of Center"),
        ({"map": [CLEAN], "wafer": ["seven"]}, "row 0: wafer 'seven'; expected a whole number"),
        ({"map": [CLEAN], "wafer": [1.5]}, r"row 0: wafer 1\.5; expected a whole number"),
        ({"map": [CLEAN], "wafer": [np.array([1, 2])]}, "row 0: wafer array.*; expected a whole number"),
        ({"map": [CLEAN], "label": [np.array(["none", "Loc"])]}, "row 0: label array.*; expected one of Center"),
        ({"map": [[[1, 1, 1], [1]]]}, "map of row 0: rows of unequal length"),
    ],
)
def test_a_table_that_is_none_of_wafers_names_the_row(columns: dict[str, list[object]], fault: str) -> None:
    with pytest.raises(InputError, match=fault):
        wt.WaferSet.from_pandas(pd.DataFrame(columns))


@pytest.mark.parametrize("name", ["map", "lot", "wafer", "label"])
def test_a_table_with_two_columns_of_a_name_is_refused(name: str) -> None:
    table = pd.DataFrame({"map": [CLEAN], "lot": ["A"], "wafer": [1], "label": ["none"]})
    with pytest.raises(InputError, match=f"2 columns named {name}; expected one"):
        wt.WaferSet.from_pandas(pd.concat([table, table[[name]]], axis=1))


@pytest.mark.parametrize("wrong", [None, [CLEAN], {"map": [CLEAN]}, WAFERS])
def test_what_is_no_table_is_refused_by_its_kind(wrong: object) -> None:
    with pytest.raises(InputError, match=f"a {type(wrong).__name__}; expected a DataFrame"):
        wt.WaferSet.from_pandas(wrong)  # type: ignore[arg-type]


def test_missing_values_of_every_kind_are_unknown() -> None:
    table = pd.DataFrame(
        {
            "map": [CLEAN] * 3,
            "label": pd.Series(["none", None, np.nan], dtype="string"),
            "wafer": pd.Series([1, None, 3], dtype="Int64"),
            "lot": ["A", None, np.nan],
        }
    )
    wafers = wt.WaferSet.from_pandas(table)
    assert [(w.lot, w.index, w.label) for w in wafers] == [("A", 1, "none"), ("", 0, None), ("", 3, None)]


def test_without_pandas_a_table_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "pandas.py").write_text("raise ModuleNotFoundError(\"No module named 'pandas'\", name='pandas')")
    wanted = "pandas is not installed, and this needs it: pip install 'WHEEL[train]'"
    call = "wt.load('nano').classify(wt.synthesize(1, seed=0).wafers)"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])}
    for code, said in (
        (f"import wafer_tf as wt; {call}", f"ModuleNotFoundError: {wanted}"),
        (
            f"import sys, wafer_tf as wt; from wafer_tf.command import run; sys.exit(run(lambda: {call}))",
            f"error: {wanted}",
        ),
    ):
        done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
        assert done.returncode != 0
        assert said in done.stderr
