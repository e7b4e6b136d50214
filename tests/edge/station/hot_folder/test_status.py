"""When the metrics file is written."""

import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from edge.station.hot_folder import faults, status
from edge.station.hot_folder.status import Status
from wafer_tf.errors import InputError


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """The time that a Status sees; `now` moves it."""
    clock = SimpleNamespace(now=1000.0)
    monkeypatch.setattr(status, "time", SimpleNamespace(monotonic=lambda: clock.now, strftime=time.strftime))
    return clock


def _written(station: Status, file: Path, *, waiting: int = 0) -> bool:
    file.unlink(missing_ok=True)
    station.tell(waiting)
    return file.exists()


def test_metrics_are_renewed_while_nothing_changes(tmp_path: Path, clock: SimpleNamespace) -> None:
    file = tmp_path / "station.prom"
    station = Status("ab" * 32, metrics_file=file, report_s=3600, first_retry_s=1)
    assert _written(station, file)
    clock.now += 14.9
    assert not _written(station, file)
    clock.now += 0.2
    assert _written(station, file), "a scraper takes a file that is not renewed for a station that stands still"


def test_metrics_that_change_are_written_once_a_second(tmp_path: Path, clock: SimpleNamespace) -> None:
    file = tmp_path / "station.prom"
    station = Status("ab" * 32, metrics_file=file, report_s=3600, first_retry_s=1)
    assert _written(station, file)
    clock.now += 0.9
    assert not _written(station, file, waiting=1)
    clock.now += 0.2
    assert _written(station, file, waiting=1)


def test_the_last_metrics_are_written_at_once(tmp_path: Path, clock: SimpleNamespace) -> None:
    file = tmp_path / "station.prom"
    station = Status("ab" * 32, metrics_file=file, report_s=3600, first_retry_s=1)
    assert _written(station, file)
    file.unlink()
    station.tell(0, last=True)
    assert file.exists()


def _said(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """What was said since the last call, without the times."""
    return [line[20:] for line in capsys.readouterr().err.splitlines()]


def test_the_counts_are_said_once_a_minute_and_at_the_end(
    clock: SimpleNamespace, capsys: pytest.CaptureFixture[str]
) -> None:
    station = Status("ab" * 32, metrics_file=None, report_s=60, first_retry_s=1)
    station.fail("OUT", OSError(28, "No space left on device", "records.jsonl"))
    _said(capsys)
    clock.now += 59.9
    station.tell(5)
    assert _said(capsys) == []
    clock.now += 0.1
    station.tell(5)
    counts, reminder = _said(capsys)
    assert counts == "0 seen: 0 ok, 0 rejected, 0 duplicates, 0 recorded before; 5 waiting"
    assert reminder.startswith("OUT: still records.jsonl: No space left on device, for ")
    clock.now += 59.9
    station.tell(5)
    assert _said(capsys) == [], "the minute begins with the last line"
    station.tell(0, last=True)
    assert len(_said(capsys)) == 2


def test_what_is_said_bears_the_time(capsys: pytest.CaptureFixture[str]) -> None:
    status.say("a word")
    line = capsys.readouterr().err
    assert line.endswith(" a word\n")
    assert abs(time.mktime(time.strptime(line[:19], "%Y-%m-%d %H:%M:%S")) - time.time()) < 60


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (OSError(28, "No space left on device", "out/records.jsonl"), "out/records.jsonl: No space left on device"),
        (OSError(28, "No space left on device"), "No space left on device"),
        (OSError("odd"), "OSError: odd"),
        (InputError("map W1: 9 cells."), "map W1: 9 cells."),
        (MemoryError("none\n  left"), "MemoryError: none left"),
        (RuntimeError("x" * 400), "RuntimeError: " + "x" * 286),
    ],
)
def test_an_error_is_one_short_line(error: Exception, says: str, capsys: pytest.CaptureFixture[str]) -> None:
    station = Status("ab" * 32, metrics_file=None, report_s=60, first_retry_s=1)
    station.fail("moving", error)
    assert _said(capsys) == [f"moving: {says}; it is tried again until it works"]


def test_failures_are_counted_by_the_first_word_of_their_place(tmp_path: Path) -> None:
    file = tmp_path / "station.prom"
    station = Status("ab" * 32, metrics_file=file, report_s=60, first_retry_s=1)
    for place in ("IN", "OUT", "OUT", "file 'a b'", "file 'c'", "moving"):
        station.fail(place, OSError("odd"))
    assert station.counts.errors == {"in": 1, "out": 2, "file": 2, "moving": 1}
    station.faults.clear("OUT")
    station.tell(0, last=True)
    text = file.read_text()
    assert [f'wafer_tf_fault{{kind="{kind}"}} {n}' in text for kind, n in (("in", 1), ("out", 0), ("file", 1))] == [
        True
    ] * 3


def test_metrics_that_cannot_be_written_are_a_fault_that_is_tried_again_when_it_is_due(
    tmp_path: Path, clock: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(faults, "monotonic", lambda: clock.now)
    tries: list[Path] = []
    real = status.write_whole

    def write(path: Path, text: str, *, durable: bool) -> None:
        assert durable is False, "an fsync a second for what is written anew at the next start"
        tries.append(path)
        real(path, text, durable=durable)

    monkeypatch.setattr(status, "write_whole", write)
    file = tmp_path / "later" / "station.prom"
    station = Status("ab" * 32, metrics_file=file, report_s=3600, first_retry_s=5)
    station.tell(0)
    assert "metrics" in station.faults
    assert station.counts.errors["metrics"] == 1
    assert "No such file or directory" in _said(capsys)[-1]
    clock.now += 4.9
    station.tell(0)
    assert len(tries) == 1, "it is not due"
    file.parent.mkdir()
    clock.now += 0.2
    station.tell(0)
    assert len(tries) == 2
    assert "metrics" not in station.faults
    assert _said(capsys)[-1] == "metrics: works again after 5 s"
    clock.now += 1.0
    station.tell(0)
    assert 'wafer_tf_fault{kind="metrics"} 0' in file.read_text(), "what had changed is written a second later"
    clock.now += 1.0
    station.tell(0)
    assert len(tries) == 3, "nothing has changed"
