"""What a hyper-parameter search found: its trials against the defaults, as a table, a sentence and a picture."""

import csv
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from training.config import FitConfig
from training.search import Job, configured, finished, flat, run_of, space, suggest

if TYPE_CHECKING:
    import optuna
    from matplotlib.figure import Figure

    from wafer_tf.scoring.bootstrap import Estimate

STATED, DRAWS = 5, 1000
"""Trials whose interval the table shows; bootstrap draws."""
RANKABLE = 10
"""Finished trials below which no importance is stated."""


@dataclass(frozen=True)
class Result:
    """A finished trial.

    Attributes:
        number: of the trial, from 0.
        state: "complete" or "pruned" (stopped early).
        epochs: trained, over all seeds.
        seconds: they took.
        macro_f1: of the best epoch on the validation part, mean over the seeds; for a pruned trial that of its last
            epoch. Interval: 95 % bootstrap over groups of the validation part, the weights as they are; NaN for pruned.
        lead: macro-F1 minus that of trial 0, drawn with the same groups.
        config: of its first training; `python -m training.fit` with it repeats that.
    """

    number: int
    state: str
    epochs: int
    seconds: float
    macro_f1: "Estimate"
    lead: "Estimate"
    config: FitConfig


def results(job: Job, study: "optuna.Study", *, group: NDArray[np.integer[Any]]) -> list[Result]:
    """Return the finished trials: complete ones first, the best of each kind first.

    Args:
        job: the search.
        study: its study; trial 0 is finished.
        group: (n,) group of each validation wafer.
    """
    from wafer_tf.dies import CLASSES
    from wafer_tf.scoring.bootstrap import Estimate, draw_groups, interval
    from wafer_tf.scoring.scores import rates

    k = len(CLASSES)
    _, group = np.unique(group, return_inverse=True)
    n_groups = int(group.max()) + 1

    def drawn(number: int) -> NDArray[np.float64]:
        """Return (draws,) macro-F1 over groups drawn with replacement, the same groups for every trial."""
        means = []
        for seed in job.seeds:
            called = run_of(job, number, seed).read_array("validation.npz", "logits").argmax(axis=1)
            cell = group * k * k + job.validation.label.astype(np.int64) * k + called
            sums = np.bincount(cell, minlength=n_groups * k * k).reshape(n_groups, k * k).astype(np.float64)
            means.append(rates(draw_groups(sums, draws=DRAWS, seed=0).reshape(-1, k, k))["macro_f1"])
        mean: NDArray[np.float64] = np.mean(means, axis=0)
        return mean

    trials = {trial.number: trial for trial in finished(study)}
    default, default_drawn = trials[0].value or 0.0, drawn(0)
    found = []
    for number, trial in trials.items():
        value, state = trial.value or 0.0, trial.state.name.lower()
        macro_f1, lead = Estimate(value, np.nan, np.nan), Estimate(value - default, np.nan, np.nan)
        if state == "complete" and n_groups > 1:
            mine = drawn(number)
            macro_f1, lead = interval(value, mine), interval(value - default, mine - default_drawn)
        histories = [run_of(job, number, seed).path / "history.csv" for seed in job.seeds]
        rows = [row for path in histories if path.exists() for row in csv.DictReader(path.read_text().splitlines())]
        config = configured(job.base, suggest(trial, job.base.model.width))
        found.append(
            Result(number, state, len(rows), round(sum(float(r["seconds"]) for r in rows), 1), macro_f1, lead, config)
        )
    return sorted(found, key=lambda r: (r.state != "complete", -r.macro_f1.value, r.number))


def within_noise(best: Result) -> bool:
    """Return whether nothing shows that a trial beats the defaults: the interval of its lead reaches 0."""
    return not best.lead.low > 0


def verdict(found: Sequence[Result]) -> str:
    """Return what the search shows of its best trial against the defaults, in one or two sentences."""
    best = found[0]
    if best.number == 0:
        return f"None of {len(found)} trials beat the defaults (trial 0). Keep them."
    lead = f"Trial {best.number} leads the defaults (trial 0) by {best.lead.value:.3f}"
    if np.isnan(best.lead.low):
        return f"{lead}; with one group of validation wafers nothing can be said of its noise."
    lead += f" [{best.lead.low:+.3f}, {best.lead.high:+.3f}]"
    if within_noise(best):
        return (
            f"{lead}: within its interval, that is noise.\nNothing here shows that it is better than the defaults; "
            "more --seeds or more validation wafers might."
        )
    return (
        f"{lead}: more than the choice of validation wafers explains.\nIt is the best of {len(found)}, so expect "
        "less of it on wafers it was not chosen by."
    )


HEADS = ("rate", "decay", "dropout", "weights", "loss", "smooth", "turn", "noise", "batch", "width")
"""Columns of the table for what is searched, in the order of `space`."""


def table(found: Sequence[Result]) -> str:
    """Return one line per trial, best first; intervals for the first few and for the defaults."""
    from wafer_tf.reporting.words import short, span

    rows = [["trial", "macro-F1", "lead over defaults", "epochs", "seconds", *HEADS]]
    for place, r in enumerate(found):
        stated = r.number == 0 or place < STATED
        name = f"{r.number}{' defaults' if r.number == 0 else ''}{' pruned' if r.state == 'pruned' else ''}"
        figures = [span(e) if stated else short(e.value) for e in (r.macro_f1, r.lead)]
        settings = flat(r.config)
        searched = [settings[name] for name in space(r.config.model.width)]
        shown = [f"{value:g}" if isinstance(value, float) else str(value) for value in searched]
        rows.append([name, *figures, str(r.epochs), f"{r.seconds:.0f}", *shown])
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in rows)


def fit_command(config: FitConfig) -> str:
    """Return the command line that trains with `config`: everything searched, and what differs from the defaults."""
    default, words = flat(FitConfig()), ["python", "-m", "training.fit"]
    for name, value in flat(config).items():
        if name not in space(config.model.width) and value == default[name]:
            continue
        flag = "--model" if name == "architecture" else "--" + name.replace("_", "-")
        words += [flag] if value is True else [flag, str(value)]
    return shlex.join(words)


def draw(found: Sequence[Result], importance: Mapping[str, float]) -> "Figure":
    """Draw every trial's macro-F1 with the best so far, and what it depended on.

    Args:
        found: at least trial 0.
        importance: share of the variance that each setting explains; empty where there are too few trials.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(11, 4.2))
    figure.subplots_adjust(wspace=0.45)
    left, right = figure.subplots(1, 2, width_ratios=(3, 2))
    default = next(r for r in found if r.number == 0)
    if not np.isnan(default.macro_f1.low):
        band = (default.macro_f1.low, default.macro_f1.high)
        left.axhspan(*band, color="#E8EEF3", zorder=0, label="defaults, 95 % interval")
    left.axhline(default.macro_f1.value, color="#666666", linewidth=1, linestyle="--", label="defaults")
    complete = sorted((r for r in found if r.state == "complete"), key=lambda r: r.number)
    best = np.maximum.accumulate([r.macro_f1.value for r in complete])
    left.step([r.number for r in complete], best, where="post", color="#009E73", linewidth=1.8, label="best so far")
    for state, colour, marker, label in (
        ("complete", "#0072B2", "o", "finished"),
        ("pruned", "#D55E00", "x", "pruned"),
    ):
        if shown := [(r.number, r.macro_f1.value) for r in found if r.state == state]:
            left.plot(*zip(*shown, strict=True), marker, color=colour, markersize=6, label=label, zorder=3)
    left.set_title("Validation macro-F1 by trial", loc="left")
    left.set(xlabel="trial", xlim=(-0.5, max(r.number for r in found) + 0.5))
    left.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    left.grid(color="#E5E5E5", linewidth=0.8)
    left.set_axisbelow(True)
    left.legend(loc="upper center", bbox_to_anchor=(0.5, -0.15), ncols=3, fontsize=9)
    right.set_title("Importance (fANOVA)", loc="left")
    if importance:
        names = list(importance)[::-1]
        right.barh([name.replace("_", " ") for name in names], [importance[name] for name in names], color="#0072B2")
        right.set(xlabel=f"share of variance explained, {len(complete)} trials (few: rough)")
        right.tick_params(axis="y", length=0)
        right.grid(axis="x", color="#E5E5E5", linewidth=0.8)
        right.set_axisbelow(True)
    else:
        right.set_axis_off()
        why = f"needs {RANKABLE} finished trials that differ in macro-F1"
        right.annotate(why, (0.5, 0.5), xycoords="axes fraction", ha="center", color="#444444")
    return figure
