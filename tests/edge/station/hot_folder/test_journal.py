import errno
import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.station.hot_folder import journal as journals
from edge.station.hot_folder import sealed as sealing
from edge.station.hot_folder.journal import MAX_LINE, Index, sync_folder
from edge.station.hot_folder.sealed import faults


class Journal(journals.Journal):
    """A journal that was begun before lines were sealed: the tests write lines as other programs and old ones do."""

    def __init__(self, path: Path, key: Any) -> None:
        super().__init__(path, key, was_unsealed=lambda entry: True)


def _key(entry: dict[str, Any]) -> bytes:
    return hashlib.sha256(entry["id"].encode()).digest()


def _entry(id: str) -> tuple[bytes, str]:
    return _key({"id": id}), json.dumps({"id": id}) + "\n"


def _journal(path: Path, *ids: str) -> Journal:
    journal = Journal(path, _key)
    journal.open()
    journal.append([_entry(id) for id in ids])
    return journal


def _ids(path: Path) -> list[str]:
    text = path.read_text()
    assert text.endswith("\n")
    return [json.loads(line)["id"] for line in text.splitlines()]


def test_lines_are_known_by_their_key_now_and_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "lines.jsonl"
    first = _journal(path, "one", "two")
    first.append([_entry("three")])
    first.close()
    for journal in (first, Journal(path, _key)):
        journal.open()
        assert len(journal) == 3
        assert journal.get(_entry("two")[0]) == {"id": "two"}
        assert _entry("three")[0] in journal
        assert journal.get(_entry("four")[0]) is None
        journal.close()


def test_a_last_line_torn_at_any_byte_is_never_read_nor_appended_to(tmp_path: Path) -> None:
    whole = "".join(_entry(id)[1] for id in ("one", "two", "three")).encode()
    for cut in range(len(whole) + 1):
        path = tmp_path / f"{cut}.jsonl"
        path.write_bytes(whole[:cut])
        journal = Journal(path, _key)
        mended = journal.open()
        complete = whole[:cut].count(b"\n")
        assert len(journal) == complete
        journal.append([_entry("next")])
        journal.close()
        assert _ids(path) == [*["one", "two", "three"][:complete], "next"]
        torn = whole[:cut].split(b"\n")[-1]
        assert (mended is not None) is bool(torn)
        aside = tmp_path / f"{cut}.jsonl.damaged"
        assert (aside.read_bytes() if torn else b"\n") == torn + b"\n"


@given(
    pieces=st.lists(
        st.one_of(
            st.sampled_from(["one", "two", "three"]).map(lambda id: _entry(id)[1].encode()),
            st.sampled_from([b"\0" * 5000, b"\n", b'{"id": "on', b"{}\n", b'{"id": 5}\n', b"[" * 99_999, b"\xff\n"]),
            st.binary(max_size=30),
        )
    )
)
def test_whatever_the_file_holds_its_whole_lines_are_kept_and_nothing_else_stays(
    pieces: list[bytes], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("journal") / "lines.jsonl"
    path.write_bytes(b"".join(pieces))
    journal = Journal(path, _key)
    journal.open()
    journal.append([_entry("next")])
    known = {id for id in ("one", "two", "three") if _entry(id)[0] in journal}
    for id in known:
        assert journal.get(_entry(id)[0]) == {"id": id}
    journal.close()
    assert {*_ids(path)} == {*known, "next"}
    intact = {id for id in ("one", "two", "three") if _entry(id)[1].encode() in b"".join(pieces).splitlines(True)}
    assert intact <= known
    assert Journal(path, _key).open() is None, "a second start finds something to mend"


def test_a_line_that_the_disk_took_by_half_is_cut_off_before_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "lines.jsonl"
    journal = _journal(path, "one")
    real, room = os.write, [60]

    def write(fd: int, data: bytes) -> int:
        room[0] -= (written := real(fd, data[: room[0]]) if room[0] else 0)
        if not written:
            raise OSError(errno.ENOSPC, "No space left on device")
        return written

    def truncate(fd: int, size: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch, pytest.raises(OSError, match="No space"):
        patch.setattr(os, "write", write)
        patch.setattr(os, "ftruncate", truncate)
        journal.append([_entry("two"), _entry("three")])
    assert path.read_text().count("\n") == 2, "the test wrote no half line"
    assert journal.open() is None
    assert _ids(path) == ["one"]
    assert _entry("two")[0] not in journal
    journal.append([_entry("two")])
    journal.close()
    assert _ids(path) == ["one", "two"]


def test_a_file_that_was_moved_away_is_noticed_and_begun_anew(tmp_path: Path) -> None:
    path = tmp_path / "lines.jsonl"
    journal = _journal(path, "one")
    path.rename(tmp_path / "old.jsonl")
    with pytest.raises(FileNotFoundError):
        journal.append([_entry("two")])
    journal.open()
    assert _entry("one")[0] not in journal
    journal.append([_entry("two")])
    journal.close()
    assert (_ids(tmp_path / "old.jsonl"), _ids(path)) == (["one"], ["two"])


def test_a_file_that_was_changed_in_place_gives_an_error_not_another_line(tmp_path: Path) -> None:
    path = tmp_path / "lines.jsonl"
    journal = _journal(path, "one", "two")
    path.write_text(_entry("two")[1] + _entry("one")[1])
    with pytest.raises(OSError, match="changed by another program"):
        journal.get(_entry("one")[0])
    journal.open()
    assert journal.get(_entry("one")[0]) == {"id": "one"}
    journal.close()


def test_lines_that_a_killed_process_left_are_made_durable_before_they_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "lines.jsonl"
    path.write_text(_entry("one")[1])
    synced, real = [], os.fsync
    monkeypatch.setattr(os, "fsync", lambda fd: synced.append(os.fstat(fd).st_ino) or real(fd))
    journal = Journal(path, _key)
    journal.open()
    assert synced == [path.stat().st_ino, tmp_path.stat().st_ino], "the file, and its name in the folder"
    journal.append([_entry("two")])
    assert synced[2:] == [path.stat().st_ino]
    journal.close()


def test_the_index_finds_every_key_and_none_that_only_seems_to_lie_across_two_entries() -> None:
    index = Index()
    keys = [hashlib.sha256(bytes([n % 256, n // 256])).digest() for n in range(5000)]
    for offset, key in enumerate(keys):
        index.add(key, offset * 1000)
    assert [index.get(key) for key in keys] == [offset * 1000 for offset in range(5000)]
    assert index.get(hashlib.sha256(b"other").digest()) is None

    index = Index()
    index.add(b"\0\0" + b"a" * 30, 0)
    index.add(b"\0\0" + b"b" * 30, 7)
    across = b"\0" * 8 + b"b" * 24  # the end of the first entry and the beginning of the second
    assert index.get(across) is None
    index.add(across, 2**40)
    assert index.get(across) == 2**40


def _open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_a_journal_holds_one_file_open_and_none_when_it_is_closed(tmp_path: Path) -> None:
    before = _open_files()
    journal = _journal(tmp_path / "lines.jsonl", "one")
    journal.open()
    assert _open_files() == before + 1
    journal.close()
    journal.close()
    assert _open_files() == before
    for use in (lambda: journal.append([_entry("two")]), lambda: journal.get(_entry("one")[0])):
        with pytest.raises(FileNotFoundError, match="is not open") as error:
            use()
        assert error.value.filename == str(tmp_path / "lines.jsonl")
    journal.append([])
    assert len(journal) == 1, "what is known is kept"
    assert (tmp_path / "lines.jsonl").stat().st_mode & 0o600 == 0o600


def test_a_folder_that_is_not_there_is_the_callers_fault_and_may_come(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "later" / "lines.jsonl", _key)
    with pytest.raises(FileNotFoundError):
        journal.open()
    (tmp_path / "later").mkdir()
    assert journal.open() is None
    journal.append([_entry("one")])
    journal.close()


@pytest.mark.parametrize("call", ["fstat", "fsync"])
def test_a_file_that_cannot_be_opened_now_stays_closed_and_may_be_later(
    call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "lines.jsonl"
    _journal(path, "one").close()
    journal = Journal(path, _key)
    before = _open_files()

    def failing(fd: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, call, failing)
        with pytest.raises(OSError, match="Input/output"):
            journal.open()
    assert _open_files() == before
    with pytest.raises(FileNotFoundError, match="is not open"):
        journal.append([_entry("two")])
    journal.open()
    assert _entry("one")[0] in journal
    journal.close()


def test_a_folder_that_cannot_be_synced_is_used_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refusing(fd: int) -> None:
        raise OSError(errno.EINVAL, "Invalid argument")

    before = _open_files()
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", refusing)
        sync_folder(tmp_path)
    assert _open_files() == before
    with pytest.raises(NotADirectoryError):
        (tmp_path / "file").touch()
        sync_folder(tmp_path / "file")


@pytest.mark.parametrize(("more", "whole"), [(0, True), (1, False), (MAX_LINE, False)])
def test_a_line_of_128_kib_is_the_longest(more: int, whole: bool, tmp_path: Path) -> None:
    assert MAX_LINE == 131_072
    path = tmp_path / "lines.jsonl"
    empty = len(_entry("")[1])
    long = "x" * (MAX_LINE - empty + more)
    path.write_text(_entry("one")[1] + _entry(long)[1] + _entry("two")[1])
    journal = Journal(path, _key)
    assert (journal.open() is None) is whole
    assert len(journal) == 2 + whole
    assert (_entry(long)[0] in journal) is whole
    assert journal.get(_entry("two")[0]) == {"id": "two"}
    if whole:
        assert journal.get(_entry(long)[0]) == {"id": long}
    else:
        pieces = (tmp_path / "lines.jsonl.damaged").read_text()
        assert pieces.replace("\n", "") == _entry(long)[1].rstrip("\n"), "nothing of it is lost"
    journal.close()


def test_what_was_mended_is_told_with_how_much(tmp_path: Path) -> None:
    path = tmp_path / "lines.jsonl"
    path.write_text(_entry("one")[1] + "damaged\n" + _entry("two")[1] + "torn")
    journal = Journal(path, _key)
    assert journal.open() == f"{path}: 12 bytes that are no whole line were set aside in lines.jsonl.damaged"
    assert _ids(path) == ["one", "two"]
    assert (tmp_path / "lines.jsonl.damaged").read_text() == "damaged\ntorn\n"
    journal.append([_entry("three")])
    assert journal.get(_entry("three")[0]) == {"id": "three"}
    with path.open("a") as file:
        file.write("more")
    journal.close()
    assert Journal(path, _key).open() is not None
    assert (tmp_path / "lines.jsonl.damaged").read_text() == "damaged\ntorn\nmore\n", "what was there is kept"


SEALED = [f'{{"id": "wafer {number}", "probabilities": {{"none": 0.{number}}}}}\n' for number in range(12)]


def _sealed(path: Path) -> bytes:
    journal = journals.Journal(path, _key)
    journal.open()
    journal.append([(_key({"id": f"wafer {number}"}), line) for number, line in enumerate(SEALED)])
    journal.close()
    return path.read_bytes()


def test_every_flipped_bit_is_found_and_no_other_line_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda fd: None)  # some thousand times, on whatever disk
    path = tmp_path / "lines.jsonl"
    whole = _sealed(path)
    lines = whole.splitlines(keepends=True)
    for place in range(0, 8 * len(whole), 3):
        changed = bytearray(whole)
        changed[place // 8] ^= 1 << place % 8
        path.write_bytes(changed)
        journal = journals.Journal(path, _key)
        assert journal.open() is not None, f"bit {place}"
        assert len(journal) >= len(SEALED) - 2, "a flipped end of line joins two"
        journal.close()
        assert set(path.read_bytes().splitlines(keepends=True)) < set(lines)
    path.write_bytes(whole)
    assert journals.Journal(path, _key).open() is None


def test_a_bit_that_flips_while_the_station_runs_is_found_when_the_line_is_read(tmp_path: Path) -> None:
    path = tmp_path / "lines.jsonl"
    whole = _sealed(path)
    journal = journals.Journal(path, _key)
    journal.open()
    assert journal.get(_key({"id": "wafer 1"})) == {"id": "wafer 1", "probabilities": {"none": 0.1}}
    with path.open("r+b") as file:
        file.seek(whole.index(b"0.1"))
        file.write(b"0.9")
    with pytest.raises(OSError, match="changed by another program, or by the disk"):
        journal.get(_key({"id": "wafer 1"}))


def test_a_removed_line_leaves_its_number_and_none_is_used_twice(tmp_path: Path) -> None:
    path = tmp_path / "lines.jsonl"
    lines = _sealed(path).splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:5], *lines[7:]]))
    assert list(faults(path)) == [f"before line 6, at byte {sum(map(len, lines[:5]))}, 2 lines are missing"]
    journal = journals.Journal(path, _key)
    assert journal.open() == f"{path}: 2 lines are missing"
    assert journal.open() == f"{path}: 2 lines are missing", "until something is written after it"
    journal.append([_entry("next")])
    assert journal.open() is None
    journal.close()
    assert [json.loads(line)["line"] for line in path.read_text().splitlines()] == [1, 2, 3, 4, 5, *range(8, 14)]
    assert journals.Journal(path, _key).open() is None, "said once"


@pytest.mark.parametrize("cut", [1, 2, len(SEALED)])
def test_lines_that_were_cut_off_at_the_end_are_missed_and_their_numbers_are_not_used_again(
    cut: int, tmp_path: Path
) -> None:
    path = tmp_path / "lines.jsonl"
    lines = _sealed(path).splitlines(keepends=True)
    kept = b"".join(lines[:-cut])
    path.write_bytes(kept)
    assert list(faults(path)) == [f"at the end, at byte {len(kept)}, {cut} lines are missing"]
    journal = journals.Journal(path, _key)
    assert journal.open() == f"{path}: {cut} lines are missing"
    journal.append([_entry("next")])
    journal.close()
    assert json.loads(path.read_text().splitlines()[-1])["line"] == len(SEALED) + 1


def test_a_damaged_last_line_is_not_counted_twice(tmp_path: Path) -> None:
    path = tmp_path / "lines.jsonl"
    whole = _sealed(path)
    path.write_bytes(whole[:-9] + b"x" + whole[-8:])
    (fault,) = faults(path)
    assert fault.startswith(f"line {len(SEALED)}, at byte ")
    journal = journals.Journal(path, _key)
    assert "set aside in lines.jsonl.damaged" in str(journal.open())
    journal.append([_entry("next")])
    journal.close()
    assert journals.Journal(path, _key).open() is None


@pytest.mark.parametrize("note", [None, b"", b"{}", b'{"lines": 12, "missing": 0, "line": 1, "crc32": "00000000"}\n'])
def test_without_a_note_of_the_end_the_lines_that_are_there_count(note: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "lines.jsonl"
    _sealed(path)
    end = tmp_path / "lines.jsonl.end"
    end.unlink()
    if note is not None:
        end.write_bytes(note)
        assert [fault.partition(" (")[0] for fault in faults(path)] == [
            "lines.jsonl.end, the note of how many lines there are, is damaged"
        ]
    journal = journals.Journal(path, _key)
    assert journal.open() is None
    journal.append([_entry("next")])
    journal.close()
    assert sealing.noted_end(path) == (len(SEALED) + 1, 0)


def test_an_older_note_than_the_lines_is_no_fault(tmp_path: Path) -> None:
    path = tmp_path / "lines.jsonl"
    _sealed(path)
    sealing.note_end(path, lines=3, missing=0)
    assert list(faults(path)) == []
    assert journals.Journal(path, _key).open() is None


def test_a_file_that_was_moved_away_to_forget_it_is_not_missed(tmp_path: Path) -> None:
    path = tmp_path / "lines.jsonl"
    _sealed(path)
    path.rename(tmp_path / "old.jsonl")
    journal = journals.Journal(path, _key)
    assert journal.open() is None
    journal.append([_entry("one")])
    journal.close()
    assert json.loads(path.read_text())["line"] == 1


def test_a_disk_that_takes_the_lines_and_not_the_note_is_no_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: object, **named: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(journals, "note_end", full)
    assert len(_sealed(tmp_path / "lines.jsonl").splitlines()) == len(SEALED)


def test_of_two_lines_of_one_key_the_first_counts(tmp_path: Path) -> None:
    path = tmp_path / "lines.jsonl"
    first, second = json.dumps({"id": "one", "n": 1}) + "\n", json.dumps({"id": "one", "n": 2}) + "\n"
    path.write_text(first + second)
    journal = Journal(path, _key)
    assert journal.open() is None
    assert (len(journal), journal.get(_entry("one")[0])) == (1, {"id": "one", "n": 1})
    journal.close()


def test_lines_of_another_program_are_not_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "lines.jsonl"
    journal = _journal(path, "one")
    with path.open("a") as other:
        other.write(_entry("two")[1])
    with pytest.raises(OSError, match="was changed by another program") as error:
        journal.append([_entry("three")])
    assert error.value.filename == str(path)
    assert len(journal) == 0, "nothing is known until it is read again"
    journal.open()
    assert _ids(path) == ["one", "two"]
    assert _entry("two")[0] in journal
    journal.append([_entry("three")])
    journal.close()
    assert _ids(path) == ["one", "two", "three"]


def test_what_is_known_is_not_read_again_when_nothing_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A million records take seconds to read, and OUT may come and go."""
    path = tmp_path / "lines.jsonl"
    journal = _journal(path, "one")
    monkeypatch.setattr(Journal, "_load", lambda self: pytest.fail("it was read again"))
    assert journal.open() is None
    journal.append([_entry("two")])
    journal.close()
    assert journal.open() is None
    assert journal.get(_entry("two")[0]) == {"id": "two"}
    journal.close()


def test_another_file_of_the_same_name_is_read_anew(tmp_path: Path) -> None:
    path = tmp_path / "lines.jsonl"
    journal = _journal(path, "one")
    other = _journal(tmp_path / "other.jsonl", "two", "three")
    other.close()
    (tmp_path / "other.jsonl").rename(path)
    with pytest.raises(FileNotFoundError, match="another file is in its place"):
        journal.append([_entry("four")])
    journal.open()
    assert [_entry(id)[0] in journal for id in ("one", "two", "three")] == [False, True, True]
    path.write_text("")
    journal.open()
    assert len(journal) == 0, "it is shorter than it was"
    journal.close()


def test_lines_written_by_pieces_are_written_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: real(fd, data[:7]))
    journal = _journal(tmp_path / "lines.jsonl", "one", "two")
    assert _ids(tmp_path / "lines.jsonl") == ["one", "two"]
    assert journal.get(_entry("two")[0]) == {"id": "two"}
    journal.close()


def test_a_draft_outlives_its_process_and_is_kept_by_the_append_that_begins_with_it(tmp_path: Path) -> None:
    path = tmp_path / "lines.jsonl"
    journal = _journal(path, "one")
    for id in ("two", "three"):
        journal.draft([_entry(id)[1]])
    before = path.read_bytes()
    assert len(_journal(path)) == 3, "another process finds them"
    assert len(journal) == 1
    journal.append([_entry(id) for id in ("two", "three", "four")])
    assert path.read_bytes().startswith(before)
    assert len(journal) == len(_journal(path)) == 4


def test_a_draft_that_the_next_append_does_not_begin_with_is_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "lines.jsonl"
    journal = _journal(path)
    for id in ("one", "two", "three"):
        journal.draft([_entry(id)[1]])
    journal.append([_entry("one"), _entry("three")])
    journal.draft([_entry("four")[1]])
    journal.append([])
    assert _ids(path) == ["one", "three"]
    assert [json.loads(line)["line"] for line in path.read_text().splitlines()] == [1, 2]


def test_a_draft_that_cannot_be_written_leaves_what_is_durable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "lines.jsonl"
    journal = _journal(path, "one")
    journal.draft([_entry("two")[1]])
    real = os.write

    def full(fd: int, data: bytes) -> int:
        if len(data) > 10:
            return real(fd, data[:10])
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        with pytest.raises(OSError, match="No space left"):
            journal.draft([_entry("three")[1]])
    assert _ids(path) == ["one"]
    journal.open()
    journal.append([_entry("two")])
    assert _ids(path) == ["one", "two"]
