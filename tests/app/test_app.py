"""The page's pure parts: uploads, the table, doubts, options, and what is written as HTML."""

import argparse
import base64
import csv
import io
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tomllib
from PIL import Image

from app import parts, uploads
from app.answers import ESCAPE_PROB, Answer, Wafer
from app.options import choose, parser
from app.table import COLUMNS, Row, columns, narrowed, row_of, to_csv
from app.uploads import Rejected, read_uploads
from app.wafer import THUMBNAIL_CELLS, grid_of, round_wafer, thumbnail
from tests import ROOT
from tests.station import npy, npz, text, wafer_set
from wafer_tf import released
from wafer_tf.dies import CLASSES, NONE, UNLABELLED
from wafer_tf.errors import InputError, ModelError, UsageError
from wafer_tf.figures.style import DIE_COLOURS
from wafer_tf.readers import write_parquet
from wafer_tf.waferset import WaferSet

APP = ROOT / "app"
GRID = np.array([[0, 1, 0], [1, 2, 1], [0, 1, 0]], np.uint8)
OTHER = np.array([[1, 1, 1, 2]] * 3, np.uint8)


def answer(prob: dict[str, float], prob_int8: dict[str, float] | None = None) -> Answer:
    """An answer with these probabilities; what is left goes to the classes not named."""

    def full(named: dict[str, float]) -> Any:
        rest = (1 - sum(named.values())) / (len(CLASSES) - len(named))
        return np.array([named.get(name, rest) for name in CLASSES])

    return Answer(full(prob), None if prob_int8 is None else full(prob_int8), np.zeros(4, np.float32))


def parquet(path: Path, maps: WaferSet) -> bytes:
    write_parquet(maps, path)
    return path.read_bytes()


# === Uploads ===


@pytest.mark.parametrize(
    "data", [npy(GRID), npy(GRID, order="F"), text(GRID), text(GRID, mark=";"), text(GRID, mark=" "), npz(a=GRID)]
)
def test_a_file_of_one_map_is_read_by_its_content(data: bytes) -> None:
    (wafer,) = read_uploads([("any name", data)])
    assert isinstance(wafer, Wafer)
    assert (wafer.name, wafer.label) == ("any name", UNLABELLED)
    np.testing.assert_array_equal(wafer.grid, GRID)


@pytest.mark.parametrize("form", ["npz", "parquet"])
def test_a_wafer_set_is_read_with_names_and_labels(form: str, tmp_path: Path) -> None:
    lots, index = ["L7", ""], [3, 0]
    if form == "npz":
        data = wafer_set([GRID, OTHER], lot=np.array(lots), wafer_index=np.array(index), label=np.array(["Loc", ""]))
    else:
        maps = WaferSet.from_maps([GRID, OTHER], label=[CLASSES.index("Loc"), -1], lot=lots, wafer_index=index)
        data = parquet(tmp_path / "set", maps)
    first, second = read_uploads([("lot.bin", data)])
    assert isinstance(first, Wafer)
    assert isinstance(second, Wafer)
    assert (first.name, first.label) == ("L7/3", CLASSES.index("Loc"))
    assert (second.name, second.label) == ("lot.bin:1", UNLABELLED)
    np.testing.assert_array_equal(second.grid, OTHER)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "empty"),
        (b"hello\nworld", "'hello' at row 0, column 0"),
        (text(GRID + 5), "die state 5 at row 0, column 0"),
        (npy(GRID)[:-2], "truncated npy file"),
        (npz(a=GRID)[:60], "damaged zip archive"),
        (npz(a=GRID, b=GRID), "an npz of a, b"),
        (b"\x80\x04\x95", "a pickle, which can run code and is never opened"),
        (b"PAR1 and no more", "damaged or truncated Parquet file"),
        (wafer_set([GRID, OTHER], offsets=np.array([0, 9, 20])), "offsets and shapes disagree"),
        (wafer_set([GRID, OTHER + 4]), "row 1"),
    ],
)
def test_a_bad_file_is_rejected_in_the_readers_words_under_its_own_name(data: bytes, says: str) -> None:
    good, bad, after = read_uploads([("good.npy", npy(GRID)), ("bad.x", data), ("after.npy", npy(OTHER))])
    assert isinstance(bad, Rejected)
    assert bad.name == "bad.x"
    assert says in bad.reason
    assert "BytesIO" not in bad.reason
    assert isinstance(good, Wafer)
    assert isinstance(after, Wafer)


def test_a_file_over_the_limit_is_rejected_unread() -> None:
    (item,) = read_uploads([("big.csv", b"1" * (uploads.MAX_BYTES + 1))])
    assert item == Rejected("big.csv", "8.0 MB; expected at most 8 MB.")


def test_more_files_or_maps_than_the_limits_are_named_and_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "MAX_FILES", 3)
    found = read_uploads([(f"{i}.npy", npy(GRID)) for i in range(5)])
    assert [item.name for item in found] == ["0.npy", "1.npy", "2.npy", "3.npy"]
    assert isinstance(found[3], Rejected)
    assert "at most 3 files" in found[3].reason
    monkeypatch.setattr(uploads, "MAX_MAPS", 2)
    found = read_uploads(
        [("set.npz", wafer_set([GRID] * 3)), ("a.npy", npy(GRID)), ("pair.npz", wafer_set([GRID] * 2))]
    )
    assert [type(item) for item in found] == [Rejected, Wafer, Rejected]
    assert "3 maps, more than fit" in found[0].reason  # type: ignore[union-attr]


def test_a_small_archive_that_unpacks_to_much_is_rejected_before_it_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "MAX_CELLS", 1000)
    grids = [np.ones((300, 300), np.uint8)] * 2
    (item,) = read_uploads([("zeros.npz", wafer_set(grids))])
    assert isinstance(item, Rejected)
    assert re.search(r"18\d,\d{3} bytes unpacked; expected at most 2,000", item.reason)


def test_a_parquet_set_of_too_many_cells_is_rejected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "MAX_CELLS", 1000)
    maps = WaferSet.from_maps([np.ones((300, 300), np.uint8)], label=[NONE])
    (item,) = read_uploads([("set.parquet", parquet(tmp_path / "set", maps))])
    assert item == Rejected("set.parquet", "90,000 cells in all; expected at most 1,000. Split the file.")


@pytest.mark.parametrize("form", ["npy", "npz", "npz set", "parquet"])
def test_whatever_byte_is_wrong_a_file_gives_wafers_or_a_reason(form: str, tmp_path: Path) -> None:
    maps = WaferSet.from_maps([GRID, OTHER], label=[NONE, -1], lot=["a", "b"], wafer_index=[1, 2])
    files = {"npy": npy(GRID), "npz": npz(a=GRID), "npz set": wafer_set([GRID, OTHER])}
    whole = files.get(form) or parquet(tmp_path / "set", maps)
    rng = np.random.default_rng(0)
    for _ in range(150):
        damaged = bytearray(whole)
        damaged[int(rng.integers(len(damaged)))] = int(rng.integers(256))
        for item in read_uploads([("file", bytes(damaged))]):
            assert isinstance(item, Wafer) or item.reason


def test_a_long_name_is_cut() -> None:
    (item,) = read_uploads([("n" * 500, b"")])
    assert len(item.name) == uploads.MAX_NAME + 3


# === Doubts ===


def test_a_call_of_none_is_doubted_from_the_stated_probability_of_a_defect() -> None:
    assert answer({"none": 1 - ESCAPE_PROB - 1e-9, "Loc": 0.15}).may_escape
    assert not answer({"none": 1 - ESCAPE_PROB + 1e-9}).may_escape
    assert not answer({"Loc": 0.5, "none": 0.4}).may_escape  # called a defect: no escape
    shown = parts.doubt(answer({"none": 0.7, "Scratch": 0.25}))
    assert "A defect is 30 % likely, Scratch the likeliest" in shown
    assert parts.doubt(answer({"none": 0.95})) == ""


def test_agreement_is_of_the_calls_and_shows_the_largest_difference() -> None:
    same = answer({"Loc": 0.9}, {"Loc": 0.85})
    assert same.agrees is True
    assert "makes the same call; largest difference 5.0 points" in parts.agreement(same)
    differs = answer({"Loc": 0.5, "none": 0.4}, {"Loc": 0.4, "none": 0.5})
    assert differs.agrees is False
    assert "int8 model calls none; largest difference 10.0 points" in parts.agreement(differs)
    assert answer({"Loc": 0.9}).agrees is None
    assert "No int8 bundle" in parts.agreement(answer({"Loc": 0.9}))


def test_no_probability_reads_as_certain() -> None:
    assert [parts.percent(p) for p in (0.0, 0.0049, 0.006, 0.424, 0.9949, 0.9951, 1.0)] == [
        "<1 %",
        "<1 %",
        "1 %",
        "42 %",
        "99 %",
        ">99 %",
        ">99 %",
    ]


def test_text_from_outside_cannot_become_html() -> None:
    evil = '<img src=x onerror="alert(1)">'
    reject = Rejected(evil, evil)
    for shown in (
        parts.rejections([reject]),
        parts.caption(evil),
        parts.failure(evil),
        parts.story(evil),
        parts.call_line(answer({"Loc": 0.9}), about=evil),
    ):
        assert "<img" not in shown
        assert "&lt;img" in shown


# === The table ===

ROWS = [
    row_of(Wafer("a/1", GRID, CLASSES.index("Loc")), answer({"Loc": 0.9}, {"Loc": 0.8})),
    row_of(Wafer("a/2", OTHER, NONE), answer({"Loc": 0.6}, {"none": 0.6})),
    row_of(Wafer("b/1", OTHER), answer({"none": 0.7, "Donut": 0.2}, {"none": 0.9})),
    row_of(Rejected("c", "empty"), None),
]


@pytest.mark.parametrize(
    ("filters", "left"),
    [
        ({}, [0, 1, 2, 3]),
        ({"calls": ["Loc"]}, [0, 1]),
        ({"calls": ["none", "Donut"]}, [2]),
        ({"doubt": "may be an escape"}, [2]),
        ({"doubt": "int8 differs"}, [1]),
        ({"doubt": "label differs"}, [1]),
        ({"doubt": "not judged"}, [3]),
        ({"max_prob": 0.75}, [1, 2]),
        ({"text": "A/"}, [0, 1]),
        ({"text": "A/", "doubt": "int8 differs", "max_prob": 0.5}, []),
    ],
)
def test_filters_leave_the_rows_that_pass_all_of_them(filters: dict[str, Any], left: list[int]) -> None:
    assert narrowed(ROWS, **filters) == left


def test_a_row_tells_the_call_its_rivals_and_the_map() -> None:
    row = ROWS[2]
    assert (row.call, row.runner_up, row.call_int8, row.label) == ("none", "Donut", "none", None)
    assert (row.rows, row.cols, row.dies, row.failing) == (3, 4, 12, 3)
    assert row.defect_prob == pytest.approx(0.3)
    assert row.may_escape is True


def test_columns_without_a_value_are_left_out() -> None:
    assert "label" not in columns([ROWS[2]])
    assert "reason" not in columns(ROWS[:3])
    assert "product" not in columns(ROWS)
    assert list(columns([*ROWS, Row("a/4", product="CHIP7")])) == list(COLUMNS)


def test_csv_reads_back_and_holds_no_formula() -> None:
    rows = [*ROWS, Row("=HYPERLINK(1)", reason='a "quoted", text')]
    back = list(csv.DictReader(io.StringIO(to_csv(rows))))
    assert [row["wafer"] for row in back] == ["a/1", "a/2", "b/1", "c", "'=HYPERLINK(1)"]
    assert (back[0]["prob"], back[2]["may_escape"], back[3]["call"]) == ("0.900000", "yes", "")
    assert back[4]["reason"] == 'a "quoted", text'


def test_whole_numbers_of_the_table_stay_whole_beside_a_wafer_that_was_not_judged() -> None:
    back = list(csv.DictReader(io.StringIO(to_csv([Row("a", rows=25, learned=False), Row("b")]))))
    assert [(row["rows"], row["learned"]) for row in back] == [("25", "no"), ("", "")]


def test_a_thumbnail_has_the_colours_of_the_dies_and_keeps_every_failing_one() -> None:
    grid = round_wafer(THUMBNAIL_CELLS)
    grid[5, 30] = 2
    start = "data:image/png;base64,"
    assert thumbnail(grid).startswith(start)
    picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(thumbnail(grid)[len(start) :]))))
    np.testing.assert_array_equal(picture, DIE_COLOURS(grid, bytes=True)[..., :3])


# === The pad ===


def test_a_round_wafer_is_symmetric_and_touches_all_four_sides() -> None:
    grid = round_wafer(26)
    for side in (grid[0], grid[-1], grid[:, 0], grid[:, -1]):
        assert side.any()
    for other in (grid.T, grid[::-1]):
        np.testing.assert_array_equal(grid, other)
    assert grid[0, 0] == 0
    assert 0.75 < (grid > 0).mean() < 0.8


@pytest.mark.parametrize("sent", [None, 7, [], "", "0" * 8, "0" * 10, "010131010", "111111111", "000111010"])
def test_what_is_no_painting_of_the_wafer_is_an_input_error(sent: Any) -> None:
    with pytest.raises(InputError, match=r"painted map: .* Reload the page"):
        grid_of(sent, GRID)


def test_a_painting_gives_the_map_painted() -> None:
    np.testing.assert_array_equal(grid_of("020212020", GRID), [[0, 2, 0], [2, 1, 2], [0, 2, 0]])


# === Options and files ===


def test_the_released_model_comes_first_then_the_newest_finished_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wafer, runs = tmp_path / "models" / "wafer", tmp_path / "runs"
    monkeypatch.setattr(released, "_PLACES", (tmp_path / "models",))
    for name in ("a", "b", "unfinished"):
        (runs / name).mkdir(parents=True)
    none = argparse.Namespace(run=None, bundle=None, reference=None)
    with pytest.raises(ModelError, match="Train one with"):
        choose(none, runs=runs)
    for name, seconds in (("b", 100), ("a", 200)):
        (runs / name / "DONE").touch()
        os.utime(runs / name / "DONE", (seconds, seconds))
    newest = choose(none, runs=runs)
    assert (newest.run, newest.bundle) == (runs / "a", None)
    (wafer / "bundle").mkdir(parents=True)
    (wafer / "DONE").touch()
    assert choose(none, runs=runs).bundle == wafer / "bundle"


def test_a_wrong_argument_is_a_usage_error_and_not_the_end_of_the_server() -> None:
    with pytest.raises(UsageError, match=r"unrecognized arguments: --frobnicate. usage: python -m app"):
        parser().parse_args(["--frobnicate"])


def test_limits_and_colours_agree_where_they_are_written_twice() -> None:
    config = tomllib.loads((APP / ".streamlit" / "config.toml").read_text(encoding="utf-8"))
    assert config["server"]["maxUploadSize"] * 2**20 == uploads.MAX_BYTES
    drawn = re.findall(r"\[\[(\d+), (\d+), (\d+)\]", (APP / "wafer.js").read_text(encoding="utf-8"))
    of_figures = (np.array(DIE_COLOURS.colors, dtype=str)[1:]).tolist()
    assert ["#" + "".join(f"{int(value):02X}" for value in colour) for colour in drawn] == of_figures
