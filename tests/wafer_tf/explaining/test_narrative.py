"""What is said of a call follows the geometry that was drawn."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wafer_tf.as_json import to_json
from wafer_tf.dies import CLASSES
from wafer_tf.explaining.narrative import CallFacts, call_facts, sentence
from wafer_tf.synthesis import synthesize

N = 41


def disc(rows: int = N, cols: int = N) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return a wafer of passing dies, and x to the right and y upwards in wafer radii."""
    y, x = (((2 * np.arange(n) + 1) / n - 1) for n in (rows, cols))
    x, y = np.broadcast_arrays(x, -y[:, None])
    return (np.hypot(x, y) <= 1).astype(np.uint8), x, y


def failing(where: np.ndarray, rows: int = N, cols: int = N) -> np.ndarray:
    grid = disc(rows, cols)[0]
    grid[where & (grid > 0)] = 2
    return grid


def blob(clock: float, radius: float, size: float = 0.15) -> np.ndarray:
    _, x, y = disc()
    turn = clock * math.pi / 6
    return np.hypot(x - radius * math.sin(turn), y - radius * math.cos(turn)) < size


def facts_of(grid: np.ndarray, heat: np.ndarray | None = None, call: str = "Loc", prob: float = 0.9) -> CallFacts:
    given = np.full(9, (1 - prob) / 8)
    given[CLASSES.index(call)] = prob
    return call_facts(grid, (grid == 2).astype(np.float32) if heat is None else heat, given)


@pytest.mark.parametrize("turns", range(4))
@pytest.mark.parametrize("mirrored", [False, True])
def test_the_clock_follows_a_map_that_is_turned_and_mirrored(turns: int, mirrored: bool) -> None:
    grid = np.rot90(failing(blob(2, 0.6)), turns)
    clock = (2 - 3 * turns) % 12
    if mirrored:
        grid, clock = np.fliplr(grid), -clock % 12
    facts = facts_of(grid)
    for place in (facts.evidence.at, facts.cluster.at):
        assert place.clock % 12 == pytest.approx(clock, abs=0.1)
        assert place.radius == pytest.approx(0.6, abs=0.03)
    assert facts.evidence.zone == "between" and facts.evidence.spread == "spot"
    assert f"at {clock or 12} o'clock" in sentence(facts)


def test_three_oclock_is_right_and_the_top_row_is_twelve() -> None:
    assert facts_of(failing(blob(3, 0.5))).cluster.at.clock == pytest.approx(3)
    grid = disc()[0]
    grid[0, N // 2] = 2
    assert facts_of(grid).cluster.at.clock == 12
    assert "a single die at 12 o'clock, 98 % of the radius" in sentence(facts_of(grid))


@pytest.mark.parametrize(
    ("angle", "words"),
    [
        (45, "rising to the right at 45 degrees"),
        (135, "falling to the right at 45 degrees"),
        (0, "horizontal"),
        (90, "vertical"),
        (20, "rising to the right at 20 degrees"),
        (160, "falling to the right at 20 degrees"),
    ],
)
@pytest.mark.parametrize(("rows", "cols"), [(61, 61), (40, 100)])
def test_a_line_has_its_angle_and_length_on_the_round_wafer_whatever_the_shape_of_dies(
    angle: int, words: str, rows: int, cols: int
) -> None:
    _, x, y = disc(rows, cols)
    turn = math.radians(angle)
    along, across = x * math.cos(turn) + y * math.sin(turn), y * math.cos(turn) - x * math.sin(turn)
    cluster = facts_of(failing((abs(along) < 0.5) & (abs(across) < 0.05), rows, cols)).cluster
    assert cluster.angle == pytest.approx(angle, abs=2.5) or angle == 0
    assert min(cluster.angle, 180 - cluster.angle) < 2.5 or angle
    assert cluster.length == pytest.approx(0.5, abs=0.05)
    assert words in sentence(facts_of(failing((abs(along) < 0.5) & (abs(across) < 0.05), rows, cols)))


def test_a_line_one_die_wide_holds_together_across_corners() -> None:
    grid = disc()[0]
    grid[np.arange(10, 30), 39 - np.arange(10, 30)] = 2
    cluster = facts_of(grid).cluster
    assert cluster.dies == 20 and cluster.angle == pytest.approx(45)
    assert cluster.length == pytest.approx(20 * math.sqrt(2) / N, rel=0.01)


def test_a_round_cluster_has_a_size_and_no_direction() -> None:
    cluster = facts_of(failing(blob(7, 0.4, size=0.2))).cluster
    assert math.isnan(cluster.angle)
    assert cluster.length == pytest.approx(0.2, abs=0.04) and cluster.width == pytest.approx(0.2, abs=0.04)


@pytest.mark.parametrize(
    ("inner", "outer", "zone", "radius"), [(0.9, 1.0, "edge", 0.95), (0.35, 0.55, "between", 0.46)]
)
def test_a_ring_is_called_a_ring_with_its_radius(inner: float, outer: float, zone: str, radius: float) -> None:
    _, x, y = disc()
    r = np.hypot(x, y)
    evidence = facts_of(failing((r > inner) & (r <= outer))).evidence
    assert (evidence.spread, evidence.zone) == ("ring", zone)
    assert evidence.at.radius == pytest.approx(radius, abs=0.02)


def test_an_arc_at_the_edge_is_told_by_its_hours_also_across_twelve() -> None:
    _, x, y = disc()
    clock = np.arctan2(x, y) * 6 / math.pi % 12
    evidence = facts_of(failing((np.hypot(x, y) > 0.85) & ((clock > 10) | (clock < 2)))).evidence
    assert (evidence.zone, evidence.spread) == ("edge", "spot")
    assert evidence.hours == pytest.approx(0.8 * 4, abs=0.3)
    assert evidence.first > 9.9 and (evidence.first + evidence.hours) % 12 < 2.1
    assert "at the edge" in sentence(facts_of(failing((np.hypot(x, y) > 0.85) & ((clock > 10) | (clock < 2)))))


def test_the_centre_the_whole_wafer_and_two_places_are_told_apart() -> None:
    assert facts_of(failing(blob(0, 0, size=0.25))).evidence.zone == "centre"
    scattered = np.random.default_rng(0).random((N, N)) < 0.5
    assert facts_of(failing(scattered), call="Random").evidence.spread == "all over"
    assert facts_of(failing(blob(3, 0.6) | blob(9, 0.6))).evidence.spread == "several"


def test_heat_decides_which_cluster_is_the_strongest_and_size_where_the_call_is_none() -> None:
    small, large = blob(4, 0.6, size=0.1), blob(10, 0.6, size=0.2)
    grid = failing(small | large)
    assert facts_of(grid, heat=small * 1.0).cluster.at.clock == pytest.approx(4, abs=0.1)
    facts = facts_of(grid, heat=small * 1.0, call="none")
    assert facts.cluster.at.clock == pytest.approx(10, abs=0.1)
    assert "Largest cluster" in sentence(facts) and "evidence" not in sentence(facts)


def test_heat_on_passing_dies_counts_only_where_no_failing_die_has_any() -> None:
    grid = failing(blob(4, 0.6))
    everywhere = (grid > 0) * 1.0
    assert facts_of(grid, heat=everywhere).evidence.spread == "spot"
    assert facts_of(grid, heat=blob(9, 0.5) * 1.0).evidence.at.clock == pytest.approx(9, abs=0.1)
    assert facts_of(grid, heat=np.zeros((N, N))).evidence is None
    assert "No die speaks for it" in sentence(facts_of(grid, heat=np.zeros((N, N))))


def test_a_map_without_failing_dies_and_one_of_nothing_else_are_worded() -> None:
    clean = facts_of(disc()[0], call="none")
    assert clean.cluster is None and clean.failing == 0
    assert sentence(clean).startswith("none (0.90): 0 of 1,313 dies fail (0 %). Runner-up Center")
    full = facts_of(failing(np.ones((N, N), bool)), call="Near-full")
    assert full.evidence.spread == "all over"
    assert full.cluster.dies == full.dies and full.cluster.length == pytest.approx(1)
    assert "(100 %)" in sentence(full)


def test_the_smallest_maps_are_worded() -> None:
    for cells in range(3**9):
        if cells % 97:  # some 200 of the 3 x 3 maps
            continue
        grid = (cells // 3 ** np.arange(9) % 3).astype(np.uint8).reshape(3, 3)
        if grid.any():
            assert "Runner-up" in sentence(facts_of(grid))


def test_runner_up_and_margin_come_from_the_probabilities() -> None:
    prob = np.array([0.02, 0.0, 0.4, 0.0, 0.48, 0.0, 0.0, 0.0, 0.1])
    grid = failing(blob(4, 0.6))
    facts = call_facts(grid, (grid == 2) * 1.0, prob)
    assert (facts.call, facts.runner_up) == ("Loc", "Edge-Loc")
    assert facts.margin == pytest.approx(0.08)
    assert sentence(facts).endswith("Runner-up Edge-Loc (0.40), margin 0.08: a close call.")


def test_drawn_patterns_lie_where_their_masks_are() -> None:
    drawn = synthesize({"Center": 20, "Edge-Ring": 20, "Loc": 20}, seed=4)
    for i, label in enumerate(drawn.wafers.label):
        evidence = facts_of(drawn.wafers.map(i), heat=drawn.mask(i) * 1.0).evidence
        if CLASSES[label] == "Edge-Ring":
            assert evidence.zone == "edge"
        if CLASSES[label] == "Center":
            assert evidence.at.radius < 0.6
    centres = [
        facts_of(drawn.wafers.map(i), heat=drawn.mask(i) * 1.0).evidence.zone
        for i in np.flatnonzero(drawn.wafers.label == CLASSES.index("Center"))
    ]
    assert centres.count("centre") >= 15


@given(rows=st.integers(3, 12), cols=st.integers(3, 12), seed=st.integers(0, 2**32 - 1), call=st.sampled_from(CLASSES))
def test_any_map_gives_facts_in_range_that_json_holds(rows: int, cols: int, seed: int, call: str) -> None:
    rng = np.random.default_rng(seed)
    grid = rng.integers(0, 3, (rows, cols)).astype(np.uint8)
    grid[rng.integers(rows), rng.integers(cols)] = 1 + rng.integers(2)
    facts = facts_of(grid, heat=rng.random((rows, cols)) * (grid > 0), call=call)
    for place in [part.at for part in (facts.evidence, facts.cluster) if part is not None]:
        assert 0 <= place.radius < 1.5 and 0 < place.clock <= 12
    assert facts.evidence is not None and 0 <= facts.evidence.hours <= 12
    if facts.cluster is not None:
        assert 0 < facts.cluster.width <= facts.cluster.length <= 1.5
    assert json.loads(json.dumps(to_json(facts), allow_nan=False))["call"] == call
    assert sentence(facts).endswith(".") and "nan" not in sentence(facts)


def test_a_few_hot_dies_outweigh_many_faintly_warm_ones() -> None:
    noise = np.random.default_rng(0).random((N, N)) < 0.25
    grid = failing(noise | blob(0, 0, size=0.2))
    evidence = facts_of(grid, heat=np.where(blob(0, 0, size=0.2), 1.0, 0.25)).evidence
    assert evidence.zone == "centre"


def ring(inner: float = 0.9) -> np.ndarray:
    _, x, y = disc()
    return np.hypot(x, y) > inner


def line() -> np.ndarray:
    """A line that rises to the right at 45 degrees, half a diameter long, with its middle at 4 o'clock."""
    _, x, y = disc()
    return (abs(x - 0.45 - (y + 0.25)) < 0.07) & (np.hypot(x - 0.45, y + 0.25) < 0.3)


def two_patterns(warm: float = 0.0) -> CallFacts:
    """A ring and a scratch; each one's heat lies on it, and that much of it on the other."""
    grid = failing(ring() | line())
    heats = {"Edge-Ring": ring() * 1.0 + line() * warm, "Scratch": line() * 1.0 + ring() * warm}
    prob = np.array([0.01, 0.0, 0.0, 0.55, 0.0, 0.0, 0.0, 0.42, 0.02])
    chance = {"Edge-Ring": 0.91, "Scratch": 0.97}
    return call_facts(
        grid, heats["Edge-Ring"], prob, patterns={name: (chance[name], heat) for name, heat in heats.items()}
    )


@pytest.mark.parametrize("warm", [0.0, 0.6])
def test_the_sentence_names_both_patterns_and_where_each_lies(warm: float) -> None:
    facts = two_patterns(warm)
    said = sentence(facts)
    assert said.startswith(f"Scratch (0.97) and Edge-Ring (0.91): {facts.failing} of {facts.dies:,} dies fail")
    assert "Edge-Ring lies in a ring at the edge (9" in said
    assert "Scratch lies between centre and edge (5" in said and "at 4 o'clock." in said
    assert "rising to the right at 45 degrees" in said
    assert said.endswith("As one pattern: Edge-Ring (0.55), then Scratch (0.42).")
    assert "close call" not in said and "The evidence" not in said


def test_a_patterns_cluster_is_of_its_own_dies_where_another_touches_it() -> None:
    scratch, edge = two_patterns(0.6).patterns
    assert (scratch.name, edge.name) == ("Scratch", "Edge-Ring")
    assert scratch.cluster.dies == int((line() & ~ring() & (disc()[0] > 0)).sum()) + int((line() & ring()).sum())
    assert edge.cluster.dies > scratch.cluster.dies
    together = call_facts(failing(ring(0.6) | line()), ring(0.6) * 1.0, np.eye(9)[3])
    assert together.cluster.dies > scratch.cluster.dies


def test_three_patterns_are_listed_and_one_without_heat_is_said() -> None:
    grid = failing(ring() | line() | blob(0, 0))
    given = {"Center": (0.8, blob(0, 0) * 1.0), "Edge-Ring": (0.9, ring() * 1.0), "Scratch": (0.7, np.zeros((N, N)))}
    facts = call_facts(grid, ring() * 1.0, np.eye(9)[3], patterns=given)
    said = sentence(facts)
    assert said.startswith("Edge-Ring (0.90), Center (0.80) and Scratch (0.70): ")
    assert "Center lies near the centre" in said and "No die speaks for Scratch in the heat map." in said
    assert facts.patterns[2].evidence is None and facts.patterns[2].cluster is None
    assert [one["name"] for one in json.loads(json.dumps(to_json(facts), allow_nan=False))["patterns"]] == [
        "Edge-Ring",
        "Center",
        "Scratch",
    ]


def test_without_several_patterns_the_sentence_is_the_nine_way_one() -> None:
    grid, prob = failing(blob(2, 0.6)), np.eye(9)[4]
    heat = (grid == 2) * 1.0
    plain, none_of_them = call_facts(grid, heat, prob), call_facts(grid, heat, prob, patterns={})
    assert plain.patterns is None and none_of_them.patterns == ()
    assert sentence(plain) == sentence(none_of_them)
    assert sentence(plain).startswith("Loc (1.00): ") and "The evidence lies between" in sentence(plain)
