"""From a tester's log (STDF, ATDF) to wafer maps. Needs numpy alone."""

import dataclasses
from collections.abc import Iterator
from datetime import datetime, timezone
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wafer_tf.dies import Die, check_map
from wafer_tf.errors import InputError
from wafer_tf.formats.dies_on_grid import dies_on_grid
from wafer_tf.formats.options import Options
from wafer_tf.formats.tester_counts import bin_counts_of_file, wafer_counts
from wafer_tf.formats.tester_dies import Dies, Verdicts
from wafer_tf.formats.tester_log import ABNORMAL, RETEST, Log, Picture, Tested
from wafer_tf.formats.wafer_map import BinCount, WaferMap


def maps_of(log: Log, options: Options) -> Iterator[WaferMap | InputError]:
    """Yield the wafers of a log in the order they began, an InputError for one that gives no map.

    Raises:
        InputError: no results, none with coordinates, or counts that differ.
    """
    warnings, wafers, strays = list(log.warnings), log.wafers, log.outside
    if not wafers:
        wafers, strays = [log.as_wafer(strays)], Tested()
    if not any(tested.parts for tested in wafers):
        cut = f" {log.cut}." if log.cut else ""
        raise InputError(f"{log.name}: no result of a part (PRR); expected one for each die.{cut}")
    if strays.parts:
        number = len(strays.results(log.order))
        warnings.append(options.differs(f"{log.name}: {number} parts, tested while no wafer was begun, are left out."))
    if len(log.pictures) > 1:
        warnings.append(options.differs(f"{log.name}: its wafer configurations (WCR) differ; expected one for all."))
    verdicts = Verdicts(log.bins, log.name, options)
    results = strays.results(log.order)
    tallies = Dies(results, verdicts.passed(results)).tallies()[:1] * 8
    found: list[WaferMap | InputError] = []
    placed, places = 0, set[tuple[int, int]]()
    for number, tested in enumerate(wafers, 1):
        name = f"{log.name}:{tested.wafer or number}" if tested.wafer or len(wafers) > 1 else log.name
        results = tested.results(log.order)
        dies = Dies(results, verdicts.passed(results))
        tallies = [one + more for one, more in zip(tallies, dies.tallies(), strict=True)]
        placed += len(results) - dies.unplaced
        places.update((int(die["x"]), int(die["y"])) for die in results[dies.chosen["last"][:2]])
        try:
            found.append(_map_of(tested, dies, name, log, verdicts, options))
        except InputError as error:
            found.append(InputError(f"{error} {log.cut}.") if log.cut and _unended(tested) else error)
    if not placed:
        raise InputError(f"{log.name}: no coordinates (a final test): no map. Expected the log of a wafer sort.")
    if placed > 1 and len(places) == 1 and not log.cut:
        raise InputError(f"{log.name}: all {placed} results at one place {places.pop()} (a final test?): no map.")
    if not log.cut:
        warnings += bin_counts_of_file(log.bins, tallies, log.name, options)
    for map_ in found:
        yield map_ if isinstance(map_, InputError) else dataclasses.replace(map_, warnings=(*map_.warnings, *warnings))


def _map_of(tested: Tested, dies: Dies, name: str, log: Log, verdicts: Verdicts, options: Options) -> WaferMap:
    if dies.unplaced == len(dies.results):
        raise InputError(f"map {name}: {dies.unplaced} results, none with coordinates; expected those of dies.")
    picture = next(iter(log.pictures)) if len(log.pictures) == 1 else Picture()
    x_grows = picture.x_grows or "right"
    y_grows = picture.y_grows or options.y_axis or "down"
    notch = picture.notch if options.orient is None else options.orient
    assumed = ["x grows to the right"] * (picture.x_grows is None)
    assumed += [f"y grows {y_grows}ward (--y-axis {y_grows})"] * (picture.y_grows is None)
    assumed += ["the notch is down (--orient down)"] * (notch is None)
    counting = dies.chosen[options.retest]
    chosen, passed = dies.results[counting], dies.passed[counting]
    state = np.where(passed, np.uint8(Die.PASS), np.uint8(Die.FAIL))
    grid, corner = dies_on_grid(
        chosen["x"], chosen["y"], state, name, x_grows=x_grows, y_grows=y_grows, notch=notch or 0, part=options.part
    )
    return WaferMap(
        grid=check_map(grid, name),
        lot=tested.lot,
        wafer=tested.wafer,
        product=tested.product,
        step=tested.step,
        time=_iso(tested.time),
        corner=corner,
        bins=_bins(passed, chosen["bin"]),
        retested=dies.retested,
        facts=dict(log.facts),
        assumed=(*assumed, *verdicts.assumed(dies.results)),
        warnings=(
            *_oddities(tested, dies, log),
            *verdicts.warnings(dies.results, dies.passed),
            *wafer_counts(tested.ended, dies, name, options),
        ),
    )


def _bins(passed: NDArray[np.bool_], bins: NDArray[np.integer[Any]]) -> tuple[BinCount, ...]:
    keys, counts = np.unique(np.where(passed, 0, 1 << 16) + bins, return_counts=True)
    return tuple(
        BinCount(str(key & 0xFFFF), key >> 16 == 0, dies)
        for key, dies in zip(keys.tolist(), counts.tolist(), strict=True)
    )


def _oddities(tested: Tested, dies: Dies, log: Log) -> Iterator[str]:
    if log.cut and _unended(tested):
        yield f"{log.cut}: dies of this wafer may be missing."
    elif log.cut and tested is log.wafers[-1]:
        yield f"{log.cut}: wafers after this one may be missing."
    elif tested.passes > len(tested.ended):
        yield "The wafer has no end record (WRR): dies of it may be missing."
    if tested.passes > 1:
        yield f"The wafer was tested in {tested.passes} passes (WIR); this is what they say together."
    if dies.unplaced:
        yield f"{dies.unplaced} of {len(dies.results)} results have no coordinates and are left out."
    abnormal = np.count_nonzero(dies.results["flags"] & ABNORMAL)
    if abnormal:
        yield f"{abnormal} results ended abnormally (PART_FLG bit 2)."
    orphans = np.count_nonzero(dies.results["flags"][dies.chosen["first"]] & RETEST)
    if orphans:
        yield f"{orphans} dies are marked as retested, but their first test is not here: a log of the retests alone?"


def _unended(tested: Tested) -> bool:
    return not tested.ended or tested.passes > len(tested.ended)


def _iso(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, timezone.utc).replace(tzinfo=None).isoformat() if seconds else ""
