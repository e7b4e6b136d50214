"""What the station feeds its model against what training does, and whether its memory grows.

    python -m benchmarks.station_maps MAPS BUNDLE [--random 10000] [--maps 100000] [--out benchmarks/station_maps.json]

1. Every map of MAPS and --random random ones, written as npy, npz or text and read back by the station: its input is
   compared bit for bit with tf.data's, which training and evaluation use.
2. The same maps' records are compared with the decision over all their logits at once, as the gate takes it.
3. --maps files of MAPS, over and over, go through the whole path in a process of its own; resident memory is taken
   after the first tenth, when every shape has been seen, and at the end.
"""

import argparse
import io
import json
import platform
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.station.classifier import Classifier
from edge.station.inputs import find_maps
from edge.station.records import to_line
from wafer_tf.bundle import load_bundle
from wafer_tf.command import CommandParser
from wafer_tf.encoding import encode, to_float
from wafer_tf.formats.plausible import doubt
from wafer_tf.readers import read
from wafer_tf.waferset import WaferSet


def random_maps(count: int, *, seed: int = 0) -> Iterator[NDArray[np.uint8]]:
    """Give maps of 4 to 301 a side, more often small, with any share of dies and failing dies.

    None is one that the station doubts to be a map, nor of three columns, of which a text may be a list of dies.
    """
    given, i = 0, 0
    while given < count:
        rng = np.random.default_rng((seed, i))
        rows, cols = (4 + int(297 * rng.beta(0.7, 4)) for _ in range(2))
        drawn = np.where(rng.random((rows, cols)) < rng.random(), 2, 1) * (rng.random((rows, cols)) < rng.beta(4, 1))
        grid = drawn.astype(np.uint8)
        i += 1
        if grid.any() and not doubt(grid):
            given += 1
            yield grid


def as_file(grid: NDArray[np.uint8], kind: int) -> bytes:
    """Write a map as npy, npz or text."""
    if kind % 3 == 2:
        return "".join(",".join(map(str, row)) + "\n" for row in grid.tolist()).encode()
    out = io.BytesIO()
    np.save(out, grid) if kind % 3 == 0 else np.savez(out, grid)
    return out.getvalue()


def compare(wafers: WaferSet, classifier: Classifier) -> dict[str, int]:
    """Count maps whose input or record differs from training's and the gate's."""
    from wafer_tf.learning.pipeline import evaluation_batches

    size, decision = classifier.bundle.input_size, classifier.bundle.decision
    inputs, records, i = 0, 0, 0
    for batch, _ in evaluation_batches(wafers, size=size):
        trained = batch.numpy()
        logits = np.stack([classifier.tflite.logits(encode(wafers.map(i + k), size)) for k in range(len(trained))])
        for expected, probabilities in zip(trained, decision.probabilities(logits), strict=True):
            data = as_file(wafers.map(i), i)
            (found,) = find_maps(data, "map")
            inputs += not np.array_equal(to_float(encode(found.grid, size)), expected)
            (record,) = classifier.judge(data, "map")
            records += list(record["probabilities"].values()) != [round(p, 6) for p in probabilities.tolist()]
            i += 1
    return {"maps": i, "inputs_that_differ": inputs, "records_that_differ": records}


def soak(wafers: WaferSet, classifier: Classifier, count: int) -> dict[str, Any]:
    """Judge `count` files and return resident memory on the way."""
    rng = np.random.default_rng(0)
    memory, started = {}, time.perf_counter()
    for i in range(count):
        if i in (count // 10, count // 2):
            memory[i] = _resident_mb()
        to_line(classifier.judge(as_file(wafers.map(int(rng.integers(len(wafers)))), i), "map")[0])
    memory[count] = _resident_mb()
    after, end = memory[count // 10], memory[count]
    return {
        "files": count,
        "resident_mb": memory,
        "growth_mb": round(end - after, 1),
        "files_per_s": round(count / (time.perf_counter() - started)),
    }


def main() -> None:
    p = CommandParser("python -m benchmarks.station_maps", __doc__)
    p.add_argument("maps_file", type=Path, metavar="MAPS")
    p.add_argument("bundle", type=Path)
    p.add_argument("--random", type=int, default=10_000)
    p.add_argument("--maps", type=int, default=100_000)
    p.add_argument("--soak-only", action="store_true", help=argparse.SUPPRESS)
    p.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".json"))
    args = p.parse_args()
    wafers = read(args.maps_file)
    classifier = Classifier(load_bundle(args.bundle))
    if args.soak_only:
        print(json.dumps(soak(wafers, classifier, args.maps)))
        return
    again = [sys.executable, "-m", "benchmarks.station_maps", str(args.maps_file), str(args.bundle), "--soak-only"]
    soaked = subprocess.run([*again, "--maps", str(args.maps)], check=True, stdout=subprocess.PIPE).stdout
    made = list(random_maps(args.random))
    random = WaferSet.from_maps(made, label=[-1] * len(made))
    result = {
        "date": str(date.today()),
        "python": platform.python_version(),
        "bundle": classifier.bundle.sha256,
        "real": compare(wafers, classifier),
        "random": compare(random, classifier),
        "soak": json.loads(soaked),
    }
    args.out.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


def _resident_mb() -> float:
    status = Path("/proc/self/status").read_text().splitlines()
    return next(round(int(line.split()[1]) / 1024, 1) for line in status if line.startswith("VmRSS:"))


if __name__ == "__main__":
    main()
