"""What every command of the project shares: its parser, and how an error becomes one line and an exit code.

Needs the standard library alone.
"""

import argparse
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from wafer_tf.errors import InputError, UsageError, WaferError

INTERRUPTED = 130
"""Exit code after Ctrl-C, as a shell gives it."""
STATION = {"numpy": "numpy", "ai_edge_litert": "ai-edge-litert"}
EXTRAS = {"streamlit": "[page]", "pyspark": "[spark]"}
"""What brings a library that is not installed: two are the station's, all others come with [train]."""
PYTHON_OF_EXTRAS = (3, 11), (3, 13)
"""First and last Python that TensorFlow, and so every extra, can be had for; the station runs on 3.10 and 3.14 too."""
OURS = ("wafer_tf", "training", "edge", "app")

_names: dict[str, str] = {}


@contextmanager
def call_as(names: Mapping[str, str]) -> Iterator[None]:
    """Say how commands are called while the block runs, so that help and errors say it too.

    Args:
        names: from the usual words to those in use, such as "python -m training.fit" to "wafer-tf fit".
    """
    _names.update(names)
    try:
        yield
    finally:
        _names.clear()


def called(text: str) -> str:
    """Return a text that names commands with them named as they are called in this process.

    Examples:
        >>> called("next: python -m training.evaluate RUN")
        'next: python -m training.evaluate RUN'
    """
    if not _names:
        return text
    longest_first = sorted(_names, key=len, reverse=True)
    return re.sub("|".join(map(re.escape, longest_first)), lambda found: _names[found[0]], text)


class CommandParser(argparse.ArgumentParser):
    """A command's parser, or a job's: texts are kept as they are written, and no flag may be shortened."""

    def __init__(self, prog: str, description: str | None = None, *, epilog: str | None = None, **options: Any) -> None:
        """Make one without arguments.

        Args:
            prog: how the command is called, such as "python -m training.fit".
            description: what it does, as a rule the module's docstring.
            epilog: examples and exit codes.
            options: of argparse.
        """
        super().__init__(
            called(prog),
            description=called(description or ""),
            epilog=called(epilog or ""),
            allow_abbrev=False,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            **options,
        )

    def add_subparsers(self, **options: Any) -> Any:
        """Add jobs to the command; see argparse."""
        return super().add_subparsers(**{"parser_class": JobParser} | options)


class JobParser(CommandParser):
    """The parser of one job of a command: a flag it does not know is its own error, with its own usage."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse everything; see argparse."""
        found, unknown = super().parse_known_args(args, namespace)
        if unknown:
            self.error(f"unrecognized arguments: {' '.join(unknown)}")
        return found, unknown


@contextmanager
def says_what_to_install() -> Iterator[None]:
    """Let the error of a missing library say what to install; as a decorator, for what a user of Python calls.

    Raises:
        ModuleNotFoundError: a library is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(_not_installed(error), name=error.name) from None


def _not_installed(error: ModuleNotFoundError) -> str:
    """Return a line that says what brings a library; a module of ours that is missing is a fault of ours."""
    library = str(error.name).partition(".")[0]
    if library in OURS:
        raise error
    what = STATION.get(library) or f"'WHEEL{EXTRAS.get(library, '[train]')}', WHEEL being wafer_tf's"
    first, last = PYTHON_OF_EXTRAS
    if library not in STATION and not first <= sys.version_info[:2] <= last:
        what += f"; with Python 3.11 to 3.13, this is {sys.version_info[0]}.{sys.version_info[1]}"
    return f"{library} is not installed, and this needs it: pip install {what}"


def run(main: Callable[[], int | None]) -> int:
    """Run a command's body and return its exit code.

    Args:
        main: does the work; returns an exit code, or None for 0.

    Returns:
        What `main` returned, or the `exit_code` of the WaferError it raised, InputError's for a failing disk or file
        or too little memory, UsageError's for a library that is not installed, 130 after Ctrl-C. The error's text goes
        to stderr, without a traceback.
    """
    try:
        return main() or 0
    except WaferError as error:
        print(f"error: {called(str(error))}", file=sys.stderr)
        return error.exit_code
    except ModuleNotFoundError as error:
        print(f"error: {_not_installed(error)}", file=sys.stderr)
        return UsageError.exit_code
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        print(f"error: {place}{error.strerror or error}", file=sys.stderr)
        return InputError.exit_code
    except MemoryError as error:
        print(f"error: not enough memory ({error or 'none left'}); use a larger machine or less data.", file=sys.stderr)
        return InputError.exit_code
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
