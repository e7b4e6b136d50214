import codecs

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.wafer_tf.formats.grid_files import CASES, SMALL, TURNS, opened, the_wafer, wafers_or_refusals
from tests.wafer_tf.formats.writers_grids import write_sinf
from wafer_tf.errors import InputError
from wafer_tf.formats.options import Options
from wafer_tf.formats.sinf import read

RING = CASES / "01-sinf-two-good-bins" / "ring.sinf"


@pytest.mark.skipif(not RING.exists(), reason="the cases are not at hand")
def test_both_good_bins_of_the_case_pass() -> None:
    data = RING.read_bytes()
    for bcequ in (b"BCEQU:01 07", b"BCEQU:01,07", b"BCEQU: 1, 7 "):
        wafer = the_wafer(data.replace(b"BCEQU:01 07", bcequ))
        assert wafer.grid.shape == (26, 26)
        assert [tuple(one) for one in wafer.bins] == [("01", True, 356), ("07", True, 41), ("0F", False, 143)]
        assert (wafer.lot, wafer.wafer, wafer.product) == ("LOTA", "03", "TESTDEV")
        assert wafer.facts == {"die size": "5.0 x 5.0 mm"}
        assert wafer.assumed == wafer.warnings == ()


@pytest.mark.parametrize("orientation", TURNS)
def test_every_place_of_the_notch_gives_the_same_array(orientation: int) -> None:
    wafer = the_wafer(write_sinf(SMALL, orientation=orientation))
    assert wafer.grid.tolist() == SMALL.tolist()
    assert bool(wafer.assumed) == (orientation in (90, 270))
    assert wafer.facts == {}  # XDIES 0.0, YDIES blank


def test_cells_of_three_characters_and_skipped_dies_are_read() -> None:
    assert the_wafer(write_sinf(SMALL, codes=("___", "001", "00A"))).grid.tolist() == SMALL.tolist()
    assert the_wafer(write_sinf(SMALL, codes=("@@@", "001", "00A"))).grid.tolist() == SMALL.tolist()
    assert the_wafer(write_sinf(SMALL, codes=("@@", "01", "0a"))).grid.tolist() == SMALL.tolist()


def test_line_ends_marks_and_blanks_do_not_matter() -> None:
    data = write_sinf(SMALL)
    for other in (
        data.replace(b"\n", b"  \r\n"),
        codecs.BOM_UTF8 + data,
        data.decode().encode("utf-16"),
        data.replace(b":", b": \t"),
        data.replace(b"RowData", b"ROWDATA") + b"\n\n\n",
    ):
        assert the_wafer(other).grid.tolist() == SMALL.tolist()


def test_an_empty_bcequ_means_bin_1_and_it_is_said() -> None:
    wafer = the_wafer(write_sinf(SMALL, good=""))
    assert wafer.grid.tolist() == SMALL.tolist()
    assert wafer.assumed == ("bin 1 passes and all others fail, BCEQU being empty (--pass-bins)",)


def test_pass_bins_and_orient_override_the_file() -> None:
    wafer = the_wafer(write_sinf(SMALL), Options(pass_bins=frozenset({"A"}), orient=90))
    assert wafer.grid.tolist() == np.rot90(np.where(SMALL, 3 - SMALL, 0)).tolist()


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (b"ROWCT:5", b"ROWCT:6", "5 RowData lines, the last on line 17; expected 6, as ROWCT says"),
        (b"COLCT:7", b"COLCT:8", "line 13 has 7 dies; expected 8, as COLCT says"),
        (b"ROWCT:5", b"ROWCT:1000000000", "1000000000 rows x 7 columns; expected at most"),
        (b"ROWCT:5", b"ROWCT:5.5", "ROWCT '5.5'; expected a whole number"),
        (b"__ 01 01 01 01 01 __", b"__ 01 01", "line 17 has 3 dies; expected 7"),
        (b"__ 01 01 01 01 01 __", b"__ 01 01 001 01 01 __", "line 17: '001'; expected dies of 2 or 3 characters"),
        (b"__ 01 01 01 01 01 __", b"__ 01 01 0G 01 01 __", "'0G' at row 5, column 4; expected hexadecimal digits"),
        (b"FNLOC:180", b"FNLOC:30", "FNLOC '30'; expected 0, 90, 180 or 270.*--orient"),
        (b"RowData:01 01", b"RowDatt:01 01", "line 16: no RowData, between rows"),
        (b"RowData", b"Row", "no RowData line with dies"),
        (b" 01", b" __", "no die at all|'0A'"),
    ],
)
def test_a_damaged_file_is_refused_for_what_is_wrong(old: bytes, new: bytes, said: str) -> None:
    data = write_sinf(SMALL)
    assert old in data
    if old == b" 01":
        data = data.replace(b"0A", b"__").replace(b":01 ", b":__ ")
    with pytest.raises(InputError, match=said):
        the_wafer(data.replace(old, new))


def test_one_row_of_thirty_megabytes_is_refused() -> None:
    with pytest.raises(InputError, match="over 20000000 bytes"):
        the_wafer(write_sinf(SMALL) + b"RowData:" + b"01 " * 10_000_000)
    with pytest.raises(InputError, match="expected a row of 2000 dies"):
        the_wafer(write_sinf(SMALL) + b"RowData:" + b"01 " * 1_000_000)


@given(st.data())
def test_a_mutated_file_is_refused_or_has_the_stated_size(data: st.DataObject) -> None:
    whole = bytearray(write_sinf(SMALL))
    for _ in range(data.draw(st.integers(1, 3))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    for wafer in wafers_or_refusals(read, bytes(whole)):
        assert wafer.grid.any() and max(wafer.grid.shape) <= 7


def test_the_format_is_named() -> None:
    assert opened(write_sinf(SMALL)).format == "SINF"
