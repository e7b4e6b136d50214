"""npz archives of wafer maps: `flat`, `offsets`, `shapes`, `lot`, `wafer_index`, optional `label`, `official_split`."""

import lzma
import math
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from wafer_tf.dies import UNLABELLED
from wafer_tf.errors import InputError
from wafer_tf.readers.npyheader import read_header
from wafer_tf.readers.source import (
    MAX_CELLS,
    MAX_TEXT,
    Source,
    batch_edges,
    check_dies,
    check_shapes,
    check_splits,
    class_codes,
    offsets_of,
    tight,
    whole_numbers,
)
from wafer_tf.waferset import WaferSet

REQUIRED = ("flat", "offsets", "shapes", "lot", "wafer_index")
KINDS = {"flat": "u", "offsets": "iu", "shapes": "iu", "lot": "U", "wafer_index": "iuf", "label": "U"}
MAX_EXPANSION = 1100
"""Most that deflate can expand (1032) and a little; what claims more is no honest archive."""
_DAMAGED: tuple[type[Exception], ...] = (
    *(OSError, EOFError, ValueError, LookupError, RuntimeError, OverflowError),
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error),
)
"""What zipfile and the decompressors under it raise on a damaged archive."""


def open_npz(path: Path) -> Source:
    """Open an npz archive of wafer maps; every declared size is checked before it is allocated.

    Raises:
        InputError: damaged, a key missing, a wrong kind, a size out of range, a map that is none.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return _open(path, archive)
    except InputError:
        raise
    except _DAMAGED as error:
        raise InputError(f"{path}: damaged or truncated npz archive ({error}); expected a whole one.") from error


def _open(path: Path, archive: zipfile.ZipFile) -> Source:
    entries = sorted({info.filename for info in archive.infolist()})
    names = {name.removesuffix(".npy") for name in entries if name.endswith(".npy")}
    missing = [key for key in REQUIRED if key not in names]
    if missing:
        found = ", ".join(name[:80] for name in entries[:8]) or "nothing"
        raise InputError(
            f"{path}: not a wafer file: a zip archive without {', '.join(missing)} (it holds {found}); expected an npz "
            f"with {', '.join(REQUIRED)}. If it holds LSWMD.pkl, unpack it first."
        )
    shapes = _array(path, archive, "shapes")
    if shapes.ndim != 2 or shapes.shape[1] != 2:
        raise InputError(f"{path}: shapes has shape {shapes.shape}; expected (wafers, 2).")
    check_shapes(shapes.astype(np.int64), str(path))
    shapes = shapes.astype(np.int32)
    n, offsets = len(shapes), offsets_of(shapes)
    declared = _array(path, archive, "offsets")
    if not np.array_equal(declared, offsets):
        raise InputError(
            f"{path}: offsets and shapes disagree; expected offsets to be the running sum of rows x columns."
        )
    flat = _array(path, archive, "flat", length=int(offsets[-1]))
    lot = tight(_array(path, archive, "lot", length=n))
    index = whole_numbers(_array(path, archive, "wafer_index", length=n), str(path), column="wafer_index")
    label = np.full(n, UNLABELLED, np.int8)
    if "label" in names:
        label = class_codes(_array(path, archive, "label", length=n), str(path))
    split = np.zeros(n, "<U1")
    if "official_split" in names:
        split = tight(check_splits(_array(path, archive, "official_split", length=n), str(path)))

    def batches() -> Iterator[WaferSet]:
        for a, b in batch_edges(offsets):
            cells = check_dies(flat[offsets[a] : offsets[b]], shapes[a:b], str(path), first_row=a)
            columns = (lot[a:b], index[a:b], label[a:b], split[a:b])
            yield WaferSet(cells, offsets[a : b + 1] - offsets[a], shapes[a:b], *columns)

    return Source(path, "npz archive", n, int(offsets[-1]), batches)


def _array(path: Path, archive: zipfile.ZipFile, key: str, *, length: int | None = None) -> NDArray[Any]:
    """Read one array, after its declared size has been held against the archive and the limits."""
    info = archive.getinfo(f"{key}.npy")
    with archive.open(info) as stream:
        try:
            shape, dtype = read_header(stream)
        except ValueError as error:
            raise InputError(f"{path}: {key} is no npy array ({error}).") from error
    kinds = KINDS.get(key, "U")
    if dtype.hasobject or dtype.kind not in kinds or not 0 < dtype.itemsize <= 4 * MAX_TEXT:
        raise InputError(f"{path}: {key} holds {dtype}; expected {_words(kinds)}.")
    count = math.prod(shape)
    if length is not None and shape != (length,):
        raise InputError(f"{path}: {key} has shape {shape}; expected ({length},), as the shapes of its maps say.")
    claimed, limit = count * dtype.itemsize, min(info.compress_size * MAX_EXPANSION, MAX_CELLS)
    if claimed > info.file_size or info.file_size > limit:
        raise InputError(
            f"{path}: {key} claims {claimed} bytes, its archive entry {info.file_size} (packed {info.compress_size}); "
            "expected sizes that agree. The file is damaged or made to exhaust memory."
        )
    with archive.open(info) as stream:
        try:
            found: NDArray[Any] = npy.read_array(stream, allow_pickle=False)
        except ValueError as error:
            raise InputError(f"{path}: {key} is truncated ({error}).") from error
    if dtype.kind == "U":
        _check_text(path, found, key)
    return found


def _check_text(path: Path, strings: NDArray[np.str_], key: str) -> None:
    """Refuse what is no Unicode character: numpy would make a str of it that breaks the interpreter later."""
    codes = np.ascontiguousarray(strings).view(np.uint32)
    if strings.dtype.byteorder == ">":
        codes = codes.byteswap()
    if ((codes > 0x10FFFF) | ((codes >= 0xD800) & (codes < 0xE000))).any():
        raise InputError(f"{path}: {key} holds text that is no Unicode; the file is damaged.")


def _words(kinds: str) -> str:
    return {"U": "text", "u": "uint8", "iu": "whole numbers", "iuf": "numbers"}[kinds]
