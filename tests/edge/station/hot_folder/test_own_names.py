"""Names the station keeps for itself, borne by something else: said at the start, with nothing lost."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from edge.station.hot_folder import own_names
from tests.hot_folder import Running, lines, names, once, wait_for

MAKE: dict[str, Callable[[Path], object]] = {
    "a folder": Path.mkdir,
    "a file": lambda path: path.write_bytes(b"1"),
    "a link that leads nowhere": lambda path: path.symlink_to("nowhere"),
    "something that is no file": os.mkfifo,
}


@pytest.mark.parametrize("name", own_names.FOLDERS)
@pytest.mark.parametrize("kind", ["a file", "a link that leads nowhere", "something that is no file"])
def test_what_is_no_folder_in_the_place_of_one_is_said_at_the_start(
    name: str, kind: str, inbox: Path, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (inbox / "w").write_bytes(b"1")
    MAKE[kind](inbox / name)
    assert once(inbox, out) == 2
    assert f"IN {inbox / name}: {kind} is there; expected a folder" in capsys.readouterr().err
    assert (inbox / "w").read_bytes() == b"1"
    assert not out.exists()
    (inbox / name).rename(inbox / f"my-{name}")
    assert once(inbox, out) == 0
    assert (inbox / "done" / "w").read_bytes() == b"1"


@pytest.mark.parametrize("name", own_names.FILES)
@pytest.mark.parametrize("kind", ["a folder", "a link that leads nowhere", "something that is no file"])
def test_what_is_no_file_in_the_place_of_one_is_said_at_the_start(
    name: str, kind: str, inbox: Path, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (inbox / "w").write_bytes(b"1")
    out.mkdir()
    for place, folder in [("OUT", out)] + [("IN", inbox)] * (name == own_names.LOCK):
        MAKE[kind](folder / name)
        assert once(inbox, out) == 2
        assert f"{place} {folder / name}: {kind} is there; expected a file" in capsys.readouterr().err
        (folder / name).rename(folder / "away")
    assert (inbox / "w").read_bytes() == b"1"
    assert once(inbox, out) == 0
    assert len(lines(out / "records.jsonl")) == 1


def test_a_folder_of_files_on_record_on_another_file_system_is_said_at_the_start(
    inbox: Path, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    elsewhere = Path("/dev/shm")
    if not elsewhere.is_dir() or elsewhere.stat().st_dev == inbox.stat().st_dev:
        pytest.skip("there is no second file system here")
    (inbox / "w").write_bytes(b"1")
    (inbox / "done").symlink_to(elsewhere)
    assert once(inbox, out) == 2
    assert f"IN {inbox / 'done'}: is on another file system than IN" in capsys.readouterr().err


def test_the_folders_are_there_from_the_start_so_that_no_file_can_take_their_names(inbox: Path, out: Path) -> None:
    assert once(inbox, out) == 0
    for name in own_names.FOLDERS:
        (inbox / "w.tmp").write_bytes(b"1")
        with pytest.raises(IsADirectoryError):
            (inbox / "w.tmp").rename(inbox / name)


def test_a_file_put_in_the_place_of_done_meanwhile_is_waited_for_and_loses_nothing(inbox: Path, out: Path) -> None:
    with Running(inbox, out):
        wait_for((inbox / "done").is_dir, "the station")
        (inbox / "done").rmdir()
        (inbox / "done").write_bytes(b"2")
        (inbox / "w").write_bytes(b"1")
        wait_for(lambda: (out / "records.jsonl").exists() and lines(out / "records.jsonl", running=True), "a record")
        assert (inbox / "w").read_bytes() == b"1"
        (inbox / "done").rename(inbox / "other")
        wait_for(lambda: names(inbox / "done") == {"w", "other"}, "both files")
    assert sorted(record["id"] for record in lines(out / "records.jsonl")) == ["other", "w"]


def test_folders_named_as_the_files_that_go_there_are_gone_round(inbox: Path, out: Path) -> None:
    (inbox / "quarantine" / "b").mkdir(parents=True)
    (inbox / "quarantine" / "b.reason.txt").mkdir()
    (inbox / "done" / "w").mkdir(parents=True)
    (inbox / "w").write_bytes(b"1")
    (inbox / "b").write_bytes(b"bad")
    assert once(inbox, out) == 0
    assert not names(inbox)
    (done,) = names(inbox / "done")
    assert (inbox / "done" / done).read_bytes() == b"1"
    assert sorted((inbox / "quarantine" / name).read_bytes() for name in names(inbox / "quarantine")) == [
        b"bad",
        b"it begins with bad\n",
    ]
