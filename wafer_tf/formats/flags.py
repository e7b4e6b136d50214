"""Flags that say what a file leaves open, and the profile that holds them. Needs the standard library alone."""

import argparse
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from wafer_tf.command import CommandParser
from wafer_tf.errors import UsageError
from wafer_tf.formats.options import Options

COLUMNS = ("x", "y", "bin", "lot", "wafer", "product", "step", "time")
"""What `--columns` may name."""
PROFILE = """a profile is a TOML file of these flags, for the files of one tool; a flag on the command line wins:
  pass-bins = "1,7"
  y-axis = "up"
  columns = "x=DieX,y=DieY,bin=Grade\""""


def add_arguments(parser: argparse.ArgumentParser, *, without: Sequence[str] = ()) -> None:
    """Add the flags of `Options` to a command's parser, but for those `without` which it has for something else."""
    group = parser.add_argument_group("reading files", "What a file does not say itself.")
    for name, flag in _FLAGS.items():
        kind: dict[str, Any] = {"type": flag.parse, "metavar": flag.metavar}
        if flag.metavar is None:
            kind = {"action": "store_const", "const": True}
        if name not in without:
            group.add_argument(f"--{name}", dest=_dest(name), help=flag.says, **kind)
    group.add_argument("--profile", metavar="TOML", type=Path, help="a file of these flags, for one tool")


def options(args: argparse.Namespace) -> Options:
    """Return the options that the flags and the profile ask for.

    Raises:
        UsageError: a profile that is not there, is no TOML, or holds an unknown or wrong flag.
    """
    profile = getattr(args, "profile", None)
    found = {} if profile is None else _profile(profile)
    for name, flag in _FLAGS.items():
        value = getattr(args, _dest(name), None)
        if value is not None:
            found[flag.field] = value
    return Options(**found)


def as_words(given: Options) -> list[str]:
    """Return flags that ask for these options, for a command that starts another."""
    words = []
    for name, flag in _FLAGS.items():
        value = getattr(given, flag.field)
        if value != getattr(Options(), flag.field):
            words += [f"--{name}"] if flag.metavar is None else [f"--{name}={flag.write(value)}"]
    return words


def take(args: dict[str, Any]) -> Options:
    """Take the flags of reading out of a command's arguments, and return what they ask for. Raises UsageError."""
    names = ("profile", *map(_dest, _FLAGS))
    return options(argparse.Namespace(**{name: args.pop(name) for name in names if name in args}))


def from_words(words: Sequence[str]) -> Options:
    """Return the options that flags ask for, such as those of `as_words`.

    Raises:
        UsageError: a flag that is none, or a value that makes no sense.
    """
    parser = CommandParser("reading", "How files are read.", exit_on_error=False)
    add_arguments(parser)
    try:
        args, unknown = parser.parse_known_args(words)
    except argparse.ArgumentError as error:
        raise UsageError(f"{error}.") from error
    if unknown:
        raise UsageError(f"{unknown[0]}: no flag of reading files; expected of {', '.join(_FLAGS)}.")
    return options(args)


def _profile(path: Path) -> dict[str, Any]:
    try:
        import tomllib
    except ModuleNotFoundError:
        raise UsageError(f"--profile {path}: needs Python 3.11; give its flags on the command line.") from None
    try:
        with path.open("rb") as file:
            table = tomllib.load(file)
    except OSError as error:
        raise UsageError(f"--profile {path}: cannot be read ({error.strerror}); expected a TOML file.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f'--profile {path}: no TOML ({error}); expected lines such as: pass-bins = "1,7"') from error
    found = {}
    for name, value in table.items():
        flag = _FLAGS.get(name)
        if flag is None:
            raise UsageError(f"--profile {path}: unknown flag {name!r}; expected of {', '.join(_FLAGS)}.")
        if flag.metavar is None and isinstance(value, bool):
            found[flag.field] = value
            continue
        try:
            found[flag.field] = flag.parse(_as_text(value))
        except argparse.ArgumentTypeError as error:
            raise UsageError(f"--profile {path}: {name}: {error}.") from error
    return found


def _as_text(value: Any) -> str:
    if isinstance(value, list):
        return ",".join(map(str, value))
    if isinstance(value, Mapping):
        return ",".join(f"{key}={column}" for key, column in value.items())
    return str(value)


def _bins(text: str) -> frozenset[str]:
    bins = frozenset(part.strip() for part in text.split(",") if part.strip())
    if not bins:
        raise argparse.ArgumentTypeError(f"{text!r}; expected bins parted by commas, such as 1,7")
    return bins


def _three(text: str) -> tuple[str, str, str]:
    parts = [part.strip() for part in text.split(",")]
    if len(parts) != 3 or len({part for part in parts if part}) != sum(map(bool, parts)) or not parts[1] + parts[2]:
        raise argparse.ArgumentTypeError(
            f"{text!r}; expected three different ones parted by commas, the first empty where there is none, such as "
            ",0,1"
        )
    return parts[0], parts[1], parts[2]


def _columns(text: str) -> dict[str, str]:
    found = {}
    for part in text.split(","):
        key, is_pair, name = (piece.strip() for piece in part.partition("="))
        if not is_pair or key not in COLUMNS or not name:
            raise argparse.ArgumentTypeError(
                f"{part!r}; expected pairs such as x=DieX,y=DieY,bin=Grade, of {', '.join(COLUMNS)}"
            )
        found[key] = name
    return found


def _micrometres(text: str) -> float:
    try:
        size = float(text)
    except ValueError:
        size = -1.0
    if not 0 <= size < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r}; expected micrometres, 0 or more")
    return size


def _one_of(*words: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in words:
            raise argparse.ArgumentTypeError(f"{text!r}; expected {', '.join(words[:-1])} or {words[-1]}")
        return text

    return parse


def _notch(text: str) -> int:
    angles = {"down": 0, "left": 90, "up": 180, "right": 270}
    return angles[_one_of(*angles)(text)]


def _text(text: str) -> str:
    return text


def _joined(value: Any) -> str:
    if isinstance(value, Mapping):
        return _as_text(value)
    return ",".join(sorted(value)) if isinstance(value, frozenset) else ",".join(value)


@dataclasses.dataclass(frozen=True)
class _Flag:
    field: str
    says: str
    metavar: str | None = None
    parse: Callable[[str], Any] = _text
    write: Callable[[Any], str] = str


_FLAGS = {
    "pass-bins": _Flag("pass_bins", "bins that pass (default: as the file says, else bin 1)", "1,7", _bins, _joined),
    "orient": _Flag(
        "orient",
        "where the notch is in the file's picture: down, left, up or right (default: as the file says, else down)",
        "SIDE",
        _notch,
        lambda angle: ("down", "left", "up", "right")[angle // 90],
    ),
    "y-axis": _Flag(
        "y_axis", "which way y grows in a table of dies: down or up (default: down)", "WAY", _one_of("down", "up")
    ),
    "retest": _Flag(
        "retest",
        "which result of a die counts that was tested again: last, first or best (default: last)",
        "WHICH",
        _one_of("last", "first", "best"),
    ),
    "states": _Flag(
        "states",
        "a grid's values for no die, pass and fail, such as 0,128,255, or ,0,1 where every cell is a die",
        "N,P,F",
        _three,
        ",".join,
    ),
    "columns": _Flag(
        "columns", f"a table's names for {', '.join(COLUMNS)}", "x=DieX,y=DieY,bin=Grade", _columns, _joined
    ),
    "class": _Flag("classes", "classes of a KLARF file that count (default: all)", "3,7", _bins, _joined),
    "min-defect-size": _Flag(
        "min_defect_size",
        "smallest defect of a KLARF file that counts, in micrometres",
        "UM",
        _micrometres,
        "{:g}".format,
    ),
    "overlay": _Flag("overlay", "the overlay of a SEMI E142 file to read", "NAME"),
    "colours": _Flag(
        "colours",
        "a picture's colours for no die, pass and fail, such as #ffffff,#00ff00,#ff0000",
        "N,P,F",
        _three,
        ",".join,
    ),
    "lenient": _Flag("lenient", "warn, where a file's own counts differ from what is read, instead of refusing it"),
}
"""By their names without the dashes; without a metavar it is a switch."""


def _dest(name: str) -> str:
    return f"reading_{_FLAGS[name].field}"
