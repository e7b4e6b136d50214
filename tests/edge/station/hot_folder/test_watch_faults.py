import json
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import edge.station.hot_folder.faults
from edge.station.hot_folder import watch as watch_command
from edge.station.hot_folder.claim import LOCK
from edge.station.hot_folder.faults import Faults, file_place
from edge.station.hot_folder.journal import Journal
from edge.station.hot_folder.status import say
from tests.hot_folder import ROOT, Running, lines, names, once, recorded, sha256, start, wait_for

Said = Callable[[], str]


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Said:
    """Return everything that was said so far."""
    text = []

    def so_far() -> str:
        text.append(capsys.readouterr().err)
        return "".join(text)

    return so_far


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 KiB."""
    path = tmp_path / "disk"
    path.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(path)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("no file system can be mounted here")
    yield path
    subprocess.run(["umount", str(path)], check=True)


def _send(inbox: Path, *sent: str) -> None:
    for name in sent:
        (inbox / name).write_bytes(name.encode())


def _ids(out: Path, *, running: bool = False) -> list[str]:
    return sorted(record["id"] for record in lines(out / "records.jsonl", running=running))


def test_a_full_disk_is_waited_for_and_every_wafer_stays_until_it_is_on_record(
    small_disk: Path, inbox: Path, said: Said
) -> None:
    out = small_disk / "out"
    wafers = [f"w{n:03}" for n in range(100)]
    with Running(inbox, out):
        _send(inbox, "first")
        wait_for(lambda: "first" in names(inbox / "done"), "a wafer before the disk is full")
        with pytest.raises(OSError, match="No space"), (small_disk / "filler").open("wb", buffering=0) as filler:
            while True:
                filler.write(bytes(4096))
        _send(inbox, *wafers)
        wait_for(lambda: "No space left on device" in said(), "the fault")
        waiting = names(inbox)  # read first: a little room is left, and what is on record meanwhile is moved
        recorded = set(_ids(out, running=True))
        assert waiting | recorded >= set(wafers)
        assert not set(wafers) <= recorded
        (small_disk / "filler").unlink()
        wait_for(lambda: not names(inbox), "the wafers")
        wait_for(lambda: "OUT: works again" in said(), "the word")
    assert _ids(out) == sorted(["first", *wafers])
    assert names(inbox / "done") == {"first", *wafers}


def test_a_line_that_fits_by_half_is_cut_off_and_written_whole_later(inbox: Path, out: Path) -> None:
    """The disk is made full by a limit on the size of a file, which no line ends at."""
    limit = 2001
    wafers = [f"w{n:03}" for n in range(30)]
    _send(inbox, *wafers)
    station = start(
        inbox, out, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    )
    try:
        assert station.stderr is not None
        assert any("OUT: File too large" in line for line in station.stderr)
        time.sleep(0.3)
        recorded = set(_ids(out, running=True))
        assert len(recorded) < 30
        assert names(inbox) >= set(wafers) - recorded
        resource.prlimit(station.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        wait_for(lambda: not names(inbox), "the wafers")
    finally:
        station.terminate()
        station.communicate()
    assert station.returncode == 0
    assert _ids(out) == wafers


def test_a_read_only_disk_at_the_start_is_waited_for(small_disk: Path, inbox: Path, said: Said) -> None:
    _send(inbox, "w1")
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with Running(inbox, small_disk / "out"):
        wait_for(lambda: "Read-only file system" in said(), "the fault")
        assert names(inbox) == {"w1"}
        subprocess.run(["mount", "-o", "remount,rw", str(small_disk)], check=True)
        wait_for(lambda: not names(inbox), "the wafer")
    assert _ids(small_disk / "out") == ["w1"]


def test_an_in_that_is_read_only_still_gets_records_and_is_emptied_later(
    small_disk: Path, out: Path, said: Said
) -> None:
    _send(small_disk, "w1", "w2")
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    for _ in range(2):
        assert once(small_disk, out) == 4
        assert "moving: " in said()
        assert _ids(out) == ["w1", "w2"]
    with Running(small_disk, out):
        wait_for(lambda: said().count("Read-only file system; it is tried again") == 3, "the fault")
        subprocess.run(["mount", "-o", "remount,rw", str(small_disk)], check=True)
        wait_for(lambda: not names(small_disk), "the move")
    assert _ids(out) == ["w1", "w2"]
    assert lines(out / "duplicates.jsonl") == []


def test_an_out_that_vanishes_is_waited_for_and_nothing_is_written_to_what_is_in_its_place(
    inbox: Path, out: Path, said: Said
) -> None:
    away = out.with_name("away")
    with Running(inbox, out):
        _send(inbox, "w1")
        wait_for(lambda: "w1" in names(inbox / "done"), "the first wafer")
        out.rename(away)
        _send(inbox, "w2")
        wait_for(lambda: f"OUT: {out / LOCK}: No such file or directory" in said(), "the fault")
        time.sleep(0.2)
        assert not out.exists(), "an OUT that went away was made anew"
        out.mkdir()  # what an unmounted share leaves
        wait_for(lambda: "is not the folder into which IN" in said(), "the other fault")
        assert names(inbox) == {"w2"}
        assert not names(out), "records were begun anew in a folder that is not OUT"
        (out / LOCK).unlink()
        out.rmdir()
        away.rename(out)
        wait_for(lambda: not names(inbox), "the second wafer")
        wait_for(lambda: "OUT: works again" in said(), "the word")
    assert _ids(out) == ["w1", "w2"]


def test_an_out_that_becomes_a_file_is_waited_for(inbox: Path, out: Path, said: Said) -> None:
    away = out.with_name("away")
    with Running(inbox, out):
        _send(inbox, "w1")
        wait_for(lambda: "w1" in names(inbox / "done"), "the first wafer")
        out.rename(away)
        out.write_bytes(b"")
        _send(inbox, "w2")
        wait_for(lambda: "Not a directory" in said(), "the fault")
        out.unlink()
        away.rename(out)
        wait_for(lambda: not names(inbox), "the second wafer")
    assert _ids(out) == ["w1", "w2"]


def test_an_in_that_vanishes_is_waited_for(inbox: Path, out: Path, said: Said) -> None:
    away = inbox.with_name("away")
    with Running(inbox, out):
        _send(inbox, "w1")
        wait_for(lambda: "w1" in names(inbox / "done"), "the first wafer")
        inbox.rename(away)
        wait_for(lambda: f"IN: {inbox}: No such file or directory" in said(), "the fault")
        inbox.mkdir()  # what an unmounted share leaves
        wait_for(lambda: (inbox / LOCK).exists(), "the station to look into it")
        wait_for((inbox / "quarantine").exists, "the station to be done with it")
        shutil.rmtree(inbox)
        _send(away, "w1", "w2")
        away.rename(inbox)
        wait_for(lambda: not names(inbox), "the second wafer")
        wait_for(lambda: "IN: works again" in said(), "the word")
    assert _ids(out) == ["w1", "w2"]


def test_in_is_not_watched_into_another_out_unless_one_says_so(inbox: Path, out: Path, said: Said) -> None:
    _send(inbox, "w1")
    assert once(inbox, out) == 0
    other = out.with_name("other")
    assert once(inbox, other) == 2
    assert f"delete {LOCK} in IN" in said()
    assert not (other / "records.jsonl").exists()
    (inbox / LOCK).unlink()
    assert once(inbox, other) == 0
    second = inbox.with_name("second")
    second.mkdir()
    assert once(second, out) == 0, "an OUT may serve several INs, one after the other"


def test_files_that_cannot_be_moved_are_recorded_once_and_moved_when_they_can(
    inbox: Path, out: Path, said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch_command, "check_own_names", lambda *folders, **_: None)  # it came after that
    (inbox / "done").write_bytes(b"in the way")
    for _ in range(2):
        _send(inbox, "w1", "w2")
        assert once(inbox, out) == 4
        assert "moving: " in said()
        assert names(inbox) == {"done", "w1", "w2"}
        assert _ids(out) == ["w1", "w2"]
    with Running(inbox, out):
        _send(inbox, "w3")
        wait_for(lambda: "w3" in _ids(out, running=True), "a wafer that is judged all the same")
        wait_for(lambda: said().count("it is tried again") == 3, "the fault")
        time.sleep(0.2)
        (inbox / "done").unlink()
        wait_for(lambda: not names(inbox), "the move")
        wait_for(lambda: "moving: works again" in said(), "the word")
    assert _ids(out) == ["w1", "w2", "w3"]
    assert names(inbox / "done") == {"w1", "w2", "w3"}
    assert "3 seen: 1 ok, 0 rejected, 0 duplicates, 2 recorded before" in said(), (
        "what waits to be moved was seen again"
    )
    assert lines(out / "duplicates.jsonl") == []


def test_a_file_that_cannot_be_moved_does_not_keep_the_others(
    inbox: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Path.rename

    def refusing(path: Path, target: Path) -> Path:
        if path.name == "w1":
            raise PermissionError(1, "Operation not permitted", str(path))
        return real(path, target)

    monkeypatch.setattr(Path, "rename", refusing)
    _send(inbox, "w1", "w2")
    assert once(inbox, out) == 4
    assert (names(inbox), names(inbox / "done")) == ({"w1"}, {"w2"})


def test_a_file_that_cannot_be_read_is_tried_again_and_blocks_no_other(
    inbox: Path, out: Path, said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root may read everything, so that the refusal is put into the call."""
    real = os.open

    def refusing(path: object, *args: int) -> int:
        if str(path).endswith("in/w1"):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path, *args)

    with Running(inbox, out), monkeypatch.context() as patch:
        patch.setattr(os, "open", refusing)
        _send(inbox, "w1", "w2")
        wait_for(lambda: "w2" in names(inbox / "done"), "the other wafer")
        wait_for(lambda: "file 'w1': " in said() and "Permission denied" in said(), "the fault")
        patch.undo()
        wait_for(lambda: not names(inbox), "the wafer")
        wait_for(lambda: "file 'w1': works again" in said(), "the word")
    assert _ids(out) == ["w1", "w2"]


def test_thousands_of_failing_files_do_not_flood_the_words(inbox: Path, out: Path, said: Said) -> None:
    def failing(data: bytes, name: str) -> list[dict[str, object]]:
        raise RuntimeError("no interpreter")

    _send(inbox, *(f"w{n:03}" for n in range(300)))
    assert once(inbox, out, failing) == 4
    assert said().count("\n") < 20
    assert "and 295 more files" in said()
    for n in range(299):
        (inbox / f"w{n:03}").unlink()
    with Running(inbox, out, failing, report_s=0.05):
        wait_for(lambda: "file 'w299': still RuntimeError: no interpreter" in said(), "the reminder")
        (inbox / "w299").unlink()
        time.sleep(0.3)
        said()
        before = said().count("still")
        time.sleep(0.3)
        assert said().count("still") == before, "it reminds of a file that is gone"


def test_what_fails_is_tried_again_less_and_less_often_but_never_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(edge.station.hot_folder.faults, "monotonic", lambda: now[0])
    words: list[str] = []
    faults = Faults(words.append, first_retry_s=1.0)
    waits = []
    for _ in range(8):
        assert faults.due("OUT")
        faults.add("OUT", "No space left on device")
        began = now[0]
        while not faults.due("OUT"):
            now[0] += 0.5
        waits.append(now[0] - began)
    assert waits == [1, 2, 4, 8, 16, 30, 30, 30]
    assert words == ["OUT: No space left on device; it is tried again until it works"]
    faults.add("OUT", "Read-only file system")
    faults.clear("OUT")
    assert words[1:] == ["OUT: now Read-only file system", "OUT: works again after 121 s"]
    assert faults.due("OUT")


def test_a_full_disk_is_said_even_where_many_files_fail() -> None:
    words: list[str] = []
    faults = Faults(words.append, first_retry_s=1.0)
    for n in range(100):
        faults.add(file_place(str(n)), "Permission denied")
    faults.add("OUT", "No space left on device")
    assert len(words) == 7
    assert words[-1].startswith("OUT: No space left on device")
    words.clear()
    faults.remind()
    assert [word.split(":")[0] for word in words] == ["OUT", *(f"file '{n}'" for n in range(5)), "and 95 more files"]


def test_metrics_that_cannot_be_written_stop_nothing(inbox: Path, out: Path, said: Said, tmp_path: Path) -> None:
    folder = tmp_path / "metrics"
    with Running(inbox, out, metrics_file=folder / "station.prom"):
        _send(inbox, "w1")
        wait_for(lambda: not names(inbox), "the wafer")
        wait_for(lambda: "metrics: " in said(), "the fault")
        folder.mkdir()
        wait_for(lambda: "metrics: works again" in said(), "the word")
        wait_for(lambda: 'wafer_tf_fault{kind="metrics"} 0' in (folder / "station.prom").read_text(), "the metrics")
    assert 'wafer_tf_errors_total{kind="metrics"} 0' not in (folder / "station.prom").read_text()


def test_a_stderr_that_is_full_stops_nothing(inbox: Path, out: Path) -> None:
    _send(inbox, "w1")
    code = (
        "from pathlib import Path; from tests.hot_folder import once\n"
        f"raise SystemExit(once(Path({str(inbox)!r}), Path({str(out)!r})))"
    )
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([sys.executable, "-c", code], stderr=full, cwd=ROOT)
    assert done.returncode == 0
    assert _ids(out) == ["w1"]


def test_records_that_were_moved_away_are_begun_anew(inbox: Path, out: Path) -> None:
    with Running(inbox, out):
        _send(inbox, "w1")
        wait_for(lambda: "w1" in names(inbox / "done"), "the first wafer")
        (out / "records.jsonl").rename(out / "records-1.jsonl")
        _send(inbox, "w2")
        wait_for(lambda: "w2" in names(inbox / "done"), "the second wafer")
    assert [json.loads(line)["id"] for line in (out / "records-1.jsonl").read_text().splitlines()] == ["w1"]
    assert _ids(out) == ["w2"]


def test_a_line_that_is_only_part_of_a_record_is_set_aside_and_its_wafer_judged(
    inbox: Path, out: Path, said: Said
) -> None:
    out.mkdir()
    part = {"id": "w1", "input_sha256": sha256(b"w1"), "status": "rejected"}
    (out / "records.jsonl").write_text(json.dumps(part) + "\n")
    _send(inbox, "w1")
    assert once(inbox, out) == 0
    assert lines(out / "records.jsonl") == recorded(b"w1", "w1")
    assert lines(out / "records.jsonl.damaged") == [part]
    assert "set aside in records.jsonl.damaged" in said()


@pytest.mark.parametrize("gone", ["w1", "w3"])
def test_a_wafer_in_done_whose_line_was_removed_is_judged_again(gone: str, inbox: Path, out: Path, said: Said) -> None:
    for name in ("w1", "w2", "w3"):
        _send(inbox, name)
    assert once(inbox, out) == 0
    written = (out / "records.jsonl").read_bytes().splitlines(keepends=True)
    kept = [line for line in written if json.loads(line)["id"] != gone]
    (out / "records.jsonl").write_bytes(b"".join(kept))
    assert once(inbox, out) == 0
    assert said().count("1 lines are missing") == 1
    assert sorted(_ids(out)) == ["w1", "w2", "w3"]
    assert (out / "records.jsonl").read_bytes().startswith(b"".join(kept))
    assert names(inbox / "done") == {"w1", "w2", "w3"}
    assert once(inbox, out) == 0
    assert said().count("lines are missing") == 1


def test_a_full_disk_cuts_no_record_off_where_another_program_wrote_a_line(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    journal = Journal(path, lambda entry: bytes.fromhex(entry["key"]))

    def write(number: int) -> None:
        key = bytes([number]) * 32
        journal.append([(key, json.dumps({"key": key.hex()}) + "\n")])

    journal.open()
    write(1)
    with path.open("a") as other:
        other.write("x" * 50 + "\n")
    with pytest.raises(OSError, match="was changed by another program"):
        write(2)
    journal.open()
    write(2)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 10, before[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            write(3)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    journal.close()
    assert [entry["key"][:2] for entry in lines(path)] == ["01", "02"]


def test_a_name_with_a_line_end_forges_no_line_of_the_log(said: Said) -> None:
    say("w\nOUT: works again \x1b[2J \u65e5")
    (line,) = said().splitlines()
    assert line.endswith("w\\nOUT: works again \\x1b[2J \u65e5")


def test_torn_records_are_mended_at_the_start_and_their_wafers_judged(inbox: Path, out: Path, said: Said) -> None:
    _send(inbox, "w1", "w2")
    assert once(inbox, out) == 0
    path = out / "records.jsonl"
    path.write_bytes(path.read_bytes()[:-40])
    (inbox / "done" / "w2").rename(inbox / "w2")  # as it was when the line was torn
    assert once(inbox, out) == 0
    assert "bytes that are no whole line were set aside in records.jsonl.damaged" in said()
    assert _ids(out) == ["w1", "w2"]
    assert recorded(b"w2", "w2")[0] in lines(path)


def test_an_in_that_goes_while_a_file_of_it_is_read_is_what_is_said(
    inbox: Path, out: Path, said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    _send(inbox, "w1", "w2")
    real, kept = os.open, inbox.with_name("away")

    def going(path: object, *args: int) -> int:
        if str(path).endswith("in/w1"):
            inbox.rename(kept)
            raise OSError(5, "Input/output error", str(path))
        return real(path, *args)

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", going)
        assert once(inbox, out) == 4
    assert "file 'w1': " in said()
    assert f"IN: {inbox}: No such file or directory; it is tried again until it works" in said()
    assert "file 'w2'" not in said(), "one word is enough of a folder that is away"
    kept.rename(inbox)
    assert once(inbox, out) == 0
    assert _ids(out) == ["w1", "w2"]
