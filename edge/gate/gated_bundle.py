"""From a finished run to a gated bundle: the work behind `python -m edge.convert`."""

import contextlib
import json
import os
import sys
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edge.gate.candidate import Candidate, FoldFile, Reference, Several, Shipped, Strange
from edge.gate.comparison import Limits
from edge.gate.golden import golden
from edge.gate.points import points_of
from edge.gate.provenance import provenance
from edge.gate.stated import Stated
from edge.gate.text import footnotes, format_checks, format_models
from edge.gate.time_per_map import Latency, measure
from edge.quantization.calibration import Calibration, choose
from edge.quantization.metadata import append_metadata
from edge.quantization.quantize import quantizer
from edge.quantization.recipes import RECIPES, Attempt, attempts
from edge.signing import folder_signature
from training.job import load_config, load_data
from training.mixed import load_mixed
from training.runtime import prepare
from wafer_tf.as_json import to_json
from wafer_tf.bundle import write_bundle
from wafer_tf.command import called
from wafer_tf.decision import Decision
from wafer_tf.decision.patterns import Patterns
from wafer_tf.decision.sets import COVERAGE
from wafer_tf.decision.unknown import Unknown
from wafer_tf.dies import CLASSES
from wafer_tf.encoding import PLANES
from wafer_tf.errors import GateError, ModelError
from wafer_tf.explaining.pattern_heat import patterns_of
from wafer_tf.inference.interpreter import TfliteModel
from wafer_tf.learning.branch import features_of, repeats_of
from wafer_tf.learning.models import LOGITS, PATTERN_LOGITS, in_float32
from wafer_tf.learning.prediction import predict_heads, predict_logits
from wafer_tf.learning.run_folder import RunFolder
from wafer_tf.pattern_bits import bits_of_labels
from wafer_tf.reporting.card import model_card
from wafer_tf.reporting.facts import controls_of, facts_of
from wafer_tf.reporting.operating_report import format_summary
from wafer_tf.reporting.words import WIDTH
from wafer_tf.scoring.operating import OperatingPoints
from wafer_tf.scoring.selective import Goal
from wafer_tf.splitting.splits import Split
from wafer_tf.synthesis.others import NAMES, draw_others
from wafer_tf.waferset import WaferSet
from wafer_tf.whole_files import write_whole

if TYPE_CHECKING:
    import keras

OTHERS, GATE_SEED = 20, 2_000_000
"""Maps of each family that are none of the nine patterns, on which int8's unknown score is held against the float's."""
SHIPPED_MAPS = 5_000
"""Maps on which the file that ships is held against its own float model, where the gate judges files of folds; as many
wafers of several patterns beside."""


@dataclass(frozen=True)
class Options:
    """What the user asked for.

    Attributes:
        recipe: "int8" or "int16x8".
        calibration_maps: of the first attempt.
        seed: of the choice of calibration maps and of the bootstrap.
        limits: of the gate.
        gated: False writes the bundle whatever the gate finds, marked as not passed.
        remedies: try the next remedy where the gate fails.
        overwrite: replace a bundle that is there.
        release: number of the bundle, the higher the later.
        goals: what operating points are to prove.
        coverage: of the prediction sets.
    """

    recipe: str
    calibration_maps: int
    seed: int
    limits: Limits
    gated: bool = True
    remedies: bool = True
    overwrite: bool = False
    release: int = 0
    goals: tuple[Goal, ...] = (Goal(),)
    coverage: float = COVERAGE


def convert(path: str | os.PathLike[str], out: str | os.PathLike[str], options: Options) -> None:
    """Quantize, judge, report, and write the bundle.

    Args:
        path: a finished run folder.
        out: the bundle's folder; the gate's report goes beside it, whether it passes or not.
        options: see `Options`.

    Raises:
        GateError: the gate failed, with every remedy; no bundle was written.
    """
    path = Path(path)
    out = Path(out)
    run = RunFolder.open(path)
    config, facts = load_config(run), provenance(run)
    prepare(seed=config.seed, precision="float32", require_gpu=False)
    wafers = load_data(config)
    split = Split.load(path / "split.npz", wafers)
    test, decision = wafers.select(split.test), run.decision()
    with contextlib.ExitStack() as stack:
        rule, unknown = patterns_of(run), unknown_of(run)
        mixed = None if rule is None else load_mixed(config, run, wafers, split)
        model = in_float32(run.model() if rule is None else run.whole_model())
        main = _Made(model if unknown is None else run.taught_model(), wafers, split.train, stack)
        of_folds = [_of_fold(run, wafers, split, fold, stack, mixed=mixed) for fold in range(split.folds)]
        if of_folds:
            float_logits = np.asarray(run.read_array("logits.npz", "test"), np.float32)
            drawn = np.random.default_rng(options.seed).permutation(len(test))[:SHIPPED_MAPS]  # of the mix of all
            sample = test.select(np.sort(drawn))
            sample_logits = predict_logits(model, sample)
            shipped = Shipped(sample, decision.probabilities(sample_logits).argmax(axis=1))
        else:
            _say(f"the float model on the {len(test)} maps of the test part")
            sample, sample_logits, shipped = test, predict_logits(model, test, progress=True), None
            float_logits = sample_logits
        several = None
        if rule is not None and mixed is not None:
            several = _several(run, rule, *mixed, float_logits, decision)
            if of_folds:
                several = _with_sample(several, model, sample, decision, seed=options.seed)
        reference = Reference(
            test=test,
            group=split.group[split.test],
            decision=decision,
            float_prob=decision.probabilities(float_logits),
            limits=options.limits,
            seed=options.seed,
            shipped=shipped,
            strange=None if unknown is None else _strange(main.model, unknown, sample, sample_logits, decision),
            stated=Stated.of(wafers, split, goal=options.goals[0], coverage=options.coverage),
            several=several,
        )
        _say("converting")
        others = [
            reference.candidate(name, RECIPES[name], make(main), of_folds=[one.judge(make(one)) for one in of_folds])
            for name, make in (("float32", _Made.float32), ("dynamic_int8", _Made.dynamic_int8))
        ]
        tried = _try(main, of_folds, reference, options, facts)
    chosen, shown = tried[-1], [*others, *tried]
    latency = measure({candidate.name: candidate.content for candidate in shown}, test)
    text, gate = _text(shown, latency, options), _gate_json(shown, latency, options)
    _write_report(out, run, chosen, reference, text=text, gate=gate)
    if options.gated and not chosen.passed:
        print(text)
        failed = ", ".join(f"{check.name} {check.where}".strip() for check in chosen.checks if not check.passed)
        raise GateError(
            f"run {path}: the accuracy gate failed ({failed}) after {len(tried)} attempts; no bundle was written"
            f"{', and the one there is as it was' if out.exists() else ''}. See {_beside(out, 'gate.txt')}. Train "
            "longer or wider, set other limits, or pass --no-gate for a bundle that stations refuse by default."
        )
    operating = points_of(chosen, decision, wafers, split, goals=options.goals, coverage=options.coverage)
    sha256 = _write_bundle(
        out, run, chosen, decision, operating, unknown=unknown, patterns=rule, text=text, gate=gate, options=options
    )
    print(text if operating is None else f"{text}\n\n{format_summary(operating)}")
    print(f"\nbundle: {out}  (SHA-256 {sha256})")
    print(called(f"next: python -m edge.station selftest --bundle {out}"))


def unknown_of(run: RunFolder) -> Unknown | None:
    """Return the unknown score of a run; None where it was taught none."""
    path = run.path / "unknown.npz"
    return Unknown.from_bytes(path.read_bytes()) if path.is_file() else None


def _several(
    run: RunFolder,
    rule: Patterns,
    mixed: WaferSet,
    split: Split,
    float_logits: NDArray[np.float32],
    decision: Decision,
) -> Several:
    """Return the mixed wafers that judge, and what the float model finds on them and on the judged maps.

    Args:
        run: its folder, where the answers of the float model are kept.
        rule: turns them into patterns.
        mixed, split: of `load_mixed`.
        float_logits: of the judged maps.
        decision: of the run.
    """
    rows = split.test
    several = Several(
        rule=rule,
        mixed=mixed.select(rows),
        bits=np.where(mixed.several, mixed.patterns, bits_of_labels(mixed.label))[rows].astype(np.uint8),
        group=split.group[rows],
        found=np.zeros(0, np.uint8),
        known_found=np.zeros(0, np.uint8),
    )
    kept = {name: np.asarray(run.read_array("patterns.npz", name), np.float64) for name in _KEPT}
    if len(kept["mixed"]) != len(rows) or len(kept["wafers"]) != len(float_logits):
        raise ModelError(
            f"run folder {run.path}: patterns.npz holds the answers to {len(kept['mixed'])} mixed and "
            f"{len(kept['wafers'])} other wafers; expected {len(rows)} and {len(float_logits)}. Restore it, or train "
            "again."
        )
    return replace(
        several,
        found=several.of(kept["mixed_logits"], kept["mixed"], decision),
        known_found=several.of(np.asarray(float_logits, np.float64), kept["wafers"], decision),
    )


_KEPT = ("wafers", "mixed", "mixed_logits")
"""Arrays of patterns.npz; see `training.several`."""


def _with_sample(several: Several, model: "keras.Model", known: WaferSet, decision: Decision, *, seed: int) -> Several:
    """Add some wafers, and what the float model that ships finds on them: `known` and as many of the mixed."""
    drawn = np.random.default_rng(seed).permutation(len(several.mixed))[:SHIPPED_MAPS]
    sample = WaferSet.concatenate([known, several.mixed.select(np.sort(drawn))])
    found = predict_heads(model, sample)
    answers, patterns = (np.asarray(found[name], np.float64) for name in (LOGITS, PATTERN_LOGITS))
    return replace(several, sample=sample, sample_found=several.of(answers, patterns, decision))


def _strange(
    model: "keras.Model", unknown: Unknown, known: WaferSet, known_logits: NDArray[np.float32], decision: Decision
) -> Strange:
    """Return known wafers and others drawn on their grids, with the float model's scores.

    Args:
        model: unknown.keras.
        unknown: turns its features into the score.
        known: some of the run's wafers.
        known_logits: of model.keras.
        decision: of the run.
    """
    grids = [known.map(i) for i in range(len(known))]
    others = [draw_others(name, OTHERS, seed=GATE_SEED, grids=grids) for name in NAMES]
    both = WaferSet.concatenate([known, *others])
    logits, features = features_of(model, both)
    if not np.allclose(logits[: len(known)], known_logits, atol=1e-3):
        raise ModelError(
            "unknown.keras: its logits are not those of model.keras; it was taught from another model. Teach the run "
            "anew: python -m training.unknown RUN --overwrite"
        )
    score = unknown.score(features, repeats_of(both), decision.probabilities(logits).argmax(axis=1))
    return Strange(both, len(known), score, unknown)


class _Made:
    """The files of one Keras model: of the one that ships, or of a fold's.

    Attributes:
        model: the Keras model.
        rows, mixed: of the judged maps, and of the mixed wafers, that it may judge.
    """

    def __init__(
        self,
        model: "keras.Model",
        wafers: WaferSet,
        learned: NDArray[np.int64],
        stack: contextlib.ExitStack,
        *,
        rows: NDArray[np.int64] | None = None,
        mixed: NDArray[np.int64] | None = None,
    ) -> None:
        """Take a model and the indices of the wafers it learned from, which its calibration maps are chosen of."""
        self.model = model
        self.rows, self.mixed = (np.zeros(0, np.int64) if own is None else own for own in (rows, mixed))
        self._files = stack.enter_context(quantizer(model))
        self._wafers, self.learned = wafers, learned
        self._calibration: dict[int, Calibration] = {}

    def float32(self) -> bytes:
        """Return the float graph's file."""
        return self._files.float32

    def dynamic_int8(self) -> bytes:
        """Return the file with int8 weights and float activations."""
        return self._files.dynamic_int8

    def calibration(self, maps: int, *, seed: int) -> Calibration:
        """Return so many calibration maps, chosen once."""
        if maps not in self._calibration:
            size = self._files.input_size
            self._calibration[maps] = choose(self._wafers.select(self.learned), maps, seed=seed, size=size)
        return self._calibration[maps]

    def integer(self, attempt: Attempt, *, seed: int) -> bytes:
        """Return the file of an attempt."""
        return self._files.integer(attempt, self.calibration(attempt.maps, seed=seed), progress=True)

    def judge(self, content: bytes) -> FoldFile:
        """Return a file with the rows it may judge."""
        return FoldFile(content, self.rows, self.mixed)


def _of_fold(
    run: RunFolder,
    wafers: WaferSet,
    split: Split,
    fold: int,
    stack: contextlib.ExitStack,
    *,
    mixed: tuple[WaferSet, Split] | None,
) -> _Made:
    """Return the files of the model that was trained without a fold."""
    one = RunFolder.open(run.path / "folds" / str(fold + 1))
    model = in_float32(one.model() if mixed is None else one.whole_model())
    learned = np.flatnonzero((split.part != fold) & (split.part >= 0))
    rows, own = np.flatnonzero(split.part[split.test] == fold), None
    if mixed is not None:
        own = np.flatnonzero(mixed[1].part[mixed[1].test] == fold)
    return _Made(model, wafers, learned, stack, rows=rows, mixed=own)


def _try(
    main: _Made, of_folds: Sequence[_Made], reference: Reference, options: Options, facts: Mapping[str, Any]
) -> list[Candidate]:
    """Make and judge one attempt after another, until one passes or none is left."""
    plan = attempts(options.recipe, options.calibration_maps, available=len(main.learned))
    tried: list[Candidate] = []
    for attempt in plan if options.remedies and options.gated else plan[:1]:
        _say(f"attempt {len(tried) + 1}: {attempt}")
        calibration = main.calibration(attempt.maps, seed=options.seed)
        made = {"recipe": attempt.recipe.name, "attempt": str(attempt), "calibration": calibration.to_json()}
        content = main.integer(attempt, seed=options.seed)
        content = append_metadata(content, _metadata(content, reference.decision, {**facts, **made}))
        judges = [one.judge(one.integer(attempt, seed=options.seed)) for one in of_folds]
        tried.append(
            reference.candidate(str(attempt), attempt.recipe, content, of_folds=judges, made={**facts, **made})
        )
        failed = sum(not check.passed for check in tried[-1].checks)
        _say(f"attempt {len(tried)}: {f'FAIL, beyond {failed} of the limits' if failed else 'PASS'}")
        if not failed:
            break
    return tried


def _metadata(content: bytes, decision: Decision, made: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the file says of itself. The gate is not in it: it judges the very bytes that are shipped."""
    model = TfliteModel(content)
    return {
        "classes": list(CLASSES),
        "encoding": {"planes": list(PLANES), "size": model.input_size},
        "input": to_json(model.input),
        "output": to_json(model.output),
        "probabilities": "softmax((logits + bias) / temperature)",
        "decision": decision.to_json(),
        "provenance": dict(made),
    }


def _text(shown: Sequence[Candidate], latency: Mapping[str, Latency], options: Options) -> str:
    chosen = shown[-1]
    verdict = "PASS" if chosen.passed else "FAIL"
    rows = [(c.name, len(c.content), c.scores, c.comparison, latency[c.name], c.xnnpack) for c in shown]
    return "\n\n".join(
        [
            format_models(rows),
            f"The gate on {chosen.name}: {verdict}{'' if options.gated else ' (not applied: --no-gate)'}",
            format_checks(chosen.checks, chosen.comparison, chosen.unknown, chosen.sets, chosen.patterns),
            "\n".join(textwrap.wrap(f"In the file: {chosen.contents}.", WIDTH)),
            footnotes(chosen.comparison, folds=chosen.shipped is not None),
        ]
    )


def _gate_json(shown: Sequence[Candidate], latency: Mapping[str, Latency], options: Options) -> dict[str, Any]:
    chosen = shown[-1]
    return {
        "applied": options.gated,
        "passed": chosen.passed,
        "limits": to_json(options.limits),
        "checks": to_json(chosen.checks),
        "comparison": chosen.comparison.to_json(),
        "audit": chosen.contents.to_json(),
        **({} if chosen.shipped is None else {"shipped_agreement": chosen.shipped}),
        **({} if chosen.unknown is None else {"unknown": to_json(chosen.unknown)}),
        **({} if chosen.sets is None else {"sets": chosen.sets.to_json()}),
        **({} if chosen.patterns is None else {"patterns": to_json(chosen.patterns)}),
        "models": [
            {
                "name": c.name,
                "recipe": c.recipe.name,
                "bytes": len(c.content),
                "xnnpack": c.xnnpack,
                "passed": c.passed,
                "calibration": c.made.get("calibration"),
                "latency": latency[c.name].to_json(),
                "macro_f1": to_json(c.scores.macro_f1),
                "recall": {found.name: to_json(found.recall) for found in c.scores.classes},
                "comparison": c.comparison.to_json(),
            }
            for c in shown
        ],
    }


def _write_report(
    out: Path, run: RunFolder, chosen: Candidate, reference: Reference, *, text: str, gate: Mapping[str, Any]
) -> None:
    """Write NAME.gate.txt, NAME.gate.json and NAME.gate.png beside the bundle's folder."""
    from edge.gate.figure import gate_figure
    from wafer_tf.figures.style import save, style

    out.parent.mkdir(parents=True, exist_ok=True)
    write_whole(_beside(out, "gate.txt"), f"run {run.path.resolve().name}\n\n{text}\n")
    report = {"run": run.path.resolve().name, **gate}
    write_whole(_beside(out, "gate.json"), json.dumps(report, indent=1, allow_nan=False) + "\n")
    title = f"{chosen.name} against the float model: {'PASS' if chosen.passed else 'FAIL'}"
    with style():
        figure = gate_figure(
            chosen.comparison, reference.limits, float_prob=reference.float_prob, prob=chosen.prob, title=title
        )
        save(figure, _beside(out, "gate.png"))


def _write_bundle(
    out: Path,
    run: RunFolder,
    chosen: Candidate,
    decision: Decision,
    operating: OperatingPoints | None,
    *,
    unknown: Unknown | None,
    patterns: Patterns | None = None,
    text: str,
    gate: dict[str, Any],
    options: Options,
) -> str:
    model = TfliteModel(chosen.content)
    if model.input is None or model.output is None:
        raise ModelError(f"{chosen.name}: float input or output; a bundle holds an integer model.")
    passed = options.gated and chosen.passed
    sha256 = write_bundle(
        out,
        model=chosen.content,
        input=model.input,
        output=model.output,
        input_size=model.input_size,
        decision=decision,
        golden=golden(model, decision),
        features=model.features,
        unknown=unknown,
        patterns=patterns,
        pattern_output=None if patterns is None else model.pattern_output,
        xnnpack=model.xnnpack,
        passed=passed,
        gate=gate,
        provenance=chosen.made,
        card=_card(run, chosen, operating, text=text, passed=passed),
        release=options.release,
        points=None if operating is None else operating.offered,
        sets=None if operating is None else operating.sets.shipped,
        replace=options.overwrite,
    )
    folder_signature(out).unlink(missing_ok=True)  # of the bundle that was there before
    if not passed:
        _say("warning: the bundle is marked as ungated: a station refuses it unless told --allow-ungated")
    if not model.xnnpack:
        _say("warning: XNNPACK does not run this recipe: each map takes longer than by the float model")
    return sha256


def _card(run: RunFolder, chosen: Candidate, operating: OperatingPoints | None, *, text: str, passed: bool) -> str:
    """Return the card of the quantized model: the run's facts, this model's own figures, and what the gate found."""
    points = "" if operating is None else f"\n## What a station may decide\n\n```\n{format_summary(operating)}\n```\n"
    facts = facts_of(run)
    facts = replace(facts, data_path=None, model=f"{facts.model}, {chosen.recipe.name}")
    card = model_card(chosen.scores, facts=facts, controls=controls_of(run))
    verdict = "It passed the accuracy gate." if passed else "**It did not pass the accuracy gate.**"
    return (
        f"{card}\n## Quantization\n\nEvery figure above is of the quantized model: {chosen.recipe.says}. {verdict}\n\n"
        f"```\n{text}\n```\n{points}"
    )


def _beside(out: Path, name: str) -> Path:
    return out.with_name(f"{out.name}.{name}")


def _say(text: str) -> None:
    print(text, file=sys.stderr)
