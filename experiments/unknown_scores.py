"""The unknown score beside others, on one fold of a run: wafers and families of patterns that none of them has met.

    python -m experiments.unknown_scores runs/release/wafer --fold 1

Known are 8,000 wafers of the fold; what each score rests on is fitted on 20,000 of the others. Others are the families
of the fold, drawn as `training.unknown` draws them. Float, by the classifier of the fold. Beside the score that ships
(out of RUN/unknown/fold-K.npz, all three of its parts):

- probability: one less the largest (Hendrycks & Gimpel, ICLR 2017); energy: of the logits (Liu et al., NeurIPS 2020);
- Mahalanobis' distance on the last stack's means and on all stacks' (Lee et al., NeurIPS 2018), and less that from the
  centre of all (Ren et al., "A Simple Fix to Mahalanobis Distance", 2021);
- ViM (Wang et al., CVPR 2022) and the 50th nearest neighbour (Sun et al., ICML 2022) on the last stack's means;
- symmetries: how far the probabilities of the eight symmetries of the map lie from their mean.

Each is flagged above what 99 % (95 %) of the known wafers are below. Writes unknown_scores.json.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wafer_tf.command import CommandParser

KNOWN, LEARNED, NEIGHBOUR = 8_000, 20_000, 50


def main() -> None:
    p = CommandParser("python -m experiments.unknown_scores", __doc__)
    p.add_argument("run", type=Path, metavar="RUN")
    p.add_argument("--fold", type=int, default=1, metavar="K")
    p.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".json"))
    args = p.parse_args()
    from wafer_tf.learning.quiet import quiet_tensorflow

    quiet_tensorflow()
    import keras
    from scipy.special import logsumexp
    from sklearn.covariance import EmpiricalCovariance
    from sklearn.metrics import roc_auc_score
    from sklearn.neighbors import NearestNeighbors

    from experiments import commit
    from training.job import load_config, load_data
    from training.unknown import JUDGED, _drawn, _grids, _unseen
    from wafer_tf.decision.unknown import Unknown
    from wafer_tf.learning.augment import SYMMETRY_COUNT, symmetry
    from wafer_tf.learning.branch import with_branch
    from wafer_tf.learning.pipeline import evaluation_batches
    from wafer_tf.learning.prediction import predict_logits
    from wafer_tf.learning.run_folder import RunFolder
    from wafer_tf.splitting.splits import Split
    from wafer_tf.waferset import WaferSet

    run, fold, rng = RunFolder.open(args.run), args.fold - 1, np.random.default_rng(0)
    config, decision = load_config(run), run.decision()
    wafers = load_data(config)
    split = Split.load(args.run / "split.npz", wafers)
    classifier = RunFolder.open(args.run / "folds" / str(args.fold)).model()
    branched = with_branch(classifier)
    means = [layer.output for layer in branched.layers if layer.name.startswith("mean")][:-1]  # the last: the branch's
    asked = keras.Model(classifier.input, [branched.output["logits"], *means])

    judged, families = wafers.select(np.flatnonzero(split.part == fold)), _unseen(split, fold)
    count, grids = min(JUDGED, max(len(judged) // 20, 10)), _grids(judged)
    drawn = [_drawn(family, count, seed=config.seed + 1, grids=grids) for family in families]
    some = np.sort(rng.permutation(len(judged))[:KNOWN])
    known, others, first = judged.select(some), WaferSet.concatenate(drawn), len(some)
    rest = np.flatnonzero(split.part != fold)
    learned = wafers.select(np.sort(rng.permutation(rest)[:LEARNED]))

    def answers(maps: WaferSet) -> tuple[NDArray[Any], list[NDArray[Any]]]:
        logits, *found = asked.predict(evaluation_batches(maps, size=classifier.input_shape[1]), verbose=0)
        return np.float64(logits), [np.float64(each) for each in found]

    fit_logits, fit_means = answers(learned)
    both = WaferSet.concatenate([known, others])
    logits, found = answers(both)
    prob = decision.probabilities(logits)
    label = learned.label

    def distance(fitted: NDArray[Any], asked_of: NDArray[Any], *, relative: bool = False) -> NDArray[Any]:
        centres = np.stack([fitted[label == c].mean(axis=0) for c in np.unique(label)])
        within = EmpiricalCovariance(assume_centered=True).fit(
            fitted - centres[np.searchsorted(np.unique(label), label)]
        )
        nearest = np.min([within.mahalanobis(asked_of - centre) for centre in centres], axis=0)
        if not relative:
            return np.asarray(nearest)
        return np.asarray(nearest - EmpiricalCovariance().fit(fitted).mahalanobis(asked_of))

    last, fit_last = found[-1], fit_means[-1]
    kernel, bias = classifier.get_layer("logits").get_weights()
    origin = -np.linalg.pinv(kernel.T) @ bias
    centred = EmpiricalCovariance(assume_centered=True).fit(fit_last - origin)
    values, vectors = np.linalg.eigh(centred.covariance_)
    residual = vectors[:, np.argsort(values)[: -max(len(values) // 2, 1)]]
    far, fit_far = (np.linalg.norm((each - origin) @ residual, axis=1) for each in (last, fit_last))
    alpha = fit_logits.max(axis=1).mean() / fit_far.mean()
    unit, fit_unit = (each / np.linalg.norm(each, axis=1, keepdims=True) for each in (last, fit_last))
    neighbours = NearestNeighbors(n_neighbors=min(NEIGHBOUR, len(learned))).fit(fit_unit)
    turned = [
        decision.probabilities(
            predict_logits(
                classifier, WaferSet.from_maps((symmetry(both.map(i), k) for i in range(len(both))), label=both.label)
            )
        )
        for k in range(SYMMETRY_COUNT)
    ]
    mean = np.mean(turned, axis=0)
    kept, unknown = f"unknown/fold-{args.fold}.npz", Unknown.from_bytes((args.run / "unknown.npz").read_bytes())
    parts = [run.read_array(kept, "parts")[some], *(run.read_array(kept, f"{name} parts") for name in families)]
    own = [run.read_array(kept, "logits")[some], *(run.read_array(kept, f"{name} logits") for name in families)]
    scores = {
        "probability": 1 - prob.max(axis=1),
        "energy": -logsumexp(logits, axis=1),
        "Mahalanobis, last stack": distance(fit_last, last),
        "Mahalanobis, last stack, relative": distance(fit_last, last, relative=True),
        "Mahalanobis, all stacks": distance(np.hstack(fit_means), np.hstack(found)),
        "Mahalanobis, all stacks, relative": distance(np.hstack(fit_means), np.hstack(found), relative=True),
        "ViM": alpha * far - logsumexp(logits, axis=1),
        f"{NEIGHBOUR}th nearest neighbour": neighbours.kneighbors(unit)[0][:, -1],
        "symmetries": np.mean([np.abs(one - mean).sum(axis=1) for one in turned], axis=0),
        "what ships": unknown.score_of(
            np.concatenate(parts), decision.probabilities(np.concatenate(own)).argmax(axis=1)
        ),
    }
    table = {}
    for name, score in scores.items():
        at = {level: np.quantile(score[:first], level, method="higher") for level in (0.99, 0.95)}
        rows = [slice(first + k * count, first + (k + 1) * count) for k in range(len(families))]
        aurocs = [
            roc_auc_score(np.arange(first + count) >= first, np.concatenate([score[:first], score[of]])) for of in rows
        ]
        table[name] = {
            "mean_auroc": round(float(np.mean(aurocs)), 4),
            "lowest_auroc": round(float(np.min(aurocs)), 4),
            "flagged_at_0.01": round(float((score[first:] > at[0.99]).mean()), 4),
            "flagged_at_0.05": round(float((score[first:] > at[0.95]).mean()), 4),
        }
        print(name, table[name])
    record = {"commit": commit(), "run": args.run.name, "fold": args.fold, "known": first, "learned": len(learned)}
    args.out.write_text(json.dumps(record | {"families": families, "of_each": count, "scores": table}, indent=1) + "\n")


if __name__ == "__main__":
    main()
