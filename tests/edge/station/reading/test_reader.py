"""Files read in a process of their own: the same maps, and what ends the reader costs one record."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.hot_folder_files import grids_as_npy, of_every_format
from edge.station.hot_folder.watch import watch
from edge.station.inputs import Found, find_maps
from edge.station.reading import reader as readers
from edge.station.reading.reader import MAX_TEXT_HERE, Reader, is_simple
from edge.station.reading.wire import found_from_wire, found_to_wire, options_from_json, options_to_json
from edge.station.records import Record, rejected, said
from tests.edge.station.reading import deadly
from tests.hot_folder import BUNDLE, lines, names
from tests.station import npy, synthetic, text
from wafer_tf.errors import InputError
from wafer_tf.formats.options import DEFAULT, Options
from wafer_tf.formats.wafer_map import BinCount, UnreadWaferError, WaferMap


@pytest.fixture
def reader() -> Iterator[Reader]:
    """The station's reader."""
    reader = Reader()
    yield reader
    reader.close()


@pytest.fixture
def deadly_reader(monkeypatch: pytest.MonkeyPatch) -> Iterator[Reader]:
    """A reader that does what a file says."""
    monkeypatch.setattr(readers, "_START", deadly.START)
    reader = Reader()
    yield reader
    reader.close()


def _plain(found: Found) -> list[Any]:
    """Return what was found in a form that can be compared."""
    what = found.found
    if isinstance(what, InputError):
        return [*found[:-1], type(what), str(what), getattr(what, "lot", None), getattr(what, "wafer", None)]
    fields = dict(vars(what))
    grid = fields.pop("grid")
    return [*found[:-1], fields, grid.shape, grid.dtype, grid.tolist()]


def test_files_of_every_format_give_what_they_give_here(reader: Reader) -> None:
    files, _ = of_every_format(16, seed=3)
    files |= {"none": b"\x00\x01\x02", "prose": b"hello\n"}
    assert not any(is_simple(data) for name, data in files.items() if not name.endswith(".csv"))
    for name, data in files.items():
        assert list(map(_plain, reader.find(data, name))) == list(map(_plain, find_maps(data, name)))


def test_a_file_that_is_open_gives_what_its_contents_give(reader: Reader, tmp_path: Path) -> None:
    files, _ = of_every_format(1, seed=4)
    ((name, data),) = files.items()
    (tmp_path / name).write_bytes(data)
    for _ in range(2):
        with (tmp_path / name).open("rb") as file:
            file.read(10)
            assert list(map(_plain, reader.find(file, name))) == list(map(_plain, find_maps(data, name)))
            assert not file.closed


def test_what_was_found_crosses_the_wire_whole() -> None:
    wafer = WaferMap(
        grid=synthetic(1)[0],
        lot="L",
        wafer="ü\ud800",
        product="P",
        step="S",
        time="2026-11-26T19:30:00",
        corner=(-3, 4),
        bins=(BinCount("1", True, 7), BinCount("0A", False, 1)),
        retested=2,
        facts={"die size": "2.1 x 3.4 mm"},
        assumed=("a", "b"),
        warnings=("c",),
    )
    for what in (wafer, WaferMap(grid=synthetic(1)[1]), InputError("no"), UnreadWaferError("no", lot="L", wafer="7")):
        found = Found("L/7", 3, "ab" * 32, None, "STDF V4", what)
        assert _plain(found_from_wire(*found_to_wire(found))) == _plain(found)


@pytest.mark.parametrize(
    "options",
    [
        DEFAULT,
        Options(
            pass_bins=frozenset({"1", "2"}),
            orient=90,
            y_axis="up",
            retest="best",
            states=("", "P", "F"),
            columns={"x": "col"},
            classes=frozenset({"4"}),
            min_defect_size=0.5,
            overlay="o",
            colours=("#000000", "#00ff00", "#ff0000"),
            lenient=True,
            part=True,
        ),
    ],
)
def test_options_cross_the_wire_whole(options: Options) -> None:
    assert options_from_json(options_to_json(options)) == options


def test_what_is_bounded_in_itself_starts_no_process(reader: Reader) -> None:
    grid = np.pad(synthetic(1)[0], 1)
    for data in (npy(grid), text(grid), text(grid, " ")):
        assert is_simple(data)
        assert list(map(_plain, reader.find(data, "w"))) == list(map(_plain, find_maps(data, "w")))
        reader.start(data)
    assert reader._process is None
    reader.start(b"ROWCT:3\n")
    assert reader._process is not None
    assert not is_simple(b"1,2\n" * (MAX_TEXT_HERE // 4 + 1))
    assert not is_simple(b"ROWCT:3\n1 2\n")


@pytest.mark.parametrize(
    ("word", "why"), [("kill", "by SIGKILL"), ("exit", "with exit code 3"), ("spin", "it took too long")]
)
def test_what_ends_its_reader_twice_is_an_error_and_the_next_file_is_read(
    word: str, why: str, deadly_reader: Reader
) -> None:
    (found,) = deadly_reader.find(f"!{word}".encode(), "w")
    assert str(found.found) == f"w: its reader ended 2 times while it read it ({why}); it is not read again."
    assert (found.name, found.number, found.sha256) == ("w", 1, None)
    files, _ = of_every_format(1, seed=5)
    ((name, data),) = files.items()
    assert list(map(_plain, deadly_reader.find(data, name))) == list(map(_plain, find_maps(data, name)))


def test_maps_before_the_death_are_given_once(deadly_reader: Reader) -> None:
    grid = "\n".join(",".join(map(str, row)) for row in synthetic(1)[0].tolist())
    first, second = deadly_reader.find(f"{grid}\n!kill".encode(), "lot")
    assert isinstance(first.found, WaferMap)
    assert "its reader ended 2 times" in str(second.found)
    assert (second.name, second.number) == ("lot:1", 2)


def test_no_more_memory_is_given_than_there_is_for_a_reader(deadly_reader: Reader) -> None:
    for _ in range(2):
        (found,) = deadly_reader.find(b"!memory", "w")
        assert str(found.found) == "refused"
        assert deadly_reader._process is not None
        assert deadly_reader._process.poll() is None


def test_a_fault_of_the_reader_is_one_of_the_station(deadly_reader: Reader) -> None:
    for _ in range(2):
        with pytest.raises(RuntimeError, match="RuntimeError: no such thing"):
            list(deadly_reader.find(b"!fault", "w"))


def test_a_reader_that_cannot_be_started_is_no_fault_of_the_file(
    reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    files, _ = of_every_format(1, seed=9)
    ((name, data),) = files.items()
    with monkeypatch.context() as patch:
        patch.setattr(readers, "_START", "raise SystemExit(7)")
        with pytest.raises(RuntimeError, match="cannot be started: it ended with exit code 7"):
            list(reader.find(data, name))
    assert list(map(_plain, reader.find(data, name))) == list(map(_plain, find_maps(data, name)))


def test_whoever_wants_no_more_maps_leaves_nothing_behind(reader: Reader) -> None:
    files, _ = of_every_format(2, seed=6)
    (name, data), (other, more) = files.items()
    maps = reader.find(data, name)
    next(maps)
    process = reader._process
    assert process is not None
    maps.close()  # type: ignore[attr-defined]
    assert process.poll() is not None
    assert list(map(_plain, reader.find(more, other))) == list(map(_plain, find_maps(more, other)))


def test_a_file_that_ends_its_reader_costs_its_own_record_alone(deadly_reader: Reader, tmp_path: Path) -> None:
    inbox, out = tmp_path / "in", tmp_path / "out"
    inbox.mkdir()
    files, maps = of_every_format(8, seed=8)
    files |= grids_as_npy(100, seed=8) | {"poison1": b"!kill", "poison2": b"!exit"}
    for number, (name, data) in enumerate(sorted(files.items())):
        (inbox / name).write_bytes(data)
        os.utime(inbox / name, (1e9 + number, 1e9 + number))

    def judge(file: Any, name: str) -> Iterator[Record]:
        for found in deadly_reader.find(file, name):
            reason = str(found.found) if isinstance(found.found, InputError) else "a map"
            what = said(None, format=found.format, file=name, file_sha256=found.file_sha256, map=found.number)
            yield rejected(found.name, reason, input_sha256=found.sha256, bundle_sha256=BUNDLE, said=what)

    assert watch(inbox, out, judge, bundle_sha256=BUNDLE, poll_s=0.01, settle_s=0.0, once=True) == 0
    assert not names(inbox)
    recorded = lines(out / "records.jsonl")
    ended = {record["file"]: record["maps"] for record in recorded if "its reader ended" in record["reason"]}
    assert ended == {"poison1": 1, "poison2": 1}
    assert len(recorded) == len(set(files.values())) + sum(held - 1 for held in maps.values())
