"""One recipe against another on the same folds: `python -m experiments.two_runs runs/before runs/after`.

Both runs were trained by the same folds of the same maps; folds that only one has finished are left out. The class
biases of a fold, and the thresholds for several patterns, are fitted on the other folds here. The difference is paired:
95 % intervals over groups. Writes two_runs.json.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np

from wafer_tf.as_json import to_json
from wafer_tf.command import CommandParser


def main() -> None:
    p = CommandParser("python -m experiments.two_runs", __doc__)
    p.add_argument("runs", type=Path, nargs=2, metavar="RUN", help="the earlier recipe, then the later")
    p.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".json"))
    args = p.parse_args()
    from edge.gate.comparison import compare
    from experiments import commit
    from training.job import load_config, load_data
    from training.mixed import load_mixed
    from wafer_tf.learning.run_folder import RunFolder
    from wafer_tf.splitting.splits import Split

    runs = [RunFolder.open(path, finished=False) for path in args.runs]
    configs = [load_config(run) for run in runs]
    wafers = load_data(configs[1])
    splits = [Split.load(run.path / "split.npz", wafers) for run in runs]
    if not np.array_equal(splits[0].part, splits[1].part):
        raise SystemExit(f"{args.runs[0]} and {args.runs[1]}: other folds; expected the same maps, --folds and --seed.")
    split = splits[1]
    done = [fold for fold in range(split.folds) if all((run.path / f"folds/{fold + 1}/DONE").exists() for run in runs)]
    if len(done) < 2:
        raise SystemExit(f"{args.runs[0]} and {args.runs[1]}: {len(done)} folds finished by both; expected two.")
    mixed = None
    if all(config.mixed for config in configs):
        mixed = load_mixed(configs[1], runs[1], wafers, split)
    answers = [_answers(run, done, wafers, split, mixed) for run in runs]
    judged = np.isin(split.part, done)

    def row(rows: "np.ndarray") -> dict[str, Any]:
        before, after = (prob[rows] for prob, _ in answers)
        found = compare(wafers.label[rows], before, after, group=split.group[rows])
        return {
            "wafers": found.wafers,
            "before": to_json(found.macro_f1_float),
            "after": to_json(found.macro_f1),
            "gain_points": {
                "value": -100 * found.macro_f1_drop.value,
                "low": -100 * found.macro_f1_drop.high,
                "high": -100 * found.macro_f1_drop.low,
            },
        }

    record: dict[str, Any] = {
        "commit": commit(),
        "differ": {
            key: [before, after]
            for (key, before), after in zip(configs[0].to_json().items(), configs[1].to_json().values(), strict=True)
            if before != after
        },
        "folds": [fold + 1 for fold in done],
        "all": row(np.flatnonzero(judged)),
        "each": [row(np.flatnonzero(split.part == fold)) for fold in done],
    }
    if mixed is not None:
        own = [np.flatnonzero(mixed[1].part == fold) for fold in done]
        record["mixed_exact"] = [[float(right[rows].mean()) for rows in own] for _, right in answers]
    args.out.write_text(json.dumps(record, indent=1) + "\n")
    print(json.dumps(record, indent=1))


def _answers(run: Any, done: list[int], wafers: Any, split: Any, mixed: Any) -> tuple["np.ndarray", "np.ndarray"]:
    """Return (n, 9) probabilities of the wafers, and of the mixed ones whether exactly their patterns are found."""
    from training.several import Heard, fitted
    from wafer_tf.decision.fitting import fit_decision
    from wafer_tf.pattern_bits import PATTERNS, bits_of_labels
    from wafer_tf.scoring.several import found_patterns

    def read(part: str, to: "np.ndarray", wide: int) -> "np.ndarray":
        found = np.zeros((len(to), wide), np.float32)
        for fold in done:
            found[to == fold] = np.load(run.path / f"folds/{fold + 1}/logits.npz")[part]
        return found

    logits, prob = read("test", split.part, 9), np.zeros((len(wafers), 9))
    right = np.zeros(0 if mixed is None else len(mixed[0]), bool)
    if mixed is not None:
        maps, mixed_split = mixed
        bits = np.where(maps.several, maps.patterns, bits_of_labels(maps.label)).astype(np.uint8)
        mixed_logits = read("mixed", mixed_split.part, 9)
        sigmoids = read("mixed_patterns", mixed_split.part, len(PATTERNS))
        own_sigmoids = read("test_patterns", split.part, len(PATTERNS))
    for fold in done:
        others = np.isin(split.part, done) & (split.part != fold)
        decision = fit_decision(logits[others], wafers.label[others], split.group[others])
        prob[split.part == fold] = decision.probabilities(logits[split.part == fold])
        if mixed is not None:
            several = Heard(decision.probabilities(mixed_logits), sigmoids, bits, mixed_split.group)
            known = bits_of_labels(wafers.label).astype(np.uint8)
            singles = Heard(decision.probabilities(logits), own_sigmoids, known, split.group)
            others_mixed = np.isin(mixed_split.part, done) & (mixed_split.part != fold)
            rule = fitted(several.at(others_mixed), singles.at(others))
            rows = mixed_split.part == fold
            right[rows] = found_patterns(rule, several.patterns[rows], several.called[rows]) == bits[rows]
    return prob, right


if __name__ == "__main__":
    main()
