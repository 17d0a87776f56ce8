"""One training from data to a finished run folder."""

from __future__ import annotations

import csv
import io
import time
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from advisor import backbones
from advisor.advice.settings import Settings
from advisor.backbones import Backbone
from advisor.data import copies, images, near_copies
from advisor.data.checks import leave_out
from advisor.data.dataset import Dataset
from advisor.data.listing import Skipped
from advisor.data.names import SPLITS
from advisor.data.sampling import sample
from advisor.errors import InputError
from advisor.evidence import embedding, outliers
from advisor.evidence.embedding import Features
from advisor.results import (
    BeforeTraining,
    Epoch,
    Kept,
    Metrics,
    NearCopies,
    Predictions,
    Run,
    Scores,
    score,
)
from advisor.system import devices, reproduction
from advisor.system.json_file import write_json, write_text
from advisor.system.progress import Display
from advisor.system.storage import replacing
from recipes import trainer
from recipes.job import Job, Observe, Trained
from recipes.runs import classifier, compared, neighbours_file, run_files, splits_file, test_file
from recipes.runs.classifier import Classifier
from recipes.runs.run_folder import RunFolder
from recipes.training.base_head import from_base_labels

if TYPE_CHECKING:
    import keras


def run(
    data: Dataset,
    settings: Settings,
    folder: RunFolder,
    seed: int,
    display: Display,
    resume: bool = False,
    seconds: float | None = None,
    observe: Observe | None = None,
) -> Run:
    """Build and train a model; write splits.csv, model.keras, labels.json, history.csv, validation.npz (where
    two networks were compared), neighbours.npz, test.npz and metrics.json, in this order.

    Args:
        data: may still hold unreadable files; they are left out before anything trains.
        settings: what to build.
        folder: exists; `finish` it when all is written.
        seed: of everything random.
        display: where progress is shown.
        resume: go on from `checkpoints/`.
        seconds: from now, after which no gradient step begins; None for no limit.
        observe: see `recipes.job.Job`.

    Raises:
        InputError: the settings do not fit the network, an image has changed meanwhile, memory is too small,
            or training ended in a network that is of no use.
        KeyboardInterrupt: after Ctrl-C; what was done is in the folder, for `resume`.
    """
    devices.load_tensorflow()
    import keras

    began = time.monotonic()
    keras.utils.set_random_seed(seed)
    backbone = _load_backbone(settings, folder)
    known = _look(backbone, data, settings, display)
    splits_file.write(known.data, known.contents, folder.path)
    deadline = None if seconds is None else began + seconds
    job = Job(
        known.data, backbone, known.features, settings, folder.path, seed, resume, deadline, display, observe
    )
    started = time.monotonic()
    before = None
    if settings.base_labels:
        before = BeforeTraining(_before_training(job, "validation"), _before_training(job, "test"))
    trained = trainer(settings.recipe)(job)
    trained_at = time.monotonic()
    _write_model(job, trained)
    saved = classifier.load(folder.path, settings.image_size, trained.model)
    neighbours_file.write(_neighbours(job, trained, saved), folder.path)
    test = _test(job, saved)
    _refuse_what_is_no_number(job, trained, test)
    test_file.write(test, folder.path)
    took = {
        "embed": known.seconds,
        "train": trained.earlier_seconds + trained_at - started,
        "total": trained.earlier_seconds + time.monotonic() - began,
    }
    kept = compared.kept(job, trained, test, saved) if trained.choice else None
    metrics = _metrics(job, trained, test, kept, _near_copies(known, test), before, took)
    write_json(folder.path / "metrics.json", metrics.to_json())
    return Run(folder.path, trained.history, test, metrics)


def _load_backbone(settings: Settings, folder: RunFolder) -> Backbone:
    """The network that the settings name.

    Raises:
        InputError: there is none, or it has not the layers that a resumed run names.
    """
    random = settings.init == "random"
    backbone = backbones.load(
        settings.backbone, settings.weights, settings.image_size, random, settings.cut_layer
    )
    if not set(settings.taps) <= set(backbone.taps):
        raise run_files.damaged(folder.path, "checkpoints/started.json names layers that the network has not")
    return backbone


@dataclass(frozen=True)
class _Known:
    """What is known of the images before anything trains.

    Attributes:
        data: those that can be read.
        contents: the SHA-256 of their files, 32 bytes each.
        features: of them; None where the weights are random.
        copied: test images that are nearly the same as one in another split, int64 positions.
        seconds: that embedding took.
    """

    data: Dataset
    contents: tuple[bytes, ...]
    features: Features | None
    copied: np.ndarray
    seconds: float


def _look(backbone: Backbone, data: Dataset, settings: Settings, display: Display) -> _Known:
    """Look at each image: compute what the backbone makes of it, or only whether it can be read."""
    began = time.monotonic()
    if settings.init == "random":
        reasons = images.find_unreadable(data.paths, display.steps("Checking images"))
        data = leave_out(data, [Skipped(data.paths[i], reason) for i, reason in reasons.items()])
        contents = tuple(bytes.fromhex(copies.content(path)) for path in data.paths)
        return _Known(data, contents, None, np.empty(0, np.int64), 0.0)
    bar = display.steps("Embedding images")
    positions, size = np.arange(len(data)), settings.image_size
    embedded = embedding.embed(backbone, data, positions, size, bar, pooling=settings.pooling)
    data = leave_out(data, embedded.unreadable)
    pairs = near_copies.find(embedded.thumbnails)
    is_test = data.splits == SPLITS.index("test")
    across = pairs[is_test[pairs].sum(axis=1) == 1]
    copied = np.unique(across[is_test[across]])
    contents = tuple(content.tobytes() for content in embedded.contents)
    return _Known(data, contents, embedded.features, copied, time.monotonic() - began)


def _before_training(job: Job, split: str) -> Scores:
    """What the backbone's own classifier knows of the target classes, on one split."""
    assert job.features is not None
    at = job.data.indices(split)
    probabilities = from_base_labels(job).probabilities(job.features.last()[at])
    return score(job.data.labels[at], probabilities, job.data.class_names)


def _write_model(job: Job, trained: Trained) -> None:
    """Write model.keras, labels.json, history.csv and, where two networks were compared, validation.npz."""
    with replacing(job.folder / "model.keras") as unfinished:
        trained.model.save(unfinished)
    write_json(job.folder / "labels.json", list(job.data.class_names))
    write_history(trained.history, job.folder / "history.csv")
    if trained.choice:
        compared.write_validation(job, trained.choice.networks)


def write_history(history: tuple[Epoch, ...], file: Path) -> None:
    """Write history.csv: a row for each epoch."""
    text = io.StringIO(newline="")
    table = csv.writer(text)
    table.writerow([field.name for field in fields(Epoch)])
    table.writerows([astuple(row) for row in history])
    write_text(file, text.getvalue())


def _holds_the_frozen_network(job: Job, trained: Trained) -> bool:
    """Whether the saved model gives the averages that were embedded."""
    return not job.settings.trains_backbone or (trained.choice is not None and trained.choice.weight < 1)


def _neighbours(job: Job, trained: Trained, saved: Classifier) -> outliers.Neighbours:
    """What tells images unlike these: see `advisor.evidence.outliers`."""
    labels, parts = job.data.labels, []
    is_embedded = job.features is not None and _holds_the_frozen_network(job, trained)
    for split in ("train", "validation"):
        at = job.data.indices(split)
        at = at[sample(labels[at], outliers.MOST, job.seed)]
        if is_embedded:
            parts.append(job.averages(at))
        else:
            parts.append(_classified(job, saved, at, f"Embedding {split} images")[0])
    return outliers.fit(*parts)


def _test(job: Job, saved: Classifier) -> Predictions:
    """What the saved model says of the test split."""
    at = job.data.indices("test")
    paths = tuple(job.data.paths[i] for i in at)
    shown = tuple(job.data.shown(path) for path in paths)
    _, probabilities = _classified(job, saved, at, "Testing")
    return Predictions(job.data.class_names, paths, shown, job.data.labels[at], probabilities)


def _classified(job: Job, saved: Classifier, at: np.ndarray, stage: str) -> tuple[np.ndarray, np.ndarray]:
    """Features [n, d] and probabilities [n, classes] of the images at these positions, float32.

    Raises:
        InputError: one of them cannot be read any more.
    """
    paths = [job.data.paths[i] for i in at]

    def refuse(position: int, reason: str) -> None:
        raise InputError(images.changed(paths[position], reason))

    batches = list(saved.classify(paths, refuse, job.display.steps(stage)))
    return np.concatenate([b.features for b in batches]), np.concatenate([b.probabilities for b in batches])


def _refuse_what_is_no_number(job: Job, trained: Trained, test: Predictions) -> None:
    if not (np.isfinite(test.probabilities).all() and np.isfinite(trained.validation).all()):
        raise InputError(
            f"training ended in a network whose answers are no numbers, so nothing in {job.folder} is of "
            "use; start again with --overwrite and another --seed or --batch-size"
        )


def _near_copies(known: _Known, test: Predictions) -> NearCopies | None:
    """How well the model does on test images that training has not nearly seen; None where it saw none."""
    own = ~np.isin(known.data.indices("test"), known.copied)
    if own.all() or not own.any():
        return None
    return NearCopies(len(known.copied), float((test.predicted == test.labels)[own].mean()))


def _metrics(
    job: Job,
    trained: Trained,
    test: Predictions,
    kept: Kept | None,
    copied: NearCopies | None,
    before: BeforeTraining | None,
    seconds: dict[str, float],
) -> Metrics:
    data, validate_at = job.data, job.data.indices("validation")
    return Metrics(
        recipe=job.settings.recipe,
        settings=job.settings,
        test=test.scores(),
        validation=score(data.labels[validate_at], trained.validation, data.class_names),
        images={split: len(data.indices(split)) for split in SPLITS},
        parameters={
            "total": _count(trained.model.weights),
            "trained": _count(_trained_network(trained).trainable_weights),
        },
        complete=trained.complete,
        seed=job.seed,
        seconds={stage: round(each, 3) for stage, each in seconds.items()},
        device=devices.describe(),
        precision=trained.precision,
        versions=reproduction.versions(),
        kept=kept,
        trained_share=trained.choice.share if trained.choice else None,
        near_copies=copied,
        before_training=before,
    )


def _trained_network(trained: Trained) -> keras.Model:
    """The network that gradient steps have changed, whether it was kept or not."""
    return trained.choice.networks.trained if trained.choice else trained.model


def _count(weights: list) -> int:
    return int(sum(np.prod(weight.shape) for weight in weights))
