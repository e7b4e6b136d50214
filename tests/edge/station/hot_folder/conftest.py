"""The two folders of a hot folder, and a real model that judges."""

from pathlib import Path

import pytest

from edge.station.classifier import Classifier
from wafer_tf.bundle import load_bundle
from wafer_tf.released import released


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    """IN, empty."""
    path = tmp_path / "in"
    path.mkdir()
    return path


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """OUT, not there yet."""
    return tmp_path / "out"


@pytest.fixture(scope="session")
def nano() -> Classifier:
    """The smaller released model."""
    return Classifier(load_bundle(released("nano") / "bundle"))
