"""What a model's weights start from, and whether that start has seen what the run is to be judged by."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.config import FitConfig
from wafer_tf.errors import ModelError
from wafer_tf.learning.models import ModelConfig
from wafer_tf.learning.run_folder import RunFolder
from wafer_tf.released import DEFAULT, released, run_folder
from wafer_tf.splitting.overlap import count_known
from wafer_tf.waferset import WaferSet


@dataclass(frozen=True)
class Start:
    """Where a run's weights come from.

    Attributes:
        source: for `models.load_backbone_weights`.
        note: what to tell the user, "" for nothing.
        flatters: whether `source` learned from copies of maps that the run is judged by.
    """

    source: str
    note: str = ""
    flatters: bool = False


def starting_weights(config: FitConfig, judged: WaferSet) -> Start:
    """Settle where the weights come from.

    "auto" is the released model where it has the layers asked for and knows none of the maps the run is judged by, else
    "none". Whatever the user names is taken.

    Args:
        config: of the run.
        judged: the validation and test maps.

    Raises:
        ModelError: the run named is damaged.
    """
    source = config.backbone_weights
    if source == "auto" and config.model != _released_model():
        return Start("none")
    known = count_known(judged, known_to_start(DEFAULT if source == "auto" else source))
    copies = f"{known} of the {len(judged)} validation and test maps are copies (also turned or mirrored) of maps"
    if source != "auto":
        note = f"{copies} that {source} learned from: the scores flatter the model."
        return Start(source, note, flatters=True) if known else Start(source)
    if known:
        return Start("none", f"not started from the released model: {copies} it learned from.")
    return Start(DEFAULT, f"started from the released model, {DEFAULT} (--backbone-weights none starts afresh).")


def known_to_start(source: str) -> NDArray[np.uint64]:
    """Return the fingerprints of the maps that weights of this source rest on, none where they are not kept."""
    return RunFolder(run_folder(source)).seen()


def _released_model() -> ModelConfig | None:
    """The configuration of the released model, None where the project has none."""
    try:
        run = RunFolder.open(released())
    except ModelError:
        return None
    return FitConfig.from_json(run.read_json("config.json")["config"]).model
