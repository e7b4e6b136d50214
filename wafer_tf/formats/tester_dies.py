"""Which results of a tester's log passed, and which of them counts for each die. Needs numpy alone."""

from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wafer_tf.errors import InputError
from wafer_tf.formats.options import Options, Retest
from wafer_tf.formats.tester_log import FAILED, NO_COORDINATE, NO_VERDICT, Bin

WAYS: tuple[Retest, ...] = ("last", "first", "best")
_OFFSET = 1 << 15


class Verdicts:
    """Which results pass: by the bins the user names; else by their flags; else by what the file says of their bin."""

    def __init__(self, bins: Iterable[Bin], name: str, options: Options) -> None:
        """Take the bins of a file.

        Raises:
            InputError: the user names a bin that is no number.
        """
        self._by_user = options.pass_bins is not None
        told = {b.number: b.verdict == "P" for b in bins if b.verdict in ("P", "F")}
        self._told = any(told.values())
        self._failing = [number for number, passes in told.items() if not passes]
        self._passing = [number for number, passes in told.items() if passes] if self._told else [1]
        if options.pass_bins is not None:
            wrong = sorted(bin_ for bin_ in options.pass_bins if not (bin_.isascii() and bin_.isdecimal()))
            if wrong:
                raise InputError(f"{name}: --pass-bins {','.join(wrong)[:80]}; expected numbers, as its hard bins are.")
            self._passing = [int(bin_[-9:]) for bin_ in options.pass_bins]

    def passed(self, results: NDArray[Any]) -> NDArray[np.bool_]:
        """Return whether each result, of flags and bin, passed."""
        by_bin = np.isin(results["bin"], self._passing)
        if self._by_user:
            return by_bin
        return np.where(results["flags"] & NO_VERDICT != 0, by_bin, results["flags"] & FAILED == 0)

    def assumed(self, results: NDArray[Any]) -> list[str]:
        """Return what was assumed of these results."""
        silent = np.count_nonzero(results["flags"] & NO_VERDICT)
        if self._by_user or self._told or not silent:
            return []
        return [f"bin 1 alone passes, of {silent} results that say neither pass nor fail (--pass-bins 1)"]

    def warnings(self, results: NDArray[Any], passed: NDArray[np.bool_]) -> list[str]:
        """Return what is odd about these results."""
        odd = np.count_nonzero(np.isin(results["bin"], self._failing) & passed)
        odd += np.count_nonzero(np.isin(results["bin"], self._passing) & ~passed) if self._told else 0
        if self._by_user or not odd:
            return []
        return [
            f"{odd} results say pass (PART_FLG) and their bin fail (HBR), or the other way round; the results were "
            "believed (--pass-bins goes by the bins)."
        ]


class Dies:
    """A wafer's results by die.

    Attributes:
        results: (n,) of flags, bin, x, y, in the order they came.
        passed: (n,) whether each did.
        chosen: (dies,) by the way to treat retests, the index of the result that counts; in one order of places.
        retested: dies with more than one result.
        unplaced: results without coordinates.
    """

    def __init__(self, results: NDArray[Any], passed: NDArray[np.bool_]) -> None:
        """Sort results by place. The same place again is a retest, flagged or not: testers often leave the flag out."""
        self.results, self.passed = results, passed
        placed = np.flatnonzero((results["x"] != NO_COORDINATE) & (results["y"] != NO_COORDINATE))
        place = (results["y"].astype(np.int32) << 16 | results["x"].astype(np.int32) + _OFFSET)[placed]
        by_place = np.argsort(place, kind="stable")
        place, index = place[by_place], placed[by_place]
        del placed, by_place
        new = np.append(True, place[1:] != place[:-1])[: len(place)]
        first, last = np.flatnonzero(new), np.flatnonzero(np.append(new[1:], True)[: len(place)])
        best = last
        if len(first):
            latest_pass = np.maximum.reduceat(np.where(passed[index], np.arange(len(index)), -1), first)
            best = np.where(latest_pass < 0, last, latest_pass)
        self.chosen: dict[Retest, NDArray[np.int64]] = {
            "last": index[last],
            "first": index[first],
            "best": index[best],
        }
        self.retested = int(np.count_nonzero(first != last))
        self.unplaced = len(results) - len(index)

    def tallies(self) -> list[Counter[int]]:
        """Return the parts in each bin, in all ways a tester may count them.

        The results, then the dies by `WAYS`; then the same without or with the results that have no coordinates.
        """
        every = _tally(self.results["bin"])
        dies = [_tally(self.results["bin"][self.chosen[way]]) for way in WAYS]
        no_place = (self.results["x"] == NO_COORDINATE) | (self.results["y"] == NO_COORDINATE)
        unplaced = _tally(self.results["bin"][no_place])
        return [every, *dies, every - unplaced, *(tally + unplaced for tally in dies)]

    def good(self) -> set[int]:
        """Return the good parts, in all ways a tester may count them."""
        no_place = (self.results["x"] == NO_COORDINATE) | (self.results["y"] == NO_COORDINATE)
        unplaced = np.count_nonzero(self.passed & no_place)
        every = np.count_nonzero(self.passed)
        dies = [np.count_nonzero(self.passed[chosen]) for chosen in self.chosen.values()]
        return {int(count) for count in (every, every - unplaced, *dies, *(n + unplaced for n in dies))}


def _tally(bins: NDArray[Any]) -> Counter[int]:
    numbers, counts = np.unique(bins, return_counts=True)
    return Counter(dict(zip(numbers.tolist(), counts.tolist(), strict=True)))
