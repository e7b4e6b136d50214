"""Zip archives: an npz of one map, a wafer set as npz, and tools' files together in a zip."""

import io
import zipfile
from typing import Any

import numpy as np
import pytest

from tests.station import npy, npz, text, wafer_set
from wafer_tf.arrays import MAX_ENTRIES
from wafer_tf.errors import InputError
from wafer_tf.formats.archive import MAX_MAPS
from wafer_tf.formats.opened import MAX_WHOLE
from wafer_tf.formats.read import read_maps
from wafer_tf.formats.wafer_map import MapFile

GRIDS = [np.array([[0, 1, 0], [1, 2, 1], [0, 1, 0]], np.uint8), np.array([[1, 1, 1, 2]] * 3, np.uint8)]
SEVEN = np.full((3, 3), 7, np.uint8)


def opened(data: bytes, name: str = "file") -> MapFile:
    return read_maps(io.BytesIO(data), name)


def found(data: bytes, name: str = "file") -> list[Any]:
    """Return (LOT/WAFER, map or error text) of what is in a file."""
    wafers = []
    try:
        for wafer in opened(data, name).wafers:
            what = str(wafer) if isinstance(wafer, InputError) else wafer.grid.tolist()
            wafers.append((f"{getattr(wafer, 'lot', '')}/{getattr(wafer, 'wafer', '')}", what))
    except InputError as error:
        wafers.append(("", str(error)))
    return wafers


def zipped(members: dict[str, bytes], packing: int = zipfile.ZIP_DEFLATED) -> bytes:
    """Return a zip of files."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", packing) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return out.getvalue()


# === One array ===


def test_an_npz_of_one_array_is_one_map_whatever_the_array_is_called() -> None:
    for data in (npz(anything=GRIDS[0]), zipped({"a.npy": npy(GRIDS[0])}, zipfile.ZIP_STORED)):
        assert found(data) == [("/", GRIDS[0].tolist())]
        assert opened(data).format == "npz"


def test_a_bad_array_of_an_npz_is_told_by_the_name_of_the_file() -> None:
    for grid in (SEVEN, GRIDS[0].astype("S7"), np.ones((2001, 2001)), np.array([{}])):
        ((_, reason),) = found(npz(a=grid), "lot7.npz")
        assert "lot7.npz" in reason


def test_an_npz_of_several_arrays_is_called_by_the_first_few_in_order() -> None:
    assert "an npz of a, b; expected one array, or flat" in found(npz(a=GRIDS[0], b=GRIDS[1]))[0][1]
    ((_, reason),) = found(npz(**{f"array{k}": GRIDS[0] for k in range(9, -1, -1)}))
    assert "an npz of array0, array1, array2, array3, array4, array5, array6, array7; expected one array" in reason


# === A wafer set ===


def test_the_maps_of_a_wafer_set_have_their_lot_and_wafer_where_these_are_known() -> None:
    data = wafer_set(GRIDS, lot=np.array(["L7", ""]), wafer_index=np.array([3.0, np.nan]))
    assert found(data) == [("L7/3", GRIDS[0].tolist()), ("/", GRIDS[1].tolist())]
    assert opened(data).format == "npz wafer set"


@pytest.mark.parametrize(
    ("index", "wafer"), [(3.0, "3"), (0.0, ""), (-1.0, ""), (np.nan, ""), (np.inf, ""), (0.5, "0")]
)
def test_a_wafer_of_a_set_is_a_number_above_0(index: float, wafer: str) -> None:
    ((name, _),) = found(wafer_set(GRIDS[:1], wafer_index=np.array([index])))
    assert name == f"L7/{wafer}"


def test_one_bad_map_of_a_wafer_set_does_not_stop_the_others_and_keeps_its_name() -> None:
    grids = [GRIDS[0], SEVEN, np.zeros((4, 4), np.uint8), np.ones((2, 9), np.uint8), GRIDS[1]]
    reasons = ["die state 7 at row 0", "no die at all", "2 x 9 cells"]
    names, results = zip(*found(wafer_set(grids)), strict=True)
    assert names == ("L7/1", "L7/2", "L7/3", "L7/4", "L7/5")
    assert (results[0], results[4]) == (GRIDS[0].tolist(), GRIDS[1].tolist())
    for result, reason in zip(results[1:4], reasons, strict=True):
        assert reason in result


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"shapes": np.array([[3, 3], [4, 3]])}, {1: None}),
        ({"shapes": np.array([[3, 3], [4, 4]])}, {1: "12 cells for 4 rows x 4 columns"}),
        ({"shapes": np.array([[3, 3], [-3, -4]])}, {1: "-3 x -4 cells"}),
        ({"shapes": np.array([3, 3])}, {0: "shapes has shape (2,)"}),
        ({"shapes": np.zeros((0, 2), int), "flat": np.zeros(0, np.uint8)}, {0: "0 wafers; expected 1 to 10000"}),
        ({"shapes": np.zeros((MAX_MAPS + 1, 2), int)}, {0: "10001 wafers; expected 1 to 10000"}),
        ({"offsets": np.array([0, 9, 22])}, {0: "offsets do not span"}),
        ({"offsets": np.array([0, 99, 21])}, {0: "offsets do not span"}),
        ({"offsets": np.array([-9, 9, 21])}, {0: "offsets do not span"}),
        ({"offsets": np.array([0, 21])}, {0: "offsets has shape (2,); expected (3,)"}),
        ({"flat": np.ones(21)}, {0: "flat holds float64; expected uint8"}),
        ({"flat": np.ones((3, 7), np.uint8)}, {0: "offsets do not span"}),
        ({"lot": np.array([1, 2])}, {0: "lot holds int64; expected text"}),
        ({"lot": np.array([object(), None])}, {0: "lot holds object; expected text"}),
        ({"lot": np.full(2, 0x7FFFFFFF, np.uint32).view("<U1")}, {0: "no Unicode"}),
        ({"wafer_index": np.array([1])}, {0: "wafer_index has shape (1,)"}),
    ],
)
def test_a_wafer_set_that_does_not_fit_together_is_refused(
    changes: dict[str, Any], says: dict[int, str | None]
) -> None:
    results = [result for _, result in found(wafer_set(GRIDS, **changes))]
    for i, reason in says.items():
        assert isinstance(results[i], str) == (reason is not None)
        assert (reason or "") in str(results[i])


def test_a_wafer_set_may_hold_more_columns_than_are_needed() -> None:
    data = wafer_set(GRIDS, label=np.array([1, 2]), other=np.array(["a", "b"]))
    assert found(data) == [("L7/1", GRIDS[0].tolist()), ("L7/2", GRIDS[1].tolist())]


def test_a_set_of_10000_maps_is_read() -> None:
    wafers = list(opened(wafer_set([np.ones((3, 3), np.uint8)] * MAX_MAPS)).wafers)
    assert len(wafers) == MAX_MAPS == 10_000
    assert not isinstance(wafers[-1], InputError)
    assert (wafers[-1].lot, wafers[-1].wafer) == ("L7", "10000")


@pytest.mark.parametrize(("side", "reads"), [(2, False), (3, True), (2000, True), (2001, False)])
def test_maps_of_3_to_2000_a_side_are_read(side: int, reads: bool) -> None:
    for shape in ((side, 5), (5, side)):
        grid = np.ones(shape, np.uint8)
        for data in (wafer_set([grid]), npz(a=grid)):
            ((_, result),) = found(data)
            assert isinstance(result, list) is reads


# === Files together ===


def test_a_zip_of_files_gives_their_maps_in_order_and_goes_on_after_a_bad_one() -> None:
    data = zipped({"a.npy": npy(GRIDS[0]), "b.csv": text(GRIDS[1]), "c.txt": b"hello", "d.npz": npz(a=GRIDS[0])})
    assert opened(data).format == "zip archive"
    (_, first), (_, second), (_, bad), (_, last) = found(data, "lot.zip")
    assert (first, second, last) == (GRIDS[0].tolist(), GRIDS[1].tolist(), GRIDS[0].tolist())
    assert "lot.zip:c.txt" in bad


def test_hidden_files_of_a_zip_are_passed_over() -> None:
    hidden = dict.fromkeys(("__MACOSX/._a.csv", ".DS_Store", "lot/.hidden"), b"no map")
    assert found(zipped({"lot/": b"", "lot/a.csv": text(GRIDS[0])} | hidden)) == [("/", GRIDS[0].tolist())]


def test_an_archive_in_an_archive_is_refused_and_named() -> None:
    inner = zipped({"a.csv": text(GRIDS[0]), "b.csv": text(GRIDS[1])})
    (_, good), (_, bad) = found(zipped({"a.csv": text(GRIDS[0]), "inner.zip": inner}), "lot.zip")
    assert good == GRIDS[0].tolist()
    assert "lot.zip:inner.zip: a zip archive in an archive" in bad


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (npz(), "a zip archive without a file"),
        (b"PK\x03\x04", "damaged zip archive"),
        (npz(a=GRIDS[0])[:-30], "damaged zip archive"),
        (zipped({"a.npy": npy(GRIDS[0])}, zipfile.ZIP_LZMA), "packed by method 14; expected deflate"),
        (zipped({"a.csv": text(GRIDS[0])}, zipfile.ZIP_LZMA), "packed by method 14; expected deflate"),
        (zipped({"[Content_Types].xml": b"", "xl/workbook.xml": b""}), "an Excel or other Office file"),
    ],
)
def test_what_is_no_archive_of_maps_is_an_error_with_a_reason(data: bytes, says: str) -> None:
    ((_, reason),) = found(data)
    assert says in reason


# === Limits ===


def test_an_archive_made_to_exhaust_memory_is_refused_before_it_is_unpacked() -> None:
    for name in ("a.npy", "a.csv"):
        ((_, reason),) = found(zipped({name: bytes(MAX_WHOLE + 1)}))
        assert f"unpacks to over {MAX_WHOLE} bytes" in reason
    ((_, reason),) = found(wafer_set(GRIDS, flat=np.zeros(MAX_WHOLE + 1, np.uint8)))
    assert "flat claims 67108865 bytes" in reason


def test_an_npz_of_more_bytes_than_its_header_says_is_refused() -> None:
    header = npy(np.ones((3, 3), np.uint8))[:128]
    for claimed, says in ((b"(3, 3)", "expected 137"), (b"(300, 300)", "expected 90128")):
        data = header.replace(b"(3, 3)", claimed)[:128] + bytes(1 << 24)
        ((_, reason),) = found(zipped({"a.npy": data}))
        assert says in reason


def test_an_archive_of_very_many_entries_is_refused_before_it_is_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    data = zipped({f"{number}.csv": text(GRIDS[0]) for number in range(MAX_ENTRIES + 1)})
    fits = zipped({f"{number}.csv": text(GRIDS[0]) for number in range(MAX_ENTRIES)})
    assert found(fits) == [("/", GRIDS[0].tolist())] * MAX_ENTRIES
    monkeypatch.delattr(zipfile, "ZipFile")
    ((_, says),) = found(data)
    assert f"over {MAX_ENTRIES} entries" in says
