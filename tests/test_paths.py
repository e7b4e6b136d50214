"""A path may be a str or anything else that names one, wherever a public function takes one."""

import ast
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests import ROOT
from wafer_tf.bundle import load_bundle, write_bundle
from wafer_tf.learning.run_folder import RunFolder
from wafer_tf.readers import read
from wafer_tf.released import released
from wafer_tf.splitting.splits import Split, make_split
from wafer_tf.synthesis import synthesize
from wafer_tf.whole_files import write_whole

PLACES = (
    "wafer_tf",
    "edge/pack.py",
    "edge/signing.py",
    "edge/gate/calibrated.py",
    "edge/gate/gated_bundle.py",
    "edge/station/hot_folder/watch.py",
    "training/evaluate.py",
    "training/explanations.py",
    "training/operating.py",
)
"""The library, and the commands whose work can be called from Python."""


def narrow(source: str) -> Iterator[str]:
    """Give the parameters of public functions that take a Path alone; mypy holds the others to what they say."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            for parameter in [*node.args.args, *node.args.kwonlyargs]:
                kinds = ast.unparse(parameter.annotation) if parameter.annotation else ""
                if "Path" in kinds.split(" | "):
                    yield f"{node.name}({parameter.arg}: {kinds})"


@pytest.mark.parametrize("place", PLACES)
def test_no_public_function_asks_for_a_path_object(place: str) -> None:
    files = [ROOT / place] if place.endswith(".py") else sorted((ROOT / place).rglob("*.py"))
    assert [f"{file.name}: {text}" for file in files for text in narrow(file.read_text(encoding="utf-8"))] == []


def test_a_function_that_asks_for_one_is_found() -> None:
    assert list(narrow("def load(path: Path | None, *, other: Path): ...\ndef _own(path: Path): ...")) == [
        "load(path: Path | None)",
        "load(other: Path)",
    ]


def test_a_str_serves_where_a_path_does(tmp_path: Path) -> None:
    folder = os.fspath(tmp_path)
    bundle = load_bundle(str(released("nano") / "bundle"))
    sha256 = write_bundle(
        f"{folder}/bundle",
        model=bundle.model,
        input=bundle.input,
        output=bundle.output,
        input_size=bundle.input_size,
        decision=bundle.decision,
        golden=bundle.golden,
        features=bundle.features,
        xnnpack=True,
        passed=True,
        gate=bundle.gate,
        provenance={},
        card="# Nano",
    )
    assert load_bundle(f"{folder}/bundle").sha256 == sha256
    assert RunFolder.create(f"{folder}/run") == RunFolder(tmp_path / "run")
    assert RunFolder.open(str(released("nano"))).done
    wafers = synthesize(20, seed=0).wafers
    make_split(wafers).save(f"{folder}/split.npz")
    assert Split.load(f"{folder}/split.npz", wafers).method == "group"
    write_whole(f"{folder}/map.csv", "0,1,2\n1,2,1\n1,1,1\n")
    np.testing.assert_array_equal(read(f"{folder}/map.csv").map(0), [[0, 1, 2], [1, 2, 1], [1, 1, 1]])
