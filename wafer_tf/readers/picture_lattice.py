"""Find a grid of drawn squares in a picture: how far its lines are apart, where they begin, what each cell shows.

Where neighbouring dies, or a die and the line round it, differ in colour, the picture has an edge. Summed along the
columns, such edges stand at the lines of the grid: as far apart as the dies, whatever else is drawn beside it.
Fourier's transform of that sum shows the pitch; of its multiples, the coarsest grid is taken whose cells are of one
colour each.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from wafer_tf.readers.picture_cells import SAME, Cells, Pixels, far, most_common, sampled

MIN_PITCH = 2.5
MIN_LINES = 4
MAX_CELLS = 1_000_000
COHERENCE = 0.35
"""How much of the edges must lie at one phase of the pitch, 0 to 1."""
PERIODIC = 0.5
_EDGE = 24
"""Least difference of neighbouring pixels that is an edge; JPEG leaves less within a colour."""
_STRONG = 96
_PARTS = (0.3, 0.5, 0.7)
_UNLIKE = 40
_TRIED, _WORK = 80, 4_000_000
"""Most grids that are tried, and cells of them all."""
_OFF_PIXELS, _OFF = 0.65, 0.12
"""How far the middle of a line's edges may be from where it should be: in pixels, or as a part of the pitch."""
_ROUGHLY = 0.8
_MOSTLY = 0.97
_CLIPPED = 3.0
"""Times the median."""
_ROWS = 256


def edges(pixels: Pixels, axis: int) -> NDArray[np.float64]:
    """Return how much colours change across each boundary between columns (axis 1) or rows (axis 0), ends included."""
    length = pixels.shape[axis]
    total = np.zeros(length + 1)
    for first in range(0, pixels.shape[0], _ROWS):
        piece = pixels[first : first + _ROWS + (axis == 0)]
        if piece.shape[axis] < 2:
            continue
        ahead, behind = (piece[1:], piece[:-1]) if axis == 0 else (piece[:, 1:], piece[:, :-1])
        apart = far(ahead, behind)
        apart[apart < _EDGE] = 0
        found = np.minimum(apart, _STRONG).sum(axis=1 - axis, dtype=np.float64)
        start = first if axis == 0 else 0
        total[start + 1 : start + 1 + len(found)] += found
    return total


def clipped(energy: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return edges of which none weighs much more than most: a frame round the grid would drown its lines."""
    return np.minimum(energy, _CLIPPED * np.median(energy[energy > 0])) if energy.any() else energy


def coherence(energy: NDArray[np.float64], pitches: NDArray[np.float64]) -> NDArray[np.complex128]:
    """Return for each pitch how much of the edges lies at one phase of it: its size 0..1, its angle the phase."""
    used = np.flatnonzero(energy)
    turns = np.exp(-2j * np.pi * np.outer(1 / pitches, used))
    phases: NDArray[np.complex128] = turns @ energy[used] / energy.sum()
    return phases


def pitches(energy: NDArray[np.float64]) -> list[float]:
    """Return likely pitches, the largest first."""
    if not energy.any():
        return []
    length = len(energy)
    size = 1 << int(np.ceil(np.log2(8 * length)))
    size_of = np.abs(np.fft.rfft(energy, size)) / energy.sum()
    lowest, highest = int(np.ceil(size * MIN_LINES / length)), int(size / MIN_PITCH)
    if highest - lowest < 3:
        return []
    middle = size_of[lowest:highest]
    peaks = np.flatnonzero(
        (middle >= size_of[lowest - 1 : highest - 1]) & (middle >= size_of[lowest + 1 : highest + 1])
    )
    good = peaks[middle[peaks] >= max(COHERENCE, 0.5 * float(middle.max()))]
    return [size / float(peak + lowest) for peak in good[:5]]


def is_periodic(energy: NDArray[np.float64]) -> bool:
    """Whether edges stand at even distances of more than a few pixels: such a picture is not of one pixel a die."""
    if not energy.any() or len(energy) < 8 * MIN_LINES:
        return False
    size = 1 << int(np.ceil(np.log2(8 * len(energy))))
    size_of = np.abs(np.fft.rfft(energy, size)) / energy.sum()
    return bool(size_of[int(size * MIN_LINES / len(energy)) : int(size / MIN_PITCH)].max(initial=0.0) > PERIODIC)


def refined(energy: NDArray[np.float64], pitch: float) -> tuple[float, float]:
    """Return the pitch and the place of a line, where the edges agree best with them."""
    span = max(float(np.ptp(np.flatnonzero(energy))), 1.0)
    reach = 0.5 / span  # in turns a pixel: half a line over the whole grid
    turns = 1 / pitch
    for _ in range(4):
        tried = turns + np.linspace(-reach, reach, 41)
        turns = float(tried[np.abs(coherence(energy, 1 / tried)).argmax()])
        reach /= 10
    phase = float(np.angle(coherence(energy, np.array([1 / turns]))[0]))
    return 1 / turns, (-phase / (2 * np.pi) / turns) % (1 / turns)


def lattices(pixels: Pixels) -> Iterator[Cells]:
    """Give the grids a picture may hold, the coarsest first, each cut to its own box; to be judged by their colours."""
    outside = most_common(np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]]))
    across, down = edges(pixels, 1), edges(pixels, 0)
    if not across.any() or not down.any():
        return
    likely = [pitch for e in (across, down) for pitch in (*pitches(e), *pitches(clipped(e)))]
    of_x, of_y = ({round(pitch, 1): refined(e, pitch) for pitch in likely} for e in (across, down))
    tried = [(x, y) for x in of_x.values() for y in of_y.values()]
    tried.sort(key=lambda pair: (abs(np.log(pair[0][0] / pair[1][0])) > 0.03, -pair[0][0] * pair[1][0]))
    looked_at = 0.0
    for x, y in tried[:_TRIED]:
        looked_at += pixels.shape[0] * pixels.shape[1] / x[0] / y[0]
        if looked_at > _WORK:
            return
        cells = _boxed(pixels, _lattice(pixels, x, y, outside), _ROUGHLY)
        for least in (_ROUGHLY, 1.0):  # twice more by the grid's own edges, without those of titles and legends
            if cells is not None:
                cells = _boxed(pixels, _again(pixels, cells), least)
        if cells is not None and not _is_cut(pixels, cells) and _is_straight(pixels, cells):
            yield cells


def _is_cut(pixels: Pixels, cells: Cells) -> bool:
    """Whether a grid ends at the picture's edge at some sides and not at others: part of it is not in the picture."""
    height, width = pixels.shape[:2]
    rows, cols = cells.colours.shape[:2]
    right, bottom = width - cells.x0 - cols * cells.pitch_x, height - cells.y0 - rows * cells.pitch_y
    rooms = cells.x0 / cells.pitch_x, right / cells.pitch_x, cells.y0 / cells.pitch_y, bottom / cells.pitch_y
    return 0 < sum(bool(room < 0.9) for room in rooms) < 4


def _again(pixels: Pixels, cells: Cells) -> Cells | None:
    """Fit a grid anew to the edges within its box and half a cell round it."""
    across, down = _own_edges(pixels, cells)
    if not across.any() or not down.any():
        return None
    return _lattice(pixels, refined(across, cells.pitch_x), refined(down, cells.pitch_y), cells.outside)


def _own_edges(pixels: Pixels, cells: Cells) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the edges across and down in a grid's box and half a cell round it, at their places in the picture."""
    rows, cols = cells.colours.shape[:2]
    top, left = max(int(cells.y0 - 0.5 * cells.pitch_y), 0), max(int(cells.x0 - 0.5 * cells.pitch_x), 0)
    bottom, right = int(cells.y0 + (rows + 0.5) * cells.pitch_y), int(cells.x0 + (cols + 0.5) * cells.pitch_x)
    own = pixels[top:bottom, left:right]
    across, down = np.zeros(pixels.shape[1] + 1), np.zeros(pixels.shape[0] + 1)
    across[left : left + own.shape[1] + 1] = edges(own, 1)
    down[top : top + own.shape[0] + 1] = edges(own, 0)
    return across, down


def _is_straight(pixels: Pixels, cells: Cells) -> bool:
    """Whether edges lie evenly about nearly each of the lines: with a line too few or too many they drift off."""
    across, down = _own_edges(pixels, cells)
    for energy, start, pitch, count in (
        (across, cells.x0, cells.pitch_x, cells.colours.shape[1]),
        (down, cells.y0, cells.pitch_y, cells.colours.shape[0]),
    ):
        places = np.flatnonzero(energy)
        line = np.round((places - start) / pitch).astype(int).clip(0, count)
        off = places - start - line * pitch
        near = np.abs(off) <= 0.5 * pitch
        weight = np.bincount(line[near], energy[places[near]], count + 1)
        mean = np.bincount(line[near], (energy[places] * off)[near], count + 1) / np.maximum(weight, 1)
        used = weight > 0.2 * np.median(weight[weight > 0])
        if np.quantile(np.abs(mean[used]), 0.9) > max(_OFF_PIXELS, _OFF * pitch):
            return False
    return True


def _lattice(pixels: Pixels, x: tuple[float, float], y: tuple[float, float], outside: Pixels) -> Cells | None:
    """Return the cells, without colours yet, of a pitch and the place of a line each way."""
    (pitch_x, x0), (pitch_y, y0) = x, y
    if x0 > 0.7 * pitch_x:  # a line may be drawn half a pixel off the picture
        x0 -= pitch_x
    if y0 > 0.7 * pitch_y:
        y0 -= pitch_y
    height, width = pixels.shape[:2]
    rows, cols = int((height - y0) / pitch_y + 0.3), int((width - x0) / pitch_x + 0.3)
    if min(rows, cols) < 3 or rows * cols > MAX_CELLS or min(pitch_x, pitch_y) < MIN_PITCH - 0.2:
        return None
    return Cells(np.zeros((rows, cols, 0), np.uint8), x0, y0, pitch_x, pitch_y, outside)


def _samples(pixels: Pixels, cells: Cells) -> Pixels:
    """Return (9, rows, cols, 3) uint8, pixels of the middle of each cell."""
    rows, cols = cells.colours.shape[:2]
    y = sampled(pixels, cells.y0, cells.pitch_y, rows, _PARTS, 0)
    x = sampled(pixels, cells.x0, cells.pitch_x, cols, _PARTS, 1)
    n = len(_PARTS)
    parts: Pixels = pixels[y[:, None], x].reshape(rows, n, cols, n, 3).transpose(1, 3, 0, 2, 4)
    return parts.reshape(n * n, rows, cols, 3)


def _boxed(pixels: Pixels, cells: Cells | None, least: float) -> Cells | None:
    """Give each cell its colour, and cut the grid to the box of the largest part that is not the picture's outside.

    Returns:
        The box; None where there is none, or fewer of its cells than the share `least` have one colour over their
        middle. Where there is nothing, something may be drawn across a few cells.
    """
    import cv2

    if cells is None:
        return None
    samples = _samples(pixels, cells)
    middle = len(_PARTS) ** 2 // 2  # of nine samples: the cell's centre, and when they are sorted their median
    colours = samples[middle] if least < 1 else np.partition(samples, middle, axis=0)[middle]
    plain = (far(samples, colours) > _UNLIKE).sum(axis=0) <= 1
    filled = far(colours, cells.outside) > SAME
    cells = Cells(colours, cells.x0, cells.y0, cells.pitch_x, cells.pitch_y, cells.outside)
    count, _, stats, _ = cv2.connectedComponentsWithStats((filled & plain).astype(np.uint8), connectivity=8)
    if count < 2:
        return None
    left, top, width, height, _ = stats[1 + int(stats[1:, cv2.CC_STAT_AREA].argmax())].tolist()
    if min(width, height) < 3:
        return None
    box = slice(top, top + height), slice(left, left + width)
    if plain[box][filled[box]].mean() < least or plain[box].mean() < min(least, _MOSTLY):
        return None
    if least == 1 and _goes_on(colours, filled, box):
        return None
    return cells.part(top, top + height, left, left + width)


def _goes_on(colours: Pixels, filled: NDArray[np.bool_], box: tuple[slice, slice]) -> bool:
    """Whether a cell next to the box has a colour of those in it: a line of dies is left out, for what lies over it."""
    ring = np.zeros(filled.shape, bool)
    ring[max(box[0].start - 1, 0) : box[0].stop + 1, max(box[1].start - 1, 0) : box[1].stop + 1] = True
    ring[box] = False
    beside, inside = colours[ring & filled], colours[box][filled[box]]
    while len(beside) and len(inside):
        colour = most_common(inside)
        near = far(inside, colour) <= SAME
        if (far(beside, colour) <= SAME).any() or not near.any():
            return True
        inside = inside[~near]
    return False
