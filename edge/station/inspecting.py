"""Say what is in files: format, lot, wafers, grid, dies, bins, retests, and what was assumed."""

import argparse
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING

from wafer_tf.command import called
from wafer_tf.errors import InputError
from wafer_tf.formats import flags as reading

if TYPE_CHECKING:
    from edge.station.inspect import Inspected


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the job's flags to its parser."""
    parser.add_argument("files", nargs="+", metavar="FILE", help="in any format that classify reads")
    parser.add_argument("--all", action="store_true", help="every wafer of a file in full, not the first alone")
    parser.add_argument("--json", action="store_true", help="a line of JSON per file instead")
    parser.add_argument(
        "--merge",
        action="store_true",
        help="files are tests of the same wafers: what is in them together, one map per lot and wafer",
    )
    reading.add_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Print what is in files; a file that cannot be read is explained, and makes the exit code 4."""
    return 0 if all(file.whole for file in inspected(args)) else InputError.exit_code


def inspected(args: argparse.Namespace) -> "list[Inspected]":
    """Look into files, print what is in each, and return it.

    Raises:
        InputError: a file is not there.
    """
    from edge.station.answers import say
    from edge.station.inputs import open_input, shown_name
    from edge.station.inspect import inspect, inspect_merged, report, to_line

    def each() -> "Iterator[Inspected]":
        for name in args.files:
            shown = shown_name(name)
            try:
                with open_input(name) as file:
                    yield inspect(file, shown, options)
            except OSError as error:
                raise InputError(
                    f"{shown}: cannot be read ({error.strerror}); expected a file of wafer maps."
                ) from error

    options = reading.options(args)
    found: list[Inspected] = []
    for file in inspect_merged(args.files, options) if args.merge else each():
        text = to_line(file) if args.json else "\n" * bool(found) + report(file, every=args.all)
        found.append(file)
        with suppress(BrokenPipeError):  # who closes a pipe has read enough
            say(called(text) + "\n")
    return found
