"""Splits: what stays together, how near each class comes to its share, and the file a split is kept in."""

import dataclasses
import hashlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests import SHARED
from wafer_tf.dies import CLASSES, UNLABELLED
from wafer_tf.errors import InputError, ModelError, UsageError
from wafer_tf.splitting.near_copies import find_near_copies
from wafer_tf.splitting.splits import METHODS, Split, check_disjoint, content_hash, make_folds, make_split
from wafer_tf.waferset import WaferSet

DEV = SHARED / "data/wm811k/wm811k_dev.npz"


def _map(seed: int, rows: int = 16, cols: int = 18, share: float = 0.25) -> NDArray[np.uint8]:
    return (1 + (np.random.default_rng(seed).random((rows, cols)) < share)).astype(np.uint8)


def _random_set(seed: int, n: int, *, lots: int, classes: int, copies: float = 0.2) -> WaferSet:
    """Return n maps, some of them near-copies (turned, a die changed) of earlier ones, some without lot or label."""
    rng = np.random.default_rng(seed)
    maps: list[NDArray[np.uint8]] = []
    for k in range(n):
        grid = _map(1000 * seed + k)
        if maps and rng.random() < copies:
            grid = np.ascontiguousarray(np.rot90(maps[rng.integers(k)], rng.integers(4)))
            grid[5, 5] = 3 - grid[5, 5]
        maps.append(grid)
    label = rng.integers(-1, classes, n)
    label[:2] = 0, 1
    names = np.array(["", *(f"lot{k}" for k in range(lots))])
    official = np.where(rng.permutation(lots + 1) % 2, "Training", "Test")
    lot = rng.integers(1, lots + 1, n)
    return WaferSet.from_maps(maps, label=label, lot=names[lot], official_split=official[lot])


@pytest.fixture(scope="module")
def wafers() -> WaferSet:
    return _random_set(1, 240, lots=90, classes=5)


@pytest.fixture(scope="module")
def dev() -> WaferSet:
    if not DEV.exists():
        pytest.skip("the real maps (../shared/data/wm811k/wm811k_dev.npz) are not here")
    with np.load(DEV) as archive:
        d = {name: archive[name] for name in archive.files}
    label = np.array([CLASSES.index(name) for name in d["label"]], np.int8)
    shape = (d["flat"], d["offsets"], d["shapes"].astype(np.int32), d["lot"], d["wafer_index"].astype(np.int32))
    return WaferSet(*shape, label, d["official_split"])


# === What stays together ===


def test_a_mirrored_copy_with_two_dies_changed_lands_in_the_same_group() -> None:
    maps = [_map(k) for k in range(30)]
    copy = maps[4][:, ::-1].copy()
    copy[3, 3:5] = 3 - copy[3, 3:5]
    split = make_split(WaferSet.from_maps([*maps, copy, copy.T.copy()], label=np.arange(32) % 2))
    assert split.group[30] == split.group[31] == split.group[4]
    assert split.part[30] == split.part[31] == split.part[4]
    assert split.stats["n_groups"] == 30
    assert split.stats["near_copy_pairs"] == 3


def test_a_lot_lands_in_one_group_and_wafers_of_unknown_lot_do_not() -> None:
    lot = ["a", "", "b", "a", "", "b", "c", ""]
    split = make_split(WaferSet.from_maps([_map(k) for k in range(8)], label=np.arange(8) % 2, lot=lot))
    assert split.group.tolist() == [0, 1, 2, 0, 3, 2, 4, 5]


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    n=st.integers(6, 60),
    lots=st.integers(2, 40),
    classes=st.integers(2, 9),
    method=st.sampled_from(METHODS),
)
def test_no_group_crosses_a_side(seed: int, n: int, lots: int, classes: int, method: str) -> None:
    wafers = _random_set(seed, n, lots=lots, classes=classes)
    try:
        split = make_split(wafers, method=method, seed=seed)  # type: ignore[arg-type]
    except InputError as why:
        assert method == "official" and "of Test" in str(why)  # every labelled lot fell on one side
        return
    used = np.flatnonzero(split.part >= 0)
    np.testing.assert_array_equal(used, np.sort(np.concatenate([split.train, split.validation, split.test])))
    np.testing.assert_array_equal(split.part == -1, wafers.label == UNLABELLED)
    pairs = find_near_copies(wafers, used)
    same_part = split.part[pairs.first] == split.part[pairs.second]
    one_part_per_lot = all(len(set(split.part[used][wafers.lot[used] == lot])) == 1 for lot in set(wafers.lot[used]))
    if method == "group":
        assert same_part.all() and one_part_per_lot
    elif method == "official":
        assert one_part_per_lot
        assert ((split.part[pairs.first] == 2) != (split.part[pairs.second] == 2))[~same_part].all()
        np.testing.assert_array_equal(split.part[used] == 2, wafers.official_split[used] == "Test")
        assert split.stats["near_copy_pairs_across_parts"] == (~same_part).sum()
    else:
        equal = [np.array_equal(wafers.map(i), wafers.map(j)) for i, j in zip(pairs.first, pairs.second, strict=True)]
        assert same_part[np.array(equal, bool)].all()


def test_an_all_pass_map_does_not_chain_every_lot_into_one_group() -> None:
    maps = [_map(k) if k % 4 else np.ones((16, 18), np.uint8) for k in range(400)]
    lot = [f"lot{k // 8}" for k in range(400)]
    split = make_split(WaferSet.from_maps(maps, label=np.arange(400) % 3, lot=lot))
    assert split.stats["largest_group"] == 8
    assert split.stats["bare_copies_left_apart"] == 100
    assert "100 equal maps" in " ".join(split.stats["warnings"])


def test_a_few_equal_all_fail_maps_stay_together() -> None:
    maps = [np.full((16, 18), 2, np.uint8) if k in (3, 50, 81) else _map(k) for k in range(90)]
    split = make_split(WaferSet.from_maps(maps, label=np.arange(90) % 3))
    assert len(set(split.group[[3, 50, 81]])) == 1


def test_what_a_lot_split_would_leak_is_counted() -> None:
    maps = [_map(k) for k in range(100)]
    wafers = WaferSet.from_maps([*maps, *(m[::-1] for m in maps)], label=np.arange(200) % 2)
    stats = make_split(wafers, seed=3).stats
    assert stats["leaked"]["this"] == 0
    # Of about 30 test wafers, each with its one copy elsewhere by chance 85 %.
    assert 15 <= stats["leaked"]["lot"] <= 30
    assert 15 <= stats["leaked"]["random"] <= 30


# === How near each class comes to its share ===


def test_every_class_comes_near_its_share_on_real_maps(dev: WaferSet) -> None:
    split = make_split(dev)
    share = np.outer([0.70, 0.15, 0.15], dev.class_counts())
    counts = np.stack(
        [np.bincount(dev.label[part], minlength=9) for part in (split.train, split.validation, split.test)]
    )
    assert (counts > 0).all()
    assert (np.abs(counts - share) <= np.maximum(2, 0.03 * share)).all()
    assert split.stats["largest_group"] <= 25
    assert split.stats["near_copy_pairs_across_lots"] > 80
    assert split.stats["leaked"]["this"] == 0 < split.stats["leaked"]["lot"]
    assert split.stats["warnings"] == []


def test_official_test_wafers_stay_test_on_real_maps(dev: WaferSet) -> None:
    split = make_split(dev, method="official")
    np.testing.assert_array_equal(split.test, np.flatnonzero(dev.official_split == "Test"))
    np.testing.assert_array_equal(split.part == -1, dev.official_split == "")
    assert len(split.validation) == pytest.approx(0.15 / 0.85 * (len(split.train) + len(split.validation)), rel=0.02)
    assert split.stats["leaked"]["this"] > 0


@pytest.mark.parametrize(("n", "parts"), [(1, {0}), (2, {0, 2}), (3, {0, 1, 2}), (4, {0, 1, 2})])
def test_a_class_of_few_wafers_goes_to_train_first_then_test_then_validation(n: int, parts: set[int]) -> None:
    label = np.full(100, 8)
    label[:n] = 7
    for seed in range(5):
        split = make_split(WaferSet.from_maps([_map(k) for k in range(100)], label=label), seed=seed)
        assert set(split.part[:n].tolist()) == parts
        assert len(split.stats["warnings"]) == (n < 3)
    if n == 1:
        assert split.stats["warnings"][0].startswith("class Scratch: 1 wafer in 1 group, none in validation and test")


def test_of_two_lots_of_a_class_train_gets_the_larger() -> None:
    label = np.array([7] * 6 + [8] * 60)
    lot = ["large"] * 5 + ["small"] + [f"lot{k}" for k in range(60)]
    for seed in range(5):
        split = make_split(WaferSet.from_maps([_map(k) for k in range(66)], label=label, lot=lot), seed=seed)
        assert split.part[:6].tolist() == [0, 0, 0, 0, 0, 2]


def test_lots_nearly_as_large_as_a_part_are_dealt_out_in_proportion() -> None:
    lot = [f"lot{k // 10}" for k in range(100)]
    split = make_split(WaferSet.from_maps([_map(k) for k in range(100)], label=np.arange(100) % 2, lot=lot))
    assert len(split.train) == 70
    assert sorted([len(split.validation), len(split.test)]) == [10, 20]


def test_one_lot_holding_most_wafers_is_warned_of() -> None:
    lot = ["big"] * 60 + [f"lot{k}" for k in range(40)]
    split = make_split(WaferSet.from_maps([_map(k) for k in range(100)], label=np.arange(100) % 2, lot=lot))
    assert any("holds 60 of 100 wafers" in warning for warning in split.stats["warnings"])


def test_fractions_are_kept_other_than_the_usual(wafers: WaferSet) -> None:
    split = make_split(wafers, method="random", fractions=(0.5, 0.2, 0.3))
    shares = np.array([len(split.train), len(split.validation), len(split.test)]) / len(wafers.labelled)
    np.testing.assert_allclose(shares, (0.5, 0.2, 0.3), atol=0.03)


@pytest.mark.parametrize("method", METHODS)
def test_the_same_seed_gives_the_same_split_and_another_seed_another(wafers: WaferSet, method: str) -> None:
    a, b, c = (make_split(wafers, method=method, seed=seed) for seed in (4, 4, 5))  # type: ignore[arg-type]
    np.testing.assert_array_equal(a.part, b.part)
    np.testing.assert_array_equal(a.group, b.group)
    assert a.stats == b.stats
    assert (a.part != c.part).any()


# === The file ===


def test_a_saved_split_loads_as_it_was_and_saves_the_same_bytes(wafers: WaferSet, tmp_path: Path) -> None:
    split = make_split(wafers)
    split.save(tmp_path / "a.npz")
    loaded = Split.load(tmp_path / "a.npz", wafers)
    np.testing.assert_array_equal(loaded.part, split.part)
    np.testing.assert_array_equal(loaded.group, split.group)
    for name in ("method", "seed", "fractions", "wafers_sha256", "stats"):
        assert getattr(loaded, name) == getattr(split, name)
    loaded.save(tmp_path / "b.npz")
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.npz", "b.npz"]


def test_a_split_is_not_overwritten_unasked(wafers: WaferSet, tmp_path: Path) -> None:
    split = make_split(wafers)
    split.save(tmp_path / "a.npz")
    with pytest.raises(UsageError, match="exists"):
        split.save(tmp_path / "a.npz")
    split.save(tmp_path / "a.npz", overwrite=True)


def test_a_split_is_refused_for_another_set_of_wafers(wafers: WaferSet, tmp_path: Path) -> None:
    make_split(wafers).save(tmp_path / "a.npz")
    flat = wafers.flat.copy()
    flat[7] = 3 - flat[7]
    others = {
        "a die": (flat, wafers.lot, wafers.label),
        "a lot": (wafers.flat, np.where(np.arange(len(wafers)) == 9, "other", wafers.lot), wafers.label),
        "a label": (wafers.flat, wafers.lot, np.roll(wafers.label, 1)),
    }
    for flat, lot, label in others.values():
        columns = (wafers.offsets, wafers.shapes, lot, wafers.wafer_index, label, wafers.official_split)
        with pytest.raises(ModelError, match="another set of wafers"):
            Split.load(tmp_path / "a.npz", WaferSet(flat, *columns))
    with pytest.raises(ModelError, match="another set of wafers"):
        Split.load(tmp_path / "a.npz", wafers.select(np.arange(50)))


def test_the_hash_does_not_depend_on_how_wide_the_lot_strings_are_kept(wafers: WaferSet, tmp_path: Path) -> None:
    make_split(wafers).save(tmp_path / "a.npz")
    columns = (wafers.flat, wafers.offsets, wafers.shapes.astype(np.int64), wafers.lot.astype("<U40"))
    Split.load(
        tmp_path / "a.npz", WaferSet(*columns, wafers.wafer_index, wafers.label.astype(np.int64), wafers.official_split)
    )


def test_a_damaged_or_missing_split_file_is_one_clear_error(wafers: WaferSet, tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    make_split(wafers).save(path)
    whole = path.read_bytes()
    for damaged in (b"", b"not a split", whole[: len(whole) // 2], whole[:100] + bytes(50) + whole[150:]):
        path.write_bytes(damaged)
        with pytest.raises(ModelError, match=r"a\.npz: not a whole split file"):
            Split.load(path, wafers)
    np.savez(path, part=np.zeros(3))
    with pytest.raises(ModelError, match="not a whole split file"):
        Split.load(path, wafers)
    with path.open("wb") as file:
        np.save(file, np.zeros(3))
    with pytest.raises(ModelError, match="not a whole split file"):
        Split.load(path, wafers)
    with pytest.raises(ModelError, match="no such file"):
        Split.load(tmp_path / "none.npz", wafers)


def test_a_changed_byte_is_found_or_changes_nothing(wafers: WaferSet, tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    split = make_split(wafers)
    split.save(path)
    whole = path.read_bytes()
    found = 0
    for at in range(0, len(whole), max(1, len(whole) // 300)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x55]) + whole[at + 1 :])
        try:
            loaded = Split.load(path, wafers)
        except ModelError:
            found += 1
        else:
            assert np.array_equal(loaded.part, split.part) and np.array_equal(loaded.group, split.group)
            assert loaded.stats == split.stats
    assert found > 200


def test_a_group_in_two_parts_is_refused_on_load(wafers: WaferSet, tmp_path: Path) -> None:
    split = make_split(wafers)
    largest = np.flatnonzero(split.group == np.argmax(np.bincount(split.group[split.part >= 0])))
    part = split.part.copy()
    part[largest[0]] = (part[largest[0]] + 1) % 3
    tampered = Split(part, split.group, split.method, split.seed, split.fractions, split.wafers_sha256, split.stats)
    with pytest.raises(ModelError, match=f"wafers .*{largest[0]}.* of group"):
        check_disjoint(tampered)
    tampered.save(tmp_path / "a.npz")
    with pytest.raises(ModelError, match="expected every group in one part"):
        Split.load(tmp_path / "a.npz", wafers)


# === What cannot be split ===


def test_wafers_that_cannot_be_split_are_one_clear_error() -> None:
    maps = [_map(k) for k in range(6)]
    with pytest.raises(InputError, match="none of its 6 maps has a label"):
        make_split(WaferSet.from_maps(maps, label=[-1] * 6))
    with pytest.raises(InputError, match="all 4 labelled maps are Donut"):
        make_split(WaferSet.from_maps(maps, label=[1, 1, 1, 1, -1, -1]))
    plain = WaferSet.from_maps(maps, label=[0, 1] * 3)
    with pytest.raises(InputError, match=r"0 labelled maps .* --split group"):
        make_split(plain, method="official")
    lot, official = ["a", "a", "b", "c", "d", "e"], ["Training", "Test"] * 3
    crossing = WaferSet.from_maps(maps, label=[0, 1] * 3, lot=lot, official_split=official)
    with pytest.raises(InputError, match="lot a is on both official sides"):
        make_split(crossing, method="official")
    with pytest.raises(UsageError, match="expected one of group, official, random"):
        make_split(plain, method="lots")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "fractions", [(0.7, 0.3), (0.7, 0.3, 0.0), (0.7, 0.2, 0.2), (1.2, -0.1, -0.1), (float("nan"),) * 3]
)
def test_fractions_that_are_no_division_are_refused(wafers: WaferSet, fractions: tuple[float, float, float]) -> None:
    with pytest.raises(UsageError, match="each above 0, together 1"):
        make_split(wafers, fractions=fractions)


def test_two_labelled_wafers_can_be_split() -> None:
    split = make_split(WaferSet.from_maps([_map(0), _map(1)], label=[0, 1]))
    assert split.train.tolist() == [0, 1]
    assert len(split.stats["warnings"]) == 3


def test_lots_that_are_not_known_are_no_lot_on_both_official_sides() -> None:
    maps = [_map(k) for k in range(8)]
    wafers = WaferSet.from_maps(
        maps, label=[0, 1] * 4, lot=["", "", "a", "b"] * 2, official_split=["Training"] * 2 + ["Test"] * 2 + [""] * 4
    )
    split = make_split(wafers, method="official")
    assert split.test.tolist() == [2, 3]
    assert split.part[4:].tolist() == [-1] * 4
    both = WaferSet.from_maps(maps, label=[0, 1] * 4, lot=[""] * 8, official_split=["Training"] * 4 + ["Test"] * 4)
    assert make_split(both, method="official").test.tolist() == [4, 5, 6, 7]


@pytest.mark.parametrize("side", ["Training", "Test"])
def test_an_official_split_of_one_side_is_refused(side: str) -> None:
    wafers = WaferSet.from_maps([_map(k) for k in range(4)], label=[0, 1] * 2, official_split=[side] * 4)
    with pytest.raises(InputError, match="the official split needs both"):
        make_split(wafers, method="official")


def test_a_split_has_the_same_bytes_in_whatever_order_its_findings_were_made(wafers: WaferSet, tmp_path: Path) -> None:
    split = make_split(wafers)
    other = dataclasses.replace(split, stats=dict(reversed(split.stats.items())))
    split.save(tmp_path / "a.npz")
    other.save(tmp_path / "b.npz")
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_a_split_of_other_classes_is_refused(wafers: WaferSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    split = make_split(wafers)
    monkeypatch.setattr("wafer_tf.splitting.splits.CLASSES", CLASSES[::-1])
    split.save(tmp_path / "a.npz")
    monkeypatch.undo()
    with pytest.raises(ModelError, match=r"made for the classes none, Scratch, .* expected Center, Donut"):
        Split.load(tmp_path / "a.npz", wafers)


def test_what_a_split_found_is_counted_to_the_wafer() -> None:
    """Ten pairs of copies of other lots, a class of one wafer, a lot of 30 and two equal blank maps of one lot."""
    maps = [_map(k) for k in range(98)]
    for k in range(10):
        maps[40 + k] = np.ascontiguousarray(maps[k][::-1])
    maps += [np.ones((16, 18), np.uint8)] * 2
    lot = [f"lot{k}" for k in range(40)] + [f"copy{k}" for k in range(10)] + ["big"] * 30 + ["x", "y"] * 9 + ["z"] * 2
    label = np.arange(100) % 3
    label[99] = 5
    stats = make_split(WaferSet.from_maps(maps, label=label, lot=lot), seed=1).stats
    assert stats["wafers"] == 100
    assert stats["lots"] == 40 + 10 + 1 + 2 + 1
    assert stats["n_groups"] == stats["lots"] - 10
    assert stats["largest_group"] == 30
    assert stats["max_distance"] == 0.2
    assert stats["near_copy_pairs"] == stats["near_copy_pairs_across_lots"] == 10
    assert stats["near_copy_pairs_across_parts"] == stats["bare_copies_left_apart"] == stats["leaked"]["this"] == 0
    counts = stats["class_counts"]
    assert list(counts) == ["train", "validation", "test"]
    assert list(counts["train"]) == list(CLASSES)
    assert [sum(counts[part]["Near-full"] for part in counts)] == [1]
    assert sum(sum(part.values()) for part in counts.values()) == 100
    assert stats["warnings"] == [
        "class Near-full: 1 wafer in 1 group, none in validation and test; its score there is undefined.",
        "the largest group holds 30 of 100 wafers and stays on one side: its lots are joined by near-copies, or many "
        "wafers share one lot.",
    ]


@pytest.mark.parametrize(("size", "warned"), [(10, False), (11, True)])
def test_a_group_of_more_than_a_tenth_is_warned_of(size: int, warned: bool) -> None:
    lot = ["big"] * size + [f"lot{k}" for k in range(100 - size)]
    stats = make_split(WaferSet.from_maps([_map(k) for k in range(100)], label=np.arange(100) % 2, lot=lot)).stats
    assert any("largest group" in warning for warning in stats["warnings"]) is warned


def test_the_content_hash_is_the_same_in_every_version_of_the_program() -> None:
    """Runs keep it, and refuse another set of wafers by it."""
    grids = [np.array([[1, 2], [0, 1]], np.uint8), np.array([[2, 2, 1]], np.uint8)]
    wafers = WaferSet.from_maps(grids, label=[3, -1], lot=["a", "lot b"])
    told = b"2 wafers\n" + bytes([1, 2, 0, 1, 2, 2, 1]) + np.array([2, 2, 1, 3], "<i4").tobytes() + bytes([3, 255])
    assert content_hash(wafers) == hashlib.sha256(told + b"a\0lot b").hexdigest()


def test_a_split_that_is_no_division_of_its_wafers_is_refused(wafers: WaferSet) -> None:
    split = make_split(wafers)
    used = int(np.flatnonzero(split.part == 0)[0])
    for name, value in (("part", 3), ("part", -2), ("group", -1)):
        column = getattr(split, name).copy()
        column[used] = value
        with pytest.raises(ModelError, match="in a part other than 0 to 2 or without a group"):
            check_disjoint(dataclasses.replace(split, **{name: column}))
    with pytest.raises(ModelError, match="without a group"):
        check_disjoint(dataclasses.replace(split, group=np.append(split.group, 0)))
    check_disjoint(split)


# === Folds ===


def test_folds_share_no_lot_and_no_near_copy_and_hold_every_class_alike(wafers: WaferSet) -> None:
    split = make_folds(wafers, 4, seed=3)
    assert split.folds == 4
    for part in (split.train, split.validation, split.test):
        np.testing.assert_array_equal(part, wafers.labelled)
    assert (split.part[wafers.label < 0] == -1).all()
    used = wafers.labelled
    for lot in np.unique(wafers.lot[used]):
        assert len(np.unique(split.part[used][wafers.lot[used] == lot])) == 1
    pairs = find_near_copies(wafers, used)
    np.testing.assert_array_equal(split.part[pairs.first], split.part[pairs.second])
    counts = [np.bincount(wafers.label[split.part == fold], minlength=9) for fold in range(4)]
    assert np.ptp(counts, axis=0).max() <= 7  # groups are of up to a dozen wafers
    assert [list(split.stats["class_counts"][f"fold {fold + 1}"].values()) for fold in range(4)] == [
        count.tolist() for count in counts
    ]


def test_folds_of_one_seed_are_the_same_and_come_back_from_the_file(wafers: WaferSet, tmp_path: Path) -> None:
    a, b, c = (make_folds(wafers, 5, seed=seed) for seed in (4, 4, 5))
    np.testing.assert_array_equal(a.part, b.part)
    assert (a.part != c.part).any()
    a.save(tmp_path / "a.npz")
    loaded = Split.load(tmp_path / "a.npz", wafers)
    np.testing.assert_array_equal(loaded.part, a.part)
    assert (loaded.folds, loaded.stats) == (5, a.stats)


def test_fewer_groups_than_folds_are_refused() -> None:
    lot = ["a", "b", "c"] * 10
    three = WaferSet.from_maps([_map(k) for k in range(30)], label=np.arange(30) % 2, lot=lot)
    assert make_folds(three, 3).folds == 3
    with pytest.raises(InputError, match=r"3 groups .* expected at least 4, one a fold"):
        make_folds(three, 4)
