import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.wafer_tf.formats.grid_files import CASES, SMALL, TURNS, opened, the_wafer, wafers_or_refusals
from tests.wafer_tf.formats.writers_grids import CODES, write_e142_variant
from wafer_tf.errors import InputError
from wafer_tf.formats.e142 import read
from wafer_tf.formats.e142_axes import DIRECTIONS, ORIGINS
from wafer_tf.formats.e142_writer import write_e142
from wafer_tf.formats.opened import Opened
from wafer_tf.formats.options import Options
from wafer_tf.formats.safe_xml import MAX_DEPTH, events
from wafer_tf.formats.wafer_map import UnreadWaferError, WaferMap

CASE = CASES / "03-e142-two-wafers"
case = pytest.mark.skipif(not CASE.exists(), reason="the cases are not at hand")
UP = {"origin": "LowerLeft", "axis": "UpRight"}


def _wafers(data: bytes, options: Options) -> list[WaferMap]:
    wafers = list(opened(data, options).wafers)
    assert all(isinstance(wafer, WaferMap) for wafer in wafers)
    return wafers  # type: ignore[return-value]


@case
def test_the_case_has_two_wafers_by_its_own_axes() -> None:
    file = opened((CASE / "lot.xml").read_bytes())
    assert (file.format, file.version) == ("SEMI E142", "V1005")
    local, ring = file.wafers
    assert isinstance(local, WaferMap) and isinstance(ring, WaferMap)
    assert (local.wafer, ring.wafer) == ("LOTA-01", "LOTA-02")
    assert [[tuple(one) for one in wafer.bins] for wafer in (local, ring)] == [
        [("01", True, 493), ("0B", False, 47)],
        [("01", True, 397), ("0B", False, 143)],
    ]
    upper_left = (local.grid[:10, :13] == 2).sum()
    assert upper_left == 40  # of 47: the patch is at 10 o'clock
    assert "which no reference die confirms" in local.assumed[0] and "--y-axis down" in local.assumed[0]


@case
def test_a_file_that_lists_its_top_row_first_against_its_axes_needs_to_be_told() -> None:
    # The two files differ in the order of their rows alone: nothing in the second says that it is so.
    as_said, top_first = ((CASE / name).read_bytes() for name in ("lot.xml", "lot-top-first.xml"))
    assert sorted(as_said.split(b"\n")) == sorted(top_first.split(b"\n"))
    wafers = zip(_wafers(as_said, Options()), _wafers(top_first, Options(y_axis="down")), strict=True)
    for one, two in wafers:
        assert one.grid.tolist() == two.grid.tolist()
        assert "though OriginLocation LowerLeft and AxisDirection UpRight say otherwise" in two.assumed[0]
    assert "--y-axis down" in _wafers(top_first, Options())[0].assumed[0]


@pytest.mark.parametrize("parts", [False, True])
@pytest.mark.parametrize("axis", DIRECTIONS)
@pytest.mark.parametrize("origin", ORIGINS)
def test_every_origin_and_axis_gives_the_same_array(origin: str, axis: str, parts: bool) -> None:
    for orientation in TURNS:
        data = write_e142_variant(SMALL, orientation=orientation, origin=origin, axis=axis, parts=parts)
        wafer = the_wafer(data)
        assert wafer.grid.tolist() == SMALL.tolist()
        assert (wafer.lot, wafer.wafer) == ("LOTA", "03")
        agree = origin == "Center" or origin.startswith("Upper") == axis.startswith("Down")
        assert bool(wafer.warnings) == (not agree)


@pytest.mark.parametrize("bin_type", CODES)
def test_every_bin_type_is_read(bin_type: str) -> None:
    assert the_wafer(write_e142_variant(SMALL, bin_type=bin_type)).grid.tolist() == SMALL.tolist()


def test_without_origin_and_axis_rows_go_up_as_the_standard_has_it_and_it_is_said() -> None:
    data = write_e142_variant(SMALL, **UP).replace(b' OriginLocation="LowerLeft" AxisDirection="UpRight"', b"")
    wafer = the_wafer(data)
    assert wafer.grid.tolist() == SMALL.tolist()
    assert wafer.assumed == ("the first row is the bottom one, which the file does not say (--y-axis down)",)


def _reference(x: int, y: int) -> str:
    device = f'<ReferenceDevice Name="R"><Coordinates X="{x}" Y="{y}"/></ReferenceDevice>'
    return f"<ReferenceDevices>{device}</ReferenceDevices>"


# No die at the right end of the bottom row; one at the right of the second row from the top.
LOPSIDED = np.array([[1, 1, 1, 1], [1, 1, 1, 1], [1, 2, 1, 0], [1, 1, 0, 0], [1, 1, 0, 0]], np.uint8)


def test_a_reference_die_shows_that_the_top_row_is_first_and_it_is_said() -> None:
    data = write_e142_variant(LOPSIDED, **UP, references=_reference(3, 4), top_first=True)
    wafer = the_wafer(data)
    assert wafer.grid.tolist() == LOPSIDED.tolist()
    assert "the first row is the top one" in wafer.warnings[0] and "x 3, y 4" in wafer.warnings[0]
    assert wafer.assumed == ()


def test_a_reference_die_that_agrees_leaves_nothing_assumed() -> None:
    wafer = the_wafer(write_e142_variant(LOPSIDED, **UP, references=_reference(3, 4)))
    assert wafer.grid.tolist() == LOPSIDED.tolist()
    assert wafer.warnings == wafer.assumed == ()


def test_a_reference_die_has_the_bin_of_one_where_there_is_such_a_bin() -> None:
    for top_first, told in ((True, 1), (False, 0)):
        data = write_e142_variant(SMALL, **UP, references=_reference(1, 3), top_first=top_first)
        data = data.replace(b'BinCode="0A" BinQuality="Fail" BinCount="5"', b'BinCode="0A" BinQuality="Reference"')
        wafer = the_wafer(data)
        assert wafer.grid.tolist() == np.where(SMALL == 2, 0, SMALL).tolist()
        assert sum("reference die at" in warning for warning in wafer.warnings) == told


def test_of_several_overlays_the_one_with_bins_or_the_one_asked_for_is_read() -> None:
    other = write_e142_variant(SMALL[::-1]).decode()
    overlay = re.search("<s:Overlay.*?</s:Overlay>", other, re.DOTALL)
    assert overlay
    bare = re.sub("<s:BinDefinitions>.*?</s:BinDefinitions>", "", overlay[0], flags=re.DOTALL)
    empty = '<s:Overlay MapName="ids"><s:DeviceIdMap><s:Id X="1" Y="1">7</s:Id></s:DeviceIdMap></s:Overlay>'
    data = write_e142_variant(SMALL).decode()
    data = data.replace("<s:Overlay", empty + bare.replace("SortGrade", "Other") + "<s:Overlay", 1)
    wafer = the_wafer(data.encode())
    assert wafer.grid.tolist() == SMALL.tolist()
    assert wafer.assumed == ("overlay 'SortGrade' is read, of 'Other', 'SortGrade' (--overlay)",)
    assert the_wafer(data.encode(), Options(overlay="other")).grid.tolist() == SMALL[::-1].tolist()
    with pytest.raises(InputError, match="no overlay 'ids' with a BinCodeMap; expected one of: 'Other', 'SortGrade'"):
        the_wafer(data.encode(), Options(overlay="ids"))


def test_a_strip_is_refused_by_name_and_the_wafer_after_it_is_read() -> None:
    data = write_e142_variant(SMALL).decode()
    map_ = data[data.index("<s:SubstrateMap ") : data.index("</s:SubstrateMaps>")]
    data = data.replace(map_, map_.replace('SubstrateType="Wafer"', 'SubstrateType="Strip"') + map_)
    strip, wafer = opened(data.encode()).wafers
    assert isinstance(strip, UnreadWaferError) and (strip.lot, strip.wafer) == ("LOTA", "03")
    assert "wafer 03: a Strip, by its SubstrateType; expected a Wafer" in str(strip)
    assert isinstance(wafer, WaferMap) and wafer.grid.tolist() == SMALL.tolist()


def test_a_place_given_twice_is_refused() -> None:
    data = write_e142_variant(SMALL, parts=True).replace(b'X="5" Y="1"', b'X="4" Y="1"')
    with pytest.raises(InputError, match="the die at x 4, y 1 is given more than once"):
        the_wafer(data)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('Y="5"', 'Y="1000000000"', "1000000000 rows x 7 columns; expected at most"),
        ('Y="5"', 'Y="0"', "a layout of 0 x 7; expected at least one row"),
        ('Y="5"', 'Y="6"', "5 rows x 7 columns, 6 x 7 by its layout.*--lenient"),
        ("BinCode>FF", "BinCode>", "row 1 has 12 characters; expected 14: 7 dies of 2 each"),
        ("DownRight", "DownUp", "AxisDirection 'DownUp'; expected one of DownLeft, DownRight"),
        ("UpperLeft", "Top", "OriginLocation 'Top'; expected one of Center, LowerLeft"),
        ('BinCount="5"', 'BinCount="6"', "bin 0A has 6 dies by its BinCount, 5 in the map"),
        ('BinCount="5"', 'BinCount="a few"', "BinCount 'a few'; expected a whole number"),
        ("<s:LotId>", "<s:GoodDevices>3</s:GoodDevices><s:LotId>", "3 good dies by its GoodDevices, 21 in the map"),
        ("<s:BinCode>", '<s:BinCode X="1">', "with X or Y alone; expected both"),
        ("s:BinCodeMap", "s:DeviceIdMap", "no <BinCodeMap>; expected an overlay"),
        ("s:SubstrateMap", "s:Substratemaps", "no <SubstrateMap>; expected a SEMI E142 file"),
    ],
)
def test_a_damaged_file_is_refused_for_what_is_wrong(old: str, new: str, said: str) -> None:
    text = write_e142_variant(SMALL).decode()
    assert old in text
    with pytest.raises(InputError, match=said):
        the_wafer(text.replace(old, new).encode())


# === Writing ===


@given(st.integers(3, 9), st.integers(3, 9), st.integers(0, 2**32 - 1))
def test_what_is_written_is_read_again(rows: int, cols: int, seed: int) -> None:
    grid = np.random.default_rng(seed).integers(0, 3, (rows, cols), np.uint8)
    grid[0, 0] = grid[-1, -1] = grid[-1, 0] = 1  # a map is the bounding box of its dies
    wafer = the_wafer(write_e142(WaferMap(grid=grid, lot="L", wafer="W", product="P")))
    assert wafer.grid.tolist() == grid.tolist() and (wafer.lot, wafer.wafer, wafer.product) == ("L", "W", "P")
    assert wafer.assumed == wafer.warnings == () and wafer.corner == (0, 0)


def test_the_answer_travels_with_the_map() -> None:
    call = {"class": "Edge-Loc", "where": 'upper <left> & "out"', "odd": "a\x00b\ud800"}
    wafer = the_wafer(write_e142(WaferMap(grid=SMALL, lot="L&1", wafer='W"1'), call=call))
    assert wafer.facts == {
        "alias wafer_tf class": "Edge-Loc",
        "alias wafer_tf where": 'upper <left> & "out"',
        "alias wafer_tf odd": "a\ufffdb\ufffd",
    }
    assert (wafer.lot, wafer.wafer) == ("L&1", 'W"1')


# === What is meant to do harm ===


def test_a_million_nested_elements_are_refused_at_once() -> None:
    with pytest.raises(InputError, match=f"nested over {MAX_DEPTH} deep"):
        the_wafer(b"<MapData>" + b"<a>" * 1_000_000)


def test_a_tag_without_end_is_not_read_over_and_over() -> None:
    for data in (b"<MapData a='" + b"x" * (1 << 24), b"<MapData><!--" + b"x" * (1 << 24)):
        with pytest.raises(InputError, match="a tag or comment of over"):
            the_wafer(data)


def test_entities_are_refused_wherever_they_stand() -> None:
    bomb = b"<!DOCTYPE m [<!ENTITY a 'aaaaaaaaaa'><!ENTITY b '&a;&a;&a;&a;&a;&a;&a;&a;'>]><MapData>&b;</MapData>"
    late = b"<!-- " + b"x" * (1 << 17) + b" -->" + bomb  # beyond the bytes by which a format is told
    outside = b'<!DOCTYPE m SYSTEM "file:///etc/passwd"><MapData/>'
    for data in (bomb, late, outside, bomb.decode().encode("utf-16")):
        with pytest.raises(InputError, match="DOCTYPE or entities"):
            list(events(Opened.of_bytes(data, "f"), ()))


def test_one_row_of_thirty_megabytes_is_refused_in_time() -> None:
    head, tail = write_e142_variant(SMALL).split(b"<s:BinCode>", 1)
    with pytest.raises(InputError, match="row 1 has 30000000 characters"):
        the_wafer(head + b"<s:BinCode>" + b"01" * 15_000_000 + b"</s:BinCode>" + tail.split(b"</s:BinCode>")[-1])


def test_an_encoding_that_is_not_known_is_refused() -> None:
    for encoding in (b"no-such", b"gb2312"):
        with pytest.raises(InputError, match="encoding"):
            the_wafer(b'<?xml version="1.0" encoding="' + encoding + b'"?><MapData/>')


@given(st.data())
def test_a_mutated_file_is_refused_or_keeps_its_counts(data: st.DataObject) -> None:
    whole = bytearray(write_e142_variant(SMALL, **UP, parts=data.draw(st.booleans())))
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(whole) - 1))
        whole[place] = data.draw(st.integers(0, 255))
    told = "the first row is the bottom one"
    for wafer in wafers_or_refusals(read, bytes(whole)):
        silent = not wafer.warnings and all(told in sentence for sentence in wafer.assumed)
        counts = np.bincount(wafer.grid.ravel(), minlength=3).tolist()[1:]
        assert not silent or counts in ([(SMALL == 1).sum(), (SMALL == 2).sum()], [len(SMALL[SMALL > 0]), 0])


def test_elements_that_are_kept_are_counted() -> None:
    data = write_e142_variant(SMALL)
    many = data.replace(b'<s:Overlay MapName="SortGrade">', b'<s:Overlay MapName="x"/>' * 1001 + b"<s:Overlay>")
    with pytest.raises(InputError, match="over 1000 overlays"):
        the_wafer(many)
    with pytest.raises(InputError, match="over 100000 layouts, substrates, bins and names"):
        the_wafer(data.replace(b"<s:BinDefinitions>", b"<s:BinDefinitions>" + b"<s:BinDefinition/>" * 100_001))
