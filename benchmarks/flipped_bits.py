"""Flip a bit, zero a block or remove a line of what a station, a training and a bundle keep; it must be found.

    python -m benchmarks.flipped_bits [--model models/nano] [--count 1000] [--out benchmarks/flipped_bits.json]

Makes a hot folder of 300 wafers with a station, and a small run by training.fit. Of the files that are read again later
one is damaged at a time: `count` times by one flipped bit, then by each block of 4 KB as zeros and, in text, by each
line removed, as many as `count` at most. Whoever reads it next must refuse it or say what is damaged. Where nobody
does, what is read must be what was written: a bit that changes nothing, such as a date in a zip archive, is harmless.

The station's records are tried twice: by `wafer-tf verify`, and by a station that starts. The first damage of each kind
to a run that goes on or a bundle goes through the command too, which must end with exit code 3 and without a traceback.
"""

import io
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from datetime import date
from filecmp import cmp
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edge.station.speed import processor
from wafer_tf.command import CommandParser
from wafer_tf.errors import UsageError, WaferError

if TYPE_CHECKING:
    from wafer_tf.waferset import WaferSet

BLOCK = 4096
WAFERS, DUPLICATES = 300, 60
Reader = Callable[[Path], bool | None]
"""Reads a folder of which one file is damaged; returns True where that is found, False where what is read has changed,
None where it has not."""


@dataclass(frozen=True)
class Target:
    """A file to damage.

    Attributes:
        what: names it in the result.
        folder: the folder that is copied whole for the trials.
        files: of it, one of which is damaged at a time, drawn by size.
        read: who reads it next.
        command: what is called besides, once for each kind of damage, without the folder.
    """

    what: str
    folder: Path
    files: tuple[str, ...]
    read: Reader
    command: tuple[str, ...] = ()


# === Damage ===


def flipped(content: bytes, rng: np.random.Generator, count: int) -> Iterator[bytes]:
    """Give copies with one bit flipped."""
    for _ in range(count):
        place = int(rng.integers(8 * len(content)))
        changed = bytearray(content)
        changed[place // 8] ^= 1 << place % 8
        yield bytes(changed)


def zeroed(content: bytes, rng: np.random.Generator, count: int) -> Iterator[bytes]:
    """Give copies of which one block of 4 KB, as a disk has them, is zeros."""
    starts = rng.permutation(np.arange(0, len(content), BLOCK))[:count]
    for start in starts.tolist():
        size = len(content[start : start + BLOCK])
        changed = content[:start] + bytes(size) + content[start + size :]
        if changed != content:
            yield changed


def without_a_line(content: bytes, rng: np.random.Generator, count: int) -> Iterator[bytes]:
    """Give copies of a text of which one line is gone; none of what is no text."""
    if b"\0" in content:
        return
    lines = content.splitlines(keepends=True)
    for gone in rng.permutation(len(lines))[:count].tolist():
        yield b"".join([*lines[:gone], *lines[gone + 1 :]])


DAMAGE = {"a flipped bit": flipped, "a block of zeros": zeroed, "a removed line": without_a_line}


# === Readers ===


def verified(hot: Path) -> bool:
    """Whether `wafer-tf verify` names a fault."""
    from edge.verify import main

    with redirect_stdout(io.StringIO()):
        return main([str(hot / "out")]) == 4


def found_at_start(hot: Path) -> bool:
    """Whether a station that starts sets something aside or misses it, so that it judges those wafers again."""
    from edge.station.hot_folder.record_files import Ledger

    ledger = Ledger(hot / "out")
    said = ledger.open()
    ledger.close()
    return bool(said)


def hand_not_believed(hot: Path) -> bool:
    """Whether a station that starts takes nothing from the note of what was in hand."""
    from edge.station.hot_folder.in_hand import InHand

    hand = InHand(hot / "out" / "in_hand.json")
    said = hand.open()
    hand.close()
    return said is None and hand.deaths("w1.npy", (1, 2)) == 0


def not_paired(hot: Path) -> bool:
    """Whether a station refuses an IN and an OUT of which one has lost its id, or pairs them as they were."""
    from edge.station.hot_folder.claim import LOCK, Claim

    claim = Claim(hot / "in", hot / "out")
    try:
        claim.take()
    except UsageError:
        return True
    claim.release()
    return all((hot / name / LOCK).read_bytes() == (hot / "id").read_bytes() for name in ("in", "out"))


def refused(read: Callable[[Path], object]) -> Reader:
    """Return a reader that finds what `read` refuses as no model or no input, and nothing else."""

    def reads(folder: Path) -> bool:
        try:
            read(folder)
        except WaferError:
            return True
        return False

    return reads


def resumed(run: Path) -> None:
    """Open a run as --resume does."""
    from training.job import load_config
    from training.progress import Progress
    from wafer_tf.learning.run_folder import RunFolder

    folder = RunFolder.open(run, finished=False)
    load_config(folder)
    Progress(folder, patience=1)


def finished(run: Path) -> None:
    """Open a finished run."""
    from wafer_tf.learning.run_folder import RunFolder

    RunFolder.open(run)


def loaded(bundle: Path) -> None:
    """Load a bundle as a station does."""
    from wafer_tf.bundle import load_bundle

    load_bundle(bundle)


def signed(folder: Path) -> None:
    """Load a bundle by its signature."""
    from wafer_tf.bundle import load_bundle

    load_bundle(folder / "bundle", require_signature=folder / "key.pub.pem")


def same_set(name: str) -> Reader:
    """Return a reader of a wafer set, and of whether its maps and what is said of them are as they were."""
    columns = ("flat", "offsets", "shapes", "lot", "wafer_index", "label", "official_split")

    def opened(path: Path) -> "WaferSet":
        from wafer_tf.readers import read

        return read(path)

    whole = cache(opened)

    def reads(folder: Path) -> bool | None:
        try:
            wafers = opened(folder / name)
        except WaferError:
            return True
        kept = whole(folder / f"whole.{name}")
        same = all(np.array_equal(getattr(wafers, column), getattr(kept, column)) for column in columns)
        return None if same else False

    return reads


# === What is damaged ===


def make(folder: Path, model: Path) -> list[Target]:
    """Make a hot folder, a run, a signed bundle and two sets; return what to damage in them."""
    from edge.station.hot_folder.claim import LOCK

    hot, run, begun, bundle, sets = (folder / name for name in ("hot", "run", "begun", "signed", "sets"))
    _make_hot_folder(hot, model / "bundle")
    _call("training.fit", *SMALL_RUN, "--out", str(run))
    shutil.copytree(run, begun)
    (begun / "DONE").unlink()
    _make_signed(bundle, model / "bundle")
    _make_sets(sets)
    points = [path.name for path in (begun / "checkpoints").iterdir() if path.name != "state.json"]
    resume = ("training.fit", "--resume")
    of_run = tuple(line.split("  ")[1] for line in (run / "DONE").read_text().splitlines())
    of_bundle = tuple(path.name for path in model.joinpath("bundle").iterdir())
    return [
        Target("records.jsonl, by verify", hot, ("out/records.jsonl",), verified),
        Target("records.jsonl, at start", hot, ("out/records.jsonl",), found_at_start),
        Target("duplicates.jsonl, by verify", hot, ("out/duplicates.jsonl",), verified),
        Target("duplicates.jsonl, at start", hot, ("out/duplicates.jsonl",), found_at_start),
        Target("records.jsonl.end, by verify", hot, ("out/records.jsonl.end",), verified),
        Target("in_hand.json, not believed", hot, ("out/in_hand.json",), hand_not_believed),
        Target("ids of IN and OUT", hot, (f"in/{LOCK}", f"out/{LOCK}"), not_paired),
        Target("training state", begun, ("checkpoints/state.json",), refused(resumed), resume),
        Target("checkpoint weights", begun, tuple(f"checkpoints/{name}" for name in points), refused(resumed), resume),
        Target("configuration and split", begun, ("config.json", "split.npz"), refused(resumed), resume),
        Target("a finished run's model.keras", run, ("model.keras",), refused(finished)),
        Target("its other files", run, (*of_run, "DONE"), refused(finished)),
        Target("bundle", model / "bundle", of_bundle, refused(loaded), ("edge.station", "selftest", "--bundle")),
        Target("signature", bundle, ("bundle/bundle.json.sig",), refused(signed)),
        Target("wafer set, npz", sets, ("set.npz",), same_set("set.npz")),
        Target("wafer set, Parquet", sets, ("set.parquet",), same_set("set.parquet")),
    ]


SMALL_RUN = ["--model", "baseline", "--width", "8", "--input-size", "32", "--builtin-per-class", "16"]
SMALL_RUN += ["--epochs", "2", "--batch-size", "36"]


def _make_hot_folder(hot: Path, bundle: Path) -> None:
    """Let a station judge, and leave it as if it had been killed over a file."""
    from edge.station.hot_folder.claim import LOCK
    from edge.station.hot_folder.in_hand import InHand
    from wafer_tf.synthesis import synthesize

    wafers = synthesize(WAFERS // 9 + 1, seed=0).wafers
    (hot / "in").mkdir(parents=True)
    for number in range(WAFERS + DUPLICATES):
        np.save(hot / "in" / f"w{number:03d}.npy", wafers.map(number % WAFERS))
    watch = ("watch", str(hot / "in"), "--out", str(hot / "out"), "--bundle", str(bundle), "--once", "--settle", "0")
    _call("edge.station", *watch)
    shutil.rmtree(hot / "in" / "done")
    shutil.copyfile(hot / "out" / LOCK, hot / "id")
    hand = InHand(hot / "out" / "in_hand.json")
    hand.open()
    hand.take("w1.npy", (1, 2))


def _make_signed(folder: Path, bundle: Path) -> None:
    from cryptography.hazmat.primitives import serialization as form
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    shutil.copytree(bundle, folder / "bundle")
    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption())
    (folder / "key.pem").write_bytes(private)
    public = key.public_key().public_bytes(form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo)
    (folder / "key.pub.pem").write_bytes(public)
    _call("edge.signing", "sign", str(folder / "bundle"), "--key", str(folder / "key.pem"))


def _make_sets(folder: Path) -> None:
    from wafer_tf.readers import write_parquet
    from wafer_tf.synthesis import synthesize

    folder.mkdir()
    wafers = synthesize(20, seed=1).wafers
    write_parquet(wafers, folder / "set.parquet")
    names = ("flat", "offsets", "shapes", "lot", "wafer_index", "label", "official_split")
    columns = {name: getattr(wafers, name) for name in names if name != "label"}
    np.savez_compressed(folder / "set.npz", allow_pickle=False, **columns)
    for name in ("set.parquet", "set.npz"):
        shutil.copyfile(folder / name, folder / f"whole.{name}")


def _call(module: str, *words: str) -> None:
    subprocess.run([sys.executable, "-m", module, *words], check=True, capture_output=True)


# === Trials ===


def tried(target: Target, folder: Path, count: int) -> Iterator[dict[str, object]]:
    """Damage a copy of a target in every way; give a row for each."""
    for damage, change in DAMAGE.items():
        rng = np.random.default_rng(0)
        shutil.copytree(target.folder, folder)
        sizes = np.array([(folder / name).stat().st_size for name in target.files], float)
        results: list[bool | None] = []
        by_command = ""
        for name, some in zip(target.files, _shares(sizes, count, even=change is flipped), strict=True):
            content = (folder / name).read_bytes()
            for changed in change(content, rng, some):
                (folder / name).write_bytes(changed)
                if target.command and not results:
                    by_command = _by_command([*target.command, str(folder)])
                with redirect_stderr(io.StringIO()):
                    results.append(target.read(folder))
                if len(results) % 50 == 0 or target.folder.name == "hot":  # readers of a hot folder mend what they find
                    _put_back(target.folder, folder)
            (folder / name).write_bytes(content)
        shutil.rmtree(folder)
        if results:
            row = {"what": target.what, "damage": damage, "tried": len(results), "found": results.count(True)}
            row |= {"harmless": results.count(None), "unnoticed": results.count(False)}
            yield row | ({"by_command": by_command} if by_command else {})


def _shares(sizes: "np.ndarray[tuple[int], np.dtype[np.float64]]", count: int, *, even: bool) -> list[int]:
    """Return how often to damage each file: by its size, each at least 20 times and `count` times in all."""
    if not even or len(sizes) == 1:
        return [count] * len(sizes)
    least = min(20, count // len(sizes))
    shares = least + np.floor(sizes / sizes.sum() * (count - least * len(sizes))).astype(int)
    shares[int(sizes.argmax())] += count - int(shares.sum())
    return [int(share) for share in shares]


def _put_back(whole: Path, folder: Path) -> None:
    """Make a folder what it was."""
    for path in [*folder.rglob("*")]:
        if path.is_file() and not (whole / path.relative_to(folder)).exists():
            path.unlink()
    for path in [*whole.rglob("*")]:
        there = folder / path.relative_to(whole)
        if path.is_file() and not (there.exists() and cmp(path, there, shallow=False)):
            shutil.copyfile(path, there)


def _by_command(words: list[str]) -> str:
    run = subprocess.run([sys.executable, "-m", *words], capture_output=True, check=False, text=True)
    return f"exit {run.returncode}" + (", with a traceback" if "Traceback" in run.stderr else "")


def main() -> None:
    p = CommandParser("python -m benchmarks.flipped_bits", __doc__)
    p.add_argument("--model", type=Path, default=Path("models/nano"), help="whose bundle (default: %(default)s)")
    p.add_argument("--count", type=int, default=1000)
    p.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".json"))
    args = p.parse_args()
    os.fsync = lambda fd: None  # some thousand times, on whatever disk; nothing here has to outlive the machine
    with tempfile.TemporaryDirectory() as temporary:
        rows = []
        for target in make(Path(temporary), args.model.resolve()):
            for row in tried(target, Path(temporary) / "damaged", args.count):
                print(row, file=sys.stderr)
                rows.append(row)
    result = {
        "date": str(date.today()),
        "machine": f"{processor()}, {os.cpu_count()} cores",
        "versions": {"python": platform.python_version()}
        | {name: version(name) for name in ("numpy", "pyarrow", "keras", "tensorflow", "cryptography")},
        "rows": rows,
    }
    args.out.write_text(json.dumps(result, indent=1) + "\n")
    unnoticed = [row for row in rows if row["unnoticed"]]
    sys.exit(f"unnoticed: {unnoticed}" if unnoticed else 0)


if __name__ == "__main__":
    main()
