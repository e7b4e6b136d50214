"""Judge the wafers of a Spark DataFrame; with the extra [spark].

Spark alone cuts the work, hands it out, tries again and writes. Here is what a worker does with one batch. On each
worker this package, pyarrow, numpy and ai-edge-litert are installed; the bundle comes to it by broadcast.
"""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import numpy as np
from numpy.typing import NDArray

from wafer_tf.bundle import MANIFEST, SEAL, load_bundle
from wafer_tf.bundle_files import read_file
from wafer_tf.command import says_what_to_install
from wafer_tf.decision import verdict
from wafer_tf.decision.points import Point
from wafer_tf.decision.unknown import UNKNOWN_ABOVE
from wafer_tf.dies import CLASSES, check_map
from wafer_tf.errors import InputError, ModelError
from wafer_tf.inference.proven import ProvenModel
from wafer_tf.pattern_bits import JOINED_BY
from wafer_tf.readers.source import check_shapes
from wafer_tf.released import DEFAULT, bundle_folder

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.broadcast import Broadcast
    from pyspark.sql import DataFrame, SparkSession

MAP = {"dies": ("binary",), "rows": ("int", "smallint", "bigint"), "cols": ("int", "smallint", "bigint")}
"""Columns that a map is read from, and the types that they may have."""
TEXTS = ("lot", "wafer_id", "product", "step", "time")
SAID = (*TEXTS, "wafer_index", "file", "row")
"""Columns that are used where they are there."""
COLUMNS = {
    **dict.fromkeys(("id", "lot", "wafer", "product", "step", "time", "label"), "string"),
    "probability": "double",
    "decision": "string",
    **dict.fromkeys(CLASSES, "double"),
    **dict.fromkeys(("reason", "file"), "string"),
    "map": "int",
    "format": "string",
    "unknown_score": "double",
    "patterns": "string",
}
"""Columns of the records and their types; the same as of a station's Parquet file."""
MAX_WORD, PLACES, SCORE_PLACES = 200, 6, 4
"""Characters of a text, decimals of a probability and of an unknown score, as in a station's record."""
DEFAULT_POINT = Point()
REJECTED = "rejected"


@says_what_to_install()
def read(spark: "SparkSession", *paths: str) -> "DataFrame":
    """Return wafer sets in Parquet as a DataFrame that knows of each wafer which file it is from.

    Args:
        spark: the session.
        paths: files or folders, wherever Spark can read.

    Returns:
        The columns of a wafer set, and `file` and `row` (from 0), by which `classify` names wafers without a lot.
    """
    from pyspark.sql.functions import col

    source = col("_metadata.file_path").alias("file"), col("_metadata.row_index").alias("row")
    return spark.read.parquet(*paths).select("*", *source)


@says_what_to_install()
def classify(
    df: "DataFrame",
    model: str | os.PathLike[str] = DEFAULT,
    *,
    keep: Sequence[str] = (),
    point: Point = DEFAULT_POINT,
    unknown_above: float = UNKNOWN_ABOVE,
    allow_slow: bool = False,
    allow_ungated: bool = False,
    require_signature: str | os.PathLike[str] | None = None,
    min_version: int = 0,
) -> "DataFrame":
    """Call every wafer of a DataFrame by its pattern, on the workers of its Spark session.

    Args:
        df: a row per wafer, with the columns of a wafer set in Parquet: `dies` (binary, a byte per cell, row by row, 0
            no die, 1 pass, 2 fail), `rows` and `cols` (whole numbers). Used where they are there: `lot`, `wafer_index`,
            `wafer_id`, `product`, `step`, `time`, and `file` and `row` of `read`.
        model: a released model by name, or the folder of a bundle, seen from here.
        keep: further columns of `df` that go along unchanged, in front.
        point: by which wafers are called and decided, such as `load_bundle(...).points["few-escapes"]`.
        unknown_above: unknown score above which the decision is "unknown".
        allow_slow: let workers run the model without the XNNPACK delegate that the gate had.
        allow_ungated: accept a bundle that did not pass the gate, see `load_bundle`.
        require_signature: file of a public key by which the bundle must be signed.
        min_version: the lowest release to accept.

    Returns:
        A record per wafer, the columns of COLUMNS. Of equal wafers they are, bit for bit, what a station's records are.
        A map that is none is a record too: `decision` is "rejected", `reason` says why. `id` is LOT/WAFER, or FILE:ROW
        where lot or wafer is not known; null where `df` has no `file` and `row` either. As always with Spark nothing
        is judged before the result is asked for, and rows may come in another order.

    Raises:
        InputError: a column is missing or of another type.
        ModelError: the bundle is refused here. A worker that refuses it fails its task with the same words.
        UsageError: `require_signature` is no key that signs bundles, or cryptography is not installed.
        ModuleNotFoundError: pyspark is not installed.

    Example:
        calls = wafer_tf.spark.classify(wafer_tf.spark.read(spark, "s3a://lake/sets"), "nano")
        calls.write.parquet("s3a://lake/calls")
    """
    _check_columns(df, keep)
    folder = bundle_folder(model)
    accepted = {"require_signature": require_signature, "min_version": min_version}
    bundle = load_bundle(folder, allow_ungated=allow_ungated, **accepted)  # type: ignore[arg-type]
    names = (MANIFEST, SEAL, *json.loads(read_file(folder, MANIFEST))["files"])
    files = df.sparkSession.sparkContext.broadcast({name: read_file(folder, name) for name in names})
    kinds = dict(df.dtypes)
    schema = ", ".join(f"`{name}` {kind}" for name, kind in [*((name, kinds[name]) for name in keep), *COLUMNS.items()])
    judge = partial(
        _judge,
        files=files,
        sha256=bundle.sha256,
        keep=tuple(keep),
        point=point,
        unknown_above=unknown_above,
        allow_slow=allow_slow,
    )
    wanted = dict.fromkeys((*keep, *MAP, *(name for name in SAID if name in df.columns)))
    return df.select(*(f"`{name}`" for name in wanted)).mapInArrow(judge, schema)


def _check_columns(df: "DataFrame", keep: Sequence[str]) -> None:
    kinds = dict(df.dtypes)
    for name, wanted in MAP.items():
        if kinds.get(name) not in wanted:
            raise InputError(
                f"DataFrame: column {name} is {kinds.get(name, 'missing')}; expected {' or '.join(wanted)}. It has "
                f"{', '.join(df.columns)}. wafer-tf to-parquet makes sets that have it."
            )
    for name in keep:
        if name not in kinds or name in COLUMNS:
            why = "is a column of the records too" if name in COLUMNS else f"is not among {', '.join(df.columns)}"
            raise InputError(f"DataFrame: column {name}, to be kept, {why}; rename it or leave it out.")


# === On a worker ===

_models: dict[tuple[str, bool], ProvenModel] = {}
"""The model of this process, by its bundle's SHA-256: Spark keeps the process from task to task."""


def _model(files: "Mapping[str, bytes]", sha256: str, allow_slow: bool) -> ProvenModel:
    """Return the model of a bundle, checked and proven when this process first meets it."""
    if (sha256, allow_slow) not in _models:
        with TemporaryDirectory(prefix="wafer_tf_bundle_") as folder:
            for name, content in files.items():
                (Path(folder) / name).write_bytes(content)
            bundle = load_bundle(folder, allow_ungated=True)  # whether to accept it was settled where the job began
        if bundle.sha256 != sha256:
            raise ModelError(f"bundle {sha256[:12]}: {bundle.sha256[:12]} came instead; it was replaced meanwhile.")
        _models.clear()
        _models[sha256, allow_slow] = ProvenModel(bundle, allow_slow=allow_slow)
    return _models[sha256, allow_slow]


def _judge(
    batches: "Iterator[pa.RecordBatch]",
    *,
    files: "Broadcast[dict[str, bytes]]",
    sha256: str,
    keep: tuple[str, ...],
    point: Point,
    unknown_above: float,
    allow_slow: bool,
) -> "Iterator[pa.RecordBatch]":
    """Give the records of batches; what `mapInArrow` calls."""
    import pyarrow as pa

    for batch in batches:
        model = _model(files.value, sha256, allow_slow)
        columns = {name: batch.column(name) for name in keep} | records(
            batch, model, point=point, unknown_above=unknown_above
        )
        yield pa.RecordBatch.from_pydict(columns)


def records(
    batch: "pa.RecordBatch", model: ProvenModel, *, point: Point = DEFAULT_POINT, unknown_above: float = UNKNOWN_ABOVE
) -> "dict[str, pa.Array]":
    """Return the records of n wafers by column, those of COLUMNS.

    Args:
        batch: n rows with the columns of `classify`.
        model: to judge them.
        point, unknown_above: see `classify`.
    """
    import pyarrow as pa

    known = _known(batch)
    maps = zip(known["id"].to_pylist(), *(batch.column(name).to_pylist() for name in MAP), strict=True)
    judged = [_judged(model, *found, point=point, unknown_above=unknown_above) for found in maps]
    kinds = {"string": pa.string(), "double": pa.float64(), "int": pa.int32()}
    return {
        name: known[name] if name in known else pa.array([row.get(name) for row in judged], kinds[kind])
        for name, kind in COLUMNS.items()
    }


def _judged(
    model: ProvenModel,
    name: str | None,
    dies: bytes | None,
    rows: int | None,
    cols: int | None,
    *,
    point: Point,
    unknown_above: float,
) -> dict[str, Any]:
    """Return what is found out about one wafer: a part of its record."""
    try:
        prob, score, logits = model.judgement(_grid(name or "map", dies, rows, cols))
    except InputError as error:
        return {"decision": REJECTED, "reason": str(error)}
    shown = {label: round(value, PLACES) for label, value in zip(CLASSES, prob.tolist(), strict=True)}
    moved = point.moved(prob).tolist()
    called = moved.index(max(moved))
    label, patterns = CLASSES[called], model.bundle.patterns
    several = None if patterns is None or logits is None else JOINED_BY.join(patterns.names(logits, called))
    decision = verdict(moved, score, review_below=point.review_below, unknown_above=unknown_above)
    known = {"label": label, "probability": shown[label], "decision": decision, **shown}
    return known | {
        "unknown_score": None if score is None else round(score, SCORE_PLACES),
        "patterns": several,
    }


def _grid(where: str, dies: bytes | None, rows: int | None, cols: int | None) -> NDArray[np.uint8]:
    if dies is None or rows is None or cols is None:
        raise InputError(f"{where}: no dies, rows or cols; expected a map.")
    check_shapes(np.array([[rows, cols]], np.int64), where)
    if len(dies) != rows * cols:
        raise InputError(f"{where}: {len(dies)} bytes of dies for {rows} rows x {cols} columns; expected one per cell.")
    return check_map(np.frombuffer(dies, np.uint8).reshape(rows, cols), where)


def _known(batch: "pa.RecordBatch") -> "dict[str, pa.Array]":
    """Return what is known of wafers before they are judged: a part of their records."""
    import pyarrow as pa
    import pyarrow.compute as pc

    def column(name: str, kind: Any) -> Any:
        return batch.column(name).cast(kind) if name in batch.schema.names else pa.nulls(len(batch), kind)

    texts = {name: column(name, pa.string()) for name in TEXTS}
    texts = {name: pc.if_else(pc.equal(text, ""), None, text) for name, text in texts.items()}
    texts = {name: pc.utf8_slice_codeunits(text, 0, MAX_WORD) for name, text in texts.items()}
    index, row = column("wafer_index", pa.int64()), column("row", pa.int64())
    number = pc.if_else(pc.equal(index, 0), None, index).cast(pa.string())
    texts["wafer"] = pc.coalesce(texts.pop("wafer_id"), number)
    file = pc.dictionary_encode(column("file", pa.string()))
    file = pa.array([_path(name) for name in file.dictionary.to_pylist()], pa.string()).take(file.indices)
    unnamed = pc.binary_join_element_wise(file, row.cast(pa.string()), ":")
    return {
        "id": pc.coalesce(pc.binary_join_element_wise(texts["lot"], texts["wafer"], "/"), unnamed),
        **texts,
        "file": file,
        "map": pc.add(row, 1).cast(pa.int32()),
        "format": pa.nulls(len(batch), pa.string()),
    }


def _path(uri: str) -> str:
    """Return the path of a local file that Spark names by its URI; any other name as it is.

    Example:
        >>> _path("file:/lake/a%20b.parquet"), _path("s3a://lake/sets/a.parquet")
        ('/lake/a b.parquet', 's3a://lake/sets/a.parquet')
    """
    parts = urlsplit(uri)
    return unquote(parts.path) if parts.scheme == "file" else uri
