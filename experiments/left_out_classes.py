"""Is a class that was never learned found unknown? Nine trainings, each without one of the classes.

    python -m experiments.left_out_classes --run runs/release/nano --epochs 6

Each model learns the run's recipe on four folds without a class, then its branch; the wafers of the first fold judge:
those of the class left out against the others, at the fold's own mix. Writes left_out_classes.json; classes that are in
it already are not trained again.
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
        learned = wafers.select(np.flatnonzero((split.part != 0) & (wafers.label != left)))
        judged = wafers.select(np.flatnonzero(split.part == 0))
        model, _ = train(config, run, training=learned, validation=None, strategy=strategy)
        with_branch, numbers = branch_of(config, model, learned, NAMES)
        both = parts(features_of(with_branch, judged)[1], *numbers)
        known = judged.label != left
        scale = np.quantile(both[known], SCALE, axis=0).T
        strange = strangeness(both, scale)
        limits = np.quantile(strange[known], (0.99, 0.95))
        found["classes"][name] = {
            "wafers": int((~known).sum()),
            "auroc": round(auroc(strange[known], strange[~known]), 4),
            "auroc_distance": round(auroc(both[known, 0], both[~known, 0]), 4),
            "auroc_branch": round(auroc(both[known, 1], both[~known, 1]), 4),
            "flagged_at_0.01": round(float((strange[~known] > limits[0]).mean()), 4),
            "flagged_at_0.05": round(float((strange[~known] > limits[1]).mean()), 4),
        }
        print(name, found["classes"][name], flush=True)
        facts = {"commit": commit(), "model": config.model.architecture, "width": config.model.width}
        facts |= {"epochs": config.epochs, "known_wafers": int(known.sum())}
        args.out.write_text(json.dumps(facts | {"classes": found["classes"]}, indent=1) + "\n")


if __name__ == "__main__":
    main()
