"""What training on very many maps holds in memory: `python -m benchmarks.training_memory MAPS`.

MAPS become a set of 811,457 labelled ones: each again under a new lot, as one of the eight symmetries, with half of
its dies in another order. `nano` trains on it for one epoch in a process of its own, and is scored. It begins with a
long search for near-copies, and has not been run to its end yet. Memory is read from /proc ten times a second: what is
the process's own, and what are pages of files, which the system may push out. With --limit, and root on Linux with
memory control groups of version 1, the process and the cache of its files may have no more than so many bytes
together; where they would, the process is ended.

Writes benchmarks/training_memory.json.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path

import numpy as np

from benchmarks.lswmd import machine
from wafer_tf.command import CommandParser
from wafer_tf.dies import Die
from wafer_tf.learning.augment import symmetry
from wafer_tf.readers import read
from wafer_tf.readers.parquet import write_batches
from wafer_tf.waferset import WaferSet

GROUP = 8192
TRAINING = [
    *("--model", "resnet14", "--width", "8", "--epochs", "1", "--backbone-weights", "none", "--unknown-epochs", "0"),
    *("--none-per-epoch", "15000", "--clean-wafers", "0", "--seed", "0"),
]
CONTROL = Path("/sys/fs/cgroup/memory")


def main() -> None:
    parser = CommandParser("python -m benchmarks.training_memory", __doc__)
    parser.add_argument("maps", type=Path, metavar="MAPS", help="labelled ones")
    parser.add_argument("--rows", type=int, default=811_457, metavar="N", help="default 811457")
    parser.add_argument("--limit", type=int, metavar="BYTES", help="of memory and cache, as a container has")
    parser.add_argument("--work", type=Path, help="the set is made there, and found again; a temporary folder")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".json"))
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        work = args.work or Path(folder)
        path = work / f"many_{args.rows}.parquet"
        if not path.exists():
            wafers = read(args.maps)
            write_batches(_many(wafers.select(wafers.labelled), args.rows), path)
        run = Path(folder) / "run"
        call = [sys.executable, "-m", "training.fit", "--data", str(path), *TRAINING, "--out", str(run)]
        with _limited(args.limit) as enter:
            began = time.monotonic()
            process = subprocess.Popen(call, preexec_fn=enter)
            own, mapped = _watched(process)
            seconds = time.monotonic() - began
        finished = (run / "DONE").exists()
    record = {
        "date": date.today().isoformat(),
        "machine": machine(),
        "rows": args.rows,
        "set_bytes": path.stat().st_size if path.exists() else None,
        "command": " ".join(["python -m training.fit --data MANY.parquet", *TRAINING]),
        "limit_bytes": args.limit,
        "exit_code": process.returncode,
        "finished": finished,
        "minutes": round(seconds / 60, 1),
        "peak_own_bytes": own,
        "peak_mapped_file_bytes": mapped,
    }
    args.out.write_text(json.dumps(record, indent=2) + "\n")
    print(json.dumps(record, indent=2))


def _many(wafers: WaferSet, rows: int) -> Iterator[WaferSet]:
    rng = np.random.default_rng(0)
    for first in range(0, rows, GROUP):
        chosen = [(number % len(wafers), number // len(wafers)) for number in range(first, min(first + GROUP, rows))]
        maps = []
        for which, again in chosen:
            grid = symmetry(wafers.map(which), again % 8).copy()
            drawn = (rng.random(grid.shape) < 0.5) & (grid != Die.ABSENT)
            grid[drawn] = rng.permutation(grid[drawn])
            maps.append(grid)
        lots = [f"{wafers.lot[which]}.{again}" for which, again in chosen]
        yield WaferSet.from_maps(maps, label=wafers.label[[which for which, _ in chosen]], lot=lots)


@contextmanager
def _limited(most: int | None) -> "Iterator[object]":
    """Give what a process calls to enter a control group of its own; None for none."""
    if most is None:
        yield None
        return
    group = CONTROL / f"training_memory_{os.getpid()}"
    group.mkdir()
    try:
        (group / "memory.limit_in_bytes").write_text(str(most))
        yield lambda: (group / "cgroup.procs").write_text(str(os.getpid()))
    finally:
        group.rmdir()


def _watched(process: "subprocess.Popen[bytes]") -> tuple[int, int]:
    """Return the most bytes of the process's own and of mapped files until it ends."""
    most = {"RssAnon": 0, "RssFile": 0}
    while process.poll() is None:
        try:
            status = Path(f"/proc/{process.pid}/status").read_text()
        except OSError:
            break
        for line in status.splitlines():
            name, _, value = line.partition(":")
            if name in most:
                most[name] = max(most[name], int(value.split()[0]) * 1024)
        time.sleep(0.1)
    process.wait()
    return most["RssAnon"], most["RssFile"]


if __name__ == "__main__":
    main()
