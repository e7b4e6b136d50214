"""Archives that become much more than they are: refused within the memory that a file of their size may take."""

import io
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from tests.wafer_tf.readers.amplified import MB, Found, found, within
from wafer_tf.errors import InputError
from wafer_tf.readers import open_source

pytestmark = pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="peak memory is read from /proc")


def npz(**columns: Any) -> bytes:
    out = io.BytesIO()
    np.savez_compressed(out, **{name: np.asarray(values) for name, values in columns.items()})
    return out.getvalue()


def a_set(count: int, side: int, **columns: Any) -> bytes:
    """Return an npz of equal wafers, which deflate packs by a thousand."""
    plain = {
        "flat": np.ones(count * side * side, np.uint8),
        "offsets": np.arange(count + 1) * side * side,
        "shapes": np.full((count, 2), side, np.uint16),
        "lot": np.full(count, "a"),
        "wafer_index": np.zeros(count, np.uint8),
    }
    return npz(**(plain | columns))


def of_entries(count: int) -> bytes:
    """Return an archive whose directory has one empty file many times; nothing else is in it."""
    local = struct.pack("<4s5H3I2H", b"PK\3\4", 20, 0, 0, 0, 0, 0, 0, 0, 1, 0) + b"a"
    entry = struct.pack("<4s6H3I5H2I", b"PK\1\2", 20, 20, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0) + b"a"
    directory = entry * count
    end = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, count & 0xFFFF, count & 0xFFFF, len(directory), len(local), 0)
    return local + directory + end


class Attack(NamedTuple):
    """A file, and what the refusal must contain."""

    write: Callable[[], bytes]
    says: str


ATTACKS = {
    "300 MB of one die": Attack(lambda: a_set(75, 2000), "unpacks to over 268435456 bytes"),
    "2 million wafers": Attack(
        lambda: a_set(2_000_000, 3), "what is kept of its 2000000 wafers takes over|shapes takes over"
    ),
    "lots of 256 characters": Attack(lambda: a_set(100_000, 3, lot=np.full(100_000, "x" * 256)), "lot takes over"),
    "a stack of 240 MB": Attack(
        lambda: npz(maps=np.ones((60, 2000, 2000), np.uint8)), "maps, all its maps together takes over"
    ),
    "a stack of 400 MB": Attack(
        lambda: npz(arr_0=np.ones((12, 2000, 2000), np.float64)), "unpacks to over 268435456 bytes"
    ),
    "400,000 entries": Attack(lambda: of_entries(400_000), "an archive of over 1000 entries"),
}


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Found, int]]:
    folder = tmp_path_factory.mktemp("attacks")
    paths = [folder / f"{place}.npz" for place in range(len(ATTACKS))]
    for path, attack in zip(paths, ATTACKS.values(), strict=True):
        path.write_bytes(attack.write())
    return {key: (one, path.stat().st_size) for key, one, path in zip(ATTACKS, found(paths), paths, strict=True)}


@pytest.mark.parametrize("attack", ATTACKS)
def test_an_archive_made_to_exhaust_memory_is_refused_within_its_budget(
    attack: str, results: dict[str, tuple[Found, int]]
) -> None:
    one, size = results[attack]
    assert one.wafers == 0
    assert any(part in one.said for part in ATTACKS[attack].says.split("|")), one.said
    assert within(one, size), f"{one.peak / MB:.0f} MB for {size / MB:.1f}"


def test_the_maps_of_an_npz_are_unpacked_batch_by_batch(tmp_path: Path) -> None:
    (tmp_path / "set.npz").write_bytes(a_set(60, 2000))  # 240 MB of cells
    (one,) = found([tmp_path / "set.npz"])
    assert (one.wafers, one.said) == (60, "")
    assert one.peak < 160 * MB


def test_a_flipped_bit_in_the_maps_is_found_by_the_checksum_when_they_are_read(tmp_path: Path) -> None:
    out, cells = io.BytesIO(), 200 * 200
    np.savez(out, flat=np.ones(cells, np.uint8), offsets=[0, cells], shapes=[[200, 200]], lot=["a"], wafer_index=[0])
    data = out.getvalue()
    place = data.index(b"\1" * cells) + 30_000
    (tmp_path / "set.npz").write_bytes(data[:place] + b"\2" + data[place + 1 :])
    with open_source(tmp_path / "set.npz") as source, pytest.raises(InputError, match="damaged or truncated npz"):
        list(source.batches())
