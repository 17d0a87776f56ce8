"""The networks of `keras.applications`: their rows, their loader, and their scaling of pixels as a layer."""

from __future__ import annotations

import contextlib
import io
import os
import re
import socket
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from advisor.backbones import imagenet_pixels
from advisor.backbones.backbone import Backbone, fingerprint, source_of_weights
from advisor.backbones.nested_models import without_nested_models
from advisor.backbones.row import Row
from advisor.backbones.taps import choose_taps
from advisor.errors import InputError, one_line

if TYPE_CHECKING:
    import keras

# Seconds without a byte until a download counts as failed; a firewall may drop packets silently.
PATIENCE = 10

# Red, green and blue of pixels in 0..255, for Caffe's weights: `keras.applications.imagenet_utils`.
_CAFFE_MEAN = (123.68, 116.779, 103.939)

_KERAS = "https://keras.io/api/applications/"
_MOBILENET_V3 = "https://github.com/keras-team/keras/blob/master/keras/src/applications/mobilenet_v3.py"

# Pixels, as each architecture's call of `obtain_input_shape` in Keras enforces; all others need 32.
_MINIMUM_SIZES = {"InceptionV3": 75, "InceptionResNetV2": 75, "Xception": 71}

# Of the weights, by how the symbol begins, as the documentation of Keras 2.2 and the original projects state
# them; all others are Apache-2.0.
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


@dataclass(frozen=True)
class Application:
    """What we know of a network of `keras.applications`.

    Attributes:
        symbol: its name in `keras.applications`.
        scaling: how its weights want pixels: "caffe" (BGR, centred), "tf" (-1..1), "torch" (ImageNet's
            mean and deviation) or "inside" (0..255, the network scales them itself).
        image_size: pixels of the square that the weights were trained on.
        parameters: millions of weights, with the classifier.
        top1: per cent of the ImageNet validation set that are classified correctly, as published.
        gflop: see `Row`, as `megabytes`.
        weights: the file name of the published weights without the classifier.
    """

    symbol: str
    scaling: str
    image_size: int
    parameters: float
    top1: float
    gflop: float
    megabytes: float
    weights: str

    @property
    def name(self) -> str:
        """What `--backbone` takes, and the key in `APPLICATIONS`."""
        return self.symbol.lower()

    @property
    def row(self) -> Row:
        """Its row of `advisor backbones`, which depends on whether the weights are downloaded now."""
        ready = self.cached().is_file()
        licences = (licence for start, licence in _LICENCES.items() if self.symbol.startswith(start))
        return Row(
            name=self.name,
            image_size=self.image_size,
            minimum_size=_MINIMUM_SIZES.get(self.symbol, 32),
            parameters=self.parameters,
            top1=self.top1,
            gflop=self.gflop,
            megabytes=self.megabytes,
            source=_MOBILENET_V3 if self.symbol.startswith("MobileNetV3") else _KERAS,
            licence=next(licences, "Apache-2.0"),
            ready=ready,
            weights="downloaded" if ready else "download",
            command=f"advisor recommend sklearn:digits --backbone {self.name}",
        )

    def cached(self) -> Path:
        """Say where Keras keeps the downloaded weights, whether or not they are there."""
        return Path(os.environ.get("KERAS_HOME", Path.home() / ".keras")) / "models" / self.weights


_TF = "_weights_tf_dim_ordering_tf_kernels_notop.h5"
_V3 = "_1.0_float_no_top_v2.h5"

# Parameters and accuracy: the table at _KERAS; for MobileNetV3, which is not in it, _MOBILENET_V3. Operations
# and bytes: benchmarks/operations.py.
APPLICATIONS = {
    application.name: application
    for application in (
        Application("VGG16", "caffe", 224, 138.4, 71.3, 30.7, 58.9, "vgg16" + _TF),
        Application("VGG19", "caffe", 224, 143.7, 71.3, 39, 80.1, "vgg19" + _TF),
        Application("ResNet50", "caffe", 224, 25.6, 74.9, 7.71, 94.4, "resnet50" + _TF),
        Application("ResNet101", "caffe", 224, 44.7, 76.4, 15.1, 170.6, "resnet101" + _TF),
        Application("ResNet152", "caffe", 224, 60.4, 76.6, 22.6, 233.5, "resnet152" + _TF),
        Application("ResNet50V2", "tf", 224, 25.6, 76.0, 6.96, 94.3, "resnet50v2" + _TF),
        Application("ResNet101V2", "tf", 224, 44.7, 77.2, 14.4, 170.5, "resnet101v2" + _TF),
        Application("ResNet152V2", "tf", 224, 60.4, 78.0, 21.8, 233.3, "resnet152v2" + _TF),
        Application("MobileNet", "tf", 224, 4.3, 70.4, 1.14, 12.9, "mobilenet_1_0_224_tf_no_top.h5"),
        Application(
            "MobileNetV2",
            "tf",
            224,
            3.5,
            71.3,
            0.599,
            9.0,
            "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5",
        ),
        Application(
            "MobileNetV3Small", "inside", 224, 2.9, 68.1, 0.11, 3.8, "weights_mobilenet_v3_small_224" + _V3
        ),
        Application(
            "MobileNetV3Large", "inside", 224, 5.4, 75.6, 0.428, 12.0, "weights_mobilenet_v3_large_224" + _V3
        ),
        Application("EfficientNetB0", "inside", 224, 5.3, 77.1, 0.769, 16.2, "efficientnetb0_notop.h5"),
        Application("EfficientNetB1", "inside", 240, 7.9, 79.1, 1.37, 26.3, "efficientnetb1_notop.h5"),
        Application("EfficientNetB2", "inside", 260, 9.2, 80.1, 1.98, 31.1, "efficientnetb2_notop.h5"),
        Application("EfficientNetB3", "inside", 300, 12.3, 81.6, 3.65, 43.1, "efficientnetb3_notop.h5"),
        Application("EfficientNetB4", "inside", 380, 19.5, 82.9, 8.78, 70.7, "efficientnetb4_notop.h5"),
        Application("EfficientNetB5", "inside", 456, 30.6, 83.6, 20.5, 114.1, "efficientnetb5_notop.h5"),
        Application("EfficientNetB6", "inside", 528, 43.3, 84.0, 38.1, 163.8, "efficientnetb6_notop.h5"),
        Application("EfficientNetB7", "inside", 600, 66.7, 84.3, 75.5, 256.4, "efficientnetb7_notop.h5"),
        Application("EfficientNetV2B0", "inside", 224, 7.2, 78.7, 1.43, 23.7, "efficientnetv2-b0_notop.h5"),
        Application("EfficientNetV2B1", "inside", 240, 8.2, 79.8, 2.39, 27.7, "efficientnetv2-b1_notop.h5"),
        Application("EfficientNetV2B2", "inside", 260, 10.2, 80.5, 3.39, 35.1, "efficientnetv2-b2_notop.h5"),
        Application("EfficientNetV2B3", "inside", 300, 14.5, 82.0, 6.02, 51.7, "efficientnetv2-b3_notop.h5"),
        Application("EfficientNetV2S", "inside", 384, 21.6, 83.9, 16.7, 81.3, "efficientnetv2-s_notop.h5"),
        Application("EfficientNetV2M", "inside", 480, 54.4, 85.3, 49.2, 212.6, "efficientnetv2-m_notop.h5"),
        Application("EfficientNetV2L", "inside", 480, 119.0, 85.7, 112, 471.0, "efficientnetv2-l_notop.h5"),
        Application("DenseNet121", "torch", 224, 8.1, 75.0, 5.67, 28.2, "densenet121" + _TF),
        Application("DenseNet169", "torch", 224, 14.3, 76.2, 6.72, 50.6, "densenet169" + _TF),
        Application("DenseNet201", "torch", 224, 20.2, 77.3, 8.58, 73.3, "densenet201" + _TF),
        Application("InceptionV3", "tf", 299, 23.9, 77.9, 11.4, 87.2, "inception_v3" + _TF),
        Application("InceptionResNetV2", "tf", 299, 55.9, 80.3, 26.3, 217.3, "inception_resnet_v2" + _TF),
        Application("Xception", "tf", 299, 22.9, 79.0, 16.7, 83.4, "xception" + _TF),
        Application("NASNetMobile", "tf", 224, 5.3, 74.4, 1.13, 17.1, "nasnet_mobile_no_top.h5"),
        Application("NASNetLarge", "tf", 331, 88.9, 82.5, 47.6, 339.7, "nasnet_large_no_top.h5"),
        Application("ConvNeXtTiny", "inside", 224, 28.6, 81.3, 8.91, 111.3, "convnext_tiny_notop.h5"),
        Application("ConvNeXtSmall", "inside", 224, 50.2, 82.3, 17.4, 197.8, "convnext_small_notop.h5"),
        Application("ConvNeXtBase", "inside", 224, 88.5, 85.3, 30.7, 350.3, "convnext_base_notop.h5"),
        Application("ConvNeXtLarge", "inside", 224, 197.7, 86.3, 68.7, 784.9, "convnext_large_notop.h5"),
        Application("ConvNeXtXLarge", "inside", 224, 350.1, 86.7, 122, 1392.6, "convnext_xlarge_notop.h5"),
    )
}


def rows() -> list[Row]:
    """Give the rows of these networks in `advisor backbones`."""
    return [application.row for application in APPLICATIONS.values()]


def load(name: str, weights: Path | None, image_size: int | None, random: bool) -> Backbone:
    """Get a network of `keras.applications` ready, without its classifier.

    Args:
        name: a key of `APPLICATIONS`.
        weights: a file of weights, with the classifier or without, instead of the published ones.
        image_size: pixels of the square input, where it is to differ from the network's own.
        random: draw fresh random weights, and read or download nothing.

    Raises:
        InputError: The images are too small, there are no weights offline, or the file does not fit.
    """
    application = APPLICATIONS[name]
    size = application.row.checked_size(image_size)
    model = _build(application, size, weights, random)
    return Backbone(
        name=name,
        build=lambda: model,
        taps=choose_taps(model),
        image_size=size,
        fixed_size=True,
        source=source_of_weights("ImageNet-1k", weights, random),
        fingerprint=fingerprint(model),
        index_shift=0 if application.scaling == "inside" else 1,
    )


def _build(application: Application, image_size: int, weights: Path | None, random: bool) -> keras.Model:
    """Build the network from [n, image_size, image_size, 3] RGB in 0..255 to feature maps.

    Its layers are those of `keras.applications`, in their order and with the names that they have
    in a fresh process. Where the weights want scaled pixels a layer `preprocessing` follows the
    input, so that an index counts one more than there. The layers of ConvNeXt's nested models take
    the places of these.
    """
    import keras

    image = keras.Input((image_size, image_size, 3), name="image")
    layers_of_keras = _architecture(application)(
        weights=None,
        include_top=False,
        input_tensor=_scaled(image, application.scaling),
        input_shape=(image_size, image_size, 3),
    )
    # Keras' own model wants its input in a list.
    model = keras.Model(image, layers_of_keras.output, name=application.name)
    _name_as_in_a_fresh_process(model)
    if not random:
        filled = _published(application) if weights is None else _from_file(application, weights)
        _copy_weights(filled, model, application)
    if any(isinstance(layer, keras.Model) for layer in model.layers):
        model = without_nested_models(model, keras.Input((image_size, image_size, 3), name="image"))
    return model


def _architecture(application: Application) -> Any:
    """Give the function of `keras.applications` that builds the network."""
    import keras

    return getattr(keras.applications, application.symbol)


def _scaled(image: Any, scaling: str) -> Any:
    """Scale pixels as `preprocess_input` does, but for the order of channels: see `_copy_weights`."""
    from keras import layers

    if scaling == "inside":
        return image
    if scaling == "torch":
        return imagenet_pixels.standardising_layer("preprocessing")(image)
    centred = [-mean for mean in _CAFFE_MEAN]
    scale, offset = {"tf": (1 / 127.5, -1.0), "caffe": (1.0, centred)}[scaling]
    return layers.Rescaling(scale, offset=offset, name="preprocessing")(image)


def _copy_weights(filled: keras.Model, model: keras.Model, application: Application) -> None:
    """Copy the weights from Keras' model to ours, layer by layer in order, and fit them to ours.

    Caffe's weights want the channels as blue, green, red. The first convolution's kernel is turned
    round once, which is the same as turning each image round and needs no layer.

    EfficientNet B0 to B7 were published with the deviation of ImageNet's pixels where the variance
    belongs, which Keras corrects by one more layer
    (https://github.com/tensorflow/tensorflow/issues/49930). We correct the number.
    """
    import numpy as np

    ours = [layer for layer in model.layers if layer.weights]
    theirs = [layer for layer in filled.layers if layer.weights]
    for layer, source in zip(ours, theirs, strict=False):  # theirs may go on with the classifier
        values = source.get_weights()
        if type(layer).__name__ == "Normalization":
            mean, variance, *rest = values
            published = np.allclose(variance.ravel(), imagenet_pixels.DEVIATION, atol=1e-3)
            values = [mean, variance**2 if published else variance, *rest]
        layer.set_weights(values)
    if application.scaling == "caffe":
        kernel, *rest = ours[0].get_weights()
        ours[0].set_weights([kernel[:, :, ::-1], *rest])


def _published(application: Application) -> keras.Model:
    """Build Keras' own model with ImageNet weights, from Keras' folder of downloads or from the network.

    Raises:
        InputError: The weights cannot be downloaded, or the download is damaged.
    """

    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(PATIENCE)
    try:
        # Keras prints the progress of a download to standard output; a person may see it, a log need not.
        with contextlib.redirect_stdout(sys.stderr if sys.stderr.isatty() else io.StringIO()):
            return _architecture(application)(
                weights="imagenet",
                include_top=False,
                input_shape=(application.image_size, application.image_size, 3),
            )
    except Exception as error:  # Keras raises a bare Exception
        if application.cached().is_file():
            raise InputError(
                f"{application.cached()} is damaged ({one_line(error)}); delete it to download it again"
            ) from error
        reason = getattr(error.__context__, "reason", error)  # without the long address of the file
        address = re.search(r"https?://\S+\.h5", str(error))  # Keras names the file that it wanted
        wanted = address[0] if address else f"{application.weights}, see {_KERAS}"
        raise InputError(
            f"cannot download the weights of {application.name} ({one_line(reason)}); get {wanted} (HDF5, as "
            "Keras writes it), put it anywhere, and name it with --weights FILE; or use the bundled "
            "--backbone efficientnet_lite0"
        ) from error
    finally:
        socket.setdefaulttimeout(before)


def _from_file(application: Application, path: Path) -> keras.Model:
    """Build Keras' own model with the weights of a file, and with its classifier if the file has one.

    Raises:
        InputError: The file is missing, damaged, or holds the weights of another network.
    """
    from advisor.backbones.weights_file import check_weights_file, read_weights

    check_weights_file(path)
    failure = None
    for include_top in (False, True):
        model = _architecture(application)(weights=None, include_top=include_top)
        try:
            read_weights(model, path)
        except InputError as error:
            failure = failure or error
        else:
            return model
    assert failure is not None
    raise failure


def _name_as_in_a_fresh_process(model: keras.Model) -> None:
    """Give layers that Keras numbers through the process the numbers of a first model.

    Else `activation_3` of InceptionV3 would mean another layer each time that one is built.
    """
    numbered = [(operation, *_split_number(operation.name)) for operation in model.operations]
    automatic = [
        (operation, stem, number)
        for operation, stem, number in numbered
        if stem == _snake_case(type(operation).__name__)
    ]
    first: dict[str, int] = {}
    for _, stem, number in automatic:
        first[stem] = min(first.get(stem, number), number)
    for operation, stem, number in automatic:
        number -= first[stem]
        operation.name = f"{stem}_{number}" if number else stem


def _split_number(name: str) -> tuple[str, int]:
    """Take the number off a name that Keras made; a name without one has the number 0.

    >>> _split_number("conv2d_7"), _split_number("conv2d")
    (('conv2d', 7), ('conv2d', 0))
    """
    match = re.fullmatch(r"(.+?)_(\d+)", name)
    return (match[1], int(match[2])) if match else (name, 0)


def _snake_case(name: str) -> str:
    """Make the name of a layer from that of its class, as Keras does.

    >>> _snake_case("ZeroPadding2D")
    'zero_padding2d'
    """
    name = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()
