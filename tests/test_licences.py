"""The licences of what is installed: each is allowed, and the page that lists them says what is there."""

from email.message import Message
from importlib.metadata import PathDistribution, distributions
from pathlib import Path

import pytest

from tools.licences import PAGE, faults, licence, packages, page

INSTALLED = packages(distributions())


def made(folder: Path, **told: str) -> PathDistribution:
    """Return an installed package whose metadata tells this."""
    message = Message()
    for key, value in ({"Name": "made", "Version": "1.0"} | told).items():
        message[key.replace("_", "-")] = value
    (folder / "made-1.0.dist-info").mkdir()
    (folder / "made-1.0.dist-info" / "METADATA").write_text(message.as_string(), encoding="utf-8")
    return PathDistribution(folder / "made-1.0.dist-info")


def test_every_licence_of_what_is_installed_is_allowed() -> None:
    assert faults(INSTALLED) == []


def test_the_page_lists_what_is_installed() -> None:
    assert len(INSTALLED) > 100
    assert PAGE.read_text(encoding="utf-8") == page(INSTALLED), "make licences writes it anew"


def test_everything_that_is_installed_is_in_a_lock() -> None:
    assert [package.name for package in INSTALLED if package.needed_for == "nothing: in no lock"] == []


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ({"License_Expression": "MIT AND PSF-2.0", "License": "BSD"}, "MIT AND PSF-2.0"),
        ({"License": "Apache 2.0"}, "Apache-2.0"),
        ({"License": "UNKNOWN", "Classifier": "License :: OSI Approved :: ISC License (ISCL)"}, "ISC"),
        ({"License": "Copyright " * 20, "Classifier": "License :: OSI Approved :: BSD License"}, "BSD"),
        ({"Classifier": "Programming Language :: Python"}, "not told"),
        ({"License": "Beerware"}, "Beerware"),
    ],
)
def test_a_licence_is_what_the_package_tells(told: dict[str, str], expected: str, tmp_path: Path) -> None:
    assert licence(made(tmp_path, **told)) == expected


@pytest.mark.parametrize(
    ("told", "named"),
    [
        ("GPL-3.0-only", "GPL-3.0-only"),
        ("MIT AND LGPL-2.1-or-later", "LGPL-2.1-or-later"),
        ("MIT OR (Apache-2.0 AND AGPL-3.0-only)", "AGPL-3.0-only"),
        ("MIT WITH Some-exception", "MIT WITH Some-exception"),
        ("", "not told"),
    ],
)
def test_a_licence_that_is_not_allowed_is_named(told: str, named: str, tmp_path: Path) -> None:
    planted = packages([made(tmp_path, License_Expression=told)])
    (fault,) = faults([*INSTALLED, *planted])
    assert fault.startswith(f"made 1.0: {named} is not an allowed licence")
