"""The pixels of a PNG, JPEG or BMP file, its declared size checked before anything is decoded."""

import struct

import numpy as np
from numpy.typing import NDArray

from wafer_tf.errors import InputError

MAX_PIXELS = 16_000_000
"""Pixels a picture may have; decoded they take three bytes each."""
MAX_SIDE = 20_000
_PNG, _JPEG, _BMP = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"BM"
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""JPEG markers of a frame's header, which holds the size."""


def picture_format(data: bytes) -> str | None:
    """Return "PNG", "JPEG" or "BMP" by a file's first bytes, None for what is none of them."""
    if data.startswith(_PNG):
        return "PNG"
    if data.startswith(_JPEG):
        return "JPEG"
    return "BMP" if data.startswith(_BMP) and data[6:10] == bytes(4) else None


def decoded(data: bytes, name: str) -> NDArray[np.uint8]:
    """Return the pixels, (height, width, 3) uint8, red, green, blue; what is transparent becomes white.

    Args:
        data: the whole file.
        name: what to call it in an error.

    Raises:
        InputError: no such picture, damaged, cut off, or larger than MAX_PIXELS.
    """
    import cv2

    kind = picture_format(data)
    if kind is None:
        raise InputError(f"{name}: not a picture; expected a PNG, JPEG or BMP file.")
    try:
        size = {"PNG": _png_size, "JPEG": _jpeg_size, "BMP": _bmp_size}[kind](data)
    except (struct.error, IndexError):
        size = None
    if size is None:
        raise InputError(f"{name}: a damaged or cut off {kind}; expected a whole file. Copy it anew.")
    height, width = size
    if not (0 < height <= MAX_SIDE and 0 < width <= MAX_SIDE and height * width <= MAX_PIXELS):
        raise InputError(
            f"{name}: a {kind} of {width} x {height} pixels; expected at most {MAX_SIDE} a side and {MAX_PIXELS} in "
            "all. Save it smaller: a few pixels a die are enough."
        )
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        pixels = None
    if pixels is None or pixels.shape[:2] != (height, width):
        raise InputError(f"{name}: a {kind} that cannot be decoded; expected a whole file. Save it anew as PNG.")
    return _as_rgb(pixels)


def _as_rgb(pixels: NDArray[np.generic]) -> NDArray[np.uint8]:
    import cv2

    if pixels.dtype == np.uint16:
        pixels = (pixels // 257).astype(np.uint8)
    if pixels.ndim == 2:
        return np.repeat(pixels[:, :, None], 3, axis=2).astype(np.uint8, copy=False)
    if pixels.shape[2] == 4:
        alpha = pixels[:, :, 3:].astype(np.uint16)
        over = (pixels[:, :, :3].astype(np.uint16) * alpha + 255 * (255 - alpha) + 127) // 255
        pixels = over.astype(np.uint8)
    return np.asarray(cv2.cvtColor(pixels.astype(np.uint8, copy=False), cv2.COLOR_BGR2RGB), np.uint8)


def _png_size(data: bytes) -> tuple[int, int] | None:
    if data[12:16] != b"IHDR" or b"IEND" not in data[-64:]:
        return None
    width, height = struct.unpack(">II", data[16:24])
    return height, width


def _jpeg_size(data: bytes) -> tuple[int, int] | None:
    if b"\xff\xd9" not in data[-64:]:  # a decoder would fill what is cut off with grey
        return None
    place = 2
    while data[place] == 0xFF:
        marker = data[place + 1]
        if marker == 0xFF:  # padding
            place += 1
            continue
        (length,) = struct.unpack(">H", data[place + 2 : place + 4])
        if marker in _FRAMES:
            height, width = struct.unpack(">HH", data[place + 5 : place + 9])
            return height, width
        place += 2 + length
    return None


def _bmp_size(data: bytes) -> tuple[int, int] | None:
    (declared,) = struct.unpack("<I", data[2:6])
    if len(data) < declared:
        return None
    (header,) = struct.unpack("<I", data[14:18])
    width, height = struct.unpack("<HH", data[18:22]) if header == 12 else struct.unpack("<ii", data[18:26])
    return abs(height), width
