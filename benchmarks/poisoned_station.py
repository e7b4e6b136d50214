"""The station, to which some files are deadly; `benchmarks.hot_folder_kills --poison` starts it.

    python -m benchmarks.poisoned_station watch IN --out OUT

A file that begins with one of POISONS kills the process that opens it, or lets it take 2 GiB. The first is read within
the station, as an array of numpy; the others in the process that reads tools' files.
"""

import os
import signal
from typing import Any, BinaryIO

from edge.station import inputs
from edge.station.reading import child, reader

KILLS_STATION, KILLS_READER, TAKES_MEMORY = POISONS = (b"\x93NUMPY poison", b"kills its reader", b"takes 2 GiB")
_START = f"import json, sys; sys.path[:] = json.loads(sys.argv[1]); from {__spec__.name} import read; read()"

_read_maps = inputs.read_maps


def poison(number: int) -> dict[str, bytes]:
    """Return so many files of each kind, all different; their names spread them among the others."""
    return {f"poison-{kind}{n}": content + b" %d" % n for kind, content in enumerate(POISONS) for n in range(number)}


def _deadly(stream: BinaryIO, *rest: Any) -> Any:
    head = stream.read(32)
    stream.seek(0)
    if head.startswith((KILLS_STATION, KILLS_READER)):
        os.kill(os.getpid(), signal.SIGKILL)
    if head.startswith(TAKES_MEMORY):
        bytearray(2**31)
    return _read_maps(stream, *rest)


def read() -> None:
    """Read files as the station's reader does, but for POISONS."""
    inputs.read_maps = _deadly
    child.main()


def main() -> int:
    """Run the station's command."""
    from edge.station.__main__ import main as station

    inputs.read_maps = _deadly
    reader._START = _START
    return station()


if __name__ == "__main__":
    raise SystemExit(main())
