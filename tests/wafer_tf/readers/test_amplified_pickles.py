"""Pickles that become much more than they are: refused within the memory that a file of their size may take."""

import gc
import mmap
import tempfile
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.wafer_tf.readers.amplified import MB, Found, found, within
from tests.wafer_tf.readers.pickles import array, cells, name, raw, table, text
from wafer_tf.budget import Budget
from wafer_tf.readers import fastarrays, pickled
from wafer_tf.readers.mapped import Mapped

pytestmark = pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="peak memory is read from /proc")
MACHINE = 2**16
"""Bytes that the reader itself takes."""
GRID = array((3, 3), "u1", raw(b"\1" * 9))
PUT, GET = b"r\x01\0\1\0", b"j\x01\0\1\0"


class Attack(NamedTuple):
    """A file, and what the refusal must contain."""

    write: Callable[[], bytes]
    says: str


def listed(piece: bytes, count: int) -> bytes:
    """Return a list of an object again and again."""
    return b"]" + (b"(" + piece * 1000 + b"e") * (count // 1000)


def rows(count: int, **changes: bytes) -> bytes:
    """Return a table whose rows are references to one map, one lot and one label."""
    columns = {"waferMap": GRID, "lotName": text("a"), "waferIndex": b"K\1", "failureType": text("none"), **changes}
    blocks = {
        key: cells(cell + PUT, *[GET] * (count - 1)) if len(cell) < 10 * count else cell
        for key, cell in columns.items()
    }
    return table(blocks)


def encoded() -> bytes:
    """Return 20,000 times the bytes of one text of 100,000 characters."""
    calls = (b"(" + b"h\1h\2h\3\x86R" * 1000 + b"e") * 20
    return (
        b"\x80\x02]("
        + name("_codecs", "encode")
        + b"q\1"
        + text("x" * 100_000)
        + b"q\2"
        + text("latin1")
        + b"q\3e"
        + calls
    )


def shared_lists() -> bytes:
    """Return 1,000 maps of 2,000 times one list of 2,000 dies."""
    row = b"](" + b"K\1" * 1000 + b"e(" + b"K\1" * 1000 + b"e" + b"q\xfe"
    grid = b"](" + row + b"h\xfe" * 999 + b"e(" + b"h\xfe" * 1000 + b"e"
    return rows(1000, waferMap=cells(grid + PUT, *[GET] * 999))


ATTACKS = {
    "30 MB of lists": Attack(lambda: b"\x80\x02" + b"]" * 30 * MB, "more than 1048576 objects waiting"),
    "lists in lists": Attack(lambda: b"\x80\x02" + listed(b"]", 8 * MB) + b".", "what its opcodes make takes over"),
    "30 MB of MEMOIZE": Attack(lambda: b"\x80\x04N" + b"\x94" * 30 * MB, "what its opcodes make takes over 268435456"),
    "tuples in tuples": Attack(lambda: b"\x80\x02)" + b"\x85" * 8 * MB + b".", "what its opcodes make"),
    "a row of 15 million dies": Attack(lambda: b"\x80\x02](" + b"K\0" * 15 * MB, "more than 1048576 objects waiting"),
    "a shape of 200,000 sides": Attack(
        lambda: b"\x80\x02" + array((), "u1", raw(b"")).replace(b"(K\1(t", b"(K\1(" + b"K\xff" * 200_000 + b"t"),
        "an array of 200000 sides",
    ),
    "one text encoded 20,000 times": Attack(encoded, "what its opcodes make takes over"),
    "a text of 60 MB with one character beyond": Attack(
        lambda: b"\x80\x02" + text("x" * 60 * MB + "\U0001f600") + b".", "what its opcodes make takes over"
    ),
    "1,000 rows of one map of 4 million dies": Attack(
        lambda: rows(1000, waferMap=cells(array((2000, 2000), "u1", raw(b"\1" * 4_000_000)) + PUT, *[GET] * 999)),
        "maps of 4000000000 dies in a file of",
    ),
    "1,000 rows of one map of lists": Attack(shared_lists, "maps made of lists takes over"),
    "400,000 rows of one long lot": Attack(lambda: rows(400_000, lotName=text("x" * 256)), "column lotName takes over"),
}


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Found, int]]:
    folder = tmp_path_factory.mktemp("attacks")
    paths = [folder / f"{place}.pkl" for place in range(len(ATTACKS))]
    for path, attack in zip(paths, ATTACKS.values(), strict=True):
        path.write_bytes(attack.write())
    return {key: (one, path.stat().st_size) for key, one, path in zip(ATTACKS, found(paths), paths, strict=True)}


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_pickle_made_to_exhaust_memory_is_refused_within_its_budget(
    attack: str, results: dict[str, tuple[Found, int]]
) -> None:
    one, size = results[attack]
    assert one.wafers == 0
    assert ATTACKS[attack].says in one.said
    assert within(one, size), f"{one.peak / MB:.0f} MB for {size / MB:.1f}"


MADE = {
    "None": b"Na",
    "small numbers": b"K\1a",
    "numbers": b"J\xff\xff\xff\x7fa",
    "long numbers": b"\x8a\x20" + b"\x7f" * 32 + b"a",
    "floats": b"G" + b"\x3f\xf3" * 4 + b"a",
    "bytes": b"C\x02xxa",
    "many bytes": b"C\xff" + b"x" * 255 + b"a",
    "bytes in the file": b"B\x02\0\0\0xxa",
    "text": b"\x8c\x02xxa",
    "text with one wide character": b"\x8c\xff" + b"x" * 251 + "\U0001f600".encode() + b"a",
    "empty lists": b"]a",
    "lists": b"]Naa",
    "rows of dies": b"](" + b"K\0" * 2048 + b"ea",
    "short rows of dies": b"](K\0K\0K\0K\0ea",
    "tuples": b")\x85a",
    "tuples of three": b"NNN\x87a",
    "tuples of four": b"(NNNNta",
    "empty dicts": b"}a",
    "dicts": b"}K\0Nsa",
    "dicts of a thousand": b"}(" + b"".join(b"J" + k.to_bytes(4, "little") + b"N" for k in range(300, 1300)) + b"ua",
    "sets": b"\x8fa",
    "frozen sets": b"(NN\x91a",
    "memo": b"N\x94\x94\x94\x94a",
    "names": b"cnumpy\nndarray\na",
    "names of the stack": b"\x8c\x05numpy\x8c\x07ndarray\x93a",
    "objects": b"cnumpy\nndarray\n)\x81}ba",
    "dtypes": b"cnumpy\ndtype\n\x8c\x02u1\x85Ra",
    "arrays": GRID + b"a",
    "encoded": b"c_codecs\nencode\nX\x02\0\0\0xx\x85Ra",
}


@pytest.mark.parametrize("made", MADE)
def test_nothing_that_an_opcode_makes_takes_more_memory_than_is_counted(made: str) -> None:
    with tempfile.TemporaryFile() as file:
        file.write(b"\x80\x04]" + MADE[made] * max(40, 100_000 // len(MADE[made])) + b".")
        file.flush()
        data = Mapped(file.fileno(), 0, access=mmap.ACCESS_READ)
    data.budget = Budget("table.pkl", 2**31)
    before = data.budget.memory
    gc.disable()
    tracemalloc.start()
    try:
        root = pickled.load(data, fast=False)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
        gc.enable()
    assert len(root) >= 40
    assert peak - MACHINE < before - data.budget.memory


def test_patterns_for_arrays_are_made_for_a_few_references_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled: list[bytes] = []
    compile_it = fastarrays.re.compile
    monkeypatch.setattr(fastarrays.re, "compile", lambda text, flags: compiled.append(text) or compile_it(text, flags))
    maker = name("numpy.core.multiarray", "_reconstruct")
    puts = b"".join(b"r" + k.to_bytes(4, "little") for k in range(1000, 2000))
    gets = b"".join(GET + b"j" + k.to_bytes(4, "little") for k in range(1000, 2000))
    (tmp_path / "table.pkl").write_bytes(b"\x80\x02](" + maker + puts + GRID + PUT + gets + b"e.")
    with (tmp_path / "table.pkl").open("rb") as file:
        data = Mapped(file.fileno(), 0, access=mmap.ACCESS_READ)
    data.budget = Budget("table.pkl", len(data))
    assert len(pickled.load(data)) == 2 + 2000
    assert len(compiled) == 2 * fastarrays._MAX_PATTERNS
