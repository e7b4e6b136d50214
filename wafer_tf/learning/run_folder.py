"""A run folder: everything needed to repeat, judge, resume and use one training run.

config.json      the whole configuration, the command and the versions
split.npz        which wafer is in which part
checkpoints/     the last epoch's model with its optimizer, the best weights, and state.json naming both
history.csv      one row per epoch; tensorboard/ holds the same for TensorBoard
model.keras      the best model, float32 weights, no optimizer
decision.json    class bias and temperature
logits.npz       logits of the validation and the test part
seen.npz         fingerprints of all maps the weights or the choice of them rest on
report.txt, report.json, model_card.md, figures/
unknown.keras    the model with a branch that learned patterns which are none of the nine; unknown.npz, what makes its
                 features an unknown score; unknown.txt, unknown.json, what that flags
operating.txt, operating.json: operating points and prediction sets; absent where a part has no wafer of none
DONE             written last: without it the run is not finished. It holds the SHA-256 of files that are read again;
                 whoever opens the run compares them, since a flipped bit in a weight shows nowhere else
"""

import io
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from wafer_tf.decision import Decision
from wafer_tf.dies import CLASSES
from wafer_tf.encoding import PLANES
from wafer_tf.errors import ModelError, UsageError
from wafer_tf.splitting.splits import UNREADABLE
from wafer_tf.whole_files import file_sha256, whole_file, write_whole

if TYPE_CHECKING:
    import keras


READ_AGAIN = (
    *("config.json", "split.npz", "model.keras", "decision.json", "logits.npz", "seen.npz", "report.json"),
    *("unknown.keras", "unknown.npz", "patterns.json", "patterns.npz", "mixed_split.npz"),
)
"""Files of a finished run whose contents matter to what is done with it later."""
LEFT_OUT = ("split.npz", "logits.npz", "unknown.keras", "unknown.npz", "patterns.npz", "mixed_split.npz")
"""Those of them that a released model in the wheel is without; who reads one says so."""
RUNS = Path("runs")
"""Where training.fit leaves its runs, seen from where it is called."""


@dataclass(frozen=True)
class RunFolder:
    """Paths and contents of one run."""

    path: Path

    @classmethod
    def create(cls, path: str | os.PathLike[str]) -> "RunFolder":
        """Make a new run folder; refuse one that is already there."""
        path = Path(path)
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            hint = f"--resume {path} goes on with it" if (path / "config.json").is_file() else "choose another --out"
            raise UsageError(f"run folder {path}: already exists and is not empty; {hint}. Nothing was changed.")
        try:
            (path / "checkpoints").mkdir(parents=True)
        except (FileExistsError, NotADirectoryError):  # another run began at the same moment, or a file is on the way
            raise UsageError(f"run folder {path}: cannot be made; a file or another run is there.") from None
        return cls(path)

    @classmethod
    def open(cls, path: str | os.PathLike[str], *, finished: bool = True) -> "RunFolder":
        """Open an existing run folder; with `finished`, only one whose run is done."""
        path = Path(path)
        if not (path / "config.json").is_file():
            raise ModelError(f"run folder {path}: no config.json there; expected a folder that training.fit made.")
        if finished and not (path / "DONE").is_file():
            raise ModelError(
                f"run folder {path}: the run has not finished (no DONE marker). "
                f"Finish it with: python -m training.fit --resume {path}"
            )
        if finished:
            _check_sums(path)
        return cls(path)

    def finish(self) -> None:
        """Mark the run as done, with what its files are now."""
        names = [name for name in READ_AGAIN if (self.path / name).is_file()]
        write_whole(self.path / "DONE", "".join(f"{file_sha256(self.path / name)}  {name}\n" for name in names))

    @property
    def done(self) -> bool:
        """Whether the run has finished."""
        return (self.path / "DONE").is_file()

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other training processes out of the folder; the system ends the lock with the process, however it ends.

        Raises:
            UsageError: another process holds it.
        """
        import fcntl

        with (self.path / "config.json").open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise UsageError(
                    f"run folder {self.path}: another process is training in it; wait for it or stop it first."
                ) from None
            except OSError:  # a file system without locks
                pass
            yield

    def read_json(self, name: str) -> Any:
        """Return the contents of a JSON file of the folder."""
        try:
            return json.loads((self.path / name).read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise ModelError(f"run folder {self.path}: {name} is missing.") from None
        except (ValueError, RecursionError) as error:
            raise ModelError(f"run folder {self.path}: {name} is not valid JSON ({error}).") from None

    def write_json(self, name: str, data: Any) -> None:
        """Write a JSON file of the folder, whole or not at all."""
        write_whole(self.path / name, json.dumps(data, indent=2) + "\n")

    def write_arrays(self, name: str, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Write an npz file of the folder, whole or not at all."""
        with whole_file(self.path / name) as out:
            np.savez_compressed(out, allow_pickle=False, **arrays)

    def read_array(self, name: str, key: str) -> NDArray[Any]:
        """Return one array of an npz file of the folder."""
        try:
            with np.load(io.BytesIO((self.path / name).read_bytes()), allow_pickle=False) as archive:
                found: NDArray[Any] = archive[key]
                return found
        except FileNotFoundError:
            raise ModelError(f"run folder {self.path}: {name} is missing.") from None
        except UNREADABLE as error:
            raise ModelError(f"run folder {self.path}: {name} holds no whole array {key} ({error}).") from error

    def seen(self) -> NDArray[np.uint64]:
        """Return the fingerprints of seen.npz, none where the folder has no such file."""
        if not (self.path / "seen.npz").is_file():
            return np.zeros(0, np.uint64)
        return np.asarray(self.read_array("seen.npz", "fingerprints"), np.uint64)

    def decision(self) -> Decision:
        """Return the class bias and temperature fitted on validation."""
        data = self.read_json("decision.json")
        try:
            return Decision.from_json(data)
        except (ValueError, TypeError) as error:
            raise ModelError(f"run folder {self.path}: decision.json: {error}") from error

    def model(self) -> "keras.Model":
        """Load model.keras, without an optimizer, as the nine-way classifier alone."""
        from wafer_tf.learning.models import nine_way

        return nine_way(self.whole_model())

    def whole_model(self) -> "keras.Model":
        """Load model.keras, without an optimizer; its output is a dict where it has a head for several patterns."""
        import keras

        from wafer_tf.learning.models import nine_way

        try:
            model = keras.saving.load_model(self.path / "model.keras", compile=False)
            shapes = model.input_shape, nine_way(model).output_shape
        except UNREADABLE as error:
            raise ModelError(f"run folder {self.path}: model.keras cannot be loaded ({error}).") from error
        (_, *sides), answer = shapes
        if (
            len(sides) != 3
            or not sides[0]
            or sides != [sides[0], sides[0], len(PLANES)]
            or answer != (None, len(CLASSES))
        ):
            raise ModelError(
                f"run folder {self.path}: model.keras takes {shapes[0]} and answers {answer}; expected a square "
                f"encoded map and {len(CLASSES)} logits."
            )
        return model

    def taught_model(self) -> "keras.Model":
        """Load unknown.keras, whose outputs are "logits", "features" and, where there is that head, "patterns"."""
        import keras

        try:
            model = keras.saving.load_model(self.path / "unknown.keras", compile=False)
        except UNREADABLE as error:
            raise ModelError(f"run folder {self.path}: unknown.keras cannot be loaded ({error}).") from error
        if not isinstance(model.output, dict) or set(model.output) - {"patterns"} != {"logits", "features"}:
            raise ModelError(f"run folder {self.path}: unknown.keras does not answer with logits and features.")
        return model


def _check_sums(path: Path) -> None:
    """Compare a finished run's files with what DONE says of them; an older run's DONE is empty."""
    sums: dict[str, str] = {}
    *lines, rest = (path / "DONE").read_bytes().decode("ascii", "replace").split("\n")
    for line in [*lines, *([rest] if rest else [])]:
        expected, _, name = line.partition("  ")
        if name not in READ_AGAIN:
            raise ModelError(
                f"run folder {path}: DONE is damaged at {line[:80]!r}. Restore the folder, or train again."
            )
        sums[name] = expected
    for name in READ_AGAIN if sums else ():
        if not (path / name).is_file():
            if name in sums and name not in LEFT_OUT:
                raise ModelError(f"run folder {path}: {name} is missing. Restore it, or train again.")
            continue
        if name not in sums:
            raise ModelError(
                f"run folder {path}: DONE is damaged: it says nothing of {name}. Restore the folder, or train again."
            )
        found = file_sha256(path / name)
        if found != sums[name]:
            raise ModelError(
                f"run folder {path}: {name} is not what the run wrote: its SHA-256 is {found[:12]}..., expected "
                f"{sums[name][:12]}.... It was damaged or changed; restore it, or train again."
            )


def newest_run() -> Path:
    """Return the run in runs/ that finished last.

    Raises:
        ModelError: there is none.
    """
    done = sorted(RUNS.glob("*/DONE"), key=lambda path: path.stat().st_mtime)
    if not done:
        raise ModelError(f"{RUNS}/: no finished run there, seen from {Path.cwd()}; train one: python -m training.fit")
    return done[-1].parent
