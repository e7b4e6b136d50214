"""Two ways to learn several patterns on one wafer: from drawn wafers, and from real ones of another fab.

    python -m experiments.several runs/release/nano --work runs/several --before models/wafer

One fold of a finished run is left out, as the run itself did. Judged are the run's mixed wafers of that fold, real
ones, and its own wafers of it, of one pattern or none: on how many of these a second is found. Beside the run's own
model of that fold, which learned from real mixed wafers, stands one trained here that learned from none: half of its
mixed wafers are composed, half laid over one another, a third as many as the other maps (`--mixed 0.33`), and its
thresholds are chosen by such wafers too. `--before` is a model without that head: the two likeliest of its nine. The
thresholds of all ways are chosen on one half of the groups of the fold and judged on the other, in turn.
Writes several.json.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np

from wafer_tf.as_json import to_json
from wafer_tf.command import CommandParser

SHARE = "0.33"


def main() -> None:
    p = CommandParser("python -m experiments.several", __doc__)
    p.add_argument("run", type=Path, metavar="RUN", help="a finished run by folds with --mixed FILE")
    p.add_argument("--work", type=Path, required=True, metavar="DIR", help="what is trained stays there")
    p.add_argument("--before", type=Path, metavar="RUN", help="a run without the head")
    p.add_argument("--fold", type=int, default=1, metavar="K", help="the fold left out (default 1)")
    p.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".json"))
    args = p.parse_args()
    from wafer_tf.learning.quiet import quiet_tensorflow

    quiet_tensorflow()
    from dataclasses import replace

    from experiments import commit
    from training.job import load_config, load_data
    from training.mixed import SPLIT, load_mixed
    from training.out_of_fold import train_fold
    from training.runtime import prepare
    from training.several import Heard, fitted
    from wafer_tf.learning.prediction import predict_heads
    from wafer_tf.learning.run_folder import RunFolder
    from wafer_tf.pattern_bits import bits_of_labels
    from wafer_tf.scoring.several import false_seconds, found_patterns, score_patterns
    from wafer_tf.scoring.top_two import fit_top_two, top_two
    from wafer_tf.splitting.splits import Split

    run, fold = RunFolder.open(args.run), args.fold - 1
    config = load_config(run)
    strategy = prepare(seed=config.seed, precision="float32", require_gpu=False)
    wafers = load_data(config)
    split = Split.load(args.run / "split.npz", wafers)
    mixed, mixed_split = load_mixed(config, run, wafers, split)

    drawn_config = replace(config, mixed=SHARE, unknown_epochs=0)
    args.work.mkdir(parents=True, exist_ok=True)
    drawn_run = RunFolder(args.work)
    drawn = load_mixed(drawn_config, drawn_run, wafers, split)
    train_fold(drawn_config, drawn_run, wafers, split, strategy, "none", fold=fold, mixed=drawn)

    own = np.flatnonzero(split.part == fold)
    real, laid = (np.flatnonzero(of.part == fold) for of in (mixed_split, drawn[1]))
    judged = {
        "real": (mixed.select(real), mixed_split.group[real]),
        "drawn": (drawn[0].select(laid), drawn[1].group[laid]),
        "singles": (wafers.select(own), split.group[own]),
    }
    decision, found = run.decision(), dict[str, Any]()

    def heard(model: Any, name: str, decision: Any = decision) -> Heard:
        maps, group = judged[name]
        heads = predict_heads(model, maps)
        patterns = heads.get("patterns", np.zeros((len(maps), 8), np.float32))
        bits = np.where(maps.several, maps.patterns, bits_of_labels(maps.label)).astype(np.uint8)
        return Heard(decision.probabilities(heads["logits"]), patterns, bits, group)

    def halves(several: Heard, chosen: Heard, singles: Heard, *, sigmoids: bool) -> dict[str, Any]:
        """Choose on the odd groups and judge the even ones, and the other way round."""
        bits, on_singles = np.zeros(len(several.bits), np.uint8), np.zeros(len(singles.bits), np.uint8)
        for odd in (0, 1):
            choosing, knowing = chosen.at(chosen.group % 2 == odd), singles.at(singles.group % 2 == odd)
            rows, own_rows = several.group % 2 != odd, singles.group % 2 != odd
            if sigmoids:
                rule = fitted(choosing, knowing)
                bits[rows] = found_patterns(rule, several.patterns[rows], several.called[rows])
                on_singles[own_rows] = found_patterns(rule, singles.patterns[own_rows], singles.called[own_rows])
            else:
                known = {"known_prob": knowing.prob, "known_bits": knowing.bits}
                least = fit_top_two(choosing.prob, choosing.bits, **known)
                bits[rows], on_singles[own_rows] = (
                    top_two(several.prob[rows], least),
                    top_two(singles.prob[own_rows], least),
                )
        seconds = false_seconds(singles.bits, on_singles, group=singles.group)
        figures = score_patterns(several.bits, bits, group=several.group, known=seconds)
        return {key: value for key, value in to_json(figures).items() if key != "combinations"}

    models = {
        "real": RunFolder.open(args.run / "folds" / str(fold + 1)).whole_model(),
        "drawn": RunFolder.open(args.work / "folds" / str(fold + 1)).whole_model(),
    }
    for way, model in models.items():
        singles, several = heard(model, "singles"), heard(model, "real")
        chosen = several if way == "real" else heard(model, "drawn")
        found[way] = halves(several, chosen, singles, sigmoids=True)
    if args.before is not None:
        old = RunFolder.open(args.before)
        answers = {name: heard(old.model(), name, old.decision()) for name in ("real", "singles")}
        found["top two before"] = halves(answers["real"], answers["real"], answers["singles"], sigmoids=False)
    record = {"commit": commit(), "run": args.run.name, "fold": args.fold, "mixed_split": SPLIT, "ways": found}
    args.out.write_text(json.dumps(record, indent=1) + "\n")
    for way, figures in found.items():
        print(way, figures["exact"], figures["mean_f1"], figures["known"])


if __name__ == "__main__":
    main()
