"""A pytest plugin for `benchmarks.mutation` alone, in place of tests/conftest.py, which imports TensorFlow.

What is the same for every mutant is made once: the tests' int8 model is kept in a file, since its conversion takes
TensorFlow seconds. A hot folder that will never come is waited for 15 seconds, not 60. And mutmut is let see a station
that a test starts as a process: it knows functions by their module, which must not be called __main__, and looks into
its own process alone for what a test calls.
"""

import os
import subprocess
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

SLOW_IMPORTS = (
    "ai_edge_litert.interpreter",
    "scipy.optimize",
    "scipy.sparse.csgraph",
    "scipy.special",
    "scipy.stats",
    "sklearn.metrics",
    "tqdm",
)
"""What the code imports within functions, and every mutant would import again."""
COMMAND = "edge.station.__main__"
AS_MODULE, BY_NAME = ["-m", "edge.station"], ["-c", f"import sys; from {COMMAND} import main; sys.exit(main())"]


def pytest_configure(config: pytest.Config) -> None:
    """Do what tests/conftest.py does for the tests of [tool.mutmut], and wait for less."""
    from tests import hot_folder

    for name in SLOW_IMPORTS:
        import_module(name)
    settings.register_profile("wafer_tf", deadline=None, max_examples=40, derandomize=True)
    settings.load_profile("wafer_tf")
    hot_folder.wait_for.__defaults__ = (15,)
    _see_processes(collecting=os.environ.get("MUTANT_UNDER_TEST") == "stats")


@pytest.fixture(scope="session")
def bundle_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a bundle that a station accepts."""
    from tests.station import int8_model, make_bundle

    copied = "MUTANT_UNDER_TEST" in os.environ  # this is a copy of the clone, not the clone
    kept = (Path.cwd() if copied else tmp_path_factory.mktemp("models")) / "kept.tflite"
    if not kept.is_file():
        kept.write_bytes(int8_model(seed=0))
    return make_bundle(tmp_path_factory.mktemp("bundles") / "bundle", kept.read_bytes())


@pytest.fixture(scope="session")
def real_npz() -> Path:
    """Path of the shared real maps."""
    pytest.skip("mutants are judged without the real maps")


def _see_processes(*, collecting: bool) -> None:
    """Start stations under their module's name; while calls are collected, note that they call the whole command."""
    begin = subprocess.Popen.__init__

    def seen(self: Any, args: Any, *rest: Any, **options: Any) -> None:
        if isinstance(args, list) and args[1:3] == AS_MODULE:
            args = [args[0], *BY_NAME, *args[3:]]
        if collecting and any(COMMAND in str(word) for word in args):
            _note_command()
        begin(self, args, *rest, **options)

    subprocess.Popen.__init__ = seen  # type: ignore[method-assign]


def _note_command() -> None:
    from mutmut.state import state

    import edge.station.__main__ as command

    names = (name for name in vars(command) if name.endswith("__mutmut_orig"))
    state()._stats.update(f"{COMMAND}.{name.removesuffix('__mutmut_orig')}" for name in names)
