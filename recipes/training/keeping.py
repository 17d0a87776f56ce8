"""What is kept when training has ended: both networks as a pool, or one of them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from advisor.advice import rule
from advisor.backbones import Backbone
from advisor.evidence.linear_head import LinearHead, softmax
from advisor.system.storage import replacing
from recipes.job import Choice, Job, Networks, Solved, Weights
from recipes.training import pool
from recipes.training.assembly import assemble, assemble_frozen, clone, freeze, head_layers
from recipes.training.averaging import use_best_average
from recipes.training.checkpoints import Checkpoints
from recipes.training.pixels import Pixels

if TYPE_CHECKING:
    import keras

EPOCHS = "epochs"  # the folder of networks as they were after some of the epochs


def keep(
    job: Job, seen: Pixels, checkpoints: Checkpoints, solved: Solved | None
) -> tuple[keras.Model, np.ndarray, Choice | None]:
    """Choose between the frozen network and the trained one, by `settings.keep`.

    Training ends with the last epoch, where the learning rate has come down to nothing, not with the one that
    was best on a small validation split: on 400 training images of flowers that was the tenth of twenty, at a
    high learning rate and four points of test accuracy below the last. Of a run that ended in its first half
    it is the best epoch. Where no head could be solved first, there is no frozen network to compare with: the
    best epoch is kept, unless what training ended with was asked for. `settings.epoch_kept` says which.

    Args:
        job: that is done.
        seen: its images.
        checkpoints: of the training.
        solved: the heads of the frozen network; None with random weights.

    Returns:
        The model to save, its probabilities float32 [n, classes] on the validation split, by a head that did
        not learn from that, and how it was chosen; None where there was no choice. Where time was over before
        the first epoch was, that is the frozen network.
    """
    is_late = 2 * checkpoints.epochs_done() > job.settings.epochs
    wants_end = job.settings.epoch_kept == "last"
    end = checkpoints.model.get_weights() if is_late and wants_end else checkpoints.best
    backbone, model = with_weights(job, end)
    if solved is None:
        return model, model.predict(seen.validation_batches(), verbose=0), None
    bar = job.display.steps("Choosing what to keep")
    bar(0, 2)
    networks = _networks(job, seen, solved, model, checkpoints.start)
    bar(1, 2)
    if job.observer:
        job.observer.after_training(job, networks, seen.validation_batches())
    choice = (
        _choose(job, seen, networks) if checkpoints.best_epoch() else Choice(networks, job.settings.keep, 0.0)
    )
    bar(2, 2)
    probabilities = pool.probabilities(
        choice.networks.frozen_logits, choice.networks.trained_logits, choice.weight
    )
    return _model(job, backbone, choice), probabilities.astype(np.float32), choice


def with_weights(job: Job, weights: Weights) -> tuple[Backbone, keras.Model]:
    """A copy of the backbone, and a model of it and a head for images of the finished size.

    Args:
        job: whose backbone it is.
        weights: of the model that is trained, in the order of its `get_weights()`.
    """
    settings, backbone = job.settings, clone(job.backbone, "float32")
    freeze(backbone, settings.train_from, settings.batch_norm)
    head = head_layers(settings.head, job.classes, settings.dropout)
    model = assemble(backbone, settings, head, settings.image_size)
    model.set_weights(weights)
    return backbone, model


def save_epoch(job: Job, trained: keras.Model, epoch: int) -> None:
    """Save the network as it is after an epoch as `epochs/epoch-NNN.keras` of the run folder.

    Args:
        job: whose folder it is.
        trained: the model that is trained.
        epoch: from 1.

    Raises:
        OSError: it cannot be written.
    """
    folder = job.folder / EPOCHS
    folder.mkdir(exist_ok=True)
    with replacing(folder / f"epoch-{epoch:03}.keras") as unfinished:
        with_weights(job, trained.get_weights())[1].save(unfinished)


def _networks(job: Job, seen: Pixels, solved: Solved, trained: keras.Model, start: Weights) -> Networks:
    """Both networks, judged by the validation images before the frozen head learns from these, too.

    Training began from the whole picture, maybe with a hidden layer. The frozen network that it is compared
    with is the best that there is without training: its head is solved, and may see cells.
    """
    validated = job.head_features(job.data.indices("validation"))
    return Networks(
        frozen=solved.used,
        frozen_logits=solved.judged.logits(validated).astype(np.float64),
        trained=trained,
        trained_logits=_logits(trained, seen),
        start=start,
    )


def _logits(model: keras.Model, seen: Pixels) -> np.ndarray:
    """What a model says of the validation images before its softmax, float64 [n, classes]."""
    import keras

    below = keras.Model(model.inputs[0], model.layers[-1].input)
    features = below.predict(seen.validation_batches(), verbose=0)
    return _head(model).logits(features).astype(np.float64)


def _head(model: keras.Model) -> LinearHead:
    return LinearHead(*model.layers[-1].get_weights())


def _choose(job: Job, seen: Pixels, networks: Networks) -> Choice:
    """What is kept of both networks."""
    keep, labels = job.settings.keep, job.data.labels[job.data.indices("validation")]
    if keep == "trained":
        return Choice(networks, keep, 1.0)
    if job.settings.pools:
        weight = pool.best_weight(networks.frozen_logits, networks.trained_logits, labels)
        return Choice(networks, keep, rule.pool_weight(weight))
    model, bar = networks.trained, job.display.steps("Averaging with the start")
    frozen, ended = softmax(networks.frozen_logits), model.get_weights()
    average = use_best_average(model, networks.start, ended, seen.validation_batches(), labels, frozen, bar)
    averaged = replace(networks, trained_logits=_logits(model, seen))
    return Choice(averaged, "single", float(average.is_clear and average.share > 0), average.share)


def _model(job: Job, backbone: Backbone, choice: Choice) -> keras.Model:
    """The model to save.

    Args:
        job: whose backbone is the frozen network.
        backbone: of the trained network.
        choice: how it was chosen.
    """
    import keras

    networks = choice.networks
    if choice.weight == 1:
        return networks.trained
    if choice.weight == 0:
        return assemble_frozen(job, networks.frozen)
    freeze(job.backbone, None, "frozen")
    head = [layer for layer in networks.trained.layers if isinstance(layer, keras.layers.Dense)]
    trained = backbone, tuple(tuple(layer.get_weights()) for layer in head)
    return pool.pool((job.backbone, networks.frozen), trained, choice.weight, job.settings)
