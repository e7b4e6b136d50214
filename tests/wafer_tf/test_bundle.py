"""A station accepts a bundle only if it is exactly what the gate passed."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from benchmarks.corrupt_bundles import CHANGES, corrupted, read_files, refusal, reseal, write_files
from benchmarks.forgeries import FORGERIES, KINDS, RELEASE, Signer, forged
from edge.station.classifier import Classifier
from tests.signing import keys
from tests.station import int8_model, make_bundle, npy, station
from wafer_tf.bundle import CARD, GOLDEN, MANIFEST, MIN_GOLDEN, SEAL, SIGNATURE, Bundle, Golden, load_bundle
from wafer_tf.decision import Decision
from wafer_tf.decision.points import Point
from wafer_tf.decision.sets import Sets
from wafer_tf.encoding import encode
from wafer_tf.errors import ModelError, UsageError
from wafer_tf.inference.interpreter import TfliteModel
from wafer_tf.model import load
from wafer_tf.released import NAMES, released


@pytest.fixture(scope="module")
def foreign_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a bundle of another model of the same architecture."""
    return make_bundle(tmp_path_factory.mktemp("bundles") / "foreign", int8_model(seed=1))


def test_a_bundle_read_back_is_what_was_written(bundle_path: Path) -> None:
    bundle = load_bundle(bundle_path)
    classifier = Classifier(bundle)
    assert (bundle.input, bundle.output) == (classifier.tflite.input, classifier.tflite.output)
    assert classifier.golden_lsb == 0
    assert classifier.xnnpack
    seal = (bundle_path / SEAL).read_text()
    assert seal == f"{bundle.sha256}  {MANIFEST}\n"
    assert {path.name for path in bundle_path.iterdir()} == {"model_int8.tflite", GOLDEN, CARD, MANIFEST, SEAL}


def test_points_and_sets_come_back_and_a_bundle_without_them_has_none(bundle_path: Path, tmp_path: Path) -> None:
    plain = load_bundle(bundle_path)
    assert (dict(plain.points), plain.sets) == ({}, None)
    points, sets = {"few-escapes": Point(0.5, -1.5)}, Sets(0.9, (0.25, None, *(0.5,) * 7))
    made = load_bundle(make_bundle(tmp_path / "bundle", plain.model, points=points, sets=sets))
    assert (made.points, made.sets) == (points, sets)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("points", {"few-escapes": {"review_below": 2, "none_shift": 0}}),
        ("points", ["few-escapes"]),
        ("points", {"few-escapes": None}),
        ("sets", {"coverage": 0.9, "least": [0.5]}),
        ("sets", {"coverage": "high", "least": [0.5] * 9}),
        ("sets", [0.5]),
    ],
)
def test_points_or_sets_that_are_none_are_refused(
    key: str, value: object, nano: dict[str, bytes], tmp_path: Path
) -> None:
    files = dict(nano)
    reseal(files, json.loads(files[MANIFEST]) | {key: value})
    write_files(tmp_path / "bundle", files)
    with pytest.raises(ModelError, match=r"operating point|prediction sets|not of this format"):
        load_bundle(tmp_path / "bundle")


@pytest.mark.parametrize("kind", CHANGES)
def test_every_corrupted_bundle_is_refused(kind: str, bundle_path: Path, foreign_path: Path, tmp_path: Path) -> None:
    whole, foreign = read_files(bundle_path), read_files(foreign_path)
    write_files(tmp_path / "bundle", whole)
    assert refusal(tmp_path / "bundle") is None
    for number in range(10):
        write_files(tmp_path / "bundle", corrupted(kind, whole, foreign, seed=(7, number)))
        assert refusal(tmp_path / "bundle") is not None, f"corruption {number} was accepted"


def test_the_command_ends_with_3_and_prints_no_record(bundle_path: Path, foreign_path: Path, tmp_path: Path) -> None:
    (tmp_path / "map.npy").write_bytes(npy(np.ones((9, 9), np.uint8)))
    job = ("classify", str(tmp_path / "map.npy"), "--bundle", str(tmp_path / "bundle"))
    assert station(*job[:-1], str(bundle_path)).returncode == 0
    whole, foreign = read_files(bundle_path), read_files(foreign_path)
    for kind in CHANGES:
        write_files(tmp_path / "bundle", corrupted(kind, whole, foreign, seed=(8,)))
        run = station(*job)
        assert (run.returncode, run.stdout) == (3, b""), kind
        assert b"Traceback" not in run.stderr
        assert run.stderr.splitlines()[-1].startswith(b"error: "), kind


@pytest.mark.parametrize("name", ["model_int8.tflite", GOLDEN, CARD, MANIFEST, SEAL])
def test_what_is_no_file_is_refused_without_waiting(name: str, bundle_path: Path, tmp_path: Path) -> None:
    for kind in ("folder", "pipe", "link to nothing"):
        folder = tmp_path / kind
        write_files(folder, {other: data for other, data in read_files(bundle_path).items() if other != name})
        if kind == "folder":
            (folder / name).mkdir()
        elif kind == "pipe":
            os.mkfifo(folder / name)
        else:
            (folder / name).symlink_to("nothing")
        with pytest.raises(ModelError, match=name.replace(".", r"\.")):
            load_bundle(folder)


def test_no_bundle_at_all_is_refused_with_the_command_that_makes_one(tmp_path: Path) -> None:
    for path in (tmp_path / "absent", tmp_path):
        with pytest.raises(ModelError, match=r"bundle\.json is missing.*python -m edge\.convert"):
            load_bundle(path)


def test_an_ungated_bundle_needs_to_be_allowed(bundle_path: Path, tmp_path: Path) -> None:
    path = make_bundle(tmp_path / "bundle", load_bundle(bundle_path).model, passed=False)
    with pytest.raises(ModelError, match="did not pass the accuracy gate; --allow-ungated"):
        load_bundle(path)
    run = station("selftest", "--bundle", str(path))
    assert (run.returncode, run.stdout) == (3, b"")
    run = station("selftest", "--bundle", str(path), "--allow-ungated")
    assert run.returncode == 0
    assert b"NOT passed" in run.stdout
    assert b"warning" in run.stderr


def test_a_model_without_the_delegate_the_gate_had_is_refused_unless_allowed(
    bundle_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without = TfliteModel.__init__

    def init(self: TfliteModel, content: bytes, *, threads: int = 1, delegate: bool = True) -> None:
        without(self, content, threads=threads, delegate=False)

    monkeypatch.setattr(TfliteModel, "__init__", init)
    bundle = load_bundle(bundle_path)
    with pytest.raises(ModelError, match=r"XNNPACK delegate.*--allow-slow"):
        Classifier(bundle)
    slow = Classifier(bundle, allow_slow=True)
    assert not slow.xnnpack
    assert slow.golden_lsb <= 3


def test_a_kernel_a_step_apart_is_accepted_and_four_steps_are_not(bundle_path: Path, tmp_path: Path) -> None:
    bundle = load_bundle(bundle_path)
    logits = bundle.golden.logits
    for steps, accepted in ((0, True), (3, True), (4, False), (50, False)):
        moved = logits.astype(int)
        moved[2, 5] += steps if moved[2, 5] < 100 else -steps
        stored = moved.astype(logits.dtype)
        golden = Golden(bundle.golden.grids, stored, bundle.decision.probabilities(bundle.output.dequantize(stored)))
        path = make_bundle(tmp_path / str(steps), bundle.model, golden=golden)
        assert (refusal(path) is None) == accepted
        if accepted:
            assert Classifier(load_bundle(path)).golden_lsb == steps


def test_a_decision_other_than_the_gates_is_refused(bundle_path: Path, tmp_path: Path) -> None:
    bundle = load_bundle(bundle_path)
    bias = (*bundle.decision.bias[:8], bundle.decision.bias[8] + 1e-4)
    other = Decision(bias, bundle.decision.temperature)
    path = make_bundle(tmp_path / "b", bundle.model, golden=bundle.golden, decision=other)
    assert "its decision does not turn the golden logits" in str(refusal(path))


def test_a_bundle_of_16_bit_activations_is_judged_by_the_built_in_kernels(tmp_path: Path) -> None:
    path = make_bundle(tmp_path / "bundle", int8_model(seed=0, activations="int16"))
    assert (path / "model_int16x8.tflite").is_file()
    classifier = Classifier(load_bundle(path))
    assert not classifier.xnnpack
    assert classifier.golden_lsb == 0
    (record,) = classifier.judge(npy(classifier.bundle.golden.grids[0]), "map")
    expected = classifier.bundle.golden.probabilities[0]
    assert list(record["probabilities"].values()) == [round(p, 6) for p in expected.tolist()]


def test_one_and_two_threads_answer_alike(bundle_path: Path) -> None:
    bundle = load_bundle(bundle_path)
    one, two = Classifier(bundle, threads=1), Classifier(bundle, threads=2)
    for grid in bundle.golden.grids:
        planes = encode(grid, bundle.input_size)
        np.testing.assert_array_equal(one.tflite.run(planes), two.tflite.run(planes))


def test_writing_a_bundle_overwrites_only_a_bundle_and_only_when_told(bundle_path: Path, tmp_path: Path) -> None:
    model = load_bundle(bundle_path).model
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes").write_text("mine")
    with pytest.raises(UsageError, match="no bundle is there"):
        make_bundle(tmp_path / "mine", model, replace=True)
    path = make_bundle(tmp_path / "bundle", model)
    before = read_files(path)
    with pytest.raises(UsageError, match="--overwrite"):
        make_bundle(path, model, card="# new\n")
    assert read_files(path) == before
    make_bundle(path, model, card="# new\n", replace=True)
    assert (path / CARD).read_text() == "# new\n"
    assert json.loads((path / MANIFEST).read_text())["passed"] is True
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["bundle", "mine"]


# === Forged on purpose ===


@pytest.fixture
def signer(tmp_path: Path) -> Signer:
    return Signer(tmp_path)


@pytest.fixture
def nano() -> dict[str, bytes]:
    return read_files(released("nano") / "bundle")


def _forge_a_blind_station(nano: dict[str, bytes]) -> dict[str, bytes]:
    """Return nano with a bias that calls every map none, its golden answers and hashes computed anew."""
    bundle = load_bundle(released("nano") / "bundle")
    decision = Decision((*bundle.decision.bias[:8], 50.0), bundle.decision.temperature)
    probabilities = decision.probabilities(bundle.output.dequantize(bundle.golden.logits))
    files = nano | {
        GOLDEN: Golden(bundle.golden.grids, bundle.golden.logits, probabilities, bundle.golden.features).to_bytes()
    }
    reseal(files, json.loads(files[MANIFEST]) | {"decision": decision.to_json()})
    return files


def test_a_forged_bias_is_found_by_a_signature_and_by_nothing_else(
    nano: dict[str, bytes], signer: Signer, tmp_path: Path
) -> None:
    signature = signer.signed(nano, release=0)[SIGNATURE]
    write_files(tmp_path / "b", _forge_a_blind_station(nano) | {SIGNATURE: signature})
    assert refusal(tmp_path / "b") is None, "hashes find damage, not intent: docs/howto/sign.md says so"
    assert "is not the signature of this file by this key" in str(
        refusal(tmp_path / "b", require_signature=signer.public)
    )
    run = station("selftest", "--bundle", str(tmp_path / "b"), "--require-signature", str(signer.public))
    assert (run.returncode, run.stdout) == (3, b"")
    with pytest.raises(ModelError, match=SIGNATURE):
        load(tmp_path / "b", require_signature=signer.public)


@pytest.mark.parametrize("kind", KINDS)
def test_every_forgery_is_refused_where_a_signature_and_a_release_are_asked_for(
    kind: str, nano: dict[str, bytes], signer: Signer, tmp_path: Path
) -> None:
    whole, foreign = signer.signed(nano), read_files(released("wafer") / "bundle")
    for number in range(8):
        write_files(tmp_path / "b", forged(kind, whole, foreign, signer=signer, seed=(9, number)))
        if kind in FORGERIES:
            load_bundle(tmp_path / "b")
            with pytest.raises(ModelError, match=r"bundle\.json\.sig"):
                load_bundle(tmp_path / "b", require_signature=signer.public)
        with pytest.raises(ModelError, match=r"bundle\.json\.sig|--min-version asks for 20261126 or later"):
            load_bundle(tmp_path / "b", require_signature=signer.public, min_version=RELEASE)


def test_a_signed_bundle_is_accepted_by_every_way_in(nano: dict[str, bytes], signer: Signer, tmp_path: Path) -> None:
    folder, flags = tmp_path / "b", ["--require-signature", str(signer.public), "--min-version", str(RELEASE)]
    write_files(folder, signer.signed(nano))
    bundle = load_bundle(folder, require_signature=signer.public, min_version=RELEASE)
    assert (bundle.signed, bundle.release) == (True, RELEASE)
    assert load(folder, require_signature=str(signer.public), min_version=RELEASE).kind == "int8"
    run = station("selftest", "--bundle", str(folder), *flags)
    assert run.returncode == 0, run.stderr
    assert f"signature by the key of {signer.public}\nrelease   {RELEASE}\n" in run.stdout.decode()
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.npy").write_bytes(npy(np.ones((9, 9), np.uint8)))
    for job in (["classify", str(tmp_path / "in" / "a.npy")], ["bench", "--count", "1"]):
        assert station(*job, "--bundle", str(folder), *flags).returncode == 0
    (folder / SIGNATURE).unlink()
    watch = ["watch", str(tmp_path / "in"), "--out", str(tmp_path / "out"), "--once"]
    for job in (["classify", str(tmp_path / "in" / "a.npy")], ["bench", "--count", "1"], watch):
        run = station(*job, "--bundle", str(folder), *flags)
        assert (run.returncode, run.stdout) == (3, b"")
        assert b"bundle.json.sig is missing, and a signature is required" in run.stderr


def test_the_signature_is_of_the_bytes_that_are_used(
    nano: dict[str, bytes], signer: Signer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """bundle.json is read once: one put in its place after the check changes nothing."""
    write_files(tmp_path / "b", signer.signed(nano))
    reads: list[str] = []
    real = Path.open

    def open_(self: Path, *args: object, **options: object) -> object:
        reads.append(self.name)
        return real(self, *args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Path, "open", open_)
    load_bundle(tmp_path / "b", require_signature=signer.public)
    assert sorted(reads) == sorted([*nano, SIGNATURE, "public.pem"])


@pytest.mark.parametrize("name", NAMES)
def test_a_released_bundle_has_a_release_and_is_not_signed(name: str, signer: Signer) -> None:
    bundle = load_bundle(released(name) / "bundle")
    release = bundle.release
    assert not bundle.signed
    load(name, min_version=release)
    with pytest.raises(ModelError, match=f"release {release}; --min-version asks for {release + 1} or later"):
        load(name, min_version=release + 1)
    with pytest.raises(ModelError, match=r"is missing, and a signature is required.*edge\.signing sign"):
        load(name, require_signature=signer.public)
    with pytest.raises(ModelError, match="a run folder has no signature and no release"):
        load(released(name), require_signature=signer.public)


def test_a_key_that_signs_no_bundle_is_refused_by_name_and_with_2(tmp_path: Path) -> None:
    _, public = keys(tmp_path, "other", "rsa")
    run = station("selftest", "--bundle", "nano", "--require-signature", str(public))
    assert (run.returncode, run.stdout) == (2, b"")
    assert b"holds a key of the kind RSA; expected Ed25519, or ECDSA on P-256 or P-384" in run.stderr


@pytest.mark.parametrize("release", [-1, 1.5, "20261126", True, None, [], 10**400])
def test_a_release_is_a_whole_number(release: object, nano: dict[str, bytes], signer: Signer, tmp_path: Path) -> None:
    reseal(nano, json.loads(nano[MANIFEST]) | {"release": release})
    write_files(tmp_path / "b", nano)
    if type(release) is int and release >= 0:
        assert load_bundle(tmp_path / "b").release == release
        return
    with pytest.raises(ModelError, match=r"release -1|where a whole number is due"):
        load_bundle(tmp_path / "b")


# === What nobody signed must still agree with itself ===


def test_a_verdict_flipped_by_hand_is_found(nano: dict[str, bytes], tmp_path: Path) -> None:
    manifest = json.loads(nano[MANIFEST])
    gate = manifest["gate"]
    for lost in (gate["checks"][0], gate):
        lost["passed"] = False
    gate["checks"][0]["value"], gate["comparison"]["agreement"]["value"] = 97.0, 0.97
    reseal(nano, manifest | {"passed": False})
    write_files(tmp_path / "b", nano)
    with pytest.raises(ModelError, match="did not pass the accuracy gate"):
        load_bundle(tmp_path / "b")
    assert not load_bundle(tmp_path / "b", allow_ungated=True).passed
    for flipped, says in ((manifest, "'passed' is False"), (gate, "min_agreement is 97, where the limit is 99.5")):
        flipped["passed"] = True
        reseal(nano, manifest)
        write_files(tmp_path / "b", nano)
        for allow_ungated in (False, True):
            with pytest.raises(ModelError, match=says):
                load_bundle(tmp_path / "b", allow_ungated=allow_ungated)


def _with_golden(nano: dict[str, bytes], rows: list[int]) -> dict[str, bytes]:
    golden = load_bundle(released("nano") / "bundle").golden
    grids = tuple(golden.grids[i] for i in rows)
    features = None if golden.features is None else golden.features[rows]
    files = nano | {GOLDEN: Golden(grids, golden.logits[rows], golden.probabilities[rows], features).to_bytes()}
    reseal(files, json.loads(files[MANIFEST]))
    return files


@pytest.mark.parametrize(
    ("rows", "different"), [([0], 1), (list(range(19)), 19), ([0] * 40, 1), (list(range(20)), None)]
)
def test_less_than_20_different_golden_maps_are_too_few(
    rows: list[int], different: int | None, nano: dict[str, bytes], tmp_path: Path
) -> None:
    assert MIN_GOLDEN == 20
    write_files(tmp_path / "b", _with_golden(nano, rows))
    if different is None:
        assert len(load_bundle(tmp_path / "b").golden.grids) == 20
        return
    with pytest.raises(ModelError, match=f"golden.npz holds {different} different maps; expected 20 or more"):
        load_bundle(tmp_path / "b")


@pytest.mark.parametrize("name", ["notes.txt", "model_int16x8.tflite", "bundle.sig", "name \udcff"])
def test_a_file_that_is_no_part_of_the_bundle_is_refused(name: str, nano: dict[str, bytes], tmp_path: Path) -> None:
    write_files(tmp_path / "b", nano | {name: b""})
    shown = os.fsencode(name).decode(errors="backslashreplace")
    with pytest.raises(ModelError) as refused:
        load_bundle(tmp_path / "b")
    assert f"{shown} is no file of the bundle. Take {shown} out of the folder." in str(refused.value)


def test_hidden_files_and_signatures_are_let_be(nano: dict[str, bytes], tmp_path: Path) -> None:
    write_files(tmp_path / "b", nano | {".nfs0001": b"", ".DS_Store": b"", SIGNATURE: b"not asked for"})
    assert isinstance(load_bundle(tmp_path / "b"), Bundle)
    (tmp_path / "b" / "more").mkdir()
    with pytest.raises(ModelError, match="more is no file of the bundle"):
        load_bundle(tmp_path / "b")
