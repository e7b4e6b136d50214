"""Parquet files that become much more than they are: refused within the memory that a file of their size may take."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.wafer_tf.readers.amplified import MB, Found, a_set, constant, found, within
from wafer_tf.budget import Budget
from wafer_tf.errors import InputError
from wafer_tf.readers import open_source, read
from wafer_tf.readers.parquet import write_parquet
from wafer_tf.readers.parquet_pages import check_footer, check_pages
from wafer_tf.waferset import WaferSet

pytestmark = pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="peak memory is read from /proc")


def of_dies(rows: int, **columns: Any) -> bytes:
    """Return a table of dies, one a row."""
    numbers = np.arange(rows, dtype=np.int32)
    out = io.BytesIO()
    plain = {"x": pa.array(numbers % 1000), "y": pa.array(numbers // 1000), "bin": constant(1, rows, pa.int32())}
    pq.write_table(pa.table(plain | columns), out, compression="zstd")
    return out.getvalue()


class Attack(NamedTuple):
    """A file, and what the refusal must contain."""

    write: Callable[[], bytes]
    says: str


ATTACKS = {
    "2 million rows in a few kB": Attack(lambda: a_set(2_000_000), "what is kept of its 2000000 rows takes over"),
    "one map of 4 million dies, 200 times": Attack(
        lambda: a_set(200, side=2000, row_group_size=200), "unpacks to over 268435456 bytes"
    ),
    "maps of 100 kB where the columns say 3 x 3": Attack(
        lambda: a_set(8000, dies=constant(b"\1" * 100_000, 8000, pa.binary())),
        "row 0: 100000 bytes of dies for 3 rows x 3 columns",
    ),
    "a page of 200 MB": Attack(
        lambda: a_set(1, dies=pa.array([bytes(200 * MB)], pa.binary()), use_dictionary=False),
        "a page of column dies takes over",
    ),
    "dies by differences": Attack(
        lambda: a_set(
            8000,
            dies=constant(b"\1" * 100_000, 8000, pa.binary()),
            use_dictionary=False,
            column_encoding={"dies": "DELTA_BYTE_ARRAY"},
        ),
        "column dies, row group 0: encoded by DELTA_BYTE_ARRAY",
    ),
    "lots by differences": Attack(
        lambda: a_set(100, use_dictionary=False, column_encoding={"lot": "DELTA_BYTE_ARRAY"}),
        "column lot, row group 0: encoded by DELTA_BYTE_ARRAY",
    ),
    "lengths by differences": Attack(
        lambda: a_set(100, use_dictionary=False, column_encoding={"dies": "DELTA_LENGTH_BYTE_ARRAY"}),
        "column dies, row group 0: encoded by DELTA_LENGTH_BYTE_ARRAY",
    ),
    "a long lot, 400,000 times": Attack(lambda: a_set(400_000, lot="x" * 256), "column lot takes over"),
    "a table of dies with a long bin": Attack(
        lambda: of_dies(10_000, bin=constant("x" * 50_000, 10_000, pa.string())),
        "column bin holds a text of 50000 characters",
    ),
    "a table of one wafer of 3 million dies": Attack(
        lambda: of_dies(3_000_000), "the largest of its wafers takes over"
    ),
}


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Found, int]]:
    folder = tmp_path_factory.mktemp("attacks")
    paths = [folder / f"{place}.parquet" for place in range(len(ATTACKS))]
    for path, attack in zip(paths, ATTACKS.values(), strict=True):
        path.write_bytes(attack.write())
    return {key: (one, path.stat().st_size) for key, one, path in zip(ATTACKS, found(paths), paths, strict=True)}


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_parquet_file_made_to_exhaust_memory_is_refused_within_its_budget(
    attack: str, results: dict[str, tuple[Found, int]]
) -> None:
    one, size = results[attack]
    assert one.wafers == 0
    assert ATTACKS[attack].says in one.said
    assert within(one, size), f"{one.peak / MB:.0f} MB for {size / MB:.1f}"


# === What is read as before ===


def wafers(count: int, side: int) -> WaferSet:
    rng = np.random.default_rng(0)
    return WaferSet.from_maps([rng.integers(1, 3, (side, side), np.uint8) for _ in range(count)], label=[8] * count)


@pytest.mark.parametrize("dictionary", [True, False])
@pytest.mark.parametrize("version", ["1.0", "2.0"])
def test_a_set_that_another_program_wrote_again_is_the_same(dictionary: bool, version: str, tmp_path: Path) -> None:
    once = wafers(30, 9)
    twice = WaferSet.from_maps([once.map(i % 30) for i in range(60)], label=[8] * 60)
    write_parquet(twice, tmp_path / "set.parquet")
    table, again = pq.read_table(tmp_path / "set.parquet"), tmp_path / "again.parquet"
    pq.write_table(table, again, use_dictionary=dictionary, data_page_version=version, row_group_size=23)
    np.testing.assert_array_equal(read(again).flat, twice.flat)
    np.testing.assert_array_equal(read(again).label, twice.label)


def test_a_row_group_larger_than_a_batch_is_read_in_several(tmp_path: Path) -> None:
    large = wafers(40, 1000)
    dies = pa.array([large.map(i).tobytes() for i in range(40)], pa.binary())
    (tmp_path / "set.parquet").write_bytes(a_set(40, dies=dies, side=1000, row_group_size=40, use_dictionary=False))
    with open_source(tmp_path / "set.parquet") as source:
        batches = list(source.batches())
    assert [len(batch) for batch in batches] == [33, 7]
    np.testing.assert_array_equal(np.concatenate([batch.flat for batch in batches]), large.flat)


# === Pages ===


def plain_set(path: Path) -> tuple[bytes, int]:
    """Write a set that is not packed; return it and where the first page of its dies begins."""
    write_parquet(wafers(30, 9), path)
    table = pq.read_table(path)
    pq.write_table(table, path, compression="none", use_dictionary=False, write_statistics=False)
    return path.read_bytes(), pq.read_metadata(path).row_group(0).column(0).data_page_offset


@pytest.mark.parametrize("dictionary", [True, False])
def test_the_headers_of_pages_say_what_arrow_wrote(dictionary: bool, tmp_path: Path) -> None:
    columns = {"n": pa.array(np.arange(5000) % 7), "text": pa.array([f"lot {k % 40}" for k in range(5000)])}
    table, path = pa.table(columns | {"none": pa.nulls(5000, pa.string())}), tmp_path / "table.parquet"
    pq.write_table(table, path, row_group_size=2000, use_dictionary=dictionary, data_page_size=512)
    metadata = pq.read_metadata(path)
    pages = check_pages(path, metadata, table.column_names, Budget.of_set(path))
    assert pages["text"][0].encodings == {8 if dictionary else 0}
    for place, name in enumerate(table.column_names):
        claimed = [metadata.row_group(group).column(place).total_uncompressed_size for group in range(3)]
        room = 16 * 40 if dictionary else 0  # of the entries of a dictionary; headers are claimed too
        assert all(0 < chunk.size <= most + room for chunk, most in zip(pages[name], claimed, strict=True))


def test_a_page_that_claims_more_than_the_file_says_is_refused_unread(tmp_path: Path) -> None:
    data, place = plain_set(tmp_path / "set.parquet")
    size = 2 * 30 * (81 + 4)
    number = bytes([size & 127 | 128, size >> 7])  # zigzag, and seven bits to a byte
    assert data[place : place + 8] == b"\x15\0\x15" + number + b"\x15" + number
    forged = data[: place + 3] + b"\xff\xff\xff\xff\x07" + data[place + 5 :]  # 1 GiB; all behind it is moved by 3
    metadata = pq.read_metadata(tmp_path / "set.parquet")
    file = io.BytesIO(forged)
    with pytest.raises(InputError, match=r"no header of a page at byte|a page at byte"):
        check_pages(file, metadata, ["dies"], Budget.of_set(file))


def test_pages_changed_anywhere_are_read_or_refused(tmp_path: Path) -> None:
    data, place = plain_set(tmp_path / "set.parquet")
    metadata = pq.read_metadata(tmp_path / "set.parquet")
    rng = np.random.default_rng(1)
    refused = 0
    for _ in range(400):
        forged = bytearray(data)
        forged[place + int(rng.integers(24))] = int(rng.integers(256))
        file = io.BytesIO(forged)
        try:
            check_pages(file, metadata, ["dies"], Budget.of_set(file))
        except InputError:
            refused += 1
    assert 100 < refused < 400


def test_a_footer_that_is_most_of_a_large_file_is_refused_unread() -> None:
    file = io.BytesIO(b"PAR1" + bytes(3 * MB) + (3 * MB - 100).to_bytes(4, "little") + b"PAR1")
    with pytest.raises(InputError, match="its footer claims 3145628 bytes; expected at most 2097152"):
        check_footer(file)


def test_statistics_that_arrow_would_end_the_process_at_are_read_or_refused(tmp_path: Path) -> None:
    write_parquet(wafers(3, 9), tmp_path / "set.parquet")
    data = (tmp_path / "set.parquet").read_bytes()
    footer = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
    paths = [tmp_path / f"{number}.parquet" for number in range(300)]
    rng = np.random.default_rng(5)
    for path in paths:
        forged = bytearray(data)
        forged[int(rng.integers(footer, len(data) - 8))] ^= 1 << int(rng.integers(8))
        path.write_bytes(forged)
    results = found(paths)  # in a child, whose end would fail this
    assert len(results) == len(paths)
    assert any(one.said for one in results) and any(one.wafers == 3 for one in results)
