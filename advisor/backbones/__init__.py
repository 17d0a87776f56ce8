"""Name or file to `Backbone`: a network from images to feature maps at several depths."""

from __future__ import annotations

import difflib
import functools
import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from advisor.backbones.catalogue import APPLICATIONS, catalogue
from advisor.backbones.depth import choose_taps, layer_index
from advisor.backbones.flat import free_name
from advisor.errors import InputError
from advisor.system import devices

if TYPE_CHECKING:
    import keras
    import numpy as np

BUNDLED = "efficientnet_lite0"


@dataclass(frozen=True)
class Backbone:
    """A network without its task.

    Attributes:
        name: as in `advisor backbones`, or the file's name.
        build: makes `model`, when that is first asked for: what is in the cache needs no network.
        taps: names of the layers whose outputs are probed, from shallow to deep; the last one is
            what a plain feature extractor uses.
        image_size: pixels of the square input that fits the weights best.
        fixed_size: whether `model` takes `image_size` only. `load` may build it for another.
        source: the domain of the weights, for people, as in "ImageNet-1k"; "none" for random weights.
        fingerprint: changes with architecture and weights.
        build_classifier: makes `classifier`.
        index_shift: what to add to an index in the original's `layers`, as in `keras.applications` or
            the user's file, to find the same layer in `model.layers`.
        notes: what the user should know about it, one sentence each.
    """

    name: str
    build: Callable[[], keras.Model]
    taps: tuple[str, ...]
    image_size: int
    fixed_size: bool
    source: str
    fingerprint: str
    build_classifier: Callable[[], tuple[np.ndarray, np.ndarray] | None] = lambda: None
    index_shift: int = 0
    notes: tuple[str, ...] = ()

    @cached_property
    def model(self) -> keras.Model:
        """[n, height, width, 3] RGB in 0..255 to the last features; its layers carry the taps."""
        devices.load_tensorflow()
        return self.build()

    @cached_property
    def classifier(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Kernel [d, classes] and bias [classes] of the network's own classifier on the pooled features
        of the last tap, where the weights came with one."""
        return self.build_classifier()

    def layer_index(self, layer: str | int) -> int:
        """Where in `model.layers` the layer is that a user names, or counts as in the original.

        Raises:
            InputError: no such layer; the message names the closest ones.
        """
        return layer_index(self.model, layer, self.index_shift)

    def features(self, taps: tuple[str, ...]) -> keras.Model:
        """From images to pooled features [n, width] at each of `taps`, in a list."""
        import keras

        taken = {operation.name for operation in self.model.operations}
        outputs = []
        for tap in taps:
            name = free_name(f"{tap}_pooled", taken)
            taken.add(name)
            outputs.append(pooled(self.model.get_layer(tap).output, name))
        return keras.Model(self.model.inputs[0], outputs, name=self.name)

    def cut(self, layer: str | int) -> Backbone:
        """The network up to a layer, which is then the last tap.

        Raises:
            InputError: no such layer, or one that the network uses several times.
        """
        import keras

        index = self.layer_index(layer)
        if len(self.model.layers[index]._inbound_nodes) > 1:
            name = self.model.layers[index].name
            raise InputError(f"{self.name} uses its layer {name!r} several times; cut at another one")
        name = self.model.layers[index].name
        below = {earlier.name for earlier in self.model.layers[:index]}
        shallow = keras.Model(self.model.inputs[0], self.model.layers[index].output, name=self.name)
        whole = name == self.taps[-1]
        return replace(
            self,
            build=lambda: shallow,
            taps=(*(tap for tap in self.taps if tap in below), name),
            build_classifier=self.build_classifier if whole else lambda: None,
        )


def pooled(output, name: str):
    """Average a feature map over its positions: [n, h, w, c] or [n, tokens, c] to [n, c]."""
    from keras import layers

    if len(output.shape) == 4:
        return layers.GlobalAveragePooling2D(name=name)(output)
    if len(output.shape) == 3:
        return layers.GlobalAveragePooling1D(name=name)(output)
    return output


def load(
    name: str,
    weights: str | None = None,
    image_size: int | None = None,
    random: bool = False,
    cut: str | None = None,
) -> Backbone:
    """Get a backbone ready.

    Args:
        name: one of `advisor backbones`, or a model file (.keras, .h5, .hdf5).
        weights: a file of weights instead of the published ones.
        image_size: pixels of the square input, where it is to differ from the backbone's own.
        random: the same architecture with fresh random weights; nothing is downloaded. Seed them with
            `keras.utils.set_random_seed` before.
        cut: keep the network up to this layer (name or index) only.

    Raises:
        InputError: unknown name, unreadable or unsafe file, no weights offline, no such layer, or a size
            that the network does not take.
    """
    whole = _load_whole(name, weights, image_size, random)
    return whole if cut is None else whole.cut(cut)


def _load_whole(name: str, weights: str | None, image_size: int | None, random: bool) -> Backbone:
    from advisor.backbones import model_file

    if random and weights is not None:
        raise InputError("random weights and --weights FILE exclude each other; leave out one of them")
    path = None if weights is None else Path(weights)
    if name in _LOADERS:
        return _LOADERS[name](path, image_size, random)
    if name.lower() in APPLICATIONS:  # also as Keras writes it, MobileNetV2
        return _application(name.lower(), path, image_size, random)
    if Path(name).suffix.lower() in model_file.SUFFIXES:
        if path is not None:
            raise InputError(f"{name} brings its own weights; leave out --weights {weights}")
        return _model_file(Path(name), image_size, random)
    close = difflib.get_close_matches(name.lower(), [row.name for row in catalogue()], n=3)
    hint = f"did you mean {', '.join(close)}? " if close else ""
    raise InputError(f"unknown backbone {name!r}; {hint}see: advisor backbones")


def _bundled(weights: Path | None, image_size: int | None, random: bool) -> Backbone:
    from advisor.backbones import efficientnet_lite0
    from advisor.backbones.weights_file import read_weights

    @functools.cache
    def whole() -> keras.Model:
        if not random and weights is None:
            return efficientnet_lite0.pretrained()
        if not random and weights is not None and weights.suffix in _PYTORCH:
            return efficientnet_lite0.from_state_dict(weights)
        model = efficientnet_lite0.EfficientNetLite0()
        if weights is not None:
            read_weights(model, weights)
        return model

    published = weights is None and not random
    return Backbone(
        name=BUNDLED,
        build=whole,
        taps=efficientnet_lite0.TAPS,
        image_size=_size(BUNDLED, image_size, 224, 32),
        fixed_size=False,
        source=_source("ImageNet-1k", weights, random),
        fingerprint=efficientnet_lite0.WEIGHTS_SHA256[:16] if published else fingerprint(whole()),
        build_classifier=lambda: None if random else tuple(whole().get_layer("predictions").get_weights()),
    )


def _simple_cnn(weights: Path | None, image_size: int | None, random: bool) -> Backbone:
    from advisor.backbones import simple_cnn
    from advisor.backbones.weights_file import read_weights

    model = simple_cnn.SimpleCNN()
    if weights is not None:
        read_weights(model, weights)
    return Backbone(
        name="simple_cnn",
        build=lambda: model,
        taps=simple_cnn.TAPS,
        image_size=_size("simple_cnn", image_size, simple_cnn.IMAGE_SIZE, simple_cnn.MINIMUM_SIZE),
        fixed_size=False,
        source=_source("none", weights, random),
        fingerprint=fingerprint(model),
    )


def _resnet18(weights: Path | None, image_size: int | None, random: bool) -> Backbone:
    from advisor.backbones import resnet18
    from advisor.backbones.weights_file import read_weights

    if weights is None and not random:
        raise InputError(
            "resnet18 needs its weights as --weights FILE, as in torchvision's resnet18-f37072fd.pth; "
            "or use the bundled --backbone efficientnet_lite0"
        )
    model = resnet18.ResNet18()
    classifier = None
    if weights is not None and weights.suffix in _PYTORCH:
        classifier = resnet18.read_torchvision(model, weights)
    elif weights is not None:
        read_weights(model, weights)
    return Backbone(
        name="resnet18",
        build=lambda: model,
        taps=resnet18.TAPS,
        image_size=_size("resnet18", image_size, resnet18.IMAGE_SIZE, resnet18.MINIMUM_SIZE),
        fixed_size=False,
        source=_source("none", weights, random),
        fingerprint=fingerprint(model),
        build_classifier=lambda: classifier,
        index_shift=1,
    )


def _application(name: str, weights: Path | None, image_size: int | None, random: bool) -> Backbone:
    from advisor.backbones import applications

    known = APPLICATIONS[name]
    size = _size(name, image_size, known.image_size, known.minimum_size)
    model = applications.build(name, size, weights, random)
    return Backbone(
        name=name,
        build=lambda: model,
        taps=choose_taps(model),
        image_size=size,
        fixed_size=True,
        source=_source("ImageNet-1k", weights, random),
        fingerprint=fingerprint(model),
        index_shift=applications.inserted_layers(name),
    )


def _model_file(path: Path, image_size: int | None, random: bool) -> Backbone:
    from advisor.backbones.model_file import ModelFile

    file = ModelFile(path, image_size, random)
    return Backbone(
        name=path.name,
        build=lambda: file.model,
        taps=choose_taps(file.model),
        image_size=file.image_size,
        fixed_size=True,
        source=_source(f"the training data of {path.name}", None, random),
        fingerprint=fingerprint(file.model),
        build_classifier=lambda: None if random else file.classifier,
        index_shift=file.index_shift,
        notes=file.notes,
    )


_LOADERS = {BUNDLED: _bundled, "simple_cnn": _simple_cnn, "resnet18": _resnet18}
_PYTORCH = (".pth", ".pt")


def _size(name: str, asked: int | None, own: int, minimum: int) -> int:
    if asked is not None and asked < minimum:
        raise InputError(f"{name} needs images of at least {minimum} pixels; got {asked}")
    return asked or own


def _source(published: str, weights: Path | None, random: bool) -> str:
    if random:
        return "none"
    return published if weights is None else f"the weights in {weights.name}"


def fingerprint(model: Any) -> str:
    """16 hexadecimal digits that change with the layers of a network or their weights."""
    digest = hashlib.sha256()
    for layer in model.layers:
        digest.update(f"{layer.name} {type(layer).__name__};".encode())
        for array in layer.get_weights():
            digest.update(f"{array.shape} {array.dtype};".encode())
            digest.update(array.tobytes())
    return digest.hexdigest()[:16]
