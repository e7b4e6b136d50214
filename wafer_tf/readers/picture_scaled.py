"""A picture that is nothing but a map: one pixel a die, or that made larger by a whole or half factor."""

import itertools
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from wafer_tf.dies import MAX_CELLS, MAX_SIDE, MIN_SIDE
from wafer_tf.readers.picture_cells import APART, Cells, Pixels, far, most_common
from wafer_tf.readers.picture_lattice import edges, is_periodic

MAX_FACTOR = 20.0
MAX_PIXELS = 4_000_000
_LIKE = 0.4
"""Of the distance of the two nearest colours: how far a pixel may be from what it should be."""
_WRONG = 0.02
"""Share of the picture's pixels that may be further."""
_WRONG_OF_A_DIE = 0.2
"""Share of a die's pixels that may; half of it where a die has few."""
_WITHIN = (None, 0.0, 0.5)
"""Where nearest-neighbour resizing takes a cell to begin, before its first whole pixel."""
_LEAST_STRETCH = 1.05
_FEW_DIES, _AREAS = 60, 8
_BRIGHTNESS = np.array([0.299, 0.587, 0.114])
_UNLIKE_CELLS = 0.1
_SHADES = 400
_STRAY = 0.002
"""Share of the dies that may have a mixed colour before they are taken for one of the main ones."""


class _Plain(NamedTuple):
    """A picture in a few colours."""

    pixels: Pixels
    colours: list[Pixels]


def scaled(pixels: Pixels) -> Iterator[Cells]:
    """Give the maps that a picture may be a larger copy of, the coarsest first.

    Each is drawn again, by the ways in which pictures are resized, and held against the picture, die by die.
    """
    height, width = pixels.shape[:2]
    if height * width > MAX_PIXELS:
        return
    outside = most_common(np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]]))
    exact = _is_exact(pixels)
    for doubled in range(int(2 * MAX_FACTOR), 2, -1):
        factor = doubled / 2
        if factor < 2 and not exact:  # too few pixels a die to tell its colour from what JPEG or smoothing made
            break
        rows, cols = round(height / factor), round(width / factor)
        if min(rows, cols) < MIN_SIDE or max(rows, cols) > MAX_SIDE or rows * cols > MAX_CELLS:
            continue
        if abs(rows * factor - height) >= 1 or abs(cols * factor - width) >= 1:
            continue
        for within in _WITHIN if factor < 3 else _WITHIN[:1]:
            y, x = _places(rows, height, within), _places(cols, width, within)
            found = _in_few_colours(pixels[y[:, None], x])
            if found is None or (factor >= 3 and not _may_be(pixels, found.pixels)):
                continue
            if _looks_like(pixels, found, exact=exact) and not _is_drawn(found.pixels):
                yield Cells(found.pixels, 0.0, 0.0, width / cols, height / rows, outside)
                break
    if not exact or max(height, width) > MAX_SIDE:
        return
    if not (_is_drawn(pixels) or _is_stretched(pixels) or _is_shapes(pixels)):
        yield Cells(pixels, 0.0, 0.0, 1.0, 1.0, outside)


def _places(count: int, length: int, within: float | None) -> NDArray[np.int64]:
    """Return a pixel of each of `count` cells over `length` pixels: the middle one, or the first after a part of it."""
    cells = np.arange(count)
    if within is None:
        return ((cells + 0.5) * length / count).astype(np.int64)
    return np.ceil(cells * length / count - within).astype(np.int64).clip(0)


def _may_be(pixels: Pixels, plain: Pixels) -> bool:
    """Whether most cells look alike at two more places: a look at a few pixels, before all are looked at."""
    (rows, cols), (height, width) = plain.shape[:2], pixels.shape[:2]
    for part in (0.35, 0.65):
        y, x = (((np.arange(n) + part) * side / n).astype(np.int64) for n, side in ((rows, height), (cols, width)))
        if (far(pixels[y[:, None], x], plain) > 2 * APART).mean() > _UNLIKE_CELLS:
            return False
    return True


def _is_exact(pixels: Pixels) -> bool:
    """Whether a picture has three colours or fewer: no JPEG, nothing smoothed."""
    codes = pixels.astype(np.int32) @ np.array([65536, 256, 1], np.int32)
    return len(np.unique(codes.ravel()[:: max(1, codes.size // 1000)])) <= 3 and len(np.unique(codes)) <= 3


def _in_few_colours(small: Pixels) -> _Plain | None:
    """Return a picture in its two or three main colours, None where it has others."""
    cells = small.reshape(-1, 3)
    shades = (cells[:: max(1, len(cells) // 2000)] >> 4).astype(np.int32) @ np.array([256, 16, 1], np.int32)
    if len(np.unique(shades)) > _SHADES:
        return None
    left, colours = cells, list[Pixels]()
    while len(left) > _STRAY * len(cells) and len(colours) < 3:
        colours.append(most_common(left))
        left = left[far(left, colours[-1]) > APART]  # what lies nearer is one of the mixed colours along edges
    if len(colours) < 2:
        return None
    apart = min(int(far(a, b)) for k, a in enumerate(colours) for b in colours[:k])
    if apart <= APART:
        return None
    seen, of_colours = _seen(small, colours), _seen(np.array(colours), colours)
    which = np.stack([far(seen, colour) for colour in of_colours]).argmin(axis=0)
    return _Plain(np.asarray(np.array(colours, np.uint8)[which], np.uint8), colours)


def _seen(pixels: NDArray[np.uint8], colours: list[Pixels]) -> Pixels:
    """Return pixels as grey where that tells the colours apart: JPEG keeps brightness at twice the sharpness."""
    greys = sorted(float(colour @ _BRIGHTNESS) for colour in colours)
    if min(b - a for a, b in itertools.pairwise(greys)) <= APART:
        return pixels
    grey = (pixels @ _BRIGHTNESS).astype(np.uint8)
    return np.stack([grey] * 3, axis=-1)


def _is_drawn(pixels: Pixels) -> bool:
    """Whether a picture has lines at even distances, as drawings of squares have."""
    return is_periodic(edges(pixels, 1)) or is_periodic(edges(pixels, 0))


def _is_stretched(pixels: Pixels) -> bool:
    """Whether a picture may be a smaller one made larger by some factor from 1.05 up, some of its lines being doubled.

    Such a one never changes at certain lines; a picture of one pixel a die does not at a few, but hardly at just these.
    """
    (height, width), fits = pixels.shape[:2], []
    for axis, length in ((1, width), (0, height)):
        changes = np.zeros(length, bool)
        changes[np.flatnonzero(edges(pixels, axis))] = True
        sizes = range(max(MIN_SIDE, length // 4), int(length / _LEAST_STRETCH) + 1)
        fits.append([size for size in sizes if _fits(changes, size)])
    return any(
        max((width - 0.5) / cols, (height - 0.5) / rows) <= min((width + 0.5) / cols, (height + 0.5) / rows)
        for cols in fits[0]
        for rows in fits[1]
    )


def _fits(changes: NDArray[np.bool_], size: int) -> bool:
    """Whether a line of pixels may be `size` ones made larger, by where it changes."""
    import cv2

    small = np.arange(size, dtype=np.float32)[None]
    for way in (cv2.INTER_NEAREST, cv2.INTER_NEAREST_EXACT):
        large = cv2.resize(small, (len(changes), 1), interpolation=way)[0]
        if changes[1:][large[1:] != large[:-1]].sum() == changes.sum():
            return True
    return False


def _is_shapes(pixels: Pixels) -> bool:
    """Whether a picture is of a few areas alone: a drawing. Of many dies some always differ from those around them."""
    import cv2

    if max(pixels.shape[:2]) <= _FEW_DIES:
        return False
    codes = pixels.astype(np.int32) @ np.array([65536, 256, 1], np.int32)
    areas = [cv2.connectedComponents((codes == code).astype(np.uint8))[0] - 1 for code in np.unique(codes)]
    return bool(sum(areas) <= _AREAS)


def _looks_like(pixels: Pixels, found: _Plain, *, exact: bool) -> bool:
    """Whether a map made as large as the picture looks as the picture does, in each of its dies."""
    import cv2

    plain, colours = found
    if not exact:
        pixels, plain, colours = _seen(pixels, colours), _seen(plain, colours), list(_seen(np.array(colours), colours))
    apart = min(int(far(a, b)) for a, b in itertools.combinations(colours, 2))
    (rows, cols), (height, width) = plain.shape[:2], pixels.shape[:2]
    wrong = _WRONG_OF_A_DIE if height >= 4 * rows else _WRONG_OF_A_DIE / 2
    for way in (cv2.INTER_NEAREST, cv2.INTER_NEAREST_EXACT, cv2.INTER_LINEAR, cv2.INTER_CUBIC, cv2.INTER_AREA):
        unlike = far(cv2.resize(plain, (width, height), interpolation=way), pixels) > _LIKE * apart
        if exact:
            if not unlike.any():
                return True
            continue
        if unlike.mean() > _WRONG:
            continue
        share = cv2.resize(unlike.astype(np.float32), (cols, rows), interpolation=cv2.INTER_AREA)
        if float(share.max()) <= wrong:
            return True
    return False
