"""The locks: the versions of constraints.txt and of the lists, each with hashes, and nothing that they leave out."""

import re
from importlib.metadata import requires, version

import pytest
from packaging.requirements import Requirement

from tests import ROOT
from tools.lock import COMPLETE, CONSTRAINED, canonical, entries, pinned

CONSTRAINTS = pinned((ROOT / "constraints.txt").read_text(encoding="utf-8"))
HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})(?: \\)?\n")
NOT_OURS = {"requirements-docs", "requirements-supply"}
"""Lists for environments of their own, which hold more than constraints.txt names."""
OLDER = {("numpy", "2.2.6")}
"""The station's on Python 3.10, for which constraints.txt is not."""


def text(name: str) -> str:
    """Return what a file of the project's folder holds."""
    return (ROOT / name).read_text(encoding="utf-8")


def drift(versions: dict[str, set[str]], *, among: dict[str, set[str]]) -> set[tuple[str, str]]:
    """Return the versions of projects that are named among others, and there with other versions."""
    pairs = {(name, version) for name, found in versions.items() for version in found if name in among}
    return {(name, version) for name, version in pairs if version not in among[name]}


def test_every_list_has_its_lock() -> None:
    lists = {path.stem for path in ROOT.glob("requirements*.txt")}
    assert lists == {path.stem for path in ROOT.glob("requirements*.lock")} == {*COMPLETE, *CONSTRAINED}


@pytest.mark.parametrize("name", [*COMPLETE, *CONSTRAINED])
def test_a_lock_holds_the_versions_of_its_list_and_of_the_constraints(name: str) -> None:
    asked, locked = pinned(text(f"{name}.txt")), pinned(text(f"{name}.lock"))
    if name in COMPLETE:
        assert locked == asked
    else:
        assert {project: locked.get(project) for project in asked} == asked
    assert drift(locked, among=CONSTRAINTS) - OLDER == set()
    if name not in NOT_OURS:
        assert locked.keys() <= CONSTRAINTS.keys()


def test_the_locks_of_the_environment_hold_all_the_constraints() -> None:
    whole = pinned(text("requirements.lock")) | pinned(text("requirements-dev.lock"))
    assert whole == CONSTRAINTS
    assert "\n-r requirements.lock\n" in text("requirements-dev.lock")
    assert not pinned(text("requirements.lock")).keys() & pinned(text("requirements-dev.lock")).keys()


def test_another_version_in_a_lock_is_found() -> None:
    assert drift({"numpy": {"2.4.5"}}, among=CONSTRAINTS) == {("numpy", "2.4.5")}


@pytest.mark.parametrize("name", [*COMPLETE, *CONSTRAINED])
def test_every_version_of_a_lock_has_hashes_and_only_wheels_are_taken(name: str) -> None:
    lock = text(f"{name}.lock")
    assert "\n--only-binary :all:\n" in lock
    for entry in entries(lock):
        first, *rest = entry.splitlines(keepends=True)
        assert rest, first
        assert all(HASH.fullmatch(line.strip(" ")) for line in rest), first
    pins = [line for line in lock.splitlines() if line and line[0] not in "# -"]
    assert len(entries(lock)) == len(pins) > 2


def test_the_stations_lock_holds_all_that_is_needed_below() -> None:
    todo, seen = ["ai-edge-litert", "numpy"], set[str]()
    while todo:
        project = canonical(todo.pop())
        if project not in seen:
            seen.add(project)
            wanted = map(Requirement, requires(project) or [])
            todo += [ask.name for ask in wanted if ask.marker is None or ask.marker.evaluate({"extra": ""})]
    assert seen == pinned(text("requirements-station.lock")).keys()


def test_what_is_installed_is_what_is_locked() -> None:
    for name, versions in CONSTRAINTS.items():
        assert {version(name)} == versions, name


@pytest.mark.parametrize(
    ("file", "locks"),
    [
        ("Makefile", ["requirements-dev.lock", "requirements-docs.lock", "requirements-supply.lock"]),
        ("Dockerfile", ["requirements.lock"]),
        ("Dockerfile.station", ["requirements-station.lock"]),
    ],
)
def test_what_is_installed_from_an_index_is_installed_by_hash(file: str, locks: list[str]) -> None:
    by_hash = re.compile(r"--require-hashes -r (\S+\.lock)\b")
    assert sorted(by_hash.findall(text(file))) == locks
    rest = by_hash.sub("", text(file)).replace('-r requirements.txt "$TENSORFLOW"', "")  # for GPUs: by version alone
    assert "-r requirements" not in rest
