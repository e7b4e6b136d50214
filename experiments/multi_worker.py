"""One model trained by two processes: `python -m experiments.multi_worker`.

A step of our own under tf.distribute.MultiWorkerMirroredStrategy, each process on its half of every batch, against one
process on whole batches; and Keras' fit under the same strategy. A tiny net, two epochs, 127.0.0.1.
"""

import json
import os
import socket
import subprocess
import sys
import tempfile
from datetime import date
from pathlib import Path
from typing import Any

from wafer_tf.command import CommandParser

BATCH, EPOCHS, SEED, SIZE = 32, 2, 3, 32
PATIENCE_S = 900


def main() -> None:
    """Run all three, compare, and write experiments/multi_worker.json."""
    parser = CommandParser("python -m experiments.multi_worker", __doc__)
    parser.add_argument("--task", nargs=3, metavar=("HOW", "RANK", "OUT"), help="for the processes it starts")
    args = parser.parse_args()
    if args.task:
        how, rank, out = args.task
        train(how, int(rank), Path(out))
        return
    with tempfile.TemporaryDirectory() as folder:
        started = {
            (how, rank): start(how, rank, addresses, Path(folder))
            for how, count in (("one", 1), ("two", 2), ("fit", 2))
            for addresses in [free_addresses(count)]
            for rank in range(count)
        }
        said = {}
        for (how, rank), process in started.items():
            try:
                said[how, rank] = process.communicate(timeout=PATIENCE_S)[1].splitlines()
            except subprocess.TimeoutExpired:
                process.kill()
                said[how, rank] = [f"did not end in {PATIENCE_S} s"]
        found = compare(Path(folder)) | {"fit": fault(started["fit", 0].poll(), said["fit", 0])}
    found = {"date": str(date.today()), "command": "python -m experiments.multi_worker", **found}
    Path(__file__).with_suffix(".json").write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(found, indent=2))


def fault(exit_code: int | None, lines: list[str]) -> dict[str, Any]:
    """Return how Keras' fit ended, with the exceptions that it told of."""
    told = [line[:300] for line in lines if line.partition(":")[0].endswith("Error") and line[0].isalpha()]
    return {"exit_code": exit_code, "says": told or lines[-1:]}


def free_addresses(count: int) -> list[str]:
    """Return addresses of this machine that nobody listens on."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    found = [f"127.0.0.1:{each.getsockname()[1]}" for each in sockets]
    for each in sockets:
        each.close()
    return found


def start(how: str, rank: int, addresses: list[str], folder: Path) -> "subprocess.Popen[str]":
    """Start one of the processes."""
    environment = os.environ | {
        "CUDA_VISIBLE_DEVICES": "-1",
        "TF_NUM_INTRAOP_THREADS": "1",
        "TF_CPP_MIN_LOG_LEVEL": "2",
    }
    environment.pop("TF_NUM_INTEROP_THREADS", None)  # with 2 both processes wait for each other for ever
    if len(addresses) > 1:
        environment["TF_CONFIG"] = json.dumps(
            {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": rank}}
        )
    words = [sys.executable, "-m", "experiments.multi_worker", "--task", how, str(rank), str(folder / f"{how}.npz")]
    return subprocess.Popen(words, env=environment, stderr=subprocess.PIPE, text=True)


def train(how: str, rank: int, out: Path) -> None:
    """Train as one of the processes; the first one keeps losses and weights."""
    import tensorflow as tf

    # before any other use of TensorFlow
    strategy = tf.distribute.get_strategy() if how == "one" else tf.distribute.MultiWorkerMirroredStrategy()
    import keras
    import numpy as np

    from training.config import FitConfig
    from training.train import compile_model
    from wafer_tf.learning.models import ModelConfig, build_model
    from wafer_tf.learning.pipeline import steps_per_epoch, training_batches
    from wafer_tf.synthesis import synthesize

    keras.utils.set_random_seed(SEED)
    wafers = synthesize(8, seed=1).wafers
    net = ModelConfig(architecture="baseline", width=4, input_size=SIZE, dropout=0.0)
    config = FitConfig(model=net, epochs=EPOCHS, batch_size=BATCH, learning_rate=0.01)
    with strategy.scope():
        model = build_model(net)
        for layer in model.layers:
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.synchronized = True  # its statistics are those of the whole batch
        compile_model(config, model, len(wafers))
        model.optimizer.build(model.trainable_variables)
    options = {"batch_size": BATCH, "seed": SEED, "epochs": EPOCHS, "size": SIZE}
    batches = training_batches(wafers, config.augmentation, **options)
    steps = steps_per_epoch(len(wafers), BATCH)
    if how == "fit":
        model.fit(batches, steps_per_epoch=steps, epochs=EPOCHS, verbose=0)
        return
    each_loss = keras.losses.CategoricalCrossentropy(from_logits=True, reduction=None)

    def step(planes: Any, target: Any) -> Any:
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(each_loss(target, model(planes, training=True))) / BATCH
        gradients = tape.gradient(loss, [variable.value for variable in model.trainable_variables])
        model.optimizer.apply(gradients, model.trainable_variables)  # adds up what all processes found
        return loss

    @tf.function
    def together(planes: Any, target: Any) -> Any:
        return strategy.reduce(tf.distribute.ReduceOp.SUM, strategy.run(step, args=(planes, target)), axis=None)

    share = BATCH // strategy.num_replicas_in_sync
    mine = slice(rank * share, (rank + 1) * share)
    losses = [float(together(planes[mine], target[mine])) for planes, target in batches.take(EPOCHS * steps)]
    if rank == 0:
        np.savez(out, losses, *model.get_weights())


def compare(folder: Path) -> dict[str, Any]:
    """Return how far two processes ended from one."""
    import numpy as np

    one, two = (list(np.load(folder / f"{how}.npz").values()) for how in ("one", "two"))
    apart = [float(np.abs(a - b).max()) for a, b in zip(one, two, strict=True)]
    return {"steps": len(one[0]), "losses": one[0].tolist(), "loss_apart": apart[0], "weight_apart": max(apart[1:])}


if __name__ == "__main__":
    main()
