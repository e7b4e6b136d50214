"""What int8 keeps of the unknown score on families of patterns that were never learned, fold by fold.

    python -m experiments.unknown_int8 runs/release/wafer --folds 1 2 3

The branch of a fold is trained as the run trained it, on the classifier of that fold, and quantized as what ships is.
Its int8 file and the float model are asked about the families that the fold has not learned and about KNOWN wafers of
the fold. The scales and quantiles are the run's. Writes unknown_int8.json.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wafer_tf.command import CommandParser

KNOWN = 4_000


def main() -> None:
    p = CommandParser("python -m experiments.unknown_int8", __doc__)
    p.add_argument("run", type=Path, metavar="RUN")
    p.add_argument("--folds", type=int, nargs="+", default=[1], metavar="K")
    p.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".json"))
    args = p.parse_args()
    from wafer_tf.learning.quiet import quiet_tensorflow

    quiet_tensorflow()
    from dataclasses import replace

    from edge.quantization.calibration import choose
    from edge.quantization.quantize import quantizer
    from edge.quantization.recipes import DEFAULT_MAPS, attempts
    from experiments import commit
    from training.job import load_config, load_data
    from training.runtime import prepare
    from training.unknown import JUDGED, _also_known, _drawn, _grids, _unseen, branch_of
    from training.unknown_report import auroc
    from wafer_tf.decision.unknown import UNKNOWN_ABOVE, Unknown
    from wafer_tf.encoding import encode
    from wafer_tf.inference.interpreter import TfliteModel
    from wafer_tf.learning.branch import features_of, repeats_of
    from wafer_tf.learning.run_folder import RunFolder
    from wafer_tf.splitting.splits import Split
    from wafer_tf.synthesis.others import NAMES
    from wafer_tf.waferset import WaferSet

    run, record = RunFolder.open(args.run), json.loads(args.out.read_text()) if args.out.exists() else {}
    config, decision = load_config(run), run.decision()
    prepare(seed=config.seed, precision="float32", require_gpu=False)
    wafers = load_data(config)
    split = Split.load(args.run / "split.npz", wafers)
    shipped = Unknown.from_bytes((args.run / "unknown.npz").read_bytes())
    folds: list[tuple[list[str], int, dict[str, NDArray[np.float64]]]] = []
    for fold in (number - 1 for number in args.folds):
        unseen = _unseen(split, fold)
        inside, judged = (wafers.select(np.flatnonzero(part)) for part in (split.part != fold, split.part == fold))
        classifier = RunFolder.open(args.run / "folds" / str(fold + 1)).whole_model()
        families = [name for name in NAMES if name not in unseen]
        model, (mean, whiten, head) = branch_of(config, classifier, inside, families, _also_known(config))
        unknown = replace(shipped, mean=mean, whiten=whiten, head=head)
        count, grids = min(JUDGED, max(len(judged) // 20, 10)), _grids(judged)
        some = judged.select(np.sort(np.random.default_rng(0).permutation(len(judged))[:KNOWN]))
        maps = WaferSet.concatenate(
            [some, *(_drawn(family, count, seed=config.seed + 1, grids=grids) for family in unseen)]
        )
        regular = repeats_of(maps)

        def score(logits: Any, features: Any, unknown: Unknown = unknown, regular: Any = regular) -> Any:
            return unknown.score(features, regular, decision.probabilities(logits).argmax(axis=1))

        with quantizer(model) as files:
            calibration = choose(inside, DEFAULT_MAPS, seed=0, size=files.input_size)
            (attempt, *_) = attempts("int8", DEFAULT_MAPS, available=len(inside))
            file = TfliteModel(files.integer(attempt, calibration))
        answers = [file.answer(encode(maps.map(i), file.input_size)) for i in range(len(maps))]
        int8 = np.stack([found for found, _ in answers]), np.stack([found for _, found in answers])  # type: ignore[misc]
        folds.append((unseen, len(some), {"float": score(*features_of(model, maps)), "int8": score(*int8)}))
    found: dict[str, Any] = {"folds": args.folds, "known": sum(known for _, known, _ in folds)}
    for kind in ("float", "int8"):
        rows = {}
        for unseen, known, scores in folds:
            for family, part in zip(unseen, np.split(scores[kind][known:], len(unseen)), strict=True):
                rows[family] = {
                    "auroc": round(auroc(scores[kind][:known], part), 4),
                    "flagged": round(float((part > UNKNOWN_ABOVE).mean()), 4),
                }
        known_scores = np.concatenate([scores[kind][:known] for _, known, scores in folds])
        found[kind] = {
            "known_flagged": round(float((known_scores > UNKNOWN_ABOVE).mean()), 4),
            **{key: round(float(np.mean([row[key] for row in rows.values()])), 4) for key in ("auroc", "flagged")},
            "lowest_auroc": min(row["auroc"] for row in rows.values()),
            "families": rows,
        }
        print(kind, {key: value for key, value in found[kind].items() if key != "families"})
    args.out.write_text(json.dumps({"commit": commit()} | record | {args.run.name: found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
