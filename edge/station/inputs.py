"""The wafer maps in one input file, told by content, each with its id and hash. Needs numpy alone."""

import hashlib
import io
import zipfile
from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from wafer_tf.arrays import DAMAGED, PACKINGS, WAFER_SET, read_entry
from wafer_tf.dies import MAX_SIDE, MIN_SIDE, bad_sides, check_map, grid_sha256
from wafer_tf.errors import InputError
from wafer_tf.formats.grids import MAX_BYTES as MAX_GRID_BYTES
from wafer_tf.formats.grids import NPY_MAGIC, npy_grid, text_grid

MAX_BYTES = 64 * 2**20
"""A file, or an array in an npz, larger than this is refused: a station has little memory."""
MAX_MAPS = 10_000
"""A file of more is refused: all its records are in memory at once."""
SET_COMMAND = "python -m edge.classify"
MAX_ENTRIES = 1000
"""An npz of more is refused unopened: zipfile takes 600 bytes of memory for each of its 55."""
ENTRY = b"PK\1\2"
FOREIGN = {
    b"PAR1": f"a Parquet file; the station reads single maps. Judge a wafer set with: {SET_COMMAND}",
    b"\x80": "a pickle, which can run code and is never opened; convert it with: python -m wafer_tf.readers",
}
"""First bytes of files one may well have at hand, and what to say of them."""


class Found(NamedTuple):
    """A map of an input file, or why it is none.

    Attributes:
        name: the record's id.
        sha256: of the file's bytes where it is one map; of a map in a file of many `grid_sha256`. None of a file that
            was not read whole, and of what is no map in a file of many.
        grid: (rows, cols) uint8, checked; or the error that says what is wrong.
    """

    name: str
    sha256: str | None
    grid: NDArray[np.uint8] | InputError


def find_maps(data: bytes, name: str) -> Iterator[Found]:
    """Give the maps of one file in order; bad input is given as an error, not raised.

    Args:
        data: contents of a .npy or text grid (one map), or of an npz (one array, or the columns of a wafer set).
        name: the file's name. It is the id of a single map; a map of a wafer set is LOT/WAFER, or NAME:NUMBER from 0
            where the lot or the wafer is not known.
    """
    if len(data) > MAX_BYTES:
        yield Found(name, None, InputError(f"{name}: over {MAX_BYTES} bytes; read a wafer set with {SET_COMMAND}."))
        return
    sha256 = hashlib.sha256(data).hexdigest()
    try:
        if data.startswith(b"PK"):
            yield from _npz(data, name, sha256)
        else:
            yield Found(name, sha256, _single(data, name))
    except InputError as error:
        yield Found(name, sha256, error)
    except DAMAGED as error:
        yield Found(name, sha256, InputError(f"{name}: damaged npz archive ({error}); expected a whole one."))
    except MemoryError:
        yield Found(name, sha256, InputError(f"{name}: not enough memory to read it."))


def wafer_name(lot: str, wafer_index: float, otherwise: str) -> str:
    """Return the id of a map of a wafer set: LOT/WAFER, or `otherwise` where the lot or the wafer is not known."""
    return f"{lot}/{wafer_index:.0f}" if lot and 0 < wafer_index < np.inf else otherwise


def _single(data: bytes, name: str) -> NDArray[np.uint8]:
    if data.startswith(NPY_MAGIC):
        return npy_grid(data, name)
    for start, what in FOREIGN.items():
        if data.startswith(start):
            raise InputError(f"{name}: {what}.")
    if not data.strip():
        raise InputError(f"{name}: empty; expected a .npy, .npz or text grid of dies.")
    return text_grid(data, name)


def _npz(data: bytes, name: str, sha256: str) -> Iterator[Found]:
    if data.count(ENTRY) > MAX_ENTRIES:
        raise InputError(f"{name}: an archive of over {MAX_ENTRIES} entries; expected an npz of one or a few arrays.")
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        entries = [info for info in archive.infolist() if info.filename.endswith(".npy")]
        keys = {info.filename.removesuffix(".npy") for info in entries}
        if keys.issuperset(WAFER_SET):
            yield from _wafer_set(archive, name)
        elif len(entries) == 1:
            yield Found(name, sha256, npy_grid(_entry(archive, entries[0], name), name))
        else:
            held = ", ".join(sorted(keys)[:8])[:200] or "no array"
            raise InputError(f"{name}: an npz of {held}; expected one array, or {', '.join(WAFER_SET)}.")


def _entry(archive: zipfile.ZipFile, info: zipfile.ZipInfo, name: str) -> bytes:
    if info.compress_type not in PACKINGS or info.file_size > MAX_GRID_BYTES:
        raise InputError(
            f"{name}: its array is packed by method {info.compress_type} and claims {info.file_size} bytes; expected "
            f"deflate and at most {MAX_GRID_BYTES} bytes."
        )
    with archive.open(info) as stream:
        return stream.read(MAX_GRID_BYTES + 1)


def _wafer_set(archive: zipfile.ZipFile, name: str) -> Iterator[Found]:
    column = partial(read_entry, archive, where=name, max_bytes=MAX_BYTES)
    shapes = column("shapes", kinds="iu")
    if shapes.ndim != 2 or shapes.shape[1] != 2:
        raise InputError(f"{name}: shapes has shape {shapes.shape}; expected (wafers, 2).")
    n = len(shapes)
    if not 1 <= n <= MAX_MAPS:
        raise InputError(f"{name}: {n} wafers; expected 1 to {MAX_MAPS}. Judge a larger set with: {SET_COMMAND}.")
    offsets, flat = column("offsets", kinds="iu", shape=(n + 1,)), column("flat", kinds="u")
    lot, index = column("lot", kinds="U", shape=(n,)), column("wafer_index", kinds="iuf", shape=(n,))
    if flat.ndim != 1 or offsets[0] != 0 or offsets[-1] != len(flat) or (offsets[1:] < offsets[:-1]).any():
        raise InputError(f"{name}: offsets do not span its {n} maps of {flat.size} cells.")
    bounds, sides = offsets.tolist(), shapes.tolist()
    for i, (rows, cols) in enumerate(sides):
        wafer = wafer_name(str(lot[i]), float(index[i]), f"{name}:{i}")
        cells = flat[bounds[i] : bounds[i + 1]]
        try:
            if not (MIN_SIDE <= rows <= MAX_SIDE and MIN_SIDE <= cols <= MAX_SIDE):
                raise bad_sides(wafer, (rows, cols))
            if len(cells) != rows * cols:
                raise InputError(f"map {wafer}: {len(cells)} cells for {rows} rows x {cols} columns.")
            grid = check_map(cells.reshape(rows, cols), wafer)
            yield Found(wafer, grid_sha256(grid), grid)
        except InputError as error:
            yield Found(wafer, None, error)
