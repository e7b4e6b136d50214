"""The station's commands as a user runs them, and what reaches the model on the way."""

import json
import os
import subprocess
import sys
import warnings
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.mutated_inputs import broken, judged, mutated, originals
from edge.station.__main__ import main, parser
from edge.station.classifier import Classifier
from edge.station.inputs import find_maps
from edge.station.records import answered, from_line, rejected, to_line
from tests.station import ROOT, assert_whole, bare_environment, npy, npz, station, synthetic, text, wafer_set
from wafer_tf.bundle import load_bundle
from wafer_tf.decision import REVIEW_BELOW
from wafer_tf.decision.points import Point
from wafer_tf.dies import CLASSES
from wafer_tf.encoding import encode, to_float
from wafer_tf.learning.pipeline import evaluation_batches
from wafer_tf.readers import read

GRID = synthetic(1)[0]
HEAVY = ("tensorflow", "keras", "pandas", "scipy", "matplotlib", "pyarrow", "sklearn", "tqdm")


@pytest.fixture(scope="module")
def classifier(bundle_path: Path) -> Classifier:
    """The tests' bundle, loaded."""
    return Classifier(load_bundle(bundle_path))


def classify(*maps: str, bundle: Path, stdin: bytes = b"", code: int = 0, flags: tuple[str, ...] = ()) -> list[Any]:
    run = station("classify", *maps, "--bundle", str(bundle), *flags, stdin=stdin)
    assert run.returncode == code, run.stderr.decode()
    assert b"Traceback" not in run.stderr
    records = [json.loads(line) for line in run.stdout.decode("ascii").splitlines()]
    for record in records:
        assert_whole(record)
    return records


# === Records ===


@given(
    st.text(st.characters(), max_size=30),
    st.text(st.characters(), max_size=600),
    st.floats(0, 1e6),
    st.lists(st.floats(-30, 30), min_size=9, max_size=9),
)
def test_a_record_is_one_ascii_line_and_comes_back_whole(
    name: str, reason: str, ms: float, logits: list[float]
) -> None:
    powers = np.exp(np.array(logits) - max(logits))
    about = {"input_sha256": "a" * 64, "bundle_sha256": "b" * 64, "ms": ms}
    for record in (
        answered(name, powers / powers.sum(), **about),
        rejected(name, reason or "?", **about),
    ):
        assert_whole(record)
        line = to_line(record)
        assert line == json.dumps(record) + "\n"
        assert line.isascii()
        assert line.index("\n") == len(line) - 1
        assert from_line(line) == record
        for torn in (line[:-1], line[: len(line) // 2] + "\n", "{}\n", "\n"):
            with pytest.raises(ValueError, match=r"."):
                from_line(torn)


@pytest.mark.parametrize("ms", [float("nan"), float("inf")])
def test_a_record_with_a_number_that_json_lacks_is_never_written(ms: float) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        to_line(rejected("W1", "?", input_sha256=None, bundle_sha256="b") | {"ms": ms})


def test_the_decision_is_none_defect_or_review() -> None:
    def decision(top: int, probability: float) -> Any:
        probabilities = np.full(9, (1 - probability) / 8)
        probabilities[top] = probability
        about = {"input_sha256": None, "bundle_sha256": "b", "ms": 0.0}
        return answered("W1", probabilities, point=Point(review_below=0.6), **about)["decision"]

    assert (decision(8, 0.9), decision(8, 0.6), decision(8, 0.59)) == ("none", "none", "review")
    assert (decision(7, 0.9), decision(7, 0.6), decision(7, 0.59)) == ("defect", "defect", "review")


# === What reaches the model ===


def test_the_station_encodes_as_training_does_bit_for_bit(real_npz: Path) -> None:
    wafers = read(real_npz).select(np.arange(0, 4048, 40))
    trained = np.concatenate([x.numpy() for x, _ in evaluation_batches(wafers)])
    for i in range(len(wafers)):
        grid = wafers.map(i)
        for data in (npy(grid), text(grid), npz(map=grid), npy(grid.astype(np.int64), order="F")):
            (found,) = find_maps(data, "map")
            np.testing.assert_array_equal(to_float(encode(found.grid)), trained[i])  # type: ignore[arg-type]


def test_a_record_says_what_the_model_and_the_gates_decision_say(classifier: Classifier) -> None:
    grids = synthetic(2)
    logits = np.stack([classifier.tflite.logits(encode(grid, classifier.bundle.input_size)) for grid in grids])
    together = classifier.bundle.decision.probabilities(logits)  # as the gate does it, all maps at once
    labels = set()
    for grid, expected in zip(grids, together, strict=True):
        (record,) = classifier.judge(npy(grid), "map")
        assert list(record["probabilities"].values()) == [round(p, 6) for p in expected.tolist()]
        assert record["label"] == CLASSES[expected.argmax()]
        labels.add(record["label"])
    assert len(labels) > 1


def test_every_mutated_input_becomes_records_and_none_a_traceback(classifier: Classifier) -> None:
    statuses = set()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for data in mutated(originals(synthetic(1)[:4]), 600, seed=3):
            records = judged(classifier, data)
            assert records
            assert [fault for record in records if (fault := broken(record))] == []
            statuses |= {record["status"] for record in records}
    assert statuses == {"ok", "rejected"}


# === classify ===


def test_classify_prints_one_record_per_map_in_order_and_goes_on_after_bad_ones(
    bundle_path: Path, tmp_path: Path
) -> None:
    files = {
        "a.npy": npy(GRID),
        "b.csv": text(GRID),
        "c.npz": npz(map=GRID),
        "d.dat": wafer_set([GRID, GRID]),
        "e.npy": npy(GRID * 3),
        "f.csv": text(GRID).decode().encode("utf-16"),
        "h.parquet": b"PAR1" + bytes(9),
    }
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    (tmp_path / "folder").mkdir()
    asked = [str(tmp_path / name) for name in ("a.npy", "b.csv", "c.npz", "d.dat", "e.npy", "f.csv")]
    asked += [str(tmp_path / name) for name in ("absent.npy", "folder", "h.parquet")] + [str(tmp_path / "a.npy")]
    records = classify(*asked, bundle=bundle_path)
    assert [record["id"] for record in records] == [*asked[:3], "L7/1", "L7/2", *asked[4:]]
    statuses = ["ok"] * 5 + ["rejected", "ok"] + ["rejected"] * 3 + ["ok"]
    assert [record["status"] for record in records] == statuses
    judged_alike = [
        {key: record[key] for key in ("label", "probabilities", "decision")}
        for record in records
        if not record["reason"]
    ]
    assert all(judgement == judged_alike[0] for judgement in judged_alike)
    reasons = ["die state", "No such file", "Is a directory", "python -m edge.classify"]
    for record, reason in zip([records[5], *records[7:10]], reasons, strict=True):
        assert reason in record["reason"]
    assert records[7]["input_sha256"] is None
    sums = subprocess.run(["sha256sum", asked[0], asked[4]], capture_output=True, text=True, check=True).stdout.split()
    assert [records[0]["input_sha256"], records[5]["input_sha256"]] == sums[::2]
    assert {record["bundle_sha256"] for record in records} == {load_bundle(bundle_path).sha256}


def test_strict_turns_a_rejected_map_into_code_4(bundle_path: Path, tmp_path: Path) -> None:
    (tmp_path / "a.npy").write_bytes(npy(GRID))
    assert len(classify(str(tmp_path / "a.npy"), bundle=bundle_path, flags=("--strict",))) == 1
    (tmp_path / "b.npy").write_bytes(b"")
    found = classify(*map(str, sorted(tmp_path.iterdir())), bundle=bundle_path, flags=("--strict",), code=4)
    assert [record["status"] for record in found] == ["ok", "rejected"]


def test_a_stream_on_standard_input_is_judged_map_by_map(bundle_path: Path) -> None:
    arrays = npy(GRID) + npy(GRID * 3) + npy(GRID)[:-1] + npy(GRID)
    texts = text(GRID) + b"\n\n" + text(GRID * 3) + b"\nhello\n\n" + text(GRID)
    for stdin in (arrays, texts):
        records = classify("-", bundle=bundle_path, stdin=stdin)
        assert [record["id"] for record in records] == [f"stdin:{i}" for i in range(4)]
        assert [record["status"] for record in records] == ["ok", "rejected", "rejected", "ok"]
    assert [r["id"] for r in classify("-", bundle=bundle_path, stdin=wafer_set([GRID, GRID]))] == ["L7/1", "L7/2"]
    assert classify("-", bundle=bundle_path, stdin=b"") == []


def test_a_record_is_written_while_the_stream_is_still_open(bundle_path: Path) -> None:
    """A tool that waits for the answer before it sends its next wafer must get it."""
    command = [sys.executable, "-m", "edge.station", "classify", "-", "--bundle", str(bundle_path)]
    run = subprocess.Popen(
        command, cwd=ROOT, env=bare_environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert run.stdin is not None
    assert run.stdout is not None
    for number in range(3):
        run.stdin.write(text(GRID) + b"\n")
        run.stdin.flush()
        assert json.loads(run.stdout.readline())["id"] == f"stdin:{number}"
    run.communicate(timeout=60)
    assert run.returncode == 0


def test_a_reader_that_goes_away_ends_the_station_quietly(bundle_path: Path, tmp_path: Path) -> None:
    (tmp_path / "a.npy").write_bytes(npy(GRID))
    command = [sys.executable, "-m", "edge.station", "classify", *[str(tmp_path / "a.npy")] * 2000]
    run = subprocess.Popen(
        [*command, "--bundle", str(bundle_path)],
        cwd=ROOT,
        env=bare_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert run.stdout is not None
    assert run.stderr is not None
    run.stdout.readline()
    run.stdout.close()
    errors = run.stderr.read()
    run.stderr.close()
    assert run.wait(60) == 141
    assert b"Error" not in errors


def test_a_full_disk_under_the_records_is_an_error_not_a_silence(bundle_path: Path, tmp_path: Path) -> None:
    (tmp_path / "a.npy").write_bytes(npy(GRID))
    with Path("/dev/full").open("wb") as full:
        run = subprocess.run(
            [sys.executable, "-m", "edge.station", "classify", str(tmp_path / "a.npy"), "--bundle", str(bundle_path)],
            cwd=ROOT,
            env=bare_environment(),
            stdout=full,
            stderr=subprocess.PIPE,
            check=False,
        )
    assert run.returncode == 4
    assert b"No space left on device" in run.stderr


def test_a_closed_standard_output_is_an_error_not_a_traceback(bundle_path: Path, tmp_path: Path) -> None:
    (tmp_path / "w.npy").write_bytes(npy(GRID))
    run = station("classify", str(tmp_path / "w.npy"), "--bundle", str(bundle_path), preexec_fn=partial(os.close, 1))
    assert run.returncode == 4
    assert run.stderr == b"error: standard output: is closed; the records are printed there.\n"


def test_a_closed_standard_error_puts_no_words_among_the_records(bundle_path: Path, tmp_path: Path) -> None:
    (tmp_path / "w.npy").write_bytes(npy(GRID))
    run = station("classify", str(tmp_path / "w.npy"), "--bundle", str(bundle_path), preexec_fn=partial(os.close, 2))
    assert run.returncode == 0
    (line,) = run.stdout.splitlines()
    assert_whole(json.loads(line))


def test_a_file_name_that_is_no_unicode_is_a_readable_id(bundle_path: Path, tmp_path: Path) -> None:
    name = os.fsencode(tmp_path) + b"/\xff.npy"
    with open(name, "wb") as file:  # noqa: PTH123  # a Path cannot hold it
        file.write(npy(GRID))
    (record,) = classify(os.fsdecode(name), bundle=bundle_path)
    assert record["id"].endswith("/\\xff.npy")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["classify", "-", "-"], "standard input can be read only once"),
        (["classify"], "MAP"),
        (["classify", "-", "--threads", "0"], "expected a whole number of 1 to 64"),
        (["classify", "-", "--review-below", "1.5"], "expected a number from 0 to 1"),
        (["classify", "-", "--review-below", "nan"], "expected a number from 0 to 1"),
        (["bench", "--count", "0"], "--count 0; expected at least 1"),
        (["fly"], "invalid choice"),
        ([], "JOB"),
    ],
)
def test_wrong_usage_ends_with_2(
    arguments: list[str], says: str, bundle_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        code = main([*arguments, "--bundle", str(bundle_path)] if arguments else [])
    except SystemExit as stop:
        code = int(stop.code or 0)
    assert code == 2
    assert says in capsys.readouterr().err


# === selftest, bench ===


def test_selftest_says_what_it_checked(
    bundle_path: Path, capsys: pytest.CaptureFixture[str], classifier: Classifier
) -> None:
    assert main(["selftest", "--bundle", str(bundle_path)]) == 0
    out = capsys.readouterr().out
    assert classifier.bundle.sha256 in out
    assert "golden    21 maps, outputs at most 0 steps from the gate's" in out


def test_bench_measures_the_model_alone_and_the_whole_path(
    bundle_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.csv").write_bytes(text(GRID))
    assert main(["bench", str(tmp_path / "a.csv"), "--count", "30", "--json", "--bundle", str(bundle_path)]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["maps"] == 30
    assert 0 < found["inference_ms"][0] < found["path_ms"][0] <= found["path_ms"][1]
    assert found["ratio"] > 1
    assert found["xnnpack"] is True
    assert main(["bench", "--count", "3", "--bundle", str(bundle_path)]) == 0
    assert "start to first label" in capsys.readouterr().out
    (tmp_path / "b.csv").write_bytes(b"7")
    assert main(["bench", str(tmp_path / "b.csv"), "--bundle", str(bundle_path)]) == 4


# === What the station needs ===


def test_the_station_imports_only_numpy_and_litert_beyond_the_standard_library(
    bundle_path: Path, tmp_path: Path
) -> None:
    (tmp_path / "a.npy").write_bytes(npy(GRID))
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "b.csv").write_bytes(text(GRID))
    program = f"""
import json, sys
before = set(sys.modules)
from edge.station.__main__ import main
bundle = ["--bundle", {str(bundle_path)!r}]
codes = [
    main(["classify", {str(tmp_path / "a.npy")!r}, *bundle]),
    main(["selftest", *bundle]),
    main(["bench", "--count", "2", *bundle]),
    main(["watch", {str(tmp_path / "in")!r}, "--out", {str(tmp_path / "out")!r}, "--once", "--settle", "0", *bundle]),
]
assert codes == [0, 0, 0, 0], codes
roots = {{name.partition(".")[0] for name in set(sys.modules) - before}}
print(json.dumps(sorted(roots - set(sys.stdlib_module_names))), file=sys.stderr)
"""
    run = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env=bare_environment(), capture_output=True, check=False
    )
    assert run.returncode == 0, run.stderr.decode()
    loaded = set(json.loads(run.stderr.splitlines()[-1]))
    assert loaded == {"ai_edge_litert", "edge", "numpy", "wafer_tf"}
    assert not loaded & set(HEAVY)


def test_what_is_likely_enough_is_the_same_on_a_station_and_in_python() -> None:
    assert parser().parse_args(["selftest"]).review_below == REVIEW_BELOW


def test_a_machine_without_numpy_is_told_what_to_install(bundle_path: Path) -> None:
    call = [sys.executable, "-S", "-m", "edge.station", "selftest", "--bundle", str(bundle_path)]
    run = subprocess.run(call, cwd=ROOT, env=bare_environment(), capture_output=True, timeout=120, check=False)
    assert run.returncode == 2
    assert run.stderr.startswith(b"error: numpy is not installed, and this needs it: pip install numpy")


def test_help_imports_nothing_heavy() -> None:
    for arguments in (["--help"], ["classify", "--help"], ["bench", "--help"]):
        program = f"import sys\nfrom edge.station.__main__ import main\ntry: main({arguments})\n"
        program += "except SystemExit: print([*sys.modules])"
        run = subprocess.run(
            [sys.executable, "-c", program], cwd=ROOT, env=bare_environment(), capture_output=True, check=True
        )
        assert b"station classify" in run.stdout or b"--bundle" in run.stdout
        assert b"'numpy'" not in run.stdout.splitlines()[-1]
        assert b"litert" not in run.stdout.splitlines()[-1]


def test_the_station_writes_nothing_but_what_it_is_asked_to(bundle_path: Path, tmp_path: Path) -> None:
    """So that it runs on a read-only root, as its image does."""
    (tmp_path / "a.npy").write_bytes(npy(GRID))
    program = f"""
import os, sys
writes = []
def watch(event, args):
    if event == "open" and isinstance(args[2], int) and args[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
        writes.append(args[0])
    elif event in ("os.mkdir", "os.rename", "os.remove", "tempfile.mkstemp"):
        writes.append(args[0])
sys.addaudithook(watch)
from edge.station.__main__ import main
bundle = ["--bundle", {str(bundle_path)!r}]
for job in (["classify", {str(tmp_path / "a.npy")!r}], ["selftest"], ["bench", "--count", "2"]):
    assert main([*job, *bundle]) == 0
assert writes == [], writes
"""
    environment = bare_environment() | {
        "PYTHONDONTWRITEBYTECODE": "1",
        "HOME": "/nonexistent",
        "TMPDIR": "/nonexistent",
    }
    run = subprocess.run([sys.executable, "-c", program], cwd=ROOT, env=environment, capture_output=True, check=False)
    assert run.returncode == 0, run.stderr.decode()


def test_the_stations_requirements_are_the_pinned_ones() -> None:
    pinned = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line)
    wanted = [line for line in (ROOT / "requirements-station.txt").read_text().splitlines() if line[:1] != "#"]
    assert wanted[0].startswith("ai-edge-litert==")
    for line in wanted:
        pin, _, where = line.partition(";")
        name, _, number = pin.partition("==")
        assert pinned[name] == number or 'python_version < "3.11"' in where  # for which the others have no wheels
