"""Search hyper-parameters by validation macro-F1: `python -m training.tune --data PATH --out tune/NAME`.

One split, made as training.fit makes it, serves every trial; its test part is never scored. Trial 0 has training.fit's
defaults, so that a gain is a gain over them. Later trials come from a TPE sampler; one that is below the median of the
finished trials at the same epoch is stopped early ("pruned"). The same command goes on with a search that was stopped,
from the last whole epoch; more --trials extend a finished one.
"""

import argparse
import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from training.config import FitConfig
from training.search import SPACE, Job, Range, configured, finished, flat, open_study, search, space
from training.search_results import (
    RANKABLE,
    Result,
    draw,
    fit_command,
    results,
    table,
    verdict,
    within_noise,
)
from wafer_tf.command import CommandParser, called
from wafer_tf.command import run as run_command
from wafer_tf.errors import InputError, ModelError, UsageError
from wafer_tf.learning.run_folder import RunFolder

if TYPE_CHECKING:
    import optuna

    from wafer_tf.waferset import WaferSet

CAVEAT = """\
Figures are of the validation part ({wafers} wafers), by which epoch and trial were chosen: the best is flattered.
Intervals are 95 % over groups of its wafers; another seed of the training moves the figures besides.
The test part was never scored; --split-seed keeps it apart. To train the best trial and score it there:"""


def _told(values: Range | tuple[Any, ...]) -> str:
    if not isinstance(values, Range):
        return ", ".join(map(str, values))
    return f"{values.low:g} to {values.high:g}{' (log)' if values.log else ''}"


EXAMPLE = f"""example:
  python -m training.tune --data LSWMD.pkl --model baseline --trials 20 --out tune/baseline
  python -m training.tune --smoke --out tune/smoke

searched:
{"".join(f"  {name:<16} {_told(values)}" + chr(10) for name, values in SPACE.items())}\
  width            half to twice the default, multiples of 4

exit codes: 0 done, 2 usage (also: --out holds another search), 3 bad search folder, 4 bad input (also: other data than
the search began with), 130 interrupted (the same command goes on)"""


def parser() -> argparse.ArgumentParser:
    """Return the command's arguments."""
    d = FitConfig()
    p = CommandParser("python -m training.tune", __doc__, epilog=EXAMPLE)
    p.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="folder of the search; an existing one goes on"
    )
    p.add_argument("--trials", type=int, default=20, metavar="N", help="finished trials in all (default 20)")
    p.add_argument(
        "--jobs",
        type=int,
        default=1,
        metavar="N",
        help="trials at a time, each a process of its own; with more than 1 a search is not repeatable (default 1)",
    )
    p.add_argument(
        "--seeds",
        type=int,
        nargs="+",
        default=[0],
        metavar="S",
        help="train every trial once with each and take the mean; the first also seeds split and search (default 0)",
    )
    p.add_argument("--smoke", action="store_true", help="2 trials of 1 epoch of a tiny model on a small set")
    same = p.add_argument_group("as in training.fit, the same for every trial")
    same.add_argument("--data", metavar="PATH", help="labelled maps (default: the built-in synthetic set)")
    same.add_argument("--epochs", type=int, default=8, metavar="N", help="of each training (default 8)")
    same.add_argument("--model", dest="architecture", default=d.model.architecture, metavar="NAME")
    same.add_argument("--width", type=int, default=d.model.width, metavar="N", help="middle of the widths searched")
    same.add_argument("--input-size", type=int, default=d.model.input_size, metavar="CELLS")
    same.add_argument("--stem", default=d.model.stem, metavar="NAME")
    same.add_argument("--split", default=d.split, metavar="HOW")
    same.add_argument("--synthetic", type=int, default=d.synthetic, metavar="N")
    same.add_argument("--builtin-per-class", type=int, default=d.builtin_per_class, metavar="N")
    same.add_argument("--limit-per-class", type=int, metavar="N")
    same.add_argument("--precision", default=d.precision, metavar="POLICY")
    same.add_argument("--require-gpu", action="store_true")
    return p


def main(argv: list[str] | None = None) -> int:
    """Run the command and return its exit code."""
    args = vars(parser().parse_args(argv))
    return run_command(lambda: _tune(args))


def _tune(args: dict[str, Any]) -> None:
    from wafer_tf.learning.quiet import quiet_tensorflow

    quiet_tensorflow()
    import optuna
    from tqdm import tqdm

    from training.job import check, load_data, split_of
    from training.train import fill_classes

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    out, trials, jobs, seeds = (args.pop(name) for name in ("out", "trials", "jobs", "seeds"))
    if trials < 1 or jobs < 1 or len(set(seeds)) < len(seeds):
        raise UsageError(
            f"--trials {trials}, --jobs {jobs}, --seeds {seeds}; expected at least 1, 1, and no seed twice."
        )
    if smoke := args.pop("smoke"):
        trials = min(trials, 2)
    base = _base(args, seeds, smoke=smoke)
    check(base)
    if out.exists() and not (out / "config.json").is_file() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out}: exists and holds no search; choose another --out. Nothing was changed.")
    wafers = load_data(base)
    folder = RunFolder(out)
    new = _claim(folder, base, seeds, wafers)
    with folder.locked():
        try:
            split = split_of(base, folder, wafers)
        except BaseException:
            if new:  # nothing worth keeping yet: leave no folder in the way
                shutil.rmtree(out)
            raise
        training = fill_classes(wafers.select(split.train), base.synthetic, seed=base.seed)
        job = Job(out, base, tuple(seeds), training, wafers.select(split.validation))
        study = open_study(job, mend=True)
        states = [trial.state.name for trial in study.get_trials(deepcopy=False)]
        done = len(finished(study))
        count = max(trials - done, states.count("RUNNING"))  # what was begun is finished in any case
        with tqdm(total=done + count, initial=done, unit="trial", desc="search", file=sys.stderr) as bar:
            try:
                search(job, study, count=count, jobs=jobs, bar=bar)
            except KeyboardInterrupt:
                bar.write("stopped; the same command goes on where it was", file=sys.stderr)
                raise
        found = results(job, study, group=split.group[split.validation])
        _write(job, study, found)
    print(f"{table(found)}\n\n{verdict(found)}\n\n{CAVEAT.format(wafers=len(job.validation))}\n")
    print(called(fit_command(found[0].config)))
    print(f"\nsearch folder: {out}  (results.json, search.png, trials/)")


def _base(args: Mapping[str, Any], seeds: Sequence[int], *, smoke: bool) -> FitConfig:
    """Return the configuration of trial 0; its split keeps its seed whatever a training's seed is."""
    base = configured(FitConfig(seed=seeds[0], split_seed=seeds[0]), args)
    for seed in seeds:
        replace(base, seed=seed)  # raises where a seed is out of range
    if not smoke:
        return base
    return replace(base.smoke(), epochs=1, model=replace(base.model, architecture="baseline", width=4, input_size=32))


def _claim(folder: RunFolder, base: FitConfig, seeds: Sequence[int], wafers: "WaferSet") -> bool:
    """Write what the search is to its folder and return True; False where the same search lies there already.

    Raises:
        InputError: the search there began with other wafers.
        UsageError: it has other settings, or searches other ranges.
    """
    from wafer_tf.splitting.splits import content_hash

    settings = {name: value for name, value in flat(base).items() if name not in ("data", "require_gpu", "seed")}
    for name, values in space(base.model.width).items():
        settings[f"range of {name}"] = asdict(values) if isinstance(values, Range) else values
    asked = json.loads(json.dumps({**settings, "seeds": seeds}))  # as it is read back: lists, no tuples
    sha256 = content_hash(wafers)
    if not (folder.path / "config.json").is_file():
        folder.path.mkdir(parents=True, exist_ok=True)
        folder.write_json("config.json", {"search": asked, "wafers_sha256": sha256})
        return True
    kept = folder.read_json("config.json")
    try:
        had, had_sha256 = dict(kept["search"]), str(kept["wafers_sha256"])
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(
            f"{folder.path}: its config.json is of no search ({error!r}); choose another --out."
        ) from error
    if had_sha256 != sha256:
        raise InputError(
            f"{folder.path}: the search began with other wafers (SHA-256 {had_sha256[:12]}...); received "
            f"{sha256[:12]}.... Pass the data it began with, or choose another --out for a new search."
        )
    if differing := [name for name in sorted(had.keys() | asked.keys()) if had.get(name) != asked.get(name)]:
        told = "; ".join(f"{name} was {had.get(name)}, now {asked.get(name)}" for name in differing)
        raise UsageError(
            f"{folder.path}: holds another search ({told}), whose trials compare with none of this one. Repeat the "
            "flags it began with, or choose another --out for a new search."
        )
    return False


def _write(job: Job, study: "optuna.Study", found: Sequence[Result]) -> None:
    """Write results.json and search.png."""
    import optuna

    from wafer_tf.as_json import to_json
    from wafer_tf.figures.style import save, style

    best = found[0]
    RunFolder(job.out).write_json(
        "results.json",
        {
            "best": best.number,
            "best_lead_within_noise": within_noise(best),
            "command": fit_command(best.config),
            "seeds": job.seeds,
            "trials": to_json(found),
        },
    )
    values = [r.macro_f1.value for r in found if r.state == "complete"]
    importance = {}
    if len(values) >= RANKABLE and len(set(values)) > 1:
        # PED-ANOVA, Optuna's default, looks at the best tenth alone: two trials of twenty
        forest = optuna.importance.FanovaImportanceEvaluator(seed=0)
        importance = optuna.importance.get_param_importances(study, evaluator=forest)
    with style():
        save(draw(found, importance), job.out / "search.png")


if __name__ == "__main__":
    sys.exit(main())
