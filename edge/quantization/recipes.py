"""The quantization recipes by name, and what is tried next where the gate fails one."""

from dataclasses import dataclass

DEFAULT_MAPS = 300
MORE_MAPS = 1000
WHOLE_RANGE = 100.0
CLIPPED_RANGE = 95.0


@dataclass(frozen=True)
class Recipe:
    """What a .tflite file holds.

    Attributes:
        name: an integer is the type of weights and activations alike, AxW of activations and weights.
        weights, activations: "float32", "int8" or "int16".
        says: what it is, for people.
    """

    name: str
    weights: str
    activations: str
    says: str

    @property
    def integer(self) -> bool:
        """Whether the whole graph computes in integers, which is what a bundle may hold."""
        return self.activations != "float32"


RECIPES = {
    recipe.name: recipe
    for recipe in (
        Recipe("float32", "float32", "float32", "as trained"),
        Recipe("dynamic_int8", "int8", "float32", "weights int8, activations quantized as they come"),
        Recipe("int8", "int8", "int8", "weights per channel, activations, input and logits int8"),
        Recipe("int16x8", "int8", "int16", "weights int8 per channel, activations, input and logits int16"),
    )
}


@dataclass(frozen=True)
class Attempt:
    """One way of quantizing.

    Attributes:
        recipe: an integer one.
        maps: calibration maps asked for.
        coverage: percentile of the calibration maps whose values an activation's range holds: at 95, the largest value
            of one map in twenty is clipped, and all the others have finer steps.
    """

    recipe: Recipe
    maps: int
    coverage: float = WHOLE_RANGE

    def __str__(self) -> str:
        clipped = "" if self.coverage == WHOLE_RANGE else f", ranges covering {self.coverage:g} % of them"
        return f"{self.recipe.name}, {self.maps:,} calibration maps{clipped}"


def attempts(recipe: str, maps: int, *, available: int) -> tuple[Attempt, ...]:
    """Return what to try, in order, until the gate passes one.

    The order is fixed beforehand, so that the test part decides nothing but where to stop.

    Args:
        recipe: "int8" or "int16x8".
        maps: calibration maps of the first attempt.
        available: maps of the training part; no attempt asks for more, and none is made twice.
    """
    few, many = min(maps, available), min(max(maps, MORE_MAPS), available)
    first = Attempt(RECIPES[recipe], few)
    if recipe != "int8":
        return (first,)
    further = (
        Attempt(first.recipe, many),
        Attempt(first.recipe, many, CLIPPED_RANGE),
        Attempt(RECIPES["int16x8"], few),
    )
    return tuple(dict.fromkeys([first, *further]))
