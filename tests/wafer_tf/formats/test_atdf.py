import io
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.wafer_tf.formats.writers_stdf import QUARTER_TURNS, write_atdf, write_stdf
from wafer_tf.dies import check_map
from wafer_tf.errors import InputError
from wafer_tf.formats import atdf
from wafer_tf.formats.options import DEFAULT, Options
from wafer_tf.formats.read import read_maps
from wafer_tf.formats.wafer_map import BinCount, WaferMap

WAFER = np.array([[0, 1, 1, 0], [1, 2, 1, 1], [2, 1, 0, 1], [0, 1, 2, 0], [0, 0, 1, 0]], np.uint8)
OTHER = np.array([[1, 1, 2], [2, 1, 1], [1, 2, 2]], np.uint8)
HEAD = "FAR:A|4|2|U\nMIR:LOT|PART|JOB|NODE|TESTER|0:00:00 1-JAN-2020|9:05:07 12-Feb-2020|OP\nWCR:D|R|D\n"
DIES = "".join(f"PRR:1|1|{x + 3 * y}|9|P|1|1|{x}|{y}\n" for y in range(3) for x in range(3))
END = "MRR:10:00:00 12-FEB-2020\n"


def read(text: str | bytes, options: Options = DEFAULT) -> list[Any]:
    data = text.encode("latin-1") if isinstance(text, str) else text
    return list(read_maps(io.BytesIO(data), "f", options).wafers)


@pytest.mark.parametrize("notch", QUARTER_TURNS)
@pytest.mark.parametrize("y_up", [False, True])
@pytest.mark.parametrize("x_left", [False, True])
@pytest.mark.parametrize(("separator", "end"), [("|", "\n"), (";", "\r\n"), ("\t", "\r")])
def test_the_same_wafers_come_back_as_from_stdf(notch: Any, y_up: bool, x_left: bool, separator: str, end: str) -> None:
    both = [(WAFER, "L7", "L7-01"), (OTHER, "L7", "L7-02")]
    drawn: Any = {"notch": notch, "y_up": y_up, "x_left": x_left}
    found = read_maps(io.BytesIO(write_atdf(both, separator=separator, end=end, **drawn)), "f")
    assert (found.format, found.version) == ("ATDF", "V4")
    binary = read_maps(io.BytesIO(write_stdf(both, **drawn)), "f").wafers
    for (grid, _, _), wafer, other in zip(both, found.wafers, binary, strict=True):
        assert isinstance(wafer, WaferMap)
        assert isinstance(other, WaferMap)
        assert np.array_equal(wafer.grid, grid)
        for field in ("lot", "wafer", "product", "step", "time", "corner", "bins", "facts", "assumed", "warnings"):
            assert getattr(wafer, field) == getattr(other, field), field


def test_the_specification_s_own_examples_are_read() -> None:
    more = "PRR:2|1|13|78|F|0|17|-2|7|||644|Device at edge of wafer|F13C20\nHBR:2|1|6|212|F|SHORT\n"
    (wafer,) = read(HEAD + DIES + more + END, Options(lenient=True))
    assert wafer.corner == (0, -2)
    assert wafer.grid[7, 0] == 2
    assert wafer.bins == (BinCount("1", True, 9), BinCount("0", False, 1))
    assert wafer.time == "2020-02-12T09:05:07"


def test_a_line_that_begins_with_a_blank_goes_on_with_the_one_before() -> None:
    split = DIES.replace("|P|1|", "|P\n |1|\n ")
    assert split.count("\n") == 27
    (wafer,) = read(HEAD + "DTR:a remark\n PRR:1|1|1|1|F|1|1|9|9\n\n" + split + END)
    assert wafer.grid.tolist() == [[1] * 3] * 3


def test_retest_and_abort_codes_and_missing_verdicts_are_read() -> None:
    more = "PRR:1|1|9|9|F|5|5|0|0|C|Y\nPRR:1|1|10|9||1|1|1|0\nPRR:1|1|11|9||4|4|2|0|I\nPRR:1|1|12|9|P|1\n"
    (wafer,) = read(HEAD + DIES + more + END)
    assert wafer.grid[0].tolist() == [2, 1, 2]
    assert wafer.retested == 3
    assert wafer.assumed == ("bin 1 alone passes, of 2 results that say neither pass nor fail (--pass-bins 1)",)
    assert wafer.warnings == (
        "1 of 13 results have no coordinates and are left out.",
        "1 results ended abnormally (PART_FLG bit 2).",
    )


def test_a_number_that_is_none_is_refused_with_its_line() -> None:
    for field, wrong in ((8, "1.5"), (8, "40000"), (8, "x"), (6, "-1"), (6, "70000"), (1, "1" * 5000)):
        part = ["PRR:1", "1", "1", "1", "P", "1", "1", "0", "0"]
        part[field - 1] = wrong if field > 1 else f"PRR:{wrong}"
        with pytest.raises(InputError, match=rf"f: line 4: PRR: field {field} is '.*; expected a whole number of"):
            read(HEAD + "|".join(part) + "\n" + END)


def test_other_versions_and_lines_that_are_no_records_are_refused() -> None:
    for first in ("FAR:A|3|2", "FAR:B|4|2", "FAR:A4|4", "FAR:"):
        with pytest.raises(InputError, match=r"expected FAR:A\|4\|2"):
            read(HEAD.replace("FAR:A|4|2|U", first) + DIES + END)
    with pytest.raises(InputError, match="f: line 4 begins with 'rubbish'; expected a record"):
        read(HEAD + "rubbish\n" + DIES + END)
    (wafer,) = read(HEAD + "XYZ:1|2\n" + DIES + END)
    assert wafer.warnings == ("1 records of unknown kinds were passed over: the first, XYZ, in line 4.",)


def test_endless_lines_and_records_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(atdf, "MAX_RECORD", 1000)
    with pytest.raises(InputError, match="a line of over 1000 bytes"):
        read(HEAD + "DTR:" + "x" * 2000)
    with pytest.raises(InputError, match="line 4: a record of over 1000 lines"):
        read(HEAD + "PRR:1|1\n" + " |1\n" * 2000)


def test_counts_and_units_that_are_not_known_are_left_out() -> None:
    unknown = 2**32 - 1
    end = f"WRR:1||9|W1|255|0|{unknown}|{unknown}\nHBR:255|0|1|{unknown}| |\n" + END
    (wafer,) = read(HEAD.replace("|R|D\n", "|R|D|0.0|2.0|1.5|7.5\n") + "WIR:1||255|W1\n" + DIES + end)
    assert (wafer.warnings, wafer.facts["die size"]) == ((), "1.5 x 2")


def test_a_time_that_is_none_is_left_out() -> None:
    for time in (
        "",
        "noon",
        "25:00:00 12-FEB-2020",
        "9:05:07 31-FEB-2020",
        "9:05:07 12-FOO-2020",
        "0:00:00 1-JAN-0001",
    ):
        (wafer,) = read(HEAD.replace("9:05:07 12-Feb-2020", time) + DIES + END)
        assert wafer.time == ""


def test_where_the_chunks_of_a_file_end_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    data = write_atdf([(WAFER, "L", "1"), (OTHER, "L", "2")], end="\r\n")
    for chunk in (1, 2, 3, 7, 64, 1000):
        monkeypatch.setattr(atdf, "CHUNK", chunk)
        assert [wafer.grid.tolist() for wafer in read(data)] == [WAFER.tolist(), OTHER.tolist()]


def test_a_file_cut_off_at_any_byte_gives_what_was_whole_and_says_so() -> None:
    whole = write_atdf([(WAFER, "L", "1"), (OTHER, "L", "2")])
    uncut = read(whole)
    whole_wafers = [0] * 3
    for size in range(10, whole.index(b"MRR:") + 3):
        try:
            found = read(whole[:size])
        except InputError as error:
            assert "without an end record" in str(error) or size < 20
            continue
        maps = [wafer for wafer in found if isinstance(wafer, WaferMap)]
        whole_wafers[len(maps)] += 1
        said = " ".join(found[-1].warnings) if isinstance(found[-1], WaferMap) else str(found[-1])
        assert f"The file ends in line {whole[:size].count(10)} without an end record (MRR)" in said
        for wafer, other in zip(maps, uncut, strict=False):
            row, col = wafer.corner[0] - other.corner[0], wafer.corner[1] - other.corner[1]
            rows, cols = wafer.grid.shape
            there = other.grid[row : row + rows, col : col + cols]
            assert np.array_equal(wafer.grid[wafer.grid > 0], there[wafer.grid > 0])
    assert min(whole_wafers) > 100


SMALL = write_atdf([(WAFER, "L", "1"), (OTHER, "L", "2")])


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.integers(4, len(SMALL) - 1), st.integers(0, 255)), min_size=1, max_size=8), st.booleans())
def test_a_damaged_file_gives_maps_or_an_input_error(changes: list[tuple[int, int]], lenient: bool) -> None:
    data = bytearray(SMALL)
    for at, value in changes:
        data[at] = value
    try:
        found = read(bytes(data), Options(lenient=lenient))
    except InputError:
        return
    for wafer in found:
        if isinstance(wafer, WaferMap):
            check_map(wafer.grid, "map")
