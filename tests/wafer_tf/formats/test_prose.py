"""Plain texts are called what they are; grids and tables in words are still read."""

import io

import pytest

from tests import SHARED
from wafer_tf.errors import InputError
from wafer_tf.formats.options import DEFAULT, Options
from wafer_tf.formats.read import read_maps

SAYS = r"neither a grid nor a table of dies nor a tool's format known here: SINF, SEMI G85"
LICENCE = b"""MIT License

Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated files.
"""
ABOUT_TABLES = b"""one die per line (x, y, bin) as testers and plotting programs write them,
with the names that they give to their columns, without any number
"""


def read(data: bytes, options: Options = DEFAULT) -> list[object]:
    return list(read_maps(io.BytesIO(data), "file", options).wafers)


@pytest.mark.parametrize("text", [LICENCE, ABOUT_TABLES, LICENCE.decode().encode("utf-16")])
def test_prose_is_called_text_with_its_first_line(text: bytes) -> None:
    with pytest.raises(InputError, match=SAYS) as caught:
        read(text)
    assert "MIT License" in str(caught.value) or "one die per line" in str(caught.value)


@pytest.mark.parametrize("path", ["data/formats/LICENCES.txt", "cases/01-sinf-two-good-bins/README", "cases/README.md"])
def test_real_pages_are_called_text(path: str) -> None:
    if not (SHARED / path).is_file():
        pytest.skip(f"../shared/{path} is not on this machine")
    with pytest.raises(InputError, match=SAYS):
        read((SHARED / path).read_bytes())


def test_a_table_behind_a_page_of_prose_is_read() -> None:
    rows = b"".join(b"%d,%d,%d\n" % (x, y, 1 + (x == y)) for x in range(20) for y in range(20))
    preface = b"".join(b"# " + line + b"\n" for line in LICENCE.split(b"\n")) * 20
    assert len(read(preface + b"x,y,bin\n" + rows)) == 1


def test_a_grid_of_words_that_the_user_names_is_read() -> None:
    words = [b"pass", b"open", b"short", b"leak", b"scan", b"edge", b"func", b"iddq", b"vmin", b"none"]
    rows = b"".join(b",".join(words[(x + y) % 10] for x in range(10)) + b"\n" for y in range(10))
    assert len(read(rows, Options(pass_bins=frozenset({"pass"})))) == 1
