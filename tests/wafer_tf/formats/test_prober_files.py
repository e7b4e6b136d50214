import re
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import SHARED
from tests.wafer_tf.formats.grid_files import SMALL, TURNS, opened, the_wafer, wafers_or_refusals
from tests.wafer_tf.formats.writers_grids import (
    Grid,
    write_e142_variant,
    write_electroglas,
    write_g85,
    write_sinf,
    write_tsk,
    write_wmap,
)
from wafer_tf.errors import InputError
from wafer_tf.formats import electroglas, tsk, wmap
from wafer_tf.formats.options import Options


def _round(rows: int, cols: int, dies: int) -> Grid:
    """Return a wafer of passing dies, those nearest to its centre."""
    y, x = np.mgrid[-1 : 1 : rows * 1j, -1 : 1 : cols * 1j]
    grid = np.zeros(rows * cols, np.uint8)
    grid[np.argsort((x * x + y * y).ravel(), kind="stable")[:dies]] = 1
    return grid.reshape(rows, cols)


def test_the_same_wafer_six_ways_is_one_array() -> None:
    files = {
        "SINF": write_sinf(SMALL, orientation=180),
        "SEMI G85": write_g85(SMALL, orientation=90),
        "SEMI E142": write_e142_variant(SMALL, orientation=270, origin="LowerRight", axis="UpLeft"),
        "WMAP": write_wmap(SMALL),
        "Electroglas": write_electroglas(SMALL),
        "TSK": write_tsk(SMALL, orientation=180),
    }
    for kind, data in files.items():
        assert opened(data).format == kind
        assert the_wafer(data).grid.tolist() == SMALL.tolist(), kind


# === WMAP ===


def test_a_wmap_of_the_size_of_the_real_one_keeps_its_figures() -> None:
    grid = _round(115, 121, 10_966)
    wafer = the_wafer(write_wmap(grid))
    assert wafer.grid.tolist() == grid.tolist()
    assert [tuple(one) for one in wafer.bins] == [("01", True, 10_966)]
    assert (wafer.grid == 0).sum() == 2_949
    assert (wafer.lot, wafer.wafer) == ("LOTA", "03")
    assert wafer.assumed == ("the notch is down, which the file does not say (--orient)",)
    assert opened(write_wmap(grid)).version == "3.2"


@pytest.mark.parametrize("orientation", TURNS)
def test_a_wmap_is_turned_by_orient(orientation: int) -> None:
    data = write_wmap(SMALL, orientation=orientation)
    assert the_wafer(data, Options(orient=orientation)).grid.tolist() == SMALL.tolist()  # type: ignore[arg-type]


def test_a_refusal_quotes_no_long_name_in_full() -> None:
    with pytest.raises(InputError, match=r", wafer W{40}: \d+ good dies") as told:
        the_wafer(re.sub(rb"WAFID \S+", b"WAFID " + b"W" * 9000, write_wmap(SMALL)).replace(b"SUMPAS 21", b"SUMPAS 22"))
    assert len(str(told.value)) < 400


def test_skipped_codes_of_a_wmap_are_no_die() -> None:
    data = write_wmap(SMALL).replace(b"0A", b"XX")
    assert the_wafer(data).grid.tolist() == np.where(SMALL == 1, 1, 0).tolist()


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (b"SUMPAS 21", b"SUMPAS 22", "22 good dies by its SUMPAS, 21 in the map.*--lenient"),
        (b"ROWCNT 5", b"ROWCNT 6", "5 MAP lines, the last on line 13; expected 6, as ROWCNT says"),
        (b"ROWCNT 5", b"ROWCNT 1000000000", "1000000000 rows x 7 columns"),
        (b"COLCNT 7", b"COLCNT 8", "row 1 has 14 characters; expected 16"),
        (b"COLCNT 7", b"COLCNT x", "COLCNT 'x'; expected a whole number"),
        (b"MAP003", b"MAP004", "line 11: MAP004; expected MAP003"),
        (b"MAP00", b"MAX00", "no MAP001 line"),
    ],
)
def test_a_damaged_wmap_is_refused_for_what_is_wrong(old: bytes, new: bytes, said: str) -> None:
    assert old in write_wmap(SMALL)
    with pytest.raises(InputError, match=said):
        the_wafer(write_wmap(SMALL).replace(old, new))


# === Electroglas ===


@pytest.mark.parametrize("orientation", TURNS)
@pytest.mark.parametrize("y_axis", ["down", "up"])
def test_an_electroglas_list_needs_the_notch_and_the_axis(orientation: int, y_axis: str) -> None:
    data = write_electroglas(SMALL, orientation=orientation, y_up=y_axis == "up")
    wafer = the_wafer(data, Options(orient=orientation, y_axis=y_axis))  # type: ignore[arg-type]
    assert wafer.grid.tolist() == SMALL.tolist() and wafer.assumed == ()
    said = the_wafer(write_electroglas(SMALL))
    notch = "the notch is down, which the file does not say (--orient)"
    assert said.assumed == ("y grows downward (--y-axis down)", notch)
    assert said.corner == (-2, -3)
    assert [tuple(one) for one in said.bins] == [("1", True, 21), ("10", False, 5)]


def test_a_die_tested_again_counts_by_retest() -> None:
    data = write_electroglas(SMALL) + b"X-1Y-2\t1\r\nX0Y-2\t7\r\n"  # the first fail passes, a pass fails
    last, first, best = (the_wafer(data, Options(retest=how)) for how in ("last", "first", "best"))  # type: ignore[arg-type]
    assert last.grid[0, 2:4].tolist() == [1, 2]
    assert first.grid[0, 2:4].tolist() == [2, 1]
    assert best.grid[0, 2:4].tolist() == [1, 1]
    assert last.retested == first.retested == best.retested == 2


def test_a_damaged_electroglas_line_is_named() -> None:
    with pytest.raises(InputError, match="line 3: 'X1Y-2'; expected XnYn"):
        the_wafer(write_electroglas(SMALL).replace(b"X1Y-2\t1", b"X1Y-2 "))
    with pytest.raises(InputError, match=r"dies span .* columns; expected at most"):
        the_wafer(write_electroglas(SMALL) + b"X99999Y1\t1\n")


# === TSK ===


@pytest.mark.parametrize("orientation", TURNS)
def test_a_tsk_file_is_turned_by_its_flat(orientation: int) -> None:
    wafer = the_wafer(write_tsk(SMALL, orientation=orientation))
    assert wafer.grid.tolist() == SMALL.tolist()
    assert (wafer.lot, wafer.wafer, wafer.product, wafer.time) == ("LOTA", "LOTA-03", "CHIP7", "2026-11-26T19:30:00")
    assert [tuple(one) for one in wafer.bins] == [("1", True, 21), ("57", False, 5)]
    assert wafer.facts == {"x grows": "to the right", "y grows": "backward"}


def test_a_tsk_file_of_the_real_one_s_figures() -> None:
    grid = _round(58, 47, 2_134)
    grid.ravel()[np.flatnonzero(grid)[:590]] = 2
    data = write_tsk(grid)
    assert struct.unpack_from(">HH", data, 52) == (49, 60)
    wafer = the_wafer(data)
    assert wafer.grid.tolist() == grid.tolist() and wafer.corner == (1, 1)
    assert [tuple(one) for one in wafer.bins] == [("1", True, 1_544), ("57", False, 590)]


def test_dies_not_tested_are_none_and_it_is_said() -> None:
    data = bytearray(write_tsk(SMALL, counts=(20, 5)))
    place = 236 + 6 * (1 * 9 + 4)  # the die at row 0, column 3
    data[place] &= 0x3F
    wafer = the_wafer(bytes(data))
    assert wafer.grid[0].tolist() == [0, 0, 2, 0, 1, 0, 0]
    assert wafer.warnings == ("1 dies were not tested, and are read as no die.",)


def test_counts_of_a_tsk_header_that_differ_are_refused() -> None:
    with pytest.raises(InputError, match=r"20 good dies by the header, 21 in the map.*--lenient"):
        the_wafer(write_tsk(SMALL, counts=(20, 6)))
    assert len(the_wafer(write_tsk(SMALL, counts=(20, 5)), Options(lenient=True)).warnings) == 2
    assert "the header counts no die" in the_wafer(write_tsk(SMALL, counts=(0, 0))).warnings[0]


def test_a_tsk_row_that_stands_where_another_belongs_is_refused() -> None:
    data, row = write_tsk(np.ones((9, 9), np.uint8)), (9 + 2) * tsk.DIE
    swapped = bytearray(data)
    third, fourth = (slice(tsk.HEADER + n * row, tsk.HEADER + (n + 1) * row) for n in (2, 3))
    swapped[third], swapped[fourth] = data[fourth], data[third]
    with pytest.raises(InputError, match=r"18 of 81 dies are not where their own y says, the first at row 2, column 1"):
        the_wafer(bytes(swapped))
    (warning,) = the_wafer(bytes(swapped), Options(lenient=True)).warnings
    assert "not where their own y says" in warning


def test_a_tsk_file_without_coordinates_is_read() -> None:
    data = bytearray(write_tsk(SMALL))
    words = np.frombuffer(data, ">u2", offset=tsk.HEADER).reshape(-1, 3)
    words[:, :2] &= 0xFE00
    np.testing.assert_array_equal(the_wafer(bytes(data)).grid, SMALL)


def test_a_tsk_file_of_more_dies_than_its_fields_count_is_read() -> None:
    grid = np.ones((260, 300), np.uint8)
    assert the_wafer(write_tsk(grid)).grid.sum() == 78_000


def test_a_tsk_file_cut_off_is_refused_and_one_with_more_is_read() -> None:
    data = write_tsk(SMALL)
    assert the_wafer(data + bytes(172)).grid.tolist() == SMALL.tolist()
    with pytest.raises(InputError, match="613 bytes; expected 614 for 7 rows x 9 columns"):
        the_wafer(data[:-1])


def test_pass_bins_are_categories_of_a_tsk_file() -> None:
    wafer = the_wafer(write_tsk(SMALL), Options(pass_bins=frozenset({"57"})))
    assert wafer.grid.tolist() == np.where(SMALL, 3 - SMALL, 0).tolist()


def test_nothing_else_is_taken_for_a_tsk_file() -> None:
    others = [path.read_bytes()[: 1 << 16] for path in sorted((SHARED / "data" / "formats").glob("*"))]
    others += [path.read_bytes()[: 1 << 16] for path in sorted((SHARED / "cases").rglob("*")) if path.is_file()]
    others += [
        write_sinf(SMALL),
        write_sinf(_round(99, 99, 7_000)).decode().encode("utf-16-be"),
        bytes(5000),
        b"\xff" * 5000,
    ]
    others += [bytes(range(256)) * 20, np.arange(10_000, dtype=">u2").tobytes(), b"Z" * 5000]
    others += [("Z" * 5000).encode("utf-16-be"), np.random.default_rng(1).bytes(1 << 16)]
    assert not any(tsk.is_tsk(head) for head in others)
    assert tsk.is_tsk(write_tsk(SMALL)) and not tsk.is_tsk(write_tsk(SMALL)[:240])


# === Damage ===


@pytest.mark.parametrize(
    ("write", "reader"), [(write_wmap, wmap.read), (write_electroglas, electroglas.read), (write_tsk, tsk.read)]
)
@given(st.data())
def test_a_mutated_file_is_refused_or_is_a_map(write: object, reader: object, data: st.DataObject) -> None:
    assert callable(write) and callable(reader)
    whole = bytearray(write(SMALL))
    for _ in range(data.draw(st.integers(1, 3))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    for wafer in wafers_or_refusals(reader, bytes(whole)):
        assert np.bincount(wafer.grid.ravel(), minlength=3)[1:].tolist() == [
            sum(one.dies for one in wafer.bins if one.passing is passing) for passing in (True, False)
        ]
        if reader is tsk.read and not wafer.warnings:
            assert (wafer.grid == 1).sum() == 21 and (wafer.grid == 2).sum() == 5


def test_long_lines_and_many_lines_are_refused_in_time() -> None:
    for data in (
        write_wmap(SMALL) + b"MAP006 " + b"01" * 5_000_000,
        write_electroglas(SMALL) + b"X1Y1\t" + b"1" * 10_000_000,
        write_electroglas(SMALL) + b"\n" * 3_000_000 + b"X1Y",
    ):
        with pytest.raises(InputError):
            the_wafer(data)
