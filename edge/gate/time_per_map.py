"""Time per map of several .tflite models, one thread, compared fairly on a machine with other work."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from time import perf_counter
from typing import Any

import numpy as np

from wafer_tf.encoding import encode
from wafer_tf.inference.interpreter import TfliteModel
from wafer_tf.waferset import WaferSet

MAPS = 200
BLOCK = 20
SLOW_MS = 5.0
"""A model that takes longer than this is timed on one block alone."""


@dataclass(frozen=True)
class Latency:
    """Milliseconds per map of the model alone, its input ready, and how many maps were timed."""

    median_ms: float
    p99_ms: float
    maps: int

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return asdict(self)


def measure(models: Mapping[str, bytes], wafers: WaferSet, *, maps: int = MAPS) -> dict[str, Latency]:
    """Time every model on the same maps.

    The models take turns of BLOCK maps, so that other load on the machine meets all alike, and each turn begins with an
    untimed map, because the models drive each other out of the processor's caches.

    Args:
        models: contents of .tflite files.
        wafers: maps to run, again and again where they are few.
        maps: timed for each model.
    """
    loaded = {name: TfliteModel(content) for name, content in models.items()}
    taken: dict[str, list[float]] = {name: [] for name in models}
    for start in range(0, maps, BLOCK):
        grids = [wafers.map(i % len(wafers)) for i in range(start, min(start + BLOCK, maps))]
        for name, model in loaded.items():
            if taken[name] and np.median(taken[name]) > SLOW_MS:
                continue
            fed = [model.feed(encode(grid, model.input_size)) for grid in grids]
            model.infer(fed[0])
            for values in fed:
                started = perf_counter()
                model.infer(values)
                taken[name].append((perf_counter() - started) * 1e3)
    return {
        name: Latency(round(float(np.median(ms)), 4), round(float(np.percentile(ms, 99)), 4), len(ms))
        for name, ms in taken.items()
    }
