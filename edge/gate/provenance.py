"""Where a quantized model came from: the run, its model file, its data, the program that made it."""

import hashlib
import subprocess
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any

from training.runtime import versions
from wafer_tf.learning.run_folder import RunFolder
from wafer_tf.reporting.facts import facts_of


def provenance(run: RunFolder) -> dict[str, Any]:
    """Return what a bundle records of its run, JSON values alone; no path of this machine is among them.

    Raises:
        ModelError: the run's folder lacks something.
    """
    facts = facts_of(run)
    return {
        "run": run.path.resolve().name,
        "config_sha256": hashlib.sha256((run.path / "config.json").read_bytes()).hexdigest(),
        "model_sha256": hashlib.sha256((run.path / "model.keras").read_bytes()).hexdigest(),
        "data_name": facts.data_name,
        "data_sha256": facts.data_sha256,
        "split_method": facts.split_method,
        "seed": facts.seed,
        "model": facts.model,
        "input": facts.input,
        "parameters": facts.parameters,
        "versions": versions() | {name: version(name) for name in ("ai-edge-litert", "ai-edge-quantizer")},
        "commit": commit(),
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }


def commit() -> str | None:
    """Return the commit of this program, "-dirty" behind it where files were changed; None outside a git checkout."""
    try:
        found = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return found.stdout.strip()
