import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import edge.station.hot_folder.inbox
from edge.station.hot_folder.inbox import PATIENCE, Inbox
from edge.station.hot_folder.watch import watch
from edge.station.records import KEYS, Record
from tests.hot_folder import BUNDLE, ROOT, Running, judge, lines, names, once, recorded, sha256, wait_for
from wafer_tf.dies import CLASSES
from wafer_tf.synthesis import synthesize


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Put the clock of the inbox forward by so many seconds; it stands still otherwise."""
    now = [1000.0]
    monkeypatch.setattr(edge.station.hot_folder.inbox, "monotonic", lambda: now[0])
    return lambda seconds: now.__setitem__(0, now[0] + seconds)


def _records(out: Path) -> dict[str, Record]:
    found = lines(out / "records.jsonl")
    assert all(tuple(record) == KEYS for record in found)
    by_id = {record["id"]: record for record in found}
    assert len(by_id) == len({record["input_sha256"] for record in found}) == len(found)
    return by_id


def test_a_wafer_gets_one_record_and_goes_to_done(inbox: Path, out: Path) -> None:
    (inbox / "w1.txt").write_bytes(b"one")
    assert once(inbox, out) == 0
    assert [_records(out)["w1.txt"]] == recorded(b"one", "w1.txt")
    assert (names(inbox), names(inbox / "done")) == (set(), {"w1.txt"})
    assert once(inbox, out) == 0
    assert list(_records(out)) == ["w1.txt"]


def test_a_file_that_cannot_be_judged_goes_to_quarantine_with_its_reason(inbox: Path, out: Path) -> None:
    (inbox / "w1.txt").write_bytes(b"bad")
    (inbox / "none.txt").write_bytes(b"")
    assert once(inbox, out) == 0
    reasons = {name: record["reason"] for name, record in _records(out).items()}
    assert reasons == {
        "w1.txt": "it begins with bad",
        "none.txt": "no map",
    }
    assert all(record["decision"] == "rejected" and record["label"] is None for record in _records(out).values())
    assert names(inbox / "quarantine") == {*reasons, *(f"{name}.reason.txt" for name in reasons)}
    for name, reason in reasons.items():
        assert (inbox / "quarantine" / f"{name}.reason.txt").read_text() == reason + "\n"


def test_a_file_that_is_too_large_is_rejected_by_its_size_and_known_by_its_hash(inbox: Path, out: Path) -> None:
    def no_judge(data: bytes, name: str) -> list[Record]:
        raise AssertionError("it was read into memory")

    (inbox / "large.npy").write_bytes(bytes(3_000_000))
    assert once(inbox, out, no_judge, max_bytes=2_999_999) == 0
    record = _records(out)["large.npy"]
    assert "3000000 bytes; expected a file of at most 2999999 bytes" in record["reason"]
    assert record["input_sha256"] == sha256(bytes(3_000_000))
    assert "large.npy" in names(inbox / "quarantine")


def test_the_same_contents_under_another_name_give_a_line_that_says_so_and_no_second_record(
    inbox: Path, out: Path
) -> None:
    for name in ("b.txt", "a.txt"):
        (inbox / name).write_bytes(b"one")
        os.utime(inbox / name, (1e9, 1e9))
    assert once(inbox, out) == 0
    (inbox / "c.txt").write_bytes(b"one")
    assert once(inbox, out) == 0
    assert list(_records(out)) == ["a.txt"]
    found = lines(out / "duplicates.jsonl")
    assert [(line["id"], line["first_id"], line["input_sha256"]) for line in found] == [
        ("b.txt", "a.txt", sha256(b"one")),
        ("c.txt", "a.txt", sha256(b"one")),
    ]
    assert names(inbox / "done") == {"a.txt", "b.txt", "c.txt"}


def test_a_file_sent_again_is_moved_away_without_a_second_line(inbox: Path, out: Path) -> None:
    for _ in range(3):
        (inbox / "a.txt").write_bytes(b"one")
        (inbox / "b.txt").write_bytes(b"one")
        assert once(inbox, out) == 0
    assert len(_records(out)) == len(lines(out / "duplicates.jsonl")) == 1
    assert (names(inbox), names(inbox / "done")) == (set(), {"a.txt", "b.txt"})


@pytest.mark.parametrize("data", [b"one", b"bad"])
def test_another_name_of_a_file_in_its_place_leaves_in_too(data: bytes, inbox: Path, out: Path) -> None:
    (inbox / "w1.txt").write_bytes(data)
    assert once(inbox, out) == 0
    (place,) = (path for path in inbox.glob("*/w1.txt"))
    (inbox / "w1.txt").hardlink_to(place)
    assert once(inbox, out) == 0
    assert (names(inbox), place.read_bytes()) == (set(), data)
    assert list(_records(out)) == ["w1.txt"]


def test_a_copy_of_a_rejected_file_goes_to_quarantine_too(inbox: Path, out: Path) -> None:
    for name in ("a.txt", "b.txt"):
        (inbox / name).write_bytes(b"bad")
        assert once(inbox, out) == 0
    assert len(_records(out)) == 1
    assert (inbox / "quarantine" / "b.txt.reason.txt").read_text() == "it begins with bad\n"
    assert names(inbox / "quarantine") >= {"a.txt", "b.txt"}


def test_other_contents_under_a_name_in_use_are_judged_and_overwrite_nothing(inbox: Path, out: Path) -> None:
    for kind in (b"", b"bad "):
        for contents in (b"one", b"two", b"three"):
            (inbox / "w.txt").write_bytes(kind + contents)
            assert once(inbox, out) == 0
    assert len(lines(out / "records.jsonl")) == 6
    for folder, kind in (("done", b""), ("quarantine", b"bad ")):
        files = [path for path in (inbox / folder).iterdir() if not path.name.endswith(".reason.txt")]
        assert {path.read_bytes() for path in files} == {kind + b"one", kind + b"two", kind + b"three"}
        assert len({path.name for path in files}) == 3
        assert all(path.name.startswith("w.") and path.suffix == ".txt" for path in files)
    assert len(names(inbox / "quarantine")) == 6


def test_a_file_named_like_a_reason_is_not_overwritten_by_one(inbox: Path, out: Path) -> None:
    (inbox / "w.txt.reason.txt").write_bytes(b"bad itself")
    assert once(inbox, out) == 0
    (inbox / "w.txt").write_bytes(b"bad")
    assert once(inbox, out) == 0
    assert (inbox / "quarantine" / "w.txt.reason.txt").read_bytes() == b"bad itself"
    assert len(names(inbox / "quarantine")) == 4


@pytest.mark.parametrize("kind", [b"", b"bad "])
def test_files_of_any_name_are_judged_and_kept_apart(kind: bytes, inbox: Path, out: Path) -> None:
    odd = [
        b"two\nlines.npy",
        "\u6676\u5713 5.npy".encode(),
        b" space ",
        b"-rf",
        b"no\xe9utf8.txt",
        b'"q\\.npy',
        b"x" * 255,
    ]
    odd += [b"y" * 251 + b".npy", "\u6676".encode() * 85]
    for number, name in enumerate(odd):
        (inbox / os.fsdecode(name)).write_bytes(kind + b"%d" % number)
    assert once(inbox, out) == 0
    by_number = {record["input_sha256"]: record["id"] for record in lines(out / "records.jsonl")}
    ids = [by_number[sha256(kind + b"%d" % number)] for number in range(len(odd))]
    assert ids == [name.replace(b"\\", rb"\\").decode(errors="backslashreplace") for name in odd]
    for id in ids:
        id.encode()  # a lone surrogate would not do
    assert not names(inbox)
    kept = {path.read_bytes() for path in (inbox / ("quarantine" if kind else "done")).iterdir()}
    assert kept >= {kind + b"%d" % number for number in range(len(odd))}


def test_unfinished_names_links_and_folders_are_left_alone_and_said_once(
    inbox: Path, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in (".hidden", "a.tmp", "b.part", "c.PARTIAL", "d.txt.tmp"):
        (inbox / name).write_bytes(name.encode())
    (inbox / "folder").mkdir()
    (inbox / "folder" / "inner.txt").write_bytes(b"inner")
    (inbox.parent / "outside.txt").write_bytes(b"outside")
    (inbox / "link.txt").symlink_to(inbox.parent / "outside.txt")
    os.mkfifo(inbox / "pipe.npy")
    with Running(inbox, out):
        for n in range(3):
            (inbox / f"w{n}.txt").write_bytes(b"%d" % n)
            wait_for(lambda n=n: f"w{n}.txt" in names(inbox / "done"), "the wafer")
    assert set(_records(out)) == {"w0.txt", "w1.txt", "w2.txt"}
    assert (inbox.parent / "outside.txt").exists()
    err = capsys.readouterr().err
    assert err.count("'folder' (a folder), 'link.txt' (a link), 'pipe.npy' (no file)") == 1
    assert err.count("left alone") == 1


def test_a_slow_writer_is_waited_for(inbox: Path, out: Path) -> None:
    seen = []

    def noting(data: bytes, name: str) -> list[Record]:
        seen.append(data)
        return judge(data, name)

    with Running(inbox, out, noting, settle_s=2.0):
        with (inbox / "slow.txt").open("wb", buffering=0) as file:
            for _ in range(50):
                file.write(b"0 1 2 ")
                time.sleep(0.05)
        wait_for(lambda: names(inbox) == set(), "the wafer")
    assert seen == [b"0 1 2 " * 50]


def test_a_file_is_whole_once_it_was_quiet_for_long_enough_at_two_looks(
    inbox: Path, clock: Callable[[float], None]
) -> None:
    (inbox / "w.txt").write_bytes(b"1")
    found = Inbox(inbox, settle_s=2.0)
    assert found.scan() == []
    clock(100)
    with (inbox / "w.txt").open("ab") as file:
        file.write(b"2")
    assert found.scan() == [], "it was changed between two looks"
    clock(1.9)
    assert found.scan() == []
    os.utime(inbox / "w.txt", (1e9, 1e9))
    clock(1.9)
    assert found.scan() == [], "only its time was changed"
    clock(2.0)
    assert found.scan() == ["w.txt"]
    at_once = Inbox(inbox, settle_s=0.0)
    assert at_once.scan() == [], "it was looked at but once"
    assert at_once.scan() == ["w.txt"]


def test_an_empty_file_is_given_more_time(inbox: Path, clock: Callable[[float], None]) -> None:
    (inbox / "w.txt").touch()
    found = Inbox(inbox, settle_s=2.0)
    assert found.scan() == []
    clock(2.0 * PATIENCE - 0.1)
    assert found.scan() == []
    clock(0.1)
    assert found.scan() == ["w.txt"]


def test_a_file_that_changes_after_the_look_is_left_for_later(inbox: Path) -> None:
    found = Inbox(inbox, settle_s=0.0)
    (inbox / "w.txt").write_bytes(b"1")
    found.scan()
    assert found.scan() == ["w.txt"]
    (inbox / "w.txt").write_bytes(b"22")
    assert found.take("w.txt", stop=lambda: False) is None
    assert found.scan() == [], "it must be quiet anew"
    (inbox / "w.txt").unlink()
    (inbox / "x.txt").write_bytes(b"1")
    found.scan()
    found.scan()
    (inbox / "x.txt").unlink()
    assert found.take("x.txt", stop=lambda: False) is None


@pytest.mark.parametrize("rename", [False, True])
def test_a_file_that_changes_while_it_is_read_is_left_for_later(rename: bool, inbox: Path) -> None:
    found = Inbox(inbox, settle_s=0.0, max_bytes=5)  # so that it is asked whether to stop
    (inbox / "w.txt").write_bytes(b"first contents")
    found.scan()
    found.scan()

    def change() -> bool:
        written = inbox / ("new" if rename else "w.txt")
        written.write_bytes(b"other contents")
        written.rename(inbox / "w.txt")
        return False

    assert found.take("w.txt", stop=change) is None
    assert found.scan() == [], "it must be quiet anew"
    found.scan()
    assert found.take("w.txt", stop=lambda: True) is None, "the reading was not given up"


def test_a_file_that_is_written_anew_while_it_is_judged_is_judged_again(inbox: Path, out: Path) -> None:
    def rewriting(data: bytes, name: str) -> list[Record]:
        if data == b"first":
            (inbox / "new.part").write_bytes(b"other")
            (inbox / "new.part").rename(inbox / name)
        return judge(data, name)

    (inbox / "w.txt").write_bytes(b"first")
    assert once(inbox, out, rewriting) == 0
    assert [record["input_sha256"] for record in lines(out / "records.jsonl")] == [sha256(b"other")]
    assert (inbox / "done" / "w.txt").read_bytes() == b"other"


def test_a_file_replaced_in_the_moment_of_the_move_is_put_back(inbox: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = Inbox(inbox, settle_s=0.0)
    (inbox / "w.txt").write_bytes(b"1")
    found.scan()
    found.scan()
    taken = found.take("w.txt", stop=lambda: False)
    assert taken is not None
    real = Path.rename

    def late(path: Path, target: Path) -> Path:
        if path == inbox / "w.txt":
            path.write_bytes(b"other contents")
        return real(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", late)
        assert found.put_away(taken[0], None) is False
    assert (inbox / "w.txt").read_bytes() == b"other contents"
    assert names(inbox / "done") == set()
    (inbox / "w.txt").unlink()
    assert found.put_away(taken[0], None) is False, "a file that is gone is nobody's fault"


def test_a_file_replaced_by_one_of_the_same_size_and_time_is_not_moved(inbox: Path) -> None:
    found = Inbox(inbox, settle_s=0.0)
    (inbox / "w.txt").write_bytes(b"1")
    os.utime(inbox / "w.txt", (1e9, 1e9))
    found.scan()
    found.scan()
    taken = found.take("w.txt", stop=lambda: False)
    assert taken is not None
    (inbox / "new").write_bytes(b"2")
    os.utime(inbox / "new", (1e9, 1e9))
    (inbox / "new").rename(inbox / "w.txt")
    assert found.put_away(taken[0], None) is False
    assert (inbox / "w.txt").read_bytes() == b"2"


def test_the_oldest_file_is_judged_first_and_a_tie_goes_by_name(inbox: Path, out: Path) -> None:
    for name, age in (("c", 3), ("b", 1), ("a", 2), ("e", 1), ("d", 1)):
        (inbox / name).write_bytes(name.encode())
        os.utime(inbox / name, (1e9 - age, 1e9 - age))
    assert once(inbox, out) == 0
    assert list(_records(out)) == ["c", "a", "b", "d", "e"]


def test_a_full_folder_is_listed_a_few_times_and_not_once_per_file(
    inbox: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for n in range(500):
        (inbox / f"{n}.txt").write_bytes(b"%d" % n)
    real, calls = os.scandir, []
    monkeypatch.setattr(os, "scandir", lambda path: calls.append(path) or real(path))
    synced = []
    real_sync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda fd: synced.append(fd) or real_sync(fd))
    assert once(inbox, out) == 0
    assert len(_records(out)) == 500
    assert len(calls) <= 3
    assert len(synced) < 50, "records are made durable one by one"


def test_a_judge_that_fails_delays_its_wafer_and_no_other(
    inbox: Path, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ill = [True]

    def failing(data: bytes, name: str) -> list[Record]:
        if data == b"1" and ill[0]:
            raise MemoryError("none left")
        return judge(data, name)

    for n in range(3):
        (inbox / f"w{n}.txt").write_bytes(b"%d" % n)
    assert once(inbox, out, failing) == 4
    assert set(_records(out)) == {"w0.txt", "w2.txt"}
    assert names(inbox) == {"w1.txt"}
    assert "file 'w1.txt': MemoryError: none left" in capsys.readouterr().err
    with Running(inbox, out, failing):
        wait_for(lambda: "MemoryError" in capsys.readouterr().err, "the second failure")
        ill[0] = False
        wait_for(lambda: names(inbox) == set(), "the wafer")
    assert set(_records(out)) == {"w0.txt", "w1.txt", "w2.txt"}


SAMPLE = re.compile(
    r'([a-z_]+)(\{[a-z_0-9]+="[^"\\\n]*"(?:,[a-z_0-9]+="[^"\\\n]*")*\})? (-?[0-9.]+(?:e[+-]?[0-9]+)?|\+Inf)'
)


def _metrics(path: Path) -> dict[str, float]:
    """Read Prometheus text; every sample must belong to the family announced above it."""
    found, family, kind = {}, "", ""
    text = path.read_text()
    assert text.endswith("\n")
    for line in text.splitlines():
        if line.startswith("# HELP "):
            family = line.split(" ")[2]
            assert len(line.split(" ", 3)) == 4
        elif line.startswith("# TYPE "):
            assert line.split(" ")[2] == family
            kind = line.split(" ")[3]
            assert kind in ("counter", "gauge", "histogram")
        else:
            sample = SAMPLE.fullmatch(line)
            assert sample, line
            name, labels, value = sample.groups()
            assert name == family or (
                kind == "histogram" and name.removeprefix(family) in ("_bucket", "_sum", "_count")
            )
            assert (kind == "counter") is name.endswith("_total")
            assert name + (labels or "") not in found
            found[name + (labels or "")] = float(value)
    return found


def test_the_metrics_are_prometheus_text_and_count_everything(inbox: Path, out: Path, tmp_path: Path) -> None:
    file = tmp_path / "station.prom"
    for name, contents in (("a", b"1"), ("b", b"2"), ("c", b"2"), ("d", b"bad")):
        (inbox / name).write_bytes(contents)
    assert once(inbox, out, metrics_file=file) == 0
    found = _metrics(file)
    wafers = {key: n for key, n in found.items() if key.startswith("wafer_tf_wafers_total")}
    assert wafers.pop('wafer_tf_wafers_total{label="Scratch",decision="defect"}') == 2
    assert len(wafers) == 4 * len(CLASSES) - 1
    assert not any(wafers.values()), "a class not seen yet must be there at zero, or its first wafer is no increase"
    assert found["wafer_tf_rejected_total"] == found["wafer_tf_duplicates_total"] == 1
    assert found["wafer_tf_queue_wafers"] == 0
    assert found[f'wafer_tf_info{{bundle_sha256="{BUNDLE}"}}'] == 1
    assert abs(found["wafer_tf_last_record_timestamp_seconds"] - time.time()) < 3600
    buckets = [n for key, n in found.items() if key.startswith("wafer_tf_judge_seconds_bucket")]
    assert buckets == sorted(buckets)
    assert (buckets[0], buckets[1], buckets[-1]) == (1, 3, 3)  # 0.5, 2 and 2 ms; bounds 1 and 2 ms, included
    assert found["wafer_tf_judge_seconds_count"] == 3
    assert found["wafer_tf_judge_seconds_sum"] == pytest.approx(0.0045)
    assert [path.name for path in tmp_path.iterdir() if "prom" in path.name] == ["station.prom"]
    (inbox / "a").write_bytes(b"1")
    assert once(inbox, out, metrics_file=file) == 0
    assert _metrics(file)["wafer_tf_known_total"] == 1
    assert _metrics(file)["wafer_tf_judge_seconds_count"] == 0, "counters begin with the process"


def test_the_counts_are_said_again_and_again(inbox: Path, out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (inbox / "a").write_bytes(b"1")
    (inbox / "b").write_bytes(b"bad")
    said = []

    def twice() -> bool:
        said.extend(capsys.readouterr().err.splitlines())
        return (
            sum("2 seen: 1 ok, 1 rejected, 0 duplicates, 0 recorded before; Scratch 1; 0 waiting" in s for s in said)
            > 1
        )

    with Running(inbox, out, report_s=0.05):
        wait_for(twice, "the counter lines")
    assert any("median 2.0 ms" in line for line in said)


def test_the_station_gives_a_hot_folder_the_records_that_classify_gives(
    bundle_path: Path, inbox: Path, out: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    from edge.station.__main__ import main

    maps = synthesize(1, seed=3).wafers
    for number in range(len(maps)):
        np.save(inbox / f"w{number}.npy", maps.map(number))
    (inbox / "text.csv").write_text("0,1,0\n1,2,1\n0,1,0\n")
    (inbox / "torn.npy").write_bytes((inbox / "w0.npy").read_bytes()[:-9])
    np.savez(
        inbox / "set.npz",
        flat=maps.flat,
        offsets=maps.offsets,
        shapes=maps.shapes,
        lot=["a"] * len(maps),
        wafer_index=np.arange(len(maps)),
    )
    files = sorted(names(inbox))
    assert main(["classify", *(str(inbox / name) for name in files), "--bundle", str(bundle_path)]) == 0
    expected = [json.loads(line.replace(f"{inbox}/", "")) for line in capfd.readouterr().out.splitlines()]
    flags = ["--bundle", str(bundle_path), "--once", "--settle", "0", "--poll", "0.01"]
    assert main(["watch", str(inbox), "--out", str(out), *flags]) == 0
    found = sorted(_records(out).values(), key=lambda record: (record["file"], record["map"]))
    assert len(found) == len(files) - 1 + len(maps)
    for record, known in zip(found, expected, strict=True):
        assert record["maps"] == (len(maps) if record["file"] == "set.npz" else 1), "known to classify only at the end"
        assert record | {"ms": None, "maps": None} == known | {"ms": None}
    assert names(inbox / "quarantine") == {"torn.npy", "torn.npy.reason.txt"}
    assert not names(inbox)


@pytest.mark.parametrize(
    ("out_name", "flags", "code", "says"),
    [
        ("in", {}, 2, "expected a folder of its own"),
        ("in/done", {}, 2, "expected a folder of its own"),
        ("file", {}, 4, "File exists"),
        ("out", {"poll_s": 0.0}, 2, "--poll 0"),
        ("out", {"settle_s": float("nan")}, 2, "--settle nan"),
    ],
)
def test_a_wrong_call_ends_with_one_clear_line_and_its_exit_code(
    out_name: str,
    flags: dict[str, float],
    code: int,
    says: str,
    inbox: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "file").write_bytes(b"")
    (inbox / "w").write_bytes(b"1")
    assert once(inbox, tmp_path / out_name, **flags) == code
    assert says in capsys.readouterr().err
    assert [path.name for path in inbox.iterdir()] == ["w"]


def test_an_in_folder_that_is_not_there_ends_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert once(tmp_path / "typo", tmp_path / "out") == 4
    assert "typo: no such folder" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_the_hot_folder_needs_nothing_beyond_numpy_and_the_standard_library() -> None:
    code = (
        "import sys, edge.station.hot_folder.watch\n"
        "found = {name.split('.')[0] for name, module in sys.modules.items()\n"
        "         if 'site-packages' in (getattr(module, '__file__', None) or '')}\n"
        "assert found <= {'numpy', '_distutils_hack'}, found"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr


def test_watch_can_run_outside_the_main_thread(inbox: Path, out: Path) -> None:
    (inbox / "w.txt").write_bytes(b"one")
    codes = []
    thread = threading.Thread(
        target=lambda: codes.append(
            watch(inbox, out, judge, bundle_sha256=BUNDLE, once=True, settle_s=0.0, poll_s=0.01)
        )
    )
    thread.start()
    thread.join()
    assert codes == [0]
