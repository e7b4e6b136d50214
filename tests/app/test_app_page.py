"""The page's logic as a user meets it, without a browser: what is clicked, and what then stands there."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from streamlit.elements.widgets import file_uploader
from streamlit.runtime.memory_uploaded_file_manager import MemoryUploadedFileManager
from streamlit.runtime.uploaded_file_manager import DeletedFile
from streamlit.testing.v1 import AppTest

from app.__main__ import main
from app.wafer import round_wafer
from tests import ROOT
from tests.several import FOUND, run_with_sigmoids
from tests.station import npy, wafer_set
from training.job import load_config, load_data
from wafer_tf.dies import CLASSES
from wafer_tf.errors import ModelError, UsageError
from wafer_tf.learning.run_folder import RunFolder
from wafer_tf.splitting.splits import Split

PAGE = ROOT / "app" / "page.py"
Start = Callable[..., AppTest]


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch) -> Start:
    """Open the page with arguments."""

    def started(*arguments: object) -> AppTest:
        monkeypatch.setattr("sys.argv", ["page.py", *map(str, arguments)])
        page = AppTest.from_file(str(PAGE), default_timeout=120).run()
        assert not page.exception
        return page

    return started


@pytest.fixture
def page(start: Start, small_run: Path, bundle_path: Path) -> AppTest:
    """The page with a small run and the bundle of another model."""
    return start("--run", small_run, "--bundle", bundle_path)


def html(page: AppTest) -> str:
    return "\n".join(element.proto.body for element in page.get("html"))


def wafer(page: AppTest) -> dict[str, Any]:
    """What the browser is told to draw."""
    (drawn,) = page.get("bidi_component")
    return dict(json.loads(drawn.proto.json))


def view(page: AppTest, name: str) -> AppTest:
    page.segmented_control(key="view").set_value(name).run()
    assert not page.exception
    return page


def upload(page: AppTest, *files: tuple[str, bytes]) -> AppTest:
    view(page, "Your maps")
    page.file_uploader[0].set_value([(name, data, "application/octet-stream") for name, data in files]).run()
    assert not page.exception
    return page


# === Samples ===


def test_a_click_on_a_class_and_a_number_shows_that_sample(page: AppTest) -> None:
    page.pills(key="class").set_value("Scratch").run()
    page.pills(key="number").set_value(3).run()
    assert not page.exception
    assert wafer(page)["name"] == "Scratch 3"
    shown = html(page)
    assert "Synthetic sample 3, drawn as Scratch" in shown
    assert "Samples are synthetic" in shown
    for name in CLASSES:
        assert f'<th scope="row">{name}</th>' in shown


def test_both_models_answer_and_the_sentence_tells_of_the_map_drawn(page: AppTest) -> None:
    shown, drawn = html(page), wafer(page)
    assert shown.count('<i class="float" style') == shown.count('<i class="int8" style') == len(CLASSES)
    assert "The station's int8 model" in shown
    fails, dies = drawn["dies"].count("2"), len(drawn["dies"]) - drawn["dies"].count("0")
    assert f"{fails:,} of {dies:,} dies fail" in shown
    assert f"{fails} of {dies} dies fail" in drawn["label"]


def test_the_overlay_can_be_turned_off_faded_and_made_by_another_method(page: AppTest) -> None:
    first = wafer(page)
    assert first["heat"]
    assert first["opacity"] == 0.9
    page.slider(key="opacity-look").set_value(30).run()
    assert wafer(page) == first | {"opacity": 0.3}
    page.selectbox(key="method-look").set_value("gradcam").run()
    assert wafer(page)["heat"] != first["heat"]
    page.toggle(key="overlay-look").set_value(False).run()
    assert wafer(page)["heat"] is None


def test_as_many_similar_wafers_are_shown_as_asked_for(page: AppTest) -> None:
    for count in (1, 5):
        page.number_input(key="similar").set_value(count).run()
        assert html(page).count("<figure>") == count
        assert f"of {count} are" in html(page)


# === Uploads ===


def test_one_uploaded_map_is_shown_at_once(page: AppTest) -> None:
    grid = round_wafer(30)
    grid[14:17, 14:17] = 2
    upload(page, ("W07.npy", npy(grid)))
    assert wafer(page)["name"] == "W07.npy"
    assert "W07.npy: 30 x 30 cells" in html(page)
    assert "9 of " in html(page)


def test_bad_files_are_named_with_their_reason_beside_the_good_ones(page: AppTest) -> None:
    upload(page, ("<b>.csv", b"0,1\n7,x\n"), ("good.npy", npy(round_wafer(30))), ("old.pkl", b"\x80\x04."))
    shown = html(page)
    assert "2 were not judged" in shown
    assert "&lt;b&gt;.csv" in shown
    assert "<b>.csv" not in shown
    assert "a pickle, which can run code and is never opened" in shown
    assert len(page.get("arrow_data_frame")) == 0  # one wafer needs no table
    assert wafer(page)["name"] == "good.npy"


def test_bad_files_alone_leave_a_page_that_says_why(page: AppTest) -> None:
    upload(page, ("a.csv", b"not a grid"))
    assert "1 was not judged" in html(page)
    assert not page.get("bidi_component")


def test_many_maps_become_a_table_that_filters_narrow(page: AppTest) -> None:
    upload(page, ("set.npz", wafer_set([round_wafer(side) for side in (20, 26, 32)], label=np.array(["none"] * 3))))
    assert "3 wafers" in html(page)
    table = page.dataframe[0].value
    assert table["wafer"].tolist() == ["L7/1", "L7/2", "L7/3"]
    assert table["dies"].tolist() == [int(round_wafer(side).sum()) for side in (20, 26, 32)]
    page.text_input(key="text").set_value("/3").run()
    assert page.dataframe[0].value["wafer"].tolist() == ["L7/3"]
    assert wafer(page)["name"] == "L7/3"
    page.text_input(key="text").set_value("no such wafer").run()
    assert not page.exception
    assert "No wafer that was judged is left to show" in html(page)


def test_the_samples_fill_the_table_and_can_be_removed(page: AppTest) -> None:
    view(page, "Your maps")
    assert "Nothing uploaded is kept" in html(page)
    page.button[0].click().run()
    assert len(page.dataframe[0].value) == 90
    next(button for button in page.button if button.label == "Remove all").click().run()
    assert not page.exception
    assert "Nothing uploaded is kept" in html(page)


def test_removed_files_do_not_come_back_with_the_next_upload(page: AppTest) -> None:
    upload(page, ("a.npy", npy(round_wafer(20))), ("b.npy", npy(round_wafer(30))))
    assert len(page.dataframe[0].value) == 2
    next(button for button in page.button if button.label == "Remove all").click().run()
    assert page.file_uploader[0].value == []
    upload(page, ("bad.csv", b"not a grid"))
    assert "1 was not judged" in html(page)
    next(button for button in page.button if button.label == "Remove all").click().run()
    assert "Nothing uploaded is kept" in html(page)


def test_uploads_that_are_removed_or_replaced_leave_streamlits_memory_too(
    page: AppTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone: list[str] = []
    monkeypatch.setattr(
        MemoryUploadedFileManager, "remove_file", lambda self, session_id, file_id: gone.append(file_id)
    )
    upload(page, ("a.npy", npy(round_wafer(20))), ("b.npy", npy(round_wafer(30))))
    first = [file.file_id for file in page.file_uploader[0].value]
    assert gone == []
    upload(page, ("c.npy", npy(round_wafer(20))))
    second = [file.file_id for file in page.file_uploader[0].value]
    assert sorted(gone) == sorted(set(first) - set(second))
    next(button for button in page.button if button.label == "Remove all").click().run()
    assert sorted(gone) == sorted({*first, *second})


def test_a_map_the_run_was_trained_on_is_said_to_prove_nothing(page: AppTest, small_run: Path) -> None:
    run = RunFolder.open(small_run)
    wafers = load_data(load_config(run))
    split = Split.load(small_run / "split.npz", wafers)
    learned, other = wafers.map(int(split.train[0])), wafers.map(int(split.test[0]))
    upload(page, ("turned.npy", npy(np.rot90(learned).copy())))
    assert "its call proves nothing" in html(page)
    upload(page, ("other.npy", npy(other)))
    assert "its call proves nothing" not in html(page)
    upload(page, ("set.npz", wafer_set([learned, other], label=np.array(["none", "none"]))))
    assert "of 1 labels met, 1 not counted there" in html(page)


# === What files do not say ===

DIES = b"lot,wafer,x,y,bin\n" + b"".join(
    b"L9,%d,%d,%d,%d\n" % (w, x, y, 7 if y == 0 else 1) for w in (4, 5) for y in range(4) for x in range(3)
)


def test_wafers_of_a_table_of_dies_stand_with_lot_and_wafer_and_what_the_file_says(page: AppTest) -> None:
    upload(page, ("dies.csv", DIES))
    table = page.dataframe[0].value
    assert table["wafer"].tolist() == ["L9/4", "L9/5"]
    assert (table["lot"].tolist(), table["wafer_id"].tolist()) == (["L9"] * 2, ["4", "5"])
    assert "product" not in table
    shown = html(page)
    assert '<th scope="row">bins</th><td>1: 9 pass, 7: 3</td>' in shown
    assert "--y-axis" in shown


def test_a_change_of_how_to_read_reads_the_files_again_also_after_another_view(page: AppTest) -> None:
    upload(page, ("dies.csv", DIES))
    assert page.dataframe[0].value["failing"].tolist() == [3, 3]
    page.text_input(key="reading pass-bins").set_value("1,7").run()
    assert not page.exception
    assert page.dataframe[0].value["failing"].tolist() == [0, 0]
    view(view(page, "Report"), "Your maps")
    assert page.text_input(key="reading pass-bins").value == "1,7"
    assert page.dataframe[0].value["failing"].tolist() == [0, 0]
    page.text_input(key="reading pass-bins").set_value("").run()
    assert page.dataframe[0].value["failing"].tolist() == [3, 3]
    assert wafer(page)["dies"].startswith("222")
    page.selectbox(key="reading y-axis").set_value("up").run()
    assert wafer(page)["dies"].endswith("222")


def test_a_field_that_cannot_be_read_is_named_and_the_maps_stay(page: AppTest) -> None:
    upload(page, ("dies.csv", DIES))
    page.text_input(key="reading states").set_value("0,0").run()
    assert not page.exception
    assert "Values for no die, pass, fail:" in html(page)
    assert len(page.dataframe[0].value) == 2


def test_samples_stay_when_it_is_said_how_to_read_files(page: AppTest) -> None:
    view(page, "Your maps")
    page.button[0].click().run()
    page.selectbox(key="reading orient").set_value("left").run()
    assert len(page.dataframe[0].value) == 90


@pytest.mark.parametrize("held", [[], [DeletedFile("gone")]])
def test_a_run_that_names_a_removed_upload_shows_the_page_without_it(
    page: AppTest, held: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload(page, ("a.npy", npy(round_wafer(20))))
    taken = file_uploader._get_upload_files
    monkeypatch.setattr(file_uploader, "_get_upload_files", lambda value: taken(value) and held)
    page.file_uploader[0].set_value([("b.npy", npy(round_wafer(20)), "application/octet-stream")]).run()
    assert not page.exception
    assert "Nothing uploaded is kept" in html(page)


# === Drawing and report ===


def test_what_was_painted_is_judged_and_stays_when_the_view_changes(page: AppTest) -> None:
    view(page, "Draw")
    page.pills(key="start").set_value("spotless, 26 across").run()
    blank = wafer(page)
    assert blank["paint"] is True
    assert "2" not in blank["dies"]
    dies = blank["dies"].replace("1", "2", 40)
    page.session_state["pad drawn on spotless, 26 across"] = {"dies": dies}
    page.run()
    assert not page.exception
    assert wafer(page)["dies"] == dies
    assert "40 of " in html(page)
    view(view(page, "Report"), "Draw")
    assert wafer(page)["dies"] == dies


def test_the_report_shows_its_first_line_and_every_figure_of_the_run(page: AppTest, small_run: Path) -> None:
    view(page, "Report")
    assert (small_run / "report.txt").read_text(encoding="utf-8").splitlines()[0] in html(page)
    assert len(page.image) == len(list((small_run / "figures").glob("*.png")))
    assert page.code[0].value == (small_run / "report.txt").read_text(encoding="utf-8").strip()


# === Other models and sets, and what fails ===


def test_without_a_bundle_the_page_says_so_and_shows_the_float_model(start: Start, small_run: Path) -> None:
    shown = html(start("--run", small_run))
    assert "No int8 bundle is loaded" in shown
    assert 'class="int8"' not in shown


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--run", "/nowhere"], "no config.json there"),
        (["--frobnicate"], "unrecognized arguments: --frobnicate"),
    ],
)
def test_what_cannot_be_loaded_is_a_page_that_says_why(start: Start, arguments: list[str], says: str) -> None:
    page = start(*arguments)
    assert "This cannot be shown" in html(page)
    assert says in html(page)


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["--run", "/nowhere"], ModelError.exit_code, "no config.json there"),
        (["--frobnicate"], UsageError.exit_code, "unrecognized arguments"),
        (["--address", "0.0.0.0"], UsageError.exit_code, "Add --name NAME"),
    ],
)
def test_the_command_ends_with_its_exit_code_before_it_serves_anything(
    arguments: list[str], code: int, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == code
    assert says in capsys.readouterr().err


def test_a_model_whose_weights_are_damaged_is_a_page_that_says_why(
    start: Start, small_run: Path, tmp_path: Path
) -> None:
    import keras

    shutil.copytree(small_run, tmp_path / "run")
    model = keras.saving.load_model(small_run / "model.keras", compile=False)
    model.get_layer("logits").set_weights([weights * np.nan for weights in model.get_layer("logits").get_weights()])
    model.save(tmp_path / "run" / "model.keras")
    assert "model.keras is not what the run wrote" in html(start("--run", tmp_path / "run"))
    (tmp_path / "run" / "DONE").write_text("")  # as of a run before there were sums
    shown = html(start("--run", tmp_path / "run"))
    assert "is not finite; are the model" in shown


def test_a_bundle_or_reference_that_is_none_is_a_page_that_says_why(
    start: Start, small_run: Path, tmp_path: Path
) -> None:
    assert "bundle.json is missing" in html(start("--run", small_run, "--bundle", tmp_path))
    (tmp_path / "set.npz").write_bytes(b"nothing")
    page = start("--run", small_run, "--reference", tmp_path / "set.npz")
    assert "set.npz" in html(page)


def test_a_reference_set_of_the_users_own_is_searched(start: Start, small_run: Path, tmp_path: Path) -> None:
    grids = [round_wafer(side) for side in (20, 26, 32)]
    (tmp_path / "mine.npz").write_bytes(wafer_set(grids, label=np.array(["Loc", "Loc", ""])))
    shown = html(start("--run", small_run, "--reference", tmp_path / "mine.npz"))
    assert "among 2 maps of mine.npz" in shown
    assert shown.count("<b>Loc</b>") == 2


# === Several patterns ===


def test_several_patterns_are_drawn_each_with_its_heat_and_told_in_the_sentence(
    start: Start, small_run: Path, tmp_path: Path
) -> None:
    run = run_with_sigmoids(small_run, tmp_path / "run")
    shutil.rmtree(run / "bundle", ignore_errors=True)
    bias = [1000.0 * (name == "Scratch") for name in CLASSES]
    (run / "decision.json").write_text(json.dumps({"bias": bias, "temperature": 1.0}))
    RunFolder(run).finish()
    page = start("--run", run)
    drawn, shown = wafer(page), html(page)
    assert drawn["heat"] is None
    assert [one["name"] for one in drawn["patterns"]] == sorted(FOUND)
    assert len({one["heat"] for one in drawn["patterns"]}) == 2
    assert f'data-patterns="{"+".join(FOUND)}"' in shown
    assert "As one pattern: Scratch" in shown
    assert f"Patterns: {', '.join(FOUND)}." in drawn["label"]
    page.toggle(key="overlay-look").set_value(False).run()
    assert wafer(page)["patterns"] == [] and wafer(page)["heat"] is None


def test_without_sigmoids_the_page_says_nothing_of_several_patterns(page: AppTest) -> None:
    assert wafer(page)["patterns"] == [] and wafer(page)["heat"]
    assert "data-patterns" not in html(page)
