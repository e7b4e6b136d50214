"""What is wrong just now, on a clock of the test's own."""

import pytest

from edge.station.hot_folder import faults as module
from edge.station.hot_folder.faults import MAX_FILES, Faults, file_place, is_file


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time that the faults see."""
    now = [100.0]
    monkeypatch.setattr(module, "monotonic", lambda: now[0])
    return now


@pytest.fixture
def words() -> list[str]:
    return []


@pytest.fixture
def faults(now: list[float], words: list[str]) -> Faults:
    return Faults(words.append, first_retry_s=2.0)


def test_a_place_that_fails_is_there_until_it_works(faults: Faults) -> None:
    assert (len(faults), faults.places(), "OUT" in faults) == (0, [], False)
    faults.add("OUT", "full")
    faults.add("IN", "away")
    assert (len(faults), faults.places(), "OUT" in faults) == (2, ["OUT", "IN"], True)
    faults.clear("OUT")
    faults.clear("OUT")
    assert faults.places() == ["IN"]


def test_the_first_wait_is_the_shortest_and_begins_with_the_failure(faults: Faults, now: list[float]) -> None:
    faults.add("OUT", "full")
    now[0] += 1.9
    assert not faults.due("OUT")
    assert faults.due("IN")
    now[0] += 0.1
    assert faults.due("OUT")
    faults.add("OUT", "full")
    now[0] += 3.9
    assert not faults.due("OUT")
    now[0] += 0.1
    assert faults.due("OUT")


def test_another_text_is_said_and_the_same_is_not(faults: Faults, words: list[str], now: list[float]) -> None:
    for text in ("full", "full", "read-only", "read-only"):
        faults.add("OUT", text)
    assert words == ["OUT: full; it is tried again until it works", "OUT: now read-only"]
    now[0] += 7.4
    faults.remind()
    assert words[2:] == ["OUT: still read-only, for 7 s"]
    now[0] += 1
    faults.clear("OUT")
    assert words[3:] == ["OUT: works again after 8 s"]


def test_a_place_that_is_forgotten_is_not_said_to_work(faults: Faults, words: list[str]) -> None:
    faults.add(file_place("w"), "refused")
    words.clear()
    faults.forget(file_place("w"))
    faults.forget(file_place("w"))
    faults.forget("nothing")
    assert words == []
    assert len(faults) == 0


def test_five_files_are_said_within_a_minute_and_the_rest_summed_up(faults: Faults, words: list[str]) -> None:
    assert MAX_FILES == 5
    for n in range(8):
        faults.add(file_place(f"{n}"), "refused")
    faults.add("IN", "away")
    assert words == [
        *(f"file '{n}': refused; it is tried again until it works" for n in range(5)),
        "more files fail; they are summed up every minute",
        "IN: away; it is tried again until it works",
    ]
    words.clear()
    faults.clear(file_place("0"))
    faults.clear(file_place("7"))
    assert words == ["file '0': works again after 0 s"], "what was never said to fail is not said to work"
    words.clear()
    faults.remind()
    assert words == [
        "IN: still away, for 0 s",
        *(f"file '{n}': still refused, for 0 s" for n in range(1, 6)),
        "and 1 more files",
    ]
    words.clear()
    faults.clear(file_place("6"))
    assert words == []
    faults.add(file_place("8"), "refused")
    assert words == ["file '8': refused; it is tried again until it works"], "a new minute has begun"


def test_a_file_whose_text_changes_counts_among_the_five(faults: Faults, words: list[str]) -> None:
    for n in range(4):
        faults.add(file_place(f"{n}"), "refused")
    faults.add(file_place("0"), "gone")
    faults.add(file_place("4"), "refused")
    faults.add(file_place("1"), "gone")
    assert words[4:] == ["file '0': now gone", "more files fail; they are summed up every minute"]
    faults.clear(file_place("1"))
    assert words[-1] == "file '1': works again after 0 s", "it was said before"


def test_five_failing_files_are_all_reminded_of(faults: Faults, words: list[str]) -> None:
    for n in range(5):
        faults.add(file_place(f"{n}"), "refused")
    words.clear()
    faults.remind()
    assert len(words) == 5


def test_a_file_is_told_from_a_folder_by_its_place() -> None:
    assert file_place("a'b") == 'file "a\'b"'
    assert is_file(file_place("OUT"))
    assert not any(is_file(place) for place in ("IN", "OUT", "moving", "metrics", "files"))
