"""Whether the bundle that judges is still the one in its folder, and the new one where it is not. Standard library."""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

from edge.station.hot_folder.status import Status, say

MANIFEST = "bundle.json"
"""As of `wafer_tf.bundle`, which would need numpy."""


class BundleOnDisk:
    """The folder of the bundle that judges."""

    def __init__(self, folder: Path, *, reload: Callable[[], str] | None = None) -> None:
        """Look at nothing yet.

        Args:
            folder: of the bundle.
            reload: loads what lies there, proves it and lets it judge from then on; returns its SHA-256. It raises
                where that is refused, and the old one goes on judging. None: the old one goes on in any case.
        """
        self._folder, self._reload = folder, reload
        self._seen: object = None
        self._failed = False

    def look(self, status: Status) -> None:
        """Say if another bundle lies there, and take it where that is asked for; to be called now and then."""
        if not status.faults.due("bundle") or ((seen := self._stamps()) == self._seen and not self._failed):
            return
        counts, self._seen, self._failed = status.counts, seen, False
        there = self._sha256()
        counts.bundle_replaced = there != counts.bundle_sha256
        old, new = counts.bundle_sha256[:12], there[:12] or "none that can be read"
        if not counts.bundle_replaced:
            status.faults.clear("bundle")
        elif self._reload is None:
            say(f"bundle {self._folder}: was replaced on disk by {new}; without --reload {old} judges until a restart")
        else:
            try:
                counts.bundle_sha256 = self._reload()
            except Exception as error:  # whatever is wrong with it must not stop the one that works
                self._failed = True
                if "bundle" not in status.faults:
                    say(f"bundle {self._folder}: {new} on disk is not taken; {old} goes on judging")
                status.fail("bundle", error)
            else:
                counts.bundle_reloads += 1
                counts.bundle_replaced = self._sha256() != counts.bundle_sha256
                status.faults.clear("bundle")
                new = counts.bundle_sha256[:12]
                say(f"bundle {self._folder}: {new} passed its self-test and judges from now on, {old} no more")

    def _stamps(self) -> object:
        try:
            with os.scandir(self._folder) as entries:
                found = [(entry.name, entry.stat()) for entry in entries]
        except OSError as error:
            return error.errno
        return sorted((name, stat.st_ino, stat.st_size, stat.st_mtime_ns) for name, stat in found)

    def _sha256(self) -> str:
        """Return what names the bundle on disk, "" where none can be read."""
        try:
            return hashlib.sha256((self._folder / MANIFEST).read_bytes()).hexdigest()
        except OSError:
            return ""
