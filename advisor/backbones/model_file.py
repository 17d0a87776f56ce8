"""The user's own model file as a backbone, without running anything that the file brings along.

A Keras file can name functions and carry bytecode. Keras refuses much of that (`safe_mode`), but
has had gaps (CVE-2025-1550, CVE-2025-8747, CVE-2025-9906, CVE-2025-12058), so the file's
description is read first, as data: it may name Keras' own layers, operations, initialisers,
regularisers, constraints and number formats, of these none that runs code or reads other files, and
nothing else.
"""

from __future__ import annotations

import importlib
import json
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from advisor.backbones.flat import flat
from advisor.backbones.weights_file import one_line
from advisor.errors import InputError

if TYPE_CHECKING:
    import keras

SUFFIXES = (".keras", ".h5", ".hdf5")

# Pixels, where the file leaves the size open and none is asked for.
DEFAULT_SIZE = 224

# Keras' own, but no better than a file that runs code.
_REFUSED = {
    "Lambda": "it runs Python code that the file holds",
    "TFSMLayer": "it runs a program from another folder",
    "TorchModuleWrapper": "it unpickles what the file holds",
    "JaxLayer": "it runs Python code that the file names",
    "FlaxLayer": "it runs Python code that the file names",
    "StringLookup": "it reads other files and has no use on images",
    "IntegerLookup": "it reads other files and has no use on images",
    "TextVectorization": "it reads other files and has no use on images",
}

# How Keras writes plain values: `keras.src.saving.serialization_lib.serialize_keras_object`.
_PLAIN = {"__keras_tensor__", "__tensor__", "__numpy__", "__bytes__", "__ellipsis__", "__slice__"}

# Where a class is looked for if the file does not say, as older ones do not.
_NAMESPACES = ("layers", "models", "initializers", "regularizers", "constraints", "dtype_policies")

# Weights that map red, green and blue to grey: ITU-R BT.601, as in Pillow's convert("L").
_GREY = (0.299, 0.587, 0.114)


class ModelFile:
    """A model file, taken apart.

    Attributes:
        model: [n, size, size, 3] RGB in 0..255 to the features below the classifier.
        image_size: pixels.
        fixed_size: whether the file states the size.
        classifier: kernel [d, classes] and bias [classes] of the Dense layer on these features, or
            None if the file does not end in one.
        index_shift: what to add to an index in the file's own `layers` for the same layer here.
        notes: what the user should know, one sentence each.
    """

    def __init__(self, path: Path, image_size: int | None = None, random: bool = False) -> None:
        """Read the file.

        Pixels go in as they are, 0..255: the file's own Rescaling or Normalization applies, or none.
        A model for grey images gets the grey of the colours.

        Args:
            path: a .keras, .h5 or .hdf5 file with a whole model.
            image_size: pixels of the square input, where the file leaves it open.
            random: keep the architecture only.

        Raises:
            InputError: not a model, one that could run code, or not one from images to features.
        """
        import keras

        original = load_safely(path)
        height, width, channels = _input_shape(original, path)
        self.fixed_size = height is not None
        self.image_size = height or image_size or DEFAULT_SIZE
        if height != width:
            raise InputError(f"{path} takes images of {width}x{height} pixels; only squares are supported")
        if image_size not in (None, self.image_size):
            raise InputError(
                f"{path} takes images of {height} pixels only; leave out --image-size {image_size}"
            )
        image = keras.Input((self.image_size, self.image_size, 3), name="image")
        pixels = _grey(image, self.image_size) if channels == 1 else image
        try:
            whole = flat(original, image, pixels, keep_weights=not random)
        except Exception as error:  # whatever a layer may say about a size that does not fit
            raise InputError(
                f"{path} does not take images of {self.image_size} pixels ({one_line(error)})"
            ) from error
        features, self.classifier = _without_classifier(whole)
        if features is image or features is pixels:
            raise InputError(f"{path} has no layers below its classifier")
        self.model = keras.Model(image, features, name=path.stem)
        self.index_shift = len(_GREY_LAYERS) * (channels == 1) + isinstance(original, keras.Sequential)
        self.notes = _notes(self.model, path, channels)


def load_safely(path: Path) -> keras.Model:
    """Load a whole model after looking at everything that it names; nothing in it can run.

    Raises:
        InputError: not a model file, damaged, or one that names anything but Keras' harmless parts.
    """
    import keras

    description = _description(path)
    # Loss and metrics are not loaded; every other part is.
    _check({key: value for key, value in description.items() if key != "compile_config"}, "model", path)
    try:
        model = keras.models.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # Keras raises many kinds
        raise InputError(f"{path} cannot be loaded as a Keras model ({one_line(error)})") from error
    if not isinstance(model, keras.Model) or not getattr(model, "inputs", None):
        raise InputError(f"{path} holds no model with a defined input; save it after its first use")
    return model


def _description(path: Path) -> dict[str, Any]:
    """What the file says of its architecture."""
    import h5py

    if not path.is_file():
        raise InputError(f"no model file {path}")
    try:
        if zipfile.is_zipfile(path) and path.suffix == ".keras":
            with zipfile.ZipFile(path) as archive:
                return _parsed(archive.read("config.json"), path)
        if h5py.is_hdf5(path) and path.suffix != ".keras":
            with h5py.File(path, "r") as file:
                text = file.attrs.get("model_config")
                weights_only = "layer_names" in file.attrs or "layers" in file
            if text is None and weights_only:
                raise InputError(
                    f"{path} holds weights without a model; use --backbone NAME --weights {path}"
                )
            if text is None:
                raise InputError(f"{path} is an HDF5 file without a Keras model")
            return _parsed(text, path)
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        raise InputError(f"{path} is damaged or truncated ({one_line(error)})") from error
    raise InputError(f"{path} is damaged or not a Keras model; wanted: a whole model as .keras, .h5 or .hdf5")


def _parsed(text: str | bytes, path: Path) -> dict[str, Any]:
    try:
        description = json.loads(text)
    except ValueError as error:
        raise InputError(f"{path} is damaged ({one_line(error)})") from error
    if not isinstance(description, dict):
        raise InputError(f"{path} is damaged (its description is no object)")
    return description


def _check(part: Any, layer: str, path: Path) -> None:
    """Refuse the part of a description if it, or anything inside it, names what could run.

    Args:
        layer: name of the innermost layer around the part, for the message.
    """
    if isinstance(part, list):
        for each in part:
            _check(each, layer, path)
    if not isinstance(part, dict):
        return
    if "class_name" in part:
        config = part.get("config")
        if isinstance(config, dict) and isinstance(config.get("name"), str):
            layer = config["name"]
        reason = _reason_to_refuse(part)
        if reason:
            raise InputError(f"refused {path}: its part {layer!r} is {part['class_name']!r}, and {reason}")
    for each in part.values():
        _check(each, layer, path)


def _reason_to_refuse(part: dict[str, Any]) -> str | None:
    """Why the class or function that a part names may not be used, or None if it may."""
    import keras

    name, module = part["class_name"], part.get("module")
    if name in _PLAIN:
        return None
    if name in _REFUSED:
        return _REFUSED[name]
    if name == "function" and module == "builtins":
        known = isinstance(part.get("config"), str) and hasattr(keras.activations, part["config"])
        return None if known else "it is a function of its author's"
    # Keras looks a registered name up first; its own classes have none, or their own.
    found = _class_of_keras(name, module) if part.get("registered_name") in (None, name) else None
    harmless = (
        keras.Operation,
        keras.initializers.Initializer,
        keras.regularizers.Regularizer,
        keras.constraints.Constraint,
        keras.DTypePolicy,
    )
    if not (isinstance(found, type) and issubclass(found, harmless)):
        return "only Keras' own layers are loaded, because another class would run its author's code"
    # Under another name a refused class would pass above.
    return _REFUSED.get(found.__name__)


def _class_of_keras(name: Any, module: Any) -> Any:
    """The class that Keras would take for this name, None if it is not one of Keras' own."""
    import keras

    if not isinstance(name, str) or ">" in name:
        return None
    if name == "Functional":  # a Model made of layers; without a public name
        return keras.Model
    if module in (None, "keras"):
        found = [getattr(getattr(keras, space), name, None) for space in _NAMESPACES]
        return next((each for each in [*found, getattr(keras, name, None)] if each is not None), None)
    if not isinstance(module, str) or not module.startswith("keras."):
        return None
    try:
        return getattr(importlib.import_module(module), name, None)
    except ImportError:
        return _class_of_keras(name, None)  # a module of Keras 2 that is gone


def _input_shape(model: keras.Model, path: Path) -> tuple[int | None, int | None, int]:
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        raise InputError(
            f"{path} has {len(model.inputs)} inputs and {len(model.outputs)} outputs; only one of each works"
        )
    shape = tuple(model.inputs[0].shape)
    if len(shape) != 4 or shape[3] not in (1, 3):
        raise InputError(f"{path} takes {shape}; wanted images, (None, height, width, 3 or 1)")
    return shape[1:]


_GREY_LAYERS = ("grey_weights", "grey_channels", "grey_sum", "grey_image")


def _grey(image: Any, size: int) -> Any:
    """Colours to one channel of grey, by layers without weights that training could change."""
    from keras import layers

    weights, channels, total, grey = _GREY_LAYERS
    x = layers.Rescaling([3 * weight for weight in _GREY], name=weights)(image)
    x = layers.Reshape((size * size * 3, 1), name=channels)(x)
    x = layers.AveragePooling1D(3, name=total)(x)
    return layers.Reshape((size, size, 1), name=grey)(x)


def _without_classifier(model: keras.Model) -> tuple[Any, tuple[np.ndarray, np.ndarray] | None]:
    """The tensor below the final Dense layer, and that layer's kernel and bias.

    The model's own output and None if it does not end in a classifier: a Dense layer with softmax,
    sigmoid or no activation, at most followed by an activation.
    """
    from keras import layers

    features = model.outputs[0]
    last = _maker(features)
    if isinstance(last, (layers.Activation, layers.Softmax)):
        last = _maker(last.input)
    if not isinstance(last, layers.Dense) or last.activation.__name__ not in ("softmax", "sigmoid", "linear"):
        return _from_layer(features), None
    below = last.input
    while isinstance(_maker(below), layers.Dropout):
        below = _maker(below).input
    if len(below.shape) != 2:
        return _from_layer(below), None
    kernel, *bias = last.get_weights()
    return _from_layer(below), (kernel, bias[0] if bias else np.zeros(kernel.shape[1], kernel.dtype))


def _maker(tensor: Any) -> Any:
    return tensor._keras_history.operation


def _from_layer(tensor: Any) -> Any:
    """The tensor, or itself through a layer if a bare operation made it: taps need a layer."""
    from keras import layers

    if isinstance(_maker(tensor), layers.Layer):
        return tensor
    return layers.Activation("linear", name="features")(tensor)


def _notes(model: keras.Model, path: Path, channels: int) -> tuple[str, ...]:
    notes = []
    if channels == 1:
        notes.append(f"{path.name} takes grey images: colours are turned into grey before it")
    kinds = []
    for layer in model.layers:
        if layer.name not in _GREY_LAYERS:
            kinds.append(type(layer).__name__)
        if layer.trainable_weights:
            break
    if not {"Rescaling", "Normalization", "BatchNormalization"} & set(kinds):
        notes.append(
            f"{path.name} does not scale pixels before its first weights, so it gets 0..255; "
            "if it was trained on 0..1, put a Rescaling layer in front and save it again"
        )
    return tuple(notes)
