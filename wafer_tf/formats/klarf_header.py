"""What a KLARF file says of a wafer in its keywords: the notch, the time, the sizes. Needs the standard library."""

import re
from contextlib import suppress
from datetime import datetime

from wafer_tf.errors import InputError
from wafer_tf.formats.dies_on_grid import NOTCH
from wafer_tf.formats.klarf_dies import diameter
from wafer_tf.formats.klarf_wafer import Wafer
from wafer_tf.formats.options import Options

_TIME = re.compile(r"(\d{1,4})[-/.](\d{1,2})[-/.](\d{1,4})[T ]+(\d{1,2}):(\d{1,2})(?::(\d{1,2}))?")


def notch(wafer: Wafer, options: Options, assumed: list[str], name: str) -> int:
    """Return where the notch is, in degrees clockwise from down.

    Version 1.x has words. Version 1.8 has degrees; that 90 is left is what jklarfreader, a converter from 1.2 to 1.8,
    writes for LEFT.

    Args:
        wafer: it.
        options: `orient` wins.
        assumed: takes what was assumed.
        name: what to call it in an error.

    Raises:
        InputError: a place that is none of the four.
    """
    if options.orient is not None:
        return options.orient
    said = wafer.first("ORIENTATIONMARKLOCATION")
    if not said:
        assumed.append("the file does not say where the notch is: down (--orient down)")
        return 0
    if said.casefold() in NOTCH:
        return NOTCH[said.casefold()]
    degrees = said.split(".")[0]
    if degrees not in map(str, NOTCH.values()):
        raise InputError(
            f"{name}: OrientationMarkLocation {said[:40]!r}; expected DOWN, LEFT, UP, RIGHT, or 0, 90, 180, 270. "
            "Say it with --orient."
        )
    if degrees in ("90", "270"):
        side = "left" if degrees == "90" else "right"
        assumed.append(f"OrientationMarkLocation {degrees} is the {side} side (--orient {side})")
    return int(degrees)


def time(wafer: Wafer, warnings: list[str], assumed: list[str]) -> str:
    """Return when the wafer was inspected, ISO 8601, "" where the file does not say."""
    for key in ("RESULTTIMESTAMP", "FILETIMESTAMP"):
        said = " ".join(wafer.values.get(key, [])).strip()
        if said:
            found = _iso(said, assumed)
            if not found:
                warnings.append(f"{key} {said[:40]!r} is no date and time: left out.")
            return found
    return ""


def _iso(said: str, assumed: list[str]) -> str:
    found = _TIME.match(said)
    if not found:
        return ""
    first, second, third, *rest = found.groups(default="0")
    hour, minute, second_of_minute = map(int, rest)
    if len(first) == 4:
        year, month, day = first, second, third
    else:
        month, day, year = first, second, third
        if int(month) > 12 >= int(day):
            month, day = day, month
            assumed.append(f"the date {said[:10]} has the day first: it has no month {day}")
    if len(year) <= 2:
        year = str(int(year) + (2000 if int(year) < 69 else 1900))  # as POSIX reads two digits
    try:
        return datetime(int(year), int(month), int(day), hour, minute, second_of_minute).isoformat()
    except ValueError:
        return ""


def facts(wafer: Wafer, unit: float) -> dict[str, str]:
    """Return the sizes, the station and the slot, in words; what the file does not say, or not rightly, is left out."""
    found = {}
    with suppress(InputError):  # needed for the dies alone, and those may come from the plan
        found["wafer size"] = f"{diameter(wafer, unit, '') / 1000:g} mm"
    with suppress(ValueError):
        across, along = (float(word) * unit / 1000 for word in wafer.values.get("DIEPITCH", [])[:2])
        found["die pitch"] = f"{across:g} x {along:g} mm"
    station = " ".join(word for word in wafer.values.get("INSPECTIONSTATIONID", []) if word)
    if station:
        found["inspection station"] = station
    if wafer.first("SLOT"):
        found["slot"] = wafer.first("SLOT")
    return found
