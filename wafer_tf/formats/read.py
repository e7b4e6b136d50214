"""Read the wafer maps of any file a fab's tool writes. Needs numpy and the standard library alone."""

import importlib
import os
from typing import BinaryIO

from wafer_tf.formats.opened import Opened
from wafer_tf.formats.options import DEFAULT, Options
from wafer_tf.formats.recognise import recognise
from wafer_tf.formats.wafer_map import MapFile


def read_maps(stream: BinaryIO, name: str | os.PathLike[str], options: Options = DEFAULT) -> MapFile:
    r"""Recognise a file by its content and read it.

    Args:
        stream: the file, opened in binary at its start; it must be seekable, and stay open while the wafers are read.
        name: what to call it in an error.
        options: what the file does not say.

    Returns:
        Its format and its wafers, each read when it is asked for.

    Raises:
        InputError: not a file of wafer maps, or a damaged one; also from the wafers' iterator.

    Examples:
        >>> import io
        >>> text = b"x,y,bin\n0,0,1\n1,0,1\n2,0,5\n0,1,1\n1,1,1\n2,1,1\n0,2,1\n1,2,1\n2,2,1\n"
        >>> file = read_maps(io.BytesIO(text), "dies.csv")
        >>> file.format
        'table of dies'
        >>> next(file.wafers).grid.tolist()
        [[1, 1, 2], [1, 1, 1], [1, 1, 1]]
    """
    return read_opened(Opened(stream, os.fspath(name)), options)


def read_opened(file: Opened, options: Options) -> MapFile:
    """Do the same for what is in an archive."""
    module = importlib.import_module(f"wafer_tf.formats.{recognise(file, options)}")
    found: MapFile = module.read(file, options)
    return found
