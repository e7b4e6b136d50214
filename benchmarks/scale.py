"""100 million wafers on paper: `python -m benchmarks.scale MAPS`.

What one wafer costs a worker of Spark is measured on some real maps, by processor time. What else is needed comes from
the records of other benchmarks. The rest is multiplication.
"""

import json
import tempfile
import time
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from edge.station.classifier import Classifier
from edge.station.records import to_line
from wafer_tf.bundle import load_bundle
from wafer_tf.command import CommandParser
from wafer_tf.dies import NONE, grid_sha256
from wafer_tf.inference.proven import ProvenModel
from wafer_tf.readers import read, write_parquet
from wafer_tf.released import NAMES, bundle_folder
from wafer_tf.scoring.mix import NATURAL
from wafer_tf.spark import MAP, records

HERE = Path(__file__).parent
WAFERS = 100_000_000
LSWMD_ROWS = 811_457
TASKS = 128 << 20, 8 << 20
"""Bytes that Spark gives to a task: its default, and what is advised."""
BATCH = 1000


def main() -> None:
    """Measure, multiply, and write benchmarks/scale.json."""
    parser = CommandParser("python -m benchmarks.scale", __doc__)
    parser.add_argument("maps", type=Path)
    parser.add_argument("--sample", type=int, default=2000, help="maps to measure on")
    parser.add_argument("--out", type=Path, default=HERE / "scale.json")
    args = parser.parse_args()
    wafers = read(args.maps)
    rng = np.random.default_rng(0)
    wafers = wafers.select(np.sort(rng.choice(len(wafers), min(args.sample, len(wafers)), replace=False)))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "set.parquet"
        write_parquet(wafers, path)
        parquet = path.stat().st_size
        table = pq.read_table(path).combine_chunks()
        models = {name: measured(name, table, Path(folder) / f"{name}.parquet") for name in NAMES}
    bytes_each = {"in Parquet": parquet / len(wafers), "to the worker": table.nbytes / len(wafers)}
    lswmd, judged = (recorded(name) for name in ("benchmarks/lswmd.json", "experiments/out_of_fold.json"))
    slow, quick = (
        recorded(f"benchmarks/{name}.json")["models"]["LiteRT int8"] for name in ("edge_without_vnni", "edge")
    )
    wrong = {run["run"]: wrong_calls(run["natural_mix"]) for run in judged}
    found = {
        "date": str(date.today()),
        "command": f"python -m benchmarks.scale {args.maps.name} --sample {len(wafers)}",
        "cells_a_map": len(wafers.flat) / len(wafers),
        "bytes_a_wafer": bytes_each,
        "GB": {name: each * WAFERS / 1e9 for name, each in bytes_each.items()}
        | {"as LSWMD.pkl": lswmd["file_bytes"] / LSWMD_ROWS * WAFERS / 1e9},
        "to_parquet_core_hours": lswmd["conversion"]["cpu_seconds"] / LSWMD_ROWS * WAFERS / 3600,
        "times_without_vnni": slow["median_ms"] / quick["median_ms"],
        "models": {
            name: cost | on_paper(cost, bytes_each["in Parquet"]) | {"wrong_calls": wrong[name]}
            for name, cost in models.items()
        },
    }
    more_hours = found["models"]["wafer"]["core_hours"] - found["models"]["nano"]["core_hours"]
    fewer = wrong["nano"]["million_escapes"] - wrong["wafer"]["million_escapes"]
    found["wafer_for_nano"] = {
        "million_escapes_fewer": fewer,
        "core_seconds_an_escape": more_hours * 3600 / fewer / 1e6,
    }
    args.out.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(found, indent=2))


def measured(name: str, table: pa.Table, out: Path) -> dict[str, Any]:
    """Return what a released model costs, per process and per wafer."""
    folder = bundle_folder(name)
    started = time.process_time()
    model = ProvenModel(load_bundle(folder))
    start = time.process_time() - started
    batches = table.select([*MAP, "lot", "wafer_index"]).to_batches(max_chunksize=BATCH)
    records(batches[0].slice(0, 50), model, review_below=0.5)
    started = time.process_time()
    judged = [pa.table(records(batch, model, review_below=0.5)) for batch in batches]
    seconds = time.process_time() - started
    calls = pa.concat_tables(judged)
    pq.write_table(calls, out)
    return {
        "ms_a_wafer": seconds * 1e3 / len(calls),
        "start_s": start,
        "bundle_kB": sum(path.stat().st_size for path in folder.iterdir()) / 1e3,
        "bytes_a_record": {
            "as JSON lines": json_bytes(model, table),
            "from the worker": calls.nbytes / len(calls),
            "in Parquet": out.stat().st_size / len(calls),
        },
    }


def json_bytes(model: ProvenModel, table: pa.Table) -> float:
    """Return the bytes of a station's record, of the first wafers."""
    station = Classifier(model.bundle)
    grids = [
        np.frombuffer(row["dies"], np.uint8).reshape(row["rows"], row["cols"]) for row in table.slice(0, 50).to_pylist()
    ]
    lines = [
        to_line(station.answer("LOT12345/25", grid, input_sha256=grid_sha256(grid), started=time.perf_counter()))
        for grid in grids
    ]
    return float(np.mean([len(line) for line in lines]))


def on_paper(cost: dict[str, Any], bytes_a_wafer: float) -> dict[str, Any]:
    """Return what follows for all wafers, and for one task that is lost."""
    hours = cost["ms_a_wafer"] * WAFERS / 3.6e6
    tasks = {f"{size >> 20} MiB": size / bytes_a_wafer for size in TASKS}
    return {
        "core_hours": hours,
        "hours_on_2_cores": hours / 2,
        "minutes_on_64_cores": hours / 64 * 60,
        "GB": {name: each * WAFERS / 1e9 for name, each in cost["bytes_a_record"].items()},
        "a_task": {
            size: {"wafers": wafers, "tasks": WAFERS / wafers, "seconds": wafers * cost["ms_a_wafer"] / 1e3}
            for size, wafers in tasks.items()
        },
    }


def wrong_calls(scores: dict[str, Any]) -> dict[str, float]:
    """Return how many of all wafers are called wrong, at WM-811K's own mix and the rates of a scored run."""
    none = float(NATURAL.array[NONE])
    return {
        "million_false_alarms": none * scores["false_alarms"]["value"] * WAFERS / 1e6,
        "million_escapes": (1 - none) * scores["escapes"]["value"] * WAFERS / 1e6,
    }


def recorded(path: str) -> Any:
    """Return what another benchmark or experiment found."""
    return json.loads((HERE.parent / path).read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
