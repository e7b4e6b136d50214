"""Time per map on a clock of the test's own."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edge.gate import time_per_map
from edge.gate.time_per_map import Latency, measure
from wafer_tf.encoding import encode
from wafer_tf.waferset import WaferSet

MAPS = np.random.default_rng(0).integers(1, 3, (7, 9, 9)).astype(np.uint8)
WAFERS = WaferSet.from_maps(list(MAPS), label=np.zeros(7))
PLANES = [encode(WAFERS.map(k), 32).tobytes() for k in range(7)]


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """What was run, in order: a model's name and a map's number. A model takes as long as its contents say, in ms."""
    clock, found = SimpleNamespace(now=0.0), list[tuple[str, int]]()

    class Model:
        input_size = 32

        def __init__(self, content: bytes) -> None:
            self.name, *self.ms = content.decode().split()

        def feed(self, planes: NDArray[np.uint8]) -> int:
            clock.now += 1.0  # getting the input ready is not timed
            return PLANES.index(planes.tobytes())

        def infer(self, fed: int) -> None:
            mine = sum(name == self.name for name, _ in found)
            clock.now += float(self.ms[mine % len(self.ms)]) / 1e3
            found.append((self.name, fed))

    monkeypatch.setattr(time_per_map, "TfliteModel", Model)
    monkeypatch.setattr(time_per_map, "perf_counter", lambda: clock.now)
    return found


def _measure(**models: str) -> dict[str, Any]:
    return measure({name: f"{name} {ms}".encode() for name, ms in models.items()}, WAFERS)


def test_each_model_is_timed_on_200_maps_in_turns_of_20_each_begun_by_one_untimed(ran: list[tuple[str, int]]) -> None:
    found = _measure(a="1", b="2.00004")
    assert found == {"a": Latency(1.0, 1.0, 200), "b": Latency(2.0, 2.0, 200)}
    assert [name for name, _ in ran] == (["a"] * 21 + ["b"] * 21) * 10
    fed = [number for name, number in ran if name == "a"]
    assert fed[:22] == [0, *(k % 7 for k in range(20)), 20 % 7]
    assert fed[21:24] == [20 % 7, 20 % 7, 21 % 7], "the next turn goes on where the last ended"


def test_a_slow_model_is_timed_on_one_turn_alone(ran: list[tuple[str, int]]) -> None:
    found = _measure(slow="5.1", quick="4.9")
    assert (found["slow"].maps, found["quick"].maps) == (20, 200)
    assert found["slow"].median_ms == pytest.approx(5.1)


def test_median_and_99th_percentile_are_of_the_timed_maps(ran: list[tuple[str, int]]) -> None:
    times = "9 " + " ".join(["1"] * 15 + ["3"] * 5)  # 21 a turn, of which the first, the slowest, is not timed
    assert _measure(a=times)["a"] == Latency(1.0, 3.0, 200)


def test_fewer_maps_than_a_turn_are_timed_as_asked(ran: list[tuple[str, int]]) -> None:
    assert measure({"a": b"a 1"}, WAFERS, maps=25)["a"].maps == 25
    assert len(ran) == 27


def test_a_latency_is_plain_json() -> None:
    assert Latency(1.5, 2.5, 200).to_json() == {"median_ms": 1.5, "p99_ms": 2.5, "maps": 200}
