import io
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.wafer_tf.formats.grid_files import CASES, FORMATS, SMALL, TURNS, opened, the_wafer, wafers_or_refusals
from tests.wafer_tf.formats.writers_grids import CODES, write_g85
from wafer_tf.errors import InputError
from wafer_tf.formats.g85 import read
from wafer_tf.formats.options import Options
from wafer_tf.formats.wafer_map import UnreadWaferError

REAL = FORMATS / "SEMI_G85_1101_MIN.xml"
CENTER = CASES / "02-g85-xml" / "center.xml"
real = pytest.mark.skipif(not REAL.exists(), reason="the real files are not at hand")
case = pytest.mark.skipif(not CENTER.exists(), reason="the cases are not at hand")


@real
def test_the_real_file_has_the_figures_it_states() -> None:
    file = opened(REAL.read_bytes())
    (wafer,) = file.wafers
    assert not isinstance(wafer, InputError)
    assert (file.format, file.version) == ("SEMI G85", "1101")
    assert wafer.grid.shape == (60, 60)
    assert [tuple(one) for one in wafer.bins] == [("00", True, 2765), ("AD", False, 5), ("DE", False, 38)]
    assert np.bincount(wafer.grid.ravel()).tolist() == [3600 - 2808, 2765, 43]
    assert wafer.grid[0, 27:34].tolist() == [2, 2, 2, 2, 2, 1, 2]  # DE DE AD DE DE 00 DE
    assert wafer.wafer == "P6AB36-01"
    assert wafer.assumed == wafer.warnings == ()


@case
def test_the_case_is_a_cluster_in_the_centre() -> None:
    wafer = the_wafer(CENTER.read_bytes())
    assert wafer.grid.shape == (26, 26)
    assert np.bincount(wafer.grid.ravel()).tolist() == [136, 483, 57]
    assert (wafer.grid[8:18, 8:18] == 2).sum() == 47  # of 57
    assert (wafer.lot, wafer.wafer) == ("LOTA", "W03")


@pytest.mark.parametrize("orientation", TURNS)
@pytest.mark.parametrize("bin_type", CODES)
def test_every_bin_type_and_orientation_gives_the_same_array(bin_type: str, orientation: int) -> None:
    wafer = the_wafer(write_g85(SMALL, orientation=orientation, bin_type=bin_type))
    assert wafer.grid.tolist() == SMALL.tolist()
    assert (wafer.lot, wafer.wafer, wafer.product, wafer.time) == ("LOTA", "03", "CHIP7", "2026-11-26T19:30:00")
    assert [one.dies for one in wafer.bins] == [(SMALL == 1).sum(), (SMALL == 2).sum()]
    assert bool(wafer.assumed) == (orientation in (90, 270))


@pytest.mark.parametrize("orientation", TURNS)
def test_orient_overrides_the_file(orientation: int) -> None:
    data = write_g85(SMALL, orientation=0)
    turned = the_wafer(data, Options(orient=orientation)).grid  # type: ignore[arg-type]
    assert turned.tolist() == np.rot90(SMALL, orientation // 90).tolist()


def test_names_of_any_case_with_a_prefix_in_utf_16_are_read() -> None:
    text = write_g85(SMALL).decode().replace("<Map xmlns=", "<g:MAP xmlns:g=").replace("</Map>", "</g:MAP>")
    text = text.replace("NullBin", "NULLBIN").replace("BinType", "bintype").replace("Row>", "ROW>")
    text = text.replace('<?xml version="1.0"?>', '\n<?xml version="1.0" encoding="utf-16"?>').lstrip()
    assert the_wafer(text.encode("utf-16")).grid.tolist() == SMALL.tolist()


def test_several_devices_and_maps_are_as_many_wafers() -> None:
    one, two = (write_g85(SMALL, wafer=name).split(b"\n", 1)[1] for name in ("01", "02"))
    inner = one.replace(b"</Map>", b"") + two[two.index(b"<Device") :]
    wafers = list(opened(b"<Maps>" + inner + two + b"</Maps>").wafers)
    assert [getattr(wafer, "wafer", "") for wafer in wafers] == ["01", "01", "02"]


def test_the_null_bin_wins_over_a_bin_that_lists_it() -> None:
    data = write_g85(SMALL).replace(b"<Data", b'<Bin BinCode="ff" BinQuality="Fail" BinCount="3"/><Data')
    wafer = the_wafer(data)
    assert wafer.grid.tolist() == SMALL.tolist()
    assert [one.name for one in wafer.bins] == ["01", "0A"]


def test_a_count_that_differs_is_refused_or_with_lenient_said() -> None:
    good = int((SMALL == 1).sum())
    data = write_g85(SMALL).replace(f'BinCount="{good}"'.encode(), b'BinCount="7"')
    with pytest.raises(InputError, match=rf"wafer 03: bin 01 has 7 dies by its BinCount, {good} in the map.*--lenient"):
        the_wafer(data)
    assert "7 dies by its BinCount" in the_wafer(data, Options(lenient=True)).warnings[0]


def test_a_row_of_another_length_is_named_and_the_next_wafer_is_read() -> None:
    row = re.search(rb"<Row><!\[CDATA\[(FF.*?)\]", write_g85(SMALL))
    assert row
    broken = write_g85(SMALL, wafer="01").split(b"\n", 1)[1].replace(row[1], row[1][:-2], 1)
    whole = write_g85(SMALL, wafer="02").split(b"\n", 1)[1]
    first, second = opened(b"<Maps>" + broken + whole + b"</Maps>").wafers
    assert isinstance(first, UnreadWaferError) and (first.lot, first.wafer) == ("LOTA", "01")
    assert "wafer 01: row 1 has 12 characters; expected 14: 7 dies of 2 each" in str(first)
    assert not isinstance(second, InputError) and second.wafer == "02"


def test_a_missing_row_is_refused() -> None:
    data = re.sub(rb"<Row>.*?</Row>", b"", write_g85(SMALL), count=1)
    with pytest.raises(InputError, match="4 rows, 5 by its Rows"):
        the_wafer(data)


def test_pass_bins_override_the_qualities() -> None:
    wafer = the_wafer(write_g85(SMALL), Options(pass_bins=frozenset({"a"})))
    assert wafer.grid.tolist() == np.where(SMALL, 3 - SMALL, 0).tolist()
    assert [(one.name, one.passing) for one in wafer.bins] == [("0A", True), ("01", False)]
    assert (
        "no die has a bin of --pass-bins 77"
        in the_wafer(write_g85(SMALL), Options(pass_bins=frozenset({"77"}))).warnings[0]
    )


def test_without_qualities_bin_1_passes_and_it_is_said() -> None:
    data = write_g85(SMALL).replace(b"Pass", b"BIN1").replace(b"Fail", b"BIN10")
    wafer = the_wafer(data)
    assert wafer.grid.tolist() == SMALL.tolist()
    assert wafer.assumed == ("bin 1 passes and all others fail, the file giving no bin's quality (--pass-bins)",)


def test_without_a_null_bin_what_fills_the_corners_is_no_die() -> None:
    wafer = the_wafer(write_g85(SMALL).replace(b' NullBin="FF"', b""))
    assert wafer.grid.tolist() == SMALL.tolist()
    assert "'FF', which fills the corners" in wafer.assumed[0]


def test_rows_of_an_origin_below_still_begin_at_the_top_unless_told() -> None:
    data = write_g85(SMALL).replace(b'OriginLocation="2"', b'OriginLocation="3"')
    wafer = the_wafer(data)
    assert wafer.grid.tolist() == SMALL.tolist() and "(--y-axis down)" in wafer.assumed[0]
    assert the_wafer(data, Options(y_axis="up")).grid.tolist() == SMALL[::-1].tolist()


def test_skipped_dies_are_none_and_a_bin_not_defined_fails() -> None:
    data = write_g85(SMALL).replace(b'BinCode="0A" BinQuality="Fail"', b'BinCode="0A" BinQuality="Skip"')
    wafer = the_wafer(data)
    assert (wafer.grid == 2).sum() == 0 and "places of bin 0A, Skip, are read as no die" in wafer.warnings[0]
    data = re.sub(rb'<Bin BinCode="0A".*?/>', b"", write_g85(SMALL))
    wafer = the_wafer(data)
    assert (
        wafer.grid.tolist() == SMALL.tolist() and "of bin 0A, which the file does not define, fail" in wafer.warnings[0]
    )


def test_margins_are_cut_and_the_corner_says_where_they_were() -> None:
    wafer = the_wafer(write_g85(np.pad(SMALL, ((2, 1), (3, 4)))))
    assert wafer.grid.tolist() == SMALL.tolist() and wafer.corner == (2, 3)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (b'Rows="5"', b'Rows="1000000000"', "1000000000 rows x 7 columns; expected at most"),
        (b'Rows="5"', b'Rows="-5"', "Rows -5; expected at least 1"),
        (b'Rows="5"', b'Rows="five"', "Rows 'five'; expected a whole number"),
        (b'"HexaDecimal"', b'"Octal"', "BinType 'Octal'; expected Ascii, Decimal, HexaDecimal or Integer2"),
        (b'Orientation="0"', b'Orientation="45"', "Orientation '45'; expected 0, 90, 180 or 270.*--orient"),
        (b"CDATA[FFFF0A", b"CDATA[FFFF0X", "'0X' at row 1, column 3; expected hexadecimal digits"),
        (b"CDATA[FF", "CDATA[F\xe9".encode(), "expected bin codes in ASCII"),
        (b"<Row>", b"<Raw>", "mismatched tag"),
        (b"?>", b'?><!DOCTYPE Map [<!ENTITY a "b">]>', "DOCTYPE or entities"),
        (b"?>", b"?><Maps><Data/>", "XML is cut off"),
        (b"LOTA", b"&lot;", "undefined entity"),
    ],
)
def test_a_damaged_file_is_refused_for_what_is_wrong(old: bytes, new: bytes, said: str) -> None:
    assert old in write_g85(SMALL)
    with pytest.raises(InputError, match=said):
        the_wafer(write_g85(SMALL).replace(old, new, 1 if old == b"?>" else -1))


def test_a_map_without_a_die_is_refused() -> None:
    data = re.sub(rb"(?<=\[CDATA\[)\w+", lambda row: b"FF" * 7, re.sub(rb"<Bin .*?/>", b"", write_g85(SMALL)))
    with pytest.raises(InputError, match="no die at all"):
        the_wafer(data)


def test_a_file_cut_off_gives_what_was_whole_then_says_where() -> None:
    one, two = (write_g85(SMALL, wafer=name).split(b"\n", 1)[1] for name in ("01", "02"))
    wafers = opened(b"<Maps>\n" + one + b"\n" + two[:-60]).wafers
    assert getattr(next(wafers), "wafer", "") == "01"
    with pytest.raises(InputError, match=r"f: line \d+, column \d+: XML is cut off .*copy the file again"):
        next(wafers)


def test_what_the_g85_package_writes_is_read() -> None:
    g85 = pytest.importorskip("g85", reason="the g85 package is not installed")
    for kind, (null, good, bad) in CODES.items():
        number = int if kind == "Decimal" else str
        codes = [number(null), number(good), number(bad)]
        device = g85.Device(BinType=kind, NullBin=codes[0], Orientation=180, LotId="LOTA")
        device.map = [[codes[state] for state in row] for row in np.rot90(SMALL, 2).tolist()]
        device.bin_pass = {codes[1]: True, codes[2]: False}
        text = io.BytesIO()
        g85.write([g85.Map(SubstrateId="W9", devices=[device])], text)
        wafer = the_wafer(text.getvalue())
        assert (wafer.grid.tolist(), wafer.lot, wafer.wafer) == (SMALL.tolist(), "LOTA", "W9")


@given(st.data())
def test_a_mutated_file_is_refused_or_keeps_its_counts(data: st.DataObject) -> None:
    whole = bytearray(write_g85(SMALL))
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(whole) - 1))
        whole[place] = data.draw(st.integers(0, 255))
    for wafer in wafers_or_refusals(read, bytes(whole)):
        silent = not wafer.warnings and not wafer.assumed
        counts = np.bincount(wafer.grid.ravel(), minlength=3).tolist()[1:]
        assert not silent or counts in ([(SMALL == 1).sum(), (SMALL == 2).sum()], [len(SMALL[SMALL > 0]), 0])
        assert wafer.grid.any()
