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
"""A larger picture is made smaller, which also bounds what is kept of it."""
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
                drawn, _ = _fitted(item.picture or b"", item.name)
            except InputError:  # too large or damaged: its reason says so
                continue
            with place:
                st.html(parts.caption(item.name))
                st.image(drawn, width="stretch", alt=item.name)


@st.cache_data(max_entries=8, show_spinner=False, hash_funcs={Options: repr})
def with_grid(picture: bytes, name: str, options: Options) -> NDArray[np.uint8]:
    """Return a picture with the grid that was found in it as lines.

    Args:
        picture: the file.
        name: of the file.
        options: with which it was read.

    Returns:
        (height, width, 3) uint8, red, green, blue; enlarged or made smaller where that shows more.

    Raises:
        InputError: no grid is found in it.
    """
    from wafer_tf.readers.picture import found_grid

    place = found_grid(picture, name, options)
    drawn, factor = _fitted(picture, name, pitch=min(place.pitch_x, place.pitch_y))
    height, width = drawn.shape[:2]
    rows = _lines(place.y0, place.pitch_y, place.rows, factor, side=height)
    cols = _lines(place.x0, place.pitch_x, place.cols, factor, side=width)
    drawn[rows, cols[0] : cols[-1] + 1] = LINE
    drawn[rows[0] : rows[-1] + 1, cols] = LINE
    return drawn


def _lines(first: float, pitch: float, count: int, factor: float, *, side: int) -> NDArray[np.int64]:
    """Return where the (count + 1,) lines around the dies of one direction are, in pixels."""
    places = np.rint((first + pitch * np.arange(count + 1)) * factor).astype(np.int64)
    within: NDArray[np.int64] = np.clip(places, 0, side - 1)
    return within


@st.cache_data(max_entries=8, show_spinner=False)
def _fitted(picture: bytes, name: str, *, pitch: float = ROOM_PX) -> tuple[NDArray[np.uint8], float]:
    """Return a picture at a size to look at, and how much larger it became; raises InputError where it is none."""
    import cv2

    from wafer_tf.readers.picture_bytes import decoded

    pixels = decoded(picture, name)
    largest = max(pixels.shape[:2])
    if largest > MAX_SIDE_PX:
        size = [max(1, round(side * MAX_SIDE_PX / largest)) for side in pixels.shape[1::-1]]
        return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8), MAX_SIDE_PX / largest
    factor = max(1, min(int(np.ceil(ROOM_PX / max(pitch, 1.0))), MAX_SIDE_PX // largest))
    return np.repeat(np.repeat(pixels, factor, axis=0), factor, axis=1), factor
