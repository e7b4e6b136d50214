"""npz archives of maps of one size: MixedWM38 as published, with named bits, and with labels."""

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests import SHARED
from wafer_tf.dies import CLASSES
from wafer_tf.errors import InputError
from wafer_tf.readers import mixedwm38, open_source, read

DEV = SHARED / "data" / "mixedwm38" / "mixedwm38_dev.npz"
RNG = np.random.default_rng(0)


def maps(n: int = 6, side: int = 52) -> Any:
    grids = RNG.integers(0, 3, (n, side, side))
    grids[:, 0, 0] = 1
    return grids


def bits(*patterns: tuple[int, ...]) -> Any:
    made = np.zeros((len(patterns), 8), np.int64)
    for row, places in enumerate(patterns):
        made[row, list(places)] = 1
    return made


def test_the_published_file_gives_one_label_each_or_none(tmp_path: Path) -> None:
    grids = maps()
    grids[2, 5, 7:9] = 3
    np.savez_compressed(tmp_path / "set.npz", arr_0=grids, arr_1=bits((), (0,), (6,), (7,), (0, 3), (1, 2, 4, 6)))
    with open_source(tmp_path / "set.npz") as opened:
        found = opened.collect()
        assert opened.kind == "npz of MixedWM38"
        assert [note.split(",")[0] for note in opened.notes] == [
            "2 dies of state 3",
            "the columns of arr_1 taken as Center",
            "2 of 6 wafers have several patterns",
        ]
    assert [CLASSES[code] for code in found.label[:4]] == ["none", "Center", "Scratch", "Random"]
    assert found.label[4:].tolist() == [-1, -1]
    assert [wafer.patterns for wafer in found] == [
        (),
        ("Center",),
        ("Scratch",),
        ("Random",),
        ("Center", "Edge-Ring"),
        ("Donut", "Edge-Loc", "Loc", "Scratch"),
    ]
    assert found.several.tolist() == [False] * 4 + [True] * 2
    grids[2, 5, 7:9] = 2
    np.testing.assert_array_equal(found.flat.reshape(6, 52, 52), grids)


@pytest.mark.parametrize("dtype", ["uint8", "int32", "int64", ">i4", "float32", "float64"])
def test_maps_of_any_number_are_read_in_pieces(dtype: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mixedwm38, "_CHUNK", 1000)
    grids = maps(side=9)
    np.savez(tmp_path / "set.npz", arr_0=grids.astype(dtype), arr_1=bits(*[(k,) for k in range(6)]))
    np.testing.assert_array_equal(read(tmp_path / "set.npz").flat, grids.ravel())


def test_named_bits_are_taken_by_their_names(tmp_path: Path) -> None:
    np.savez(
        tmp_path / "set.npz",
        maps=maps(2).astype(np.uint8),
        bits=np.array([[1, 0, 0], [1, 0, 1]], np.uint8),
        names=np.array(["Scratch", "Loc", "Edge_Ring"]),
    )
    with open_source(tmp_path / "set.npz") as opened:
        first, second = opened.collect()
        assert (first.label, first.patterns) == ("Scratch", ("Scratch",))
        assert (second.label, second.patterns) == (None, ("Edge-Ring", "Scratch"))
        assert opened.notes[0] == "pattern Edge_Ring taken as Edge-Ring"


def test_maps_with_text_labels_are_read_with_a_channel_or_without(tmp_path: Path) -> None:
    for grids in (maps(3), maps(3)[..., None]):
        np.savez(tmp_path / "set.npz", wafer_maps=grids, labels=np.array(["none", "NearFull", ""]))
        with open_source(tmp_path / "set.npz") as opened:
            assert opened.collect().label.tolist() == [8, 5, -1]
            assert opened.notes == ("label NearFull taken as Near-full",)


def test_maps_alone_have_no_labels(tmp_path: Path) -> None:
    np.savez(tmp_path / "set.npz", maps=maps(3))
    with open_source(tmp_path / "set.npz") as opened:
        assert opened.collect().label.tolist() == [-1] * 3
        assert not opened.collect().patterns.any()
        assert opened.notes[0].startswith("no labels")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"arr_0": maps(6)[:, 0]}, r"arr_0 has shape \(6, 52\); expected \(wafers, rows, columns\)"),
        ({"arr_0": np.full((6, 4, 4), 7)}, "row 0: die state 7"),
        ({"arr_0": np.full((6, 4, 4), 1.5)}, "row 0: die state 255"),
        ({"arr_0": np.full((6, 4, 4), -1)}, "row 0: die state 255"),
        ({"arr_0": np.zeros((6, 4, 4), int)}, "row 0: no die at all"),
        ({"arr_0": np.ones((6, 2, 4), int)}, "2 x 4 cells"),
        ({"arr_0": np.ones((6, 3000, 4), np.uint8)}, "3000 x 4 cells"),
        ({"arr_0": maps(6).astype(object)}, "arr_0 holds object.*to_pickle"),
        ({"arr_0": maps(6)[:0]}, "claims 0 wafers"),
        ({"arr_1": bits((0,))}, r"arr_1 has shape \(1, 8\); expected \(6, 8\)"),
        ({"arr_1": np.full((6, 8), 2)}, r"row 0: bits \[2, 2.*expected 0 or 1"),
        ({"arr_1": np.eye(6, 9)}, r"arr_1 has shape \(6, 9\)"),
        ({"names": np.array(["Loc"] * 8)}, "expected classes of defects, each once"),
        ({"names": np.array([*mixedwm38.PUBLISHED[:7], "Blob"])}, "names: unknown class 'Blob'"),
    ],
)
def test_what_is_no_such_set_is_refused(changes: dict[str, Any], says: str, tmp_path: Path) -> None:
    arrays = {"arr_0": maps(6), "arr_1": bits(*[(k,) for k in range(6)])} | changes
    np.savez(tmp_path / "set.npz", **arrays)
    with pytest.raises(InputError, match=says):
        read(tmp_path / "set.npz")


def test_numbers_for_labels_are_refused_with_a_remedy(tmp_path: Path) -> None:
    np.savez(tmp_path / "set.npz", wafer_maps=maps(3), labels=np.arange(3))
    with pytest.raises(InputError, match=r"labels holds int64; .*numbers do not say which class"):
        read(tmp_path / "set.npz")


def test_a_billion_claimed_cells_are_refused_before_allocation(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": "|u1", "fortran_order": False, "shape": (10**7, 52, 52)})
    with zipfile.ZipFile(tmp_path / "set.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("arr_0.npy", buffer.getvalue() + bytes(1000))
    with pytest.raises(InputError, match="claims 10000000 wafers in 27040000000 bytes"):
        read(tmp_path / "set.npz")


def test_a_truncated_archive_is_refused_wherever_it_breaks_off(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "set.npz", arr_0=maps(), arr_1=bits(*[(k,) for k in range(6)]))
    whole = (tmp_path / "set.npz").read_bytes()
    for length in range(8, len(whole), 211):
        (tmp_path / "cut.npz").write_bytes(whole[:length])
        with pytest.raises(InputError, match=r"cut\.npz"):
            read(tmp_path / "cut.npz")


@pytest.mark.skipif(not DEV.is_file(), reason="needs the real maps in ../shared")
def test_the_real_wafers_are_read() -> None:
    with open_source(DEV) as opened:
        found = opened.collect()
        assert opened.notes == ("15152 of 19238 wafers have several patterns, kept as such without a label",)
    assert len(found) == 19238
    assert int((found.label == CLASSES.index("none")).sum()) == 510
    assert len(found.labelled) == 510 + 3576
    counts = np.bincount(np.bitwise_count(found.patterns))
    assert counts.tolist() == [510, 3576, 6630, 6482, 2040]
