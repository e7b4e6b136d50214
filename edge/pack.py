"""One file that is the whole station: `python -m edge.pack [--out station.pyz]`.

Copy it to a machine with Python 3.10 or newer, numpy and ai-edge-litert (requirements-station.txt pins them), and run
`python station.pyz`. It carries no model: name a bundle by --bundle. The same sources give the same bytes.
"""

import argparse
import io
import os
import sys
import zipfile
from pathlib import Path

from wafer_tf.command import CommandParser
from wafer_tf.command import run as run_command
from wafer_tf.errors import UsageError
from wafer_tf.whole_files import whole_file

ROOT = Path(__file__).parents[1]
PACKAGES = ("edge", "wafer_tf")
ENTRY = "edge/station/__main__.py"
FORMATS = "wafer_tf/formats"
MAIN = b"import sys\n\nfrom edge.station.__main__ import main\n\nsys.exit(main())\n"
SHEBANG = b"#!/usr/bin/env python3\n"
EXAMPLE = """example:
  python -m edge.pack --out station.pyz && python station.pyz selftest --bundle runs/NAME/bundle

exit codes: 0 done, 2 usage, 4 FILE cannot be written"""
FIRST_DAY = (1980, 1, 1, 0, 0, 0)
"""Time of every entry: the earliest a zip archive knows. Nothing is packed, so that every zlib gives the same bytes."""


def parser() -> argparse.ArgumentParser:
    """Return the command's arguments."""
    p = CommandParser("python -m edge.pack", __doc__, epilog=EXAMPLE)
    p.add_argument("--out", type=Path, default=Path("station.pyz"), metavar="FILE", help="default: station.pyz")
    return p


def main(argv: list[str] | None = None) -> int:
    """Run the command and return its exit code."""
    args = parser().parse_args(argv)
    return run_command(lambda: pack(args.out))


def pack(out: str | os.PathLike[str]) -> None:
    """Write the archive; an earlier one is replaced, anything else is not."""
    out = Path(out)
    if out.exists() and not (out.is_file() and out.read_bytes().startswith(SHEBANG + b"PK")):
        raise UsageError(f"{out}: something that is no packed station is there; choose another --out.")
    with whole_file(out) as file:
        file.write(archive())
        os.fchmod(file.fileno(), 0o755)
    print(f"wrote {out} ({out.stat().st_size} bytes, {len(modules())} modules)", file=sys.stderr)


def archive() -> bytes:
    """Return the zipapp: the station's modules and nothing else."""
    held = io.BytesIO(SHEBANG)
    held.seek(0, io.SEEK_END)
    with zipfile.ZipFile(held, "w") as target:
        for name, content in {"__main__.py": MAIN, **{name: (ROOT / name).read_bytes() for name in modules()}}.items():
            info = zipfile.ZipInfo(name, FIRST_DAY)
            info.external_attr = 0o644 << 16
            target.writestr(info, content)
    return held.getvalue()


def modules() -> list[str]:
    """Return the files of the project that the station imports, wherever in a module it does so, sorted."""
    from modulefinder import ModuleFinder

    others = [path.stem for path in ROOT.iterdir() if path.name not in PACKAGES]  # numpy's, where both are installed
    finder = ModuleFinder(path=[str(ROOT)], excludes=others)  # what is elsewhere, it does not look into
    finder.run_script(str(ROOT / ENTRY))
    for path in sorted((ROOT / FORMATS).glob("[!_]*.py")):  # a file's format is known when it is read
        finder.import_hook(f"{FORMATS.replace('/', '.')}.{path.stem}")
    files = [getattr(module, "__file__", None) for module in finder.modules.values()]
    return sorted({Path(file).relative_to(ROOT).as_posix() for file in files if file})


if __name__ == "__main__":
    sys.exit(main())
