"""The Parquet wafer set: one row per wafer, readable by any engine, written whole or not at all."""

import io
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from wafer_tf.arrays import MAX_TEXT
from wafer_tf.budget import Budget
from wafer_tf.dies import CLASSES
from wafer_tf.errors import InputError, reason
from wafer_tf.pattern_bits import bits_of_labels, check_patterns, pattern_bits, pattern_texts, several_of
from wafer_tf.readers.class_names import class_codes, spelling_notes
from wafer_tf.readers.parquet_pages import DICTIONARY, Chunk, check_footer, check_pages
from wafer_tf.readers.source import (
    BATCH_CELLS,
    MAX_WAFERS,
    ROW,
    Source,
    batch_edges,
    check_dies,
    check_shapes,
    check_splits,
    offsets_of,
    tight,
)
from wafer_tf.waferset import OPTIONAL_COLUMNS, WaferSet
from wafer_tf.whole_files import whole_file

if TYPE_CHECKING:
    import pyarrow as pa

FORMAT = b"wafer_tf wafer set 1"
COLUMNS = ("dies", "rows", "cols", "lot", "wafer_index", "label", "split")
PATTERNS = "patterns"
"""The column that a set has where some wafer has several patterns: their names, joined by a plus sign."""
TEXTS = ("lot", "split", "label")
"""Columns of text that every set has; OPTIONAL_COLUMNS of `waferset` came later, so that old sets lack them."""
ZSTD_LEVEL = 1
MAX_GROUP_CELLS = 1 << 30


def schema(*, several: bool = False) -> "pa.Schema":
    """Return the columns of a wafer set on disk, PATTERNS among them where `several`, and the metadata that says so."""
    import pyarrow as pa

    types = (pa.binary(), pa.int32(), pa.int32(), pa.string(), pa.int32(), pa.string(), pa.string())
    fields = [pa.field(name, kind, nullable=name == "label") for name, kind in zip(COLUMNS, types, strict=True)]
    fields += [pa.field(name, pa.string()) for name in (*OPTIONAL_COLUMNS, *([PATTERNS] if several else []))]
    return pa.schema(fields, metadata={b"format": FORMAT, b"classes": json.dumps(CLASSES).encode()})


def write_parquet(waferset: WaferSet, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
    """Write a wafer set; see `write_batches`."""
    pieces = (waferset.select(np.arange(a, b)) for a, b in batch_edges(waferset.offsets))
    write_batches(pieces, path, overwrite=overwrite, several=bool(waferset.several.any()))


def check_target(path: str | os.PathLike[str], *, overwrite: bool) -> None:
    """Refuse to write where a file exists already, or where no folder is."""
    path = Path(path)
    if path.is_dir():
        raise InputError(f"{path}: is a folder; expected the name of a Parquet file to write.")
    if path.exists() and not path.is_file():
        raise InputError(f"{path}: is a device or pipe; expected the name of a Parquet file to write.")
    if path.exists() and not overwrite:
        raise InputError(f"{path}: exists already; pass --overwrite to replace it, or name another file.")
    if not path.parent.is_dir():
        raise InputError(f"{path.parent}: no such folder; make it first.")


def write_batches(
    batches: Iterable[WaferSet], path: str | os.PathLike[str], *, overwrite: bool = False, several: bool = False
) -> None:
    """Write wafer sets one after another as one Parquet file, a row group each.

    The file appears under its name when it is complete; whatever goes wrong, nothing half-made is left.

    Args:
        batches: the sets.
        path: the file to write.
        overwrite: replace it where it exists.
        several: keep every wafer's patterns in a column of their own, for some wafer may have several.

    Raises:
        InputError: the file exists and `overwrite` is not set; no such folder; the disk is full or not writable; a
            wafer of several patterns, and `several` is not set.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = Path(path)
    check_target(path, overwrite=overwrite)
    layout = schema(several=several)
    try:
        with (
            whole_file(path) as file,
            pq.ParquetWriter(
                pa.PythonFile(file, mode="w"),
                layout,
                compression="zstd",
                compression_level=ZSTD_LEVEL,
                use_dictionary=[name for name in layout.names if name != "dies"],
                write_statistics=[name for name in layout.names if name != "dies"],
                write_page_checksum=True,
            ) as writer,
        ):
            for batch in batches:
                writer.write_table(_table(batch, layout), row_group_size=len(batch))
    except OSError as error:
        raise InputError(f"{path}: could not be written ({error.strerror or error}); nothing was kept.") from error


def _table(batch: WaferSet, layout: "pa.Schema") -> "pa.Table":
    import pyarrow as pa

    if PATTERNS not in layout.names and batch.several.any():
        raise InputError("wafer set: a wafer of several patterns, and no column for them; pass several=True.")
    dies = pa.Array.from_buffers(
        pa.binary(), len(batch), [None, pa.py_buffer(batch.offsets.astype(np.int32)), pa.py_buffer(batch.flat)]
    )
    names = np.array([*CLASSES, None], dtype=object)  # UNLABELLED is -1: the last
    texts = [getattr(batch, name) for name in OPTIONAL_COLUMNS]
    if PATTERNS in layout.names:
        texts.append(pattern_texts(batch.patterns))
    columns: list[Any] = [
        dies,
        pa.array(batch.shapes[:, 0].astype(np.int32)),
        pa.array(batch.shapes[:, 1].astype(np.int32)),
        pa.array(batch.lot.tolist(), pa.string()),
        pa.array(batch.wafer_index.astype(np.int32)),
        pa.array(names[batch.label], pa.string()),
        pa.array(batch.official_split.tolist(), pa.string()),
        *(pa.array([text or None for text in column.tolist()], pa.string()) for column in texts),
    ]
    return pa.Table.from_arrays(columns, schema=layout)


def is_table_of_dies(path: str | os.PathLike[str] | io.BytesIO) -> bool:
    """Whether a Parquet file has none of the columns that a wafer set alone has: then a row of it may be a die."""
    path = path if isinstance(path, io.BytesIO) else Path(path)
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        check_footer(path)
        return not {"dies", "rows", "cols"}.intersection(pq.read_schema(path).names)
    except (InputError, pa.ArrowException, OSError, UnicodeDecodeError):  # whoever reads it says so
        return False


def open_parquet(path: str | os.PathLike[str]) -> Source:
    """Open a Parquet wafer set; its format, class order and every declared size are checked.

    Raises:
        InputError: damaged, of another format version or class order, a column missing, a map that is none; made to
            exhaust memory.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = cast(Path, path) if isinstance(path, io.BytesIO) else Path(path)  # an upload is read from memory
    try:
        check_footer(path)
        found = pq.read_schema(path)
        _check_layout(path, found)
        more = [name for name in (*OPTIONAL_COLUMNS, PATTERNS) if name in found.names]
        file = pq.ParquetFile(path, read_dictionary=["dies", *TEXTS, *more], page_checksum_verification=True)
        rows, budget = file.metadata.num_rows, Budget.of_set(path)
        if rows > MAX_WAFERS:
            raise InputError(f"{path}: {rows} wafers; expected at most {MAX_WAFERS}. Split the file.")
        budget.hold(rows * ROW, f"what is kept of its {rows} rows")
        pages = check_pages(path, file.metadata, [*COLUMNS, *more], budget)
        if not any(DICTIONARY & chunk.encodings for chunk in pages["dies"]):
            file = pq.ParquetFile(path, read_dictionary=[*TEXTS, *more], page_checksum_verification=True)
        small = file.read([name for name in (*COLUMNS, *more) if name != "dies"])
        small.validate(full=True)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise _damaged(path, error) from error
    for name in ("rows", "cols", "lot", "wafer_index", "split"):
        if small[name].null_count:
            raise InputError(f"{path}: column {name} has {small[name].null_count} empty values; expected none.")
    sides = np.stack([small["rows"].to_numpy(), small["cols"].to_numpy()], axis=1)
    check_shapes(sides.astype(np.int64), str(path))
    shapes = sides.astype(np.int32)
    unpacked = sum(chunk.size for chunk in pages["dies"])
    budget.unpack(max(0, int(sides.astype(np.int64).prod(axis=1).sum()) - unpacked))  # by references to a dictionary
    lot, split, names = (_text(path, small[name], name, budget) for name in TEXTS)
    index = small["wafer_index"].to_numpy().astype(np.int32)
    label, notes = class_codes(names, str(path)), spelling_notes(np.unique(names).tolist(), "label")
    check_splits(split, str(path))
    said = {name: _text(path, small[name], name, budget) for name in more}
    patterns = _patterns(path, said.pop(PATTERNS, None), label)

    def batches() -> Iterator[WaferSet]:
        first = 0
        for group in range(file.num_row_groups):
            last = first + file.metadata.row_group(group).num_rows
            for a, b, flat in _dies(path, file, group, pages["dies"][group], shapes[first:last], first):
                columns = (lot[a:b], index[a:b], label[a:b], split[a:b])
                texts: dict[str, Any] = {name: column[a:b] for name, column in said.items()}
                yield WaferSet(flat, offsets_of(shapes[a:b]), shapes[a:b], *columns, **texts, patterns=patterns[a:b])
            first = last

    cells = int(offsets_of(shapes)[-1])
    return Source(path, "Parquet wafer set", len(shapes), cells, batches, file, notes, several_of(patterns))


def _patterns(path: Path, texts: NDArray[np.str_] | None, label: NDArray[np.int8]) -> NDArray[np.uint8]:
    """Return (n,) patterns by their names; those of the label where there are none."""
    bits = bits_of_labels(label)
    if texts is None:
        return bits
    known, first, places = np.unique(texts, return_index=True, return_inverse=True)
    rows = zip(known.tolist(), first.tolist(), strict=True)
    given = np.array([pattern_bits(text, f"{path} row {row}") for text, row in rows], np.uint8)[places]
    return check_patterns(np.where(texts == "", bits, given), label, f"{path} row")


def _dies(
    path: Path, file: Any, group: int, claimed: Chunk, shapes: NDArray[np.int32], first: int
) -> Iterator[tuple[int, int, NDArray[np.uint8]]]:
    """Give (from row, to row, cells) of one row group, in pieces of at most about BATCH_CELLS cells."""
    import pyarrow as pa

    cells = shapes.astype(np.int64).prod(axis=1)
    expected, most = int(cells.sum()), int(cells.max(initial=1))
    if claimed.size > 2 * expected + 64 * len(shapes) + (1 << 20) or expected > MAX_GROUP_CELLS:
        raise InputError(
            f"{path}: row group {group} claims {claimed.size} bytes for {expected} cells; expected about as many, and "
            f"at most {MAX_GROUP_CELLS}. The file is damaged, or was written in too large row groups."
        )
    step = len(shapes) if expected <= BATCH_CELLS else max(1, BATCH_CELLS // most)
    done = 0
    try:
        for batch in file.iter_batches(step, row_groups=[group], columns=["dies"], use_threads=False):
            part = shapes[done : done + len(batch)]
            flat = _cells_of(path, batch.column(0), part, first + done)
            yield first + done, first + done + len(part), check_dies(flat, part, str(path), first_row=first + done)
            done += len(batch)
    except (pa.ArrowException, OSError) as error:
        raise _damaged(path, error) from error
    if done != len(shapes):
        raise _damaged(path, ValueError(f"row group {group} holds {done} maps, its header says {len(shapes)}"))


def _cells_of(path: Path, column: Any, shapes: NDArray[np.int32], first: int) -> NDArray[np.uint8]:
    """Return the cells of some maps one after another; references to a dictionary are followed when all sizes fit."""
    import pyarrow as pa

    if column.null_count or len(column) != len(shapes):
        row = first + int(np.argmax(column.is_null().to_numpy(zero_copy_only=False)))
        raise InputError(f"{path} row {row}: no dies; expected a map.")
    referring = pa.types.is_dictionary(column.type)
    if referring:
        column.validate(full=True)
    starts, _ = _bounds(column.dictionary if referring else column)
    sizes = np.diff(starts)[column.indices.to_numpy()] if referring else np.diff(starts)
    wrong = sizes != shapes.prod(axis=1)
    if wrong.any():
        row = int(wrong.argmax())
        raise InputError(
            f"{path} row {first + row}: {sizes[row]} bytes of dies for {shapes[row, 0]} rows x {shapes[row, 1]} "
            "columns; expected one byte per cell."
        )
    starts, content = _bounds(column.dictionary_decode() if referring else column)
    return content[starts[0] : starts[-1]]


def _bounds(column: Any) -> tuple[NDArray[np.int32], NDArray[np.uint8]]:
    """Return where each of some bytes begins, and the last ends, in the content of all."""
    _, starts, content = column.buffers()
    return (
        np.frombuffer(starts, np.int32)[column.offset : column.offset + len(column) + 1],
        np.frombuffer(content or b"", np.uint8),
    )


def _check_layout(path: Path, found: "pa.Schema") -> None:
    metadata = found.metadata or {}
    twice = [name for name in (*COLUMNS, *OPTIONAL_COLUMNS, PATTERNS) if found.names.count(name) > 1]
    if twice:
        raise InputError(f"{path}: two columns {twice[0]}; expected one each of {', '.join(COLUMNS)}.")
    missing = [name for name in COLUMNS if name not in found.names]
    if missing:
        raise InputError(
            f"{path}: column {', '.join(missing)} is missing (it has {', '.join(found.names)}); "
            f"expected a wafer set with {', '.join(COLUMNS)}."
        )
    if metadata.get(b"format") != FORMAT:
        raise InputError(
            f"{path}: format {metadata.get(b'format', b'not stated').decode('utf-8', 'replace')!r}; expected "
            f"{FORMAT.decode()!r}. Make it again with python -m wafer_tf.readers."
        )
    if metadata.get(b"classes") != json.dumps(CLASSES).encode():
        raise InputError(
            f"{path}: classes {metadata.get(b'classes', b'not stated').decode('utf-8', 'replace')}; "
            f"expected {json.dumps(CLASSES)}, in this order."
        )
    for field in schema(several=True):
        if field.name in (*OPTIONAL_COLUMNS, PATTERNS) and field.name not in found.names:
            continue
        if found.field(field.name).type != field.type:
            raise InputError(f"{path}: column {field.name} is {found.field(field.name).type}; expected {field.type}.")


def _text(path: Path, column: Any, name: str, budget: Budget) -> NDArray[np.str_]:
    """Return a column read as dictionaries, so that one long text repeated cannot fill the memory."""
    words = [[*chunk.dictionary.to_pylist(), ""] for chunk in column.chunks]
    longest = max((len(word or "") for part in words for word in part), default=0)
    if longest > MAX_TEXT:
        raise InputError(f"{path}: {name} holds a text of {longest} characters; expected at most {MAX_TEXT}.")
    budget.hold(4 * max(longest, 1) * (len(column) + max(map(len, words), default=0)), f"column {name}")
    found, done = np.zeros(len(column), f"<U{max(longest, 1)}"), 0
    for part, chunk in zip(words, column.chunks, strict=True):
        places = chunk.indices.fill_null(len(part) - 1).to_numpy()
        found[done : done + len(chunk)] = np.array(part, dtype=np.str_)[places]
        done += len(chunk)
    return tight(found)


def _damaged(path: Path, error: Exception) -> InputError:
    return InputError(f"{path}: damaged or truncated Parquet file ({reason(error)}); expected a whole wafer set.")
