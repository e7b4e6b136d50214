"""Where on the wafer a call came from: class activation maps by tf-keras-vis, brought back to the dies.

Grad-CAM (Selvaraju et al., ICCV 2017), Grad-CAM++ (Chattopadhay et al., WACV 2018), LayerCAM (Jiang et al., IEEE TIP
2021) and Score-CAM (Wang et al., CVPR workshops 2020), taken on logits at a named layer: the nine of the call, or the
eight of the sigmoids, one a pattern.
"""

import io
import warnings
from collections.abc import Callable, Sequence
from contextlib import nullcontext, redirect_stdout
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from wafer_tf.dies import Die, cropped
from wafer_tf.errors import ModelError, UsageError
from wafer_tf.learning.models import LOGITS, in_float32, several_outputs
from wafer_tf.learning.pipeline import evaluation_batches
from wafer_tf.waferset import WaferSet

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

METHODS = ("fused", "layercam", "gradcam", "gradcam++", "scorecam")
"""fused is the geometric mean of LayerCAM at two layers: where the fine one is hot and the deep one agrees."""
DEFAULT_METHOD = "fused"
"""The one that measured best: docs/explanation/overlays.md."""
MIN_CELLS = 8
"""Side of the smallest feature map that is explained; a coarser one says little of where on the wafer."""


@dataclass(frozen=True, eq=False)
class HeatMaps:
    """What a model looked at, per die, in the layout of a WaferSet.

    Attributes:
        flat: (cells,) float32, 0..1: evidence for the target class, 1 at the map's strongest die, 0 where there is no
            die. All 0 where nothing on the wafer speaks for the class.
        offsets: (n + 1,) int64; map i is flat[offsets[i]:offsets[i + 1]].
        shapes: (n, 2) int32, rows and columns.
        target: (n,) int64, index into CLASSES of the class explained.
        peak: (n,) float32, 0 or more: the strongest die's evidence before scaling, comparable within one method and
            layer.
        method: one of METHODS.
        layer: name of the layer looked at; of two, joined by " + ".
    """

    flat: NDArray[np.float32]
    offsets: NDArray[np.int64]
    shapes: NDArray[np.int32]
    target: NDArray[np.int64]
    peak: NDArray[np.float32]
    method: str
    layer: str

    def __len__(self) -> int:
        return len(self.shapes)

    def map(self, i: int) -> NDArray[np.float32]:
        """Return heat map i, (rows, cols) float32 0..1: a view, not a copy."""
        rows, cols = self.shapes[i]
        return self.flat[self.offsets[i] : self.offsets[i + 1]].reshape(rows, cols)


class Explainer:
    """A model made ready to be explained: built once, used for any number of maps.

    Attributes:
        method: one of METHODS.
        layer: name of the layer looked at; of two, joined by " + ".
    """

    def __init__(
        self, model: "keras.Model", *, method: str = DEFAULT_METHOD, layer: str | None = None, head: str = LOGITS
    ) -> None:
        """Build it.

        Args:
            model: a model of `models.build_model`, in any precision; explained in float32.
            method: one of METHODS.
            layer: name of the layer to look at; default: those of `default_layers`.
            head: the answer that is explained: "logits", the nine-way one, or "patterns", the eight sigmoids.

        Raises:
            UsageError: an unknown method, a layer that is not there or is coarser than MIN_CELLS, or one for fused.
            ModelError: a model without that head, or too coarse to be explained.
        """
        if method not in METHODS:
            raise UsageError(f"method {method!r}; expected one of {', '.join(METHODS)}.")
        if layer is not None and method == "fused":
            raise UsageError(f"layer {layer!r} with method fused, which looks at two of its own; name another method.")
        layers = default_layers(model, method) if layer is None else (_known_layer(model, layer),)
        self.method, self.layer = method, " + ".join(layers)
        self._size = model.input_shape[1]
        model = one_head(model, head)
        self._answers: int = model.output_shape[1]
        model = in_float32(model)  # tf-keras-vis fails in bfloat16 and loses small gradients in float16
        self._cams = [_Cam(model, "layercam" if method == "fused" else method, name) for name in layers]

    def heat_maps(
        self, wafers: WaferSet, target: NDArray[np.integer[Any]], *, batch_size: int = 64, progress: bool = False
    ) -> HeatMaps:
        """Compute for every map how much each die speaks for a class.

        Args:
            wafers: the n maps.
            target: (n,) index into CLASSES: the class to explain, as a rule the one called.
            batch_size: maps per step.
            progress: show a bar on stderr.

        Raises:
            UsageError: not one target per map, or one that the head does not know: "none" is no pattern.
            ModelError: the model gives numbers that are not finite.
        """
        from tqdm import tqdm

        if len(target) != len(wafers):
            raise UsageError(f"explanation: {len(target)} target classes for {len(wafers)} maps.")
        if len(target) and not 0 <= np.min(target) <= np.max(target) < self._answers:
            raise UsageError(f"explanation: target {np.max(target)}; expected 0 to {self._answers - 1}.")
        if self.method == "scorecam":  # every map is predicted once per channel of the layer, all in memory together
            batch_size = min(batch_size, 4)
        flat, peak = np.zeros(len(wafers.flat), np.float32), np.zeros(len(wafers), np.float32)
        one_hot = np.eye(self._answers, dtype=np.float32)[np.asarray(target, np.int64)]
        done = 0
        with tqdm(total=len(wafers), unit="map", desc=self.method, disable=not progress) as bar:
            for inputs, _ in evaluation_batches(wafers, batch_size=batch_size, size=self._size):
                cells = [cam.cells(inputs, one_hot[done : done + len(inputs)]) for cam in self._cams]
                for i in range(done, done + len(inputs)):
                    grid = wafers.map(i)
                    heat = np.prod([on_dies(found[i - done], grid) for found in cells], axis=0) ** (1 / len(cells))
                    peak[i] = heat.max()
                    if peak[i] > 0:
                        flat[wafers.offsets[i] : wafers.offsets[i + 1]] = (heat / heat.max()).ravel()
                bar.update(len(inputs))
                done += len(inputs)
        return HeatMaps(
            flat, wafers.offsets, wafers.shapes, np.asarray(target, np.int64), peak, self.method, self.layer
        )


class _Cam:
    """One method of tf-keras-vis at one layer of a float32 model.

    The model is cut at the layer, and tf-keras-vis is given what lies behind it, with the feature map as its input.
    Both halves run as compiled graphs, as in prediction. The heat is the same; what is saved are the gradients of the
    layers before and of all weights, which nothing needs. Score-CAM masks the input itself and gets the whole model.
    """

    def __init__(self, model: "keras.Model", method: str, layer: str) -> None:
        import keras
        import tensorflow as tf

        self._method, self._layer = method, layer
        if method == "scorecam":
            self._features = tf.identity
            self._cam = _cams()[method](keras.Model(model.inputs, model.output))
            self._options: dict[str, Any] = {"penultimate_layer": layer}
        else:
            at = model.get_layer(layer)
            self._halves = keras.Model(model.inputs, at.output), keras.Model([at.output], model.output)
            self._features = _compiled(self._halves[0])
            features = keras.Input(at.output.shape[1:], dtype="float32")  # whatever precision is set for new layers
            logits = keras.layers.Lambda(
                _compiled(self._halves[1]), output_shape=model.output_shape[1:], dtype="float32"
            )(features)
            self._cam = _cams()[method](keras.Model([features], logits))
            self._options = {"penultimate_layer": self._cam.model.layers[0]}

    def cells(self, inputs: "tf.Tensor", one_hot: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return (n, cells, cells) float32, 0 or more: the heat of the layer's own cells.

        Enlarging and scaling are left out here: tf-keras-vis would pin the corner cells to the input's corners.
        """
        # Score-CAM calls predict, which draws a bar of its own on stdout
        with redirect_stdout(io.StringIO()) if self._method == "scorecam" else nullcontext():
            found = self._cam(
                _score(one_hot, centred=self._method == "gradcam++"),
                self._features(inputs),
                seek_penultimate_conv_layer=False,
                expand_cam=False,
                normalize_cam=False,
                **self._options,
            )
        cells = np.asarray(found, np.float32)
        if not np.isfinite(cells).all():
            raise ModelError(f"layer {self._layer}: {self._method} is not finite; are the model's weights damaged?")
        return cells


def one_head(model: "keras.Model", head: str) -> "keras.Model":
    """Return a model of `models.build_model` with one head's logits as its only output; the layers are shared.

    Args:
        model: with an output, or a dict of them.
        head: "logits" or "patterns".

    Raises:
        ModelError: the model has no such head.

    Examples:
        >>> from wafer_tf.learning.models import ModelConfig, build_model
        >>> whole = build_model(ModelConfig("baseline", input_size=32, width=4, patterns=True))
        >>> one_head(whole, "patterns").output_shape
        (None, 8)
    """
    import keras

    heads = model.output if several_outputs(model) else {LOGITS: model.output}
    if head not in heads:
        raise ModelError(f"model {model.name}: no head {head!r}; it has {', '.join(heads)}.")
    return keras.Model(model.input, heads[head], name=model.name) if several_outputs(model) else model


def on_dies(cells: NDArray[np.floating[Any]], grid: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return the value of a feature map at the centre of every die, between the middles of four cells, linearly.

    `encode` stretches the bounding box of the dies to the square input, of which the cells are equal parts; this undoes
    it.

    Args:
        cells: (cells, cells) float.
        grid: (rows, cols) uint8, die states 0..2.

    Returns:
        (rows, cols) float64, 0 where there is no die.
    """
    import cv2

    box, (top, left) = cropped(grid)
    rows, cols = box.shape
    found = np.zeros(grid.shape)
    found[top : top + rows, left : left + cols] = cv2.resize(
        np.asarray(cells, np.float64), (cols, rows), interpolation=cv2.INTER_LINEAR
    )
    return np.where(grid == Die.ABSENT, 0, found)


def layers_to_explain(model: "keras.Model") -> list[str]:
    """Return the layers that end a block or a convolution and have at least MIN_CELLS x MIN_CELLS cells, in order."""
    return [
        layer.name
        for layer in model.layers
        if layer.name.endswith(("_out", "_relu"))
        and len(layer.output.shape) == 4
        and layer.output.shape[1] >= MIN_CELLS
    ]


def default_layers(model: "keras.Model", method: str) -> tuple[str, ...]:
    """Return the layers a method looks at: LayerCAM the last of the finest, the others the last of all, fused both.

    For ResNet18 at 64 x 64 with the small stem: stack0_block1_out (32 x 32 cells) and stack3_block1_out (8 x 8). For
    ResNet16 and ResNet14, whose last stack has 4 x 4: stack0_block0_out and stack2_block1_out (8 x 8).
    """
    names = layers_to_explain(model)
    if not names:
        raise ModelError(f"model {model.name}: no activation of at least {MIN_CELLS} x {MIN_CELLS} cells to explain.")
    sides = {name: model.get_layer(name).output.shape[1] for name in names}
    finest, deepest = [name for name in names if sides[name] == max(sides.values())][-1], names[-1]
    return {"fused": (finest, deepest), "layercam": (finest,)}.get(method, (deepest,))


def _known_layer(model: "keras.Model", name: str) -> str:
    known = layers_to_explain(model)
    if name not in known:
        raise UsageError(
            f"layer {name!r}; expected one of {', '.join(known)} (at least {MIN_CELLS} x {MIN_CELLS} cells)."
        )
    return name


def _compiled(model: "keras.Model") -> Callable[["tf.Tensor"], "tf.Tensor"]:
    """Return a model's inference as a compiled function whose gradient, to its input alone, is another.

    The model must be kept: the graphs do not keep its variables alive.
    """
    import tensorflow as tf

    inputs, outputs = (
        tf.TensorSpec((None, *shape[1:]), tf.float32) for shape in (model.input_shape, model.output_shape)
    )

    def slope(x: "tf.Tensor", above: "tf.Tensor") -> "tf.Tensor":
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(x)
            y = model(x, training=False)
        return tape.gradient(y, x, output_gradients=above)

    forward = tf.function(lambda x: model(x, training=False)).get_concrete_function(inputs)
    backward = tf.function(slope).get_concrete_function(inputs, outputs)

    def run(x: "tf.Tensor") -> tuple["tf.Tensor", Callable[..., Any]]:
        def gradient(above: "tf.Tensor", variables: Sequence[Any] = ()) -> tuple["tf.Tensor", list[None]]:
            return backward(x, above), [None] * len(variables)

        return forward(x), gradient

    found: Callable[[tf.Tensor], tf.Tensor] = tf.custom_gradient(run)
    return found


def _score(one_hot: NDArray[np.float32], *, centred: bool) -> Callable[["tf.Tensor"], "tf.Tensor"]:
    """Return a function from logits to the logit of each map's class.

    Grad-CAM++ takes the exponential of the score: `centred` moves it to 0, which changes neither its gradient nor, up
    to a factor per map, the heat, and keeps the exponential finite.
    """
    import tensorflow as tf

    def score(logits: "tf.Tensor") -> "tf.Tensor":
        picked = tf.reduce_sum(logits * one_hot, axis=1)
        return picked - tf.stop_gradient(picked) if centred else picked

    return score


@cache
def _cams() -> dict[str, Any]:
    with warnings.catch_warnings():  # tf-keras-vis 0.8.7 imports zoom from a namespace that SciPy deprecates
        warnings.simplefilter("ignore", DeprecationWarning)
        from tf_keras_vis.gradcam import Gradcam
        from tf_keras_vis.gradcam_plus_plus import GradcamPlusPlus
        from tf_keras_vis.layercam import Layercam
        from tf_keras_vis.scorecam import Scorecam
    return {"gradcam": Gradcam, "gradcam++": GradcamPlusPlus, "layercam": Layercam, "scorecam": Scorecam}
