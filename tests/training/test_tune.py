"""The search: goes on where it stopped, never scores the test part, and claims no more than it found."""

import io
import json
import shlex
import subprocess
import sys
from contextlib import redirect_stderr
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import optuna
import pytest

from tests import ROOT
from training import fit, search_results
from training.config import FitConfig
from training.job import load_data
from training.search import SPACE, Job, Range, configured, flat, next_trials, open_study, report_epoch, space, suggest
from training.search_results import Result
from training.tune import main
from wafer_tf.errors import ModelError
from wafer_tf.figures.style import save, style
from wafer_tf.learning.models import ModelConfig
from wafer_tf.readers import write_parquet
from wafer_tf.scoring.bootstrap import Estimate
from wafer_tf.scoring.scores import score
from wafer_tf.splitting.splits import Split, content_hash
from wafer_tf.synthesis import synthesize
from wafer_tf.waferset import WaferSet

SMALL = ["--model", "baseline", "--width", "4", "--input-size", "32", "--epochs", "2"]
NOWHERE = Estimate(np.nan, np.nan, np.nan)


@pytest.fixture(scope="module")
def maps(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wafer set of twelve maps of each class."""
    path = tmp_path_factory.mktemp("data") / "maps.parquet"
    write_parquet(synthesize(12, seed=0).wafers, path)
    return path


@dataclass(frozen=True)
class Search:
    """A search of two trials that was stopped in trial 1, after the first of two epochs, and begun again."""

    out: Path
    stopped: int
    said: str
    trained: int
    resumed: int


@pytest.fixture(scope="module")
def search(maps: Path, tmp_path_factory: pytest.TempPathFactory) -> Search:
    out = tmp_path_factory.mktemp("tune") / "search"
    call = ["--data", str(maps), "--out", str(out), "--trials", "2", *SMALL]

    def stop(study, trial, epoch, value, *, may_stop):
        if trial.number == 1:
            raise KeyboardInterrupt
        report_epoch(study, trial, epoch, value, may_stop=may_stop)

    with pytest.MonkeyPatch.context() as patched, redirect_stderr(io.StringIO()) as said:
        patched.setattr("training.search.report_epoch", stop)
        stopped = main(call)
    assert not (out / "results.json").exists()
    trained = (out / "trials" / "0000" / "seed0" / "history.csv").stat().st_mtime_ns
    return Search(out, stopped, said.getvalue(), trained, main(call))


def trials_of(out: Path) -> list[dict]:
    """Trials of results.json by number, without what a clock said."""
    trials = json.loads((out / "results.json").read_text())["trials"]
    return sorted(({k: v for k, v in t.items() if k != "seconds"} for t in trials), key=lambda t: t["number"])


def job_in(out: Path, **changes) -> Job:
    out.mkdir(exist_ok=True)
    nothing = WaferSet.from_maps([], label=[])
    return Job(out, replace(FitConfig(epochs=6), **changes), (0,), nothing, nothing)


def parsed(words: list[str]) -> FitConfig:
    return fit._config(vars(fit.parser().parse_args(words)))


# === Going on ===


def test_a_search_stopped_within_a_trial_goes_on_there_and_repeats_nothing(search: Search) -> None:
    assert (search.stopped, search.resumed) == (130, 0)
    assert "the same command goes on" in search.said
    assert [(t["number"], t["state"], t["epochs"]) for t in trials_of(search.out)] == [
        (0, "complete", 2),
        (1, "complete", 2),
    ]
    first, second = (search.out / "trials" / name / "seed0" for name in ("0000", "0001"))
    assert (first / "history.csv").stat().st_mtime_ns == search.trained, "a finished trial was trained again"
    assert [(second / "log.txt").read_text().count(f"epoch {i}/2: ") for i in (1, 2)] == [1, 1]
    assert not list(search.out.rglob("checkpoints"))


def test_a_finished_search_is_reported_again_without_training(search: Search, maps: Path, capsys) -> None:
    before = {path: path.stat().st_mtime_ns for path in (search.out / "trials").rglob("*")}
    journal = (search.out / "journal.log").read_bytes()
    assert main(["--data", str(maps), "--out", str(search.out), "--trials", "1", *SMALL]) == 0
    assert len(capsys.readouterr().out.split("\n\n")[0].splitlines()) == 1 + 2
    assert {path: path.stat().st_mtime_ns for path in (search.out / "trials").rglob("*")} == before
    assert (search.out / "journal.log").read_bytes() == journal


def test_a_resumed_search_draws_the_settings_of_an_uninterrupted_one_and_none_twice(tmp_path: Path) -> None:
    def run(job: Job, study: optuna.Study, count: int) -> None:
        for trial in next_trials(job, study, count):
            values = suggest(trial, job.base.model.width)
            study.tell(trial, values["dropout"] - values["learning_rate"])

    one, two = job_in(tmp_path / "one"), job_in(tmp_path / "two")
    run(one, open_study(one, mend=True), 14)
    for count in (3, 4, 7):
        run(two, open_study(two, mend=True), count)
    drawn = [[t.params for t in open_study(job).get_trials()] for job in (one, two)]
    assert drawn[0] == drawn[1]
    assert len({json.dumps(params) for params in drawn[0]}) == 14


def test_a_trial_left_running_is_taken_up_first_with_its_settings(tmp_path: Path) -> None:
    job = job_in(tmp_path / "search")
    study = open_study(job, mend=True)
    first, second = next_trials(job, study, 2)
    before = [suggest(first, 16), suggest(second, 16)]
    again = list(next_trials(job, open_study(job, mend=True), 3))
    assert [trial.number for trial in again] == [0, 1, 2]
    assert [suggest(trial, 16) for trial in again[:2]] == before


def test_a_line_of_the_journal_that_was_never_finished_is_cut_off(tmp_path: Path) -> None:
    job = job_in(tmp_path / "search")
    study = open_study(job, mend=True)
    suggest(next(next_trials(job, study, 1)), 16)
    journal = tmp_path / "search" / "journal.log"
    whole = journal.read_bytes()
    journal.write_bytes(whole + whole.splitlines()[-1][:20])
    study = open_study(job, mend=True)
    study.tell(0, 0.5)
    assert [t.value for t in open_study(job).get_trials()] == [0.5]


@pytest.mark.parametrize("damage", ["line", "missing"])
def test_a_damaged_journal_is_refused(damage: str, tmp_path: Path) -> None:
    job = job_in(tmp_path / "search")
    open_study(job, mend=True)
    journal = tmp_path / "search" / "journal.log"
    (tmp_path / "search" / "trials").mkdir()
    if damage == "line":
        journal.write_bytes(b"no json\n" + journal.read_bytes())
    else:
        journal.unlink()
    with pytest.raises(ModelError, match=r"journal\.log: .*another --out"):
        open_study(job, mend=True)


# === Refusing ===


def test_other_data_and_another_search_are_refused_and_change_nothing(
    search: Search, maps: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_parquet(synthesize(12, seed=1).wafers, tmp_path / "other.parquet")
    before = {path: path.read_bytes() for path in search.out.rglob("*") if path.is_file()}

    def refused(code: int, says: str, *flags: str, data: Path = maps) -> None:
        assert main(["--data", str(data), "--out", str(search.out), *SMALL, *flags]) == code
        err = capsys.readouterr().err
        assert says in err
        assert "choose another --out" in err

    refused(4, "began with other wafers", data=tmp_path / "other.parquet")
    refused(2, "epochs was 2, now 3", "--epochs", "3")
    refused(2, "seeds was [0], now [0, 1]", "--seeds", "0", "1")
    monkeypatch.setitem(SPACE, "dropout", Range(0.0, 0.4))
    refused(2, "range of dropout was")
    assert {path: path.read_bytes() for path in search.out.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    ("flags", "code", "says"),
    [
        (["--data", "missing.pkl", "--out", "OUT"], 4, "no such file"),
        (["--trials", "0", "--out", "OUT"], 2, "expected at least 1"),
        (["--seeds", "1", "1", "--out", "OUT"], 2, "no seed twice"),
        (["--epochs", "0", "--out", "OUT"], 2, "expected at least 1"),
        (["--out", "kept"], 2, "exists and holds no search"),
        (["--out", "run", "--smoke"], 3, "is of no search"),
    ],
)
def test_a_wrong_call_ends_with_one_clear_line_and_its_exit_code(
    flags: list[str], code: int, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("kept", "run"):
        (tmp_path / name).mkdir()
    (tmp_path / "kept" / "notes.txt").write_text("mine")
    (tmp_path / "run" / "config.json").write_text('{"config": {}}')
    assert main(flags) == code
    err = capsys.readouterr().err
    assert says in err
    assert "Traceback" not in err
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["config.json", "kept", "notes.txt", "run"]


# === What is compared ===


def test_nothing_of_the_test_part_reaches_a_figure(search: Search, maps: Path, tmp_path: Path) -> None:
    """On data whose test part is destroyed (blank maps, wrong labels) the same search finds the same, bit for bit."""
    wafers = load_data(FitConfig(data=str(maps)))
    split = Split.load(search.out / "split.npz", wafers)
    lost = set(split.test.tolist())
    assert len(lost) > 9
    grids = [np.minimum(wafers.map(i), 1) if i in lost else wafers.map(i) for i in range(len(wafers))]
    label = np.where(split.part == 2, (wafers.label + 1) % 9, wafers.label)
    write_parquet(WaferSet.from_maps(grids, label=label, lot=wafers.lot), tmp_path / "destroyed.parquet")
    destroyed = load_data(FitConfig(data=str(tmp_path / "destroyed.parquet")))
    assert content_hash(destroyed) != content_hash(wafers)

    out = tmp_path / "search"
    out.mkdir()
    config = json.loads((search.out / "config.json").read_text()) | {"wafers_sha256": content_hash(destroyed)}
    (out / "config.json").write_text(json.dumps(config))
    replace(split, wafers_sha256=content_hash(destroyed)).save(out / "split.npz")
    call = ["--data", str(tmp_path / "destroyed.parquet"), "--out", str(out), "--trials", "1", *SMALL]
    assert main(call) == 0
    (blind,), seen = trials_of(out), trials_of(search.out)[0]
    for trial in (blind, seen):
        trial["config"].pop("data")
    assert blind == seen


def test_trial_0_has_the_defaults_of_training_fit(search: Search, maps: Path) -> None:
    first = FitConfig.from_json(trials_of(search.out)[0]["config"])
    assert first == parsed([*SMALL, "--data", str(maps), "--seed", "0", "--split-seed", "0"])


def test_the_figure_of_a_trial_is_the_macro_f1_of_its_kept_validation_logits(search: Search, maps: Path) -> None:
    wafers = load_data(FitConfig(data=str(maps)))
    split = Split.load(search.out / "split.npz", wafers)
    for trial in trials_of(search.out):
        with np.load(search.out / "trials" / f"{trial['number']:04d}" / "seed0" / "validation.npz") as kept:
            prob = np.eye(9)[kept["logits"].argmax(axis=1)]
        found = score(wafers.label[split.validation], prob, group=split.group[split.validation]).macro_f1
        assert [trial["macro_f1"][k] for k in ("value", "low", "high")] == pytest.approx(
            [found.value, found.low, found.high], abs=1e-6
        )


def test_the_command_of_the_winner_is_read_by_training_fit_as_the_same_configuration(search: Search, capsys) -> None:
    found = json.loads((search.out / "results.json").read_text())
    best = next(t for t in trials_of(search.out) if t["number"] == found["best"])
    words = found["command"].split()
    assert words[:3] == ["python", "-m", "training.fit"]
    assert parsed(words[3:]) == FitConfig.from_json(best["config"])


def test_the_command_of_any_trial_is_read_back_as_the_same_configuration(tmp_path: Path) -> None:
    job = job_in(
        tmp_path / "s", model=ModelConfig("baseline", width=24), data="my maps/a.npz", precision="mixed_float16"
    )
    study = open_study(job, mend=True)
    for trial in next_trials(job, study, 25):
        config = configured(job.base, suggest(trial, 24))
        study.tell(trial, config.learning_rate)
        words = shlex.split(search_results.fit_command(config))
        assert parsed(words[3:]) == config
        assert config.model.width in range(12, 49, 4)


def test_the_space_holds_the_defaults_whatever_the_width() -> None:
    for width in range(4, 68, 4):
        config = replace(FitConfig(), model=ModelConfig(width=width))
        for name, values in space(width).items():
            value = flat(config)[name]
            if isinstance(values, Range):
                assert values.low <= value <= values.high
                assert values.step is None or (value - values.low) / values.step % 1 == pytest.approx(0, abs=1e-9)
            else:
                assert value in values


# === Stopping early ===


def test_a_trial_below_the_median_is_stopped_but_never_the_defaults_nor_at_the_end(tmp_path: Path) -> None:
    job = job_in(tmp_path / "search")
    study = open_study(job, mend=True)
    default, *others = next_trials(job, study, 7)
    for trial in others[:5]:
        for epoch in range(6):
            report_epoch(study, trial, epoch, 0.8, may_stop=epoch < 5)
        study.tell(trial, 0.8)
    bad = others[5]
    for trial in (default, bad):
        for epoch in range(2):  # the first third is no ground to stop on
            report_epoch(study, trial, epoch, 0.1, may_stop=True)
    report_epoch(study, default, 2, 0.1, may_stop=True)
    with pytest.raises(optuna.TrialPruned):
        report_epoch(study, bad, 2, 0.1, may_stop=True)
    report_epoch(study, bad, 2, 0.1, may_stop=False)
    assert study.get_trials()[bad.number].intermediate_values == {0: 0.1, 1: 0.1, 2: 0.1}


# === What is said ===


def result(number: int, value: float, lead: Estimate = NOWHERE, state: str = "complete") -> Result:
    return Result(number, state, 8, 10.0, Estimate(value, value - 0.05, value + 0.05), lead, FitConfig())


@pytest.mark.parametrize(
    ("best", "says"),
    [
        (result(0, 0.8), "None of 2 trials beat the defaults"),
        (result(7, 0.8, Estimate(0.01, -0.02, 0.04)), "that is noise"),
        (result(7, 0.8, Estimate(0.01, 0.0, 0.04)), "that is noise"),
        (result(7, 0.8, Estimate(0.05, 0.01, 0.09)), "more than the choice of validation wafers explains"),
        (result(7, 0.8, Estimate(0.05, np.nan, np.nan)), "nothing can be said of its noise"),
    ],
)
def test_a_lead_within_its_interval_is_called_noise(best: Result, says: str) -> None:
    assert says in search_results.verdict([best, result(0, 0.75)])
    assert search_results.within_noise(best) is ("more than" not in says)


def test_the_table_gives_intervals_for_the_first_few_and_the_defaults() -> None:
    found = [result(n, 0.9 - n / 100, Estimate(0.01, -0.02, 0.04)) for n in (*range(1, 8), 0)]
    lines = search_results.table(found).splitlines()
    assert [line.split()[0] for line in lines] == ["trial", *"12345670"]
    assert ["[" in line for line in lines[1:]] == [True] * 5 + [False] * 2 + [True]
    assert "0 defaults" in lines[-1]


@pytest.mark.parametrize("trials", [1, 30])
def test_the_figure_is_drawn_for_one_trial_and_for_many(trials: int, tmp_path: Path) -> None:
    found = [result(n, 0.6 + n / 100, state="pruned" if n % 3 == 1 else "complete") for n in range(trials)]
    importance = {"learning_rate": 0.7, "width": 0.3} if trials > 1 else {}
    with style():
        figure = search_results.draw(found, importance)
        path = save(figure, tmp_path / "search.png")
    left, right = figure.axes
    assert path.read_bytes().startswith(b"\x89PNG")
    assert ("pruned" in left.get_legend_handles_labels()[1]) is (trials > 1)
    assert len(right.patches) == len(importance)
    best = next(line for line in left.lines if line.get_label() == "best so far")
    assert best.get_ydata()[-1] == max(r.macro_f1.value for r in found if r.state == "complete")


def test_help_shows_an_example_and_the_space_without_heavy_imports() -> None:
    code = (
        "import sys, runpy; sys.argv = ['training.tune', '--help']\n"
        "try: runpy.run_module('training.tune', run_name='__main__')\n"
        "except SystemExit as end: assert not end.code\n"
        "assert not {'tensorflow', 'keras', 'matplotlib', 'pandas', 'sklearn', 'optuna'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert "python -m training.tune --data" in done.stdout.split("example", 1)[1]
    assert all(name in done.stdout for name in space(16))
