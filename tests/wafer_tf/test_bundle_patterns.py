"""A bundle that tells several patterns on one wafer: what it holds, what a station says of it, and what is refused."""

import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray

from benchmarks.corrupt_bundles import read_files, reseal, write_files
from edge.calibrate import main as calibrate
from edge.gate.golden import golden
from edge.sets.columns import columns_of, json_lines
from edge.station.__main__ import main as station
from edge.station.classifier import Classifier
from edge.station.records import Record
from tests.edge_models import patterns_files
from tests.station import assert_whole, make_bundle, npy, synthetic
from wafer_tf import spark as on_spark
from wafer_tf.bundle import GOLDEN, MANIFEST, load_bundle
from wafer_tf.decision.patterns import Patterns
from wafer_tf.decision.points import Point
from wafer_tf.dies import CLASSES
from wafer_tf.encoding import encode
from wafer_tf.errors import ModelError
from wafer_tf.inference.calls import calls_of
from wafer_tf.inference.interpreter import TfliteModel
from wafer_tf.inference.many import KnownMaps, map_hashes, run_many
from wafer_tf.inference.proven import MAX_PATTERN_LSB, ProvenModel
from wafer_tf.model import load
from wafer_tf.pattern_bits import PATTERNS
from wafer_tf.readers import write_parquet
from wafer_tf.released import released
from wafer_tf.synthesis import synthesize
from wafer_tf.waferset import WaferSet

GRIDS = synthetic(2)
Arrays = dict[str, np.ndarray]
Told = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def content() -> bytes:
    return patterns_files().int8


def real_patterns(content: bytes, grid: NDArray[np.uint8]) -> NDArray[np.float64]:
    model = TfliteModel(content)
    model.run(encode(grid, model.input_size))
    found = model.pattern_logits()
    assert found is not None
    return found


@pytest.fixture(scope="module")
def path(content: bytes, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a bundle of which each pattern passes on about half of GRIDS."""
    output = TfliteModel(content).pattern_output
    assert output is not None
    between = output.scale / 4  # of two levels, so that no logit is at its threshold
    middle = np.median([real_patterns(content, grid) for grid in GRIDS], axis=0) + between
    thresholds = Patterns(tuple((1 / (1 + np.exp(-middle))).tolist()))
    return make_bundle(tmp_path_factory.mktemp("bundles") / "patterns", content, patterns=thresholds)


@pytest.fixture(scope="module")
def classifier(path: Path) -> Classifier:
    return Classifier(load_bundle(path))


@pytest.fixture(scope="module")
def nano() -> Path:
    """Folder of a bundle of before."""
    return released("nano") / "bundle"


def judged(classifier: Classifier, grids: list[NDArray[np.uint8]] = GRIDS) -> list[Record]:
    records = [classifier.judge(npy(grid), "w")[0] for grid in grids]
    for record in records:
        assert_whole(record)
    return records


def expected(path: Path, grid: NDArray[np.uint8], label: str) -> list[str]:
    """Return a wafer's patterns by the words of the contract, one by one."""
    bundle = load_bundle(path)
    assert bundle.patterns is not None
    real = real_patterns(bundle.model, grid).tolist()
    passed = [
        (-logit, name)
        for logit, least, name in zip(real, bundle.patterns.thresholds, PATTERNS, strict=True)
        if 1 / (1 + np.exp(-logit)) >= least
    ]
    order = {name: k for k, name in enumerate(PATTERNS)}
    passed.sort(key=lambda each: (each[0], order[each[1]]))
    return [name for _, name in passed] if len(passed) > 1 and label != "none" else []


# === What it says ===


def test_a_record_names_the_patterns_that_pass_where_there_are_two_or_more(classifier: Classifier, path: Path) -> None:
    records = judged(classifier)
    found = [record["patterns"] for record in records]
    assert found == [expected(path, grid, record["label"]) for grid, record in zip(GRIDS, records, strict=True)]
    assert any(len(names) > 1 for names in found)
    assert [] in found, "or nothing is shown of a wafer with one pattern"
    assert all(len(names) != 1 for names in found)


def test_the_order_is_that_of_the_logits(classifier: Classifier, content: bytes) -> None:
    for grid, record in zip(GRIDS, judged(classifier), strict=True):
        real = real_patterns(content, grid)
        shown = [real[PATTERNS.index(name)] for name in record["patterns"]]
        assert shown == sorted(shown, reverse=True)


def test_a_wafer_that_the_operating_point_calls_none_has_no_patterns(path: Path) -> None:
    bundle = load_bundle(path)
    records = judged(Classifier(bundle, point=Point(none_shift=50)))
    assert {record["label"] for record in records} == {"none"}
    assert [record["patterns"] for record in records] == [[]] * len(GRIDS)
    records = judged(Classifier(bundle, point=Point(none_shift=-50)))
    assert "none" not in {record["label"] for record in records}
    assert [r["patterns"] for r in records] == [expected(path, grid, "Loc") for grid in GRIDS]


def test_the_decision_is_what_it_is_without_the_head(classifier: Classifier, content: bytes, tmp_path: Path) -> None:
    without = Classifier(load_bundle(make_bundle(tmp_path / "b", content)))
    for with_head, plain in zip(judged(classifier), judged(without), strict=True):
        assert plain["patterns"] is None
        for key in ("label", "probabilities", "decision", "set", "unknown_score"):
            assert with_head[key] == plain[key]


def test_what_was_rejected_and_a_bundle_of_before_say_null(classifier: Classifier, nano: Path) -> None:
    (record,) = classifier.judge(b"no map", "w")
    assert_whole(record)
    assert record["patterns"] is None
    bundle = load_bundle(nano)
    assert bundle.patterns is bundle.pattern_output is bundle.golden.patterns is None
    assert [record["patterns"] for record in judged(Classifier(bundle), GRIDS[:3])] == [None] * 3


def test_selftest_says_whether_several_patterns_are_told(path: Path, nano: Path, capsys: Told) -> None:
    assert station(["selftest", "--bundle", str(path)]) == 0
    assert "\npatterns  several on one wafer, by a threshold for each of 8\n" in capsys.readouterr().out
    assert station(["selftest", "--bundle", str(nano)]) == 0
    assert "\npatterns  not told in this bundle: one label a wafer\n" in capsys.readouterr().out


# === In columns ===


def test_columns_and_lines_of_a_set_say_what_records_say(classifier: Classifier, path: Path) -> None:
    wafers = WaferSet.from_maps([*GRIDS, GRIDS[3].T.copy(), GRIDS[1]], label=[-1] * (len(GRIDS) + 2))
    records = judged(classifier, [wafers.map(i) for i in range(len(wafers))])
    hashes = map_hashes(wafers)
    for stored in (run_many(classifier, wafers), KnownMaps(classifier).run(wafers, hashes)):
        calls = calls_of(classifier.bundle, stored, point=Point())
        assert calls["patterns"].tolist() == ["+".join(record["patterns"]) for record in records]
        columns = columns_of(wafers, calls, hashes, file="set", first=0)
        lines = json_lines(columns, bundle_sha256=classifier.bundle.sha256, ms=0.0).splitlines()
        assert [json.loads(line)["patterns"] for line in lines] == [record["patterns"] for record in records]


def test_a_set_judged_by_a_bundle_of_before_says_null_in_a_column_of_texts(nano: Path) -> None:
    model = ProvenModel(load_bundle(nano))
    wafers = WaferSet.from_maps(GRIDS[:3], label=[-1] * 3)
    stored = run_many(model, wafers)
    assert stored.dtype.names == ("logits", "unknown_score")
    columns = columns_of(wafers, calls_of(model.bundle, stored, point=Point()), map_hashes(wafers), file="f", first=0)
    assert (str(columns["patterns"].type), columns["patterns"].to_pylist()) == ("string", [None] * 3)
    lines = json_lines(columns, bundle_sha256="", ms=0.0).splitlines()
    assert [json.loads(line)["patterns"] for line in lines] == [None] * 3


def test_parquet_and_csv_have_the_names_as_one_text(
    classifier: Classifier, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Told
) -> None:
    monkeypatch.chdir(tmp_path)
    for i, grid in enumerate(GRIDS):
        Path(f"{i:02}.npy").write_bytes(npy(grid))
    Path("bad").write_bytes(b"no map")
    files = [*(f"{i:02}.npy" for i in range(len(GRIDS))), "bad"]
    wanted = ["+".join(record["patterns"]) for record in judged(classifier)]
    assert station(["classify", *files, "--bundle", str(path), "--parquet", "o.parquet"]) == 0
    table = pq.read_table("o.parquet")
    assert str(table.schema.field("patterns").type) == "string"
    assert table["patterns"].to_pylist() == [*wanted, None]
    assert f"; {sum('+' in text for text in wanted)} of several patterns" in capsys.readouterr().err
    assert station(["classify", *files, "--bundle", str(path), "--csv"]) == 0
    rows = capsys.readouterr().out.splitlines()
    assert rows[0].endswith(",unknown_score,patterns")
    assert [row.rpartition(",")[2] for row in rows[1:]] == [*wanted, ""]


def test_spark_s_workers_say_the_same(classifier: Classifier, tmp_path: Path) -> None:
    wafers = WaferSet.from_maps(GRIDS, label=[-1] * len(GRIDS))
    write_parquet(wafers, tmp_path / "set.parquet")
    (batch,) = pq.read_table(tmp_path / "set.parquet").combine_chunks().to_batches()
    found = on_spark.records(batch, classifier)
    assert tuple(found) == tuple(on_spark.COLUMNS)
    assert found["patterns"].to_pylist() == ["+".join(record["patterns"]) for record in judged(classifier)]


def test_the_table_of_python_has_a_column_where_the_bundle_tells(classifier: Classifier, path: Path) -> None:
    calls = load(path).classify(GRIDS)
    assert calls.columns[-1] == "patterns"
    assert calls["patterns"].tolist() == ["+".join(record["patterns"]) for record in judged(classifier)]
    assert load(path).classify(WaferSet.from_maps([], label=[]))["patterns"].tolist() == []


# === What it holds ===


def test_golden_maps_carry_the_pattern_logits_that_the_model_stores(content: bytes, path: Path) -> None:
    bundle, model = load_bundle(path), TfliteModel(content)
    found = golden(model, bundle.decision)
    assert found.patterns is not None
    assert (found.patterns.shape, found.patterns.dtype) == ((40, 8), np.int8)
    for i in (0, 17, 39):
        model.run(encode(found.grids[i], model.input_size))
        np.testing.assert_array_equal(found.patterns[i], model.stored_patterns())
    assert golden(TfliteModel(load_bundle(released("nano") / "bundle").model), bundle.decision).patterns is None


def test_a_bundle_keeps_its_thresholds_and_the_model_s_output(content: bytes, path: Path, tmp_path: Path) -> None:
    bundle, model = load_bundle(path), TfliteModel(content)
    assert bundle.pattern_output == model.pattern_output
    assert model.pattern_output is not None
    assert (model.pattern_output.shape, model.pattern_output.dtype) == ((1, 8), "int8")
    assert Classifier(bundle).golden_lsb == 0
    thresholds = Patterns(tuple(np.linspace(0.1, 0.9, 8).round(3).tolist()))
    assert load_bundle(make_bundle(tmp_path / "b", content, patterns=thresholds)).patterns == thresholds


def test_thresholds_go_with_an_output_and_golden_logits(content: bytes, path: Path, tmp_path: Path) -> None:
    half, stored = Patterns((0.5,) * 8), load_bundle(path)
    for wrong in (
        {"patterns": half, "pattern_output": None},
        {"patterns": half, "golden": replace(stored.golden, patterns=None)},
    ):
        with pytest.raises(ModelError, match=r"got no (output|golden logits)\. Does the model have the layer"):
            make_bundle(tmp_path / "b", content, **wrong)
        assert not (tmp_path / "b").exists()


def test_a_head_without_thresholds_is_let_be(content: bytes, path: Path, tmp_path: Path) -> None:
    output = load_bundle(path).pattern_output
    bundle = load_bundle(make_bundle(tmp_path / "b", content, patterns=None, pattern_output=output))
    assert bundle.patterns is bundle.pattern_output is bundle.golden.patterns is None
    assert judged(Classifier(bundle), GRIDS[:2])[0]["patterns"] is None


def test_a_calibrated_bundle_keeps_the_head_and_its_thresholds(path: Path, tmp_path: Path, capsys: Told) -> None:
    write_parquet(synthesize(12, seed=5).wafers, tmp_path / "own.parquet")
    words = ["--max-error", "0.9", "--confidence", "0.8"]
    assert calibrate([str(path), "--data", str(tmp_path / "own.parquet"), "--out", str(tmp_path / "new"), *words]) == 0
    assert "thresholds of the patterns" in " ".join(capsys.readouterr().out.split())
    old, new = load_bundle(path), load_bundle(tmp_path / "new")
    assert new.sha256 != old.sha256
    assert (new.patterns, new.pattern_output) == (old.patterns, old.pattern_output)
    np.testing.assert_array_equal(new.golden.patterns, old.golden.patterns)
    assert judged(Classifier(new))[0]["patterns"] is not None


# === What is refused ===


def _changed(path: Path, folder: Path, change: Callable[[Arrays], Any]) -> Path:
    """Write the bundle anew with the golden arrays changed, every hash computed anew."""
    files = read_files(path)
    with np.load(io.BytesIO(files[GOLDEN])) as archive:
        arrays = {key: archive[key].copy() for key in archive.files}
    change(arrays)
    out = io.BytesIO()
    np.savez_compressed(out, **arrays)
    files[GOLDEN] = out.getvalue()
    reseal(files, json.loads(files[MANIFEST]))
    write_files(folder, files)
    return folder


GOLDENS: dict[str, tuple[Callable[[Arrays], Any], str]] = {
    "they are missing": (lambda a: a.pop("patterns"), r"golden\.npz holds no pattern logits"),
    "one is missing": (lambda a: a.update(patterns=a["patterns"][:, 1:]), "patterns"),
    "a map's are missing": (lambda a: a.update(patterns=a["patterns"][1:]), "patterns"),
    "of floats": (lambda a: a.update(patterns=a["patterns"].astype(float)), "patterns"),
    "of another kind": (lambda a: a.update(patterns=a["patterns"].astype(np.int16)), "golden patterns of int16"),
    "of another model": (lambda a: a.update(patterns=a["patterns"][::-1]), "golden map 0: pattern logit of"),
}


@pytest.mark.parametrize("kind", GOLDENS)
def test_golden_patterns_that_do_not_fit_are_refused(kind: str, path: Path, tmp_path: Path) -> None:
    change, says = GOLDENS[kind]
    with pytest.raises(ModelError, match=f"refused.*{says}"):
        Classifier(load_bundle(_changed(path, tmp_path / "b", change)))


@pytest.mark.parametrize("steps", [MAX_PATTERN_LSB, MAX_PATTERN_LSB + 1])
def test_golden_patterns_further_off_than_kernels_differ_are_refused(steps: int, path: Path, tmp_path: Path) -> None:
    stored = load_bundle(path).golden.patterns
    assert stored is not None
    at = np.unravel_index(np.abs(stored.astype(int)).argmin(), stored.shape)
    bundle = load_bundle(
        _changed(path, tmp_path / "b", lambda a: a["patterns"].__setitem__(at, a["patterns"][at] + steps))
    )
    if steps <= MAX_PATTERN_LSB:
        assert Classifier(bundle).golden_lsb == steps
        return
    with pytest.raises(ModelError, match=rf"golden map {at[0]}: pattern logit of {PATTERNS[at[1]]} is {steps} steps"):
        Classifier(bundle)


MANIFESTS: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "nothing is said": (lambda m: m.pop("patterns"), "pattern logits, of which bundle.json says nothing"),
    "seven thresholds": (lambda m: m["patterns"]["thresholds"].pop(), "8 numbers between 0 and 1"),
    "a threshold of 1": (lambda m: m["patterns"]["thresholds"].__setitem__(2, 1), "8 numbers between 0 and 1"),
    "a threshold is no number": (lambda m: m["patterns"]["thresholds"].__setitem__(2, "high"), "expected numbers"),
    "no thresholds": (lambda m: m["patterns"].pop("thresholds"), "expected their thresholds"),
    "something more": (lambda m: m["patterns"].update(bias=[]), "expected their thresholds"),
    "no output": (lambda m: m["patterns"].pop("output"), "not of this format"),
    "nine": (lambda m: m["patterns"]["output"].update(shape=[1, 9]), r"patterns of shape \(1, 9\)"),
    "of another type": (lambda m: m["patterns"]["output"].update(dtype="int16"), "int16; expected .* int8"),
    "another scale": (lambda m: m["patterns"]["output"].update(scale=0.5), "its model has patterns"),
    "a list": (lambda m: m.update(patterns=[1, 2]), "not of this format"),
    "null": (lambda m: m.update(patterns=None), "not of this format"),
}


@pytest.mark.parametrize("kind", MANIFESTS)
def test_a_manifest_that_says_something_else_is_refused(kind: str, path: Path, tmp_path: Path) -> None:
    change, says = MANIFESTS[kind]
    files = read_files(path)
    manifest = json.loads(files[MANIFEST])
    change(manifest)
    reseal(files, manifest)
    write_files(tmp_path / "b", files)
    with pytest.raises(ModelError, match=f"refused.*{says}"):
        Classifier(load_bundle(tmp_path / "b"))


def test_a_bundle_that_promises_patterns_of_a_model_without_is_refused(nano: Path, path: Path, tmp_path: Path) -> None:
    files, manifest = read_files(nano), json.loads((nano / MANIFEST).read_bytes())
    manifest["patterns"] = json.loads((path / MANIFEST).read_bytes())["patterns"]
    maps = len(load_bundle(nano).golden.grids)
    reseal(files, manifest)
    write_files(tmp_path / "b", files)
    with pytest.raises(ModelError, match="refused: its model has patterns None"):
        Classifier(
            load_bundle(
                _changed(tmp_path / "b", tmp_path / "c", lambda a: a.update(patterns=np.zeros((maps, 8), np.int8)))
            )
        )


def test_labels_are_of_the_nine_classes_still(classifier: Classifier) -> None:
    assert {record["label"] for record in judged(classifier)} <= set(CLASSES)
