"""How fast the station is on this machine. Needs numpy and ai-edge-litert alone."""

import io
import os
import platform
import time
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.station.classifier import Classifier
from edge.station.inputs import find_maps
from edge.station.records import to_line
from wafer_tf.encoding import encode
from wafer_tf.errors import InputError

WARM_UP = 50


@dataclass(frozen=True)
class Timing:
    """What was measured, one map at a time.

    Attributes:
        maps: how many were judged.
        inference_ms: median and 99th percentile of the model alone, its input ready.
        path_ms: the same of the whole path: parse, encode, infer, record as a line.
        ratio: of the two medians. Both are measured in turn on each map, so that other load meets both.
        maps_per_s: one after another, by the mean of the whole path.
        first_label_s: from the start of the process to the first record; None where the system does not tell.
        memory_mb: resident at the end; None where the system does not tell.
        threads, xnnpack, bundle_sha256, machine, versions: what was measured.
    """

    maps: int
    inference_ms: tuple[float, float]
    path_ms: tuple[float, float]
    ratio: float
    maps_per_s: float
    first_label_s: float | None
    memory_mb: float | None
    threads: int
    xnnpack: bool
    bundle_sha256: str
    machine: str
    versions: dict[str, str]

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return asdict(self)


def measure(classifier: Classifier, files: list[bytes], *, count: int, threads: int) -> Timing:
    """Judge `count` maps, those of `files` again and again; without files, the bundle's golden maps as npy.

    Raises:
        InputError: a file holds no map that can be judged, or many.
    """
    files = files or [_npy(grid) for grid in classifier.bundle.golden.grids]
    classifier.judge(files[0], "bench")
    first_label_s = _seconds_since_start()
    fed = [classifier.tflite.feed(encode(_grid(data), classifier.bundle.input_size)) for data in files]
    inference, path = np.empty(count), np.empty(count)
    for i in range(-WARM_UP, count):
        k = i % len(files)
        started = perf_counter()
        to_line(classifier.judge(files[k], "bench")[0])
        judged = perf_counter()
        classifier.tflite.infer(fed[k])
        inferred = perf_counter()
        if i >= 0:
            path[i], inference[i] = judged - started, inferred - judged
    return Timing(
        maps=count,
        inference_ms=_spread(inference),
        path_ms=_spread(path),
        ratio=round(float(np.median(path) / np.median(inference)), 3),
        maps_per_s=round(1 / float(path.mean()), 1),
        first_label_s=first_label_s,
        memory_mb=_resident_mb(),
        threads=threads,
        xnnpack=classifier.xnnpack,
        bundle_sha256=classifier.bundle.sha256,
        machine=f"{processor()}, {os.cpu_count()} cores, {platform.system()}",
        versions={"python": platform.python_version()} | {name: version(name) for name in ("numpy", "ai-edge-litert")},
    )


def format_timing(timing: Timing) -> str:
    """Return the table people read."""
    first = "-" if timing.first_label_s is None else f"{timing.first_label_s:.2f} s"
    memory = "-" if timing.memory_mb is None else f"{timing.memory_mb:.0f} MB"
    rows = [
        ("", "median", "p99"),
        ("model alone", *(f"{ms:.3f} ms" for ms in timing.inference_ms)),
        ("whole path", *(f"{ms:.3f} ms" for ms in timing.path_ms)),
        ("ratio", f"{timing.ratio:.2f}", ""),
        ("maps per second", f"{timing.maps_per_s:.0f}", ""),
        ("start to first label", first, ""),
        ("memory", memory, ""),
    ]
    table = "\n".join(f"{name:<22}{median:>12}{p99:>12}".rstrip() for name, median, p99 in rows)
    used = ", ".join(f"{name} {number}" for name, number in timing.versions.items())
    delegate = "XNNPACK" if timing.xnnpack else "no XNNPACK"
    return f"{table}\n{timing.maps} maps, {timing.threads} thread(s), {delegate}; {timing.machine}; {used}"


def _grid(data: bytes) -> NDArray[np.uint8]:
    found = list(find_maps(data, "bench"))
    if len(found) != 1:
        raise InputError(f"bench: a file of {len(found)} maps; expected files of one map each.")
    if isinstance(found[0].grid, InputError):
        raise found[0].grid
    return found[0].grid


def _npy(grid: NDArray[np.uint8]) -> bytes:
    out = io.BytesIO()
    np.save(out, grid)
    return out.getvalue()


def _spread(seconds: NDArray[np.float64]) -> tuple[float, float]:
    return round(float(np.median(seconds)) * 1e3, 4), round(float(np.percentile(seconds, 99)) * 1e3, 4)


def _seconds_since_start() -> float | None:
    """Return the age of this process, where the system tells it (Linux)."""
    try:
        fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
        started = int(fields[19]) / os.sysconf("SC_CLK_TCK")
        return round(time.clock_gettime(time.CLOCK_BOOTTIME) - started, 2)
    except (OSError, AttributeError, ValueError, IndexError):
        return None


def _resident_mb() -> float | None:
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return None
    return next((round(int(line.split()[1]) / 1024, 1) for line in lines if line.startswith("VmRSS:")), None)


def processor() -> str:
    """Return the processor's name, where the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
