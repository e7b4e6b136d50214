"""What a run keeps at the end of each epoch, so that it can be killed at any moment and go on as if it had not been."""

import csv
import hashlib
import io
import json
import time
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from training.averaging import MovingAverage
from wafer_tf.errors import ModelError
from wafer_tf.learning.models import LOGITS
from wafer_tf.learning.run_folder import RunFolder
from wafer_tf.splitting.splits import UNREADABLE
from wafer_tf.whole_files import file_sha256, whole_path, write_whole

SCORE = "val_macro_f1"
"""What the best epoch is chosen by, where there is a validation part."""
RESTS_ON = ("config.json", "split.npz")
"""Files of the run that decide what training does next, beside those in checkpoints/."""


@keras.saving.register_keras_serializable(package="wafer_tf")
class MacroF1(keras.metrics.F1Score):  # type: ignore[misc]  # keras has no types
    """F1 averaged over the classes that occur, so that a set with fewer than nine classes can still reach 1."""

    def __init__(self, name: str = "macro_f1", dtype: Any = None, **_: Any) -> None:
        super().__init__(average=None, name=name, dtype=dtype)

    def result(self) -> Any:
        """Return the mean over present classes, a scalar."""
        present = keras.ops.cast(self.true_positives + self.false_negatives > 0, "float32")
        return keras.ops.sum(super().result() * present) / keras.ops.maximum(keras.ops.sum(present), 1)


class Progress(keras.callbacks.Callback):  # type: ignore[misc]
    """After each epoch: checkpoint, best weights, history.csv, TensorBoard; stop after `patience` epochs of no gain.

    Where there is no validation part, the last epoch is the best. Where the weights are averaged, the average is what
    is kept as the best weights, and what the run goes on averaging from.

    Besides model and optimizer the state of every random generator of the graph is kept: a .keras file leaves it out.
    state.json is replaced last and names the files that belong to it, with their SHA-256, its own, and those of the
    configuration and the split. All that early stopping needs is the history in it, so a resumed run stops where an
    uninterrupted one would.
    """

    def __init__(self, run: RunFolder, *, patience: int) -> None:
        super().__init__()
        self.folder, self.run_folder = run.path / "checkpoints", run
        self.patience = patience
        self.average: MovingAverage | None = None
        self.state: dict[str, Any] = {"history": [], "last": None, "best": None, "average": None, "random": []}
        if (self.folder / "state.json").is_file():
            self.state = self._checked(run.read_json("checkpoints/state.json"))
        # of what the run rests on; as it is now, when it has just been written
        self.rests_on = {name: file_sha256(run.path / name) for name in RESTS_ON if (run.path / name).is_file()}

    def _checked(self, state: Any) -> dict[str, Any]:
        """Return what state.json held; raise ModelError where it is not what `on_epoch_end` wrote."""
        path = self.folder / "state.json"
        remedy = f"Delete {path} to train again from the first epoch, with the same split."
        try:
            scores = [row.get(SCORE, 0.0) + row["seconds"] for row in state["history"]]
            files = [self.folder / name for name in _files(state)]
            len(state["random"])
            sums = dict(state["sha256"])
            whole = all(type(score) is float for score in scores) and len(scores) > 0
        except (KeyError, TypeError) as error:
            raise ModelError(f"{path}: holds no training state ({error!r}). {remedy}") from error
        if not whole:
            raise ModelError(f"{path}: its history holds no epoch with its figures. {remedy}")
        for file in [*files, *(self.run_folder.path / name for name in RESTS_ON if name in sums)]:
            if file.name in RESTS_ON:
                remedy = "Restore it, or train again in another folder."
            if not file.is_file():
                raise ModelError(f"{path}: names {file.name}, which is missing. {remedy}")
            if file_sha256(file) != sums.get(file.name):
                raise ModelError(f"{file}: is not what the run wrote, by its SHA-256: damaged or changed. {remedy}")
        if sums.get("state.json") != _sum_of(state):
            raise ModelError(f"{path}: is not what the run wrote, by its SHA-256: damaged or changed. {remedy}")
        return dict(state)

    @property
    def history(self) -> list[dict[str, float]]:
        """One dict per finished epoch."""
        rows: list[dict[str, float]] = self.state["history"]
        return rows

    @property
    def best_epoch(self) -> int:
        """Index of the first epoch with the highest validation macro-F1, or of the last; -1 before the first."""
        scores = [row[SCORE] for row in self.history if SCORE in row]
        return scores.index(max(scores)) if scores else len(self.history) - 1

    @property
    def exhausted(self) -> bool:
        """Whether the last `patience` epochs brought nothing better."""
        return len(self.history) - 1 - self.best_epoch >= self.patience

    def last_model(self) -> Any:
        """Load the last epoch's model with its optimizer."""
        path = self.folder / self.state["last"]
        try:
            model = keras.saving.load_model(path)
            for generator, state in zip(generators(model), self.state["random"], strict=True):
                generator.assign(state)
        except UNREADABLE as error:
            raise self._damaged(path, error) from error
        return model

    def load_best(self, model: Any) -> None:
        """Give `model` the best epoch's weights."""
        try:
            model.set_weights(self._kept("best"))
        except UNREADABLE as error:
            raise self._damaged(self.folder / str(self.state["best"]), error) from error

    def last_average(self) -> list[NDArray[Any]] | None:
        """Return the moving average at the last epoch's end; None where none was kept."""
        return self._kept("average") if self.state.get("average") else None

    def _kept(self, name: str) -> list[NDArray[Any]]:
        path = self.folder / str(self.state[name])
        try:
            with np.load(path, allow_pickle=False) as kept:
                return [kept[key] for key in sorted(kept)]
        except UNREADABLE as error:
            raise self._damaged(path, error) from error

    def _keep(self, name: str, weights: list[NDArray[Any]]) -> str:
        """Write weights whole; not by save_weights: on a full disk HDF5 ends the process with SIGSEGV."""
        self.run_folder.write_arrays(f"checkpoints/{name}", {f"{k:04d}": value for k, value in enumerate(weights)})
        return name

    def _damaged(self, path: Path, error: Exception) -> ModelError:
        return ModelError(
            f"checkpoint {path}: cannot be loaded ({error}). "
            f"Delete {self.folder / 'state.json'} to train again from the first epoch, with the same split."
        )

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Open the TensorBoard log."""
        self.board = tf.summary.create_file_writer(str(self.run_folder.path / "tensorboard"))

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Start the epoch's clock."""
        self.started = time.monotonic()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Keep everything, then commit it by replacing state.json."""
        rate = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))
        row = {"epoch": epoch + 1, **{_plain(k): float(v) for k, v in (logs or {}).items()}, "learning_rate": rate}
        row["seconds"] = round(time.monotonic() - self.started, 2)
        self.history.append(row)
        self.state["last"] = f"epoch_{epoch:04d}.keras"
        with whole_path(self.folder / self.state["last"]) as path:
            self.model.save(path)
        averaged = self.average.weights() if self.average else None
        if averaged:
            self.state["average"] = self._keep(f"average_{epoch:04d}.npz", averaged)
        if self.best_epoch == epoch:
            self.state["best"] = self._keep(f"best_{epoch:04d}.npz", averaged or self.model.get_weights())
        self.state["random"] = [keras.ops.convert_to_numpy(v).tolist() for v in generators(self.model)]
        text = io.StringIO()
        writer = csv.DictWriter(text, fieldnames=list(self.history[0]))
        writer.writeheader()
        writer.writerows(self.history)
        write_whole(self.run_folder.path / "history.csv", text.getvalue())
        sums = {name: file_sha256(self.folder / name) for name in _files(self.state)}
        self.state["sha256"] = sums | self.rests_on
        self.state["sha256"] |= {"state.json": _sum_of(self.state)}
        self.run_folder.write_json("checkpoints/state.json", self.state)
        for path in self.folder.iterdir():
            if path.name not in (*_files(self.state), "state.json"):
                path.unlink()
        with self.board.as_default(step=epoch):
            for name, value in row.items():
                tf.summary.scalar(name, value)
        self.board.flush()
        if self.exhausted:
            self.model.stop_training = True


def _plain(name: str) -> str:
    """Return the name that a figure has where the nine-way head is the only one."""
    return name if name.endswith("loss") else name.replace(f"{LOGITS}_", "")


def _files(state: dict[str, Any]) -> list[str]:
    """Return the names of the files that a state names."""
    return [state["last"], state["best"], *([state["average"]] if state.get("average") else [])]


def _sum_of(state: dict[str, Any]) -> str:
    """Return the SHA-256 of a state, but for its own."""
    sums = {name: value for name, value in state["sha256"].items() if name != "state.json"}
    return hashlib.sha256(json.dumps({**state, "sha256": sums}, sort_keys=True).encode()).hexdigest()


def generators(model: Any) -> list[Any]:
    """Return the variables that hold the state of a model's random generators."""
    return [v for v in model.variables if v.path.endswith("seed_generator_state")]
