"""How well several patterns on one wafer are found: bit by bit, and all of them exactly, with intervals over groups."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from wafer_tf.as_json import from_json, to_json
from wafer_tf.decision.patterns import Patterns
from wafer_tf.errors import InputError
from wafer_tf.pattern_bits import PATTERNS, bits_of_labels, pattern_names
from wafer_tf.scoring.bootstrap import Bootstrap, Estimate

MOST_AT_ONCE = 4
"""Patterns on one wafer up to which exact matches are told apart; more are told apart only where there are some."""
DRAWS = 1000
_K = len(PATTERNS)


@dataclass(frozen=True)
class BitScores:
    """One pattern, alone or among others.

    Attributes:
        name: one of PATTERNS.
        support, groups: wafers that have it, and groups with one of them.
        found: wafers on which it is found.
        precision, recall, f1: undefined without support; precision also where it is never found.
    """

    name: str
    support: int
    groups: int
    found: int
    precision: Estimate
    recall: Estimate
    f1: Estimate


@dataclass(frozen=True)
class NumberScores:
    """The wafers of so many patterns: how many, and the share whose patterns are found exactly."""

    patterns: int
    wafers: int
    exact: Estimate


@dataclass(frozen=True)
class CombinationScores:
    """The wafers of one combination of patterns.

    Attributes:
        names: of its patterns, in the order of CLASSES; none of a wafer without any.
        wafers: that have exactly these.
        found: wafers of which exactly these are found.
        f1: of the combination as one class.
    """

    names: tuple[str, ...]
    wafers: int
    found: int
    f1: float


@dataclass(frozen=True)
class FalseSeconds:
    """Known wafers of one pattern and of none on which several are found.

    Attributes:
        singles, none: how many there are.
        on_singles, on_none: how many of them are found to have several.
        share_of_singles, share_of_none: the same as shares, with the interval over groups.
    """

    singles: int
    none: int
    on_singles: int
    on_none: int
    share_of_singles: Estimate
    share_of_none: Estimate


@dataclass(frozen=True)
class PatternScores:
    """What `score_patterns` finds; shares of 1 with their 95 % intervals.

    Attributes:
        wafers, groups, draws, seed: what it rests on.
        exact: share of the wafers of which exactly their patterns are found.
        mean_f1: mean F1 of the patterns that occur ("bit-F1").
        macro_f1: mean F1 of the combinations that occur, each as a class of its own; 38 in MixedWM38.
        bits: of the eight patterns.
        by_number: 0 to 4 patterns, and more where there are such wafers.
        combinations: that occur, in the order of their bytes.
        known: false second patterns on wafers that are known to have one or none; None where none were judged.
    """

    wafers: int
    groups: int
    draws: int
    seed: int
    exact: Estimate
    mean_f1: Estimate
    macro_f1: Estimate
    bits: tuple[BitScores, ...]
    by_number: tuple[NumberScores, ...]
    combinations: tuple[CombinationScores, ...]
    known: FalseSeconds | None = None

    def to_json(self) -> dict[str, Any]:
        """Return plain dicts, lists and numbers; NaN becomes None."""
        found: dict[str, Any] = to_json(self)
        return found

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "PatternScores":
        """Build from what `to_json` gave; raises InputError for a key too many or too few."""
        found: PatternScores = from_json(cls, data, where="scores of patterns")
        return found


def found_patterns(
    patterns: Patterns, pattern_logits: NDArray[np.floating[Any]], called: NDArray[np.integer[Any]]
) -> NDArray[np.uint8]:
    """Return (n,) uint8, the patterns that a model finds on each wafer.

    Those that pass where a wafer has several, else the one of the nine-way answer; 0 of a wafer called "none".

    Args:
        patterns: the rule.
        pattern_logits: (n, 8).
        called: (n,) the nine-way answer, an index into CLASSES.

    Examples:
        >>> rule, low = Patterns((0.5,) * 8), [-9.0] * 6
        >>> found_patterns(rule, np.array([[1, 2, *low], [1, -2, *low], [1, 2, *low]]), np.array([0, 7, 8])).tolist()
        [3, 128, 0]
    """
    several = patterns.bits(pattern_logits, called)
    found: NDArray[np.uint8] = np.where(several > 0, several, bits_of_labels(np.asarray(called, np.int64)))
    return found


def score_patterns(
    bits_true: ArrayLike,
    found: ArrayLike,
    *,
    group: ArrayLike,
    known: FalseSeconds | None = None,
    draws: int = DRAWS,
    seed: int = 0,
) -> PatternScores:
    """Judge the patterns that were found against those that are there.

    Intervals: whole groups drawn with replacement, as in `scores.score`.

    Args:
        bits_true: (n,) uint8, the wafers' patterns.
        found: (n,) uint8, see `found_patterns`.
        group: (n,) split group; wafers of a lot and near-copies share one.
        known: of `false_seconds`, to stand beside.
        draws: of the bootstrap; 0 leaves the intervals undefined.
        seed: of the draws.

    Raises:
        InputError: no wafers, or arrays that do not fit.

    Examples:
        >>> scores = score_patterns([0b1, 0b11, 0], [0b1, 0b1, 0], group=[1, 2, 3])
        >>> round(scores.exact.value, 3), scores.bits[0].f1.value, scores.bits[1].recall.value
        (0.667, 1.0, 0.0)
    """
    true, theirs = np.asarray(bits_true).astype(np.uint8), np.asarray(found).astype(np.uint8)
    groups = np.asarray(group)
    n = len(true)
    if not n or true.shape != (n,) or theirs.shape != (n,) or groups.shape != (n,):
        raise InputError(
            f"patterns: true {true.shape}, found {theirs.shape}, group {groups.shape}; expected at least one wafer, "
            "and (n,) three times."
        )
    member = np.unique(groups, return_inverse=True)[1]
    held, seen = _unpacked(true), _unpacked(theirs)
    number, exact = np.bitwise_count(true).astype(np.int64), true == theirs
    numbers = max(MOST_AT_ONCE, int(number.max())) + 1
    occurring, place = np.unique(true, return_inverse=True)
    place_found = np.searchsorted(occurring, theirs).clip(max=len(occurring) - 1)
    of_these = occurring[place_found] == theirs  # else a combination that no wafer has
    sums = np.concatenate(
        [
            *(_by_group(member, columns) for columns in (held & seen, held, seen)),
            _counted(member, number, numbers, exact),
            _counted(member, number, numbers),
            _counted(member, place, len(occurring), exact),
            _counted(member, place, len(occurring)),
            _counted(member, place_found, len(occurring), of_these),
        ],
        axis=1,
    )
    bootstrap = Bootstrap(sums, _figures(numbers, len(occurring)), draws=draws, seed=seed)
    estimate = bootstrap.estimate
    combination_f1 = bootstrap.value["combination_f1"]
    found_as = np.bincount(place_found, weights=of_these, minlength=len(occurring))
    return PatternScores(
        wafers=n,
        groups=len(sums),
        draws=draws,
        seed=seed,
        exact=estimate("exact"),
        mean_f1=estimate("mean_f1"),
        macro_f1=estimate("macro_f1"),
        bits=tuple(
            BitScores(
                name=name,
                support=int(held[:, k].sum()),
                groups=len(np.unique(member[held[:, k]])),
                found=int(seen[:, k].sum()),
                precision=estimate("precision", k),
                recall=estimate("recall", k),
                f1=estimate("f1", k),
            )
            for k, name in enumerate(PATTERNS)
        ),
        by_number=tuple(
            NumberScores(patterns=k, wafers=int((number == k).sum()), exact=estimate("exact_of", k))
            for k in range(numbers)
        ),
        combinations=tuple(
            CombinationScores(
                names=pattern_names(int(byte)),
                wafers=int((place == i).sum()),
                found=int(found_as[i]),
                f1=float(combination_f1[i]),
            )
            for i, byte in enumerate(occurring)
        ),
        known=known,
    )


def false_seconds(
    bits_true: ArrayLike, found: ArrayLike, *, group: ArrayLike, draws: int = DRAWS, seed: int = 0
) -> FalseSeconds:
    """Count the known wafers of one pattern, and of none, on which several patterns are found.

    Args:
        bits_true: (n,) uint8, the wafers' patterns, one or none each.
        found: (n,) uint8, see `found_patterns`.
        group: (n,) split group.
        draws: of the bootstrap; 0 leaves the intervals undefined.
        seed: of the draws.

    Raises:
        InputError: a wafer has several patterns.

    Examples:
        >>> counted = false_seconds([1, 2, 0, 0], [1, 3, 0, 3], group=[1, 2, 3, 4])
        >>> counted.on_singles, counted.singles, counted.on_none, counted.none
        (1, 2, 1, 2)
    """
    true = np.asarray(bits_true).astype(np.uint8)
    if (np.bitwise_count(true) > 1).any():
        raise InputError("patterns: a known wafer has several; expected one or none of each.")
    several = np.bitwise_count(np.asarray(found).astype(np.uint8)) > 1
    single = true > 0
    columns = np.column_stack([single & several, single, ~single & several, ~single])
    sums = _by_group(np.unique(np.asarray(group), return_inverse=True)[1], columns)
    estimate = Bootstrap(
        sums,
        lambda s: {"singles": _divide(s[..., 0], s[..., 1]), "none": _divide(s[..., 2], s[..., 3])},
        draws=draws,
        seed=seed,
    ).estimate
    on_singles, singles, on_none, none = (int(count) for count in columns.sum(axis=0))
    return FalseSeconds(
        singles=singles,
        none=none,
        on_singles=on_singles,
        on_none=on_none,
        share_of_singles=estimate("singles"),
        share_of_none=estimate("none"),
    )


def _unpacked(bits: NDArray[np.uint8]) -> NDArray[np.bool_]:
    return np.unpackbits(bits[:, None], axis=1, bitorder="little").astype(bool)


def _by_group(member: NDArray[np.int64], columns: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return (groups, columns), how many of each group's wafers each of (n, columns) holds of."""
    groups = int(member.max()) + 1 if len(member) else 0
    return np.column_stack([np.bincount(member, weights=column, minlength=groups) for column in columns.T])


def _counted(
    member: NDArray[np.int64], of: NDArray[np.int64], width: int, which: NDArray[np.bool_] | None = None
) -> NDArray[np.float64]:
    """Return (groups, width), each group's wafers of each kind, of all or of `which`."""
    groups = int(member.max()) + 1
    flat = np.bincount(member * width + of, weights=which, minlength=groups * width)
    return flat.reshape(groups, width).astype(np.float64)


def _figures(numbers: int, combinations: int) -> Callable[[NDArray[np.float64]], dict[str, NDArray[np.float64]]]:
    """Return what makes the figures of (..., columns) sums, laid out as in `score_patterns`."""
    ends = np.cumsum([_K, _K, _K, numbers, numbers, combinations, combinations])

    def figures(sums: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        hit, held, seen, exact, wafers, hit_c, held_c, seen_c = np.split(sums, ends, axis=-1)
        f1, combination_f1 = _f1(hit, held, seen), _f1(hit_c, held_c, seen_c)
        return {
            "precision": _divide(hit, np.where(held > 0, seen, 0)),
            "recall": _divide(hit, held),
            "f1": f1,
            "mean_f1": _mean(f1),
            "exact": exact.sum(axis=-1) / wafers.sum(axis=-1),
            "exact_of": _divide(exact, wafers),
            "combination_f1": combination_f1,
            "macro_f1": _mean(combination_f1),
        }

    return figures


def _f1(hit: NDArray[np.float64], held: NDArray[np.float64], seen: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return F1, NaN where nothing has it."""
    return _divide(2 * hit, np.where(held > 0, held + seen, 0))


def _mean(figures: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the mean over the last axis of what is defined."""
    defined = ~np.isnan(figures)
    return _divide(np.where(defined, figures, 0).sum(axis=-1), defined.sum(axis=-1).astype(np.float64))


def _divide(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    found: NDArray[np.float64] = np.divide(a, b, out=np.full(np.shape(b), np.nan), where=b > 0)
    return found
