"""How far a random split could flatter the figures on mixed wafers: `python -m experiments.random_split RUN`.

Published figures on MixedWM38 are of random splits: of two near-copies one may be learned and the other judged. Here
near-copies share a fold. Counted is how many mixed wafers of a finished run by folds have a near-copy, and on how many
of these the patterns are not found exactly, out of fold. A random split could add these at most, if a near-copy helps
its own copy alone. Writes random_split.json.
"""

import json
from pathlib import Path

import numpy as np

from wafer_tf.command import CommandParser


def main() -> None:
    p = CommandParser("python -m experiments.random_split", __doc__)
    p.add_argument("run", type=Path, metavar="RUN", help="a finished run by folds with --mixed FILE")
    p.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".json"))
    args = p.parse_args()
    from experiments import commit
    from training.job import load_config, load_data
    from training.mixed import load_mixed
    from training.several import Heard, fitted
    from wafer_tf.learning.run_folder import RunFolder
    from wafer_tf.pattern_bits import bits_of_labels
    from wafer_tf.scoring.several import found_patterns
    from wafer_tf.splitting.splits import Split

    run = RunFolder.open(args.run)
    config, decision = load_config(run), run.decision()
    wafers = load_data(config)
    split = Split.load(args.run / "split.npz", wafers)
    mixed, mixed_split = load_mixed(config, run, wafers, split)

    def heard(logits: "np.ndarray", patterns: str, bits: "np.ndarray", of: Split) -> Heard:
        said = run.read_array("patterns.npz", patterns).astype(np.float32)
        return Heard(decision.probabilities(logits.astype(np.float32)), said, bits.astype(np.uint8), of.group)

    bits = np.where(mixed.several, mixed.patterns, bits_of_labels(mixed.label))
    several = heard(run.read_array("patterns.npz", "mixed_logits"), "mixed", bits, mixed_split)
    singles = heard(run.read_array("logits.npz", "test"), "wafers", bits_of_labels(wafers.label), split)
    right = np.zeros(len(mixed), bool)
    for fold in range(split.folds):
        own = mixed_split.part == fold
        rule = fitted(several.at(~own), singles.at(split.part != fold))
        right[own] = found_patterns(rule, several.patterns[own], several.called[own]) == several.bits[own]
    _, place, count = np.unique(mixed_split.group, return_inverse=True, return_counts=True)
    copied = count[place] > 1
    record = {
        "commit": commit(),
        "run": args.run.name,
        "wafers": len(mixed),
        "with_a_near_copy": int(copied.sum()),
        "of_these_not_exact": int((copied & ~right).sum()),
        "exact_by_group": float(right.mean()),
        "exact_at_most": float((right | copied).mean()),
    }
    args.out.write_text(json.dumps(record, indent=1) + "\n")
    print(json.dumps(record, indent=1))


if __name__ == "__main__":
    main()
