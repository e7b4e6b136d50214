import bz2
import gzip
import io
import lzma
from collections.abc import Callable

import pytest

from wafer_tf.errors import InputError
from wafer_tf.formats.packed import MAX_UNPACKED, unpacked

PACK: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.compress, "bzip2": bz2.compress, "xz": lzma.compress}
CONTENT = bytes(range(256)) * 1000


@pytest.mark.parametrize("kind", PACK)
def test_what_was_packed_is_read_again_and_again(kind: str) -> None:
    packed = PACK[kind](CONTENT[:100_000]) + PACK[kind](CONTENT[100_000:])  # two members, as split files are joined
    stream = unpacked(io.BytesIO(packed), packed, "f")
    assert stream.read(300) == CONTENT[:300]
    stream.seek(0)
    assert stream.read() == CONTENT
    stream.seek(77_777)
    assert stream.read(5) == CONTENT[77_777:77_782]


@pytest.mark.parametrize("kind", PACK)
def test_a_file_cut_off_or_damaged_is_refused(kind: str) -> None:
    packed = PACK[kind](CONTENT)
    for broken in (packed[: len(packed) // 2], packed[:20] + b"\0\1\2\3" + packed[24:]):
        with pytest.raises(InputError, match=f"its {kind} packing is damaged"):
            unpacked(io.BytesIO(broken), broken, "f").read()


def test_padding_after_a_member_is_no_damage() -> None:
    packed = lzma.compress(CONTENT) + bytes(1 << 17)
    assert unpacked(io.BytesIO(packed), packed, "f").read() == CONTENT


@pytest.mark.parametrize("kind", PACK)
def test_a_bomb_is_refused_before_it_is_in_memory(kind: str) -> None:
    piece = bytes(1 << 24)
    whole = PACK[kind](piece) * (MAX_UNPACKED // len(piece) + 2)
    stream = unpacked(io.BytesIO(whole), whole, "bomb")
    with pytest.raises(InputError, match="bomb: unpacks to over"):
        while stream.read(1 << 16):
            pass


def test_an_xz_file_that_asks_for_much_memory_is_refused() -> None:
    greedy = lzma.compress(CONTENT, filters=[{"id": lzma.FILTER_LZMA2, "dict_size": 1 << 29}])
    with pytest.raises(InputError, match=r"xz packing is damaged.*[Mm]emory"):
        unpacked(io.BytesIO(greedy), greedy, "f").read()
