"""npz archives of maps of one size: MixedWM38 as published (arr_0, arr_1), with named bits, or with one label each.

MixedWM38: J. Wang, C. Xu, Z. Yang, J. Zhang, X. Li, IEEE Trans. Semicond. Manuf. 33(4), 2020. Its wafers have nought to
four patterns; one of several has them all in `patterns`, and no label, for a class of this project is one alone.
"""

import io
import math
import os
import zipfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray

from wafer_tf.arrays import DAMAGED, MAX_EXPANSION, PACKINGS, open_zip, read_entry, read_header
from wafer_tf.budget import Budget
from wafer_tf.dies import CLASSES, NONE, UNLABELLED, Die, bad_sides, sides_fit
from wafer_tf.errors import InputError, reason
from wafer_tf.pattern_bits import bits_of_labels, several_of
from wafer_tf.readers.class_names import class_code, class_codes, spelling_notes
from wafer_tf.readers.source import (
    MAX_CELLS,
    MAX_WAFERS,
    ROW,
    Source,
    batch_edges,
    check_dies,
    check_shapes,
    offsets_of,
)
from wafer_tf.waferset import WaferSet

PUBLISHED = ("Center", "Donut", "Edge-Loc", "Edge-Ring", "Loc", "Near-full", "Scratch", "Random")
"""What the columns of `arr_1` stand for."""
MAPS = ("arr_0", "maps", "wafer_maps")
BITS = ("arr_1", "bits")
LABELS = ("labels", "label")
REPAIRED = 3
"""A state that MixedWM38 has in a few dies and says nothing of."""
MAX_BYTES = 2**33
"""Bytes of maps an archive may claim; MixedWM38 has 8.2e8."""
_CHUNK = 1 << 22


def is_stack(path: str | os.PathLike[str]) -> bool:
    """Whether a zip archive is an npz that holds maps under one of the names in MAPS."""
    try:
        with open_zip(path) as archive:
            return _key({info.filename for info in archive.infolist()}, MAPS) is not None
    except DAMAGED:
        return False


def open_stack(path: str | os.PathLike[str]) -> Source:
    """Open an npz of (wafers, rows, cols) maps with bits of patterns, labels, or neither.

    Raises:
        InputError: damaged, of another shape or kind, too large, a label or a map that is none.
    """
    path = cast(Path, path) if isinstance(path, io.BytesIO) else Path(path)  # an upload is read from memory
    try:
        with open_zip(path) as archive:
            return _open(path, archive, Budget.of_set(path))
    except InputError:
        raise
    except DAMAGED as error:
        raise InputError(
            f"{path}: damaged or truncated npz archive ({reason(error)}); expected a whole one."
        ) from error


def _open(path: Path, archive: zipfile.ZipFile, budget: Budget) -> Source:
    entries = {info.filename for info in archive.infolist()}
    key = _key(entries, MAPS) or MAPS[0]
    maps, notes = _maps(path, archive, key, budget)
    n, *sides = maps.shape
    shapes = np.tile(np.array([sides], np.int32), (n, 1))
    check_shapes(shapes.astype(np.int64), str(path))
    column = partial(read_entry, archive, where=str(path), max_bytes=MAX_CELLS, budget=budget)
    label, patterns = np.full(n, UNLABELLED, np.int8), None
    if bits := _key(entries, BITS):
        names = column("names", kinds="U").ravel().tolist() if "names.npy" in entries else list(PUBLISHED)
        label, patterns, said = _of_bits(column(bits, kinds="iuf", shape=(n, len(names))), names, str(path))
        if bits == BITS[0]:
            notes.append(f"the columns of arr_1 taken as {', '.join(PUBLISHED)}, as MixedWM38 was published")
        notes += said
    elif labels := _key(entries, LABELS):
        label, said = _of_text(path, archive, labels, n, budget)
        notes += said
    else:
        notes.append(f"no labels: none of {', '.join((*BITS, *LABELS))} in it")
    known = bits_of_labels(label) if patterns is None else patterns
    flat, offsets = maps.reshape(-1), offsets_of(shapes)
    unknown = np.zeros(n, "<U1")

    def batches() -> Iterator[WaferSet]:
        for a, b in batch_edges(offsets):
            cells = check_dies(flat[offsets[a] : offsets[b]], shapes[a:b], str(path), first_row=a)
            columns = (unknown[a:b], np.zeros(b - a, np.int32), label[a:b], unknown[a:b])
            yield WaferSet(cells, offsets[a : b + 1] - offsets[a], shapes[a:b], *columns, patterns=known[a:b])

    kind = "npz of MixedWM38" if bits else "npz of maps"
    return Source(path, kind, n, int(offsets[-1]), batches, notes=tuple(notes), several=several_of(known))


def _key(entries: set[str], names: tuple[str, ...]) -> str | None:
    return next((name for name in names if f"{name}.npy" in entries), None)


def _maps(path: Path, archive: zipfile.ZipFile, key: str, budget: Budget) -> tuple[NDArray[np.uint8], list[str]]:
    """Return (n, rows, cols) uint8 maps; 255 stands for a value that is no byte.

    Read in pieces, for the published file holds a die in eight bytes.
    """
    info = archive.getinfo(f"{key}.npy")
    if info.compress_type not in PACKINGS:
        raise InputError(f"{path}: {key} is packed by method {info.compress_type}; expected deflate, as numpy packs.")
    with archive.open(info) as stream:
        try:
            shape, fortran, dtype = read_header(stream)
        except ValueError as error:
            raise InputError(f"{path}: {key} is no npy array ({reason(error)}).") from error
        if dtype.hasobject or dtype.kind not in "iufb":
            raise InputError(
                f"{path}: {key} holds {dtype}; expected whole numbers 0 to 2. Maps of several sizes: save them as a "
                "pandas table (to_pickle), or as one .npy file each in class folders."
            )
        if len(shape) == 4 and shape[3] == 1:  # a channel, as networks want it
            shape = shape[:3]
        if len(shape) != 3 or fortran:
            raise InputError(f"{path}: {key} has shape {shape}; expected (wafers, rows, columns), in C order.")
        if not sides_fit(shape[1:]):
            raise bad_sides(f"{path} {key}", shape[1:])
        claimed = math.prod(shape) * dtype.itemsize
        limit = min(info.compress_size * MAX_EXPANSION, MAX_BYTES)
        if not 1 <= shape[0] <= MAX_WAFERS or stream.tell() + claimed != info.file_size or info.file_size > limit:
            raise InputError(
                f"{path}: {key} claims {shape[0]} wafers in {claimed} bytes, its archive entry has {info.file_size} "
                f"(packed {info.compress_size}, limit {MAX_BYTES}); expected sizes that agree. The file is damaged, "
                "too large or made to exhaust memory."
            )
        budget.unpack(claimed)
        budget.hold(math.prod(shape) + ROW * shape[0], f"{key}, all its maps together")
        flat = np.empty(math.prod(shape), np.uint8)
        step = max(_CHUNK // dtype.itemsize, 1)
        repaired = 0
        for first in range(0, len(flat), step):
            wanted = min(step, len(flat) - first)
            values = np.frombuffer(stream.read(wanted * dtype.itemsize), dtype)
            if len(values) != wanted:
                raise InputError(f"{path}: {key} is truncated.")
            piece = flat[first : first + wanted]
            piece[:] = np.where((values >= 0) & (values < 255) & (values == np.floor(values)), values, 255)
            if key in MAPS[:2]:
                odd = piece == REPAIRED
                repaired += int(odd.sum())
                piece[odd] = Die.FAIL
    note = f"{repaired} dies of state {REPAIRED}, which MixedWM38 does not explain, taken as {int(Die.FAIL)} (fail)"
    return flat.reshape(shape), [note] if repaired else []


def _of_bits(
    bits: NDArray[np.number], names: list[str], where: str
) -> tuple[NDArray[np.int8], NDArray[np.uint8], list[str]]:
    """Return (n,) labels and (n,) patterns by (n, names) bits, and what to say of them."""
    codes = np.array([class_code(str(name), f"{where}: names") for name in names], np.int8)
    if len(set(codes.tolist())) != len(codes) or NONE in codes or UNLABELLED in codes:
        raise InputError(f"{where}: names {', '.join(names)}; expected classes of defects, each once.")
    wrong = (bits != 0) & (bits != 1)
    if wrong.any():
        row = int(wrong.any(axis=1).argmax())
        raise InputError(f"{where} row {row}: bits {bits[row].tolist()}; expected 0 or 1 for each pattern.")
    count = bits.astype(bool).sum(axis=1)
    label = np.where(count == 0, NONE, np.where(count == 1, codes[bits.argmax(axis=1)], UNLABELLED)).astype(np.int8)
    patterns = bits.astype(bool) @ bits_of_labels(codes).astype(np.int64)
    several = int((count > 1).sum())
    said = list(spelling_notes(names, "pattern"))
    if several:
        said.append(f"{several} of {len(bits)} wafers have several patterns, kept as such without a label")
    return label, patterns.astype(np.uint8), said


def _of_text(
    path: Path, archive: zipfile.ZipFile, key: str, n: int, budget: Budget
) -> tuple[NDArray[np.int8], list[str]]:
    with archive.open(f"{key}.npy") as stream:
        try:
            _, _, dtype = read_header(stream)
        except ValueError as error:
            raise InputError(f"{path}: {key} is no npy array ({reason(error)}).") from error
    if dtype.kind != "U":
        raise InputError(
            f"{path}: {key} holds {dtype}; expected names of classes ({', '.join(CLASSES)}), as text: numbers do not "
            "say which class is which. Save it again: labels=np.array(names)[numbers].astype(str)."
        )
    names = read_entry(archive, key, str(path), kinds="U", max_bytes=MAX_CELLS, shape=(n,), budget=budget)
    return class_codes(names, str(path)), list(spelling_notes(np.unique(names).tolist(), "label"))
