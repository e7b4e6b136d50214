from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from training import start
from training.config import FitConfig
from training.job import load_config, load_data
from wafer_tf import released
from wafer_tf.learning.models import ModelConfig, build_model, load_backbone_weights
from wafer_tf.learning.run_folder import RunFolder
from wafer_tf.splitting.splits import Split
from wafer_tf.synthesis import synthesize
from wafer_tf.waferset import WaferSet

NEW = synthesize(2, seed=99).wafers


@pytest.fixture
def like_released(small_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FitConfig:
    """The small run takes the released model's place; returned is a configuration of the same layers."""
    (tmp_path / released.DEFAULT).symlink_to(small_run)
    monkeypatch.setattr(released, "_PLACES", (tmp_path,))
    return replace(load_config(RunFolder.open(small_run)), backbone_weights="auto")


def _trained_on(run: Path) -> WaferSet:
    wafers = load_data(load_config(RunFolder.open(run)))
    return wafers.select(Split.load(run / "split.npz", wafers).train)


def test_auto_starts_from_the_released_model_where_it_fits_and_says_so(like_released: FitConfig) -> None:
    found = start.starting_weights(like_released, NEW)
    assert (found.source, found.flatters) == ("wafer", False)
    assert "started from the released model" in found.note


def test_the_released_models_weights_are_those_of_its_run(like_released: FitConfig, small_run: Path) -> None:
    model = build_model(like_released.model)
    assert load_backbone_weights(model, "wafer") > 0
    for a, b in zip(model.get_weights(), RunFolder.open(small_run).model().get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_auto_starts_afresh_where_the_released_model_knows_the_maps_judged(
    like_released: FitConfig, small_run: Path
) -> None:
    known = _trained_on(small_run)
    turned = WaferSet.from_maps([np.rot90(known.map(0)), NEW.map(0)], label=[0, 0])
    found = start.starting_weights(like_released, turned)
    assert (found.source, found.flatters) == ("none", False)
    assert "1 of the 2 validation and test maps are copies" in found.note


def test_auto_starts_afresh_for_other_layers_without_a_word(like_released: FitConfig) -> None:
    assert start.starting_weights(replace(like_released, model=ModelConfig(width=8)), NEW) == start.Start("none")


def test_auto_starts_afresh_where_the_project_has_no_released_model(
    like_released: FitConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(released, "_PLACES", (tmp_path / "none",))
    assert start.starting_weights(like_released, NEW) == start.Start("none")


def test_a_start_that_knows_the_maps_judged_is_taken_where_it_is_asked_for_and_said_to_flatter(
    like_released: FitConfig, small_run: Path
) -> None:
    asked = replace(like_released, backbone_weights=str(small_run))
    assert start.starting_weights(asked, NEW) == start.Start(str(small_run))
    found = start.starting_weights(asked, _trained_on(small_run))
    assert (found.source, found.flatters) == (str(small_run), True)
    assert "the scores flatter the model" in found.note
