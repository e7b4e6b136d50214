"""A hyper-parameter search: what is searched, its study, and its trials. The command is `training.tune`."""

import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from training.config import CLASS_WEIGHTS, LOSSES, FitConfig
from wafer_tf.errors import ModelError
from wafer_tf.learning.augment import Augmentation
from wafer_tf.learning.models import ModelConfig
from wafer_tf.learning.run_folder import RunFolder

if TYPE_CHECKING:
    import optuna
    from tqdm import tqdm

    from wafer_tf.waferset import WaferSet


@dataclass(frozen=True)
class Range:
    """Values from `low` to `high`, in steps or (log) evenly by their logarithm; whole numbers where `low` is one."""

    low: float
    high: float
    step: float | None = None
    log: bool = False


SPACE: dict[str, Range | tuple[Any, ...]] = {
    "learning_rate": Range(2e-4, 2e-2, log=True),
    "weight_decay": Range(1e-6, 1e-1, log=True),
    "dropout": Range(0.0, 0.6, step=0.05),
    "class_weights": CLASS_WEIGHTS,
    "loss": LOSSES,
    "label_smoothing": Range(0.0, 0.2, step=0.02),
    "turn_prob": Range(0.0, 1.0, step=0.1),
    "die_noise": Range(0.0, 0.1, step=0.01),
    "batch_size": (32, 64, 128),
}
"""What is searched, by the names of FitConfig, ModelConfig and Augmentation; `space` adds the width."""


def space(width: int) -> dict[str, Range | tuple[Any, ...]]:
    """Return SPACE and the widths from half to twice the default `width`, multiples of 4."""
    return {**SPACE, "width": Range(max(4, width // 8 * 4), 2 * width, step=4)}


@dataclass(frozen=True, eq=False)
class Job:
    """What all trials share.

    Attributes:
        out: folder of the search.
        base: configuration of trial 0; its seed is that of the split.
        seeds: of the trainings of each trial.
        training, validation: the wafers trained on and judged by.
    """

    out: Path
    base: FitConfig
    seeds: tuple[int, ...]
    training: "WaferSet"
    validation: "WaferSet"


def open_study(job: Job, *, mend: bool = False) -> "optuna.Study":
    """Open the search's study, or begin it with the defaults as its first trial.

    It is kept as a journal: one fsynced line of JSON per change, whole after a kill, safe on network file systems
    (where SQLite's locks are not) and read by optuna-dashboard.

    Args:
        job: whose `out` holds, or will hold, journal.log.
        mend: cut off a last line that a full disk or a power cut left unfinished; for the process that holds the lock.

    Raises:
        ModelError: the journal is damaged, or missing though trials lie beside it.
    """
    import optuna
    from optuna.storages.journal import JournalFileBackend, JournalStorage

    path = job.out / "journal.log"
    if mend and path.exists():
        os.truncate(path, path.read_bytes().rfind(b"\n") + 1)
    begun = path.exists() and path.stat().st_size > 0
    if not begun and (job.out / "trials").exists():
        raise ModelError(f"{path}: missing, though there are trials. Restore it, or begin anew in another --out.")
    # The median of five trials is known early; Hyperband would have to fill several brackets with trials first.
    pruner = optuna.pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=job.base.epochs // 3)
    try:
        storage = JournalStorage(JournalFileBackend(str(path)))
        if not begun:
            optuna.create_study(storage=storage, study_name="tune", direction="maximize")
        study = optuna.load_study(storage=storage, study_name="tune", pruner=pruner)
        if mend and not study.get_trials(deepcopy=False):
            values = flat(job.base)
            study.enqueue_trial({name: values[name] for name in space(job.base.model.width)})
    except (ValueError, LookupError, TypeError) as error:
        raise ModelError(f"{path}: damaged ({error!r}). Restore it, or begin anew in another --out.") from error
    return study


def finished(study: "optuna.Study") -> "list[optuna.trial.FrozenTrial]":
    return [trial for trial in study.get_trials(deepcopy=False) if trial.state.is_finished()]


def next_trials(job: Job, study: "optuna.Study", count: int) -> "Iterator[optuna.Trial]":
    """Yield `count` trials: first those that a stopped search left running, then new ones."""
    import optuna

    left = [t.number for t in study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.RUNNING,))]
    for _ in range(count):
        begun = sum(t.state != optuna.trial.TrialState.WAITING for t in study.get_trials(deepcopy=False))
        number = left.pop(0) if left else None
        # A sampler seeded once would begin its random numbers again on resuming and repeat the first trials.
        seed = np.random.SeedSequence([job.base.seed, begun if number is None else number]).generate_state(1)
        study.sampler = optuna.samplers.TPESampler(seed=int(seed[0]))
        yield study.ask() if number is None else _running(study, number)


def _running(study: "optuna.Study", number: int) -> "optuna.Trial":
    import optuna

    # Optuna has no public way to go on with a running trial
    return optuna.Trial(study, study.get_trials(deepcopy=False)[number]._trial_id)


def suggest(trial: "optuna.trial.BaseTrial", width: int) -> dict[str, Any]:
    """Return a value for everything searched; floats have three digits, so that a command line can be read."""
    values: dict[str, Any] = {}
    for name, r in space(width).items():
        if not isinstance(r, Range):
            values[name] = trial.suggest_categorical(name, r)
        elif isinstance(r.low, int):
            values[name] = trial.suggest_int(name, r.low, int(r.high), step=int(r.step or 1))
        else:
            values[name] = float(f"{trial.suggest_float(name, r.low, r.high, step=r.step, log=r.log):.3g}")
    return values


def configured(base: FitConfig, values: Mapping[str, Any]) -> FitConfig:
    """Return `base` with fields of it, of its model and of its augmentation replaced by name."""

    def pick(kind: type) -> dict[str, Any]:
        return {f.name: values[f.name] for f in fields(kind) if f.name in values}

    model, augmentation = pick(ModelConfig), pick(Augmentation)
    rest = {name: value for name, value in values.items() if name not in model and name not in augmentation}
    return replace(
        base, model=replace(base.model, **model), augmentation=replace(base.augmentation, **augmentation), **rest
    )


def flat(config: FitConfig) -> dict[str, Any]:
    """Return every field of a configuration, those of its model and its augmentation among them."""
    data = config.to_json()
    return {**data.pop("model"), **data.pop("augmentation"), **data}


def run_trial(job: Job, study: "optuna.Study", trial: "optuna.Trial", *, say: Callable[[str], None]) -> None:
    """Train a trial with each seed, from where it was stopped, and tell the study; a pruned one is told as such."""
    import keras
    import optuna

    config = configured(job.base, suggest(trial, job.base.model.width))
    state, scores = optuna.trial.TrialState.COMPLETE, []
    try:
        for seed in job.seeds:
            scores.append(_train(job, study, trial, replace(config, seed=seed), say=say))
    except optuna.TrialPruned:
        state = optuna.trial.TrialState.PRUNED
    keras.backend.clear_session()
    trial.set_user_attr("macro_f1_by_seed", scores)
    study.tell(trial, float(np.mean(scores)) if state == optuna.trial.TrialState.COMPLETE else None, state=state)
    for seed in job.seeds:
        shutil.rmtree(run_of(job, trial.number, seed).path / "checkpoints", ignore_errors=True)


def _train(
    job: Job, study: "optuna.Study", trial: "optuna.Trial", config: FitConfig, *, say: Callable[[str], None]
) -> float:
    """Train with one seed as training.fit does and keep the validation logits; return the best epoch's macro-F1."""
    from contextlib import redirect_stderr

    import keras

    from training.progress import Progress
    from training.runtime import prepare
    from training.train import train
    from wafer_tf.learning.prediction import predict_logits

    run = run_of(job, trial.number, config.seed)
    if not (run.path / "checkpoints").is_dir():
        RunFolder.create(run.path)
    strategy = prepare(seed=config.seed, precision=config.precision, require_gpu=config.require_gpu)
    first = config.seed == job.seeds[0]
    last = config.epochs - (len(job.seeds) == 1)  # at the very end nothing can be saved

    def judge(epoch: int, logs: Mapping[str, Any]) -> None:
        value = float(logs["val_macro_f1"])
        say(f"trial {trial.number}, seed {config.seed}, epoch {epoch + 1}: {value:.3f}")
        if first:
            report_epoch(study, trial, epoch, value, may_stop=epoch < last)

    for epoch, row in enumerate(Progress(run, patience=config.patience).history):
        judge(epoch, row)
    with (run.path / "log.txt").open("a", encoding="utf-8") as log, redirect_stderr(log):
        model, progress = train(
            config,
            run,
            training=job.training,
            validation=job.validation,
            strategy=strategy,
            callbacks=[keras.callbacks.LambdaCallback(on_epoch_end=judge)],
        )
        run.write_arrays("validation.npz", {"logits": predict_logits(model, job.validation)})
    return float(progress.history[progress.best_epoch]["val_macro_f1"])


def report_epoch(study: "optuna.Study", trial: "optuna.Trial", epoch: int, value: float, *, may_stop: bool) -> None:
    """Tell the study an epoch's macro-F1, unless it was told before; raise TrialPruned where the trial is to stop."""
    import optuna

    if epoch not in study.get_trials(deepcopy=False)[trial.number].intermediate_values:
        trial.report(value, epoch)
    if trial.number and may_stop and trial.should_prune():  # trial 0 is what the others are held against
        raise optuna.TrialPruned


def run_of(job: Job, number: int, seed: int) -> RunFolder:
    return RunFolder(job.out / "trials" / f"{number:04d}" / f"seed{seed}")


def search(job: Job, study: "optuna.Study", *, count: int, jobs: int, bar: "tqdm[Any]") -> None:
    from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
    from itertools import islice
    from multiprocessing import get_context

    trials = next_trials(job, study, count)
    if jobs == 1:
        for trial in trials:
            run_trial(job, study, trial, say=bar.set_postfix_str)
            bar.update()
        return
    pending: set[Future[None]] = set()
    # spawned, because TensorFlow does not survive a fork
    with ProcessPoolExecutor(jobs, get_context("spawn"), initializer=_start_worker, initargs=(job,)) as pool:
        while True:
            for trial in islice(trials, jobs - len(pending)):
                suggest(trial, job.base.model.width)  # here, where the sampler is seeded and sees the running trials
                pending.add(pool.submit(_work, trial.number))
            if not pending:
                return
            done, pending = wait(pending, return_when=FIRST_COMPLETED)
            for future in done:
                future.result()
            bar.update(len(done))


_job: Job
"""Of a worker process."""


def _start_worker(job: Job) -> None:
    """Keep the job, and end with the parent: a killed search must not go on training unseen."""
    import multiprocessing
    import threading
    from multiprocessing.connection import wait

    from wafer_tf.learning.quiet import quiet_tensorflow

    global _job
    _job = job
    parent = multiprocessing.parent_process()
    if parent is not None:
        sentinel = parent.sentinel
        threading.Thread(target=lambda: (wait([sentinel]), os._exit(1)), daemon=True).start()
    quiet_tensorflow()


def _work(number: int) -> None:
    study = open_study(_job)
    run_trial(_job, study, _running(study, number), say=lambda text: None)
