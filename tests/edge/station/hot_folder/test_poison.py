"""A file that ends the station: the others get their records, and after the third time it is read no more."""

import os
from pathlib import Path

import pytest

from edge.station.hot_folder import in_hand
from edge.station.hot_folder.in_hand import InHand
from edge.station.hot_folder.watch import watch
from edge.station.records import Record
from tests.hot_folder import judge, lines, names, once
from wafer_tf.errors import UsageError


class Death(BaseException):
    """What no handler of the station catches, as the system's kill."""


def deadly(data: bytes, name: str) -> list[Record]:
    if data.startswith(b"poison"):
        raise Death
    return judge(data, name)


def _send(inbox: Path, files: int, *, poison: int) -> None:
    for number in range(files):
        (inbox / f"{number}.npy").write_bytes(b"poison" if number == poison else b"%d\n" % number)
        os.utime(inbox / f"{number}.npy", (1e9 + number, 1e9 + number))


def test_a_file_that_ends_the_station_three_times_goes_to_quarantine_unread(inbox: Path, out: Path) -> None:
    _send(inbox, 5, poison=2)
    for deaths in (1, 2, 3):
        with pytest.raises(Death):
            once(inbox, out, deadly)
        recorded = lines(out / "records.jsonl") if (out / "records.jsonl").exists() else []
        assert len(recorded) == (2 if deaths == 1 else 4), "all before it; at its next turns it comes last"
    assert once(inbox, out, deadly) == 0
    recorded = lines(out / "records.jsonl")
    assert sorted(record["id"] for record in recorded) == [f"{number}.npy" for number in range(5)]
    (refused,) = [record for record in recorded if record["status"] == "rejected"]
    assert (refused["id"], refused["reason"]) == (
        "2.npy",
        "it ended the station 3 times while it was read; it is not read again",
    )
    assert names(inbox / "quarantine") == {"2.npy", "2.npy.reason.txt"}


def test_a_file_that_ends_the_machine_three_times_goes_to_quarantine_and_costs_no_other_its_record(
    inbox: Path, out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine that goes down takes with it what was not synced."""
    durable: dict[str, bytes] = {}
    real = os.fsync

    def sync(fd: int) -> None:
        real(fd)
        path = Path(f"/proc/self/fd/{fd}").readlink()
        if path.is_file():
            durable[path.name] = path.read_bytes()

    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(in_hand, "_BOOT_ID", tmp_path / "boot_id")
    _send(inbox, 200, poison=100)
    # First the batch before it; then also all after its batch, and of that, one by one, those before it.
    for on_record, boot in ((64, b"1"), (64 + 72 + 36, b"2"), (199, b"3")):
        (tmp_path / "boot_id").write_bytes(boot)
        with pytest.raises(Death):
            once(inbox, out, deadly)
        for name in ("records.jsonl", "in_hand.json"):
            (out / name).write_bytes(durable[name])
        assert len(lines(out / "records.jsonl")) == on_record
    (tmp_path / "boot_id").write_bytes(b"4")
    assert once(inbox, out, deadly) == 0
    recorded = lines(out / "records.jsonl")
    assert sorted(record["id"] for record in recorded) == sorted(f"{number}.npy" for number in range(200))
    assert [record["id"] for record in recorded if record["status"] == "rejected"] == ["100.npy"]
    assert names(inbox / "quarantine") == {"100.npy", "100.npy.reason.txt"}


def test_a_machine_that_goes_down_while_nothing_is_read_raises_no_suspicion(
    inbox: Path, out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(in_hand, "_BOOT_ID", tmp_path / "boot_id")
    (tmp_path / "boot_id").write_bytes(b"1")
    _send(inbox, 5, poison=-1)
    assert once(inbox, out) == 0
    (tmp_path / "boot_id").write_bytes(b"2")
    assert once(inbox, out) == 0
    assert "went down" not in capsys.readouterr().err


@pytest.mark.parametrize("deaths", [1, 2])
def test_a_file_in_hand_once_or_twice_is_judged_like_any_other_when_it_is_well(
    inbox: Path, out: Path, deaths: int
) -> None:
    (inbox / "a.npy").write_bytes(b"poison")
    for _ in range(deaths):
        with pytest.raises(Death):
            once(inbox, out, deadly)
    assert once(inbox, out) == 0
    assert [record["status"] for record in lines(out / "records.jsonl")] == ["ok"]


def test_a_torn_note_is_no_reason_to_stop(tmp_path: Path) -> None:
    hand = InHand(tmp_path / "in_hand.json")
    assert hand.open() is None
    hand.take("w\udcff.npy", (1, 2, 3))
    again = InHand(tmp_path / "in_hand.json")
    assert again.open() == "w\udcff.npy: was being read when the last station ended; it is judged after the others"
    assert again.deaths("w\udcff.npy", (1, 2, 3)) == 1
    assert again.deaths("w\udcff.npy", (1, 2, 4)) == 0, "other contents"
    again.close()
    whole = (tmp_path / "in_hand.json").read_bytes()
    for cut in range(len(whole)):
        (tmp_path / "in_hand.json").write_bytes(whole[:cut])
        torn = InHand(tmp_path / "in_hand.json")
        assert torn.open() is None
        torn.close()


def test_a_note_of_which_a_bit_is_flipped_is_not_believed(tmp_path: Path) -> None:
    path = tmp_path / "in_hand.json"
    hand = InHand(path)
    hand.open()
    hand.take("w.npy", (1, 2, 3))
    whole = path.read_bytes()
    for place in range(8 * len(whole)):
        changed = bytearray(whole)
        changed[place // 8] ^= 1 << place % 8
        path.write_bytes(changed)
        flipped = InHand(path)
        assert flipped.open() is None, f"bit {place}"
        assert flipped.deaths("w.npy", (1, 2, 3)) == 0
        flipped.close()
    path.write_bytes(whole)
    assert InHand(path).open() == "w.npy: was being read when the last station ended; it is judged after the others"


def test_what_is_no_file_is_not_replaced_by_metrics(inbox: Path, out: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")  # as a device would be, and harmless
    with pytest.raises(UsageError, match="pipe: is no file, and would be replaced by one"):
        watch(inbox, out, judge, bundle_sha256="b", once=True, metrics_file=tmp_path / "pipe")
    assert (tmp_path / "pipe").is_fifo()
