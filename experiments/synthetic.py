"""How like real maps the synthetic ones are: a model of each kind scores both kinds, per class.

    python -m experiments.synthetic REAL_RUN SYNTHETIC_RUN [--out experiments/synthetic.json]

REAL_RUN is a run of training.fit on real maps, SYNTHETIC_RUN one on the built-in set, both with the same flags else.
Real maps are those of REAL_RUN's test part, synthetic ones are drawn anew with a seed of their own: once on the die
grids of the built-in set, which all classes share, and once on the die grids of the real maps of each class. Between
these two lies what REAL_RUN reads from the die grid alone. The built-in set holds as many maps of each class, the real
one does not: SYNTHETIC_RUN is scored a second time with nine class biases fitted on the real validation part.
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wafer_tf.command import CommandParser
from wafer_tf.learning.quiet import quiet_tensorflow

if TYPE_CHECKING:
    from wafer_tf.scoring.scores import Scores

SYNTHETIC_SEED = 1_000_003


def _row(found: "Scores") -> dict[str, Any]:
    return {
        "macro_f1": [round(v, 4) for v in (found.macro_f1.value, found.macro_f1.low, found.macro_f1.high)],
        "balanced_accuracy": round(found.balanced_accuracy.value, 4),
        "recall": {c.name: round(c.recall.value, 3) for c in found.classes},
        "precision": {c.name: round(c.precision.value, 3) for c in found.classes},
    }


def main() -> None:
    p = CommandParser("python -m experiments.synthetic", __doc__)
    p.add_argument("real_run", type=Path)
    p.add_argument("synthetic_run", type=Path)
    p.add_argument("--per-class", type=int, default=100, help="synthetic maps of each class to score")
    p.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".json"))
    args = p.parse_args()
    quiet_tensorflow()
    import numpy as np

    from training.config import FitConfig
    from training.job import load_data
    from wafer_tf.decision.fitting import fit_decision
    from wafer_tf.dies import CLASSES
    from wafer_tf.learning.prediction import predict_logits
    from wafer_tf.learning.run_folder import RunFolder
    from wafer_tf.scoring.scores import score
    from wafer_tf.splitting.groups import number_lots
    from wafer_tf.splitting.splits import Split
    from wafer_tf.synthesis import synthesize
    from wafer_tf.waferset import WaferSet

    runs = {"real": RunFolder.open(args.real_run), "synthetic": RunFolder.open(args.synthetic_run)}
    configs = {name: FitConfig.from_json(run.read_json("config.json")["config"]) for name, run in runs.items()}
    wafers = load_data(configs["real"])
    split = Split.load(args.real_run / "split.npz", wafers)
    test = wafers.select(split.test)
    drawn = synthesize(args.per_class, seed=SYNTHETIC_SEED).wafers
    own_grids = WaferSet.concatenate(
        [
            synthesize({name: args.per_class}, seed=SYNTHETIC_SEED, grids=[test.map(i) for i in of_class]).wafers
            for name, of_class in ((name, np.flatnonzero(test.label == c).tolist()) for c, name in enumerate(CLASSES))
        ]
    )
    scored = {
        "real": (test, split.group[split.test]),
        "synthetic": (drawn, number_lots(drawn.lot)),
        "synthetic with each class's real grids": (own_grids, number_lots(own_grids.lot)),
    }
    models = {name: run.model() for name, run in runs.items()}
    validation = wafers.select(split.validation)
    biased = fit_decision(
        predict_logits(models["synthetic"], validation), validation.label, split.group[split.validation]
    )
    table: dict[str, Any] = {}
    for trained, model in models.items():
        decision = runs[trained].decision()
        for name, (maps, group) in scored.items():
            logits = predict_logits(model, maps)
            table[f"{trained} on {name}"] = _row(score(maps.label, decision.probabilities(logits), group=group))
            if (trained, name) == ("synthetic", "real"):
                found = score(maps.label, biased.probabilities(logits), group=group)
                table["synthetic, class biases fitted on real maps, on real"] = _row(found)
    commands = {name: run.read_json("config.json")["command"] for name, run in runs.items()}
    args.out.write_text(json.dumps({"commands": commands, "scores": table}, indent=1) + "\n")
    print(json.dumps(table, indent=1))


if __name__ == "__main__":
    main()
