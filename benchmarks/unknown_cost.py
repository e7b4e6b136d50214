"""What the unknown score costs: a released bundle with it and without it, in turns, on drawn maps.

    python -m benchmarks.unknown_cost

Microseconds a map of one thread, medians of nine rounds: inference alone, a station's judgement, and many maps at once.
Writes unknown_cost.json.
"""

import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

from wafer_tf.command import CommandParser

ROUNDS = 9


def main() -> None:
    CommandParser("python -m benchmarks.unknown_cost", __doc__).parse_args()
    from benchmarks.formats import machine
    from wafer_tf.bundle import load_bundle
    from wafer_tf.encoding import encode
    from wafer_tf.inference.many import run_many
    from wafer_tf.inference.proven import ProvenModel
    from wafer_tf.released import NAMES, bundle_folder
    from wafer_tf.synthesis import synthesize
    from wafer_tf.waferset import WaferSet

    wafers = synthesize(30, seed=1).wafers
    grids = [wafers.map(i) for i in range(len(wafers))]
    alike = WaferSet.from_maps([grids[0]] * len(grids), label=wafers.label)
    found: dict[str, Any] = {}
    for name in NAMES:
        bundle = load_bundle(bundle_folder(name))
        scored, plain = ProvenModel(bundle), ProvenModel(replace(bundle, unknown=None))
        fed = [scored.tflite.feed(encode(grid, bundle.input_size)) for grid in grids]
        tried: dict[str, Callable[[], Any]] = {
            "inference": lambda scored=scored, fed=fed: [scored.tflite.infer(one) for one in fed],
            "judgement_without": lambda plain=plain: [plain.judgement(grid) for grid in grids],
            "judgement_with": lambda scored=scored: [scored.judgement(grid) for grid in grids],
            "many_of_one_shape_without": lambda plain=plain: run_many(plain, alike),
            "many_of_one_shape_with": lambda scored=scored: run_many(scored, alike),
        }
        times: dict[str, list[float]] = {key: [] for key in tried}
        for _ in range(ROUNDS):
            for key, work in tried.items():
                started = time.perf_counter()
                work()
                times[key].append((time.perf_counter() - started) / len(grids) * 1e6)
        found[name] = {key: round(median(values), 1) for key, values in times.items()}
        print(name, found[name])
    text = json.dumps({"machine": machine(), "maps": len(grids), "microseconds": found}, indent=1)
    Path(__file__).with_suffix(".json").write_text(f"{text}\n")


if __name__ == "__main__":
    main()
