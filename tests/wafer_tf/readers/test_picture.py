"""Pictures of maps are read back exactly, in the ways people draw them, or refused; never a wrong map."""

import io
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.image import imsave

from tests.wafer_tf.readers import drawn
from wafer_tf.dies import CLASSES, cropped
from wafer_tf.errors import InputError
from wafer_tf.formats.options import DEFAULT, Options
from wafer_tf.formats.wafer_map import WaferMap
from wafer_tf.readers import open_source, read
from wafer_tf.readers.picture import found_grid, read_picture
from wafer_tf.synthesis import synthesize

MADE = synthesize(1, seed=3).wafers
MAPS = {name: np.ascontiguousarray(cropped(MADE.map(k))[0]) for k, name in enumerate(CLASSES)}
REFUSED = ("viridis jpeg", "grey jpeg", "grey jpeg 95", "grey x2 linear")
"""A pixel a die does not come through JPEG, and two do not come through smoothing."""
SOMETIMES = (
    "viridis x2 jpeg",
    "grey x2 jpeg",
    "viridis x3.5 jpeg",
    "viridis x4 cubic",
    "figure stretched",
    "figure, dpi 61",
)
"""Read or refused, as the map is."""


def wafer(data: bytes, options: Options = DEFAULT) -> WaferMap:
    (found,) = read_picture(data, "picture", options).wafers
    assert isinstance(found, WaferMap)
    return found


def figure_of(draw: str) -> bytes:
    rng = np.random.default_rng(0)
    made = Figure()
    FigureCanvasAgg(made)
    place = made.add_subplot()
    if draw == "bars":
        place.bar(range(20), rng.random(20))
    elif draw == "lines":
        place.plot(rng.random((50, 4)))
        place.grid(visible=True)
    else:
        place.imshow(rng.integers(0, 10, (30, 30)))
    buffer = io.BytesIO()
    made.savefig(buffer, format="png")
    return buffer.getvalue()


@pytest.mark.parametrize("way", drawn.WAYS)
def test_a_picture_of_a_map_gives_the_map_or_is_refused(way: str) -> None:
    number = list(drawn.WAYS).index(way)
    for name in (CLASSES[number % 9], CLASSES[(number + 4) % 9]):
        data = drawn.WAYS[way](MAPS[name])
        try:
            found = wafer(data, drawn.OPTIONS.get(way, DEFAULT))
        except InputError:
            assert way in REFUSED + SOMETIMES, (way, name)
            continue
        np.testing.assert_array_equal(found.grid, MAPS[name])
        assert way not in REFUSED


def test_what_was_taken_for_what_is_said() -> None:
    found = wafer(drawn.viridis(MAPS["Loc"]))
    assert found.assumed == (
        "colours as of viridis: no die, pass, fail (--colours)",
        "the notch is down in the picture (--orient)",
    )
    found = wafer(drawn.png(drawn.squares(MAPS["Loc"])))
    assert found.assumed[0].startswith("#ffffff as no die, #3caa3c as pass, #d22828 as fail: the corners' colour")


def test_green_passes_and_red_fails_though_most_dies_are_red() -> None:
    found = wafer(drawn.png(drawn.squares(MAPS["Near-full"])))
    np.testing.assert_array_equal(found.grid, MAPS["Near-full"])
    assert "green as pass and red as fail" in found.assumed[0]


def test_the_found_grid_lies_on_the_drawn_one() -> None:
    grid = MAPS["Scratch"]
    place = found_grid(drawn.png(drawn.squares(grid, die=(10, 14), gap=2)), "picture")
    assert (place.rows, place.cols) == grid.shape
    assert place.pitch_x == pytest.approx(12, abs=0.02)
    assert place.pitch_y == pytest.approx(16, abs=0.02)
    assert place.x0 == pytest.approx(37 + 1, abs=0.6)  # the middle of the line before the first die
    assert place.y0 == pytest.approx(71 + 1, abs=0.6)
    assert found_grid(drawn.viridis(grid), "picture") == (0, 0, 1, 1, *grid.shape)


def test_the_notch_is_turned_down() -> None:
    data = drawn.viridis(np.rot90(MAPS["Edge-Loc"], -1))
    np.testing.assert_array_equal(wafer(data, Options(orient=90)).grid, MAPS["Edge-Loc"])


def test_given_colours_are_taken_and_others_refused() -> None:
    data = drawn.png(drawn.squares(MAPS["Loc"], colours=((255, 255, 255), (0, 0, 250), (250, 200, 0))))
    found = wafer(data, Options(colours=("#ffffff", "#fac800", "#0000fa")))
    np.testing.assert_array_equal(found.grid, np.array([0, 2, 1], np.uint8)[MAPS["Loc"]])
    with pytest.raises(InputError, match=r"expected those given, #ffffff, #00ff00, #ff0000 \(--colours\)"):
        wafer(data, Options(colours=("#ffffff", "#00ff00", "#ff0000")))
    with pytest.raises(InputError, match=r"--colours with 'green'; expected colours such as #1f77b4"):
        wafer(data, Options(colours=("#ffffff", "green", "red")))


@pytest.mark.parametrize("state", [1, 2])
def test_dies_of_one_colour_are_refused_unless_it_is_said_what_they_are(state: int) -> None:
    grid = np.where(MAPS["Loc"] > 0, state, 0).astype(np.uint8)
    buffer = io.BytesIO()
    imsave(buffer, grid, format="png")  # matplotlib then spreads its colours over what is there: pass looks like fail
    with pytest.raises(InputError, match=r"dies of one colour alone, which may be pass or fail; .*--colours #440154"):
        wafer(buffer.getvalue())
    given = ("#440154", "#fde725", "") if state == 1 else ("#440154", "", "#fde725")
    np.testing.assert_array_equal(wafer(buffer.getvalue(), Options(colours=given)).grid, grid)


def test_a_colour_that_a_known_set_of_colours_has_not_is_refused() -> None:
    rgb = np.array([(68, 1, 84), (117, 128, 0), (253, 231, 37)], np.uint8)[MAPS["Near-full"]]
    with pytest.raises(InputError, match=r"#440154 and #fde725 as of viridis, but #758000 is none of it; .*--colours"):
        wafer(drawn.png(rgb))


def test_nearly_as_many_of_either_colour_are_refused() -> None:
    data = drawn.png(drawn.squares(MAPS["Random"], colours=((255, 255, 255), (0, 0, 250), (250, 200, 0))))
    with pytest.raises(InputError, match=r"are nearly as common; say which .* --colours #ffffff,"):
        wafer(data)


@pytest.mark.parametrize("factor", [1.1, 1.25, 1.3, 1.7, 1.8, 2.2, 2.75, 3.3])
@pytest.mark.parametrize("name", ["Edge-Ring", "none", "Near-full"])
def test_other_factors_give_no_wrong_map(factor: float, name: str) -> None:
    try:
        found = wafer(drawn.resized(drawn.viridis(MAPS[name]), factor))
    except InputError:
        return
    np.testing.assert_array_equal(found.grid, MAPS[name])


# === What is no map ===

RNG = np.random.default_rng(0)
Y, X = np.mgrid[:240, :320]
PHOTO = np.stack([(np.sin(X / 90) + np.cos(Y / 70) + 2) * 60, (X + Y) / 5, np.hypot(X - 150, Y - 100) / 3], -1)
DISC = cv2.circle(np.full((300, 300, 3), 255, np.uint8), (150, 150), 120, (40, 160, 40), -1)
TABLE = np.full((400, 500, 3), 255, np.uint8)
TABLE[::20], TABLE[:, ::50] = 0, 0
SQUARES = drawn.squares(MAPS["Loc"])
TURN = cv2.getRotationMatrix2D((200, 200), 3, 1)
NO_MAPS = {
    "noise": drawn.png(RNG.integers(0, 256, (200, 200, 3), dtype=np.uint8)),
    "noise in three greys": drawn.png(np.array([0, 128, 255], np.uint8)[RNG.integers(0, 3, (90, 90))]),
    "a photo": drawn.jpeg(drawn.png((PHOTO + RNG.normal(0, 6, PHOTO.shape)).clip(0, 255).astype(np.uint8))),
    "a bar chart": figure_of("bars"),
    "a line chart": figure_of("lines"),
    "a heat map of ten levels": figure_of("heat"),
    "a disc": drawn.png(cv2.circle(DISC.copy(), (130, 150), 30, (200, 40, 40), -1)),
    "an empty table": drawn.png(TABLE),
    "a chessboard": drawn.png((np.indices((240, 240)).sum(0) // 8 % 2 * 255).astype(np.uint8)),
    "a white page": drawn.png(np.full((500, 500), 255, np.uint8)),
    "stripes": drawn.png(np.tile(np.repeat(np.array([0, 255], np.uint8), 3), (90, 30))),
    "two pixels": drawn.png(np.zeros((1, 2), np.uint8)),
    "a map cut off at the right": drawn.png(SQUARES[:, : SQUARES.shape[1] // 2]),
    "a map cut off at the top": drawn.png(SQUARES[SQUARES.shape[0] // 3 :]),
    "a map turned": drawn.png(cv2.warpAffine(SQUARES, TURN, SQUARES.shape[1::-1], borderValue=(255, 255, 255))),
}


@pytest.mark.parametrize("what", NO_MAPS)
def test_what_is_no_whole_regular_map_is_refused(what: str) -> None:
    with pytest.raises(InputError, match=r"picture: no regular grid of dies in the picture"):
        wafer(NO_MAPS[what])


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(3, 40), st.integers(3, 40), st.integers(1, 6))
def test_random_squares_of_three_colours_are_no_wafer(seed: int, rows: int, cols: int, factor: int) -> None:
    cells = np.random.default_rng(seed).integers(0, 3, (rows, cols))
    picture = np.kron(np.array([0, 128, 255], np.uint8)[cells], np.ones((factor, factor), np.uint8))
    try:
        found = wafer(drawn.png(picture)).grid
    except InputError:
        return
    np.testing.assert_array_equal(found, cropped(cells.astype(np.uint8))[0])  # a small one may look like a wafer


# === Damage and size ===


def png_of_size(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


def test_a_picture_of_60000_a_side_is_refused_by_its_header() -> None:
    bmp = b"BM" + struct.pack("<IIIIii", 54, 0, 54, 40, 60000, -60000) + bytes(28)
    jpeg = b"\xff\xd8\xff\xc0\x00\x11\x08" + struct.pack(">HH", 60000, 60000) + bytes(12) + b"\xff\xd9"
    for data, kind in ((png_of_size(60000, 60000), "PNG"), (bmp, "BMP"), (jpeg, "JPEG")):
        with pytest.raises(InputError, match=f"a {kind} of 60000 x 60000 pixels; expected at most 20000 a side"):
            wafer(data)


@pytest.mark.parametrize("way", ["viridis x8", "viridis x8 jpeg", "grey 128 bmp"])
def test_a_picture_cut_off_anywhere_is_refused(way: str) -> None:
    whole = drawn.WAYS[way](MAPS["Loc"])
    for length in range(2, len(whole) - 1, max(1, len(whole) // 40)):
        with pytest.raises(InputError, match="picture: "):
            wafer(whole[:length])


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(["viridis", "viridis x8 jpeg", "grey 128 bmp"]), st.floats(0, 0.999), st.integers(0, 255))
def test_a_damaged_picture_gives_a_map_or_an_input_error(way: str, place: float, value: int) -> None:
    content = bytearray(drawn.WAYS[way](MAPS["Scratch"]))
    content[int(place * len(content))] = value
    try:
        wafer(bytes(content))
    except InputError as error:
        assert "picture" in str(error)


def test_grey_with_transparency_is_read(tmp_path: Path) -> None:
    grid = MAPS["Center"]
    rgba = np.zeros((*grid.shape, 4), np.uint8)
    rgba[..., :3], rgba[..., 3] = drawn.grey(grid, "128")[..., None] * (grid > 0)[..., None], (grid > 0) * 255
    done, data = cv2.imencode(".png", rgba)
    assert done
    found = wafer(data.tobytes(), Options(colours=("#ffffff", "#808080", ""))) if not (grid == 2).any() else None
    assert found is None or (found.grid == grid).all()
    sixteen = drawn.grey(grid, "180").astype(np.uint16) * 257
    (tmp_path / "map.png").write_bytes(cv2.imencode(".png", sixteen)[1].tobytes())
    np.testing.assert_array_equal(read(tmp_path / "map.png").map(0), grid)


def test_a_picture_is_a_set_of_one_wafer_with_what_was_assumed(tmp_path: Path) -> None:
    (tmp_path / "map.dat").write_bytes(drawn.viridis(MAPS["Donut"]))
    with open_source(tmp_path / "map.dat") as opened:
        assert opened.kind == "picture PNG"
        assert opened.notes[0].startswith("colours as of viridis")
        np.testing.assert_array_equal(opened.collect().map(0), MAPS["Donut"])
