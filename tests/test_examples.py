"""The examples in the docstrings of public names run."""

import doctest
import importlib

import pytest

MODULES = (
    "wafer_tf",
    "wafer_tf.command",
    "wafer_tf.bundle",
    "wafer_tf.decision",
    "wafer_tf.dies",
    "wafer_tf.encoding",
    "wafer_tf.model",
    "wafer_tf.readers",
    "wafer_tf.released",
    "wafer_tf.scoring.scores",
    "wafer_tf.showing",
    "wafer_tf.splitting.splits",
    "wafer_tf.synthesis",
    "wafer_tf.waferset",
    "wafer_tf.whole_files",
)
"""Those with names for users."""


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_a_module_run(name: str) -> None:
    found = doctest.testmod(importlib.import_module(name), optionflags=doctest.NORMALIZE_WHITESPACE)
    assert found.attempted, f"{name} has no example"
    assert not found.failed
