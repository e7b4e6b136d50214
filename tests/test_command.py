"""`wafer-tf VERB`: one command for everything, told from the modules it calls by nothing but its name."""

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from app.__main__ import main as page
from tests import ROOT
from tests.station import bare_environment, station, text
from training.fit import parser as fit_parser
from wafer_tf import released
from wafer_tf.__main__ import VERBS, main, usage
from wafer_tf.command import call_as, called, run
from wafer_tf.synthesis import synthesize
from wafer_tf.version import __version__

SLOW = {"tensorflow", "keras", "pandas", "matplotlib", "sklearn", "scipy", "pyarrow", "streamlit", "optuna", "cv2"}
"""Libraries that alone take longer to import than a help may take."""
HELP = """
import sys
from wafer_tf.__main__ import main
try:
    main([sys.argv[1], "--help"])
finally:
    print(*{name.partition(".")[0] for name in sys.modules}, file=sys.stderr)
"""


def python(*arguments: str, cwd: Path = ROOT) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, *arguments], cwd=cwd, env=bare_environment(), capture_output=True, text=True, check=False
    )


def test_there_is_a_verb_for_every_job() -> None:
    assert set(VERBS) == {
        *("classify", "watch", "inspect", "convert-map", "selftest", "bench", "classify-set", "to-parquet"),
        *("fit", "evaluate", "explain", "tune", "operating", "unknown", "page"),
        *("convert", "calibrate", "benchmark", "sign", "verify", "pack"),
    }
    assert all(f"  {name} " in usage() for name in VERBS)


@pytest.mark.parametrize("name", VERBS)
def test_a_verb_is_helped_under_its_name_with_an_example_and_without_what_is_slow(name: str) -> None:
    shown = python("-c", HELP, name)
    assert shown.stdout.startswith(f"usage: wafer-tf {name} ")
    assert f"\n  wafer-tf {name}" in shown.stdout.partition("\nexample")[2]
    assert "exit codes: " in shown.stdout
    assert "python -m" not in shown.stdout
    assert not SLOW & set(shown.stderr.split())


def test_the_command_says_its_version_and_where_help_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == main(["--help"]) == 0
    out, err = capsys.readouterr()
    assert (out, err) == (f"wafer-tf {__version__}\n{usage()}\n", "")
    assert main([]) == 2
    assert capsys.readouterr() == ("", f"{usage()}\n")


@pytest.mark.parametrize("word", ["--help", "--version"])
def test_help_onto_a_full_disk_or_a_closed_pipe_has_no_traceback(word: str) -> None:
    command = [sys.executable, "-m", "wafer_tf", word]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command, cwd=ROOT, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (4, "error: No space left on device\n")
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as closed:
        done = subprocess.run(command, cwd=ROOT, stdout=closed, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(("word", "meant"), [("evalute", " Did you mean evaluate?"), ("xyzzy", "")])
def test_an_unknown_verb_is_answered_with_the_nearest(
    word: str, meant: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([word]) == 2
    assert capsys.readouterr().err == (
        f"error: '{word}' is no verb of wafer-tf.{meant} wafer-tf --help names all of them.\n"
    )


def test_the_modules_keep_their_own_names(capsys: pytest.CaptureFixture[str]) -> None:
    assert fit_parser().prog == "python -m training.fit"
    with pytest.raises(SystemExit):
        main(["fit", "--help"])
    assert capsys.readouterr().out.startswith("usage: wafer-tf fit ")
    assert fit_parser().prog == "python -m training.fit"
    with call_as({"python -m edge.station": "wafer-tf", "python -m edge.station selftest": "wafer-tf selftest"}):
        assert called("python -m edge.station selftest, python -m edge.station") == "wafer-tf selftest, wafer-tf"
    assert called("python -m edge.station") == "python -m edge.station"


@pytest.mark.parametrize("arguments", [["classify", "a.csv", "--strikt"], ["sign", "bundle"]])
def test_a_wrong_flag_is_an_error_of_the_verb(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(arguments)
    assert capsys.readouterr().err.startswith(f"usage: wafer-tf {arguments[0]} ")


@pytest.mark.parametrize(
    ("library", "python_is", "said"),
    [
        ("numpy", (3, 14), "pip install numpy"),
        ("tensorflow", (3, 12), "pip install 'WHEEL[train]', WHEEL being wafer_tf's"),
        ("tensorflow", (3, 14), "'WHEEL[train]', WHEEL being wafer_tf's; with Python 3.11 to 3.13, this is 3.14"),
        ("streamlit.web", (3, 11), "pip install 'WHEEL[page]', WHEEL being wafer_tf's"),
    ],
)
def test_what_is_missing_is_said_in_one_line(
    library: str,
    python_is: tuple[int, int],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def needs() -> None:
        raise ModuleNotFoundError(f"No module named {library!r}", name=library)

    monkeypatch.setattr(sys, "version_info", (*python_is, 0, "final", 0))
    assert run(needs) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"error: {library.partition('.')[0]} is not installed, and this needs it: ")
    assert err.endswith(f"{said}\n")
    assert err.count("\n") == 1


def test_the_page_without_streamlit_says_what_brings_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("app.__main__.find_spec", lambda name: None)
    assert page([]) == 2
    assert "streamlit is not installed" in capsys.readouterr().err


def test_classify_needs_no_bundle_named_and_says_what_the_station_says(tmp_path: Path) -> None:
    (tmp_path / "map.csv").write_bytes(text(synthesize(1, seed=1).wafers.map(0)))
    ours = python("-m", "wafer_tf", "classify", str(tmp_path / "map.csv"))
    theirs = station("classify", str(tmp_path / "map.csv"), "--bundle", str(released.released("wafer") / "bundle"))
    assert ours.returncode == theirs.returncode == 0, ours.stderr
    records = [json.loads(out) | {"ms": 0} for out in (ours.stdout, theirs.stdout)]
    assert records[0] == records[1]


def test_what_is_made_of_an_installed_model_goes_here_and_of_a_run_into_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(released, "_PLACES", (tmp_path / "package" / "released", tmp_path / "models"))
    assert released.results(tmp_path / "package" / "released" / "nano", "bundle") == Path("bundle/nano")
    assert released.results(str(tmp_path / "models" / "nano"), "bundle") == tmp_path / "models" / "nano" / "bundle"


def test_a_folder_of_the_name_comes_before_the_released_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "nano").mkdir()
    assert released.bundle_folder("nano") == released.released("nano") / "bundle"
    (tmp_path / "nano" / "bundle.json").touch()
    assert released.bundle_folder("nano") == Path("nano")
    assert released.run_folder("nano") == released.released("nano")


def test_every_command_has_its_parser_from_one_place() -> None:
    made = [
        path.relative_to(ROOT).as_posix()
        for folder in ("wafer_tf", "training", "edge", "app", "experiments", "benchmarks")
        for path in sorted((ROOT / folder).rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("ArgumentParser")
    ]
    assert made == []
