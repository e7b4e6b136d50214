"""Records of many wafers as columns, as a Parquet file of them, and as JSON lines. Needs pyarrow."""

import io
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import repeat
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edge.station.answers import COLUMNS
from edge.station.records import KEYS, MAX_WORD, OK, to_line
from wafer_tf.decision.sets import Sets
from wafer_tf.dies import CLASSES
from wafer_tf.pattern_bits import JOINED_BY
from wafer_tf.waferset import WaferSet

if TYPE_CHECKING:
    import pyarrow as pa

Columns = dict[str, "pa.Array"]
HASH = "input_sha256"
NUMBERS = ("probability", *CLASSES, "unknown_score")
_DECISION = re.compile(rb'"decision": "(\w+)"')  # a text in a record has no bare quotation marks
GROUP_ROWS = 1 << 16
"""Rows of a row group, more by less than a part."""


def columns_of(
    wafers: WaferSet, calls: Mapping[str, NDArray[Any]], hashes: Iterable[bytes] | None, *, file: str, first: int
) -> Columns:
    """Return what the records of wafers say, by column.

    Args:
        wafers: n of them, one after another in a set.
        calls: of `inference.calls.calls_of`.
        hashes: of `inference.many.map_hashes`; None to leave them out.
        file: the set as it was named.
        first: row of the first wafer in the set, from 0.

    Returns:
        The columns of `answers.COLUMNS`, and HASH if there are hashes.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    n = len(wafers)
    said = {name: _text(getattr(wafers, name)) for name in ("lot", "product", "step", "time")}
    index, row = pa.array(wafers.wafer_index), pa.array(np.arange(first, first + n, dtype=np.int32))
    number = pc.if_else(pc.equal(index, 0), None, index.cast(pa.string()))
    said["wafer"] = pc.coalesce(_text(wafers.wafer_id), number)
    unnamed = pc.binary_join_element_wise(file, row.cast(pa.string()), ":")
    columns = {
        "id": pc.coalesce(pc.binary_join_element_wise(said["lot"], said["wafer"], "/"), unnamed),
        **said,
        **{name: _column(values) for name, values in calls.items()},
        "file": pa.repeat(file, n),
        "map": pa.array(np.arange(first + 1, first + n + 1, dtype=np.int32)),
        **dict.fromkeys(("reason", "format"), pa.nulls(n, pa.string())),
    }
    chosen = {name: columns[name] for name in COLUMNS}
    return chosen if hashes is None else chosen | {HASH: pa.array([name.hex() for name in hashes], pa.string())}


def _column(values: NDArray[Any]) -> "pa.Array":
    """Return what `calls_of` gave as a column, null where it is NaN or None; of objects, which are texts, as texts."""
    import pyarrow as pa

    return pa.array(values, pa.string() if values.dtype == object else None, from_pandas=True)


def _text(texts: NDArray[np.str_]) -> "pa.Array":
    """Return texts, null where there is none, cut as in a record."""
    import pyarrow as pa
    import pyarrow.compute as pc

    try:
        column = pa.array(texts.tolist(), pa.string())
    except UnicodeEncodeError:  # half a surrogate pair, which Arrow does not hold
        column = pa.array([text.encode(errors="backslashreplace").decode() for text in texts.tolist()], pa.string())
    return pc.if_else(pc.equal(column, ""), None, pc.utf8_slice_codeunits(column, 0, MAX_WORD))


def json_lines(columns: Columns, sets: Sets | None = None, *, bundle_sha256: str, ms: float) -> bytes:
    """Return the records as lines; of a set neither format, notes, nor a file's hash are known.

    Args:
        columns: of `columns_of`, with hashes.
        sets: the bundle's prediction sets; None where it has none.
        bundle_sha256: of the bundle that judged.
        ms: milliseconds a wafer.
    """
    known = {name: column.to_pylist() for name, column in columns.items()}
    by_class = list(zip(*(known[name] for name in CLASSES), strict=True))
    fields: dict[str, Iterable[Any]] = {
        **known,
        "bundle_sha256": repeat(bundle_sha256),
        "status": repeat(OK),
        "probabilities": (dict(zip(CLASSES, row, strict=True)) for row in by_class),
        "ms": repeat(round(ms, 3)),
        "notes": repeat([]),
        "file_sha256": repeat(None),
        "maps": repeat(None),
        "set": repeat(None) if sets is None else map(sets.names, np.array(by_class)),
        "patterns": map(_names, known["patterns"]),
    }
    rows = zip(*(fields[key] for key in KEYS), strict=False)  # what repeats has no end
    return "".join(to_line(dict(zip(KEYS, row, strict=True))) for row in rows).encode("ascii")


def _names(text: str | None) -> list[str] | None:
    """Return the patterns of a wafer of which a column says this."""
    return None if text is None else text.split(JOINED_BY) if text else []


def arrow_bytes(columns: Columns) -> bytes:
    """Return the records as an Arrow file, quick to write and to read, for `write_parquet`."""
    import pyarrow as pa

    table, out = pa.table(columns), io.BytesIO()
    with pa.ipc.new_file(out, table.schema) as writer:
        writer.write_table(table)
    return out.getvalue()


def write_json_lines(parts: Iterable[Path], path: Path) -> Counter[str]:
    """Write the records of parts, of `json_lines` each, as one file; return how often each decision is in it."""
    decisions: Counter[str] = Counter()
    with path.open("wb") as file:
        for part in parts:
            lines = part.read_bytes()
            decisions.update(word.decode() for word in _DECISION.findall(lines))
            file.write(lines)
    return decisions


def write_parquet(parts: Iterable[Path], path: Path, *, metadata: Mapping[bytes, bytes]) -> Counter[str]:
    """Write the records of one part or more, of `arrow_bytes` each, as one Parquet file.

    Args:
        parts: in order. Equal parts give equal bytes.
        path: of the file.
        metadata: to keep with the schema.

    Returns:
        How often each decision is in it.
    """
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    writer, held = None, []
    decisions: Counter[str] = Counter()
    try:
        for part in parts:
            with pa.memory_map(str(part)) as file:
                held.append(pa.ipc.open_file(file).read_all())
            for found in pc.value_counts(held[-1]["decision"]).to_pylist():
                decisions[found["values"]] += found["counts"]
            if writer is None:
                schema = held[0].schema.with_metadata(metadata)
                writer = pq.ParquetWriter(
                    path,
                    schema,
                    compression="zstd",
                    compression_level=1,
                    use_dictionary=[name for name in schema.names if name not in NUMBERS],
                    write_page_checksum=True,
                )
            if sum(map(len, held)) >= GROUP_ROWS:
                _write_group(writer, held)
        if writer is not None and held:
            _write_group(writer, held)
    finally:
        if writer is not None:
            writer.close()
    return decisions


def _write_group(writer: Any, held: "list[pa.Table]") -> None:
    import pyarrow as pa

    table = pa.concat_tables(held).replace_schema_metadata(writer.schema.metadata)
    writer.write_table(table, row_group_size=len(table))
    held.clear()
