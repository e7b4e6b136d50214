"""Which maps the station finds in a file or a stream, under which ids and hashes, and what it says of the rest."""

import gzip
import hashlib
import io
import pickle
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from edge.station import inputs, stream
from edge.station.inputs import find_maps, wafer_name
from edge.station.stream import split
from tests.station import npy, npz, synthetic, text, wafer_set
from tests.wafer_tf.formats.test_grids import MAPS
from wafer_tf.dies import grid_sha256
from wafer_tf.errors import InputError
from wafer_tf.formats.grids import MAX_BYTES as MAX_GRID_BYTES
from wafer_tf.formats.wafer_map import MapFile, WaferMap

GRIDS = [np.array([[0, 1, 0], [1, 2, 1], [0, 1, 0]], np.uint8), np.array([[1, 1, 1, 2]] * 3, np.uint8)]
SEVEN = np.full((3, 3), 7, np.uint8)


def found(data: bytes, name: str = "file") -> list[Any]:
    """Return (id, map or error text) of what is in a file."""
    return [
        (item.name, str(item.found) if isinstance(item.found, InputError) else item.found.grid.tolist())
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
    assert (item.number, item.file_sha256) == (1, item.sha256)


def test_the_maps_of_a_wafer_set_are_named_by_lot_and_wafer() -> None:
    data = wafer_set(GRIDS, lot=np.array(["L7", ""]), wafer_index=np.array([3.0, np.nan]))
    assert found(data) == [("L7/3", GRIDS[0].tolist()), ("file:1", GRIDS[1].tolist())]
    items = list(find_maps(data, ""))
    assert [item.sha256 for item in items] == [grid_sha256(grid) for grid in GRIDS]
    assert [item.number for item in items] == [1, 2]
    assert {(item.file_sha256, item.format) for item in items} == {(hashlib.sha256(data).hexdigest(), "npz wafer set")}
    assert grid_sha256(GRIDS[0]) == hashlib.sha256(b"3 3\n" + GRIDS[0].tobytes()).hexdigest()


def test_one_bad_map_of_a_wafer_set_does_not_stop_the_others() -> None:
    grids = [GRIDS[0], SEVEN, np.zeros((4, 4), np.uint8), np.ones((2, 9), np.uint8), GRIDS[1]]
    reasons = ["die state 7 at row 0", "no die at all", "2 x 9 cells"]
    names, results = zip(*found(wafer_set(grids)), strict=True)
    assert names == ("L7/1", "L7/2", "L7/3", "L7/4", "L7/5")
    assert (results[0], results[4]) == (GRIDS[0].tolist(), GRIDS[1].tolist())
    for result, reason in zip(results[1:4], reasons, strict=True):
        assert reason in result
    assert [item.sha256 for item in find_maps(wafer_set(grids), "file")][1:4] == [None] * 3


def test_asking_for_the_grid_of_what_is_no_map_raises_why() -> None:
    (item,) = find_maps(b"7", "file")
    assert isinstance(item.found, InputError)
    with pytest.raises(InputError) as error:
        _ = item.grid
    assert error.value is item.found
    assert (item.sha256, item.file_sha256, item.format) == (*[hashlib.sha256(b"7").hexdigest()] * 2, None)


def test_an_open_file_gives_what_its_bytes_give_and_a_hash_that_is_known_is_taken() -> None:
    for data in (npy(GRIDS[0]), text(GRIDS[1]), wafer_set(GRIDS), b"no map"):
        for known in (None, "ab" * 32):
            given, expected = (
                [(*item[:-1], str(item.found) if isinstance(item.found, InputError) else item.grid.tolist())
                 for item in find_maps(file, "file", file_sha256=known)]
                for file in (io.BytesIO(data), data)
            )  # fmt: skip
            assert given == expected
            assert {item[3] for item in given} == {known or hashlib.sha256(data).hexdigest()}


def test_a_file_of_no_wafer_and_one_too_large_for_the_memory_are_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    def gives(wafers: Any) -> Any:
        return lambda stream, name, options: MapFile(format="STDF", wafers=wafers)

    def failing() -> Iterator[WaferMap | InputError]:
        yield WaferMap(grid=GRIDS[0], lot="L", wafer="1")
        raise MemoryError

    monkeypatch.setattr(inputs, "read_maps", gives(iter([])))
    assert found(b"") == [("file", "file: no wafer in it; expected at least one.")]
    monkeypatch.setattr(inputs, "read_maps", gives(failing()))
    assert found(b"") == [("L/1", GRIDS[0].tolist()), ("file:1", "file: not enough memory to read it.")]


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "empty; expected a file of wafer maps"),
        (b" \n\n", "empty"),
        (b"PAR1" + bytes(40), "python -m edge.classify"),
        (pickle.dumps(GRIDS[0]), "a pickle, which can run code and is never opened"),
        (npz(a=GRIDS[0], b=GRIDS[1]), "an npz of a, b; expected one array"),
        (npz(a=np.array([{}])), "pickled objects, which are not read|1 cells"),
        (npz(a=np.ones((2001, 400), np.uint8)), "2001 x 400 cells"),
        (npz(a=GRIDS[0])[:-30], "damaged zip archive"),
        (b"\x89HDF\r\n\x1a\n" + bytes(40), "an HDF5 file, which is not read"),
        (b"\1\0\2" * 9, "neither npy, npz nor text"),
    ],
)
def test_what_is_no_map_is_an_error_with_a_reason(data: bytes, says: str) -> None:
    ((name, reason),) = found(data)
    assert name == "file"
    assert any(part in reason for part in says.split("|"))


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
        "too large": npy(np.ones((2001, 400), np.uint8)),
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


def test_a_bad_text_in_a_stream_costs_only_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    limit = 1_000_000
    monkeypatch.setattr(stream, "MAX_GRID_BYTES", limit)
    good = text(GRIDS[0])
    for data in (b"hello\n", b"\xff\xfe\x00\n", b"0" * 2 * limit + b"\n", good * 100_000):
        first, middle, last = pieces(good + b"\n" + data + b"\n" + good)
        assert (first, last) == (good, good)
        assert len(middle) <= 2 * limit + 2
    for data in (b"hello\n", b"\xff\xfe\x00\n", b"1,2\n1\n", good * 3000):
        _, middle, _ = pieces(good + b"\n" + data + b"\n" + good)
        assert isinstance(found(middle)[0][1], str)


@pytest.mark.parametrize("start", [b"\1\2\1", b"\xff" * 9 + b"\n\1", b"noise\n\nmore", b"\n"])
def test_a_stream_of_arrays_that_is_opened_within_one_costs_only_that(start: bytes) -> None:
    whole = [npy(grid) for grid in GRIDS]
    for step in (1, 1000):
        assert pieces(start + b"".join(whole), step)[-2:] == whole


def test_a_file_of_another_format_in_a_stream_is_one_piece() -> None:
    out = io.BytesIO()
    np.savez(out, a=GRIDS[0])
    klarf, stdf = b"FileVersion 1 2;\n\nEndOfFile;\n", b"\2\0\0\n\2\4" + npy(GRIDS[0])
    for data in (wafer_set(GRIDS), out.getvalue(), gzip.compress(npy(GRIDS[0]), 0), klarf, stdf, b"<?xml?>\n\n<a/>"):
        for step in (100, 1 << 20):
            assert pieces(data, step) == [data]


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


def test_an_array_that_ends_like_the_start_of_another_is_cut_where_its_header_says() -> None:
    good = npy(GRIDS[0])
    broken = good[:-1] + b"\x93"
    for step in (1, 1 << 20):
        assert pieces(broken + good, step) == [broken, good]
        assert pieces(broken, step) == [broken]


@pytest.mark.parametrize(
    ("lot", "wafer", "name"), [("L7", "3", "L7/3"), ("", "3", "f:1"), ("L7", "", "f:1"), ("", "", "f:1")]
)
def test_a_map_of_many_is_called_by_its_lot_and_wafer_where_both_are_known(lot: str, wafer: str, name: str) -> None:
    assert wafer_name(lot, wafer, "f:1") == name
