"""Where a bundle says it came from."""

import hashlib
import shutil
import subprocess
from datetime import datetime, timedelta, timezone
from importlib.metadata import version
from pathlib import Path

import pytest

from edge.gate import provenance as module
from edge.gate.provenance import commit, provenance
from wafer_tf.learning.run_folder import RunFolder
from wafer_tf.released import released
from wafer_tf.reporting.facts import facts_of


def test_a_run_is_told_by_its_name_its_hashes_its_facts_and_the_versions(tmp_path: Path) -> None:
    shutil.copytree(released("nano"), tmp_path / "a run")
    run = RunFolder.open(tmp_path / "a run")
    found, facts = provenance(run), facts_of(run)
    made, versions = found.pop("created"), found.pop("versions")
    assert found.pop("commit") == commit()
    assert found == {
        "run": "a run",
        "config_sha256": hashlib.sha256((run.path / "config.json").read_bytes()).hexdigest(),
        "model_sha256": hashlib.sha256((run.path / "model.keras").read_bytes()).hexdigest(),
        **{name: getattr(facts, name) for name in ("data_name", "data_sha256", "split_method", "seed", "model")},
        "input": "64 x 64",
        "parameters": facts.parameters,
    }
    assert timedelta(0) <= datetime.now(timezone.utc) - datetime.fromisoformat(made) < timedelta(minutes=5)
    assert len(made) == len("2026-01-01T00:00:00+00:00")
    for name in ("numpy", "ai-edge-litert", "ai-edge-quantizer"):
        assert versions[name] == version(name)
    assert {"python", "tensorflow", "keras"} <= set(versions)


def test_the_commit_is_that_of_the_program_and_says_where_files_were_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_NAME", "GIT_COMMITTER_EMAIL"):
        monkeypatch.setenv(name, "tests")
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    (tmp_path / "code" / "edge").mkdir(parents=True)
    monkeypatch.setattr(module, "__file__", str(tmp_path / "code" / "edge" / "provenance.py"))
    assert commit() is None, "outside a checkout"

    def git(*words: str) -> str:
        done = subprocess.run(["git", *words], cwd=tmp_path / "code", capture_output=True, text=True, check=True)
        return done.stdout.strip()

    git("init", "-q")
    (tmp_path / "code" / "file").write_text("1")
    git("add", "file")
    git("commit", "-q", "-m", "first")
    git("tag", "-a", "v1.0", "-m", "a tag is no commit")
    head = git("rev-parse", "HEAD")
    assert len(head) == 40
    assert commit() == head
    (tmp_path / "code" / "file").write_text("2")
    assert commit() == f"{head}-dirty"


@pytest.mark.parametrize("error", [FileNotFoundError("git"), subprocess.TimeoutExpired("git", 10)])
def test_without_git_no_commit_is_told(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*args: object, timeout: float, **options: object) -> None:
        assert 1 <= timeout <= 60, "it may hang"
        raise error

    monkeypatch.setattr(subprocess, "run", failing)
    assert commit() is None
