"""A head on features that were computed once: no gradient reaches the backbone."""

from __future__ import annotations

import time

import numpy as np

from advisor.evidence import linear_head
from advisor.evidence.linear_head import HeadInput, LinearHead
from advisor.results import Epoch
from recipes.job import Job, Trained
from recipes.training.assembly import assemble, assemble_frozen, freeze, head_layers, metrics, set_dense

MLP_PATIENCE = 10  # epochs without a better one, after which training stops


def train(job: Job) -> Trained:
    """Fit the head to features that are known, then put it on the frozen backbone."""
    return _linear(job) if job.settings.head == "linear" else _mlp(job)


def _linear(job: Job) -> Trained:
    """The convex head. Validation is measured without the validation images, then they are used, too."""
    began, features = time.monotonic(), job.head_features()
    bar = job.display.steps("Solving the head")
    bar(0, 2)
    tested = solve(job, features, job.data.indices("train"))
    bar(1, 2)
    used = with_validation_images(job, features)
    bar(2, 2)
    validation = tested.probabilities(features.take(job.data.indices("validation")))
    model = assemble_frozen(job, used)
    return Trained(model, (head_alone(job, tested, features, began),), validation)


def solve(job: Job, features: HeadInput, at: np.ndarray) -> LinearHead:
    """The convex head on some of the images.

    Args:
        job: whose labels and weights of images count.
        features: of all images.
        at: positions of those to use, int64 [m].
    """
    weights = job.image_weights(at)
    return linear_head.fit(features.take(at), job.data.labels[at], job.classes, weights).head


def with_validation_images(job: Job, features: HeadInput) -> LinearHead:
    """The convex head on training and validation images, once these have judged it.

    Args:
        job: whose labels and weights of images count.
        features: of all images.
    """
    both = np.sort(np.concatenate([job.data.indices("train"), job.data.indices("validation")]))
    return solve(job, features, both)


def head_alone(job: Job, head: LinearHead, features: HeadInput, began: float) -> Epoch:
    """The first row of a history: a head on frozen features, on the training and on the validation images.

    Args:
        job: whose labels count.
        head: that was solved on the training images, or is the backbone's own.
        features: of all images.
        began: when solving it began, as `time.monotonic` tells it.
    """

    def judged(split: str) -> linear_head.Judged:
        at = job.data.indices(split)
        return linear_head.judge(head.probabilities(features.take(at)), job.data.labels[at])

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
    optimizer = keras.optimizers.AdamW(settings.learning_rate, weight_decay=settings.weight_decay)
    model.compile(optimizer, "categorical_crossentropy", metrics=metrics())
    bar = job.display.steps("Training the head")
    record = model.fit(
        standard[train_at],
        labels[train_at],
        sample_weight=job.image_weights(train_at).astype(np.float32),
        validation_data=(standard[validate_at], labels[validate_at]),
        epochs=settings.epochs,
        batch_size=settings.batch_size,
        verbose=0,
        callbacks=[
            keras.callbacks.EarlyStopping("val_loss", patience=MLP_PATIENCE, restore_best_weights=True),
            keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: bar(epoch + 1, settings.epochs)),
        ],
    ).history
    validation = model.predict(standard[validate_at], verbose=0)
    kernel, bias = trained[0].get_weights()
    head = head_layers(settings.head, job.classes)  # new: layers in two models have two inputs
    set_dense(head[0], kernel / scale[:, None], bias - (mean / scale) @ kernel)
    set_dense(head[-1], *trained[-1].get_weights())
    columns = ("loss", "accuracy", "val_loss", "val_accuracy", "val_brier")
    history = tuple(
        Epoch(number, "head", *row, settings.learning_rate, 0.0)  # type: ignore[call-arg]
        for number, row in enumerate(zip(*(record[name] for name in columns), strict=True), 1)
    )
    freeze(job.backbone, None, "frozen")
    return Trained(assemble(job.backbone, settings, head, settings.image_size), history, validation)
