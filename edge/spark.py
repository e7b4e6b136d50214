"""`classify-set --engine spark`: judge sets in Parquet on a Spark cluster, wherever it reads and writes."""

import argparse
import os
import sys
import time
from typing import TYPE_CHECKING

from edge.station.flags import load
from wafer_tf.errors import InputError, UsageError

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

MASTER = "local[*]"
"""All cores of this machine."""


def classify(args: argparse.Namespace) -> None:
    """Judge every wafer of the sets and let Spark write the records, a folder of Parquet files.

    Raises:
        ModelError: the bundle is refused.
        InputError: Spark cannot read the sets or write the records, or its job failed.
        UsageError: a flag that is of no use with Spark; Spark does not start.
    """
    if args.overwrite or args.processes:
        raise UsageError(
            "--overwrite and --processes go without --engine spark: Spark takes the cores of --master, and a folder "
            "that is there is not replaced; remove it or name another (--out)."
        )
    from py4j.protocol import Py4JError
    from pyspark.errors import PySparkException

    from wafer_tf import spark as on_spark

    classifier = load(args)  # refuses here, before anything is started
    spark = _session(args.master or MASTER)
    started = time.perf_counter()
    try:
        calls = on_spark.classify(
            on_spark.read(spark, str(args.set)),
            args.bundle,
            point=classifier.point,
            unknown_above=classifier.unknown_above,
            allow_slow=args.allow_slow,
            allow_ungated=args.allow_ungated,
            require_signature=args.require_signature,
            min_version=args.min_version,
        )
        calls.write.parquet(str(args.out))
        counts = spark.read.parquet(str(args.out)).groupBy("decision").count().orderBy("decision").collect()
    except (PySparkException, Py4JError) as error:
        raise InputError(f"{args.set}: {_words(error)}") from error
    finally:
        spark.stop()
    seconds, total = time.perf_counter() - started, sum(count for _, count in counts)
    found = ", ".join(f"{count} {decision}" for decision, count in counts)
    print(
        f"{total} wafers: {found}\n{seconds:.1f} s, {total / seconds:.0f} wafers/s\nwrote {args.out}", file=sys.stderr
    )


def _session(master: str) -> "SparkSession":
    from pyspark.errors import PySparkException
    from pyspark.sql import SparkSession

    if master.startswith("local"):  # its workers are of this machine, and shall be of this environment
        os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    builder = SparkSession.builder.appName("wafer-tf classify-set").master(master)
    builder = builder.config("spark.executorEnv.OPENBLAS_NUM_THREADS", "1")  # a process per core
    try:
        return builder.getOrCreate()
    except PySparkException as error:
        raise UsageError(f"Spark did not start: {_words(error)} It needs Java 17 or later.") from error


def _words(error: Exception) -> str:
    """Return what a fault of Spark comes down to: our own error in a worker's traceback, else the first line."""
    text = str(error.java_exception.getMessage()) if hasattr(error, "java_exception") else str(error)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    ours = [line for line in lines if line.startswith("wafer_tf.errors.")]
    return ours[-1].partition(": ")[2] if ours else lines[0]
