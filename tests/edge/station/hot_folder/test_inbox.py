"""The folder where maps arrive, step by step."""

import contextlib
import os
from pathlib import Path
from typing import Any

import pytest

from edge.station.hot_folder.inbox import Inbox
from tests.hot_folder import names, sha256


def _taken(found: Inbox, name: str) -> Any:
    found.scan()
    found.scan()
    taken = found.take(name, stop=lambda: False)
    assert taken is not None
    return taken


def test_what_waits_is_known_by_name_until_it_is_put_away(inbox: Path) -> None:
    for name in ("b", "a"):
        (inbox / name).write_bytes(name.encode())
    found = Inbox(inbox, settle_s=0.0)
    assert (len(found), list(found)) == (0, [])
    found.scan()
    assert (len(found), sorted(found), "a" in found, "c" in found) == (2, ["a", "b"], True, False)
    taken, data = _taken(found, "a")
    assert (taken.name, taken.sha256, data) == ("a", sha256(b"a"), b"a")
    now = (inbox / "a").stat()
    assert taken.stamp == (now.st_size, now.st_mtime_ns, now.st_ctime_ns)
    assert found.put_away(taken, None) is True
    assert ("a" in found, len(found)) == (False, 1)
    assert found.take("a", stop=lambda: False) is None
    assert found.put_away(_taken(found, "b")[0], "no map") is True
    assert (inbox / "quarantine" / "b.reason.txt").read_text() == "no map\n"


def test_a_file_is_read_whole_whatever_its_size_and_given_up_to_the_limit(inbox: Path) -> None:
    for size in (0, 1, 2**20 - 1, 2**20, 2**20 + 1, 3 * 2**20):
        data = bytes(range(256)) * (size // 256) + bytes(size % 256)
        (inbox / "w").write_bytes(data)
        for limit, given in ((size, data), (size - 1, None)):
            taken, found = _taken(Inbox(inbox, settle_s=0.0, max_bytes=limit), "w")
            assert (taken.sha256, found) == (sha256(data), given)


def test_a_link_put_in_the_place_of_a_file_is_not_followed(inbox: Path) -> None:
    (inbox / "w").write_bytes(b"1")
    found = Inbox(inbox, settle_s=0.0)
    found.scan()
    found.scan()
    (inbox.parent / "outside").write_bytes(b"1")
    (inbox / "w").unlink()
    (inbox / "w").symlink_to(inbox.parent / "outside")
    with pytest.raises(OSError, match="symbolic link"):
        found.take("w", stop=lambda: False)


def test_a_pipe_put_in_the_place_of_a_file_keeps_nobody_waiting(inbox: Path) -> None:
    (inbox / "w").write_bytes(b"1")
    found = Inbox(inbox, settle_s=0.0)
    found.scan()
    found.scan()
    (inbox / "w").unlink()
    os.mkfifo(inbox / "w")
    assert found.take("w", stop=lambda: False) is None


def test_what_is_strange_is_so_until_it_is_gone(inbox: Path) -> None:
    (inbox / "folder").mkdir()
    (inbox / "done").mkdir()
    (inbox / "quarantine").mkdir()
    (inbox / "link").symlink_to("nowhere")
    (inbox / "directory link").symlink_to("folder")
    os.mkfifo(inbox / "pipe")
    found = Inbox(inbox, settle_s=0.0)
    found.scan()
    assert found.strange == {"folder": "a folder", "link": "a link", "directory link": "a link", "pipe": "no file"}
    (inbox / "folder").rmdir()
    found.scan()
    assert "folder" not in found.strange
    assert len(found) == 0


def test_a_file_that_cannot_be_looked_at_is_strange_and_one_that_is_gone_is_not(
    inbox: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Entry:
        def __init__(self, name: str, error: OSError) -> None:
            self.name, self.error = name, error

        def is_file(self, *, follow_symlinks: bool) -> bool:
            assert not follow_symlinks
            return True

        def stat(self, *, follow_symlinks: bool) -> Any:
            assert not follow_symlinks
            raise self.error

    entries = [
        Entry("gone", FileNotFoundError(2, "No such file")),
        Entry("w", PermissionError(13, "Permission denied")),
        Entry("odd", OSError("odd")),
    ]
    (inbox / "good").write_bytes(b"1")
    entries += os.scandir(inbox)
    monkeypatch.setattr(os, "scandir", lambda path: contextlib.nullcontext(entries))
    found = Inbox(inbox, settle_s=0.0)
    found.scan()
    assert found.scan() == ["good"]
    assert found.strange == {"w": "Permission denied", "odd": "odd"}


def test_a_name_that_is_taken_gets_the_start_of_the_hash_then_the_whole(inbox: Path) -> None:
    (inbox / "done").mkdir()
    digest = sha256(b"new")
    expected = ["w.x.npy", f"w.x.{digest[:12]}.npy", f"w.x.{digest}.npy"]
    for place in expected:
        (inbox / "w.x.npy").write_bytes(b"new")
        found = Inbox(inbox, settle_s=0.0)
        assert found.put_away(_taken(found, "w.x.npy")[0], None) is True
        assert (inbox / "done" / place).read_bytes() == b"new"
        (inbox / "done" / place).write_bytes(b"other")  # in the way of the next
    (inbox / "w.x.npy").write_bytes(b"new")
    found = Inbox(inbox, settle_s=0.0)
    with pytest.raises(FileExistsError, match="another file is in the way"):
        found.put_away(_taken(found, "w.x.npy")[0], None)
    assert (inbox / "w.x.npy").read_bytes() == b"new"
    assert names(inbox / "done") == set(expected)


def test_the_same_contents_under_a_name_that_is_taken_take_its_place(inbox: Path) -> None:
    for _ in range(2):
        (inbox / "w").write_bytes(b"same")
        found = Inbox(inbox, settle_s=0.0)
        assert found.put_away(_taken(found, "w")[0], None) is True
    assert names(inbox / "done") == {"w"}


def test_a_folder_with_the_name_of_a_file_is_in_the_way_like_a_file(inbox: Path) -> None:
    (inbox / "done" / "w").mkdir(parents=True)
    (inbox / "w").write_bytes(b"1")
    found = Inbox(inbox, settle_s=0.0)
    assert found.put_away(_taken(found, "w")[0], None) is True
    assert names(inbox / "done") == {f"w.{sha256(b'1')[:12]}"}


@pytest.mark.parametrize("name", ["x" * 255, "\u6676" * 85, "x" * 251 + ".npy", "y" * 240])
def test_a_long_name_is_cut_where_more_has_to_stand_behind_it(name: str, inbox: Path) -> None:
    (inbox / name).write_bytes(b"1")
    found = Inbox(inbox, settle_s=0.0)
    assert found.put_away(_taken(found, name)[0], "no map") is True
    kept = names(inbox / "quarantine")
    assert name in kept
    (reason,) = kept - {name}
    assert reason.endswith(".reason.txt")
    assert len(os.fsencode(reason)) <= 255
    stem = reason.removesuffix(".reason.txt")
    assert name.startswith(stem)
    assert len(os.fsencode(stem)) > 255 - len(".reason.txt") - 3 or stem == name, "no more is cut than has to be"


def test_a_reason_of_a_name_that_is_no_unicode_can_be_written(inbox: Path) -> None:
    (inbox / "w").write_bytes(b"1")
    found = Inbox(inbox, settle_s=0.0)
    assert found.put_away(_taken(found, "w")[0], "of w\udcff") is True
    assert (inbox / "quarantine" / "w.reason.txt").read_bytes() == b"of w\\udcff\n"
