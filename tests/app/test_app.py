"""The page's pure parts: uploads, the table, doubts, options, and what is written as HTML."""

import argparse
import base64
import csv
import dataclasses
import io
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tomllib
from numpy.typing import NDArray
from PIL import Image

from app import file_facts, parts, reading, uploads
from app.answers import ESCAPE_PROB, Answer, Wafer
from app.options import choose, parser
from app.table import COLUMNS, Row, columns, narrowed, row_of, to_csv
from app.uploads import Rejected, read_uploads
from app.wafer import THUMBNAIL_CELLS, grid_of, round_wafer, thumbnail
from edge.station.inspect import facts_of
from tests import ROOT, SHARED
from tests.station import npy, npz, text, wafer_set
from wafer_tf import released
from wafer_tf.dies import CLASSES, NONE, UNLABELLED
from wafer_tf.errors import InputError, ModelError, UsageError
from wafer_tf.figures.explain import COLD, PATTERN_COLOURS
from wafer_tf.figures.style import DIE_COLOURS
from wafer_tf.formats.options import Options
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

    embedding = np.zeros(4, np.float32)
    if prob_int8 is None:
        return Answer(full(prob), None, embedding)
    unsure = max(prob_int8.values()) < 0.7
    held = ("none", "Loc") if unsure else ("Loc",)
    return Answer(full(prob), full(prob_int8), embedding, decision="review" if unsure else "defect", held=held)


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
    assert isinstance(item, Rejected)
    assert "90,000 cells, more than fit; expected at most 1,000 in all" in item.reason


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


def test_the_cells_of_all_files_together_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "MAX_CELLS", 20)
    found = read_uploads([("a.npy", npy(GRID)), ("b.npy", npy(OTHER)), ("set.npz", wafer_set([GRID, GRID]))])
    assert [type(item) for item in found] == [Wafer, Rejected, Rejected]
    assert "12 cells, more than fit; expected at most 20 in all" in found[1].reason  # type: ignore[union-attr]


def test_the_bytes_of_all_files_together_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "MAX_ALL_BYTES", 2 * len(npy(GRID)))
    found = read_uploads([(f"{i}.npy", npy(GRID)) for i in range(4)])
    assert [type(item) for item in found] == [Wafer, Wafer, Rejected]
    assert "left out, with all after it" in found[2].reason  # type: ignore[union-attr]


# === Files of tools ===

TWO_WAFERS = b"lot,wafer,x,y,bin\n" + b"".join(
    b"L9,%d,%d,%d,%d\n" % (wafer, x, y, 7 if x == y == 1 else 1) for wafer in (4, 5) for y in range(4) for x in range(3)
)


def test_wafers_of_one_file_go_by_lot_and_wafer_and_bring_what_it_says() -> None:
    first, second = read_uploads([("dies.csv", TWO_WAFERS)])
    assert isinstance(first, Wafer)
    assert (first.name, second.name) == ("L9/4", "L9/5")
    assert first.origin is not None
    assert (first.origin.file, first.origin.format) == ("dies.csv", "table of dies")
    row = row_of(first, answer({"Loc": 0.9}))
    assert (row.wafer, row.lot, row.wafer_id, row.dies, row.failing) == ("L9/4", "L9", "4", 12, 1)
    assert ("bins", "1: 11 pass, 7: 1") in facts_of(first.origin.found)


def test_the_only_wafer_of_a_file_goes_by_the_files_name() -> None:
    (wafer,) = read_uploads([("L9-4.csv", TWO_WAFERS[: TWO_WAFERS.index(b"L9,5")])])
    assert wafer.name == "L9-4.csv"


def test_a_wafer_of_a_file_of_many_without_a_lot_goes_by_file_and_wafer() -> None:
    found = read_uploads([("dies.csv", TWO_WAFERS.replace(b"lot,", b"").replace(b"L9,", b""))])
    assert [item.name for item in found] == ["dies.csv:4", "dies.csv:5"]


def test_what_a_user_says_of_files_decides_how_they_are_read() -> None:
    options = reading.options_of({"pass-bins": " 1,7 ", "y-axis": "", "states": None}, lenient=False)
    assert options == Options(pass_bins=frozenset({"1", "7"}))
    first, _ = read_uploads([("dies.csv", TWO_WAFERS)], options)
    assert isinstance(first, Wafer)
    assert not (first.grid == 2).any()


def test_a_field_that_cannot_be_read_is_named_by_its_label() -> None:
    with pytest.raises(UsageError, match=r"^A picture's no die, pass, fail: 'red'; expected three different ones"):
        reading.options_of({"colours": "red"}, lenient=True)


def test_fields_are_all_the_flags_of_reading() -> None:
    given = {name: ("up" if name == "y-axis" else "first" if name == "retest" else "down") for name in reading.CHOICES}
    given |= {name: example for name, (_, example) in reading.TEXTS.items()}
    options = reading.options_of(given, lenient=True)
    default = Options()
    same = {f.name for f in dataclasses.fields(Options) if getattr(options, f.name) == getattr(default, f.name)}
    assert same == {"part"}  # no flag sets it


def test_a_file_cut_off_gives_the_wafers_before_and_says_why() -> None:
    found = read_uploads([("dies.csv", TWO_WAFERS + b"L9,6,0,0,\n")])
    assert any(isinstance(item, Rejected) and "dies.csv" in item.reason for item in found)


def test_dies_in_a_parquet_file_are_read_from_memory_under_the_files_name(tmp_path: Path) -> None:
    table = pd.read_csv(io.BytesIO(TWO_WAFERS))
    table.to_parquet(tmp_path / "dies")
    found = read_uploads([("dies.parquet", (tmp_path / "dies").read_bytes())])
    assert [item.name for item in found] == ["L9/4", "L9/5"]
    table.drop(columns="bin").to_parquet(tmp_path / "none")
    (item,) = read_uploads([("none.parquet", (tmp_path / "none").read_bytes())])
    assert isinstance(item, Rejected)
    assert "none.parquet" in item.reason
    assert str(tmp_path) not in item.reason


def test_a_workbook_is_read(tmp_path: Path) -> None:
    pd.read_csv(io.BytesIO(TWO_WAFERS)).to_excel(tmp_path / "dies.xlsx", index=False)
    found = read_uploads([("dies.xlsx", (tmp_path / "dies.xlsx").read_bytes())])
    assert [item.name for item in found] == ["L9/4", "L9/5"]


def test_the_real_files_of_tools_are_read_as_their_licences_say() -> None:
    folder = SHARED / "data" / "formats"
    if not folder.is_dir():
        pytest.skip("the real files of tools (../shared/data) are not on this machine")
    names = ("lot2.stdf.gz", "CPS3TwithoutReview.001", "SEMI_G85_1101_MIN.xml")
    found = read_uploads([(name, (folder / name).read_bytes()) for name in names])
    rows = [row_of(item, answer({"Loc": 0.9})) for item in found]
    assert [(row.wafer, row.lot, row.rows, row.cols, row.dies, row.failing) for row in rows] == [
        ("lot2.stdf.gz", "GAL-LOT", 43, 42, 1456, 67),
        ("CPS3TwithoutReview.001", "HJU008", 83, 76, 4988, 15),
        ("SEMI_G85_1101_MIN.xml", rows[2].lot, 60, 60, 2808, 43),
    ]
    assert rows[0].product == "GOLD8BAR"


# === Pictures ===


def drawn_wafer(*, pitch: int = 12) -> tuple[bytes, NDArray[np.uint8]]:
    """A PNG of a round wafer of 25 x 25 dies with borders, and its map."""
    grid = round_wafer(25)
    grid[3:8, 10:15] = 2
    scattered = np.random.default_rng(0).random(grid.shape) < 0.06  # of a wafer too plain the grid is not certain
    grid[(grid == 1) & scattered] = 2
    colours = np.array([[255, 255, 255], [0, 170, 0], [220, 0, 0]], np.uint8)
    picture = np.repeat(np.repeat(colours[grid], pitch, axis=0), pitch, axis=1)
    dies = np.repeat(np.repeat(grid > 0, pitch, axis=0), pitch, axis=1)
    edge = np.zeros(25 * pitch, bool)
    edge[::pitch] = True
    picture[(edge[:, None] | edge) & dies] = 60
    stream = io.BytesIO()
    Image.fromarray(np.pad(picture, ((30, 30), (30, 30), (0, 0)), constant_values=255)).save(stream, "PNG")
    return stream.getvalue(), grid


def test_a_picture_is_read_and_lines_are_drawn_where_its_dies_meet() -> None:
    data, grid = drawn_wafer()
    (wafer,) = read_uploads([("map.png", data)])
    assert isinstance(wafer, Wafer)
    np.testing.assert_array_equal(wafer.grid, grid)
    assert wafer.origin is not None
    assert wafer.origin.picture == data
    shown = file_facts.with_grid(data, "map.png", Options())
    lines = (shown == file_facts.LINE).all(axis=-1)
    rows, cols = np.flatnonzero(lines.mean(axis=1) > 0.7), np.flatnonzero(lines.mean(axis=0) > 0.7)
    for found, first in ((rows, 30), (cols, 30)):
        assert len(found) == 26
        assert np.abs(found - (first + 12 * np.arange(26))).max() <= 2


def test_a_picture_of_a_pixel_a_die_is_enlarged_so_that_its_dies_can_be_seen_between_the_lines() -> None:
    _, grid = drawn_wafer()
    stream = io.BytesIO()
    Image.fromarray(np.array([0, 180, 255], np.uint8)[grid]).save(stream, "PNG")
    shown = file_facts.with_grid(stream.getvalue(), "map.png", Options())
    assert shown.shape == (200, 200, 3)
    assert 0.2 < (shown == file_facts.LINE).all(axis=-1).mean() < 0.3


def test_a_large_picture_is_made_smaller_with_lines_that_stay_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    data, _ = drawn_wafer(pitch=20)
    monkeypatch.setattr(file_facts, "MAX_SIDE_PX", 270)
    shown = file_facts.with_grid(data, "large.png", Options())
    assert shown.shape == (270, 270, 3)
    lines = (shown == file_facts.LINE).all(axis=-1)
    assert (lines.mean(axis=1) > 0.7).sum() == (lines.mean(axis=0) > 0.7).sum() == 26


def test_maps_as_mixedwm38_has_them_are_read_with_their_single_patterns() -> None:
    held = io.BytesIO()
    bits = np.zeros((3, 8), np.int64)
    bits[1, 3], bits[2, [0, 6]] = 1, 1
    np.savez(held, arr_0=np.stack([GRID + 0 for _ in range(3)]).astype(np.int64), arr_1=bits)
    found = read_uploads([("Wafer_Map_Datasets.npz", held.getvalue())])
    assert [wafer.label for wafer in found if isinstance(wafer, Wafer)] == [
        CLASSES.index(n) for n in ("none", "Edge-Ring")
    ] + [-1]


def test_a_picture_without_a_grid_is_refused_and_kept_to_be_shown() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (90, 120, 3)).astype(np.uint8)
    stream = io.BytesIO()
    Image.fromarray(noise).save(stream, "PNG")
    (item,) = read_uploads([("noise.png", stream.getvalue())])
    assert isinstance(item, Rejected)
    assert item.picture == stream.getvalue()
    assert "no regular grid" in item.reason
    assert "<b>noise.png</b>: no regular grid" in parts.rejections([item])


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
        ({"doubt": "review"}, [1]),
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
    assert [(row.decision, row.may_be) for row in ROWS[:2]] == [("defect", "Loc"), ("review", "none or Loc")]
    assert ROWS[3].decision is None


def test_the_station_s_decision_and_what_the_wafer_may_be_are_said_in_words() -> None:
    assert parts.station(answer({"Loc": 0.9})) == ""
    sure, unsure = (parts.station(answer({"Loc": 0.9}, {"Loc": p})) for p in (0.8, 0.6))
    assert "The station calls a defect.<" in sure
    assert "The station leaves it to a person (review). It may be none or Loc.<" in unsure


def _strange(score: float | None, decision: str) -> Answer:
    return dataclasses.replace(answer({"Loc": 0.9}, {"Scratch": 0.8}), unknown_score=score, decision=decision)


def test_an_unknown_score_is_said_in_words_and_warns_where_the_station_says_unknown() -> None:
    known, strange = parts.strangeness(_strange(0.7312, "defect")), parts.strangeness(_strange(0.99667, "unknown"))
    assert "Stranger than 73.1 % of known wafers that the station&#x27;s model calls Scratch.<" in known
    assert "alert" not in known
    assert 'role="alert"' in strange
    assert "<b>Unknown pattern.</b> Stranger than 99.6 % of known wafers that the station's model calls" in strange
    assert "the nearest known wafers below" in strange
    assert parts.strangeness(_strange(None, "defect")) == ""
    several = parts.strangeness(dataclasses.replace(_strange(0.99667, "unknown"), patterns=("Loc", "Scratch")))
    assert "<b>No one pattern.</b> Stranger than 99.6 %" in several and "Several were found" in several
    assert "says that it knows no such pattern (unknown).<" in parts.station(_strange(0.99667, "unknown"))


@pytest.mark.parametrize(
    ("score", "words"),
    [(0.0, "0 %"), (0.5, "50 %"), (0.98999, "98.9 %"), (0.99, "99 %"), (0.99999, "99.9 %"), (1.0, "over 99.9 %")],
)
def test_a_share_of_known_wafers_is_never_said_to_be_more_than_it_is(score: float, words: str) -> None:
    assert parts.stranger(score) == f"stranger than {words} of known wafers"


def test_unknown_wafers_can_be_picked_out_of_the_table_and_stand_in_the_csv() -> None:
    rows = [*ROWS, row_of(Wafer("a/9", GRID), _strange(0.9967, "unknown"))]
    assert narrowed(rows, doubt="unknown") == [4]
    found = columns(rows)
    assert (found["decision"][-1], found["unknown_score"][-1]) == ("unknown", 0.9967)
    assert "unknown_score" not in columns(ROWS)
    assert "0.996700" in to_csv(rows).splitlines()[-1]


def test_columns_without_a_value_are_left_out() -> None:
    assert "label" not in columns([ROWS[2]])
    assert "reason" not in columns(ROWS[:3])
    assert "product" not in columns(ROWS)
    assert list(columns([*ROWS, Row("a/4", "a", "4", "CHIP7", unknown_score=0.0, patterns="Loc+Scratch")])) == list(
        COLUMNS
    )


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
    none = argparse.Namespace(run=None, bundle=None, reference=None, operating_point=None)
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


# === Several patterns ===

BOTH = dataclasses.replace(
    answer({"Edge-Ring": 0.6}, {"Edge-Ring": 0.6}),
    patterns=("Scratch", "Edge-Ring"),
    patterns_float=("Scratch", "Edge-Ring"),
    pattern_prob=np.array([0, 0, 0, 0.91, 0, 0, 0, 0.97]),
)


def test_patterns_stand_with_their_probabilities_and_the_colours_they_are_drawn_in() -> None:
    shown = parts.several(BOTH, ["Edge-Ring", "Scratch"])
    assert 'data-patterns="Scratch+Edge-Ring"' in shown
    assert f'background:{PATTERN_COLOURS[1][1]}"></i><b>Scratch</b> 97 %' in shown
    assert f'background:{PATTERN_COLOURS[0][1]}"></i><b>Edge-Ring</b> 91 %' in shown
    assert "float model" not in shown
    assert "background:transparent" in parts.several(BOTH, [])  # no heat of them, no colour


@pytest.mark.parametrize("patterns", [None, ()])
def test_of_a_wafer_that_has_not_several_nothing_is_said(patterns: tuple[str, ...] | None) -> None:
    assert parts.several(dataclasses.replace(BOTH, patterns=patterns), []) == ""


def test_the_float_models_patterns_are_named_where_they_are_others() -> None:
    assert "≠ The float model finds not several." in parts.several(dataclasses.replace(BOTH, patterns_float=()), [])
    other = dataclasses.replace(BOTH, patterns_float=("Loc", "Scratch"))
    assert "≠ The float model finds Loc and Scratch." in parts.several(other, [])


def test_the_table_has_the_patterns_only_where_a_model_can_say() -> None:
    wafer = Wafer("a", GRID)
    several, one, silent = (
        row_of(wafer, dataclasses.replace(BOTH, patterns=patterns)) for patterns in (BOTH.patterns, (), None)
    )
    assert (several.patterns, one.patterns, silent.patterns) == ("Scratch+Edge-Ring", "", None)
    assert columns([several, one])["patterns"] == ["Scratch+Edge-Ring", ""]
    assert "patterns" not in columns([one, silent])
    assert narrowed([one, several, silent], doubt="several patterns") == [1]


def test_the_colours_of_patterns_agree_where_they_are_written_twice() -> None:
    script = (APP / "wafer.js").read_text(encoding="utf-8")
    pairs = re.findall(r'\["(#[0-9A-F]{6})", "(#[0-9A-F]{6})"\]', script)
    assert pairs == [COLD, *PATTERN_COLOURS]
