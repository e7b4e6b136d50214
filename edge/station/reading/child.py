"""The process that reads files for a station, within limits of memory and time. Needs numpy alone."""

import math
import os
import resource
import socket
import sys
from contextlib import suppress
from pathlib import Path

from edge.station.inputs import find_maps
from edge.station.reading.wire import found_to_wire, options_from_json, receive, send

MEMORY = 2**30
"""Bytes the reader may take beside what it has at its start."""
SECONDS, SECONDS_PER_MIB = 60, 1
"""Processor time a file may take: so much, and more by its size."""
_OOM_SCORE = b"500"
"""Where memory is short the system ends the reader, and not the station."""


def serve(connection: socket.socket, options_text: str) -> None:
    """Read one file after another, as asked, until nobody asks any more."""
    options = options_from_json(options_text)
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_bytes(_OOM_SCORE)
    limit(resource.RLIMIT_AS, _address_space() + MEMORY)
    limit(resource.RLIMIT_CORE, 0)
    send(connection, {"ready": True})
    while (asked := receive(connection)) is not None:
        with suppress(ConnectionError):
            file = asked.data if asked.fd is None else os.fdopen(asked.fd, "rb")
            size = len(file) if isinstance(file, bytes) else os.fstat(file.fileno()).st_size
            used = sum(os.times()[:2])
            limit(resource.RLIMIT_CPU, math.ceil(used) + SECONDS + SECONDS_PER_MIB * (size >> 20))
            try:
                for found in find_maps(file, asked.head["name"], options):
                    send(connection, *found_to_wire(found))
            except ConnectionError:
                raise
            except Exception as error:
                send(connection, {"end": True, "fault": f"{type(error).__name__}: {error}"})
            else:
                send(connection, {"end": True})
            finally:
                if not isinstance(file, bytes):
                    file.close()


def limit(kind: int, value: int) -> None:
    """Set the soft limit of a resource, as far as the hard one lets it."""
    hard = resource.getrlimit(kind)[1]
    with suppress(OSError, ValueError):
        resource.setrlimit(kind, (value if hard == resource.RLIM_INFINITY else min(value, hard), hard))


def _address_space() -> int:
    with suppress(OSError, ValueError):
        return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    return MEMORY


def main() -> None:
    """Serve the socket of the number in argv."""
    serve(socket.socket(fileno=int(sys.argv[2])), sys.argv[3])
