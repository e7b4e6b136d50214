"""The header of a npy file or archive entry, read before anything of the declared size is allocated."""

import tokenize
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy

_DAMAGED: tuple[type[Exception], ...] = (
    *(ValueError, EOFError, TypeError, KeyError, SyntaxError, tokenize.TokenError, RecursionError, MemoryError),
)
"""What numpy and the Python parser under it raise on a header that is none."""


def read_header(stream: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Return the declared shape and dtype; the stream then stands at the first cell.

    Raises:
        ValueError: no npy header there.
    """
    try:
        version = npy.read_magic(stream)
        header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, _, dtype = header(stream)
    except _DAMAGED as error:
        raise ValueError(str(error).splitlines()[0] if str(error) else type(error).__name__) from error
    if any(type(side) is not int or side < 0 for side in shape):
        raise ValueError(f"shape {shape}")
    return shape, dtype
