import os
from pathlib import Path

import pytest

from wafer_tf.whole_files import MAX_NAME, whole_file, whole_path, write_whole


def test_a_file_is_there_under_its_name_only_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "calls.csv"
    with whole_file(path) as out:
        out.write(b"half")
        assert not path.exists()
    assert path.read_bytes() == b"half"
    assert list(tmp_path.iterdir()) == [path]


def test_an_error_leaves_the_file_that_was_there_and_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "calls.csv"
    write_whole(path, "old")
    with pytest.raises(ZeroDivisionError), whole_file(path) as out:
        out.write(b"new")
        1 / 0  # noqa: B018
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_name_as_long_as_a_file_system_takes_is_written_too(tmp_path: Path) -> None:
    path = tmp_path / ("ä" * (MAX_NAME // 2) + "x")
    assert len(os.fsencode(path.name)) == MAX_NAME
    write_whole(path, b"1")
    assert path.read_bytes() == b"1"


def test_the_bytes_are_on_the_disk_before_the_name_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, seen = tmp_path / "state.json", list[bool]()
    monkeypatch.setattr(os, "fsync", lambda fd: seen.append(path.exists()))
    write_whole(path, "{}")
    assert seen == [False]
    write_whole(path, "{}", durable=False)
    assert len(seen) == 1


def test_a_writer_that_looks_at_the_ending_gets_that_of_the_file(tmp_path: Path) -> None:
    with whole_path(tmp_path / "model.keras") as partial:
        assert partial.suffix == ".keras"
        partial.write_bytes(b"m")
    assert (tmp_path / "model.keras").read_bytes() == b"m"


def test_what_is_no_file_is_never_replaced(tmp_path: Path) -> None:
    """A device was, where the command ran as root: --picture /dev/full --overwrite."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    for name in ("pipe", "folder"):
        with pytest.raises(FileExistsError, match="is there and is no file"):
            write_whole(tmp_path / name, "text")
    assert (tmp_path / "pipe").is_fifo()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "pipe"]
