"""The examples in the docstrings of public names run."""

import doctest
import importlib

import pytest

import wafer_tf as wt

MODULES = (
    "wafer_tf",
    "wafer_tf.command",
    "wafer_tf.bundle",
    "wafer_tf.decision",
    "wafer_tf.dies",
    "wafer_tf.encoding",
    "wafer_tf.inference.proven",
    "wafer_tf.model",
    "wafer_tf.readers",
    "wafer_tf.released",
    "wafer_tf.scoring.scores",
    "wafer_tf.showing",
    "wafer_tf.splitting.splits",
    "wafer_tf.synthesis",
    "wafer_tf.tables",
    "wafer_tf.waferset",
    "wafer_tf.whole_files",
)
"""Those with names for users."""


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_a_module_run(name: str) -> None:
    found = doctest.testmod(importlib.import_module(name), optionflags=doctest.NORMALIZE_WHITESPACE)
    assert found.attempted, f"{name} has no example"
    assert not found.failed


@pytest.mark.parametrize("name", sorted(set(wt.__all__) - {"CLASSES", "WaferError", "__version__"}))
def test_every_name_for_users_has_an_example_that_runs(name: str) -> None:
    found = getattr(wt, name)
    assert ">>>" in found.__doc__
    assert found.__module__ in MODULES
