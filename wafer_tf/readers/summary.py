"""What a file of wafers holds, counted while its batches pass by: classes, splits, lots, sizes, copies."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import zip_longest
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wafer_tf.dies import CLASSES, NONE, UNLABELLED, Die
from wafer_tf.waferset import WaferSet

SPLITS = ("Training", "Test", "")
_DIGEST_BYTES = 16


@dataclass
class Summary:
    """Counts of the wafers that went through `watch`.

    Attributes:
        lots: the lot names seen.
        samples: per class code, up to `sample_count` maps of different lots, in the order they came.
        yields: per class code, for each map the part of its dies that pass, 0..1; empty unless asked for.
    """

    with_yields: bool = False
    sample_count: int = 4
    lots: set[str] = field(default_factory=set)
    samples: dict[int, list[NDArray[np.uint8]]] = field(default_factory=lambda: {k: [] for k in range(len(CLASSES))})
    yields: dict[int, list[NDArray[np.float64]]] = field(default_factory=lambda: {k: [] for k in range(len(CLASSES))})
    _sampled_lots: set[tuple[int, str]] = field(default_factory=set)
    _columns: list[tuple[NDArray[Any], ...]] = field(default_factory=list)
    _digests: bytearray = field(default_factory=bytearray)

    def watch(self, batches: Iterable[WaferSet]) -> Iterator[WaferSet]:
        """Hand the batches on, counting."""
        for batch in batches:
            self.add(batch)
            yield batch

    def add(self, batch: WaferSet) -> None:
        """Count one batch."""
        split = np.select([batch.official_split == name for name in SPLITS[:2]], [0, 1], 2).astype(np.int8)
        self._columns.append((batch.shapes, batch.label, split, batch.patterns))
        self.lots.update(batch.lot.tolist())
        cells, edges = batch.flat.data, batch.offsets.tolist()
        for start, end, cols in zip(edges, edges[1:], batch.shapes[:, 1].tolist(), strict=False):
            self._digests += blake2b(cells[start:end], digest_size=_DIGEST_BYTES, salt=b"%d" % cols).digest()
        if self.with_yields:
            self._add_yields(batch)
            self._add_samples(batch)

    def _add_yields(self, batch: WaferSet) -> None:
        for code in np.unique(batch.label[batch.labelled]).tolist():
            part = batch.select(batch.label == code)
            dies = np.add.reduceat(part.flat != Die.ABSENT, part.offsets[:-1], dtype=np.int64)
            passing = np.add.reduceat(part.flat == Die.PASS, part.offsets[:-1], dtype=np.int64)
            self.yields[code].append(passing / dies)

    def _add_samples(self, batch: WaferSet) -> None:
        for code, kept in self.samples.items():
            for i in np.flatnonzero(batch.label == code).tolist():
                if len(kept) == self.sample_count:
                    break
                if (code, str(batch.lot[i])) not in self._sampled_lots or not batch.lot[i]:
                    self._sampled_lots.add((code, str(batch.lot[i])))
                    kept.append(batch.map(i).copy())

    # === What was found ===

    @property
    def shapes(self) -> NDArray[np.int32]:
        """(n, 2) int32, rows and columns."""
        return self._column(0)

    @property
    def label(self) -> NDArray[np.int8]:
        """(n,) int8, class codes, UNLABELLED where there is none."""
        return self._column(1)

    @property
    def patterns(self) -> NDArray[np.uint8]:
        """(n,) uint8, a bit per pattern, as `WaferSet.patterns`."""
        return self._column(3)

    def _column(self, k: int) -> NDArray[Any]:
        return np.concatenate([columns[k] for columns in self._columns])

    def class_table(self) -> NDArray[np.int64]:
        """Return (10, 3) int64: labelled wafers per class, and last those without label, per SPLITS."""
        table = np.zeros((len(CLASSES) + 1, len(SPLITS)), np.int64)
        np.add.at(table, (self.label, self._column(2)), 1)  # UNLABELLED is -1: the last row
        return table

    def several_table(self) -> NDArray[np.int64]:
        """Return (8,) int64: per pattern the wafers that have it beside others."""
        several = self.patterns[np.bitwise_count(self.patterns) > 1]
        return np.array([(several >> k & 1).sum() for k in range(NONE)], np.int64)

    def copies(self) -> "Copies":
        """Find the maps that are the same, die for die."""
        digests = np.frombuffer(self._digests, f"V{_DIGEST_BYTES}")
        words = digests.view(np.uint64).reshape(-1, 2)
        order = np.lexsort((words[:, 1], words[:, 0]))
        begins = np.ones(len(order), bool)
        begins[1:] = (words[order[1:]] != words[order[:-1]]).any(axis=1)
        group = np.cumsum(begins) - 1
        sizes = np.bincount(group)
        label, split = self.label[order].astype(np.int64), self._column(2)[order]
        starts = np.flatnonzero(begins)
        highest = np.maximum.reduceat(label, starts)
        lowest = np.minimum.reduceat(np.where(label == UNLABELLED, len(CLASSES), label), starts)
        conflicting = (highest != UNLABELLED) & (lowest != highest)
        trained = np.logical_or.reduceat(split == 0, starts)
        return Copies(
            groups=int((sizes > 1).sum()),
            wafers=int(sizes[sizes > 1].sum()),
            conflicts=int(conflicting.sum()),
            conflict_wafers=int((conflicting[group] & (label != UNLABELLED)).sum()),
            test_in_training=int((trained[group] & (split == 1)).sum()),
        )

    def text(self) -> str:
        """Return the findings as lines for a person."""
        table, shapes, copies = self.class_table(), self.shapes, self.copies()
        n, labelled = len(shapes), int(table[:-1].sum())
        lines = [
            f"wafers      {n:>9,}",
            f"labelled    {labelled:>9,}",
            f"unlabelled  {n - labelled:>9,}",
            *self._several_line(),
            f"lots        {len(self.lots - {''}):>9,}" + ("  (and wafers without a lot)" if "" in self.lots else ""),
            "",
            f"{'class':<12}{'wafers':>9}{'Training':>10}{'Test':>10}{'no split':>10}",
        ]
        beside = self.several_table()
        if beside.any():
            lines[-1] += f"{'with others':>13}"
        for name, row, others in zip_longest((*CLASSES, "unlabelled"), table, beside.tolist()):
            lines.append(f"{name:<12}{row.sum():>9,}" + "".join(f"{count:>10,}" for count in row))
            if beside.any() and others is not None:
                lines[-1] += f"{others:>13,}"
        sides = [f"{np.min(side)} / {np.median(side):g} / {np.max(side)}" for side in shapes.T]
        lines += [
            "",
            f"shapes      {len(np.unique(shapes, axis=0)):>9,}",
            f"rows         {sides[0]}  (min / median / max)",
            f"columns      {sides[1]}",
            "",
            f"identical maps: {copies.groups:,} groups of two or more, {copies.wafers:,} wafers in them",
            f"Test wafers whose map is in Training: {copies.test_in_training:,}",
            f"identical maps with different labels: {copies.conflicts:,} groups, {copies.conflict_wafers:,} wafers",
        ]
        return "\n".join(lines)

    def _several_line(self) -> list[str]:
        count = np.bincount(np.bitwise_count(self.patterns), minlength=2)
        if not count[2:].any():
            return []
        parts = ", ".join(f"{wafers:,} of {k}" for k, wafers in enumerate(count.tolist()) if k > 1 and wafers)
        return [f"several     {count[2:].sum():>9,}  (unlabelled wafers with several patterns: {parts})"]


@dataclass(frozen=True)
class Copies:
    """Maps that occur more than once.

    Attributes:
        groups: distinct maps that occur at least twice.
        wafers: wafers that carry one of them.
        conflicts: groups whose labelled wafers disagree.
        conflict_wafers: labelled wafers in those.
        test_in_training: wafers of the official Test whose map is in the official Training too.
    """

    groups: int
    wafers: int
    conflicts: int
    conflict_wafers: int
    test_in_training: int
