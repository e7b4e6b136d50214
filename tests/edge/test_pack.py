"""The station as one file, and as an image: what is in them, and that their commands run elsewhere."""

import json
import re
import shlex
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from edge.pack import main, modules
from tests.station import ROOT, bare_environment, npy, synthetic

GRID = synthetic(1)[0]
DOCKERFILE = ROOT / "Dockerfile.station"


@pytest.fixture(scope="module")
def station_pyz(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The packed station, in a folder of its own."""
    path = tmp_path_factory.mktemp("packed") / "station.pyz"
    assert main(["--out", str(path)]) == 0
    return path


def instructions(path: Path) -> list[tuple[str, str]]:
    """Return the (instruction, rest) pairs of a Dockerfile."""
    lines = re.sub(r"\\\n\s*", " ", path.read_text()).splitlines()
    return [(line.split(" ", 1)[0], line.split(" ", 1)[1]) for line in lines if line and not line.startswith("#")]


def test_the_packed_station_holds_its_modules_and_no_others(station_pyz: Path) -> None:
    with zipfile.ZipFile(station_pyz) as archive:
        names = archive.namelist()
    assert names == ["__main__.py", *modules()]
    assert {
        "edge/station/__main__.py",
        "edge/station/hot_folder/watch.py",
        "edge/station/reading/child.py",
        "edge/station/speed.py",
        "wafer_tf/encoding.py",
    } < set(names)
    for foreign in (
        "training",
        "edge/convert.py",
        "edge/classify.py",
        "wafer_tf/learning/models.py",
        "wafer_tf/readers",
    ):
        assert not any(name.startswith(foreign) for name in names)


def test_the_same_sources_give_the_same_bytes(station_pyz: Path, tmp_path: Path) -> None:
    assert main(["--out", str(tmp_path / "again.pyz")]) == 0
    assert (tmp_path / "again.pyz").read_bytes() == station_pyz.read_bytes()


def test_packing_replaces_a_packed_station_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "notes").write_text("mine")
    assert main(["--out", str(tmp_path / "notes")]) == 2
    assert (tmp_path / "notes").read_text() == "mine"
    assert main(["--out", str(tmp_path / "a.pyz")]) == main(["--out", str(tmp_path / "a.pyz")]) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.pyz", "notes"]


def test_the_packed_station_runs_where_the_project_is_not(station_pyz: Path, bundle_path: Path, tmp_path: Path) -> None:
    """-I: neither the current folder, nor PYTHONPATH, nor the user's packages are importable."""
    command = [sys.executable, "-I", str(station_pyz)]
    run = subprocess.run(
        [*command, "classify", "-", "--bundle", str(bundle_path)],
        input=npy(GRID),
        cwd=tmp_path,
        env=bare_environment(),
        capture_output=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr.decode()
    assert json.loads(run.stdout)["status"] == "ok"
    assert list(tmp_path.iterdir()) == []


def test_the_commands_of_the_station_image_run(station_pyz: Path, bundle_path: Path, tmp_path: Path) -> None:
    found = instructions(DOCKERFILE)
    entry, job = (json.loads(rest) for name, rest in found if name in ("ENTRYPOINT", "CMD"))
    (health,) = (json.loads(rest[rest.index("CMD ") + 4 :]) for name, rest in found if name == "HEALTHCHECK")
    for folder in ("in", "out"):
        (tmp_path / folder).mkdir()
    (tmp_path / "in" / "a.npy").write_bytes(npy(GRID))
    places = {
        "python3": sys.executable,
        "/opt/station/station.pyz": str(station_pyz),
        "/bundle": str(bundle_path),
        "/in": str(tmp_path / "in"),
        "/out": str(tmp_path / "out"),
    }
    for command in ([*entry, *job, "--once", "--settle", "0"], health):
        run = subprocess.run(
            [places.get(word, word) for word in command],
            cwd=tmp_path,
            env=bare_environment(),
            capture_output=True,
            check=False,
        )
        assert run.returncode == 0, run.stderr.decode()
    assert len(list((tmp_path / "out").rglob("records*.jsonl"))) == 1


def test_what_the_images_copy_is_there_and_not_ignored() -> None:
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    for file in ("Dockerfile", "Dockerfile.station"):
        for name, rest in instructions(ROOT / file):
            if name == "COPY" and "--from" not in rest:
                for source in set(shlex.split(rest)[:-1]) - {"."}:
                    assert source.split("/")[0] in allowed
                    assert (ROOT / source).exists()


def test_the_station_is_packed_from_what_the_image_copies(station_pyz: Path, tmp_path: Path) -> None:
    """The first stage runs this in a folder that holds only what .dockerignore lets in."""
    for folder in ("wafer_tf", "edge"):
        (tmp_path / folder).symlink_to(ROOT / folder)
    (pack,) = (shlex.split(rest) for name, rest in instructions(DOCKERFILE) if name == "RUN" and "edge.pack" in rest)
    command = [sys.executable, *pack[1:-1], str(tmp_path / "station.pyz")]
    run = subprocess.run(command, cwd=tmp_path, env=bare_environment(), capture_output=True, check=False)
    assert run.returncode == 0, run.stderr.decode()
    assert (tmp_path / "station.pyz").read_bytes() == station_pyz.read_bytes()


def test_the_station_image_runs_as_nobody_in_particular_and_without_tensorflow() -> None:
    found = instructions(DOCKERFILE)
    assert [rest for name, rest in found if name == "USER"] == ["10001"]
    assert {rest for name, rest in found if name == "ARG" and "=" in rest} == {
        "BASE=python:3.11-slim",
        "RUNTIME=python:3.11-slim",
    }
    (installed,) = (rest for name, rest in found if name == "RUN" and "pip install" in rest)
    assert "--require-hashes -r requirements-station.lock" in installed
    assert "tensorflow" not in (ROOT / "requirements-station.lock").read_text().lower()
