"""Where each pattern of a wafer lies that has several: a heat map for every sigmoid that passes."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from wafer_tf.decision.patterns import Patterns
from wafer_tf.errors import ModelError, UsageError
from wafer_tf.pattern_bits import PATTERNS

if TYPE_CHECKING:
    from wafer_tf.explaining.heat_maps import Explainer, HeatMaps
    from wafer_tf.learning.run_folder import RunFolder
    from wafer_tf.waferset import WaferSet

Heat = NDArray[np.floating[Any]]
"""(rows, cols), 0..1."""


@dataclass(frozen=True, eq=False)
class PatternHeat:
    """What speaks for each pattern of n wafers.

    Attributes:
        heat: m heat maps, wafer after wafer, of each wafer in the order of PATTERNS.
        first: (n + 1,) int64; maps first[i] to first[i + 1] are those of wafer i, none where it has no patterns.
    """

    heat: "HeatMaps"
    first: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.first) - 1

    def of(self, i: int) -> dict[str, Heat]:
        """Return the heat maps of wafer i by pattern: views, not copies."""
        maps = range(int(self.first[i]), int(self.first[i + 1]))
        return {PATTERNS[self.heat.target[k]]: self.heat.map(k) for k in maps}


def heat_per_pattern(
    explainer: "Explainer", wafers: "WaferSet", bits: NDArray[np.uint8], *, progress: bool = False
) -> PatternHeat:
    """Compute for every pattern of every wafer how much each die speaks for it.

    Args:
        explainer: of the head "patterns".
        wafers: the n maps.
        bits: (n,) the patterns of each that are to be explained, as `Patterns.bits` gives them.
        progress: show a bar on stderr.

    Raises:
        UsageError: not one byte per map.
        ModelError: the model gives numbers that are not finite.

    Examples:
        >>> from wafer_tf.explaining.heat_maps import Explainer
        >>> from wafer_tf.learning.models import ModelConfig, build_model
        >>> from wafer_tf.synthesis.mixed import compose
        >>> made = compose(1, seed=0).wafers
        >>> model = build_model(ModelConfig("baseline", input_size=32, width=4, patterns=True))
        >>> found = heat_per_pattern(Explainer(model, head="patterns"), made, made.patterns)
        >>> list(found.of(0))
        ['Loc', 'Scratch']
    """
    if len(bits) != len(wafers):
        raise UsageError(f"explanation: patterns of {len(bits)} wafers for {len(wafers)} maps.")
    each = np.unpackbits(np.asarray(bits, np.uint8)[:, None], axis=1, bitorder="little")
    place, target = np.nonzero(each)
    heat = explainer.heat_maps(wafers.select(place), target, progress=progress)
    return PatternHeat(heat, np.concatenate([[0], np.cumsum(each.sum(axis=1, dtype=np.int64))]))


def apart(heats: Mapping[str, Heat]) -> dict[str, Heat]:
    """Return the heat of each pattern where no other pattern of the wafer is hotter, 0 elsewhere.

    A die that speaks for two patterns is left to the one that it speaks for most; where they tie, to both.

    Args:
        heats: by pattern, (rows, cols) 0..1 each.

    Examples:
        >>> found = apart({"Loc": np.array([[0.2, 1.0]]), "Scratch": np.array([[0.9, 0.4]])})
        >>> found["Loc"].tolist(), found["Scratch"].tolist()
        ([[0.0, 1.0]], [[0.9, 0.0]])
    """
    hottest = np.max(list(heats.values()), axis=0) if heats else 0
    return {name: np.where(heat >= hottest, heat, 0) for name, heat in heats.items()}


def patterns_of(run: "RunFolder") -> Patterns | None:
    """Return the rule by which a run's sigmoids pass, None of a run whose model has none.

    Raises:
        ModelError: its patterns.json is damaged.

    Examples:
        >>> from wafer_tf.learning.run_folder import RunFolder
        >>> from wafer_tf.released import released
        >>> patterns_of(RunFolder(released("nano"))) is None
        True
    """
    if not (run.path / "patterns.json").is_file():
        return None
    try:
        return Patterns.from_json(run.read_json("patterns.json"))
    except ModelError as error:
        raise ModelError(f"run folder {run.path}: {error}") from error
