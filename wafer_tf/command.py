"""What every command of the project shares: how an error becomes one line and an exit code."""

import sys
from collections.abc import Callable

from wafer_tf.errors import InputError, WaferError

INTERRUPTED = 130
"""Exit code after Ctrl-C, as a shell gives it."""


def run(main: Callable[[], int | None]) -> int:
    """Run a command's body and return its exit code.

    Args:
        main: does the work; returns an exit code, or None for 0.

    Returns:
        What `main` returned, or the `exit_code` of the WaferError it raised, InputError's for a failing disk or file
        or too little memory, 130 after Ctrl-C. The error's text goes to stderr, without a traceback.
    """
    try:
        return main() or 0
    except WaferError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
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
