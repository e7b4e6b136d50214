"""Read files in a child process, each with the memory that it took."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from tests import ROOT

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
