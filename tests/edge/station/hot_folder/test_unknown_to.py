"""Files with an unknown wafer go into a folder of their own, as safely as the others into theirs."""

from pathlib import Path

import pytest

from tests.hot_folder import lines, names, once


def test_a_file_with_an_unknown_wafer_goes_where_the_user_says(inbox: Path, out: Path, tmp_path: Path) -> None:
    strange = tmp_path / "strange"
    sent = {"a": b"1", "b": b"odd", "c": b"2\nodd\n3\n", "d": b"bad", "e": b"bad\nodd"}
    for name, contents in sent.items():
        (inbox / name).write_bytes(contents)
    assert once(inbox, out, unknown_to=strange) == 0
    assert names(strange) == {"b", "c"}
    assert names(inbox / "done") == {"a"}
    assert names(inbox / "quarantine") == {"d", "d.reason.txt", "e", "e.reason.txt"}
    assert {name: (strange / name).read_bytes() for name in ("b", "c")} == {"b": sent["b"], "c": sent["c"]}


def test_without_a_folder_for_them_files_with_an_unknown_wafer_go_to_done(inbox: Path, out: Path) -> None:
    (inbox / "a").write_bytes(b"odd")
    assert once(inbox, out) == 0
    assert names(inbox / "done") == {"a"}
    (record,) = lines(out / "records.jsonl")
    assert (record["decision"], record["unknown_score"]) == ("unknown", 0.997)


def test_a_copy_of_an_unknown_wafer_goes_there_too_and_never_onto_another_file(
    inbox: Path, out: Path, tmp_path: Path
) -> None:
    strange = tmp_path / "strange"
    for name, contents in (("a", b"odd"), ("b", b"odd")):
        (inbox / name).write_bytes(contents)
    assert once(inbox, out, unknown_to=strange) == 0
    assert names(strange) == {"a", "b"}
    (inbox / "a").write_bytes(b"odd, and another")
    assert once(inbox, out, unknown_to=strange) == 0
    assert sorted(path.read_bytes() for path in strange.iterdir()) == [b"odd", b"odd", b"odd, and another"]


def test_a_folder_of_the_unknown_within_in_is_the_stations_own(
    inbox: Path, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (inbox / "a").write_bytes(b"odd")
    for _ in range(2):
        assert once(inbox, out, unknown_to=inbox / "strange") == 0
    assert names(inbox / "strange") == {"a"}
    assert "left alone" not in capsys.readouterr().err


def test_an_unknown_wafer_whose_record_was_lost_is_judged_again(inbox: Path, out: Path, tmp_path: Path) -> None:
    strange = tmp_path / "strange"
    (inbox / "a").write_bytes(b"odd")
    (inbox / "b").write_bytes(b"1")
    assert once(inbox, out, unknown_to=strange) == 0
    records = out / "records.jsonl"
    damaged = bytearray(records.read_bytes())
    damaged[damaged.index(b'"unknown"') + 2] ^= 1
    records.write_bytes(damaged)
    assert once(inbox, out, unknown_to=strange) == 0
    assert names(strange) == {"a"}
    assert {record["decision"] for record in lines(out / "records.jsonl")} == {"defect", "unknown"}


@pytest.mark.parametrize("place", ["in", "in/done", "in/quarantine", "out", "nowhere/strange", "file"])
def test_a_folder_of_the_unknown_that_is_none_of_its_own_is_refused(
    place: str, inbox: Path, out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (inbox, out) == (tmp_path / "in", tmp_path / "out")
    (tmp_path / "file").write_bytes(b"1")
    (inbox / "a").write_bytes(b"odd")
    assert once(inbox, out, unknown_to=tmp_path / place) == 2
    assert f"--unknown-to {tmp_path / place}: " in capsys.readouterr().err
    assert (inbox / "a").read_bytes() == b"odd"


def test_a_folder_of_the_unknown_on_another_file_system_is_refused(
    inbox: Path, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    elsewhere = Path("/dev/shm")
    if not elsewhere.is_dir() or elsewhere.stat().st_dev == inbox.stat().st_dev:
        pytest.skip("there is no second file system here")
    place = elsewhere / "wafer_tf-unknown"
    assert once(inbox, out, unknown_to=place) == 2
    assert f"--unknown-to {place}: is on another file system than IN" in capsys.readouterr().err
    assert not place.exists()
