"""Compare a run's models on this machine, one thread: int8, float and dynamic-range .tflite, and ONNX Runtime.

ONNX Runtime gets the same float graph, as it is and as int8 by its own quantizer. The models take turns on the same
maps, so that other load meets all alike: read the ratios before the milliseconds. Needs requirements-dev.txt.
"""

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from wafer_tf.command import CommandParser
from wafer_tf.command import run as run_command
from wafer_tf.errors import UsageError
from wafer_tf.released import run_folder

if TYPE_CHECKING:
    import keras

    from edge.quantization.calibration import Calibration

BLOCK = 20
EXAMPLE = """example:
  python -m edge.benchmark runs/20261122-101500-resnet16 --json benchmarks/edge.json

exit codes: 0 done, 2 usage, 3 bad model or run folder, 4 bad input"""

Infer = Callable[[NDArray[np.uint8]], NDArray[Any]]
"""Encoded planes of one map, (size, size, 3) uint8, to its nine logits as the model gives them."""


def parser() -> argparse.ArgumentParser:
    """Return the command's arguments."""
    p = CommandParser("python -m edge.benchmark", __doc__, epilog=EXAMPLE)
    p.add_argument(
        "run", type=run_folder, metavar="RUN", help="a finished run folder, or a released model: wafer, nano"
    )
    p.add_argument("--maps", type=int, default=1000, metavar="N", help="maps timed for each model (default: 1000)")
    p.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    return p


def main(argv: list[str] | None = None) -> int:
    """Run the command and return its exit code."""
    args = parser().parse_args(argv)
    return run_command(lambda: benchmark(args.run, maps=args.maps, out=args.json))


def benchmark(path: str | os.PathLike[str], *, maps: int, out: str | os.PathLike[str] | None) -> None:
    """Time every model on the run's test part and print the table."""
    path = Path(path)
    out = None if out is None else Path(out)
    if maps < BLOCK:
        raise UsageError(f"--maps {maps}; expected at least {BLOCK}.")
    from wafer_tf.learning.quiet import quiet_tensorflow

    quiet_tensorflow()

    from importlib.metadata import version

    from edge.quantization.calibration import choose
    from edge.quantization.quantize import quantizer
    from edge.quantization.recipes import DEFAULT_MAPS, RECIPES, Attempt
    from edge.station.speed import processor
    from training.job import load_config, load_data
    from wafer_tf.encoding import encode
    from wafer_tf.learning.models import in_float32
    from wafer_tf.learning.run_folder import RunFolder
    from wafer_tf.splitting.splits import Split

    run = RunFolder.open(path)
    wafers = load_data(load_config(run))
    split = Split.load(path / "split.npz", wafers)
    model = in_float32(run.model())
    size = int(model.input_shape[1])
    test = wafers.select(split.test)
    planes = [encode(test.map(i), size) for i in range(min(maps, len(test)))]
    calibration = choose(wafers.select(split.train), DEFAULT_MAPS, seed=0, size=size)
    _say(f"converting {path}")
    with quantizer(model) as files:
        contents = {
            "int8": files.integer(Attempt(RECIPES["int8"], DEFAULT_MAPS), calibration),
            "float32": files.float32,
            "dynamic_int8": files.dynamic_int8,
        }
    rows: dict[str, tuple[int, Infer]] = {}
    for name, content in contents.items():
        rows[f"LiteRT {name}"] = len(content), _litert(content)
    with tempfile.TemporaryDirectory(prefix="wafer_tf-") as folder:
        for name, file in onnx_files(model, calibration, Path(folder)).items():
            rows[f"ONNX Runtime {name}"] = file.stat().st_size, onnxruntime_infer(file)
    calls, spent = _in_turn({name: infer for name, (_, infer) in rows.items()}, planes, maps)

    base = float(np.median(spent["LiteRT int8"]))
    figures = {
        name: {
            "bytes": nbytes,
            "median_ms": round(float(np.median(spent[name])), 4),
            "p99_ms": round(float(np.percentile(spent[name], 99)), 4),
            "times_int8": round(float(np.median(spent[name])) / base, 2),
            "agreement_with_float": round(float((calls[name] == calls["LiteRT float32"]).mean()), 4),
        }
        for name, (nbytes, _) in rows.items()
    }
    print(f"{'':<22}{'kB':>8}{'ms median':>12}{'ms p99':>9}{'x int8':>8}{'agreement':>11}")
    for name, row in figures.items():
        print(
            f"{name:<22}{row['bytes'] / 1000:>8,.0f}{row['median_ms']:>12.3f}{row['p99_ms']:>9.3f}"
            f"{row['times_int8']:>8.2f}{row['agreement_with_float']:>11.2%}"
        )
    packages = ("tensorflow", "ai-edge-litert", "onnxruntime", "tf2onnx", "numpy")
    machine = {"processor": processor(), "versions": {name: version(name) for name in packages}}
    print(
        f"{maps} maps each, in turns of {BLOCK}, one thread; agreement with the float .tflite; {machine['processor']}"
    )
    if out:
        out.write_text(json.dumps({"maps": maps, "models": figures, **machine}, indent=2) + "\n", encoding="utf-8")


def _in_turn(
    models: dict[str, Infer], planes: list[NDArray[np.uint8]], maps: int
) -> tuple[dict[str, NDArray[np.int64]], dict[str, list[float]]]:
    """Return each model's calls and its milliseconds per map; every turn begins with an untimed map."""
    calls: dict[str, list[int]] = {name: [] for name in models}
    spent: dict[str, list[float]] = {name: [] for name in models}
    for start in range(0, maps, BLOCK):
        turn = [planes[i % len(planes)] for i in range(start, min(start + BLOCK, maps))]
        for name, infer in models.items():
            infer(turn[0])
            for encoded in turn:
                started = perf_counter()
                logits = infer(encoded)
                spent[name].append((perf_counter() - started) * 1e3)
                calls[name].append(int(logits.argmax()))
    return {name: np.array(called) for name, called in calls.items()}, spent


def _litert(content: bytes) -> Infer:
    from wafer_tf.inference.interpreter import TfliteModel

    return TfliteModel(content, threads=1).run


def onnxruntime_infer(file: Path) -> Infer:
    """Return what runs an ONNX model on the planes of one map, on one thread."""
    import onnxruntime

    from wafer_tf.encoding import to_float

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name

    def infer(planes: NDArray[np.uint8]) -> NDArray[Any]:
        logits: NDArray[Any] = session.run(None, {name: to_float(planes)[None]})[0][0]
        return logits

    return infer


def onnx_files(model: "keras.Model", calibration: "Calibration", folder: Path) -> dict[str, Path]:
    """Export the float graph to ONNX, and quantize it: int8, per channel, on the same calibration maps."""
    import logging
    import warnings

    import keras
    from onnxruntime.quantization import (
        CalibrationDataReader,
        QuantFormat,
        QuantType,
        quant_pre_process,
        quantize_static,
    )

    class Maps(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime is untyped
        def __init__(self) -> None:
            self._left: Iterator[NDArray[np.float32]] = calibration.inputs()

        def get_next(self) -> dict[str, NDArray[np.float32]] | None:
            given = next(self._left, None)
            return None if given is None else {"map": given}

    raw, plain, quantized = (folder / f"{name}.onnx" for name in ("raw", "float32", "int8"))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=FutureWarning)  # tf2onnx asks numpy for np.object
        signature = [keras.InputSpec(shape=(1, *model.input_shape[1:]), dtype="float32", name="map")]
        model.export(raw, format="onnx", verbose=False, input_signature=signature)
        logging.getLogger().setLevel(logging.ERROR)  # its quantizer advises what is done here
        quant_pre_process(raw, plain, skip_symbolic_shape=True)
        quantize_static(
            plain,
            quantized,
            Maps(),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            weight_type=QuantType.QInt8,
            activation_type=QuantType.QUInt8,
        )
    return {"float32": plain, "int8": quantized}


def _say(text: str) -> None:
    print(text, file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
