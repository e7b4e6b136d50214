"""The station's jobs within this process, to the letter of what they print."""

import contextlib
import io
import json
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge.station import inputs
from edge.station.__main__ import main
from tests.station import npy, synthetic, text
from wafer_tf.bundle import load_bundle
from wafer_tf.released import released

NANO = load_bundle(released("nano") / "bundle")
GRID = synthetic(1)[0]


@pytest.fixture
def stdin(tmp_path: Path) -> Iterator[Any]:
    """Make bytes the standard input of this process, whose file descriptor it is."""
    kept = os.dup(0)

    def give(data: bytes) -> None:
        (tmp_path / "stdin").write_bytes(data)
        fd = os.open(tmp_path / "stdin", os.O_RDONLY)
        os.dup2(fd, 0)
        os.close(fd)

    yield give
    os.dup2(kept, 0)
    os.close(kept)


def test_classify_prints_records_and_says_how_many_of_what(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.npy").write_bytes(npy(GRID))
    Path("bad").write_bytes(b"no map")
    flags = ["--bundle", "nano", "--review-below", "0", "--unknown-above", "1"]
    assert main(["classify", "bad", "a.npy", "bad", "absent", *flags]) == 0
    told = capsys.readouterr()
    found = [json.loads(line) for line in told.out.splitlines()]
    assert [record["id"] for record in found] == ["bad", "a.npy", "bad", "absent"]
    assert found[3]["reason"] == "absent: cannot be read (No such file or directory); expected a file of wafer maps."
    assert (found[3]["input_sha256"], found[3]["ms"], found[3]["bundle_sha256"]) == (None, 0.0, NANO.sha256)
    assert found[1]["ms"] > 0
    assert told.err.splitlines()[-1] == "4 maps: 1 defect, 3 rejected"
    assert main(["classify", "bad", "a.npy", "--strict", *flags]) == 4
    assert main(["classify", "a.npy", "--strict", *flags]) == 0
    capsys.readouterr()
    assert main(["classify", "a.npy", "--bundle", "nano", "--review-below", "1", "--unknown-above", "1"]) == 0
    assert capsys.readouterr().err.splitlines()[-1] == "1 maps: 1 review"


def test_a_pipe_is_read_only_as_far_as_shows_that_it_is_too_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(inputs, "MAX_BYTES", 100_000)
    os.mkfifo(tmp_path / "pipe")

    def write() -> None:
        with contextlib.suppress(BrokenPipeError), (tmp_path / "pipe").open("wb") as pipe:
            pipe.write(b"1,1,1\n" * 1_000_000)

    writer = threading.Thread(target=write)
    writer.start()
    with inputs.open_input(str(tmp_path / "pipe")) as file:
        assert len(file.read()) == 100_001
    writer.join()


def test_a_pipe_of_a_map_is_judged_like_a_file_of_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "file").write_bytes(npy(GRID))
    writer = threading.Thread(target=(tmp_path / "pipe").write_bytes, args=(npy(GRID),))
    writer.start()
    assert main(["classify", str(tmp_path / "pipe"), str(tmp_path / "file"), "--bundle", "nano"]) == 0
    writer.join()
    first, second = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert first["probabilities"] == second["probabilities"]
    assert first["input_sha256"] == first["file_sha256"] == second["file_sha256"]


def test_standard_input_is_numbered_and_stays_open(stdin: Any, capsys: pytest.CaptureFixture[str]) -> None:
    stdin(text(GRID) + b"\n" + b"nothing\n\n" + text(GRID))
    assert main(["classify", "-", "--bundle", "nano"]) == 0
    told = capsys.readouterr()
    assert [json.loads(line)["id"] for line in told.out.splitlines()] == ["stdin:0", "stdin:1", "stdin:2"]
    os.fstat(0)
    stdin(b"")
    assert main(["classify", "-", "--bundle", "nano"]) == 0
    told = capsys.readouterr()
    assert (told.out, told.err.splitlines()[-1]) == ("", "0 maps")


def test_standard_input_twice_is_wrong_and_nothing_is_read(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["classify", "-", "-", "--bundle", "nano"]) == 2
    assert "standard input can be read only once" in capsys.readouterr().err


def test_each_record_is_flushed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Out(io.StringIO):
        flushed = 0

        def flush(self) -> None:
            self.flushed = self.getvalue().count("\n")

    (tmp_path / "a.npy").write_bytes(npy(GRID))
    out = Out()
    monkeypatch.setattr(sys, "stdout", out)
    assert main(["classify", *[str(tmp_path / "a.npy")] * 3, "--bundle", "nano"]) == 0
    assert out.flushed == out.getvalue().count("\n") == 3


def test_selftest_prints_what_it_checked(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["selftest", "--bundle", "nano"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"bundle    {NANO.sha256}: every file as it was written",
        "signature not asked for (--require-signature)",
        f"release   {NANO.release}",
        "gate      passed",
        "model     int8, input and output as stated, XNNPACK on",
        f"golden    {len(NANO.golden.grids)} maps, outputs at most 0 steps from the gate's",
        "decision  turns the golden logits into the gate's probabilities",
        f"unknown   a score, of {NANO.features.shape[1]} features",
        "patterns  not told in this bundle: one label a wafer",
        f"points    {', '.join(NANO.points)}",
        f"sets      hold {NANO.sets.coverage:.0%} of each class's wafers",
    ]


def test_bench_takes_the_count_the_files_and_the_threads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from edge.station import speed

    asked: list[Any] = []
    real = speed.measure

    def measure(classifier: Any, files: list[bytes], **options: Any) -> Any:
        asked.append((files, options))
        return real(classifier, files, **options)

    monkeypatch.setattr(speed, "measure", measure)
    monkeypatch.setattr(speed, "WARM_UP", 1)
    (tmp_path / "a").write_bytes(npy(GRID))
    flags = ["--bundle", "nano", "--threads", "2"]
    assert main(["bench", str(tmp_path / "a"), "--count", "1", "--json", *flags]) == 0
    assert asked == [([npy(GRID)], {"count": 1, "threads": 2})]
    out = capsys.readouterr().out
    assert out.startswith('{\n  "maps": 1,\n')
    assert json.loads(out)["threads"] == 2
    assert main(["bench", "--count", "2", *flags]) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("2 maps, 2 thread(s), XNNPACK; ")
    assert main(["bench", "--count", "0", *flags]) == 2


def test_watch_judges_with_the_bundle_that_the_flags_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from edge.station.hot_folder import watch as watching
    from edge.station.hot_folder.bundle_on_disk import BundleOnDisk

    asked: dict[str, Any] = {}

    def watch(inbox: Path, out: Path, judge: Any, **options: Any) -> int:
        options.pop("prepare")(b"a tool's file")  # starts its reader, which the command ends
        asked.update(inbox=inbox, out=out, records=list(judge(npy(GRID), "w")), **options)
        return 7

    monkeypatch.setattr(watching, "watch", watch)
    words = ["watch", "in", "--out", "o", "--poll", "0.5", "--settle", "3", "--metrics-file", "m", "--once"]
    assert main([*words, "--unknown-to", "strange", "--bundle", "nano"]) == 7
    (record,) = asked.pop("records")
    assert (record["id"], record["status"]) == ("w", "ok")
    assert isinstance(asked.pop("bundle"), BundleOnDisk)
    assert asked == {
        "inbox": Path("in"),
        "out": Path("o"),
        "bundle_sha256": NANO.sha256,
        "poll_s": 0.5,
        "settle_s": 3.0,
        "metrics_file": Path("m"),
        "unknown_to": Path("strange"),
        "once": True,
    }


def test_threads_of_numpy_are_left_to_the_tool_unless_a_user_says_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENBLAS_NUM_THREADS", raising=False)
    assert main(["selftest", "--bundle", "nano"]) == 0
    assert os.environ["OPENBLAS_NUM_THREADS"] == "1"
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "4")
    assert main(["selftest", "--bundle", "nano"]) == 0
    assert os.environ["OPENBLAS_NUM_THREADS"] == "4"


def test_the_command_line_is_that_of_the_process_where_none_is_given(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["station", "selftest", "--bundle", "nano"])
    assert main() == 0
    assert NANO.sha256 in capsys.readouterr().out


def test_the_answer_does_not_depend_on_the_array_s_number_type(capsys: pytest.CaptureFixture[str], stdin: Any) -> None:
    stdin(npy(GRID) + npy(GRID.astype(np.int64)) + npy(GRID.astype(float)))
    assert main(["classify", "-", "--bundle", "nano"]) == 0
    found = [json.loads(line)["probabilities"] for line in capsys.readouterr().out.splitlines()]
    assert found[0] == found[1] == found[2]
