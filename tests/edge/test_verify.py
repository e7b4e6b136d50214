"""`wafer-tf verify`: the records of a hot folder, told from a bundle."""

import json
from pathlib import Path

import pytest

from edge.station.hot_folder.record_files import Ledger
from edge.station.records import rejected, said
from edge.verify import main

SHA = "ab" * 32


def _out(folder: Path, count: int) -> Path:
    folder.mkdir()
    ledger = Ledger(folder)
    ledger.open()
    records = [
        rejected(
            f"W{number}",
            "no map",
            input_sha256=SHA,
            bundle_sha256="b",
            said=said(None, format=None, file="f", file_sha256=SHA, map=number, maps=count),
        )
        for number in range(1, count + 1)
    ]
    ledger.add_records([(record, json.dumps(record) + "\n") for record in records])
    ledger.close()
    return folder


def test_records_as_they_were_written_are_whole(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(_out(tmp_path / "out", 3))]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'out'}: 3 lines, whole\n"


def test_a_changed_record_is_named_with_its_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = _out(tmp_path / "out", 3) / "records.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"W2"', b'"W9"'))
    assert main([str(tmp_path / "out")]) == 4
    told = capsys.readouterr().out.splitlines()
    assert told[0].startswith(f"{path}: line 2, at byte ")
    assert "3 lines, 1 with a fault" in told[-1]


def test_a_folder_without_records_is_taken_for_a_bundle(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path)]) == 2
    assert "holds no records.jsonl; for a bundle, say by which key it is signed" in capsys.readouterr().err
