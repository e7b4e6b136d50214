"""When the metrics file is written."""

import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from edge.station.hot_folder import status
from edge.station.hot_folder.status import Status


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
