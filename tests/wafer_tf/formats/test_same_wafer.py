"""One wafer as every tool writes it: the same array comes back from each format, told by content alone."""

import bz2
import gzip
import io
import lzma
import zipfile
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from tests.wafer_tf.formats.writers_grids import (
    CODES,
    drawn,
    write_e142_variant,
    write_electroglas,
    write_g85,
    write_sinf,
    write_tsk,
    write_wmap,
)
from tests.wafer_tf.formats.writers_klarf import write_klarf
from tests.wafer_tf.formats.writers_stdf import Notch, write_atdf, write_stdf
from tests.wafer_tf.formats.writers_table import write_die_table
from wafer_tf.errors import InputError
from wafer_tf.formats.dies_on_grid import NOTCH
from wafer_tf.formats.e142_axes import DIRECTIONS, ORIGINS
from wafer_tf.formats.e142_writer import write_e142
from wafer_tf.formats.options import DEFAULT, Options
from wafer_tf.formats.read import read_maps
from wafer_tf.formats.wafer_map import WaferMap

Grid = np.ndarray[Any, np.dtype[np.uint8]]
NOTCHES: tuple[Notch, ...] = get_args(Notch)
PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "plain": bytes,
    "gz": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
}


def real_sized() -> Grid:
    """Return a wafer of 26 x 31 with a cluster at the left, a scratch, and a row and a column that hold no die."""
    y, x = np.mgrid[:26, :31]
    dies = ((y - 12.5) / 13) ** 2 + ((x - 15) / 15.5) ** 2 <= 1.0
    grid = dies.astype(np.uint8)
    grid[((y - 8) ** 2 + (x - 4) ** 2 < 12) & dies] = 2
    grid[(y == x - 8) & (x > 14) & dies] = 2
    grid[17], grid[:, 20] = 0, 0
    return grid


WAFER = real_sized()


class Written(NamedTuple):
    """A file of a wafer.

    Attributes:
        name: of the variant.
        write: from (rows, cols) die states to the file.
        options: what the format does not say.
        said: lot, wafer and product as the file has them.
    """

    name: str
    write: Callable[[Grid], bytes]
    options: Options = DEFAULT
    said: tuple[str, str, str] = ("", "", "")


def variants() -> Iterator[Written]:
    for notch in NOTCHES:
        angle = NOTCH[notch]
        turned = Options(orient=angle)
        yield from _self_turned(notch, angle)
        for y_up in (False, True):
            options = Options(orient=angle, y_axis="up" if y_up else "down")
            which = f"{notch}-{options.y_axis}"
            yield Written(
                f"electroglas-{which}",
                lambda grid, a=angle, up=y_up: write_electroglas(grid, orientation=a, y_up=up),
                options,
            )
            yield Written(
                f"csv-{which}",
                lambda grid, a=angle, up=y_up: write_die_table({("L1", "W1"): drawn(grid, a)}, y_up=up, x0=-3, y0=5),
                options,
                ("L1", "W1", ""),
            )
        yield Written(
            f"wmap-{notch}",
            lambda grid, a=angle: write_wmap(grid, orientation=a),
            turned,
            ("LOTA", "03", ""),
        )
        yield Written(f"npy-{notch}", lambda grid, a=angle: npy(drawn(grid, a)), turned)
        yield Written(f"npz-{notch}", lambda grid, a=angle: npz(drawn(grid, a)), turned)
        for mark in (",", ";", "\t", " ", ""):
            yield Written(
                f"text{mark!r}-{notch}",
                lambda grid, a=angle, m=mark: text(drawn(grid, a), m),
                turned,
            )
    yield Written("npz-set", npz_set, DEFAULT, ("L1", "7", ""))
    yield Written(
        "e142-ours",
        lambda grid: write_e142(WaferMap(grid=grid, lot="LOTA", wafer="03", product="CHIP7")),
        DEFAULT,
        ("LOTA", "03", "CHIP7"),
    )


def _self_turned(notch: Notch, angle: int) -> Iterator[Written]:
    """Give the formats that say themselves where the notch is."""
    for width, codes in (("2", ("__", "01", "0A")), ("3", ("___", "001", "00A"))):
        yield Written(
            f"sinf{width}-{notch}",
            lambda grid, c=codes: write_sinf(grid, orientation=angle, codes=c, good=c[1]),
            DEFAULT,
            ("LOTA", "03", "CHIP7"),
        )
    for kind in CODES:
        yield Written(
            f"g85-{kind}-{notch}",
            lambda grid, k=kind: write_g85(grid, orientation=angle, bin_type=k),
            DEFAULT,
            ("LOTA", "03", "CHIP7"),
        )
    for origin in ORIGINS:
        for axis in DIRECTIONS:
            yield Written(
                f"e142-{origin}-{axis}-{notch}",
                lambda grid, o=origin, a=axis: write_e142_variant(
                    grid, orientation=angle, origin=o, axis=a, parts=o == "Center"
                ),
                DEFAULT,
                ("LOTA", "03", ""),
            )
    for y_up in (False, True):
        for x_left in (False, True):
            which = f"{notch}-{'up' if y_up else 'down'}-{'left' if x_left else 'right'}"
            for big in (False, True):
                yield Written(
                    f"stdf-{'big' if big else 'little'}-{which}",
                    lambda grid, b=big, up=y_up, left=x_left: write_stdf(
                        [(grid, "LOT9", "W3")], big_endian=b, y_up=up, notch=notch, x_left=left
                    ),
                    DEFAULT,
                    ("LOT9", "W3", "PART"),
                )
            yield Written(
                f"atdf-{which}",
                lambda grid, up=y_up, left=x_left: write_atdf(
                    [(grid, "LOT9", "W3")], y_up=up, notch=notch, x_left=left
                ),
                DEFAULT,
                ("LOT9", "W3", "PART"),
            )
    for version in ("1.2", "1.8"):
        yield Written(
            f"klarf{version}-{notch}",
            lambda grid, v=version: write_klarf(grid, orientation=notch.upper(), version=v),
            DEFAULT,
            ("LOT1", "07", "PRODUCT"),
        )
    yield Written(
        f"tsk-{notch}", lambda grid: write_tsk(grid, orientation=angle), DEFAULT, ("LOTA", "LOTA-03", "CHIP7")
    )


def npy(grid: Grid) -> bytes:
    out = io.BytesIO()
    np.save(out, grid)
    return out.getvalue()


def npz(grid: Grid) -> bytes:
    out = io.BytesIO()
    np.savez_compressed(out, grid)
    return out.getvalue()


def npz_set(grid: Grid) -> bytes:
    out = io.BytesIO()
    np.savez(
        out,
        flat=grid.ravel(),
        offsets=np.array([0, grid.size]),
        shapes=np.array([grid.shape]),
        lot=np.array(["L1"]),
        wafer_index=np.array([7]),
    )
    return out.getvalue()


def text(grid: Grid, mark: str) -> bytes:
    return "".join(mark.join(map(str, row)) + "\n" for row in grid.tolist()).encode()


def wafers_of(data: bytes, options: Options = DEFAULT) -> list[WaferMap]:
    found = []
    for wafer in read_maps(io.BytesIO(data), "file", options).wafers:
        if isinstance(wafer, InputError):
            raise wafer
        found.append(wafer)
    return found


def only(data: bytes, options: Options = DEFAULT) -> WaferMap:
    (wafer,) = wafers_of(data, options)
    return wafer


VARIANTS = tuple(variants())
one_of_each = pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.name)


def test_the_wafer_looks_different_from_every_side_and_holds_lines_without_a_die() -> None:
    turns = [np.rot90(flipped, turn) for flipped in (WAFER, WAFER.T) for turn in range(4)]
    assert len({(turned.shape, turned.tobytes()) for turned in turns}) == 8
    assert WAFER.shape == (26, 31)
    assert not WAFER[17].any() and not WAFER[:, 20].any()
    assert WAFER[0].any() and WAFER[-1].any() and WAFER[:, 0].any() and WAFER[:, -1].any()


@one_of_each
def test_the_same_array_comes_back_from_every_format(variant: Written) -> None:
    wafer = only(variant.write(WAFER), variant.options)
    np.testing.assert_array_equal(wafer.grid, WAFER)
    assert wafer.grid.dtype == np.uint8 and wafer.grid.flags.c_contiguous
    assert (wafer.lot, wafer.wafer, wafer.product) == variant.said


@pytest.mark.parametrize("packer", PACKERS)
@pytest.mark.parametrize("variant", [v for v in VARIANTS if "left" in v.name or "ours" in v.name], ids=lambda v: v.name)
def test_it_comes_back_from_a_packed_file(variant: Written, packer: str) -> None:
    wafer = only(PACKERS[packer](variant.write(WAFER)), variant.options)
    np.testing.assert_array_equal(wafer.grid, WAFER)
    assert (wafer.lot, wafer.wafer, wafer.product) == variant.said


def test_it_comes_back_from_each_file_of_one_zip() -> None:
    """Of a zip only files that need no flag can be read together."""
    alone = [v for v in VARIANTS if v.options in (DEFAULT, Options(orient=0, y_axis="down"), Options(orient=0))]
    files = [data for v in alone if not (data := v.write(WAFER)).startswith(b"PK")]  # a zip in a zip is refused
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for number, data in enumerate(files):
            archive.writestr(f"{number}/file", PACKERS[tuple(PACKERS)[number % 4]](data))
    wafers = wafers_of(out.getvalue())
    assert len(wafers) == len(files) == 174
    assert all(np.array_equal(wafer.grid, WAFER) for wafer in wafers)


@pytest.mark.parametrize(
    "variant",
    [v for v in VARIANTS if v.name.startswith(("sinf", "g85", "e142", "wmap", "tsk", "npy", "text", "npz-d", "npz-l"))],
    ids=lambda variant: variant.name,
)
def test_a_margin_without_dies_goes_and_is_told_by_the_corner(variant: Written) -> None:
    """A list of dies never has one."""
    plain, padded = (only(variant.write(grid), variant.options) for grid in (WAFER, np.pad(WAFER, ((2, 1), (3, 0)))))
    np.testing.assert_array_equal(padded.grid, WAFER)
    assert padded.corner is not None and plain.corner is not None


@st.composite
def maps(draw: st.DrawFn) -> Grid:
    """Draw die states that fill their bounding box, with a failing die, and corners that no rule takes for another."""
    rows, cols = draw(st.integers(5, 14)), draw(st.integers(5, 14))
    grid = draw(arrays.arrays(np.uint8, (rows, cols), elements=st.sampled_from([0, 1, 1, 1, 2])))
    grid[0, 1], grid[-1, 2], grid[1, 0], grid[2, -1] = 1, 2, 1, 1
    return grid


@given(maps(), st.data())
def test_any_map_comes_back_from_any_format(grid: Grid, data: st.DataObject) -> None:
    variant = data.draw(st.sampled_from(VARIANTS))
    np.testing.assert_array_equal(only(variant.write(grid), variant.options).grid, grid)
