"""npz, Parquet and folders of grids; what the conversion command prints, refuses and leaves behind."""

import json
import resource
import signal
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tests import ROOT
from wafer_tf.dies import CLASSES
from wafer_tf.errors import InputError
from wafer_tf.readers import open_source, read, source, write_parquet
from wafer_tf.readers.__main__ import FIGURES, main
from wafer_tf.readers.summary import Summary
from wafer_tf.waferset import WaferSet


def wafers() -> WaferSet:
    """Six small maps of three shapes, two classes, one copy, one conflict, one without a label."""
    maps = [
        np.array(rows, np.uint8) for rows in ([[0, 1, 0], [1, 2, 1], [0, 1, 0]], [[1, 1, 1, 2]] * 3, [[2, 1, 1]] * 5)
    ]
    return WaferSet.from_maps(
        [maps[0], maps[1], maps[0], maps[2], maps[1], maps[0]],
        label=[0, 8, 0, 4, 4, -1],
        lot=["lot1", "lot1", "lot2", "lot2", "", "lot3"],
        wafer_index=[1, 2, 1, 2, 0, 25],
        official_split=["Training", "Training", "Test", "Test", "", ""],
    )


def arrays(found: WaferSet) -> dict[str, Any]:
    return {
        "flat": found.flat,
        "offsets": found.offsets,
        "shapes": found.shapes,
        "lot": found.lot,
        "wafer_index": found.wafer_index,
        "label": np.array([CLASSES[code] if code >= 0 else "" for code in found.label]),
        "official_split": found.official_split,
    }


def npz(path: Path, **changes: Any) -> Path:
    np.savez(path, **{name: value for name, value in (arrays(wafers()) | changes).items() if value is not None})
    return path


def assert_same(found: WaferSet, expected: WaferSet) -> None:
    for name in ("flat", "offsets", "shapes", "lot", "wafer_index", "label", "official_split"):
        a, b = getattr(found, name), getattr(expected, name)
        assert a.dtype == b.dtype, name
        np.testing.assert_array_equal(a, b, err_msg=name)


def leftovers(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# === What is read ===


def test_npz_is_told_by_content_not_by_name(tmp_path: Path) -> None:
    npz(tmp_path / "maps.npz").rename(tmp_path / "maps.parquet")
    assert_same(read(tmp_path / "maps.parquet"), wafers())


def test_npz_without_labels_is_unlabelled(tmp_path: Path) -> None:
    found = read(npz(tmp_path / "maps.npz", label=None, official_split=None))
    assert (found.label == -1).all()
    assert (found.official_split == "").all()


maps_of_any_size = hnp.arrays(np.uint8, st.tuples(st.integers(3, 9), st.integers(3, 9)), elements=st.integers(0, 2))


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    maps=st.lists(maps_of_any_size.filter(lambda grid: bool(grid.any())), min_size=1, max_size=8),
    data=st.data(),
)
def test_parquet_round_trip_is_exact(maps: list[Any], data: st.DataObject, tmp_path: Path) -> None:
    n = len(maps)
    text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=9)
    kept = WaferSet.from_maps(
        maps,
        label=data.draw(st.lists(st.integers(-1, 8), min_size=n, max_size=n)),
        lot=source.tight(np.array(data.draw(st.lists(text, min_size=n, max_size=n)), dtype=np.str_)),
        wafer_index=data.draw(st.lists(st.integers(0, 2**31 - 1), min_size=n, max_size=n)),
        official_split=source.tight(
            np.array(data.draw(st.lists(st.sampled_from(source.SPLITS), min_size=n, max_size=n)))
        ),
    )
    write_parquet(kept, tmp_path / "set.parquet", overwrite=True)
    assert_same(read(tmp_path / "set.parquet"), kept)


def test_parquet_has_the_documented_columns_for_other_engines(tmp_path: Path) -> None:
    write_parquet(wafers(), tmp_path / "set.parquet")
    table = pq.read_table(tmp_path / "set.parquet")
    said = ["wafer_id", "product", "step", "time"]
    assert table.column_names == ["dies", "rows", "cols", "lot", "wafer_index", "label", "split", *said]
    first = table.to_pylist()[0]
    assert first == {
        "dies": bytes([0, 1, 0, 1, 2, 1, 0, 1, 0]),
        "rows": 3,
        "cols": 3,
        "lot": "lot1",
        "wafer_index": 1,
        "label": "Center",
        "split": "Training",
        **dict.fromkeys(said),
    }
    assert table["label"].to_pylist()[5] is None
    assert json.loads(table.schema.metadata[b"classes"]) == list(CLASSES)


def test_a_long_set_is_written_in_row_groups_and_read_in_batches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source, "BATCH_ROWS", 4)
    write_parquet(wafers(), tmp_path / "set.parquet")
    assert pq.ParquetFile(tmp_path / "set.parquet").num_row_groups == 2
    with open_source(tmp_path / "set.parquet") as opened:
        assert [len(batch) for batch in opened.batches()] == [4, 2]
        assert opened.rows == 6
    assert_same(read(tmp_path / "set.parquet"), wafers())


def test_a_folder_of_class_folders_is_read_in_order_of_names(tmp_path: Path) -> None:
    grid = wafers().map(0)
    for name in ("Center", "edge-ring", "none"):
        (tmp_path / name).mkdir()
    np.save(tmp_path / "Center" / "b.npy", grid.astype(np.int64))
    (tmp_path / "edge-ring" / "a.csv").write_text("\ufeff0,1,0\n1,2,1\n0,1,0\n", encoding="utf-8")
    (tmp_path / "none" / "a.txt").write_text("0 1 0\n1 2 1\n0 1 0\n")
    found = read(tmp_path)
    assert [CLASSES[code] for code in found.label] == ["Center", "Edge-Ring", "none"]
    assert all(np.array_equal(found.map(i), grid) for i in range(3))
    assert (found.lot == "").all()


# === What is refused ===


def test_bad_npz_is_refused_by_what_is_wrong(tmp_path: Path) -> None:
    good = arrays(wafers())
    seven = good["flat"].copy()
    seven[10] = 7
    empty = good["flat"].copy()
    empty[:9] = 0
    cases: list[tuple[dict[str, Any], str]] = [
        ({"lot": None}, "without lot"),
        ({"flat": seven}, "row 1: die state 7 at row 0, column 1"),
        ({"flat": empty}, "row 0: no die at all"),
        ({"flat": good["flat"][:-1]}, r"flat has shape \(65,\); expected \(66,\)"),
        ({"flat": good["flat"].astype(object)}, "flat holds object; expected uint8"),
        ({"shapes": np.array([[50000, 20000]] * 6)}, "row 0: 50000 x 20000"),
        ({"shapes": good["shapes"][:0]}, "no wafer"),
        ({"offsets": good["offsets"] + 1}, "offsets and shapes disagree"),
        ({"label": np.array(["none"] * 5 + ["Blob"])}, "row 5: unknown class 'Blob'; expected one of Center, Donut"),
        ({"official_split": np.array(["Train"] * 6)}, "row 0: official split 'Train'"),
        ({"wafer_index": np.array([-1] * 6)}, "row 0: wafer_index -1"),
        ({"lot": np.full(6, 0x7FFFFFFF, np.uint32).view("<U1")}, "no Unicode"),
    ]
    for changes, text in cases:
        with pytest.raises(InputError, match=text):
            read(npz(tmp_path / "bad.npz", **changes))


def test_an_npy_header_of_a_billion_cells_is_refused_before_allocation(tmp_path: Path) -> None:
    header = b"\x93NUMPY\x01\x00" + (118).to_bytes(2, "little")
    header += b"{'descr': '|u1', 'fortran_order': False, 'shape': (40000, 25000), }".ljust(117) + b"\n"
    (tmp_path / "none").mkdir()
    (tmp_path / "none" / "big.npy").write_bytes(header)
    with pytest.raises(InputError, match="40000 x 25000"):
        read(tmp_path)
    good = arrays(wafers())
    with zipfile.ZipFile(tmp_path / "big.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        for name in good:
            with archive.open(f"{name}.npy", "w") as stream:
                if name == "shapes":
                    stream.write(header.replace(b"(40000, 25000), }", b"(500000000, 2), }"))
                else:
                    np.lib.format.write_array(stream, good[name])
    with pytest.raises(InputError, match="shapes claims 1000000000 bytes"):
        read(tmp_path / "big.npz")


def test_a_truncated_npz_or_parquet_is_refused_wherever_it_breaks_off(tmp_path: Path) -> None:
    npz(tmp_path / "whole.npz")
    write_parquet(wafers(), tmp_path / "whole.parquet")
    for whole in (tmp_path / "whole.npz", tmp_path / "whole.parquet"):
        content = whole.read_bytes()
        for length in range(8, len(content), 97):
            (tmp_path / "cut").write_bytes(content[:length])
            with pytest.raises(InputError, match=r"damaged or truncated|not a wafer file"):
                read(tmp_path / "cut")


def test_a_foreign_parquet_is_refused_by_what_differs(tmp_path: Path) -> None:
    write_parquet(wafers(), tmp_path / "set.parquet")
    table = pq.read_table(tmp_path / "set.parquet")
    metadata = dict(table.schema.metadata)
    cases = [
        (table.drop_columns(["lot"]), "column lot is missing"),
        (table.replace_schema_metadata({**metadata, b"format": b"wafer_tf wafer set 9"}), "wafer set 9"),
        (table.replace_schema_metadata(None), "not stated"),
        (table.replace_schema_metadata({**metadata, b"classes": b'["none"]'}), "classes"),
        (table.set_column(1, "rows", pa.array([4] * 6, pa.int32())), "row 0: 9 bytes of dies for 4 rows x 3"),
        (table.set_column(0, "dies", pa.array([b"\x07" * 9] * 6)), "die state 7|bytes of dies"),
        (table.set_column(5, "label", pa.array(["Blob"] * 6)), "row 0: unknown class 'Blob'"),
        (table.set_column(3, "lot", pa.array(["x" * 9999] * 6)), "a text of 9999 characters"),
    ]
    for changed, text in cases:
        pq.write_table(changed, tmp_path / "bad.parquet")
        with pytest.raises(InputError, match=text):
            read(tmp_path / "bad.parquet")


@pytest.mark.parametrize(
    "content", [b"", b"\x00" * 40, b"hello, wafer", bytes(range(256)), b"\x80\x09abc", b"PAR1", b"PK\x03\x04"]
)
def test_what_is_no_wafer_file_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(InputError, match=r"not a wafer file|damaged|empty|expected 0|a pickle, which"):
        read(tmp_path / "file")


def test_folders_that_are_no_wafer_set_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read(tmp_path / "absent")
    with pytest.raises(InputError, match="not a wafer file: a folder without maps"):
        read(tmp_path)
    (tmp_path / "none").mkdir()
    with pytest.raises(InputError, match="not a wafer file: a folder without maps"):
        read(tmp_path)
    (tmp_path / "Blob").mkdir()
    with pytest.raises(InputError, match="unknown class 'Blob'; expected one of Center"):
        read(tmp_path)
    (tmp_path / "Blob").rmdir()
    for text, error in (
        ("1,1,1\n1,1\n", "row 1 has 2 cells"),
        ("1,1,x\n", "'x' at row 0, column 2"),
        ("", "0 x 0 cells|empty"),
    ):
        (tmp_path / "none" / "a.csv").write_text(text)
        with pytest.raises(InputError, match=error):
            read(tmp_path)


# === The command ===


def test_the_command_converts_prints_and_draws(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source_path, target = npz(tmp_path / "in.npz"), tmp_path / "out.parquet"
    assert main([str(source_path), str(target), "--report", str(tmp_path / "report")]) == 0
    out = capsys.readouterr().out
    for line in (
        "wafers              6",
        "labelled            5",
        "lots                3",
        "Center              2         1         1         0",
        "identical maps: 2 groups of two or more, 5 wafers in them",
        "Test wafers whose map is in Training: 1",
        "identical maps with different labels: 1 groups, 2 wafers",
    ):
        assert line in out
    assert_same(read(target), wafers())
    assert leftovers(tmp_path / "report") == sorted(FIGURES)


def test_maps_of_equal_bytes_but_other_shape_are_no_copies() -> None:
    summary = Summary()
    grids = [np.ones((3, 8), np.uint8), np.ones((8, 3), np.uint8), np.ones((3, 8), np.uint8)]
    summary.add(WaferSet.from_maps(grids, label=[0, 0, 0]))
    assert summary.copies().wafers == 2


def test_the_command_overwrites_only_when_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source_path, target = npz(tmp_path / "in.npz"), tmp_path / "out.parquet"
    target.write_text("mine")
    assert main([str(source_path), str(target)]) == 4
    assert "--overwrite" in capsys.readouterr().err
    assert target.read_text() == "mine"
    assert main([str(source_path), str(target), "--overwrite"]) == 0
    assert_same(read(target), wafers())


def test_bad_input_ends_in_one_line_and_code_4_and_leaves_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    seven = arrays(wafers())["flat"].copy()
    seven[-1] = 7
    npz(tmp_path / "in.npz", flat=seven)
    assert main([str(tmp_path / "in.npz"), str(tmp_path / "out.parquet")]) == 4
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert "die state 7" in errors[0]
    assert leftovers(tmp_path) == ["in.npz"]
    with pytest.raises(SystemExit) as stop:
        main(["--no-such-flag"])
    assert stop.value.code == 2


def command(*arguments: str, **options: Any) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "wafer_tf.readers", *arguments],
        cwd=ROOT,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        **options,
    )


def noisy(path: Path, n: int) -> Path:
    flat = np.random.default_rng(0).integers(1, 3, n * 90_000, dtype=np.uint8)
    columns = {"lot": np.full(n, "lot1"), "wafer_index": np.ones(n, np.int32)}
    np.savez(path, flat=flat, offsets=np.arange(n + 1) * 90_000, shapes=np.full((n, 2), 300), **columns)
    return path


def test_a_full_disk_ends_in_code_4_and_leaves_nothing(tmp_path: Path) -> None:
    noisy(tmp_path / "in.npz", 20)

    def small_disk() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    run = command(str(tmp_path / "in.npz"), str(tmp_path / "out.parquet"), preexec_fn=small_disk)
    _, err = run.communicate(timeout=60)
    assert run.returncode == 4, err
    assert "could not be written (File too large); nothing was kept" in err
    assert "Traceback" not in err
    assert leftovers(tmp_path) == ["in.npz"]


def test_ctrl_c_removes_the_partial_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The signal comes while the second batch is being written, whatever else the machine does."""
    from wafer_tf.readers import parquet

    noisy(tmp_path / "in.npz", 1000)
    table, calls = parquet._table, []

    def interrupted(*args: Any) -> Any:
        calls.append(leftovers(tmp_path))
        if len(calls) == 2:
            signal.raise_signal(signal.SIGINT)
        return table(*args)

    monkeypatch.setattr(parquet, "_table", interrupted)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    try:
        assert main([str(tmp_path / "in.npz"), str(tmp_path / "out.parquet")]) == 130
    finally:
        signal.signal(signal.SIGINT, before)
    assert any(name.endswith(".partial") for name in calls[1])
    assert "Traceback" not in capsys.readouterr().err
    assert leftovers(tmp_path) == ["in.npz"]
