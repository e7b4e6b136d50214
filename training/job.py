"""One whole run: data, split, training, decision, report. Every step finds what an interrupted run left and goes on."""

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from training.config import FitConfig, parse_fold
from training.explanations import write_small_sheet
from training.mixed import load_mixed, taught_with
from training.out_of_fold import answer_out_of_fold, decide_out_of_fold
from training.progress import Progress
from training.runtime import prepare, versions
from training.several import judge_several
from training.start import Start, known_to_start, starting_weights
from training.teachers import check_teachers, known_to_teachers, with_teachers
from training.train import fill_classes, train, weights_of
from training.unknown import teach
from wafer_tf.command import called
from wafer_tf.decision import Decision
from wafer_tf.decision.fitting import fit_decision
from wafer_tf.dies import CLASSES
from wafer_tf.errors import InputError, ModelError, WaferError
from wafer_tf.explaining.heat_maps import Explainer
from wafer_tf.formats import flags
from wafer_tf.learning.models import LOGITS
from wafer_tf.learning.prediction import predict_heads
from wafer_tf.learning.run_folder import RunFolder
from wafer_tf.readers import read
from wafer_tf.released import NAMES
from wafer_tf.reporting.card import WM811K_CITATIONS
from wafer_tf.reporting.facts import Facts
from wafer_tf.reporting.operating_report import write_operating
from wafer_tf.reporting.report import format_table, write_report
from wafer_tf.scoring.controls import Controls, controls
from wafer_tf.scoring.evidence import Evidence, Part
from wafer_tf.scoring.operating import find_points
from wafer_tf.scoring.scores import score
from wafer_tf.splitting.overlap import fingerprints
from wafer_tf.splitting.splits import Split, content_hash, make_folds, make_split
from wafer_tf.synthesis import synthesize
from wafer_tf.waferset import WaferSet
from wafer_tf.whole_files import whole_path

if TYPE_CHECKING:
    from training.workers import Workers

BUILTIN = "built-in synthetic maps"


def check(config: FitConfig, *, alone: bool = True) -> None:
    """Fail early on what can be known before any work: the data's path, the devices.

    Args:
        config: of the run.
        alone: whether this process trains alone, on all devices of the machine.
    """
    if config.data is not None and not Path(config.data).exists():
        raise InputError(
            f"{config.data}: no such file or folder, seen from {Path.cwd()}; expected wafer maps (--data). A run is "
            "resumed where its data is found under the same path."
        )
    devices = None if alone else ["CPU:0"]  # `Workers` takes what there is
    prepare(seed=config.seed, precision=config.precision, require_gpu=config.require_gpu, devices=devices)


def execute(config: FitConfig, run: RunFolder, *, jobs: int = 1, workers: "Workers | None" = None) -> None:
    """Carry a run from wherever it stands to its report, and print the per-class table.

    Args:
        config: of the run.
        run: its folder.
        jobs: with folds, models trained at once; 0 to stop when the folds are dealt, see `training.fold`.
        workers: the processes to train together with, and no more: the run then has its epochs, and is not finished.
    """
    if workers is None:
        strategy = prepare(seed=config.seed, precision=config.precision, require_gpu=config.require_gpu)
    else:
        strategy = workers.strategy
    wafers = load_data(config)
    split = split_of(config, run, wafers)
    kept = split.train if config.fold is None else without_fold(config, split, wafers)
    training, validation, test = (wafers.select(part) for part in (kept, split.validation, split.test))
    training = fill_classes(training, config.synthetic, seed=config.seed)
    synthetic = len(training) - len(kept)
    target = None
    if config.teachers:
        check_teachers(config, split, wafers)
        training, target = with_teachers(config, run, training, WaferSet.concatenate([validation, test]))
    weights = weights_of(config, training, target)
    run.write_json("class_weights.json", {CLASSES[c]: round(w, 4) for c, w in weights.items()})
    if config.folds:
        _say(f"{len(training)} maps for training, all of them; run {run.path}")
    else:
        _say(f"{len(training)} maps for training, {len(validation)} for validation, {len(test)} for test")
        _say(f"run {run.path}")
    _say("class weights: " + ", ".join(f"{CLASSES[c]} {w:.2f}" for c, w in weights.items()))

    mixed = None if config.mixed is None else load_mixed(config, run, wafers, split)
    if not jobs:
        words = f"python -m training.fold {run.path} K, for K from 1 to {split.folds}, then python -m training.fit"
        _say(called(f"the folds are dealt. Train each with: {words} --resume {run.path}"))
        return
    judged = WaferSet.concatenate([validation, test])
    start = starting_weights(config, wafers if config.folds else judged)
    if start.note:
        _say(start.note)
    known = fingerprints(training if config.folds else WaferSet.concatenate([training, validation]))
    known = np.union1d(known, known_to_start(start.source))
    if config.teachers:
        known = np.union1d(known, known_to_teachers(config))

    def train_whole() -> tuple[Any, Progress]:
        model, progress = train(
            config,
            run,
            training=training,
            target=target,
            validation=None if config.folds else validation,
            start=start.source,
            strategy=strategy,
            mixed=None if mixed is None else taught_with(config, training, mixed[0].select(mixed[1].train)),
            name="all maps" if config.folds else "",
            workers=workers,
        )
        if workers is None:
            with whole_path(run.path / "model.keras") as path:
                model.save(path)
        return model, progress

    if config.folds:
        whole: list[tuple[Any, Progress]] = []
        answers = answer_out_of_fold(
            config,
            run,
            wafers,
            split,
            strategy,
            start.source,
            mixed=mixed,
            jobs=jobs,
            meanwhile=lambda: whole.append(train_whole()),
        )
        ((model, progress),) = whole
    else:
        model, progress = train_whole()
        if workers:
            return
        _say("scoring the validation and the test part")
        answers = _answers(model, wafers, split, mixed)
    precision = np.float16 if config.folds else np.float32  # as the folds keep them
    logits = {name: found for name, found in answers.items() if name in ("validation", "test")}
    run.write_arrays("logits.npz", {name: found.astype(precision) for name, found in logits.items()})
    run.write_arrays("seen.npz", {"fingerprints": known})
    decision, prob = _decide(logits, wafers, split)
    run.write_json("decision.json", decision.to_json())
    if mixed is not None:
        judge_several(run, answers, decision, wafers, split, *mixed)
    scores = score(test.label, prob, group=split.group[split.test])
    write_report(
        run.path,
        facts=replace(
            data_facts(config.data, wafers),
            split_method=split.method,
            part="out-of-fold" if config.folds else "test",
            split_sizes=_sizes(split, kept),
            near_copies_leaked=split.stats["leaked"]["lot"],
            seed=config.seed,
            model=f"{config.model.architecture}, width {config.model.width}, {config.model.stem} stem",
            input=f"{config.model.input_size} x {config.model.input_size}",
            parameters=model.count_params(),
            class_weights=config.class_weights,
            synthetic_training_maps=synthetic,
            clean_wafers=config.clean_wafers,
            unlabelled_training_maps=len(training) - len(kept) - synthetic,
            teachers=len(config.teachers),
            epochs=len(progress.history),
            best_epoch=progress.best_epoch + 1,
            validation_macro_f1=progress.history[progress.best_epoch].get("val_macro_f1"),
            seconds=round(sum(row["seconds"] for row in progress.history), 1),
            versions=versions(),
            command=run.read_json("config.json")["command"],
            started_from=start.source,
            warnings=(*split.stats["warnings"], *([start.note] if start.flatters else []), *_provisos(config, start)),
        ),
        scores=scores,
        controls=_controls(wafers, split),
        wafers=test,
        label=test.label,
        prob=prob,
        history=progress.history,
    )
    _write_operating_points(config, run, evidence_of(logits.__getitem__, decision, wafers, split), split)
    _say("drawing what the model looks at")
    # model.keras read back: its variables belong to no strategy, whatever it was trained under
    write_small_sheet(run.path / "figures" / "explain.png", Explainer(run.model()), test, prob)
    if config.unknown_epochs:
        teach(config, run, wafers, split)
    run.finish()
    print(format_table(scores))
    for text in _provisos(config, start):
        print(f"\n{text}")
    print(f"\nrun folder: {run.path}  (report.txt, figures/, model_card.md)")
    print(called(f"next: python -m training.evaluate {run.path} --data OTHER_MAPS"))


def _answers(
    model: Any, wafers: WaferSet, split: Split, mixed: tuple[WaferSet, Split] | None
) -> dict[str, NDArray[np.float32]]:
    """Return what a model says of the validation and the test part, by the names of `out_of_fold`."""
    judged = {"validation": wafers.select(split.validation), "test": wafers.select(split.test)}
    if mixed is not None:
        judged |= {
            "mixed_validation": mixed[0].select(mixed[1].validation),
            "mixed": mixed[0].select(mixed[1].test),
        }
    found: dict[str, NDArray[np.float32]] = {}
    for name, part in judged.items():
        for head, logits in predict_heads(model, part).items():
            found[name if head == LOGITS else f"{name}_{head}"] = logits
    return found


def _sizes(split: Split, kept: NDArray[np.int64]) -> dict[str, int]:
    """Return the wafers of each part; of the training part, those kept."""
    if split.folds:
        return {f"fold {fold + 1}": int((split.part == fold).sum()) for fold in range(split.folds)}
    return {"train": len(kept), "validation": len(split.validation), "test": len(split.test)}


def _controls(wafers: WaferSet, split: Split) -> Controls:
    """Score the controls on the test part; with folds, on the last one, learned from the others."""
    last = split.part == split.folds - 1 if split.folds else np.isin(np.arange(len(wafers)), split.test)
    learned = ~last if split.folds else np.isin(np.arange(len(wafers)), split.train)
    return controls(wafers.select(np.flatnonzero(learned)), wafers.select(np.flatnonzero(last)))


def _decide(
    logits: dict[str, NDArray[np.float32]], wafers: WaferSet, split: Split
) -> tuple[Decision, NDArray[np.float64]]:
    """Return the run's decision, and the (n, 9) probabilities of the test part by one that did not see its labels."""
    if split.folds:
        decision = fit_decision(logits["test"], wafers.label, split.group)
        return decision, decide_out_of_fold(logits["test"], wafers.label, split)
    decision = fit_decision(logits["validation"], wafers.label[split.validation], split.group[split.validation])
    return decision, decision.probabilities(logits["test"])


def evidence_of(
    logits: Callable[[str], NDArray[np.float32]], decision: Decision, wafers: WaferSet, split: Split
) -> Evidence:
    """Return what chooses thresholds and what judges them, by the run's answers to maps that did not train it.

    Args:
        logits: gives the (m, 9) logits of a part by its name in logits.npz.
        decision: that they are shipped with.
    """
    names = ["test"] if split.folds else ["validation", "test"]
    rows = np.concatenate([getattr(split, name) for name in names])
    prob = decision.probabilities(np.concatenate([logits(name) for name in names]))
    return Evidence.of_split(Part(wafers.label[rows].astype(np.int64), prob, split.group[rows]), split)


def _provisos(config: FitConfig, start: Start) -> list[str]:
    """Return what a reader of the table must know of the maps and of the start."""
    found = []
    if config.data is None:
        found.append("These are drawn maps (--data was not given): the figures say nothing of real wafers.")
    if start.source != "none":
        learned = "real wafers" if start.source in NAMES else f"the maps of {start.source}"
        found.append(
            f"The weights started from {start.source}, which learned from {learned}: the figures are not those of a "
            "training from scratch (--backbone-weights none)."
        )
    return found


def _write_operating_points(config: FitConfig, run: RunFolder, evidence: Evidence, split: Split) -> None:
    try:
        found = find_points(evidence)
    except InputError as why:
        _say(f"no operating points: {why}")
        return
    write_operating(run.path, found, source=operating_source(config, split))


def operating_source(config: FitConfig, split: Split) -> str:
    """Return what the operating points' costs were counted on."""
    name = BUILTIN if config.data is None else Path(config.data).name
    return f"all folds of {name}" if split.folds else f"test part of {name}, {split.method} split"


def load_config(run: RunFolder) -> FitConfig:
    """Return the configuration a run was started with."""
    data = run.read_json("config.json")
    try:
        return FitConfig.from_json(data["config"])
    except (WaferError, KeyError, TypeError) as error:
        raise ModelError(
            f"run folder {run.path}: config.json holds no configuration of a run ({error}). Restore it, or train again."
        ) from error


def load_data(config: FitConfig) -> WaferSet:
    """Return the labelled wafers of the run: the user's or the built-in set, limited per class where asked."""
    if config.data is None:
        _say(f"drawing {config.builtin_per_class} synthetic maps of each class")
        wafers = synthesize(config.builtin_per_class, seed=config.seed).wafers
    else:
        wafers = read(config.data, options=flags.from_words(config.reading), progress=True)
    wafers = wafers.select(wafers.labelled)
    if not len(wafers):
        raise InputError(f"{config.data}: no labelled wafer; expected labels to train on.")
    if config.limit_per_class is not None:
        rng = np.random.default_rng(config.seed)
        order = rng.permutation(len(wafers))
        kept = [order[wafers.label[order] == c][: config.limit_per_class] for c in range(len(CLASSES))]
        wafers = wafers.select(np.sort(np.concatenate(kept)))
    return wafers


def data_facts(data: str | None, wafers: WaferSet) -> Facts:
    """Return what a report says of the data; maps with an official split are taken for WM-811K's."""
    return Facts(
        data_name=BUILTIN if data is None else Path(data).name,
        data_path=data,
        data_sha256=content_hash(wafers),
        citations=WM811K_CITATIONS if (wafers.official_split != "").any() else (),
    )


def without_fold(config: FitConfig, split: Split, wafers: WaferSet) -> NDArray[np.int64]:
    """Return the training part without the fold that the configuration leaves out; no group is in two folds."""
    from sklearn.model_selection import StratifiedGroupKFold

    fold, folds = parse_fold(str(config.fold))
    label, group = wafers.label[split.train], split.group[split.train]
    parts = StratifiedGroupKFold(folds, shuffle=True, random_state=split.seed).split(label, label, group)
    kept: NDArray[np.int64] = list(parts)[fold][0]
    return split.train[kept]


def split_of(config: FitConfig, run: RunFolder, wafers: WaferSet) -> Split:
    """Return the split kept in the run folder, or make it and keep it there.

    Raises:
        InputError: too few groups for three parts.
        ModelError: the folder's split is damaged or of other wafers.
    """
    path = run.path / "split.npz"
    if path.exists():
        return Split.load(path, wafers)
    seed = config.seed if config.split_seed is None else config.split_seed
    if config.folds:
        split = make_folds(wafers, config.folds, seed=seed, progress=True)
    else:
        split = make_split(wafers, method=config.split, seed=seed, fractions=config.shares, progress=True)  # type: ignore[arg-type]
    for name, part in (("training", split.train), ("validation", split.validation), ("test", split.test)):
        if not len(part):
            raise InputError(
                f"{config.data or BUILTIN}: the split of {len(wafers)} labelled maps in {split.stats['n_groups']} "
                f"groups leaves none for the {name} part; expected at least three groups (wafers that share no lot and "
                "no near-copy). Add maps of other lots, or try --split random."
            )
    split.save(path)
    for warning in split.stats["warnings"]:
        _say(f"warning: {warning}")
    return split


def _say(text: str) -> None:
    print(text, file=sys.stderr)
