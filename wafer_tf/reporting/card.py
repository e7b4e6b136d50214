"""The model card of a run: what the model is for, how good it is on what, and where not to trust it."""

from dataclasses import replace

from wafer_tf.dies import CLASSES, NONE
from wafer_tf.reporting.facts import Facts, format_facts
from wafer_tf.reporting.findings import warnings_of, weak_classes
from wafer_tf.reporting.words import headline, scored_on, short, span
from wafer_tf.scoring.controls import Controls
from wafer_tf.scoring.scores import NATURAL_COUNTS, Scores

WM811K_CITATIONS = (
    "Ming-Ju Wu, Jyh-Shing Roger Jang, and Jui-Long Chen, “Wafer Map Failure Pattern Recognition and Similarity "
    "Ranking for Large-Scale Data Sets,” IEEE Transactions on Semiconductor Manufacturing, vol. 28, no. 1, "
    "pp. 1-12, Feb. 2015, doi: 10.1109/TSM.2014.2364237.",
    "MIR-WM811K: Dataset for wafer map failure pattern recognition, 2015, http://mirlab.org/dataset/public/",
)
"""What must accompany WM-811K; a run on it gives these as facts["citations"]."""


def model_card(scores: Scores, *, facts: Facts, controls: Controls | None) -> str:
    """Return the model card, Markdown, from the same figures and facts as the report."""
    sections = {
        "Intended use": _use(),
        "Data": _data(scores, facts),
        "How good it is": _quality(scores, facts),
        "At WM-811K's natural class mix": _natural(scores),
        "How sure it is": _calibration(scores),
        "Limits": _limits(scores, facts, controls),
        "How to reproduce": _reproduce(facts),
    }
    title = f"# Model card: {facts.model}"
    return "\n\n".join([title, *(f"## {name}\n\n{text}" for name, text in sections.items())]) + "\n"


def _use() -> str:
    return (
        "Names the failure pattern of a wafer map (dies that passed and failed) as one of nine classes: "
        f"{', '.join(CLASSES)}. It sorts maps for a yield engineer or an inspector to look at.\n\n"
        "**The label is a prompt, not a diagnosis.** It names a shape, not a cause. It must not alone scrap, release "
        "or re-route a wafer. A map with two patterns gets one name; a pattern outside the nine gets one of the nine."
    )


def _data(scores: Scores, facts: Facts) -> str:
    lines = [
        f"Scored on {scored_on(facts)}: {scores.wafers:,} wafers in {scores.groups:,} groups, a group being wafers "
        "that share a lot or are near-copies of each other."
    ]
    if facts.split_sizes is not None:
        lines.append("Wafers per part: " + ", ".join(f"{k} {v:,}" for k, v in facts.split_sizes.items()) + ".")
    if facts.near_copies_leaked is not None:
        lines.append(
            f"A plain lot split would have left {facts.near_copies_leaked:,} test wafers with a near-copy in "
            "another part."
        )
    if facts.citations:
        lines.append("The data must be cited as:")
        lines.append("\n".join(f"{i}. {text}" for i, text in enumerate(facts.citations, 1)))
    return "\n\n".join(lines)


def _quality(scores: Scores, facts: Facts) -> str:
    table = ["| class | wafers | precision | recall | F1 | ROC AUC |", "| --- | ---: | --- | --- | --- | ---: |"]
    table += [
        f"| {c.name} | {c.support} | {span(c.precision)} | {span(c.recall)} | {span(c.f1)} | {short(c.roc_auc)} |"
        for c in scores.classes
    ]
    return "\n\n".join(
        [
            f"**{headline(scores, facts=facts)}.** Brackets: 95 % bootstrap intervals over groups.",
            "\n".join(table),
            f"Balanced accuracy {span(scores.balanced_accuracy)}, accuracy {span(scores.accuracy)}, top-2 accuracy "
            f"{span(scores.top2_accuracy)}. Escapes (defects called none) {span(scores.escape_rate)}, false alarms "
            f"(none called a defect) {span(scores.false_alarm_rate)}.",
        ]
    )


def _natural(scores: Scores) -> str:
    mix = scores.natural_mix
    share = NATURAL_COUNTS[NONE] / sum(NATURAL_COUNTS)
    return (
        f"Of all labelled maps of WM-811K {share:.0%} are none. With the rows of the confusion matrix re-weighted to "
        f"its public class counts: macro-F1 {span(mix.macro_f1)}, accuracy {span(mix.accuracy)}, escapes "
        f"{span(mix.escape_rate)}, false alarms {span(mix.false_alarm_rate)}. This is arithmetic on the same "
        f"wafers ({scores.classes[NONE].support} of none), not a further measurement; another fab has another mix."
    )


def _calibration(scores: Scores) -> str:
    return (
        f"Expected calibration error {span(scores.ece)} (15 equal-width bins), log loss {span(scores.log_loss)}, at "
        "the class mix scored. At another mix the same probability means another share of right answers: check on maps "
        "of your own before setting a threshold."
    )


def _limits(scores: Scores, facts: Facts, controls: Controls | None) -> str:
    lines = [
        *weak_classes(scores),
        *warnings_of(scores, facts=facts, controls=controls),
        "Where labels are a person's reading of the map, some of the errors counted here are errors of the label.",
    ]
    return "\n".join(f"- {line}" for line in lines)


def _reproduce(facts: Facts) -> str:
    command = f"```\n{facts.command}\n```\n\n" if facts.command else ""
    return command + "```\n" + "\n".join(format_facts(replace(facts, command=None))) + "\n```"
