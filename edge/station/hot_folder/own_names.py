"""The names a station keeps for itself in IN and OUT, and what stands in their place. Standard library alone."""

import os
from pathlib import Path

from edge.station.hot_folder.claim import LOCK
from edge.station.hot_folder.in_hand import IN_HAND
from edge.station.hot_folder.inbox import DONE, QUARANTINE
from edge.station.hot_folder.record_files import DUPLICATES, RECORDS
from wafer_tf.errors import UsageError

FOLDERS = (DONE, QUARANTINE)
FILES = (*(f"{name}{end}" for name in (RECORDS, DUPLICATES) for end in ("", ".end", ".damaged")), IN_HAND, LOCK)


def check_own_names(inbox: Path, out: Path, *, unknown_to: Path | None = None) -> None:
    """Make sure that nothing bears a name of the station that it cannot use.

    Raises:
        UsageError: something does, or `unknown_to` is no folder of its own.
    """
    folders = [("IN", inbox / name) for name in FOLDERS]
    if unknown_to is not None:
        if not unknown_to.parent.is_dir():
            raise UsageError(f"--unknown-to {unknown_to}: {unknown_to.parent} is no folder; make it first.")
        if unknown_to.resolve() in {path.resolve() for path in (inbox, out, *(path for _, path in folders))}:
            raise UsageError(f"--unknown-to {unknown_to}: expected a folder of its own, not IN, its folders or OUT.")
        folders.append(("--unknown-to", unknown_to))
    for place, path in folders:
        if os.path.lexists(path) and not path.is_dir():
            raise UsageError(
                f"{place} {path}: {_kind(path)} is there; expected a folder, where files on record go. Move it away."
            )
        if (path if path.is_dir() else path.parent).stat().st_dev != inbox.stat().st_dev:
            raise UsageError(
                f"{place} {path}: is on another file system than IN; expected a folder on the same, where a file can "
                "be moved whole or not at all. Move it away, or mount IN with it."
            )
    for place, path in [*(("OUT", out / name) for name in FILES), ("IN", inbox / LOCK)]:
        if os.path.lexists(path) and not path.is_file():
            raise UsageError(f"{place} {path}: {_kind(path)} is there; expected a file of the station. Move it away.")


def _kind(path: Path) -> str:
    if not path.exists():
        return "a link that leads nowhere"
    return "a folder" if path.is_dir() else "a file" if path.is_file() else "something that is no file"
