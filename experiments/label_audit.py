"""Which labels are doubtful: those that models which did not learn from a wafer's fold contradict most surely.

    pip install cleanlab==2.7.1
    python -m experiments.label_audit runs/release/wafer --sheet doubtful.png

Needs cleanlab, which no other part of the project does: confident learning (Northcutt, Jiang & Chuang, JAIR 70, 2021)
on a run's answers out of fold. No label is changed. Writes label_audit.json: the 100 most doubtful labels by the row of
the run's maps, with the name that is given and the one that is believed, and how many labels are doubted from which
class to which. `--sheet` draws the 100 maps with both names.
"""

import json
from pathlib import Path

import numpy as np

from wafer_tf.command import CommandParser
from wafer_tf.dies import CLASSES

SHOWN = 100


def main() -> None:
    p = CommandParser("python -m experiments.label_audit", __doc__)
    p.add_argument("run", type=Path, metavar="RUN", help="a finished run by folds")
    p.add_argument("--data", metavar="PATH", help="the run's maps (default: where the run found them)")
    p.add_argument("--sheet", type=Path, metavar="PNG", help="draw the maps here; they are not ours to give away")
    p.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".json"))
    args = p.parse_args()
    from dataclasses import replace

    from cleanlab.filter import find_label_issues  # type: ignore[import-not-found]

    from experiments import commit
    from training.job import load_config, load_data
    from training.out_of_fold import decide_out_of_fold
    from wafer_tf.learning.run_folder import RunFolder
    from wafer_tf.splitting.splits import Split

    run = RunFolder.open(args.run)
    config = load_config(run)
    wafers = load_data(replace(config, data=args.data or config.data))
    split = Split.load(args.run / "split.npz", wafers)
    prob = decide_out_of_fold(run.read_array("logits.npz", "test").astype(np.float32), wafers.label, split)
    rows = find_label_issues(wafers.label, prob, return_indices_ranked_by="self_confidence")
    called, pairs = prob.argmax(axis=1), np.zeros((len(CLASSES), len(CLASSES)), int)
    np.add.at(pairs, (wafers.label[rows], called[rows]), 1)
    doubtful = [
        {
            "row": int(i),
            "lot": str(wafers.lot[i]),
            "wafer_index": int(wafers.wafer_index[i]),
            "given": CLASSES[wafers.label[i]],
            "believed": CLASSES[called[i]],
            "probability_of_given": round(float(prob[i, wafers.label[i]]), 6),
        }
        for i in rows[:SHOWN]
    ]
    labels = wafers.class_counts()
    record = {
        "commit": commit(),
        "run": args.run.name,
        "wafers": len(wafers),
        "doubted": len(rows),
        "doubted_of_class": {
            name: {"wafers": int(labels[c]), "doubted": int(pairs[c].sum())} for c, name in enumerate(CLASSES)
        },
        "doubted_as": {
            f"{CLASSES[given]} as {CLASSES[believed]}": int(pairs[given, believed])
            for given, believed in np.argwhere(pairs >= 20).tolist()
        },
        "most_doubtful": doubtful,
    }
    args.out.write_text(json.dumps(record, indent=1) + "\n")
    print({key: record[key] for key in ("wafers", "doubted", "doubted_of_class", "doubted_as")})
    if args.sheet is not None:
        from wafer_tf.figures.errors import error_sheet
        from wafer_tf.figures.style import save, style

        shown = rows[:SHOWN]
        with style():
            save(error_sheet(wafers.select(shown), label=wafers.label[shown], prob=prob[shown], most=SHOWN), args.sheet)


if __name__ == "__main__":
    main()
