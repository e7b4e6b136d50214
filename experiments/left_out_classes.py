"""Is a class that was never learned found unknown? Nine trainings, each without one of the classes.

    python -m experiments.left_out_classes --run runs/release/nano --epochs 6

Each model learns the run's recipe on four folds without a class, then its branch on three of them, the others say what
known wafers score, as in a release: the classifier has learned them, the branch has not. The wafers of the first fold,
which neither has learned, judge: those of the class left out, and how many of the known are flagged, where a release
says 1 in 100. Writes left_out_classes.json; classes that are in it already are not trained again.
"""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np

from wafer_tf.command import CommandParser


def main() -> None:
    p = CommandParser("python -m experiments.left_out_classes", __doc__)
    p.add_argument("--run", type=Path, required=True, help="a run by folds: whose data, folds and recipe are used")
    p.add_argument("--epochs", type=int, default=6, help="of the classifier (default 6)")
    p.add_argument("--work", type=Path, default=Path("runs/left_out"), help="default runs/left_out")
    p.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".json"))
    args = p.parse_args()
    from wafer_tf.learning.quiet import quiet_tensorflow

    quiet_tensorflow()
    from experiments import commit
    from training.job import load_config, load_data
    from training.runtime import prepare
    from training.train import train
    from training.unknown import branch_of
    from training.unknown_report import auroc
    from wafer_tf.decision.unknown import parts, strangeness
    from wafer_tf.decision.unknown_fitting import SCALE
    from wafer_tf.dies import CLASSES
    from wafer_tf.learning.branch import features_of
    from wafer_tf.learning.run_folder import RunFolder
    from wafer_tf.splitting.splits import Split
    from wafer_tf.synthesis.others import NAMES

    whole = RunFolder.open(args.run)
    config = replace(load_config(whole), epochs=args.epochs)
    strategy = prepare(seed=config.seed, precision="float32", require_gpu=False)
    wafers = load_data(config)
    split = Split.load(args.run / "split.npz", wafers)
    found = json.loads(args.out.read_text()) if args.out.exists() else {"classes": {}}
    for left, name in enumerate(CLASSES):
        if name in found["classes"]:
            continue
        path = args.work / name
        shutil.rmtree(path, ignore_errors=True)
        run = RunFolder.create(path)
        run.write_json("config.json", {"config": config.to_json()})
        kept = wafers.label != left
        learned, without, judged = (
            wafers.select(np.flatnonzero(rows))
            for rows in (kept & (split.part > 0), kept & (split.part > 1), split.part == 0)
        )
        model, _ = train(config, run, training=learned, validation=None, strategy=strategy)
        with_branch, numbers = branch_of(config, model, without, NAMES)
        fresh = parts(features_of(with_branch, wafers.select(np.flatnonzero(kept & (split.part == 1))))[1], *numbers)
        scale = np.quantile(fresh, SCALE, axis=0).T
        limits = np.quantile(strangeness(fresh, scale), (0.99, 0.95))
        both, known = parts(features_of(with_branch, judged)[1], *numbers), judged.label != left
        strange = strangeness(both, scale)
        found["classes"][name] = {
            "wafers": int((~known).sum()),
            "auroc": round(auroc(strange[known], strange[~known]), 4),
            "auroc_distance": round(auroc(both[known, 0], both[~known, 0]), 4),
            "auroc_branch": round(auroc(both[known, 1], both[~known, 1]), 4),
            **{
                f"{whose}flagged_at_{share}": round(float((strange[rows] > limit).mean()), 4)
                for whose, rows in (("", ~known), ("known_", known))
                for share, limit in zip((0.01, 0.05), limits, strict=True)
            },
        }
        print(name, found["classes"][name], flush=True)
        facts = {"commit": commit(), "model": config.model.architecture, "width": config.model.width}
        facts |= {"epochs": config.epochs}
        args.out.write_text(json.dumps(facts | {"classes": found["classes"]}, indent=1) + "\n")


if __name__ == "__main__":
    main()
