"""ResNet18, which `keras.applications` lacks, with weights from a file of torchvision's."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from advisor.backbones.backbone import Backbone, fingerprint, source_of_weights
from advisor.backbones.imagenet_pixels import standardising_layer
from advisor.backbones.row import Row
from advisor.errors import InputError, one_line

if TYPE_CHECKING:
    import keras
    import numpy as np

TORCHVISION = "https://download.pytorch.org/models/resnet18-f37072fd.pth"
ROW = Row(
    name="resnet18",
    image_size=224,
    minimum_size=32,
    parameters=11.7,
    top1=69.8,
    gflop=3.63,
    megabytes=44.7,
    source="https://docs.pytorch.org/vision/stable/models/generated/torchvision.models.resnet18.html",
    licence="BSD-3-Clause",
    ready=False,
    weights="file",
    command=f"curl -LO {TORCHVISION}",
)
TIMM = "https://huggingface.co/timm/resnet18.a1_in1k/resolve/main/model.safetensors"
FILTERS = (64, 128, 256, 512)
TAPS = (
    "conv1_relu",
    *(f"conv{stage}_block{block}_out" for stage in (2, 3, 4, 5) for block in (1, 2)),
)

# The ten children of torchvision's module, and the first layer of each here, where it has one.
CHILDREN = (
    ("conv1", "conv1_pad"),
    ("bn1", "conv1_bn"),
    ("relu", "conv1_relu"),
    ("maxpool", "pool1_pad"),
    *((f"layer{stage - 1}", f"conv{stage}_block1_1_pad") for stage in (2, 3, 4, 5)),
    ("avgpool", ""),
    ("fc", ""),
)


def load(weights: Path | None, image_size: int | None, random: bool) -> Backbone:
    """Get the network ready, with weights of torchvision's, timm's or Keras' format; see `catalogue.Network`.

    Raises:
        InputError: There is no file of weights, it does not fit, or the images are too small.
    """
    from advisor.backbones import safetensors_file, torch_weights
    from advisor.backbones.weights_file import read_weights

    if weights is None and not random:
        raise InputError(
            f"the weights of resnet18 do not come along; get {TORCHVISION} (a PyTorch state dict) or {TIMM} "
            "(safetensors), put the file anywhere, and name it with --weights FILE; or use the bundled "
            "--backbone efficientnet_lite0"
        )
    model = ResNet18()
    classifier = None
    if weights is not None and weights.suffix in (*torch_weights.SUFFIXES, safetensors_file.SUFFIX):
        classifier = read_torchvision(model, weights)
    elif weights is not None:
        read_weights(model, weights)
    return Backbone(
        name=ROW.name,
        build=lambda: model,
        taps=TAPS,
        image_size=ROW.checked_size(image_size),
        fixed_size=False,
        source=source_of_weights("none", weights, random),
        fingerprint=fingerprint(model),
        build_classifier=lambda: classifier,
        index_shift=1,
        children=CHILDREN,
    )


def ResNet18() -> keras.Model:
    """Build ResNet18 without its classifier, with random weights.

    Layers are named as in the ResNets of `keras.applications`. The ten children of torchvision's
    module are conv1, bn1, relu and maxpool (here `conv1_*` and `pool1_*`), layer1 to layer4 (here
    `conv2_*` to `conv5_*`), the pooling and the classifier: to freeze its first six children is to
    train from `child:6`, which is `conv4_block1_1_pad`. Strided convolutions pad on all sides alike, as
    PyTorch does; Keras' `same` would pad the right and the bottom only.

    Returns:
        A `keras.Model` from [n, height, width, 3] RGB in 0..255 to [n, height/32, width/32, 512].

    Reference:
        He et al., Deep Residual Learning for Image Recognition, CVPR 2016;
        https://github.com/pytorch/vision/blob/main/torchvision/models/resnet.py
    """
    import keras
    from keras import layers

    image = keras.Input((None, None, 3), name="image")
    x = standardising_layer("rescaling")(image)
    x = layers.ZeroPadding2D(3, name="conv1_pad")(x)
    x = layers.Conv2D(64, 7, strides=2, use_bias=False, name="conv1_conv")(x)
    x = _batch_norm(x, "conv1_bn")
    x = layers.ReLU(name="conv1_relu")(x)
    x = layers.ZeroPadding2D(1, name="pool1_pad")(x)  # zeros are below nothing after a ReLU
    x = layers.MaxPooling2D(3, strides=2, name="pool1_pool")(x)
    for stage, filters in enumerate(FILTERS, start=2):
        x = _block(x, filters, 1 if stage == 2 else 2, f"conv{stage}_block1_")
        x = _block(x, filters, 1, f"conv{stage}_block2_")
    return keras.Model(image, x, name="resnet18")


def _block(x, filters: int, stride: int, name: str):
    """Add a basic residual block: two 3x3 convolutions, and the input added to their result.

    Args:
        x: a feature map [n, height, width, channels].
        filters: channels of the result.
        stride: of the first convolution; with 2 the result has half the height and width.
        name: what the names of its layers begin with.
    """
    from keras import layers

    shortcut = x
    if stride != 1:
        shortcut = layers.Conv2D(filters, 1, strides=stride, use_bias=False, name=name + "0_conv")(x)
        shortcut = _batch_norm(shortcut, name + "0_bn")
    x = layers.ZeroPadding2D(1, name=name + "1_pad")(x)
    x = layers.Conv2D(filters, 3, strides=stride, use_bias=False, name=name + "1_conv")(x)
    x = _batch_norm(x, name + "1_bn")
    x = layers.ReLU(name=name + "1_relu")(x)
    x = layers.Conv2D(filters, 3, padding="same", use_bias=False, name=name + "2_conv")(x)
    x = _batch_norm(x, name + "2_bn")
    x = layers.Add(name=name + "add")([shortcut, x])
    return layers.ReLU(name=name + "out")(x)


def _batch_norm(x, name: str):
    """Add batch normalisation with PyTorch's constants; its momentum of 0.1 is the share of the new batch."""
    from keras import layers

    return layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name=name)(x)


def read_torchvision(model: keras.Model, path: Path) -> tuple[np.ndarray, np.ndarray] | None:
    """Fill `model` from a state dict of torchvision's ResNet18, such as resnet18-f37072fd.pth, or of timm's,
    which has the same names, as PyTorch or safetensors store it.

    Returns:
        The kernel [512, classes] and the bias [classes] of its classifier; None if the file has none.

    Raises:
        InputError: The file is no plain state dict, or one of another network.
    """
    import numpy as np

    from advisor.backbones import safetensors_file, torch_weights

    is_safetensors = path.suffix == safetensors_file.SUFFIX
    tensors = safetensors_file.read_tensors(path) if is_safetensors else torch_weights.read_state_dict(path)
    try:
        for layer in model.layers:
            if layer.weights:
                layer.set_weights(_layer_weights(layer.name, tensors))
    except (KeyError, ValueError) as error:
        raise InputError(
            f"{path} is not a state dict of torchvision's ResNet18 ({one_line(error)}); use another file"
        ) from error
    if "fc.weight" not in tensors:
        return None
    kernel = tensors["fc.weight"].T
    bias = tensors.get("fc.bias", np.zeros(kernel.shape[-1:], np.float32))
    if kernel.shape != (512, *bias.shape):
        raise InputError(
            f"{path} is not a state dict of torchvision's ResNet18 (its fc has another shape); "
            "use another file"
        )
    return kernel, bias


def _layer_weights(layer: str, tensors: dict[str, np.ndarray]) -> list[np.ndarray]:
    """Take the weights of one Keras layer, in its own order and layout, from the PyTorch tensors."""
    name = _torchvision_name(layer)
    if layer.endswith("_bn"):
        return [tensors[f"{name}.{part}"] for part in ("weight", "bias", "running_mean", "running_var")]
    return [tensors[f"{name}.weight"].transpose(2, 3, 1, 0)]


def _torchvision_name(layer: str) -> str:
    """Say what torchvision calls the layer that has this name here.

    >>> _torchvision_name("conv3_block1_0_bn")
    'layer2.0.downsample.1'
    """
    parts = layer.split("_")
    if len(parts) == 2:
        return {"conv": "conv1", "bn": "bn1"}[parts[1]]
    stage, block, number, kind = parts
    prefix = f"layer{int(stage[-1]) - 1}.{int(block[-1]) - 1}."
    if number == "0":
        return prefix + {"conv": "downsample.0", "bn": "downsample.1"}[kind]
    return f"{prefix}{kind}{number}"
