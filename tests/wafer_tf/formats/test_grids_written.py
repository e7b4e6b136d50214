"""Grids as people keep them: blanks, bins, names, letters; read where they are certain, else refused with a remedy."""

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from tests import SHARED
from tests.station import npy, text
from wafer_tf.dies import cropped, sides_fit
from wafer_tf.errors import InputError
from wafer_tf.formats import grids
from wafer_tf.formats import npy as npy_format
from wafer_tf.formats.grids import npy_grid, text_grid
from wafer_tf.formats.opened import Opened
from wafer_tf.formats.options import Options
from wafer_tf.formats.wafer_map import BinCount, WaferMap

CASES = SHARED / "cases"
needs_cases = pytest.mark.skipif(not CASES.is_dir(), reason="the cases are not beside the clone")
GRID = np.array([[0, 1, 1, 0], [1, 2, 1, 1], [1, 1, 2, 2], [0, 2, 1, 0]], np.uint8)
PASS_1 = Options(pass_bins=frozenset({"1"}))
MAPS = arrays(np.uint8, st.tuples(st.integers(3, 9), st.integers(4, 9)), elements=st.integers(0, 2)).filter(np.any)


def read(data: bytes, options: Options = Options(), name: str = "W1.csv") -> WaferMap:  # noqa: B008
    (wafer,) = grids.read(Opened.of_bytes(data, name), options).wafers
    assert isinstance(wafer, WaferMap)
    return wafer


def written(grid: NDArray[np.uint8], cells: tuple[str, str, str], mark: str = ",") -> bytes:
    return "".join(mark.join(cells[cell] for cell in row) + "\n" for row in grid.tolist()).encode()


def case(path: str, options: Options = Options()) -> NDArray[np.uint8]:  # noqa: B008
    return read((CASES / path).read_bytes(), options, path).grid


# === The cases ===


@needs_cases
@pytest.mark.parametrize(
    ("path", "options"),
    [
        ("11-excel-blanks/blank.csv", Options()),
        ("11-excel-blanks/compact.txt", Options()),
        ("11-excel-blanks/header.csv", Options()),
        ("11-excel-blanks/utf16.csv", Options()),
        ("11-excel-blanks/bins.csv", PASS_1),
        ("11-excel-blanks/dots.txt", Options(states=(".", "1", "X"))),
        ("10-binary-01/ring-minus1-0-1.csv", Options(states=("-1", "0", "1"))),
        ("10-binary-01/ring-nan-1good-0bad.csv", Options(states=("nan", "1", "0"))),
        ("10-binary-01/ring-0bad-1good-2absent.csv", Options(states=("2", "1", "0"))),
        ("14-empty-border/ring-border0.csv", Options()),
        ("14-empty-border/ring-border2.csv", Options()),
        ("14-empty-border/ring-border6.csv", Options()),
    ],
)
def test_the_ring_of_every_case_is_the_reference(path: str, options: Options) -> None:
    np.testing.assert_array_equal(case(path, options), case("00-reference/ring.csv"))


@needs_cases
@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("11-excel-blanks/bins.csv", "die state 5 at row 0, column 9.*If the cells are bins.*--pass-bins 1"),
        ("11-excel-blanks/dots.txt", r"'\.' at row 0.*cells hold '\.', '1', 'X'.*--states NONE,PASS,FAIL"),
        ("10-binary-01/ring-minus1-0-1.csv", "'-1' at row 0.*hold '-1', '0', '1'.*--states"),
        ("10-binary-01/ring-nan-1good-0bad.csv", "'nan' at row 0.*hold '0', '1', 'nan'.*--states"),
        ("10-binary-01/ring-0bad-1good-2absent.csv", "outside the wafer's circle are 2.*--states '2,1,0'"),
        ("10-binary-01/ring-0good-1bad.csv", "no die fails, and the dies fill only 27 % of.*--states ',0,1'"),
        ("10-binary-01/center-0good-1bad.csv", "no die fails, and the dies fill only 47 % of.*--states ',0,1'"),
    ],
)
def test_what_is_not_certain_is_refused_with_its_remedy(path: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        case(path)


@needs_cases
def test_no_map_of_a_folder_of_two_valued_maps_is_read_without_the_flag() -> None:
    paths = sorted((CASES / "10-binary-01" / "folder").glob("*/*.csv"))
    assert len(paths) == 24
    for path in paths:
        with pytest.raises(InputError, match=r"no die fails.*--states ',0,1'"):
            read(path.read_bytes())
        assert read(path.read_bytes(), Options(states=("", "0", "1"))).grid.all()


# === Blanks, bins, letters, names ===


@given(
    MAPS, st.sampled_from([("", "1", "2"), (".", "P", "F"), ("-", "pass", "fail")]), st.sampled_from([",", ";", "\t"])
)
def test_what_is_certain_is_read_and_said(grid: NDArray[np.uint8], cells: tuple[str, str, str], mark: str) -> None:
    """Both results are there, and so are three rows and columns of dies."""
    grid[0, 0], grid[-1, -1] = 1, 2
    if not sides_fit(cropped(grid)[0].shape):
        return
    found = read(written(grid, cells, mark))
    np.testing.assert_array_equal(found.grid, cropped(grid)[0])
    assert len(found.assumed) == (1 if cells[0] or not grid.all() else 0)


@given(
    MAPS,
    st.sampled_from([("", "0", "1"), ("-1", "0", "1"), ("nan", "1", "0"), ("0", "128", "255"), ("#", "A", "B")]),
    st.booleans(),
)
def test_values_read_as_the_user_says(grid: NDArray[np.uint8], states: tuple[str, str, str], names: bool) -> None:
    data = written(grid, states)
    if names:
        head = "," + ",".join(f"c{n}" for n in range(grid.shape[1]))
        data = "\n".join([head, *(f"{n},{line}" for n, line in enumerate(data.decode().splitlines()))]).encode()
    if names and (len(grid) < 4 or states[1] == "A"):
        return
    found = text_grid(data, "map", Options(states=states))
    width = found.shape[1]
    np.testing.assert_array_equal(found, grid[:, :width])
    assert not grid[:, width:].any()  # a last column of empty cells is none


@given(MAPS, st.sampled_from([(-1, 0, 1), (0, 128, 255), (np.nan, 1, 0), (9, 0, 1)]))
def test_values_of_an_npy_read_as_the_user_says(grid: NDArray[np.uint8], values: tuple[float, float, float]) -> None:
    data = npy(np.array(values)[grid])
    states = tuple(str(value) for value in values)
    np.testing.assert_array_equal(npy_grid(data, "map", Options(states=(states[0], states[1], states[2]))), grid)


def test_bins_are_counted_and_zero_is_no_die() -> None:
    found = read(b"0,1,1,0\n1,7,1,5\n1,1,1,1\n0,1,5,0\n", Options(pass_bins=frozenset({"1", "07"})))
    assert found.grid.tolist() == [[0, 1, 1, 0], [1, 1, 1, 2], [1, 1, 1, 1], [0, 1, 2, 0]]
    assert found.bins == (BinCount("1", True, 9), BinCount("7", True, 1), BinCount("5", False, 2))
    assert found.assumed == ("0 is no die (--states '0,1,')",)


def test_bins_with_both_blanks_and_zeros_ask_which_is_no_die() -> None:
    data = b",1,1,\n1,0,1,5\n,1,5,\n"
    with pytest.raises(InputError, match=r"cells of bin 0, and '' in others.*--states"):
        read(data, PASS_1)
    assert read(data, Options(pass_bins=frozenset({"1"}), states=("-", "1", ""))).grid[1, 1] == 2


def named(head: str, names: list[str]) -> bytes:
    """Return GRID as text with a first row, and a first column, of names."""
    lines = text(GRID).decode().split()
    return "\n".join([*head.split(), *(f"{name},{line}" for name, line in zip(names, lines, strict=True))]).encode()


@pytest.mark.parametrize(
    "data",
    [
        named(",0,1,2,3", ["0", "1", "2", "3"]),
        named("row\\col,1,2,3,4", ["4", "3", "2", "1"]),
        named("", ["R0", "R1", "R2", "R3"]),
        b"A,B,C,D\n" + text(GRID),
        b"0,1,2,3\n" + text(GRID),
    ],
)
def test_names_of_rows_and_columns_are_no_dies(data: bytes) -> None:
    found = read(data)
    np.testing.assert_array_equal(found.grid, GRID)
    assert any("holds names, no dies" in said for said in found.assumed)


@pytest.mark.parametrize(
    ("states", "says"),
    [
        (("0", "1", "1"), "expected different values"),
        (("", "", ""), "expected different values"),
        (("0", "1", "3"), "'2' at row 1, column 1; expected '0', '1', '3', as --states says"),
    ],
)
def test_states_that_do_not_fit_are_refused(states: tuple[str, str, str], says: str) -> None:
    for data, reader in ((text(GRID), text_grid), (npy(GRID), npy_grid)):
        with pytest.raises(InputError, match=says):
            reader(data, "map", Options(states=states))


# === As a format ===


def test_a_grid_is_cut_to_its_dies_and_says_where_they_were() -> None:
    for found in (
        read(text(np.pad(GRID, ((2, 1), (3, 4))))),
        next(npy_format.read(Opened.of_bytes(npy(np.pad(GRID, ((2, 1), (3, 4)))), "W1.npy")).wafers),
    ):
        assert isinstance(found, WaferMap)
        np.testing.assert_array_equal(found.grid, GRID)
        assert found.corner == (2, 3)


def test_the_notch_is_turned_down() -> None:
    np.testing.assert_array_equal(read(text(GRID), Options(orient=180)).grid, GRID[::-1, ::-1])


@given(st.binary(max_size=200))
def test_no_bytes_bring_it_down(data: bytes) -> None:
    for start in (b"", b"0,1\n", b"\xff\xfe", b"\x93NUMPY\x01\x00"):
        for reader in (grids.read, npy_format.read):
            for options in (Options(), PASS_1, Options(states=("0", "1", "2"))):
                try:
                    list(reader(Opened.of_bytes(start + data, "W1"), options).wafers)
                except InputError as error:
                    assert "W1" in str(error)


def test_a_plain_grid_stays_fast() -> None:
    grid = np.ones((300, 300), np.uint8)
    grid[150] = 2
    data = text(grid)
    begun = time.perf_counter()
    for _ in range(10):
        read(data)
    assert time.perf_counter() - begun < 0.5  # 2 ms each on an idle core; 90 times that cell by cell
