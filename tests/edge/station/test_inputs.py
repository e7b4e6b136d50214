"""Which maps the station finds in a file or a stream, under which ids and hashes, and what it says of the rest."""

import hashlib
import io
import pickle
import zipfile
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from edge.station.inputs import MAX_BYTES, MAX_ENTRIES, find_maps, grid_sha256, wafer_name
from edge.station.stream import split
from tests.station import npy, npz, synthetic, text, wafer_set
from tests.wafer_tf.formats.test_grids import MAPS
from wafer_tf.errors import InputError
from wafer_tf.formats.grids import MAX_BYTES as MAX_GRID_BYTES

GRIDS = [np.array([[0, 1, 0], [1, 2, 1], [0, 1, 0]], np.uint8), np.array([[1, 1, 1, 2]] * 3, np.uint8)]
SEVEN = np.full((3, 3), 7, np.uint8)


def found(data: bytes, name: str = "file") -> list[Any]:
    """Return (id, map or error text) of what is in a file."""
    return [
        (item.name, str(item.grid) if isinstance(item.grid, InputError) else item.grid.tolist())
        for item in find_maps(data, name)
    ]


def pieces(data: bytes, step: int = 1 << 20) -> list[bytes]:
    """Cut a stream that comes `step` bytes at a time."""

    class Slow(io.BytesIO):
        def readinto(self, buffer: Any) -> int:
            return super().readinto(memoryview(buffer)[:step])

    return list(split(io.BufferedReader(Slow(data))))  # type: ignore[arg-type]


# === Files ===


@pytest.mark.parametrize("data", [npy(GRIDS[0]), text(GRIDS[0]), npz(anything=GRIDS[0])], ids=["npy", "text", "npz"])
def test_a_single_map_is_told_by_content_and_hashed_as_its_file(data: bytes) -> None:
    (item,) = find_maps(data, "W03.dat")
    assert item.name == "W03.dat"
    assert item.sha256 == hashlib.sha256(data).hexdigest()
    np.testing.assert_array_equal(item.grid, GRIDS[0])


def test_the_maps_of_a_wafer_set_are_named_by_lot_and_wafer() -> None:
    data = wafer_set(GRIDS, lot=np.array(["L7", ""]), wafer_index=np.array([3.0, np.nan]))
    assert found(data) == [("L7/3", GRIDS[0].tolist()), ("file:1", GRIDS[1].tolist())]
    assert [item.sha256 for item in find_maps(data, "")] == [grid_sha256(grid) for grid in GRIDS]
    assert grid_sha256(GRIDS[0]) == hashlib.sha256(b"3 3\n" + GRIDS[0].tobytes()).hexdigest()


def test_one_bad_map_of_a_wafer_set_does_not_stop_the_others() -> None:
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
        ({"shapes": np.zeros((10_001, 2), int)}, {0: "10001 wafers; expected 1 to 10000"}),
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


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "empty; expected a .npy, .npz or text grid"),
        (b" \n\n", "empty"),
        (b"PAR1" + bytes(40), "python -m edge.classify"),
        (pickle.dumps(GRIDS[0]), "a pickle, which can run code and is never opened"),
        (npz(a=GRIDS[0], b=GRIDS[1]), "an npz of a, b; expected one array"),
        (npz(), "an npz of no array"),
        (npz(a=np.array([{}])), "pickled objects, which are not read|1 cells"),
        (npz(a=np.ones((400, 400))), "400 x 400 cells"),
        (b"PK\x03\x04", "damaged npz archive"),
        (npz(a=GRIDS[0])[:-30], "damaged npz archive"),
        (b"\x89HDF\r\n\x1a\n" + bytes(40), "nor UTF-8 text"),
    ],
)
def test_what_is_no_map_is_an_error_with_a_reason(data: bytes, says: str) -> None:
    ((name, reason),) = found(data)
    assert name == "file"
    assert any(part in reason for part in says.split("|"))


def test_an_archive_made_to_exhaust_memory_is_refused_before_it_is_unpacked() -> None:
    header = npy(np.ones((3, 3), np.uint8))[:128]
    for claimed in (b"(3, 3)", b"(300, 300)"):
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("a.npy", header.replace(b"(3, 3)", claimed)[:128] + bytes(1 << 26))
        ((_, reason),) = found(out.getvalue())
        assert "claims 67108" in reason
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("a.npy", npy(GRIDS[0]))
    assert "packed by method 14" in found(out.getvalue())[0][1]
    ((_, reason),) = found(wafer_set(GRIDS, flat=np.zeros(MAX_BYTES + 1, np.uint8)))
    assert "flat claims 67108865 bytes" in reason


def test_an_archive_of_very_many_entries_is_refused_before_it_is_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        for number in range(MAX_ENTRIES + 1):
            archive.writestr(f"{number}.npy", b"")
    monkeypatch.delattr(zipfile, "ZipFile")
    ((_, says),) = found(held.getvalue())
    assert f"over {MAX_ENTRIES} entries" in says


def test_a_file_over_the_limit_has_no_hash() -> None:
    (item,) = find_maps(bytes(MAX_BYTES + 1), "big")
    assert item.sha256 is None
    assert f"over {MAX_BYTES} bytes" in str(item.grid)


# === Streams ===


@given(st.lists(MAPS, min_size=1, max_size=6), st.integers(1, 300), st.data())
def test_a_stream_is_cut_into_the_maps_that_were_joined(
    grids: list[NDArray[np.uint8]], step: int, data: st.DataObject
) -> None:
    kinds = data.draw(st.lists(st.sampled_from(["u1", "<i8", ">f4"]), min_size=len(grids), max_size=len(grids)))
    files = [npy(grid.astype(kind)) for grid, kind in zip(grids, kinds, strict=True)]
    assert pieces(b"".join(files), step) == files
    blank = data.draw(st.sampled_from([b"\n", b"\r\n", b" \n\n"]))
    texts = [text(grid) for grid in grids]
    assert pieces(blank.join(texts), step) == texts


def test_an_empty_stream_holds_nothing() -> None:
    assert pieces(b"") == []
    assert pieces(b"\n\n") == []


def test_a_bad_array_in_a_stream_costs_only_itself() -> None:
    good = npy(GRIDS[0])
    bad = {
        "broken off": good[:-3],
        "header broken off": good[:70],
        "too large": npy(np.ones((400, 400), np.uint8)),
        "no numbers": npy(GRIDS[0].astype("S7")),
        "no header": good.replace(b"'descr'", b"'drscr'"),
        "a wrong state": npy(SEVEN),
        "not an array": b"hello",
        "a header of 65 kB": b"\x93NUMPY\x01\x00\xff\xff" + b" " * 65_535,
    }
    for what, data in bad.items():
        for step in (7, 1 << 20):
            cut = pieces(good + data + good, step)
            results = [found(piece)[0][1] for piece in cut]
            assert [results[0], results[-1]] == [GRIDS[0].tolist()] * 2, what
            assert len(results) == 3, what
            assert isinstance(results[1], str), what


def test_a_bad_text_in_a_stream_costs_only_itself() -> None:
    good = text(GRIDS[0])
    for data in (b"hello\n", b"\xff\xfe\x00\n", b"1,2\n1\n", b"0" * 2 * MAX_GRID_BYTES + b"\n", good * 100_000):
        first, middle, last = pieces(good + b"\n" + data + b"\n" + good)
        assert (first, last) == (good, good)
        assert len(middle) <= 2 * MAX_GRID_BYTES + 2
        assert isinstance(found(middle)[0][1], str)


@pytest.mark.parametrize("start", [b"\1\2\1", b"\xff" * 9 + b"\n\1", b"noise\n\nmore", b"\n"])
def test_a_stream_of_arrays_that_is_opened_within_one_costs_only_that(start: bytes) -> None:
    whole = [npy(grid) for grid in GRIDS]
    for step in (1, 1000):
        assert pieces(start + b"".join(whole), step)[-2:] == whole


def test_an_npz_in_a_stream_is_one_piece() -> None:
    data = wafer_set(GRIDS)
    assert pieces(data, 100) == [data]


def test_a_map_is_given_before_the_next_one_begins() -> None:
    """Neither kind of stream may wait for bytes that a tool sends only with its next wafer."""
    for first in (npy(GRIDS[0]), text(GRIDS[0]) + b"\n"):

        def sent(first: bytes = first) -> Iterator[bytes]:
            yield first
            raise AssertionError("read on before the map in hand was given")

        chunks = sent()

        class Tool(io.RawIOBase):
            def readable(self) -> bool:
                return True

            def readinto(self, buffer: Any, chunks: Iterator[bytes] = chunks) -> int:
                chunk = next(chunks)
                buffer[: len(chunk)] = chunk
                return len(chunk)

        piece = next(split(io.BufferedReader(Tool())))
        assert found(piece) == [("file", GRIDS[0].tolist())]


def test_a_stream_of_noise_ends_and_holds_little_memory() -> None:
    noise = np.random.default_rng(0).bytes(1 << 21)
    for data in (noise, b"\x93" + noise, b"\x93NUMPY" + noise, b"\x93NUMPY\x01\x00v\x00" * 1000, b"\x93NUMPY" * 1000):
        assert all(len(piece) <= 2 * MAX_GRID_BYTES + 2 for piece in pieces(data, 4096))


def test_synthetic_maps_survive_every_form() -> None:
    for grid in synthetic(1):
        for data in (npy(grid), text(grid), text(grid, " "), npz(a=grid), npy(grid.astype(float), order="F")):
            assert found(data) == [("file", grid.tolist())]


@pytest.mark.parametrize("step", [1, 7, 1 << 20])
def test_noise_before_arrays_costs_only_itself_though_it_begins_like_one(step: int) -> None:
    whole = [npy(grid) for grid in GRIDS] * 2
    for noise in (b"\x93", b"\x93NUM", b"\x93NUMPX" + b"x" * 500, b"\x93" * 30):
        assert pieces(noise + b"".join(whole), step) == [noise, *whole]


@pytest.mark.parametrize("step", [1, 1 << 20])
def test_arrays_parted_by_noise_are_all_found(step: int) -> None:
    a, b = (npy(grid) for grid in GRIDS)
    assert pieces(a + b"noise" + b + b"\x93\x93" + a + b"\n", step) == [a, b"noise", b, b"\x93\x93", a, b"\n"]
    assert pieces(text(GRIDS[0]) + a + b, step) == [text(GRIDS[0]), a, b]
    assert pieces(b"\n \n" + a, step) == [a]


def test_a_text_without_end_is_given_as_little_more_than_the_largest_map() -> None:
    line = b"0," * 149 + b"0\n"
    (piece,) = pieces(line * (4 * MAX_GRID_BYTES // len(line)))
    assert MAX_GRID_BYTES < len(piece) <= MAX_GRID_BYTES + len(line)
    first, second = pieces(line * (2 * MAX_GRID_BYTES // len(line)) + b"\n" + text(GRIDS[0]))
    assert len(first) > MAX_GRID_BYTES
    assert second == text(GRIDS[0]), "the count begins anew"


def test_noise_without_end_is_given_as_the_largest_map_at_most() -> None:
    first, second = pieces(b"\x93" + b"x" * 3 * MAX_GRID_BYTES + npy(GRIDS[0]), 1 << 16)
    assert (len(first), second) == (MAX_GRID_BYTES, npy(GRIDS[0]))


@pytest.mark.parametrize(
    ("lot", "wafer", "name"),
    [
        ("L7", 3.0, "L7/3"),
        ("L7", 0.0, "file:1"),
        ("L7", -1.0, "file:1"),
        ("L7", float("nan"), "file:1"),
        ("L7", float("inf"), "file:1"),
        ("", 3.0, "file:1"),
        ("L7", 1.0, "L7/1"),
        ("L7", 0.5, "L7/0"),
    ],
)
def test_a_map_of_a_set_is_called_by_its_lot_and_wafer_where_both_are_known(lot: str, wafer: float, name: str) -> None:
    assert wafer_name(lot, wafer, "file:1") == name


def test_a_set_of_10000_maps_is_read_and_archives_of_as_many_entries_as_may_be() -> None:
    n = 10_000
    data = wafer_set([np.ones((3, 3), np.uint8)] * n)
    items = list(find_maps(data, "file"))
    assert len(items) == n
    assert (items[-1].name, items[-1].sha256) == ("L7/10000", grid_sha256(np.ones((3, 3), np.uint8)))
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        archive.writestr("a.npy", npy(GRIDS[0]))
        for number in range(MAX_ENTRIES - 1):
            archive.writestr(f"{number}.txt", b"")
    assert found(held.getvalue()) == [("file", GRIDS[0].tolist())]


def test_an_npz_of_several_arrays_is_called_by_the_first_few_in_order() -> None:
    ((_, reason),) = found(npz(**{f"array{k}": GRIDS[0] for k in range(9, -1, -1)}))
    assert "an npz of array0, array1, array2, array3, array4, array5, array6, array7; expected one array" in reason


def test_a_wafer_set_may_hold_more_columns_than_are_needed() -> None:
    data = wafer_set(GRIDS, label=np.array([1, 2]), other=np.array(["a", "b"]))
    assert found(data) == [("L7/1", GRIDS[0].tolist()), ("L7/2", GRIDS[1].tolist())]


@pytest.mark.parametrize(("side", "reads"), [(2, False), (3, True), (300, True), (301, False)])
def test_maps_of_3_to_300_a_side_are_read(side: int, reads: bool) -> None:
    for shape in ((side, 5), (5, side)):
        grid = np.ones(shape, np.uint8)
        for data in (wafer_set([grid]), npy(grid), npz(a=grid)):
            ((_, result),) = found(data)
            assert isinstance(result, list) is reads


def test_an_archive_packed_in_every_common_way_is_read() -> None:
    for packing in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        held = io.BytesIO()
        with zipfile.ZipFile(held, "w", packing) as archive:
            archive.writestr("a.npy", npy(GRIDS[0]))
        assert found(held.getvalue()) == [("file", GRIDS[0].tolist())]


def test_a_bad_array_of_an_npz_is_told_by_the_name_of_the_file() -> None:
    for grid in (SEVEN, GRIDS[0].astype("S7"), np.ones((400, 400))):
        ((_, reason),) = found(npz(a=grid), "lot7.npz")
        assert "lot7.npz" in reason


def test_an_array_that_ends_like_the_start_of_another_is_cut_where_its_header_says() -> None:
    good = npy(GRIDS[0])
    broken = good[:-1] + b"\x93"
    for step in (1, 1 << 20):
        assert pieces(broken + good, step) == [broken, good]
        assert pieces(broken, step) == [broken]
