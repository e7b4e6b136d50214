"""How fast an STDF file of a tester's log becomes a map, and in how much memory.

    python -m benchmarks.stdf_speed [--mb 100] [--repeats 5] [--out benchmarks/stdf_speed.json]

Two logs of that size are written to a temporary folder and read, each time by a process of its own: one whose every
test record carries its text (PTR, FTR and MPR of 25 to 200 bytes), and one of the shortest records there are (PTR of 19
bytes, whose texts were told once). Four sites are tested at a time. The memory is the peak resident set of the process,
and what of it came on top of the interpreter with numpy.
"""

import json
import os
import platform
import random
import resource
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path

import numpy as np

from wafer_tf.command import CommandParser
from wafer_tf.formats.read import read_maps
from wafer_tf.formats.wafer_map import WaferMap

SITES = 4
TESTS = 100


def _record(typ: int, sub: int, body: bytes) -> bytes:
    return struct.pack("<HBB", len(body), typ, sub) + body


def _text(text: str) -> bytes:
    return bytes([len(text)]) + text.encode()


def _with_texts(rng: random.Random) -> list[Callable[[int, bool], bytes]]:
    """Return the tests of a program, each a function of the site and whether it fails, to a record."""
    words = ["Vdd", "Iddq", "continuity", "leakage", "pin", "scan", "mem_bist", "adc", "pll_lock", "at_speed", "low"]

    def test(number: int) -> Callable[[int, bool], bytes]:
        text = _text(" ".join(rng.choices(words, k=rng.randint(1, 6))) + f" {number}")
        kind, pins = rng.random(), rng.randint(2, 20)
        units, pattern = _text(rng.choice(["V", "mA", "uA", "MHz"])), _text(f"pat_{number}")
        limits = bytes(3) + struct.pack("<ff", 0.5, 1.5) + units

        def ptr(site: int, fails: bool) -> bytes:
            head = struct.pack("<IBBBBf", number, 1, site, 128 * fails, 192, rng.random())
            return _record(15, 10, head + text + b"\0\2" + limits)

        def ftr(site: int, fails: bool) -> bytes:
            head = struct.pack("<IBBBB", number, 1, site, 128 * fails, 0)
            return _record(15, 20, head + bytes(30) + (bytes(3 * pins) if fails else b"") + pattern + text)

        def mpr(site: int, fails: bool) -> bytes:
            head = struct.pack("<IBBBBHH", number, 1, site, 128 * fails, 192, 0, pins)
            return _record(15, 15, head + struct.pack(f"<{pins}f", *[0.25] * pins) + text + b"\0\2" + limits)

        return ptr if kind < 0.7 else ftr if kind < 0.9 else mpr

    return [test(number) for number in range(TESTS)]


def _bare(rng: random.Random) -> list[Callable[[int, bool], bytes]]:
    def test(number: int) -> Callable[[int, bool], bytes]:
        return lambda site, fails: _record(
            15, 10, struct.pack("<IBBBBf", number, 1, site, 128 * fails, 192, rng.random()) + b"\0\0\2"
        )

    return [test(number) for number in range(TESTS)]


LOGS = {"with texts": _with_texts, "shortest records": _bare}


def write_log(path: Path, size: int, tests: list[Callable[[int, bool], bytes]], rng: random.Random) -> dict[str, float]:
    """Write a log of one wafer of about `size` bytes, and return what is in it."""
    written = results = test_bytes = dies = 0
    side = 400
    with path.open("wb") as file:
        mir = struct.pack("<IIB3sH1s", 0, 10**9, 1, b"P  ", 65535, b" ") + b"".join(map(_text, ("LOT", "PART")))
        wcr = struct.pack("<fffB1shh2s", 200, 1, 1, 3, b"D", 0, 0, b"RD")
        start = [(0, 10, b"\2\4"), (1, 10, mir), (2, 30, wcr), (2, 10, struct.pack("<BBI", 1, 255, 10**9) + _text("1"))]
        written += file.write(b"".join(_record(*record) for record in start))
        while written < size:
            sites = range(1, SITES + 1)
            file.write(begun := b"".join(_record(5, 10, bytes([1, site])) for site in sites))
            failing = {site: rng.randrange(TESTS) if rng.random() < 0.1 else TESTS for site in sites}
            piece = b"".join(
                test(site, number == failing[site])
                for number, test in enumerate(tests)
                for site in sites
                if number <= failing[site]  # a die that fails is tested no further
            )
            results += sum(min(last + 1, TESTS) for last in failing.values())
            test_bytes += len(piece)
            for site in sites:
                fails = failing[site] < TESTS
                at = dies % side, dies // side
                dies += 1
                head = struct.pack("<BBBHHHhhI", 1, site, 8 * fails, TESTS, 1 + 4 * fails, 1, *at, 99)
                piece += _record(5, 20, head + _text(str(dies)) + b"\0\0")
            written += len(begun) + file.write(piece)
        end = struct.pack("<BBIIII", 1, 255, 10**9, dies, 2**32 - 1, 2**32 - 1)
        written += file.write(_record(2, 20, end) + _record(1, 20, struct.pack("<I", 10**9)))
    return {
        "bytes": written,
        "dies": dies,
        "test_records": results,
        "test_bytes_share": round(test_bytes / written, 3),
        "mean_test_record_bytes": round(test_bytes / results, 1),
    }


def measure(path: Path) -> None:
    """Read the log once, and print how long it took and the memory."""
    before = _peak_mb()
    started, cpu = time.perf_counter(), time.process_time()
    with path.open("rb") as stream:
        dies = [int(np.count_nonzero(w.grid)) for w in read_maps(stream, path).wafers if isinstance(w, WaferMap)]
    seconds, cpu_s = time.perf_counter() - started, time.process_time() - cpu
    print(json.dumps({"s": seconds, "cpu_s": cpu_s, "before_mb": before, "peak_mb": _peak_mb(), "dies": dies}))


def main() -> None:
    p = CommandParser("python -m benchmarks.stdf_speed", __doc__)
    p.add_argument("--mb", type=int, default=100)
    p.add_argument("--repeats", type=int, default=5)
    p.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".json"))
    args = p.parse_args()
    rows = {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "log.stdf"
        for name, tests in LOGS.items():
            rng = random.Random(0)
            log = write_log(path, args.mb * 10**6, tests(rng), rng)
            command = [sys.executable, "-m", "benchmarks.stdf_speed", "--read", str(path)]
            runs = [
                json.loads(subprocess.run(command, check=True, capture_output=True).stdout) for _ in range(args.repeats)
            ]
            if any(run["dies"] != [log["dies"]] for run in runs):
                raise RuntimeError(f"{name}: {log['dies']} dies were written; read were {runs}")
            rates = sorted(log["bytes"] / 1e6 / run["s"] for run in runs)
            rows[name] = {
                **log,
                "mb_per_s_median": round(rates[len(rates) // 2]),
                "mb_per_s_best": round(rates[-1]),
                "mb_per_cpu_s_best": round(max(log["bytes"] / 1e6 / run["cpu_s"] for run in runs)),
                "peak_mb": round(max(run["peak_mb"] for run in runs), 1),
                "on_top_mb": round(max(run["peak_mb"] - run["before_mb"] for run in runs), 1),
            }
    result = {
        "date": str(date.today()),
        "machine": _machine(),
        "cores": os.cpu_count(),
        "load_average": round(os.getloadavg()[0], 1),
        "versions": {"python": platform.python_version(), "numpy": np.__version__},
        "logs": rows,
    }
    args.out.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


def _machine() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    if sys.argv[1:2] == ["--read"]:
        measure(Path(sys.argv[2]))
    else:
        main()
