"""Wafers of several patterns in splits: left out unless asked for, then dealt out by combination, copies together."""

from pathlib import Path

import numpy as np
import pytest

from wafer_tf.dies import CLASSES
from wafer_tf.errors import InputError
from wafer_tf.splitting.near_copies import find_near_copies
from wafer_tf.splitting.splits import METHODS, UNUSED, Split, content_hash, make_folds, make_split
from wafer_tf.waferset import WaferSet

RING, LOC, SCRATCH = (1 << CLASSES.index(name) for name in ("Edge-Ring", "Loc", "Scratch"))
KINDS = (RING, SCRATCH, RING | SCRATCH, RING | LOC | SCRATCH)


def noisy(n: int, seed: int = 0, share: float = 0.3) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [(1 + (rng.random((20, 20)) < share)).astype(np.uint8) for _ in range(n)]


@pytest.fixture
def wafers() -> WaferSet:
    """200 wafers, 50 of each kind; the last of each is a turned copy of the one before."""
    maps = noisy(200)
    for last in range(49, 200, 50):
        maps[last] = np.rot90(maps[last - 1]).copy()
        maps[last][3, :2] = 3 - maps[last][3, :2]
    patterns = np.repeat(np.array(KINDS, np.uint8), 50)
    label = np.where(np.bitwise_count(patterns) == 1, np.log2(patterns).astype(int), -1)
    official = np.where(np.arange(200) % 50 % 4, "Training", "Test")
    return WaferSet.from_maps(maps, label=label, patterns=patterns, official_split=official)


@pytest.mark.parametrize("method", METHODS)
def test_wafers_of_several_patterns_are_left_out_unless_asked_for(wafers: WaferSet, method: str) -> None:
    split = make_split(wafers, method=method)  # type: ignore[arg-type]
    alone = make_split(wafers[:100], method=method)  # type: ignore[arg-type]
    np.testing.assert_array_equal(split.part[:100], alone.part)
    assert (split.part[100:] == UNUSED).all()
    assert split.stats == alone.stats
    both = make_split(wafers, method=method, several=True)  # type: ignore[arg-type]
    assert (both.part != UNUSED).all()


def test_each_combination_comes_near_its_share_and_is_counted_by_its_name(wafers: WaferSet) -> None:
    split = make_split(wafers, several=True, fractions=(0.6, 0.2, 0.2))
    for kind in KINDS:
        assert np.bincount(split.part[wafers.patterns == kind], minlength=3).tolist() == [30, 10, 10]
    counts = split.stats["class_counts"]["train"]
    assert {name: count for name, count in counts.items() if count} == dict.fromkeys(
        ("Edge-Ring", "Scratch", "Edge-Ring+Scratch", "Edge-Ring+Loc+Scratch"), 30
    )


def test_copies_stay_together_in_parts_and_folds(wafers: WaferSet) -> None:
    for split in (make_split(wafers, several=True), make_folds(wafers, 5, several=True)):
        assert split.stats["n_groups"] == 196
        assert split.stats["largest_group"] == 2
        for last in range(49, 200, 50):
            assert split.part[last] == split.part[last - 1]
            assert split.group[last] == split.group[last - 1]
    for kind in KINDS:
        assert np.bincount(split.part[wafers.patterns == kind]).tolist() == [10] * 5


def test_a_copy_with_a_pattern_less_stays_with_it(wafers: WaferSet) -> None:
    both = WaferSet.concatenate([wafers, WaferSet.from_maps([wafers.map(120)], label=[CLASSES.index("Edge-Ring")])])
    for split in (make_split(both, several=True), make_folds(both, 5, several=True)):
        assert split.part[120] == split.part[200]
        assert split.group[120] == split.group[200]


def test_a_split_of_them_comes_back_for_these_patterns_alone(wafers: WaferSet, tmp_path: Path) -> None:
    split = make_split(wafers, several=True)
    split.save(tmp_path / "split.npz")
    np.testing.assert_array_equal(Split.load(tmp_path / "split.npz", wafers).part, split.part)
    patterns = wafers.patterns.copy()
    patterns[-1] = RING | LOC
    other = WaferSet.from_maps([wafer.map for wafer in wafers], label=wafers.label, patterns=patterns)
    assert content_hash(other) != content_hash(wafers)
    assert content_hash(other[:100]) == content_hash(wafers[:100])


def test_two_combinations_are_enough_and_one_is_not(wafers: WaferSet) -> None:
    assert (make_split(wafers[100:], several=True).part != UNUSED).all()
    with pytest.raises(InputError, match="none of its 100 maps has a label"):
        make_split(wafers[100:])
    with pytest.raises(InputError, match=r"all 50 labelled maps are Edge-Ring\+Scratch; expected at least two"):
        make_folds(wafers[100:150], 5, several=True)


@pytest.mark.parametrize("sides", [(16, 16), (15, 15), (14, 17)])
@pytest.mark.parametrize("share", [0.2, 0.5, 0.8])
def test_the_closer_bound_finds_the_same_copies(
    sides: tuple[int, int], share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    maps = [(1 + (rng.random(sides) < share)).astype(np.uint8) for _ in range(30)]
    for k in range(30):
        copy = maps[k][::-1].copy()
        copy.flat[rng.choice(copy.size, k, replace=False)] = 1
        maps.append(copy.T if k % 2 else copy)
    wafers = WaferSet.from_maps(maps, label=[8] * 60)
    found = []
    for many in (-1.0, 2.0):
        monkeypatch.setattr("wafer_tf.splitting.near_copies.MANY", many)
        found.append(find_near_copies(wafers, np.arange(60), max_distance=0.5))
    assert len(found[0]) > 25
    for column in ("first", "second", "distance", "bare"):
        np.testing.assert_array_equal(getattr(found[0], column), getattr(found[1], column))
