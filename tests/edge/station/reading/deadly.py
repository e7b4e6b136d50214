"""A reader that does what a file says: "kill" it, "exit", take "memory", "spin", or fail by a "fault" of its own."""

import os
import signal
from collections.abc import Iterator
from typing import Any, BinaryIO

from edge.station.inputs import Found, find_maps
from edge.station.reading import child
from wafer_tf.errors import InputError

START = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from tests.edge.station.reading import deadly; deadly.main()"
)


WORDS = (b"kill", b"exit", b"memory", b"spin", b"fault")


def _find(file: bytes | BinaryIO, name: str, options: Any) -> Iterator[Found]:
    data = file if isinstance(file, bytes) else file.read()
    first, mark, word = data.rpartition(b"!")
    if not mark or word not in WORDS:
        first, word = data, b""
    if first:
        yield from find_maps(first, name, options)
    if word == b"kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if word == b"exit":
        os._exit(3)
    if word == b"memory":
        try:
            bytearray(child.MEMORY + 2**26)
        except MemoryError:
            yield Found(name, 1, None, None, None, InputError("refused"))
    while word == b"spin":
        pass
    if word == b"fault":
        raise RuntimeError("no such thing")


def main() -> None:
    """Serve as the station's own reader does."""
    child.find_maps = _find  # type: ignore[assignment]
    child.SECONDS = 1  # and not less, or a file that is well takes too long on a busy machine
    child.main()
