"""The configuration of a training run: one frozen dataclass, to JSON and back."""

from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wafer_tf.augment import Augmentation
from wafer_tf.dies import CLASSES
from wafer_tf.errors import UsageError
from wafer_tf.models import ModelConfig

CLASS_WEIGHTS = ("none", "sqrt", "balanced")
LOSSES = ("cross-entropy", "focal")
PRECISIONS = ("float32", "mixed_float16", "mixed_bfloat16")
SPLITS = ("group", "official", "random")
MAX_SEED = 2**32 - 1
"""What numpy and TensorFlow take."""


@dataclass(frozen=True)
class FitConfig:
    """Everything that decides what a run does.

    Attributes:
        data: path of the user's maps; None for the built-in synthetic set.
        builtin_per_class: maps of each class in the built-in set.
        limit_per_class: at most so many labelled maps of each class are used; None for all.
        synthetic: every class with fewer training maps than this is filled up to it with synthetic maps.
        learning_rate: peak of the schedule: linear warm-up over the first epoch, then a cosine to zero.
        freeze_epochs: epochs in which the head alone is trained, before the first epoch proper.
        patience: epochs without a better validation macro-F1 after which training stops.
    """

    data: str | None = None
    builtin_per_class: int = 150
    limit_per_class: int | None = None
    split: str = "group"
    seed: int = 0
    model: ModelConfig = field(default_factory=ModelConfig)
    augmentation: Augmentation = field(default_factory=Augmentation)
    backbone_weights: str = "none"
    freeze_epochs: int = 0
    synthetic: int = 0
    epochs: int = 24
    batch_size: int = 64
    learning_rate: float = 2e-3
    weight_decay: float = 1e-4
    patience: int = 10
    class_weights: str = "sqrt"
    loss: str = "cross-entropy"
    label_smoothing: float = 0.0
    precision: str = "float32"
    require_gpu: bool = False

    def __post_init__(self) -> None:
        for value, name, known in (
            (self.class_weights, "class weights", CLASS_WEIGHTS),
            (self.loss, "loss", LOSSES),
            (self.precision, "precision", PRECISIONS),
            (self.split, "split", SPLITS),
        ):
            if value not in known:
                raise UsageError(f"{name} {value!r}; expected one of {', '.join(known)}.")
        if self.limit_per_class is not None and self.limit_per_class < 1:
            raise UsageError(f"limit_per_class {self.limit_per_class}; expected at least 1.")
        for name, low in (("epochs", 1), ("batch_size", 1), ("patience", 1), ("builtin_per_class", 10),
                          ("synthetic", 0), ("freeze_epochs", 0), ("seed", 0)):  # fmt: skip
            if getattr(self, name) < low:
                raise UsageError(f"{name} {getattr(self, name)}; expected at least {low}.")
        if self.seed > MAX_SEED:
            raise UsageError(f"seed {self.seed}; expected at most {MAX_SEED}.")
        for name in ("turn_prob", "die_noise"):
            if not 0 <= getattr(self.augmentation, name) <= 1:
                raise UsageError(f"{name} {getattr(self.augmentation, name)}; expected 0 to 1.")
        if not 0 < self.learning_rate < 10 or not 0 <= self.weight_decay < 1 or not 0 <= self.label_smoothing < 1:
            raise UsageError(
                f"learning rate {self.learning_rate}, weight decay {self.weight_decay}, label smoothing "
                f"{self.label_smoothing}; expected 0..10, 0 to below 1, and 0 to below 1."
            )

    def to_json(self) -> dict[str, Any]:
        """Return a dict that JSON can hold."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "FitConfig":
        """Read what `to_json` gave; an unknown key is an error."""
        known = {f.name for f in fields(cls)}
        if unknown := sorted(set(data) - known):
            raise UsageError(f"run configuration: unknown {', '.join(unknown)}; known are {', '.join(sorted(known))}.")
        try:
            nested = {"model": ModelConfig(**data["model"]), "augmentation": Augmentation(**data["augmentation"])}
        except (KeyError, TypeError) as error:
            raise UsageError(f"run configuration: model or augmentation: {error}.") from error
        plain = {name: value for name, value in data.items() if name not in nested}
        for name, value in plain.items():
            kind = {"data": str, "limit_per_class": int}.get(name, type(getattr(cls, name)))
            optional = getattr(cls, name) is None
            if not (type(value) is kind or (optional and value is None) or (kind is float and type(value) is int)):
                raise UsageError(f"run configuration: {name} is {value!r}; expected {kind.__name__}.")
        return cls(**{**plain, **nested})

    def smoke(self) -> "FitConfig":
        """Return the same run made small enough to go through everything in under a minute."""
        return replace(
            self, builtin_per_class=24, limit_per_class=24, epochs=2, synthetic=min(self.synthetic, 24),
            model=replace(self.model, width=8 if self.backbone_weights == "none" else self.model.width),
        )  # fmt: skip


def class_weights(scheme: str, label: NDArray[np.integer[Any]]) -> dict[int, float]:
    """Return a weight for each of the nine classes, from the labels of the training part.

    balanced: inverse frequency, as scikit-learn's "balanced"; sqrt: its square root; both scaled so that the mean
    weight of a training map is 1. A class without training maps gets 0.
    """
    count = np.bincount(label, minlength=len(CLASSES)).astype(float)
    power = {"none": 0.0, "sqrt": 0.5, "balanced": 1.0}[scheme]
    raw = np.where(count > 0, np.maximum(count, 1) ** -power, 0.0)
    return dict(enumerate((raw * count.sum() / (raw * count).sum()).tolist()))
