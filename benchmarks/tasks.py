"""Benchmark tasks: a data set cut to a size, as a user would hold it, and many more images to test on."""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from advisor.advice.settings import Settings
from advisor.data import sources
from advisor.data.dataset import Dataset
from advisor.data.names import SPLITS
from advisor.data.sampling import sample
from advisor.data.splits import split as draw_splits
from advisor.system.progress import Silent
from recipes.runs import run_folder
from recipes.training import averaging, gradient

MOST_TEST_IMAGES = 500


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
    test_at = task.judged.indices("test")
    paths = tuple(task.judged.paths[i] for i in test_at)
    seen: dict[str, Any] = {}
    watching = 0.0

    def watched(model: Any, before: Any, after: Any, *others: Any) -> averaging.Average:
        nonlocal watching
        average = averaging.use_best_average(model, before, after, *others)
        began, kept, accuracy = time.monotonic(), model.get_weights(), {}
        for share in {1.0, average.share}:
            model.set_weights(averaging.mix(before, after, share))
            told = run_folder.predict(model, paths, settings.image_size, lambda *_: None)[1].argmax(axis=1)
            accuracy[share] = float((told == task.judged.labels[test_at]).mean())
        model.set_weights(kept)
        seen["averaging"] = {
            "trained": accuracy[1.0],
            "best average": accuracy[average.share],
            "share": average.share,
            "gains": [round(float(gain), 4) for gain in average.gains],
        }
        watching = time.monotonic() - began
        return average

    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder, mock.patch.object(gradient, "use_best_average", watched):
        finished = run_folder.run(task.judged, settings, Path(folder), task.seed, Silent())
    correct = finished.test_probabilities.argmax(axis=1) == finished.test_labels
    return {
        "test": finished.metrics["test"]["accuracy"],
        "correct": np.packbits(correct).tobytes().hex(),
        "validation": finished.metrics["validation"]["accuracy"],
        "seconds": time.monotonic() - began - watching,
        **seen,
    }
