"""Mutate valid files of every tool's format and read them: an InputError or a map, and never another exception.

    python -m benchmarks.mutated_files [--count 20000]

Bytes are flipped, cut off, removed, doubled or put in, and numbers changed. Of each mutant it is counted whether it was
refused, read as the map it was made from, or read as another one. Writes mutated_files.json.
"""

import io
import json
import platform
import random
import re
import time
from collections import Counter
from datetime import date
from pathlib import Path

import numpy as np

from wafer_tf.command import CommandParser
from wafer_tf.errors import InputError
from wafer_tf.formats.read import read_maps

_NUMBER = re.compile(rb"\d+")


def mutated(data: bytes, rng: random.Random) -> bytes:
    """Return a file with one to three changes."""
    for _ in range(rng.randint(1, 3)):
        at, size = rng.randrange(len(data) + 1), rng.randint(1, 40)
        kind = rng.randrange(6)
        if kind == 0 and data:
            at = min(at, len(data) - 1)
            data = data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1 :]
        elif kind == 1:
            data = data[:at]
        elif kind == 2:
            data = data[:at] + data[at + size :]
        elif kind == 3:
            data = data[:at] + data[at : at + size] + data[at:]
        elif kind == 4:
            data = data[:at] + rng.randbytes(size) + data[at:]
        elif numbers := list(_NUMBER.finditer(data)):
            found = rng.choice(numbers)
            number = rng.choice([b"0", b"-1", b"1", b"65536", b"4294967296", str(int(found[0][:9]) + 1).encode()])
            data = data[: found.start()] + number + data[found.end() :]
    return data


def main() -> None:
    p = CommandParser("python -m benchmarks.mutated_files", __doc__)
    p.add_argument("--count", type=int, default=20_000)
    p.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".json"))
    args = p.parse_args()
    from benchmarks.formats import files

    across = np.linspace(-1, 1, 12)
    grid = (np.hypot(across, across[:, None]) <= 1.05).astype(np.uint8)
    grid[2:5, 3:6] *= 2
    made = {name: write() for name, write in files(grid).items()}
    rng = random.Random(0)
    found: dict[str, Counter[str]] = {name: Counter() for name in made}
    slowest = 0.0
    for number in range(args.count):
        name = list(made)[number % len(made)]
        data = mutated(made[name], rng)
        started = time.perf_counter()
        try:
            maps = list(read_maps(io.BytesIO(data), "mutant").wafers)
        except InputError:
            outcome = "refused"
        except Exception as error:  # what this benchmark is for
            outcome = f"failed: {type(error).__name__}: {error}"[:200]
        else:
            refused = any(isinstance(wafer, InputError) for wafer in maps)
            same = [not isinstance(wafer, InputError) and np.array_equal(wafer.grid, grid) for wafer in maps]
            outcome = "refused" if refused else "the same map" if all(same) else "another map"
        slowest = max(slowest, time.perf_counter() - started)
        found[name][outcome] += 1
    result = {
        "date": str(date.today()),
        "machine": platform.processor() or platform.machine(),
        "versions": {"python": platform.python_version(), "numpy": np.__version__},
        "mutants": args.count,
        "slowest_s": round(slowest, 2),
        "peak_mb": _peak_mb(),
        "formats": {name: dict(sorted(counts.items())) for name, counts in found.items()},
    }
    args.out.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


def _peak_mb() -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return round(int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024, 1)


if __name__ == "__main__":
    main()
