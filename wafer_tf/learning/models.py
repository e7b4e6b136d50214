"""The classifiers: a ResNet18 that can start from keras-hub's weights, two slimmer ResNets, and a small baseline CNN.

Each is one flat Keras graph of named layers from the encoded map (float32, 0..1) to a Dense layer named "logits", so
that int8 conversion and Grad-CAM can reach every layer. Layer names of the ResNet are keras-hub's.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wafer_tf.dies import CLASSES
from wafer_tf.encoding import INPUT_SIZE, PLANES
from wafer_tf.errors import ModelError, UsageError
from wafer_tf.pattern_bits import PATTERNS
from wafer_tf.released import run_folder

if TYPE_CHECKING:
    import keras

LOGITS, PATTERN_LOGITS = "logits", "patterns"
"""The heads' layers, and the names of the outputs where there are both."""
IMAGENET_PRESET = "resnet_18_imagenet"

STEMS = {
    "imagenet": "7x7 convolution, stride 2, 3x3 max-pooling, stride 2: keras-hub's, needed for ImageNet weights",
    "small": "3x3 convolution, stride 2, no pooling: thin scratches survive it",
}
BLOCKS = {"resnet18": (2, 2, 2, 2), "resnet16": (1, 2, 2, 2), "resnet14": (1, 1, 2, 2)}
"""Residual blocks of each stack; the number in the name counts the convolutions in a row, and the last layer."""
LAST = {"resnet18": 8, "resnet16": 7, "resnet14": 6}
"""Filters of the last stack, in widths: with these a map takes 28.5 million multiplications by a resnet16 of width 16,
and 5.7 million by a resnet14 of width 8. A ResNet18 of width 24 takes 135 million."""
ARCHITECTURES = (*BLOCKS, "baseline")


@dataclass(frozen=True)
class ModelConfig:
    """What to build.

    Attributes:
        architecture: one of ARCHITECTURES. The slimmer ResNets have the small stem and no ImageNet weights.
        input_size: side of the encoded map in cells, at least 32.
        width: filters of the first stack; 64 is the published ResNet18.
        stem: how a ResNet begins, a key of STEMS.
        dropout: share of the pooled features dropped in training, 0..1.
        patterns: beside the nine logits, eight of sigmoids, one a pattern, for wafers of several patterns.
    """

    architecture: str = "resnet16"
    input_size: int = INPUT_SIZE
    width: int = 16
    stem: str = "small"
    dropout: float = 0.2
    patterns: bool = False

    def __post_init__(self) -> None:
        if self.architecture not in ARCHITECTURES:
            raise UsageError(f"model {self.architecture!r}; expected one of {', '.join(ARCHITECTURES)}.")
        if self.stem not in STEMS:
            raise UsageError(f"stem {self.stem!r}; expected one of {', '.join(STEMS)}.")
        if self.stem == "imagenet" and self.architecture in ("resnet16", "resnet14"):
            raise UsageError(f"stem imagenet; expected small with {self.architecture}, or --model resnet18.")
        if self.input_size < 32 or self.input_size > 512:
            raise UsageError(f"input size {self.input_size}; expected 32 to 512 cells.")
        if self.width < 4 or self.width % 4:
            raise UsageError(f"width {self.width}; expected a multiple of 4, at least 4.")
        if not 0 <= self.dropout < 1:
            raise UsageError(f"dropout {self.dropout}; expected 0 to below 1.")


def build_model(config: ModelConfig) -> "keras.Model":
    """Build the classifier: input (size, size, 3) float32 0..1, output "logits" (9,) float32.

    With `config.patterns` the outputs are a dict, "logits" and "patterns" (8,): the logits of the sigmoids.
    """
    import keras

    build = _resnet if config.architecture in BLOCKS else _baseline
    inputs, features = build(config)
    x = keras.layers.GlobalAveragePooling2D(name="pool")(features)
    x = keras.layers.Dropout(config.dropout, name="dropout")(x)
    logits = keras.layers.Dense(len(CLASSES), dtype="float32", name=LOGITS)(x)
    if not config.patterns:
        return keras.Model(inputs, logits, name=config.architecture)
    patterns = keras.layers.Dense(len(PATTERNS), dtype="float32", name=PATTERN_LOGITS)(x)
    return keras.Model(inputs, {LOGITS: logits, PATTERN_LOGITS: patterns}, name=config.architecture)


def nine_way(model: "keras.Model") -> "keras.Model":
    """Return a model of `build_model` with its logits as the only output; the layers are shared."""
    import keras

    return keras.Model(model.input, model.output[LOGITS], name=model.name) if several_outputs(model) else model


def several_outputs(model: "keras.Model") -> bool:
    """Whether a model answers with more than the nine logits."""
    return not isinstance(model.output_shape, tuple)  # of one output it is one shape


def _resnet(config: ModelConfig) -> tuple[Any, Any]:
    import keras

    shape = (config.input_size, config.input_size, len(PLANES))
    if config.stem == "imagenet" and config.width == 64:
        import keras_hub

        backbone = keras_hub.models.ResNetBackbone(
            input_conv_filters=[64],
            input_conv_kernel_sizes=[7],
            stackwise_num_filters=[64, 128, 256, 512],
            stackwise_num_blocks=[2, 2, 2, 2],
            stackwise_num_strides=[1, 2, 2, 2],
            block_type="basic_block",
            image_shape=shape,
        )
        return backbone.input, backbone.output

    # Other stems and widths are beyond ResNetBackbone's arguments; its own blocks, under its own names, are not.
    # The private import is held by the exact pin of keras-hub and by a test against ResNetBackbone.
    from keras_hub.src.models.resnet.resnet_backbone import apply_stack

    layers = keras.layers
    kernel = 7 if config.stem == "imagenet" else 3
    x = inputs = keras.Input(shape, name="map")
    x = layers.ZeroPadding2D((kernel - 1) // 2, name="conv1_pad")(x)
    x = layers.Conv2D(config.width, kernel, strides=2, use_bias=False, name="conv1_conv")(x)
    x = layers.BatchNormalization(epsilon=1e-5, momentum=0.9, name="conv1_bn")(x)
    x = layers.ReLU(name="conv1_relu")(x)
    filters = [config.width * times for times in (1, 2, 4, LAST[config.architecture])]
    strides = [1, 2, 2, 1]  # 64 -> 32, 32, 16, 8, 8: the last map keeps 8 x 8 cells for explanation
    if config.architecture != "resnet18":
        strides[-1] = 2  # 4 x 4 cells: a fifth of the arithmetic; stack2's 8 x 8 explain
    if config.stem == "imagenet":
        x = layers.ZeroPadding2D(1, name="pool1_pad")(x)
        x = layers.MaxPooling2D(3, strides=2, name="pool1_pool")(x)
        strides = [1, 2, 2, 2]
    for stack, blocks in enumerate(BLOCKS[config.architecture]):
        x = apply_stack(
            x,
            filters=filters[stack],
            blocks=blocks,
            stride=strides[stack],
            block_type="basic_block",
            use_pre_activation=False,
            first_shortcut=stack > 0,
            name=f"stack{stack}",
        )
    return inputs, x


def _baseline(config: ModelConfig) -> tuple[Any, Any]:
    """Stride-2 convolutions between four stages of two 3x3 convolutions; 64 -> 32, 16, 8, 8."""
    from keras import Input, layers

    x = inputs = Input((config.input_size, config.input_size, len(PLANES)), name="map")
    for stage in range(4):
        for conv in range(2):
            name = f"stage{stage}_conv{conv}"
            stride = 2 if conv == 0 and stage < 3 else 1
            filters = config.width * 2**stage
            x = layers.Conv2D(filters, 3, strides=stride, padding="same", use_bias=False, name=name)(x)
            x = layers.BatchNormalization(momentum=0.9, name=f"{name}_bn")(x)
            x = layers.ReLU(name=f"{name}_relu")(x)
    return inputs, x


def load_backbone_weights(model: "keras.Model", source: str) -> int:
    """Copy the weights of every layer of the same name and shapes into `model`, the head too where the source has one.

    The head ("logits") of a classifier made here answers with the same nine classes as any other's.

    Args:
        model: a model of `build_model`.
        source: "none"; "wafer" (the released model); "imagenet" (keras-hub's preset, downloaded on first use); or the
            path of a keras-hub preset folder, a .keras file or a run folder.

    Returns:
        The number of layers whose weights were copied.

    Raises:
        ModelError: the source cannot be had, or fits no layer or only some of the model's convolutions.
    """
    if source == "none":
        return 0
    own = {layer.name: layer for layer in model.layers if layer.weights}
    found = {layer.name: layer.get_weights() for layer in _load_source(source).layers if layer.weights}
    unfit = [
        name
        for name, layer in own.items()
        if [w.shape for w in found.get(name, ())] != [tuple(w.shape) for w in layer.weights]
    ]
    for head in (LOGITS, PATTERN_LOGITS):  # a backbone's source has no head, or one of other classes
        if head in unfit:
            unfit.remove(head)
            del own[head]
    if unfit:
        raise ModelError(
            f"backbone weights {source!r}: {len(unfit)} of the model's {len(own)} layers have no weights of their "
            f"shape there, the first is {unfit[0]}. ImageNet weights need --width 64 --stem imagenet; those of a run "
            "need the architecture, width and stem of that run."
        )
    for name, layer in own.items():
        layer.set_weights(found[name])
    return len(own)


def _load_source(source: str) -> "keras.Model":
    import keras
    import keras_hub

    path = run_folder(source)
    if source == "imagenet":
        try:
            return keras_hub.models.ResNetBackbone.from_preset(IMAGENET_PRESET)
        except Exception as error:  # keras-hub raises many kinds for "no network"; all mean the same to the user
            why = str(error).splitlines()[0] if str(error) else "no message"
            raise ModelError(
                f"backbone weights: keras-hub could not load {IMAGENET_PRESET} "
                f"({type(error).__name__}: {why}). It is downloaded on first use: connect once, or copy a preset "
                "folder here and pass --backbone-weights PATH, or use --backbone-weights none."
            ) from error
    if not path.exists():
        raise ModelError(f"backbone weights: no such file or folder: {path}. Expected wafer, imagenet, none or a path.")
    try:
        if (path / "config.json").is_file() and not (path / "model.keras").is_file():
            return keras_hub.models.Backbone.from_preset(str(path))
        return keras.saving.load_model(path / "model.keras" if path.is_dir() else path, compile=False)
    except (ValueError, OSError, KeyError, TypeError) as error:
        raise ModelError(
            f"backbone weights {source}: not a keras-hub preset folder, a .keras file or a run folder ({error})."
        ) from error


def in_float32(model: "keras.Model") -> "keras.Model":
    """Return the model, or a copy of one of mixed precision that computes in float32, with the same weights."""
    import keras

    if all(layer.compute_dtype == "float32" for layer in model.layers):
        return model
    copy = keras.models.clone_model(
        model, clone_function=lambda layer: type(layer).from_config(layer.get_config() | {"dtype": "float32"})
    )
    copy.set_weights(model.get_weights())
    return copy
