import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks.hot_folder_kills import audit
from tests.hot_folder import ROOT, lines, names, once, start, wait_for

SENT = {
    "a": b"1",
    "b": b"bad",
    "c": b"1",
    "d": b"bad",
    "e": b"5",
    "f": b"one\ntwo\nthree\nfour\n",
    "g": b"7",
    "h": b"odd",
}
MAPS = {"f": 4}
STEPS = ("open", "write", "pwrite", "fsync", "ftruncate", "mkdir", "rename", "replace", "close")


def _die_at(step: int) -> None:
    """Let this process kill itself before, or half-way into, its n-th call of one of STEPS."""
    left = [step]

    def passed() -> bool:
        left[0] -= 1
        return left[0] == 0

    def wrapped(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            if passed():
                os.kill(os.getpid(), signal.SIGKILL)
            if name == "write" and passed():
                real(args[0], args[1][: len(args[1]) // 2 - 5])  # not where one line of two ends
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*args, **kwargs)

        return call

    for name in STEPS:
        setattr(os, name, wrapped(name, getattr(os, name)))


def kill_at_every_step(folder: Path) -> None:
    """Kill a station at its first step, another at its second, and so on, in new folders each; then finish its work."""
    torn = unmoved = partly = 0
    for step in range(1, 1000):
        inbox, out, strange = folder / "in", folder / "out", folder / "strange"
        inbox.mkdir(parents=True)
        for name, contents in SENT.items():
            (inbox / name).write_bytes(contents)
        if (child := os.fork()) == 0:
            _die_at(step)
            os._exit(once(inbox, out, unknown_to=strange))
        _, status = os.waitpid(child, 0)
        found = audit(inbox, out, SENT, MAPS, unknown_to=strange)
        assert not found["lost"] and not found["duplicated"] and not found["invalid"], (step, found)
        torn += found["torn"]
        unmoved += found["unmoved"] > 0
        partly += found["partly"]
        assert once(inbox, out, unknown_to=strange) == 0
        found = audit(inbox, out, SENT, MAPS, unknown_to=strange)
        assert found.pop("on_record") == len(SENT) and not any(found.values()), (step, found)
        assert names(strange) == {"h"}
        assert len(lines(out / "records.jsonl")) == 3 + 4 + 1 + 1
        assert len(lines(out / "duplicates.jsonl")) == 2
        assert {"b.reason.txt", "d.reason.txt"} <= names(inbox / "quarantine")
        shutil.rmtree(folder)
        if os.waitstatus_to_exitcode(status) == 0:
            assert torn == 6 + 1, "one for each file's records, and one for the duplicates"
            assert partly, "no kill came between two lines of a file"
            print(f"{step - 1} steps, {unmoved} between a record and a move")
            return
        assert os.WIFSIGNALED(status)
    raise AssertionError("a station that never ends")


def test_killed_at_every_single_step_every_wafer_has_one_record_and_none_is_lost(tmp_path: Path) -> None:
    """In a process of its own, which may be forked."""
    code = f"from {__name__} import *; kill_at_every_step(Path({str(tmp_path / 'folder')!r}))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    steps, _, unmoved = done.stdout.partition(" steps, ")
    assert int(steps) > 30
    assert int(unmoved.split()[0]) > 5


def _begun(station: "subprocess.Popen[str]") -> None:
    """Wait until a station has locked its folders."""
    assert station.stderr is not None
    line = station.stderr.readline()
    if "was being read when the last station ended" in line:
        line = station.stderr.readline()
    assert "watching" in line, line


def test_a_file_that_kills_the_station_whenever_it_is_opened_costs_no_other_its_record(inbox: Path, out: Path) -> None:
    sent = {f"w{n:03}": b"poison" if n == 100 else b"%d" % n for n in range(150)}
    for n, (name, contents) in enumerate(sent.items()):
        (inbox / name).write_bytes(contents)
        os.utime(inbox / name, (1e9 + n, 1e9 + n))
    for on_record in (100, 149, 149):  # all before it, though their batch was not full; then all but it
        station = start(inbox, out)
        station.communicate(timeout=60)
        assert station.returncode == -signal.SIGKILL
        found = audit(inbox, out, sent)
        assert (found["on_record"], found["lost"], found["duplicated"], found["invalid"]) == (on_record, 0, 0, 0)
    assert once(inbox, out) == 0
    found = audit(inbox, out, sent)
    assert found.pop("on_record") == 150 and not any(found.values()), found
    rejected = [record["id"] for record in lines(out / "records.jsonl") if record["status"] == "rejected"]
    assert rejected == ["w100"]
    assert names(inbox / "quarantine") == {"w100", "w100.reason.txt"}


def test_killed_at_random_moments_every_wafer_has_one_record_and_none_is_lost(inbox: Path, out: Path) -> None:
    rng = random.Random(0)
    sent = {f"w{n:02}": b"bad %d" % n if n % 10 == 0 else b"%d" % n for n in range(50)}
    sent |= {f"copy{n}": sent[f"w{n:02}"] for n in range(10)}
    for name, contents in sent.items():
        (inbox / name).write_bytes(contents)
    recorded = []
    for _ in range(6):
        station = start(inbox, out, 0.005)
        _begun(station)
        time.sleep(rng.uniform(0.0, 0.2))
        station.kill()
        station.communicate()
        found = audit(inbox, out, sent)
        assert not found["lost"] and not found["duplicated"] and not found["invalid"], found
        recorded.append(found["on_record"])
    assert recorded[0] < len(sent), "the first kill came too late to mean anything"
    assert once(inbox, out) == 0
    found = audit(inbox, out, sent)
    assert found.pop("on_record") == 60
    assert not any(found.values()), found
    assert len(lines(out / "records.jsonl")) == 50
    assert len(lines(out / "duplicates.jsonl")) == 10


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_a_signal_lets_the_wafer_in_hand_be_finished_and_no_other(
    number: int, code: int, inbox: Path, out: Path
) -> None:
    for n in range(20):
        (inbox / f"w{n:02}").write_bytes(b"%d" % n)
    # A shell may have started the tests with SIGINT ignored, and what is ignored stays ignored.
    station = start(inbox, out, 0.5, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler))
    wait_for(lambda: names(inbox / "done"), "the first wafers")
    station.send_signal(number)
    _, said = station.communicate(timeout=60)
    assert station.returncode == code
    assert "Traceback" not in said
    found = audit(inbox, out, {f"w{n:02}": b"%d" % n for n in range(20)})
    assert found["on_record"] and found["waiting"] and not found["unmoved"] and not found["lost"]
    assert f"{found['on_record']} seen: {found['on_record']} ok" in said.splitlines()[-1]


def test_a_signal_that_the_shell_wants_ignored_is_ignored(inbox: Path, out: Path) -> None:
    station = start(inbox, out, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN))
    _begun(station)
    station.send_signal(signal.SIGINT)
    (inbox / "w").write_bytes(b"1")
    wait_for(lambda: names(inbox / "done") == {"w"}, "the wafer")
    station.terminate()
    station.communicate()
    assert station.returncode == 0


def test_a_second_station_in_either_folder_is_refused_until_the_first_is_gone(
    inbox: Path, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = inbox.with_name("other")
    other.mkdir()
    (inbox / "w").write_bytes(b"1")
    station = start(inbox, out)
    _begun(station)
    wait_for(lambda: names(inbox / "done") == {"w"}, "the wafer")
    os.kill(station.pid, signal.SIGSTOP)
    try:
        for folders, name in (((inbox, out), "OUT"), ((other, out), "OUT"), ((inbox, other), "IN")):
            assert once(*folders) == 2
            assert (
                f"{name} {folders[0 if name == 'IN' else 1]}: another station is working in it"
                in capsys.readouterr().err
            )
    finally:
        station.kill()
        station.communicate()
    assert once(inbox, out) == 0
    assert len(lines(out / "records.jsonl")) == 1


def test_an_audit_finds_what_is_wrong(inbox: Path, out: Path) -> None:
    sent = {"a": b"1", "b": b"2", "c": b"3", "d": b"4"}
    for name, contents in sent.items():
        (inbox / name).write_bytes(contents)
    assert once(inbox, out) == 0
    (inbox / "done" / "a").unlink()
    (inbox / "done" / "b").rename(inbox / "b")
    records = (out / "records.jsonl").read_text().splitlines(keepends=True)
    (out / "records.jsonl").write_text(records[0] + records[1] * 2 + records[2] + "{}\n" + records[3][:-9])
    assert audit(inbox, out, sent) == {
        "on_record": 3,
        "waiting": 0,
        "partly": 0,
        "unmoved": 1,
        "lost": 2,
        "duplicated": 2,
        "invalid": 1,
        "torn": 1,
    }


def test_an_audit_takes_a_file_of_four_maps_that_was_not_read_for_one_on_record(inbox: Path, out: Path) -> None:
    sent = {"a": b"bad", "b": b"bad and more"}
    for name, contents in sent.items():
        (inbox / name).write_bytes(contents)
    assert once(inbox, out) == 0
    found = audit(inbox, out, sent, {"a": 4})
    assert found.pop("on_record") == 2
    assert not any(found.values()), found
