"""The station's bundle: a quantized model and everything needed to trust it. Needs numpy and the standard library.

model_int8.tflite  the quantized model (model_int16x8.tflite where the activations are 16-bit)
golden.npz         synthetic maps with what the gate saw for them: logits, features, pattern logits, probabilities
unknown.npz        where there is an unknown score: the numbers that turn features into it
model_card.md      what the model is, for people
bundle.json        SHA-256 of each file above, classes, encoding, quantization, decision, gate results, provenance
bundle.sha256      SHA-256 of bundle.json, as `sha256sum -c` reads it; this hash names the bundle
bundle.json.sig    where it was signed: a signature of bundle.json, hence of everything

A station accepts a bundle only if all of it is exactly as written and the gate passed it. Hashes find damage: who wrote
the bundle is known only where a signature is required.
"""

import hashlib
import io
import json
import os
import shutil
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wafer_tf.arrays import DAMAGED, read_entry
from wafer_tf.bundle_files import MAX_BYTES, check_no_others, check_signature, read_file, refused
from wafer_tf.decision import Decision
from wafer_tf.decision.patterns import Patterns
from wafer_tf.decision.points import Point, points_from_json
from wafer_tf.decision.sets import Sets
from wafer_tf.decision.unknown import Unknown
from wafer_tf.dies import CLASSES, check_map
from wafer_tf.encoding import PLANES
from wafer_tf.errors import InputError, ModelError, UsageError
from wafer_tf.gate_verdict import fault as gate_fault
from wafer_tf.pattern_bits import PATTERNS

FORMAT = 1
MODEL_FILES = {"int8": "model_int8.tflite", "int16": "model_int16x8.tflite"}
"""The model's file by the type of its activations."""
GOLDEN, CARD, MANIFEST, SEAL = "golden.npz", "model_card.md", "bundle.json", "bundle.sha256"
UNKNOWN = "unknown.npz"
"""Of wafer_tf.decision.unknown; a bundle without it says nothing of how unlike the known patterns a wafer is."""
SIGNATURE = f"{MANIFEST}.sig"
"""Of bundle.json's exact bytes, where somebody signed it: see wafer_tf.signature."""
MIN_GOLDEN = 20
"""Different golden maps that a bundle must hold: fewer would show little of a model; edge.convert writes 40."""
_NO_GOLDEN: tuple[type[Exception], ...] = (*DAMAGED, InputError, TypeError, MemoryError)


@dataclass(frozen=True)
class Tensor:
    """The model's input or output, as the interpreter must report it.

    Attributes:
        shape: with the batch axis, which is 1.
        dtype: "int8" or "int16".
        scale, zero_point: real = scale * (stored - zero_point).
    """

    shape: tuple[int, ...]
    dtype: str
    scale: float
    zero_point: int

    def quantize(self, real: NDArray[np.floating[Any]]) -> NDArray[np.signedinteger[Any]]:
        """Return the stored integers nearest to `real` (half to even), clipped to the dtype's range."""
        info = np.iinfo(self.dtype)
        stored = np.rint(np.asarray(real, np.float64) / self.scale) + self.zero_point
        return np.asarray(np.clip(stored, info.min, info.max), self.dtype)

    def dequantize(self, stored: NDArray[np.signedinteger[Any]]) -> NDArray[np.float64]:
        """Return the real values of stored integers."""
        return np.asarray(np.subtract(stored, self.zero_point, dtype=np.float64) * self.scale)


@dataclass(frozen=True)
class Golden:
    """Maps every station classifies before it starts, and what it must find.

    Attributes:
        grids: (rows, cols) uint8 each.
        logits: (n, 9) of the model's output dtype, as stored.
        probabilities: (n, 9) float64, after the decision.
        features: (n, d) of the model's pooled features, as stored; None of a model that gives none.
        patterns: (n, 8) of the model's pattern logits, as stored; None of a bundle that says nothing of them.
    """

    grids: tuple[NDArray[np.uint8], ...]
    logits: NDArray[np.signedinteger[Any]]
    probabilities: NDArray[np.float64]
    features: NDArray[np.signedinteger[Any]] | None = None
    patterns: NDArray[np.signedinteger[Any]] | None = None

    def to_bytes(self) -> bytes:
        """Return the npz file's contents."""
        out = io.BytesIO()
        np.savez_compressed(
            out,
            allow_pickle=False,
            flat=np.concatenate([g.ravel() for g in self.grids]),
            offsets=np.cumsum([0, *(g.size for g in self.grids)]),
            shapes=np.array([g.shape for g in self.grids]),
            logits=self.logits,
            probabilities=self.probabilities,
            **({} if self.features is None else {"features": self.features}),
            **({} if self.patterns is None else {"patterns": self.patterns}),
        )
        return out.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes) -> "Golden":
        """Read what `to_bytes` gave.

        Raises:
            ValueError: it is not that.
        """
        try:
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                column = partial(read_entry, archive, where=GOLDEN, max_bytes=MAX_BYTES)
                flat = column("flat", kinds="u")
                offsets, shapes = column("offsets", kinds="iu"), column("shapes", kinds="iu")
                logits, probabilities = column("logits", kinds="i"), column("probabilities", kinds="f")
                there = archive.namelist()
                features = column("features", kinds="i") if "features.npy" in there else None
                patterns = column("patterns", kinds="i") if "patterns.npy" in there else None
            grids = tuple(
                check_map(flat[offsets[i] : offsets[i + 1]].reshape(shapes[i]), f"golden {i}")
                for i in range(len(shapes))
            )
        except _NO_GOLDEN as error:
            raise ValueError(f"{type(error).__name__}: {error}") from error
        answers = (len(grids), len(CLASSES))
        if not grids or logits.shape != answers or probabilities.shape != answers:
            raise ValueError(f"{len(grids)} maps, logits {logits.shape}, probabilities {probabilities.shape}")
        if features is not None and (features.ndim != 2 or len(features) != len(grids)):
            raise ValueError(f"{len(grids)} maps, features {features.shape}")
        if patterns is not None and patterns.shape != (len(grids), len(PATTERNS)):
            raise ValueError(f"{len(grids)} maps, patterns {patterns.shape}")
        return cls(grids, logits, probabilities, features, patterns)


@dataclass(frozen=True)
class Bundle:
    """A bundle whose every byte has been checked.

    Attributes:
        sha256: of bundle.json, hence of everything; names the bundle in every record.
        model: contents of the .tflite file.
        input_size: side of the encoded map.
        xnnpack: whether the gate ran the model on the XNNPACK delegate, which a station must then have too.
        gate: its figures and limits; `passed` is their verdict.
        provenance: where the model came from.
        release: number of the bundle, the higher the later; 0 where it was given none.
        signed: whether a signature was required, and was there.
        features: the model's pooled features, an output of its own; None of a model that gives none.
        unknown: turns features into the unknown score; None where the bundle has none.
        pattern_output: the logits of the eight patterns' sigmoids, an output of its own; None where `patterns` is.
        patterns: tells from these which patterns a wafer of several has; None where the bundle says nothing of it.
        points: operating points by name; empty where it was made without.
        sets: prediction sets; None where it was made without.
    """

    sha256: str
    model: bytes
    input: Tensor
    output: Tensor
    input_size: int
    decision: Decision
    golden: Golden
    xnnpack: bool
    passed: bool
    gate: dict[str, Any]
    provenance: dict[str, Any]
    release: int = 0
    signed: bool = False
    features: Tensor | None = None
    unknown: Unknown | None = None
    points: Mapping[str, Point] = field(default_factory=dict)
    sets: Sets | None = None
    patterns: Patterns | None = None
    pattern_output: Tensor | None = None


def write_bundle(
    path: str | os.PathLike[str],
    *,
    model: bytes,
    input: Tensor,
    output: Tensor,
    input_size: int,
    decision: Decision,
    golden: Golden,
    xnnpack: bool,
    passed: bool,
    gate: dict[str, Any],
    provenance: dict[str, Any],
    card: str,
    features: Tensor | None = None,
    unknown: Unknown | None = None,
    release: int = 0,
    points: Mapping[str, Point] | None = None,
    sets: Sets | None = None,
    patterns: Patterns | None = None,
    pattern_output: Tensor | None = None,
    replace: bool = False,
) -> str:
    """Write a bundle folder, whole or not at all.

    Args:
        path: the folder to make.
        passed: the gate's verdict; a bundle written without a gate is not passed.
        card: the model card, Markdown.
        features: of the model's second output, where it has one; then `golden` has them too.
        unknown: of these features, where there is an unknown score.
        release: number of the bundle, 0 or more, the higher the later; a date such as 20261126 is one.
        points: operating points that keep their names.
        sets: prediction sets.
        patterns: thresholds for the patterns of a wafer that has several; None: the bundle says nothing of these, and
            of `golden` no pattern logits are kept.
        pattern_output: of the model's pattern logits, with `patterns`; then `golden` has them too.
        replace: put it in the place of a bundle that is there.

    Returns:
        The bundle's SHA-256.

    Raises:
        ModelError: `patterns` without `pattern_output` or golden pattern logits.
        UsageError: `path` is there and `replace` was not given, or is there and is no bundle.
    """
    path = Path(path)
    golden = _with_patterns(golden, patterns, pattern_output)
    if path.exists():
        if not (path / MANIFEST).is_file():
            raise UsageError(f"bundle {path}: something that is no bundle is there; choose another --out.")
        if not replace:
            raise UsageError(f"bundle {path}: already there; --overwrite replaces it, --out writes elsewhere.")
    files = {MODEL_FILES[input.dtype]: model, GOLDEN: golden.to_bytes(), CARD: card.encode()}
    if unknown is not None:
        files[UNKNOWN] = unknown.to_bytes()
    manifest = {
        "format": FORMAT,
        "release": release,
        "files": {name: {"sha256": _sha256(data), "bytes": len(data)} for name, data in files.items()},
        "classes": list(CLASSES),
        "encoding": {"planes": list(PLANES), "size": input_size},
        "input": _tensor_to_json(input),
        "output": _tensor_to_json(output),
        **({} if features is None else {"features": _tensor_to_json(features)}),
        "decision": decision.to_json(),
        "xnnpack": xnnpack,
        "passed": passed,
        "gate": gate,
        "provenance": provenance,
        **({"points": {name: point.to_json() for name, point in points.items()}} if points else {}),
        **({} if sets is None else {"sets": sets.to_json()}),
        **_patterns_to_json(patterns, pattern_output),
    }
    files[MANIFEST] = (json.dumps(manifest, indent=2, allow_nan=False) + "\n").encode()
    sha256 = _sha256(files[MANIFEST])
    files[SEAL] = _seal(sha256)
    partial, old = (path.with_name(f".{path.name}.{word}") for word in ("partial", "old"))
    for left in (partial, old):
        shutil.rmtree(left, ignore_errors=True)
    try:
        partial.mkdir(parents=True)
        for name, data in files.items():
            with (partial / name).open("wb") as out:
                out.write(data)
                out.flush()
                os.fsync(out.fileno())
        if path.exists():
            path.rename(old)
        partial.rename(path)
    finally:
        for left in (partial, old):
            shutil.rmtree(left, ignore_errors=True)
    return sha256


def load_bundle(
    path: str | os.PathLike[str],
    *,
    allow_ungated: bool = False,
    require_signature: str | os.PathLike[str] | None = None,
    min_version: int = 0,
) -> Bundle:
    """Read a bundle folder and check every byte of it against its hashes.

    bundle.json is read once; its signature is checked on the bytes that are then used, and its hashes bind the rest.
    The model itself is not run here; edge.station.classifier does, and compares it with `input`, `output` and `golden`.

    Args:
        path: the folder.
        allow_ungated: accept a bundle that did not pass the gate.
        require_signature: file of a public key (PEM); bundle.json must be signed by it.
        min_version: the lowest `release` to accept. Without a signature anybody can write a higher one.

    Raises:
        ModelError: anything is missing, changed, not of this format or these classes, not signed as required, of an
            earlier release, or the gate did not pass it and `allow_ungated` was not given.
        UsageError: `require_signature` is no key that signs bundles, or cryptography is not installed.

    Examples:
        >>> from wafer_tf.released import released
        >>> load_bundle(released("nano") / "bundle").passed
        True
    """
    path = Path(path)
    manifest_bytes = read_file(path, MANIFEST)
    sha256 = _sha256(manifest_bytes)
    if read_file(path, SEAL) != _seal(sha256):
        raise refused(path, f"{MANIFEST} is not what {SEAL} says was written")
    if require_signature is not None:
        check_signature(path, MANIFEST, manifest_bytes, key_file=require_signature)
    try:
        data = json.loads(manifest_bytes)
        if data["format"] != FORMAT:
            raise refused(path, f"format {data['format']!r}; this station reads format {FORMAT}")
        if data["classes"] != list(CLASSES):
            raise refused(path, f"classes {data['classes']}; expected {list(CLASSES)}")
        if data["encoding"]["planes"] != list(PLANES):
            raise refused(path, f"encoding {data['encoding']['planes']}; expected {list(PLANES)}")
        release = _whole(data.get("release", 0))
        if release < min_version:
            why = f"release {release}; --min-version asks for {min_version} or later"
            raise refused(path, why, remedy="Fetch a later bundle, or ask for an earlier one.")
        size = _whole(data["encoding"]["size"])
        input, output = _tensor_from_json(data["input"]), _tensor_from_json(data["output"])
        if input.shape != (1, size, size, len(PLANES)) or output.shape != (1, len(CLASSES)):
            raise refused(path, f"input {input.shape}, output {output.shape}")
        model_file = MODEL_FILES[input.dtype]
        if set(data["files"]) - {UNKNOWN} != {model_file, GOLDEN, CARD}:
            raise refused(path, f"lists the files {sorted(data['files'])}")
        contents = {name: read_file(path, name) for name in data["files"]}
        for name, content in contents.items():
            if data["files"][name]["sha256"] != _sha256(content):
                raise refused(path, f"{name} is not the file that was gated")
        check_no_others(path, {*contents, MANIFEST, SEAL, SIGNATURE})
        features = _tensor_from_json(data["features"]) if "features" in data else None
        golden = Golden.from_bytes(contents[GOLDEN])
        stated, shown = (None if found is None else found.shape[1:] for found in (features, golden.features))
        if stated != shown or (features is not None and (len(features.shape), features.shape[0]) != (2, 1)):
            raise refused(path, f"features of shape {features and features.shape}, golden features of {shown} a map")
        patterns, pattern_output = _patterns(path, data, golden, output)
        bundle = Bundle(
            sha256=sha256,
            model=contents[model_file],
            input=input,
            output=output,
            input_size=size,
            decision=Decision.from_json(data["decision"]),
            golden=golden,
            xnnpack=data["xnnpack"] is not False,
            passed=data["passed"] is True,
            gate=dict(data["gate"]),
            provenance=dict(data["provenance"]),
            release=release,
            signed=require_signature is not None,
            features=features,
            unknown=_unknown(path, contents[UNKNOWN], features) if UNKNOWN in contents else None,
            points=points_from_json(data.get("points", {})),
            sets=None if (sets := data.get("sets")) is None else Sets.from_json(sets),
            patterns=patterns,
            pattern_output=pattern_output,
        )
        different = len({(grid.shape, grid.tobytes()) for grid in bundle.golden.grids})
        if different < MIN_GOLDEN:
            raise refused(path, f"{GOLDEN} holds {different} different maps; expected {MIN_GOLDEN} or more")
        if bundle.passed and (fault := gate_fault(bundle.gate)):
            raise refused(path, f"it says that it passed the accuracy gate, but {fault}")
    except ModelError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError) as error:
        raise refused(
            path, f"{MANIFEST} or {GOLDEN} is not of this format ({type(error).__name__}: {error})"
        ) from error
    if not bundle.passed and not allow_ungated:
        raise refused(path, "it did not pass the accuracy gate; --allow-ungated accepts it all the same")
    return bundle


def _unknown(path: Path, content: bytes, features: Tensor | None) -> Unknown:
    try:
        unknown = Unknown.from_bytes(content)
    except ModelError as error:
        raise refused(path, f"{UNKNOWN}: {error}") from error
    due, given = unknown.mean.shape[1], features.shape[1] if features else 0
    if due != given:
        raise refused(path, f"{UNKNOWN} is of {due} features, of which the model gives {given}")
    return unknown


def _with_patterns(golden: Golden, patterns: Patterns | None, output: Tensor | None) -> Golden:
    """Return what a new bundle keeps of golden maps."""
    if patterns is None:
        return replace(golden, patterns=None)
    if output is None or golden.patterns is None:
        raise ModelError(
            "bundle: thresholds of the patterns go with the model's output and golden logits of them; got "
            f"{'no output' if output is None else 'no golden logits'}. Does the model have the layer patterns?"
        )
    return golden


def _patterns_to_json(patterns: Patterns | None, output: Tensor | None) -> dict[str, Any]:
    if patterns is None or output is None:
        return {}
    return {"patterns": {"output": _tensor_to_json(output), **patterns.to_json()}}


def _patterns(
    path: Path, data: Mapping[str, Any], golden: Golden, output: Tensor
) -> tuple[Patterns, Tensor] | tuple[None, None]:
    """Return what a manifest says of several patterns on one wafer: thresholds, and the model's output."""
    if "patterns" not in data:
        if golden.patterns is not None:
            raise refused(path, f"{GOLDEN} holds pattern logits, of which {MANIFEST} says nothing")
        return None, None
    stated = dict(data["patterns"])
    found = _tensor_from_json(stated.pop("output"))
    if (found.shape, found.dtype) != ((1, len(PATTERNS)), output.dtype):
        raise refused(
            path,
            f"patterns of shape {found.shape}, {found.dtype}; expected (1, {len(PATTERNS)}), {output.dtype} as the "
            "logits are",
        )
    if golden.patterns is None:
        raise refused(path, f"{GOLDEN} holds no pattern logits, of which {MANIFEST} says that the model gives some")
    try:
        return Patterns.from_json(stated), found
    except ModelError as error:
        raise refused(path, str(error).rstrip(".")) from error


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _seal(sha256: str) -> bytes:
    return f"{sha256}  {MANIFEST}\n".encode()


def _tensor_to_json(tensor: Tensor) -> dict[str, Any]:
    return {
        "shape": list(tensor.shape),
        "dtype": tensor.dtype,
        "scale": tensor.scale,
        "zero_point": tensor.zero_point,
    }


def _tensor_from_json(data: dict[str, Any]) -> Tensor:
    shape = tuple(_whole(side) for side in data["shape"])
    tensor = Tensor(shape, data["dtype"], float(data["scale"]), _whole(data["zero_point"]))
    if tensor.dtype not in MODEL_FILES or not (np.isfinite(tensor.scale) and tensor.scale > 0):
        raise ValueError(f"dtype {tensor.dtype!r}, scale {tensor.scale}")
    return tensor


def _whole(value: Any) -> int:
    if type(value) is not int:
        raise ValueError(f"{value!r} where a whole number is due")
    return value
