"""Names of layers: which layer a user means, and which name is still free."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import TYPE_CHECKING

from advisor.errors import InputError

if TYPE_CHECKING:
    import keras


def layer_index(model: keras.Model, layer: str | int, shift: int = 0) -> int:
    """Find the layer that a user means in `model.layers`.

    Args:
        model: any Keras model.
        layer: its name, or its index, also as text; a negative index counts from the end.
        shift: how many layers `model` has at the front that the user does not count.

    Raises:
        InputError: There is no such layer; the message names the closest ones.
    """
    names = [each.name for each in model.layers]
    if layer in names:
        return names.index(str(layer))
    try:
        index = int(layer)
    except ValueError:
        close = difflib.get_close_matches(str(layer), names, n=3, cutoff=0.5) or [*names[1:3], names[-1]]
        raise InputError(f"no layer {layer!r}; close or typical names: {', '.join(close)}") from None
    size = len(names) - shift
    if not -size <= index < size:
        raise InputError(f"no layer {index}: the network's layers are 0 ({names[shift]}) to {size - 1}")
    return index % size + shift


def free_name(name: str, taken: Iterable[str], prefix: str = "") -> str:
    """Give a layer the name itself, else with the prefix before it or a number behind it, so that it is free.

    Layers of a user's network may be called anything, and two layers of one network not alike.

    >>> free_name("features", ["image", "features"])
    'features_1'
    """
    taken = set(taken)
    choice, number = name, 1
    while choice in taken:
        choice = f"{prefix}{name}" if number == 1 and prefix else f"{prefix}{name}_{number}"
        number += 1
    return choice
