"""The models of `keras.applications`, with their scaling of pixels inside."""

from __future__ import annotations

import contextlib
import io
import re
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from advisor.backbones.catalogue import APPLICATIONS, Application
from advisor.backbones.flat import flat
from advisor.backbones.weights_file import check_weights_file, one_line, read_weights
from advisor.errors import InputError

if TYPE_CHECKING:
    import keras

# Seconds without a byte until a download counts as failed; a firewall may drop packets silently.
PATIENCE = 10

# RGB, of pixels in 0..255 ("caffe") and in 0..1 ("torch"): `keras.applications.imagenet_utils`.
_CAFFE_MEAN = np.array([123.68, 116.779, 103.939])
_MEAN = np.array([0.485, 0.456, 0.406])
_DEVIATION = np.array([0.229, 0.224, 0.225])


def build(name: str, image_size: int, weights: Path | None = None, random: bool = False) -> keras.Model:
    """Build a network of `keras.applications` without its classifier.

    Its layers are those of `keras.applications`, in their order and with the names that they have
    in a fresh process. Where the weights want scaled pixels a layer `preprocessing` follows the
    input, so that an index counts one more than there. ConvNeXt's nested models are dissolved.

    Args:
        name: a key of `APPLICATIONS`.
        image_size: pixels of the square input.
        weights: a file of weights, with the classifier or without, instead of the published ones.
        random: random weights; nothing is read or downloaded.

    Returns:
        A functional model from [n, image_size, image_size, 3] RGB in 0..255 to feature maps.

    Raises:
        InputError: an image too small, no weights offline, or an unfit weights file.
    """
    import keras

    application = APPLICATIONS[name]
    if image_size < application.minimum_size:
        raise InputError(
            f"{name} needs images of at least {application.minimum_size} pixels; got {image_size}"
        )
    image = keras.Input((image_size, image_size, 3), name="image")
    layers_of_keras = _architecture(application)(
        weights=None,
        include_top=False,
        input_tensor=_scaled(image, application.scaling),
        input_shape=(image_size, image_size, 3),
    )
    model = keras.Model(image, layers_of_keras.output, name=name)  # theirs wants its input in a list
    _name_as_in_a_fresh_process(model)
    if not random:
        filled = _published(name, application) if weights is None else _from_file(application, weights)
        _copy_weights(filled, model, application)
    if any(isinstance(layer, keras.Model) for layer in model.layers):
        model = flat(model, keras.Input((image_size, image_size, 3), name="image"))
    return model


def inserted_layers(name: str) -> int:
    """How many layers follow the input of `build(name)` that `keras.applications` does not have."""
    return int(APPLICATIONS[name].scaling != "inside")


def _architecture(application: Application) -> Any:
    import keras

    return getattr(keras.applications, application.symbol)


def _scaled(image: Any, scaling: str) -> Any:
    """What `preprocess_input` does, but for the order of channels: see `_copy_weights`."""
    from keras import layers

    if scaling == "inside":
        return image
    scale, offset = {
        "tf": (1 / 127.5, -1.0),
        "torch": ((1 / (255 * _DEVIATION)).tolist(), (-_MEAN / _DEVIATION).tolist()),
        "caffe": (1.0, (-_CAFFE_MEAN).tolist()),
    }[scaling]
    return layers.Rescaling(scale, offset=offset, name="preprocessing")(image)


def _copy_weights(filled: keras.Model, model: keras.Model, application: Application) -> None:
    """Copy the weights from Keras' model to ours, layer by layer in order, and fit them to ours.

    Caffe's weights want the channels as blue, green, red. The first convolution's kernel is turned
    round once, which is the same as turning each image round and needs no layer.

    EfficientNet B0 to B7 were published with the deviation of ImageNet's pixels where the variance
    belongs, which Keras corrects by one more layer
    (https://github.com/tensorflow/tensorflow/issues/49930). We correct the number.
    """
    ours = [layer for layer in model.layers if layer.weights]
    theirs = [layer for layer in filled.layers if layer.weights]
    for layer, source in zip(ours, theirs, strict=False):  # theirs may go on with the classifier
        values = source.get_weights()
        if type(layer).__name__ == "Normalization":
            mean, variance, *rest = values
            published = np.allclose(variance.ravel(), _DEVIATION, atol=1e-3)
            values = [mean, variance**2 if published else variance, *rest]
        layer.set_weights(values)
    if application.scaling == "caffe":
        kernel, *rest = ours[0].get_weights()
        ours[0].set_weights([kernel[:, :, ::-1], *rest])


def _published(name: str, application: Application) -> keras.Model:
    """Keras' own model with ImageNet weights, from its cache or from the network."""
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
        raise InputError(
            f"cannot download the weights of {name} ({one_line(reason)}); give a file with --weights FILE "
            "or use the bundled --backbone efficientnet_lite0"
        ) from error
    finally:
        socket.setdefaulttimeout(before)


def _from_file(application: Application, path: Path) -> keras.Model:
    """Keras' own model with the weights of the file, with its classifier if the file has one."""
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
    """As in `conv2d_7` to ("conv2d", 7) and `conv2d` to ("conv2d", 0)."""
    match = re.fullmatch(r"(.+?)_(\d+)", name)
    return (match[1], int(match[2])) if match else (name, 0)


def _snake_case(name: str) -> str:
    """As Keras makes a layer's name from its class."""
    name = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()
