"""KLARF files of both syntaxes: the dies, the defects that count, and what tools write differently."""

import contextlib
import io
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from tests.wafer_tf.formats.klarf_small import (
    DEFECTS,
    EXAMPLES,
    GRID,
    LENIENT,
    SMALL,
    SMALL_MAP,
    WAFER_BLOCK,
    example,
    refusal,
    wafer,
    wafers,
)
from tests.wafer_tf.formats.writers_klarf import DEGREES, write_klarf
from wafer_tf.errors import InputError
from wafer_tf.formats.options import DEFAULT, Options
from wafer_tf.formats.wafer_map import BinCount, WaferMap

MAPS = arrays(np.uint8, st.tuples(st.integers(3, 9), st.integers(3, 9)), elements=st.integers(0, 2))


# === The examples ===


def test_a_real_complus_file_gives_its_4988_dies_and_15_failing_ones() -> None:
    (found,) = example("CPS3TwithoutReview.001")
    assert isinstance(found, WaferMap)
    assert found.grid.shape == (83, 76)
    assert np.count_nonzero(found.grid) == 4988
    assert np.count_nonzero(found.grid == 2) == 15
    assert (found.lot, found.wafer, found.step, found.product) == ("HJU008", "25", "IMD2_SRO", "")
    assert found.time == "2021-10-19T10:04:09"
    assert found.bins == (BinCount("no defect", True, 4973), BinCount("class 0", False, 15))
    assert found.corner == (-42, -37)
    assert found.grid[42 - 29, 0 + 37] == 2  # defect 6, on die 0, 29
    assert (found.assumed, found.warnings) == ((), ())
    assert found.facts == {
        "wafer size": "200 mm",
        "die pitch": "2.48996 x 2.25992 mm",
        "inspection station": "AMAT COMPLUS 3T HYCPS04",
        "slot": "25",
        "defects": "16",
        "defects that count": "16",
        "defects outside the plan": "0",
    }


def test_the_real_plan_lies_within_97_mm_of_the_centre_that_the_sizes_give() -> None:
    (found,) = example("CPS3TwithoutReview.001")
    text = (EXAMPLES / "CPS3TwithoutReview.001").read_text()
    start, end = text.index("SampleTestPlan 4988"), text.index("AreaPerTest")
    larger = text[:start] + text[end:].replace("4988", "N/A")
    by_size = wafer(larger.replace("SampleSize 1 200", "SampleSize 1 194"))
    assert isinstance(found, WaferMap)
    assert found.corner is not None and by_size.corner is not None
    row, col = (ours - theirs for ours, theirs in zip(found.corner, by_size.corner, strict=True))
    inside = np.zeros_like(by_size.grid)
    inside[row : row + 83, col : col + 76] = found.grid
    assert not np.any((inside > 0) & (by_size.grid == 0))
    assert np.count_nonzero(by_size.grid) == 5075
    assert "no SampleTestPlan" in by_size.assumed[0]


@pytest.mark.parametrize("name", ["simple12.klarf", "klarfWithImagelist.klarf"])
def test_an_inspection_of_a_bare_wafer_has_no_map(name: str) -> None:
    with pytest.raises(InputError, match="span 1 rows x 1 columns; expected at least 3 each"):
        example(name)


def test_an_example_with_two_summaries_that_do_not_hold_is_read_leniently_alone() -> None:
    with pytest.raises(InputError, match="line 75: the summary says NDEFECT 4 for test 5; read 11 or 13"):
        example("klarf12DefectListExample.klarf")
    (found,) = example("klarf12DefectListExample.klarf", LENIENT)
    assert isinstance(found, WaferMap)
    assert found.grid.tolist() == [[0, 0, 1], [0, 0, 1], [1, 0, 0]]
    assert found.facts["defects"] == "13"
    assert found.warnings[-1].startswith("13 of 13 defects lie on no die of the wafer, the first on line 45")


@pytest.mark.parametrize("name", ["simple18.klarf", "wierdKlarfWithNAs.klarf"])
def test_two_wafers_of_one_file_of_records_are_read_each_by_itself(name: str) -> None:
    strict = example(name)
    assert ["NDEFECT 4 for test 1; read 2" in str(strict[0]), "NDEFECT 1 for test 2" in str(strict[1])] == [True] * 2
    first, second = example(name, LENIENT)
    assert isinstance(first, WaferMap) and isinstance(second, WaferMap)
    assert (first.lot, first.wafer, first.product, first.step) == ("aLot.String", "FirstWaferId", "aDevice", "AStepId")
    assert (first.grid.shape, np.count_nonzero(first.grid), first.facts["defects"]) == ((31, 24), 9, "3")
    assert (second.grid.shape, np.count_nonzero(second.grid), np.sum(second.grid == 2)) == ((54, 51), 2166, 1)
    assert second.corner is not None
    assert second.grid[-13 - second.corner[0], -14 - second.corner[1]] == 2
    assert second.facts["die pitch"] == "5.74415 x 5.4102 mm"
    assert second.time == "1971-12-11T12:32:22"


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("bad12.klarf", "line 36: wafer 'anotherWafer' has no DefectList; expected one"),
        ("bad12DefectList.klarf", "line 29: a defect of 18 values; expected 17"),
    ],
)
@pytest.mark.parametrize("options", [DEFAULT, LENIENT])
def test_the_broken_examples_are_refused_with_line_expected_and_got(name: str, says: str, options: Options) -> None:
    with pytest.raises(InputError, match=says):
        example(name, options)


# === One wafer, both syntaxes, four ways round ===


@pytest.mark.parametrize("version", ["1.2", "1.8"])
@pytest.mark.parametrize("orientation", ["DOWN", "LEFT", "UP", "RIGHT"])
@pytest.mark.parametrize("ends", ["\n", "\r\n"])
def test_one_wafer_is_the_same_map_however_it_lay_on_the_tool(version: Any, orientation: Any, ends: str) -> None:
    data = write_klarf(GRID, orientation=orientation, version=version).replace(b"\n", ends.encode())
    found = wafer(data)
    np.testing.assert_array_equal(found.grid, GRID)
    assert (found.lot, found.wafer, found.product, found.step) == ("LOT1", "07", "PRODUCT", "STEP")
    assert found.time == "2026-11-26T19:30:00"
    assert found.bins == (BinCount("no defect", True, 12), BinCount("class 7", False, 2))
    assert found.warnings == ()
    assert found.facts["wafer size"] == "300 mm"
    assert found.facts["die pitch"] == "5 x 4 mm"
    assert found.facts["inspection station"] == "MAKER MODEL TOOL1"
    says = () if version == "1.2" or orientation in ("DOWN", "UP") else ("OrientationMarkLocation",)
    assert [text.split()[0] for text in found.assumed] == list(says)


@given(MAPS.filter(np.any), st.sampled_from(sorted(DEGREES)), st.sampled_from(["1.2", "1.8"]))
@settings(max_examples=60)
def test_any_map_written_and_read_is_its_bounding_box(
    grid: NDArray[np.uint8], orientation: Any, version: Literal["1.2", "1.8"]
) -> None:
    rows, cols = (np.flatnonzero(grid.any(axis=axis)) for axis in (1, 0))
    box = grid[rows[0] : rows[-1] + 1, cols[0] : cols[-1] + 1]
    data = write_klarf(grid, orientation=orientation, version=version)
    if min(box.shape) < 3:
        assert "expected at least 3 each" in refusal(data)
    else:
        np.testing.assert_array_equal(wafer(data).grid, box)


def test_the_notch_a_user_names_wins() -> None:
    data = write_klarf(GRID, orientation="LEFT")
    np.testing.assert_array_equal(wafer(data, Options(orient=0)).grid, np.rot90(GRID, -1))
    silent = SMALL.replace("OrientationMarkLocation DOWN;\n", "")
    assert wafer(silent).assumed == ("the file does not say where the notch is: down (--orient down)",)
    assert wafer(silent, Options(orient=0)).assumed == ()
    assert "OrientationMarkLocation 'ASKEW'; expected DOWN" in refusal(SMALL.replace("DOWN", "ASKEW"))


# === What is borne ===


def test_the_small_file_is_what_it_says() -> None:
    found = wafer(SMALL)
    assert found.grid.tolist() == SMALL_MAP
    assert (found.lot, found.time, found.corner) == ("L;1", "2026-11-26T19:35:00", (-1, -1))
    assert found.bins == (
        BinCount("no defect", True, 6),
        BinCount("class 1", False, 2),
        BinCount("class 2", False, 1),
        BinCount("class 3", False, 1),
    )
    assert found.warnings == ()


def swap_columns(text: str) -> str:
    lines = []
    for line in DEFECTS.rstrip().rstrip(";").split("\n"):
        words = line.split()
        lines.append(" ".join(reversed(words[:7])) + " " + " ".join(words[7:]))
    spec = "DefectRecordSpec 9 TEST CLASSNUMBER DEFECTAREA DSIZE YINDEX XINDEX DEFECTID IMAGECOUNT IMAGELIST;"
    start = text.index("DefectRecordSpec")
    return f"{text[:start]}{spec}\nDefectList\n" + "\n".join(lines) + f";\n{text[text.index('SummarySpec') :]}"


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("\n", "\r\n"),
        lambda text: text.replace("\n", "\r"),
        lambda text: "\ufeff" + text,
        lambda text: text.replace("1 1 0 0;", "1 1 0 0\n;").replace("3 1 0 0;", "3 1 0 0\n ;\n"),
        lambda text: text.replace(" 2 1 0 3.5", "FILENAME a;\n 2 1 0 3.5"),
        lambda text: text.replace(" 2 1 0 3.5", "FILENAME a.tif\n 2 1 0 3.5"),
        lambda text: text.replace(" 2 1 0 3.5", 'TiffFileName "a ; b.tif";\n 2 1 0 3.5'),
        lambda text: text.replace(" 2 1 0 3.5", ";\nTiffFileName a.tif;\nDefectList\n 2 1 0 3.5"),
        lambda text: text.replace("DefectList\n", "DefectList;\nTiffFileName a.tif;\nDefectList\n"),
        lambda text: text.replace("2 2 1 0 2 0", "2 2\n 1 0\n 2 0"),
        lambda text: text.replace("2 2 1 0 2 0", "2 2 1 2"),
        lambda text: text.replace("2 2 1 0 2 0", "2 2 1 0 9 2 0 9"),
        lambda text: text.replace(" 1 0 0\n 2", " 1 0 0;\n 2"),
        lambda text: text.replace("SampleTestPlan 9\n", "SampleTestPlan 9;\n").replace(" -1 1\n", " -1 1;\n"),
        lambda text: text.replace("\n 0 1\n 1 1\n", " 0 1 1\n1 ", 1),
        lambda text: text.replace("LotID", '# a 5" wafer; LotID 7;\n// also {\nLotID'),
        lambda text: text.replace("LotID", 'ToolsOwnKeyword 3 4\n 5 6 "x;y";\nLotID'),
        lambda text: text.replace("EndOfFile;", "EndOfFile"),
        lambda text: text + "\0\0\x1a\n\n",
        lambda text: text.replace("FileVersion 1 2", "FileVersion 1 1"),
        lambda text: text.replace("FileVersion", "FILEVERSION").replace("DefectList", "DEFECTLIST"),
        lambda text: text.replace("NDEFDIE;", "NDEFDIE ;").replace("9 3;", "9 3 ;"),
        swap_columns,
    ],
)
def test_what_tools_write_differently_is_the_same_wafer(change: Callable[[str], str]) -> None:
    changed = change(SMALL)
    assert changed != SMALL
    found = wafer(changed)
    assert found.grid.tolist() == SMALL_MAP
    assert (found.lot, found.wafer, found.bins, found.warnings) == ("L;1", "W1", wafer(SMALL).bins, ())


def test_utf_16_is_read() -> None:
    assert wafer(SMALL.encode("utf-16")).grid.tolist() == SMALL_MAP


def test_a_header_line_without_its_semicolon_is_read_and_said() -> None:
    found = wafer(SMALL.replace('LotID "L;1";', 'LotID "L;1"'))
    assert (found.lot, found.grid.tolist()) == ("L;1", SMALL_MAP)
    assert found.warnings == ("line 3: LotID does not end with ';'.",)


def test_a_list_without_its_semicolon_is_read_and_said() -> None:
    found = wafer(SMALL.replace("3 1 0 0;", "3 1 0 0"))
    assert found.grid.tolist() == SMALL_MAP
    assert found.warnings == ("line 30: DefectList does not end with ';'.",)


@pytest.mark.parametrize(
    ("stamp", "iso", "said"),
    [
        ("10-19-21 10:04:09", "2021-10-19T10:04:09", ""),
        ("07-07-77 0:17:07", "1977-07-07T00:17:07", ""),
        ("2021-10-19 10:04:09", "2021-10-19T10:04:09", ""),
        ("2021-10-19T10:04:09", "2021-10-19T10:04:09", ""),
        ("2021-10-19T10:04:09.250Z", "2021-10-19T10:04:09", ""),
        ('"10/19/2021" "10:04"', "2021-10-19T10:04:00", ""),
        ("19-10-21 10:04:09", "2021-10-19T10:04:09", "the day first"),
        ("99-99-21 10:04:09", "", "no date and time"),
        ("soon", "", "no date and time"),
        ("02-30-21 10:04:09", "", "no date and time"),
    ],
)
def test_times_are_iso_8601(stamp: str, iso: str, said: str) -> None:
    found = wafer(SMALL.replace("FileTimestamp", f"ResultTimestamp {stamp};\nFileTimestamp"))
    assert found.time == iso
    assert said in " ".join(found.assumed + found.warnings)
    assert bool(said) == bool(found.assumed + found.warnings)


def test_several_wafers_of_a_file_of_keywords_keep_what_is_not_said_again() -> None:
    second = WAFER_BLOCK.replace('"W1"', '"W2"').replace(" 1 -1 1 0.5", " 1 0 0 0.5")
    plan = second[second.index("InspectionTest") : second.index("DefectRecordSpec")]
    third = 'LotID "L2";\n' + second.replace('"W2"', '"W3"').replace(plan, "")
    found = wafers(SMALL.replace("EndOfFile", second + third + "EndOfFile"))
    grids = [one.grid.tolist() for one in found if isinstance(one, WaferMap)]
    assert grids == [SMALL_MAP, [[1, 1, 1], [1, 2, 2], [1, 2, 1]], [[1, 1, 1], [1, 2, 2], [1, 2, 1]]]
    said = [(one.lot, one.wafer, len(one.assumed)) for one in found if isinstance(one, WaferMap)]
    assert said == [("L;1", "W1", 0), ("L;1", "W2", 0), ("L2", "W3", 1)]


def test_one_wafer_whose_counts_do_not_hold_does_not_hold_up_the_next() -> None:
    second = WAFER_BLOCK.replace('"W1"', '"W2"')
    found = wafers(SMALL.replace(" 1 4 0.1", " 1 5 0.1").replace("EndOfFile", second + "EndOfFile"))
    assert "wafer W1: line 32: the summary says NDEFECT 5 for test 1; read 4" in str(found[0])
    assert isinstance(found[1], WaferMap)


def test_files_one_behind_another_are_wafers_of_one() -> None:
    found = wafers(SMALL + SMALL.replace('"W1"', '"W2"'))
    assert [one.wafer for one in found if isinstance(one, WaferMap)] == ["W1", "W2"]


def test_two_tests_of_a_wafer_have_their_dies_together() -> None:
    plans = "SampleTestPlan 6\n -1 1 0 1 1 1\n -1 0 0 0 1 0;\nInspectionTest 2;\nSampleTestPlan 3\n -1 -1 0 -1 1 -1;\n"
    start, end = SMALL.index("SampleTestPlan"), SMALL.index("DefectRecordSpec")
    text = (SMALL[:start] + plans + SMALL[end:]).replace("N/A 4.0 3 1", "N/A 4.0 3 2")
    text = text.replace(" 1 4 0.1 9 3;", " 1 3 0.1 6 2\n 2 1 0.1 3 1;")
    assert wafer(text).grid.tolist() == SMALL_MAP
    assert "NDIE 7 for test 1; read 6" in refusal(text.replace("0.1 6 2", "0.1 7 2"))
    assert "NDEFDIE 2 for test 2; read 1" in refusal(text.replace("0.1 3 1", "0.1 3 2"))


def test_a_wafer_without_defects_passes_whole() -> None:
    clean = SMALL.replace(DEFECTS, ";\n").replace(" 1 4 0.1 9 3", " 1 0 0 9 0")
    assert wafer(clean).grid.tolist() == [[1] * 3] * 3
    assert wafer(clean.replace("DefectList\n;\n", "")).bins == (BinCount("no defect", True, 9),)


def test_a_defect_outside_the_plan_warns_and_adds_no_die() -> None:
    found = wafer(SMALL.replace("4 0 -1 N/A", "4 0 -5 N/A"))
    assert found.grid.tolist() == [[2, 1, 1], [1, 1, 2], [1, 1, 1]]
    assert found.warnings == ("1 of 4 defects lie on no die of the wafer, the first on line 30; they add none.",)
    assert found.facts["defects outside the plan"] == "1"
    nowhere = wafer(SMALL.replace("4 0 -1 N/A", "4 NA N/A 1").replace("9 3;", "9 2;"))
    assert "1 of 4 defects lie on no die" in nowhere.warnings[0]


def test_dies_named_twice_count_once_and_are_said() -> None:
    found = wafer(SMALL.replace("SampleTestPlan 9", "SampleTestPlan 10").replace(" 1 -1;", " 1 -1\n 0 0;"))
    assert found.grid.tolist() == SMALL_MAP
    assert "lists 1 dies twice" in found.warnings[0]


# === Which defects count ===


@pytest.mark.parametrize(
    ("options", "grid", "says"),
    [
        (Options(classes=frozenset({"2"})), [[1, 1, 1], [1, 1, 2], [1, 1, 1]], ""),
        (Options(classes=frozenset({"1", "3"})), SMALL_MAP, ""),
        (Options(classes=frozenset({"9"})), [[1] * 3] * 3, "class 9 is none of the file's ClassLookup"),
        (Options(min_defect_size=3.5), [[1, 1, 1], [1, 1, 2], [1, 2, 1]], "1 defects have no DSIZE; they count"),
        (Options(min_defect_size=0.2, classes=frozenset({"1"})), [[2, 1, 1], [1, 1, 1], [1, 1, 1]], "no DSIZE"),
    ],
)
def test_only_defects_of_the_classes_and_sizes_asked_for_count(options: Options, grid: Any, says: str) -> None:
    found = wafer(SMALL, options)
    assert found.grid.tolist() == grid
    assert says in " ".join(found.warnings)
    assert bool(says) == bool(found.warnings)


@pytest.mark.parametrize(
    ("columns", "values", "says"),
    [
        ("DEFECTID DEFECTAREA", "9", "the root of DEFECTAREA"),
        ("DEFECTID XSIZE", "3", "the larger of XSIZE and YSIZE"),
    ],
)
def test_without_dsize_a_size_is_found_otherwise_and_said(columns: str, values: str, says: str) -> None:
    last = "YSIZE" if "XSIZE" in columns else "CONTRAST"
    spec = f"DefectRecordSpec 5 {columns} XINDEX YINDEX {last};\nDefectList\n 1 {values} 0 0 2\n 2 1 1 1 1;\n"
    text = SMALL[: SMALL.index("DefectRecordSpec")] + spec + "EndOfFile;"
    found = wafer(text, Options(min_defect_size=3))
    assert found.grid.tolist() == [[1, 1, 1], [1, 2, 1], [1, 1, 1]]
    assert says in found.assumed[0]
    assert wafer(text).bins == (BinCount("no defect", True, 7), BinCount("defect", False, 2))
    assert "have no CLASSNUMBER; read the file without --class" in refusal(text, Options(classes=frozenset({"1"})))


def test_a_size_in_version_1_8_is_micrometres_too() -> None:
    data = write_klarf(GRID, version="1.8")
    assert np.sum(wafer(data, Options(min_defect_size=2.5)).grid == 2) == 2
    assert np.sum(wafer(data, Options(min_defect_size=2.6)).grid == 2) == 0


def test_a_class_that_is_no_number_is_refused() -> None:
    assert "class 'Particle'; expected a KLARF class's number" in refusal(
        SMALL, Options(classes=frozenset({"Particle"}))
    )


# === Other readers of the format ===


def test_klarf_reader_finds_the_same_dies_and_defects() -> None:
    reader = pytest.importorskip("klarf_reader.klarf", reason="klarf-reader is an oracle: pip install klarf-reader")
    (found,) = example("CPS3TwithoutReview.001")
    content = reader.Klarf.load_from_file(EXAMPLES / "CPS3TwithoutReview.001")
    assert isinstance(found, WaferMap) and found.corner is not None
    plan = set(zip(content.sample_plan_test.x, content.sample_plan_test.y, strict=True))
    hit = {(defect.x_index, defect.y_index) for defect in content.wafers[0].defects}
    assert places_of(found, found.grid > 0) == plan
    assert places_of(found, found.grid == 2) == hit
    assert (found.lot, found.wafer) == (content.lot_id, content.wafers[0].id)
    radii = [np.hypot(*defect.point) for defect in content.wafers[0].defects]
    assert max(radii) < 100_000  # with the lower left corner of die 0, 0 at 0, 0


@pytest.mark.parametrize("name", ["simple18.klarf"])
def test_klarfio_finds_the_same_dies_and_defects(name: str) -> None:
    klarfio = pytest.importorskip("klarfio.klarfio", reason="klarfio is an oracle: pip install klarfio")
    found, _ = example(name, LENIENT)
    with contextlib.redirect_stdout(io.StringIO()):
        content = klarfio.klarf(str(EXAMPLES / name)).data
    lot = content["FileRecord_1.8"]["LotRecord_aLot.String"]
    record = lot["WaferRecord_FirstWaferId"]
    assert isinstance(found, WaferMap)
    assert found.facts["defects"] == str(len(record["DefectList"]["Data"]))
    plans = [record[key]["SampleTestPlanList"]["Data"] for key in record if key.startswith("TestRecord")]
    assert places_of(found, found.grid > 0) == {(int(x), int(y)) for plan in plans for x, y in plan}


def places_of(found: WaferMap, chosen: NDArray[np.bool_]) -> set[tuple[int, int]]:
    assert found.corner is not None
    rows, cols = np.nonzero(chosen)
    return {(int(col) + found.corner[1], -int(row) - found.corner[0]) for row, col in zip(rows, cols, strict=True)}


def test_a_summary_of_fewer_dies_than_lie_on_a_wafer_without_a_plan_is_told() -> None:
    plan = SMALL[SMALL.index("SampleTestPlan") : SMALL.index("DefectRecordSpec")]
    assert not wafer(SMALL.replace(plan, "")).warnings  # the 9 that it counts
    found = wafer(SMALL.replace(plan, "").replace("SampleSize 1 100", "SampleSize 1 200"))
    (warning,) = found.warnings
    assert warning.startswith(f"the summary says 9 dies were inspected, but {int((found.grid > 0).sum())} lie on")
