"""The maps of files of which several are tests of one wafer, laid on each other. Needs numpy alone."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from edge.station.inputs import Found, find_in_files, wafer_name
from wafer_tf.dies import grid_sha256
from wafer_tf.errors import InputError
from wafer_tf.formats.merging import OneTest, merge, one_wafer_each
from wafer_tf.formats.options import DEFAULT, Options
from wafer_tf.formats.wafer_map import WaferMap

MAX_CELLS = 2**28
"""Cells of all maps together: they are in memory at once."""


def find_merged(names: Sequence[str], options: Options = DEFAULT) -> Iterator[tuple[str, Found]]:
    """Give one map per wafer of all files, with the names of its files; bad input is given as an error, not raised.

    What could not be read comes first, and every map says that it may lack results.
    """
    found: list[tuple[str, Found]] = []
    unread: list[str] = []
    cells = 0
    for file, item in find_in_files(names, replace(options, part=True)):
        if isinstance(item.found, InputError):
            unread.append(file)
            yield file, item
            continue
        cells += item.found.grid.size
        if cells > MAX_CELLS:
            raise InputError(f"{file}: over {MAX_CELLS} cells together; merge fewer files at a time.")
        found.append((file, item))
    origin = {id(item.found): (file, item) for file, item in found}
    tests = [OneTest(file, item.found) for file, item in found if isinstance(item.found, WaferMap)]
    try:
        wafers = one_wafer_each(tests) if tests else []
    except InputError as error:
        yield _merged([file for file, _ in found], [item for _, item in found], error)
        return
    for of_one in wafers:
        files, items = zip(*(origin[id(test.map)] for test in of_one), strict=True)
        try:
            wafer: WaferMap | InputError = _warned(merge(of_one, retest=options.retest), unread)
        except InputError as error:
            wafer = error
        if len(items) == 1:
            yield files[0], items[0]._replace(found=wafer)
        else:
            yield _merged(files, items, wafer)


def _warned(wafer: WaferMap, unread: Sequence[str]) -> WaferMap:
    if not unread:
        return wafer
    named = f"{', '.join(unread[:3])}{f' and {len(unread) - 3} more' if len(unread) > 3 else ''}"
    warning = f"{named} could not be read: results of this wafer may be missing."
    return replace(wafer, warnings=(warning, *wafer.warnings))


def _merged(files: Sequence[str], items: Sequence[Found], wafer: WaferMap | InputError) -> tuple[str, Found]:
    several = " + ".join(dict.fromkeys(files))
    first = items[0].found
    name = wafer_name(getattr(first, "lot", ""), getattr(first, "wafer", ""), several)
    sha256 = None if isinstance(wafer, InputError) else grid_sha256(wafer.grid)
    format = " + ".join(dict.fromkeys(item.format or "" for item in items))
    return several, Found(name, 1, sha256, None, format, wafer)
