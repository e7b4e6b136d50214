"""How fast the input pipeline is against the training step it feeds, and what a set of WM-811K's labelled size needs.

    python -m benchmarks.pipeline MAPS [--maps 172950] [--out benchmarks/pipeline.json]

The maps of MAPS are repeated up to --maps under new lot names, each repeat with a tenth of its dies redrawn. Rates
are of one run on one machine: read their ratio. The memory is the peak resident set of the whole process after reading,
grouping, splitting, training for --steps steps and predicting the validation part.
"""

import json
import os
import platform
import resource
import tempfile
import time
from datetime import date
from pathlib import Path

from wafer_tf.command import CommandParser
from wafer_tf.learning.quiet import quiet_tensorflow

quiet_tensorflow()

import keras
import numpy as np
import tensorflow as tf

from training.config import FitConfig
from training.runtime import prepare, versions
from training.train import compile_model
from wafer_tf.learning.augment import Augmentation, redraw
from wafer_tf.learning.models import build_model
from wafer_tf.learning.pipeline import training_batches
from wafer_tf.learning.prediction import predict_logits
from wafer_tf.readers import read, write_parquet
from wafer_tf.splitting.splits import make_split
from wafer_tf.waferset import WaferSet


def enlarged(wafers: WaferSet, count: int) -> WaferSet:
    """Return `count` maps: those of `wafers` again and again, dies redrawn, every repeat under lots of its own."""
    rng = np.random.default_rng(0)
    picked = np.arange(count) % len(wafers)
    turn = np.arange(count) // len(wafers)
    return WaferSet.from_maps(
        [redraw(wafers.map(int(i)), 0.1 if t else 0.0, rng) for i, t in zip(picked, turn, strict=True)],
        label=wafers.label[picked],
        lot=np.char.add(np.char.add(wafers.lot[picked], "-"), turn.astype(str)),
        wafer_index=wafers.wafer_index[picked],
    )


def batches_per_second(batches: tf.data.Dataset, count: int) -> float:
    """Take `count` batches after the first five, as fast as they come."""
    iterator = iter(batches)
    for _ in range(5):
        next(iterator)
    started = time.perf_counter()
    for _ in range(count):
        next(iterator)
    return count / (time.perf_counter() - started)


def steps_per_second(model: keras.Model, batch: tuple[tf.Tensor, tf.Tensor], count: int) -> float:
    """Train `count` steps on one batch that is already in memory."""
    resident = tf.data.Dataset.from_tensors(batch).repeat(count)
    model.fit(resident, verbose=0)
    started = time.perf_counter()
    model.fit(resident, verbose=0)
    return count / (time.perf_counter() - started)


def main() -> None:
    p = CommandParser("python -m benchmarks.pipeline", __doc__)
    p.add_argument("data", type=Path)
    p.add_argument("--maps", type=int, default=172_950)
    p.add_argument("--steps", type=int, default=20)
    p.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".json"))
    args = p.parse_args()
    config = FitConfig()
    prepare(seed=0, precision="float32", require_gpu=False)
    small = read(args.data)
    small = small.select(small.labelled)
    rows = []
    for architecture, augmentation in (("resnet18", config.augmentation), ("resnet18", Augmentation(True, 1.0, 0.1))):
        batches = training_batches(small, augmentation, batch_size=config.batch_size, seed=0, epochs=100)
        batch = next(iter(batches))
        model = build_model(config.model)
        compile_model(config, model, len(small))
        fed, step = batches_per_second(batches, 60), steps_per_second(model, batch, args.steps)
        again = batches_per_second(batches, 60)
        rows.append(
            {
                "model": architecture,
                "augmentation": str(augmentation),
                "pipeline_maps_per_s": round(config.batch_size * (fed + again) / 2),
                "training_maps_per_s": round(config.batch_size * step, 1),
                "ratio": round((fed + again) / 2 / step, 1),
            }
        )
        print(rows[-1], flush=True)

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "large.parquet"
        pid = os.fork()  # the making of the large set is not part of what is measured
        if pid == 0:
            write_parquet(enlarged(small, args.maps), path)
            os._exit(0)
        os.waitpid(pid, 0)
        peak = {"before": _peak_gb()}
        started = time.perf_counter()
        large = read(path)
        peak["read"] = _peak_gb()
        split = make_split(large, progress=True)
        peak["split"] = _peak_gb()
        split_s = round(time.perf_counter() - started)
    training, validation = large.select(split.train), large.select(split.validation)
    model = build_model(config.model)
    compile_model(config, model, len(training))
    batches = training_batches(training, config.augmentation, batch_size=config.batch_size, seed=0, epochs=1)
    model.fit(batches, steps_per_epoch=args.steps, epochs=1, shuffle=False, verbose=0)
    peak["train"] = _peak_gb()
    predict_logits(model, validation)
    peak["predict"] = _peak_gb()
    result = {
        "date": str(date.today()),
        "machine": platform.processor() or platform.machine(),
        "versions": versions(),
        "rates": rows,
        "maps": args.maps,
        "read_and_split_s": split_s,
        "peak_resident_gb": peak,
    }
    args.out.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


def _peak_gb() -> float:
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2)


if __name__ == "__main__":
    main()
