"""A file that ends the station: the others get their records, and after the second time it is read no more."""

import os
from pathlib import Path

import pytest

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


def test_a_file_that_ends_the_station_twice_goes_to_quarantine_unread(inbox: Path, out: Path) -> None:
    for number in range(5):
        (inbox / f"{number}.npy").write_bytes(b"%d\n" % number)
    (inbox / "2.npy").write_bytes(b"poison")
    for deaths in (1, 2):
        with pytest.raises(Death):
            once(inbox, out, deadly)
        recorded = lines(out / "records.jsonl") if (out / "records.jsonl").exists() else []
        assert len(recorded) == (0 if deaths == 1 else 4), "at its second turn it comes last"
    assert once(inbox, out, deadly) == 0
    recorded = lines(out / "records.jsonl")
    assert sorted(record["id"] for record in recorded) == [f"{number}.npy" for number in range(5)]
    (refused,) = [record for record in recorded if record["status"] == "rejected"]
    assert (refused["id"], refused["reason"]) == (
        "2.npy",
        "it ended the station 2 times while it was read; it is not read again",
    )
    assert names(inbox / "quarantine") == {"2.npy", "2.npy.reason.txt"}


def test_a_file_in_hand_once_is_judged_like_any_other_when_it_is_well(inbox: Path, out: Path) -> None:
    (inbox / "a.npy").write_bytes(b"poison")
    with pytest.raises(Death):
        once(inbox, out, deadly)
    assert once(inbox, out) == 0
    assert [record["status"] for record in lines(out / "records.jsonl")] == ["ok"]


def test_a_torn_note_is_no_reason_to_stop(tmp_path: Path) -> None:
    hand = InHand(tmp_path / "in_hand.json")
    assert hand.open() is None
    hand.take("w\udcff.npy", (1, 2, 3))
    again = InHand(tmp_path / "in_hand.json")
    assert again.open() == "w\udcff.npy"
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
    assert InHand(path).open() == "w.npy"


def test_what_is_no_file_is_not_replaced_by_metrics(inbox: Path, out: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")  # as a device would be, and harmless
    with pytest.raises(UsageError, match="pipe: is no file, and would be replaced by one"):
        watch(inbox, out, judge, bundle_sha256="b", once=True, metrics_file=tmp_path / "pipe")
    assert (tmp_path / "pipe").is_fifo()
