"""Does a quantized model find the patterns that the float one finds? On mixed wafers and on known ones, paired."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from wafer_tf.errors import InputError
from wafer_tf.pattern_bits import PATTERNS
from wafer_tf.scoring.bootstrap import Bootstrap, Estimate

DRAWS = 1000
_K = len(PATTERNS)


@dataclass(frozen=True)
class PatternComparison:
    """The patterns that a quantized model finds, beside those of the float one on the same wafers.

    Shares of 1, those of `Estimate` with a 95 % interval: groups drawn with replacement, both models on the same draw.

    Attributes:
        mixed, known: wafers of no, one or several patterns with labels for all; and the run's own, of one or none.
        groups, draws, seed: what the intervals rest on.
        agreement: share of all these wafers that are given the same patterns.
        agreement_mixed, agreement_known: of each alone.
        bit_f1_float, bit_f1: mean F1 of the patterns that occur, on the mixed wafers.
        bit_f1_drop: float less quantized.
        exact_float, exact: share of the mixed wafers that are given exactly their patterns.
        false_seconds_float, false_seconds: known wafers that are given several.
        shipped: with folds, share of a sample of both that the file that ships gives the patterns of its own float
            model; None else, where it is the file that is compared.
    """

    mixed: int
    known: int
    groups: int
    draws: int
    seed: int
    agreement: Estimate
    agreement_mixed: float
    agreement_known: float
    bit_f1_float: Estimate
    bit_f1: Estimate
    bit_f1_drop: Estimate
    exact_float: Estimate
    exact: Estimate
    false_seconds_float: int
    false_seconds: int
    shipped: float | None = None


def compare_patterns(
    bits_true: ArrayLike,
    float_found: ArrayLike,
    found: ArrayLike,
    *,
    group: ArrayLike,
    known_float_found: ArrayLike,
    known_found: ArrayLike,
    known_group: ArrayLike,
    shipped: float | None = None,
    draws: int = DRAWS,
    seed: int = 0,
) -> PatternComparison:
    """Compare the patterns that a quantized model finds with the float model's.

    Args:
        bits_true: (m,) uint8, the mixed wafers' patterns.
        float_found, found: (m,) uint8, see `scoring.several.found_patterns`.
        group: (m,) split group of them.
        known_float_found, known_found: (n,) uint8, the same of the run's own wafers; n may be 0.
        known_group: (n,) split group of these.
        shipped: see `PatternComparison`.
        draws: of the bootstrap.
        seed: of the draws.

    Raises:
        InputError: no mixed wafer, or arrays that do not fit.

    Examples:
        >>> none = {name: [] for name in ("known_float_found", "known_found", "known_group")}
        >>> same = compare_patterns([3, 1, 0], [3, 1, 0], [1, 1, 0], group=[0, 1, 2], **none)
        >>> round(same.agreement.value, 3), same.bit_f1_float.value, same.bit_f1.value
        (0.667, 1.0, 0.5)
    """
    true, theirs, ours, known_theirs, known_ours = (
        np.asarray(bits, np.uint8) for bits in (bits_true, float_found, found, known_float_found, known_found)
    )
    groups, known_groups = np.asarray(group, np.int64), np.asarray(known_group, np.int64)
    m, n = len(true), len(known_ours)
    if not m or theirs.shape != (m,) or ours.shape != (m,) or groups.shape != (m,):
        raise InputError(
            f"gate: patterns {true.shape}, found {theirs.shape} and {ours.shape}, group {groups.shape}; expected at "
            "least one mixed wafer, and (m,) four times."
        )
    if known_theirs.shape != (n,) or known_groups.shape != (n,):
        raise InputError(
            f"gate: patterns of known wafers {known_theirs.shape} and {known_ours.shape}, group {known_groups.shape}; "
            "expected (n,) three times."
        )
    held, seen_float, seen = (_unpacked(bits) for bits in (true, theirs, ours))
    of_mixed = np.column_stack(
        [
            theirs == ours,
            np.ones(m),
            theirs == true,
            true == ours,
            np.ones(m),
            *(held & seen_float, seen_float, held & seen, seen, held),
        ]
    )
    of_known = np.zeros((n, of_mixed.shape[1]))
    of_known[:, 0], of_known[:, 1] = known_theirs == known_ours, 1
    member = np.unique(groups, return_inverse=True)[1]
    # the groups of two sets of wafers: none is of both
    members = np.concatenate([member, member.max() + 1 + np.unique(known_groups, return_inverse=True)[1]])
    each = np.concatenate([of_mixed, of_known])
    sums = np.zeros((int(members.max()) + 1, each.shape[1]))
    np.add.at(sums, members, each)
    estimate = Bootstrap(sums, _figures, draws=draws, seed=seed).estimate
    return PatternComparison(
        mixed=m,
        known=n,
        groups=len(sums),
        draws=draws,
        seed=seed,
        agreement=estimate("agreement"),
        agreement_mixed=float((theirs == ours).mean()),
        agreement_known=float((known_theirs == known_ours).mean()) if n else np.nan,
        bit_f1_float=estimate("bit_f1_float"),
        bit_f1=estimate("bit_f1"),
        bit_f1_drop=estimate("bit_f1_drop"),
        exact_float=estimate("exact_float"),
        exact=estimate("exact"),
        false_seconds_float=int((np.bitwise_count(known_theirs) > 1).sum()),
        false_seconds=int((np.bitwise_count(known_ours) > 1).sum()),
        shipped=shipped,
    )


def _unpacked(bits: NDArray[np.uint8]) -> NDArray[np.bool_]:
    return np.unpackbits(bits[:, None], axis=1, bitorder="little").astype(bool)


def _figures(sums: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """Return every bootstrapped figure from (..., columns) sums, laid out as in `compare_patterns`."""
    same, wafers, exact_float, exact, mixed = (sums[..., i] for i in range(5))
    hit_float, seen_float, hit, seen, held = (sums[..., 5 + i * _K : 5 + (i + 1) * _K] for i in range(5))
    before, after = _mean_f1(hit_float, seen_float, held), _mean_f1(hit, seen, held)
    return {
        "agreement": same / wafers,
        "bit_f1_float": before,
        "bit_f1": after,
        "bit_f1_drop": before - after,
        "exact_float": _divide(exact_float, mixed),
        "exact": _divide(exact, mixed),
    }


def _mean_f1(hit: NDArray[np.float64], seen: NDArray[np.float64], held: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the mean F1 of the patterns that occur."""
    occurs = held > 0
    f1 = np.divide(2 * hit, held + seen, out=np.zeros(hit.shape), where=occurs)
    return _divide(f1.sum(axis=-1), occurs.sum(axis=-1).astype(np.float64))


def _divide(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    found: NDArray[np.float64] = np.divide(a, b, out=np.full(np.shape(b), np.nan), where=b > 0)
    return found
