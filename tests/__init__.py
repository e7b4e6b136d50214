"""The tests, in the folders of what they test."""

from pathlib import Path

ROOT = Path(__file__).parents[1]
"""The clone."""
SHARED = ROOT.parent / "shared"
"""Real maps beside the clone; tests that need them are skipped where they are not."""
