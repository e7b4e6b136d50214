"""What each model costs: parameters, milliseconds per map and training rate, on one thread.

    python -m benchmarks.models [--out benchmarks/models.json]

Processor seconds, not wall time, are counted, so that other work on the machine weighs less; still, read the ratios.
"""

import json
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path

from wafer_tf.command import CommandParser
from wafer_tf.learning.quiet import quiet_tensorflow

quiet_tensorflow()

import numpy as np
import tensorflow as tf

from training.config import FitConfig
from training.runtime import versions
from training.train import compile_model
from wafer_tf.dies import CLASSES
from wafer_tf.learning.models import ModelConfig, build_model

MODELS = {
    "resnet18, width 24, small stem, 64 x 64 (default)": ModelConfig(),
    "resnet18, width 16, small stem, 64 x 64": ModelConfig(width=16),
    "resnet18, width 32, small stem, 64 x 64": ModelConfig(width=32),
    "baseline, width 16, 64 x 64": ModelConfig(architecture="baseline", width=16),
    "baseline, width 24, 64 x 64": ModelConfig(architecture="baseline"),
    "baseline, width 32, 64 x 64": ModelConfig(architecture="baseline", width=32),
    "resnet18, width 64, imagenet stem, 64 x 64 (keras-hub's)": ModelConfig(width=64, stem="imagenet"),
}


def main() -> None:
    p = CommandParser("python -m benchmarks.models", __doc__)
    p.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".json"))
    p.add_argument("--batch-size", type=int, default=64)
    args = p.parse_args()
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    rows = []
    for name, config in MODELS.items():
        model = build_model(config)
        compile_model(FitConfig(model=config), model, 1000)
        inputs = tf.random.uniform((args.batch_size, config.input_size, config.input_size, 3), seed=0)
        labels = tf.one_hot(np.arange(args.batch_size) % len(CLASSES), len(CLASSES))
        forward = tf.function(lambda x, model=model: model(x, training=False))
        one = _cpu_seconds(lambda f=forward, x=inputs[:1]: f(x), 20)
        many = _cpu_seconds(lambda f=forward, x=inputs: f(x), 3)
        steps = tf.data.Dataset.from_tensors((inputs, labels)).repeat(3)
        training = _cpu_seconds(lambda m=model, s=steps: m.fit(s, verbose=0), 1)
        rows.append(
            {
                "model": name,
                "parameters": model.count_params(),
                "ms_per_map_alone": round(one * 1000, 2),
                "ms_per_map_in_batch": round(many * 1000 / args.batch_size, 2),
                "training_maps_per_cpu_s": round(3 * args.batch_size / training, 1),
            }
        )
        print(rows[-1], flush=True)
        result = {"date": str(date.today()), "versions": versions(), "batch_size": args.batch_size, "models": rows}
        args.out.write_text(json.dumps(result, indent=2) + "\n")


def _cpu_seconds(work: Callable[[], object], times: int) -> float:
    """Return the processor seconds of one call, after one that is not counted."""
    work()
    started = time.process_time()
    for _ in range(times):
        work()
    return (time.process_time() - started) / times


if __name__ == "__main__":
    main()
