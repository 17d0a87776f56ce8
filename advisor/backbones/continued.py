"""The network of a finished run, with its head, to go on from."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from advisor.backbones.backbone import Backbone, fingerprint
from advisor.backbones.keras_file import load_safely
from advisor.errors import InputError


def continued(backbone: Backbone, file: Path) -> Backbone:
    """The same architecture with the weights, and the head, of the model of a run, as far up as that sees it.

    Args:
        backbone: that the run was built with; its weights are replaced in place.
        file: the model.keras of the run, which holds one network.

    Raises:
        InputError: the file cannot be loaded, or is of another network.
    """
    import keras

    saved = load_safely(file)
    inside = (layer for layer in saved.layers if isinstance(layer, keras.Model))
    found = {layer.name: layer for network in inside for layer in network.layers}
    seen = [tap for tap in backbone.taps if tap in found]  # a run may use the lower layers alone
    if not seen:
        raise InputError(f"{file} holds another network than {backbone.name}; choose another run")
    backbone = backbone.cut(seen[-1])
    try:
        for layer in backbone.model.layers:
            if layer.weights:
                layer.set_weights(found[layer.name].get_weights())
            if isinstance(layer, keras.layers.Normalization):
                layer.finalize_state()  # it computes with what it made of its weights when it was built
    except (KeyError, ValueError):
        raise InputError(f"{file} holds another network than {backbone.name}; choose another run") from None
    dense = [layer for layer in saved.layers if isinstance(layer, keras.layers.Dense)]
    return replace(
        backbone,
        source=f"{backbone.name}, trained on in {file.parent.name}",
        fingerprint=fingerprint(backbone.model),
        build_classifier=lambda: None,
        head=tuple(tuple(layer.get_weights()) for layer in dense),
    )
