"""TensorFlow set up for one run: seeds, determinism, precision, devices."""

import os
from typing import Any

from wafer_tf.errors import UsageError


def prepare(*, seed: int, precision: str, require_gpu: bool, devices: list[str] | None = None) -> Any:
    """Seed everything, set the precision, claim the devices; return the tf.distribute strategy to train under.

    Args:
        seed: for Python, numpy and TensorFlow; with it on a CPU the same run gives the same weights.
        precision: a Keras dtype policy.
        require_gpu: raise where TensorFlow sees no GPU, instead of training on the CPU.
        devices: device names to train on; default: all local GPUs, else the CPU.

    Raises:
        UsageError: a GPU is required and there is none.
    """
    import keras
    import tensorflow as tf
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    gpus = tf.config.list_physical_devices("GPU")
    if require_gpu and not gpus:
        raise UsageError(
            "--require-gpu: TensorFlow sees no GPU. Check the driver with nvidia-smi, install the CUDA libraries with "
            "pip install 'tensorflow[and-cuda]' at the pinned version, or leave the flag out to train on the CPU."
        )
    for gpu in gpus:
        tf.config.experimental.set_memory_growth(gpu, True)
    threadpool_limits(1, user_api="blas")  # encode's matrix products are small: two threads took twice the processor
    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()
    keras.config.set_dtype_policy(precision)
    names = devices or [f"GPU:{i}" for i in range(len(gpus))]
    return tf.distribute.MirroredStrategy(names) if len(names) > 1 else tf.distribute.get_strategy()


def versions() -> dict[str, str]:
    """Return the versions a result depends on."""
    import platform

    import keras
    import keras_hub
    import numpy as np
    import tensorflow as tf

    return {
        "python": platform.python_version(),
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
        "keras-hub": keras_hub.__version__,
        "numpy": np.__version__,
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, "
        f"{len(tf.config.list_physical_devices('GPU'))} GPUs",
    }
