"""Cut a stream of wafer maps into pieces of one map each, as soon as each is whole. Needs numpy alone.

A stream is npy arrays one after another, or text grids parted by blank lines, or one file of any other format.
"""

import io
from collections.abc import Iterator

from edge.station.inputs import MAX_BYTES
from wafer_tf.errors import InputError
from wafer_tf.formats.grids import MAX_BYTES as MAX_GRID_BYTES
from wafer_tf.formats.grids import MAX_HEADER, NPY_MAGIC, npy_header, npy_header_size

_CHUNK = 1 << 16
_FILE_STARTS = tuple(bytes([start]) for start in b"<#%{\x1f\x89\x8b\xd0\xfd\xff")
"""What a file may begin with that no grid does; most others begin with a letter."""
_PACKED = (b"PK", b"\x1f\x8b", b"BZh", b"\xfd7zXZ")
"""What may hold a npy array, or by chance its first bytes, in its middle."""
_STDF = b"\0\n"


def split(stream: io.BufferedReader) -> Iterator[bytes]:
    """Give the bytes of one map after another; what is no map is given as it is, cut where the next may begin.

    Never waits for more than the map in hand needs. A npy array whose header is none or too large is given up to
    there, and the next one is looked for; one that breaks off ends where the next begins, which cannot be inside a
    map, since no die state of any number type contains the byte a npy array begins with.
    """
    start = stream.peek(1)[:1]
    if start == NPY_MAGIC[:1]:
        yield from _arrays(stream)
    elif stream.peek(4).startswith(_PACKED) or stream.peek(4)[2:4] == _STDF:  # a file, which cannot be cut
        yield stream.read(MAX_BYTES + 1)
    elif start.isalpha() or start in _FILE_STARTS:  # a file, or the middle of an array
        ahead = _Ahead(stream, b"")
        yield ahead.take_to(NPY_MAGIC, keep=MAX_BYTES + 1)
        yield from _arrays(stream, bytes(ahead.data))
    elif start:
        yield from _texts(stream)


def _arrays(stream: io.BufferedReader, begun: bytes = b"") -> Iterator[bytes]:
    ahead = _Ahead(stream, begun)
    while ahead.fill(1):
        if not (ahead.fill(len(NPY_MAGIC)) and ahead.data.startswith(NPY_MAGIC)):
            yield ahead.take_to(NPY_MAGIC)
            continue
        ahead.fill(12)
        start = min(npy_header_size(bytes(ahead.data[:12])), MAX_HEADER + 1)  # one byte too many is refused
        ahead.fill(start)
        try:
            whole = npy_header(bytes(ahead.data[:start]), "").size
        except InputError:
            yield ahead.take(_next_array(ahead, len(NPY_MAGIC), start))
            ahead.take_to(NPY_MAGIC, keep=0)
            continue
        ahead.fill(whole)
        yield ahead.take(_next_array(ahead, start, whole))


def _next_array(ahead: "_Ahead", start: int, end: int) -> int:
    """Return where the next array begins between `start` and `end`, or `end` where none does."""
    at = ahead.data.find(NPY_MAGIC[:1], start, end)
    while at >= 0:
        if NPY_MAGIC.startswith(ahead.data[at : at + len(NPY_MAGIC)]):
            ahead.fill(at + len(NPY_MAGIC))
            if ahead.data.startswith(NPY_MAGIC, at):
                return at
        at = ahead.data.find(NPY_MAGIC[:1], at + 1, end)
    return end


def _texts(stream: io.BufferedReader) -> Iterator[bytes]:
    lines: list[bytes] = []
    size = 0
    while line := stream.readline(MAX_GRID_BYTES + 1):
        before, magic, after = line.partition(NPY_MAGIC)
        if magic:  # the stream was opened within an array
            if lines or before.strip():
                yield b"".join([*lines, before])
            yield from _arrays(stream, magic + after)
            return
        if line.strip():
            if size <= MAX_GRID_BYTES:  # one line too many is enough to be refused
                lines.append(line)
                size += len(line)
        elif lines:
            yield b"".join(lines)
            lines, size = [], 0
    if lines:
        yield b"".join(lines)


class _Ahead:
    """Bytes read from a stream and not yet used."""

    def __init__(self, stream: io.BufferedReader, begun: bytes) -> None:
        self._stream = stream
        self.data = bytearray(begun)

    def fill(self, size: int) -> bool:
        """Read until `size` bytes are at hand; say whether they are."""
        while len(self.data) < size:
            chunk = self._stream.read1(_CHUNK)
            if not chunk:
                return False
            self.data += chunk
        return True

    def take(self, size: int) -> bytes:
        """Return and use up the next `size` bytes."""
        taken = bytes(self.data[:size])
        del self.data[:size]
        return taken

    def take_to(self, mark: bytes, *, keep: int = MAX_GRID_BYTES) -> bytes:
        """Use up what comes before the next `mark`, or before the end, and return its first `keep` bytes."""
        kept = bytearray()
        while (place := self.data.find(mark)) < 0:
            kept += self.take(max(len(self.data) - len(mark) + 1, 0))[: keep - len(kept)]
            if not self.fill(len(self.data) + 1):
                place = len(self.data)
                break
        kept += self.take(place)[: keep - len(kept)]
        return bytes(kept)
