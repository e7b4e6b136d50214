"""What the unknown score is worth: how many wafers of each drawn family, and of each known class, it flags."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wafer_tf.decision.unknown import Unknown
from wafer_tf.dies import CLASSES
from wafer_tf.synthesis.others import FAMILIES
from wafer_tf.whole_files import write_whole

SHARES = (0.01, 0.05)
"""Of known wafers that a threshold flags."""


@dataclass(frozen=True, eq=False)
class Judged:
    """Scores of known wafers that the branch has not learned from.

    Attributes:
        score: (n,) 0..1.
        label: (n,) index into CLASSES.
    """

    score: NDArray[np.float64]
    label: NDArray[np.int8]


def auroc(known: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Return the chance that an other wafer has a higher score than a known one, ties by half."""
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(np.repeat([0, 1], [len(known), len(other)]), np.concatenate([known, other])))


def flagged(score: NDArray[np.float64], above: float) -> dict[str, Any]:
    """Return how many are above a score, as a share with its 95 % interval (Wilson, JASA 22, 1927)."""
    from scipy.stats import binomtest

    hits, n = int((score > above).sum()), len(score)
    low, high = binomtest(hits, n).proportion_ci(method="wilson")
    return {"share": hits / n, "interval": [float(low), float(high)], "wafers": n}


def facts(known: Judged, others: dict[str, NDArray[np.float64]], *, unseen: bool) -> dict[str, Any]:
    """Return the figures: of every family, of their mean, and of every known class."""
    above = {share: 1 - share for share in SHARES}
    families: dict[str, dict[str, Any]] = {
        name: {
            "auroc": auroc(known.score, score),
            **{f"flagged_at_{share:g}": flagged(score, above[share]) for share in SHARES},
        }
        for name, score in others.items()
    }
    classes = {
        name: {f"flagged_at_{share:g}": flagged(known.score[known.label == c], above[share]) for share in SHARES}
        for c, name in enumerate(CLASSES)
        if (known.label == c).any()
    }
    return {
        "families_unseen": unseen,
        "known_wafers": len(known.score),
        "mean_auroc": float(np.mean([row["auroc"] for row in families.values()])),
        "lowest_auroc": min(row["auroc"] for row in families.values()),
        **{
            f"mean_flagged_at_{share:g}": float(
                np.mean([row[f"flagged_at_{share:g}"]["share"] for row in families.values()])
            )
            for share in SHARES
        },
        **{f"known_flagged_at_{share:g}": flagged(known.score, above[share]) for share in SHARES},
        "families": families,
        "classes": classes,
    }


def table(found: dict[str, Any]) -> str:
    """Return the figures for people."""

    def row(name: str, one: dict[str, Any]) -> str:
        shares = [one[f"flagged_at_{share:g}"] for share in SHARES]
        auc = f"{one['auroc']:.3f}" if "auroc" in one else "     "
        low, high = shares[0]["interval"]
        return f"{name:24s} {auc}   {shares[0]['share']:.3f} [{low:.3f}, {high:.3f}]   {shares[1]['share']:.3f}"

    learned = "left out, with its kin, of what the branch learned" if found["families_unseen"] else "learned"
    lines = [
        f"unknown patterns, each family {learned}",
        "",
        f"{'family':24s} AUROC   flagged at 1 %          at 5 %",
    ]
    for kind, families in FAMILIES.items():
        lines += [f"{kind}:", *(row(f"  {name}", found["families"][name]) for name in families)]
    lines += [
        f"{'mean':24s} {found['mean_auroc']:.3f}   {found['mean_flagged_at_0.01']:.3f}"
        f"                  {found['mean_flagged_at_0.05']:.3f}",
        "",
        f"known wafers, {found['known_wafers']}, which the branch has not learned",
        *(row(f"  {name}", one) for name, one in found["classes"].items()),
        row("all", {f"flagged_at_{share:g}": found[f"known_flagged_at_{share:g}"] for share in SHARES}),
    ]
    return "\n".join(lines)


def write_report(
    path: Path, unknown: Unknown, *, known: Judged, others: dict[str, NDArray[np.float64]], unseen: bool
) -> None:
    """Write unknown.json, unknown.txt and figures/unknown.png into a run.

    Args:
        path: the run's folder.
        unknown: the score.
        known: scores of known wafers.
        others: scores of the wafers of each family.
        unseen: whether the branch that judged had not learned the family.
    """
    from wafer_tf.figures.style import save, style
    from wafer_tf.figures.unknown import unknown_figure

    found = facts(known, others, unseen=unseen)
    found = {"features": unknown.mean.shape[1], **found}
    write_whole(path / "unknown.json", json.dumps(found, indent=1) + "\n")
    write_whole(path / "unknown.txt", table(found) + "\n")
    (path / "figures").mkdir(exist_ok=True)
    with style():
        save(unknown_figure(found), path / "figures" / "unknown.png")
