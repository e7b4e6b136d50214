"""wafer_tf.spark and `classify-set --engine spark`: the same answers as one machine's, whatever is killed."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from edge.classify import main
from edge.station.answers import COLUMNS as STATION_COLUMNS
from edge.station.answers import row
from tests.station import ROOT, bare_environment
from wafer_tf import spark as on_spark
from wafer_tf.bundle import load_bundle
from wafer_tf.errors import InputError, ModelError
from wafer_tf.inference.proven import ProvenModel
from wafer_tf.readers.parquet import write_batches
from wafer_tf.released import bundle_folder
from wafer_tf.synthesis import synthesize
from wafer_tf.waferset import WaferSet

CLUSTER = "local-cluster[2,1,2048]"
SMALL = {  # several tasks, and several batches of each
    "spark.sql.files.maxPartitionBytes": "4096",
    "spark.sql.files.openCostInBytes": "1",
    "spark.sql.execution.arrow.maxRecordsPerBatch": "4",
}
QUICK = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
pytestmark = pytest.mark.filterwarnings("ignore:PySpark does not yet fully support pandas:FutureWarning")


@pytest.fixture(scope="module")
def wafers() -> WaferSet:
    """Synthetic wafers, of which every third has no lot and every fourth a name of its own."""
    made = synthesize(4, seed=2).wafers
    n = len(made)
    return WaferSet.from_maps(
        [made.map(i) for i in range(n)],
        label=made.label,
        lot=[f"L{i}" if i % 3 else "" for i in range(n)],
        wafer_index=np.arange(n),
        wafer_id=["" if i % 4 else f"W{i}" for i in range(n)],
        product=["P" * 240] * n,
    )


@pytest.fixture(scope="module")
def path(wafers: WaferSet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wafers in a file of six row groups, whose name Spark writes otherwise."""
    path = tmp_path_factory.mktemp("with space") / "a set.parquet"
    write_batches((wafers.select(np.arange(first, first + 6)) for first in range(0, len(wafers), 6)), path)
    return path


@pytest.fixture(scope="module")
def expected(path: Path) -> list[tuple[Any, ...]]:
    """What one machine says of them."""
    out = path.with_name("records.jsonl")
    words = [str(path), "--bundle", "nano", "--processes", "1", "--out", str(out)]
    subprocess.run([sys.executable, "-m", "edge.classify", *words], cwd=ROOT, env=bare_environment(), check=True)
    return [tuple(row(json.loads(line))) for line in out.read_text().splitlines()]


@pytest.fixture(scope="module")
def model() -> ProvenModel:
    """The released model."""
    return ProvenModel(load_bundle(bundle_folder("nano")))


@pytest.fixture(scope="module")
def on() -> Iterator[Callable[[str], Any]]:
    """Give what returns a session on a master; all live in one JVM."""
    if shutil.which("java") is None:
        pytest.skip("no Java on this machine: Spark is not tried")
    sql = pytest.importorskip("pyspark.sql", reason="pyspark is not installed ([spark]): Spark is not tried")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYSPARK_PYTHON", sys.executable)
        patch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]))

        def session(master: str) -> Any:
            active = sql.SparkSession.getActiveSession()
            if active is not None and active.sparkContext.master != master:
                active.stop()
            builder = sql.SparkSession.builder.master(master)
            for name, value in SMALL.items():
                builder = builder.config(name, value)
            builder = builder.config("spark.ui.enabled", "false").config("spark.driver.extraJavaOptions", QUICK)
            return builder.config("spark.executor.extraJavaOptions", QUICK).getOrCreate()

        yield session
        active = sql.SparkSession.getActiveSession()
        if active is not None:
            active.stop()


def rows_of(folder: Path) -> list[tuple[Any, ...]]:
    """Return the rows of a folder of Parquet, sorted by the map they are of."""
    found = [tuple(row.values()) for row in pq.read_table(folder).to_pylist()]
    return sorted(found, key=lambda row: row[list(on_spark.COLUMNS).index("map")])


def test_the_columns_are_those_of_a_stations_parquet() -> None:
    assert tuple(on_spark.COLUMNS) == STATION_COLUMNS


@pytest.mark.parametrize("master", ["local[2]", CLUSTER])
def test_the_answers_are_one_machines_to_the_bit(
    master: str, on: Callable[[str], Any], path: Path, expected: list[tuple[Any, ...]], tmp_path: Path
) -> None:
    sets = on_spark.read(on(master), str(path))
    assert sets.rdd.getNumPartitions() > 1
    on_spark.classify(sets, "nano").write.parquet(str(tmp_path / "calls"))
    assert rows_of(tmp_path / "calls") == expected


@pytest.mark.parametrize("victim", ["worker", "executor"])
def test_a_killed_worker_costs_no_row_and_doubles_none(
    victim: str, on: Callable[[str], Any], path: Path, expected: list[tuple[Any, ...]], tmp_path: Path
) -> None:
    once = str(tmp_path / "once")

    def kill_after_a_batch(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            yield batch
            try:
                Path(once).touch(exist_ok=False)
            except FileExistsError:
                continue
            daemon = Path(f"/proc/{os.getppid()}")  # parent of all workers of an executor
            executor = (daemon / "stat").read_text().rpartition(")")[2].split()[1]
            workers = (daemon / "task" / daemon.name / "children").read_text().split()
            for pid in [executor] if victim == "executor" else sorted(workers, key=str(os.getpid()).__eq__):
                os.kill(int(pid), signal.SIGKILL)

    sets = on_spark.read(on(CLUSTER), str(path))
    schema = ", ".join(f"{name} {kind}" for name, kind in sets.dtypes)
    calls = on_spark.classify(sets.mapInArrow(kill_after_a_batch, schema), "nano")
    calls.write.parquet(str(tmp_path / "calls"))
    assert Path(once).exists()
    assert rows_of(tmp_path / "calls") == expected


def test_the_command_writes_a_folder_and_replaces_none(
    on: Callable[[str], Any],
    path: Path,
    expected: list[tuple[Any, ...]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    on("local[2]")
    words = [str(path), "--bundle", "nano", "--engine", "spark", "--master", "local[2]"]
    assert main([*words, "--out", str(tmp_path / "calls")]) == 0
    assert f"{len(expected)} wafers: " in capsys.readouterr().err
    assert rows_of(tmp_path / "calls") == expected
    on("local[2]")
    assert main([*words, "--out", str(tmp_path / "calls")]) == 4
    assert "already exists" in capsys.readouterr().err
    on("local[2]")
    assert main([__file__, *words[1:], "--out", str(tmp_path / "none")]) == 4
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith(f"error: {__file__}: [FAILED_READ_FILE"), error


def test_what_a_dataframe_must_have_is_said(on: Callable[[str], Any]) -> None:
    table = on("local[2]").createDataFrame([(3, 3, b"\1" * 9, "x")], "rows int, cols int, map binary, lot string")
    with pytest.raises(InputError, match="column dies is missing; expected binary"):
        on_spark.classify(table, "nano")
    table = table.withColumnRenamed("map", "dies")
    with pytest.raises(InputError, match="column lot, to be kept, is a column of the records too"):
        on_spark.classify(table, "nano", keep=["lot"])
    assert on_spark.classify(table, "nano", keep=["rows"]).columns == ["rows", *on_spark.COLUMNS]


@pytest.mark.parametrize("flags", [["--overwrite"], ["--processes", "2"]])
def test_flags_of_one_machine_are_refused_with_spark(
    flags: list[str], path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(path), "--engine", "spark", *flags, "--out", str(tmp_path / "calls")]) == 2
    assert "go without --engine spark" in capsys.readouterr().err


def test_a_place_elsewhere_and_a_master_need_spark(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["s3a://lake/sets", "--out", str(tmp_path / "calls")]) == 2
    assert "s3a://lake/sets: is no path of this machine" in capsys.readouterr().err
    assert main([__file__, "--master", "local[2]", "--out", str(tmp_path / "calls")]) == 2
    assert "--master goes with --engine spark" in capsys.readouterr().err


# === What a worker does, without Spark ===


def test_a_map_that_is_none_is_a_record_and_the_others_are_judged(model: ProvenModel) -> None:
    good = np.pad(np.full((24, 24), 2, np.uint8), 1).tobytes()
    maps = [good, None, good[:-1], b"\7" * len(good), bytes(len(good)), good, good]
    sides = [26, 26, 26, 26, 26, -1, None]
    batch = pa.RecordBatch.from_pydict({"dies": maps, "rows": pa.array(sides, pa.int32()), "cols": [26] * 7})
    found = pa.table(on_spark.records(batch, model, unknown_above=1.0)).to_pylist()
    assert [record["decision"] for record in found] == ["defect", *["rejected"] * 6]
    assert found[0]["label"] == "Near-full"
    assert found[0]["reason"] is None
    for record, why in zip(found[1:], ["no dies", "675 bytes", "die state 7", "no die", "-1", "no dies"], strict=True):
        assert why in record["reason"]
        assert record["label"] is record["probability"] is record["none"] is record["id"] is None


def test_a_model_is_loaded_once_and_a_changed_bundle_is_refused(model: ProvenModel) -> None:
    files = {path.name: path.read_bytes() for path in bundle_folder("nano").iterdir()}
    sha256 = model.bundle.sha256
    assert on_spark._model(files, sha256, False) is on_spark._model(files, sha256, False)
    on_spark._models.clear()
    with pytest.raises(ModelError, match="came instead"):
        on_spark._model(files, "0" * 64, False)
    files["model_int8.tflite"] = files["model_int8.tflite"][:-1] + b"x"
    with pytest.raises(ModelError, match="is not the file that was gated"):
        on_spark._model(files, sha256, False)
    assert not on_spark._models
