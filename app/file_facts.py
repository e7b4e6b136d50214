"""What an uploaded file says of a wafer, and where in a picture its dies were found."""

from collections.abc import Sequence

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from app import parts
from app.answers import Origin
from app.uploads import Rejected
from edge.station.inspect import facts_of
from wafer_tf.errors import InputError
from wafer_tf.formats.options import Options

LINE = np.array([255, 0, 255], np.uint8)
"""Magenta, red, green, blue: no map's usual colour."""
ROOM_PX = 8
"""Pixels that a die has at least once lines are drawn; a picture of smaller ones is enlarged."""
MAX_SIDE_PX = 2000
"""Side of a picture beyond which it is not enlarged."""
MAX_REFUSED = 3


def show(origin: Origin) -> None:
    """Show what a file says of a wafer, and of a picture the grid that was found in it."""
    with st.expander("What the file says", expanded=origin.picture is not None):
        known = parts.facts([("file", origin.file), ("format", origin.format), *facts_of(origin.found)])
        if origin.picture is None:
            st.html(known)
            return
        left, right = st.columns([1.1, 1], gap="medium")
        left.html(known)
        with right:
            st.html(parts.caption("The grid that was found. Where its lines do not part the dies, the map is wrong."))
            drawn = with_grid(origin.picture, origin.file, origin.options)
            st.image(drawn, width="stretch", alt=f"{origin.file} with the grid that was found in it")


def show_refused(rejected: Sequence[Rejected]) -> None:
    """Show the first pictures that were refused, so that one sees which they are beside the reason."""
    pictures = [item for item in rejected if item.picture is not None][:MAX_REFUSED]
    if not pictures:
        return
    with st.expander("The pictures that were refused"):
        for place, item in zip(st.columns(MAX_REFUSED), pictures, strict=False):
            try:
                drawn = _pixels(item.picture or b"", item.name)
            except InputError:  # too large or damaged: its reason says so
                continue
            with place:
                st.html(parts.caption(item.name))
                st.image(drawn, width="stretch", alt=item.name)


@st.cache_data(max_entries=16, show_spinner=False, hash_funcs={Options: repr})
def with_grid(picture: bytes, name: str, options: Options) -> NDArray[np.uint8]:
    """Return a picture, (height, width, 3) uint8, red, green, blue, with the grid that was found in it as lines.

    Raises:
        InputError: no grid is found in it.
    """
    from wafer_tf.readers.picture import found_grid

    place = found_grid(picture, name, options)
    drawn = _pixels(picture, name)
    height, width = drawn.shape[:2]
    pitch = max(min(place.pitch_x, place.pitch_y), 1.0)
    factor = max(1, min(int(np.ceil(ROOM_PX / pitch)), MAX_SIDE_PX // max(height, width)))
    if factor > 1:
        drawn = np.repeat(np.repeat(drawn, factor, axis=0), factor, axis=1)
    else:
        drawn = drawn.copy()
    rows = np.rint((place.y0 + place.pitch_y * np.arange(place.rows + 1)) * factor).astype(int)
    cols = np.rint((place.x0 + place.pitch_x * np.arange(place.cols + 1)) * factor).astype(int)
    rows, cols = (np.clip(lines, 0, side * factor - 1) for lines, side in ((rows, height), (cols, width)))
    drawn[rows, cols[0] : cols[-1] + 1] = LINE
    drawn[rows[0] : rows[-1] + 1, cols] = LINE
    return drawn


def _pixels(picture: bytes, name: str) -> NDArray[np.uint8]:
    from wafer_tf.readers.picture_bytes import decoded

    return decoded(picture, name)
