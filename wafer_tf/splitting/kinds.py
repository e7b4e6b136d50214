"""The kinds of wafers that a split deals out evenly: the classes, and the combinations of patterns where asked for."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wafer_tf.dies import CLASSES, UNLABELLED
from wafer_tf.errors import InputError
from wafer_tf.pattern_bits import pattern_texts
from wafer_tf.waferset import WaferSet


@dataclass(frozen=True)
class Kinds:
    """The wafers that a split divides, and of which kind each is.

    Attributes:
        used: (m,) int64, sorted, the wafers to divide.
        code: (m,) int64, places in `names`.
        names: CLASSES and the combinations.
    """

    used: NDArray[np.int64]
    code: NDArray[np.int64]
    names: tuple[str, ...]

    @classmethod
    def of(cls, wafers: WaferSet, *, several: bool) -> "Kinds":
        """Find the labelled wafers and, with `several`, those of several patterns.

        Raises:
            InputError: no such wafer, or all of one kind.
        """
        mixed = wafers.several if several else np.zeros(len(wafers), bool)
        together = np.unique(wafers.patterns[mixed])
        used = np.flatnonzero((wafers.label != UNLABELLED) | mixed)
        code = np.where(mixed, len(CLASSES) + np.searchsorted(together, wafers.patterns), wafers.label)[used]
        found = cls(used, code.astype(np.int64), (*CLASSES, *pattern_texts(together).tolist()))
        present = np.unique(found.code).tolist()
        if not present:
            raise InputError(f"wafer set: none of its {len(wafers)} maps has a label; training needs labelled maps.")
        if len(present) == 1:
            raise InputError(
                f"wafer set: all {len(used)} labelled maps are {found.names[present[0]]}; expected at least two "
                "classes. Add maps of another class."
            )
        return found

    def only(self, which: NDArray[np.bool_]) -> "Kinds":
        """Keep the wafers of an (m,) mask."""
        return Kinds(self.used[which], self.code[which], self.names)
