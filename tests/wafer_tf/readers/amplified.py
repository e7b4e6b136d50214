"""Files of equal wafers by the thousand; and what it takes to read files, each in a child process."""

import io
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tests import ROOT
from wafer_tf.readers.parquet import schema

MB = 2**20
_CHILD = """
import json, re, resource, sys
import numpy, pyarrow.parquet, openpyxl
import wafer_tf.formats.read
from wafer_tf.errors import InputError
from wafer_tf.readers import open_source
def status(field):
    return int(re.search(field + r":\\s+(\\d+)", open("/proc/self/status").read())[1]) * 1024
resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
for path in sys.argv[1:]:
    open("/proc/self/clear_refs", "w").write("5")
    before, said, wafers = status("VmRSS"), "", 0
    try:
        with open_source(path) as source:
            for batch in source.batches():
                wafers += len(batch)
    except InputError as error:
        said = str(error)
    print(json.dumps([wafers, said, status("VmHWM") - before]), flush=True)
"""


class Found(NamedTuple):
    """What became of a file: the wafers read in batches, the refusal, and the bytes of memory beyond those before."""

    wafers: int
    said: str
    peak: int


def found(paths: Sequence[Path]) -> list[Found]:
    """Read files one after another."""
    done = subprocess.run(
        [sys.executable, "-c", _CHILD, *map(str, paths)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return [Found(*json.loads(line)) for line in done.stdout.splitlines()]


def within(one: Found, size: int) -> bool:
    """Whether reading a file of `size` bytes took no more memory than any may."""
    return one.peak <= max(256 * MB, 4 * size)


def constant(value: Any, rows: int, kind: pa.DataType) -> pa.Array:
    return pa.DictionaryArray.from_arrays(
        pa.array(np.zeros(rows, np.int8)), pa.array([value], kind)
    ).dictionary_decode()


def a_set(rows: int, *, dies: pa.Array | None = None, side: int = 3, lot: str = "a", **writing: Any) -> bytes:
    """Return a set of equal wafers, of columns that Arrow packs to next to nothing."""
    columns: dict[str, pa.Array] = {
        "dies": constant(bytes([1]) * (side * side), rows, pa.binary()) if dies is None else dies,
        "rows": constant(side, rows, pa.int32()),
        "cols": constant(side, rows, pa.int32()),
        "lot": constant(lot, rows, pa.string()),
        "wafer_index": constant(0, rows, pa.int32()),
        "label": constant("none", rows, pa.string()),
        "split": constant("", rows, pa.string()),
    }
    fields = [field for field in schema() if field.name in columns]
    table = pa.Table.from_arrays(list(columns.values()), schema=pa.schema(fields, metadata=schema().metadata))
    out = io.BytesIO()
    pq.write_table(table, out, compression="zstd", **writing)
    return out.getvalue()
