"""How like real maps the synthetic ones are: a model of each kind scores both kinds, per class.

    python -m experiments.synthetic REAL_RUN SYNTHETIC_RUN [--out experiments/synthetic.json]

REAL_RUN is a run of training.fit on real maps, SYNTHETIC_RUN one on the built-in set, both with the same flags else.
Real maps are those of REAL_RUN's test part, synthetic ones are drawn anew with a seed of their own.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from training.runtime import quiet_tensorflow

SYNTHETIC_SEED = 1_000_003


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("real_run", type=Path)
    p.add_argument("synthetic_run", type=Path)
    p.add_argument("--per-class", type=int, default=100, help="synthetic maps of each class to score")
    p.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".json"))
    args = p.parse_args()
    quiet_tensorflow()
    from training.config import FitConfig
    from training.job import load_data
    from wafer_tf.groups import number_lots
    from wafer_tf.run_folder import RunFolder, predict_logits
    from wafer_tf.scores import score
    from wafer_tf.splits import Split
    from wafer_tf.synthesis import synthesize

    runs = {"real": RunFolder.open(args.real_run), "synthetic": RunFolder.open(args.synthetic_run)}
    configs = {name: FitConfig.from_json(run.read_json("config.json")["config"]) for name, run in runs.items()}
    wafers = load_data(configs["real"])
    split = Split.load(args.real_run / "split.npz", wafers)
    drawn = synthesize(args.per_class, seed=SYNTHETIC_SEED).wafers
    scored = {
        "real": (wafers.select(split.test), split.group[split.test]),
        "synthetic": (drawn, number_lots(drawn.lot)),
    }
    table: dict[str, Any] = {}
    for trained, run in runs.items():
        model, decision = run.model(), run.decision()
        for name, (maps, group) in scored.items():
            found = score(maps.label, decision.probabilities(predict_logits(model, maps)), group=group)
            table[f"{trained} on {name}"] = {
                "macro_f1": [round(v, 4) for v in (found.macro_f1.value, found.macro_f1.low, found.macro_f1.high)],
                "balanced_accuracy": round(found.balanced_accuracy.value, 4),
                "recall": {c.name: round(c.recall.value, 3) for c in found.classes},
                "precision": {c.name: round(c.precision.value, 3) for c in found.classes},
            }
    commands = {name: run.read_json("config.json")["command"] for name, run in runs.items()}
    args.out.write_text(json.dumps({"commands": commands, "scores": table}, indent=1) + "\n")
    print(json.dumps(table, indent=1))


if __name__ == "__main__":
    main()
