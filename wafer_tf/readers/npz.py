"""npz archives of wafer maps: `flat`, `offsets`, `shapes`, `lot`, `wafer_index`, optional `label`, `official_split`."""

import io
import os
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import cast

import numpy as np

from wafer_tf.arrays import DAMAGED, WAFER_SET, checked_entry, open_zip, read_entry, read_header
from wafer_tf.budget import Budget
from wafer_tf.dies import UNLABELLED
from wafer_tf.errors import InputError, reason
from wafer_tf.readers.class_names import class_codes, spelling_notes
from wafer_tf.readers.source import (
    MAX_CELLS,
    ROW,
    Source,
    batch_edges,
    check_dies,
    check_shapes,
    check_splits,
    offsets_of,
    tight,
    whole_numbers,
)
from wafer_tf.waferset import WaferSet


def is_npz_set(path: str | os.PathLike[str]) -> bool:
    """Whether a zip archive holds the columns of a wafer set, or only some of them: then its reader says which."""
    path = Path(path)
    try:
        with open_zip(path) as archive:
            names = {info.filename.removesuffix(".npy") for info in archive.infolist()}
    except DAMAGED:
        return True
    return len(names.intersection(WAFER_SET)) > 1


def open_npz(path: str | os.PathLike[str]) -> Source:
    """Open an npz archive of wafer maps; every declared size is checked before it is allocated.

    Raises:
        InputError: damaged, a key missing, a wrong kind, a size out of range, a map that is none.
    """
    path = cast(Path, path) if isinstance(path, io.BytesIO) else Path(path)  # an upload is read from memory
    with _told(path), ExitStack() as opened:
        source = _open(path, opened.enter_context(open_zip(path)), Budget.of_set(path))
        opened.pop_all()  # the maps stay in the archive until they are wanted
    return source


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """Say of damage in the archive which file it is."""
    try:
        yield
    except InputError:
        raise
    except DAMAGED as error:
        raise InputError(
            f"{path}: damaged or truncated npz archive ({reason(error)}); expected a whole one."
        ) from error


def _open(path: Path, archive: zipfile.ZipFile, budget: Budget) -> Source:
    entries = sorted({info.filename for info in archive.infolist()})
    keys = {name.removesuffix(".npy") for name in entries if name.endswith(".npy")}
    missing = [key for key in WAFER_SET if key not in keys]
    if missing:
        found = ", ".join(name[:80] for name in entries[:8]) or "nothing"
        raise InputError(
            f"{path}: not a wafer file: a zip archive without {', '.join(missing)} (it holds {found}); expected an npz "
            f"with {', '.join(WAFER_SET)}. If it holds LSWMD.pkl, unpack it first."
        )
    column = partial(read_entry, archive, where=str(path), max_bytes=MAX_CELLS, budget=budget)
    shapes = column("shapes", kinds="iu")
    if shapes.ndim != 2 or shapes.shape[1] != 2:
        raise InputError(f"{path}: shapes has shape {shapes.shape}; expected (wafers, 2).")
    check_shapes(shapes.astype(np.int64), str(path))
    shapes = shapes.astype(np.int32)
    n, offsets = len(shapes), offsets_of(shapes)
    budget.hold(ROW * n, f"what is kept of its {n} wafers")
    declared = column("offsets", kinds="iu")
    if not np.array_equal(declared, offsets):
        raise InputError(
            f"{path}: offsets and shapes disagree; expected offsets to be the running sum of rows x columns."
        )
    entry, dtype = checked_entry(
        *(archive, "flat", str(path)), kinds="u", max_bytes=MAX_CELLS, shape=(int(offsets[-1]),), budget=budget
    )
    lot = tight(column("lot", kinds="U", shape=(n,)))
    index = whole_numbers(column("wafer_index", kinds="iuf", shape=(n,)), str(path), column="wafer_index")
    label = np.full(n, UNLABELLED, np.int8)
    notes: tuple[str, ...] = ()
    if "label" in keys:
        names = column("label", kinds="U", shape=(n,))
        label, notes = class_codes(names, str(path)), spelling_notes(np.unique(names).tolist(), "label")
    split = np.zeros(n, "<U1")
    if "official_split" in keys:
        split = tight(check_splits(column("official_split", kinds="U", shape=(n,)), str(path)))

    def batches() -> Iterator[WaferSet]:
        with _told(path), archive.open(entry) as stream:
            read_header(stream)
            for a, b in batch_edges(offsets):
                flat = np.frombuffer(stream.read(int(offsets[b] - offsets[a]) * dtype.itemsize), dtype)
                if len(flat) != offsets[b] - offsets[a]:
                    raise InputError(f"{path}: flat is truncated.")
                cells = check_dies(flat, shapes[a:b], str(path), first_row=a)
                columns = (lot[a:b], index[a:b], label[a:b], split[a:b])
                yield WaferSet(cells, offsets[a : b + 1] - offsets[a], shapes[a:b], *columns)
            stream.read(1)  # at its end the archive's checksum is compared

    return Source(path, "npz archive", n, int(offsets[-1]), batches, archive, notes)
