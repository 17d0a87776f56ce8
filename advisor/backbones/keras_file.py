"""A Keras file from a stranger: read as data first, loaded only if nothing in it can run or read elsewhere.

Three things can be wrong with such a file, and each is looked at before Keras sees it:

- Its description can name functions and carry bytecode. Keras refuses much of that (`safe_mode`), but has had
  gaps (CVE-2025-1550, CVE-2025-8747, CVE-2025-9906, CVE-2025-12058, CVE-2026-1462, CVE-2026-12481). So the
  description may name Keras' own layers, operations, initialisers, regularisers, constraints and number
  formats, of these none that runs code or reads other files, three networks of KerasHub, and nothing else.
- Its weights can point into other files, or grow without end: see `weights_file`.
- It can be small and describe something huge (CVE-2026-0897). The network may not be larger than the weights
  that are stored for it: it is put together without memory for weights, and gets them once every one of them
  has been found in the file. What its layers give for one image is bounded, too.
"""

from __future__ import annotations

import importlib
import json
import math
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from advisor.backbones import hub
from advisor.backbones.weights_file import (
    MOST_DESCRIPTION,
    check_archive,
    check_finite,
    check_weights,
    refused,
)
from advisor.choices import LARGEST_IMAGE
from advisor.errors import InputError, one_line

if TYPE_CHECKING:
    import keras

SEED = 2  # numbers of the state of a random generator, which need not be stored
# VGG gives 64 numbers for each pixel, and no network of keras.applications more.
MOST_PER_PIXEL = 128
LEAST_OUTPUT_LIMIT = 2**22  # numbers, for networks of small images
MOST_LAYERS = 5_000  # the largest networks of keras.applications have about 1,000

# Keras' own, and what derives from them, but no better than a file that runs code.
_REFUSED = {
    "Lambda": "it runs Python code that the file holds",
    "TFSMLayer": "it runs a program from another folder",
    "TorchModuleWrapper": "it unpickles what the file holds",
    "JaxLayer": "it runs Python code that the file names",
    "FlaxLayer": "it runs Python code that the file names",
    "IndexLookup": "it reads other files and has no use on images",
    "TextVectorization": "it reads other files and has no use on images",
    "FeatureSpace": "it reads other files and has no use on images",
    "Distiller": "it has no use after training",
}

# How Keras writes plain values: `keras.src.saving.serialization_lib.serialize_keras_object`.
_PLAIN = {"__keras_tensor__", "__tensor__", "__numpy__", "__bytes__", "__ellipsis__", "__slice__"}

# Where a class is looked for if the file does not say, as older ones do not.
_NAMESPACES = ("layers", "models", "initializers", "regularizers", "constraints", "dtype_policies")


def load_safely(path: Path) -> keras.Model:
    """Load a whole model after looking at everything that it names; nothing in it can run.

    The model is not compiled: loss, metrics and optimizer are not loaded.

    Args:
        path: a .keras, .h5 or .hdf5 file with architecture and weights.

    Returns:
        A model with inputs and finite weights.

    Raises:
        InputError: The file is no model file, damaged, larger than it needs to be, or names anything but
            the harmless parts of Keras.
    """
    import keras

    description = _description(path)
    _check(description, "model", path)
    try:
        with _without_memory_for_weights() as scope:
            model = keras.models.load_model(path, compile=False, safe_mode=True)
            values = [(each, scope.get_current_value(each)) for each in getattr(model, "variables", ())]
            missing = [each.path for each, value in values if value is None and np.prod(each.shape) > SEED]
            if missing:
                raise ValueError(f"its weights {missing[0]} are not in it")
    except (Exception, SystemExit) as error:  # Keras, HDF5 and TensorFlow raise many kinds
        raise InputError(
            f"{path} cannot be loaded as a Keras model ({one_line(error)}); save it again"
        ) from error
    if not isinstance(model, keras.Model) or not getattr(model, "inputs", None):
        raise InputError(f"{path} holds no model with a defined input; save it after its first use")
    check_outputs(model, path)
    for variable, value in values:
        if value is None:
            continue
        check_finite(variable.path, value, path)
        variable.assign(value)
    return model


def check_outputs(model: keras.Model, path: Path) -> None:
    """Refuse a network of which a layer gives more for one image than any network for images does.

    Args:
        model: a model with layers; dimensions that are open count as 1.
        path: of the file that it comes from, for the message.

    Raises:
        InputError: The images, or the numbers that one layer gives, are too many; the message names it.
    """
    import keras

    sides = [side or 1 for side in model.inputs[0].shape[1:3]]
    if max(sides, default=1) > LARGEST_IMAGE:
        raise InputError(f"{path} takes images of {max(sides)} pixels; the limit is {LARGEST_IMAGE}")
    most = max(LEAST_OUTPUT_LIMIT, MOST_PER_PIXEL * math.prod(sides))
    for operation in getattr(model, "operations", model.layers):  # a Sequential has layers only
        if isinstance(operation, keras.Model) and operation.inputs:
            check_outputs(operation, path)
        for node in operation._inbound_nodes:
            for tensor in node.output_tensors:
                numbers = math.prod(side or 1 for side in tensor.shape[1:])
                if numbers > most:
                    raise InputError(
                        f"refused {path}: its layer {operation.name!r} gives {numbers:,} numbers "
                        f"for an image; the limit is {most:,}"
                    )


@contextmanager
def _without_memory_for_weights() -> Iterator[Any]:
    """Let networks be put together with weights that have a shape, but nothing in them until the end.

    What is assigned to them meanwhile is in the scope, and has the shape of the weight. On an exception the
    weights never come to be; Keras would make them at the next occasion.
    """
    import keras
    from keras.src.backend.common import global_state

    scope = keras.StatelessScope(initialize_variables=False)
    try:
        with scope:
            yield scope
    except BaseException:
        global_state.set_global_attribute("uninitialized_variables", [])
        raise
    with keras.StatelessScope():
        pass  # makes them as it ends


def _description(path: Path) -> dict[str, Any]:
    """Read what the file says of its architecture, after a look at all of its content but that.

    Raises:
        InputError: There is no such file, it is damaged, or it is no model.
    """
    import h5py

    if not path.is_file():
        raise InputError(f"no model file {path}; give a whole model as .keras, .h5 or .hdf5")
    try:
        if path.suffix == ".keras" and zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                check_archive(archive, path)
                return _parsed(archive.read("config.json"), path)
        if path.suffix != ".keras" and h5py.is_hdf5(path):
            with h5py.File(path, "r") as file:
                check_weights(file, path)
                if "model_config" not in file.attrs:
                    if "layer_names" in file.attrs or "layers" in file:
                        raise InputError(
                            f"{path} holds weights without a model; use --backbone NAME --weights {path}"
                        )
                    raise InputError(f"{path} is an HDF5 file without a Keras model; use another file")
                return _parsed(file.attrs["model_config"], path)
    except InputError:
        raise
    except Exception as error:  # zipfile and HDF5 raise many kinds
        raise InputError(f"{path} is damaged or truncated ({one_line(error)}); get it again") from error
    raise InputError(f"{path} is damaged or not a Keras model; wanted: a whole model as .keras, .h5 or .hdf5")


# ---------------------------------------------------------------------------------------------------
# The description


def _parsed(text: Any, path: Path) -> dict[str, Any]:
    """Parse a description of at most `MOST_DESCRIPTION` bytes.

    Raises:
        InputError: It is no JSON object, or too long.
    """
    if not isinstance(text, str | bytes):
        raise InputError(f"{path} is damaged (its description is no text); save it again")
    if len(text) > MOST_DESCRIPTION:
        raise InputError(
            f"refused {path}: its description has {len(text):,} bytes; the limit is {MOST_DESCRIPTION:,}"
        )
    try:
        description = json.loads(text)
        json.dumps(description, ensure_ascii=False).encode()  # fails for a name that is no text
    except RecursionError:
        raise InputError(f"{path} is damaged (its description is nested too deeply); save it again") from None
    except ValueError as error:
        raise InputError(f"{path} is damaged ({one_line(error)}); save it again") from error
    if not isinstance(description, dict):
        raise InputError(f"{path} is damaged (its description is no object); save it again")
    return description


def _check(description: dict[str, Any], layer: str, path: Path) -> None:
    """Refuse a description if it, or anything inside it, names what could run.

    Loss, metrics and optimizer of the whole model are not looked at, for they are not loaded.

    Args:
        description: as `_parsed` gives it.
        layer: what the whole is called in a message.
        path: of the file, for the message.

    Raises:
        InputError: Something is refused; the message names the part and the reason.
    """
    loaded = {key: value for key, value in description.items() if key != "compile_config"}
    parts: list[tuple[Any, str]] = [(loaded, layer)]
    layers = 0
    while parts:
        part, layer = parts.pop()
        if isinstance(part, list):
            parts += [(each, layer) for each in part]
        if not isinstance(part, dict):
            continue
        if isinstance(part.get("layers"), list):
            layers += len(part["layers"])
            if layers > MOST_LAYERS:
                raise InputError(f"refused {path}: more than {MOST_LAYERS:,} layers; no network has so many")
        if "class_name" in part:
            config = part.get("config")
            if isinstance(config, dict) and isinstance(config.get("name"), str):
                layer = config["name"]
            reason = _reason_to_refuse(part)
            if reason:
                shown = str(part["class_name"])[:80]
                raise refused(path, f"its part {layer[:80]!r} is {shown!r}, and {reason}")
        parts += [(each, layer) for each in part.values()]


def _reason_to_refuse(part: dict[str, Any]) -> str | None:
    """Say why the class or function that a part names may not be used; None if it may."""
    import keras

    name, module = part["class_name"], part.get("module")
    if not isinstance(name, str):
        return "that is no name"
    if name in _PLAIN:
        return None
    if name == "function" and module == "builtins":
        known = isinstance(part.get("config"), str) and hasattr(keras.activations, part["config"])
        return None if known else "it is a function of its author's"
    if isinstance(module, str) and module.startswith("keras_hub."):
        return hub.reason_to_refuse(part)
    # Keras looks a registered name up first; its own classes have none, or their own.
    found = _class_of_keras(name, module) if part.get("registered_name") in (None, name) else None
    if not isinstance(found, type):
        return "only Keras' own layers are loaded, because another class would run its author's code"
    for base in found.__mro__:  # under another name, or derived from it, a refused class is no better
        if base.__name__ in _REFUSED:
            return _REFUSED[base.__name__]
    harmless = (
        keras.Operation,
        keras.initializers.Initializer,
        keras.regularizers.Regularizer,
        keras.constraints.Constraint,
        keras.DTypePolicy,
    )
    if not (issubclass(found, harmless) and found.__module__.startswith("keras.src.")):
        return "only Keras' own layers are loaded, because another class would run its author's code"
    return None


def _class_of_keras(name: str, module: Any) -> Any:
    """Find the class that Keras would take for this name; None if it is not one of Keras' own."""
    import keras

    if ">" in name:
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
    except (ImportError, ValueError):
        return _class_of_keras(name, None)  # a module of Keras 2 that is gone
