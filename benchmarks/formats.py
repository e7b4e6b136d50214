"""How fast a map of each format is read, in how much memory, and what is found in real files.

    python -m benchmarks.formats [--side 500] [--repeats 3] [--real ../shared/data/formats]

One round wafer of that many dies a side is written in every format and read, each time by a process of its own. The
memory is what the process needs at its peak on top of the interpreter with numpy and the file. Then every real file is
read, and its wafers listed. Writes formats.json.
"""

import gzip
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wafer_tf.command import CommandParser
from wafer_tf.errors import InputError
from wafer_tf.formats.read import read_maps

TSK_SIDE = 400
"""Its columns are counted in nine bits."""


def files(grid: NDArray[np.uint8]) -> dict[str, Callable[[], bytes]]:
    """Return how to write a map, (rows, cols) uint8, in each format."""
    from tests.station import npy, text
    from tests.wafer_tf.formats.writers_grids import (
        write_e142_variant,
        write_electroglas,
        write_g85,
        write_sinf,
        write_tsk,
        write_wmap,
    )
    from tests.wafer_tf.formats.writers_klarf import write_klarf
    from tests.wafer_tf.formats.writers_stdf import write_atdf, write_stdf
    from tests.wafer_tf.formats.writers_table import write_die_table

    lot = [(grid, "LOTA", "03")]
    small = grid[:TSK_SIDE, :TSK_SIDE]
    return {
        "STDF V4": lambda: write_stdf(lot),
        "STDF V4, gzip": lambda: gzip.compress(write_stdf(lot)),
        "ATDF": lambda: write_atdf(lot),
        "KLARF 1.2": lambda: write_klarf(grid, version="1.2"),
        "KLARF 1.8": lambda: write_klarf(grid, version="1.8"),
        "SEMI E142": lambda: write_e142_variant(grid),
        "SEMI G85": lambda: write_g85(grid),
        "SINF": lambda: write_sinf(grid),
        "WMAP": lambda: write_wmap(grid),
        "TSK": lambda: write_tsk(small),
        "Electroglas": lambda: write_electroglas(grid),
        "table of dies, CSV": lambda: write_die_table({("LOTA", "03"): grid}),
        "grid, text": lambda: text(grid),
        "grid, npy": lambda: npy(grid),
    }


def measure(path: Path) -> None:
    """Read a file and print seconds, and megabytes on top of what was there before."""
    before = peak_mb()
    started = time.perf_counter()
    with path.open("rb") as stream:
        dies = [
            0 if isinstance(w, InputError) else int(np.count_nonzero(w.grid)) for w in read_maps(stream, path).wafers
        ]
    print(json.dumps({"s": time.perf_counter() - started, "mb": peak_mb() - before, "dies": dies}))


def main() -> None:
    p = CommandParser("python -m benchmarks.formats", __doc__)
    p.add_argument("--side", type=int, default=500, metavar="DIES")
    p.add_argument("--repeats", type=int, default=3)
    p.add_argument("--real", type=Path, default=Path("../shared/data/formats"), metavar="DIR")
    p.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".json"))
    args = p.parse_args()
    across = np.linspace(-1, 1, args.side)
    grid = (np.hypot(across, across[:, None]) <= 1).astype(np.uint8)
    grid[grid == 1] += (np.random.default_rng(0).random(int(grid.sum())) < 0.1).astype(np.uint8)
    result = {
        "date": str(date.today()),
        "machine": machine(),
        "load_average": round(os.getloadavg()[0], 1),
        "versions": {"python": platform.python_version(), "numpy": np.__version__},
        "dies": int(np.count_nonzero(grid)),
        "speed": _speeds(grid, args.repeats),
        "real": [row for path in sorted(args.real.glob("*")) if path.name != "LICENCES.txt" for row in _found(path)],
    }
    args.out.write_text(json.dumps(result, indent=1) + "\n")


def _speeds(grid: NDArray[np.uint8], repeats: int) -> dict[str, Any]:
    rows = {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "file"
        for name, write in files(grid).items():
            path.write_bytes(write())
            command = [sys.executable, "-m", "benchmarks.formats", "--read", str(path)]
            runs = [json.loads(subprocess.run(command, check=True, capture_output=True).stdout) for _ in range(repeats)]
            mb = path.stat().st_size / 1e6
            rows[name] = {
                "mb": round(mb, 2),
                "s": round(min(run["s"] for run in runs), 3),
                "mb_per_s": round(mb / min(run["s"] for run in runs), 1),
                "peak_mb": round(max(run["mb"] for run in runs), 1),
                "dies": runs[0]["dies"],
            }
            print(f"{name:<20} {rows[name]}", flush=True)
    return rows


def _found(path: Path) -> list[dict[str, Any]]:
    try:
        with path.open("rb") as stream:
            file = read_maps(stream, path.name)
            wafers = list(file.wafers)
    except InputError as error:
        return [{"file": path.name, "refused": str(error)}]
    rows: list[dict[str, Any]] = []
    for wafer in wafers:
        row: dict[str, Any] = {"file": path.name, "format": f"{file.format} {file.version}".rstrip()}
        if isinstance(wafer, InputError):
            row["refused"] = str(wafer)
        else:
            row |= {"lot": wafer.lot, "wafer": wafer.wafer, "grid": list(wafer.grid.shape)}
            row |= {"pass": int((wafer.grid == 1).sum()), "fail": int((wafer.grid == 2).sum())}
            row["retested"] = wafer.retested
        rows.append(row)
    return rows


def machine() -> str:
    """Return the processor's name."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))


def peak_mb() -> float:
    """Return the largest resident set so far; getrusage would give that of the parent, from before the start."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024


if __name__ == "__main__":
    if sys.argv[1:2] == ["--read"]:
        measure(Path(sys.argv[2]))
    else:
        main()
