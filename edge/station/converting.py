"""The job `convert-map`: write what is in a tool's file anew. Needs the standard library alone until it runs."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from wafer_tf.errors import InputError, UsageError
from wafer_tf.formats import flags as reading

if TYPE_CHECKING:
    from wafer_tf.formats.wafer_map import WaferMap

EXAMPLE = """OUT's ending says what is written, always with the notch down and row 0 on top:
  .xml   SEMI E142, one wafer
  .csv   a table of dies, all wafers: lot, wafer, product, step, time, x, y, result
  .txt   a grid, one wafer: 0 no die, 1 pass, 2 fail

examples:
  station convert-map lot7.stdf.gz lot7.csv
  station convert-map lot7.stdf.gz wafer3.xml --map 3

exit codes: 0 done, 2 usage, 4 bad input"""
ONE, ALL = (".xml", ".txt"), (".csv",)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the job's flags to its parser."""
    parser.add_argument("source", metavar="IN", help="a file of maps, of any kind that `station inspect --help` names")
    parser.add_argument("out", metavar="OUT", type=Path, help="the file to write")
    parser.add_argument("--map", metavar="N", type=int, help="which map of the file, from 1 (default: all)")
    parser.add_argument("--overwrite", action="store_true", help="replace OUT")
    reading.add_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Read the file's maps and write them."""
    from wafer_tf.formats.e142_writer import write_e142
    from wafer_tf.formats.table_writer import grid_lines, table_lines
    from wafer_tf.whole_files import whole_file

    out: Path = args.out
    ending = out.suffix.casefold()
    if ending not in (*ONE, *ALL):
        raise UsageError(f"OUT {out}: expected a name that ends in {', '.join((*ONE, *ALL))}.")
    if args.map is not None and args.map < 1:
        raise UsageError(f"--map {args.map}; expected a number from 1.")
    if not out.absolute().parent.is_dir() or out.is_dir():
        raise UsageError(f"OUT {out}: expected a file in a folder that is there.")
    if out.exists() and not args.overwrite:
        raise UsageError(f"OUT {out}: is there already; add --overwrite or choose another file.")
    wafers = _wafers(args)
    if ending in ONE and len(wafers) > 1:
        raise UsageError(
            f"{args.source}: holds {len(wafers)} wafers, and {ending} takes one; add --map N, or write .csv, which "
            "takes all."
        )
    if ending == ".xml":
        lines = [write_e142(wafers[0])]
    else:
        lines = [line.encode() for line in (table_lines(wafers) if ending == ".csv" else grid_lines(wafers[0]))]
    with whole_file(out) as file:
        file.writelines(lines)
    return 0


def _wafers(args: argparse.Namespace) -> "list[WaferMap]":
    """Return the maps that are asked for. Raises InputError for one that cannot be read."""
    from edge.station.inputs import find_in_files

    found = []
    number = 0
    for number, (_, item) in enumerate(find_in_files([args.source], reading.options(args)), 1):
        if args.map in (None, number):
            if isinstance(item.found, InputError):
                raise item.found
            found.append(item.found)
    if not found:
        raise InputError(f"{args.source}: holds {number} maps; expected one that is number {args.map}.")
    return found
