"""LSWMD.pkl as people save it again: harmless types are read or refused by name, only what runs code is unsafe."""

import bz2
import datetime
import decimal
import gzip
import lzma
import pickle
import uuid
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from tests import SHARED
from tests.wafer_tf.readers.test_lswmd import assert_same, column, made_up, save, table
from wafer_tf import budget
from wafer_tf.errors import InputError
from wafer_tf.readers import open_source, read

CASES = SHARED / "cases" / "18-resaved-lswmd"
PACKERS: dict[str, Callable[[bytes], bytes]] = {"gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress}


def texts(name: str) -> "pd.Series[Any]":
    return table()[name]


RESAVED: dict[str, Callable[[], pd.DataFrame]] = {
    "categories": lambda: table().assign(failureType=texts("failureType").astype(object).astype("category")),
    "categories of Arrow text": lambda: table().assign(failureType=texts("failureType").astype(str).astype("category")),
    "every column a category": lambda: table().assign(
        **{name: table()[name].astype("category") for name in ("lotName", "waferIndex", "trainTestLabel")}
    ),
    "Int64": lambda: table().assign(waferIndex=table()["waferIndex"].astype("Int64")),
    "Float64": lambda: table().assign(waferIndex=table()["waferIndex"].astype("Float64")),
    "string": lambda: table().assign(lotName=texts("lotName").astype("string[python]")),
    "string of pyarrow": lambda: table().assign(lotName=texts("lotName").astype("string[pyarrow]")),
    "types of Arrow": lambda: table().assign(
        lotName=texts("lotName").astype(pd.ArrowDtype(pa.string())),
        waferIndex=table()["waferIndex"].astype("int64").astype(pd.ArrowDtype(pa.int64())),
    ),
    "lists": lambda: table().assign(waferMap=column([grid.tolist() for grid in table()["waferMap"]])),
    "lists of arrays": lambda: table().assign(waferMap=column([list(grid) for grid in table()["waferMap"]])),
    "arrays of arrays": lambda: table().assign(
        waferMap=column([column(list(grid)).to_numpy() for grid in table()["waferMap"]])
    ),
    "lists of numpy's numbers": lambda: table().assign(
        waferMap=column([[list(line) for line in grid] for grid in table()["waferMap"]])
    ),
    "further columns": lambda: table().assign(failureNum=8, when=pd.Timestamp("2020-01-01"), dieSize=1 + 2j),
    "dates in cells": lambda: table().assign(when=column([datetime.date(2020, 1, 1)] * 12)),
    "dates with zones": lambda: table().assign(when=pd.Timestamp("2020-01-01", tz="UTC")),
    "other things in cells": lambda: table().assign(
        one=column([decimal.Decimal(1)] * 12),
        two=column([uuid.UUID(int=2**127)] * 12),
        three=column([{1, 2}] * 12),
        four=column([OrderedDict(a=1)] * 12),
        five=column([frozenset("ab")] * 12),
        six=column([Path("a")] * 12),
        seven=column([pd.Period("2020-01")] * 12),
    ),
    "sparse and intervals": lambda: table().assign(
        one=pd.arrays.SparseArray([0.0] * 12), two=pd.cut(pd.Series(range(12)), 3)
    ),
}


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("how", RESAVED)
def test_a_table_saved_again_gives_the_same_wafers(how: str, protocol: int, tmp_path: Path) -> None:
    found = read(save(RESAVED[how](), tmp_path / "table.pkl", protocol=protocol))
    expected = made_up()
    if how == "categories of Arrow text":  # astype(str) leaves an empty label as it is
        assert (found.label == expected.label).all()
    assert_same(found, expected)


def test_a_number_with_gaps_is_0_where_there_is_none(tmp_path: Path) -> None:
    frame = table().assign(waferIndex=pd.array([1, None, *range(3, 13)], dtype="Int64"))
    assert read(save(frame, tmp_path / "table.pkl")).wafer_index.tolist() == [1, 0, *range(3, 13)]


def test_a_label_of_pandas_nothing_is_unlabelled(tmp_path: Path) -> None:
    frame = table(failureType=[pd.NA, pd.NaT, None, float("nan"), *["Loc"] * 8])
    assert read(save(frame, tmp_path / "table.pkl")).label.tolist() == [-1] * 4 + [4] * 8


def test_two_columns_are_read_and_what_is_lost_is_said(tmp_path: Path) -> None:
    with open_source(save(table()[["waferMap", "failureType"]], tmp_path / "table.pkl")) as opened:
        found = opened.collect()
        assert [note.split(":")[0] for note in opened.notes] == ["no column lotName", "no column waferIndex"]
    np.testing.assert_array_equal(found.flat, made_up().flat)
    np.testing.assert_array_equal(found.label, made_up().label)


def test_other_spellings_are_taken_and_said_once(tmp_path: Path) -> None:
    frame = table(failureType=["Edge_Ring", "nearfull", "Normal", "Edge-Local"] * 3)
    with open_source(save(frame, tmp_path / "table.pkl")) as opened:
        assert opened.collect().label.tolist() == [3, 5, 8, 2] * 3
        assert opened.notes == (
            "label Edge-Local taken as Edge-Loc",
            "label Edge_Ring taken as Edge-Ring",
            "label Normal taken as none",
            "label nearfull taken as Near-full",
        )


# === What is refused ===


def named(module: str, name: str, args: bytes = b")") -> bytes:
    """A pickle that calls a global."""
    return b"\x80\x02c" + module.encode() + b"\n" + name.encode() + b"\n" + args + b"R."


def test_a_wanted_column_of_dates_is_refused_by_name_without_accusation(tmp_path: Path) -> None:
    for cells, says in (
        (column([datetime.datetime(2020, 1, 1), "a"] * 6), r"row 0: lotName: holds a datetime\.datetime"),
        (pd.Series([pd.Timestamp("2020-01-01")] * 12), r"column lotName holds .*DatetimeArray, which is not read"),
        (pd.Series(pd.cut(pd.Series(range(12)), 3)), r"column lotName holds a pandas\.Categorical, which is not read"),
    ):
        with pytest.raises(InputError, match=says) as caught:
            read(save(table().assign(lotName=cells), tmp_path / "table.pkl"))
        assert "unsafe" not in str(caught.value)


def test_a_class_of_another_program_is_refused_with_a_remedy(tmp_path: Path) -> None:
    (tmp_path / "table.pkl").write_bytes(named("fab_tools.maps", "WaferMap"))
    says = r"holds fab_tools\.maps\.WaferMap, which is not read.*save the table again"
    with pytest.raises(InputError, match=says) as error:
        read(tmp_path / "table.pkl")
    assert "unsafe" not in str(error.value)


@pytest.mark.parametrize(
    "name",
    [
        *("os.system", "posix.system", "builtins.eval", "builtins.getattr", "__builtin__.exec", "subprocess.Popen"),
        *("numpy.load", "pandas.HDFStore", "pandas.read_pickle", "pandas.eval", "fab_tools.maps.load", "ctypes.CDLL"),
        *("numpy.testing._private.utils.runstring", "types.FunctionType", "functools.partial", "pathlib.os.system"),
    ],
)
def test_what_may_run_code_is_still_called_unsafe(name: str, tmp_path: Path) -> None:
    module, _, last = name.rpartition(".")
    (tmp_path / "table.pkl").write_bytes(named(module, last))
    with pytest.raises(InputError, match=rf"unsafe pickle: it names {name}"):
        read(tmp_path / "table.pkl")


def test_nothing_of_a_harmless_type_is_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*args: Any, **kwargs: Any) -> Any:
        raise AssertionError("built")

    path = save(RESAVED["other things in cells"](), tmp_path / "table.pkl")
    for module, name in ((uuid, "UUID"), (decimal, "Decimal"), (pd, "Period")):
        monkeypatch.setattr(module, name, never)
    monkeypatch.setattr(pickle, "loads", never)
    monkeypatch.setattr(pickle, "load", never)
    assert len(read(path)) == 12


def test_codes_beyond_the_categories_are_refused(tmp_path: Path) -> None:
    frame = table(failureType=["none", "Loc"] * 6)
    frame["failureType"] = frame["failureType"].astype("category")
    content = save(frame, tmp_path / "table.pkl").read_bytes()
    codes = bytes([1, 0] * 6)
    assert content.count(codes) == 1
    (tmp_path / "table.pkl").write_bytes(content.replace(codes, bytes([1, 9] * 6)))
    with pytest.raises(InputError, match=r"column failureType holds .* not read \(codes 1 to 9 for 2 categories"):
        read(tmp_path / "table.pkl")


# === Packed ===


@pytest.mark.parametrize("ending", PACKERS)
def test_a_packed_table_is_read(ending: str, tmp_path: Path) -> None:
    content = save(table(), tmp_path / "table.pkl").read_bytes()
    (tmp_path / f"LSWMD.pkl.{ending}").write_bytes(PACKERS[ending](content))
    assert_same(read(tmp_path / f"LSWMD.pkl.{ending}"), made_up())


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_zip_with_one_table_is_read(method: int, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "archive.zip", "w", method) as archive:
        archive.write(save(table(), tmp_path / "table.pkl"), "folder/LSWMD.pkl")
        archive.writestr("__MACOSX/._LSWMD.pkl", b"x")
    assert_same(read(tmp_path / "archive.zip"), made_up())


def test_a_packed_file_cut_off_anywhere_is_refused(tmp_path: Path) -> None:
    content = save(table(), tmp_path / "table.pkl").read_bytes()
    for pack in PACKERS.values():
        packed = pack(content)
        for length in range(6, len(packed), 97):
            (tmp_path / "cut").write_bytes(packed[:length])
            with pytest.raises(InputError, match=r"cut: "):
                read(tmp_path / "cut")


def test_a_packed_bomb_is_refused_before_the_disk_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget, "MIN_UNPACKED", 1 << 20)
    monkeypatch.setattr(budget, "MAX_RATIO", 20)
    (tmp_path / "bomb.pkl.gz").write_bytes(gzip.compress(b"\x80\x04" + bytes(1 << 23)))
    with pytest.raises(InputError, match="unpacks to over 1048576 bytes"):
        read(tmp_path / "bomb.pkl.gz")
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("LSWMD.pkl", b"\x80\x04" + bytes(1 << 23))
    with pytest.raises(InputError, match="unpacks to over 1048576 bytes"):
        read(tmp_path / "bomb.zip")


def test_a_packed_file_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.gz").write_bytes(gzip.compress(b"no table"))
    with pytest.raises(InputError, match=r"expected 0|neither a grid nor a table|text"):
        read(tmp_path / "notes.gz")


@pytest.mark.skipif(not CASES.is_dir(), reason="needs the cases in ../shared")
@pytest.mark.parametrize("name", ["LSWMD-category.pkl", "LSWMD.pkl.xz"])
def test_the_resaved_cases_are_read(name: str) -> None:
    found = read(CASES / name)
    assert len(found) > 0
    assert (found.label >= 0).any()
