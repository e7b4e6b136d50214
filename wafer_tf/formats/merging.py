"""Several tests of one wafer, in files of their own, as one map: a first test, then a retest of what failed.

Needs numpy and the standard library alone.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from wafer_tf.dies import Die, check_map, cropped
from wafer_tf.errors import InputError
from wafer_tf.formats.dies_on_grid import check_sides
from wafer_tf.formats.options import Retest
from wafer_tf.formats.wafer_map import BinCount, WaferMap

WHOLE = 0.9
"""A later test of more than this share of the wafer's dies is no retest of what failed."""
MIN_FAILED = 0.5
"""Of a retest's dies, fewer than this that failed before are odd: the maps may not be drawn the same way round."""
MAX_TOGETHER = 2**27
"""Cells of all tests of one wafer."""
FEW = 5
"""Dies of which no share is taken."""


class OneTest(NamedTuple):
    """A map and what to call it in an error or a note: the file it came from."""

    name: str
    map: WaferMap


def one_wafer_each(tests: Sequence[OneTest]) -> list[list[OneTest]]:
    """Part maps by the wafer they are of, in the order in which each wafer comes first.

    Maps of the same lot and wafer belong together; "03" is wafer 3. Where a file does not say its lot, its wafer alone
    is looked for; where it does not say its wafer, all maps must be of one.

    Raises:
        InputError: which wafer a map is of cannot be told.
    """
    names = [(test.map.lot.strip(), _number(test.map.wafer)) for test in tests]
    known = list(dict.fromkeys((lot, wafer) for lot, wafer in names if lot and wafer))
    known += dict.fromkeys((lot, wafer) for lot, wafer in names if wafer and not lot and not _fit((lot, wafer), known))
    wafers: dict[tuple[str, str], list[OneTest]] = {}
    for test, name in zip(tests, names, strict=True):
        fit = [name] if name in known else _fit(name, known)
        if not known:  # no map says its wafer: all are of one, if they may be
            fit = [("", "")] if len({lot for lot, _ in names if lot}) <= 1 else []
        if len(fit) != 1 or (not name[1] and len(known) > 1):
            others = ", ".join("/".join(filter(None, key)) for key in (known or names)[:4])
            raise InputError(
                f"{test.name}: which wafer it is of cannot be told: it says lot {name[0]!r}, wafer {name[1]!r}, the "
                f"files are of {others}. Merge them wafer by wafer."
            )
        wafers.setdefault(fit[0], []).append(test)
    return list(wafers.values())


def merge(tests: Sequence[OneTest], *, retest: Retest = "last") -> WaferMap:
    """Lay the maps of one wafer on each other, by the corner of each.

    Args:
        tests: the maps of one wafer, in the order given, read with `Options.part`. They are put in the order of their
            times where all say it.
        retest: which result of a die counts that has several.

    Returns:
        One map: what it is called is the first that says it, its time the last. A map alone comes back as it is.

    Raises:
        InputError: no map, one without coordinates, one that shares no die with the others, or too large a wafer.

    Examples:
        >>> first = WaferMap(grid=np.array([[1, 2, 1], [1, 1, 1], [2, 1, 1]], np.uint8), corner=(0, 0))
        >>> again = WaferMap(grid=np.array([[0, 0, 0], [0, 0, 0], [1, 0, 0]], np.uint8), corner=(0, 0))
        >>> found = merge([OneTest("first.stdf", first), OneTest("again.stdf", again)])
        >>> found.grid.tolist(), found.retested
        ([[1, 2, 1], [1, 1, 1], [1, 1, 1]], 1)
    """
    if len(tests) == 1:
        return _whole(tests[0])
    tests, told_by = _in_order(tests)
    grids, corner = _on_one_grid(tests)
    grid, counting, warnings = _laid(tests, grids, retest)
    times_tested = np.zeros(grid.shape, np.int32)
    for tested in grids:
        times_tested += tested > 0
    maps = [test.map for test in tests]
    said = {key: next((getattr(m, key) for m in maps if getattr(m, key)), "") for key in ("lot", "wafer", "product")}
    products = sorted({m.product for m in maps} - {""})
    if len(products) > 1:
        warnings.append(f"The tests say different products: {', '.join(products)}.")
    steps = list(dict.fromkeys(m.step for m in maps if m.step))
    return replace(
        maps[-1],
        grid=check_map(grid, tests[0].name),
        **said,
        step=", ".join(steps),
        time=max((m.time for m in maps), key=lambda time: _when(time) or datetime.min),
        corner=corner,
        bins=_bins(maps, grids, counting),
        retested=int(np.count_nonzero(times_tested > 1)),
        facts={key: fact for m in maps for key, fact in m.facts.items()},
        assumed=tuple(dict.fromkeys([_said(tests, told_by), *(sentence for m in maps for sentence in m.assumed)])),
        warnings=tuple(dict.fromkeys([*warnings, *(sentence for m in maps for sentence in m.warnings)])),
    )


def _fit(name: tuple[str, str], known: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return those of the known lots and wafers that a name, one part of which may be empty, can be."""
    return [key for key in known if all(not a or not b or a == b for a, b in zip(name, key, strict=True))]


def _whole(test: OneTest) -> WaferMap:
    """Return a map that was read as a part (`Options.part`) and is the only one of its wafer.

    Raises:
        InputError: it is too small for a map.
    """
    if test.map.corner is not None:
        check_map(cropped(test.map.grid)[0], f"{test.name}, which no other test of its wafer goes with")
    return test.map


def _number(wafer: str) -> str:
    wafer = wafer.strip()
    return wafer.lstrip("0") or "0" if wafer.isascii() and wafer.isdecimal() else wafer


def _when(time: str) -> datetime | None:
    try:
        return datetime.fromisoformat(time).replace(tzinfo=None)  # the testers of one wafer stand in one fab
    except ValueError:
        return None


def _in_order(tests: Sequence[OneTest]) -> tuple[list[OneTest], str]:
    times = [_when(test.map.time) for test in tests]
    known = [time for time in times if time is not None]
    if len(known) < len(times) or len(set(known)) < len(known):
        return list(tests), "in the order given"
    return [test for _, test in sorted(zip(known, tests, strict=True), key=lambda pair: pair[0])], "by their times"


def _on_one_grid(tests: Sequence[OneTest]) -> tuple[list[NDArray[np.uint8]], tuple[int, int]]:
    """Return every map on the box of all their dies, and its corner."""
    boxes, corners = [], []
    for test in tests:
        if test.map.corner is None:
            raise InputError(
                f"{test.name}: gives its dies no coordinates, so it cannot be laid on another map; expected a tester's "
                "log or a table with x and y."
            )
        box, (row, col) = cropped(test.map.grid)
        boxes.append(box)
        corners.append((test.map.corner[0] + row, test.map.corner[1] + col))
    top, left = (min(side) for side in zip(*corners, strict=True))
    ends = [(row + box.shape[0], col + box.shape[1]) for (row, col), box in zip(corners, boxes, strict=True)]
    sides = max(end[0] for end in ends) - top, max(end[1] for end in ends) - left
    check_sides(sides, " + ".join(test.name for test in tests)[:200])
    if sides[0] * sides[1] * len(tests) > MAX_TOGETHER:
        raise InputError(
            f"{tests[0].name}: {len(tests)} tests of a wafer of {sides[0]} x {sides[1]} cells; expected at most "
            f"{MAX_TOGETHER} cells together. Leave tests out."
        )
    grids = []
    for (row, col), end, box in zip(corners, ends, boxes, strict=True):
        grid = np.zeros(sides, np.uint8)
        grid[row - top : end[0] - top, col - left : end[1] - left] = box
        grids.append(grid)
    return grids, (top, left)


def _laid(
    tests: Sequence[OneTest], grids: Sequence[NDArray[np.uint8]], retest: Retest
) -> tuple[NDArray[np.uint8], NDArray[np.int64], list[str]]:
    """Return the map, which test counts for each place (-1 where there is no die), and what is odd."""
    counting = np.where(grids[0] > 0, 0, -1)
    state = grids[0].copy()
    warnings = []
    for number, (test, grid) in enumerate(zip(tests[1:], grids[1:], strict=True), 1):
        here, before = grid > 0, counting >= 0
        both = here & before
        again, known, new = (int(np.count_nonzero(which)) for which in (both, before, here & ~before))
        if not again:
            raise InputError(
                f"{test.name}: none of its {new} dies is a die of {tests[0].name}; expected tests of one wafer. "
                "Another wafer, or drawn another way round (--y-axis, --orient)."
            )
        if new:
            warnings.append(f"{new} of the {again + new} dies of {test.name} were not tested before.")
        failed = int(np.count_nonzero(state[both] == Die.FAIL))
        if again > FEW and again < WHOLE * known and failed < MIN_FAILED * again:
            warnings.append(
                f"Of the {again} dies that {test.name} tests again only {failed} had failed: check that the files are "
                "drawn the same way round (--y-axis, --orient)."
            )
        wins = here & ~before
        if retest == "last":
            wins = here
        elif retest == "best":
            wins = here & (~before | (grid == Die.PASS) | (state == Die.FAIL))
        counting[wins], state[wins] = number, grid[wins]
    return state, counting, warnings


def _bins(
    maps: Sequence[WaferMap], grids: Sequence[NDArray[np.uint8]], counting: NDArray[np.int64]
) -> tuple[BinCount, ...]:
    """Return the bins that count; those of one map of which a part counts are told together, "2 or 5"."""
    found: dict[tuple[bool, str], int] = {}
    for number, (m, grid) in enumerate(zip(maps, grids, strict=True)):
        for passing, state in ((True, Die.PASS), (False, Die.FAIL)):
            of_state = grid == state
            count = int(np.count_nonzero(of_state & (counting == number)))
            bins = [b for b in m.bins if b.passing == passing]
            if not count:
                continue
            if sum(b.dies for b in bins) != count and len(bins) != 1:
                names = sorted({b.name for b in bins}) or ["pass" if passing else "fail"]
                bins = [BinCount(" or ".join(names), passing, count)]
            elif len(bins) == 1:
                bins = [bins[0]._replace(dies=count)]
            for b in bins:
                found[not passing, b.name] = found.get((not passing, b.name), 0) + b.dies
    return tuple(BinCount(name, not fails, dies) for (fails, name), dies in sorted(found.items()))


def _said(tests: Sequence[OneTest], told_by: str) -> str:
    each = [f"{test.name} ({np.count_nonzero(test.map.grid):,} dies)" for test in tests]
    return f"the files are tests of one wafer (--merge), {told_by}: {', then '.join(each)}"
