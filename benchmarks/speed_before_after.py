"""How fast the station is against an earlier checkout of it, with the same bundle and the same maps.

    git worktree add /tmp/before 9e53753
    python -m benchmarks.speed_before_after /tmp/before BUNDLE [--maps 2000] [--pairs 8] [--out FILE]

Both judge the same npy files, first by `classify`, then by `watch --once`; earlier and now take turns, and every other
pair begins with the other one. A time is that of a process over all maps less that of one over a single map just
before, so that the start is not in it, divided by the maps. The ratios are taken pair by pair: above 1, it became
slower. Seconds of the processor say more than the clock's where the machine is at work beside.
"""

import io
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from edge.station.speed import processor
from wafer_tf.command import CommandParser
from wafer_tf.synthesis import synthesize

NOW = Path(__file__).parents[1]
PACKAGES = ("numpy", "ai-edge-litert")
Times = tuple[float, float]
"""Milliseconds of the clock and of the processor."""


def main() -> None:
    p = CommandParser("python -m benchmarks.speed_before_after", __doc__)
    p.add_argument("before", type=Path, help="a checkout of the commit to compare with")
    p.add_argument("bundle", type=Path)
    p.add_argument("--maps", type=int, default=2000)
    p.add_argument("--pairs", type=int, default=8)
    p.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".json"))
    args = p.parse_args()
    bundle = args.bundle.resolve()
    files = npy_files(args.maps)
    result: dict[str, Any] = {
        "date": str(date.today()),
        "machine": f"{processor()}, {os.cpu_count()} cores",
        "versions": {"python": platform.python_version()} | {name: version(name) for name in PACKAGES},
        "before": _commit(args.before),
        "now": _commit(NOW),
        "bundle": bundle.parent.name,
        "maps": args.maps,
        "pairs": args.pairs,
    }
    for job in ("classify", "watch"):
        pairs = []
        for number in range(args.pairs):
            order = [args.before.resolve(), NOW]
            took = {tree: per_map(job, tree, bundle, files) for tree in (order if number % 2 == 0 else order[::-1])}
            pairs.append((took[order[0]], took[order[1]]))
            print(job, number, pairs[-1], file=sys.stderr)
        result[job] = compared(pairs)
    result["load_average"] = round(os.getloadavg()[0], 1)
    args.out.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


def npy_files(count: int) -> dict[str, bytes]:
    """Return so many synthetic maps as npy files."""
    wafers = synthesize(-(-count // 9), seed=0).wafers
    files = {}
    for number in range(count):
        out = io.BytesIO()
        np.save(out, wafers.map(number))
        files[f"{number:05d}.npy"] = out.getvalue()
    return files


def per_map(job: str, tree: Path, bundle: Path, files: dict[str, bytes]) -> Times:
    """Return what a map costs a checkout's station, its start left out."""
    one, every = (_process(job, tree, bundle, dict(list(files.items())[:n])) for n in (1, len(files)))
    return tuple(1000 * (b - a) / (len(files) - 1) for a, b in zip(one, every, strict=True))  # type: ignore[return-value]


def compared(pairs: Sequence[tuple[Times, Times]]) -> dict[str, Any]:
    """Return medians, and the ratios of each pair, now to before: their median, least and most.

    Example:
        >>> compared([((1.0, 0.5), (1.1, 0.5)), ((1.0, 0.5), (1.3, 0.5))])["clock"]["ratio"]
        1.2
    """
    found: dict[str, Any] = {}
    for at, name in enumerate(("clock", "processor")):
        ratios = [now[at] / before[at] for before, now in pairs]
        found[name] = {
            "before_ms": round(statistics.median(before[at] for before, _ in pairs), 4),
            "now_ms": round(statistics.median(now[at] for _, now in pairs), 4),
            "ratio": round(statistics.median(ratios), 3),
            "least": round(min(ratios), 3),
            "most": round(max(ratios), 3),
        }
    return found


def _process(job: str, tree: Path, bundle: Path, files: dict[str, bytes]) -> tuple[float, float]:
    """Return the seconds that one process takes by the clock and, with its children, of the processor."""
    with tempfile.TemporaryDirectory() as folder:
        inbox = Path(folder) / "in"
        inbox.mkdir()
        for name, data in files.items():
            (inbox / name).write_bytes(data)
        if job == "classify":
            rest = [*sorted(map(str, inbox.iterdir()))]
        else:
            rest = [str(inbox), "--out", f"{folder}/out", "--once", "--poll", "0.05", "--settle", "0"]
        command = [sys.executable, "-m", "edge.station", job, *rest, "--bundle", str(bundle)]
        environment = os.environ | {"PYTHONPATH": str(tree)}
        used, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        done = subprocess.run(command, cwd=tree, env=environment, capture_output=True)
        clock, spent = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
        lines = done.stdout if job == "classify" else (Path(folder) / "out" / "records.jsonl").read_bytes()
        if done.returncode or lines.count(b'"status": "ok"') != len(files):
            raise RuntimeError(f"{command[:4]} in {tree}: {done.stderr.decode()}")
    return clock, spent.ru_utime + spent.ru_stime - used.ru_utime - used.ru_stime


def _commit(tree: Path) -> str:
    asked = ["git", "-C", str(tree), "rev-parse", "--short=7", "HEAD"]
    return subprocess.run(asked, check=True, capture_output=True, text=True).stdout.strip()


if __name__ == "__main__":
    main()
