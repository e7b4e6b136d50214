"""One station per folder, within one process: the system's lock is of an open file, not of a process."""

import errno
import fcntl
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from edge.station.hot_folder.claim import LOCK, Claim
from wafer_tf.errors import UsageError


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """IN and OUT."""
    (tmp_path / "in").mkdir()
    (tmp_path / "out").mkdir()
    return tmp_path / "in", tmp_path / "out"


def _id(folder: Path) -> str:
    return (folder / LOCK).read_text()


def test_both_folders_get_the_same_id_and_keep_it(folders: tuple[Path, Path]) -> None:
    first = Claim(*folders)
    first.take()
    told = _id(folders[0])
    assert told == _id(folders[1])
    assert len(bytes.fromhex(told)) == 16
    assert told.endswith("\n")
    assert stat.S_IMODE((folders[0] / LOCK).stat().st_mode) & 0o700 == 0o600
    first.take()
    first.release()
    again = Claim(*folders)
    again.take()
    assert _id(folders[0]) == _id(folders[1]) == told
    again.release()


def test_ids_differ_from_pair_to_pair(folders: tuple[Path, Path], tmp_path: Path) -> None:
    for name in ("in2", "out2"):
        (tmp_path / name).mkdir()
    for pair in (folders, (tmp_path / "in2", tmp_path / "out2")):
        claim = Claim(*pair)
        claim.take()
        claim.release()
    assert _id(folders[0]) != _id(tmp_path / "in2")


@pytest.mark.parametrize("which", [0, 1])
def test_a_second_station_in_either_folder_is_refused_and_holds_nothing(
    which: int, folders: tuple[Path, Path], tmp_path: Path
) -> None:
    first = Claim(*folders)
    first.take()
    other = tmp_path / "other"
    other.mkdir()
    pair = (folders[0], other) if which == 0 else (other, folders[1])
    second = Claim(*pair)
    with pytest.raises(UsageError, match=f"^{('IN', 'OUT')[which]} .*another station is working in it"):
        second.take()
    free = Claim(*((tmp_path / "in3", other) if which == 0 else (other, tmp_path / "out3")))
    (tmp_path / "in3").mkdir()
    (tmp_path / "out3").mkdir()
    free.take()  # what the second had locked already is free
    free.release()
    first.release()


def test_an_in_that_belongs_to_another_out_is_refused(folders: tuple[Path, Path], tmp_path: Path) -> None:
    first = Claim(*folders)
    first.take()
    first.release()
    (tmp_path / "away").mkdir()
    away = Claim(folders[0], tmp_path / "away")
    with pytest.raises(UsageError, match="Is its share mounted"):
        away.take()
    assert _id(tmp_path / "away") == "", "an id there would make it the right one next time"
    first.take()
    first.release()
    (folders[0] / LOCK).unlink()
    away.take()
    assert _id(folders[0]) == _id(tmp_path / "away")
    away.release()


@pytest.mark.parametrize("damage", ["", "x" * 32 + "\n", "a" * 32, "a" * 31 + "\n", "a" * 32 + "\n\n", "A" * 32 + "\n"])
def test_an_id_that_is_none_is_written_anew_whole(damage: str, folders: tuple[Path, Path]) -> None:
    for folder in folders:
        (folder / LOCK).write_text(damage + "\n" * 40 * bool(damage))
    claim = Claim(*folders)
    claim.take()
    assert len(_id(folders[0])) == 33
    assert _id(folders[0]) == _id(folders[1])
    claim.release()


def test_a_new_in_is_paired_with_the_out_that_is_known(folders: tuple[Path, Path], tmp_path: Path) -> None:
    claim = Claim(*folders)
    claim.take()
    claim.release()
    (tmp_path / "new").mkdir()
    fresh = Claim(tmp_path / "new", folders[1])
    fresh.take()
    assert _id(tmp_path / "new") == _id(folders[1]) == _id(folders[0])
    fresh.release()


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES, errno.EPERM])
def test_an_in_that_is_read_only_is_watched_with_out_locked_alone(
    number: int, folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.open

    def refusing(path: Any, *rest: Any) -> int:
        if Path(path) == folders[0] / LOCK:
            raise OSError(number, "refused", str(path))
        return real(path, *rest)

    monkeypatch.setattr(os, "open", refusing)
    claim = Claim(*folders)
    claim.take()
    claim.check("IN")
    claim.check("OUT")
    assert len(_id(folders[1])) == 33
    with pytest.raises(UsageError, match="another station"):
        Claim(*folders).take()
    claim.release()


def test_any_other_fault_of_in_is_the_callers_and_leaves_out_free(
    folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.open

    def failing(path: Any, *rest: Any) -> int:
        if Path(path) == folders[0] / LOCK:
            raise OSError(errno.EIO, "Input/output error", str(path))
        return real(path, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", failing)
        with pytest.raises(OSError, match="Input/output"):
            Claim(*folders).take()
    claim = Claim(*folders)
    claim.take()
    claim.release()


def test_a_file_system_without_locks_is_used_all_the_same(
    folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refusing(fd: int, how: int) -> None:
        assert how == fcntl.LOCK_EX | fcntl.LOCK_NB, "it would wait"
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refusing)
    claim = Claim(*folders)
    claim.take()
    assert _id(folders[0]) == _id(folders[1])
    claim.release()


@pytest.mark.parametrize("name", ["IN", "OUT"])
def test_another_folder_in_its_place_is_noticed(name: str, folders: tuple[Path, Path], tmp_path: Path) -> None:
    claim = Claim(*folders)
    claim.check(name)  # nothing is held yet
    claim.take()
    claim.check("IN")
    claim.check("OUT")
    folder = folders[name == "OUT"]
    folder.rename(tmp_path / "moved")
    with pytest.raises(FileNotFoundError):
        claim.check(name)
    folder.mkdir()
    (folder / LOCK).touch()
    with pytest.raises(FileNotFoundError, match="another folder is in its place") as error:
        claim.check(name)
    assert error.value.filename == str(folder)
    claim.check("OUT" if name == "IN" else "IN")
    claim.release(name)
    claim.check(name)
    claim.release()


def test_what_is_released_may_be_taken_by_another(folders: tuple[Path, Path], tmp_path: Path) -> None:
    claim = Claim(*folders)
    claim.take()
    before = len(list(Path("/proc/self/fd").iterdir()))
    claim.release("IN")
    claim.release("IN", "nothing")
    assert len(list(Path("/proc/self/fd").iterdir())) == before - 1
    with pytest.raises(UsageError, match=r"^OUT"):
        Claim(*folders).take()
    claim.release()
    assert len(list(Path("/proc/self/fd").iterdir())) == before - 2
    other = Claim(*folders)
    other.take()
    other.release()


def test_the_locks_are_not_handed_on_to_programs_that_are_started(folders: tuple[Path, Path]) -> None:
    claim = Claim(*folders)
    claim.take()
    held = [
        int(fd.name) for fd in Path("/proc/self/fd").iterdir() if fd.is_symlink() and str(fd.readlink()).endswith(LOCK)
    ]
    assert len(held) == 2
    assert not any(os.get_inheritable(fd) for fd in held)
    claim.release()


def _names(fd: str) -> str:
    """What a file descriptor is of; nothing of the one that listed them, which is closed."""
    try:
        return str(Path(f"/proc/self/fd/{fd}").readlink())
    except FileNotFoundError:
        return ""
