"""The job `classify`: judge files and hand the answers out. Needs the standard library alone until it runs."""

import argparse
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

from edge.station.flags import load
from wafer_tf.errors import InputError, UsageError

if TYPE_CHECKING:
    from edge.station.answers import Write
    from edge.station.inputs import Found
    from wafer_tf.formats.options import Options

PIPE_CLOSED = 141
"""Exit code where the reader of the records went away, as a shell gives it."""
MAPS = """a file is what a prober, tester or inspection tool wrote, told by its content, never by its name:
  STDF V4, ATDF       results of a test, part by part
  KLARF 1.1 to 2.0    defects of an inspection; a die with a defect fails
  SEMI E142, G85      maps in XML
  SINF, WMAP, TSK, Electroglas     maps of probers
  table of dies       CSV with a row per die: x, y, bin
  grid                0 no die, 1 pass, 2 fail: a row per line as CSV or text; npy; npz; up to 2,000 a side
packed by gzip, bzip2, xz or zip, if you like; a file of many wafers gives a record for each. `wafer-tf inspect FILE`
says what is in a file. standard input may be one such file, npy arrays one after another, or text grids parted by blank
lines. a map that cannot be judged is a record with a reason, and does not stop the others."""
EXAMPLE = """examples:
  station classify lot7/*.npy > records.jsonl
  station classify lot7.stdf.gz --csv > lot7.csv
  station classify lot7/*.map --parquet lot7.parquet --e142 for_mes
  station classify first.stdf retest.stdf --merge
  camera | station classify - --bundle nano

exit codes: 0 done, 2 usage, 3 bundle refused, 4 bad input: an answer that could not be written, or, with --strict, a
map that was rejected"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the job's own flags to its parser."""
    parser.add_argument("maps", nargs="+", metavar="MAP", help="a file of maps, or - for standard input")
    parser.add_argument("--strict", action="store_true", help="exit with 4 if a map was rejected")
    parser.add_argument(
        "--merge",
        action="store_true",
        help="files are tests of the same wafers, such as a first test and a retest of the dies that failed: one "
        "answer per lot and wafer, by the last result of each die (--retest)",
    )
    group = parser.add_argument_group("answers", "Where they go, as soon as each is there.")
    kind = group.add_mutually_exclusive_group()
    kind.add_argument("--jsonl", action="store_true", help="JSON lines on standard output (default)")
    kind.add_argument("--csv", action="store_true", help="rows for a spreadsheet on standard output, after a header")
    kind.add_argument("--parquet", metavar="FILE", type=Path, help="a Parquet file, whole at the end; needs pyarrow")
    group.add_argument(
        "--e142", metavar="DIR", type=Path, help="also a SEMI E142 file per judged wafer, LOT_WAFER.xml, with the call"
    )
    group.add_argument("--overwrite", action="store_true", help="replace FILE, and in DIR the files of the same wafers")


def run(args: argparse.Namespace) -> int:
    """Judge the files that are named and hand out one answer per map, each as soon as it is there."""
    if args.maps.count("-") > 1:
        raise UsageError("-: standard input can be read only once.")
    if args.merge and "-" in args.maps:
        raise UsageError("-: --merge takes files by their names.")
    if sys.stdout is None:
        raise InputError("standard output: is closed; the records are printed there.")
    from edge.station.e142_files import E142Folder
    from edge.station.records import Record

    classifier = load(args)
    decisions: Counter[str] = Counter()
    several = 0
    folder = None if args.e142 is None else E142Folder(args.e142, overwrite=args.overwrite)
    unwritten = 0
    record: Record
    try:
        with _answers(args) as write:
            for record, wafer in classifier.judge_found(_found(args, classifier.options)):
                write(record)
                decisions[record["decision"]] += 1
                several += bool(record["patterns"])
                try:
                    if folder is not None:
                        folder.write(wafer, record)
                except InputError as error:
                    unwritten += 1
                    print(f"error: {error}", file=sys.stderr)
    except BrokenPipeError:
        return PIPE_CLOSED
    counted = ", ".join(f"{count} {decision}" for decision, count in sorted(decisions.items()))
    told = f"; {several} of several patterns" if several else ""
    print(f"{decisions.total()} maps{': ' if counted else ''}{counted}{told}", file=sys.stderr)
    return InputError.exit_code if unwritten or (args.strict and decisions["rejected"]) else 0


def _answers(args: argparse.Namespace) -> "AbstractContextManager[Write]":
    from edge.station.answers import csv_rows, json_lines, parquet_file

    if args.parquet is not None:
        return parquet_file(args.parquet, overwrite=args.overwrite)
    return csv_rows() if args.csv else json_lines()


def _found(args: argparse.Namespace, options: "Options") -> Iterator[tuple[str, "Found"]]:
    from edge.station.inputs import find_in_files, find_maps
    from edge.station.merged import find_merged
    from edge.station.stream import split

    if args.merge:
        yield from find_merged(args.maps, options)
        return
    for name in args.maps:
        if name != "-":
            yield from find_in_files([name], options)
            continue
        with open(0, "rb", closefd=False) as stream:  # a descriptor, not a path
            for number, piece in enumerate(split(stream)):
                piece_name = f"stdin:{number}"
                yield from ((piece_name, found) for found in find_maps(piece, piece_name, options))
