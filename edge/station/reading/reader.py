"""The maps of a file, read in another process that may die of it. Needs numpy alone.

Arrays of numpy and small texts of numbers, whose size is bounded before anything is read, are read here: to send them
takes longer than to read them.
"""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from typing import BinaryIO

from edge.station.inputs import Found, find_maps
from edge.station.reading import child
from edge.station.reading.wire import found_from_wire, options_to_json, receive, send
from wafer_tf.errors import InputError
from wafer_tf.formats.options import DEFAULT, Options

TRIES = 2
"""Times a file is given to a reader that dies of it."""
MAX_TEXT_HERE = 2**18
"""Bytes of a text of numbers that is read in this process."""
_NUMBERS = b"0123456789.,;+- \t\r\n"
_NPY = b"\x93NUMPY"
_START = f"import json, sys; sys.path[:] = json.loads(sys.argv[1]); from {child.__name__} import main; main()"


class Reader:
    """Finds maps as `inputs.find_maps` does, tools' files in a process of its own, begun when there is one to read."""

    def __init__(self, options: Options = DEFAULT) -> None:
        """Start nothing yet; `options` as of `find_maps`."""
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: socket.socket | None = None

    def start(self, file: bytes | BinaryIO) -> None:
        """Start the process, if this file is for it and it is not there. Raises RuntimeError and OSError as `find`."""
        if not (isinstance(file, bytes) and is_simple(file)):
            self._connected()

    def find(self, file: bytes | BinaryIO, name: str) -> Iterator[Found]:
        """Give the maps of one file in order; bad input, and what its reader died of, is given as an error.

        Args:
            file: its contents, or the file itself, opened in binary.
            name: the file's name; see `find_maps`.

        Raises:
            RuntimeError: the reader failed at it by a fault of its own, or cannot be started.
            OSError: there are no means to start it.
        """
        if isinstance(file, bytes) and is_simple(file):
            yield from find_maps(file, name, self._options)
            return
        given, why = 0, ""
        for _ in range(TRIES):
            number, ended, fault = 0, False, None
            try:
                connection = self._asked(file, name)
                while connection and (answer := receive(connection)) is not None:
                    ended, fault = "end" in answer.head, answer.head.get("fault")
                    if ended:
                        break
                    number += 1
                    if number > given:
                        given = number
                        yield found_from_wire(answer.head, answer.data)
            finally:
                if not ended:  # it died, or nobody wants the rest
                    why = self.close()
            if ended:
                if fault is not None:
                    raise RuntimeError(fault)
                return
        yield _died(name, given, why)

    def close(self) -> str:
        """End the process, if there is one; return how it ended."""
        process, connection = self._process, self._connection
        self._process = self._connection = None
        if connection is not None:
            connection.close()
        if process is None:
            return ""
        with suppress(subprocess.TimeoutExpired):
            process.wait(0.5)  # it may be dying
        process.kill()
        return _end(process.wait())

    def _asked(self, file: bytes | BinaryIO, name: str) -> socket.socket | None:
        """Ask for the maps of a file; return where they come from, None where the reader is dead."""
        connection = self._connected()
        try:
            if isinstance(file, bytes):
                send(connection, {"name": name}, file)
            else:
                os.lseek(file.fileno(), 0, os.SEEK_SET)  # which both processes share
                send(connection, {"name": name}, fd=file.fileno())
        except ConnectionError:
            return None
        return connection

    def _connected(self) -> socket.socket:
        if self._connection is None:
            ours, theirs = socket.socketpair()
            with theirs:
                command = [sys.executable, "-c", _START, json.dumps(sys.path), str(theirs.fileno())]
                self._process = subprocess.Popen(
                    [*command, options_to_json(self._options)],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    pass_fds=[theirs.fileno()],
                    start_new_session=True,  # a Ctrl-C is for the station, which finishes the file in hand
                )
            self._connection = ours
            if receive(ours) is None:  # else a reader that never works would be taken for one that files end
                raise RuntimeError(f"the process that reads files cannot be started: it ended {self.close()}")
        return self._connection


def is_simple(data: bytes) -> bool:
    """Whether a file is an array of numpy, or a small text of nothing but numbers."""
    return data.startswith(_NPY) or (len(data) <= MAX_TEXT_HERE and not data.translate(None, _NUMBERS))


def _died(name: str, given: int, why: str) -> Found:
    error = InputError(f"{name}: its reader ended {TRIES} times while it read it ({why}); it is not read again.")
    return Found(name if not given else f"{name}:{given}", given + 1, None, None, None, error)


def _end(code: int) -> str:
    """Say how a process ended."""
    if code == -signal.SIGXCPU:
        return "it took too long"
    return f"by {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
