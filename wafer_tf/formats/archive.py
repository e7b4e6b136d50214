"""Zip archives: an npz of one map or of a wafer set, and files of any other format one after another.

Needs numpy and the standard library alone.
"""

import io
import zipfile
from collections.abc import Iterator
from functools import partial
from typing import BinaryIO, cast

import numpy as np

from wafer_tf.arrays import DAMAGED, PACKINGS, WAFER_SET, open_zip, read_entry
from wafer_tf.budget import Budget
from wafer_tf.dies import bad_sides, check_map, sides_fit
from wafer_tf.errors import InputError, reason
from wafer_tf.formats.opened import MAX_WHOLE, Opened
from wafer_tf.formats.options import Options
from wafer_tf.formats.read import read_opened
from wafer_tf.formats.recognise import CONVERT_COMMAND, SET_COMMAND
from wafer_tf.formats.wafer_map import MapFile, UnreadWaferError, WaferMap

MAX_MAPS = 10_000
"""A wafer set of more is refused: all its records are in memory at once."""
WORKBOOK = "[Content_Types].xml"
_HIDDEN = ("__MACOSX/", ".")


def read(file: Opened, options: Options) -> MapFile:
    """Read an archive; every declared size is checked before it is allocated.

    Raises:
        InputError: damaged, an archive in an archive, or without a map; also from the wafers' iterator.
    """
    data = file.whole()
    try:
        archive = open_zip(io.BytesIO(data), name=file.name)
        names = [info.filename for info in archive.infolist() if not info.is_dir()]
    except InputError:
        raise
    except DAMAGED as error:
        raise _damaged(file.name, error) from error
    keys = {name.removesuffix(".npy") for name in names if name.endswith(".npy")}
    if WORKBOOK in names:
        raise InputError(
            f"{file.name}: an Excel or other Office file; save the table as CSV, or convert it with: {CONVERT_COMMAND} "
            "FILE OUT.parquet"
        )
    if keys.issuperset(WAFER_SET):
        return MapFile(format="npz wafer set", wafers=_guarded(file.name, _wafer_set(archive, file.name, file.budget)))
    if keys and len(keys) == len(names):
        return _npz(archive, keys, file, options)
    shown = [name for name in names if not name.rpartition("/")[2].startswith(_HIDDEN) and not name.startswith(_HIDDEN)]
    if not shown:
        raise InputError(f"{file.name}: a zip archive without a file; expected files of wafer maps.")
    if file.depth:
        raise InputError(f"{file.name}: a zip archive in an archive; expected the files themselves. Unpack it first.")
    return MapFile(format="zip archive", wafers=_guarded(file.name, _members(archive, shown, file, options)))


def is_workbook(stream: BinaryIO) -> bool:
    """Whether a zip archive is an Excel workbook, or another file of an office suite."""
    try:
        with open_zip(stream) as archive:
            return WORKBOOK in archive.NameToInfo
    except DAMAGED:
        return False


def _npz(archive: zipfile.ZipFile, keys: set[str], file: Opened, options: Options) -> MapFile:
    if len(keys) > 1:
        held = ", ".join(sorted(keys)[:8])[:200]
        raise InputError(
            f"{file.name}: an npz of {held}; expected one array, or {', '.join(WAFER_SET)}. Other sets: {SET_COMMAND}."
        )
    (key,) = keys
    try:
        data = _content(archive, f"{key}.npy", file.name, file.budget)
    except InputError:
        raise
    except DAMAGED as error:
        raise _damaged(file.name, error) from error
    found = read_opened(Opened(io.BytesIO(data), file.name, depth=file.depth + 1, budget=file.budget), options)
    return MapFile(format="npz", wafers=found.wafers)


def _members(
    archive: zipfile.ZipFile, names: list[str], file: Opened, options: Options
) -> Iterator[WaferMap | InputError]:
    for name in names:
        where = f"{file.name}:{name}"
        try:
            stream = cast(BinaryIO, io.BytesIO(_content(archive, name, where, file.budget)))
            member = Opened(stream, where, depth=file.depth + 1, budget=file.budget)
            yield from read_opened(member, options).wafers
        except InputError as error:
            if file.budget.unpacked < 0:
                raise
            yield error


def _content(archive: zipfile.ZipFile, name: str, where: str, budget: Budget) -> bytes:
    info = archive.getinfo(name)
    if info.compress_type not in PACKINGS:
        raise InputError(f"{where}: packed by method {info.compress_type}; expected deflate, as zip and numpy pack.")
    with archive.open(info) as stream:
        data = stream.read(MAX_WHOLE + 1)
    budget.unpack(len(data))
    if len(data) > MAX_WHOLE:
        raise InputError(f"{where}: unpacks to over {MAX_WHOLE} bytes; expected a file of wafer maps of at most that.")
    return data


def _guarded(name: str, wafers: Iterator[WaferMap | InputError]) -> Iterator[WaferMap | InputError]:
    try:
        yield from wafers
    except DAMAGED as error:
        if isinstance(error, InputError):
            raise
        raise _damaged(name, error) from error


def _damaged(name: str, error: Exception) -> InputError:
    return InputError(f"{name}: damaged zip archive ({reason(error)}); expected a whole one. Copy it anew.")


def _wafer_set(archive: zipfile.ZipFile, name: str, budget: Budget) -> Iterator[WaferMap | InputError]:
    column = partial(read_entry, archive, where=name, max_bytes=MAX_WHOLE, budget=budget)
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
    for i, shape in enumerate(sides):
        wafer = f"{index[i]:.0f}" if 0 < float(index[i]) < np.inf else ""
        where = f"{lot[i]}/{wafer}" if lot[i] and wafer else f"{name}:{i}"
        cells = flat[bounds[i] : bounds[i + 1]]
        try:
            if not sides_fit(shape):
                raise bad_sides(where, shape)
            if len(cells) != shape[0] * shape[1]:
                raise InputError(f"map {where}: {len(cells)} cells for {shape[0]} rows x {shape[1]} columns.")
            yield WaferMap(grid=check_map(cells.reshape(shape), where), lot=str(lot[i]), wafer=wafer)
        except InputError as error:
            yield UnreadWaferError(str(error), lot=str(lot[i]), wafer=wafer)
