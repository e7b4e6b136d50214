"""Pieces of the page that Streamlit has no element for, as HTML; everything from outside is escaped."""

from collections.abc import Sequence
from html import escape

from app.answers import Answer
from app.similar import Match
from app.uploads import Rejected
from app.wafer import known_as, thumbnail
from wafer_tf.dies import CLASSES, NONE
from wafer_tf.figures.explain import PATTERN_COLOURS
from wafer_tf.pattern_bits import PATTERNS


def percent(prob: float) -> str:
    """Return a probability in whole per cent; a model is never certain, so it never reads 0 or 100."""
    if prob < 0.005:
        return "<1 %"
    return ">99 %" if prob >= 0.995 else f"{100 * prob:.0f} %"


def call_line(answer: Answer, *, about: str) -> str:
    """Return the call in large letters, and what is known of the wafer."""
    name, prob = CLASSES[answer.call], percent(float(answer.prob[answer.call]))
    shown = "none: no pattern" if answer.call == NONE else name
    return (
        f'<div class="call" data-call="{name}"><b>{shown}</b> <span>{prob}</span></div>'
        f'<div class="about">{escape(about)}</div>'
    )


def doubt(answer: Answer) -> str:
    """Return the warning that a call of none may let a defect escape; empty where there is no doubt."""
    if not answer.may_escape:
        return ""
    return (
        f'<div class="doubt" role="alert"><b>May be an escape.</b> A defect is {percent(answer.defect_prob)} likely, '
        f"{answer.likeliest_defect} the likeliest. Look at this wafer yourself.</div>"
    )


def stranger(score: float) -> str:
    """Return an unknown score in words.

    Example:
        >>> stranger(0.9968)
        'stranger than 99.6 % of known wafers'
    """
    share = int(1000 * score) / 10  # never more than it is
    return f"stranger than {f'{share:g}' if share < 100 else 'over 99.9'} % of known wafers"


def strangeness(answer: Answer) -> str:
    """Return how unlike the known patterns the wafer is, as a warning where it is unknown; empty without a score."""
    if answer.unknown_score is None or answer.call_int8 is None:
        return ""
    words = f"S{stranger(answer.unknown_score)[1:]} that the station's model calls {CLASSES[answer.call_int8]}."
    if answer.decision != "unknown":
        return caption(words)
    if answer.patterns:
        title, advice = "No one pattern.", "Several were found, which are named above: look whether they are all."
    else:
        title = "Unknown pattern."
        advice = (
            "The call is the nearest of nine names, not a finding. Look at this wafer yourself, beside the nearest "
            "known wafers below."
        )
    score = f'data-unknown="{answer.unknown_score:.4f}"'
    return f'<div class="doubt" role="alert" {score}><b>{title}</b> {words} {advice}</div>'


def several(answer: Answer, shown: Sequence[str]) -> str:
    """Return the patterns of a wafer that has several; empty of any other.

    Args:
        answer: with `patterns`.
        shown: those drawn on the map, in the order of their colours, which stand before their names.
    """
    if not answer.patterns:
        return ""
    names = []
    for name in answer.patterns:
        colour = PATTERN_COLOURS[shown.index(name) % len(PATTERN_COLOURS)][1] if name in shown else "transparent"
        prob = "" if answer.pattern_prob is None else f" {percent(float(answer.pattern_prob[PATTERNS.index(name)]))}"
        names.append(f'<span><i style="background:{colour}"></i><b>{name}</b>{prob}</span>')
    other = ""
    if answer.patterns_float is not None and set(answer.patterns_float) != set(answer.patterns):
        found = " and ".join(answer.patterns_float) or "not several"
        other = f'<div class="note differs">≠ The float model finds {found}.</div>'
    return f'<div class="several" data-patterns="{"+".join(answer.patterns)}">Several: {"".join(names)}</div>{other}'


def bars(answer: Answer) -> str:
    """Return the calibrated probabilities of both models as bars, in the order of the classes."""
    both = answer.prob_int8 is not None
    rows = []
    for c, name in enumerate(CLASSES):
        pairs = [("float", answer.prob[c])] + ([("int8", answer.prob_int8[c])] if answer.prob_int8 is not None else [])
        drawn = "".join(f'<i class="{kind}" style="width:{100 * p:.2f}%"></i>' for kind, p in pairs)
        figures = "".join(f"<td>{percent(float(p))}</td>" for _, p in pairs)
        called = ' class="called"' if c == answer.call else ""
        rows.append(f'<tr{called}><th scope="row">{name}</th><td class="track">{drawn}</td>{figures}</tr>')
    heads = '<th scope="col"><i class="float"></i>float</th>'
    heads += '<th scope="col"><i class="int8"></i>int8</th>' if both else ""
    return f'<table class="bars"><tr><th></th><td></td>{heads}</tr>{"".join(rows)}</table>'


def agreement(answer: Answer) -> str:
    """Return whether the station's model makes the same call."""
    if answer.call_int8 is None:
        return '<div class="note">No int8 bundle is loaded, so the station\'s answer is not shown.</div>'
    points = f"largest difference {100 * answer.shift:.1f} points"
    if answer.agrees:
        return f'<div class="note agrees">✓ The station\'s int8 model makes the same call; {points}.</div>'
    return (
        f'<div class="note differs">≠ The station\'s int8 model calls {CLASSES[answer.call_int8]}; {points}. '
        "Trust neither without a look.</div>"
    )


def station(answer: Answer) -> str:
    """Return what the station decides and what the wafer may be, in words; empty where no bundle is loaded."""
    if answer.decision is None:
        return ""
    words = {"none": "lets it pass as none", "defect": "calls a defect", "review": "leaves it to a person (review)"}
    words["unknown"] = "says that it knows no such pattern (unknown)"
    may = f" It may be {' or '.join(answer.held)}." if len(answer.held) > 1 else ""
    return caption(f"The station {words.get(answer.decision, f'decides: {answer.decision}')}.{may}")


def story(text: str) -> str:
    """Return a text that tells the wafer's story in words."""
    return f'<div class="story">{escape(text)}</div>'


def matches(found: Sequence[Match]) -> str:
    """Return pictures of similar wafers with their labels."""
    pieces = [
        f'<figure><img src="{thumbnail(match.wafer.grid)}" alt="{escape(match.wafer.name)}">'
        f"<figcaption><b>{known_as(match.wafer)}</b><br>{match.similarity:.2f}</figcaption></figure>"
        for match in found
    ]
    return f'<div class="matches">{"".join(pieces)}</div>'


def learned(answer: Answer) -> str:
    """Return a remark where the run has seen the map: its call is then no evidence of how good the model is."""
    words = "This map, or a turned copy of it, was in the model's training or validation part: its call proves nothing."
    return caption(words) if answer.learned else ""


def rejections(rejected: Sequence[Rejected], *, most: int = 20) -> str:
    """Return the list of files and maps that were not judged, each with its reason."""
    reasons = [(item.name, item.reason.removeprefix(f"{item.name}: ")) for item in rejected[:most]]
    items = "".join(f"<li><b>{escape(name)}</b>: {escape(reason)}</li>" for name, reason in reasons)
    more = f"<li>and {len(rejected) - most:,} more</li>" if len(rejected) > most else ""
    count = "1 was" if len(rejected) == 1 else f"{len(rejected):,} were"
    return f'<div class="rejected" role="alert">{count} not judged:<ul>{items}{more}</ul></div>'


def facts(known: Sequence[tuple[str, str]]) -> str:
    """Return what is known of a wafer as a table: what it is and its text; a warning stands out."""
    rows = "".join(
        f'<tr class="{"warns" if name == "warning" else ""}"><th scope="row">{escape(name)}</th>'
        f"<td>{escape(text)}</td></tr>"
        for name, text in known
    )
    return f'<table class="facts">{rows}</table>'


def failure(text: str) -> str:
    """Return why the page cannot work."""
    return f'<div class="rejected" role="alert">{escape(text)}</div>'


def plain(text: str) -> str:
    """Return text from outside so that it stays text."""
    return escape(text)


def caption(text: str) -> str:
    """Return a small remark that may hold text from outside."""
    return f'<div class="note">{escape(text)}</div>'
