"""The project's errors, each with the exit code its command ends with."""


class WaferError(Exception):
    """Base of every error this project raises on purpose; its text is shown to the user as it stands."""

    exit_code = 1


class UsageError(WaferError, ValueError):
    """A wrong flag, value or combination of them (exit code 2)."""

    exit_code = 2


class ModelError(WaferError, ValueError):
    """A model, run folder or bundle that is missing, incomplete or not what it says it is (exit code 3)."""

    exit_code = 3


class InputError(WaferError, ValueError):
    """Input data that cannot be used: unreadable, malformed, unsafe, or without what the job needs (exit code 4)."""

    exit_code = 4


class GateError(WaferError):
    """A quantized model that lost more than the accuracy gate allows (exit code 5)."""

    exit_code = 5


MAX_REASON = 200
"""Characters of what another library says, which may quote the file; see `reason`."""


def reason(error: Exception) -> str:
    """Return what an error of another library says, in a part of a line.

    Examples:
        >>> reason(ValueError("no header\\nat all")), reason(ValueError())
        ('no header', 'ValueError')
    """
    return (str(error).splitlines() or [type(error).__name__])[0][:MAX_REASON]
