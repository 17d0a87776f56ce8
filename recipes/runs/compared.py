"""The frozen network and the trained one of a run beside each other: validation.npz, and what was kept."""

from __future__ import annotations

import time

import numpy as np

from advisor.data import images
from advisor.errors import InputError
from advisor.evidence import embedding, forward
from advisor.evidence.linear_head import softmax
from advisor.evidence.pooling import AVERAGE
from advisor.results import Alone, Kept, Predictions, Second
from advisor.system.storage import replacing
from recipes.job import Job, Networks, Trained
from recipes.runs.classifier import Classifier

FILE = "validation.npz"
TIMED = 5  # batches that are timed; the fastest counts


def write_validation(job: Job, networks: Networks) -> None:
    """Write validation.npz: what both networks say of the validation images, by heads that had not seen them.

    `frozen` and `trained` are probabilities float32 [n, classes], `labels` int64 [n], in the order of the
    validation split in splits.csv.

    Raises:
        OSError: it cannot be written.
    """
    with replacing(job.folder / FILE) as unfinished:
        np.savez(
            unfinished,
            frozen=softmax(networks.frozen_logits).astype(np.float32),
            trained=softmax(networks.trained_logits).astype(np.float32),
            labels=job.data.labels[job.data.indices("validation")],
        )


def frozen_so_far(job: Job, frozen: Trained, test: Predictions) -> Kept:
    """What is kept before training begins.

    Args:
        job: that is begun.
        frozen: the frozen model.
        test: what it says of the test split.
    """
    validated = job.data.labels[job.data.indices("validation")]
    alone = Alone(
        test=float((test.predicted == test.labels).mean()),
        validation=float((frozen.validation.argmax(axis=1) == validated).mean()),
    )
    return Kept("frozen", 0.0, alone)


def kept(job: Job, trained: Trained, test: Predictions, saved: Classifier) -> Kept:
    """How the model of a run was chosen, and how good either network is alone.

    Args:
        job: that is done.
        trained: of it, with a choice.
        test: what the saved model says of the test split.
        saved: the saved model.

    Raises:
        InputError: a test image cannot be read any more.
    """
    choice = trained.choice
    assert choice is not None
    networks, at = choice.networks, job.data.indices("validation")
    frozen = networks.frozen.probabilities(job.head_features(job.data.indices("test")))
    own = test.probabilities if choice.weight == 1 else _probabilities(job, networks)

    def alone(tested: np.ndarray, logits: np.ndarray) -> Alone:
        return Alone(
            test=float((tested.argmax(axis=1) == test.labels).mean()),
            validation=float((logits.argmax(axis=1) == job.data.labels[at]).mean()),
        )

    return Kept(
        rule=choice.rule,
        weight=choice.weight,
        frozen=alone(frozen, networks.frozen_logits),
        trained=alone(own, networks.trained_logits),
        second=_second(job, trained, saved),
    )


def _probabilities(job: Job, networks: Networks) -> np.ndarray:
    """What the trained network says of the test split, float32 [n, classes].

    Raises:
        InputError: one of the images cannot be read any more.
    """
    paths = [job.data.paths[i] for i in job.data.indices("test")]

    def refuse(position: int, reason: str) -> None:
        raise InputError(images.changed(paths[position], reason))

    bar = job.display.steps("Testing the trained network")
    found = []
    of = paths, job.settings.image_size, forward.BATCH, refuse, job.settings.fit, job.settings.grey
    for positions, pixels in images.stream(*of):
        found.append(networks.trained.predict_on_batch(pixels.astype(np.float32)))
        bar(int(positions[-1]) + 1, len(paths))
    return np.concatenate(found)


def _second(job: Job, trained: Trained, saved: Classifier) -> Second:
    """What the model costs more than the frozen network alone, which embeds images the same way.

    Nothing where it is one network: where one was kept, or nothing but the head was trained.
    """
    assert trained.choice is not None
    settings, head = job.settings, trained.choice.networks.frozen
    if trained.choice.weight in (0, 1) or not settings.trains_backbone:
        return Second()
    alone = job.backbone.features(settings.taps).count_params() + head.size
    weights = trained.model.count_params() - alone
    size, grid = settings.image_size, settings.pooling if settings.sees_cells else AVERAGE
    black = np.zeros((forward.BATCH, size, size, 3), np.uint8)

    def seconds(call: forward.Forward) -> float:
        call(black)
        return min(_timed(call, black) for _ in range(TIMED))

    more = seconds(saved.call) - seconds(embedding.runner(job.backbone, size, grid))
    return Second(megabytes=4 * weights / 1e6, milliseconds=max(0.0, 1000 * more / forward.BATCH))


def _timed(call: forward.Forward, pixels: np.ndarray) -> float:
    began = time.perf_counter()
    call(pixels)
    return time.perf_counter() - began
