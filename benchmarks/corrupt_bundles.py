"""Corrupt a bundle in a thousand ways; a station must refuse every one.

    python -m benchmarks.corrupt_bundles BUNDLE FOREIGN [--count 1000] [--out benchmarks/corrupt_bundles.json]

BUNDLE and FOREIGN are bundles of two models. Each corruption is a seeded change of BUNDLE's files. Those named
"resealed" recompute every hash after the change, as somebody would who edits a bundle by hand: what is left to catch
them is that the classes, the model's own quantization, the decision and the golden maps must agree. The first two of
each kind also go through the command, which must end with exit code 3 and print no record.

Half as many again are benchmarks.forgeries, which only --require-signature and --min-version tell from the true one.
"""

import hashlib
import io
import json
import platform
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np

from wafer_tf.bundle import GOLDEN, MANIFEST, MIN_GOLDEN, MODEL_FILES, SEAL, UNKNOWN, Golden, Tensor, load_bundle
from wafer_tf.command import CommandParser
from wafer_tf.decision import Decision
from wafer_tf.errors import ModelError

Files = dict[str, bytes]
Change = Callable[[Files, Files, np.random.Generator], None]
"""Changes the files of a bundle in place; the second argument is a foreign bundle's."""


def read_files(bundle: Path) -> Files:
    """Return the contents of a bundle folder."""
    return {path.name: path.read_bytes() for path in sorted(bundle.iterdir())}


def write_files(folder: Path, files: Files) -> None:
    """Make a folder hold these files and no others."""
    folder.mkdir(exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    for name, content in files.items():
        (folder / name).write_bytes(content)


def corrupted(kind: str, bundle: Files, foreign: Files, *, seed: tuple[int, ...]) -> Files:
    """Return a corrupted copy of a bundle, by one of CHANGES."""
    rng = np.random.default_rng(seed)
    files = dict(bundle)
    while files == bundle:  # also after a change that happened to change nothing
        CHANGES[kind](files, foreign, rng)
    return files


# === Changes that the hashes betray ===


def _flip_a_bit(files: Files, _: Files, rng: np.random.Generator) -> None:
    name = str(rng.choice(sorted(files)))
    content = bytearray(files[name])
    content[rng.integers(len(content))] ^= 1 << int(rng.integers(8))
    files[name] = bytes(content)


def _flip_a_bit_of_the_manifest_or_seal(files: Files, foreign: Files, rng: np.random.Generator) -> None:
    few = {name: files[name] for name in (MANIFEST, SEAL)}
    _flip_a_bit(few, foreign, rng)
    files |= few


def _truncate(files: Files, _: Files, rng: np.random.Generator) -> None:
    name = str(rng.choice(sorted(files)))
    files[name] = files[name][: int(rng.integers(len(files[name])))]


def _lengthen(files: Files, _: Files, rng: np.random.Generator) -> None:
    files[str(rng.choice(sorted(files)))] += rng.bytes(int(rng.integers(1, 9)))


def _remove(files: Files, _: Files, rng: np.random.Generator) -> None:
    del files[str(rng.choice(sorted(files)))]


def _mix_up(files: Files, foreign: Files, rng: np.random.Generator) -> None:
    name = str(rng.choice([MODEL_FILES["int8"], GOLDEN, MANIFEST, SEAL]))
    files[name] = foreign[name]


# === Changes after which every hash was computed anew ===


def reseal(files: Files, manifest: dict[str, Any]) -> None:
    """Write a manifest into a bundle's files, with every hash computed anew."""
    for name in manifest.get("files", {}):
        if name in files:
            facts = {"sha256": hashlib.sha256(files[name]).hexdigest(), "bytes": len(files[name])}
            manifest["files"][name] = facts
    files[MANIFEST] = json.dumps(manifest, indent=2).encode()
    _seal(files)


def _seal(files: Files) -> None:
    files[SEAL] = f"{hashlib.sha256(files[MANIFEST]).hexdigest()}  {MANIFEST}\n".encode()


def _swap_classes(files: Files, _: Files, rng: np.random.Generator) -> None:
    manifest = json.loads(files[MANIFEST])
    i, j = rng.choice(len(manifest["classes"]), 2, replace=False)
    classes = manifest["classes"]
    classes[i], classes[j] = classes[j], classes[i]
    reseal(files, manifest)


def _change_bias(files: Files, _: Files, rng: np.random.Generator) -> None:
    manifest = json.loads(files[MANIFEST])
    bias = manifest["decision"]["bias"]
    i, j = rng.choice(len(bias), 2, replace=False)
    if bias[i] == bias[j] or rng.random() < 0.5:
        bias[i] += float(rng.choice([-1, 1]) * rng.uniform(0.001, 2))
    else:
        bias[i], bias[j] = bias[j], bias[i]
    reseal(files, manifest)


def _change_temperature(files: Files, _: Files, rng: np.random.Generator) -> None:
    manifest = json.loads(files[MANIFEST])
    manifest["decision"]["temperature"] *= float(rng.choice([rng.uniform(0.2, 0.999), rng.uniform(1.001, 5)]))
    reseal(files, manifest)


def _change_scale(files: Files, _: Files, rng: np.random.Generator) -> None:
    manifest = json.loads(files[MANIFEST])
    tensors = {key: manifest[key] for key in ("input", "output", "features") if key in manifest}
    if "patterns" in manifest:
        tensors["patterns"] = manifest["patterns"]["output"]
    tensor = tensors[str(rng.choice(list(tensors)))]
    if rng.random() < 0.5:
        tensor["scale"] *= float(rng.uniform(1.0001, 2))
    else:
        tensor["zero_point"] += int(rng.choice([-3, -2, -1, 1, 2, 3]))
    reseal(files, manifest)


def _foreign_model(files: Files, foreign: Files, _: np.random.Generator) -> None:
    files[MODEL_FILES["int8"]] = foreign[MODEL_FILES["int8"]]
    reseal(files, json.loads(files[MANIFEST]))


def _foreign_model_with_its_scales(files: Files, foreign: Files, _: np.random.Generator) -> None:
    """With the probabilities that come of its scales, too: the golden logits alone are left to betray it."""
    files[MODEL_FILES["int8"]] = foreign[MODEL_FILES["int8"]]
    other = json.loads(foreign[MANIFEST])
    manifest = json.loads(files[MANIFEST]) | {key: other[key] for key in ("input", "output")}
    golden = Golden.from_bytes(files[GOLDEN])
    output = Tensor(**{**manifest["output"], "shape": tuple(manifest["output"]["shape"])})
    probabilities = Decision.from_json(manifest["decision"]).probabilities(output.dequantize(golden.logits))
    files[GOLDEN] = replace(golden, probabilities=probabilities).to_bytes()
    reseal(files, manifest)


def _edit_golden(files: Files, _: Files, rng: np.random.Generator) -> None:
    with np.load(io.BytesIO(files[GOLDEN])) as archive:
        arrays = {name: archive[name].copy() for name in archive.files}
    edit = rng.integers(4)
    if edit == 0:
        arrays["flat"][:] = 3 - np.maximum(arrays["flat"], 1)
    elif edit == 1:
        arrays["logits"] = arrays["logits"][:, rng.permutation(arrays["logits"].shape[1])]
    elif edit == 2:
        arrays["probabilities"] = arrays["probabilities"][:, rng.permutation(arrays["probabilities"].shape[1])]
    else:
        del arrays[str(rng.choice(sorted(arrays)))]
    out = io.BytesIO()
    np.savez_compressed(out, **arrays)
    files[GOLDEN] = out.getvalue()
    reseal(files, json.loads(files[MANIFEST]))


def _edit_manifest(files: Files, _: Files, rng: np.random.Generator) -> None:
    manifest = json.loads(files[MANIFEST])
    size = manifest["encoding"]["size"]
    edits: list[dict[str, Any]] = [
        {"passed": False},
        {"passed": "true"},
        {"passed": 1},
        {"format": 2},
        {"format": None},
        {"classes": []},
        {"encoding": {**manifest["encoding"], "size": size * 2}},
        {"encoding": {**manifest["encoding"], "size": "64"}},
        {"encoding": {**manifest["encoding"], "planes": ["fails", "dies", "peak"]}},
        {"files": {}},
        {"files": []},
        {"files": {**manifest["files"], "../other": {"sha256": "0" * 64, "bytes": 0}}},
        {"input": {**manifest["input"], "dtype": "float32"}},
        {"input": {**manifest["input"], "dtype": ["int8"]}},
        {"output": {**manifest["output"], "shape": [1, 10]}},
        {"output": {**manifest["output"], "scale": 1e999}},
        {"output": {**manifest["output"], "scale": -1}},
        {"output": {**manifest["output"], "zero_point": "x"}},
        {"decision": {**manifest["decision"], "temperature": 0}},
        {"decision": {}},
        {"gate": None},
        {"provenance": 7},
        {"decision": {**manifest["decision"], "bias": None}},
        {"decision": {**manifest["decision"], "bias": [0] * 8}},
    ]
    reseal(files, manifest | edits[rng.integers(len(edits))])


def _contradict_the_gate(files: Files, _: Files, rng: np.random.Generator) -> None:
    """Let the bundle say that it passed a gate whose figures say otherwise."""
    manifest = json.loads(files[MANIFEST])
    gate = manifest["gate"]
    check = gate["checks"][int(rng.integers(len(gate["checks"])))]
    edits: list[tuple[dict[str, Any], str, Any]] = [
        (gate, "applied", False),
        (gate, "passed", False),
        (check, "passed", False),
        (check, "value", float(check["limit"] + rng.choice([-1, 1]) * rng.uniform(0.1, 50))),
        (gate["comparison"]["agreement"], "value", float(rng.uniform(0, 0.99))),
    ]
    edited, name, value = edits[rng.integers(len(edits))]
    edited[name] = value
    reseal(files, manifest)


def _few_golden_maps(files: Files, _: Files, rng: np.random.Generator) -> None:
    golden = Golden.from_bytes(files[GOLDEN])
    kept = np.arange(int(rng.integers(1, MIN_GOLDEN)))
    kept = np.resize(kept, int(rng.choice([len(kept), 2 * MIN_GOLDEN])))  # the same maps again and again
    grids = tuple(golden.grids[i] for i in kept)
    beside = (None if stored is None else stored[kept] for stored in (golden.features, golden.patterns))
    files[GOLDEN] = Golden(grids, golden.logits[kept], golden.probabilities[kept], *beside).to_bytes()
    reseal(files, json.loads(files[MANIFEST]))


def _add_a_file(files: Files, _: Files, rng: np.random.Generator) -> None:
    files[str(rng.choice(["model_int16x8.tflite", "golden.npz.bak", "notes.txt", "bundle.sig"]))] = rng.bytes(9)


def _no_manifest(files: Files, _: Files, rng: np.random.Generator) -> None:
    whole = files[MANIFEST]
    wrong = [
        b"",
        b"null",
        b"[]",
        b"[" * 100_000,
        b'{"format": 1}',
        b"\xff\xfe",
        rng.bytes(300),
        whole[: len(whole) // 2],
        b"9" * 5000,
        whole.replace(b'"format": 1', b'"format": 1' + b"0" * 5000),
    ]
    files[MANIFEST] = wrong[rng.integers(len(wrong))]
    _seal(files)


def _damaged_and_resealed(files: Files, _: Files, rng: np.random.Generator) -> None:
    """Truncate or overwrite the golden maps, or truncate another file, and recompute the hashes."""
    name = str(rng.choice([name for name in (GOLDEN, MODEL_FILES["int8"], UNKNOWN) if name in files]))
    content = files[name]
    if name == GOLDEN and rng.random() < 0.5:
        start = int(rng.integers(len(content) - 8))
        files[name] = content[:start] + rng.bytes(8) + content[start + 8 :]
    else:
        files[name] = content[: int(rng.integers(len(content) // 2))]
    reseal(files, json.loads(files[MANIFEST]))


CHANGES: dict[str, Change] = {
    "bit flip": _flip_a_bit,
    "bit flip in manifest or seal": _flip_a_bit_of_the_manifest_or_seal,
    "truncated": _truncate,
    "lengthened": _lengthen,
    "file missing": _remove,
    "file of another bundle": _mix_up,
    "file that is no part": _add_a_file,
    "resealed: classes swapped": _swap_classes,
    "resealed: bias changed": _change_bias,
    "resealed: temperature changed": _change_temperature,
    "resealed: scale or zero point changed": _change_scale,
    "resealed: foreign model": _foreign_model,
    "resealed: foreign model with its scales": _foreign_model_with_its_scales,
    "resealed: golden maps edited": _edit_golden,
    "resealed: manifest edited": _edit_manifest,
    "resealed: verdict against the gate's figures": _contradict_the_gate,
    "resealed: too few golden maps": _few_golden_maps,
    "resealed: no manifest": _no_manifest,
    "resealed: golden maps or model damaged": _damaged_and_resealed,
}


def refusal(folder: Path, **options: Any) -> str | None:
    """Return the station's reason to refuse the bundle in a folder, or None; options are load_bundle's."""
    from edge.station.classifier import Classifier

    try:
        Classifier(load_bundle(folder, **options))
    except ModelError as error:
        return str(error)
    return None


def main() -> None:
    from benchmarks.forgeries import judge_forgeries

    p = CommandParser("python -m benchmarks.corrupt_bundles", __doc__)
    p.add_argument("bundle", type=Path)
    p.add_argument("foreign", type=Path)
    p.add_argument("--count", type=int, default=1000)
    p.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".json"))
    args = p.parse_args()
    bundle, foreign = read_files(args.bundle), read_files(args.foreign)
    tried: Counter[str] = Counter()
    refused: Counter[str] = Counter()
    by_command: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "bundle"
        whole = Path(temporary) / "map.npy"
        np.save(whole, np.ones((25, 25), np.uint8))
        write_files(folder, bundle)
        if (why := refusal(folder)) is not None:
            sys.exit(f"the bundle itself is refused: {why}")
        for i, kind in zip(range(args.count), cycle(CHANGES), strict=False):
            write_files(folder, corrupted(kind, bundle, foreign, seed=(i,)))
            tried[kind] += 1
            refused[kind] += refusal(folder) is not None
            if tried[kind] <= 2:
                command = [sys.executable, "-m", "edge.station", "classify", str(whole), "--bundle", str(folder)]
                run = subprocess.run(command, capture_output=True, check=False)
                by_command[kind] += (run.returncode, run.stdout) == (3, b"") and b"Traceback" not in run.stderr
    result = {
        "date": str(date.today()),
        "python": platform.python_version(),
        "corrupted": tried.total(),
        "refused": refused.total(),
        "by_kind": {kind: f"{refused[kind]} of {tried[kind]}" for kind in CHANGES},
        "through_the_command": f"{by_command.total()} of {sum(min(2, n) for n in tried.values())} exit 3, no record",
        "forged": judge_forgeries(bundle, foreign, args.count // 2),
    }
    args.out.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
