"""Records as columns: the bytes of JSON lines, and the rows of Parquet."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from edge.sets import columns
from edge.sets.columns import HASH, arrow_bytes, columns_of, json_lines, write_json_lines, write_parquet
from edge.station.answers import COLUMNS, parquet_file
from edge.station.inputs import wafer_name
from edge.station.records import MAX_WORD, NOTHING_SAID, Record, answered, to_line
from wafer_tf.bundle import load_bundle
from wafer_tf.decision.points import Point
from wafer_tf.inference.calls import calls_of
from wafer_tf.inference.many import map_hashes
from wafer_tf.released import bundle_folder
from wafer_tf.waferset import WaferSet

BUNDLE = load_bundle(bundle_folder("nano"))
FILE = 'a "set" \\ of ö.parquet'
LOTS = ["", "L1", 'L"2\\', "Ω" * (MAX_WORD + 3), "L1", "a\nb", "", "\U0001f600", "L/8"]
IDS = ["", "", "W 2", "w" * (MAX_WORD + 1), "\t", "5", "6", "", ""]
INDEX = [0, 1, 2, 3, 0, 5, 6, 0, 8]


def a_set(n: int = len(LOTS)) -> WaferSet:
    rng = np.random.default_rng(n)
    return WaferSet.from_maps(
        [rng.integers(1, 3, (3 + i % 4, 5), dtype=np.uint8) for i in range(n)],
        label=np.full(n, -1),
        lot=[LOTS[i % len(LOTS)] for i in range(n)],
        wafer_index=[INDEX[i % len(INDEX)] for i in range(n)],
        wafer_id=[IDS[i % len(IDS)] for i in range(n)],
        product=["P" if i % 2 else "" for i in range(n)],
        time=["2026-11-27T10:00:00" if i % 3 else "" for i in range(n)],
    )


def made(wafers: WaferSet, *, first: int, hashes: bool = True) -> dict[str, Any]:
    stored = np.random.default_rng(0).integers(-128, 128, (len(wafers), 9)).astype(BUNDLE.output.dtype)
    answers = np.empty(len(stored), [("logits", stored.dtype, 9), ("unknown_score", np.float64)])
    answers["logits"], answers["unknown_score"] = stored, np.nan
    calls = calls_of(BUNDLE, answers, point=Point())
    return columns_of(wafers, calls, map_hashes(wafers) if hashes else None, file=FILE, first=first)


def records(wafers: WaferSet, *, first: int) -> list[Record]:
    """Return what a station would say of each wafer, by the functions that it says it with."""
    stored = np.random.default_rng(0).integers(-128, 128, (len(wafers), 9)).astype(BUNDLE.output.dtype)
    found = []
    for i, wafer in enumerate(wafers):
        texts = {"lot": wafer.lot, "wafer": wafer.wafer, "product": wafer.product, "step": "", "time": wafer.time}
        said = {key: text[:MAX_WORD] or None for key, text in texts.items()}
        found.append(
            answered(
                wafer_name(wafer.lot, wafer.wafer, f"{FILE}:{first + i}"),
                BUNDLE.decision.probabilities(BUNDLE.output.dequantize(stored[i])),
                input_sha256=map_hashes(wafers)[i].hex(),
                bundle_sha256=BUNDLE.sha256,
                ms=0.25,
                said={**NOTHING_SAID, **said, "file": FILE, "map": first + i + 1},
            )
        )
    return found


def test_json_lines_have_the_bytes_of_the_records() -> None:
    wafers = a_set()
    lines = json_lines(made(wafers, first=70), bundle_sha256=BUNDLE.sha256, ms=0.25)
    assert lines.decode("ascii").splitlines(True) == [to_line(record) for record in records(wafers, first=70)]


def test_half_a_surrogate_pair_in_a_name_is_spelled_out() -> None:
    wafers = WaferSet.from_maps([np.ones((3, 3), np.uint8)], label=[-1], lot=["L\ud800"], wafer_index=[1])
    (line,) = json_lines(made(wafers, first=0), bundle_sha256="", ms=0).splitlines()
    assert json.loads(line)["id"] == "L\\ud800/1"


@pytest.mark.parametrize("hashes", [False, True])
def test_parquet_has_the_rows_that_a_station_writes(tmp_path: Path, hashes: bool) -> None:
    wafers = a_set()
    (tmp_path / "0").write_bytes(arrow_bytes(made(wafers[:4], first=0, hashes=hashes)))
    (tmp_path / "1").write_bytes(arrow_bytes(made(wafers[4:], first=4, hashes=hashes)))
    decisions = write_parquet([tmp_path / "0", tmp_path / "1"], tmp_path / "ours", metadata={b"of": b"these"})
    ours = pq.read_table(tmp_path / "ours")
    assert ours.schema.metadata == {b"of": b"these"}
    assert decisions.total() == len(wafers)
    assert decisions == {name: ours["decision"].to_pylist().count(name) for name in decisions}
    assert ours.column_names == [*COLUMNS, *([HASH] if hashes else [])]
    expected = [*records(wafers[:4], first=0), *records(wafers[4:], first=4)]
    with parquet_file(tmp_path / "station") as write:
        for record in expected:
            write(record)
    assert ours.select(COLUMNS).cast(pq.read_schema(tmp_path / "station")).to_pylist() == (
        pq.read_table(tmp_path / "station").to_pylist()
    )
    assert ours.schema.remove_metadata().equals(
        pa.schema([*pq.read_schema(tmp_path / "station"), *([pa.field(HASH, pa.string())] if hashes else [])])
    )
    if hashes:
        assert ours[HASH].to_pylist() == [record[HASH] for record in expected]


def test_parts_are_joined_in_order_in_groups_of_many_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wafers, parts = a_set(), []
    for number in range(5):
        parts.append(tmp_path / str(number))
        parts[-1].write_bytes(arrow_bytes(made(wafers, first=number * len(wafers))))
    monkeypatch.setattr(columns, "GROUP_ROWS", 2 * len(wafers) - 1)
    write_parquet(parts, tmp_path / "out", metadata={})
    found = pq.ParquetFile(tmp_path / "out")
    assert [found.metadata.row_group(k).num_rows for k in range(3)] == [18, 18, 9]
    assert found.read()["map"].to_pylist() == [*range(1, 5 * len(wafers) + 1)]


def test_decisions_are_counted_whatever_the_names_are(tmp_path: Path) -> None:
    wafers = WaferSet.from_maps([np.ones((3, 3), np.uint8)], label=[-1], lot=['"decision": "none"'], wafer_index=[1])
    (tmp_path / "0").write_bytes(json_lines(made(wafers, first=0), bundle_sha256="", ms=0))
    assert write_json_lines([tmp_path / "0"] * 3, tmp_path / "out").total() == 3
    assert (tmp_path / "out").read_bytes() == 3 * (tmp_path / "0").read_bytes()
