"""Where answers go: JSON lines or CSV on standard output, or a Parquet file. Needs the standard library alone."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from edge.station.records import Record, to_line
from wafer_tf.dies import CLASSES
from wafer_tf.errors import InputError, UsageError
from wafer_tf.formats.csv_cells import csv_line
from wafer_tf.pattern_bits import JOINED_BY
from wafer_tf.whole_files import whole_path

Write = Callable[[Record], None]
BEFORE = ("id", "lot", "wafer", "product", "step", "time", "label")
AFTER = ("reason", "file", "map", "format", "unknown_score")
COLUMNS = (*BEFORE, "probability", "decision", *CLASSES, *AFTER, "patterns")
"""Of a row: keys of a record, but `probability`, that of the label, the probability of each class by its name, and the
patterns of a wafer that has several as one text, joined by JOINED_BY."""
BATCH = 1000
"""Rows that are in memory at once."""


def row(record: Record) -> list[Any]:
    """Return a record as a row of COLUMNS, None where it says nothing."""
    probabilities, several = record["probabilities"] or {}, record.get("patterns")
    return [
        *(record.get(key) for key in BEFORE),
        probabilities.get(record["label"]),
        record["decision"],
        *(probabilities.get(name) for name in CLASSES),
        *(record.get(key) for key in AFTER),
        None if several is None else JOINED_BY.join(several),
    ]


def say(text: str) -> None:
    """Print to standard output at once.

    Raises:
        BrokenPipeError: who read it went away.
        InputError: it cannot be written otherwise.
    """
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    try:
        # A lot's name may hold what the terminal's code page does not.
        sys.stdout.write(text.encode(encoding, "backslashreplace").decode(encoding))
        sys.stdout.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python fails once more when it ends
        if isinstance(error, BrokenPipeError):
            raise
        raise InputError(f"standard output: cannot be written ({error.strerror}); the last record is lost.") from error


@contextmanager
def json_lines() -> Iterator[Write]:
    """Give what prints a record as a JSON line."""
    yield lambda record: say(to_line(record))


@contextmanager
def csv_rows() -> Iterator[Write]:
    """Give what prints a record as a row of CSV, after the header; texts are cells as `as_cell` makes them."""
    if hasattr(sys.stdout, "reconfigure"):  # a lot's name may hold what the terminal's code page does not
        sys.stdout.reconfigure(encoding="utf-8")
    say(csv_line(COLUMNS))
    yield lambda record: say(csv_line(row(record)))


@contextmanager
def parquet_file(path: str | os.PathLike[str], *, overwrite: bool = False) -> Iterator[Write]:
    """Give what adds a record to a Parquet file, which is there, whole, when the block ends without an error.

    Raises:
        UsageError: the file cannot be made, or is there and may not be replaced.
        ModuleNotFoundError: pyarrow is not installed.
    """
    path = Path(path)
    if path.is_dir() or not path.absolute().parent.is_dir():
        raise UsageError(f"--parquet {path}: expected a file in a folder that is there.")
    if path.exists() and not overwrite:
        raise UsageError(f"--parquet {path}: is there already; add --overwrite or choose another file.")
    # By name: a station does without it, unless it is asked for.
    pa, parquet = import_module("pyarrow"), import_module("pyarrow.parquet")
    numbers = ("probability", *CLASSES, "unknown_score")
    kinds = {"map": pa.int32(), **dict.fromkeys(numbers, pa.float64())}
    schema = pa.schema([(name, kinds.get(name, pa.string())) for name in COLUMNS])
    rows: list[list[Any]] = []
    with whole_path(path) as partial, parquet.ParquetWriter(partial, schema, write_page_checksum=True) as writer:

        def flush() -> None:
            columns = zip(*rows, strict=True) if rows else ([] for _ in COLUMNS)
            writer.write_table(pa.table([list(column) for column in columns], schema=schema))
            rows.clear()

        def add(record: Record) -> None:
            rows.append(row(record))
            if len(rows) >= BATCH:
                flush()

        yield add
        flush()
