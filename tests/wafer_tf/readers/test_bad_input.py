"""Inputs that once ended in a traceback, or were read as something else without a word."""

import io
import os
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.wafer_tf.readers import pickles
from wafer_tf.command import run
from wafer_tf.errors import InputError
from wafer_tf.readers import read, write_parquet
from wafer_tf.readers.__main__ import main
from wafer_tf.synthesis import synthesize
from wafer_tf.waferset import WaferSet

GRID = "0,1,0\n1,2,1\n0,1,0\n"
MAPS = [np.array([[0, 1, 0], [1, 2, 1], [0, 1, 0]], np.uint8), np.array([[1, 1, 1, 2]] * 3, np.uint8)]


def npz(path: Path, entry: Callable[[str, bytes], tuple[str, bytes]]) -> Path:
    """Write an npz of two maps, each entry as `entry(name, content)` gives it."""
    columns: dict[str, Any] = {
        "flat": np.concatenate([grid.ravel() for grid in MAPS]),
        "offsets": [0, 9, 21],
        "shapes": [[3, 3], [3, 4]],
        "lot": ["a", "b"],
        "wafer_index": [1, 2],
    }
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, values in columns.items():
            stream = io.BytesIO()
            np.lib.format.write_array(stream, np.asarray(values))
            archive.writestr(*entry(f"{name}.npy", stream.getvalue()))
    return path


def header(text: str) -> bytes:
    return b"\x93NUMPY\x01\x00" + (118).to_bytes(2, "little") + text.encode().ljust(117) + b"\n" + b"\x01" * 21


def folder(path: Path, text: str) -> Path:
    (path / "none").mkdir(parents=True)
    (path / "none" / "a.csv").write_text(text, encoding="utf-8")
    return path


# === npz ===


def test_an_npz_whose_entries_lack_their_suffix_is_no_traceback(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="without flat, offsets"):
        read(npz(tmp_path / "maps.npz", lambda name, content: (name.removesuffix(".npy"), content)))


@pytest.mark.parametrize(
    "text", ["garbage(((", "'''", "{[]: 1}", "{'descr': '|u1', 'fortran_order': False, 'shape': (-21,)}"]
)
def test_an_npy_header_that_is_no_python_is_no_traceback(text: str, tmp_path: Path) -> None:
    maps = npz(tmp_path / "maps.npz", lambda name, content: (name, header(text) if name == "flat.npy" else content))
    with pytest.raises(InputError, match="flat is no npy array"):
        read(maps)
    folder(tmp_path / "maps", GRID)
    (tmp_path / "maps" / "none" / "b.npy").write_bytes(header(text))
    with pytest.raises(InputError, match=r"b\.npy: not a wafer file: no npy header"):
        read(tmp_path / "maps")


def test_an_npz_with_one_wrong_byte_gives_wafers_or_an_input_error(tmp_path: Path) -> None:
    whole = npz(tmp_path / "maps.npz", lambda name, content: (name, content)).read_bytes()
    rng = np.random.default_rng(0)
    for _ in range(300):
        content = bytearray(whole)
        content[int(rng.integers(4, len(content)))] = int(rng.integers(256))
        (tmp_path / "maps.npz").write_bytes(content)
        try:
            read(tmp_path / "maps.npz")
        except InputError as error:
            assert "maps.npz" in str(error)


def test_a_refusal_that_quotes_a_damaged_archive_is_one_short_line(tmp_path: Path) -> None:
    whole = npz(tmp_path / "maps.npz", lambda name, content: (name, content)).read_bytes()
    place = whole.index(b"PK\3\4", 4)  # the second entry
    name = (len(whole) - place - 100).to_bytes(2, "little")  # is as long as all behind it
    (tmp_path / "maps.npz").write_bytes(whole[: place + 26] + name + whole[place + 28 :])
    with pytest.raises(InputError, match=r"File name in directory 'offsets.npy' and header") as told:
        read(tmp_path / "maps.npz")
    assert len(str(told.value)) < 350 + len(str(tmp_path))
    assert "\n" not in str(told.value)


# === Folders of grids ===


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("0,,1,2\n1,,2,1\n0,,1,0\n", "'' at row 0, column 1"),
        (",0,1,2\n0,0,1,0\n1,1,2,1\n2,0,1,0\n", "'' at row 0, column 0.*without header"),
        (GRID.replace(",", ";").replace("1", "1,5"), "die state 1.5 at row 0"),
        (GRID.replace("2", "\u00b2"), "'\u00b2' at row 1, column 1"),
        (GRID.replace("2", "x" * 9999), "'x{20}' at row 1, column 1"),
        ("c0,c1,c2\n" + GRID.replace("2", "x"), "'c0' at row 0.*without header"),
    ],
    ids=["a column of holes", "row names", "decimal commas", "superscript two", "a long cell", "a header line"],
)
def test_a_text_grid_is_never_shifted_by_what_is_no_die(text: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=says):
        read(folder(tmp_path / "maps", text))


@pytest.mark.parametrize(
    "text", [GRID.replace("\n", ",\n"), GRID.replace(",", "; "), GRID.replace(",", "\t"), GRID.replace("\n", "\r\n")]
)
def test_separators_in_use_are_read(text: str, tmp_path: Path) -> None:
    np.testing.assert_array_equal(read(folder(tmp_path / "maps", text)).map(0), MAPS[0])


@pytest.mark.parametrize("kind", ["folder", "broken link", "link to itself"])
def test_what_is_no_file_in_a_class_folder_is_named_and_not_left_out(kind: str, tmp_path: Path) -> None:
    path = folder(tmp_path / "maps", GRID) / "none" / "more.csv"
    if kind == "folder":
        path.mkdir()
    else:
        path.symlink_to("nowhere" if kind == "broken link" else path)
    with pytest.raises(InputError, match=r"more\.csv: no file"):
        read(tmp_path / "maps")


# === Parquet ===


def test_a_parquet_file_with_two_columns_of_one_name_is_no_traceback(tmp_path: Path) -> None:
    write_parquet(WaferSet.from_maps(MAPS, label=[0, 8]), tmp_path / "set.parquet")
    table = pq.read_table(tmp_path / "set.parquet")
    pq.write_table(table.append_column("lot", table["lot"]), tmp_path / "twice.parquet")
    with pytest.raises(InputError, match="two columns lot"):
        read(tmp_path / "twice.parquet")


def test_no_flipped_bit_of_a_parquet_set_changes_a_map_unseen(tmp_path: Path) -> None:
    path, wafers = tmp_path / "set.parquet", synthesize(3, seed=0).wafers
    write_parquet(wafers, path)
    whole = path.read_bytes()
    refused = 0
    for place in range(0, 8 * len(whole), 211):
        changed = bytearray(whole)
        changed[place // 8] ^= 1 << place % 8
        path.write_bytes(changed)
        try:
            found = read(path)
        except InputError:
            refused += 1
        else:
            for name in ("flat", "offsets", "shapes", "lot", "wafer_index", "label", "official_split"):
                np.testing.assert_array_equal(getattr(found, name), getattr(wafers, name), f"{name}, bit {place}")
    assert refused > 300


@pytest.mark.parametrize("name", ["lot", "label"])
def test_parquet_text_that_is_no_unicode_is_no_traceback(name: str, tmp_path: Path) -> None:
    write_parquet(WaferSet.from_maps(MAPS, label=[0, 8]), tmp_path / "set.parquet")
    table = pq.read_table(tmp_path / "set.parquet")
    offsets = pa.py_buffer(np.array([0, 2, 4], np.int32))
    broken = pa.Array.from_buffers(pa.string(), 2, [None, offsets, pa.py_buffer(b"\xff\xfe\xff\xfe")])
    place = table.column_names.index(name)
    pq.write_table(table.set_column(place, table.schema.field(name), broken), tmp_path / "broken.parquet")
    with pytest.raises(InputError, match="damaged"):
        read(tmp_path / "broken.parquet")


# === Pickles written by hand ===


def _two_wafers(**changes: bytes) -> bytes:
    grid = pickles.array((3, 3), "u1", pickles.raw(MAPS[0].tobytes()))
    plain = {
        "waferMap": grid,
        "lotName": pickles.text("a"),
        "waferIndex": b"K\x01",
        "failureType": pickles.text("none"),
    }
    return pickles.table({name: pickles.cells(cell, cell) for name, cell in plain.items()} | changes)


@pytest.mark.parametrize("name", ["failureType", "lotName"])
def test_a_cell_of_zero_bytes_is_no_traceback(name: str, tmp_path: Path) -> None:
    (tmp_path / "table.pkl").write_bytes(_two_wafers())
    assert len(read(tmp_path / "table.pkl")) == 2
    cell = pickles.array((1,), "S0", pickles.raw(b""))
    (tmp_path / "table.pkl").write_bytes(_two_wafers(**{name: pickles.cells(cell, cell)}))
    with pytest.raises(InputError, match=rf"table\.pkl: row 0: {name}: holds an array of shape \(1,\)"):
        read(tmp_path / "table.pkl")


@pytest.mark.parametrize("name", ["waferMap", "lotName", "waferIndex", "failureType"])
def test_an_array_that_never_got_its_contents_is_no_traceback(name: str, tmp_path: Path) -> None:
    cell = pickles.name("numpy._core.multiarray", "_reconstruct") + b")R"
    (tmp_path / "table.pkl").write_bytes(_two_wafers(**{name: pickles.cells(cell, cell)}))
    if name in ("lotName", "failureType"):  # an empty array there means nothing, as in the original file
        assert len(read(tmp_path / "table.pkl")) == 2
    else:
        with pytest.raises(InputError, match=r"table\.pkl: row 0: "):
            read(tmp_path / "table.pkl")


def test_a_column_at_place_infinity_is_no_traceback(tmp_path: Path) -> None:
    content = _two_wafers()
    place = pickles.name("builtins", "slice") + struct.pack("<2sHcH", b"(M", 3, b"M", 4) + b"K\x01tR"
    assert content.count(place) == 1
    infinite = pickles.array((1,), "f8", pickles.raw(struct.pack("<d", float("inf"))))
    (tmp_path / "table.pkl").write_bytes(content.replace(place, infinite))
    with pytest.raises(InputError, match="not of a pandas table"):
        read(tmp_path / "table.pkl")


@pytest.mark.parametrize(("value", "spec"), [(float("nan"), "f8"), (0, "i8")])
def test_a_numeric_label_column_of_nothing_is_unlabelled(value: float, spec: str, tmp_path: Path) -> None:
    content = np.full(2, value, spec).tobytes()
    (tmp_path / "table.pkl").write_bytes(_two_wafers(failureType=pickles.array((1, 2), spec, pickles.raw(content))))
    assert (read(tmp_path / "table.pkl").label == -1).all()


def test_columns_that_share_their_bytes_cannot_fill_the_memory(tmp_path: Path) -> None:
    shared = pickles.array((1, 100_000), "f8", pickles.raw(bytes(800_000))) + b"r\x99\x00\x00\x00"
    columns = {f"c{k}": shared if k == 0 else b"j\x99\x00\x00\x00" for k in range(900)}
    (tmp_path / "table.pkl").write_bytes(pickles.table(columns))
    with pytest.raises(InputError, match="blocks of 720000000 bytes in a file of"):
        read(tmp_path / "table.pkl")


# === The command ===


@pytest.mark.parametrize("report", ["out.parquet", "out.parquet/figures", "maps/none/a.csv/figures"])
def test_an_impossible_report_folder_is_refused_before_anything_is_written(
    report: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    maps, out = folder(tmp_path / "maps", GRID), tmp_path / "out.parquet"
    assert main([str(maps), str(out), "--report", str(tmp_path / report)]) == 4
    assert "is a file; expected a folder for the figures" in capsys.readouterr().err
    assert not out.exists()


def test_a_device_is_not_replaced_by_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert main([str(folder(tmp_path / "maps", GRID)), str(tmp_path / "pipe"), "--overwrite"]) == 4
    assert "is a device or pipe" in capsys.readouterr().err
    assert (tmp_path / "pipe").is_fifo()


def test_too_little_memory_ends_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    def hungry() -> None:
        np.empty(1 << 62, np.uint8)

    assert run(hungry) == 4
    assert "error: not enough memory" in capsys.readouterr().err
