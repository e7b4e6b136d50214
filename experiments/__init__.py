"""What was tried, run by hand: each script trains what is missing and writes its results beside itself."""

import subprocess
from pathlib import Path

SPLIT = ("--split-seed", "0", "--shares", "0.8", "0.1", "0.1")
"""Of the trials on the 4,048 wafers that the first releases learned from; their records name it."""


def commit() -> str:
    """Return the commit of the working tree, "-dirty" added where it was changed, "" outside a clone."""
    call = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--exclude", "*"]
    return subprocess.run(call, capture_output=True, text=True).stdout.strip()
