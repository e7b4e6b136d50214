"""What judging a whole set costs: stage by stage, by the command, and after kills.

    python -m benchmarks.whole_set                     # stages, and the command with one process and with two
    python -m benchmarks.whole_set --onnx              # and ONNX Runtime on the same maps
    python -m benchmarks.whole_set SET --kills 20      # and kills at random moments, each gone on from
    python -m benchmarks.whole_set --rows 811457       # of a look-alike of LSWMD.pkl of this size

Stages are timed twice on the same maps in the same process, in turns: one map at a time, as a station does and
classify-set did before, and by columns, as it does now. Processor time is counted, not time, so that other work on the
machine weighs less; still, read the ratios. No map is spared by being equal to another (`--no-cache`).

Writes benchmarks/whole_set.json.
"""

import datetime
import json
import os
import pickle
import platform
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np

from benchmarks.lswmd import make
from edge.sets.columns import arrow_bytes, columns_of, write_parquet
from edge.sets.judging import CHUNK, HEAP
from edge.station.classifier import Classifier
from edge.station.records import NOTHING_SAID, answered, to_line
from wafer_tf.bundle import load_bundle
from wafer_tf.command import CommandParser
from wafer_tf.dies import grid_sha256
from wafer_tf.encoding import encode, encode_many
from wafer_tf.inference.calls import calls_of
from wafer_tf.inference.many import _alike
from wafer_tf.inference.proven import unknown_scores
from wafer_tf.readers import open_source, read
from wafer_tf.readers import write_parquet as write_set
from wafer_tf.released import bundle_folder
from wafer_tf.waferset import WaferSet

ROOT = Path(__file__).resolve().parents[1]
MAPS = ROOT.parent / "shared" / "data" / "wm811k" / "wm811k_full_dev.npz"
ALONE = 256
"""Maps of each chunk that are also judged one at a time."""


class Stages:
    """Processor seconds a map, by stage, of one chunk after another."""

    def __init__(self) -> None:
        self.seconds: dict[str, list[float]] = {}

    @contextmanager
    def chunk(self, maps: int) -> "Iterator[Any]":
        """Give what times a stage of a chunk of so many maps, as often as it is called."""
        found: dict[str, float] = {}

        @contextmanager
        def stage(name: str) -> Iterator[None]:
            started = time.process_time()
            yield
            found[name] = found.get(name, 0.0) + time.process_time() - started

        yield stage
        for name, seconds in found.items():
            self.seconds.setdefault(name, []).append(seconds / maps)

    def to_json(self) -> dict[str, Any]:
        """Return the medians in microseconds, their sum, and how many times inference that is."""
        stages = {name: round(float(np.median(each)) * 1e6, 2) for name, each in self.seconds.items()}
        path = sum(stages.values())
        return {"us_a_map": stages, "path": round(path, 2), "times_inference": round(path / stages["infer"], 3)}


def one_at_a_time(classifier: Classifier, wafers: WaferSet, stages: Stages) -> None:
    """Judge maps as a station does, and as classify-set did."""
    with stages.chunk(len(wafers)) as stage:
        with stage("decode"):
            grids, known = [wafers.map(i) for i in range(len(wafers))], [wafers[i] for i in range(len(wafers))]
        with stage("hash"):
            hashes = [grid_sha256(grid) for grid in grids]
        with stage("encode"):
            fed = [classifier.tflite.feed(encode(grid, classifier.bundle.input_size)) for grid in grids]
        with stage("infer"):
            stored = [classifier.tflite.infer(one) for one in fed]
        with stage("decide"):
            records = [
                answered(
                    wafer.name,
                    classifier.bundle.decision.probabilities(classifier.bundle.output.dequantize(one)),
                    input_sha256=sha256,
                    bundle_sha256=classifier.bundle.sha256,
                    ms=0.0,
                    said=NOTHING_SAID,
                )
                for wafer, one, sha256 in zip(known, stored, hashes, strict=True)
            ]
        with stage("write"):
            "".join(map(to_line, records))


def by_columns(classifier: Classifier, wafers: WaferSet, first: int, part: Path, stages: Stages) -> None:
    """Judge a chunk as edge.classify does, in its own order."""
    model = classifier.tflite
    with stages.chunk(len(wafers)) as stage:
        with stage("hand over"):
            wafers = pickle.loads(pickle.dumps(wafers, pickle.HIGHEST_PROTOCOL))  # noqa: S301
        answers = np.empty(len(wafers), [("logits", np.int8, 9), ("unknown_score", np.float64)])
        features = np.empty((len(wafers), model.feature_count), np.int8)
        groups = _alike(wafers, np.arange(len(wafers)))
        while True:
            with stage("decode"):
                places, grids = next(groups, ([], None))
            if grids is None:
                break
            with stage("encode"):
                fed = model.feed(encode_many(grids, model.input_size))
            with stage("infer"):
                for place, one in zip(places, fed, strict=True):
                    answers["logits"][place] = model.infer(one)
                    features[place] = model.pooled()
            with stage("unknown score"):
                bundle = classifier.bundle
                prob = bundle.decision.probabilities(bundle.output.dequantize(answers["logits"][places]))
                real = bundle.features.dequantize(features[places]).astype(np.float32)
                answers["unknown_score"][places] = unknown_scores(bundle.unknown, real, grids, prob)
        with stage("decide"):
            calls = calls_of(classifier.bundle, answers, point=classifier.point)
        with stage("write"):
            part.write_bytes(arrow_bytes(columns_of(wafers, calls, None, file="set", first=first)))


def by_onnx(sessions: dict[str, Any], size: int, wafers: WaferSet, seconds: dict[str, list[float]]) -> None:
    """Time the inference of other models of ONNX Runtime on the same maps, one after another."""
    planes = [encode(wafers.map(i), size) for i in range(len(wafers))]
    for name, infer in sessions.items():
        infer(planes[0])
        started = time.process_time()
        for one in planes:
            infer(one)
        seconds.setdefault(name, []).append((time.process_time() - started) / len(planes))


def onnx_sessions(bundle: str, wafers: WaferSet, folder: Path) -> dict[str, Any]:
    """Export a released model to ONNX, float and int8, as edge.benchmark does; the branch for unknown is not in it."""
    from edge.benchmark import onnx_files, onnxruntime_infer
    from edge.quantization.calibration import choose
    from edge.quantization.recipes import DEFAULT_MAPS
    from wafer_tf.learning.models import in_float32
    from wafer_tf.learning.run_folder import RunFolder
    from wafer_tf.released import released

    model = in_float32(RunFolder.open(released(bundle)).model())
    calibration = choose(wafers, DEFAULT_MAPS, seed=0, size=int(model.input_shape[1]))
    return {name: onnxruntime_infer(file) for name, file in onnx_files(model, calibration, folder).items()}


def stages_of(bundle: str, path: Path, maps: int, folder: Path, *, onnx: bool) -> dict[str, Any]:
    """Time the stages on the first maps of a Parquet set."""
    classifier = Classifier(load_bundle(bundle_folder(bundle)))
    before, now, parts = Stages(), Stages(), []
    others: dict[str, list[float]] = {}
    sessions = onnx_sessions(bundle, read(path)[:maps], folder) if onnx else {}
    with open_source(path) as source:
        batches, row = iter(source.batches()), 0
        while row < maps:
            started = time.process_time()
            batch = next(batches, None)
            if batch is None:
                break
            reading = (time.process_time() - started) / len(batch)
            for first in range(0, len(batch), CHUNK):
                wafers = batch[first : first + CHUNK]
                for stages in (before, now):
                    stages.seconds.setdefault("read", []).append(reading)
                one_at_a_time(classifier, wafers[:ALONE], before)
                by_onnx(sessions, classifier.bundle.input_size, wafers[:ALONE], others)
                parts.append(folder / f"{len(parts)}.part")
                by_columns(classifier, wafers, row, parts[-1], now)
                row += len(wafers)
    started = time.process_time()
    write_parquet(parts, folder / "calls.parquet", metadata={})
    now.seconds["join"] = [(time.process_time() - started) / row]
    found = {"maps": row, "one_at_a_time": before.to_json(), "by_columns": now.to_json()}
    medians = {name: round(float(np.median(each)) * 1e6, 2) for name, each in others.items()}
    return found | ({"onnxruntime_us_a_map": medians} if onnx else {})


def command(path: Path, bundle: str, way: list[str], out: Path) -> dict[str, Any]:
    """Run the command and return seconds, processor seconds, and the most memory that its processes have together."""
    words = [sys.executable, "-m", "edge.classify", str(path), "--bundle", bundle, *way]
    started, most = time.perf_counter(), 0
    cpu = os.times()
    running = subprocess.Popen([*words, "--out", str(out)], cwd=ROOT, stderr=subprocess.DEVNULL)
    while running.poll() is None:
        most = max(most, sum(map(_resident, _family(running.pid))))
        time.sleep(0.1)
    spent = os.times()
    if running.returncode:
        raise SystemExit(f"{' '.join(words)} failed with status {running.returncode}")
    seconds = time.perf_counter() - started
    used = spent.children_user + spent.children_system - cpu.children_user - cpu.children_system
    shutil.rmtree(out) if out.is_dir() else out.unlink()
    found = {"flags": " ".join(way), "seconds": round(seconds, 2), "peak_resident_mb": round(most / 1e6)}
    return found if "spark" in way else found | {"cpu_seconds": round(used, 2)}  # Java waits for none of its processes


def killed(path: Path, bundle: str, kills: int, folder: Path) -> dict[str, Any]:
    """Kill the command at random moments, start it again each time, and hold the file against an uninterrupted one."""
    words = [sys.executable, "-m", "edge.classify", str(path), "--bundle", bundle, "--out"]
    started = time.perf_counter()
    subprocess.run([*words, str(folder / "whole.parquet")], cwd=ROOT, check=True, stderr=subprocess.DEVNULL)
    whole, rng = time.perf_counter() - started, random.Random(0)
    out, same, ended, done = folder / "out.parquet", 0, 1, 0
    while done < kills:
        running = subprocess.Popen([*words, str(out)], cwd=ROOT, stderr=subprocess.DEVNULL)
        try:
            running.wait(rng.uniform(0.1, 1.1) * whole)
        except subprocess.TimeoutExpired:
            running.send_signal(signal.SIGKILL)
            running.wait()
            done += 1
            continue
        ended += 1
        same += out.read_bytes() == (folder / "whole.parquet").read_bytes()
        out.unlink()
    subprocess.run([*words, str(out)], cwd=ROOT, check=True, stderr=subprocess.DEVNULL)
    same += out.read_bytes() == (folder / "whole.parquet").read_bytes()
    left = [path.name for path in folder.glob("*.partial")]
    return {"kills": done, "files": ended, "files_with_the_same_bytes": same, "left_behind": left}


def _family(pid: int) -> list[int]:
    """Return a process and all that come from it."""
    try:
        tasks = [task / "children" for task in Path(f"/proc/{pid}/task").iterdir()]
        children = [int(word) for task in tasks for word in task.read_text().split()]
    except OSError:
        return [pid]
    return [pid, *(one for child in children for one in _family(child))]


def _resident(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


def main() -> None:
    """Run the benchmark and write its result."""
    parser = CommandParser("python -m benchmarks.whole_set", __doc__)
    parser.add_argument("set", type=Path, nargs="?", default=MAPS)
    parser.add_argument("--rows", type=int, default=0, help="of a look-alike of LSWMD.pkl, made and converted first")
    parser.add_argument("--bundle", default="nano")
    parser.add_argument("--maps", type=int, default=16384, help="for the stages; 0 leaves them out")
    parser.add_argument("--onnx", action="store_true", help="time ONNX Runtime on the same maps beside the stages")
    parser.add_argument("--processes", type=int, nargs="*", default=[1, 2], help="of the command")
    parser.add_argument("--spark", action="store_true", help="run the command on a local Spark of all cores, too")
    parser.add_argument("--kills", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".json"))
    args = parser.parse_args()
    if any(name not in os.environ for name in HEAP):  # as edge.classify starts its own processes
        os.environ.update({name: str(limit) for name, limit in HEAP.items()})
        os.execv(sys.executable, [sys.executable, "-m", "benchmarks.whole_set", *sys.argv[1:]])
    result: dict[str, Any] = {
        "date": datetime.datetime.now(tz=datetime.UTC).date().isoformat(),
        "machine": _machine(),
        "bundle": args.bundle,
    }
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = folder / "set.parquet"
        if args.rows:
            make(folder / "LSWMD.pkl", args.rows)
            started = time.perf_counter()
            words = [sys.executable, "-m", "wafer_tf.readers", str(folder / "LSWMD.pkl"), str(path)]
            subprocess.run(words, cwd=ROOT, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            result["to_parquet_seconds"] = round(time.perf_counter() - started, 2)
        else:
            write_set(read(args.set), path)
        with open_source(path) as source:
            result["wafers"] = source.rows
        if args.maps:
            result["stages"] = stages_of(args.bundle, path, args.maps, folder, onnx=args.onnx)
        ways = [["--processes", str(n), "--no-cache"] for n in args.processes]
        if args.spark:
            ways.append(["--engine", "spark", "--master", f"local[{os.cpu_count()}]"])
        result["command"] = [command(path, args.bundle, way, folder / "calls.parquet") for way in ways]
        if args.kills:
            result["killed"] = killed(path, args.bundle, args.kills, folder)
    args.out.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


def _machine() -> dict[str, Any]:
    cpuinfo = Path("/proc/cpuinfo").read_text()
    return {
        "cpu": next((line.split(":")[1].strip() for line in cpuinfo.splitlines() if "model name" in line), ""),
        "avx512_vnni": "avx512_vnni" in cpuinfo,
        "cores": os.cpu_count(),
        "load_average_at_start": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        **{name: version(name) for name in ("numpy", "pyarrow", "ai-edge-litert")},
    }


if __name__ == "__main__":
    main()
