"""What a tester's log counts of itself, against what was read. Needs the standard library and numpy.

The standard leaves open whether a part that was tested twice counts twice, and testers differ: a count is taken for
right that is one of the results, or of the dies, or of either with or without the retests that the file counts. Counts
left at 0 are not filled in.
"""

from collections import Counter
from collections.abc import Iterable

from wafer_tf.formats.options import Options
from wafer_tf.formats.tester_dies import Dies
from wafer_tf.formats.tester_log import ALL, Bin, Ended


def wafer_counts(ended: list[Ended], dies: Dies, name: str, options: Options) -> list[str]:
    """Compare what the ends of a wafer count (WRR; several, where it was tested in several passes).

    Returns:
        Warnings.

    Raises:
        InputError: a count is wrong, see `Options.differs`.
    """
    warnings = []
    results, places = len(dies.results), len(dies.chosen["last"])
    read = f"read were {results} results on {places} dies"
    retests = sum(end.retests or 0 for end in ended)
    right = {results, results - dies.unplaced, places, places + dies.unplaced}
    right |= {count + retests for count in right} | {count - retests for count in right}
    parts = [end.parts for end in ended if end.parts]
    if parts and len(parts) == len(ended) and not right & {sum(parts), parts[-1]}:
        told = f"{sum(parts)} parts and {retests} retests"
        warnings.append(options.differs(f"{name}: its end record (WRR) counts {told}; {read}."))
    good = [end.good for end in ended if end.good is not None]
    found = dies.good()
    if options.pass_bins is None and good and len(good) == len(ended) and not found & {sum(good), good[-1]}:
        told = f"{sum(good)} good parts; {read}, {max(found)} results good."
        if any(good):
            warnings.append(options.differs(f"{name}: its end record (WRR) counts {told}"))
        else:
            warnings.append(f"Its end record (WRR) counts {told}")
    return warnings


def bin_counts_of_file(bins: Iterable[Bin], tallies: list[Counter[int]], name: str, options: Options) -> list[str]:
    """Compare what a file's records of bins (HBR) count.

    Args:
        bins: those records.
        tallies: as `Dies.tallies` gives them, of all wafers.
        name: of the file.
        options: how to take a difference.

    Returns, Raises:
        As `wafer_counts`.
    """
    told = [b for b in bins if b.parts]
    told = [b for b in told if b.head == ALL] or told
    together, latest = Counter[int](), Counter[int]()  # a tester that writes them after each wafer counts it alone, or
    for b in told:  # all up to there
        together[b.number] += b.parts or 0
    for (_, _, number), parts in {(b.head, b.site, b.number): b.parts or 0 for b in told}.items():
        latest[number] += parts
    if not told or latest in tallies or together in tallies:
        return []
    number = next(n for n in sorted({*latest, *tallies[0]}) if latest[n] != tallies[0][n])
    return [
        options.differs(
            f"{name}: its records of bins (HBR) count {latest[number]} parts in bin {number}; read were "
            f"{tallies[0][number]} results in it, {tallies[1][number]} of them the last of their die."
        )
    ]
