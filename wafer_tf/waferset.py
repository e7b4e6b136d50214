"""WaferSet: many wafer maps of many shapes with their table, and its Parquet form on disk."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from wafer_tf.dies import CLASSES, UNLABELLED
from wafer_tf.errors import InputError


@dataclass(frozen=True, eq=False)
class WaferSet:
    """Wafer maps, one after another in `flat`, and what is known of each.

    Attributes:
        flat: (cells,) uint8, die states 0..2 of all maps, row by row.
        offsets: (n + 1,) int64; map i is flat[offsets[i]:offsets[i + 1]].
        shapes: (n, 2) int32, rows and columns.
        lot: (n,) str; "" where unknown.
        wafer_index: (n,) int32, place in the lot; 0 where unknown.
        label: (n,) int8, index into CLASSES; UNLABELLED (-1) where there is none.
        official_split: (n,) str, "Training", "Test" or "".
    """

    flat: NDArray[np.uint8]
    offsets: NDArray[np.int64]
    shapes: NDArray[np.int32]
    lot: NDArray[np.str_]
    wafer_index: NDArray[np.int32]
    label: NDArray[np.int8]
    official_split: NDArray[np.str_]

    def __post_init__(self) -> None:
        n = len(self.shapes)
        for name in ("lot", "wafer_index", "label", "official_split"):
            if len(getattr(self, name)) != n:
                raise InputError(f"wafer set: {len(getattr(self, name))} values of {name} for {n} maps.")
        if len(self.offsets) != n + 1 or int(self.offsets[0]) != 0 or int(self.offsets[-1]) != len(self.flat):
            raise InputError(f"wafer set: offsets do not span its {n} maps of {len(self.flat)} cells.")
        if not np.array_equal(np.diff(self.offsets), self.shapes.astype(np.int64).prod(axis=1)):
            raise InputError("wafer set: offsets and shapes disagree.")

    def __len__(self) -> int:
        return len(self.shapes)

    def map(self, i: int) -> NDArray[np.uint8]:
        """Return map i, (rows, cols) uint8: a view, not a copy."""
        rows, cols = self.shapes[i]
        return self.flat[self.offsets[i] : self.offsets[i + 1]].reshape(rows, cols)

    @cached_property
    def labelled(self) -> NDArray[np.int64]:
        """Indices of the maps that carry a label."""
        return np.flatnonzero(self.label != UNLABELLED)

    def class_counts(self) -> NDArray[np.int64]:
        """Return (9,) int64, labelled maps per class in the order of CLASSES."""
        return np.bincount(self.label[self.labelled], minlength=len(CLASSES)).astype(np.int64)

    def select(self, indices: ArrayLike) -> "WaferSet":
        """Return a new set of the maps at `indices` (whole numbers or a boolean mask), in that order."""
        idx = np.asarray(indices)
        idx = np.flatnonzero(idx) if idx.dtype == bool else idx.astype(np.int64)
        sizes = np.diff(self.offsets)[idx]
        parts = [self.flat[a:b] for a, b in zip(self.offsets[idx], self.offsets[idx] + sizes, strict=True)]
        return WaferSet(
            flat=np.concatenate(parts) if parts else np.zeros(0, np.uint8),
            offsets=np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
            shapes=self.shapes[idx],
            lot=self.lot[idx],
            wafer_index=self.wafer_index[idx],
            label=self.label[idx],
            official_split=self.official_split[idx],
        )

    @classmethod
    def from_maps(
        cls,
        maps: Iterable[NDArray[np.uint8]],
        *,
        label: ArrayLike,
        lot: Sequence[str] | NDArray[np.str_] | None = None,
        wafer_index: ArrayLike | None = None,
        official_split: Sequence[str] | NDArray[np.str_] | None = None,
    ) -> "WaferSet":
        """Build a set from checked maps, each (rows, cols) uint8; columns left out are "unknown"."""
        grids = list(maps)
        n = len(grids)
        shapes = np.array([g.shape for g in grids], dtype=np.int32).reshape(n, 2)
        return cls(
            flat=np.concatenate([g.ravel() for g in grids]) if grids else np.zeros(0, np.uint8),
            offsets=np.concatenate([[0], np.cumsum([g.size for g in grids])]).astype(np.int64),
            shapes=shapes,
            lot=_strings(lot, n),
            wafer_index=np.zeros(n, np.int32) if wafer_index is None else np.asarray(wafer_index, np.int32),
            label=np.asarray(label, np.int8),
            official_split=_strings(official_split, n),
        )

    @classmethod
    def concatenate(cls, sets: Sequence["WaferSet"]) -> "WaferSet":
        """Join sets one after another."""
        sizes = np.concatenate([np.diff(s.offsets) for s in sets])
        columns: dict[str, Any] = {
            name: np.concatenate([getattr(s, name) for s in sets])
            for name in ("flat", "shapes", "lot", "wafer_index", "label", "official_split")
        }
        return cls(offsets=np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64), **columns)


def _strings(values: Sequence[str] | NDArray[np.str_] | None, n: int) -> NDArray[np.str_]:
    return np.zeros(n, "<U1") if values is None else np.asarray(values, dtype=np.str_)
