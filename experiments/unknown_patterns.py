"""What the released int8 models say of patterns they have never learned: `synthesis.others`, 60 wafers a family.

    python -m experiments.unknown_patterns --grids ../shared/data/wm811k/wm811k_dev.npz wafer nano

Counts what each family is called most, how many wafers are called none with a probability of 0.9 or more, and how many
are left for review. Writes unknown_patterns.json.
"""

import json
from collections import Counter
from pathlib import Path

import numpy as np

from wafer_tf.command import CommandParser

WAFERS = 60
SURE = 0.9


def main() -> None:
    p = CommandParser("python -m experiments.unknown_patterns", __doc__)
    p.add_argument("models", nargs="+", metavar="MODEL")
    p.add_argument("--grids", type=Path, required=True, help="wafers whose die grids are used")
    p.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".json"))
    args = p.parse_args()
    from experiments import commit
    from wafer_tf.decision import REVIEW_BELOW
    from wafer_tf.dies import CLASSES, NONE
    from wafer_tf.model import load
    from wafer_tf.readers import read
    from wafer_tf.synthesis.others import FAMILIES, draw_others

    wafers = read(args.grids)
    grids = [wafers.map(i) for i in range(0, len(wafers), 8)]
    models, rows = {name: load(name) for name in args.models}, []
    for kind, families in FAMILIES.items():
        for family in families:
            drawn = draw_others(family, WAFERS, seed=0, grids=grids)
            row = {"kind": kind, "family": family, "models": {}}
            for name, model in models.items():
                prob = model.probabilities(drawn)
                (called, count), *_ = Counter(prob.argmax(axis=1).tolist()).most_common(1)
                row["models"][name] = {
                    "called_most": CLASSES[called],
                    "called_so": count,
                    "none_and_sure": int((prob[:, NONE] >= SURE).sum()),
                    "sure": int((prob.max(axis=1) >= SURE).sum()),
                    "review": int((prob.max(axis=1) < REVIEW_BELOW).sum()),
                    "mean_largest_probability": round(float(np.mean(prob.max(axis=1))), 3),
                }
            rows.append(row)
            print(json.dumps(row))
    facts = {"commit": commit(), "wafers_of_each": WAFERS, "sure": SURE, "families": rows}
    args.out.write_text(json.dumps(facts, indent=1) + "\n")


if __name__ == "__main__":
    main()
