"""`station inspect`: what is in a file, in lines and as JSON, and why one cannot be read."""

import io
import json
from pathlib import Path

import pytest

from edge.inspect import main as inspect
from edge.station.__main__ import main
from tests import SHARED
from tests.wafer_tf.formats.grid_files import SMALL
from tests.wafer_tf.formats.writers_stdf import write_stdf

REAL = SHARED / "data" / "formats"
Told = pytest.CaptureFixture[str]


@pytest.fixture
def lot(tmp_path: Path) -> Path:
    path = tmp_path / "lot.stdf"
    path.write_bytes(write_stdf([(SMALL, "L7", f"W{number}") for number in (1, 2, 3)]))
    return path


def test_a_file_of_one_wafer_is_told_in_full(tmp_path: Path, capsys: Told) -> None:
    (tmp_path / "one.stdf").write_bytes(write_stdf([(SMALL, "L7", "W1")]))
    assert main(["inspect", str(tmp_path / "one.stdf")]) == 0
    told = capsys.readouterr().out
    assert told.splitlines()[0] == f"{tmp_path / 'one.stdf'}: STDF V4, 1 wafer"
    for line in (
        "  lot        L7",
        "  wafer      W1",
        "  grid       5 rows x 7 columns, row 0 on top, notch down",
        "  dies       26: 21 pass (80.8 %), 5 fail",
    ):
        assert line in told.splitlines()


def test_of_many_wafers_there_is_a_table_and_the_first_in_full(lot: Path, capsys: Told) -> None:
    assert main(["inspect", str(lot)]) == 0
    told = capsys.readouterr().out
    assert [line.split()[:3] for line in told.splitlines()[3:6]] == [[str(n), "L7", f"W{n}"] for n in (1, 2, 3)]
    assert told.count("  grid   ") == 1
    assert main(["inspect", "--all", str(lot)]) == 0
    assert capsys.readouterr().out.count("  grid   ") == 3


def test_as_json_it_is_a_line_a_file(lot: Path, capsys: Told) -> None:
    assert main(["inspect", "--json", str(lot), str(lot)]) == 0
    first, second = map(json.loads, capsys.readouterr().out.splitlines())
    assert first == second
    assert (first["format"], first["refused"], len(first["wafers"])) == ("STDF V4", None, 3)
    wafer = first["wafers"][1]
    assert (wafer["lot"], wafer["wafer"], wafer["rows"], wafer["cols"]) == ("L7", "W2", 5, 7)
    assert (wafer["pass"], wafer["fail"]) == (21, 5)


def test_a_file_that_cannot_be_read_is_explained(tmp_path: Path, capsys: Told) -> None:
    (tmp_path / "map.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(20))
    assert main(["inspect", str(tmp_path / "map.png")]) == 4
    told = capsys.readouterr().out
    assert told.startswith(f"{tmp_path / 'map.png'}: not recognised\n  refused ")
    assert "a PNG" in told
    assert main(["inspect", str(tmp_path / "absent")]) == 4
    assert "cannot be read (No such file or directory)" in capsys.readouterr().err


def test_the_maps_are_drawn_and_nothing_is_replaced_unasked(lot: Path, tmp_path: Path, capsys: Told) -> None:
    picture = tmp_path / "maps.png"
    assert inspect([str(lot), "--picture", str(picture)]) == 0
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert inspect([str(lot), "--picture", str(picture)]) == 2
    assert "is there already; add --overwrite" in capsys.readouterr().err
    assert inspect([str(lot), "--picture", str(picture), "--overwrite"]) == 0


@pytest.mark.skipif(not REAL.is_dir(), reason="needs the real files in ../shared")
def test_a_real_lot_is_told_with_its_bins_and_retests(capsys: Told) -> None:
    assert main(["inspect", str(REAL / "lot2.stdf.gz")]) == 0
    told = capsys.readouterr().out.splitlines()
    for line in (
        "  product    GOLD8BAR",
        "  dies       1,456: 1,389 pass (95.4 %), 67 fail",
        "  bins       1: 1,389 pass, 2: 20, 4: 3, 5: 10, 7: 3, 8: 24, 10: 5, 15: 1, 17: 1",
        "  retested   113 dies",
    ):
        assert line in told


def test_what_a_refused_file_looks_like_and_what_to_do_is_said(tmp_path: Path, capsys: Told) -> None:
    (tmp_path / "notes").write_text("Dear all,\n\nthe lot is late.\n")
    (tmp_path / "cut.stdf").write_bytes(write_stdf([(SMALL, "L7", "W1")])[:40])
    assert main(["inspect", str(tmp_path / "notes"), str(tmp_path / "cut.stdf")]) == 4
    told = capsys.readouterr().out
    assert '  looks like text, 28 bytes, which begins "Dear all,"\n  what to do ' in told
    assert "  looks like STDF V4, 40 bytes\n" in told
    assert main(["inspect", "--json", str(tmp_path / "notes")]) == 4
    assert json.loads(capsys.readouterr().out)["looks_like"].startswith("text, 28 bytes")


def test_a_name_that_the_terminal_cannot_show_is_escaped(
    lot: Path, capsys: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    lot.write_bytes(write_stdf([(SMALL, "L\xfc", "W1")]))
    out = io.TextIOWrapper(io.BytesIO(), encoding="ascii", errors="strict")
    monkeypatch.setattr("sys.stdout", out)
    assert main(["inspect", str(lot)]) == 0
    assert b"  lot        L\\xfc\n" in out.buffer.getvalue()  # type: ignore[attr-defined]
