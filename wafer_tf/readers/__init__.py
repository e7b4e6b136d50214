"""Wafer-map files of every supported format, read as one WaferSet.

The format is told by content, never by name.
"""

import os
from pathlib import Path

from wafer_tf.command import says_what_to_install
from wafer_tf.errors import InputError
from wafer_tf.formats.options import DEFAULT, Options
from wafer_tf.readers.folder import open_folder
from wafer_tf.readers.lswmd import PICKLE_STARTS, open_lswmd
from wafer_tf.readers.mixedwm38 import is_stack, open_stack
from wafer_tf.readers.npz import is_npz_set, open_npz
from wafer_tf.readers.packed_pickle import is_packed_table, open_packed, zipped_table
from wafer_tf.readers.parquet import is_table_of_dies, open_parquet, write_batches, write_parquet
from wafer_tf.readers.source import Source
from wafer_tf.readers.tool_files import open_tool_file
from wafer_tf.waferset import WaferSet

__all__ = ["open_source", "read", "write_batches", "write_parquet"]

ACCEPTED = (
    "a file of a prober, tester or inspection tool (STDF, KLARF, SEMI E142 or G85, SINF, ...), a table of dies, a "
    "grid, a Parquet or npz wafer set, MixedWM38, LSWMD.pkl, or a folder of any of these"
)


@says_what_to_install()
def read(path: str | os.PathLike[str], *, options: Options = DEFAULT, progress: bool = False) -> WaferSet:
    """Read every wafer of a file into memory.

    Args:
        path: a file of a fab's tool (STDF, KLARF, SEMI E142 or G85, SINF, a table of dies, ...), a grid, a Parquet or
            npz wafer set, LSWMD.pkl, or a folder of any of these; its sub-folders may name classes.
        options: what the files do not say: `wafer_tf.formats.options.Options`.
        progress: show a bar on stderr where reading takes long, and say there what was assumed or matched.

    Returns:
        The wafers in the order of the file, labelled and unlabelled.

    Raises:
        InputError: no such file, not a wafer file, damaged, unsafe, or with a map that is none.

    Examples:
        >>> import tempfile
        >>> from wafer_tf.synthesis import synthesize
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_parquet(synthesize(2, seed=0).wafers, f"{folder}/maps.parquet")
        ...     len(read(f"{folder}/maps.parquet"))
        18
    """
    with open_source(path, options=options, progress=progress) as source:
        if progress:
            source.tell()
        return source.collect()


def open_source(path: str | os.PathLike[str], *, options: Options = DEFAULT, progress: bool = False) -> Source:
    """Open a file of wafers for reading in batches; close it by `with`. See `read`."""
    if not str(path):
        raise InputError(f"no path; expected {ACCEPTED}.")
    path = Path(path)
    if path.is_dir():
        return open_folder(path, options, progress=progress)
    if not path.exists():
        raise InputError(f"{path}: no such file or folder; expected {ACCEPTED}.")
    if not path.is_file():
        raise InputError(f"{path}: not a wafer file: a device or pipe; expected {ACCEPTED}.")
    with path.open("rb") as stream:
        start = stream.read(8)
    if start.startswith(b"PAR1") and not is_table_of_dies(path):
        return open_parquet(path)
    if start.startswith(b"PK\x03\x04") and (table := zipped_table(path)):
        return open_packed(path, member=table, progress=progress)
    if start.startswith(b"PK\x03\x04") and is_stack(path):
        return open_stack(path)
    if start.startswith(b"PK\x03\x04") and is_npz_set(path):
        return open_npz(path)
    if is_packed_table(path, start):
        return open_packed(path, progress=progress)
    if start.startswith(PICKLE_STARTS):
        return open_lswmd(path, progress=progress)
    return open_tool_file(path, options)
