"""A bundle whose decision, sets and points are those of another fab's wafers; model and gate stay as they are."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.gate.provenance import commit
from wafer_tf.as_json import to_json
from wafer_tf.bundle import CARD, Bundle, write_bundle
from wafer_tf.bundle_files import read_file
from wafer_tf.decision.fitting import Refit, refit_decision
from wafer_tf.decision.points import Point
from wafer_tf.decision.sets import Sets
from wafer_tf.decision.unknown_fitting import refit_unknown
from wafer_tf.dies import CLASSES
from wafer_tf.encoding import encode
from wafer_tf.errors import InputError
from wafer_tf.inference.interpreter import TfliteModel
from wafer_tf.inference.proven import ProvenModel
from wafer_tf.learning.branch import repeats_of
from wafer_tf.reporting.operating_report import format_summary
from wafer_tf.reporting.words import bullet, short
from wafer_tf.scoring.call_costs import Costs, measure
from wafer_tf.scoring.evidence import Evidence, Part
from wafer_tf.scoring.mix import Mix
from wafer_tf.scoring.operating import OperatingPoints, find_points
from wafer_tf.scoring.selective import Goal
from wafer_tf.splitting.splits import content_hash, make_folds
from wafer_tf.waferset import WaferSet

FOLDS = 5


@dataclass(frozen=True)
class Before:
    """What the old bundle does on the new wafers.

    Attributes:
        covered: of each class, the share of its wafers whose set holds it; NaN without wafers. None without sets.
        points: what each of its operating points costs.
    """

    covered: tuple[float, ...] | None
    points: Mapping[str, Costs]


@dataclass(frozen=True)
class Calibrated:
    """A bundle and what was found of it.

    Attributes:
        bundle: as a station would load the new one.
        data_name, data_sha256: of the maps.
        wafers, groups: labelled ones.
        refit: of the decision.
        before: the old bundle on these wafers.
        operating: the new points and sets, judged by wafers that did not choose them.
    """

    bundle: Bundle
    data_name: str
    data_sha256: str
    wafers: int
    groups: int
    refit: Refit
    before: Before
    operating: OperatingPoints

    def to_json(self) -> dict[str, Any]:
        """Return plain dicts, lists, numbers and strings; NaN becomes None."""
        found = {
            "bundle_before": self.bundle.provenance["calibrated"]["from_bundle_sha256"],
            "data_name": self.data_name,
            "data_sha256": self.data_sha256,
            "wafers": self.wafers,
            "groups": self.groups,
            "refit": {"kept": self.refit.kept, "log_loss": self.refit.log_loss},
            "decision": self.refit.decision,
            "before": self.before,
            "offered": self.operating.offered,
            "points": self.operating.named,
            "proofs": self.operating.proofs,
            "sets": self.operating.sets,
        }
        values: dict[str, Any] = to_json(found)
        return values


def calibrated(
    bundle: Bundle,
    wafers: WaferSet,
    *,
    data_name: str,
    mix: Mix | None,
    goals: Sequence[Goal],
    coverage: float,
    seed: int = 0,
) -> Calibrated:
    """Let the bundle's model answer a fab's wafers, and fit what is not the model.

    Args:
        bundle: loaded and checked.
        wafers: of the fab; those without a label are left out.
        data_name: what to call them.
        mix: class shares where the station works; None for those of the wafers.
        goals, coverage: see `find_points`.
        seed: of folds, draws and intervals.

    Raises:
        InputError: no labels, too few groups, no none wafer or no defect.
        ModelError: the model does not answer the golden maps as the bundle says.
    """
    kept = wafers.select(wafers.labelled)
    if not len(kept):
        raise InputError(f"{data_name}: no labelled wafer among {len(wafers)}; expected labels to calibrate by.")
    split = make_folds(kept, FOLDS, seed=seed, progress=True)
    label = kept.label.astype(np.int64)
    if mix is None:
        shares = np.bincount(label, minlength=len(CLASSES)) / len(label)
        mix = Mix(f"the mix of {data_name}", tuple(shares.tolist()))
    answers, features = _answers(ProvenModel(bundle, allow_slow=True).tflite, kept)
    weight = (mix.among(label) / np.maximum(np.bincount(label, minlength=len(CLASSES)), 1))[label]
    refit = refit_decision(answers, label, split.group, was=bundle.decision, weight=weight, seed=seed)
    part = Part(label, refit.decision.probabilities(answers), split.group)
    unknown = None
    if bundle.unknown is not None:
        unknown = refit_unknown(bundle.unknown, features, repeats_of(kept), label, part.prob.argmax(axis=1), split.part)
    operating = find_points(Evidence.of_folds(part, split.part), mix=mix, goals=goals, coverage=coverage, seed=seed)
    before = _before(bundle, Part(label, bundle.decision.probabilities(answers), split.group), mix, seed)
    golden = bundle.golden
    data_sha256 = content_hash(kept)
    new = replace(
        bundle,
        decision=refit.decision,
        golden=replace(golden, probabilities=refit.decision.probabilities(bundle.output.dequantize(golden.logits))),
        points=operating.offered,
        sets=operating.sets.shipped,
        unknown=unknown,
        gate={**bundle.gate, "of_bundle": bundle.sha256, "of_decision": bundle.decision.to_json()},
        provenance={
            **bundle.provenance,
            "calibrated": {
                "from_bundle_sha256": bundle.sha256,
                "from_release": bundle.release,
                "data_name": data_name,
                "data_sha256": data_sha256,
                "wafers": len(kept),
                "groups": int(split.stats["n_groups"]),
                "decision": refit.kept,
                "seed": seed,
                "commit": commit(),
                "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            },
        },
    )
    return Calibrated(
        bundle=new,
        data_name=data_name,
        data_sha256=data_sha256,
        wafers=len(kept),
        groups=int(split.stats["n_groups"]),
        refit=refit,
        before=before,
        operating=operating,
    )


def _answers(model: TfliteModel, wafers: WaferSet) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """Return (n, 9) real logits and (n, d) features of every map, in order; d is 0 where the file gives none."""
    from tqdm import tqdm

    shown = tqdm(range(len(wafers)), desc="answering", unit="map")
    answers = [model.answer(encode(wafers.map(i), model.input_size)) for i in shown]
    none = np.zeros(0, np.float32)
    return np.stack([found for found, _ in answers]), np.stack([none if f is None else f for _, f in answers])


def write_calibrated(
    path: str | os.PathLike[str],
    found: Calibrated,
    *,
    old: str | os.PathLike[str],
    release: int | None = None,
    replace: bool = False,
) -> str:
    """Write the new bundle beside the old one's model card; return its SHA-256.

    Args:
        path: the folder to make.
        found: of `calibrated`.
        old: folder of the old bundle.
        release: number of the new one; None for the old one's.
        replace: put it in the place of a bundle that is there.

    Raises:
        UsageError: `path` is there and `replace` was not given, or it is no bundle.
    """
    bundle = found.bundle
    card = read_file(old, CARD).decode("utf-8", "replace")
    return write_bundle(
        Path(path),
        model=bundle.model,
        input=bundle.input,
        output=bundle.output,
        input_size=bundle.input_size,
        decision=bundle.decision,
        golden=bundle.golden,
        features=bundle.features,
        unknown=bundle.unknown,
        xnnpack=bundle.xnnpack,
        passed=bundle.passed,
        gate=bundle.gate,
        provenance=bundle.provenance,
        card=f"{card}\n## Calibrated for another fab\n\n```\n{format_calibrated(found)}\n```\n",
        release=bundle.release if release is None else release,
        points=bundle.points,
        sets=bundle.sets,
        patterns=bundle.patterns,
        pattern_output=bundle.pattern_output,
        replace=replace,
    )


def format_calibrated(found: Calibrated) -> str:
    """Return what was found, as text at most 100 columns wide but for long names."""
    made, before = found.bundle.provenance["calibrated"], found.before
    lines = [
        f"Calibrated on {found.data_name}: {found.wafers:,} labelled wafers in {found.groups:,} groups",
        f"  bundle before   {made['from_bundle_sha256']}",
        f"  maps            {found.data_sha256}",
        "",
        f"Decision: {found.refit.kept}",
        *(
            f"  log loss at {found.operating.mix.name}, on other groups, {name:<22} {loss:.4f}"
            for name, loss in found.refit.log_loss.items()
        ),
        "",
        "The bundle before, on these wafers",
        f"  {'point':<18} {'escapes':>8} {'false alarms':>13} {'review':>7} {'error':>7}",
    ]
    for name, costs in before.points.items():
        rates = costs.escape_rate.value, costs.false_alarm_rate.value, costs.review_rate.value, costs.error_rate.value
        lines.append("  {:<18} {:>8} {:>13} {:>7} {:>7}".format(name, *map(short, rates)))
    if before.covered is not None:
        shown = ", ".join(f"{n} {short(v)}" for n, v in zip(CLASSES, before.covered, strict=True))
        lines += [f"  {line}" for line in bullet(f"share of each class's wafers whose set held it: {shown}")]
    return "\n".join(
        [
            *lines,
            "",
            "The new bundle, each wafer judged by what other groups chose",
            "",
            format_summary(found.operating),
            "",
            *bullet(
                "The gate's verdict and figures are those of the bundle before: they compare its int8 model with its "
                "float model under the decision of then, and were not measured again. The model and its golden logits "
                "are the same bytes; the golden probabilities are those of the new decision."
            ),
            *_of_patterns(found.bundle),
        ]
    )


def _of_patterns(bundle: Bundle) -> list[str]:
    if bundle.patterns is None:
        return []
    return bullet(
        "The thresholds of the patterns of wafers that have several are those of the bundle before: they are not "
        "refitted, since a label names one pattern alone."
    )


def _before(bundle: Bundle, part: Part, mix: Mix, seed: int) -> Before:
    def costs(point: Point) -> Costs:
        return measure(part.label, point.called(part.prob), part.group, mix=mix, draws=0, seed=seed)

    points = {"balanced": Point(), **bundle.points}
    return Before(
        covered=None if bundle.sets is None else _covered(bundle.sets, part),
        points={name: costs(point) for name, point in points.items()},
    )


def _covered(sets: Sets, part: Part) -> tuple[float, ...]:
    held = sets.members(part.prob)[np.arange(len(part)), part.label]
    return tuple(
        float(held[part.label == c].mean()) if (part.label == c).any() else np.nan for c in range(len(CLASSES))
    )
