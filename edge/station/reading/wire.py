"""What the station and its reader say to each other: frames of JSON and plain bytes. Needs numpy alone.

A frame is two sizes, of 4 and 8 bytes, little-endian, then so many bytes of JSON and of data. An open file may come
with one.
"""

import json
import socket
import struct
from dataclasses import asdict
from typing import Any

import numpy as np

from edge.station.inputs import Found
from wafer_tf.dies import check_map
from wafer_tf.errors import InputError
from wafer_tf.formats.options import Options
from wafer_tf.formats.wafer_map import BinCount, UnreadWaferError, WaferMap

MAX_HEAD, MAX_DATA = 2**26, 2**26
"""Bytes of a frame's JSON and of its data."""
_SIZES = struct.Struct("<IQ")
_SETS, _TUPLES = ("pass_bins", "classes"), ("states", "colours")


class Frame:
    """A frame that was received; close what came with it."""

    def __init__(self, head: dict[str, Any], data: bytes, fd: int | None) -> None:
        self.head, self.data, self.fd = head, data, fd


def send(connection: socket.socket, head: dict[str, Any], data: bytes = b"", *, fd: int | None = None) -> None:
    """Send a frame, and with it an open file. Raises OSError where the other side is gone."""
    text = json.dumps(head).encode()
    sizes = _SIZES.pack(len(text), len(data))
    if fd is not None:
        socket.send_fds(connection, [sizes], [fd])
        sizes = b""
    connection.sendall(sizes + text + data)


def receive(connection: socket.socket) -> Frame | None:
    """Return the next frame, None where there is none any more: the other side has ended.

    Raises:
        ValueError: no frame.
    """
    try:
        sizes, fds, _, _ = socket.recv_fds(connection, _SIZES.size, 1)
        sizes += _exactly(connection, _SIZES.size - len(sizes))
        head_size, data_size = _SIZES.unpack(sizes)
        if head_size > MAX_HEAD or data_size > MAX_DATA:
            raise ValueError(f"a frame of {head_size} and {data_size} bytes")
        both = _exactly(connection, head_size + data_size)
    except (EOFError, ConnectionError):
        return None
    return Frame(json.loads(both[:head_size]), both[head_size:], fds[0] if fds else None)


def _exactly(connection: socket.socket, size: int) -> bytes:
    data = bytearray(size)
    view = memoryview(data)
    while view:
        got = connection.recv_into(view)
        if not got:
            raise EOFError
        view = view[got:]
    return bytes(data)


def found_to_wire(found: Found) -> tuple[dict[str, Any], bytes]:
    """Return what was found as JSON and bytes."""
    head: dict[str, Any] = found._asdict()
    what = head.pop("found")
    if isinstance(what, WaferMap):
        wafer = dict(vars(what))
        grid = wafer.pop("grid")
        return head | {"wafer": wafer, "shape": grid.shape}, np.ascontiguousarray(grid).tobytes()
    named = {"lot": what.lot, "wafer": what.wafer} if isinstance(what, UnreadWaferError) else None
    return head | {"error": str(what), "of": named}, b""


def found_from_wire(head: dict[str, Any], data: bytes) -> Found:
    """Return what `found_to_wire` was given. Raises KeyError, TypeError or ValueError where it is not that."""
    about = {key: head[key] for key in ("name", "number", "sha256", "file_sha256", "format")}
    if "error" in head:
        of = head["of"]
        error = InputError(head["error"]) if of is None else UnreadWaferError(head["error"], **of)
        return Found(**about, found=error)
    wafer = head["wafer"]
    wafer |= {
        "grid": check_map(np.frombuffer(data, np.uint8).reshape(head["shape"]), head["name"]),
        "bins": tuple(BinCount(*count) for count in wafer["bins"]),
        "corner": wafer["corner"] and tuple(wafer["corner"]),
        "assumed": tuple(wafer["assumed"]),
        "warnings": tuple(wafer["warnings"]),
    }
    return Found(**about, found=WaferMap(**wafer))


def options_to_json(options: Options) -> str:
    """Return options as JSON."""
    fields = asdict(options)
    return json.dumps(fields | {key: sorted(fields[key]) for key in _SETS if fields[key] is not None})


def options_from_json(text: str) -> Options:
    """Return the options of `options_to_json`."""
    fields = json.loads(text)
    for kind, keys in ((frozenset, _SETS), (tuple, _TUPLES)):
        fields |= {key: kind(fields[key]) for key in keys if fields[key] is not None}
    return Options(**fields)
