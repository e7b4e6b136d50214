"""Train, validation and test parts that share no lot and no near-copy, and the file they are kept in."""

import hashlib
import io
import json
import os
import tokenize
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from wafer_tf.dies import CLASSES
from wafer_tf.errors import InputError, ModelError, UsageError
from wafer_tf.splitting.groups import join_identical, join_lots_and_copies, number_lots
from wafer_tf.splitting.kinds import Kinds
from wafer_tf.splitting.near_copies import MAX_DISTANCE, find_near_copies
from wafer_tf.waferset import WaferSet
from wafer_tf.whole_files import whole_file

Method = Literal["group", "official", "random", "folds"]
FOLDS: Method = "folds"
"""No parts but group folds, see `make_folds`."""
METHODS: tuple[str, ...] = tuple(method for method in get_args(Method) if method != FOLDS)
"""What divides a set into three parts."""
PARTS = ("train", "validation", "test")
TRAIN, VALIDATION, TEST = range(3)
UNUSED = -1
FRACTIONS = (0.70, 0.15, 0.15)

LARGE_SHARE = 0.10
"""A group with more than this share of the wafers is worth a warning."""


UNREADABLE: tuple[type[Exception], ...] = (
    *(OSError, EOFError, ValueError, LookupError, TypeError, AttributeError, RuntimeError, SyntaxError),
    *(zipfile.BadZipFile, zlib.error, tokenize.TokenError),
)
"""What numpy, zipfile and json raise on a damaged npz, and keras on a damaged model; found by changing every byte."""


@dataclass(frozen=True, eq=False)
class Split:
    """Which part every wafer of a set belongs to.

    Attributes:
        part: (n,) int8, 0 train, 1 validation, 2 test, -1 unused (no label, or no official side where that is asked;
            several patterns, where these are not asked for).
            `folds`: the wafer's fold, from 0.
        group: (n,) int64, wafers that stay together share a number, from 0 in order of first appearance; -1 unused.
            `group`: joined by lot or near-copy. `official`: the same, near-copies within an official side alone.
            `random`: byte-identical maps. `folds`: as `group`.
        method: how it was made.
        seed: of the assignment.
        fractions: of train, validation and test as asked for (`official` uses the ratio of the first two). `folds`:
            of each fold.
        wafers_sha256: content hash of the set it belongs to.
        stats: what `make_split` found; JSON values alone.
    """

    part: NDArray[np.int8]
    group: NDArray[np.int64]
    method: Method
    seed: int
    fractions: tuple[float, ...]
    wafers_sha256: str
    stats: dict[str, Any]

    @property
    def folds(self) -> int:
        """How many folds there are; 0 where there are three parts."""
        return len(self.fractions) if self.method == FOLDS else 0

    @property
    def train(self) -> NDArray[np.int64]:
        """Indices of the training part; with folds, of all of them."""
        return self._of(TRAIN)

    @property
    def validation(self) -> NDArray[np.int64]:
        """Indices of the validation part; with folds, of all of them, each judged by the model of its fold."""
        return self._of(VALIDATION)

    @property
    def test(self) -> NDArray[np.int64]:
        """Indices of the test part; with folds, of all of them, each judged by the model of its fold."""
        return self._of(TEST)

    def _of(self, part: int) -> NDArray[np.int64]:
        return np.flatnonzero(self.part != UNUSED if self.folds else self.part == part)

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Write the split as an npz (no pickles): the same split gives the same bytes.

        Raises:
            UsageError: `path` exists and `overwrite` is not set.
        """
        path = Path(path)
        if path.exists() and not overwrite:
            raise UsageError(f"{path}: exists; a split is not overwritten unasked. Choose another path.")
        facts = {k: v for k, v in asdict(self).items() if k not in ("part", "group")} | {"classes": CLASSES}
        text = np.frombuffer(json.dumps(facts, sort_keys=True).encode(), np.uint8)
        with whole_file(path) as file:
            np.savez_compressed(file, part=self.part, group=self.group, facts=text)

    @classmethod
    def load(cls, path: str | os.PathLike[str], wafers: WaferSet) -> "Split":
        """Read a split for the set it was made from.

        Raises:
            ModelError: no split file, a damaged one, one of another set of wafers, or one whose groups cross parts.
        """
        path = Path(path)
        try:
            with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as archive:
                part, group = archive["part"], archive["group"]
                facts = json.loads(archive["facts"].tobytes())
            classes = tuple(facts.pop("classes"))
            facts["fractions"] = tuple(facts["fractions"])
            split = cls(part=part, group=group, **facts)
        except FileNotFoundError:
            raise ModelError(f"{path}: no such file; expected the split of a training run.") from None
        except UNREADABLE as why:
            raise ModelError(
                f"{path}: not a whole split file ({why}). Train again, or restore the run folder."
            ) from why
        if classes != CLASSES:
            raise ModelError(f"{path}: made for the classes {', '.join(classes)}; expected {', '.join(CLASSES)}.")
        received = content_hash(wafers)
        if split.wafers_sha256 != received or not part.shape == group.shape == (len(wafers),):
            raise ModelError(
                f"{path}: belongs to another set of wafers ({len(part)} maps, SHA-256 {split.wafers_sha256[:12]}...); "
                f"received {len(wafers)} maps, {received[:12]}.... Pass the data the run was trained on."
            )
        check_disjoint(split)
        return split


def make_split(
    wafers: WaferSet,
    *,
    method: Method = "group",
    seed: int = 0,
    fractions: tuple[float, float, float] = FRACTIONS,
    several: bool = False,
    progress: bool = False,
) -> Split:
    """Divide the labelled wafers of a set into train, validation and test.

    Args:
        wafers: the set; wafers without a label stay unused.
        method: `group` keeps lots and near-copies on one side, each class as near its share as that allows; `official`
            keeps WM-811K's Test side as test, carves validation out of Training by groups, and counts near-copies
            across the sides; `random` deals out single wafers, keeping but byte-identical maps together.
        seed: the same set, method, seed and fractions give the same split.
        fractions: of train, validation and test, each above 0, together 1.
        several: divide the wafers of several patterns too, each combination of patterns as a class of its own.
        progress: show a bar on stderr while near-copies are searched.

    Raises:
        UsageError: an unknown method, or fractions that are no division.
        InputError: no labels, a single class, or no (or a lot-crossing) official split where that is asked for.

    Examples:
        >>> from wafer_tf.synthesis import synthesize
        >>> split = make_split(synthesize(20, seed=0).wafers)
        >>> len(split.train) + len(split.validation) + len(split.test)
        180
    """
    _check_arguments(method, fractions)
    kinds = Kinds.of(wafers, several=several)
    if method == "official":
        _check_official(wafers, kinds.used)
        kinds = kinds.only(np.isin(wafers.official_split[kinds.used], ("Training", "Test")))
    used, label = kinds.used, kinds.code
    side = (
        (wafers.official_split[used] == "Test").astype(np.int8)
        if method == "official"
        else np.zeros(len(used), np.int8)
    )
    lots = number_lots(wafers.lot[used])
    pairs = find_near_copies(wafers, used, progress=progress)
    if method == "random":
        joined, left_apart = join_identical(wafers, used)
    else:
        joined, left_apart = join_lots_and_copies(wafers, used, pairs, side=side)

    dealt = np.full(len(used), TEST, np.int8)
    kept = side == 0
    shares = fractions if method != "official" else (fractions[TRAIN], fractions[VALIDATION])
    dealt[kept] = _assign(label[kept], joined[kept], shares, seed, kinds=len(kinds.names))
    part, group = np.full(len(wafers), UNUSED, np.int8), np.full(len(wafers), -1, np.int64)
    part[used], group[used] = dealt, joined

    a, b = np.searchsorted(used, [pairs.first, pairs.second])

    def leaked(dealt: NDArray[np.int8]) -> int:
        """Count the test wafers with a near-copy in train or validation."""
        in_test = np.stack([dealt[a] == TEST, dealt[b] == TEST])
        return len(np.unique(np.stack([a, b])[in_test & ~in_test[::-1]]))

    counts = np.stack([np.bincount(label[dealt == p], minlength=len(kinds.names)) for p in range(3)])
    largest = int(np.bincount(joined).max())
    stats: dict[str, Any] = {
        "wafers": len(used),
        "lots": len(np.unique(lots)),
        "n_groups": int(joined.max()) + 1,
        "largest_group": largest,
        "max_distance": MAX_DISTANCE,
        "near_copy_pairs": len(pairs),
        "near_copy_pairs_across_lots": int((lots[a] != lots[b]).sum()),
        "near_copy_pairs_across_parts": int((dealt[a] != dealt[b]).sum()),
        "bare_copies_left_apart": left_apart,
        "leaked": {
            "this": leaked(dealt),
            "lot": leaked(_assign(label, lots, fractions, seed, kinds=len(kinds.names))),
            "random": leaked(_assign(label, np.arange(len(used)), fractions, seed, kinds=len(kinds.names))),
        },
        "class_counts": {name: dict(zip(kinds.names, counts[p].tolist(), strict=True)) for p, name in enumerate(PARTS)},
        "warnings": _warnings(kinds, joined, counts, largest=largest, left_apart=left_apart),
    }
    split = Split(part, group, method, seed, fractions, content_hash(wafers), stats)
    check_disjoint(split)
    return split


def make_folds(wafers: WaferSet, folds: int, *, seed: int = 0, several: bool = False, progress: bool = False) -> Split:
    """Divide the labelled wafers into folds that share no lot and no near-copy, each class as evenly as may be.

    Args:
        wafers: the set; wafers without a label stay unused.
        folds: how many, at least 2.
        seed: the same set, number and seed give the same folds.
        several: divide the wafers of several patterns too, each combination of patterns as a class of its own.
        progress: show a bar on stderr while near-copies are searched.

    Raises:
        InputError: no labels, a single class, or fewer groups than folds.

    Examples:
        >>> from wafer_tf.synthesis import synthesize
        >>> np.bincount(make_folds(synthesize(20, seed=0).wafers, 5).part).tolist()
        [36, 36, 36, 36, 36]
    """
    shares = (1 / folds,) * folds
    kinds = Kinds.of(wafers, several=several)
    used, label = kinds.used, kinds.code
    lots = number_lots(wafers.lot[used])
    pairs = find_near_copies(wafers, used, progress=progress)
    joined, left_apart = join_lots_and_copies(wafers, used, pairs, side=np.zeros(len(used), np.int8))
    groups = int(joined.max()) + 1
    if groups < folds:
        raise InputError(
            f"wafer set: {groups} groups (wafers that share no lot and no near-copy); expected at least {folds}, one "
            "a fold. Add maps of other lots."
        )
    dealt = _assign(label, joined, shares, seed, kinds=len(kinds.names))
    part, group = np.full(len(wafers), UNUSED, np.int8), np.full(len(wafers), -1, np.int64)
    part[used], group[used] = dealt, joined
    a, b = np.searchsorted(used, [pairs.first, pairs.second])
    by_lot = _assign(label, lots, shares, seed, kinds=len(kinds.names))
    counts = np.stack([np.bincount(label[dealt == p], minlength=len(kinds.names)) for p in range(folds)])
    largest = int(np.bincount(joined).max())
    stats = {
        "wafers": len(used),
        "lots": len(np.unique(lots)),
        "n_groups": groups,
        "largest_group": largest,
        "max_distance": MAX_DISTANCE,
        "near_copy_pairs": len(pairs),
        "bare_copies_left_apart": left_apart,
        "leaked": {"lot": len(np.unique(np.stack([a, b])[:, by_lot[a] != by_lot[b]]))},
        "class_counts": {
            f"fold {p + 1}": dict(zip(kinds.names, counts[p].tolist(), strict=True)) for p in range(folds)
        },
        "warnings": _warnings(
            kinds, joined, counts, largest=largest, left_apart=left_apart, parts=[f"fold {p + 1}" for p in range(folds)]
        ),
    }
    split = Split(part, group, FOLDS, seed, shares, content_hash(wafers), stats)
    check_disjoint(split)
    return split


def check_disjoint(split: Split) -> None:
    """Check that every used wafer is in one part and that no group crosses parts.

    That is: for `group` and `folds`, no lot and no near-copy in two parts; for `official`, no lot in two parts and no
    near-copy in both train and validation; for `random`, no byte-identical maps in two parts.

    Raises:
        ModelError: naming the first two wafers that break it.
    """
    used = np.flatnonzero(split.part != UNUSED)
    part, group = split.part[used], split.group[used]
    parts = [f"fold {k + 1}" for k in range(split.folds)] or PARTS
    if len(split.part) != len(split.group) or not np.isin(part, range(len(parts))).all() or (group < 0).any():
        raise ModelError(
            f"split: a wafer in a part other than 0 to {len(parts) - 1} or without a group. Make the split again."
        )
    order = np.argsort(group, kind="stable")
    wrong = np.flatnonzero((np.diff(group[order]) == 0) & (np.diff(part[order]) != 0))
    if len(wrong):
        a, b = used[order[wrong[0]]], used[order[wrong[0] + 1]]
        raise ModelError(
            f"split: wafers {a} and {b} of group {split.group[a]} are in {parts[split.part[a]]} and "
            f"{parts[split.part[b]]}; expected every group in one part. Make the split again."
        )


def content_hash(wafers: WaferSet) -> str:
    """Return the SHA-256 of maps, shapes, labels and lots: equal for the same wafers whatever file they came from.

    Patterns come into it where some wafer has several.
    """
    digest = hashlib.sha256(f"{len(wafers)} wafers\n".encode())
    for column, dtype in ((wafers.flat, "u1"), (wafers.shapes, "<i4"), (wafers.label, "i1")):
        digest.update(np.ascontiguousarray(column, dtype=dtype).data)
    digest.update("\0".join(wafers.lot.tolist()).encode())
    if wafers.several.any():
        digest.update(b"\0patterns\0" + wafers.patterns.tobytes())
    return digest.hexdigest()


def _assign(
    label: NDArray[np.int64], group: NDArray[np.int64], shares: Sequence[float], seed: int, *, kinds: int
) -> NDArray[np.int8]:
    """Deal whole groups out to parts so that every class comes near its share of each.

    A class with few groups first gives one each to train, test and validation, in that order, as far as they reach.
    Then, the large groups first, each goes where the sum over classes and parts of (count - target)^2 / target grows
    least (for one class that is Sainte-Lague's rule); the seed orders groups of like size.

    Args:
        label: (m,) class of each wafer, 0 to kinds - 1.
        group: (m,) group of each wafer.
        shares: of train, validation and, where there are three, test; or of folds.
        seed: of the order.
        kinds: number of classes.

    Returns:
        (m,) int8, part of each wafer.
    """
    _, member = np.unique(group, return_inverse=True)
    counts = np.bincount(member * kinds + label, minlength=(member.max() + 1) * kinds)
    counts = counts.reshape(-1, kinds).astype(np.float64)
    target = np.outer(np.asarray(shares) / sum(shares), counts.sum(axis=0))
    weight = 1 / np.maximum(target, 1e-9)
    have = np.zeros_like(target)
    part = np.full(len(counts), UNUSED, np.int8)
    order = np.random.default_rng(seed).permutation(len(counts))

    groups_of = (counts > 0).sum(axis=0)
    for c in np.argsort(groups_of, kind="stable"):
        if groups_of[c] * min(shares) >= 5:
            break
        mine = order[counts[order, c] > 0]
        mine = mine[np.argsort(-counts[mine, c], kind="stable")]
        for p in (TRAIN, TEST, VALIDATION) if len(shares) == 3 else range(len(shares)):
            free = mine[part[mine] == UNUSED]
            if have[p, c] == 0 and len(free):
                chosen = free[0] if p == TRAIN else free[-1]
                part[chosen] = p
                have[p] += counts[chosen]

    order = order[np.argsort(-np.floor(np.log2(counts.sum(axis=1)[order])), kind="stable")]
    for g in order[part[order] == UNUSED]:
        growth = (2 * (have - target) + counts[g]) * counts[g] * weight
        part[g] = growth.sum(axis=1).argmin()
        have[part[g]] += counts[g]
    return part[member]


def _warnings(
    kinds: Kinds,
    group: NDArray[np.int64],
    counts: NDArray[np.int64],
    *,
    largest: int,
    left_apart: int,
    parts: Sequence[str] = PARTS,
) -> list[str]:
    found = []
    for c in np.flatnonzero(counts.sum(axis=0)):
        without = [name for name, count in zip(parts, counts[:, c], strict=True) if count == 0]
        if without:
            n, k = int(counts[:, c].sum()), len(np.unique(group[kinds.code == c]))
            found.append(
                f"class {kinds.names[c]}: {n} wafer{'s' * (n > 1)} in {k} group{'s' * (k > 1)}, none in "
                f"{' and '.join(without)}; its score there is undefined."
            )
    if largest > LARGE_SHARE * len(kinds.used):
        found.append(
            f"the largest group holds {largest} of {len(kinds.used)} wafers and stays on one side: "
            "its lots are joined by near-copies, or many wafers share one lot."
        )
    if left_apart:
        found.append(f"{left_apart} equal maps with hardly any failing or passing die are left on both sides.")
    return found


def _check_arguments(method: str, fractions: tuple[float, float, float]) -> None:
    if method not in METHODS:
        raise UsageError(f"split method {method!r}; expected one of {', '.join(METHODS)}.")
    if len(fractions) != 3 or not all(0 < f < 1 for f in fractions) or abs(sum(fractions) - 1) > 1e-6:
        raise UsageError(
            f"split fractions {fractions}; expected train, validation and test, each above 0, together 1, "
            "for example 0.70 0.15 0.15."
        )


def _check_official(wafers: WaferSet, used: NDArray[np.int64]) -> None:
    official, lot = wafers.official_split[used], wafers.lot[used]
    remedy = "Split by groups instead: --split group."
    training, test = int((official == "Training").sum()), int((official == "Test").sum())
    if not training or not test:
        raise InputError(
            f"wafer set: {training} labelled maps of the official Training side and {test} of Test; "
            f"the official split needs both. {remedy}"
        )
    both = np.intersect1d(lot[official == "Training"], lot[official == "Test"])
    both = both[both != ""]
    if len(both):
        raise InputError(f"wafer set: lot {both[0]} is on both official sides; expected each lot on one. {remedy}")
