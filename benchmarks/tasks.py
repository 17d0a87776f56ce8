"""Benchmark tasks: a data set cut to a size, as a user would hold it, and many more images to test on."""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from advisor.advice.settings import Settings
from advisor.data import images, sources
from advisor.data.dataset import Dataset
from advisor.data.names import SPLITS
from advisor.data.sampling import sample
from advisor.data.splits import split as draw_splits
from advisor.system.progress import Silent
from recipes.job import Weights
from recipes.runs.run import run
from recipes.runs.run_folder import RunFolder
from recipes.training.averaging import Average, mix

MOST_TEST_IMAGES = 500
BATCH = 32  # test images at once


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


def train(task: Task, settings: Settings) -> dict[str, Any]:
    """Train with a recipe and judge it.

    Returns:
        Test and validation accuracy in 0..1, "correct" (which test images were: bits in hexadecimal
        digits) and seconds as a user would wait; with gradient steps from a solved head also "averaging":
        test accuracy of the trained weights and of their best average with the start, its share of the
        former, and by how much it lowered the squared error on each validation image.
    """
    import keras

    keras.backend.clear_session()  # else the graphs of all earlier trainings stay in memory
    judge = _Judge(task, settings.image_size)
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        finished = run(
            task.judged, settings, RunFolder(Path(folder)), task.seed, Silent(), observe=judge.observe
        )
    correct = finished.test.predicted == finished.test.labels
    return {
        "test": finished.metrics.test.accuracy,
        "correct": np.packbits(correct).tobytes().hex(),
        "validation": finished.metrics.validation.accuracy,
        "seconds": time.monotonic() - began - judge.seconds,
        **judge.seen,
    }


class _Judge:
    """Tests what training ended with, which the finished model is an average of.

    Attributes:
        seen: "averaging" of `train`; nothing where there is no such thing.
        seconds: that it took.
    """

    def __init__(self, task: Task, image_size: int) -> None:
        self.data, self.image_size = task.judged, image_size
        self.seen: dict[str, Any] = {}
        self.seconds = 0.0

    def observe(self, model: Any, before: Weights, after: Weights, average: Average) -> None:
        """As `recipes.job.Observe`."""
        began, kept, accuracy = time.monotonic(), model.get_weights(), {}
        for share in {1.0, average.share}:
            model.set_weights(mix(before, after, share))
            accuracy[share] = self._accuracy(model)
        model.set_weights(kept)
        self.seen["averaging"] = {
            "trained": accuracy[1.0],
            "best average": accuracy[average.share],
            "share": average.share,
            "gains": [round(float(gain), 4) for gain in average.gains],
        }
        self.seconds = time.monotonic() - began

    def _accuracy(self, model: Any) -> float:
        """On the test images, 0..1."""
        at = self.data.indices("test")
        paths = [self.data.paths[i] for i in at]
        batches = images.stream(paths, self.image_size, BATCH, lambda *_: None)
        said = [model.predict_on_batch(pixels.astype(np.float32)).argmax(axis=1) for _, pixels in batches]
        return float((np.concatenate(said) == self.data.labels[at]).mean())
