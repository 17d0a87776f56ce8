"""Two networks on one image: the features of both lie side by side under one head.

They err differently, so that a head on both is better than on either (benchmarks/views.py). The network that
wants fewer pixels gets the image made smaller inside the model, by a layer that exports. The other one sees
what it sees alone, so that its features are not computed again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from advisor.backbones.backbone import Backbone
from advisor.backbones.layer_names import graph_name
from advisor.backbones.nested_models import without_nested_models
from advisor.errors import InputError

if TYPE_CHECKING:
    import keras

    from advisor.backbones.litert_graph import Graph, Tensor

JOINT = "+"  # between their names


def pair(first: Backbone, second: Backbone) -> Backbone:
    """Both as one network, whose taps are those of the first and then those of the second.

    Args:
        first: its layers keep their names.
        second: its name goes before those of its layers. It gives the last tap.

    Raises:
        InputError: They are the same network.
    """
    if first.name == second.name:
        raise InputError(f"--backbone {first.name}{JOINT}{second.name} is one network; name two")
    size, prefix = max(first.image_size, second.image_size), f"{graph_name(second.name)}_"

    def build() -> keras.Model:
        import keras

        image = keras.Input((size, size, 3), name="image")
        outputs = [_copied(first, image, "").output, _copied(second, image, prefix).output]
        return keras.Model(image, outputs, name=graph_name(f"{first.name}_{second.name}"))

    sources = dict.fromkeys((first.source, second.source))
    return Backbone(
        name=f"{first.name}{JOINT}{second.name}",
        build=build,
        taps=(*first.taps, *(f"{prefix}{tap}" for tap in second.taps)),
        image_size=size,
        fixed_size=True,
        source=" and ".join(sources),
        fingerprint=JOINT.join(f"{one.fingerprint} {one.image_size}" for one in (first, second)),
        notes=(*first.notes, *second.notes),
        parts=(_from_images_of(size, first), _from_images_of(size, second)),
    )


def _from_images_of(size: int, backbone: Backbone) -> Backbone:
    """A network that makes larger images as small as it wants them."""
    own, drawn = backbone.image_size, backbone.draw
    if own == size:
        return backbone

    def build() -> keras.Model:
        import keras

        image = keras.Input((size, size, 3), name="image")
        return keras.Model(image, _copied(backbone, image, "").output, name=graph_name(backbone.name))

    def draw(graph: Graph, image: Tensor) -> Mapping[str, Tensor]:
        assert drawn
        return drawn(graph, graph.resize(image, own))

    return replace(
        backbone,
        build=build,
        image_size=size,
        fixed_size=True,
        fingerprint=f"{backbone.fingerprint} {own} of {size}",
        draw=draw if drawn else None,
    )


def _copied(backbone: Backbone, image: keras.KerasTensor, prefix: str) -> keras.Model:
    """A network up to its last tap on an image, whatever that one's size, with other names of layers."""
    import keras

    trunk = keras.Model(backbone.model.inputs[0], backbone.model.get_layer(backbone.taps[-1]).output)

    def renamed(operation: keras.Operation) -> keras.Operation:
        return type(operation).from_config({**operation.get_config(), "name": f"{prefix}{operation.name}"})

    copy = keras.models.clone_model(trunk, clone_function=renamed)
    copy.set_weights(trunk.get_weights())
    size, pixels = backbone.image_size, None
    if image.shape[1] != size:
        pixels = keras.layers.Resizing(size, size, name=f"{prefix}resizing")(image)
    return without_nested_models(copy, image, pixels)
