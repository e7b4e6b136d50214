"""A run that several processes train together: the chief keeps the run folder, the others follow.

Every process reads the data and makes the same split. What the run has kept, for one that goes on, the chief sends to
the others, so that only the chief must reach the run folder. They train together; then the others end, and the chief
goes on alone, as a resumed run does whose epochs are over: scores, report, what it does not know.
"""

import io
import json
import os
import sys
import tempfile
import zipfile
from pathlib import Path

from training.cluster import VARIABLE, Cluster
from training.config import FitConfig
from training.job import check, execute, load_config
from training.workers import Workers, says_who_is_gone
from wafer_tf.command import called
from wafer_tf.errors import UsageError
from wafer_tf.learning.run_folder import RunFolder

SENT = ("config.json", "split.npz", "targets.npz", "checkpoints/*")
"""What of the run folder decides how training goes on."""
ALONE = {"python -m training.fit": ("training.fit",), "wafer-tf fit": ("wafer_tf", "fit")}


def check_joint(config: FitConfig) -> None:
    """Refuse what several processes cannot train together.

    Raises:
        UsageError: naming the flag and the remedy.
    """
    if config.folds:
        raise UsageError(
            f"--folds under {VARIABLE}: folds are models of their own. Unset it, and give each machine a --fold K/N."
        )
    if config.mixed is not None:
        raise UsageError(f"--mixed under {VARIABLE}: the step trains one head alone. Unset it to train both.")
    if config.precision == "mixed_float16":
        raise UsageError(f"--precision mixed_float16 under {VARIABLE}: expected float32 or mixed_bfloat16.")


def lead(cluster: Cluster, config: FitConfig, run: RunFolder) -> None:
    """Train a run as the chief, and let the others end; the run folder then has all epochs, but is not finished.

    Raises:
        ConnectionError: another process has ended.
        UsageError: the processes do not fit together.
    """
    with says_who_is_gone():
        workers = _connect(cluster)
        workers.from_chief(_packed(run))
        workers.check_same("the flags", _text(config))
        execute(config, run, workers=workers)


def follow(cluster: Cluster, config: FitConfig | None) -> None:
    """Train what the chief trains, and keep nothing.

    Args:
        cluster: of this process, which is not the chief.
        config: by this process's flags; None to take the chief's, as where a run is resumed.

    Raises:
        ConnectionError: another process has ended.
        UsageError: the processes do not fit together.
    """
    with tempfile.TemporaryDirectory(prefix="wafer_tf-") as folder, says_who_is_gone():
        workers = _connect(cluster)
        _unpack(workers.from_chief(b""), Path(folder))
        run = RunFolder(Path(folder))
        theirs = load_config(run)
        workers.check_same("the flags", _text(config or theirs))
        if config is None:
            check(theirs, alone=False)
        execute(theirs, run, workers=workers)


def go_on_alone(run: RunFolder) -> None:
    """Become a process of no cluster that finishes the run; does not return."""
    sys.stdout.flush()
    sys.stderr.flush()
    environment = {name: value for name, value in os.environ.items() if name != VARIABLE}
    words = ALONE[called("python -m training.fit")]
    os.execve(sys.executable, [sys.executable, "-m", *words, "--resume", str(run.path)], environment)


def _connect(cluster: Cluster) -> Workers:
    others = [address for rank, address in enumerate(cluster.addresses) if rank != cluster.rank]
    print(f"process {cluster.rank} of {len(cluster.addresses)}, waiting for {', '.join(others)}", file=sys.stderr)
    return Workers(cluster)


def _text(config: FitConfig) -> bytes:
    return json.dumps(config.to_json(), sort_keys=True).encode()


def _packed(run: RunFolder) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as packed:
        for path in sorted(path for pattern in SENT for path in run.path.glob(pattern)):
            packed.write(path, path.relative_to(run.path))
    return out.getvalue()


def _unpack(data: bytes, folder: Path) -> None:
    (folder / "checkpoints").mkdir()
    with zipfile.ZipFile(io.BytesIO(data)) as packed:
        packed.extractall(folder)
