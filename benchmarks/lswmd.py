"""Measure the conversion of a full-size LSWMD.pkl to Parquet against a bare allow-list unpickler on the same file.

    python -m benchmarks.lswmd                       # makes the 2 GB look-alike in a temporary folder
    python -m benchmarks.lswmd --file LSWMD.pkl      # uses this file; made there first if it is absent

Writes benchmarks/lswmd.json. Both sides run alone, each in a process of its own, one after the other.
"""

import argparse
import datetime
import json
import os
import pickle
import platform
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

from wafer_tf.command import CommandParser

ROOT = Path(__file__).parents[1]
SHARED = ROOT.parent / "shared"
ROWS = 811_457
MAX_TIME_RATIO, MAX_MEMORY_RATIO = 3.0, 2.0
READING = ("by-pattern", "by-opcode")
ALLOWED = {
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("pandas.core.frame", "DataFrame"),
    ("pandas.core.internals", "BlockManager"),
    ("pandas.indexes.base", "_new_Index"),
    ("pandas.indexes.base", "Index"),
    ("pandas.indexes.range", "RangeIndex"),
}


class Stand:
    """Takes the place of a pandas class: holds what it is given."""

    def __new__(cls, *_: object) -> "Stand":
        return object.__new__(cls)

    def __setstate__(self, state: Any) -> None:
        self.state = state


class Bare(pickle.Unpickler):
    """The unpickler to compare with: an allow-list, numpy's own arrays, nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in ALLOWED:
            raise pickle.UnpicklingError(f"{module}.{name} is not allowed")
        if module.startswith("numpy"):
            import numpy

            return {"ndarray": numpy.ndarray, "dtype": numpy.dtype}.get(name) or numpy._core.multiarray._reconstruct
        return Stand


def load_bare(path: Path) -> None:
    """Load the whole file with `Bare`."""
    with path.open("rb") as stream:
        Bare(stream, encoding="latin1").load()


def read_alone(path: Path, *, fast: bool) -> None:
    """Read all maps and write nothing, with or without passing over arrays by pattern (readers/fastarrays.py)."""
    from wafer_tf.readers.lswmd import open_lswmd

    with open_lswmd(path, fast=fast) as source:
        for _ in source.batches():
            pass


def measured(arguments: list[str]) -> dict[str, float]:
    """Run a Python process to its end and return seconds, processor seconds and peak memory."""
    begun = time.perf_counter()
    process = subprocess.Popen([sys.executable, *arguments], cwd=ROOT, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status != 0:
        raise SystemExit(f"{' '.join(arguments)} failed with status {status}")
    return {
        "seconds": round(time.perf_counter() - begun, 2),
        "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 2),
        "peak_rss_bytes": usage.ru_maxrss * 1024,
    }


def make(path: Path, rows: int) -> None:
    """Write the look-alike, unless it is there."""
    if not path.exists():
        maps = SHARED / "data" / "wm811k" / "wm811k_dev.npz"
        tool = SHARED / "tools" / "make_lswmd.py"
        subprocess.run([sys.executable, str(tool), str(maps), str(path), "--rows", str(rows)], check=True)


def machine() -> dict[str, Any]:
    """Return processor, cores and memory."""
    model = [
        line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line
    ]
    return {
        "cpu": model[0] if model else platform.processor(),
        "cores": os.cpu_count(),
        "ram_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "load_average_at_start": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        **{name: version(name) for name in ("numpy", "pandas", "pyarrow")},
    }


def main() -> None:
    """Run the benchmark and write its result."""
    parser = CommandParser("python -m benchmarks.lswmd", __doc__)
    parser.add_argument("--file", type=Path, help="an LSWMD.pkl; made if absent")
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "lswmd.json")
    parser.add_argument("--bare", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--by-pattern", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--by-opcode", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.bare:
        load_bare(args.bare)
        return
    if args.by_pattern or args.by_opcode:
        read_alone(args.by_pattern or args.by_opcode, fast=args.by_opcode is None)
        return
    with tempfile.TemporaryDirectory() as folder:
        path = (args.file or Path(folder) / "LSWMD.pkl").resolve()
        make(path, args.rows)
        about = machine()
        bare = measured([str(Path(__file__).resolve()), "--bare", str(path)])
        reading = {how: measured([str(Path(__file__).resolve()), f"--{how}", str(path)]) for how in READING}
        target = Path(folder) / "out.parquet"
        ours = measured(["-m", "wafer_tf.readers", str(path), str(target)])
        size = path.stat().st_size
        result = {
            "date": datetime.datetime.now(tz=datetime.UTC).date().isoformat(),
            "command": "python -m benchmarks.lswmd",
            "file_bytes": size,
            "parquet_bytes": target.stat().st_size,
            "bare_unpickler": bare,
            "reading_alone": reading,
            "conversion": ours,
            "time_ratio": round(ours["seconds"] / bare["seconds"], 3),
            "cpu_time_ratio": round(ours["cpu_seconds"] / bare["cpu_seconds"], 3),
            "peak_memory_to_file_ratio": round(ours["peak_rss_bytes"] / size, 3),
            "limits": {"time_ratio": MAX_TIME_RATIO, "peak_memory_to_file_ratio": MAX_MEMORY_RATIO},
            "memory_is": "ru_maxrss of the process: everything resident, pages of the mapped file included",
            "machine": about,
        }
    args.out.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))
    if result["time_ratio"] > MAX_TIME_RATIO or result["peak_memory_to_file_ratio"] > MAX_MEMORY_RATIO:
        raise SystemExit("over the limit")


if __name__ == "__main__":
    main()
