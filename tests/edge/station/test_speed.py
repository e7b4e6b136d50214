"""How fast the station is, on a clock of the test's own."""

import dataclasses
import io
import json
import os
import platform
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edge.station import speed
from edge.station.records import rejected
from edge.station.speed import Timing, format_timing, measure
from tests import ROOT
from tests.station import npy, npz
from wafer_tf.encoding import encode
from wafer_tf.errors import InputError

GRIDS = tuple(np.random.default_rng(k).integers(1, 3, (4, 4 + k)).astype(np.uint8) for k in range(3))


class Fake:
    """A classifier that takes 3 ms for the whole path and 2 ms for the model alone; 10 and 5 on every 50th call."""

    def __init__(self) -> None:
        self.now = 0.0
        self.judged: list[bytes] = []
        self.inferred: list[int] = []
        self.bundle = SimpleNamespace(golden=SimpleNamespace(grids=GRIDS), input_size=32, sha256="ab" * 32)
        self.tflite = self
        self.xnnpack = False

    def judge(self, data: bytes, name: str) -> list[dict[str, Any]]:
        self.judged.append(data)
        self.now += 0.010 if len(self.judged) % 50 == 0 else 0.003
        return [rejected(name, "?", input_sha256=None, bundle_sha256="b")]

    def feed(self, planes: NDArray[np.uint8]) -> int:
        self.now += 1
        (k,) = (k for k, grid in enumerate(GRIDS) if np.array_equal(encode(grid, 32), planes))
        return k

    def infer(self, fed: int) -> None:
        self.inferred.append(fed)
        self.now += 0.005 if len(self.inferred) % 50 == 0 else 0.002


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Fake:
    fake = Fake()
    monkeypatch.setattr(speed, "perf_counter", lambda: fake.now)
    monkeypatch.setattr(speed, "_seconds_since_start", lambda: 0.25 + len(fake.judged))
    monkeypatch.setattr(speed, "_resident_mb", lambda: 56.5)
    return fake


def test_both_times_are_taken_of_each_map_after_a_warm_up(fake: Fake) -> None:
    found = measure(fake, [], count=100, threads=3)  # type: ignore[arg-type]
    assert len(fake.judged) == 1 + 50 + 100
    assert fake.inferred == [k % 3 for k in range(-50, 100)]
    assert [np.load(io.BytesIO(data)).shape for data in fake.judged[1:4]] == [
        GRIDS[k % 3].shape for k in (-50, -49, -48)
    ]
    assert found.maps == 100
    assert found.inference_ms == (2.0, 5.0)
    assert found.path_ms == (3.0, 10.0)
    assert found.ratio == 1.5
    assert found.maps_per_s == round(100 / (98 * 0.003 + 2 * 0.010), 1)
    assert found.first_label_s == 1.25, "after the first map"
    assert found.memory_mb == 56.5
    assert (found.threads, found.xnnpack, found.bundle_sha256) == (3, False, "ab" * 32)
    assert found.machine == f"{speed.processor()}, {os.cpu_count()} cores, {platform.system()}"
    assert found.versions == {"python": platform.python_version()} | {
        name: version(name) for name in ("numpy", "ai-edge-litert")
    }


def test_the_files_given_are_measured_with_again_and_again(fake: Fake) -> None:
    files = [npy(GRIDS[1]), npy(GRIDS[0])]
    assert measure(fake, files, count=3, threads=1).maps == 3  # type: ignore[arg-type]
    assert fake.judged == [files[0]] + [files[k % 2] for k in range(-50, 3)]
    assert fake.inferred == [1 - k % 2 for k in range(-50, 3)]


def test_files_of_no_map_or_of_many_cannot_be_measured_with(fake: Fake) -> None:
    with pytest.raises(InputError, match="bench: empty"):
        measure(fake, [b""], count=1, threads=1)  # type: ignore[arg-type]
    many = npz(
        flat=np.ones(18, np.uint8),
        offsets=np.array([0, 9, 18]),
        shapes=np.full((2, 2), 3),
        lot=np.array(["L", "L"]),
        wafer_index=np.array([1, 2]),
    )
    with pytest.raises(InputError, match="a file of 2 maps; expected files of one map each"):
        measure(fake, [many], count=1, threads=1)  # type: ignore[arg-type]


TIMING = Timing(
    maps=1000,
    inference_ms=(1.3094, 2.0),
    path_ms=(1.8, 2.25),
    ratio=1.375,
    maps_per_s=540.5,
    first_label_s=0.342,
    memory_mb=56.4,
    threads=2,
    xnnpack=True,
    bundle_sha256="ab" * 32,
    machine="A processor, 2 cores, Linux",
    versions={"python": "3.11.7", "numpy": "2.4.6"},
)


def test_the_table_is_this() -> None:
    assert format_timing(TIMING).splitlines() == [
        "                            median         p99",
        "model alone               1.309 ms    2.000 ms",
        "whole path                1.800 ms    2.250 ms",
        "ratio                         1.38",
        "maps per second                540",
        "start to first label        0.34 s",
        "memory                       56 MB",
        "1000 maps, 2 thread(s), XNNPACK; A processor, 2 cores, Linux; python 3.11.7, numpy 2.4.6",
    ]


def test_what_the_system_does_not_tell_is_a_dash() -> None:
    text = format_timing(dataclasses.replace(TIMING, first_label_s=None, memory_mb=None, xnnpack=False))
    assert "start to first label             -\n" in text
    assert "memory                           -\n" in text
    assert ", no XNNPACK;" in text
    assert TIMING.to_json()["first_label_s"] == 0.342


@pytest.mark.skipif(sys.platform != "linux", reason="it reads /proc")
def test_age_and_memory_of_the_process_are_those_the_system_tells() -> None:
    program = (
        "import json, resource, time\n"
        "from edge.station import speed\n"
        "time.sleep(0.3)\n"
        "held = bytearray(80_000_000)\n"
        "print(json.dumps([speed._seconds_since_start(), speed._resident_mb(),\n"
        "                  resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024]))"
    )
    began = time.monotonic()
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, check=True)
    seconds, memory, most = json.loads(done.stdout)
    assert 0.3 <= seconds <= time.monotonic() - began + 0.05
    assert 80 < memory <= most + 1


def test_where_the_system_tells_nothing_nothing_is_made_up(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(self: Path, *args: Any) -> str:
        raise FileNotFoundError(self)

    monkeypatch.setattr(Path, "read_text", absent)
    assert speed._seconds_since_start() is None
    assert speed._resident_mb() is None
    assert speed.processor() == platform.machine()


def test_the_processor_is_called_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    files = {
        "/proc/cpuinfo": "processor\t: 0\nmodel name\t: A: fast one\nmodel name\t: other\n",
        "/proc/self/status": "Name:\tpython\nVmPeak:\t 999999 kB\nVmRSS:\t  51300 kB\n",
        "/proc/self/stat": "7 (a) name) S " + " ".join(map(str, range(1, 40))),
    }
    monkeypatch.setattr(Path, "read_text", lambda path: files[str(path)])
    assert speed.processor() == "A: fast one"
    assert speed._resident_mb() == 50.1
    monkeypatch.setattr(time, "clock_gettime", lambda clock: 100.126 if clock == time.CLOCK_BOOTTIME else 0.0)
    monkeypatch.setattr(os, "sysconf", lambda name: {"SC_CLK_TCK": 10}[name])
    assert speed._seconds_since_start() == 98.23  # field 22 of proc(5), the 19th after the state, is 19 ticks


def test_times_are_rounded_to_a_tenth_of_a_microsecond() -> None:
    assert speed._spread(np.array([0.00123456789] * 3)) == (1.2346, 1.2346)
    assert speed._spread(np.arange(101) / 1e3) == (50.0, 99.0)
