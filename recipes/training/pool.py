"""The pool of two networks, the frozen one and the trained one: their weighted mean, as one model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from advisor.advice.rule import POOL_BELIEF, POOL_CENTRE
from advisor.advice.settings import Settings
from advisor.backbones import Backbone
from advisor.backbones.layer_names import free_name
from advisor.evidence.linear_head import LinearHead, softmax
from recipes.training.assembly import WHOLE_PICTURE, Seen, head_layers, set_dense

if TYPE_CHECKING:
    import keras

WEIGHTS = np.linspace(0, 1, 101)  # of the trained network, that are tried


def probabilities(frozen: np.ndarray, trained: np.ndarray, weight: float) -> np.ndarray:
    """What the pool says: the softmax of the weighted mean of the logits of both networks.

    Args:
        frozen: logits [n, classes] of the frozen network.
        trained: logits [n, classes] of the trained one.
        weight: of the trained one, 0..1.

    Returns:
        [n, classes]; of one network alone at 0 and at 1, whatever the other one says.
    """
    if weight in (0, 1):
        return softmax(trained if weight else frozen)
    return softmax((1 - weight) * frozen + weight * trained)


def best_weight(frozen: np.ndarray, trained: np.ndarray, labels: np.ndarray) -> float:
    """The weight of the trained network at which the pool is best, as far as validation images tell.

    Two networks that err differently are better together than either alone (Kumar, Ma, Liang and
    Raghunathan, Calibrated ensembles can mitigate accuracy tradeoffs under distribution shift,
    arXiv 2207.08977). Their weight has the lowest log-loss, summed over the validation images, plus a belief
    that decides where there are few of them: `POOL_BELIEF * 4 * (weight - POOL_CENTRE)^2`.

    Args:
        frozen: logits [n, classes] of the frozen network, whose head has not seen the images.
        trained: logits [n, classes] of the trained one.
        labels: int64 [n].

    Returns:
        0..1, in steps of a hundredth; 0 where the trained network gives no numbers.
    """
    if not np.isfinite(trained).all():
        return 0.0
    at = np.arange(len(labels))
    losses = []
    for weight in WEIGHTS:
        truth = probabilities(frozen, trained, weight)[at, labels]
        belief = POOL_BELIEF * 4 * (weight - POOL_CENTRE) ** 2
        losses.append(-np.log(np.maximum(truth, 1e-12)).sum() + belief)
    return float(WEIGHTS[int(np.argmin(losses))])


def pool(
    frozen: tuple[Backbone, LinearHead],
    trained: tuple[Backbone, Sequence[tuple[np.ndarray, np.ndarray]]],
    weight: float,
    settings: Settings,
) -> keras.Model:
    """One plain model from images [n, size, size, 3] in 0..255 to the pool's probabilities [n, classes].

    It holds both networks, but what training left as it was stands in it once. What both heads see lies side
    by side under one dense layer, into which both of them and the weight are folded.

    Args:
        frozen: the network as it was before training, and its head on `Job.head_features`; its layers become
            part of the model.
        trained: a copy of it with the same names of layers, trained; and kernel and bias of each dense layer
            of its head, which sees averages.
        weight: of the trained network's logits, 0..1.
        settings: that both were made with.
    """
    import keras
    from keras import layers

    both, moved = _side_by_side(frozen[0], trained[0])
    taps = tuple(moved.get(tap, tap) for tap in settings.taps)
    last = frozen[0].taps[-1]
    image = keras.Input((settings.image_size, settings.image_size, 3), name="image")
    classifiers = (last, moved.get(last, last)) if settings.base_labels else ()
    everything = tuple(dict.fromkeys((*settings.taps, *taps, *classifiers)))
    seen = Seen.of(both, settings, image, everything, settings.cells_of)
    below = seen.by(settings.taps, last, True, WHOLE_PICTURE, frozen[1].gaussian)
    above = seen.by(taps, moved.get(last, last), False, f"{WHOLE_PICTURE}_trained")
    *hidden, (kernel, bias) = trained[1]
    for layer, weights in zip(head_layers(settings.head, len(bias))[:-1], hidden, strict=True):
        above = layer(above)
        set_dense(layer, *weights)
    (end,) = head_layers("linear", len(bias))
    model = keras.Model(image, end(layers.Concatenate(name="both")([below, above])), name=settings.recipe)
    kernels = np.concatenate([(1 - weight) * frozen[1].kernel, weight * kernel])
    set_dense(end, kernels, (1 - weight) * frozen[1].bias + weight * bias)
    return model


def _side_by_side(frozen: Backbone, trained: Backbone) -> tuple[Backbone, Mapping[str, str]]:
    """Both networks as one, and the names in it of the trained one's layers that have others.

    What was not trained, nor sees anything that was, is shared. The other layers of the trained network are
    copied under names of their own.
    """
    import keras

    model, copies = frozen.model, {}
    names = {operation.name for operation in model.operations}
    moved: dict[int, keras.KerasTensor] = {}  # what a tensor of the frozen network is in the trained one

    def copied(operation: keras.Operation) -> keras.Operation:
        if operation.name not in copies:
            original = trained.model.get_layer(operation.name) if _is_layer(operation) else operation
            name = free_name(f"{operation.name}_trained", names)
            names.add(name)
            copies[operation.name] = type(operation).from_config({**original.get_config(), "name": name})
        return copies[operation.name]

    for depth in sorted(model._nodes_by_depth, reverse=True):
        for node in model._nodes_by_depth[depth]:
            seen = {id(tensor): moved.get(id(tensor), tensor) for tensor in node.input_tensors}
            sees_trained = any(id(tensor) in moved for tensor in node.input_tensors)
            if node.is_input or not (sees_trained or _is_trained(trained, node.operation)):
                continue
            arguments, named = node.arguments.fill_in(seen)
            outputs = keras.tree.flatten(copied(node.operation)(*arguments, **named))
            moved.update(zip(map(id, node.outputs), outputs, strict=True))
    for name, copy in copies.items():
        if _is_layer(copy):
            copy.set_weights(trained.model.get_layer(name).get_weights())
        if isinstance(copy, keras.layers.Normalization):
            copy.finalize_state()
    ends = [*model.outputs, *(moved[id(end)] for end in model.outputs if id(end) in moved)]
    whole = keras.Model(model.inputs[0], ends, name=model.name)
    return replace(frozen, build=lambda: whole), {name: copy.name for name, copy in copies.items()}


def _is_layer(operation: keras.Operation) -> bool:
    import keras

    return isinstance(operation, keras.layers.Layer)


def _is_trained(trained: Backbone, operation: keras.Operation) -> bool:
    """Whether training may have changed the weights of a layer, which has the same name in both networks."""
    return _is_layer(operation) and bool(trained.model.get_layer(operation.name).trainable_variables)
