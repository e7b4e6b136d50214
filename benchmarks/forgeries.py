"""Bundles that somebody made on purpose, every hash and golden answer computed anew: only a signature tells them.

Used by benchmarks.corrupt_bundles, and by the tests. Each is a seeded change of a signed bundle's files. What lies in
bundle.json.sig afterwards is the signature that was there, one by a stranger's key, a cut one, or none.
"""

import json
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.corrupt_bundles import Files, refusal, reseal, write_files
from wafer_tf import signature
from wafer_tf.bundle import GOLDEN, MANIFEST, SIGNATURE, Golden, Tensor
from wafer_tf.decision import Decision
from wafer_tf.dies import CLASSES

RELEASE = 20261126
"""Of the bundle that is forged; a station asks for this one or later."""
Forgery = Callable[[Files, Files, np.random.Generator], None]
"""Changes the files of a bundle in place; the second argument is a foreign bundle's."""


class Signer:
    """A new Ed25519 key pair in a folder, and a stranger's."""

    def __init__(self, folder: Path) -> None:
        from cryptography.hazmat.primitives import serialization as form
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        self.key, self.stranger = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
        self.public = folder / "public.pem"
        encoding, kind = form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo
        self.public.write_bytes(self.key.public_key().public_bytes(encoding, kind))

    def signed(self, files: Files, *, release: int = RELEASE) -> Files:
        """Return the files of a bundle with a release number, and signed."""
        files = dict(files)
        reseal(files, json.loads(files[MANIFEST]) | {"release": release})
        return files | {SIGNATURE: signature.sign(files[MANIFEST], self.key)}


def forged(kind: str, bundle: Files, foreign: Files, *, signer: Signer, seed: tuple[int, ...]) -> Files:
    """Return a forged copy of a signed bundle, by one of FORGERIES or OF_SIGNED."""
    rng = np.random.default_rng(seed)
    if kind == "signature of another bundle":
        return bundle | {SIGNATURE: signer.signed(foreign)[SIGNATURE]}
    if kind == "earlier release, truly signed":
        return signer.signed(bundle, release=int(rng.integers(RELEASE)))
    files = dict(bundle)
    FORGERIES[kind](files, foreign, rng)
    left = rng.integers(4)
    if left == 1:
        files[SIGNATURE] = signature.sign(files[MANIFEST], signer.stranger)
    elif left == 2:
        files[SIGNATURE] = files[SIGNATURE][: rng.integers(len(files[SIGNATURE]))]
    elif left == 3:
        del files[SIGNATURE]
    return files


def _bias(files: Files, _: Files, rng: np.random.Generator) -> None:
    """A bias under which one class is always called, and the golden answers that follow of it."""
    manifest = json.loads(files[MANIFEST])
    manifest["decision"]["bias"][int(rng.integers(len(CLASSES)))] = float(rng.uniform(20, 80))
    golden = Golden.from_bytes(files[GOLDEN])
    output = Tensor(**{**manifest["output"], "shape": tuple(manifest["output"]["shape"])})
    probabilities = Decision.from_json(manifest["decision"]).probabilities(output.dequantize(golden.logits))
    files[GOLDEN] = replace(golden, probabilities=probabilities).to_bytes()
    reseal(files, manifest)


def _another_bundle(files: Files, foreign: Files, rng: np.random.Generator) -> None:
    files |= {name: data for name, data in foreign.items() if name != SIGNATURE}
    reseal(files, json.loads(files[MANIFEST]) | {"release": RELEASE + int(rng.integers(100))})


def _gate(files: Files, _: Files, rng: np.random.Generator) -> None:
    """Limits so loose that anything passes them, and figures to match."""
    manifest = json.loads(files[MANIFEST])
    gate, limit = manifest["gate"], float(rng.uniform(1, 40))
    gate["limits"]["min_agreement"] = limit
    gate["comparison"]["agreement"]["value"] = (limit + 1) / 100
    if "shipped_agreement" in gate:  # of a run by folds
        gate["shipped_agreement"] = gate["comparison"]["agreement"]["value"]
    for check in gate["checks"]:
        if check["name"] == "min_agreement":
            check |= {"limit": limit, "value": 100 * gate["comparison"]["agreement"]["value"]}
    reseal(files, manifest)


def _release(files: Files, _: Files, rng: np.random.Generator) -> None:
    reseal(files, json.loads(files[MANIFEST]) | {"release": RELEASE + int(rng.integers(1, 10**6))})


FORGERIES: dict[str, Forgery] = {
    "bias and golden answers": _bias,
    "another bundle in its place": _another_bundle,
    "gate's limits and figures": _gate,
    "release raised": _release,
}
OF_SIGNED = ("signature of another bundle", "earlier release, truly signed")
KINDS = (*FORGERIES, *OF_SIGNED)


def judge_forgeries(bundle: Files, foreign: Files, count: int) -> dict[str, Any]:
    """Return how many forgeries are refused with a signature required, and how many without."""
    tried: Counter[str] = Counter()
    refused: Counter[str] = Counter()
    without: Counter[str] = Counter()
    by_command: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as temporary:
        folder, signer = Path(temporary) / "bundle", Signer(Path(temporary))
        signed = signer.signed(bundle)
        write_files(folder, signed)
        required = {"require_signature": signer.public, "min_version": RELEASE}
        if (why := refusal(folder, **required)) is not None:
            sys.exit(f"the signed bundle itself is refused: {why}")
        for i, kind in zip(range(count), cycle(KINDS), strict=False):
            write_files(folder, forged(kind, signed, foreign, signer=signer, seed=(i,)))
            tried[kind] += 1
            refused[kind] += refusal(folder, **required) is not None
            without[kind] += refusal(folder) is not None
            if tried[kind] <= 2:
                flags = ["--require-signature", str(signer.public), "--min-version", str(RELEASE)]
                command = [sys.executable, "-m", "edge.station", "selftest", "--bundle", str(folder), *flags]
                run = subprocess.run(command, capture_output=True, check=False)
                by_command[kind] += (run.returncode, run.stdout) == (3, b"") and b"Traceback" not in run.stderr
    return {
        "tried": tried.total(),
        "refused": refused.total(),
        "refused_without_a_signature": without.total(),
        "by_kind": {kind: f"{refused[kind]} of {tried[kind]}" for kind in KINDS},
        "through_the_command": f"{by_command.total()} of {sum(min(2, n) for n in tried.values())} exit 3",
    }
