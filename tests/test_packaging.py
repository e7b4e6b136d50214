"""What `pip install` gives: the wheel holds all that runs, and its ranges allow what the project is tested with."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import tomllib
from packaging.requirements import Requirement

from tests import ROOT
from tests.station import bare_environment
from wafer_tf.version import __version__

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
OF_A_MODEL = {
    *("DONE", "config.json", "decision.json", "model.keras", "model_card.md", "report.json", "seen.npz"),
    *(
        f"bundle/{name}"
        for name in ("bundle.json", "bundle.sha256", "golden.npz", "model_card.md", "model_int8.tflite", "unknown.npz")
    ),
}
MAX_BYTES = 10_000_000


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this clone."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    done = subprocess.run(build, cwd=ROOT, env=bare_environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder / f"wafer_tf-{__version__}-py3-none-any.whl"


def pins(name: str) -> dict[str, str]:
    """Return the versions that a requirements file pins, by project."""
    lines = [line.partition("#")[0].partition(";")[0].strip() for line in (ROOT / name).read_text().splitlines()]
    return {line.partition("==")[0].casefold(): line.partition("==")[2] for line in lines if "==" in line}


def test_the_wheel_holds_the_programs_the_page_and_the_models_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
    ours = {
        path.relative_to(ROOT).as_posix()
        for package in ("wafer_tf", "training", "edge", "app")
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert {"app/wafer.js", "app/.streamlit/config.toml", "wafer_tf/py.typed"} < ours
    assert held == ours | {f"wafer_tf/released/{name}/{file}" for name in ("wafer", "nano") for file in OF_A_MODEL}
    assert wheel.stat().st_size < MAX_BYTES


def test_out_of_the_wheel_the_released_model_is_found(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    environment = bare_environment() | {"PYTHONPATH": str(tmp_path / "site")}
    code = "from wafer_tf.released import released; from edge.station.__main__ import main\n"
    code += "print(released('nano')); main(['selftest', '--bundle', 'nano'])"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.stdout.startswith(f"{tmp_path / 'site' / 'wafer_tf' / 'released' / 'nano'}\nbundle "), done.stderr


@pytest.mark.parametrize("extra", ["", "train", "page", "dev"])
def test_what_is_pinned_is_in_the_range_that_is_asked_for(extra: str) -> None:
    asked = PROJECT["optional-dependencies"][extra] if extra else PROJECT["dependencies"]
    pinned = pins("requirements.txt") | (pins("requirements-dev.txt") if extra == "dev" else {})
    for wanted in map(Requirement, asked):
        if wanted.name != PROJECT["name"]:
            assert wanted.specifier.contains(pinned[wanted.name.casefold()]), wanted


@pytest.mark.parametrize(
    ("name", "extras"), [("requirements.txt", ("", "train", "page")), ("requirements-dev.txt", ("dev",))]
)
def test_what_is_pinned_is_asked_for_and_constrained_alike(name: str, extras: tuple[str, ...]) -> None:
    lists = [PROJECT["optional-dependencies"][extra] if extra else PROJECT["dependencies"] for extra in extras]
    asked = {Requirement(text).name.casefold() for texts in lists for text in texts}
    constrained = pins("constraints.txt")
    for project, version in pins(name).items():
        assert project in asked
        assert constrained[project] == version
