"""A head on features that were computed once: no gradient reaches the backbone."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from concurrent.futures import as_completed
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from advisor.advice.settings import Settings, on_features
from advisor.evidence import linear_head
from advisor.evidence.head_input import HeadInput
from advisor.evidence.linear_head import Fitted, LinearHead, softmax
from advisor.evidence.spread import spread
from advisor.results import Epoch
from advisor.system.solvers import SMALL_FOR_TWO, solvers
from recipes.job import Job, Solved, Trained
from recipes.training import optimizers
from recipes.training.assembly import assemble, assemble_frozen, freeze, head_layers, metrics, set_head
from recipes.training.base_head import with_base_labels

if TYPE_CHECKING:
    import keras

PATIENCE = 10  # epochs without a better one, after which training on features usually stops


def train(job: Job) -> Trained:
    """Fit the head to features that are known, then put it on the frozen backbone."""
    return _linear(job) if job.settings.solves_head else _by_steps(job)


def _linear(job: Job) -> Trained:
    began, features = time.monotonic(), job.head_features()
    return finished(job, features, solve_both(job, features), began)


def solve_both(job: Job, features: HeadInput) -> Solved:
    """The convex head without the validation images, which judge it, and then with them.

    Args:
        job: whose labels and weights of images count.
        features: `Job.head_features` of all images.
    """
    bar = job.display.steps("Solving the head")
    bar(0, 2)
    at = job.data.indices("train")
    with solvers(min(len(features), features.width), SMALL_FOR_TWO) as at_once:
        judging = at_once.submit(solve, job, features, at)
        using = at_once.submit(_solve_with_validation_images, job, features)
        for done, _ in enumerate(as_completed((judging, using)), start=1):
            bar(done, 2)
    judged, (used, both) = judging.result(), using.result()
    error = float((judged.held_out.argmax(axis=1) != job.data.labels[at]).mean())
    truth = used.held_out[np.arange(len(both)), job.data.labels[both]]
    return Solved(judged.head, used.head, error, truth)


def finished(job: Job, features: HeadInput, solved: Solved, began: float) -> Trained:
    """The frozen network with its head, as a recipe gives it back.

    Args:
        job: whose backbone it is.
        features: `Job.head_features` of all images.
        solved: from `solve_both`.
        began: when solving began, as `time.monotonic` tells it.
    """
    validation = solved.judged.probabilities(features.take(job.data.indices("validation")))
    alone = head_alone(job, lambda at: solved.judged.probabilities(features.take(at)), began)
    test = solved.used.probabilities(features.take(job.data.indices("test")))
    model = assemble_frozen(job, solved.used)
    return Trained(model, (alone,), validation, test.astype(np.float32), truth=solved.truth)


def solve(job: Job, features: HeadInput, at: np.ndarray) -> Fitted:
    """The convex head on some of the images, and what it says of them by leave-one-out; with
    `settings.base_labels`, see `with_base_labels`.

    Args:
        job: whose labels and weights of images count.
        features: `Job.head_features` of all images.
        at: positions of those to use, int64 [m].
    """
    seen, labels, weights = features.take(at), job.data.labels[at], job.image_weights(at)
    if job.settings.base_labels:
        return with_base_labels(job, seen, labels, weights)
    return linear_head.fit(seen, labels, job.classes, weights, job.data.groups_of(at))


def with_validation_images(job: Job, features: HeadInput) -> LinearHead:
    """The convex head on training and validation images, once these have judged it.

    Args:
        job: whose labels and weights of images count.
        features: of all images.
    """
    return _solve_with_validation_images(job, features)[0].head


def _solve_with_validation_images(job: Job, features: HeadInput) -> tuple[Fitted, np.ndarray]:
    """The same with what it says by leave-one-out, and of which images: their positions, int64 [n]."""
    return solve(job, features, job.fitted), job.fitted


def head_alone(job: Job, said: Callable[[np.ndarray], np.ndarray], began: float) -> Epoch:
    """The first row of a history: a head on frozen features, on the training and on the validation images.

    Args:
        job: whose labels count.
        said: gives the probabilities [n, classes] of images at some positions, by a head that was fitted to
            the training images.
        began: when fitting it began, as `time.monotonic` tells it.
    """

    def judged(split: str) -> linear_head.Judged:
        at = job.data.indices(split)
        return linear_head.judge(said(at), job.data.labels[at])

    fitted, validated = judged("train"), judged("validation")
    return Epoch(
        epoch=0,
        phase="head",
        loss=fitted.loss,
        accuracy=fitted.accuracy,
        validation_loss=validated.loss,
        validation_accuracy=validated.accuracy,
        validation_brier=validated.brier,
        learning_rate=0.0,
        seconds=time.monotonic() - began,
        frozen_layers=job.backbone.frozen_layers(None),
    )


def _by_steps(job: Job) -> Trained:
    learned = train_head(job)
    head = head_layers(job.settings.head, job.classes, job.settings.dropout)
    set_head(head, learned.weights)
    freeze(job.backbone, None, "frozen")
    validation = learned.probabilities(job.averages(job.data.indices("validation")))
    return Trained(
        assemble(job.backbone, job.settings, head, job.settings.image_size), learned.history, validation
    )


@dataclass(frozen=True)
class Learned:
    """A head that gradient steps have fitted to features.

    Attributes:
        weights: kernel [inputs, outputs] and bias [outputs] of each of its dense layers.
        history: by epoch.
    """

    weights: tuple[tuple[np.ndarray, np.ndarray], ...]
    history: tuple[Epoch, ...]

    def probabilities(self, features: np.ndarray) -> np.ndarray:
        """float32 [n, classes] from averages [n, d]."""
        *hidden, (kernel, bias) = self.weights
        for below, offset in hidden:
            features = np.maximum(features @ below + offset, 0)
        return softmax(features @ kernel + bias)


def train_head(job: Job) -> Learned:
    """A head by gradient steps on features, as the settings say; as usual if training on images follows.

    Roots are standardised before, which is folded into the lowest layer afterwards; raw features are taken as
    they are.
    """
    import keras

    settings, features = job.settings, job.averages()
    settings = on_features(settings) if settings.trains_on_images else settings
    labels = np.eye(job.classes, dtype=np.float32)[job.data.labels]
    train_at, validate_at = job.data.indices("train"), job.data.indices("validation")
    mean, scale = np.zeros(features.shape[1]), np.ones(features.shape[1])
    if settings.roots:
        mean, scale = features[train_at].mean(axis=0), spread(features[train_at])
    standard = ((features - mean) / scale).astype(np.float32)
    trained = head_layers(settings.head, job.classes, settings.dropout)
    model = keras.Sequential([keras.Input((features.shape[1],)), *trained])
    epochs, steps = settings.epochs, math.ceil(len(train_at) / settings.batch_size)
    schedule = optimizers.schedule(settings, settings.learning_rate, epochs, steps)
    loss = keras.losses.CategoricalCrossentropy(label_smoothing=settings.label_smoothing)
    model.compile(optimizers.optimizer(settings, schedule), loss, metrics=metrics())
    bar = job.display.steps("Training the head")
    record = model.fit(
        standard[train_at],
        labels[train_at],
        sample_weight=job.image_weights(train_at).astype(np.float32),
        validation_data=(standard[validate_at], labels[validate_at]),
        epochs=epochs,
        batch_size=settings.batch_size,
        verbose=0,
        callbacks=[
            _patience(settings),
            keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: bar(epoch + 1, epochs)),
        ],
    ).history
    (kernel, bias), *above = (layer.get_weights() for layer in trained if layer.weights)
    folded = (kernel / scale[:, None], bias - (mean / scale) @ kernel)
    columns = ("loss", "accuracy", "val_loss", "val_accuracy", "val_brier")
    frozen_layers = job.backbone.frozen_layers(None)
    history = []
    for number, row in enumerate(zip(*(record[name] for name in columns), strict=True), 1):
        rate = optimizers.rate_at(schedule, number * steps - 1)
        judged = Epoch(number, "head", *row, learning_rate=rate, seconds=0.0)  # type: ignore[misc]
        history.append(replace(judged, frozen_layers=frozen_layers, batch_size=settings.batch_size))
    return Learned((folded, *map(tuple, above)), tuple(history))


def _patience(settings: Settings) -> keras.callbacks.Callback:
    """What stops training once the best epoch is too long ago, and takes its weights."""
    import keras

    return keras.callbacks.EarlyStopping(
        f"val_{settings.watch}",
        patience=settings.patience or PATIENCE,
        mode="max" if settings.watch == "accuracy" else "min",
        restore_best_weights=settings.epoch_kept == "best",
    )
