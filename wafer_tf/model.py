"""A model as a user of Python has it: loaded by name or folder, asked about wafers, answers in a table."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias, TypeGuard

import numpy as np
from numpy.typing import NDArray

from wafer_tf.bundle import MANIFEST, Bundle, load_bundle
from wafer_tf.command import says_what_to_install
from wafer_tf.decision import REVIEW_BELOW
from wafer_tf.decision.unknown import UNKNOWN_ABOVE
from wafer_tf.dies import CLASSES, UNLABELLED, check_map
from wafer_tf.errors import InputError, ModelError
from wafer_tf.pattern_bits import PATTERNS, pattern_bits
from wafer_tf.released import DEFAULT, NAMES, released
from wafer_tf.tables import calls_table
from wafer_tf.waferset import Wafer, WaferSet

if TYPE_CHECKING:
    import pandas as pd

Wafers: TypeAlias = (
    "WaferSet | Wafer | NDArray[Any] | Sequence[NDArray[Any] | Wafer] | pd.DataFrame | str | os.PathLike[str]"
)
"""What can be classified: a set, a wafer, a map, a list of these, a table with a column `map`, or a file."""


class Answers(NamedTuple):
    """What a model says of n wafers.

    Attributes:
        probabilities: (n, 9).
        unknown_score: (n,); None without any.
        patterns: (n,) texts of `inference.calls.several`; None where the model does not tell.
    """

    probabilities: NDArray[np.float64]
    unknown_score: NDArray[np.float64] | None = None
    patterns: NDArray[np.object_] | None = None


Predict = Callable[[WaferSet, bool], Answers]
"""From wafers, and whether to show a bar, to answers."""


class Model:
    """A classifier of wafer maps. `load` makes one.

    Example:
        >>> model = load("nano")
        >>> model.kind, model.probabilities(np.ones((26, 26), np.uint8)).shape
        ('int8', (1, 9))

    Attributes:
        name: what it was loaded from.
        kind: "int8", as on a station, or "float".
        run: the run folder whose float model explains the calls; None where it is not there.
    """

    def __init__(self, name: str, kind: str, run: Path | None, predict: Predict) -> None:
        """Take what predicts; `load` is for users."""
        self.name, self.kind, self.run = name, kind, run
        self._predict = predict

    def __repr__(self) -> str:
        return f"Model({self.name!r}, {self.kind})"

    def probabilities(self, wafers: Wafers, *, progress: bool = False) -> NDArray[np.float64]:
        """Return the (n, 9) calibrated probabilities of wafers, in the order of CLASSES.

        Args:
            wafers: see `classify`.
            progress: show a bar on stderr.

        Raises:
            InputError: a map that is none, or a file that cannot be read.
        """
        return self._predict(as_wafer_set(wafers, progress=progress), progress).probabilities

    @says_what_to_install()
    def classify(
        self,
        wafers: Wafers,
        *,
        review_below: float = REVIEW_BELOW,
        unknown_above: float = UNKNOWN_ABOVE,
        progress: bool = False,
    ) -> "pd.DataFrame":
        """Call every wafer by its pattern.

        Args:
            wafers: a WaferSet; one map, a (rows, cols) array of 0 (no die), 1 (pass), 2 (fail), or a list of maps; a
                DataFrame with a column `map`; or the path of a file that `read` knows.
            review_below: probability of the likeliest class under which the decision is "review".
            unknown_above: unknown score above which the decision is "unknown"; 1: never.
            progress: show a bar on stderr.

        Returns:
            A row per wafer, in order: `lot`, `wafer` (0 where unknown), `label` (the class called), `probability` (of
            it, 0..1), `decision` ("none", "defect", "unknown" or "review", as a station gives it), then the probability
            of each of the nine classes under its name. Last, of a bundle that has one, `unknown_score`, 0..1: the share
            of known wafers called the same that are less strange. And, of a model that tells several patterns on one
            wafer, `patterns`: the names of a wafer that has several, the likeliest first, joined by "+", else "".

        Raises:
            InputError: a map that is none, or a file that cannot be read.
            ModuleNotFoundError: pandas is not installed; the text says how to.

        Examples:
            >>> import numpy as np
            >>> clean = np.pad(np.ones((24, 24), np.uint8), 1)
            >>> load("nano").classify(clean)[["label", "decision"]].to_numpy().tolist()
            [['none', 'none']]
        """
        known = as_wafer_set(wafers, progress=progress)
        answers = self._predict(known, progress)
        table = calls_table(known, *answers, review_below=review_below, unknown_above=unknown_above)
        table.attrs["run"] = None if self.run is None else str(self.run)
        return table


@says_what_to_install()
def load(
    path: str | os.PathLike[str] | None = None,
    *,
    require_signature: str | os.PathLike[str] | None = None,
    min_version: int = 0,
) -> Model:
    """Load a model.

    Args:
        path: a released model by name, "wafer" or "nano"; the folder of a bundle that edge.convert made; or a run
            folder that training.fit has finished. A folder here comes before a released model of its name. Default:
            the released model "wafer". Names and bundles give the int8 model, which answers as a station does and needs
            no TensorFlow; a run folder gives its float model.
        require_signature: file of a public key (PEM) by which the bundle must be signed. A run folder carries no
            signature and is refused.
        min_version: the lowest release of a bundle to accept.

    Raises:
        ModelError: no such model, or one that is damaged, not signed as required, or of an earlier release.
        UsageError: `require_signature` is no key that signs bundles, or cryptography is not installed.
        ModuleNotFoundError: what a run folder's model needs is not installed; the text says how to.

    Examples:
        >>> load("nano")
        Model('nano', int8)
    """
    name = DEFAULT if path is None else str(path)
    folder = Path(name)
    if path is not None and (folder / MANIFEST).is_file():
        run = folder.resolve().parent
        bundle = load_bundle(folder, require_signature=require_signature, min_version=min_version)
        return _of_bundle(bundle, name=name, run=run if (run / "model.keras").is_file() else None)
    if path is not None and (folder / "config.json").is_file():
        if require_signature is not None or min_version:
            raise ModelError(f"model {path}: a run folder has no signature and no release; expected a bundle.")
        return _of_run(folder)
    if name in NAMES:
        run = released(name)
        bundle = load_bundle(run / "bundle", require_signature=require_signature, min_version=min_version)
        return _of_bundle(bundle, name=name, run=run)
    raise ModelError(
        f"model {path}: neither a bundle ({MANIFEST}) nor a run folder (config.json) is there; expected one of these, "
        f"or the name of a released model: {', '.join(NAMES)}."
    )


def as_wafer_set(wafers: Wafers, *, progress: bool = False) -> WaferSet:
    """Return wafers given in any form as a set; see `Model.classify`.

    Raises:
        InputError: a map that is none, or a file that cannot be read.
    """
    if isinstance(wafers, WaferSet):
        return wafers
    if isinstance(wafers, str | os.PathLike):
        from wafer_tf.readers import read

        return read(wafers, progress=progress)
    if _is_table(wafers):
        return WaferSet.from_pandas(wafers)
    if isinstance(wafers, Wafer) or (isinstance(wafers, np.ndarray) and wafers.ndim == 2):
        wafers = [wafers]
    if not isinstance(wafers, list | tuple | np.ndarray) or (isinstance(wafers, np.ndarray) and not wafers.ndim):
        raise InputError(
            f"wafers: a {type(wafers).__name__}; expected a WaferSet, a map (rows, cols), a list of maps, a DataFrame "
            "with a column map, or a path."
        )
    known = [w if isinstance(w, Wafer) else Wafer(check_map(w, f"number {i}")) for i, w in enumerate(wafers)]
    return WaferSet.from_maps(
        [w.map for w in known],
        label=[UNLABELLED if w.label is None else CLASSES.index(w.label) for w in known],
        lot=[w.lot for w in known],
        wafer_index=[w.index for w in known],
        patterns=[pattern_bits(w.patterns, f"wafer {i}") for i, w in enumerate(known)],
    )


def _is_table(wafers: Any) -> "TypeGuard[pd.DataFrame]":
    return hasattr(wafers, "columns")  # so that pandas need not be there


def _of_bundle(bundle: Bundle, *, name: str, run: Path | None) -> Model:
    from wafer_tf.inference.calls import several
    from wafer_tf.inference.proven import ProvenModel

    proven = ProvenModel(bundle, allow_slow=True)

    def predict(wafers: WaferSet, progress: bool) -> Answers:
        rows = range(len(wafers))
        if progress:
            from tqdm import tqdm

            rows = tqdm(rows, desc="classifying", unit="wafer")
        found = [proven.judgement(wafers.map(i)) for i in rows]
        probabilities = np.array([one.probabilities for one in found]).reshape(-1, len(CLASSES))
        score = np.array([one.unknown_score for one in found], float) if bundle.unknown else None
        if bundle.patterns is None:
            return Answers(probabilities, score)
        logits = np.array([one.patterns for one in found]).reshape(-1, len(PATTERNS))
        return Answers(probabilities, score, several(bundle.patterns, logits, probabilities.argmax(axis=1)))

    return Model(name, "int8", run, predict)


def _of_run(folder: Path) -> Model:
    from wafer_tf.explaining.pattern_heat import patterns_of
    from wafer_tf.inference.calls import several
    from wafer_tf.learning.prediction import predict_heads
    from wafer_tf.learning.quiet import quiet_tensorflow
    from wafer_tf.learning.run_folder import RunFolder

    quiet_tensorflow()
    run = RunFolder.open(folder)
    decision, keras_model, rule = run.decision(), run.whole_model(), patterns_of(run)

    def predict(wafers: WaferSet, progress: bool) -> Answers:
        if not len(wafers):
            return Answers(np.zeros((0, len(CLASSES))), patterns=None if rule is None else np.zeros(0, object))
        heads = predict_heads(keras_model, wafers, progress=progress)
        prob = decision.probabilities(heads["logits"])
        if rule is None:
            return Answers(prob)
        return Answers(prob, patterns=several(rule, heads["patterns"], prob.argmax(axis=1)))

    return Model(str(folder), "float", folder, predict)
