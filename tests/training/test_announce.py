import doctest

import pytest

from training import announce
from training.announce import epoch_line


def _history(*rows: tuple[float, float]) -> list[dict[str, float]]:
    return [{"loss": 1.0, "val_macro_f1": score, "seconds": seconds} for score, seconds in rows]


def test_the_example_runs() -> None:
    assert doctest.testmod(announce) == (0, 1)


def test_the_time_left_is_told_from_the_last_five_epochs() -> None:
    line = epoch_line(_history((0.5, 100), *[(0.6, 30.0)] * 5), epochs=8)
    assert line == (
        "epoch 6/8: loss 1.000, validation macro-F1 0.600, best 0.600 in epoch 2; 30 s, at most 1 min 00 s left"
    )


@pytest.mark.parametrize(
    ("seconds", "text"), [(59.4, "59 s"), (60, "1 min 00 s"), (3599, "59 min 59 s"), (7260, "2 h 01 min")]
)
def test_times_are_said_as_people_say_them(seconds: float, text: str) -> None:
    assert epoch_line(_history((0.5, seconds)), epochs=2).endswith(f"at most {text} left")


def test_the_last_epoch_leaves_no_time() -> None:
    assert epoch_line(_history((0.5, 9), (0.4, 9)), epochs=2).endswith("best 0.500 in epoch 1; 9 s")
