"""Folders of grids: spellings of class names, lots, no labels, and what is refused."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import SHARED
from wafer_tf.dies import CLASSES
from wafer_tf.errors import InputError
from wafer_tf.readers import open_source, read
from wafer_tf.readers.class_names import class_code

CASES = SHARED / "cases"
GRID = "0,1,0\n1,2,1\n0,1,0\n"


def made(path: Path, *names: str) -> Path:
    """Write the same grid under each of these names."""
    for name in names:
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_text(GRID)
    return path


@given(st.sampled_from(CLASSES), st.sampled_from("-_ ."), st.sampled_from([str.lower, str.upper, str.title, str]))
def test_case_and_marks_of_a_class_name_do_not_matter(name: str, mark: str, case: type[str]) -> None:
    for spelled in (name, name.replace("-", mark), name.replace("-", "")):
        assert CLASSES[class_code(case(spelled), "here")] == name


@pytest.mark.parametrize(
    ("spelled", "name"),
    [
        *(("Edge_Ring", "Edge-Ring"), ("EdgeRing", "Edge-Ring"), ("Near_full", "Near-full"), ("NearFull", "Near-full")),
        *(("Edge-Local", "Edge-Loc"), ("Edge-Location", "Edge-Loc"), ("EdgeLoc", "Edge-Loc"), ("Local", "Loc")),
        *(("Normal", "none"), ("None", "none"), ("good", "none"), ("DONUT", "Donut"), ("edge ring", "Edge-Ring")),
    ],
)
def test_spellings_of_public_sets_are_known(spelled: str, name: str) -> None:
    assert CLASSES[class_code(spelled, "here")] == name


@pytest.mark.parametrize("name", ["Blob", "C1", "c_9", "class 3", "4", "-", " ", "Edge", "Ring", "noneedge", "Full"])
def test_other_names_are_no_classes(name: str) -> None:
    with pytest.raises(InputError, match=r"here: unknown class .*; expected one of Center, Donut"):
        class_code(name, "here")


def test_what_was_taken_for_a_class_is_said_once_each(tmp_path: Path) -> None:
    made(tmp_path, "Edge_Ring/a.csv", "Edge_Ring/b.csv", "Normal/a.csv", "Center/a.csv", "README.md")
    with open_source(tmp_path) as opened:
        assert [CLASSES[code] for code in opened.collect().label] == ["Center", "Edge-Ring", "Edge-Ring", "none"]
        assert opened.notes == (
            "class folder Edge_Ring taken as Edge-Ring",
            "class folder Normal taken as none",
            "not read, for they lie beside the folders or are no maps: README.md",
        )


def test_a_flat_folder_is_a_set_without_labels(tmp_path: Path) -> None:
    made(tmp_path, "W02.csv", "W01.csv")
    with open_source(tmp_path) as opened:
        found = opened.collect()
        assert opened.notes == ("no labels",)
    assert found.label.tolist() == [-1, -1]
    assert found.wafer_id.tolist() == ["W01", "W02"]
    assert found.lot.tolist() == ["", ""]


def test_folders_that_are_no_classes_are_lots(tmp_path: Path) -> None:
    made(tmp_path, "LOT7/1.csv", "LOT8/W3/map.csv", "loose.csv")
    with open_source(tmp_path) as opened:
        found = opened.collect()
        assert opened.notes == ("no labels; none of its 2 folders is named as a class, so they are read as lots",)
    assert found.label.tolist() == [-1] * 3
    assert found.lot.tolist() == ["", "LOT7", "LOT8"]
    assert [wafer.wafer for wafer in found] == ["loose", "1", "W3/map"]


def test_folders_in_a_class_folder_are_lots(tmp_path: Path) -> None:
    found = read(made(tmp_path, "Loc/LOT7/1.csv", "Loc/2.csv"))
    assert [CLASSES[code] for code in found.label] == ["Loc", "Loc"]
    assert found.lot.tolist() == ["", "LOT7"]


@pytest.mark.parametrize(
    ("names", "says"),
    [
        (("Center/1.csv", "Blob/1.csv"), r"Blob: unknown class 'Blob'; expected one of Center"),
        (("C1/1.csv", "C2/1.csv"), r"C1: which class it is, its number does not say.*Rename the folders to Center"),
        (("Center/1.csv", "C2/1.csv"), r"C2: unknown class 'C2'.*number their classes in different orders"),
        (("train/Center/1.csv", "train/Loc/1.csv"), r"train/Center: a class folder within train; give .*train"),
        (("Loc/a/b/1.csv",), r"Loc/a/b: a folder three levels down"),
        (("LOT7/a/b/1.csv",), r"LOT7/a/b: a folder three levels down"),
        (("README.md",), r"a folder without maps"),
    ],
)
def test_a_folder_that_does_not_say_what_it_is_is_refused(names: tuple[str, ...], says: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=says):
        read(made(tmp_path, *names))


def test_a_class_of_defects_in_which_no_die_fails_is_refused(tmp_path: Path) -> None:
    made(tmp_path, "Loc/1.csv", "Loc/2.csv", "none/1.csv")
    for name in ("Loc/1.csv", "none/1.csv"):
        (tmp_path / name).write_text(GRID.replace("2", "1"))
    assert len(read(tmp_path)) == 3  # one map of a class may be without
    (tmp_path / "Loc/2.csv").write_text(GRID.replace("2", "1"))
    with pytest.raises(InputError, match=r"Loc: class Loc, and none of its maps holds a failing die .*--states"):
        read(tmp_path)


@pytest.mark.skipif(not CASES.is_dir(), reason="needs the cases in ../shared")
def test_the_cases_of_class_folders() -> None:
    found = read(CASES / "19-class-folders" / "a")
    assert {CLASSES[code] for code in found.label} == {
        "Center",
        "Edge-Loc",
        "Edge-Ring",
        "Near-full",
        "none",
        "Scratch",
    }
    with pytest.raises(InputError, match="C1: which class"):
        read(CASES / "19-class-folders" / "c1c9")
    with pytest.raises(InputError, match=r"Center/0\.csv: no die fails, and the dies fill only 61 %"):
        read(CASES / "10-binary-01" / "folder")


def test_npy_grids_lie_in_lots_too(tmp_path: Path) -> None:
    (tmp_path / "LOT7").mkdir()
    np.save(tmp_path / "LOT7" / "1.npy", np.ones((4, 5), np.uint8))
    assert read(tmp_path).shapes.tolist() == [[4, 5]]
