"""A bundle with an unknown score: what it holds, what a station makes of it, and what is refused."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.corrupt_bundles import CHANGES, corrupted, read_files, refusal, reseal, write_files
from edge.quantization.quantize import _pack, _unpack, named_outputs
from edge.station.classifier import Classifier
from tests.station import assert_whole, make_bundle, npy, station, synthetic, unknown_of, with_features
from wafer_tf.bundle import GOLDEN, MANIFEST, UNKNOWN, Golden, load_bundle
from wafer_tf.decision.points import Point
from wafer_tf.decision.repeats import repeats
from wafer_tf.decision.unknown import MAX_BYTES, Unknown
from wafer_tf.dies import CLASSES
from wafer_tf.encoding import encode
from wafer_tf.errors import ModelError
from wafer_tf.inference.interpreter import TfliteModel
from wafer_tf.inference.proven import MAX_FEATURE_LSB
from wafer_tf.released import released

GRIDS = synthetic(2)
Arrays = dict[str, np.ndarray]


@pytest.fixture(scope="module")
def content() -> bytes:
    return with_features(load_bundle(released("nano") / "bundle").model)


@pytest.fixture(scope="module")
def path(content: bytes, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundles") / "unknown"
    return make_bundle(folder, content, unknown=unknown_of(content, GRIDS))


@pytest.fixture(scope="module")
def before(content: bytes, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a bundle of the same model, with its logits alone, as bundles were."""
    model = _unpack(content)
    graph = model.subgraphs[0]
    graph.outputs, model.signatureDefs = [named_outputs(model)["logits"]], []
    return make_bundle(tmp_path_factory.mktemp("bundles") / "before", _pack(model))


@pytest.fixture(scope="module")
def classifier(path: Path) -> Classifier:
    return Classifier(load_bundle(path))


# === What it says ===


def test_half_of_the_maps_are_unknown_those_of_the_larger_features(classifier: Classifier, content: bytes) -> None:
    records = [classifier.judge(npy(grid), "w")[0] for grid in GRIDS]
    for record in records:
        assert_whole(record)
    model = TfliteModel(content)
    size = [float(np.square(model.answer(encode(grid, model.input_size))[1]).sum()) for grid in GRIDS]
    strange = [record["decision"] == "unknown" for record in records]
    assert strange == [value > np.median(size) for value in size]
    assert [record["unknown_score"] > 0.99 for record in records] == strange
    assert sum(strange) == len(GRIDS) // 2


def test_the_score_decides_before_the_probability_and_above_the_limit_alone(path: Path) -> None:
    bundle = load_bundle(path)

    def decisions(**options: Any) -> list[str]:
        judge = Classifier(bundle, **options)
        return [judge.judge(npy(grid), "w")[0]["decision"] for grid in GRIDS]

    as_it_comes = decisions()
    assert set(decisions(unknown_above=1.0)) <= {"none", "defect", "review"}
    assert decisions(unknown_above=0.0) == ["unknown"] * len(GRIDS)
    doubting = decisions(point=Point(review_below=1.0))
    assert doubting == ["unknown" if decision == "unknown" else "review" for decision in as_it_comes]


def test_one_run_gives_what_two_would(classifier: Classifier) -> None:
    model, unknown = classifier.tflite, classifier.bundle.unknown
    assert unknown is not None
    for grid in GRIDS[:5]:
        probabilities, score, patterns = classifier.judgement(grid)
        assert patterns is None
        np.testing.assert_array_equal(probabilities, classifier.probabilities(grid))
        planes = encode(grid, model.input_size)
        logits, features = model.answer(planes)
        np.testing.assert_array_equal(logits, model.logits(planes))
        assert features is not None
        assert (features.shape, features.dtype) == ((model.feature_count,), np.float32)
        assert score == unknown.score(features[None], repeats(grid[None]), np.array([probabilities.argmax()]))[0]


def test_the_command_says_whether_there_is_a_score(path: Path, before: Path, tmp_path: Path) -> None:
    (tmp_path / "map.npy").write_bytes(npy(GRIDS[0]))
    said = f"\nunknown   a score, of {load_bundle(path).features.shape[1]} features\n"  # type: ignore[union-attr]
    assert said in station("selftest", "--bundle", str(path)).stdout.decode()
    assert b"\nunknown   no score in this bundle\n" in station("selftest", "--bundle", str(before)).stdout
    run = station("classify", str(tmp_path / "map.npy"), "--bundle", str(path), "--unknown-above", "0")
    record = json.loads(run.stdout)
    assert record["decision"] == "unknown"
    assert 0 < record["unknown_score"] == round(record["unknown_score"], 4) <= 1


def test_a_bundle_of_before_answers_without_a_score(before: Path) -> None:
    bundle = load_bundle(before)
    assert bundle.features is bundle.unknown is bundle.golden.features is None
    (record,) = Classifier(bundle, unknown_above=0.0).judge(npy(GRIDS[0]), "w")
    assert_whole(record)
    assert record["unknown_score"] is None
    assert record["decision"] != "unknown"


def test_features_without_the_numbers_of_a_score_are_let_be(content: bytes, tmp_path: Path) -> None:
    bundle = load_bundle(make_bundle(tmp_path / "b", content))
    assert bundle.features is not None
    assert bundle.unknown is None
    assert Classifier(bundle).judge(npy(GRIDS[0]), "w")[0]["unknown_score"] is None


# === How large it is ===


@pytest.mark.parametrize(("d", "limit"), [(288, 200_000), (136, 60_000)])
def test_the_numbers_of_a_score_are_small(d: int, limit: int) -> None:
    """Of the two released models' features and of two fabs' classes, in numbers that do not pack."""
    rng = np.random.default_rng(0)
    unknown = Unknown(
        mean=rng.normal(size=(2 * len(CLASSES), d)).astype(np.float32),
        whiten=rng.normal(size=(d, d)).astype(np.float16),
        head=rng.normal(size=d + 1).astype(np.float32),
        scale=np.array([[0.0, 1.0], [-2.0, 0.5], [1.0, 2.0]]),
        levels=np.linspace(0, 1, 20),
        quantiles=np.sort(rng.normal(size=(len(CLASSES), 20)), axis=1),
    )
    data = unknown.to_bytes()
    assert len(data) < limit <= MAX_BYTES
    again = Unknown.from_bytes(data)
    features = rng.normal(size=(5, d)).astype(np.float32)
    regular, called = rng.random(5), np.arange(5)
    np.testing.assert_array_equal(again.score(features, regular, called), unknown.score(features, regular, called))


# === What is refused ===


@pytest.fixture(scope="module")
def foreign(content: bytes, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Files of a bundle of another model of the same shapes."""
    model = _unpack(content)
    graph = model.subgraphs[0]
    kernels = [op.inputs[1] for op in graph.operators if len(op.inputs) == 3]
    for kernel in kernels:
        buffer = model.buffers[graph.tensors[kernel].buffer]
        buffer.data = buffer.data[::-1].copy()
    other = _pack(model)
    folder = tmp_path_factory.mktemp("bundles") / "foreign"
    return read_files(make_bundle(folder, other, unknown=unknown_of(other, GRIDS)))


@pytest.mark.parametrize("kind", CHANGES)
def test_every_corrupted_bundle_is_refused(kind: str, path: Path, foreign: dict[str, bytes], tmp_path: Path) -> None:
    whole = read_files(path)
    for number in range(6):
        write_files(tmp_path / "bundle", corrupted(kind, whole, foreign, seed=(7, number)))
        assert refusal(tmp_path / "bundle") is not None, f"corruption {number} was accepted"


def _changed(path: Path, folder: Path, name: str, change: Callable[[Arrays], Any]) -> Path:
    """Write the bundle anew with arrays of one of its npz files changed, every hash computed anew."""
    files = read_files(path)
    with np.load(io.BytesIO(files[name])) as archive:
        arrays = {key: archive[key].copy() for key in archive.files}
    change(arrays)
    out = io.BytesIO()
    np.savez_compressed(out, **arrays)
    files[name] = out.getvalue()
    reseal(files, json.loads(files[MANIFEST]))
    write_files(folder, files)
    return folder


UNKNOWNS: dict[str, tuple[Callable[[Arrays], Any], str]] = {
    "an array is missing": (lambda a: a.pop("whiten"), "damaged"),
    "an array of objects": (lambda a: a.update(levels=np.array([None, {}], object)), "damaged"),
    "a level is no array": (lambda a: a.update(levels=np.array(0.5)), "damaged"),
    "a number is not finite": (lambda a: a["mean"].__setitem__((0, 0), np.nan), "not finite"),
    "no class": (lambda a: a.update(mean=a["mean"][:0]), "no class"),
    "levels fall": (lambda a: a.update(levels=a["levels"][::-1]), "do not rise"),
    "quantiles fall": (lambda a: a.update(quantiles=a["quantiles"][:, ::-1]), "do not rise"),
    "quantiles of eight classes": (lambda a: a.update(quantiles=a["quantiles"][:8]), r"expected \(9, 3\)"),
    "other features": (
        lambda a: a.update(mean=a["mean"][:, :9], whiten=a["whiten"][:9, :9], head=a["head"][:10]),
        r"of 9 features, of which the model gives \d+",
    ),
    "too large": (
        lambda a: a.update(mean=np.random.default_rng(0).normal(size=(20_000, 9))),
        "expected at most 200000",
    ),
}


@pytest.mark.parametrize("kind", UNKNOWNS)
def test_a_score_that_is_none_is_refused(kind: str, path: Path, tmp_path: Path) -> None:
    change, says = UNKNOWNS[kind]
    with pytest.raises(ModelError, match=rf"bundle .*refused: unknown\.npz.*{says}"):
        load_bundle(_changed(path, tmp_path / "b", UNKNOWN, change))


@pytest.mark.parametrize("length", [0, 1, 100, -200, -1])
def test_a_truncated_score_is_refused(length: int, path: Path, tmp_path: Path) -> None:
    files = read_files(path)
    files[UNKNOWN] = files[UNKNOWN][:length]
    write_files(tmp_path / "b", files)
    with pytest.raises(ModelError, match=r"unknown\.npz is not the file that was gated"):
        load_bundle(tmp_path / "b")
    reseal(files, json.loads(files[MANIFEST]))
    write_files(tmp_path / "b", files)
    with pytest.raises(ModelError, match=r"refused: unknown\.npz: unknown score: damaged"):
        load_bundle(tmp_path / "b")


def test_a_score_that_the_manifest_does_not_list_is_refused(path: Path, tmp_path: Path) -> None:
    files = read_files(path)
    manifest = json.loads(files[MANIFEST])
    del manifest["files"][UNKNOWN]
    reseal(files, manifest)
    write_files(tmp_path / "b", files)
    with pytest.raises(ModelError, match=r"unknown\.npz is no file of the bundle"):
        load_bundle(tmp_path / "b")
    del files[UNKNOWN]
    write_files(tmp_path / "b", files)
    assert load_bundle(tmp_path / "b").unknown is None


GOLDENS: dict[str, tuple[Callable[[Arrays], Any], str]] = {
    "they are missing": (lambda a: a.pop("features"), r"golden features of None a map"),
    "one is missing": (lambda a: a.update(features=a["features"][:, 1:]), r"golden features of \(\d+,\) a map"),
    "a map's are missing": (lambda a: a.update(features=a["features"][1:]), "features"),
    "of floats": (lambda a: a.update(features=a["features"].astype(float)), "features"),
    "of another kind": (lambda a: a.update(features=a["features"].astype(np.int16)), "golden features of int16"),
}


@pytest.mark.parametrize("kind", GOLDENS)
def test_golden_features_that_do_not_fit_are_refused(kind: str, path: Path, tmp_path: Path) -> None:
    change, says = GOLDENS[kind]
    with pytest.raises(ModelError, match=says):
        Classifier(load_bundle(_changed(path, tmp_path / "b", GOLDEN, change)))


@pytest.mark.parametrize("steps", [MAX_FEATURE_LSB, MAX_FEATURE_LSB + 1])
def test_golden_features_further_off_than_kernels_differ_are_refused(steps: int, path: Path, tmp_path: Path) -> None:
    golden = load_bundle(path).golden
    assert golden.features is not None
    at = np.unravel_index(np.abs(golden.features.astype(int)).argmin(), golden.features.shape)
    bundle = load_bundle(
        _changed(path, tmp_path / "b", GOLDEN, lambda a: a["features"].__setitem__(at, a["features"][at] + steps))
    )
    if steps <= MAX_FEATURE_LSB:
        assert Classifier(bundle).golden_lsb == steps
        return
    with pytest.raises(ModelError, match=rf"golden map {at[0]}: feature {at[1]} is {steps} steps"):
        Classifier(bundle)


@pytest.mark.parametrize("key", ["features", "input", "output"])
def test_a_manifest_that_does_not_say_what_the_model_gives_is_refused(key: str, path: Path, tmp_path: Path) -> None:
    files = read_files(path)
    manifest = json.loads(files[MANIFEST])
    manifest[key]["scale"] *= 1.5
    reseal(files, manifest)
    write_files(tmp_path / "b", files)
    assert refusal(tmp_path / "b") is not None
    del manifest[key]
    reseal(files, manifest)
    write_files(tmp_path / "b", files)
    with pytest.raises(ModelError, match=r"features of shape None|not of this format"):
        load_bundle(tmp_path / "b")


def test_golden_maps_with_and_without_features_come_back_as_they_were() -> None:
    rng = np.random.default_rng(0)
    for features in (None, rng.integers(-128, 128, (2, 5)).astype(np.int8)):
        grids = (np.ones((3, 3), np.uint8), np.ones((4, 5), np.uint8))
        golden = Golden(grids, np.zeros((2, 9), np.int8), np.full((2, 9), 1 / 9), features)
        again = Golden.from_bytes(golden.to_bytes())
        np.testing.assert_array_equal(again.features, features)
        assert (again.features is None) is (features is None)
