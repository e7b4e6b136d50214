"""Whether stated errors hold: sets, points and proofs of the released models, and at another fab before and after.

    python -m experiments.stated_error --data wm811k_full_dev.npz wm811k_none_extra.npz [--out FILE]

First the released models' answers out of fold, float: points, proofs and sets chosen on four folds and judged on the
fifth, in turn; the decision, ten numbers fitted on all of them, is the released one. Then a synthetic fab, maps of
other grids and of drawn patterns, each a lot of its own: the int8 bundle with the points and sets of the first part, on
maps drawn with one seed; the bundle calibrated on maps drawn with another seed; and that one on the first maps again.
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wafer_tf.command import CommandParser

if TYPE_CHECKING:
    from wafer_tf.bundle import Bundle
    from wafer_tf.scoring.evidence import Part
    from wafer_tf.scoring.operating import OperatingPoints

MAX_ERRORS = (0.01, 0.02, 0.005)
COUNTS = {"none": 1200} | dict.fromkeys(
    ("Center", "Donut", "Edge-Loc", "Edge-Ring", "Loc", "Near-full", "Random", "Scratch"), 225
)
CALIBRATE_SEED, JUDGE_SEED = 81_001, 81_002


def main() -> None:
    p = CommandParser("python -m experiments.stated_error", __doc__)
    p.add_argument("--data", required=True, nargs="+", metavar="PATH", help="the maps of the released models, in order")
    p.add_argument("--models", nargs="+", default=["wafer", "nano"])
    p.add_argument("--fab-models", nargs="*", default=["nano"], help="of these also the synthetic fab")
    p.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".json"))
    args = p.parse_args()
    import numpy as np

    from wafer_tf.bundle import load_bundle
    from wafer_tf.learning.run_folder import RunFolder
    from wafer_tf.readers import read
    from wafer_tf.released import released
    from wafer_tf.scoring.evidence import Evidence, Part
    from wafer_tf.scoring.operating import find_points
    from wafer_tf.scoring.selective import Goal
    from wafer_tf.splitting.splits import Split
    from wafer_tf.waferset import WaferSet

    wafers = WaferSet.concatenate([read(path) for path in args.data])
    wafers = wafers.select(wafers.labelled)
    record: dict[str, Any] = {"out_of_fold": {}, "synthetic_fab": {}}
    for name in args.models:
        run = RunFolder.open(released(name))
        split = Split.load(run.path / "split.npz", wafers)
        prob = run.decision().probabilities(np.asarray(run.read_array("logits.npz", "test"), np.float32))
        part = Part(wafers.label.astype(np.int64), prob, split.group)
        found = find_points(Evidence.of_split(part, split), goals=[Goal(e) for e in MAX_ERRORS], draws=1000)
        record["out_of_fold"][name] = summary(found)
        if name in args.fab_models:
            bundle = load_bundle(run.path / "bundle", allow_ungated=True)
            record["synthetic_fab"][name] = fab(replace(bundle, points=found.offered, sets=found.sets.sets))
    args.out.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(f"wrote {args.out}")


def summary(found: "OperatingPoints") -> dict[str, Any]:
    """Return what the documents say of points, proofs and sets."""
    rounded = {named.name: [round(rate, 4) for rate in named.rates] for named in found.named}
    return {
        "wafers": found.wafers,
        "groups": found.groups,
        "points": {
            named.name: {
                "offered": named.kept,
                "why": named.why,
                **({} if named.point is None else named.point.to_json()),
                "promised_rate_by_fold": rounded[named.name],
                **({} if named.costs is None else rates(named.costs)),
            }
            for named in found.named
        },
        "proofs": {
            proof.goal.name: {
                "max_error": proof.goal.max_error,
                "drawn": sum(proof.drawn),
                "proven": proof.proven is not None,
                "why": proof.why,
                **(
                    {}
                    if proof.proven is None
                    else {
                        "review_below": proof.proven.review_below,
                        "coverage": round(proof.proven.coverage, 4),
                        "error_of_all_wafers": round(proof.proven.error, 4),
                        "answered": proof.proven.answered,
                        "errors": proof.proven.errors,
                        "bound": round(proof.proven.bound, 4),
                    }
                ),
            }
            for proof in found.proofs
        },
        "sets": {
            "coverage": found.sets.coverage,
            "empty": found.sets.empty,
            "sizes": list(found.sets.sizes),
            "classes": {
                c.name: {
                    "wafers": c.wafers,
                    "groups": c.groups,
                    "least": c.least,
                    "covered": [round(v, 4) for v in (c.covered.value, c.covered.low, c.covered.high)],
                    "of_groups": round(c.of_groups, 4),
                    "called": round(c.called, 4),
                    "size": round(c.size, 3),
                }
                for c in found.sets.classes
            },
        },
    }


def rates(costs: Any) -> dict[str, float]:
    """Return the rates of a point."""
    names = ("escape_rate", "false_alarm_rate", "review_rate", "error_rate")
    return {name: round(getattr(costs, name).value, 4) for name in names}


def fab(bundle: "Bundle") -> dict[str, Any]:
    """Return how a bundle does at the synthetic fab as it is, and calibrated on other maps of that fab."""
    import numpy as np

    from edge.gate.calibrated import calibrated
    from edge.gate.candidate import logits
    from wafer_tf.inference.interpreter import TfliteModel
    from wafer_tf.scoring.evidence import Part
    from wafer_tf.scoring.mix import NATURAL
    from wafer_tf.scoring.selective import Goal
    from wafer_tf.synthesis import synthesize

    judging = synthesize(COUNTS, seed=JUDGE_SEED).wafers
    answers = logits(TfliteModel(bundle.model), judging, progress="judging")

    def judged(one: "Bundle") -> dict[str, Any]:
        label = judging.label.astype(np.int64)
        return behaviour(one, Part(label, one.decision.probabilities(answers), np.arange(len(label))))

    calibration = synthesize(COUNTS, seed=CALIBRATE_SEED).wafers
    goals = [Goal(e) for e in MAX_ERRORS]
    new = calibrated(bundle, calibration, data_name="a synthetic fab", mix=NATURAL, goals=goals, coverage=0.9, seed=0)
    return {
        "calibration_maps": len(calibration),
        "judging_maps": len(judging),
        "decision_kept": new.refit.kept,
        "log_loss_on_other_groups": {name: round(loss, 4) for name, loss in new.refit.log_loss.items()},
        "not_offered_after": {named.name: named.why for named in new.operating.named if not named.kept},
        "before": judged(bundle),
        "after": judged(new.bundle),
    }


def behaviour(bundle: "Bundle", part: "Part") -> dict[str, Any]:
    """Return what a bundle's points and sets do on wafers, at WM-811K's mix."""
    import numpy as np

    from wafer_tf.dies import CLASSES
    from wafer_tf.scoring.call_costs import measure
    from wafer_tf.scoring.mix import NATURAL

    weight = (NATURAL.array / np.bincount(part.label, minlength=len(CLASSES)))[part.label]
    loss = np.average(-np.log(np.maximum(part.prob[np.arange(len(part)), part.label], 1e-12)), weights=weight)
    found: dict[str, Any] = {"log_loss": round(float(loss), 4), "points": {}}
    for name, point in bundle.points.items():
        costs = measure(part.label, point.called(part.prob), part.group, mix=NATURAL, draws=0, seed=0)
        found["points"][name] = rates(costs)
    if bundle.sets is not None:
        members = bundle.sets.members(part.prob)
        held = members[np.arange(len(part)), part.label]
        found["covered"] = {name: round(float(held[part.label == c].mean()), 4) for c, name in enumerate(CLASSES)}
        found["classes_in_a_set"] = round(float(members.sum(axis=1).mean()), 3)
    return found


if __name__ == "__main__":
    main()
