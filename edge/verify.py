"""Verify what a station wrote, or a bundle: OUT is the folder of `watch --out`, BUNDLE one that edge.convert made.

Of records, changed and missing lines are found. A bundle is held against its signature; see edge.signing.
"""

import argparse
import sys
from pathlib import Path

from wafer_tf.command import CommandParser, run
from wafer_tf.errors import InputError, UsageError

EXAMPLE = """example:
  python -m edge.verify records
  python -m edge.verify runs/NAME/bundle --key public.pem

exit codes: 0 done, 2 usage, 3 the bundle is not what was signed, 4 a line of the records is changed or missing"""


def parser() -> argparse.ArgumentParser:
    """Return the command's arguments."""
    p = CommandParser("python -m edge.verify", __doc__, epilog=EXAMPLE)
    p.add_argument("path", type=Path, metavar="OUT|BUNDLE", help="a folder of records, or a bundle")
    p.add_argument("--key", type=Path, metavar="KEY.pem", help="the public key a bundle is signed with")
    p.add_argument("--whole-folder", action="store_true", help="by model-signing's signature beside the bundle")
    return p


def main(argv: list[str] | None = None) -> int:
    """Run the command and return its exit code."""
    args = parser().parse_args(argv)
    return run(lambda: verify(args.path, args.key, whole_folder=args.whole_folder))


def verify(path: Path, key: Path | None, *, whole_folder: bool) -> int:
    """Check the records in a folder, or a bundle's signature; return the exit code."""
    from edge.station.hot_folder.record_files import RECORDS

    if not path.exists():
        raise InputError(f"{path}: no such folder; expected the OUT folder of watch, or a bundle.")
    if (path / RECORDS).is_file():
        from edge.station.__main__ import main as station

        return station(["verify", str(path)])
    if key is None:
        raise UsageError(f"{path}: holds no {RECORDS}; for a bundle, say by which key it is signed: --key public.pem.")
    from edge.signing import main as signing

    return signing(["verify", str(path), "--key", str(key), *(["--whole-folder"] if whole_folder else [])])


if __name__ == "__main__":
    sys.exit(main())
