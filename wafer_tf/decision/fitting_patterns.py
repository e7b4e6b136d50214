"""Fit the thresholds of the patterns on answers of wafers that did not train the model."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wafer_tf.decision.patterns import Patterns
from wafer_tf.dies import NONE
from wafer_tf.errors import InputError
from wafer_tf.pattern_bits import PATTERNS, bits_of_labels

MOST_OF_SINGLES, MOST_OF_NONE = 0.01, 0.001
"""Share of the known wafers with one pattern, and of those without any, that may be found to have several."""
MARGIN = 0.8
"""Of these shares that is used up on the wafers that choose: others had 1.1 times as many."""
_PROBABILITIES = (1 / (1 + np.exp(-np.arange(-40, 121) / 10))).round(6)
"""Thresholds that are tried: 0.018 to 0.999994."""
_GRID = np.log(_PROBABILITIES / (1 - _PROBABILITIES))
"""The same in logits, to the last bit as `Patterns` has them, about 0.1 apart."""
_PRICE = 1e-5
"""Share of the wafers that must be won for a threshold one logit from 0; by its square."""
_WORTH = (*np.geomspace(0.01, 1000, 21), 1e9)
"""Wafers found rightly that are given up, step by step, for one false second pattern less."""
_MOVES = 200


def fit_patterns(
    logits: NDArray[np.floating[Any]],
    bits: NDArray[np.uint8],
    *,
    known_logits: NDArray[np.floating[Any]],
    known_bits: NDArray[np.uint8],
    called: NDArray[np.integer[Any]] | None = None,
    known_called: NDArray[np.integer[Any]] | None = None,
) -> Patterns:
    """Find the thresholds with which most wafers are found to have exactly their patterns.

    From 0.5 on, that threshold is moved by which most wafers are won, until no move is worth it (coordinate ascent).
    Of `known` at most MOST_OF_SINGLES and MOST_OF_NONE, by MARGIN, may be found to have several patterns: where they
    are more, the ascent goes on with each of them too many counted as a loss, at first a small one, then larger ones,
    until the limits hold. So what is given up first costs least. Where moving one threshold at a time does not get
    there, the lowest are raised together.

    Args:
        logits: (n, 8) pattern logits of wafers of no, one or several patterns, answered by models without them.
        bits: (n,) uint8, their patterns.
        known_logits: (k, 8) of wafers of one pattern or none, of which second patterns are to be rare; k may be 0.
        known_bits: (k,) uint8, their patterns; one with several is left out.
        called: (n,) nine-way answers, index into CLASSES: they say the pattern where fewer than two pass, and a wafer
            called "none" has no several. None: they are taken as right for wafers of one pattern or none.
        known_called: (k,) the same of the known wafers. None: none of them is taken as called "none".

    Returns:
        Thresholds; where the limits cannot be held, those with the fewest false second patterns that were met.

    Raises:
        InputError: arrays that do not fit each other.

    Examples:
        >>> one, two = [4.0, *[-4] * 7], [4, 1.05, *[-4] * 6]
        >>> nothing = {"known_logits": np.zeros((0, 8)), "known_bits": np.zeros(0, np.uint8)}
        >>> fit_patterns(np.array([one, two]), np.array([1, 3], np.uint8), **nothing).thresholds
        (0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5)
        >>> fit_patterns(np.array([one, two]), np.array([1, 1], np.uint8), **nothing).thresholds[:2]
        (0.5, 0.75026)
    """
    judged = _Wafers.of(logits, bits, called)
    known = _Wafers.of(known_logits, known_bits, known_called)
    alone = np.bitwise_count(known.bits) < 2
    some = known.bits > 0
    limits = [
        _Limit(known.at(alone & some), MARGIN * MOST_OF_SINGLES * int((alone & some).sum())),
        _Limit(known.at(alone & ~some), MARGIN * MOST_OF_NONE * int((alone & ~some).sum())),
    ]
    places = np.full(len(PATTERNS), int(np.abs(_GRID).argmin()))
    places, false = _ascend(places, judged, limits, worth=0)
    for worth in _WORTH:
        if not false and worth != _WORTH[-1]:
            continue  # within the limits; what they still allow is left to the last
        places, false = _ascend(places, judged, limits, worth=worth)
    for least in range(len(_GRID)):  # of a model on which three pass everywhere no one threshold changes anything
        if not false:
            break
        places = np.maximum(places, least)
        false = _too_many(places, limits)
    return Patterns(tuple(_PROBABILITIES[places].tolist()))


@dataclass(frozen=True, eq=False)
class _Wafers:
    """Some wafers.

    Attributes:
        least: (8, n) how many of _GRID each logit reaches: it passes the threshold _GRID[j] where that is above j.
        bits: (n,) their patterns.
        alone: (n,) what is found where fewer than two pass is right.
        never: (n,) called "none", which has no several.
    """

    least: NDArray[np.uint8]
    bits: NDArray[np.uint8]
    alone: NDArray[np.bool_]
    never: NDArray[np.bool_]

    @classmethod
    def of(
        cls, logits: NDArray[np.floating[Any]], bits: NDArray[np.uint8], called: NDArray[np.integer[Any]] | None
    ) -> "_Wafers":
        raw, true = np.asarray(logits, np.float64), np.asarray(bits, np.uint8)
        if raw.shape != (len(true), len(PATTERNS)) or (called is not None and np.shape(called) != true.shape):
            raise InputError(
                f"patterns: logits {raw.shape}, bits {true.shape}, called {None if called is None else called.shape}; "
                f"expected (n, {len(PATTERNS)}), (n,) and (n,)."
            )
        least = np.searchsorted(_GRID, raw.T, side="right").astype(np.uint8)
        if called is None:
            return cls(least, true, np.bitwise_count(true) < 2, np.zeros(len(true), bool))
        return cls(least, true, bits_of_labels(np.asarray(called, np.int64)) == true, np.asarray(called) == NONE)

    def at(self, kept: NDArray[np.bool_]) -> "_Wafers":
        return _Wafers(self.least[:, kept], self.bits[kept], self.alone[kept], self.never[kept])

    def passing(self, places: NDArray[np.int64]) -> NDArray[np.uint8]:
        found: NDArray[np.uint8] = np.packbits(self.least > places[:, None], axis=0, bitorder="little")[0]
        return found

    def several(self, passing: NDArray[np.uint8]) -> NDArray[np.bool_]:
        found: NDArray[np.bool_] = (np.bitwise_count(passing) > 1) & ~self.never
        return found

    def right(self, passing: NDArray[np.uint8]) -> NDArray[np.bool_]:
        return np.where(self.several(passing), passing == self.bits, self.alone)

    def counts(self, k: int, without: NDArray[np.bool_], with_it: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Return (grid,): how many of two things hold, of each wafer that which goes with pattern k passing or not."""
        change = np.bincount(self.least[k], weights=with_it.astype(float) - without, minlength=len(_GRID) + 1)
        passing: NDArray[np.int64] = np.rint(change[::-1].cumsum()[::-1][1:]).astype(np.int64)
        return passing + int(without.sum())


class _Limit:
    """Known wafers and how many of them may be found to have several patterns."""

    def __init__(self, wafers: _Wafers, most: float) -> None:
        # Most wafers reach no threshold of the grid twice: they never count.
        able = ((wafers.least > 0).sum(axis=0) > 1) & ~wafers.never
        self.wafers, self.most = wafers.at(able), most

    def too_many(self, count: NDArray[np.int64] | int) -> NDArray[np.float64]:
        return np.asarray(np.maximum(0, np.asarray(count, np.float64) - self.most))


def _ascend(
    places: NDArray[np.int64], judged: _Wafers, limits: list[_Limit], *, worth: float
) -> tuple[NDArray[np.int64], float]:
    """Move the threshold that wins most, again and again; return all places in _GRID and the false ones too many."""
    places = places.copy()
    price = _PRICE * len(judged.bits) * np.square(_GRID)
    for _ in range(_MOVES):
        passing, of_limits = judged.passing(places), [limit.wafers.passing(places) for limit in limits]
        gain = np.stack([_gain(k, passing, of_limits, judged, limits, worth) for k in range(len(PATTERNS))]) - price
        won = gain.max(axis=1) - gain[np.arange(len(PATTERNS)), places]
        if won.max() <= 1e-9:
            break
        k = int(won.argmax())
        best = np.flatnonzero(gain[k] >= gain[k].max() - 1e-9)
        places[k] = best[np.abs(_GRID[best]).argmin()]
    return places, _too_many(places, limits)


def _too_many(places: NDArray[np.int64], limits: list[_Limit]) -> float:
    false = (limit.too_many(int(limit.wafers.several(limit.wafers.passing(places)).sum())) for limit in limits)
    return float(sum(false))


def _gain(
    k: int,
    passing: NDArray[np.uint8],
    of_limits: list[NDArray[np.uint8]],
    judged: _Wafers,
    limits: list[_Limit],
    worth: float,
) -> NDArray[np.float64]:
    """Return (grid,): the wafers that are right, less the false ones too many, with pattern k's threshold there."""
    bit = np.uint8(1 << k)
    gain = judged.counts(k, judged.right(passing & ~bit), judged.right(passing | bit)).astype(np.float64)
    for limit, found in zip(limits, of_limits, strict=True):
        wafers = limit.wafers
        false = wafers.counts(k, wafers.several(found & ~bit), wafers.several(found | bit))
        gain -= worth * limit.too_many(false)
    return gain
