"""The configuration of a training run: one frozen dataclass, to JSON and back."""

from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wafer_tf.as_json import from_json
from wafer_tf.dies import CLASSES, NONE
from wafer_tf.errors import UsageError
from wafer_tf.learning.augment import Augmentation
from wafer_tf.learning.models import ModelConfig
from wafer_tf.splitting.splits import FRACTIONS

CLASS_WEIGHTS = ("none", "sqrt", "balanced")
LOSSES = ("cross-entropy", "focal")
PRECISIONS = ("float32", "mixed_float16", "mixed_bfloat16")
SPLITS = ("group", "official", "random")
AUGMENTATION = Augmentation(turn_prob=0.5, stretch_prob=0.3, die_noise=0.05)
MAX_SEED = 2**32 - 1
"""What numpy and TensorFlow take."""


@dataclass(frozen=True)
class FitConfig:
    """Everything that decides what a run does.

    Attributes:
        data: path of the user's maps; None for the built-in synthetic set.
        reading: what the user's files do not say, as flags: `formats.flags`.
        builtin_per_class: maps of each class in the built-in set.
        limit_per_class: at most so many labelled maps of each class are used; None for all.
        split_seed: seed of the split; None for `seed`. Runs with one split and several seeds can be compared.
        shares: of training, validation and test maps, each above 0, together 1.
        folds: train on all labelled maps, and judge every map by a model that was trained without its fold, one of so
            many group folds; 0 for the parts of `split` and `shares`, which are then of no matter.
        fold: "K/N": the K-th (1..N) of N group folds of the training part is left out of it; None for all of it.
        synthetic: every class with fewer training maps than this is filled up to it with synthetic maps.
        clean_wafers: further `none` maps with few failing dies or none, as a share of the training maps, 0..1; see
            `synthesis.clean`.
        none_per_epoch: maps of none that an epoch shows, the next epoch others; 0 for all, see `pipeline.Epochs`.
        teachers: finished runs whose answers, averaged over the eight symmetries, are part of what is learned.
        unlabelled: path of maps without labels, learned with the teachers' answers; None for none.
        teacher_weight: share of the teachers' answer in what a labelled map is to be called, 0..1.
        backbone_weights: what the weights start from: "auto" (`start.starting_weights`) or a source of
            `models.load_backbone_weights`.
        learning_rate: peak of the schedule: linear warm-up over the first epoch, then a cosine to zero.
        freeze_epochs: epochs in which the head alone is trained, before the first epoch proper.
        weight_average: decay of the moving average that is taken instead of the last weights, 0 to below 1; 0 for
            none. See `averaging`.
        patience: epochs without a better validation macro-F1 after which training stops.
        unknown_epochs: of what learns to tell patterns that are none of the nine, once the classifier is trained; 0
            leaves it out. See `training.unknown`.
        mixed: wafers of several patterns, for a head beside the nine-way answer: a path, or a share of the maps an
            epoch shows that are to be drawn; None for a model without that head. See `training.mixed`.
        also_known: path of labelled wafers of another fab, which are not to be unknown either; None for none.
    """

    data: str | None = None
    reading: tuple[str, ...] = ()
    builtin_per_class: int = 60
    limit_per_class: int | None = None
    split: str = "group"
    split_seed: int | None = None
    shares: tuple[float, float, float] = FRACTIONS
    folds: int = 0
    fold: str | None = None
    seed: int = 0
    model: ModelConfig = field(default_factory=ModelConfig)
    augmentation: Augmentation = field(default_factory=lambda: AUGMENTATION)
    backbone_weights: str = "auto"
    freeze_epochs: int = 0
    synthetic: int = 0
    clean_wafers: float = 0.05
    none_per_epoch: int = 0
    teachers: tuple[str, ...] = ()
    unlabelled: str | None = None
    teacher_weight: float = 0.5
    epochs: int = 48
    batch_size: int = 64
    learning_rate: float = 2e-3
    weight_decay: float = 1e-4
    weight_average: float = 0.0
    patience: int = 20
    unknown_epochs: int = 6
    mixed: str | None = None
    also_known: str | None = None
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
        for name, low in (
            ("epochs", 1),
            ("batch_size", 1),
            ("patience", 1),
            ("builtin_per_class", 10),
            ("synthetic", 0),
            ("freeze_epochs", 0),
            ("none_per_epoch", 0),
            ("folds", 0),
            ("unknown_epochs", 0),
        ):
            if getattr(self, name) < low:
                raise UsageError(f"{name} {getattr(self, name)}; expected at least {low}.")
        for seed in (self.seed, self.split_seed or 0):
            if not 0 <= seed <= MAX_SEED:
                raise UsageError(f"seed {seed}; expected 0 to {MAX_SEED}.")
        if self.fold is not None:
            parse_fold(self.fold)
        if self.folds == 1:
            raise UsageError("folds 1; expected 2 or more, or 0 for a training, a validation and a test part.")
        if self.folds and (self.fold or self.unlabelled):
            raise UsageError("--folds leaves every fold out in turn; --fold and --unlabelled go with one split alone.")
        if self.unlabelled is not None and not self.teachers:
            raise UsageError("unlabelled maps need teachers, finished runs to say what they show: --teachers RUN ...")
        if (self.mixed is not None) != self.model.patterns:
            raise UsageError("mixed wafers need a model with a head for several patterns, and that head mixed wafers.")
        if self.mixed is not None and self.freeze_epochs:
            raise UsageError("--freeze-epochs trains the nine-way head alone; leave it out with --mixed.")
        if self.mixed_share is not None and not 0 < self.mixed_share <= 1:
            raise UsageError(f"mixed {self.mixed}; expected a file, or a share above 0 and at most 1 (--mixed).")
        if not 0 <= self.clean_wafers <= 1:
            raise UsageError(f"clean wafers {self.clean_wafers}; expected a share from 0 to 1.")
        if not 0 <= self.teacher_weight <= 1:
            raise UsageError(f"teacher weight {self.teacher_weight}; expected 0 to 1.")
        for name in ("turn_prob", "stretch_prob", "die_noise", "tool_prob"):
            if not 0 <= getattr(self.augmentation, name) <= 1:
                raise UsageError(f"{name} {getattr(self.augmentation, name)}; expected 0 to 1.")
        if not 0 <= self.weight_average < 1:
            raise UsageError(f"weight average {self.weight_average}; expected a decay from 0 to below 1.")
        if not 0 < self.learning_rate < 10 or not 0 <= self.weight_decay < 1 or not 0 <= self.label_smoothing < 1:
            raise UsageError(
                f"learning rate {self.learning_rate}, weight decay {self.weight_decay}, label smoothing "
                f"{self.label_smoothing}; expected 0..10, 0 to below 1, and 0 to below 1."
            )

    @property
    def mixed_share(self) -> float | None:
        """The share of mixed wafers to be drawn; None where they come from a file, or there are none."""
        try:
            return None if self.mixed is None else float(self.mixed)
        except ValueError:
            return None

    def to_json(self) -> dict[str, Any]:
        """Return a dict that JSON can hold."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "FitConfig":
        """Read what `to_json` gave.

        Raises:
            InputError: an unknown key, or a value of the wrong kind.
        """
        found: FitConfig = from_json(cls, data, where="run configuration")
        return found

    def smoke(self) -> "FitConfig":
        """Return the same run made small enough to go through everything in a minute or two of processor time."""
        return replace(
            self,
            builtin_per_class=24,
            limit_per_class=24,
            epochs=2,
            synthetic=min(self.synthetic, 24),
            unknown_epochs=min(self.unknown_epochs, 1),
            model=replace(self.model, width=8 if self.backbone_weights in ("none", "auto") else self.model.width),
        )


def parse_fold(text: str) -> tuple[int, int]:
    """Return (fold from 0, folds) of "K/N"."""
    number, _, folds = text.partition("/")
    if not (number.isdecimal() and folds.isdecimal() and 1 <= int(number) <= int(folds) and int(folds) >= 2):
        raise UsageError(f"fold {text!r}; expected K/N with K from 1 to N and N at least 2, such as 1/5.")
    return int(number) - 1, int(folds)


def class_weights(scheme: str, label: NDArray[np.integer[Any]], *, none_per_epoch: int = 0) -> dict[int, float]:
    """Return a weight for each of the nine classes, from the labels of the training part.

    Maps of none count as many as an epoch shows: `none_per_epoch`, or all of them where that is 0.

    balanced: inverse frequency, as scikit-learn's "balanced"; sqrt: its square root; both scaled so that the mean
    weight of a training map is 1. A class without training maps gets 0.
    """
    count = np.bincount(label, minlength=len(CLASSES)).astype(float)
    count[NONE] = min(count[NONE], none_per_epoch or np.inf)
    power = {"none": 0.0, "sqrt": 0.5, "balanced": 1.0}[scheme]
    raw = np.where(count > 0, np.maximum(count, 1) ** -power, 0.0)
    return dict(enumerate((raw * count.sum() / (raw * count).sum()).tolist()))
