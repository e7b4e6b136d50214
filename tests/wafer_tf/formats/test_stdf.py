import gzip
import io
import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import SHARED
from tests.wafer_tf.formats.writers_stdf import (
    QUARTER_TURNS,
    dies,
    far,
    joined,
    mir,
    mrr,
    ptr,
    record,
    wcr,
    wir,
    write_stdf,
    wrr,
)
from wafer_tf.dies import check_map
from wafer_tf.errors import InputError
from wafer_tf.formats import stdf_records
from wafer_tf.formats.options import DEFAULT, Options
from wafer_tf.formats.read import read_maps
from wafer_tf.formats.wafer_map import BinCount, WaferMap

LOT2 = SHARED / "data" / "formats" / "lot2.stdf.gz"
RETEST = SHARED / "cases" / "05-stdf-retest" / "edgeloc.stdf"
WAFER = np.array([[0, 1, 1, 0], [1, 2, 1, 1], [2, 1, 0, 1], [0, 1, 2, 0], [0, 0, 1, 0]], np.uint8)
OTHER = np.array([[1, 1, 2], [2, 1, 1], [1, 2, 2]], np.uint8)


def read(data: bytes, options: Options = DEFAULT) -> list[WaferMap]:
    found = list(read_maps(io.BytesIO(data), "f", options).wafers)
    for wafer in found:
        if isinstance(wafer, InputError):
            raise wafer
    return found  # type: ignore[return-value]


@pytest.mark.skipif(not LOT2.exists(), reason="needs ../shared/data/formats/lot2.stdf.gz")
def test_the_real_lot_has_the_figures_known_of_it() -> None:
    data = gzip.decompress(LOT2.read_bytes())
    (wafer,) = read(data)
    assert (wafer.lot, wafer.product, wafer.wafer) == ("GAL-LOT", "GOLD8BAR", "GAL-LOT-02")
    assert (wafer.step, wafer.time, wafer.retested) == ("E38", "2001-06-05T20:50:22", 113)
    assert (wafer.grid.shape, wafer.corner) == ((43, 42), (3, 4))
    assert [int((wafer.grid == state).sum()) for state in (1, 2)] == [1389, 67]
    failing = {bin_.name: bin_.dies for bin_ in wafer.bins if not bin_.passing}
    assert failing == {"8": 24, "2": 20, "5": 10, "10": 5, "7": 3, "4": 3, "15": 1, "17": 1}
    assert wafer.bins[0] == BinCount("1", True, 1389)
    assert (wafer.warnings, wafer.assumed) == ((), ())
    (first,) = read(data, Options(retest="first"))
    assert [int((first.grid == state).sum()) for state in (1, 2)] == [1343, 113]
    (best,) = read(data, Options(retest="best"))
    assert np.array_equal(best.grid, wafer.grid)


@pytest.mark.skipif(not LOT2.exists(), reason="needs ../shared/data/formats/lot2.stdf.gz")
@pytest.mark.parametrize("library", ["pystdf", "stdf_convert"])
def test_the_results_of_the_real_lot_are_those_another_library_reads(library: str, tmp_path: Any) -> None:
    module = pytest.importorskip(library)
    data = gzip.decompress(LOT2.read_bytes())
    (wafer,) = read(data)
    last = dict(_by_pystdf(data) if library == "pystdf" else _by_stdf_convert(module, data, tmp_path))
    expected = np.zeros((43, 42), np.uint8)
    for (x, y), fails in last.items():
        expected[-3 - y, x - 4] = 1 + fails
    assert np.array_equal(wafer.grid, expected)


def _by_pystdf(data: bytes) -> Iterator[tuple[tuple[int, int], bool]]:
    from pystdf.IO import Parser
    from pystdf.V4 import prr as kind

    found = []

    class Sink:
        def after_send(self, _: object, event: Any) -> None:
            if event[0] is kind:
                found.append(dict(zip(kind.fieldNames, event[1], strict=True)))

    parser = Parser(inp=io.BytesIO(data))
    parser.addSink(Sink())
    parser.parse()
    assert len(found) == 1569
    return (((part["X_COORD"], part["Y_COORD"]), bool(part["PART_FLG"] & 8)) for part in found)


def _by_stdf_convert(module: Any, data: bytes, folder: Any) -> Iterator[tuple[tuple[int, int], bool]]:
    (folder / "lot2.stdf").write_bytes(data)
    table = module.tables(str(folder / "lot2.stdf"), ["PRR"])["PRR"]
    assert table.num_rows == 1569
    x, y, flags = (table[name].to_pylist() for name in ("X_COORD", "Y_COORD", "PART_FLG"))
    return (((a, b), bool(flag[0] & 8)) for a, b, flag in zip(x, y, flags, strict=True))


@pytest.mark.skipif(not RETEST.exists(), reason="needs ../shared/cases/05-stdf-retest")
def test_dies_that_pass_at_retest_pass() -> None:
    (wafer,) = read(RETEST.read_bytes())
    assert (wafer.lot, wafer.wafer, wafer.retested) == ("LOTA", "W03", 94)
    assert wafer.bins == (BinCount("1", True, 493), BinCount("5", False, 47))
    (first,) = read(RETEST.read_bytes(), Options(retest="first"))
    assert int((first.grid == 2).sum()) == 141


@pytest.mark.parametrize("notch", QUARTER_TURNS)
@pytest.mark.parametrize("y_up", [False, True])
@pytest.mark.parametrize("x_left", [False, True])
@pytest.mark.parametrize("big_endian", [False, True])
def test_the_same_wafers_come_back_from_every_picture(notch: Any, y_up: bool, x_left: bool, big_endian: bool) -> None:
    both = [(WAFER, "L7", "L7-01"), (OTHER, "L7", "L7-02")]
    data = write_stdf(both, notch=notch, y_up=y_up, x_left=x_left, big_endian=big_endian)
    found = read_maps(io.BytesIO(data), "f")
    assert (found.format, found.version) == ("STDF", "V4")
    for (grid, lot, name), wafer in zip(both, found.wafers, strict=True):
        assert isinstance(wafer, WaferMap)
        assert np.array_equal(wafer.grid, grid)
        assert (wafer.lot, wafer.wafer, wafer.product, wafer.step) == (lot, name, "PART", "EWS1")
        assert (wafer.time, wafer.warnings, wafer.assumed) == ("2026-05-28T20:26:40", (), ())
        assert wafer.facts["die size"] == "2.5 x 3 mm"


def test_where_the_chunks_of_a_file_end_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    data = write_stdf([(WAFER, "L", "1"), (OTHER, "L", "2")])
    for chunk in (1, 2, 3, 7, 64, 1000):
        monkeypatch.setattr(stdf_records, "CHUNK", chunk)
        assert [wafer.grid.tolist() for wafer in read(data)] == [WAFER.tolist(), OTHER.tolist()]


def test_a_result_may_leave_out_its_last_fields() -> None:
    short = record("<", 5, 20, "BBBHH", 1, 1, 0, 3, 1)
    (wafer,) = read(joined("<", [*dies("<", OTHER), short, record("<", 5, 20, "BBBHHHhh", 1, 1, 8, 3, 5, 5, 3, 0)]))
    assert wafer.grid[0].tolist() == [1, 1, 2, 2]
    assert wafer.warnings == ("1 of 11 results have no coordinates and are left out.",)
    with pytest.raises(InputError, match=r"damaged: the result of a part \(PRR\) at byte 87 has 3 bytes"):
        read(joined("<", [record("<", 5, 20, "BBB", 1, 1, 0)]))


def test_texts_are_latin_1_without_control_characters() -> None:
    data = b"".join(
        [far("<"), mir("<", lot=" L\x00\x07\xfcck \n"), wcr("<"), wir("<", "W\x1b1"), *dies("<", OTHER), mrr("<")]
    )
    (wafer,) = read(data)
    assert (wafer.lot, wafer.wafer) == ("L\xfcck", "W1")


def test_the_step_is_the_flow_where_no_test_code_is_told_and_no_time_is_none() -> None:
    texts = [""] * 11 + [str(field) for field in range(12, 25)]
    bare = record(">", 1, 10, "IIBcccHc" + "n" * 24, 0, 0, 1, "P", " ", " ", 0, " ", *texts)
    (wafer,) = read(b"".join([far(">"), bare, wcr(">"), *dies(">", OTHER), mrr(">")]))
    assert (wafer.lot, wafer.step, wafer.time, wafer.facts.keys()) == ("", "24", "", {"die size", "wafer size"})


@pytest.mark.parametrize(
    ("first", "said"),
    [
        (b"\2\0\0\n\0\4", "STDF of a VAX"),
        (b"\2\0\0\n\2\3", "STDF V3; expected V4"),
        (b"\0\2\0\n\1\3", "STDF V3; expected V4"),
        (b"\2\0\0\n\2", "an STDF file of 5 bytes"),
    ],
)
def test_what_is_not_read_is_refused_by_name(first: bytes, said: str) -> None:
    with pytest.raises(InputError, match=said):
        read(first + b"".join(dies("<", OTHER)) * (len(first) == 6))


def test_a_byte_order_that_contradicts_the_cpu_is_read_and_said() -> None:
    (wafer,) = read(b"\2\0\0\n\1\4" + joined("<", dies("<", OTHER))[6:])
    assert np.array_equal(wafer.grid, OTHER)
    assert wafer.warnings == ("CPU_TYPE is 1, but the records are little-endian: read so.",)


def test_a_file_without_results_is_refused() -> None:
    with pytest.raises(InputError, match=r"no result of a part \(PRR\)"):
        read(joined("<", [wir("<", "A"), wrr("<", "A", 0, 0)]))


def test_a_file_cut_off_at_any_byte_gives_what_was_whole_and_says_so() -> None:
    whole = write_stdf([(WAFER, "L", "1"), (OTHER, "L", "2")], big_endian=True, y_up=True)
    (uncut_1, uncut_2) = read(whole)
    read_wafers = [0] * 3
    for size in range(6, len(whole)):
        try:
            found = list(read_maps(io.BytesIO(whole[:size]), "f").wafers)
        except InputError as error:
            assert "no result of a part" in str(error) and f"ends at byte {size} " in str(error)
            continue
        maps = [wafer for wafer in found if isinstance(wafer, WaferMap)]
        read_wafers[len(maps)] += 1
        said = " ".join(found[-1].warnings) if isinstance(found[-1], WaferMap) else str(found[-1])
        assert f"The file ends at byte {size} without an end record (MRR)" in said
        for wafer, uncut in zip(maps, (uncut_1, uncut_2), strict=False):
            assert wafer.corner is not None and uncut.corner is not None
            row, col = wafer.corner[0] - uncut.corner[0], wafer.corner[1] - uncut.corner[1]
            rows, cols = wafer.grid.shape
            there = uncut.grid[row : row + rows, col : col + cols]
            assert np.array_equal(wafer.grid[wafer.grid > 0], there[wafer.grid > 0])
    assert min(read_wafers) > 100


def test_a_record_longer_than_the_file_is_a_file_cut_off() -> None:
    data = joined("<", dies("<", OTHER))[:-8]
    (wafer,) = read(data + b"\xff\xff\x0f\x0arest")
    end = len(data) + 8
    assert wafer.warnings == (
        f"The file ends at byte {end} without an end record (MRR), in the middle of a record that goes on to byte "
        f"{len(data) + 4 + 65535}: dies of this wafer may be missing.",
    )


def test_records_that_follow_on_no_record_are_refused_with_their_byte() -> None:
    start = joined("<", dies("<", OTHER))[:-8]
    strange = record("<", 77, 3, "BB", 1, 2)
    (wafer,) = read(start + strange + mrr("<"))
    assert wafer.warnings == (
        "1 records of kinds that STDF V4 does not have were passed over: the first, of type 77, subtype 3, at byte "
        f"{len(start)}.",
    )
    for soup in (strange + record("<", 200, 9, "B", 1), bytes(8), b"\x10\0\x40\x40"):
        with pytest.raises(
            InputError, match=r"f: damaged: at byte \d+ a record of type \d+, subtype \d+, which STDF V4"
        ):
            read(start + soup)


def test_what_follows_the_end_record_is_said() -> None:
    data = joined("<", dies("<", OTHER))
    assert read(data + bytes(2048))[0].warnings == ()  # padding to a tape's block
    assert "The file goes on after its end record" in read(data + data)[0].warnings[0]
    with pytest.raises(InputError, match="f: another file begins at byte"):
        read(data[:-8] + data)


def test_test_records_of_any_length_are_passed_over() -> None:
    long = record("<", 50, 30, "n" * 200, *["x" * 255] * 200)
    tests = [piece for n in range(100) for piece in (ptr("<", n, "t" * n), long)]
    assert len(b"".join(tests)) > 4 << 20
    (wafer,) = read(joined("<", [*tests, *dies("<", OTHER), *tests]))
    assert np.array_equal(wafer.grid, OTHER)


SMALL = write_stdf([(WAFER, "L", "1"), (OTHER, "L", "2")])


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.integers(4, len(SMALL) - 1), st.integers(0, 255)), min_size=1, max_size=8), st.booleans())
def test_a_damaged_file_gives_maps_or_an_input_error(changes: list[tuple[int, int]], lenient: bool) -> None:
    data = bytearray(SMALL)
    for at, value in changes:
        data[at] = value
    try:
        found = list(itertools.islice(read_maps(io.BytesIO(bytes(data)), "f", Options(lenient=lenient)).wafers, 100))
    except InputError:
        return
    for wafer in found:
        if isinstance(wafer, WaferMap):
            check_map(wafer.grid, "map")
