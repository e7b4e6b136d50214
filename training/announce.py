"""What a person sees of a training on stderr: a line an epoch with the time left, and a bar within it on a terminal."""

import sys
from typing import Any

import keras
from tqdm import tqdm

from training.progress import Progress

RECENT = 5
"""Epochs whose mean tells how long one takes."""


class Announcer(keras.callbacks.Callback):  # type: ignore[misc]  # keras has no types
    """Says how a training goes. Comes after `Progress` among the callbacks, which keeps what is said here."""

    def __init__(self, progress: Progress, *, epochs: int, steps: int, name: str = "") -> None:
        """Take what is kept of each epoch.

        Args:
            progress: of the run.
            epochs: at most so many.
            steps: of an epoch.
            name: of the training, where several are going on.
        """
        super().__init__()
        self._progress, self._epochs, self._steps = progress, epochs, steps
        self._name = f"{name}: " if name else ""
        self._bar: tqdm[Any] | None = None

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Begin the epoch's bar."""
        name = f"epoch {epoch + 1}/{self._epochs}"
        shown = sys.stderr.isatty()
        self._bar = tqdm(total=self._steps, desc=name, unit="step", leave=False, file=sys.stderr, disable=not shown)

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Move the bar."""
        if self._bar is not None:
            self._bar.update()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Say the epoch's figures, the best so far and the time left."""
        if self._bar is not None:
            self._bar.close()
        print(f"{self._name}{epoch_line(self._progress.history, epochs=self._epochs)}", file=sys.stderr)
        if self._progress.exhausted and epoch + 1 < self._epochs:
            print(
                f"stopped: no better validation macro-F1 in {self._progress.patience} epochs (--patience)",
                file=sys.stderr,
            )


def epoch_line(history: list[dict[str, float]], *, epochs: int) -> str:
    """Return what is said of the last epoch of a history.

    Args:
        history: a row per epoch with `loss`, `seconds` and, where there is a validation part, `val_macro_f1`.
        epochs: at most so many.

    Examples:
        >>> epoch_line([{"loss": 0.5, "val_macro_f1": 0.8, "seconds": 30.0}], epochs=3)
        'epoch 1/3: loss 0.500, validation macro-F1 0.800, the best so far; 30 s, at most 1 min 00 s left'
    """
    row, done = history[-1], len(history)
    scores = [each["val_macro_f1"] for each in history if "val_macro_f1" in each]
    standing = ""
    if scores:
        best = scores.index(max(scores))
        place = "the best so far" if best == done - 1 else f"best {scores[best]:.3f} in epoch {best + 1}"
        standing = f", validation macro-F1 {scores[-1]:.3f}, {place}"
    recent = [each["seconds"] for each in history[-RECENT:]]
    left = sum(recent) / len(recent) * (epochs - done)
    ending = f", at most {_time(left)} left" if done < epochs else ""
    return f"epoch {done}/{epochs}: loss {row['loss']:.3f}{standing}; {_time(row['seconds'])}{ending}"


def _time(seconds: float) -> str:
    whole = round(seconds)
    hours, minutes = whole // 3600, whole // 60 % 60
    if hours:
        return f"{hours} h {minutes:02} min"
    return f"{minutes} min {whole % 60:02} s" if minutes else f"{whole} s"
