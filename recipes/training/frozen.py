"""A head on features that were computed once: no gradient reaches the backbone."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from advisor.advice.settings import MLP_EPOCHS, MLP_LEARNING_RATE, MLP_WEIGHT_DECAY
from advisor.evidence import linear_head
from advisor.evidence.linear_head import HeadInput, LinearHead, softmax
from advisor.results import Epoch
from recipes.job import Job, Solved, Trained
from recipes.training.assembly import assemble, assemble_frozen, freeze, head_layers, metrics, set_head
from recipes.training.base_head import with_base_labels

MLP_PATIENCE = 10  # epochs without a better one, after which training stops


def train(job: Job) -> Trained:
    """Fit the head to features that are known, then put it on the frozen backbone."""
    return _linear(job) if job.settings.head == "linear" else _mlp(job)


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
    judged = solve(job, features, job.data.indices("train"))
    bar(1, 2)
    used = with_validation_images(job, features)
    bar(2, 2)
    return Solved(judged, used)


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
    return Trained(assemble_frozen(job, solved.used), (alone,), validation)


def solve(job: Job, features: HeadInput, at: np.ndarray) -> LinearHead:
    """The convex head on some of the images; with `settings.base_labels`, see `with_base_labels`.

    Args:
        job: whose labels and weights of images count.
        features: `Job.head_features` of all images.
        at: positions of those to use, int64 [m].
    """
    seen, labels, weights = features.take(at), job.data.labels[at], job.image_weights(at)
    if job.settings.base_labels:
        return with_base_labels(job, seen, labels, weights)
    return linear_head.fit(seen, labels, job.classes, weights).head


def with_validation_images(job: Job, features: HeadInput) -> LinearHead:
    """The convex head on training and validation images, once these have judged it.

    Args:
        job: whose labels and weights of images count.
        features: of all images.
    """
    both = np.sort(np.concatenate([job.data.indices("train"), job.data.indices("validation")]))
    return solve(job, features, both)


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
    )


def _mlp(job: Job) -> Trained:
    hidden = train_hidden(job)
    head = head_layers(job.settings.head, job.classes)
    set_head(head, hidden.weights)
    freeze(job.backbone, None, "frozen")
    validation = hidden.probabilities(job.averages(job.data.indices("validation")))
    return Trained(
        assemble(job.backbone, job.settings, head, job.settings.image_size), hidden.history, validation
    )


@dataclass(frozen=True)
class Hidden:
    """A head with a hidden layer.

    Attributes:
        weights: kernel [inputs, outputs] and bias [outputs] of its two dense layers.
        history: by epoch.
    """

    weights: tuple[tuple[np.ndarray, np.ndarray], ...]
    history: tuple[Epoch, ...]

    def probabilities(self, features: np.ndarray) -> np.ndarray:
        """float32 [n, classes] from averages [n, d]."""
        (below, offset), (above, bias) = self.weights
        return softmax(np.maximum(features @ below + offset, 0) @ above + bias)


def train_hidden(job: Job) -> Hidden:
    """A head with a hidden layer, by gradient steps on standardised features; the best epoch is kept.

    The standardisation is folded into the hidden layer afterwards.
    """
    import keras

    settings, features = job.settings, job.averages()
    labels = np.eye(job.classes, dtype=np.float32)[job.data.labels]
    train_at, validate_at = job.data.indices("train"), job.data.indices("validation")
    mean, scale = features[train_at].mean(axis=0), linear_head.spread(features[train_at])
    standard = ((features - mean) / scale).astype(np.float32)
    trained = head_layers(settings.head, job.classes)
    model = keras.Sequential([keras.Input((features.shape[1],)), *trained])
    optimizer = keras.optimizers.AdamW(MLP_LEARNING_RATE, weight_decay=MLP_WEIGHT_DECAY)
    model.compile(optimizer, "categorical_crossentropy", metrics=metrics())
    epochs = MLP_EPOCHS if settings.trains_on_images else settings.epochs
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
            keras.callbacks.EarlyStopping("val_loss", patience=MLP_PATIENCE, restore_best_weights=True),
            keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: bar(epoch + 1, epochs)),
        ],
    ).history
    kernel, bias = trained[0].get_weights()
    folded = (kernel / scale[:, None], bias - (mean / scale) @ kernel)
    columns = ("loss", "accuracy", "val_loss", "val_accuracy", "val_brier")
    history = tuple(
        Epoch(number, "head", *row, MLP_LEARNING_RATE, 0.0)  # type: ignore[call-arg]
        for number, row in enumerate(zip(*(record[name] for name in columns), strict=True), 1)
    )
    return Hidden((folded, tuple(trained[-1].get_weights())), history)
