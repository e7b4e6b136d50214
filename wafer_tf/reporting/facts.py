"""What is known of a run beside its figures: its data, split, model, training and command."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from wafer_tf.as_json import from_json, to_json
from wafer_tf.errors import ModelError
from wafer_tf.learning.run_folder import RunFolder
from wafer_tf.scoring.controls import Controls


@dataclass(frozen=True)
class Facts:
    """What report, model card and bundle say of a run; None where it is not known, or does not apply.

    Attributes:
        data_name, data_path: of the maps.
        data_sha256: of the maps, whatever file they came from (`splits.content_hash`).
        part: of the data that is scored.
        split_method: one of `splits.METHODS`.
        split_sizes: wafers per part.
        near_copies_leaked: test wafers that a plain lot split would have left with a near-copy in another part.
        clean_wafers: share of the training maps.
        started_from: a source of `models.load_backbone_weights`.
        seconds: of training.
        citations: texts the data asks for.
        warnings: what a reader must know beside what the figures themselves say.
    """

    data_name: str = "unnamed data"
    data_path: str | None = None
    data_sha256: str | None = None
    part: str = "test"
    split_method: str | None = None
    split_sizes: Mapping[str, int] | None = None
    near_copies_leaked: int | None = None
    seed: int | None = None
    model: str = "wafer-map classifier"
    input: str | None = None
    parameters: int | None = None
    class_weights: str | None = None
    synthetic_training_maps: int | None = None
    clean_wafers: float | None = None
    unlabelled_training_maps: int | None = None
    teachers: int | None = None
    started_from: str | None = None
    epochs: int | None = None
    best_epoch: int | None = None
    validation_macro_f1: float | None = None
    seconds: float | None = None
    versions: Mapping[str, str] | None = None
    command: str | None = None
    citations: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values; what is not known is left out."""
        return {name: value for name, value in to_json(self).items() if value is not None}


NAMES = {
    "data_name": "data",
    "data_path": "file",
    "data_sha256": "SHA-256 of the maps",
    "part": "part scored",
    "split_method": "split",
    "split_sizes": "wafers per part",
    "near_copies_leaked": "leaked by a lot split",
    "synthetic_training_maps": "synthetic maps",
    "clean_wafers": "clean wafers, share",
    "unlabelled_training_maps": "unlabelled maps",
    "validation_macro_f1": "validation macro-F1",
    "seconds": "training seconds",
}
"""What a report calls a fact, where that is not its own name."""


def format_facts(facts: Facts) -> list[str]:
    """Return one line per fact that is known; citations and warnings have places of their own."""
    known = {f.name: getattr(facts, f.name) for f in fields(facts) if f.name not in ("citations", "warnings")}
    return [
        f"{NAMES.get(name, name.replace('_', ' ')):<22} {_value(value)}"
        for name, value in known.items()
        if value is not None
    ]


def facts_of(run: RunFolder) -> Facts:
    """Return the facts of a finished run.

    Raises:
        ModelError: report.json is missing, or does not say which model it is of.
    """
    found: Facts = _of_report(run, "facts", Facts)
    if found.input is None or found.parameters is None:
        raise ModelError(
            f"run folder {run.path}: report.json lacks the facts of its model. Restore it, or train again."
        )
    return found


def controls_of(run: RunFolder) -> Controls | None:
    """Return the controls of a finished run; raises as `facts_of` does."""
    found: Controls | None = _of_report(run, "controls", Controls | None)
    return found


def _of_report(run: RunFolder, key: str, kind: Any) -> Any:
    report = run.read_json("report.json")
    try:
        return from_json(kind, report[key], where=key)
    except (ValueError, KeyError, TypeError) as error:
        raise ModelError(
            f"run folder {run.path}: report.json lacks what a report of the run holds ({error!r})."
        ) from error


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_value(item)}" for key, item in value.items())
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}" if value >= 10_000 else str(value)
    return f"{value:.4g}" if isinstance(value, float) else str(value)
