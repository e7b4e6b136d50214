"""Columns of calls say what the records of a station say."""

from dataclasses import replace

import numpy as np

from edge.station.records import answered
from wafer_tf.bundle import load_bundle
from wafer_tf.decision.patterns import Patterns
from wafer_tf.decision.points import Point
from wafer_tf.dies import CLASSES
from wafer_tf.inference.calls import calls_of, rounded
from wafer_tf.released import bundle_folder


def test_columns_say_what_records_say() -> None:
    bundle = load_bundle(bundle_folder("nano"))
    head = replace(bundle.output, shape=(1, 8), scale=0.2, zero_point=3)
    bundle = replace(bundle, patterns=Patterns((0.3, *[0.5] * 6, 0.9)), pattern_output=head)
    stored = np.random.default_rng(1).integers(-128, 128, (2000, 9)).astype(bundle.output.dtype)
    stored[:50] = stored[0]
    stored[50:60] = 5  # all classes alike: the first of the likeliest counts
    scores = np.where(np.arange(2000) % 7 == 0, np.nan, np.random.default_rng(2).random(2000) ** 0.01)
    beside = np.random.default_rng(3).integers(-128, 128, (2000, 8)).astype(stored.dtype)
    kind = [("logits", stored.dtype, 9), ("unknown_score", np.float64), ("patterns", stored.dtype, 8)]
    answers = np.empty(2000, kind)
    answers["logits"], answers["unknown_score"], answers["patterns"] = stored, scores, beside
    for point in (*(Point(review_below=p) for p in (0.0, 0.5, 0.9, 1.0)), Point(none_shift=-2.0)):
        calls = calls_of(bundle, answers, point=point)
        probabilities = [bundle.decision.probabilities(bundle.output.dequantize(row)) for row in stored]
        records = [
            answered(
                "",
                row,
                None if np.isnan(s) else s,
                head.dequantize(eight),
                point=point,
                patterns=bundle.patterns,
                input_sha256=None,
                bundle_sha256="",
                ms=0,
            )
            for row, s, eight in zip(probabilities, scores.tolist(), beside, strict=True)
        ]
        shown = [None if np.isnan(s) else s for s in calls["unknown_score"].tolist()]
        assert shown == [record["unknown_score"] for record in records]
        assert "unknown" in calls["decision"]
        assert calls["patterns"].tolist() == ["+".join(record["patterns"]) for record in records]
        assert "" in calls["patterns"]
        assert max(calls["patterns"], key=len).count("+") == 7
        for name in ("label", "decision"):
            assert calls[name].tolist() == [record[name] for record in records]
        for name in CLASSES:
            assert calls[name].tolist() == [record["probabilities"][name] for record in records]
        assert calls["probability"].tolist() == [record["probabilities"][record["label"]] for record in records]
    assert len(calls_of(bundle, answers[:0], point=Point())["label"]) == 0


def test_rounding_is_python_s_own_at_every_half() -> None:
    halves = (np.arange(100_000) + 0.5) / 1e6
    values = np.concatenate(
        [halves, np.nextafter(halves, 0), np.nextafter(halves, 1), np.random.default_rng(0).random(100_000), [0, 1]]
    )
    assert rounded(values).tolist() == [round(value, 6) for value in values.tolist()]
