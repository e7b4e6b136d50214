"""One wafer map in numpy's own format, .npy. Needs numpy alone."""

from wafer_tf.formats.grids import MAX_BYTES, MAX_HEADER, npy_drawn, wafer_of
from wafer_tf.formats.opened import Opened
from wafer_tf.formats.options import DEFAULT, Options
from wafer_tf.formats.wafer_map import MapFile


def read(file: Opened, options: Options = DEFAULT) -> MapFile:
    """Read a npy file of one map, (rows, cols) numbers.

    Raises:
        InputError: not a whole npy file of one map, not a map, or one whose values hardly are die states.
    """
    found = npy_drawn(file.whole(MAX_BYTES + MAX_HEADER), file.name, options)
    return MapFile(format="npy", wafers=iter([wafer_of(found, file.name, options)]))
