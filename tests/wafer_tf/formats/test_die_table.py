"""Tables of dies: what is read from which columns, and what is refused with which words."""

import io
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from tests import SHARED
from tests.wafer_tf.formats.writers_table import NAMES, write_die_table
from wafer_tf.dies import cropped
from wafer_tf.errors import InputError
from wafer_tf.formats.die_table import is_table, read, wafers_of_columns
from wafer_tf.formats.opened import Opened
from wafer_tf.formats.options import Options
from wafer_tf.formats.read import read_maps
from wafer_tf.formats.table_columns import PLACES, RESULTS
from wafer_tf.formats.wafer_map import BinCount, WaferMap

CASES = SHARED / "cases" / "07-die-list-csv"
needs_cases = pytest.mark.skipif(not CASES.is_dir(), reason="the cases are not beside the clone")
GRID = np.array([[0, 1, 0, 1], [1, 2, 1, 1], [0, 1, 0, 2]], np.uint8)
DOWN = Options(y_axis="down", orient=0)
MAPS = arrays(np.uint8, st.tuples(st.integers(3, 8), st.integers(3, 8)), elements=st.integers(0, 2)).filter(
    lambda grid: min(cropped(grid)[0].shape) >= 3 and bool(grid.any())
)


def opened(text: str | bytes) -> Opened:
    return Opened.of_bytes(text.encode() if isinstance(text, str) else text, "lot7/dies.csv")


def read_all(text: str | bytes, options: Options = DOWN) -> list[WaferMap]:
    found = []
    for wafer in read(opened(text), options).wafers:
        if isinstance(wafer, InputError):
            raise wafer
        found.append(wafer)
    return found


def only(text: str | bytes, options: Options = DOWN) -> WaferMap:
    (wafer,) = read_all(text, options)
    return wafer


def table(values: str = "1,1,1,1,2,1,1,1,1", column: str = "bin", header: str = "x,y") -> str:
    """Return a table of 3 x 3 dies with these values."""
    cells = values.split(",")
    return f"{header},{column}\n" + "".join(f"{n % 3},{n // 3},{value}\n" for n, value in enumerate(cells))


# === Round trips ===


@given(MAPS, st.booleans(), st.integers(-50, 50), st.integers(-50, 50), st.sampled_from([",", ";", "\t", " "]))
def test_a_written_table_reads_as_the_map_it_was_made_of(
    grid: NDArray[np.uint8], y_up: bool, x0: int, y0: int, mark: str
) -> None:
    data = write_die_table({("L1", "W1"): grid}, y_up=y_up, x0=x0, y0=y0, mark=mark)
    assert is_table(opened(data))
    found = only(data, replace(DOWN, y_axis="up" if y_up else "down"))
    expected, (top, left) = cropped(grid)
    np.testing.assert_array_equal(found.grid, expected)
    assert (found.lot, found.wafer) == ("L1", "W1")
    assert found.corner == (-(y0 + len(grid) - 1 - top) if y_up else y0 + top, x0 + left)


@given(MAPS, MAPS)
def test_each_lot_and_wafer_is_a_map_also_where_rows_alternate(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> None:
    data = write_die_table({("L1", "W1"): a, ("L1", "W2"): b, ("L2", "W1"): a}).decode().splitlines()
    mixed = "\n".join([data[0], *data[1::2], *data[2::2]])
    found = {(wafer.lot, wafer.wafer): wafer.grid for wafer in read_all(mixed)}
    for place, grid in {("L1", "W1"): a, ("L1", "W2"): b, ("L2", "W1"): a}.items():
        np.testing.assert_array_equal(found[place], cropped(grid)[0])


@given(st.integers(0, 400), st.sampled_from(["", "7", "-", ",", "\n", "x", '"', ";", " ", "1.5", "nan", "\r", "\0"]))
def test_a_changed_table_is_read_or_refused_in_words(at: int, new: str) -> None:
    text = write_die_table({("L1", "W1"): GRID, ("L1", "W2"): GRID}, x0=-2).decode()
    at %= len(text)
    try:
        for wafer in read(opened(text[:at] + new + text[at + 1 :]), Options()).wafers:
            assert isinstance(wafer, InputError) or set(np.unique(wafer.grid)) <= {0, 1, 2}
    except InputError as error:
        assert "lot7/dies.csv" in str(error)


@given(st.binary(max_size=300))
def test_no_bytes_bring_it_down(data: bytes) -> None:
    for start in (b"", b"x,y,bin\n", b"\xff\xfe"):
        try:
            is_table(opened(start + data))
            list(read(opened(start + data)).wafers)
        except InputError:
            pass


# === Names of columns ===


@pytest.mark.parametrize("names", PLACES)
def test_every_known_name_of_a_place_is_read(names: tuple[str, str]) -> None:
    np.testing.assert_array_equal(only(table(header=",".join(names).upper())).grid, [[1, 1, 1], [1, 2, 1], [1, 1, 1]])


@pytest.mark.parametrize("column", [name for kind, names in RESULTS.items() if kind != "fail" for name in names])
def test_every_known_name_of_a_result_is_read(column: str) -> None:
    assert only(table(column=column)).grid[1, 1] == 2


@pytest.mark.parametrize(
    "header",
    [
        *(
            "X_COORD,Y_COORD,HARD_BIN",
            "Die X,Die Y,Bin Number",
            "XCoord,YCoord,HBIN",
            "COL,ROW,SoftBin",
            "dieX,dieY,SBIN",
        ),
        *(
            '"x","y","bin"',
            "# x,y,bin",
            "x_pos,y_pos,pass_fail",
            "XPOS,YPOS,result",
            " x , y , bin ",
            "column,row,status",
        ),
    ],
)
def test_names_are_matched_in_any_spelling(header: str) -> None:
    text = header + "\n" + table().split("\n", 1)[1]
    assert is_table(opened(text))
    assert only(text).grid.tolist() == [[1, 1, 1], [1, 2, 1], [1, 1, 1]]


def test_the_hard_bin_is_taken_before_the_soft_one_and_said() -> None:
    found = only(
        table("1,1,1,1,2,1,1,1,1".replace(",", ":10,").replace("2:", "5:") + ":10", "hbin,sbin").replace(":", ",")
    )
    assert found.bins == (BinCount("1", True, 8), BinCount("5", False, 1))
    assert "the bin is taken from column hbin, not sbin (--columns bin=sbin)" in found.assumed


def test_a_column_of_pass_and_fail_says_which_bins_pass() -> None:
    found = only(table("1:P,1:P,7:P,1:P,5:F,1:P,1:P,1:P,1:P", "hbin,pass_fail").replace(":", ","))
    assert found.grid.tolist() == [[1, 1, 1], [1, 2, 1], [1, 1, 1]]
    assert found.bins == (BinCount("1", True, 7), BinCount("7", True, 1), BinCount("5", False, 1))


def test_columns_of_other_names_are_read_when_they_are_named() -> None:
    text = table(column="Quality", header="MyX,MyY")
    options = replace(DOWN, columns={"x": "MyX", "y": "MyY", "bin": "Quality"})
    assert is_table(opened(text), options)
    with pytest.raises(InputError, match=r"no column for the x and y of a die .it has MyX, MyY, Quality"):
        read_all(text)
    assert only(text, options).grid[1, 1] == 2


def test_a_wide_table_of_unknown_names_is_told_by_the_names_given() -> None:
    lines = table(header="MyX,MyY", column="Quality").split()
    text = "".join(f"{line},{end}\n" for line, end in zip(lines, ["Note", *"abcdefghi"], strict=True))
    options = replace(DOWN, columns={"x": "MyX", "y": "MyY", "bin": "Quality"})
    (found,) = read_maps(io.BytesIO(text.encode()), "dies.csv", options).wafers
    assert isinstance(found, WaferMap)
    assert found.grid[1, 1] == 2
    with pytest.raises(InputError, match=r"'MyX' at row 0.*If it is a table of dies.*--columns x=NAME"):
        read_maps(io.BytesIO(text.encode()), "dies.csv")


@pytest.mark.parametrize(
    ("text", "columns", "says"),
    [
        (table(column="volt"), {}, "no column for a die's bin or result .it has x, y, volt.*--columns bin=NAME"),
        (table(), {"bin": "Grade"}, "no column 'Grade' for bin .it has x, y, bin"),
        (table(), {"z": "x"}, "z is none of x, y, bin, lot"),
        (table(header="x,y,x"), {}, "two columns are called x"),
        ("x,y,bin\n", {}, "a table of dies without a row"),
        ("hello\n", {}, "no header line with the names of columns"),
    ],
)
def test_a_table_without_its_columns_is_refused_by_what_is_missing(
    text: str, columns: dict[str, str], says: str
) -> None:
    with pytest.raises(InputError, match=says):
        read_all(text, replace(DOWN, columns=columns))


# === Ways of writing ===


@pytest.mark.parametrize(
    "form",
    [
        lambda text: text.replace("\n", "\r\n"),
        lambda text: "\ufeff" + text,
        lambda text: "# made by a prober\n\nOperator: Kim\nTotal;9\n" + text,
        lambda text: text.replace(",", ";"),
        lambda text: text.replace(",", "\t"),
        lambda text: text.replace(",", "   "),
        lambda text: text.replace(",", ", "),
        lambda text: text.replace(",1\n", ",1.0\n").replace("0,", "0.0,"),
        lambda text: text.replace(",", ";").replace(";1\n", ";1,0\n"),
        lambda text: text.replace("\n", ",,\n"),
        lambda text: text + ",,\n\n\n",
        lambda text: text.replace("\n1,", '\n"1",'),
        lambda text: "sep=,\n" + text,
        lambda text: text.removesuffix("\n"),
        lambda text: text.encode("utf-16"),
        lambda text: ("Größe\n" + text).encode("latin-1"),
    ],
)
def test_other_ways_of_writing_give_the_same_map(form: Any) -> None:
    text = form(table())
    assert is_table(opened(text))
    assert only(text).grid.tolist() == [[1, 1, 1], [1, 2, 1], [1, 1, 1]]


def test_lot_and_wafer_before_the_table_are_taken() -> None:
    found = only("# Lot: ABC123\nWafer ID,W07\nDevice = GOLD\nTest time: 2026-11-26 19:30\n" + table())
    assert (found.lot, found.wafer, found.product, found.time) == ("ABC123", "W07", "GOLD", "2026-11-26T19:30:00")


def test_what_columns_say_of_a_wafer_goes_along() -> None:
    text = table("1,1,1,1,2,1,1,1,1".replace(",", ":P:CP1:26.11.2026,") + ":P:CP1:26.11.2026", "bin,device,step,date")
    found = only(text.replace(":", ","))
    assert (found.product, found.step, found.time) == ("P", "CP1", "2026-11-26T00:00:00")


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("1.5,7,1", "lot7/dies.csv, line 11, column x: '1.5'; expected a whole number, a die's x"),
        ("1,,1", "line 11, column y: ''; expected a whole number"),
        ("1,7,A", "line 11, column bin: 'A'; expected a bin number, or P and F.*--pass-bins"),
        ("1,7,P", "line 11, column bin: 'P'; expected a bin number, as in lines before"),
        ("1,7", "line 11: 2 cells, the last '7'; expected 3, one for each column. The file is cut off"),
        ("1,7,1,9", "line 11: 4 cells, the last '9'; expected 3"),
        ('1,"7,1', "line 11: quotes that do not end"),
        ("9999999999,7,1", "line 11, column x: '9999999999'"),
    ],
)
def test_a_faulty_line_is_named(line: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        read_all(table() + line + "\n")


def test_coordinates_that_span_too_far_are_refused_for_that_wafer_alone() -> None:
    good, far = table().split("\n", 1)[1], "0,0,1\n900000,5,1\n"
    text = "wafer,x,y,bin\n" + "".join(f"W{n},{line}\n" for n, part in enumerate((far, good)) for line in part.split())
    first, second = read(opened(text), DOWN).wafers
    assert isinstance(first, InputError)
    assert "W0: dies span 6 rows x 900001 columns" in str(first)
    assert isinstance(second, WaferMap)


# === Values ===


@pytest.mark.parametrize(
    ("values", "column", "middle"),
    [
        ("P,P,P,P,F,P,P,P,P", "bin", 2),
        ("PASS,PASS,pass,PASS,FAIL,PASS,PASS,PASS,PASS", "result", 2),
        ("GOOD,GOOD,GOOD,GOOD,BAD,GOOD,GOOD,GOOD,GOOD", "status", 2),
        ("true,true,true,true,false,true,true,true,true", "result", 2),
        ("1,1,1,1,0,1,1,1,1", "status", 2),
        ("1,1,1,1,0,1,1,1,1", "bin", 2),
        ("0,0,0,0,1,0,0,0,0", "fail", 2),
        ("False,False,False,False,True,False,False,False,False", "is_fail", 2),
        ("1,1,1,1,0,1,1,1,2", "state", 0),
        ("1,1,1,1,,1,1,1,5", "bin", 0),
        ("1,1,1,1,nan,1,1,1,5", "bin", 0),
        ("1,1,1,1,-1,1,1,1,5", "bin", 0),
        ("1,1,1,1,0,1,1,1,5", "bin", 2),
    ],
)
def test_values_mean_what_they_say(values: str, column: str, middle: int) -> None:
    grid = only(table(values, column)).grid
    assert grid[1, 1] == middle
    assert grid[0, 0] == 1


@pytest.mark.parametrize(
    ("options", "first", "middle"),
    [
        (Options(pass_bins=frozenset({"7"})), 1, 2),
        (Options(pass_bins=frozenset({"7", "03"})), 1, 1),
        (Options(states=("3", "7", "9")), 1, 0),
    ],
)
def test_the_user_says_what_bins_mean(options: Options, first: int, middle: int) -> None:
    grid = only(table("7,7,7,7,3,7,7,7,9"), options).grid
    assert (grid[0, 0], grid[1, 1], grid[2, 2]) == (first, middle, 2)


def test_a_soft_bin_without_bin_1_is_not_guessed() -> None:
    with pytest.raises(InputError, match=r"line 2, column sbin: '10'; expected soft bin 1.*--pass-bins 10"):
        only(table("10,10,10,10,50,10,10,10,10", "sbin"))


def test_a_wafer_of_which_no_die_passes_is_read_with_a_warning() -> None:
    assert "no die passes by column bin" in only(table("5,5,5,5,5,5,5,5,5")).warnings[0]


def test_a_grid_written_out_as_a_list_keeps_its_corners_empty() -> None:
    grid = np.ones((7, 7), np.uint8)
    grid[[0, 0, 6, 6], [0, 6, 0, 6]] = 0
    grid[3, 3] = 2
    text = "x,y,bin\n" + "".join(f"{x},{y},{grid[y, x]}\n" for y in range(7) for x in range(7))
    found = only(text)
    np.testing.assert_array_equal(found.grid, grid)
    assert any("bin 0, which fills the corners" in said for said in found.assumed)


# === Retests, directions ===


@pytest.mark.parametrize(("retest", "state"), [("last", 1), ("first", 2), ("best", 1)])
def test_a_die_tested_twice_counts_once(retest: Any, state: int) -> None:
    found = only(table() + "1,1,1\n0,0,1\n", replace(DOWN, retest=retest))
    assert found.grid[1, 1] == state
    assert found.retested == 2
    assert sum(count.dies for count in found.bins) == 9


def test_what_was_assumed_of_directions_is_said() -> None:
    found = only(table(), Options())
    assert "y grows downward (--y-axis down)" in found.assumed
    assert not [said for said in only(table()).assumed if "y grows" in said]


def test_the_notch_is_turned_down() -> None:
    grid = only(table("5,1,1,1,1,1,1,1,1"), replace(DOWN, orient=180)).grid
    assert grid.tolist() == [[1, 1, 1], [1, 1, 1], [1, 1, 2]]


# === Lists without a header ===


@needs_cases
@pytest.mark.parametrize("name", ["lot.csv", "xyb.csv"])
def test_the_case_reads_as_the_wafer_that_it_is(name: str) -> None:
    assert is_table(opened((CASES / name).read_bytes()))
    found = only((CASES / name).read_bytes())
    assert found.grid.shape == (26, 26)
    assert found.bins == (BinCount("1", True, 483), BinCount("5", False, 57))
    assert (found.lot, found.wafer) == (("LOTA", "W03") if name == "lot.csv" else ("", ""))


def test_nine_lines_of_states_are_a_list_and_not_a_grid() -> None:
    text = "0,0,1\n1,0,2\n2,0,2\n0,1,1\n1,1,2\n2,1,1\n0,2,1\n1,2,1\n2,2,2\n"
    assert is_table(opened(text))
    found = only(text)
    assert found.grid.tolist() == [[1, 2, 2], [1, 2, 1], [1, 1, 2]]
    assert "the three columns are x, y and bin" in found.assumed[0]


def test_a_list_of_four_places_is_refused_as_a_list() -> None:
    text = "0,0,1\n0,1,2\n" * 16 + "1,0,2\n1,1,1\n" * 16
    assert is_table(opened(text))
    with pytest.raises(InputError, match=r"2 x 2 cells.*were read as x, y and bin of a die each"):
        read_all(text)


@given(arrays(np.uint8, st.tuples(st.integers(3, 24), st.integers(4, 24)), elements=st.integers(0, 2)))
def test_a_grid_is_no_table(grid: NDArray[np.uint8]) -> None:
    for mark in (",", " ", "\t"):
        text = "\n".join(mark.join(map(str, row)) for row in grid.tolist()) + "\n"
        assert not is_table(opened(text))


@pytest.mark.parametrize(
    "text", ["0,1,0\n1,2,1\n0,1,0\n", "0,1,0\n1,2,1\n1,1,1\n" * 4, "a,b\n1,2\n", "", "x\n", "1\n" * 20]
)
def test_what_is_no_table_is_left_to_others(text: str) -> None:
    assert not is_table(opened(text))


# === Columns in memory ===


def test_columns_of_a_frame_read_as_the_text_does() -> None:
    columns: dict[str, Any] = {
        "Lot": ["L"] * 9,
        "Wafer": [3.0] * 9,
        "X": np.arange(9) % 3,
        "Y": [float(n // 3) for n in range(9)],
        "HBIN": [1, 1, 1, 1, 5.0, 1, 1, 1, None],
    }
    (found,) = wafers_of_columns(columns, DOWN, "lot.parquet")
    assert isinstance(found, WaferMap)
    assert found.grid.tolist() == [[1, 1, 1], [1, 2, 1], [1, 1, 0]]
    assert (found.lot, found.wafer) == ("L", "3")


def test_a_faulty_row_of_a_frame_is_named() -> None:
    with pytest.raises(InputError, match=r"lot.parquet, row 1, column y: '0.5'"):
        list(wafers_of_columns({"x": [0, 1], "y": [0, 0.5], "bin": [1, 1]}, DOWN, "lot.parquet"))


def test_a_hundred_thousand_rows_take_about_a_second() -> None:
    grid = np.ones((320, 320), np.uint8)
    data = write_die_table({("L1", "W1"): grid}, names=NAMES)
    found = only(data)
    assert found.grid.shape == (320, 320)
