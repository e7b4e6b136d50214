"""LSWMD.pkl in every layout it is met in, and the pickles that must be refused."""

import importlib.util
import pickle
import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests import ROOT, SHARED
from wafer_tf.dies import CLASSES, UNLABELLED
from wafer_tf.errors import InputError
from wafer_tf.readers import fastarrays, lswmd, read, write_parquet
from wafer_tf.waferset import WaferSet

DATA = ROOT / "tests" / "data"
TAGS = ("pandas019", "pandas10", "pandas15", "pandas22", "pandas31", "pandas31_without_pyarrow")


def module(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


def made_up() -> WaferSet:
    maps, lots, index, labels, splits = module(DATA / "make_lswmd_fixtures.py").made_up()
    codes = [CLASSES.index(label) if label else UNLABELLED for label in labels]
    return WaferSet.from_maps(maps, label=codes, lot=lots, wafer_index=index, official_split=splits)


def table(**changes: Any) -> pd.DataFrame:
    maps, lots, index, labels, splits = module(DATA / "make_lswmd_fixtures.py").made_up()
    columns = {"waferMap": maps, "lotName": lots, "waferIndex": index, "trainTestLabel": splits, "failureType": labels}
    return pd.DataFrame({name: column(values) for name, values in (columns | changes).items()})


def column(values: Sequence[Any]) -> "pd.Series[Any]":
    cells = np.empty(len(values), dtype=object)
    for i, value in enumerate(values):
        cells[i] = value
    return pd.Series(cells)


def save(frame: Any, path: Path, *, protocol: int = 5) -> Path:
    with path.open("wb") as stream:
        pickle.dump(frame, stream, protocol=protocol)
    return path


def read_slowly(path: Path) -> WaferSet:
    with lswmd.open_lswmd(path, fast=False) as source:
        return source.collect()


def assert_same(found: WaferSet, expected: WaferSet) -> None:
    for name in ("flat", "offsets", "shapes", "lot", "wafer_index", "label", "official_split"):
        a, b = getattr(found, name), getattr(expected, name)
        assert a.dtype == b.dtype, name
        np.testing.assert_array_equal(a, b, err_msg=name)


# === What is read ===


@pytest.mark.parametrize("tag", TAGS)
@pytest.mark.parametrize("layout", ["old", "mir"])
@pytest.mark.parametrize("reader", [read, read_slowly])
def test_every_layout_of_every_pandas_gives_the_same_wafers(
    layout: str, tag: str, reader: Callable[[Path], WaferSet]
) -> None:
    assert_same(reader(DATA / f"{layout}_{tag}.pkl"), made_up())


@pytest.mark.parametrize("tag", TAGS)
def test_chosen_rows_in_other_column_order_and_without_split_are_read(tag: str) -> None:
    expected = made_up().select([1, 3, 5, 7, 9, 11])
    found = read(DATA / f"rows_{tag}.pkl")
    np.testing.assert_array_equal(found.flat, expected.flat)
    np.testing.assert_array_equal(found.label, expected.label)
    assert (found.official_split == "").all()


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize(
    "twist", ["plain", "int64", "float64", "bool", "fortran", "shared", "mixed", "big-endian", "lists"]
)
def test_the_fast_way_and_the_opcode_reader_agree(twist: str, protocol: int, tmp_path: Path) -> None:
    frame = table(
        trainTestLabel=[np.array([[s]]) if s else np.zeros((0, 0)) for s in made_up().official_split.tolist()]
    )
    maps = list(frame["waferMap"])
    if twist in ("int64", "float64"):
        maps = [grid.astype(twist) for grid in maps]
    elif twist == "bool":
        maps = [grid > 0 for grid in maps]
    elif twist == "big-endian":
        maps = [grid.astype(">i4") for grid in maps]
    elif twist == "fortran":
        maps = [np.asfortranarray(grid) for grid in maps]
    elif twist == "shared":
        maps = [maps[i % 5] for i in range(12)]
        frame["trainTestLabel"] = column([np.array([["Training"]])] * 12)
    elif twist == "mixed":
        maps[3], maps[7] = maps[3].astype(float), np.asfortranarray(maps[7])
    elif twist == "lists":
        frame["failureType"] = column([[["Loc"]], [], ("Donut",), None, float("nan"), 0, "", *["none"] * 5])
    frame["waferMap"] = column(maps)
    path = save(frame, tmp_path / "table.pkl", protocol=protocol)
    found = read(path)
    assert_same(found, read_slowly(path))
    for i, grid in enumerate(maps):
        np.testing.assert_array_equal(found.map(i), grid)


def test_a_python_2_file_goes_the_fast_way(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[fastarrays.FastArrays] = []

    class Counted(fastarrays.FastArrays):
        def __init__(self, data: Any) -> None:
            super().__init__(data)
            made.append(self)

    monkeypatch.setattr("wafer_tf.readers.pickled.FastArrays", Counted)
    read(DATA / "old_pandas019.pkl")
    assert len(made) == 1
    assert made[0].count >= 3 * 12 - 3  # the first array of each column is read opcode by opcode


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs the real maps in ../shared")
def test_npz_look_alike_and_parquet_give_equal_sets(tmp_path: Path) -> None:
    maker = module(SHARED / "tools" / "make_lswmd.py")
    npz = SHARED / "data" / "wm811k" / "wm811k_dev.npz"
    expected = read(npz)

    def row(i: int) -> tuple[Any, ...]:
        split, label = str(expected.official_split[i]), CLASSES[expected.label[i]]
        return expected.map(i), str(expected.lot[i]), float(expected.wafer_index[i]), split, label

    maker.write(tmp_path / "LSWMD.pkl", len(expected), row)
    write_parquet(expected, tmp_path / "set.parquet")
    assert_same(read(tmp_path / "LSWMD.pkl"), expected)
    assert_same(read_slowly(tmp_path / "LSWMD.pkl"), expected)
    assert_same(read(tmp_path / "set.parquet"), expected)


# === What is refused ===

SYSTEM = b"cos\nsystem\n(S'touch ran'\ntR"
EVAL = b"\x8c\x08builtins\x8c\x04eval\x93\x8c\x01x\x85R"
HOSTILE = {
    "os.system": b"\x80\x02cos\nsystem\nU\x09touch ran\x85R.",
    "builtins.eval": b"\x80\x04" + EVAL + b".",
    "eval within a list": b"\x80\x04](K\x01" + EVAL + b"e.",
    "eval as a memoized name": b"\x80\x04\x8c\x08builtins\x94\x8c\x04eval\x940h\x00h\x01\x93.",
    "numpy.load": b"\x80\x02cnumpy\nload\nU\x01x\x85R.",
    "pandas.read_pickle": b"\x80\x02cpandas\nread_pickle\nU\x01x\x85R.",
    "an attribute path": b"\x80\x04\x8c\x05numpy\x8c\x11ndarray.__class__\x93.",
    "extension registry": b"\x80\x02\x82\x01.",
    "persistent id": b"\x80\x02U\x01xQ.",
    "INST": b"\x80\x02(ios\nsystem\n.",
    "OBJ": b"\x80\x02(cnumpy\nndarray\no.",
    "NEWOBJ_EX": b"\x80\x04cnumpy\nndarray\n)}\x92.",
    "out-of-band buffer": b"\x80\x05\x97.",
    "call of a result": b"\x80\x02cnumpy\nndarray\n)\x81)R.",
    "state for a name": b"\x80\x02cnumpy\nndarray\n}b.",
    "whole number of a gigabyte": b"\x80\x02\x8b\x00\x00\x00\x40.",
    "items for a name": b"\x80\x02cnumpy\nndarray\nK\x01a.",
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_pickle_is_refused_before_anything_runs(
    what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("hostile.pkl").write_bytes(HOSTILE[what])
    with pytest.raises(InputError, match="unsafe"):
        read("hostile.pkl")
    assert [path.name for path in Path().iterdir()] == ["hostile.pkl"]


def test_a_refusal_names_the_global(tmp_path: Path) -> None:
    (tmp_path / "hostile.pkl").write_bytes(HOSTILE["os.system"])
    with pytest.raises(InputError, match=r"hostile\.pkl.*unsafe pickle: it names os\.system"):
        read(tmp_path / "hostile.pkl")


class Bomb:
    """Pickles as a call of a global that is on the list, with arguments no table has."""

    def __init__(self, func: Any, *args: Any) -> None:
        self.call = (func, args)

    def __reduce__(self) -> Any:
        return self.call


@pytest.mark.parametrize(
    "bomb",
    [
        Bomb(np.dtype, "O,O"),
        Bomb(np.dtype, "V2000000000"),
        Bomb(np.dtype, "U999999999"),
        Bomb(np.dtype, [("a", "O")]),
        Bomb(np.ndarray, (1 << 40,), np.dtype("u1")),
        Bomb(slice, 0, 1 << 60),
        Bomb(pd.DataFrame, {"a": [1]}),
    ],
    ids=lambda bomb: repr(bomb.call)[:60],
)
@pytest.mark.parametrize("place", ["alone", "cell"])
def test_allowed_names_with_odd_arguments_are_refused(bomb: Bomb, place: str, tmp_path: Path) -> None:
    frame = bomb if place == "alone" else table(waferMap=[bomb] * 12)
    with pytest.raises(InputError):
        read(save(frame, tmp_path / "odd.pkl"))


def test_an_array_that_claims_a_billion_cells_is_refused(tmp_path: Path) -> None:
    for protocol, side in ((2, b"M\x11\x00M\x12\x00"), (5, b"K\x11K\x12")):
        path = save(table(), tmp_path / "table.pkl", protocol=protocol)
        blown = path.read_bytes().replace(
            b"K\x11K\x12", b"J" + struct.pack("<i", 40000) + b"J" + struct.pack("<i", 25000)
        )
        assert blown != path.read_bytes(), side
        path.write_bytes(blown)
        with pytest.raises(InputError, match=r"shape \(40000, 25000\)"):
            read(path)


@pytest.mark.parametrize("tag", ["pandas019", "pandas31"])
def test_a_truncated_file_is_refused_wherever_it_breaks_off(tag: str, tmp_path: Path) -> None:
    whole = (DATA / f"old_{tag}.pkl").read_bytes()
    path = tmp_path / "cut.pkl"
    for length in range(8, len(whole), 61):
        path.write_bytes(whole[:length])
        with pytest.raises(InputError, match=r"cut\.pkl: .*(truncated|damaged)"):
            read(path)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=st.sampled_from([f"old_{tag}.pkl" for tag in TAGS]),
    changes=st.lists(st.tuples(st.floats(0, 0.999), st.integers(0, 255)), min_size=1, max_size=6),
)
def test_a_corrupted_file_gives_wafers_or_an_input_error(
    name: str, changes: list[tuple[float, int]], tmp_path: Path
) -> None:
    content = bytearray((DATA / name).read_bytes())
    for place, value in changes:
        content[2 + int(place * (len(content) - 2))] = value
    path = tmp_path / "corrupt.pkl"
    path.write_bytes(content)
    for reader in (read, read_slowly):
        try:
            reader(path)
        except InputError as error:
            assert "corrupt.pkl" in str(error)


def test_a_die_value_of_7_is_named_by_row_and_place(tmp_path: Path) -> None:
    frame = table()
    frame["waferMap"][4][2, 3] = 7
    with pytest.raises(InputError, match=r"table\.pkl row 4: die state 7 at row 2, column 3"):
        read(save(frame, tmp_path / "table.pkl"))


@pytest.mark.parametrize("grid", [np.zeros((0, 0), np.uint8), np.zeros((9, 9), np.uint8), np.zeros((1, 9), np.uint8)])
def test_an_empty_map_is_named_by_row(grid: Any, tmp_path: Path) -> None:
    frame = table()
    frame["waferMap"] = column([*frame["waferMap"][:6], grid, *frame["waferMap"][7:]])
    with pytest.raises(InputError, match=r"row 6: (no die at all|0 x 0|1 x 9)"):
        read(save(frame, tmp_path / "table.pkl"))


@pytest.mark.parametrize("name", ["waferMap", "failureType"])
def test_a_missing_column_is_named(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"column {name} is missing"):
        read(save(table().drop(columns=name), tmp_path / "table.pkl"))


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        (
            {"failureType": ["none"] * 3 + ["Blob"] * 9},
            r"row 3: failureType: unknown class 'Blob'; expected one of Center",
        ),
        ({"failureType": [[["none", "Loc"]]] * 12}, "row 0: .*one text"),
        ({"failureType": [1] * 12}, "row 0: .*one text"),
        ({"trainTestLabel": ["Test"] * 11 + ["Holdout"]}, "row 11: official split 'Holdout'"),
        ({"waferIndex": [1.5] * 12}, "row 0: waferIndex 1.5"),
        ({"waferIndex": ["one"] * 12}, "row 0: waferIndex"),
        ({"waferMap": [[[1, 2], [1, 1]]] * 12}, "row 0: 2 x 2 cells"),
        ({"waferMap": [[[1, 2, 1], [1, 1]]] * 12}, "row 0: waferMap of rows of 2 to 3 dies"),
        ({"waferMap": ["1 2 1"] * 12}, "row 0: waferMap holds a str"),
        ({"waferMap": [np.ones(9, np.uint8)] * 12}, r"row 0: waferMap of shape \(9,\)"),
        ({"lotName": ["x" * 5000] * 12}, "row 0: lotName: a text of 5000"),
    ],
)
def test_a_wrong_cell_is_named_by_row(changes: dict[str, Any], text: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=text):
        read(save(table(**changes), tmp_path / "table.pkl"))


@pytest.mark.parametrize("content", [[1, 2], {"waferMap": 1}, np.zeros((3, 3)), "text", None, table()["lotName"]])
def test_a_pickle_of_something_else_is_no_wafer_file(content: Any, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"not a wafer file|unsafe"):
        read(save(content, tmp_path / "other.pkl"))
