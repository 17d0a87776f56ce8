"""One training from data to a finished run folder."""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import astuple, dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np

from advisor import backbones
from advisor.advice.settings import Settings
from advisor.advice.steps import Step, step_of
from advisor.backbones import Backbone
from advisor.data import copies, images, near_copies
from advisor.data.checks import leave_out
from advisor.data.dataset import Dataset
from advisor.data.listing import Skipped
from advisor.data.names import SPLITS
from advisor.data.sampling import sample
from advisor.errors import InputError
from advisor.evidence import embedding, outliers
from advisor.evidence.embedding import Embedded
from advisor.evidence.features import Features
from advisor.evidence.forward import BATCH
from advisor.evidence.pooling import AVERAGE, FLATTEN, MAXIMUM
from advisor.evidence.prediction_sets import usually_covered
from advisor.evidence.views import VIEWS
from advisor.results import (
    BeforeTraining,
    Corrected,
    Epoch,
    Kept,
    Metrics,
    NearCopies,
    Predictions,
    Run,
    Scores,
    StepTaken,
    corrected_score,
    score,
)
from advisor.system import devices, interrupts, reproduction
from advisor.system.json_file import write_json, write_text
from advisor.system.progress import Display
from advisor.system.storage import remove, replacing
from recipes import trainer
from recipes.job import Job, Observer, Trained
from recipes.runs import (
    calibration_file,
    classifier,
    compared,
    neighbours_file,
    run_files,
    splits_file,
    stages,
    test_file,
)
from recipes.runs.classifier import Classifier
from recipes.runs.run_folder import EXPORTS, RunFolder
from recipes.training.base_head import from_base_labels

if TYPE_CHECKING:
    import keras

SAME = 0.01  # difference between probabilities that is rounding, of cells in half precision
Meanwhile: TypeAlias = Callable[[Run], None]


def run(
    data: Dataset,
    settings: Settings,
    folder: RunFolder,
    seed: int,
    display: Display,
    resume: bool = False,
    seconds: float | None = None,
    observer: Observer | None = None,
    meanwhile: Meanwhile | None = None,
    steps: Sequence[Step] = (),
    earlier: tuple[Epoch, ...] = (),
) -> Run:
    """Build and train a model; write splits.csv, model.keras, labels.json, history.csv, validation.npz (where
    two networks were compared), neighbours.npz, calibration.npz, test.npz and metrics.json, in this order.

    With `meanwhile` the folder holds a complete model before gradient steps begin, the frozen one, and after
    Ctrl-C the better one so far. One takes the place of the other file by file; metrics.json is the last and
    names the model that it belongs to, so that nobody takes half of each for one.

    Args:
        data: may still hold unreadable files; they are left out before anything trains.
        settings: what to build.
        folder: exists; `finish` it when all is written.
        seed: of everything random.
        display: where progress is shown.
        resume: go on from `checkpoints/`.
        seconds: from now, after which no gradient step begins; None for no limit.
        observer: who looks at the networks while they are trained, if anybody does.
        meanwhile: called with what the folder holds before the run is finished, if it is to hold anything.
        steps: of the advice; what was foretold of this one stands in metrics.json, beside what came.
        earlier: the history of the run that this one goes on from, if it does.

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
        known.data, backbone, known.features, settings, folder.path, seed, resume, deadline, display, observer
    )
    foretold = step_of(steps, settings)
    work = _Work(known, job, began, time.monotonic(), foretold, earlier)
    if meanwhile:

        def tell(frozen: Trained) -> None:
            if not run_files.holds_a_model(folder.path):  # else of the run that is resumed
                meanwhile(_write_frozen(work, frozen))

        job = replace(job, on_frozen=tell)
    trained = trainer(settings.recipe)(job)
    finished = _write(work, trained)
    if trained.interrupted and meanwhile:
        meanwhile(finished)
        raise KeyboardInterrupt
    return finished


@dataclass(frozen=True)
class _Work:
    """What a run is about.

    Attributes:
        known: of its images.
        job: its one.
        began: when it began, as `time.monotonic` tells it.
        started: when the images were known.
        foretold: of this step, if anything was.
        earlier: history that this one goes on from.
    """

    known: _Known
    job: Job
    began: float
    started: float
    foretold: Step | None
    earlier: tuple[Epoch, ...]


def _write_frozen(work: _Work, frozen: Trained) -> Run:
    """Write the frozen model before training begins; its test images are known by their features."""
    assert frozen.test is not None
    job, solved_at = work.job, time.monotonic()
    with ExitStack() as exchange:
        with replacing(job.folder / "model.keras") as unfinished:
            frozen.model.save(unfinished)
            digest = run_files.digest(job.folder, unfinished.name)
            near = _neighbours(job, lambda at, what: job.averages(at))
            test = _predictions(job, frozen.test)
            seen = _Seen(digest, near, test, compared.frozen_so_far(job, frozen, test))
            exchange.enter_context(interrupts.put_off())
        return _finish(work, replace(frozen, complete=False), seen, solved_at)


def _write(work: _Work, trained: Trained) -> Run:
    """Write what training gave.

    Raises:
        InputError: an image has changed meanwhile, or what training gave is of no use.
    """
    job, trained_at = work.job, time.monotonic()
    is_embedded = job.features is not None and _holds_the_frozen_network(job, trained)
    with ExitStack() as exchange:
        with replacing(job.folder / "model.keras") as unfinished:
            trained.model.save(unfinished)
            saved = classifier.of(trained.model, unfinished, job.settings)

            def features(at: np.ndarray, what: str) -> np.ndarray:
                return job.averages(at) if is_embedded else _classified(job, saved, at, what)[0]

            near = _neighbours(job, features)
            test = _tested(job, trained, saved)
            _refuse_what_is_no_number(job, trained, test)
            kept = compared.kept(job, trained, test, saved) if trained.choice else None
            seen = _Seen(saved.digest, near, test, kept)
            exchange.enter_context(interrupts.put_off())
        return _finish(work, trained, seen, trained_at)


class _Seen(NamedTuple):
    """What a model showed before it was put into the folder.

    Attributes:
        digest: the SHA-256 of its file.
        neighbours: what tells images unlike those that it has seen.
        test: what it says of the test split.
        kept: how it was chosen, if it was.
    """

    digest: str
    neighbours: outliers.Neighbours
    test: Predictions
    kept: Kept | None


def _finish(work: _Work, trained: Trained, seen: _Seen, trained_at: float) -> Run:
    """Write all but model.keras; metrics.json, which makes it one, comes last. Exports of other models go."""
    job, folder = work.job, work.job.folder
    for name in EXPORTS:
        remove(folder / name)
    write_json(folder / "labels.json", list(job.data.class_names))
    history = stages.joined(work.earlier, trained.history)
    write_history(history, folder / "history.csv")
    if trained.choice:
        compared.write_validation(job, trained.choice.networks)
    neighbours_file.write(seen.neighbours, folder)
    calibration = calibration_file.calibration(job, trained)
    calibration_file.write(calibration, folder)
    test_file.write(seen.test, folder)
    took = {
        "embed": work.known.seconds,
        "train": trained.earlier_seconds + trained_at - work.started,
        "total": trained.earlier_seconds + time.monotonic() - work.began,
    }
    sets = usually_covered(calibration, seen.test.labels, seen.test.probabilities)
    metrics = replace(_metrics(work, trained, seen, took), prediction_sets=sets)
    write_json(folder / "metrics.json", metrics.to_json())
    return Run(folder, history, seen.test, metrics)


def _load_backbone(settings: Settings, folder: RunFolder) -> Backbone:
    """The network that the settings name.

    Raises:
        InputError: there is none, or it has not the layers that a resumed run names.
    """
    random = settings.init == "random"
    backbone = backbones.load(
        settings.backbone,
        settings.weights,
        settings.image_size,
        random,
        settings.cut_layer,
        settings.start_from,
    )
    if not set(settings.taps) <= set(backbone.taps):
        raise run_files.damaged(folder.path, "checkpoints/started.json names layers that the network has not")
    if settings.pooling in (MAXIMUM, FLATTEN):
        return backbone.with_pooling(settings.pooling, settings.taps)
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
    embedded = _embedded(backbone, data, settings, display)
    data = leave_out(data, embedded.unreadable)
    pairs = near_copies.find(embedded.thumbnails)
    is_test = data.splits == SPLITS.index("test")
    across = pairs[is_test[pairs].sum(axis=1) == 1]
    copied = np.unique(across[is_test[across]])
    contents = tuple(content.tobytes() for content in embedded.contents)
    return _Known(data, contents, embedded.features, copied, time.monotonic() - began)


def _embedded(backbone: Backbone, data: Dataset, settings: Settings, display: Display) -> Embedded:
    """All images as the backbone sees them."""
    positions, bar = np.arange(len(data)), display.steps("Embedding images")
    grid = settings.pooling if settings.sees_cells else AVERAGE
    views, size, fit = VIEWS[settings.views], settings.image_size, settings.fit
    return embedding.embed(backbone, data, positions, size, bar, views, grid, fit)


def embed_ahead(data: Dataset, settings: Settings, folder: RunFolder, display: Display) -> None:
    """Embed the images as `run` will, which then finds them in the cache."""
    if settings.init != "random":
        _embedded(_load_backbone(settings, folder), data, settings, display)


def _before_training(job: Job, split: str) -> Scores:
    """What the backbone's own classifier knows of the target classes, on one split."""
    assert job.features is not None
    at = job.data.indices(split)
    probabilities = from_base_labels(job).probabilities(job.features.last()[at])
    return score(job.data.labels[at], probabilities, job.data.class_names)


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


def _neighbours(job: Job, features: Callable[[np.ndarray, str], np.ndarray]) -> outliers.Neighbours:
    """What tells images unlike these: see `advisor.evidence.outliers`.

    Args:
        job: whose images they are.
        features: gives those of the images at some positions, float32 [n, d]; and what that is called.
    """
    labels, parts = job.data.labels, []
    for split in ("train", "validation"):
        at = job.data.indices(split)
        at = at[sample(labels[at], outliers.MOST, job.seed)]
        parts.append(features(at, f"Embedding {split} images"))
    return outliers.fit(*parts)


def _predictions(job: Job, probabilities: np.ndarray) -> Predictions:
    """Probabilities [n, classes] of the test split, with its images."""
    at = job.data.indices("test")
    paths = tuple(job.data.paths[i] for i in at)
    shown = tuple(job.data.shown(path) for path in paths)
    return Predictions(job.data.class_names, paths, shown, job.data.labels[at], probabilities)


def _tested(job: Job, trained: Trained, saved: Classifier) -> Predictions:
    """What a model says of the test split.

    Where that follows from the features of the images, the saved model is asked about a few of them alone,
    and about all if it says anything else.
    """
    at = job.data.indices("test")
    if trained.test is not None:
        few = _classified(job, saved, at[:BATCH], "Testing")[1]
        if np.abs(few - trained.test[:BATCH]).max() < SAME:
            return _predictions(job, trained.test)
    return _predictions(job, _classified(job, saved, at, "Testing")[1])


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
            f"training ended in a network whose answers are no numbers, and it is not in {job.folder}; "
            "start again with --overwrite and another --seed or --batch-size"
        )


def _near_copies(known: _Known, test: Predictions) -> NearCopies | None:
    """How well the model does on test images that training has not nearly seen; None where it saw none."""
    own = ~np.isin(known.data.indices("test"), known.copied)
    if own.all() or not own.any():
        return None
    return NearCopies(len(known.copied), float((test.predicted == test.labels)[own].mean()))


def _corrected(data: Dataset, test: Predictions) -> Corrected | None:
    """How well the model does by corrected labels; None where no test image was corrected."""
    if data.corrected is None:
        return None
    return corrected_score(test, data.corrected[data.indices("test")])


def _metrics(work: _Work, trained: Trained, seen: _Seen, seconds: dict[str, float]) -> Metrics:
    job, data = work.job, work.job.data
    validate_at, before = data.indices("validation"), None
    if job.settings.base_labels:
        before = BeforeTraining(_before_training(job, "validation"), _before_training(job, "test"))
    return Metrics(
        recipe=job.settings.recipe,
        settings=job.settings,
        test=seen.test.scores(),
        validation=score(data.labels[validate_at], trained.validation, data.class_names),
        images={split: len(data.indices(split)) for split in SPLITS},
        parameters={
            "total": _count(trained.model.weights),
            "trained": _count(_trained_network(trained).trainable_weights),
        },
        complete=trained.complete,
        lost_patience=trained.lost_patience or None,
        model_sha256=seen.digest,
        seed=job.seed,
        seconds={stage: round(each, 3) for stage, each in seconds.items()},
        device=devices.describe(),
        precision=trained.precision,
        versions=reproduction.versions(),
        kept=seen.kept,
        trained_share=trained.choice.share if trained.choice else None,
        steps=_taken(work, seen, seconds["total"]) if trained.complete else (),
        near_copies=_near_copies(work.known, seen.test),
        corrected=_corrected(data, seen.test),
        before_training=before,
    )


def _taken(work: _Work, seen: _Seen, seconds: float) -> tuple[StepTaken, ...]:
    """What was foretold of a training that began from a frozen model, beside what came."""
    step = work.foretold
    if step is None or seen.kept is None:
        return ()
    gained = seen.test.scores().accuracy - seen.kept.frozen.test
    return (StepTaken(step.action, step.gain, step.interval, step.seconds, gained, round(seconds, 3)),)


def _trained_network(trained: Trained) -> keras.Model:
    """The network that gradient steps have changed, whether it was kept or not."""
    return trained.choice.networks.trained if trained.choice else trained.model


def _count(weights: list) -> int:
    return int(sum(np.prod(weight.shape) for weight in weights))
