"""A proven model whose answers are records."""

import dataclasses
import hashlib
from typing import Any

import numpy as np
import pytest

from edge.station import classifier as module
from edge.station.classifier import Classifier
from edge.station.records import KEYS, MAX_REASON, NOTHING_SAID, answered, from_line, rejected, to_line
from tests.station import npy, synthetic, wafer_set
from wafer_tf.bundle import load_bundle
from wafer_tf.decision.points import Point
from wafer_tf.decision.sets import Sets
from wafer_tf.dies import CLASSES, grid_sha256
from wafer_tf.inference.proven import ProvenModel
from wafer_tf.released import released

GRID = synthetic(1)[0]


@pytest.fixture(scope="module")
def nano() -> Classifier:
    return Classifier(load_bundle(released("nano") / "bundle"))


def test_threads_and_slowness_are_the_proven_models(nano: Classifier, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(ProvenModel, "__init__", lambda self, bundle, **options: asked.append((bundle, options)))
    Classifier(nano.bundle)
    Classifier(nano.bundle, threads=3, allow_slow=True)
    assert asked == [
        (nano.bundle, {"threads": 1, "allow_slow": False}),
        (nano.bundle, {"threads": 3, "allow_slow": True}),
    ]


def test_below_the_given_probability_a_person_looks(nano: Classifier) -> None:
    top = max(nano.judge(npy(GRID), "w")[0]["probabilities"].values())
    assert 0.5 < top < 1
    for below, decision in ((None, "defect"), (1.0, "review"), (0.0, "defect")):
        given = {} if below is None else {"point": Point(review_below=below)}
        (record,) = Classifier(nano.bundle, unknown_above=1.0, **given).judge(npy(GRID), "w")
        assert record["decision"] == decision


def test_a_shifted_point_calls_otherwise_and_leaves_probabilities_and_set_as_they_are() -> None:
    about: dict[str, Any] = {"input_sha256": None, "bundle_sha256": "b", "ms": 0.0}
    probabilities = np.array([0.3, 0, 0, 0, 0, 0, 0, 0, 0.7])
    sets = Sets(0.9, (0.2,) * 9)
    plain, sharp = (answered("w", probabilities, sets=sets, point=p, **about) for p in (Point(), Point(0.5, -2.0)))
    assert (plain["label"], plain["decision"]) == ("none", "none")
    assert (sharp["label"], sharp["decision"]) == ("Center", "defect")
    assert sharp["probabilities"] == plain["probabilities"]
    assert sharp["set"] == plain["set"] == ["none", "Center"]
    unsure = answered("w", probabilities, point=Point(0.8, -2.0), **about)
    assert (unsure["label"], unsure["decision"]) == ("Center", "review"), "0.3 / (0.3 + 0.7 * exp(-2)) is 0.76"


def test_a_bundle_with_sets_gives_each_record_one(nano: Classifier) -> None:
    bundle = dataclasses.replace(nano.bundle, sets=Sets(0.9, (0.0,) * 4 + (None,) * 5))
    (record,) = Classifier(bundle).judge(npy(GRID), "w")
    assert set(record["set"]) == {*CLASSES[:4], record["label"]}
    order = sorted(record["set"], key=record["probabilities"].get, reverse=True)
    assert record["set"] == order, "the likeliest first"
    assert nano.judge(npy(GRID), "w")[0]["set"] is None or nano.bundle.sets is not None


def test_every_map_of_a_file_is_a_record_under_its_id_and_hash(
    nano: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticks = iter(range(100))
    monkeypatch.setattr(module, "perf_counter", lambda: next(ticks) * 0.25)
    data = wafer_set([GRID, GRID * 3, GRID[::-1]], lot=np.array(["L1", "L1", ""]))
    first, bad, last = nano.judge(data, "file")
    assert [record["id"] for record in (first, bad, last)] == ["L1/1", "L1/2", "file:2"]
    assert [record["ms"] for record in (first, bad, last)] == [250.0] * 3, "each from the end of the one before"
    assert (first["input_sha256"], last["input_sha256"]) == (grid_sha256(GRID), grid_sha256(GRID[::-1]))
    assert bad["input_sha256"] is None
    assert "die state" in bad["reason"]
    assert {record["bundle_sha256"] for record in (first, bad, last)} == {nano.bundle.sha256}
    (alone,) = nano.judge(npy(GRID), "file")
    assert (alone["id"], alone["input_sha256"]) == ("file", hashlib.sha256(npy(GRID)).hexdigest())
    assert alone["probabilities"] == first["probabilities"]
    (none,) = nano.judge(b"no map", "file")
    assert (none["id"], none["input_sha256"]) == ("file", hashlib.sha256(b"no map").hexdigest())


def test_what_cannot_be_read_took_no_time_and_has_no_hash(nano: Classifier) -> None:
    assert nano.reject("w", "away") == rejected("w", "away", input_sha256=None, bundle_sha256=nano.bundle.sha256, ms=0)


# === Records ===


def test_a_record_is_this() -> None:
    probabilities = np.array([0.1234567, 0.6, 0.05, 0.05, 0.05, 0.05, 0.05, 0.0265433, 0.0])
    about: dict[str, Any] = {"input_sha256": "a", "bundle_sha256": "b", "ms": 1.23456}
    record = answered("w", probabilities, **about)
    assert list(record) == list(KEYS)
    assert record == {
        "id": "w",
        "input_sha256": "a",
        "bundle_sha256": "b",
        "status": "ok",
        "label": "Donut",
        "probabilities": dict(zip(CLASSES, [0.123457, 0.6, 0.05, 0.05, 0.05, 0.05, 0.05, 0.026543, 0.0], strict=True)),
        "decision": "defect",
        "ms": 1.235,
        "reason": None,
        **NOTHING_SAID,
        "unknown_score": None,
        "set": None,
        "patterns": None,
    }
    assert answered("w", probabilities, point=Point(review_below=0.61), **about)["decision"] == "review"
    record = rejected("w", "no map", **about)
    assert list(record) == list(KEYS)
    assert record == {
        "id": "w",
        "input_sha256": "a",
        "bundle_sha256": "b",
        "status": "rejected",
        "label": None,
        "probabilities": None,
        "decision": "rejected",
        "ms": 1.235,
        "reason": "no map",
        **NOTHING_SAID,
        "unknown_score": None,
        "set": None,
        "patterns": None,
    }
    assert rejected("w", "no map", input_sha256=None, bundle_sha256="b")["ms"] == 0.0


@pytest.mark.parametrize("length", [499, 500, 501, 5000])
def test_a_long_reason_is_cut_and_shows_it(length: int) -> None:
    assert MAX_REASON == 500
    found = rejected("w", "x" * length, input_sha256=None, bundle_sha256="b")["reason"]
    assert found == ("x" * length if length <= 500 else "x" * 500 + "...")


@pytest.mark.parametrize("line", ['{"id": 1}\n', "[]\n", "null\n", "{\n", "{}"])
def test_a_line_that_is_no_record_is_refused(line: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        from_line(line)
    record = rejected("w", "?", input_sha256=None, bundle_sha256="b")
    with pytest.raises(ValueError, match="expected an object that begins with id, input_sha256"):
        from_line(to_line(dict(reversed(record.items()))))
    with pytest.raises(ValueError, match="the line does not end"):
        from_line(to_line(record).rstrip("\n"))
