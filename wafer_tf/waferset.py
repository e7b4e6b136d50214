"""WaferSet: many wafer maps of many shapes with what is known of each, as arrays and as a pandas DataFrame."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from wafer_tf.cells import empty_cells
from wafer_tf.command import says_what_to_install
from wafer_tf.dies import CLASSES, UNLABELLED, Die, check_map
from wafer_tf.errors import InputError
from wafer_tf.pattern_bits import (
    JOINED_BY,
    PATTERNS,
    bits_of_labels,
    check_patterns,
    pattern_bits,
    pattern_names,
    pattern_texts,
)

if TYPE_CHECKING:
    import pandas as pd


OPTIONAL_COLUMNS = ("wafer_id", "product", "step", "time")
"""Columns of text that a set need not have."""
COLUMNS = ("lot", "wafer_index", "label", "official_split", *OPTIONAL_COLUMNS, "patterns")
"""What a set holds of each wafer beside its map."""
NOT_GIVEN: NDArray[np.str_] = np.zeros(0, "<U1")
BY_LABEL: NDArray[np.uint8] = np.zeros(0, np.uint8)
"""Stands for patterns that are those of the labels."""


@dataclass(frozen=True, eq=False)
class Wafer:
    """One wafer of a set.

    Example:
        >>> wafer = Wafer(np.ones((4, 5), np.uint8), lot="A", index=7, label="none")
        >>> wafer
        Wafer(A/7, 4 x 5, 0 of 20 dies fail, none)
        >>> np.asarray(wafer).sum()
        np.uint64(20)

    Attributes:
        map: (rows, cols) uint8, die states 0..2.
        lot: "" where unknown.
        index: place in the lot; 0 where unknown.
        label: the class name; None where there is none, or several patterns.
        wafer: as the tool's file names it; the index, as text, where there is no other name.
        product, step: as the tool's file names them; "" where unknown.
        time: when it was tested, ISO 8601; "" where unknown.
        patterns: names of the patterns it is known to have, in the order of CLASSES; left out, that of the label.
    """

    map: NDArray[np.uint8]
    lot: str = ""
    index: int = 0
    label: str | None = None
    wafer: str = ""
    product: str = ""
    step: str = ""
    time: str = ""
    patterns: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.label in PATTERNS and not self.patterns:
            object.__setattr__(self, "patterns", (self.label,))
        if not self.wafer and self.index:
            object.__setattr__(self, "wafer", str(self.index))

    @property
    def name(self) -> str:
        """LOT/WAFER as far as they are known."""
        return f"{self.lot}/{self.wafer}" if self.lot and self.wafer else self.lot

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.array(self.map, dtype=dtype, copy=copy)

    def __repr__(self) -> str:
        rows, cols = self.map.shape
        failing, dies = int((self.map == Die.FAIL).sum()), int((self.map != Die.ABSENT).sum())
        known = JOINED_BY.join(self.patterns) or self.label
        return f"Wafer({self.name or 'unknown lot'}, {rows} x {cols}, {failing} of {dies} dies fail, {known})"


@dataclass(frozen=True, eq=False, repr=False)
class WaferSet:
    """Wafer maps, one after another in `flat`, and what is known of each.

    `len`, iteration and indexing as of a list: `wafers[0]` is a Wafer; a slice, a boolean mask or an array of numbers
    gives a set.

    Examples:
        >>> import numpy as np
        >>> maps = [np.ones((4, 5), np.uint8), np.full((6, 6), 2, np.uint8)]
        >>> wafers = WaferSet.from_maps(maps, label=[8, 5], lot=["A", "A"], wafer_index=[1, 2])
        >>> wafers
        WaferSet of 2 wafers, 2 labelled (1 Near-full, 1 none), 1 lot, 4 x 5 to 6 x 6 cells
        >>> wafers[1]
        Wafer(A/2, 6 x 6, 36 of 36 dies fail, Near-full)
        >>> wafers[:1]
        WaferSet of 1 wafer, 1 labelled (1 none), 1 lot, 4 x 5 cells

    Attributes:
        flat: (cells,) uint8, die states 0..2 of all maps, row by row.
        offsets: (n + 1,) int64; map i is flat[offsets[i]:offsets[i + 1]].
        shapes: (n, 2) int32, rows and columns.
        lot: (n,) str; "" where unknown.
        wafer_index: (n,) int32, place in the lot; 0 where unknown.
        label: (n,) int8, index into CLASSES; UNLABELLED (-1) where there is none, or several patterns.
        official_split: (n,) str, "Training", "Test" or "".
        wafer_id: (n,) str, the wafer as a tool's file names it; "" where the index is its name, or nothing is known.
        product, step, time: (n,) str, as of `Wafer`; "" where unknown.
        patterns: (n,) uint8, bit k set where the wafer has the pattern CLASSES[k], k of 0..7; left out, that of the
            label. A wafer of several patterns has two bits or more, and no label.
    """

    flat: NDArray[np.uint8]
    offsets: NDArray[np.int64]
    shapes: NDArray[np.int32]
    lot: NDArray[np.str_]
    wafer_index: NDArray[np.int32]
    label: NDArray[np.int8]
    official_split: NDArray[np.str_]
    wafer_id: NDArray[np.str_] = field(default_factory=lambda: NOT_GIVEN)
    product: NDArray[np.str_] = field(default_factory=lambda: NOT_GIVEN)
    step: NDArray[np.str_] = field(default_factory=lambda: NOT_GIVEN)
    time: NDArray[np.str_] = field(default_factory=lambda: NOT_GIVEN)
    patterns: NDArray[np.uint8] = field(default_factory=lambda: BY_LABEL)

    def __post_init__(self) -> None:
        n = len(self.shapes)
        for name in OPTIONAL_COLUMNS:
            if getattr(self, name) is NOT_GIVEN:
                object.__setattr__(self, name, np.zeros(n, "<U1"))
        by_label = self.patterns is BY_LABEL
        if by_label:
            object.__setattr__(self, "patterns", bits_of_labels(self.label))
        for name in COLUMNS:
            if len(getattr(self, name)) != n:
                raise InputError(f"wafer set: {len(getattr(self, name))} values of {name} for {n} maps.")
        if len(self.offsets) != n + 1 or int(self.offsets[0]) != 0 or int(self.offsets[-1]) != len(self.flat):
            raise InputError(f"wafer set: offsets do not span its {n} maps of {len(self.flat)} cells.")
        if not np.array_equal(np.diff(self.offsets), self.shapes.astype(np.int64).prod(axis=1)):
            raise InputError("wafer set: offsets and shapes disagree.")
        if not by_label:
            object.__setattr__(self, "patterns", check_patterns(self.patterns, self.label))
        if self.flat.dtype != np.uint8:
            flat = self.flat.astype(np.uint8)
            if not np.array_equal(flat, self.flat):
                raise InputError("wafer set: a die state that is no whole number from 0 to 255; expected 0, 1 or 2.")
            object.__setattr__(self, "flat", flat)

    def __len__(self) -> int:
        return len(self.shapes)

    def __iter__(self) -> "Iterator[Wafer]":
        return (self[i] for i in range(len(self)))

    @overload
    def __getitem__(self, which: int) -> Wafer: ...

    @overload
    def __getitem__(self, which: "slice | ArrayLike") -> "WaferSet": ...

    def __getitem__(self, which: "int | slice | ArrayLike") -> "Wafer | WaferSet":
        if isinstance(which, slice):
            first, last, step = which.indices(len(self))
            return self._between(first, last) if step == 1 and first < last else self.select(range(first, last, step))
        chosen = np.asarray(which)
        if chosen.shape != () or chosen.dtype.kind not in "iu":
            return self.select(chosen)
        i = int(chosen)
        if not -len(self) <= i < len(self):
            raise IndexError(f"wafer {i} of {len(self)}")
        i %= len(self)
        label = int(self.label[i])
        return Wafer(
            self.map(i),
            str(self.lot[i]),
            int(self.wafer_index[i]),
            None if label == UNLABELLED else CLASSES[label],
            str(self.wafer_id[i]),
            str(self.product[i]),
            str(self.step[i]),
            str(self.time[i]),
            pattern_names(int(self.patterns[i])),
        )

    def _chosen(self, which: NDArray[Any]) -> NDArray[np.int64]:
        """Return the (m,) indices, 0 or more, that a mask or an array of numbers means."""
        if which.dtype == bool and which.shape != (len(self),):
            raise IndexError(f"a mask of shape {which.shape}; expected ({len(self)},), one value per wafer")
        if which.ndim != 1 or not (which.dtype.kind in "biu" or which.size == 0):
            raise IndexError(
                f"wafers chosen by {which.dtype} of shape {which.shape}; expected a whole number, a slice, a mask or "
                "a list of whole numbers"
            )
        chosen: NDArray[np.int64] = np.arange(len(self))[which if which.size else which.astype(np.int64)]
        return chosen

    def __repr__(self) -> str:
        n, counts = len(self), self.class_counts()
        said = [f"WaferSet of {n:,} wafer{'s' * (n != 1)}", f"{len(self.labelled):,} labelled"]
        if counts.any():
            said[-1] += f" ({', '.join(f'{count:,} {CLASSES[c]}' for c, count in enumerate(counts) if count)})"
        if self.several.any():
            said.append(f"{int(self.several.sum()):,} of several patterns")
        lots = len(np.unique(self.lot[self.lot != ""]))
        said.append(f"{lots:,} lot{'s' * (lots != 1)}")
        if n:
            area = self.shapes.astype(np.int64).prod(axis=1)
            small, large = (" x ".join(map(str, self.shapes[i])) for i in (area.argmin(), area.argmax()))
            said.append(f"{small} cells" if small == large else f"{small} to {large} cells")
        return ", ".join(said)

    def map(self, i: int) -> NDArray[np.uint8]:
        """Return map i, (rows, cols) uint8: a view, not a copy. As of a list, -1 is the last one."""
        if not -len(self) <= i < len(self):
            raise IndexError(f"wafer {i} of {len(self)}")
        i %= len(self)
        rows, cols = self.shapes[i]
        return self.flat[self.offsets[i] : self.offsets[i + 1]].reshape(rows, cols)

    @cached_property
    def labelled(self) -> NDArray[np.int64]:
        """Indices of the maps that carry a label."""
        return np.flatnonzero(self.label != UNLABELLED)

    @cached_property
    def several(self) -> NDArray[np.bool_]:
        """(n,) bool, the wafers of two patterns or more.

        Examples:
            >>> import numpy as np
            >>> maps = [np.ones((4, 5), np.uint8)] * 2
            >>> wafers = WaferSet.from_maps(maps, label=[3, -1], patterns=[1 << 3, 1 << 3 | 1 << 7])
            >>> wafers.several.tolist(), wafers[1].patterns
            ([False, True], ('Edge-Ring', 'Scratch'))
        """
        return np.bitwise_count(self.patterns) > 1

    def class_counts(self) -> NDArray[np.int64]:
        """Return (9,) int64, labelled maps per class in the order of CLASSES."""
        return np.bincount(self.label[self.labelled], minlength=len(CLASSES)).astype(np.int64)

    def select(self, indices: ArrayLike) -> "WaferSet":
        """Return a new set of the maps at `indices` (whole numbers or a boolean mask), in that order.

        Raises:
            IndexError: a number beyond the set, a mask of another length, or neither numbers nor a mask.
        """
        idx = self._chosen(np.asarray(indices))
        sizes = np.diff(self.offsets)[idx]
        parts = [self.flat[a:b] for a, b in zip(self.offsets[idx], self.offsets[idx] + sizes, strict=True)]
        return WaferSet(
            flat=np.concatenate(parts, out=empty_cells(int(sizes.sum()))) if parts else np.zeros(0, np.uint8),
            offsets=np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
            shapes=self.shapes[idx],
            **{name: getattr(self, name)[idx] for name in COLUMNS},
        )

    def _between(self, first: int, last: int) -> "WaferSet":
        """Return the maps from `first` to before `last`: views, not copies."""
        begin = self.offsets[first]
        return WaferSet(
            flat=self.flat[begin : self.offsets[last]],
            offsets=self.offsets[first : last + 1] - begin,
            shapes=self.shapes[first:last],
            **{name: getattr(self, name)[first:last] for name in COLUMNS},
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
        wafer_id: Sequence[str] | NDArray[np.str_] | None = None,
        product: Sequence[str] | NDArray[np.str_] | None = None,
        step: Sequence[str] | NDArray[np.str_] | None = None,
        time: Sequence[str] | NDArray[np.str_] | None = None,
        patterns: ArrayLike | None = None,
    ) -> "WaferSet":
        """Build a set from checked maps, each (rows, cols) uint8; columns left out are "unknown".

        Raises:
            InputError: columns of another length, a label that is none, or patterns that disagree with it.
        """
        grids = list(maps)
        n = len(grids)
        shapes = np.array([g.shape for g in grids], dtype=np.int32).reshape(n, 2)
        return cls(
            flat=np.concatenate([g.ravel() for g in grids]) if grids else np.zeros(0, np.uint8),
            offsets=np.concatenate([[0], np.cumsum([g.size for g in grids])]).astype(np.int64),
            shapes=shapes,
            lot=_strings(lot, n),
            wafer_index=np.zeros(n, np.int32) if wafer_index is None else np.asarray(wafer_index, np.int32),
            label=_codes(label),
            official_split=_strings(official_split, n),
            wafer_id=_strings(wafer_id, n),
            product=_strings(product, n),
            step=_strings(step, n),
            time=_strings(time, n),
            patterns=BY_LABEL if patterns is None else np.asarray(patterns),
        )

    @says_what_to_install()
    def to_pandas(self) -> "pd.DataFrame":
        """Return a DataFrame, a row per wafer.

        Its columns are `lot`, `wafer` (place in the lot), `map` (a (rows, cols) array), `label` (a name or None), what
        of `wafer_id`, `product`, `step` and `time` is known of any wafer, and, where any has several, `patterns` (the
        names as one text, such as "Edge-Ring+Scratch", or None).

        Raises:
            ModuleNotFoundError: pandas is not installed; the text says how to.

        Examples:
            >>> import numpy as np
            >>> WaferSet.from_maps([np.ones((4, 5), np.uint8)], label=[8]).to_pandas()["label"].tolist()
            ['none']
        """
        import pandas as pd

        wafers, known = list(self), pattern_texts(self.patterns).tolist()
        several = {"patterns": pd.Series([text or None for text in known], dtype=object)} if self.several.any() else {}
        return pd.DataFrame(
            {
                "lot": pd.Series([wafer.lot for wafer in wafers], dtype=object),
                "wafer": self.wafer_index,
                "map": pd.Series([wafer.map for wafer in wafers], dtype=object),
                "label": pd.Series([wafer.label for wafer in wafers], dtype=object),
                **{
                    name: getattr(self, name).astype(object)
                    for name in OPTIONAL_COLUMNS
                    if (getattr(self, name) != "").any()
                },
                **several,
            }
        )

    @classmethod
    def from_pandas(cls, table: "pd.DataFrame") -> "WaferSet":
        """Build a set from a DataFrame, a row per wafer.

        Args:
            table: with a column `map`, (rows, cols) arrays of 0 (no die), 1 (pass), 2 (fail); and where known `lot`
                (text), `wafer` (place in the lot, a whole number), `label` (a class name; None or NaN for none),
                `wafer_id`, `product`, `step`, `time` (text), and `patterns` (names as a list or as one text, such as
                "Edge-Ring+Scratch"; None or NaN where the label says it all).

        Raises:
            InputError: no column `map`, a cell that is no map, a label that is no class, a pattern that is none; the
                row is named. Or patterns that disagree with the label.

        Examples:
            >>> import numpy as np
            >>> import pandas as pd
            >>> WaferSet.from_pandas(pd.DataFrame({"map": [np.ones((4, 5), int)], "label": ["none"]}))
            WaferSet of 1 wafer, 1 labelled (1 none), 0 lots, 4 x 5 cells
        """
        if not hasattr(table, "columns"):
            raise InputError(f"table: a {type(table).__name__}; expected a DataFrame with a column map.")
        names = table.columns.tolist()
        if "map" not in names:
            raise InputError(f"table: columns {', '.join(map(str, names))}; expected one named map.")
        for name in ("map", "lot", "wafer", "label", *OPTIONAL_COLUMNS, "patterns"):
            if names.count(name) > 1:
                raise InputError(f"table: {names.count(name)} columns named {name}; expected one.")
        n, rows = len(table), table.index.tolist()

        def column(name: str, unknown: Any) -> list[Any]:
            if name not in table.columns:
                return [unknown] * n
            values, missing = table[name].tolist(), table[name].isna().tolist()
            return [unknown if gone else value for value, gone in zip(values, missing, strict=True)]

        labels = [_label(value, f"row {row}") for row, value in zip(rows, column("label", None), strict=True)]
        indices = [_wafer_index(value, f"row {row}") for row, value in zip(rows, column("wafer", 0), strict=True)]
        given = [
            int(bits_of_labels(np.array(label))) if names is None else pattern_bits(names, f"table, row {row}")
            for row, label, names in zip(rows, labels, column("patterns", None), strict=True)
        ]
        return cls.from_maps(
            [check_map(grid, f"of row {row}") for row, grid in zip(rows, table["map"].tolist(), strict=True)],
            label=np.array(labels, np.int8),
            lot=[str(lot) for lot in column("lot", "")],
            wafer_index=np.array(indices, np.int32),
            **{name: [str(text) for text in column(name, "")] for name in OPTIONAL_COLUMNS},
            patterns=np.array(given, np.uint8),
        )

    @classmethod
    def concatenate(cls, sets: Sequence["WaferSet"]) -> "WaferSet":
        """Join sets one after another."""
        sizes = np.concatenate([np.diff(s.offsets) for s in sets])
        columns: dict[str, Any] = {
            name: np.concatenate([getattr(s, name) for s in sets]) for name in ("shapes", *COLUMNS)
        }
        flat = np.concatenate([s.flat for s in sets], out=empty_cells(int(sizes.sum())))
        return cls(flat, np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64), **columns)


def _strings(values: Sequence[str] | NDArray[np.str_] | None, n: int) -> NDArray[np.str_]:
    return np.zeros(n, "<U1") if values is None else np.asarray(values, dtype=np.str_)


def _codes(label: ArrayLike) -> NDArray[np.int8]:
    codes = np.asarray(label)
    wrong = (codes < UNLABELLED) | (codes >= len(CLASSES))
    if wrong.any():
        raise InputError(
            f"wafer set: label {codes[wrong][0]}; expected {UNLABELLED} (none) or 0 to {len(CLASSES) - 1}, a place in "
            "CLASSES."
        )
    return codes.astype(np.int8)


def _label(value: Any, where: str) -> int:
    if value is None:
        return UNLABELLED
    if not isinstance(value, str) or value not in CLASSES:  # an array compares to an array
        raise InputError(f"table, {where}: label {value!r}; expected one of {', '.join(CLASSES)}, or None.")
    return CLASSES.index(value)


def _wafer_index(value: Any, where: str) -> int:
    try:
        index = int(value)
    except (TypeError, ValueError, OverflowError):
        index = -1
    if np.ndim(value) or index != value or not 0 <= index < 2**31:
        raise InputError(f"table, {where}: wafer {value!r}; expected a whole number, its place in the lot.")
    return index
