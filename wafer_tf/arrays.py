"""npy headers and npz entries, every declared size checked before it is allocated. Needs numpy alone."""

import io
import lzma
import math
import os
import struct
import tokenize
import warnings
import zipfile
import zlib
from pathlib import Path
from typing import IO, Any, BinaryIO

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from wafer_tf.budget import Budget
from wafer_tf.errors import InputError, reason

WAFER_SET = ("flat", "offsets", "shapes", "lot", "wafer_index")
"""Arrays that an npz of many wafer maps must hold."""
MAX_TEXT = 256
"""Characters a lot, label or split name may have."""
COPIES = 3
"""Times that an array of an npz is in memory while it is checked."""
MAX_EXPANSION = 1100
"""Most that deflate can expand (1032) and a little; what claims more is no honest archive."""
MAX_ENTRIES = 1000
"""An archive of more is refused unopened: zipfile takes 600 bytes of memory for each of its 55."""
_ENTRY = b"PK\1\2"
_TAIL = 1 << 22
"""Bytes at the end of an archive that are searched for its directory; a longer one has larger entries."""
PACKINGS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""How numpy packs. Other packings declare how much memory their decompressor takes."""
DAMAGED: tuple[type[Exception], ...] = (
    *(OSError, EOFError, ValueError, LookupError, RuntimeError, OverflowError),
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error),
)
"""What zipfile and the decompressors under it raise on a damaged archive."""
_NO_HEADER: tuple[type[Exception], ...] = (
    *(ValueError, EOFError, TypeError, LookupError, AttributeError, OverflowError),
    *(SyntaxError, tokenize.TokenError, RecursionError, MemoryError),
)
"""What numpy and the Python parser under it raise on a header that is none."""
MAX_HEADER = 1 << 16
"""Bytes the header of a npy array may have; numpy writes 128, and takes itself no more than 10,000."""
_WORDS = {"U": "text", "u": "uint8", "iu": "whole numbers", "i": "whole numbers", "f": "numbers", "iuf": "numbers"}


def open_zip(file: str | os.PathLike[str] | BinaryIO, *, name: str = "") -> zipfile.ZipFile:
    """Open an archive whose directory does not fill the memory.

    Args:
        file: a path or a stream.
        name: what to call it in an error, where that is not the path.

    Raises:
        InputError: of over MAX_ENTRIES entries; `DAMAGED` errors of the archive pass through.
    """
    if isinstance(file, (str, os.PathLike)):
        with Path(file).open("rb") as stream:
            entries = _entries(stream)
    else:
        entries = _entries(file)
    if entries > MAX_ENTRIES:
        raise InputError(f"{name or file}: an archive of over {MAX_ENTRIES} entries; expected at most that.")
    return zipfile.ZipFile(file)


def _entries(stream: BinaryIO) -> int:
    end = stream.seek(0, io.SEEK_END)
    stream.seek(max(0, end - _TAIL))
    return stream.read().count(_ENTRY)


def read_header(stream: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Return the declared shape, whether columns come first (Fortran's order), and dtype of a npy array.

    The stream then stands at the first cell.

    Raises:
        ValueError: no npy header there.
    """
    try:
        version = npy.read_magic(stream)
        header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        declared = stream.read(2 if version == (1, 0) else 4)
        size = int.from_bytes(declared, "little")
        if size > MAX_HEADER:
            raise ValueError(f"a header of {size} bytes; expected at most {MAX_HEADER}")
        head = io.BytesIO(declared + stream.read(size))  # numpy would read what is declared, and look at it later
        with warnings.catch_warnings():  # of numpy and Python about odd, but harmless, headers
            warnings.simplefilter("ignore")
            shape, fortran, dtype = header(head)
    except _NO_HEADER as error:
        raise ValueError(reason(error)) from error
    if any(type(side) is not int or side < 0 for side in shape):
        raise ValueError(f"shape {shape}")
    return shape, fortran, dtype


def read_entry(
    archive: zipfile.ZipFile,
    key: str,
    where: str,
    *,
    kinds: str,
    max_bytes: int,
    shape: tuple[int, ...] | None = None,
    budget: Budget | None = None,
) -> NDArray[Any]:
    """Read one array of an npz, after its declared size has been held against the archive and the limits.

    Args:
        archive: the open npz.
        key: the array's name, without .npy.
        where: the file, for the error.
        kinds: dtype kinds it may have, a key of `_WORDS`.
        max_bytes: most the array may take.
        shape: what its shape must be, where that is known.
        budget: of the file, on which the array and its copies are counted.

    Raises:
        InputError: another kind or shape, too large, or truncated; `DAMAGED` errors of the archive pass through.
    """
    info, dtype = checked_entry(archive, key, where, kinds=kinds, max_bytes=max_bytes, shape=shape, budget=budget)
    if budget is not None:
        budget.hold(COPIES * info.file_size, key)
    with archive.open(info) as stream, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            found: NDArray[Any] = npy.read_array(stream, allow_pickle=False)
        except ValueError as error:
            raise InputError(f"{where}: {key} is truncated ({reason(error)}).") from error
    if dtype.kind == "U":
        _check_text(where, found, key)
    return found


def checked_entry(
    archive: zipfile.ZipFile,
    key: str,
    where: str,
    *,
    kinds: str,
    max_bytes: int,
    shape: tuple[int, ...] | None = None,
    budget: Budget | None = None,
) -> tuple[zipfile.ZipInfo, np.dtype[Any]]:
    """Return where an array of an npz is and its dtype, all that it declares checked; see `read_entry`."""
    info = archive.getinfo(f"{key}.npy")
    if info.compress_type not in PACKINGS:
        raise InputError(f"{where}: {key} is packed by method {info.compress_type}; expected deflate, as numpy packs.")
    with archive.open(info) as stream:
        try:
            declared, _, dtype = read_header(stream)
            start = stream.tell()
        except ValueError as error:
            raise InputError(f"{where}: {key} is no npy array ({reason(error)}).") from error
    if dtype.hasobject or dtype.kind not in kinds or not 0 < dtype.itemsize <= 4 * MAX_TEXT:
        raise InputError(f"{where}: {key} holds {dtype}; expected {_WORDS[kinds]}.")
    if shape is not None and declared != shape:
        raise InputError(f"{where}: {key} has shape {declared}; expected {shape}, as the shapes of its maps say.")
    claimed, limit = math.prod(declared) * dtype.itemsize, min(info.compress_size * MAX_EXPANSION, max_bytes)
    if start + claimed != info.file_size or info.file_size > limit:
        raise InputError(
            f"{where}: {key} claims {claimed} bytes, its archive entry {info.file_size} (packed {info.compress_size}, "
            f"limit {max_bytes}); expected sizes that agree. The file is damaged, too large or made to exhaust memory."
        )
    if budget is not None:
        budget.unpack(info.file_size)
    return info, dtype


def _check_text(where: str, strings: NDArray[np.str_], key: str) -> None:
    """Refuse what is no Unicode character: numpy would make a str of it that breaks the interpreter later."""
    codes = np.ascontiguousarray(strings).view(np.uint32)
    if strings.dtype.byteorder == ">":
        codes = codes.byteswap()
    if ((codes > 0x10FFFF) | ((codes >= 0xD800) & (codes < 0xE000))).any():
        raise InputError(f"{where}: {key} holds text that is no Unicode; the file is damaged.")
