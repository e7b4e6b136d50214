"""Say what is in files of wafer maps, and why one cannot be read: format, lot, wafers, grid, dies, bins, retests.

The first thing to do with the files of a new tool. What a file does not say and was assumed is named with its flag.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edge.station.inspecting import add_arguments, inspected
from wafer_tf.command import CommandParser, run, says_what_to_install
from wafer_tf.errors import InputError, UsageError
from wafer_tf.formats.flags import PROFILE

if TYPE_CHECKING:
    from edge.station.inspect import Inspected

EXAMPLE = f"""example:
  python -m edge.inspect lot2.stdf.gz --picture map.png
  python -m edge.inspect dies.csv --y-axis up --pass-bins 1,7

{PROFILE}

exit codes: 0 done, 2 usage, 4 a file cannot be read, or not all of it"""
MAX_PICTURES = 25


def parser() -> argparse.ArgumentParser:
    """Return the command's arguments."""
    p = CommandParser("python -m edge.inspect", __doc__, epilog=EXAMPLE)
    p.add_argument("--picture", type=Path, metavar="PNG", help=f"draw the maps, {MAX_PICTURES} at most")
    p.add_argument("--overwrite", action="store_true", help="replace PNG")
    add_arguments(p)
    return p


def main(argv: list[str] | None = None) -> int:
    """Run the command and return its exit code."""
    args = parser().parse_args(argv)
    return run(lambda: inspect(args))


def inspect(args: argparse.Namespace) -> int:
    """Print what is in files, draw them where asked, and return the exit code."""
    if args.picture and args.picture.exists() and not args.overwrite:
        raise UsageError(f"--picture {args.picture}: is there already; add --overwrite or choose another file.")
    found = inspected(args)
    if args.picture:
        draw(found, args.picture)
        print(f"drew {args.picture}", file=sys.stderr)
    return 0 if all(file.whole for file in found) else InputError.exit_code


@says_what_to_install()
def draw(found: "Sequence[Inspected]", path: Path) -> None:
    """Draw the maps of files, MAX_PICTURES at most, as a PNG.

    Raises:
        InputError: there is none.
        ModuleNotFoundError: matplotlib is not installed.
    """
    from edge.station.inspect import name_of
    from wafer_tf.formats.wafer_map import WaferMap

    named = [
        (file, number, wafer)
        for file in found
        for number, wafer in enumerate(file.wafers, 1)
        if isinstance(wafer, WaferMap)
    ]
    if not named:
        raise InputError(f"--picture {path}: no wafer was read; there is nothing to draw.")
    from wafer_tf.figures.maps import maps_figure
    from wafer_tf.figures.style import save

    titles = [
        name_of(wafer) or Path(file.name).name + (f", {number}" if len(file.wafers) > 1 else "")
        for file, number, wafer in named
    ]
    save(maps_figure([wafer.grid for _, _, wafer in named[:MAX_PICTURES]], titles), path)


if __name__ == "__main__":
    sys.exit(main())
