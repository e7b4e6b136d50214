"""One wafer as a figure: its map, what its call rests on, and how likely each class is."""

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from wafer_tf.command import says_what_to_install
from wafer_tf.dies import CLASSES, UNLABELLED, check_map
from wafer_tf.errors import InputError, ModelError
from wafer_tf.explaining.pattern_heat import heat_per_pattern
from wafer_tf.model import Model
from wafer_tf.pattern_bits import JOINED_BY, pattern_bits
from wafer_tf.waferset import Wafer, WaferSet

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from wafer_tf.explaining.heat_maps import Explainer


@says_what_to_install()
def show(
    wafer: "Wafer | NDArray[Any]",
    call: "pd.Series[Any] | None" = None,
    *,
    model: Model | None = None,
    heat: bool = True,
) -> "Figure":
    """Draw a wafer, and its call where one is given.

    Args:
        wafer: one of a WaferSet, or a map, (rows, cols) of 0 (no die), 1 (pass), 2 (fail).
        call: its row of the table that `Model.classify` gives.
        model: whose float model explains the call (default: the one that made the table).
        heat: draw how much each die speaks for the call, where the float model and TensorFlow are there; on a wafer of
            several patterns how much it speaks for each of them, in a colour of its own.

    Returns:
        The figure; `figure.savefig("wafer.png")` keeps it, a notebook shows it.

    Raises:
        InputError: a map that is none, or a call that is no row of such a table.
        ModuleNotFoundError: matplotlib is not installed; the text says how to.

    Examples:
        >>> import numpy as np
        >>> figure = show(np.pad(np.full((24, 24), 2, np.uint8), 1))
        >>> len(figure.axes)
        1
    """
    from wafer_tf.figures.wafer import wafer_figure

    grid = wafer.map if isinstance(wafer, Wafer) else check_map(wafer, "shown")
    name = wafer.name if isinstance(wafer, Wafer) else ""
    if call is None:
        return wafer_figure(grid, name=name)
    if getattr(call, "ndim", None) != 1 or not {*CLASSES, "decision"} <= set(call.index):
        raise InputError(
            f"call: a {type(call).__name__}; expected one row of the table that classify gives, such as calls.iloc[0]."
        )
    prob = np.array([float(call[c]) for c in CLASSES])
    run = _run(call, model) if heat else None
    several = call.get("patterns")
    several = several if isinstance(several, str) else ""  # of a table without them, or read back from a file
    patterns = _pattern_heat(grid, several.split(JOINED_BY), run) if several else None
    found = _heat(grid, prob, run) if patterns is None else None
    decision = str(call["decision"])
    return wafer_figure(grid, name=name, prob=prob, decision=decision, heat=found, patterns=patterns, several=several)


def _run(call: "pd.Series[Any]", model: Model | None) -> Path | None:
    if model is not None:
        return model.run
    run = call.attrs.get("run")
    return None if run is None else Path(run)


def _heat(grid: NDArray[np.uint8], prob: NDArray[np.float64], run: Path | None) -> NDArray[np.float32] | None:
    """Return the heat of the class called; None where there is no float model, or no TensorFlow to run it."""
    if run is None:
        return None
    try:
        explainer = _explainer(run)
    except ModuleNotFoundError:
        return None
    wafers = WaferSet.from_maps([grid], label=[UNLABELLED])
    return explainer.heat_maps(wafers, np.array([prob.argmax()])).map(0)


def _pattern_heat(
    grid: NDArray[np.uint8], names: list[str], run: Path | None
) -> dict[str, NDArray[np.floating[Any]]] | None:
    """Return the heat of every pattern, in order; None as of `_heat`."""
    if run is None:
        return None
    try:
        explainer = _explainer(run, "patterns")
    except (ModuleNotFoundError, ModelError):  # no TensorFlow, or a model that was never taught them
        return None
    wafers = WaferSet.from_maps([grid], label=[UNLABELLED])
    found = heat_per_pattern(explainer, wafers, np.array([pattern_bits(names, "call")], np.uint8)).of(0)
    return {name: found[name] for name in names}


@lru_cache(maxsize=2)
def _explainer(run: Path, head: str = "logits") -> "Explainer":
    from wafer_tf.explaining.heat_maps import Explainer
    from wafer_tf.learning.quiet import quiet_tensorflow
    from wafer_tf.learning.run_folder import RunFolder

    quiet_tensorflow()
    return Explainer(RunFolder.open(run).whole_model(), head=head)
