"""What an explanation costs next to the prediction of the same maps, on one thread.

    python -m benchmarks.explain [--maps 1000] [--out benchmarks/explain.json]

The default ResNet18 at 64 x 64 with the small stem, untrained: neither cost depends on the weights. Processor seconds,
not wall time, are counted; every figure comes after a first call that is not, so that no graph is built within it.
"""

import json
import os
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path

from wafer_tf.command import CommandParser
from wafer_tf.learning.quiet import quiet_tensorflow

quiet_tensorflow()

import numpy as np
import tensorflow as tf

from training.runtime import versions
from wafer_tf.dies import CLASSES
from wafer_tf.explaining.heat_maps import METHODS, Explainer
from wafer_tf.learning.models import ModelConfig, build_model
from wafer_tf.learning.prediction import predict_logits
from wafer_tf.synthesis import synthesize


def main() -> None:
    p = CommandParser("python -m benchmarks.explain", __doc__)
    p.add_argument("--maps", type=int, default=1000)
    p.add_argument("--slow-maps", type=int, default=20, help="maps for Score-CAM")
    p.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".json"))
    args = p.parse_args()
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    model = build_model(ModelConfig())
    drawn = synthesize(-(-args.maps // len(CLASSES)), seed=0).wafers
    wafers = drawn.select(np.random.default_rng(0).permutation(len(drawn))[: args.maps])
    few = wafers.select(np.arange(args.slow_maps))
    predicting = _cpu_seconds(lambda: predict_logits(model, wafers)) / len(wafers)
    rows = [{"what": "prediction", "maps": len(wafers), "ms_per_map": round(predicting * 1000, 2), "times": 1.0}]
    print(rows[0], flush=True)
    for method in METHODS:
        explainer, part = Explainer(model, method=method), few if method == "scorecam" else wafers
        target = part.label.astype(np.int64)
        seconds = _cpu_seconds(lambda e=explainer, w=part, t=target: e.heat_maps(w, t)) / len(part)
        rows.append(
            {
                "what": f"{method}, {explainer.layer}",
                "maps": len(part),
                "ms_per_map": round(seconds * 1000, 2),
                "times": round(seconds / predicting, 2),
            }
        )
        print(rows[-1], flush=True)
    result = {
        "date": str(date.today()),
        "versions": versions(),
        "load_average": round(os.getloadavg()[0], 1),
        "rows": rows,
    }
    args.out.write_text(json.dumps(result, indent=1) + "\n")


def _cpu_seconds(work: Callable[[], object]) -> float:
    """Return the processor seconds of one call, after one that is not counted."""
    work()
    started = time.process_time()
    work()
    return time.process_time() - started


if __name__ == "__main__":
    main()
