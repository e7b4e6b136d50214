"""Fixtures shared by the tests: the real maps where they are at hand, and one small finished run."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests import SHARED
from wafer_tf.learning.quiet import quiet_tensorflow

# A process per core runs the tests: each needs one thread.
for _name in ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS"):
    os.environ.setdefault(_name, "1")
quiet_tensorflow()
# Machines are shared and noisy: no example has a deadline; the seed is fixed so that a failure repeats.
settings.register_profile("wafer_tf", deadline=None, max_examples=40, derandomize=True)
settings.load_profile("wafer_tf")

REAL = SHARED / "data" / "wm811k" / "wm811k_dev.npz"
SMALL_RUN = [
    "--model",
    "baseline",
    "--width",
    "4",
    "--input-size",
    "32",
    "--builtin-per-class",
    "16",
    "--epochs",
    "3",
    "--batch-size",
    "36",
    "--learning-rate",
    "0.01",
    "--unknown-epochs",
    "0",
]


@pytest.fixture(autouse=True)
def main_module() -> Iterator[None]:
    """Put __main__ back: Streamlit's AppTest leaves the page there, and a spawned process would run it."""
    before = sys.modules["__main__"]
    yield
    sys.modules["__main__"] = before


@pytest.fixture(scope="session")
def real_npz() -> Path:
    """Path of the shared real maps."""
    if not REAL.is_file():
        pytest.skip("the real wafer maps (../shared/data) are not on this machine")
    return REAL


@pytest.fixture(scope="session")
def small_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a finished run of the baseline CNN on a small built-in set."""
    from training.fit import main

    path = tmp_path_factory.mktemp("runs") / "small"
    assert main([*SMALL_RUN, "--unknown-epochs", "1", "--out", str(path)]) == 0
    return path


@pytest.fixture(scope="session")
def bundle_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a bundle that a station accepts."""
    from tests.station import int8_model, make_bundle

    return make_bundle(tmp_path_factory.mktemp("bundles") / "bundle", int8_model(seed=0))
