"""KLARF files that contradict themselves, are cut off, or are no KLARF files: refused, and with which words."""

from typing import Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.wafer_tf.formats.klarf_small import GRID, LENIENT, SMALL, SMALL_MAP, WAFER_BLOCK, refusal, wafer, wafers
from tests.wafer_tf.formats.writers_klarf import write_klarf
from wafer_tf.errors import InputError
from wafer_tf.formats import klarf
from wafer_tf.formats.opened import Opened
from wafer_tf.formats.options import DEFAULT, Options
from wafer_tf.formats.wafer_map import WaferMap

# === What is refused ===


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("1 4 0.1 9 3", "1 4 0.1 9 4"), "line 32: the summary says NDEFDIE 4 for test 1; read 3"),
        (("1 4 0.1 9 3", "1 4 0.1 8 3"), "line 32: the summary says NDIE 8 for test 1; read 9"),
        (("1 4 0.1 9 3", "1 4 0.1 9"), "line 32: SummaryList holds 4 values; expected rows of the 5"),
        (("SampleTestPlan 9", "SampleTestPlan 8"), "line 15: SampleTestPlan declares 8 dies and lists 9"),
        (("ClassLookup 3", "ClassLookup 4"), "line 10: ClassLookup declares 4 classes and lists 3"),
        (("DefectRecordSpec 9", "DefectRecordSpec 8"), "line 25: DefectRecordSpec declares 8 columns and names 9"),
        (("SummarySpec 5", "SummarySpec 6"), "line 31: SummarySpec declares 6 columns and names 5"),
        (("EndOfFile;\n", ""), "line 34: the file ends without EndOfFile"),
        (("EndOfFile;\n", "EndOfFile;\nmore;\n"), "line 35: text behind EndOfFile"),
    ],
)
def test_a_file_that_contradicts_itself_is_refused_and_read_leniently(change: tuple[str, str], says: str) -> None:
    text = SMALL.replace(*change)
    assert says in refusal(text)
    found = wafer(text, LENIENT)
    assert found.grid.tolist() == SMALL_MAP
    assert says in " ".join(found.warnings)


def test_failing_dies_are_not_compared_where_not_all_defects_count() -> None:
    assert wafer(SMALL.replace("9 3;", "9 4;"), Options(classes=frozenset({"1"}))).warnings == ()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("FileVersion 1 2", "FileVersion 1 8"), "line 1: KLARF version '1.8' written by keywords"),
        (("FileVersion 1 2", "FileVersion 1 0"), "line 1: KLARF version '1.0' written by keywords"),
        (("FileVersion 1 2", "FileVersion 3"), "line 1: KLARF version '3' written by keywords"),
        (("-1 1 0.5 0.25", "-1 1 0.5"), "line 27: a defect of 8 values; expected 9"),
        (("-1 1 0.5 0.25", "-1 1 0.5 0.25 7"), "line 27: a defect of 10 values; expected 9"),
        (("-1 1 0.5 0.25", "-1 1.5 0.5 0.25"), "line 27: XINDEX -1, YINDEX 1.5; expected the whole numbers of a die"),
        (("-1 1 0.5 0.25", "-1 1e99 0.5 0.25"), "line 27: XINDEX -1, YINDEX 1e+99; expected the whole numbers"),
        (("-1 1 0.5 0.25", "-1 inf 0.5 0.25"), "line 27: XINDEX -1, YINDEX inf; expected the whole numbers"),
        (("-1 1 0.5 0.25", "-1 up 0.5 0.25"), "line 27: YINDEX is 'up'; expected a number, or N/A"),
        (("\n 0 0\n", "\n 0 zero\n"), "line 20: SampleTestPlan holds 'zero'; expected whole numbers"),
        (("\n 0 0\n", "\n 0\n"), "line 15: SampleTestPlan holds an odd number of values"),
        (
            ("SampleTestPlan 9", "SampleTestPlan 1000000000"),
            "SampleTestPlan declares 1000000000 rows; expected at most",
        ),
        (("SampleTestPlan 9", "SampleTestPlan many"), "SampleTestPlan without a number of dies"),
        (("XINDEX YINDEX", "XREL YREL"), "line 25: a DefectList without XINDEX"),
        (("DefectRecordSpec", "DefectSpec"), "a DefectList before any DefectRecordSpec"),
        (("DefectList", "DefectRows"), "wafer 'W1' has no DefectList"),
        (('"L;1"', '"L;1'), "line 3: a quotation mark opens a text that does not end on its line"),
        (('WaferID "W1"', 'WaferID "W0";\nWaferID "W1"'), "wafer 'W0' has no DefectList"),
        (("2 2 1 0 2 0", "2 2 1 0 2"), "line 28: a defect of 12 values; expected 13"),
        (("2 2 1 0 2 0", "2 999999999 1 0 2 0"), "a defect of 999999999 images; expected at most 10000"),
        (("LotID", "12 13\nLotID"), "line 3: '12 13' stands where a keyword is expected"),
    ],
)
def test_what_cannot_be_read_is_refused_even_leniently(change: tuple[str, str], says: str) -> None:
    text = SMALL.replace(change[0], change[1], 1)
    assert text != SMALL
    for options in (DEFAULT, LENIENT):
        assert says in refusal(text, options)


def test_a_reader_of_one_syntax_never_takes_the_other_for_a_clean_wafer() -> None:
    records = write_klarf(GRID, version="1.8")
    assert "KLARF version '1.2' written by records" in refusal(records.replace(b'"1.8"', b'"1.2"'))
    assert "KLARF version '1.9' written by records" in refusal(records.replace(b'"1.8"', b'"1.9"'))
    assert "stands where a keyword is expected" in refusal(b"FileVersion 1 2;\n" + records, LENIENT)
    assert "'FileVersion 1 2;' stands behind the last record" in refusal(records + b"FileVersion 1 2;")
    assert "expected Record" in refusal(b'Record FileRecord "1.8"\n{' + write_klarf(GRID), LENIENT)
    assert np.sum(wafer(records.replace(b'"1.8"', b'"2.0"')).grid == 2) == 2


@pytest.mark.parametrize("version", ["1.2", "1.8"])
def test_a_file_cut_off_anywhere_is_refused(version: Literal["1.2", "1.8"]) -> None:
    data = write_klarf(GRID, version=version).rstrip()
    for length in range(40, len(data) - 10, 7):
        with pytest.raises(InputError, match="line"):
            wafers(data[:length])


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            ("Data 3\n        {\n          1 ", "Data 4\n        {\n          1 "),
            "DefectList declares 4 defects and lists 3",
        ),
        (("          Data 14", "          Data 13"), "SampleTestPlan declares 13 dies and lists 14"),
        (("Columns 12", "Columns 11"), "DEFECTLIST declares 11 columns and names 12"),
        (("Data 2\n", "Data 3\n"), "ClassLookupList declares 3 classes and lists 2"),
        (("DiePitch 2", "DiePitch 3"), "DIEPITCH declares 3 values and has 2"),
        (("0.1 14 2;", "0.1 14 3;"), "the summary says NDEFDIE 3 for test 1; read 2"),
        (("EndOfFile;", ""), "the file ends without EndOfFile"),
        (("EndOfFile;", "EndOfFile; Record"), "'Record' stands behind the last record"),
    ],
)
def test_records_that_contradict_themselves_are_refused_and_read_leniently(change: tuple[str, str], says: str) -> None:
    text = write_klarf(GRID, version="1.8").decode()
    assert change[0] in text
    assert says in refusal(text.replace(*change))
    found = wafer(text.replace(*change), LENIENT)
    np.testing.assert_array_equal(found.grid, GRID)
    assert says in " ".join(found.warnings)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("7 1 N;", "7 1;"), "a row of 11 values in DEFECTLIST; expected 12"),
        (("7 1 N;", "7 1 N"), "values in DEFECTLIST; expected 12"),
        (("Data 14", "Data 1000000000"), "SampleTestPlan declares 1000000000 rows; expected at most 4000000"),
        (("List DefectList", "List OtherList"), "wafer '07' has no DefectList"),
        (("Data 3", "Rows 3"), "expected Columns n { } Data n { }"),
        (("Field DieOrigin", "Feld DieOrigin"), "in WAFERRECORD; expected Record, Field, List or '}'"),
        (("XINDEX, int32 YINDEX }", "X, int32 Y }"), "expected XINDEX and YINDEX"),
        (("LotRecord", "{" * 3), "expected Record, Field, List or '}'"),
    ],
)
def test_records_that_cannot_be_read_are_refused_even_leniently(change: tuple[str, str], says: str) -> None:
    text = write_klarf(GRID, version="1.8").decode()
    assert change[0] in text
    for options in (DEFAULT, LENIENT):
        assert says in refusal(text.replace(change[0], change[1], 1), options)


def test_an_image_list_in_a_record_is_one_value() -> None:
    text = write_klarf(GRID, version="1.8").decode()
    images = 'Images 2 { "a;}/b" "JPG" 1 "Patch",\n "c" "JPG" 1 "Patch" }'
    np.testing.assert_array_equal(wafer(text.replace(" 7 1 N;", f" 7 1 {images};", 2)).grid, GRID)


def test_dies_by_size_lie_wholly_on_the_wafer() -> None:
    start, end = SMALL.index("SampleTestPlan"), SMALL.index("DefectRecordSpec")
    text = (SMALL[:start] + SMALL[end:]).replace("0.1 9 3", "0.1 8 3")  # how many were inspected is the tool's affair
    assert wafer(text).grid.tolist() == SMALL_MAP
    plus = [[0, 0, 1, 0, 0], [0, 2, 1, 1, 0], [1, 1, 1, 2, 1], [0, 1, 2, 1, 0], [0, 0, 1, 0, 0]]
    found = wafer(text.replace("SampleSize 1 100", "SampleSize 1 104"))
    assert found.grid.tolist() == plus
    assert found.assumed[0].startswith(
        "the file has no SampleTestPlan: its dies are those that lie wholly on the wafer"
    )


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("DiePitch 20000 20000;\n", ""), "no SampleTestPlan, and DIEPITCH is ''; expected 2 numbers"),
        (("DiePitch 20000 20000", "DiePitch 0 20000"), "expected sizes above 0"),
        (("DiePitch 20000 20000", "DiePitch nan 20000"), "DIEPITCH is 'nan 20000'"),
        (("DiePitch 20000 20000", "DiePitch 1 1"), "rows x 100000 columns; expected at most 2000"),
        (("DiePitch 20000 20000", "DiePitch 90000 90000"), "no die of 90000 x 90000 um fits"),
        (("SampleSize 1 100", "SampleSize 2 100 100"), "SampleSize '2 100 100'; expected '1' (round)"),
        (("SampleCenterLocation 10000", "SampleCenterLocation 1e300"), "expected sizes above 0"),
    ],
)
def test_a_wafer_whose_dies_cannot_be_found_is_refused(change: tuple[str, str], says: str) -> None:
    start, end = SMALL.index("SampleTestPlan"), SMALL.index("DefectRecordSpec")
    assert says in refusal((SMALL[:start] + SMALL[end:]).replace(*change))


# === Whatever bytes come ===

SEEDS = [
    SMALL.encode(),
    write_klarf(GRID, version="1.8"),
    SMALL.replace("EndOfFile", WAFER_BLOCK + "EndOfFile").encode(),
]


@given(st.data())
@settings(max_examples=400)
def test_a_damaged_file_gives_maps_or_a_refusal_and_nothing_else(data: st.DataObject) -> None:
    seed = bytearray(data.draw(st.sampled_from(SEEDS)))
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, max(0, len(seed) - 1)))
        kind = data.draw(st.sampled_from(["byte", "cut", "repeat", "word", "end"]))
        if kind == "byte":
            seed[at : at + 1] = bytes([data.draw(st.integers(0, 255))])
        elif kind == "cut":
            del seed[at : at + data.draw(st.integers(1, 80))]
        elif kind == "repeat":
            seed[at:at] = seed[at : at + data.draw(st.integers(1, 200))]
        elif kind == "word":
            words = [
                b'"',
                b"{",
                b"}",
                b";",
                b"\n",
                b" -1 ",
                b" 99999999999999999999 ",
                b"NA",
                b"DefectList\n",
                b"1e400",
            ]
            seed[at:at] = data.draw(st.sampled_from(words))
        else:
            del seed[at:]
    options = data.draw(
        st.sampled_from([DEFAULT, LENIENT, Options(lenient=True, min_defect_size=1.0, classes=frozenset({"1", "7"}))])
    )
    try:
        for found in klarf.read(Opened.of_bytes(bytes(seed), "m"), options).wafers:
            if isinstance(found, WaferMap):
                assert found.grid.dtype == np.uint8
    except InputError as error:
        assert str(error)


NONSENSE = [
    b"FileVersion 1 2;\n" + b"\n" * 2**21,
    b"FileVersion 1 2;\n" + b" " * 2**21 + b"x",
    b"FileVersion 1 2;\n" + b"a;" * 2**20,
    b"FileVersion 1 2;\n" + b'"' * 2**21,
    b"FileVersion 1 2;\n" + b'""\n' * 2**19,
    b"FileVersion 1 2;\n" + b"#\n" * 2**20,
    b"FileVersion 1 2;\n" + b"WaferID a;\n" * 2**17,
    b"FileVersion 1 2;\n" + b"SampleTestPlan 0;\n" * 2**17,
    b"FileVersion 1 2;\n" + b"ClassLookup 1\n1 a;\n" * 2**16,
    b"FileVersion 1 2;\nDefectRecordSpec 2 XINDEX YINDEX;\n" + b"DefectList\n1 1\n" * 2**16,
    b"FileVersion 1 2;\nDefectRecordSpec 2 XINDEX YINDEX;\nDefectList\n" + b"1 " * 2**22,
    b"FileVersion 1 2;\nDefectRecordSpec 3 XINDEX YINDEX IMAGELIST;\nDefectList\n1 1 9999\n" + b"1\n" * 2**20,
    b"FileVersion 1 2;\nSampleTestPlan 9\n" + b"7" * 2**21,
    b'Record FileRecord "1.8"\n{' + b"Record A {" * 2**17,
    b'Record FileRecord "1.8"\n{' + b"{" * 2**21,
    b'Record FileRecord "1.8"\n{ List X {' + b"{}" * 2**20,
    b'Record FileRecord "1.8"\n{ Record WaferRecord "a" { List DefectList { Columns 2 { i XINDEX, i YINDEX } Data 1 {'
    + b"Images 1 {" * 2**17,
    b'Record FileRecord "1.8"\n{' + b'Record WaferRecord "a" {}\n' * 2**16,
    bytes(range(1, 256)) * 2**13,
]


@pytest.mark.parametrize("data", NONSENSE, ids=range(len(NONSENSE)))
def test_two_megabytes_of_nonsense_are_refused(data: bytes) -> None:
    for options in (DEFAULT, LENIENT):
        with pytest.raises(InputError):
            list(klarf.read(Opened.of_bytes(data, "nonsense"), options).wafers)
