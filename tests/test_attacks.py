"""What the records of the attacks hold: nothing lost, nothing unnoticed, within the limits; as the page tells it."""

import json
from typing import Any

import pytest

from benchmarks.attack_memory import SCRIPTS
from benchmarks.speed_before_after import compared
from tests import ROOT

TEXT = (ROOT / "docs" / "explanation" / "attacks.md").read_text(encoding="utf-8")


def record(name: str) -> Any:
    return json.loads((ROOT / "benchmarks" / f"{name}.json").read_text(encoding="utf-8"))


def kills() -> list[dict[str, Any]]:
    return [record("hot_folder_kills"), record("hot_folder_kills_poison")["with_poison"]]


@pytest.mark.parametrize("found", kills(), ids=["plain", "with deadly files"])
def test_kills_lose_and_double_nothing(found: dict[str, Any]) -> None:
    assert found["kills"] >= 200
    assert found["at_worst_after_a_kill"] == {"lost": 0, "duplicated": 0, "invalid": 0}
    for end in found["at_the_end_of_each_round"]:
        assert end["on_record"] == found["files_per_round"]
        assert end["records"] == end["wafers"]
        assert end["waiting"] == end["lost"] == end["duplicated"] == end["invalid"] == 0


def test_deadly_files_alone_are_in_quarantine() -> None:
    _, found = kills()
    assert found["deadly_files_per_round"] > 0
    for end in found["at_the_end_of_each_round"]:
        assert end["deadly_in_quarantine"] == found["deadly_files_per_round"]
        assert end["well_in_quarantine"] == 0


def test_no_damage_went_unnoticed() -> None:
    rows = record("flipped_bits")["rows"]
    assert len(rows) > 30
    for row in rows:
        assert row["unnoticed"] == 0, row
        assert row["found"] + row["harmless"] == row["tried"], row
        assert row["damage"] != "a flipped bit" or row["tried"] == 1000, row


def test_every_damaged_and_forged_bundle_was_refused() -> None:
    found = record("corrupt_bundles")
    assert found["corrupted"] == found["refused"] == 1000
    assert found["forged"]["tried"] == found["forged"]["refused"] == 500


def test_two_hours_of_the_page_stay_below_the_limit() -> None:
    found = record("page_session")
    assert found["uploads"] == found["uploads_asked"] == 200
    assert found["minutes"] > 110
    assert found["peak_mb"] < found["limit_mb"] == 1200


@pytest.mark.parametrize("row", record("attack_memory")["rows"], ids=lambda row: row["attack"])
def test_what_a_script_took_is_what_the_page_tells(row: dict[str, Any]) -> None:
    script = row["attack"]
    assert row["command"].split()[2:] == list(SCRIPTS[script])
    assert row["exit_code"] == 0
    told = [line.split("|")[-2].strip() for line in TEXT.splitlines() if line.startswith(f"| `{script}`: ")]
    assert set(told) == {f"{row['peak_mb']} MB"}


def test_ratios_are_taken_pair_by_pair() -> None:
    found = compared([((1.0, 4.0), (2.0, 4.0)), ((10.0, 4.0), (10.0, 5.0)), ((1.0, 4.0), (3.0, 2.0))])
    assert found["clock"] == {"before_ms": 1.0, "now_ms": 3.0, "ratio": 2.0, "least": 1.0, "most": 3.0}
    assert found["processor"]["ratio"] == 1.0
