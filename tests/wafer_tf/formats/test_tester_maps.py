import io

import numpy as np
import pytest

from tests.wafer_tf.formats.writers_stdf import (
    START,
    dies,
    hbr,
    joined,
    pir,
    prr,
    wcr,
    wir,
    wrr,
)
from wafer_tf.errors import InputError
from wafer_tf.formats import tester_log
from wafer_tf.formats.options import DEFAULT, Options
from wafer_tf.formats.read import read_maps
from wafer_tf.formats.wafer_map import BinCount, WaferMap

OTHER = np.array([[1, 1, 2], [2, 1, 1], [1, 2, 2]], np.uint8)


def read(data: bytes, options: Options = DEFAULT) -> list[WaferMap]:
    found = list(read_maps(io.BytesIO(data), "f", options).wafers)
    for wafer in found:
        if isinstance(wafer, InputError):
            raise wafer
    return found  # type: ignore[return-value]


def test_wafers_on_two_heads_at_once_are_told_apart() -> None:
    one, two = dies("<", OTHER, head=1, site=1), dies("<", OTHER.T, head=2, site=3)
    mixed = [part for pair in zip(one, two, strict=True) for part in (pir("<", 1, 1), pir("<", 2, 3), *reversed(pair))]
    data = joined(
        "<", [wir("<", "A", 1), wir("<", "B", 2, START + 60), *mixed, wrr("<", "B", 9, 5, 2), wrr("<", "A", 9, 5, 1)]
    )
    a, b = read(data)
    assert (a.wafer, b.wafer, a.time, b.time) == ("A", "B", "2026-05-28T20:26:40", "2026-05-28T20:27:40")
    assert np.array_equal(a.grid, OTHER)
    assert np.array_equal(b.grid, OTHER.T)
    assert a.warnings == b.warnings == ()


def test_a_file_that_begins_no_wafer_is_one() -> None:
    (wafer,) = read(joined("<", dies("<", OTHER)))
    assert np.array_equal(wafer.grid, OTHER)
    assert (wafer.lot, wafer.wafer, wafer.time, wafer.warnings) == ("LOT", "", "2026-05-28T20:26:40", ())
    (ended,) = read(joined("<", [*dies("<", OTHER), wrr("<", "W9", 9, 5)]))
    assert (ended.wafer, ended.lot) == ("W9", "LOT")


def test_a_head_that_the_wafer_does_not_name_is_on_the_only_one() -> None:
    (wafer,) = read(joined("<", [wir("<", "A", head=255), *dies("<", OTHER, head=1), wrr("<", "A", 9, 5, head=255)]))
    assert (wafer.wafer, wafer.warnings) == ("A", ())


def test_a_second_pass_over_a_wafer_is_a_retest() -> None:
    passes = [wir("<", "A"), *dies("<", OTHER), wrr("<", "A", 9, 5), wir("<", "A"), prr("<", 2, 0), wrr("<", "A", 1, 1)]
    (wafer,) = read(joined("<", passes))
    assert wafer.grid[0, 2] == 1
    assert wafer.retested == 1
    assert wafer.warnings == ("The wafer was tested in 2 passes (WIR); this is what they say together.",)


@pytest.mark.parametrize("flags", [0, 1, 2])
def test_the_same_place_again_is_a_retest_with_or_without_a_flag(flags: int) -> None:
    again = [
        prr("<", 2, 0, bin_=1, flags=flags),  # failed before
        prr("<", 0, 0, bin_=5, flags=flags | 8),  # passed before
        prr("<", 0, 0, bin_=7, flags=flags | 8),
    ]
    data = joined("<", [*dies("<", OTHER), *again])
    (last,), (first,), (best,) = (read(data, Options(retest=way)) for way in ("last", "first", "best"))
    assert [int(wafer.grid[0, x]) for wafer in (last, first, best) for x in (0, 2)] == [2, 1, 1, 2, 1, 1]
    assert [wafer.retested for wafer in (last, first, best)] == [2, 2, 2]
    assert BinCount("7", False, 1) in last.bins


def test_retests_whose_first_test_is_elsewhere_are_said() -> None:
    (wafer,) = read(joined("<", dies("<", OTHER, flags=2)))
    assert wafer.warnings == (
        "9 dies are marked as retested, but their first test is not here: a log of the retests alone?",
    )


def test_where_a_result_says_neither_the_bin_decides() -> None:
    silent = list(dies("<", OTHER, flags=16))
    (by_bin_1,) = read(joined("<", silent))
    assert np.array_equal(by_bin_1.grid, OTHER)
    assert by_bin_1.assumed == ("bin 1 alone passes, of 9 results that say neither pass nor fail (--pass-bins 1)",)
    (told,) = read(joined("<", [*silent, hbr("<", 1, 5, "F"), hbr("<", 5, 4, "P")]))
    assert np.array_equal(told.grid, 3 - OTHER)
    assert told.assumed == ()


def test_a_bin_that_contradicts_the_flags_is_said_and_the_flags_believed() -> None:
    (wafer,) = read(joined("<", [*dies("<", OTHER, flags=0), hbr("<", 1, 5, "P"), hbr("<", 5, 4, "F")]))
    assert not (wafer.grid == 2).any()
    assert wafer.warnings[0].startswith("4 results say pass (PART_FLG) and their bin fail (HBR)")


def test_the_bins_that_the_user_names_pass() -> None:
    data = joined("<", dies("<", OTHER))
    (wafer,) = read(data, Options(pass_bins=frozenset({"5"})))
    assert np.array_equal(wafer.grid, 3 - OTHER)
    with pytest.raises(InputError, match="--pass-bins 0A; expected numbers"):
        read(data, Options(pass_bins=frozenset({"0A"})))


def test_a_final_test_has_no_map() -> None:
    nowhere = -32768
    with pytest.raises(InputError, match=r"no coordinates \(a final test\): no map"):
        read(joined("<", [prr("<", nowhere, nowhere) for _ in range(9)]))
    with pytest.raises(InputError, match=r"all 9 results at one place \(0, 0\) \(a final test\?\): no map"):
        read(joined("<", [prr("<", 0, 0) for _ in range(9)]))
    (wafer,) = read(joined("<", [*dies("<", OTHER), prr("<", nowhere, 3), prr("<", 3, nowhere)]))
    assert np.array_equal(wafer.grid, OTHER)
    assert wafer.warnings == ("2 of 11 results have no coordinates and are left out.",)


def test_what_the_file_does_not_say_of_its_axes_is_assumed_and_said() -> None:
    grid = np.rot90(OTHER, 2)
    for blank in (b"", wcr("<", " ", " ", " ")):
        data = joined("<", [blank, *dies("<", OTHER)], wafer_map=False)
        (wafer,) = read(data)
        assert np.array_equal(wafer.grid, OTHER)
        assert wafer.assumed == (
            "x grows to the right",
            "y grows downward (--y-axis down)",
            "the notch is down (--orient down)",
        )
        (turned,) = read(data, Options(y_axis="up", orient=180))
        assert np.array_equal(turned.grid, grid[::-1])
        assert turned.assumed == ("x grows to the right", "y grows upward (--y-axis up)")
    (told,) = read(joined("<", dies("<", OTHER)), Options(y_axis="up", orient=90))
    assert np.array_equal(told.grid, np.rot90(OTHER))  # the file's own word on y, the user's on the notch


def test_configurations_that_differ_are_refused() -> None:
    data = joined("<", [wcr("<"), wcr("<", "L"), *dies("<", OTHER)])
    with pytest.raises(InputError, match=r"its wafer configurations \(WCR\) differ"):
        read(data)
    (wafer,) = read(data, Options(lenient=True))
    assert len(wafer.assumed) == 3


@pytest.mark.parametrize(
    ("parts", "good", "retests"), [(9, 5, 0), (10, 6, 0), (9, 6, 1), (10, 5, 1), (0, 5, 0), (8, 5, 1)]
)
def test_a_count_may_take_a_retest_as_a_part_or_not(parts: int, good: int, retests: int) -> None:
    retest = prr("<", 0, 0)
    (wafer,) = read(
        joined("<", [wir("<", "A"), *dies("<", OTHER), retest, wrr("<", "A", parts, good, retests=retests)])
    )
    assert wafer.warnings == ()


def test_counts_that_differ_are_refused_and_with_lenient_said() -> None:
    for end, what in (
        (
            wrr("<", "A", 12, 5),
            "f:A: its end record (WRR) counts 12 parts and 0 retests; read were 9 results on 9 dies.",
        ),
        (
            wrr("<", "A", 9, 7),
            "f:A: its end record (WRR) counts 7 good parts; read were 9 results on 9 dies, 5 results good.",
        ),
    ):
        data = joined("<", [wir("<", "A"), *dies("<", OTHER), end])
        with pytest.raises(InputError) as refused:
            read(data)
        assert str(refused.value).startswith(what)
        (wafer,) = read(data, Options(lenient=True))
        assert wafer.warnings == (what,)
        assert np.array_equal(wafer.grid, OTHER)
    (unfilled,) = read(joined("<", [wir("<", "A"), *dies("<", OTHER), wrr("<", "A", 9, 0)]))
    assert unfilled.warnings[0].startswith("Its end record (WRR) counts 0 good parts")


def test_the_counts_of_bins_are_compared_however_the_tester_counts() -> None:
    two = [wir("<", "A"), *dies("<", OTHER), wrr("<", "A", 9, 5), wir("<", "B"), *dies("<", OTHER), wrr("<", "B", 9, 5)]
    for right in (
        [hbr("<", 1, 10), hbr("<", 5, 8)],
        [hbr("<", 1, 10), hbr("<", 5, 8), hbr("<", 1, 7, head=1, site=1)],  # one site's, beside those of all
        [hbr("<", 1, 6, head=1, site=1), hbr("<", 1, 4, head=1, site=2), hbr("<", 5, 8, head=1, site=1)],
        [hbr("<", 1, 5), hbr("<", 5, 4), hbr("<", 1, 5), hbr("<", 5, 4)],  # after each wafer, of it alone
        [hbr("<", 1, 5), hbr("<", 5, 4), hbr("<", 1, 10), hbr("<", 5, 8)],  # after each wafer, of all so far
        [hbr("<", 1, 2**32 - 1), hbr("<", 5, 0)],
    ):
        assert [wafer.warnings for wafer in read(joined("<", [*two, *right]))] == [(), ()]
    wrong = joined("<", [*two, hbr("<", 1, 10), hbr("<", 5, 7)])
    with pytest.raises(
        InputError, match=r"\(HBR\) count 7 parts in bin 5; read were 8 results in it, 8 of them the last"
    ):
        read(wrong)
    assert all("(HBR) count 7 parts in bin 5" in wafer.warnings[0] for wafer in read(wrong, Options(lenient=True)))


def test_results_outside_of_the_wafers_are_not_left_out_in_silence() -> None:
    data = joined(
        "<", [wir("<", "A"), *dies("<", OTHER), wrr("<", "A", 9, 5), prr("<", 7, 7), hbr("<", 1, 6), hbr("<", 5, 4)]
    )
    with pytest.raises(InputError, match="1 parts, tested while no wafer was begun, are left out"):
        read(data)
    (wafer,) = read(data, Options(lenient=True))
    assert np.array_equal(wafer.grid, OTHER)
    assert len(wafer.warnings) == 1


def test_a_wafer_that_gives_no_map_does_not_keep_the_next_from_being_read() -> None:
    far_apart = [wir("<", "A"), prr("<", 0, 0), prr("<", 9000, 0), wrr("<", "A", 2, 2)]
    bad, good = read_maps(
        io.BytesIO(joined("<", [*far_apart, wir("<", "B"), *dies("<", OTHER), wrr("<", "B", 9, 5)])), "f"
    ).wafers
    assert isinstance(bad, InputError)
    assert "f:A" in str(bad)
    assert isinstance(good, WaferMap)


def test_abnormal_ends_are_counted() -> None:
    (wafer,) = read(joined("<", [*dies("<", OTHER), prr("<", 3, 0, flags=4)]))
    assert wafer.warnings == ("1 results ended abnormally (PART_FLG bit 2).",)


def test_a_file_of_too_many_results_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tester_log, "MAX_PARTS", 8)
    with pytest.raises(InputError, match="over 8 results of parts"):
        read(joined("<", dies("<", OTHER)))


def test_a_file_of_too_many_wafers_is_refused() -> None:
    with pytest.raises(InputError, match="over 1000 wafers"):
        read(joined("<", [wir("<", str(n)) for n in range(1001)]))
