"""The flags of the station's commands, and what they ask for."""

import argparse
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from edge.station import classifier as classifier_module
from edge.station.__main__ import parser
from edge.station.flags import MAX_THREADS, add_arguments, load
from wafer_tf import bundle as bundle_module
from wafer_tf.decision.points import Point
from wafer_tf.errors import UsageError
from wafer_tf.formats import flags as reading
from wafer_tf.formats.options import Options
from wafer_tf.released import DEFAULT, bundle_folder


def _parse(*words: str, files: bool = False) -> argparse.Namespace:
    p = argparse.ArgumentParser(exit_on_error=False)
    add_arguments(p, files=files)
    return p.parse_args(words)


def test_without_a_flag_the_released_model_runs_on_one_thread_and_doubts_below_a_half() -> None:
    assert vars(_parse()) == {
        "bundle": DEFAULT,
        "threads": 1,
        "review_below": 0.5,
        "unknown_above": 0.99,
        "operating_point": None,
        "allow_slow": False,
        "allow_ungated": False,
        "require_signature": None,
        "min_version": 0,
    }
    assert vars(_parse("--allow-slow", "--allow-ungated", "--bundle", "b")) == {
        "bundle": "b",
        "threads": 1,
        "review_below": 0.5,
        "unknown_above": 0.99,
        "operating_point": None,
        "allow_slow": True,
        "allow_ungated": True,
        "require_signature": None,
        "min_version": 0,
    }


@pytest.mark.parametrize("number", [1, 2, MAX_THREADS])
def test_1_to_64_threads_are_taken(number: int) -> None:
    assert MAX_THREADS == 64
    assert _parse("--threads", str(number)).threads == number


@pytest.mark.parametrize("text", ["0", "65", "-1", "1.5", "", "two", "\u0663", "\u00b2"])
def test_other_numbers_of_threads_are_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentError, match="expected a whole number of 1 to 64"):
        _parse("--threads", text)


@pytest.mark.parametrize(("text", "value"), [("0", 0.0), ("1", 1.0), ("0.25", 0.25), ("1e-3", 0.001)])
def test_a_probability_of_0_to_1_is_taken(text: str, value: float) -> None:
    assert _parse("--review-below", text).review_below == value
    assert _parse("--unknown-above", text).unknown_above == value


@pytest.mark.parametrize("text", ["-0.01", "1.01", "nan", "inf", "half", ""])
def test_what_is_no_probability_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentError, match="expected a number from 0 to 1"):
        _parse("--review-below", text)
    with pytest.raises(argparse.ArgumentError, match="expected a number from 0 to 1"):
        _parse("--unknown-above", text)


@pytest.mark.parametrize("text", ["-1", "1.0", "v2", "", "\u0663", "9" * 19])
def test_what_is_no_release_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentError, match="expected a whole number, 0 or more"):
        _parse("--min-version", text)


@pytest.mark.parametrize("passed", [True, False])
def test_the_classifier_is_the_one_the_flags_ask_for(
    passed: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[Any] = []
    bundle = SimpleNamespace(passed=passed)

    def load_bundle(path: Path, **options: Any) -> Any:
        asked.append((path, options))
        return bundle

    def classifier(given: Any, **options: Any) -> str:
        asked.append((given, options))
        return "classifier"

    monkeypatch.setattr(bundle_module, "load_bundle", load_bundle)
    monkeypatch.setattr(classifier_module, "Classifier", classifier)
    words = ["--bundle", "nano", "--threads", "3", "--review-below", "0.7", "--allow-slow", "--allow-ungated"]
    words += ["--unknown-above", "0.995"]
    args = _parse(*words, "--require-signature", "k.pem", "--min-version", "20261126")
    assert load(args) == "classifier"
    assert asked == [
        (bundle_folder("nano"), {"allow_ungated": True, "require_signature": "k.pem", "min_version": 20261126}),
        (
            bundle,
            {
                "threads": 3,
                "allow_slow": True,
                "point": Point(review_below=0.7),
                "unknown_above": 0.995,
                "options": Options(),
            },
        ),
    ]
    told = capsys.readouterr()
    assert told.out == "", "the records are printed there"
    assert told.err == ("" if passed else "warning: bundle nano did not pass the accuracy gate\n")


def test_an_operating_point_is_taken_from_the_bundle_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    few = Point(0.5, -2.0)
    bundle = SimpleNamespace(passed=True, points={"few-escapes": few})
    monkeypatch.setattr(bundle_module, "load_bundle", lambda path, **_: bundle)
    monkeypatch.setattr(classifier_module, "Classifier", lambda bundle, **given: given["point"])
    assert load(_parse("--operating-point", "few-escapes")) == few  # type: ignore[comparison-overlap]
    assert load(_parse("--operating-point", "balanced")) == Point()  # type: ignore[comparison-overlap]
    with pytest.raises(UsageError, match="bundle wafer does not offer it; it offers balanced, few-escapes"):
        load(_parse("--operating-point", "few-false-alarms"))
    with pytest.raises(argparse.ArgumentError, match="not allowed with argument"):
        _parse("--operating-point", "balanced", "--review-below", "0.9")


def test_how_files_are_read_is_asked_for_only_where_there_are_any(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundle_module, "load_bundle", lambda path, **_: SimpleNamespace(passed=True))
    monkeypatch.setattr(classifier_module, "Classifier", lambda bundle, **given: given["options"])
    found: Any = load(_parse("--pass-bins", "1,7", "--y-axis", "up", files=True))
    assert found == Options(pass_bins=frozenset({"1", "7"}), y_axis="up")
    assert not _unsaid().keys() & vars(_parse()).keys()


# === Each job's own ===


def _unsaid() -> dict[str, None]:
    """Return the flags of reading files, none of which was given."""
    p = argparse.ArgumentParser()
    reading.add_arguments(p)
    return vars(p.parse_args([]))


def test_each_job_takes_its_own_flags_and_those_of_a_bundle() -> None:
    common = {
        "bundle": DEFAULT,
        "threads": 1,
        "review_below": 0.5,
        "operating_point": None,
        "allow_slow": False,
        "allow_ungated": False,
    }
    common |= {"unknown_above": 0.99, "require_signature": None, "min_version": 0}
    found = vars(parser().parse_args(["classify", "a", "-"]))
    answers = {"jsonl": False, "csv": False, "parquet": None, "e142": None, "overwrite": False, "merge": False}
    assert found == {"job": "classify", "maps": ["a", "-"], "strict": False} | answers | common | _unsaid()
    assert parser().parse_args(["classify", "--strict", "a"]).strict is True
    assert vars(parser().parse_args(["selftest"])) == {"job": "selftest"} | common
    found = vars(parser().parse_args(["bench"]))
    assert found == {"job": "bench", "maps": [], "count": 1000, "json": False} | common
    found = vars(parser().parse_args(["bench", "a", "b", "--count", "7", "--json"]))
    assert found == {"job": "bench", "maps": ["a", "b"], "count": 7, "json": True} | common
    found = vars(parser("watch").parse_args(["watch", "in", "--out", "o"]))
    assert (
        found
        == {
            "job": "watch",
            "inbox": Path("in"),
            "out": Path("o"),
            "poll": 1.0,
            "settle": 2.0,
            "metrics_file": None,
            "unknown_to": None,
            "once": False,
            "e142": None,
            "reload": False,
        }
        | common
        | _unsaid()
    )
    words = ["watch", "in", "--out", "o", "--poll", "0.5", "--settle", "3", "--metrics-file", "m", "--once"]
    found = vars(parser("watch").parse_args(words))
    assert (found["poll"], found["settle"], found["metrics_file"], found["once"]) == (0.5, 3.0, Path("m"), True)


@pytest.mark.parametrize(
    "words", [["watch", "in"], ["watch", "--out", "o"], ["classify"], [], ["classify", "--stri", "a"]]
)
def test_what_is_missing_or_shortened_is_wrong_usage(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        parser("watch").parse_args(words)
    assert stop.value.code == 2
    assert "usage: station" in capsys.readouterr().err


@pytest.mark.parametrize("job", ["classify", "watch", "selftest", "bench"])
def test_the_help_of_each_job_shows_an_example(job: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parser(job).parse_args([job, "--help"])
    assert f"  station {job} " in capsys.readouterr().out
