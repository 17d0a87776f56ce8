"""Name or file to `Backbone`: a network from images to feature maps at several depths."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from advisor.errors import InputError

if TYPE_CHECKING:
    import keras

BUNDLED = "efficientnet_lite0"


@dataclass(frozen=True)
class Backbone:
    """A network without its task.

    Attributes:
        name: as in `advisor backbones`, or the file's name.
        model: [n, height, width, 3] RGB in 0..255 to the last features; its layers carry the taps.
        taps: names of the layers whose outputs are probed, from shallow to deep; the last one is
            what a plain feature extractor uses.
        image_size: pixels of the square input that fits the weights best.
        minimum_size: pixels; smaller inputs are refused.
        fixed_size: whether the network takes `image_size` only.
        source: the domain of the weights, for people, as in "ImageNet-1k"; "none" for random weights.
        fingerprint: changes with architecture and weights.
    """

    name: str
    model: keras.Model
    taps: tuple[str, ...]
    image_size: int
    minimum_size: int
    fixed_size: bool
    source: str
    fingerprint: str

    def features(self, taps: tuple[str, ...]) -> keras.Model:
        """From images to pooled features [n, width] at each of `taps`, in a list."""
        import keras

        outputs = [pooled(self.model.get_layer(tap).output) for tap in taps]
        return keras.Model(self.model.inputs, outputs, name=self.name)

    def cut(self, tap: str) -> keras.Model:
        """The network up to the layer `tap`, which it shares with `model`."""
        import keras

        return keras.Model(self.model.inputs, self.model.get_layer(tap).output, name=self.name)


def pooled(output):
    """Average a feature map over its positions: [n, h, w, c] or [n, tokens, c] to [n, c]."""
    from keras import layers

    if len(output.shape) == 4:
        return layers.GlobalAveragePooling2D()(output)
    if len(output.shape) == 3:
        return layers.GlobalAveragePooling1D()(output)
    return output


def load(name: str, weights: str | None = None, image_size: int | None = None) -> Backbone:
    """Get a backbone ready.

    Args:
        name: one of `advisor backbones`, or a model file (.keras, .h5, .hdf5).
        weights: a file of weights instead of the published ones.
        image_size: pixels of the square input, where it is to differ from the backbone's own.

    Raises:
        InputError: unknown name, unreadable or unsafe file, no weights offline, or a size that the
            network does not take.
    """
    if name == BUNDLED:
        return _bundled()
    raise InputError(f"unknown backbone {name!r}; see: advisor backbones")


def _bundled() -> Backbone:
    from advisor.backbones import efficientnet_lite0

    model = efficientnet_lite0.pretrained()
    return Backbone(
        name=BUNDLED,
        model=model,
        taps=efficientnet_lite0.TAPS,
        image_size=224,
        minimum_size=32,
        fixed_size=False,
        source="ImageNet-1k",
        fingerprint=efficientnet_lite0.WEIGHTS_SHA256[:16],
    )
