"""One wafer map from the bytes of a npy or text file: what is read, and what is refused with which words."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from tests.station import npy, text
from wafer_tf.dies import check_map
from wafer_tf.errors import InputError
from wafer_tf.formats.grids import MAX_BYTES, npy_grid, text_grid

GRID = np.array([[0, 1, 0, 1], [1, 2, 1, 1], [0, 1, 0, 2]], np.uint8)
MAPS = arrays(np.uint8, st.tuples(st.integers(3, 12), st.integers(3, 12)), elements=st.integers(0, 2)).filter(np.any)


def header(words: str, cells: bytes = b"\x01" * 9, version: bytes = b"\x01\x00") -> bytes:
    return b"\x93NUMPY" + version + (118).to_bytes(2, "little") + words.encode().ljust(117) + b"\n" + cells


# === npy ===


@given(MAPS, st.sampled_from(["u1", "i1", ">i2", "<u4", ">i8", "<f2", ">f4", "<f8"]), st.sampled_from("CF"))
def test_every_number_type_and_order_of_an_npy_gives_the_same_map(
    grid: NDArray[np.uint8], dtype: str, order: str
) -> None:
    found = npy_grid(npy(grid.astype(dtype), order=order), "map")
    assert found.dtype == np.uint8
    assert found.flags.c_contiguous
    np.testing.assert_array_equal(found, grid)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (npy(GRID)[:-1], "truncated npy file: 139 bytes; expected 140"),
        (npy(GRID) + b"\0", "more than one npy array: 141 bytes; expected 140"),
        (npy(GRID) * 2, "more than one npy array"),
        (npy(GRID.astype(bool)), "cells of type bool"),
        (npy(GRID.astype("c8")), "cells of type complex64"),
        (npy(GRID.astype("f16")), "cells of type float128"),
        (npy(GRID.astype("S1")), r"cells of type \|S1"),
        (npy(GRID.astype("M8[s]")), r"cells of type datetime64\[s\]"),
        (npy(np.where(GRID == 2, 7, GRID)), "die state 7 at row 1, column 1"),
        (npy(np.where(GRID == 2, -1, GRID.astype(np.int8))), "die state -1 at row 1, column 1"),
        (npy(np.where(GRID == 2, np.nan, GRID)), "die state nan at row 1, column 1"),
        (npy(np.where(GRID == 2, np.inf, GRID)), "die state inf at row 1, column 1"),
        (npy(np.where(GRID == 2, 1.5, GRID)), "die state 1.5 at row 1, column 1"),
        (npy(np.where(GRID == 2, 2**40, GRID.astype(np.int64))), "die state 1099511627776 at row 1"),
        (npy(np.where(GRID == 2, 256, GRID.astype(np.int16))), "die state 256 at row 1"),
        (npy(np.zeros_like(GRID)), "no die at all"),
        (npy(GRID[None]), "1 x 3 x 4 cells"),
        (npy(GRID[:2]), "2 x 4 cells"),
        (npy(np.ones((3, 2001), np.uint8)), "3 x 2001 cells"),
        (header("{'descr': '|u1', 'fortran_order': False, 'shape': (99999, 99999)}"), "99999 x 99999 cells"),
        (header("{'descr': '|O', 'fortran_order': False, 'shape': (3, 3)}"), "pickled objects, which are not read"),
        (header("{'descr': '|u1', 'fortran_order': False, 'shape': (-3, -3)}"), "no npy header"),
        (header("{'descr': (), 'fortran_order': False, 'shape': (3, 3)}"), "no npy header"),
        (header("__import__('os').getcwd()"), "no npy header"),
        (b"\x93NUMPY\x01\x00\xff\xff" + b" " * 70_000, "a npy header of 65545 bytes; expected at most 1024"),
        (b"\x93NUMPY\x02\x00\xff\xff\xff\xff", "a npy header of 4294967307 bytes"),
        (b"\x93NUMPY", "no npy header"),
    ],
)
def test_an_npy_that_is_no_map_is_refused_by_what_is_wrong(data: bytes, says: str) -> None:
    with pytest.raises(InputError, match=says) as error:
        npy_grid(data, "lot7/W03.npy")
    assert "lot7/W03.npy" in str(error.value)


def test_an_odd_but_good_npy_header_is_read() -> None:
    for words in (
        "{'shape': (3, 3), 'fortran_order': False, 'descr': '|u1'}",
        "{'descr': '|u1', 'fortran_order': False, 'shape': (3L, 3L)}",
    ):
        np.testing.assert_array_equal(npy_grid(header(words), "map"), np.ones((3, 3)))


@given(arrays(np.int16, (4, 5), elements=st.integers(-2, 4)))
def test_the_fast_check_of_a_map_lets_through_what_the_definition_does(grid: NDArray[np.int16]) -> None:
    good = set(grid.ravel().tolist()) <= {0, 1, 2} and bool(grid.any())
    kinds: list[Any] = [np.int16, np.int64, np.float64] + ([np.uint8, np.uint32] if grid.min() >= 0 else [])
    for kind in kinds:
        if good:
            np.testing.assert_array_equal(check_map(grid.astype(kind), "map"), grid)
        else:
            with pytest.raises(InputError):
                check_map(grid.astype(kind), "map")


# === Text ===


@given(MAPS, st.sampled_from([",", ";", "\t", " "]), st.sampled_from(["\n", "\r\n"]), st.booleans(), st.booleans())
def test_every_plain_text_form_gives_the_same_map(
    grid: NDArray[np.uint8], mark: str, end: str, ended: bool, marked: bool
) -> None:
    data = text(grid, mark, end)
    data = data if ended else data.removesuffix(end.encode())
    np.testing.assert_array_equal(text_grid(b"\xef\xbb\xbf" * marked + data, "map"), grid)


@pytest.mark.parametrize(
    "form",
    [
        lambda data: data.replace(b",", b", "),
        lambda data: data.replace(b"\n", b",\n"),
        lambda data: data.replace(b",", b"  "),
        lambda data: data.replace(b"2", b"2.0"),
        lambda data: data.replace(b"1", b"01"),
        lambda data: data.replace(b"\n", b"\r"),
        lambda data: b"\n\n" + data + b" \n\n",
        lambda data: data.replace(b",", b" \t "),
        lambda data: data.replace(b",", b""),
        lambda data: data.replace(b"\n", b"\r\r\n"),
        lambda data: data.decode().encode("utf-16"),
        lambda data: data.replace(b",", b";").replace(b"2", b"2,0"),
    ],
    ids=[
        *("blank after", "mark at the end", "two blanks", "decimals", "leading zero", "old Mac", "blank lines", "tabs"),
        *("no separators", "two ends of line", "UTF-16", "decimal comma"),
    ],
)
def test_other_text_forms_give_the_same_map(form: Any) -> None:
    np.testing.assert_array_equal(text_grid(form(text(GRID)), "map"), GRID)


@given(
    MAPS,
    st.integers(0, 200),
    st.sampled_from([b"", b"2", b"3", b" ", b",", b"x", b"\n", b"\r\n", b"-1", b"nan", b"\xb2"]),
)
def test_a_changed_cell_is_never_read_as_another_map(grid: NDArray[np.uint8], at: int, new: bytes) -> None:
    """Whatever is put in the place of one byte, the map read has its die states from the cells of its lines."""
    data = text(grid)
    at %= len(data)
    changed = data[:at] + new + data[at + 1 :]
    try:
        found = text_grid(changed, "map")
    except InputError:
        return
    lines = [line.replace(b" ", b"").split(b",") for line in changed.split(b"\n") if line.strip()]
    states = [[float(cell) for cell in line if cell and float(cell)] for line in lines]
    assert [row[row > 0].tolist() for row in found] == states


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (text(GRID).decode().encode("utf-16-le"), "neither npy, npz nor text .damaged, or UTF-16 without its"),
        (b"\xff\xfe\x00", "UTF-16"),
        (b"0,1\xff,2\n" * 3, "not a text file .invalid start byte at byte 3"),
        (text(GRID) + b"\n" + text(GRID), "a blank line after row 2; expected one grid per file"),
        (text(GRID).replace(b"\n", b"\n\n", 1), "a blank line after row 0"),
        (b"0,1,0\n1,2\n0,1,0\n", "row 1 has 2 cells, row 0 has 3"),
        (b"0,,1\n" * 3, "'' at row 0, column 1.*--states"),
        (b"a,b,c\n" + b"0,1,x\n" * 3, "'a' at row 0, column 0.*without header"),
        (b"0,1,-2\n" * 3, "'-2' at row 0, column 2"),
        (b"0,1,nan\n" * 3, "'nan' at row 0, column 2"),
        (b"0,1,1e0\n" * 3, "'1e0' at row 0"),
        (b"0,1,0.5\n" * 3, "die state 0.5 at row 0, column 2"),
        (b"0,1,7\n" * 3, "die state 7 at row 0, column 2"),
        (b"0,1," + b"9" * 400 + b"\n" + b"0,1,2\n" * 3, "die state inf at row 0, column 2"),
        (b"12\n" * 3, "3 x 2 cells"),
        (b"012\n12\n012\n", "row 1 has 2 characters, row 0 has 3, and nothing parts them"),
        (b"010201\n" * 3, "every other character is 0.*two digits"),
        (b"0,0,0\n" * 3, "no die at all"),
        (b"", "0 x 0 cells"),
        (b"\n", "0 x 0 cells"),
        (b"1 " * MAX_BYTES, f"over {MAX_BYTES} bytes"),
    ],
)
def test_a_text_that_is_no_map_is_refused_by_what_is_wrong(data: bytes, says: str) -> None:
    with pytest.raises(InputError, match=says) as error:
        text_grid(data, "lot7/W03.csv")
    assert "lot7/W03.csv" in str(error.value)
