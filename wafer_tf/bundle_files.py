"""The folder of a bundle: files read once and bounded, a signature held against what was read, nothing else there."""

import os
import stat
from collections.abc import Collection
from pathlib import Path

from wafer_tf import signature
from wafer_tf.errors import ModelError

MAX_BYTES = 64 * 2**20
"""A file of a bundle larger than this is refused unread."""
EXAMPLE = "Make one with: python -m edge.convert --int8 RUN"


def refused(path: str | os.PathLike[str], why: str, *, remedy: str = EXAMPLE) -> ModelError:
    """Return the error of a bundle that is refused."""
    return ModelError(f"bundle {path}: refused: {why}. {remedy}")


def read_file(path: str | os.PathLike[str], name: str) -> bytes:
    """Return the contents of one file of a bundle folder.

    Raises:
        ModelError: it is missing, no file, larger than MAX_BYTES or cannot be read.
    """
    try:
        place = Path(path) / name
        if not stat.S_ISREG(place.stat().st_mode):  # a pipe would keep the station waiting
            raise refused(path, f"{name} is no file")
        with place.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise refused(path, f"{name} is missing") from None
    except OSError as error:
        raise refused(path, f"{name} cannot be read ({error.strerror})") from error
    if len(data) > MAX_BYTES:
        raise refused(path, f"{name} is larger than {MAX_BYTES} bytes")
    return data


def check_signature(
    path: str | os.PathLike[str], name: str, content: bytes, *, key_file: str | os.PathLike[str]
) -> None:
    """Hold the contents of the file `name`, already read, against its signature NAME.sig and a public key (PEM).

    Raises:
        ModelError: there is no signature, or it is not of this content by this key.
        UsageError: that is no such key, or cryptography is not installed.
    """
    key = signature.public_key(key_file)
    if not os.path.lexists(Path(path) / f"{name}.sig"):
        raise refused(
            path,
            f"{name}.sig is missing, and a signature is required",
            remedy="Have it signed where it was made: python -m edge.signing sign BUNDLE --key PRIVATE.pem",
        )
    if fault := signature.fault(content, read_file(path, f"{name}.sig"), key):
        raise refused(
            path,
            f"{name}.sig {fault}",
            remedy=f"Expected {name} signed by the owner of {os.fspath(key_file)}; ask them for the bundle.",
        )


def check_no_others(path: str | os.PathLike[str], names: Collection[str]) -> None:
    """Refuse a folder that holds more than a bundle's own files; a hidden one may be a file system's and is let be.

    Raises:
        ModelError: something else is there, or the folder cannot be listed.
    """
    try:
        with os.scandir(path) as entries:
            other = next((e.name for e in entries if e.name not in names and not e.name.startswith(".")), None)
    except OSError as error:
        raise refused(path, f"the folder cannot be listed ({error.strerror})") from error
    if other is not None:
        shown = os.fsencode(other).decode(errors="backslashreplace")
        raise refused(path, f"{shown} is no file of the bundle", remedy=f"Take {shown} out of the folder.")
