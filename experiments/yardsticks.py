"""The released models beside others on the same split: scores, size, speed and training time, in one table.

    python -m experiments.yardsticks --data MAPS --runs FOLDER [--jobs 2]

Trains what is missing under FOLDER, one core each, and quantizes it without a gate; models/wafer and models/nano are
taken as they are. Writes yardsticks.json. The test part is read for this table alone.
"""

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from experiments import SPLIT, commit
from experiments.before_after import CNN, ROOT, fit
from experiments.forest import forest_logits
from experiments.side_by_side import command
from wafer_tf.command import CommandParser

PUBLISHED = [
    "--width",
    "64",
    "--stem",
    "imagenet",
    "--turn-prob",
    "0",
    "--stretch-prob",
    "0",
    "--die-noise",
    "0",
    "--clean-wafers",
    "0",
]
TRAINED = {
    "baseline CNN, our augmentation": [*CNN, "--backbone-weights", "none"],
    "plain ResNet18, balanced weights": [
        *PUBLISHED,
        "--class-weights",
        "balanced",
        "--epochs",
        "16",
        "--backbone-weights",
        "none",
    ],
}
RELEASED = {"released ResNet18": ROOT / "models" / "wafer", "nano": ROOT / "models" / "nano"}


def quantized(run: Path) -> bytes:
    """Return the int8 model of a run, made where there is none."""
    bundle = run / "bundle"
    if not bundle.exists():
        call = [sys.executable, "-m", "edge.convert", "--int8", str(run), "--no-gate", "--no-remedies"]
        subprocess.run(call, check=True, stdout=subprocess.DEVNULL)
    return (bundle / "model_int8.tflite").read_bytes()


def main() -> None:
    p = CommandParser("python -m experiments.yardsticks", __doc__)
    p.add_argument("--data", required=True)
    p.add_argument("--runs", type=Path, required=True, help="where the run folders go")
    p.add_argument("--jobs", type=int, default=2, help="trainings at once, one core each")
    p.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".json"))
    args = p.parse_args()
    from time import monotonic

    from edge.gate.time_per_map import measure
    from edge.station.speed import processor
    from wafer_tf.decision import Decision
    from wafer_tf.encoding import encode
    from wafer_tf.inference.interpreter import TfliteModel
    from wafer_tf.learning.run_folder import RunFolder
    from wafer_tf.readers import read
    from wafer_tf.scoring.scores import score
    from wafer_tf.splitting.splits import Split
    from wafer_tf.waferset import WaferSet

    args.runs.mkdir(parents=True, exist_ok=True)
    runs = {name: args.runs / name.split(",")[0].replace(" ", "-") for name in TRAINED}
    with ThreadPoolExecutor(args.jobs) as pool:
        list(pool.map(lambda name: fit(["--data", args.data, *SPLIT, *TRAINED[name]], runs[name]), TRAINED))
    runs |= RELEASED
    wafers = read(args.data)
    split = Split.load(RELEASED["released ResNet18"] / "split.npz", wafers)
    parts = {"validation": split.validation, "test": split.test}

    def macro_f1(part: str, logits: NDArray[np.floating[Any]], decision: Decision) -> list[float]:
        at = parts[part]
        found = score(wafers.label[at], decision.probabilities(logits), group=split.group[at]).macro_f1
        return [round(v, 4) for v in (found.value, found.low, found.high)]

    def int8_logits(model: TfliteModel, maps: WaferSet) -> NDArray[np.floating[Any]]:
        return np.stack([model.run(encode(maps.map(i), model.input_size)) for i in range(len(maps))])

    began = monotonic()
    chosen = [wafers.select(at) for at in parts.values()]
    answers = zip(parts, forest_logits(wafers.select(split.train), *chosen), strict=True)
    rows: list[dict[str, Any]] = [
        {
            "model": "random forest on 28 hand-made features",
            **{part: macro_f1(part, logits, Decision()) for part, logits in answers},
            "training_seconds": round(monotonic() - began),
        }
    ]
    files = {name: quantized(run) for name, run in runs.items()}
    latency = measure(files, chosen[1])
    for name, path in runs.items():
        if not np.array_equal(Split.load(path / "split.npz", wafers).part, split.part):
            raise SystemExit(f"{path}: another split than that of models/wafer")
        run = RunFolder.open(path)
        facts = json.loads((path / "report.json").read_text())["facts"]
        quick = TfliteModel(files[name])
        row: dict[str, Any] = {"model": name, "command": command(facts)}
        for part, maps in zip(parts, chosen, strict=True):
            row[part] = macro_f1(part, run.read_array("logits.npz", part), run.decision())
            row[f"{part}_int8"] = macro_f1(part, int8_logits(quick, maps), run.decision())
        row |= {"parameters": facts["parameters"], "training_seconds": facts["seconds"]}
        rows.append(row | {"int8_bytes": len(files[name]), "int8_ms": latency[name].median_ms})
    args.out.write_text(json.dumps({"processor": processor(), "commit": commit(), "rows": rows}, indent=1) + "\n")
    columns = ("validation", "test", "test_int8")
    print("| model | validation | test | test, int8 | parameters | int8 kB | int8 ms | training minutes |")
    print("| --- " * 8 + "|")
    for row in rows:
        spans = [f"{row[c][0]:.3f} [{row[c][1]:.3f}, {row[c][2]:.3f}]" if c in row else "-" for c in columns]
        size = (
            [f"{row['parameters']:,}", f"{row['int8_bytes'] / 1000:,.0f}", f"{row['int8_ms']:.3f}"]
            if "int8_ms" in row
            else ["-"] * 3
        )
        print("| " + " | ".join([row["model"], *spans, *size, f"{row['training_seconds'] / 60:.0f}"]) + " |")


if __name__ == "__main__":
    main()
