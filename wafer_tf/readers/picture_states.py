"""Which colours of a picture stand for no die, pass and fail, and whether what they show can be a wafer."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from wafer_tf.dies import Die
from wafer_tf.errors import InputError
from wafer_tf.readers.picture_cells import APART, SAME, Cells, Pixels, clusters, far

KNOWN = {
    "viridis": ((68, 1, 84), (33, 145, 140), (253, 231, 37)),
    "grey 0, 127, 255": ((0, 0, 0), (127, 127, 127), (255, 255, 255)),
    "grey 0, 180, 255": ((0, 0, 0), (180, 180, 180), (255, 255, 255)),
}
"""Colours by which other programs save maps: no die, pass, fail."""
_CLOSE = 14
_BLURRED = 100
_GIVEN = 60
_CLEAR = 0.35
_STRANGE, _STRANGE_SHARE = 2, 0.0005
"""Pixels of a die's colour where none is expected: that JPEG or smoothing may leave."""
_HOLES = 0.2
"""Cells without a die among the dies, as a share of them; a wafer has a few, for tests of the process."""


class Shown(NamedTuple):
    """A map as shown.

    Attributes:
        grid: (rows, cols) uint8 die states, cut to the box of the dies.
        cells: the same cells of the picture.
        assumed: how colours were taken, for the user.
    """

    grid: NDArray[np.uint8]
    cells: Cells
    assumed: tuple[str, ...]


class NoWaferError(Exception):
    """What a grid of cells cannot be a wafer for; the text says why."""


def shown(cells: Cells, name: str, given: tuple[str, str, str] | None) -> Shown:
    """Return the map that cells show.

    Raises:
        NoWaferError: of more colours, or of a shape no wafer has.
        InputError: colours that can mean one thing or another, or colours given that are not in the picture.
    """
    rows, cols = cells.colours.shape[:2]
    found = clusters(cells.colours.reshape(-1, 3))
    if found is None:
        raise NoWaferError("its cells have more than a few clear colours")
    colours, which = found
    which = which.reshape(rows, cols)
    absent = _absent(cells, colours, which)
    kinds = [k for k in range(len(colours)) if k not in absent]
    if len(kinds) > 2:
        raise NoWaferError(f"its cells have {len(kinds)} colours beside the background")
    _check_shape(np.isin(which, absent, invert=True))
    corner = colours[which[0, 0]]
    states, assumed = (
        _as_given(given, kinds, colours, name) if given else _as_usual(corner, kinds, colours, which, name)
    )
    table = np.zeros(len(colours), np.uint8)
    for kind, state in states.items():
        table[kind] = state
    grid = table[which]
    used_rows, used_cols = np.flatnonzero(grid.any(axis=1)), np.flatnonzero(grid.any(axis=0))
    box = int(used_rows[0]), int(used_rows[-1]) + 1, int(used_cols[0]), int(used_cols[-1]) + 1
    return Shown(grid[box[0] : box[1], box[2] : box[3]], cells.part(*box), assumed)


def _absent(cells: Cells, colours: Pixels, which: NDArray[np.int8]) -> list[int]:
    """Return the colours of no die: the outside's, and that of the box's corners."""
    corners = {int(which[place]) for place in ((0, 0), (0, -1), (-1, 0), (-1, -1))}
    absent = {k for k in range(len(colours)) if far(colours[k], cells.outside) <= SAME}
    if len(corners) > 1 and not corners <= absent:
        raise NoWaferError("its corners have several colours")
    if not corners <= absent and absent and np.isin(which, list(absent)).any():
        raise NoWaferError("its corners have a colour that the picture's edge has not, and cells of that edge's colour")
    return sorted(absent | corners)


def _check_shape(dies: NDArray[np.bool_]) -> None:
    """Refuse what is no disc, more or less: a wafer fills its box for the most part, and has few holes."""
    if dies.sum() < 0.4 * dies.size:
        raise NoWaferError("its cells do not fill a wafer's outline")
    ahead, behind = np.maximum.accumulate(dies, axis=1), np.maximum.accumulate(dies[:, ::-1], axis=1)[:, ::-1]
    above, below = np.maximum.accumulate(dies, axis=0), np.maximum.accumulate(dies[::-1], axis=0)[::-1]
    if (ahead & behind & above & below & ~dies).sum() > _HOLES * dies.sum():
        raise NoWaferError("more of its cells are holes than a wafer has")


def _as_given(
    given: tuple[str, str, str], kinds: list[int], colours: Pixels, name: str
) -> tuple[dict[int, int], tuple[str, ...]]:
    wanted = {state: _parsed(text, name) for state, text in zip(Die, given, strict=True) if text}
    states: dict[int, int] = {}
    for kind in kinds:
        apart, state = min((int(far(colours[kind], colour)), int(state)) for state, colour in wanted.items())
        if apart > _GIVEN or state in states.values():
            told = ", ".join(_hex(colours[k]) for k in kinds)
            raise InputError(
                f"{name}: cells of the colours {told}; expected those given, {', '.join(given)} (--colours)."
            )
        states[kind] = state
    return {kind: state for kind, state in states.items() if state}, ()


def _as_usual(
    corner: Pixels, kinds: list[int], colours: Pixels, which: NDArray[np.int8], name: str
) -> tuple[dict[int, int], tuple[str, ...]]:
    for palette, (nothing, passing, failing) in KNOWN.items():
        known = {Die.PASS: np.array(passing), Die.FAIL: np.array(failing)}
        if far(corner, np.array(nothing)) > _CLOSE:
            continue
        states = {k: int(state) for k in kinds for state, colour in known.items() if far(colours[k], colour) <= _CLOSE}
        if len(states) == 1 and len(kinds) == 2:  # a rare colour may be blurred; it is the other one
            (rest,) = set(kinds) - set(states)
            other = Die.PASS if Die.FAIL in states.values() else Die.FAIL
            if far(colours[rest], known[other]) > _BLURRED:
                raise InputError(
                    f"{name}: {_hex(corner)} and {_hex(colours[next(iter(states))])} as of {palette}, but "
                    f"{_hex(colours[rest])} is none of it; {_remedy(corner, kinds, colours)}."
                )
            states[rest] = int(other)
        if len(states) == len(kinds) and Die.PASS in states.values():
            return states, (f"colours as of {palette}: no die, pass, fail (--colours)",)
    counts = {kind: int((which == kind).sum()) for kind in kinds}
    remedy = _remedy(corner, kinds, colours)
    if len(kinds) < 2:
        raise InputError(
            f"{name}: dies of one colour alone, which may be pass or fail; {remedy}, or with the last empty."
        )
    common, rare = sorted(kinds, key=lambda kind: -counts[kind])
    reddish = [_is(colours[k], 0) and not _is(colours[k], 1) for k in (common, rare)]
    greenish = [_is(colours[k], 1) and not _is(colours[k], 0) for k in (common, rare)]
    if reddish == [True, False] and greenish == [False, True]:
        common, rare = rare, common
        why = "green as pass and red as fail"
    else:
        share = counts[rare] / (counts[common] + counts[rare])
        if share > _CLEAR and not (reddish == [False, True] and greenish == [True, False]):
            raise InputError(
                f"{name}: {_hex(colours[common])} and {_hex(colours[rare])} are nearly as common; {remedy}."
            )
        why = "the more common colour as pass"
    said = f"{_hex(corner)} as no die, {_hex(colours[common])} as pass, {_hex(colours[rare])} as fail"
    return {common: int(Die.PASS), rare: int(Die.FAIL)}, (f"{said}: the corners' colour as no die, {why} (--colours)",)


def _remedy(corner: Pixels, kinds: list[int], colours: Pixels) -> str:
    told = ",".join(_hex(colour) for colour in (corner, *(colours[k] for k in kinds)))
    return f"say which colours are no die, pass and fail: --colours {told}"


def _is(colour: Pixels, channel: int) -> bool:
    """Whether one of red, green and blue is clearly above the other two."""
    others = [int(colour[c]) for c in range(3) if c != channel]
    return int(colour[channel]) > max(others) + APART


def _hex(colour: Pixels) -> str:
    return "#" + "".join(f"{int(channel):02x}" for channel in colour)


def _parsed(text: str, name: str) -> NDArray[np.int64]:
    try:
        if len(text) != 7 or text[0] != "#":
            raise ValueError
        return np.array([int(text[k : k + 2], 16) for k in (1, 3, 5)])
    except ValueError:
        raise InputError(f"{name}: --colours with {text!r}; expected colours such as #1f77b4.") from None


def hides_dies(pixels: Pixels, found: Shown) -> bool:
    """Whether the picture has, somewhere in the map's box, a die's colour that no cell there or next to it has.

    So it is where the grid is too coarse: dies lie between its cells, where lines are expected.
    """
    cells, grid = found.cells, found.grid
    rows, cols = grid.shape
    bits = np.pad(np.left_shift(1, grid).astype(np.uint8), 1)
    x = np.arange(max(int(cells.x0), 0), min(int(cells.x0 + cols * cells.pitch_x), pixels.shape[1]))
    place = (x + 0.5 - cells.x0) / cells.pitch_x
    column = np.floor(place).astype(int).clip(0, cols - 1)
    beside = column + np.where(place - column < 0.5, -1, 1)
    colours = {state: np.median(cells.colours[grid == state], axis=0) for state in np.unique(grid).tolist() if state}
    strange = total = 0
    for row in range(rows):
        edge = [max(round(cells.y0 + (row + part) * cells.pitch_y), 0) for part in (0, 0.5, 1)]
        for piece, other in ((pixels[edge[0] : edge[1]], row - 1), (pixels[edge[1] : edge[2]], row + 1)):
            lines = bits[row + 1] | bits[other + 1]
            near = lines[column + 1] | lines[beside + 1]
            total += piece.shape[0] * len(x)
            for state, colour in colours.items():
                unexpected = (near & (1 << state)) == 0
                if unexpected.any():
                    strange += int((far(piece[:, x[unexpected]], colour) <= SAME).sum())
    return strange > max(_STRANGE, _STRANGE_SHARE * total)
