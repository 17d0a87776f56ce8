"""Benchmark tasks: a data set cut to a size, as a user would hold it, and many more images to test on."""

from __future__ import annotations

import itertools
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from advisor.advice.settings import Settings
from advisor.data import images, sources
from advisor.data.dataset import Dataset
from advisor.data.names import SPLITS
from advisor.data.sampling import sample
from advisor.data.splits import split as draw_splits
from advisor.evidence.linear_head import softmax
from advisor.system.progress import Silent
from recipes.job import Job, Networks
from recipes.runs.run import run
from recipes.runs.run_folder import RunFolder
from recipes.training.averaging import use_best_average
from recipes.training.frozen import solve, with_validation_images

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

MOST_TEST_IMAGES = 500
BATCH = 32  # test images at once
LOOKS = (0.3, 0.5, 0.7)  # of all epochs, after which the trained network is looked at, too


@dataclass(frozen=True)
class Task:
    """What a user would have, and what a judge holds back.

    Attributes:
        name: of the data.
        held: the user's images with the user's 80/10/10 splits; the advisor sees this only.
        judged: the same training and validation images; its test split is what was held back.
    """

    name: str
    size: int | None
    seed: int
    held: Dataset
    judged: Dataset


def cut(source: str, size: int | None, seed: int) -> Task | None:
    """Cut a data set to a stratified sample of `size` images; None for all images.

    The test images are up to `MOST_TEST_IMAGES` of the rest; with all images, the user's own test split.
    Returns None if the data set is too small to hold 100 test images back.
    """
    data = sources.load(source, seed)
    name = Path(source.replace(":", "-")).name
    if size is None:
        return Task(name, None, seed, data, data)
    order = np.random.default_rng(seed).permutation(len(data))
    chosen = order[sample(data.labels[order], size, seed)]
    rest = np.setdiff1d(np.arange(len(data)), chosen)
    if len(rest) < 100 or np.bincount(data.labels[chosen], minlength=len(data.class_names)).min() < 3:
        return None
    rest = rest[sample(data.labels[rest], MOST_TEST_IMAGES, seed)]
    held = draw_splits(replace(data.take(chosen), given_splits=frozenset()), seed)
    kept = np.flatnonzero(held.splits != SPLITS.index("test"))
    both = data.take(np.concatenate([chosen[kept], rest]))
    splits = np.concatenate([held.splits[kept], np.full(len(rest), SPLITS.index("test"))])
    return Task(name, size, seed, held, replace(both, splits=splits))


def not_done(
    sources: Iterable[str],
    sizes: Iterable[int | None],
    seeds: Iterable[int],
    done: Iterable[tuple[str, int | None, int]],
) -> Iterator[Task]:
    """The tasks of these data sets, sizes and seeds that are possible and not yet done.

    Args:
        sources: see `cut`.
        sizes: see `cut`.
        seeds: see `cut`.
        done: name, size and seed of the tasks that have a line.
    """
    known = set(done)
    for seed, size, source in itertools.product(seeds, sizes, sources):
        task = cut(source, size, seed)
        if task is not None and (task.name, size, seed) not in known:
            yield task


def train(task: Task, settings: Settings) -> dict[str, Any]:
    """Train with a recipe and judge it.

    Returns:
        Test and validation accuracy in 0..1, "correct" (which test images were: bits in hexadecimal
        digits), seconds as a user would wait, and those of all processors together, which other work on the
        machine does not change; with gradient steps from a frozen head also "averaging":
        test accuracy of the trained weights and of their best average with the start, its share of the
        former, and by how much it lowered the squared error on each validation image.
    """
    return train_and_look(task, settings)[0]


def train_and_look(task: Task, settings: Settings) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """As `train`, and what the networks say between which the finished model was chosen.

    Returns:
        What `train` does; and by the names "frozen test", "trained test" and "averaged test" the logits
        float32 [n, classes] of the frozen network, of the trained one and of the best average of its weights
        with those before, and the same with "validation", by heads that have not seen these images; what
        `whole_picture` gives; labels int64 [n] under "labels test" and "labels validation". Of the network
        while it was trained, log-probabilities "epochs validation" after each epoch, float32 [epochs, n,
        classes], and logits "looks
        test" after `LOOKS` of them, [3, n, classes]. Nothing where there was no choice.
    """
    import keras

    settings = replace(settings, stop_early=False)  # whether to stop can be asked later
    keras.backend.clear_session()  # else the graphs of all earlier trainings stay in memory
    judge = _Judge(task, settings)
    began = _clocks()
    with tempfile.TemporaryDirectory() as folder:
        finished = run(task.judged, settings, RunFolder(Path(folder)), task.seed, Silent(), observer=judge)
    seconds, processor_seconds = _clocks() - began - judge.took
    correct = finished.test.predicted == finished.test.labels
    result = {
        "test": finished.metrics.test.accuracy,
        "correct": np.packbits(correct).tobytes().hex(),
        "validation": finished.metrics.validation.accuracy,
        "seconds": seconds,
        "processor_seconds": processor_seconds,
        **judge.seen,
    }
    return result, judge.logits


def _clocks() -> np.ndarray:
    """Seconds on the clock, and those that all processors together spent on this process, float64 [2]."""
    return np.array([time.monotonic(), time.process_time()])


def whole_picture(job: Job) -> dict[str, np.ndarray]:
    """What the frozen network says by averages over the whole picture alone: logits float32 [n, classes]
    under "whole test" and, by a head that has not seen these images, "whole validation"."""
    averages = job.head_features(averages_alone=True)
    training, validation, test = map(job.data.indices, SPLITS)
    judged = solve(job, averages, training).head
    return {
        "whole validation": judged.logits(averages.take(validation)).astype(np.float32),
        "whole test": with_validation_images(job, averages).logits(averages.take(test)).astype(np.float32),
    }


class _Judge:
    """Looks at both networks on the test images before one of them or both are kept.

    Attributes:
        seen: "averaging" of `train`; nothing where there was no choice.
        logits: as `train_and_look` gives them.
        took: as `_clocks`.
    """

    def __init__(self, task: Task, settings: Settings) -> None:
        self.data, self.image_size = task.judged, settings.image_size
        self.looks = {max(1, round(share * settings.epochs)) for share in LOOKS}
        self.seen: dict[str, Any] = {}
        self.logits: dict[str, np.ndarray] = {}
        self.took = np.zeros(2)
        self.validated: list[np.ndarray] = []
        self.looked: list[np.ndarray] = []

    def after_epoch(self, model: keras.Model, probabilities: np.ndarray) -> None:
        """As `recipes.job.Observer`."""
        began = _clocks()
        self.validated.append(np.log(np.maximum(probabilities, 1e-30)))
        if len(self.validated) in self.looks:
            self.looked.append(_logits(model, self._pixels()))
        self.took += _clocks() - began

    def after_training(self, job: Job, networks: Networks, validation: tf.data.Dataset) -> None:
        """As `recipes.job.Observer`."""
        began, model = _clocks(), networks.trained
        ended, labels = model.get_weights(), self._labels("validation")
        tested, said = self._pixels(), self.logits
        said |= {"epochs validation": np.stack(self.validated), "looks test": np.stack(self.looked)}
        said |= {"labels validation": labels, "labels test": self._labels("test")}
        said["frozen validation"] = networks.frozen_logits.astype(np.float32)
        said["trained validation"] = networks.trained_logits.astype(np.float32)
        said["trained test"] = _logits(model, tested)
        frozen = softmax(networks.frozen_logits)
        average = use_best_average(model, networks.start, ended, validation, labels, frozen, lambda *_: None)
        said |= {"averaged validation": _logits(model, validation), "averaged test": _logits(model, tested)}
        model.set_weights(ended)
        said["frozen test"] = networks.frozen.logits(job.head_features(job.data.indices("test")))
        said |= whole_picture(job)
        self.seen["averaging"] = {
            "trained": self._accuracy("trained test"),
            "best average": self._accuracy("averaged test"),
            "share": average.share,
            "gains": [round(float(gain), 4) for gain in average.gains],
        }
        self.took += _clocks() - began

    def _labels(self, split: str) -> np.ndarray:
        return self.data.labels[self.data.indices(split)]

    def _pixels(self) -> np.ndarray:
        """The test images, uint8 [n, size, size, 3]."""
        paths = [self.data.paths[i] for i in self.data.indices("test")]
        batches = images.stream(paths, self.image_size, BATCH, lambda *_: None)
        return np.concatenate([pixels for _, pixels in batches])

    def _accuracy(self, name: str) -> float:
        """Of logits on the test images, 0..1."""
        return float((self.logits[name].argmax(axis=1) == self.logits["labels test"]).mean())


def _logits(model: Any, pixels: Any) -> np.ndarray:
    """What a model says before its softmax, float32 [n, classes], of pixels or of batches of them."""
    import keras

    kernel, bias = model.layers[-1].get_weights()
    below = keras.Model(model.inputs[0], model.layers[-1].input)
    return below.predict(pixels, batch_size=BATCH, verbose=0) @ kernel + bias
